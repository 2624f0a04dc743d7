/*
 * sort, first, last. With a limit a heap keeps the best limit + offset rows (per partition, if
 * there is `partition by`), worst on top, so that most rows are turned away by one comparison;
 * without, all rows are kept. Ties go by the exact order of events, so that pages never overlap;
 * rows that are no events tie by their values.
 *
 * Shards make their best limit + offset rows, sorted; the router sorts those again, and only it
 * skips the offset and numbers the ranks.
 */
#include <math.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/sort.h"
#include "common/base/vec.h"
#include "common/logsql/order.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipe_util.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"

struct sort_by {
    struct tel_span name;
    bool desc;
};

struct sort_pipe {
    struct tel_pipe base;
    struct sort_by *by;
    size_t by_count;
    bool desc; /* of all, besides each one's own */
    uint64_t offset, limit;
    bool has_limit;
    struct tel_span rank;
    struct tel_span *partition;
    size_t partition_count;
};

/* ---- parsing and printing
 * ------------------------------------------------------------------------ */

static tel_code parse_by(struct tel_parser *p, struct sort_pipe *s)
{
    TEL_VEC(struct sort_by) v = {0};
    tel_code rc = tel_parse_expect(p, "(", "'(' before the fields to sort by");
    while (rc == TEL_OK && !tel_parse_is(p, ")")) {
        struct sort_by by = {0};
        rc = tel_parse_field(p, &by.name);
        if (rc != TEL_OK)
            break;
        if (tel_parse_accept(p, "desc"))
            by.desc = true;
        else
            tel_parse_accept(p, "asc");
        tel_vec_push(&v, by);
        if (!tel_parse_is(p, ")"))
            rc = tel_parse_expect(p, ",", "',' or ')' behind the field to sort by");
    }
    if (rc == TEL_OK) {
        tel_lexer_next(&p->lex);
        s->by = TEL_ARENA_ARRAY(p->arena, struct sort_by, v.len + 1);
        if (v.len)
            memcpy(s->by, v.items, v.len * sizeof v.items[0]);
        s->by_count = v.len;
    }
    tel_vec_free(&v);
    return rc;
}

/* rank [as] name */
static tel_code parse_rank(struct tel_parser *p, struct tel_span *ret)
{
    *ret = TEL_SPAN("rank");
    if (tel_parse_accept(p, "as"))
        return tel_parse_field(p, ret);
    if (tel_parse_at_end(p) || tel_parse_is(p, "limit") || tel_parse_is(p, "offset") ||
        tel_parse_is(p, "partition") || tel_parse_is(p, "desc") || tel_parse_is(p, "asc"))
        return TEL_OK;
    return tel_parse_field(p, ret);
}

static tel_code parse_rest(struct tel_parser *p, struct sort_pipe *s, bool limits)
{
    bool limit_given = false, offset_given = false;
    while (!tel_parse_at_end(p)) {
        if (tel_parse_accept(p, "desc")) {
            s->desc = true;
        } else if (tel_parse_accept(p, "asc")) {
            s->desc = false;
        } else if (tel_parse_accept(p, "partition")) {
            tel_parse_accept(p, "by");
            TEL_TRY(tel_parse_fields_in_parens(p, &s->partition, &s->partition_count));
        } else if (tel_parse_accept(p, "rank")) {
            TEL_TRY(parse_rank(p, &s->rank));
        } else if (limits && !limit_given && tel_parse_accept(p, "limit")) {
            limit_given = true;
            TEL_TRY(tel_parse_uint(p, "a number of rows", &s->limit));
            s->has_limit = s->limit > 0;
        } else if (limits && !offset_given && tel_parse_accept(p, "offset")) {
            offset_given = true;
            TEL_TRY(tel_parse_uint(p, "a number of rows", &s->offset));
        } else {
            return tel_parse_expected(p, limits ? "desc, limit, offset, rank or partition by"
                                                : "rank or partition by");
        }
    }
    return TEL_OK;
}

