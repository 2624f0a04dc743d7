/* delete a, b*: drops columns. drop_empty_fields: drops columns and rows without a value. */
#include "common/logsql/parse.h"
#include "common/logsql/pipe_util.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"

struct delete_pipe {
    struct tel_pipe base;
    struct tel_span *names;
    size_t count;
};

static tel_code parse(struct tel_parser *p, struct tel_pipe **ret)
{
    struct delete_pipe *d = TEL_ARENA_NEW(p->arena, struct delete_pipe);
    TEL_TRY(tel_parse_field_list(p, &d->names, &d->count));
    *ret = &d->base;
    return TEL_OK;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct delete_pipe *d = (const struct delete_pipe *)pipe;
    TEL_BUF_ADD_LIT(out, "delete ");
    tel_print_fields(out, d->names, d->count);
}

static void needed(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    const struct delete_pipe *d = (const struct delete_pipe *)pipe;
    for (size_t i = 0; i < d->count; i++)
        tel_fields_remove(fields, d->names[i]);
}

static tel_code push(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    const struct delete_pipe *d = (const struct delete_pipe *)stage->pipe;
    struct tel_column *columns =
        TEL_ARENA_ARRAY(&stage->scratch, struct tel_column, block->column_count + 1);
    struct tel_block out = *block;
    out.columns = columns;
    out.column_count = 0;
    for (size_t i = 0; i < block->column_count; i++)
        if (!tel_field_matches_any(d->names, d->count, block->columns[i].name))
            columns[out.column_count++] = block->columns[i];
    return tel_stage_emit(stage, &out, err);
}

const struct tel_pipe_ops tel_pipe_delete = {
    .name = "delete", .parse = parse, .print = print, .needed = needed, .push = push};

/* ---- drop_empty_fields
 * --------------------------------------------------------------------------- */

static tel_code parse_drop(struct tel_parser *p, struct tel_pipe **ret)
{
    *ret = TEL_ARENA_NEW(p->arena, struct tel_pipe);
    return TEL_OK;
}

static void print_drop(const struct tel_pipe *pipe, struct tel_buf *out)
{
    (void)pipe;
    TEL_BUF_ADD_LIT(out, "drop_empty_fields");
}

/* Which rows are left depends on all that they have. */
static void needed_drop(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    (void)pipe;
    tel_fields_clear(fields);
    tel_fields_add(fields, TEL_SPAN("*"));
}

static tel_code push_drop(struct tel_stage *stage, const struct tel_block *block,
                          struct tel_error *err)
{
    struct tel_arena *arena = &stage->scratch;
    struct tel_column *columns = TEL_ARENA_ARRAY(arena, struct tel_column, block->column_count + 1);
    uint64_t *bitmap = TEL_ARENA_ARRAY(arena, uint64_t, TEL_BITMAP_WORDS(block->rows) + 1);
    struct tel_block some = *block, out;
    some.columns = columns;
    some.column_count = 0;
    for (size_t i = 0; i < block->column_count; i++) {
        const struct tel_span *values = block->columns[i].values;
        bool any = false;
        for (size_t r = 0; r < block->rows; r++) {
            if (!values || values[r].len) {
                bitmap[r / 64] |= UINT64_C(1) << r % 64;
                any = true;
            }
        }
        if (any)
            columns[some.column_count++] = block->columns[i];
    }
    tel_block_select(&some, bitmap, arena, &out);
    return tel_stage_emit(stage, &out, err);
}

const struct tel_pipe_ops tel_pipe_drop_empty_fields = {.name = "drop_empty_fields",
                                                        .parse = parse_drop,
                                                        .print = print_drop,
                                                        .needed = needed_drop,
                                                        .push = push_drop};
