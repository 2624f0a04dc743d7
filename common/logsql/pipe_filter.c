/* filter <filter>: keeps the rows that match. */
#include "common/base/buf.h"
#include "common/logsql/filter.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipe_util.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"

struct filter_pipe {
    struct tel_pipe base;
    struct tel_filter *filter;
};

static tel_code parse(struct tel_parser *p, struct tel_pipe **ret)
{
    struct filter_pipe *f = TEL_ARENA_NEW(p->arena, struct filter_pipe);
    TEL_TRY(tel_parse_filter(p, &f->filter));
    *ret = &f->base;
    return TEL_OK;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    TEL_BUF_ADD_LIT(out, "filter ");
    tel_filter_print(out, ((const struct filter_pipe *)pipe)->filter);
}

static void needed(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    tel_filter_fields(((const struct filter_pipe *)pipe)->filter, fields);
}

static tel_code filters(struct tel_pipe *pipe, tel_filter_visitor visit, void *ctx,
                        struct tel_error *err)
{
    return visit(ctx, &((struct filter_pipe *)pipe)->filter, err);
}

static tel_code push(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    uint64_t *bitmap;
    tel_code rc = tel_pipe_matching(stage, ((const struct filter_pipe *)stage->pipe)->filter, block,
                                    &bitmap, err);
    if (rc != TEL_OK)
        return rc;
    struct tel_block out;
    tel_block_select(block, bitmap, &stage->scratch, &out);
    return tel_stage_emit(stage, &out, err);
}

const struct tel_pipe_ops tel_pipe_filter = {.name = "filter",
                                             .parse = parse,
                                             .print = print,
                                             .needed = needed,
                                             .filters = filters,
                                             .push = push};