static tel_code parse_sort(struct tel_parser *p, struct tel_pipe **ret)
{
    struct sort_pipe *s = TEL_ARENA_NEW(p->arena, struct sort_pipe);
    if (tel_parse_accept(p, "by") || tel_parse_is(p, "("))
        TEL_TRY(parse_by(p, s));
    TEL_TRY(parse_rest(p, s, true));
    *ret = &s->base;
    return TEL_OK;
}

/* first and last: [N] [by] (fields) [partition by (...)] [rank ...] */
static tel_code parse_ends(struct tel_parser *p, struct tel_pipe **ret)
{
    struct sort_pipe *s = TEL_ARENA_NEW(p->arena, struct sort_pipe);
    s->limit = 1;
    s->has_limit = true;
    if (!tel_parse_at_end(p) && !tel_parse_is(p, "by") && !tel_parse_is(p, "(") &&
        !tel_parse_is(p, "partition") && !tel_parse_is(p, "rank"))
        TEL_TRY(tel_parse_uint(p, "a number of rows", &s->limit));
    if (tel_parse_accept(p, "by") || tel_parse_is(p, "("))
        TEL_TRY(parse_by(p, s));
    TEL_TRY(parse_rest(p, s, false));
    *ret = &s->base;
    return TEL_OK;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct sort_pipe *s = (const struct sort_pipe *)pipe;
    bool ends = pipe->ops != &tel_pipe_sort;
    tel_buf_printf(out, "%s", pipe->ops->name);
    if (ends)
        tel_buf_printf(out, " %llu", (unsigned long long)s->limit);
    if (s->by_count) {
        TEL_BUF_ADD_LIT(out, " by (");
        for (size_t i = 0; i < s->by_count; i++) {
            if (i)
                TEL_BUF_ADD_LIT(out, ", ");
            tel_print_token(out, s->by[i].name);
            if (s->by[i].desc)
                TEL_BUF_ADD_LIT(out, " desc");
        }
        tel_buf_add_char(out, ')');
    }
    if (s->desc && !ends)
        TEL_BUF_ADD_LIT(out, " desc");
    if (s->partition_count) {
        TEL_BUF_ADD_LIT(out, " partition by (");
        tel_print_fields(out, s->partition, s->partition_count);
        tel_buf_add_char(out, ')');
    }
    if (s->offset)
        tel_buf_printf(out, " offset %llu", (unsigned long long)s->offset);
    if (s->has_limit && !ends)
        tel_buf_printf(out, " limit %llu", (unsigned long long)s->limit);
    if (s->rank.len) {
        TEL_BUF_ADD_LIT(out, " rank as ");
        tel_print_token(out, s->rank);
    }
}

static void needed(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    const struct sort_pipe *s = (const struct sort_pipe *)pipe;
    if (s->rank.len)
        tel_fields_remove(fields, s->rank);
    if (s->by_count == 0)
        tel_fields_add(fields, TEL_SPAN("*"));
    for (size_t i = 0; i < s->by_count; i++)
        tel_fields_add(fields, s->by[i].name);
    tel_fields_add_all(fields, s->partition, s->partition_count);
}

/* ---- rows and their order
 * ------------------------------------------------------------------------- */

struct sort_row {
    struct tel_row row; /* first, so that rows can be emitted */
    struct tel_order_key *keys;
};

struct sort_group { /* a partition */
    struct sort_row **rows;
    size_t len, cap;
    struct tel_span key;
};

struct sort_state {
    struct tel_rowset set;
    size_t live_bytes, arena_bytes; /* of kept rows; of all that the arena holds */
    uint64_t keep;                  /* rows per group; 0: all */
    bool desc;
    struct tel_map groups; /* partition key -> index + 1 */
    TEL_VEC(struct sort_group *) list;
    struct tel_buf key_text;
};

/* What is compared of a row that is not kept yet. */
struct candidate {
    const struct tel_block *block;
    size_t index;
    struct tel_order_key *keys;
};

static bool by_key(const struct sort_pipe *s, size_t i, bool time_from_keys)
{
    return time_from_keys && tel_span_eq_cstr(s->by[i].name, TEL_FIELD_TIME);
}

