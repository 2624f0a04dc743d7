/* fields a, b*: keeps these columns. */
#include "common/base/buf.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"

struct fields_pipe {
    struct tel_pipe base;
    struct tel_span *names;
    size_t count;
};

static tel_code parse(struct tel_parser *p, struct tel_pipe **ret)
{
    struct fields_pipe *f = TEL_ARENA_NEW(p->arena, struct fields_pipe);
    TEL_TRY(tel_parse_field_list(p, &f->names, &f->count));
    *ret = &f->base;
    return TEL_OK;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct fields_pipe *f = (const struct fields_pipe *)pipe;
    TEL_BUF_ADD_LIT(out, "fields ");
    tel_print_fields(out, f->names, f->count);
}

static void needed(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    const struct fields_pipe *f = (const struct fields_pipe *)pipe;
    tel_fields_intersect(fields, f->names, f->count);
}

static tel_code push(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    const struct fields_pipe *f = (const struct fields_pipe *)stage->pipe;
    struct tel_column *columns =
        TEL_ARENA_ARRAY(&stage->scratch, struct tel_column, block->column_count + 1);
    struct tel_block out = *block;
    out.columns = columns;
    out.column_count = 0;
    for (size_t i = 0; i < block->column_count; i++)
        if (tel_field_matches_any(f->names, f->count, block->columns[i].name))
            columns[out.column_count++] = block->columns[i];
    return tel_stage_emit(stage, &out, err);
}

const struct tel_pipe_ops tel_pipe_fields = {
    .name = "fields", .parse = parse, .print = print, .needed = needed, .push = push};

/* For subqueries: the only field that is left, if it is only one. */
bool tel_pipe_fields_single(const struct tel_pipe *pipe, struct tel_span *ret)
{
    const struct fields_pipe *f = (const struct fields_pipe *)pipe;
    if (f->count != 1 || tel_field_is_wildcard(f->names[0]))
        return false;
    *ret = f->names[0];
    return true;
}
