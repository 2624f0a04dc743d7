/*
 * /select/logsql/query and patterns. An answer that is whole within the first HEAD_BYTES is sent at
 * once, with headers that say what it lacks; a larger one, or one that takes its time, is streamed
 * as it is made. A stream that fails, or turns out to be partial, ends with a line {"_error": ...}
 * and breaks off, so that nobody takes it for whole.
 */
#include <stdlib.h>

#include "common/base/mem.h"
#include "router/json.h"
#include "router/select_internal.h"

#define HEAD_BYTES   (512u << 10)
#define HEAD_WAIT_MS 1000
#define STEP_MS      50
#define PIECE_BYTES  (64u << 10)

struct answer {
    struct query *query;
    struct select_args args; /* spans of it are the request's */
    struct tel_buf out;
    bool ended;
    bool announced; /* what is missing stands in the headers already */
};

static tel_code answer_sink(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    struct answer *a = ctx;
    (void)err;
    json_add_block(&a->out, block);
    return TEL_OK;
}

static void answer_free(void *ctx)
{
    struct answer *a = ctx;
    query_close(a->query);
    tel_buf_free(&a->out);
    free(a);
}

/* The last line of an answer that failed on its way. */
static void add_error(struct tel_buf *out, struct tel_span text)
{
    TEL_BUF_ADD_LIT(out, "{\"_error\":");
    tel_buf_add_json(out, text);
    TEL_BUF_ADD_LIT(out, "}\n");
}

/* The last line of a page: where the next one begins, or that there is none. */
static void add_cursor(const struct answer *a, struct tel_buf *out)
{
    struct cursor next;
    if (!a->args.params.page)
        return;
    TEL_BUF_ADD_LIT(out, "{\"_cursor\":\"");
    if (query_next_page(a->query, &next))
        cursor_print(&next, a->args.binding, out);
    TEL_BUF_ADD_LIT(out, "\"}\n");
}

static enum tel_http_pull answer_end(struct answer *a, struct tel_buf *out)
{
    if (query_missing(a->query) == 0 || a->announced) {
        add_cursor(a, out);
        return TEL_HTTP_END;
    }
    struct tel_buf text = {0};
    TEL_BUF_ADD_LIT(&text, "partial answer: ");
    query_missing_join(a->query, &text);
    add_error(out, tel_buf_span(&text));
    tel_buf_free(&text);
    return TEL_HTTP_ABORT;
}

static enum tel_http_pull answer_pull(void *ctx, struct tel_http_request *req, struct tel_buf *out)
{
    (void)req;
    struct answer *a = ctx;
    struct tel_error err;
    bool more = !a->ended;
    tel_code rc = TEL_OK;
    while (rc == TEL_OK && more && a->out.len < PIECE_BYTES) {
        size_t before = a->out.len;
        rc = query_step(a->query, STEP_MS, &more, &err);
        if (a->out.len == before)
            break; /* nothing for now: let the server look whether the client is still there */
    }
    a->ended = !more;
    tel_buf_add_span(out, tel_buf_span(&a->out));
    tel_buf_clear(&a->out);
    if (rc != TEL_OK) {
        add_error(out, tel_span_cstr(err.text));
        return TEL_HTTP_ABORT;
    }
    return more ? TEL_HTTP_MORE : answer_end(a, out);
}

static bool answer_args(struct select *s, struct tel_http_request *req, const char *pipe,
                        struct select_args *ret)
{
    if (!select_args_read(s, req, true, ret))
        return false;
    if (pipe)
        ret->params.text = select_query_with(req, ret->tree, "%s", pipe);
    select_args_done(ret);
    return select_args_page(req, ret);
}

/* Answers with the rows of the query, or of the query with a pipe behind it. */
static void answer_rows(struct select *s, struct tel_http_request *req, const char *pipe)
{
    struct answer *a = TEL_NEW(struct answer);
    struct tel_error err;
    bool more = true;
    if (!answer_args(s, req, pipe, &a->args)) {
        answer_free(a);
        return;
    }
    if (a->args.params.explain) {
        select_explain(s, req, &a->args.params);
        answer_free(a);
        return;
    }
    tel_code rc = query_open(s->router, &a->args.params, answer_sink, a, &a->query, &err);
    int64_t until = tel_mono_ns(s->clock) + HEAD_WAIT_MS * TEL_NS_PER_MS;
    while (rc == TEL_OK && more && a->out.len < HEAD_BYTES) {
        rc = query_step(a->query, STEP_MS, &more, &err);
        if (a->out.len > 0 && tel_mono_ns(s->clock) > until)
            break;
    }
    if (rc != TEL_OK) {
        select_fail(req, &err);
        answer_free(a);
        return;
    }
    a->ended = !more;
    a->announced = query_gathered(a->query);
    if (a->announced)
        select_headers(req, a->query);
    if (!more) {
        add_cursor(a, &a->out);
        tel_http_reply(req, 200, "application/stream+json", tel_buf_span(&a->out));
        answer_free(a);
    } else {
        tel_http_stream(req, 200, "application/stream+json", answer_pull, answer_free, a);
    }
}

void select_query_handler(void *ctx, struct tel_http_request *req)
{
    answer_rows(ctx, req, NULL);
}

/* Ours: the templates of the matching events, most frequent first. */
void select_patterns_handler(void *ctx, struct tel_http_request *req)
{
    answer_rows(ctx, req, "patterns");
}
