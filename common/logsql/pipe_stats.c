/*
 * stats by (a, b:step) f() if (cond) x, g() y: one group per distinct tuple of the `by` values,
 * each with the states of all functions in one piece:
 *
 *     group: [ hash | key bytes ][ state of f | state of g | ... ]
 *
 * A block is grouped first, row by row, and then every function updates all states in one go. Rows
 * whose `by` values are the very bytes of an earlier row's (dictionary columns) find their group in
 * a small table without hashing.
 *
 * Shards hand on one row per group: the `by` columns and a column "#i" per function with its saved
 * state.
 */
#include "common/logsql/stats.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/logsql/bucket.h"
#include "common/logsql/filter.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipe_util.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"

struct stats_by {
    struct tel_span name;
    struct tel_bucket bucket;
};

struct stats_pipe {
    struct tel_pipe base;
    struct stats_by *by;
    size_t by_count;
    struct tel_stats_func *funcs;
    size_t func_count;
    size_t states_size;
};

/* ---- the table of functions
 * ----------------------------------------------------------------------- */

static const struct tel_stats_ops *const functions[] = {
#define TEL_STATS(symbol, name) &tel_stats_##symbol,
#include "common/logsql/stats.def"
#undef TEL_STATS
};

const struct tel_stats_ops *tel_stats_find(struct tel_span name)
{
    char lower[32];
    if (name.len == 0 || name.len > sizeof lower)
        return NULL;
    for (size_t i = 0; i < name.len; i++)
        lower[i] = (char)(name.ptr[i] | ((unsigned)(name.ptr[i] - 'A') < 26 ? 0x20 : 0));
    for (size_t i = 0; i < TEL_ARRAY_LEN(functions); i++)
        if (tel_span_eq(tel_span_make(lower, name.len), tel_span_cstr(functions[i]->name)))
            return functions[i];
    return NULL;
}

/* ---- parsing and printing
 * -------------------------------------------------------------------------- */

static tel_code parse_bucket(struct tel_parser *p, struct stats_by *by)
{
    struct tel_span text;
    size_t at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_compound(p, "a bucket's step", &text));
    if (!tel_bucket_set_step(&by->bucket, text))
        return tel_parse_fail(p, at,
                              "expected a bucket's step such as 1m, day, 10KB or /24, found %.*s",
                              (int)TEL_MIN(text.len, 60), text.ptr);
    if (!tel_parse_accept(p, "offset"))
        return TEL_OK;
    at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_compound(p, "a bucket's offset", &text));
    if (!tel_bucket_set_offset(&by->bucket, text))
        return tel_parse_fail(p, at, "expected a bucket's offset such as 2h, found %.*s",
                              (int)TEL_MIN(text.len, 60), text.ptr);
    return TEL_OK;
}

static tel_code parse_by(struct tel_parser *p, struct stats_pipe *s)
{
    TEL_VEC(struct stats_by) v = {0};
    tel_code rc = tel_parse_expect(p, "(", "'(' before the fields to group by");
    while (rc == TEL_OK && !tel_parse_is(p, ")")) {
        struct stats_by by = {0};
        rc = tel_parse_phrase(p, "a field to group by", false, &by.name);
        if (rc == TEL_OK && by.name.len == 0)
            by.name = TEL_SPAN("_msg");
        if (rc == TEL_OK && tel_parse_accept(p, ":"))
            rc = parse_bucket(p, &by);
        if (rc != TEL_OK)
            break;
        tel_vec_push(&v, by);
        if (!tel_parse_is(p, ")"))
            rc = tel_parse_expect(p, ",", "',' or ')' behind the field to group by");
    }
    if (rc == TEL_OK) {
        tel_lexer_next(&p->lex);
        s->by = TEL_ARENA_ARRAY(p->arena, struct stats_by, v.len + 1);
        if (v.len)
            memcpy(s->by, v.items, v.len * sizeof v.items[0]);
        s->by_count = v.len;
    }
    tel_vec_free(&v);
    return rc;
}

