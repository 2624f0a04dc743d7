/*
 * top N by (a, b), uniq by (a, b) and field_values a: distinct tuples of values with how often they
 * came. Shards hand on all of theirs with the counts in a column "#hits", so that the router's are
 * exact; uniq with a limit hands on one more than the limit, which says that it was reached.
 */
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/sort.h"
#include "common/base/vec.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipe_util.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"

#define HITS_COLUMN "#hits"

struct top_pipe {
    struct tel_pipe base;
    struct tel_span *by;
    size_t by_count;
    uint64_t limit;             /* top: rows; uniq: 0 is none */
    struct tel_span hits, rank; /* names of the results; empty: not wanted */
};

struct top_state {
    struct tel_map map; /* key -> index + 1 */
    TEL_VEC(uint64_t) hits;
    TEL_VEC(struct tel_span) keys;
    struct tel_buf key;
};

/* ---- parsing
 * ------------------------------------------------------------------------------------------ */

/* A result must not be called as a field that is grouped by. */
static struct tel_span unique_name(struct tel_parser *p, const struct top_pipe *t,
                                   struct tel_span name)
{
    for (size_t i = 0; i < t->by_count; i++)
        if (tel_span_eq(t->by[i], name))
            return unique_name(p, t, tel_arena_printf(p->arena, "%.*ss", TEL_SPAN_ARG(name)));
    return name;
}

static tel_code parse_by(struct tel_parser *p, struct top_pipe *t)
{
    size_t at = tel_lexer_offset(&p->lex);
    tel_parse_accept(p, "by");
    if (tel_parse_is(p, "("))
        TEL_TRY(tel_parse_fields_in_parens(p, &t->by, &t->by_count));
    else if (!tel_parse_at_end(p))
        TEL_TRY(tel_parse_field_list(p, &t->by, &t->by_count));
    for (size_t i = 0; i < t->by_count; i++)
        if (tel_field_is_wildcard(t->by[i]))
            return tel_parse_fail(p, at, "expected names of fields without '*'");
    if (t->by_count == 0)
        return tel_parse_fail(p, at, "expected at least one field, as in by (host)");
    return TEL_OK;
}

static tel_code parse_top(struct tel_parser *p, struct tel_pipe **ret)
{
    struct top_pipe *t = TEL_ARENA_NEW(p->arena, struct top_pipe);
    t->limit = 10;
    t->hits = TEL_SPAN("hits");
    size_t at = tel_lexer_offset(&p->lex);
    if (tel_parse_is_number(p)) {
        TEL_TRY(tel_parse_uint(p, "a number of rows", &t->limit));
        if (t->limit == 0)
            return tel_parse_fail(p, at, "expected a number above 0");
    }
    TEL_TRY(parse_by(p, t));
    while (!tel_parse_at_end(p)) {
        tel_parse_accept(p, "with");
        if (tel_parse_accept(p, "hits")) {
            tel_parse_accept(p, "as");
            TEL_TRY(tel_parse_field(p, &t->hits));
        } else if (tel_parse_accept(p, "rank")) {
            t->rank = TEL_SPAN("rank");
            if (tel_parse_accept(p, "as") || (!tel_parse_at_end(p) && !tel_parse_is(p, "hits")))
                TEL_TRY(tel_parse_field(p, &t->rank));
        } else {
            return tel_parse_expected(p, "hits as, rank or '|'");
        }
    }
    t->hits = unique_name(p, t, t->hits);
    if (t->rank.len)
        t->rank = unique_name(p, t, t->rank);
    *ret = &t->base;
    return TEL_OK;
}

static tel_code parse_uniq(struct tel_parser *p, struct tel_pipe **ret)
{
    struct top_pipe *t = TEL_ARENA_NEW(p->arena, struct top_pipe);
    TEL_TRY(parse_by(p, t));
    while (!tel_parse_at_end(p)) {
        if (tel_parse_accept(p, "with") || tel_parse_is(p, "hits")) {
            TEL_TRY(tel_parse_expect(p, "hits", "hits"));
            t->hits = unique_name(p, t, TEL_SPAN("hits"));
        } else if (tel_parse_accept(p, "limit")) {
            TEL_TRY(tel_parse_uint(p, "a limit", &t->limit));
        } else {
            return tel_parse_expected(p, "with hits, limit or '|'");
        }
    }
    *ret = &t->base;
    return TEL_OK;
}

