/*
 * facets N: the most frequent values of every field. field_names: the names of the fields and in
 * how many rows each has a value. Both keep a table per field; shards hand it on as rows of (field,
 * value, count) with the columns "#field", "#value", "#hits". A field without a value there has too
 * many values, or too long ones, to be shown; one row without a field counts all rows.
 */
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipe_util.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"

struct facets_pipe {
    struct tel_pipe base;
    uint64_t limit, max_values, max_len;
    bool keep_const;
    struct tel_span result; /* field_names: what the column of names is called */
};

struct facet {
    struct tel_span name;
    struct tel_map values; /* -> hits */
    uint64_t hits;         /* field_names */
    bool ignored;
};

struct facets_state {
    struct tel_map index; /* name -> index + 1 */
    TEL_VEC(struct facet *) list;
    struct tel_arena arena;
    uint64_t rows;
};

static bool is_names(const struct tel_stage *stage)
{
    return stage->pipe->ops == &tel_pipe_field_names;
}

static tel_code parse_number(struct tel_parser *p, uint64_t *ret)
{
    size_t at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_uint(p, "a number", ret));
    return *ret ? TEL_OK : tel_parse_fail(p, at, "expected a number above 0");
}

static tel_code parse_facets(struct tel_parser *p, struct tel_pipe **ret)
{
    struct facets_pipe *f = TEL_ARENA_NEW(p->arena, struct facets_pipe);
    f->limit = 10;
    f->max_values = 1000;
    f->max_len = 128;
    if (tel_parse_is_number(p))
        TEL_TRY(parse_number(p, &f->limit));
    while (!tel_parse_at_end(p)) {
        if (tel_parse_accept(p, "max_values_per_field"))
            TEL_TRY(parse_number(p, &f->max_values));
        else if (tel_parse_accept(p, "max_value_len"))
            TEL_TRY(parse_number(p, &f->max_len));
        else if (tel_parse_accept(p, "keep_const_fields"))
            f->keep_const = true;
        else
            return tel_parse_expected(
                p, "max_values_per_field, max_value_len, keep_const_fields or '|'");
    }
    *ret = &f->base;
    return TEL_OK;
}

static tel_code parse_names(struct tel_parser *p, struct tel_pipe **ret)
{
    struct facets_pipe *f = TEL_ARENA_NEW(p->arena, struct facets_pipe);
    f->result = TEL_SPAN("name");
    if (tel_parse_accept(p, "as") || !tel_parse_at_end(p))
        TEL_TRY(tel_parse_field(p, &f->result));
    *ret = &f->base;
    return TEL_OK;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct facets_pipe *f = (const struct facets_pipe *)pipe;
    tel_buf_printf(out, "%s", pipe->ops->name);
    if (pipe->ops == &tel_pipe_field_names) {
        if (!tel_span_eq_cstr(f->result, "name")) {
            TEL_BUF_ADD_LIT(out, " as ");
            tel_print_token(out, f->result);
        }
        return;
    }
    tel_buf_printf(out, " %llu max_values_per_field %llu max_value_len %llu%s",
                   (unsigned long long)f->limit, (unsigned long long)f->max_values,
                   (unsigned long long)f->max_len, f->keep_const ? " keep_const_fields" : "");
}

static void needed(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    (void)pipe;
    tel_fields_clear(fields);
    tel_fields_add(fields, TEL_SPAN("*"));
}

/* A field that has too many values is not looked at again; names are told by presence. */
static enum tel_want wants(const struct tel_stage *stage, struct tel_span field)
{
    const struct facets_state *st = stage->state;
    if (is_names(stage))
        return TEL_WANT_PRESENCE;
    const uint64_t *at = tel_map_get(&st->index, field);
    return at && st->list.items[*at - 1]->ignored ? TEL_WANT_NOTHING : TEL_WANT_VALUES;
}

static struct facet *facet_of(struct tel_stage *stage, struct tel_span name, tel_code *rc,
                              struct tel_error *err)
{
    struct facets_state *st = stage->state;
    bool is_new;
    uint64_t *at = tel_map_put(&st->index, name, &is_new);
    if (is_new) {
        struct facet *f = TEL_ARENA_NEW(&st->arena, struct facet);
        f->name = tel_arena_copy(&st->arena, name);
        tel_vec_push(&st->list, f);
        *at = st->list.len;
        *rc = tel_stage_charge(stage, name.len + 256, err);
    }
    return st->list.items[*at - 1];
}