void tel_stats_func_print(struct tel_buf *out, const struct tel_stats_func *f)
{
    bool first = f->phi_text.len || f->source.len;
    tel_buf_printf(out, "%s(", f->ops->name);
    if (f->source.len)
        tel_print_token(out, f->source);
    else
        tel_buf_add_span(out, f->phi_text);
    if (first && !f->all_fields)
        TEL_BUF_ADD_LIT(out, ", ");
    if (!f->all_fields)
        tel_print_fields(out, f->fields, f->field_count);
    else if (!first && !f->ops->no_args)
        tel_buf_add_char(out, '*');
    tel_buf_add_char(out, ')');
    if (f->limit)
        tel_buf_printf(out, " limit %llu", (unsigned long long)f->limit);
}

static tel_code parse_func(struct tel_parser *p, struct tel_stats_func *f)
{
    if (p->lex.token.kind != TEL_TOKEN_WORD || !(f->ops = tel_stats_find(p->lex.token.text)))
        return tel_parse_expected(p, "a stats function such as count()");
    tel_lexer_next(&p->lex);
    if (f->ops->parse)
        TEL_TRY(f->ops->parse(p, f));
    else
        TEL_TRY(tel_parse_fields_in_parens(p, &f->fields, &f->field_count));
    f->all_fields = f->field_count == 0;
    if (f->ops->no_args && f->field_count)
        return tel_parse_expected(p, "no arguments of this function");
    for (size_t i = 0; i < f->field_count; i++)
        f->all_fields = f->all_fields || tel_span_eq_cstr(f->fields[i], "*");
    if (f->all_fields) {
        f->fields = TEL_ARENA_NEW(p->arena, struct tel_span);
        f->fields[0] = TEL_SPAN("*");
        f->field_count = 1;
    }
    if (f->ops->has_limit && tel_parse_accept(p, "limit"))
        TEL_TRY(tel_parse_uint(p, "a limit", &f->limit));
    TEL_TRY(tel_parse_if(p, &f->condition));
    if (tel_parse_accept(p, "as"))
        return tel_parse_field(p, &f->name);
    if (!tel_parse_is(p, ",") && !tel_parse_at_end(p))
        return tel_parse_field(p, &f->name);
    struct tel_buf name = {0};
    tel_stats_func_print(&name, f);
    tel_print_if(&name, f->condition);
    f->name = tel_arena_copy(p->arena, tel_buf_span(&name));
    tel_buf_free(&name);
    return TEL_OK;
}

static tel_code parse(struct tel_parser *p, struct tel_pipe **ret)
{
    struct stats_pipe *s = TEL_ARENA_NEW(p->arena, struct stats_pipe);
    if (tel_parse_accept(p, "by") || tel_parse_is(p, "("))
        TEL_TRY(parse_by(p, s));
    TEL_VEC(struct tel_stats_func) v = {0};
    tel_code rc;
    do {
        struct tel_stats_func f = {.pipe = &s->base};
        size_t at = tel_lexer_offset(&p->lex);
        rc = parse_func(p, &f);
        for (size_t i = 0; i < v.len && rc == TEL_OK; i++)
            if (tel_span_eq(v.items[i].name, f.name))
                rc = tel_parse_fail(p, at, "a second result called %.*s", TEL_SPAN_ARG(f.name));
        for (size_t i = 0; i < s->by_count && rc == TEL_OK; i++)
            if (tel_span_eq(s->by[i].name, f.name))
                rc = tel_parse_fail(p, at, "a result called as the field %.*s that is grouped by",
                                    TEL_SPAN_ARG(f.name));
        if (rc == TEL_OK) {
            f.offset = s->states_size;
            s->states_size += (f.ops->state_size + 15) & ~(size_t)15;
            tel_vec_push(&v, f);
        }
    } while (rc == TEL_OK && tel_parse_accept(p, ","));
    if (rc == TEL_OK) {
        s->funcs = TEL_ARENA_ARRAY(p->arena, struct tel_stats_func, v.len);
        memcpy(s->funcs, v.items, v.len * sizeof v.items[0]);
        s->func_count = v.len;
        *ret = &s->base;
    }
    tel_vec_free(&v);
    return rc;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct stats_pipe *s = (const struct stats_pipe *)pipe;
    TEL_BUF_ADD_LIT(out, "stats ");
    if (s->by_count) {
        TEL_BUF_ADD_LIT(out, "by (");
        for (size_t i = 0; i < s->by_count; i++) {
            const struct tel_bucket *b = &s->by[i].bucket;
            if (i)
                TEL_BUF_ADD_LIT(out, ", ");
            tel_print_token(out, s->by[i].name);
            if (b->given) {
                tel_buf_add_char(out, ':');
                tel_buf_add_span(out, b->text);
            }
            if (b->offset_text.len) {
                TEL_BUF_ADD_LIT(out, " offset ");
                tel_buf_add_span(out, b->offset_text);
            }
        }
        TEL_BUF_ADD_LIT(out, ") ");
    }
    for (size_t i = 0; i < s->func_count; i++) {
        if (i)
            TEL_BUF_ADD_LIT(out, ", ");
        tel_stats_func_print(out, &s->funcs[i]);
        tel_print_if(out, s->funcs[i].condition);
        TEL_BUF_ADD_LIT(out, " as ");
        tel_print_token(out, s->funcs[i].name);
    }
}

