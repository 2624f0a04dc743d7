/*
 * Loki's push: {"streams":[{"stream":{labels},"values":[["<ns>","line",{metadata}?],...]}]}, or the
 * same as protobuf in snappy's block format (grafana/loki pkg/push/push.proto):
 *
 *     PushRequest { repeated Stream streams = 1 }
 *     Stream      { string labels = 1; repeated Entry entries = 2 }        labels: {a="b", c="d"}
 *     Entry       { Timestamp timestamp = 1; string line = 2; repeated Pair metadata = 3 }
 *     Timestamp   { int64 seconds = 1; int32 nanos = 2 }    Pair { string name = 1; string value = 2 }
 *
 * Answers 204 as Loki does.
 */
#include <jansson.h>
#include <stdlib.h>

#include "common/net/http/http_encoding.h"
#include "sidecar/insert/fields.h"
#include "sidecar/insert/insert_internal.h"
#include "sidecar/insert/insert_time.h"
#include "sidecar/insert/protobuf.h"

struct push {
    struct insert_session *s;
    struct tel_arena arena; /* of one stream */
    field_list labels, fields;
};

static void push_entry(struct push *p, struct insert_stream *stream, int64_t time_ns, struct tel_span line)
{
    struct tel_error err;
    struct tel_event event = {.timestamp_ns = time_ns, .body = line, .attributes = p->fields.items,
                              .attribute_count = (uint32_t)p->fields.len};
    p->s->line++;
    if (!insert_add(p->s, stream, &event, &err) && p->s->failed == TEL_OK)
        insert_bad(p->s, err.text, line);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void json_pairs(struct push *p, json_t *object, field_list *out)
{
    const char *key;
    size_t key_len;
    json_t *v;
    json_object_keylen_foreach(object, key, key_len, v)
        field_add(out, tel_arena_copy(&p->arena, tel_span_make(key, key_len)), field_json_text(&p->arena, v));
}

static void json_entry(struct push *p, struct insert_stream *stream, const json_t *value)
{
    int64_t ns = 0;
    const json_t *line = json_array_get(value, 1);
    struct tel_span time = field_json_text(&p->arena, json_array_get(value, 0));
    tel_vec_clear(&p->fields);
    json_pairs(p, json_array_get(value, 2), &p->fields);
    if (!json_is_string(line) || !insert_time_parse(time, tel_wall_ns(p->s->in->clock), &ns)) {
        p->s->line++;
        insert_bad(p->s, "a value is [\"<unix time in ns>\", \"<line>\"]", field_json_text(&p->arena, value));
        return;
    }
    push_entry(p, stream, ns, tel_span_make(json_string_value(line), json_string_length(line)));
}

static void json_stream(struct push *p, const json_t *stream)
{
    json_t *values = json_object_get(stream, "values"), *value;
    size_t i;
    tel_arena_reset(&p->arena);
    tel_vec_clear(&p->labels);
    json_pairs(p, json_object_get(stream, "stream"), &p->labels);
    struct insert_stream *to = insert_stream(p->s, p->labels.items, (uint32_t)p->labels.len);
    json_array_foreach(values, i, value)
        json_entry(p, to, value);
}

static bool push_json(struct push *p, struct tel_span body, struct tel_error *err)
{
    json_error_t e;
    json_t *root = json_loadb(body.ptr ? body.ptr : "", body.len, JSON_ALLOW_NUL, &e), *stream;
    json_t *streams = json_object_get(root, "streams");
    size_t i;
    bool good = json_is_array(streams);
    if (!root)
        (void)tel_error_set(err, TEL_ERR_PARSE, "line %d, column %d: %s", e.line, e.column, e.text);
    else if (!good)
        (void)tel_error_set(err, TEL_ERR_INVALID, "there is no array \"streams\"");
    else
        json_array_foreach(streams, i, stream)
            json_stream(p, stream);
    json_decref(root);
    return good;
}

/* ---- protobuf ------------------------------------------------------------------------------- */

/* {a="b", c="d\"e"}: as Prometheus writes labels. */
static bool parse_labels(struct push *p, struct tel_span s)
{
    s = tel_span_trim(s);
    if (s.len < 2 || s.ptr[0] != '{' || s.ptr[s.len - 1] != '}')
        return false;
    s = tel_span_slice(s, 1, s.len - 1);
    for (s = tel_span_trim(s); s.len > 0; s = tel_span_trim(s)) {
        struct tel_span name = tel_span_trim(tel_span_split(&s, '='));
        if (name.len == 0 || s.len == 0 || s.ptr[0] != '"')
            return false;
        char *value = tel_arena_alloc_aligned(&p->arena, s.len, 1);
        size_t i = 1, n = 0;
        for (; i < s.len && s.ptr[i] != '"'; i++) {
            bool escape = s.ptr[i] == '\\' && i + 1 < s.len;
            char c = escape ? s.ptr[++i] : s.ptr[i];
            value[n++] = escape && c == 'n' ? '\n' : escape && c == 't' ? '\t' : c;
        }
        if (i == s.len)
            return false;
        field_add(&p->labels, name, tel_span_make(value, n));
        s = tel_span_trim(tel_span_slice(s, i + 1, s.len));
        if (s.len > 0 && s.ptr[0] != ',')
            return false;
        s = tel_span_slice(s, 1, s.len);
    }
    return true;
}

static bool pb_time(struct tel_span bytes, int64_t *ret)
{
    struct pb_reader r = pb_open(bytes);
    struct pb_field f;
    int64_t seconds = 0, nanos = 0, ns = 0;
    while (pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == 0)
            seconds = (int64_t)f.value;
        else if (f.number == 2 && f.wire == 0)
            nanos = (int64_t)f.value;
    }
    if (r.broken || __builtin_mul_overflow(seconds, TEL_NS_PER_S, &ns) || __builtin_add_overflow(ns, nanos, &ns))
        return false;
    *ret = ns;
    return true;
}