static void ignore(struct facet *f)
{
    f->ignored = true;
    tel_map_free(&f->values);
}

static tel_code add_value(struct tel_stage *stage, struct facet *f, struct tel_span value,
                          uint64_t hits, struct tel_error *err)
{
    const struct facets_pipe *pipe = (const struct facets_pipe *)stage->pipe;
    bool is_new;
    if (f->ignored)
        return TEL_OK;
    if (value.len > pipe->max_len) {
        ignore(f);
        return TEL_OK;
    }
    *tel_map_put(&f->values, value, &is_new) += hits;
    if (f->values.len > pipe->max_values)
        ignore(f);
    return is_new ? tel_stage_charge(stage, value.len + 64, err) : TEL_OK;
}

static tel_code import(struct tel_stage *stage, const struct tel_block *block,
                       struct tel_error *err)
{
    struct facets_state *st = stage->state;
    const struct tel_column *fields = tel_block_column(block, TEL_SPAN("#field"));
    const struct tel_column *values = tel_block_column(block, TEL_SPAN("#value"));
    const struct tel_column *hits = tel_block_column(block, TEL_SPAN("#hits"));
    tel_code rc = TEL_OK;
    for (size_t r = 0; r < block->rows && rc == TEL_OK; r++) {
        unsigned long long n;
        /* Columns whose values are all empty do not travel. */
        struct tel_span field = fields && fields->values ? fields->values[r] : TEL_SPAN("");
        struct tel_span value = values && values->values ? values->values[r] : TEL_SPAN("");
        if (!hits || !hits->values || !tel_span_to_u64(hits->values[r], &n))
            return tel_error_set(err, TEL_ERR_CORRUPT, "a shard sent no valid state of %s",
                                 stage->pipe->ops->name);
        if (field.len == 0) {
            st->rows += n;
            continue;
        }
        struct facet *f = facet_of(stage, field, &rc, err);
        if (is_names(stage))
            f->hits += n;
        else if (value.len == 0)
            ignore(f);
        else if (rc == TEL_OK)
            rc = add_value(stage, f, value, n, err);
    }
    return rc;
}

static tel_code push(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    struct facets_state *st = stage->state;
    tel_code rc = TEL_OK;
    if (stage->importing)
        return import(stage, block, err);
    st->rows += block->rows;
    for (size_t c = 0; c < block->column_count && rc == TEL_OK; c++) {
        struct facet *f = facet_of(stage, block->columns[c].name, &rc, err);
        const struct tel_span *values = block->columns[c].values;
        if (is_names(stage)) {
            for (size_t r = 0; r < block->rows; r++)
                f->hits += !values || values[r].len > 0;
            continue;
        }
        if (f->ignored)
            continue;
        values = tel_block_values(block, block->columns[c].name, &stage->scratch);
        for (size_t r = 0; r < block->rows && rc == TEL_OK && !f->ignored;) {
            size_t run = 1; /* rows that share their bytes count at once */
            while (r + run < block->rows && values[r + run].ptr == values[r].ptr &&
                   values[r + run].len == values[r].len)
                run++;
            if (values[r].len)
                rc = add_value(stage, f, values[r], run, err);
            r += run;
        }
    }
    return rc;
}

/* ---- results
 * ------------------------------------------------------------------------------------------ */

struct rows {
    struct tel_stage *stage;
    struct tel_span *cells[3];
    size_t len;
};

#define EMIT_ROWS 1024

static tel_code flush(struct rows *rows, struct tel_error *err)
{
    struct tel_stage *stage = rows->stage;
    static const char *const shown[] = {"field_name", "field_value", "hits"};
    static const char *const exported[] = {"#field", "#value", "#hits"};
    struct tel_column columns[3];
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        struct tel_span name = tel_span_cstr(stage->exporting ? exported[i] : shown[i]);
        if (is_names(stage) && !stage->exporting) {
            if (i == 1)
                continue;
            struct tel_span result = ((const struct facets_pipe *)stage->pipe)->result;
            if (i == 0)
                name = result;
            else if (tel_span_eq(name, result))
                name = TEL_SPAN("hitss");
        }
        columns[n++] = (struct tel_column){name, rows->cells[i]};
    }
    struct tel_block out = {.rows = rows->len, .column_count = n, .columns = columns};
    tel_code rc = tel_stage_emit(stage, &out, err);
    tel_arena_reset(&stage->scratch);
    rows->len = 0;
    return rc;
}