/* What the functions need. */
static void needed_by_funcs(const struct stats_pipe *s, struct tel_fields *fields)
{
    for (size_t i = 0; i < s->func_count; i++) {
        const struct tel_stats_func *f = &s->funcs[i];
        if (f->condition)
            tel_filter_fields(f->condition, fields);
        if (!(f->all_fields && f->ops->needs_nothing))
            tel_fields_add_all(fields, f->fields, f->field_count);
        if (f->source.len)
            tel_fields_add(fields, f->source);
    }
}

static void needed(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    const struct stats_pipe *s = (const struct stats_pipe *)pipe;
    tel_fields_clear(fields);
    for (size_t i = 0; i < s->by_count; i++)
        tel_fields_add(fields, s->by[i].name);
    needed_by_funcs(s, fields);
}

static bool counts(const struct tel_pipe *pipe, struct tel_pipe_counting *ret)
{
    const struct stats_pipe *s = (const struct stats_pipe *)pipe;
    size_t times = 0;
    for (size_t i = 0; i < s->func_count; i++)
        if (!s->funcs[i].ops->takes_hits)
            return false;
    for (size_t i = 0; i < s->by_count; i++) {
        if (!tel_span_eq_cstr(s->by[i].name, TEL_FIELD_TIME))
            continue;
        times++;
        ret->bucket = s->by[i].bucket.given ? &s->by[i].bucket : NULL;
    }
    struct tel_arena arena;
    struct tel_fields of_funcs;
    tel_arena_init(&arena, 0);
    tel_fields_init(&of_funcs, &arena);
    needed_by_funcs(s, &of_funcs);
    if (times != 1 || tel_fields_has(&of_funcs, TEL_SPAN(TEL_FIELD_TIME)))
        ret->bucket = NULL;
    tel_arena_free(&arena);
    return true;
}

static bool any_order(const struct tel_pipe *pipe)
{
    const struct stats_pipe *s = (const struct stats_pipe *)pipe;
    for (size_t i = 0; i < s->func_count; i++)
        if (!s->funcs[i].ops->takes_hits && !s->funcs[i].ops->any_order)
            return false;
    return true;
}

static tel_code filters(struct tel_pipe *pipe, tel_filter_visitor visit, void *ctx,
                        struct tel_error *err)
{
    struct stats_pipe *s = (struct stats_pipe *)pipe;
    for (size_t i = 0; i < s->func_count; i++) {
        tel_code rc = s->funcs[i].condition ? visit(ctx, &s->funcs[i].condition, err) : TEL_OK;
        if (rc != TEL_OK)
            return rc;
    }
    return TEL_OK;
}

/* ---- groups
 * ----------------------------------------------------------------------------------------- */

struct stats_group {
    uint64_t hash;
    struct tel_span key; /* the value itself, or length-prefixed values if there are several */
    char states[] __attribute__((aligned(16)));
};

#define RECENT 256 /* entries of the table of bytes seen in this block; a power of two */

struct recent {
    const char *ptr;
    size_t len;
    struct stats_group *group;
};

struct stats_state {
    struct tel_arena arena;
    struct stats_group **slots; /* open addressing */
    size_t cap;
    TEL_VEC(struct stats_group *) list;
    struct tel_buf key;
    struct recent recent[RECENT];
    size_t held; /* bytes that states hold outside, as last charged */
};