/* Order keys of a value; times from keys compare as integers and need no text. */
static struct tel_order_key time_key(int64_t time_ns)
{
    return (struct tel_order_key){
        .cls = TEL_ORDER_NUMBER, .is_integer = true, .integer = time_ns, .number = (double)time_ns};
}

static int compare_values(const struct tel_row *a, const struct tel_row *b)
{
    size_t n = TEL_MIN(a->schema->count, b->schema->count);
    for (size_t i = 0; i < n; i++) {
        int c = tel_span_cmp(a->values[i], b->values[i]);
        if (c)
            return c;
    }
    return 0;
}

static int compare_keys(const struct sort_pipe *s, const struct sort_state *st,
                        const struct tel_order_key *a, const struct tel_order_key *b)
{
    size_t n = s->by_count ? s->by_count : 1;
    for (size_t i = 0; i < n; i++) {
        int c = tel_order_cmp(&a[i], &b[i]);
        if (c)
            return (s->by_count && s->by[i].desc) != st->desc ? -c : c;
    }
    return 0;
}

/* Ties by the order of events, in the direction of the last field. */
static int tie_direction(const struct sort_pipe *s, const struct sort_state *st)
{
    bool desc = st->desc;
    if (s->by_count && s->by[s->by_count - 1].desc)
        desc = !desc;
    return desc ? -1 : 1;
}

static int compare_rows(const struct sort_pipe *s, const struct sort_state *st,
                        const struct sort_row *a, const struct sort_row *b)
{
    int c = compare_keys(s, st, a->keys, b->keys);
    if (c == 0)
        c = tie_direction(s, st) * tel_row_key_cmp(&a->row.key, &b->row.key);
    return c ? c : compare_values(&a->row, &b->row);
}

static bool candidate_loses(const struct sort_pipe *s, const struct sort_state *st,
                            const struct candidate *c, const struct sort_row *worst)
{
    int d = compare_keys(s, st, c->keys, worst->keys);
    if (d == 0 && c->block->keys)
        d = tie_direction(s, st) * tel_row_key_cmp(&c->block->keys[c->index], &worst->row.key);
    return d > 0;
}

/* ---- the heap: the worst row on top
 * ----------------------------------------------------------------- */

static void sift_down(const struct sort_pipe *s, const struct sort_state *st, struct sort_group *g,
                      size_t i)
{
    for (;;) {
        size_t worst = i, l = 2 * i + 1;
        for (size_t k = l; k < l + 2 && k < g->len; k++)
            if (compare_rows(s, st, g->rows[k], g->rows[worst]) > 0)
                worst = k;
        if (worst == i)
            return;
        struct sort_row *t = g->rows[i];
        g->rows[i] = g->rows[worst];
        g->rows[worst] = t;
        i = worst;
    }
}

static void sift_up(const struct sort_pipe *s, const struct sort_state *st, struct sort_group *g,
                    size_t i)
{
    while (i > 0) {
        size_t up = (i - 1) / 2;
        if (compare_rows(s, st, g->rows[i], g->rows[up]) <= 0)
            return;
        struct sort_row *t = g->rows[i];
        g->rows[i] = g->rows[up];
        g->rows[up] = t;
        i = up;
    }
}

/* ---- keeping rows
 * ------------------------------------------------------------------------------------ */

static size_t row_bytes(const struct sort_pipe *s, const struct sort_row *row)
{
    size_t bytes = sizeof *row + (s->by_count + 1) * sizeof *row->keys + 32;
    for (size_t i = 0; i < row->row.schema->count; i++)
        bytes += row->row.values[i].len + sizeof row->row.values[i];
    return bytes;
}

/* The texts of order keys point into the row's own values, so that they live as long. */
static void rebase_keys(const struct sort_pipe *s, struct sort_row *row, struct tel_arena *arena)
{
    for (size_t i = 0; i < (s->by_count ? s->by_count : 1); i++)
        if (row->keys[i].cls == TEL_ORDER_TEXT)
            row->keys[i].text = tel_arena_copy(arena, row->keys[i].text);
}