static tel_code add_row(struct rows *rows, struct tel_span field, struct tel_span value,
                        uint64_t hits, struct tel_error *err)
{
    struct tel_arena *arena = &rows->stage->scratch;
    if (rows->len == 0)
        for (size_t i = 0; i < 3; i++)
            rows->cells[i] = TEL_ARENA_ARRAY(arena, struct tel_span, EMIT_ROWS);
    rows->cells[0][rows->len] = field;
    rows->cells[1][rows->len] = value;
    rows->cells[2][rows->len] = tel_arena_printf(arena, "%llu", (unsigned long long)hits);
    return ++rows->len == EMIT_ROWS ? flush(rows, err) : TEL_OK;
}

static int by_name(const void *a, const void *b)
{
    return tel_span_cmp((*(struct facet *const *)a)->name, (*(struct facet *const *)b)->name);
}

static int by_hits(const void *a, const void *b)
{
    const struct tel_map_slot *x = a, *y = b;
    if (x->value != y->value)
        return x->value > y->value ? -1 : 1;
    return tel_span_cmp(x->key, y->key);
}

static tel_code emit_values(struct tel_stage *stage, struct facet *f, struct rows *rows,
                            struct tel_error *err)
{
    const struct facets_pipe *pipe = (const struct facets_pipe *)stage->pipe;
    const struct facets_state *st = stage->state;
    size_t n = 0;
    struct tel_map_slot *slot, *slots = tel_malloc((f->values.len + 1) * sizeof *slots);
    for (size_t i = 0; (slot = tel_map_next(&f->values, &i));)
        slots[n++] = *slot;
    tel_code rc = TEL_OK;
    if (!stage->exporting) {
        qsort(slots, n, sizeof *slots, by_hits);
        if (n == 1 && slots[0].value == st->rows && !pipe->keep_const)
            n = 0;
        n = (size_t)TEL_MIN((uint64_t)n, pipe->limit);
    }
    for (size_t i = 0; i < n && rc == TEL_OK; i++)
        rc = add_row(rows, f->name, slots[i].key, slots[i].value, err);
    free(slots);
    return rc;
}

static tel_code finish(struct tel_stage *stage, struct tel_error *err)
{
    struct facets_state *st = stage->state;
    struct rows rows = {.stage = stage};
    tel_code rc = TEL_OK;
    if (st->list.len)
        qsort(st->list.items, st->list.len, sizeof *st->list.items, by_name);
    if (stage->exporting && st->rows)
        rc = add_row(&rows, TEL_SPAN(""), TEL_SPAN(""), st->rows, err);
    for (size_t i = 0; i < st->list.len && rc == TEL_OK; i++) {
        struct facet *f = st->list.items[i];
        if (is_names(stage))
            rc = f->hits ? add_row(&rows, f->name, TEL_SPAN(""), f->hits, err) : TEL_OK;
        else if (f->ignored)
            rc = stage->exporting ? add_row(&rows, f->name, TEL_SPAN(""), 0, err) : TEL_OK;
        else
            rc = emit_values(stage, f, &rows, err);
    }
    return rc == TEL_OK && rows.len ? flush(&rows, err) : rc;
}

static void facets_close(struct tel_stage *stage)
{
    struct facets_state *st = stage->state;
    for (size_t i = 0; i < st->list.len; i++)
        tel_map_free(&st->list.items[i]->values);
    tel_vec_free(&st->list);
    tel_map_free(&st->index);
    tel_arena_free(&st->arena);
}

#define FACETS_OPS(pipe_name, parse_fn)                                                            \
    {                                                                                              \
        .name = pipe_name, .parse = parse_fn, .print = print, .needed = needed,                    \
        .wants = wants,                                                                            \
        .state_size = sizeof(struct facets_state), .push = push, .finish = finish,                 \
        .close = facets_close                                                                      \
    }

const struct tel_pipe_ops tel_pipe_facets = FACETS_OPS("facets", parse_facets);
const struct tel_pipe_ops tel_pipe_field_names = FACETS_OPS("field_names", parse_names);