static void grow(struct stats_state *st)
{
    size_t cap = st->cap ? st->cap * 2 : 256;
    struct stats_group **slots = tel_calloc(cap, sizeof *slots);
    for (size_t i = 0; i < st->list.len; i++) {
        size_t at = (size_t)st->list.items[i]->hash & (cap - 1);
        while (slots[at])
            at = (at + 1) & (cap - 1);
        slots[at] = st->list.items[i];
    }
    free(st->slots);
    st->slots = slots;
    st->cap = cap;
}

static struct stats_group *find_group(struct tel_stage *stage, struct tel_span key, tel_code *rc,
                                      struct tel_error *err)
{
    const struct stats_pipe *s = (const struct stats_pipe *)stage->pipe;
    struct stats_state *st = stage->state;
    uint64_t hash = tel_hash64(key, 0);
    if ((st->list.len + 1) * 2 > st->cap)
        grow(st);
    size_t at = (size_t)hash & (st->cap - 1);
    for (; st->slots[at]; at = (at + 1) & (st->cap - 1))
        if (st->slots[at]->hash == hash && tel_span_eq(st->slots[at]->key, key))
            return st->slots[at];
    size_t size = sizeof(struct stats_group) + s->states_size;
    struct stats_group *g = tel_arena_alloc(&st->arena, size);
    memset(g, 0, size);
    g->hash = hash;
    g->key = tel_arena_copy(&st->arena, key);
    for (size_t i = 0; i < s->func_count; i++)
        if (s->funcs[i].ops->init)
            s->funcs[i].ops->init(&s->funcs[i], g->states + s->funcs[i].offset);
    st->slots[at] = g;
    tel_vec_push(&st->list, g);
    *rc = tel_stage_charge(stage, size + key.len + 4 * sizeof g, err);
    return g;
}

/* The values to group by: buckets are made here. */
static const struct tel_span *by_values(struct tel_stage *stage, const struct stats_by *by,
                                        const struct tel_block *block)
{
    struct tel_arena *arena = &stage->scratch;
    const struct tel_column *column = tel_block_column(block, by->name);
    if (!column)
        return NULL;
    if (!by->bucket.given || stage->importing)
        return tel_block_values(block, by->name, arena);
    struct tel_span *out = tel_arena_alloc(arena, block->rows * sizeof *out);
    struct tel_buf text = {0};
    int64_t last = 0;
    for (size_t i = 0; i < block->rows; i++) {
        if (!column->values) {
            int64_t t = tel_bucket_time(&by->bucket, block->keys[i].time_ns);
            if (i > 0 && t == last) {
                out[i] = out[i - 1];
                continue;
            }
            last = t;
            char *p = tel_arena_alloc_aligned(arena, TEL_TIME_TEXT_MAX, 1);
            out[i] = tel_span_make(p, tel_time_format(p, t));
        } else if (i > 0 && column->values[i].ptr == column->values[i - 1].ptr &&
                   column->values[i].len == column->values[i - 1].len) {
            out[i] = out[i - 1];
        } else {
            tel_bucket_value(&by->bucket, column->values[i], &text);
            out[i] = tel_text_take(arena, &text);
        }
    }
    tel_buf_free(&text);
    return out;
}

static tel_code group_one(struct tel_stage *stage, const struct tel_span *values, size_t rows,
                          char **groups, struct tel_error *err)
{
    struct stats_state *st = stage->state;
    tel_code rc = TEL_OK;
    memset(st->recent, 0, sizeof st->recent);
    for (size_t i = 0; i < rows && rc == TEL_OK; i++) {
        struct tel_span v = values[i];
        if (i > 0 && v.ptr == values[i - 1].ptr && v.len == values[i - 1].len) {
            groups[i] = groups[i - 1];
            continue;
        }
        struct recent *r = &st->recent[tel_hash_u64((uintptr_t)v.ptr) & (RECENT - 1)];
        if (!r->group || r->ptr != v.ptr || r->len != v.len) {
            r->group = find_group(stage, v, &rc, err);
            r->ptr = v.ptr;
            r->len = v.len;
        }
        groups[i] = r->group->states;
    }
    return rc;
}