static tel_code parse_values(struct tel_parser *p, struct tel_pipe **ret)
{
    struct top_pipe *t = TEL_ARENA_NEW(p->arena, struct top_pipe);
    t->by = TEL_ARENA_NEW(p->arena, struct tel_span);
    t->by_count = 1;
    bool parens = tel_parse_accept(p, "(");
    TEL_TRY(tel_parse_field(p, &t->by[0]));
    if (parens)
        TEL_TRY(tel_parse_expect(p, ")", "')' behind the field"));
    if (tel_parse_accept(p, "limit"))
        TEL_TRY(tel_parse_uint(p, "a limit", &t->limit));
    t->hits = unique_name(p, t, TEL_SPAN("hits"));
    *ret = &t->base;
    return TEL_OK;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct top_pipe *t = (const struct top_pipe *)pipe;
    tel_buf_printf(out, "%s ", pipe->ops->name);
    if (pipe->ops == &tel_pipe_field_values) {
        tel_print_token(out, t->by[0]);
    } else {
        if (pipe->ops == &tel_pipe_top)
            tel_buf_printf(out, "%llu ", (unsigned long long)t->limit);
        TEL_BUF_ADD_LIT(out, "by (");
        tel_print_fields(out, t->by, t->by_count);
        tel_buf_add_char(out, ')');
    }
    if (pipe->ops == &tel_pipe_top) {
        TEL_BUF_ADD_LIT(out, " hits as ");
        tel_print_token(out, t->hits);
    } else if (pipe->ops == &tel_pipe_uniq && t->hits.len) {
        TEL_BUF_ADD_LIT(out, " with hits");
    }
    if (pipe->ops != &tel_pipe_top && t->limit)
        tel_buf_printf(out, " limit %llu", (unsigned long long)t->limit);
    if (t->rank.len) {
        TEL_BUF_ADD_LIT(out, " rank as ");
        tel_print_token(out, t->rank);
    }
}

static void needed(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    const struct top_pipe *t = (const struct top_pipe *)pipe;
    tel_fields_clear(fields);
    tel_fields_add_all(fields, t->by, t->by_count);
}

bool tel_pipe_uniq_single(const struct tel_pipe *pipe, struct tel_span *ret)
{
    const struct top_pipe *t = (const struct top_pipe *)pipe;
    if (t->by_count != 1)
        return false;
    *ret = t->by[0];
    return true;
}

static bool counts(const struct tel_pipe *pipe, struct tel_pipe_counting *ret)
{
    (void)pipe;
    (void)ret;
    return true;
}

/* ---- counting
 * ----------------------------------------------------------------------------------------- */

static tel_code count(struct tel_stage *stage, struct tel_span key, uint64_t hits,
                      size_t *ret_index, struct tel_error *err)
{
    struct top_state *st = stage->state;
    bool is_new;
    uint64_t *at = tel_map_put(&st->map, key, &is_new);
    tel_code rc = TEL_OK;
    if (is_new) {
        *at = st->hits.len + 1;
        tel_vec_push(&st->hits, 0);
        rc = tel_stage_charge(stage, key.len + 96, err);
    }
    *ret_index = *at - 1;
    st->hits.items[*at - 1] += hits;
    return rc;
}

static bool is_full(const struct tel_stage *stage)
{
    const struct top_pipe *t = (const struct top_pipe *)stage->pipe;
    const struct top_state *st = stage->state;
    return stage->pipe->ops != &tel_pipe_top && t->limit && st->hits.len > t->limit;
}

static struct tel_span key_of(struct top_state *st, const struct tel_span *const *by, size_t n,
                              size_t row)
{
    if (n == 1)
        return by[0] ? by[0][row] : (struct tel_span){"", 0};
    tel_buf_clear(&st->key);
    for (size_t i = 0; i < n; i++) {
        struct tel_span v = by[i] ? by[i][row] : (struct tel_span){"", 0};
        tel_buf_add_le32(&st->key, (uint32_t)v.len);
        tel_buf_add_span(&st->key, v);
    }
    return tel_buf_span(&st->key);
}

static tel_code push(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    const struct top_pipe *t = (const struct top_pipe *)stage->pipe;
    struct top_state *st = stage->state;
    const struct tel_span **by =
        TEL_ARENA_ARRAY(&stage->scratch, const struct tel_span *, t->by_count);
    const struct tel_column *hits = NULL;
    for (size_t i = 0; i < t->by_count; i++)
        by[i] = tel_block_values(block, t->by[i], &stage->scratch);
    if (stage->importing) {
        hits = tel_block_column(block, TEL_SPAN(HITS_COLUMN));
        if (!hits || !hits->values)
            return tel_error_set(err, TEL_ERR_CORRUPT, "a shard sent no counts of %s",
                                 stage->pipe->ops->name);
    }
    size_t last = 0;
    tel_code rc = TEL_OK;
    for (size_t r = 0; r < block->rows && rc == TEL_OK; r++) {
        unsigned long long n = tel_block_hits(block, r);
        if (hits && !tel_span_to_u64(hits->values[r], &n))
            return tel_error_set(err, TEL_ERR_CORRUPT, "a shard sent a bad count");
        bool same = r > 0 && !hits;
        for (size_t i = 0; i < t->by_count && same; i++)
            same = !by[i] || (by[i][r].ptr == by[i][r - 1].ptr && by[i][r].len == by[i][r - 1].len);
        if (same)
            st->hits.items[last] += n;
        else
            rc = count(stage, key_of(st, by, t->by_count, r), n, &last, err);
        if (is_full(stage)) {
            stage->done = true;
            break;
        }
    }
    return rc;
}

/* ---- results
 * ------------------------------------------------------------------------------------------ */

