/*
 * Elasticsearch's _bulk: pairs of lines, an action ({"create":{}} or {"index":{...}}) and a document.
 * Documents become events as JSON lines do; their defaults are "@timestamp" and "message" beside our
 * own. Each item's fate is told in the answer, as clients expect. The few questions that agents ask
 * before they send are answered too.
 */
#include "sidecar/insert/insert_internal.h"

struct bulk {
    struct insert_session *s;
    struct insert_params params;
    struct json_flat flat;
    struct tel_arena arena; /* of one item */
    struct tel_buf items;   /* the answer's */
    bool any_bad;
};

static void tell_item(struct bulk *b, const char *action, const char *error)
{
    if (b->items.len > 0)
        tel_buf_add_char(&b->items, ',');
    if (!error) {
        tel_buf_printf(&b->items, "{\"%s\":{\"status\":201}}", action);
        return;
    }
    b->any_bad = true;
    tel_buf_printf(&b->items, "{\"%s\":{\"status\":400,\"error\":{\"type\":\"document_parsing_exception\",\"reason\":", action);
    tel_buf_add_json(&b->items, tel_span_cstr(error));
    TEL_BUF_ADD_LIT(&b->items, "}}}");
}

/* "create" or "index" when the line is such an action; NULL otherwise. Others take no document that
 * could be an event. */
static const char *action_of(struct bulk *b, struct tel_span line)
{
    static const char *const names[] = {"create", "index"};
    struct tel_span s = tel_span_trim(line);
    if (!json_flatten(&b->flat, line)) /* it must be an object; its inside does not matter */
        return NULL;
    s = tel_span_trim(tel_span_slice(s, 1, s.len));
    for (size_t i = 0; i < TEL_ARRAY_LEN(names); i++) {
        struct tel_span name = tel_span_cstr(names[i]);
        if (s.len > name.len + 2 && s.ptr[0] == '"' && tel_span_starts(tel_span_slice(s, 1, s.len), name) &&
            s.ptr[name.len + 1] == '"')
            return names[i];
    }
    return NULL;
}

static void take_document(struct bulk *b, const char *action, struct tel_span line)
{
    struct tel_error err;
    tel_arena_reset(&b->arena);
    bool good = json_flatten(&b->flat, line);
    if (!good)
        (void)tel_error_set(&err, TEL_ERR_PARSE, "byte %zu: %s", b->flat.error_at + 1, b->flat.error);
    tel_vec_reserve(&b->flat.fields, b->flat.fields.len + b->params.extra_count);
    good = good && insert_flat(b->s, &b->params, b->flat.fields.items, b->flat.fields.len, &err);
    if (!good && b->s->failed == TEL_OK)
        insert_bad(b->s, err.text, line);
    tell_item(b, action, good ? NULL : err.text);
}

/* False when an action is none: then nothing tells where the next one begins. */
static bool take_bulk(struct bulk *b, struct tel_span body)
{
    while (body.len > 0 && b->s->failed == TEL_OK) {
        struct tel_span line = tel_span_split(&body, '\n');
        b->s->line++;
        if (tel_span_trim(line).len == 0)
            continue;
        tel_arena_reset(&b->arena);
        const char *action = action_of(b, line);
        if (!action)
            return false;
        b->s->line++;
        take_document(b, action, tel_span_split(&body, '\n'));
    }
    return true;
}

static void reply(struct bulk *b, struct tel_http_request *req)
{
    struct tel_error err;
    if (insert_session_end(b->s, &err) != TEL_OK) {
        insert_reply_failed(req, &err);
        return;
    }
    struct tel_buf out = {0};
    tel_buf_printf(&out, "{\"took\":0,\"errors\":%s,\"items\":[", b->any_bad ? "true" : "false");
    tel_buf_add_span(&out, tel_buf_span(&b->items));
    TEL_BUF_ADD_LIT(&out, "]}\n");
    tel_http_reply_header(req, "X-Elastic-Product", TEL_SPAN("Elasticsearch"));
    tel_http_reply(req, 200, "application/json", tel_buf_span(&out));
    tel_buf_free(&out);
}

static void bulk_handler(void *ctx, struct tel_http_request *req)
{
    struct tel_insert *in = ctx;
    struct tel_span tenant;
    struct bulk b = {.flat = {.arena = NULL}};
    if (!insert_tenant(req, &tenant) || !insert_params_parse(req, &b.params))
        return;
    insert_params_default(req, &b.params, "@timestamp", "message");
    b.s = insert_session_new(in, tenant, "elasticsearch");
    if (!b.s) {
        tel_http_reply_error(req, 503, INSERT_NOT_NOW);
        return;
    }
    tel_arena_init(&b.arena, 16384);
    b.flat.arena = &b.arena;
    atomic_fetch_add(&in->bytes, tel_http_body(req).len);
    if (take_bulk(&b, tel_http_body(req)))
        reply(&b, req);
    else
        tel_http_reply_error(req, 400, "line %llu: {\"create\":{}} or {\"index\":{}} was expected",
                             (unsigned long long)b.s->line);
    insert_session_free(b.s);
    tel_vec_free(&b.flat.fields);
    tel_buf_free(&b.items);
    tel_arena_free(&b.arena);
}

/* What Filebeat, Fluent Bit, Logstash and Vector ask before they send. */
static void info_handler(void *ctx, struct tel_http_request *req)
{
    (void)ctx;
    tel_http_reply_header(req, "X-Elastic-Product", TEL_SPAN("Elasticsearch"));
    if (tel_http_path_rest(req).len == 0)
        tel_http_reply(req, 200, "application/json",
                       TEL_SPAN("{\"version\":{\"number\":\"8.9.0\",\"build_flavor\":\"default\"},\"tagline\":\"Telescope\"}\n"));
    else if (tel_span_eq(tel_http_path_rest(req), TEL_SPAN("_license")))
        tel_http_reply(req, 200, "application/json",
                       TEL_SPAN("{\"license\":{\"uid\":\"1\",\"type\":\"basic\",\"status\":\"active\"}}\n"));
    else
        tel_http_reply(req, 200, "application/json", TEL_SPAN("{}\n"));
}

void insert_elastic_routes(struct tel_insert *in, struct tel_http_server *server)
{
    static const char *const paths[] = {"/insert/elasticsearch/_bulk", "/_bulk"};
    for (size_t i = 0; i < TEL_ARRAY_LEN(paths); i++)
        tel_http_server_route(server, &(struct tel_http_route){
            .methods = "POST PUT", .path = paths[i], .handler = bulk_handler, .ctx = in, .body_max = in->body_max,
            .raw_body = true});
    tel_http_server_route(server, &(struct tel_http_route){
        .methods = "GET POST PUT", .path = "/insert/elasticsearch/*", .handler = info_handler, .ctx = in,
        .raw_body = true});
}