static tel_code group_many(struct tel_stage *stage, const struct tel_span *const *by, size_t count,
                           size_t rows, char **groups, struct tel_error *err)
{
    struct stats_state *st = stage->state;
    tel_code rc = TEL_OK;
    for (size_t i = 0; i < rows && rc == TEL_OK; i++) {
        bool same = i > 0;
        for (size_t c = 0; c < count && same; c++)
            same = !by[c] || (by[c][i].ptr == by[c][i - 1].ptr && by[c][i].len == by[c][i - 1].len);
        if (same) {
            groups[i] = groups[i - 1];
            continue;
        }
        tel_buf_clear(&st->key);
        for (size_t c = 0; c < count; c++) {
            struct tel_span v = by[c] ? by[c][i] : (struct tel_span){0};
            tel_buf_add_le32(&st->key, (uint32_t)v.len);
            tel_buf_add_span(&st->key, v);
        }
        groups[i] = find_group(stage, tel_buf_span(&st->key), &rc, err)->states;
    }
    return rc;
}

/* Fills groups[0..rows), or *ret_single if all rows belong to one. */
static tel_code group_rows(struct tel_stage *stage, const struct tel_block *block, char **groups,
                           char **ret_single, struct tel_error *err)
{
    const struct stats_pipe *s = (const struct stats_pipe *)stage->pipe;
    tel_code rc = TEL_OK;
    *ret_single = NULL;
    if (s->by_count == 0) {
        *ret_single = find_group(stage, TEL_SPAN(""), &rc, err)->states;
        return rc;
    }
    const struct tel_span **by =
        TEL_ARENA_ARRAY(&stage->scratch, const struct tel_span *, s->by_count);
    for (size_t i = 0; i < s->by_count; i++)
        by[i] = by_values(stage, &s->by[i], block);
    if (s->by_count > 1)
        return group_many(stage, by, s->by_count, block->rows, groups, err);
    if (by[0])
        return group_one(stage, by[0], block->rows, groups, err);
    *ret_single = find_group(stage, TEL_SPAN(""), &rc, err)->states;
    return rc;
}

/* ---- updating
 * ------------------------------------------------------------------------------------------ */

static void resolve_columns(struct tel_stage *stage, const struct tel_stats_func *f,
                            const struct tel_block *block, struct tel_stats_batch *b,
                            const struct tel_span **empty)
{
    struct tel_arena *arena = &stage->scratch;
    size_t cap = f->field_count + block->column_count + 1, n = 0;
    struct tel_span *names = TEL_ARENA_ARRAY(arena, struct tel_span, cap);
    const struct tel_span **columns = TEL_ARENA_ARRAY(arena, const struct tel_span *, cap);
    bool wildcard = false;
    for (size_t i = 0; i < f->field_count; i++) {
        if (tel_field_is_wildcard(f->fields[i])) {
            wildcard = true;
            continue;
        }
        names[n] = f->fields[i];
        columns[n] = tel_block_values(block, f->fields[i], arena);
        if (!columns[n]) {
            if (!*empty)
                *empty = TEL_ARENA_ARRAY(arena, struct tel_span, block->rows + 1);
            columns[n] = *empty;
        }
        n++;
    }
    for (size_t i = 0; wildcard && i < block->column_count; i++) {
        bool named = false;
        for (size_t k = 0; k < n && !named; k++)
            named = tel_span_eq(names[k], block->columns[i].name);
        if (named || !tel_field_matches_any(f->fields, f->field_count, block->columns[i].name))
            continue;
        if (n == cap)
            break;
        names[n] = block->columns[i].name;
        columns[n++] = tel_block_values(block, block->columns[i].name, arena);
    }
    b->names = names;
    b->columns = columns;
    b->column_count = n;
}

/* States grow outside the arena; what they hold in all is charged as it grows. */
static tel_code charge_held(struct tel_stage *stage, const struct tel_stats_func *f,
                            char *const *groups, char *single, size_t rows, bool before,
                            size_t *held, struct tel_error *err)
{
    if (!f->ops->held)
        return TEL_OK;
    size_t sum = 0;
    const char *last = NULL;
    for (size_t i = 0; i < (single ? 1 : rows); i++) {
        const char *g = single ? single : groups[i];
        if (!g || g == last)
            continue;
        last = g;
        sum += f->ops->held(g + f->offset);
    }
    if (before) {
        *held = sum;
        return TEL_OK;
    }
    /* A group that rows of a block return to is counted as often before as after. */
    return sum > *held ? tel_stage_charge(stage, sum - *held, err) : TEL_OK;
}

