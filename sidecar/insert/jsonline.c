/*
 * /insert/jsonline: one JSON object a line. A bad line is counted, told in the answer, kept as a dead
 * letter, and does not lose its neighbours. A body larger than piece_max is taken in pieces of whole
 * lines; if its client goes away between two pieces, those taken stay.
 */
#include "sidecar/insert/insert_internal.h"

struct jsonline {
    struct insert_session *session;
    struct insert_params params;
    struct json_flat flat;
    struct tel_arena arena; /* of one line */
};

static void jsonline_free(void *state)
{
    struct jsonline *j = state;
    insert_session_free(j->session);
    tel_vec_free(&j->flat.fields);
    tel_arena_free(&j->arena);
    free(j);
}

/* The request's state, made with the first piece; NULL when the request has been answered. */
static struct jsonline *jsonline_state(struct tel_insert *in, struct tel_http_request *req)
{
    struct jsonline *j = tel_http_state(req);
    struct tel_span tenant;
    if (j)
        return j;
    j = TEL_NEW(struct jsonline);
    tel_arena_init(&j->arena, 16384);
    j->flat.arena = &j->arena;
    tel_http_set_state(req, j, jsonline_free);
    if (!insert_tenant(req, &tenant) || !insert_params_parse(req, &j->params))
        return NULL;
    j->session = insert_session_new(in, tenant, "jsonline");
    if (!j->session)
        tel_http_reply_error(req, 503, INSERT_NOT_NOW);
    return j->session ? j : NULL;
}

static void take_line(struct jsonline *j, struct tel_span line)
{
    struct insert_session *s = j->session;
    struct tel_error err;
    s->line++;
    if (tel_span_trim(line).len == 0)
        return;
    tel_arena_reset(&j->arena);
    if (!json_flatten(&j->flat, line)) {
        (void)tel_error_set(&err, TEL_ERR_PARSE, "byte %zu: %s", j->flat.error_at + 1, j->flat.error);
        insert_bad(s, err.text, line);
        return;
    }
    tel_vec_reserve(&j->flat.fields, j->flat.fields.len + j->params.extra_count);
    if (!insert_flat(s, &j->params, j->flat.fields.items, j->flat.fields.len, &err) &&
        s->failed == TEL_OK)
        insert_bad(s, err.text, line);
}

static void take_lines(struct jsonline *j, struct tel_span body)
{
    atomic_fetch_add(&j->session->in->bytes, body.len);
    while (body.len > 0 && j->session->failed == TEL_OK)
        take_line(j, tel_span_split(&body, '\n'));
}

static size_t jsonline_piece(void *ctx, struct tel_http_request *req, struct tel_span body)
{
    while (body.len > 0 && body.ptr[body.len - 1] != '\n')
        body.len--;
    struct jsonline *j = jsonline_state(ctx, req);
    if (j && body.len > 0)
        take_lines(j, body);
    return body.len;
}

static void jsonline_handler(void *ctx, struct tel_http_request *req)
{
    struct jsonline *j = jsonline_state(ctx, req);
    if (!j)
        return;
    take_lines(j, tel_http_body(req));
    insert_reply(j->session, req, 200);
}

void insert_jsonline_routes(struct tel_insert *in, struct tel_http_server *server)
{
    tel_http_server_route(server, &(struct tel_http_route){
        .methods = "POST PUT", .path = "/insert/jsonline", .handler = jsonline_handler, .ctx = in,
        .piece = jsonline_piece, .body_max = in->piece_max, .raw_body = true});
}
