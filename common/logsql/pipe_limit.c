/* limit N and offset N: the first rows that come, and those behind the first. */
#include "common/base/buf.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipes.h"

struct limit_pipe {
    struct tel_pipe base;
    uint64_t count;
};

struct limit_state {
    uint64_t left;
};

static tel_code parse_limit(struct tel_parser *p, struct tel_pipe **ret)
{
    struct limit_pipe *l = TEL_ARENA_NEW(p->arena, struct limit_pipe);
    l->count = 10;
    if (!tel_parse_at_end(p))
        TEL_TRY(tel_parse_uint(p, "a number of rows", &l->count));
    *ret = &l->base;
    return TEL_OK;
}

static tel_code parse_offset(struct tel_parser *p, struct tel_pipe **ret)
{
    struct limit_pipe *l = TEL_ARENA_NEW(p->arena, struct limit_pipe);
    TEL_TRY(tel_parse_uint(p, "a number of rows", &l->count));
    *ret = &l->base;
    return TEL_OK;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    tel_buf_printf(out, "%s %llu", pipe->ops->name,
                   (unsigned long long)((const struct limit_pipe *)pipe)->count);
}

static tel_code limit_open(struct tel_stage *stage, struct tel_error *err)
{
    (void)err;
    struct limit_state *s = stage->state;
    s->left = ((const struct limit_pipe *)stage->pipe)->count;
    stage->done = s->left == 0 && stage->pipe->ops == &tel_pipe_limit;
    return TEL_OK;
}

/* The rows [from, to) of a block. */
static struct tel_block slice(struct tel_stage *stage, const struct tel_block *block, size_t from,
                              size_t to)
{
    struct tel_block out = *block;
    struct tel_column *columns =
        TEL_ARENA_ARRAY(&stage->scratch, struct tel_column, block->column_count + 1);
    for (size_t i = 0; i < block->column_count; i++) {
        columns[i] = block->columns[i];
        if (columns[i].values)
            columns[i].values += from;
    }
    out.columns = columns;
    out.rows = to - from;
    if (out.keys)
        out.keys += from;
    return out;
}

static tel_code push_limit(struct tel_stage *stage, const struct tel_block *block,
                           struct tel_error *err)
{
    struct limit_state *s = stage->state;
    struct tel_block out = *block;
    if (out.rows > s->left)
        out = slice(stage, block, 0, (size_t)s->left);
    s->left -= out.rows;
    tel_code rc = tel_stage_emit(stage, &out, err);
    stage->done = s->left == 0;
    return rc;
}

static tel_code push_offset(struct tel_stage *stage, const struct tel_block *block,
                            struct tel_error *err)
{
    struct limit_state *s = stage->state;
    if (s->left >= block->rows) {
        s->left -= block->rows;
        return TEL_OK;
    }
    struct tel_block out = slice(stage, block, (size_t)s->left, block->rows);
    s->left = 0;
    return tel_stage_emit(stage, &out, err);
}

uint64_t tel_pipe_limit_count(const struct tel_pipe *pipe)
{
    return ((const struct limit_pipe *)pipe)->count;
}

const struct tel_pipe_ops tel_pipe_limit = {.name = "limit",
                                            .parse = parse_limit,
                                            .print = print,
                                            .state_size = sizeof(struct limit_state),
                                            .open = limit_open,
                                            .push = push_limit};
const struct tel_pipe_ops tel_pipe_offset = {.name = "offset",
                                             .parse = parse_offset,
                                             .print = print,
                                             .state_size = sizeof(struct limit_state),
                                             .open = limit_open,
                                             .push = push_offset};