static tel_code update_func(struct tel_stage *stage, const struct tel_stats_func *f,
                            const struct tel_block *block, char **groups, char *single,
                            const struct tel_span **empty, struct tel_error *err)
{
    struct tel_stats_batch b = {
        .stage = stage, .block = block, .rows = block->rows, .groups = groups, .single = single};
    if (f->condition) {
        uint64_t *bitmap;
        tel_code rc = tel_pipe_matching(stage, f->condition, block, &bitmap, err);
        if (rc != TEL_OK)
            return rc;
        char **some = TEL_ARENA_ARRAY(&stage->scratch, char *, block->rows + 1);
        for (size_t i = 0; i < block->rows; i++)
            some[i] = tel_bitmap_get(bitmap, i) ? (single ? single : groups[i]) : NULL;
        b.groups = some;
        b.single = NULL;
    }
    if (!(f->all_fields && f->ops->needs_nothing))
        resolve_columns(stage, f, block, &b, empty);
    if (f->source.len)
        b.source = tel_block_values(block, f->source, &stage->scratch);
    size_t held = 0;
    tel_code rc = charge_held(stage, f, b.groups, b.single, b.rows, true, &held, err);
    if (rc == TEL_OK)
        rc = f->ops->update(f, &b, err);
    if (rc == TEL_OK)
        rc = charge_held(stage, f, b.groups, b.single, b.rows, false, &held, err);
    return rc;
}

static tel_code import(struct tel_stage *stage, const struct tel_block *block, char *const *groups,
                       char *single, struct tel_error *err)
{
    const struct stats_pipe *s = (const struct stats_pipe *)stage->pipe;
    for (size_t i = 0; i < s->func_count; i++) {
        const struct tel_stats_func *f = &s->funcs[i];
        struct tel_span name = tel_arena_printf(&stage->scratch, "#%zu", i);
        const struct tel_column *column = tel_block_column(block, name);
        for (size_t r = 0; r < block->rows; r++) {
            char *group = single ? single : groups[r];
            size_t before = f->ops->held ? f->ops->held(group + f->offset) : 0;
            /* A column whose values are all empty does not travel. */
            struct tel_span saved = TEL_SPAN("");
            if (column && column->values && column->values[r].len)
                saved = column->values[r];
            if (!f->ops->merge(f, group + f->offset, saved))
                return tel_error_set(err, TEL_ERR_CORRUPT, "a shard sent no valid state of %s",
                                     f->ops->name);
            size_t after = f->ops->held ? f->ops->held(group + f->offset) : 0;
            tel_code rc = after > before ? tel_stage_charge(stage, after - before, err) : TEL_OK;
            if (rc != TEL_OK)
                return rc;
        }
    }
    return TEL_OK;
}

static tel_code push(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    const struct stats_pipe *s = (const struct stats_pipe *)stage->pipe;
    char **groups = TEL_ARENA_ARRAY(&stage->scratch, char *, block->rows + 1), *single;
    tel_code rc = group_rows(stage, block, groups, &single, err);
    if (rc != TEL_OK)
        return rc;
    if (stage->importing)
        return import(stage, block, groups, single, err);
    const struct tel_span *empty = NULL;
    for (size_t i = 0; i < s->func_count && rc == TEL_OK; i++)
        rc = update_func(stage, &s->funcs[i], block, groups, single, &empty, err);
    return rc;
}

/* ---- results
 * ---------------------------------------------------------------------------------------------- */

#define EMIT_ROWS 1024

/* The `by` values of a group, out of its key. */
static void split_key(const struct stats_pipe *s, const struct stats_group *g, size_t row,
                      struct tel_span **cells)
{
    if (s->by_count == 1) {
        cells[0][row] = g->key;
        return;
    }
    size_t at = 0;
    for (size_t i = 0; i < s->by_count; i++) {
        const unsigned char *p = (const unsigned char *)g->key.ptr + at;
        size_t len = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
        cells[i][row] = tel_span_slice(g->key, at + 4, at + 4 + len);
        at += 4 + len;
    }
}

