/* unpack_json, unpack_logfmt, unpack_syslog: the fields inside a field. */
#include "common/logsql/json.h"
#include "common/logsql/logfmt.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"
#include "common/logsql/syslog.h"
#include "common/logsql/unpack.h"

struct unpack_pipe {
    struct tel_pipe base;
    struct tel_unpack unpack;
    struct tel_span offset_text; /* unpack_syslog */
    int64_t offset_ns, now_ns;
};

static tel_code parse(struct tel_parser *p, struct tel_pipe **ret)
{
    struct unpack_pipe *u = TEL_ARENA_NEW(p->arena, struct unpack_pipe);
    TEL_TRY(tel_parse_if(p, &u->unpack.condition));
    /* A name may stand here without `from`. */
    if (!tel_parse_at_end(p) && !tel_parse_is(p, "from") && !tel_parse_is(p, "fields") &&
        !tel_parse_is(p, "result_prefix") && !tel_parse_is(p, "keep_original_fields") &&
        !tel_parse_is(p, "skip_empty_results"))
        TEL_TRY(tel_parse_field(p, &u->unpack.from));
    TEL_TRY(tel_unpack_parse_rest(p, &u->unpack, true, true));
    *ret = &u->base;
    return TEL_OK;
}

static tel_code parse_syslog(struct tel_parser *p, struct tel_pipe **ret)
{
    struct unpack_pipe *u = TEL_ARENA_NEW(p->arena, struct unpack_pipe);
    u->now_ns = p->now_ns;
    u->unpack.from = TEL_SPAN("_msg");
    TEL_TRY(tel_parse_if(p, &u->unpack.condition));
    if (tel_parse_accept(p, "from"))
        TEL_TRY(tel_parse_field(p, &u->unpack.from));
    if (tel_parse_accept(p, "offset"))
        TEL_TRY(tel_parse_duration(p, &u->offset_text, &u->offset_ns));
    TEL_TRY(tel_unpack_parse_rest(p, &u->unpack, false, true));
    *ret = &u->base;
    return TEL_OK;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct unpack_pipe *u = (const struct unpack_pipe *)pipe;
    tel_buf_printf(out, "%s", pipe->ops->name);
    tel_print_if(out, u->unpack.condition);
    struct tel_unpack rest = u->unpack;
    if (u->offset_text.len) { /* stands behind `from` */
        TEL_BUF_ADD_LIT(out, " from ");
        tel_print_token(out, rest.from);
        tel_buf_printf(out, " offset %.*s", TEL_SPAN_ARG(u->offset_text));
        rest.from = TEL_SPAN("_msg");
    }
    tel_unpack_print_rest(out, &rest);
}

static void needed(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    const struct unpack_pipe *u = (const struct unpack_pipe *)pipe;
    tel_unpack_needed(fields, &u->unpack, NULL, 0);
}

static tel_code filters(struct tel_pipe *pipe, tel_filter_visitor visit, void *ctx,
                        struct tel_error *err)
{
    struct unpack_pipe *u = (struct unpack_pipe *)pipe;
    return u->unpack.condition ? visit(ctx, &u->unpack.condition, err) : TEL_OK;
}

/* Adds what was found, or what was asked for of it: a name that is missing comes out empty. */
static void add_fields(struct tel_unpacker *u, const struct tel_unpack *o,
                       const struct tel_json_fields *found)
{
    for (size_t i = 0; !o->has_names && i < found->len; i++)
        tel_unpack_add(u, found->items[i].name, found->items[i].value);
    for (size_t n = 0; o->has_names && n < o->name_count; n++) {
        bool any = tel_field_is_wildcard(o->names[n]);
        for (size_t i = 0; i < found->len; i++) {
            if (!tel_field_matches(o->names[n], found->items[i].name))
                continue;
            tel_unpack_add(u, found->items[i].name, found->items[i].value);
            any = true;
        }
        if (!any)
            tel_unpack_add(u, o->names[n], (struct tel_span){"", 0});
    }
}

static tel_code run_json(void *ctx, struct tel_span value, struct tel_unpacker *u,
                         struct tel_error *err)
{
    const struct unpack_pipe *pipe = ctx;
    struct tel_json_fields found = {0};
    (void)err;
    value = tel_span_trim(value);
    if (value.len && value.ptr[0] == '{')
        tel_json_object(value, tel_unpack_arena(u), &found);
    add_fields(u, &pipe->unpack, &found);
    return TEL_OK;
}

static tel_code run_logfmt(void *ctx, struct tel_span value, struct tel_unpacker *u,
                           struct tel_error *err)
{
    const struct unpack_pipe *pipe = ctx;
    struct tel_json_fields found = {0};
    (void)err;
    tel_logfmt_parse(value, tel_unpack_arena(u), &found);
    add_fields(u, &pipe->unpack, &found);
    return TEL_OK;
}

static tel_code run_syslog(void *ctx, struct tel_span value, struct tel_unpacker *u,
                           struct tel_error *err)
{
    const struct unpack_pipe *pipe = ctx;
    struct tel_json_fields found = {0};
    (void)err;
    tel_syslog_parse(value, pipe->now_ns, pipe->offset_ns, tel_unpack_arena(u), &found);
    for (size_t i = 0; i < found.len; i++)
        tel_unpack_add(u, found.items[i].name, found.items[i].value);
    return TEL_OK;
}

static tel_code push(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    const struct unpack_pipe *u = (const struct unpack_pipe *)stage->pipe;
    tel_unpack_fn fn = stage->pipe->ops == &tel_pipe_unpack_json     ? run_json
                       : stage->pipe->ops == &tel_pipe_unpack_logfmt ? run_logfmt
                                                                     : run_syslog;
    return tel_unpack_run(stage, &u->unpack, block, fn, (void *)(uintptr_t)u, err);
}

#define UNPACK_OPS(pipe_name, parse_fn)                                                            \
    {                                                                                              \
        .name = pipe_name, .parse = parse_fn, .print = print, .needed = needed,                    \
        .filters = filters, .push = push                                                           \
    }

const struct tel_pipe_ops tel_pipe_unpack_json = UNPACK_OPS("unpack_json", parse);
const struct tel_pipe_ops tel_pipe_unpack_logfmt = UNPACK_OPS("unpack_logfmt", parse);
const struct tel_pipe_ops tel_pipe_unpack_syslog = UNPACK_OPS("unpack_syslog", parse_syslog);