static bool pb_pair(struct push *p, struct tel_span bytes)
{
    struct pb_reader r = pb_open(bytes);
    struct pb_field f;
    struct tel_span name = {NULL, 0}, value = {NULL, 0};
    while (pb_next(&r, &f)) {
        if (f.number == 1)
            name = f.bytes;
        else if (f.number == 2)
            value = f.bytes;
    }
    field_add(&p->fields, name, value);
    return !r.broken;
}

static bool pb_entry(struct push *p, struct insert_stream *stream, struct tel_span bytes)
{
    struct pb_reader r = pb_open(bytes);
    struct pb_field f;
    struct tel_span line = {NULL, 0};
    int64_t ns = tel_wall_ns(p->s->in->clock);
    bool good = true;
    tel_vec_clear(&p->fields);
    while (good && pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == 2)
            good = pb_time(f.bytes, &ns);
        else if (f.number == 2 && f.wire == 2)
            line = f.bytes;
        else if (f.number == 3 && f.wire == 2)
            good = pb_pair(p, f.bytes);
    }
    if (!good || r.broken)
        return false;
    push_entry(p, stream, ns, line);
    return true;
}

static bool pb_stream(struct push *p, struct tel_span bytes)
{
    struct pb_reader r = pb_open(bytes);
    struct pb_field f;
    struct insert_stream *to = NULL;
    bool good = true;
    tel_arena_reset(&p->arena);
    tel_vec_clear(&p->labels);
    while (good && pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == 2) {
            good = parse_labels(p, f.bytes);
            to = good ? insert_stream(p->s, p->labels.items, (uint32_t)p->labels.len) : NULL;
        } else if (f.number == 2 && f.wire == 2) {
            good = to && pb_entry(p, to, f.bytes);
        }
    }
    return good && !r.broken;
}

static bool push_protobuf(struct push *p, struct tel_span body, uint64_t max, struct tel_error *err)
{
    struct tel_buf raw = {0};
    if (tel_http_snappy_decode(body, max, &raw, err) != TEL_OK) {
        tel_buf_free(&raw);
        return false;
    }
    struct pb_reader r = pb_open(tel_buf_span(&raw));
    struct pb_field f;
    bool good = true;
    while (good && pb_next(&r, &f))
        good = f.number != 1 || (f.wire == 2 && pb_stream(p, f.bytes));
    good = good && !r.broken;
    if (!good)
        (void)tel_error_set(err, TEL_ERR_CORRUPT, "not a PushRequest, or its labels are malformed");
    tel_buf_free(&raw);
    return good;
}

/* ---- the handler ---------------------------------------------------------------------------- */

bool insert_loki_take(struct insert_session *s, struct tel_span body, bool json, struct tel_error *err)
{
    struct push p = {.s = s};
    tel_arena_init(&p.arena, 0);
    bool good = json ? push_json(&p, body, err) : push_protobuf(&p, body, s->in->body_max, err);
    tel_vec_free(&p.labels);
    tel_vec_free(&p.fields);
    tel_arena_free(&p.arena);
    return good;
}

static void loki_handler(void *ctx, struct tel_http_request *req)
{
    struct tel_insert *in = ctx;
    struct tel_span tenant, type = {NULL, 0}, body = tel_http_body(req);
    struct tel_error err;
    if (!insert_tenant(req, &tenant))
        return;
    struct insert_session *s = insert_session_new(in, tenant, "loki");
    if (!s) {
        tel_http_reply_error(req, 503, INSERT_NOT_NOW);
        return;
    }
    atomic_fetch_add(&in->bytes, body.len);
    (void)tel_http_header(req, "Content-Type", &type);
    if (insert_loki_take(s, body, tel_span_starts(type, TEL_SPAN("application/json")), &err))
        insert_reply(s, req, 204);
    else /* what stood before the damage may be in: the client sends all of it again */
        tel_http_reply_error(req, 400, "%s", err.text);
    insert_session_free(s);
}

static void loki_ready(void *ctx, struct tel_http_request *req)
{
    (void)ctx;
    tel_http_reply(req, 200, "text/plain", TEL_SPAN("ready\n"));
}

void insert_loki_routes(struct tel_insert *in, struct tel_http_server *server)
{
    static const char *const paths[] = {"/insert/loki/api/v1/push", "/loki/api/v1/push"};
    for (size_t i = 0; i < TEL_ARRAY_LEN(paths); i++)
        tel_http_server_route(server, &(struct tel_http_route){
            .methods = "POST", .path = paths[i], .handler = loki_handler, .ctx = in, .body_max = in->body_max,
            .raw_body = true});
    tel_http_server_route(server, &(struct tel_http_route){
        .methods = "GET", .path = "/insert/loki/ready", .handler = loki_ready, .ctx = in});
}