static tel_code emit(struct tel_stage *stage, struct stats_group *const *groups, size_t count,
                     struct tel_error *err)
{
    const struct stats_pipe *s = (const struct stats_pipe *)stage->pipe;
    struct tel_arena *arena = &stage->scratch;
    tel_arena_reset(arena);
    size_t n = s->by_count + s->func_count;
    struct tel_span **cells = TEL_ARENA_ARRAY(arena, struct tel_span *, n);
    struct tel_column *columns = TEL_ARENA_ARRAY(arena, struct tel_column, n);
    for (size_t i = 0; i < n; i++) {
        cells[i] = TEL_ARENA_ARRAY(arena, struct tel_span, count);
        columns[i].values = cells[i];
        if (i < s->by_count)
            columns[i].name = s->by[i].name;
        else if (stage->exporting)
            columns[i].name = tel_arena_printf(arena, "#%zu", i - s->by_count);
        else
            columns[i].name = s->funcs[i - s->by_count].name;
    }
    struct tel_buf text = {0};
    for (size_t r = 0; r < count; r++) {
        if (s->by_count)
            split_key(s, groups[r], r, cells);
        for (size_t i = 0; i < s->func_count; i++) {
            const struct tel_stats_func *f = &s->funcs[i];
            const char *state = groups[r]->states + f->offset;
            if (stage->exporting)
                f->ops->save(f, state, &text);
            else
                f->ops->result(f, state, stage, &text);
            cells[s->by_count + i][r] = tel_text_take(arena, &text);
        }
    }
    tel_buf_free(&text);
    struct tel_block out = {.rows = count, .column_count = n, .columns = columns};
    return tel_stage_emit(stage, &out, err);
}

static tel_code finish(struct tel_stage *stage, struct tel_error *err)
{
    const struct stats_pipe *s = (const struct stats_pipe *)stage->pipe;
    struct stats_state *st = stage->state;
    tel_code rc = TEL_OK;
    if (s->by_count == 0 && st->list.len == 0 && !stage->exporting)
        find_group(stage, TEL_SPAN(""), &rc, err); /* no rows are a row of zeroes */
    for (size_t i = 0; i < st->list.len && rc == TEL_OK; i += EMIT_ROWS) {
        rc = emit(stage, st->list.items + i, TEL_MIN(EMIT_ROWS, st->list.len - i), err);
        if (rc == TEL_OK)
            rc = tel_stage_stopped(stage, err);
    }
    return rc;
}

double tel_stats_rate_seconds(const struct tel_stage *stage)
{
    const struct stats_pipe *s = (const struct stats_pipe *)stage->pipe;
    for (size_t i = 0; i < s->by_count; i++)
        if (tel_span_eq_cstr(s->by[i].name, TEL_FIELD_TIME) && s->by[i].bucket.given)
            return (double)s->by[i].bucket.step_ns / 1e9;
    int64_t min, max;
    if (!tel_filter_time_range(stage->query->filter, &min, &max))
        return 0;
    if (stage->exec->start_ns || stage->exec->end_ns) {
        min = TEL_MAX(min, stage->exec->start_ns);
        max = TEL_MIN(max, stage->exec->end_ns - 1);
    }
    if (min == INT64_MIN || max == INT64_MAX || min > max)
        return 0;
    return ((double)((uint64_t)max - (uint64_t)min) + 1) / 1e9;
}

static void stats_close(struct tel_stage *stage)
{
    const struct stats_pipe *s = (const struct stats_pipe *)stage->pipe;
    struct stats_state *st = stage->state;
    for (size_t i = 0; i < s->func_count; i++)
        for (size_t g = 0; s->funcs[i].ops->drop && g < st->list.len; g++)
            s->funcs[i].ops->drop(st->list.items[g]->states + s->funcs[i].offset);
    free(st->slots);
    tel_vec_free(&st->list);
    tel_buf_free(&st->key);
    tel_arena_free(&st->arena);
}

const struct tel_pipe_ops tel_pipe_stats = {.name = "stats",
                                            .parse = parse,
                                            .print = print,
                                            .needed = needed,
                                            .filters = filters,
                                            .counts = counts,
                                            .any_order = any_order,
                                            .state_size = sizeof(struct stats_state),
                                            .push = push,
                                            .finish = finish,
                                            .close = stats_close};

bool tel_stats_by_field(const struct tel_pipe *pipe, size_t i, struct tel_span *ret)
{
    const struct stats_pipe *s = (const struct stats_pipe *)pipe;
    if (pipe->ops != &tel_pipe_stats || i >= s->by_count)
        return false;
    *ret = s->by[i].name;
    return true;
}