static struct sort_row *keep_row(const struct sort_pipe *s, struct sort_state *st,
                                 const struct candidate *c, const struct tel_row_schema *schema)
{
    struct tel_arena *arena = &st->set.arena;
    struct sort_row *row = tel_arena_alloc(arena, sizeof *row);
    size_t n = s->by_count ? s->by_count : 1, bytes;
    tel_row_copy(&row->row, schema, c->block, c->index, arena, &bytes);
    row->keys = tel_arena_alloc(arena, n * sizeof *row->keys);
    memcpy(row->keys, c->keys, n * sizeof *row->keys);
    rebase_keys(s, row, arena);
    bytes = row_bytes(s, row);
    st->live_bytes += bytes;
    st->arena_bytes += bytes;
    return row;
}

static struct sort_row *move_row(const struct sort_pipe *s, const struct sort_row *old,
                                 struct tel_arena *arena)
{
    struct sort_row *row = tel_arena_alloc(arena, sizeof *row);
    size_t n = s->by_count ? s->by_count : 1;
    *row = *old;
    row->row.values =
        tel_arena_alloc(arena, (old->row.schema->count + 1) * sizeof *row->row.values);
    for (size_t i = 0; i < old->row.schema->count; i++)
        row->row.values[i] = tel_arena_copy(arena, old->row.values[i]);
    row->keys = tel_arena_alloc(arena, n * sizeof *row->keys);
    memcpy(row->keys, old->keys, n * sizeof *row->keys);
    rebase_keys(s, row, arena);
    return row;
}

/* Rows that were pushed out leave holes in the arena; when those are most of it, the kept rows move
 * to a new one. */
static void compact(const struct sort_pipe *s, struct sort_state *st)
{
    if (st->arena_bytes < 2 * st->live_bytes + (1u << 20))
        return;
    struct tel_arena fresh = {0};
    for (size_t i = 0; i < st->list.len; i++) {
        struct sort_group *g = st->list.items[i];
        for (size_t k = 0; k < g->len; k++)
            g->rows[k] = move_row(s, g->rows[k], &fresh);
    }
    tel_arena_free(&st->set.arena);
    st->set.arena = fresh;
    st->arena_bytes = st->live_bytes;
}

static struct sort_group *group_of(const struct sort_pipe *s, struct sort_state *st,
                                   const struct tel_span *const *columns, size_t index)
{
    if (s->partition_count == 0 && st->list.len)
        return st->list.items[0];
    tel_buf_clear(&st->key_text);
    for (size_t i = 0; i < s->partition_count; i++) {
        struct tel_span v = columns[i] ? columns[i][index] : (struct tel_span){0};
        tel_buf_add_le32(&st->key_text, (uint32_t)v.len);
        tel_buf_add_span(&st->key_text, v);
    }
    bool is_new;
    uint64_t *at = tel_map_put(&st->groups, tel_buf_span(&st->key_text), &is_new);
    if (is_new) {
        tel_vec_push(&st->list, TEL_NEW(struct sort_group));
        *at = st->list.len;
    }
    return st->list.items[*at - 1];
}

static tel_code offer(struct tel_stage *stage, struct sort_group *g, const struct candidate *c,
                      const struct tel_row_schema *schema, struct tel_error *err)
{
    const struct sort_pipe *s = (const struct sort_pipe *)stage->pipe;
    struct sort_state *st = stage->state;
    if (st->keep && g->len == st->keep) {
        if (candidate_loses(s, st, c, g->rows[0]))
            return TEL_OK;
        struct sort_row *row = keep_row(s, st, c, schema);
        if (compare_rows(s, st, row, g->rows[0]) < 0) {
            st->live_bytes -= row_bytes(s, g->rows[0]);
            g->rows[0] = row;
            sift_down(s, st, g, 0);
        } else {
            st->live_bytes -= row_bytes(s, row);
        }
        compact(s, st);
        return TEL_OK;
    }
    struct sort_row *row = keep_row(s, st, c, schema);
    if (g->len == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 16;
        g->rows = tel_realloc_array(g->rows, g->cap, sizeof *g->rows);
    }
    g->rows[g->len++] = row;
    if (st->keep)
        sift_up(s, st, g, g->len - 1);
    return tel_stage_charge(stage, row_bytes(s, row) + sizeof *g->rows, err);
}