static struct tel_span part(const struct top_pipe *t, struct tel_span key, size_t index)
{
    if (t->by_count == 1)
        return key;
    size_t at = 0;
    for (size_t i = 0;; i++) {
        const unsigned char *p = (const unsigned char *)key.ptr + at;
        size_t len = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
        if (i == index)
            return tel_span_slice(key, at + 4, at + 4 + len);
        at += 4 + len;
    }
}

struct order_context {
    const struct top_pipe *pipe;
    const struct top_state *state;
};

/* Most hits first, then by the values. */
static int by_hits(const void *a, const void *b, void *ctx)
{
    const struct order_context *c = ctx;
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    uint64_t x = c->state->hits.items[i], y = c->state->hits.items[j];
    if (x != y)
        return x > y ? -1 : 1;
    for (size_t k = 0; k < c->pipe->by_count; k++) {
        int d = tel_span_cmp(part(c->pipe, c->state->keys.items[i], k),
                             part(c->pipe, c->state->keys.items[j], k));
        if (d)
            return d;
    }
    return 0;
}

#define EMIT_ROWS 1024

static tel_code emit(struct tel_stage *stage, const size_t *order, size_t from, size_t to,
                     bool full, struct tel_error *err)
{
    const struct top_pipe *t = (const struct top_pipe *)stage->pipe;
    const struct top_state *st = stage->state;
    struct tel_arena *arena = &stage->scratch;
    tel_arena_reset(arena);
    struct tel_column *columns = TEL_ARENA_ARRAY(arena, struct tel_column, t->by_count + 2);
    size_t rows = to - from, n = t->by_count;
    for (size_t i = 0; i < t->by_count; i++) {
        struct tel_span *values = TEL_ARENA_ARRAY(arena, struct tel_span, rows);
        for (size_t r = 0; r < rows; r++)
            values[r] = part(t, st->keys.items[order[from + r]], i);
        columns[i] = (struct tel_column){t->by[i], values};
    }
    if (t->hits.len || stage->exporting) {
        struct tel_span *values = TEL_ARENA_ARRAY(arena, struct tel_span, rows);
        for (size_t r = 0; r < rows; r++)
            values[r] = tel_arena_printf(
                arena, "%llu", full ? 0ull : (unsigned long long)st->hits.items[order[from + r]]);
        columns[n++] =
            (struct tel_column){stage->exporting ? TEL_SPAN(HITS_COLUMN) : t->hits, values};
    }
    if (t->rank.len && !stage->exporting) {
        struct tel_span *values = TEL_ARENA_ARRAY(arena, struct tel_span, rows);
        for (size_t r = 0; r < rows; r++)
            values[r] = tel_arena_printf(arena, "%zu", from + r + 1);
        columns[n++] = (struct tel_column){t->rank, values};
    }
    struct tel_block out = {.rows = rows, .column_count = n, .columns = columns};
    return tel_stage_emit(stage, &out, err);
}

static tel_code finish(struct tel_stage *stage, struct tel_error *err)
{
    const struct top_pipe *t = (const struct top_pipe *)stage->pipe;
    struct top_state *st = stage->state;
    size_t n = st->hits.len;
    bool full = is_full(stage);
    size_t *order = tel_malloc((n + 1) * sizeof *order);
    tel_code rc = TEL_OK;
    struct tel_map_slot *slot;
    for (size_t i = 0; i < n; i++) {
        tel_vec_push(&st->keys, (struct tel_span){0});
        order[i] = i;
    }
    for (size_t i = 0; (slot = tel_map_next(&st->map, &i));)
        st->keys.items[slot->value - 1] = slot->key;
    if (!stage->exporting) {
        if (stage->pipe->ops == &tel_pipe_top) {
            struct order_context ctx = {t, st};
            struct tel_pace pace = tel_stage_pace(stage);
            rc = tel_sort(order, n, sizeof *order, by_hits, &ctx, &pace, err);
            n = (size_t)TEL_MIN((uint64_t)n, t->limit);
        } else if (t->limit) {
            n = (size_t)TEL_MIN((uint64_t)n, t->limit);
        }
    }
    for (size_t i = 0; i < n && rc == TEL_OK; i += EMIT_ROWS)
        rc = emit(stage, order, i, TEL_MIN(i + EMIT_ROWS, n), full && !stage->exporting, err);
    free(order);
    return rc;
}

static void top_close(struct tel_stage *stage)
{
    struct top_state *st = stage->state;
    tel_map_free(&st->map);
    tel_vec_free(&st->hits);
    tel_vec_free(&st->keys);
    tel_buf_free(&st->key);
}

#define TOP_OPS(pipe_name, parse_fn)                                                               \
    {                                                                                              \
        .name = pipe_name, .parse = parse_fn, .print = print, .needed = needed, .counts = counts,  \
        .state_size = sizeof(struct top_state), .push = push, .finish = finish, .close = top_close \
    }

const struct tel_pipe_ops tel_pipe_top = TOP_OPS("top", parse_top);
const struct tel_pipe_ops tel_pipe_uniq = TOP_OPS("uniq", parse_uniq);
const struct tel_pipe_ops tel_pipe_field_values = TOP_OPS("field_values", parse_values);
