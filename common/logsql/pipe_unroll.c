/* unroll by (a, b): a row per element of the JSON arrays in these fields. */
#include "common/logsql/filter.h"
#include "common/logsql/json.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipe_util.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"

struct unroll_pipe {
    struct tel_pipe base;
    struct tel_filter *condition;
    struct tel_span *names;
    size_t count;
};

static tel_code parse(struct tel_parser *p, struct tel_pipe **ret)
{
    struct unroll_pipe *u = TEL_ARENA_NEW(p->arena, struct unroll_pipe);
    TEL_TRY(tel_parse_if(p, &u->condition));
    tel_parse_accept(p, "by");
    size_t at = tel_lexer_offset(&p->lex);
    if (tel_parse_is(p, "("))
        TEL_TRY(tel_parse_fields_in_parens(p, &u->names, &u->count));
    else
        TEL_TRY(tel_parse_field_list(p, &u->names, &u->count));
    for (size_t i = 0; i < u->count; i++)
        if (tel_field_is_wildcard(u->names[i]))
            return tel_parse_fail(p, at, "expected names of fields without '*'");
    if (u->count == 0)
        return tel_parse_fail(p, at, "expected at least one field");
    *ret = &u->base;
    return TEL_OK;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct unroll_pipe *u = (const struct unroll_pipe *)pipe;
    TEL_BUF_ADD_LIT(out, "unroll");
    tel_print_if(out, u->condition);
    TEL_BUF_ADD_LIT(out, " by (");
    tel_print_fields(out, u->names, u->count);
    tel_buf_add_char(out, ')');
}

static void needed(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    const struct unroll_pipe *u = (const struct unroll_pipe *)pipe;
    tel_fields_add_all(fields, u->names, u->count); /* they say how many rows there are */
    if (u->condition)
        tel_filter_fields(u->condition, fields);
}

static tel_code filters(struct tel_pipe *pipe, tel_filter_visitor visit, void *ctx,
                        struct tel_error *err)
{
    struct unroll_pipe *u = (struct unroll_pipe *)pipe;
    return u->condition ? visit(ctx, &u->condition, err) : TEL_OK;
}

/* The rows that one becomes: source row, and its elements in the named columns. */
struct unrolled {
    size_t *source;
    struct tel_span **cells; /* per name */
    size_t len, cap;
};

static void grow(struct unrolled *u, size_t names, struct tel_arena *arena)
{
    size_t cap = u->cap ? u->cap * 2 : 256;
    size_t *source = TEL_ARENA_ARRAY(arena, size_t, cap);
    if (u->len)
        memcpy(source, u->source, u->len * sizeof *source);
    u->source = source;
    for (size_t i = 0; i < names; i++) {
        struct tel_span *cells = TEL_ARENA_ARRAY(arena, struct tel_span, cap);
        if (u->len)
            memcpy(cells, u->cells[i], u->len * sizeof *cells);
        u->cells[i] = cells;
    }
    u->cap = cap;
}

#define UNROLLED_MAX 65536

static tel_code emit(struct tel_stage *stage, const struct tel_block *block, struct unrolled *u,
                     struct tel_error *err)
{
    const struct unroll_pipe *pipe = (const struct unroll_pipe *)stage->pipe;
    struct tel_arena *arena = &stage->scratch;
    struct tel_column *columns = TEL_ARENA_ARRAY(arena, struct tel_column, block->column_count + 1);
    for (size_t c = 0; c < block->column_count; c++) {
        columns[c].name = block->columns[c].name;
        if (!block->columns[c].values)
            continue;
        struct tel_span *values = TEL_ARENA_ARRAY(arena, struct tel_span, u->len + 1);
        for (size_t i = 0; i < u->len; i++)
            values[i] = block->columns[c].values[u->source[i]];
        columns[c].values = values;
    }
    struct tel_row_key *keys = NULL;
    if (block->keys) {
        keys = TEL_ARENA_ARRAY(arena, struct tel_row_key, u->len + 1);
        for (size_t i = 0; i < u->len; i++)
            keys[i] = block->keys[u->source[i]];
    }
    struct tel_block out = {
        .rows = u->len, .keys = keys, .column_count = block->column_count, .columns = columns};
    struct tel_block_edit edit;
    tel_block_edit_init(&edit, &out, arena);
    for (size_t i = 0; i < pipe->count; i++)
        tel_block_edit_set(&edit, pipe->names[i], u->cells[i]);
    return tel_stage_emit(stage, &edit.block, err);
}

static tel_code push(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    const struct unroll_pipe *pipe = (const struct unroll_pipe *)stage->pipe;
    struct tel_arena *arena = &stage->scratch;
    uint64_t *bitmap;
    tel_code rc = tel_pipe_matching(stage, pipe->condition, block, &bitmap, err);
    if (rc != TEL_OK)
        return rc;
    const struct tel_span **columns = TEL_ARENA_ARRAY(arena, const struct tel_span *, pipe->count);
    struct tel_json_fields *items = TEL_ARENA_ARRAY(arena, struct tel_json_fields, pipe->count);
    struct unrolled u = {.cells = TEL_ARENA_ARRAY(arena, struct tel_span *, pipe->count)};
    for (size_t i = 0; i < pipe->count; i++)
        columns[i] = tel_block_values(block, pipe->names[i], arena);
    for (size_t r = 0; r < block->rows; r++) {
        bool meets = tel_bitmap_get(bitmap, r);
        size_t rows = 1;
        for (size_t i = 0; i < pipe->count && meets; i++) {
            items[i].len = 0;
            if (columns[i])
                tel_json_array(columns[i][r], arena, &items[i]);
            rows = TEL_MAX(rows, items[i].len);
        }
        for (size_t k = 0; k < rows; k++) {
            if (u.len == u.cap)
                grow(&u, pipe->count, arena);
            u.source[u.len] = r;
            for (size_t i = 0; i < pipe->count; i++) {
                if (meets)
                    u.cells[i][u.len] =
                        k < items[i].len ? items[i].items[k].value : (struct tel_span){"", 0};
                else
                    u.cells[i][u.len] = columns[i] ? columns[i][r] : (struct tel_span){"", 0};
            }
            u.len++;
            if (u.len == UNROLLED_MAX) {
                rc = emit(stage, block, &u, err);
                if (rc != TEL_OK)
                    return rc;
                u.len = 0;
            }
        }
    }
    return emit(stage, block, &u, err);
}

const struct tel_pipe_ops tel_pipe_unroll = {.name = "unroll",
                                             .parse = parse,
                                             .print = print,
                                             .needed = needed,
                                             .filters = filters,
                                             .push = push};