/* ---- the stage
 * ---------------------------------------------------------------------------------------- */

static tel_code sort_open(struct tel_stage *stage, struct tel_error *err)
{
    (void)err;
    const struct sort_pipe *s = (const struct sort_pipe *)stage->pipe;
    struct sort_state *st = stage->state;
    st->desc = s->desc != (stage->pipe->ops == &tel_pipe_last);
    st->keep = s->has_limit ? s->limit + s->offset : 0;
    if (st->keep < s->offset)
        st->keep = 0;
    return TEL_OK;
}

/* With nothing to sort by, rows sort by all that they show. */
static const struct tel_span *whole_rows(const struct tel_block *block, struct tel_arena *arena)
{
    struct tel_span *values = TEL_ARENA_ARRAY(arena, struct tel_span, block->rows + 1);
    struct tel_buf text = {0};
    for (size_t i = 0; i < block->rows; i++) {
        tel_block_print_row(&text, block, i);
        values[i] = tel_text_take(arena, &text);
    }
    tel_buf_free(&text);
    return values;
}

static tel_code push(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    const struct sort_pipe *s = (const struct sort_pipe *)stage->pipe;
    struct sort_state *st = stage->state;
    struct tel_arena *arena = &stage->scratch;
    const struct tel_row_schema *schema = tel_rowset_schema(&st->set, block);
    const struct tel_column *time = tel_block_column(block, TEL_SPAN(TEL_FIELD_TIME));
    bool from_keys = time && !time->values;
    size_t n = s->by_count ? s->by_count : 1;
    const struct tel_span **by = TEL_ARENA_ARRAY(arena, const struct tel_span *, n);
    const struct tel_span **parts =
        TEL_ARENA_ARRAY(arena, const struct tel_span *, s->partition_count + 1);
    for (size_t i = 0; i < s->by_count; i++)
        by[i] = by_key(s, i, from_keys) ? NULL : tel_block_values(block, s->by[i].name, arena);
    if (s->by_count == 0)
        by[0] = whole_rows(block, arena);
    for (size_t i = 0; i < s->partition_count; i++)
        parts[i] = tel_block_values(block, s->partition[i], arena);
    struct candidate c = {.block = block, .keys = TEL_ARENA_ARRAY(arena, struct tel_order_key, n)};
    for (size_t r = 0; r < block->rows; r++) {
        for (size_t i = 0; i < n; i++) {
            if (s->by_count && by_key(s, i, from_keys))
                c.keys[i] = time_key(block->keys[r].time_ns);
            else if (by[i])
                c.keys[i] = s->by_count
                                ? tel_order_key_any(by[i][r])
                                : (struct tel_order_key){.text = by[i][r], .cls = TEL_ORDER_TEXT};
            else
                c.keys[i] = (struct tel_order_key){.cls = TEL_ORDER_EMPTY};
        }
        c.index = r;
        tel_code rc = offer(stage, group_of(s, st, parts, r), &c, schema, err);
        if (rc != TEL_OK)
            return rc;
    }
    return TEL_OK;
}

/* tel_sort hands its last argument through. */
struct order_context {
    const struct sort_pipe *pipe;
    const struct sort_state *state;
};

static int compare_for_qsort(const void *a, const void *b, void *ctx)
{
    const struct order_context *c = ctx;
    return compare_rows(c->pipe, c->state, *(struct sort_row *const *)a,
                        *(struct sort_row *const *)b);
}

static tel_code emit_group(struct tel_stage *stage, struct sort_group *g, struct tel_error *err)
{
    const struct sort_pipe *s = (const struct sort_pipe *)stage->pipe;
    struct sort_state *st = stage->state;
    struct order_context ctx = {s, st};
    struct tel_pace pace = tel_stage_pace(stage);
    TEL_TRY(tel_sort(g->rows, g->len, sizeof *g->rows, compare_for_qsort, &ctx, &pace, err));
    size_t from = 0, to = g->len;
    if (!stage->exporting) {
        from = (size_t)TEL_MIN(s->offset, (uint64_t)g->len);
        to = s->has_limit && s->limit < g->len - from ? from + (size_t)s->limit : g->len;
    }
    struct tel_arena ranks = {0};
    struct tel_span *rank = NULL;
    if (s->rank.len && !stage->exporting) {
        rank = TEL_ARENA_ARRAY(&ranks, struct tel_span, to - from + 1);
        for (size_t i = from; i < to; i++)
            rank[i - from] = tel_arena_printf(&ranks, "%zu", i + 1);
    }
    tel_code rc = tel_rows_emit(stage, (struct tel_row *const *)(void *)(g->rows + from), to - from,
                                s->rank, rank, err);
    tel_arena_free(&ranks);
    return rc;
}

static tel_code finish(struct tel_stage *stage, struct tel_error *err)
{
    struct sort_state *st = stage->state;
    for (size_t i = 0; i < st->list.len; i++) {
        tel_code rc = emit_group(stage, st->list.items[i], err);
        if (rc != TEL_OK)
            return rc;
    }
    return TEL_OK;
}

static void sort_close(struct tel_stage *stage)
{
    struct sort_state *st = stage->state;
    for (size_t i = 0; i < st->list.len; i++) {
        free(st->list.items[i]->rows);
        free(st->list.items[i]);
    }
    tel_vec_free(&st->list);
    tel_map_free(&st->groups);
    tel_buf_free(&st->key_text);
    tel_rowset_done(&st->set);
}

bool tel_pipe_sort_take(struct tel_pipe *sort, const struct tel_pipe *next)
{
    struct sort_pipe *s = (struct sort_pipe *)sort;
    if (sort->ops != &tel_pipe_sort || s->has_limit || s->partition_count)
        return false;
    uint64_t n = next->ops == &tel_pipe_limit || next->ops == &tel_pipe_offset
                     ? tel_pipe_limit_count(next)
                     : 0;
    if (n == 0)
        return false;
    if (next->ops == &tel_pipe_offset)
        return !s->offset && (s->offset = n) > 0;
    s->limit = n;
    s->has_limit = true;
    return true;
}

bool tel_query_time_limit(const struct tel_query *query, uint64_t *ret_count, bool *ret_newest)
{
    for (size_t i = 0; i < query->pipe_count; i++) {
        const struct tel_pipe *pipe = query->pipes[i];
        const struct sort_pipe *s = (const struct sort_pipe *)pipe;
        if (pipe->ops == &tel_pipe_fields)
            continue;
        if (pipe->ops != &tel_pipe_sort && pipe->ops != &tel_pipe_first &&
            pipe->ops != &tel_pipe_last)
            return false;
        if (s->by_count != 1 || s->partition_count ||
            !tel_span_eq_cstr(s->by[0].name, TEL_FIELD_TIME))
            return false;
        bool desc = s->desc != s->by[0].desc;
        *ret_newest = desc != (pipe->ops == &tel_pipe_last);
        *ret_count = s->limit + s->offset;
        return s->has_limit && s->limit + s->offset >= s->offset;
    }
    return false;
}

#define SORT_OPS(pipe_name, parse_fn)                                                              \
    {                                                                                              \
        .name = pipe_name, .parse = parse_fn, .print = print, .needed = needed,                    \
        .state_size = sizeof(struct sort_state), .open = sort_open, .push = push,                  \
        .finish = finish, .close = sort_close                                                      \
    }

const struct tel_pipe_ops tel_pipe_sort = SORT_OPS("sort", parse_sort);
const struct tel_pipe_ops tel_pipe_first = SORT_OPS("first", parse_ends);
const struct tel_pipe_ops tel_pipe_last = SORT_OPS("last", parse_ends);
