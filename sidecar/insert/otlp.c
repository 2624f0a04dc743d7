/*
 * OpenTelemetry's logs over HTTP (opentelemetry-proto 1.x, collector/logs/v1): protobuf and JSON.
 *
 *     ExportLogsServiceRequest { repeated ResourceLogs = 1 }
 *     ResourceLogs { Resource = 1 { repeated KeyValue attributes = 1 }; repeated ScopeLogs = 2 }
 *     ScopeLogs    { Scope = 1 { string name = 1; string version = 2 }; repeated LogRecord = 2 }
 *     LogRecord    { fixed64 time = 1; severity = 2; string severity_text = 3; AnyValue body = 5;
 *                    repeated KeyValue attributes = 6; bytes trace_id = 9, span_id = 10;
 *                    fixed64 observed_time = 11 }
 *     KeyValue     { string key = 1; AnyValue value = 2 }
 *     AnyValue     { string = 1 | bool = 2 | int64 = 3 | double = 4 | array = 5 | kvlist = 6 | bytes = 7 }
 *
 * The resource's attributes are the stream. Lists of pairs become dotted names; arrays JSON text.
 */
#include <jansson.h>
#include <stdlib.h>

#include "sidecar/insert/fields.h"
#include "sidecar/insert/insert_internal.h"
#include "sidecar/insert/insert_time.h"
#include "sidecar/insert/protobuf.h"

#define DEPTH_MAX 32

struct otlp {
    struct insert_session *s;
    struct tel_arena resource_arena, arena; /* of a resource, of one record */
    field_list labels, scope, fields;
};

/* What a record is made of, in either coding. */
struct otlp_record {
    int64_t time_ns, observed_ns; /* 0: not given */
    uint64_t severity;
    struct tel_span severity_text, body, trace_id, span_id;
};

static void take_record(struct otlp *o, struct insert_stream *stream, const struct otlp_record *r)
{
    for (size_t i = 0; i < o->scope.len; i++)
        field_add(&o->fields, o->scope.items[i].name, o->scope.items[i].value);
    field_add(&o->fields, TEL_SPAN("severity_text"), r->severity_text);
    struct tel_event event = {
        .timestamp_ns = r->time_ns ? r->time_ns : r->observed_ns ? r->observed_ns : tel_wall_ns(o->s->in->clock),
        .severity = r->severity <= TEL_SEVERITY_MAX ? (uint32_t)r->severity : 0,
        .body = r->body,
        .trace_id = r->trace_id,
        .span_id = r->span_id,
        .attributes = o->fields.items,
        .attribute_count = (uint32_t)o->fields.len,
    };
    struct tel_error err;
    o->s->line++;
    if (!insert_add(o->s, stream, &event, &err) && o->s->failed == TEL_OK)
        insert_bad(o->s, err.text, r->body);
}

/* ---- protobuf ------------------------------------------------------------------------------- */

static bool pb_json(struct tel_buf *out, struct tel_span any, int depth);

/* {"k":v,...} or [v,...] of a KeyValueList or ArrayValue (both: repeated = 1). */
static bool pb_json_items(struct tel_buf *out, struct tel_span list, bool pairs, int depth)
{
    struct pb_reader r = pb_open(list);
    struct pb_field f;
    bool good = true, first = true;
    tel_buf_add_char(out, pairs ? '{' : '[');
    while (good && pb_next(&r, &f)) {
        if (f.number != 1 || f.wire != 2)
            continue;
        if (!first)
            tel_buf_add_char(out, ',');
        first = false;
        struct tel_span any = f.bytes, key = {NULL, 0};
        if (pairs) {
            struct pb_reader kv = pb_open(f.bytes);
            struct pb_field g;
            any = tel_span_make(NULL, 0);
            while (pb_next(&kv, &g)) {
                if (g.number == 1 && g.wire == 2)
                    key = g.bytes;
                else if (g.number == 2 && g.wire == 2)
                    any = g.bytes;
            }
            good = !kv.broken;
            tel_buf_add_json(out, key);
            tel_buf_add_char(out, ':');
        }
        good = good && pb_json(out, any, depth + 1);
    }
    tel_buf_add_char(out, pairs ? '}' : ']');
    return good && !r.broken;
}

static const char *pb_scalar(struct tel_buf *out, const struct pb_field *f)
{
    if (f->number == 2 && f->wire == 0)
        return f->value ? "true" : "false";
    if (f->number == 3 && f->wire == 0)
        tel_buf_add_i64(out, (int64_t)f->value);
    else if (f->number == 4 && f->wire == 1) {
        char text[FIELD_DOUBLE_MAX];
        double d;
        memcpy(&d, &f->value, sizeof(d));
        tel_buf_add(out, text, field_double(text, d));
    }
    return "";
}

/* An AnyValue as JSON. */
static bool pb_json(struct tel_buf *out, struct tel_span any, int depth)
{
    struct pb_reader r = pb_open(any);
    struct pb_field f;
    if (depth > DEPTH_MAX)
        return false;
    if (!pb_next(&r, &f)) {
        TEL_BUF_ADD_LIT(out, "null");
        return !r.broken;
    }
    if ((f.number == 1 || f.number == 7) && f.wire == 2)
        tel_buf_add_json(out, f.bytes);
    else if ((f.number == 5 || f.number == 6) && f.wire == 2)
        return pb_json_items(out, f.bytes, f.number == 6, depth);
    else
        tel_buf_add_span(out, tel_span_cstr(pb_scalar(out, &f)));
    return true;
}

static bool pb_pairs(struct tel_arena *arena, field_list *out, struct tel_span prefix, struct tel_span list,
                     uint32_t number, int depth);

/* An AnyValue under a name: lists of pairs are taken apart. */
static bool pb_value(struct tel_arena *arena, field_list *out, struct tel_span name, struct tel_span any, int depth)
{
    struct pb_reader r = pb_open(any);
    struct pb_field f;
    if (depth > DEPTH_MAX)
        return false;
    if (!pb_next(&r, &f))
        return !r.broken;
    if (f.number == 6 && f.wire == 2)
        return pb_pairs(arena, out, name, f.bytes, 1, depth + 1);
    if ((f.number == 1 || f.number == 7) && f.wire == 2) {
        field_add(out, name, f.number == 1 ? f.bytes : field_hex(arena, f.bytes));
        return true;
    }
    struct tel_buf text = {0};
    bool good = f.number == 5 && f.wire == 2 ? pb_json_items(&text, f.bytes, false, depth)
                                             : (tel_buf_add_span(&text, tel_span_cstr(pb_scalar(&text, &f))), true);
    field_add(out, name, tel_arena_copy(arena, tel_buf_span(&text)));
    tel_buf_free(&text);
    return good;
}

static bool pb_pair(struct tel_arena *arena, field_list *out, struct tel_span prefix, struct tel_span pair, int depth)
{
    struct pb_reader r = pb_open(pair);
    struct pb_field f;
    struct tel_span key = {NULL, 0}, any = {NULL, 0};
    while (pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == 2)
            key = f.bytes;
        else if (f.number == 2 && f.wire == 2)
            any = f.bytes;
    }
    return !r.broken && pb_value(arena, out, field_join(arena, prefix, key), any, depth);
}

/* Every field `number` of the message is a KeyValue. */
static bool pb_pairs(struct tel_arena *arena, field_list *out, struct tel_span prefix, struct tel_span list,
                     uint32_t number, int depth)
{
    struct pb_reader r = pb_open(list);
    struct pb_field f;
    bool good = true;
    while (good && pb_next(&r, &f))
        good = f.number != number || f.wire != 2 || pb_pair(arena, out, prefix, f.bytes, depth);
    return good && !r.broken;
}

static bool pb_record(struct otlp *o, struct insert_stream *stream, struct tel_span bytes)
{
    struct pb_reader r = pb_open(bytes);
    struct pb_field f;
    struct otlp_record rec = {0};
    bool good = true;
    tel_arena_reset(&o->arena);
    tel_vec_clear(&o->fields);
    while (good && pb_next(&r, &f)) {
        switch (f.number) {
        case 1: rec.time_ns = (int64_t)f.value; break;
        case 2: rec.severity = f.value; break;
        case 3: rec.severity_text = f.bytes; break;
        case 5: {
            size_t before = o->fields.len;
            good = pb_value(&o->arena, &o->fields, TEL_SPAN("_msg"), f.bytes, 0);
            /* A body of one value is the message; one of pairs stays fields, named _msg.x. */
            if (o->fields.len == before + 1 && tel_span_eq(o->fields.items[before].name, TEL_SPAN("_msg")))
                rec.body = o->fields.items[o->fields.len = before].value;
            break;
        }
        case 6: good = pb_pair(&o->arena, &o->fields, tel_span_make(NULL, 0), f.bytes, 0); break;
        case 9: rec.trace_id = field_hex(&o->arena, f.bytes); break;
        case 10: rec.span_id = field_hex(&o->arena, f.bytes); break;
        case 11: rec.observed_ns = (int64_t)f.value; break;
        default: break;
        }
    }
    if (!good || r.broken)
        return false;
    take_record(o, stream, &rec);
    return true;
}

static bool pb_scope(struct otlp *o, struct insert_stream *stream, struct tel_span bytes)
{
    struct pb_reader r = pb_open(bytes);
    struct pb_field f, g;
    bool good = true;
    tel_vec_clear(&o->scope);
    while (good && pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == 2) {
            struct pb_reader scope = pb_open(f.bytes);
            while (pb_next(&scope, &g))
                if (g.wire == 2 && (g.number == 1 || g.number == 2))
                    field_add(&o->scope, g.number == 1 ? TEL_SPAN("scope.name") : TEL_SPAN("scope.version"), g.bytes);
            good = !scope.broken;
        } else if (f.number == 2 && f.wire == 2) {
            good = pb_record(o, stream, f.bytes);
        }
    }
    return good && !r.broken;
}

static bool pb_resource(struct otlp *o, struct tel_span bytes)
{
    struct pb_reader r = pb_open(bytes);
    struct pb_field f;
    bool good = true;
    tel_arena_reset(&o->resource_arena);
    tel_vec_clear(&o->labels);
    while (good && pb_next(&r, &f)) /* protobuf promises no order: the resource first, its records then */
        if (f.number == 1 && f.wire == 2)
            good = pb_pairs(&o->resource_arena, &o->labels, tel_span_make(NULL, 0), f.bytes, 1, 0);
    if (!good || r.broken)
        return false;
    struct insert_stream *stream = insert_stream(o->s, o->labels.items, (uint32_t)o->labels.len);
    r = pb_open(bytes);
    while (good && pb_next(&r, &f))
        if (f.number == 2 && f.wire == 2)
            good = pb_scope(o, stream, f.bytes);
    return good;
}

static bool take_protobuf(struct otlp *o, struct tel_span body, struct tel_error *err)
{
    struct pb_reader r = pb_open(body);
    struct pb_field f;
    bool good = true;
    while (good && pb_next(&r, &f))
        good = f.number != 1 || (f.wire == 2 && pb_resource(o, f.bytes));
    if (!good || r.broken)
        (void)tel_error_set(err, TEL_ERR_CORRUPT, "not an ExportLogsServiceRequest");
    return good && !r.broken;
}

/* ---- JSON: the same messages in lowerCamelCase, 64-bit numbers as text, ids as hexadecimal ----- */

static void js_pairs(struct tel_arena *arena, field_list *out, struct tel_span prefix, const json_t *list, int depth);

/* The one member of an AnyValue. */
static const json_t *js_any(const json_t *any, const char **ret_kind)
{
    void *it = json_object_iter((json_t *)(uintptr_t)any);
    *ret_kind = it ? json_object_iter_key(it) : "";
    return it ? json_object_iter_value(it) : NULL;
}

/* An AnyValue as plain JSON; a new reference. */
static json_t *js_plain(const json_t *any, int depth)
{
    const char *kind;
    const json_t *v = js_any(any, &kind), *item;
    size_t i;
    if (!v || depth > DEPTH_MAX)
        return json_null();
    bool array = strcmp(kind, "arrayValue") == 0, list = strcmp(kind, "kvlistValue") == 0;
    if (!array && !list)
        return json_incref((json_t *)(uintptr_t)v);
    json_t *out = array ? json_array() : json_object();
    json_array_foreach(json_object_get(v, "values"), i, item)
    {
        if (array)
            (void)json_array_append_new(out, js_plain(item, depth + 1));
        else if (json_is_string(json_object_get(item, "key")))
            (void)json_object_set_new(out, json_string_value(json_object_get(item, "key")),
                                      js_plain(json_object_get(item, "value"), depth + 1));
    }
    return out;
}

static void js_value(struct tel_arena *arena, field_list *out, struct tel_span name, const json_t *any, int depth)
{
    const char *kind;
    const json_t *v = js_any(any, &kind);
    if (!v || depth > DEPTH_MAX)
        return;
    if (strcmp(kind, "kvlistValue") == 0) {
        js_pairs(arena, out, name, json_object_get(v, "values"), depth + 1);
        return;
    }
    json_t *plain = js_plain(any, depth);
    field_add(out, name, field_json_text(arena, plain));
    json_decref(plain);
}

static void js_pairs(struct tel_arena *arena, field_list *out, struct tel_span prefix, const json_t *list, int depth)
{
    const json_t *pair;
    size_t i;
    json_array_foreach(list, i, pair)
    {
        struct tel_span key = field_json_text(arena, json_object_get(pair, "key"));
        js_value(arena, out, field_join(arena, prefix, key), json_object_get(pair, "value"), depth);
    }
}

static int64_t js_time(struct tel_arena *arena, const json_t *v)
{
    long long ns = 0;
    return tel_span_to_i64(field_json_text(arena, v), &ns) ? ns : 0;
}

/* An id; hexadecimal may be written either way. */
static struct tel_span js_id(struct tel_arena *arena, const json_t *v)
{
    struct tel_span s = field_json_text(arena, v);
    char *p = (char *)(uintptr_t)s.ptr;
    for (size_t i = 0; i < s.len; i++)
        if (p[i] >= 'A' && p[i] <= 'F')
            p[i] = (char)(p[i] + 32);
    return s;
}

static void js_record(struct otlp *o, struct insert_stream *stream, const json_t *r)
{
    tel_arena_reset(&o->arena);
    tel_vec_clear(&o->fields);
    struct otlp_record rec = {
        .time_ns = js_time(&o->arena, json_object_get(r, "timeUnixNano")),
        .observed_ns = js_time(&o->arena, json_object_get(r, "observedTimeUnixNano")),
        .severity = (uint64_t)json_integer_value(json_object_get(r, "severityNumber")),
        .severity_text = field_json_text(&o->arena, json_object_get(r, "severityText")),
        .trace_id = js_id(&o->arena, json_object_get(r, "traceId")),
        .span_id = js_id(&o->arena, json_object_get(r, "spanId")),
    };
    js_value(&o->arena, &o->fields, TEL_SPAN("_msg"), json_object_get(r, "body"), 0);
    if (o->fields.len == 1 && tel_span_eq(o->fields.items[0].name, TEL_SPAN("_msg")))
        rec.body = o->fields.items[o->fields.len = 0].value;
    js_pairs(&o->arena, &o->fields, tel_span_make(NULL, 0), json_object_get(r, "attributes"), 0);
    take_record(o, stream, &rec);
}

static void js_resource(struct otlp *o, const json_t *resource)
{
    const json_t *scope, *record;
    size_t i, k;
    tel_arena_reset(&o->resource_arena);
    tel_vec_clear(&o->labels);
    js_pairs(&o->resource_arena, &o->labels, tel_span_make(NULL, 0),
             json_object_get(json_object_get(resource, "resource"), "attributes"), 0);
    struct insert_stream *stream = insert_stream(o->s, o->labels.items, (uint32_t)o->labels.len);
    json_array_foreach(json_object_get(resource, "scopeLogs"), i, scope)
    {
        const json_t *about = json_object_get(scope, "scope");
        tel_vec_clear(&o->scope);
        field_add(&o->scope, TEL_SPAN("scope.name"), field_json_text(&o->resource_arena, json_object_get(about, "name")));
        field_add(&o->scope, TEL_SPAN("scope.version"),
                  field_json_text(&o->resource_arena, json_object_get(about, "version")));
        json_array_foreach(json_object_get(scope, "logRecords"), k, record)
            js_record(o, stream, record);
    }
}

static bool take_json(struct otlp *o, struct tel_span body, struct tel_error *err)
{
    json_error_t e;
    json_t *root = json_loadb(body.ptr ? body.ptr : "", body.len, JSON_ALLOW_NUL, &e), *resource;
    size_t i;
    if (!json_is_object(root)) {
        (void)tel_error_set(err, TEL_ERR_PARSE, "line %d, column %d: %s", root ? 1 : e.line, root ? 1 : e.column,
                            root ? "an object was expected" : e.text);
        json_decref(root);
        return false;
    }
    json_array_foreach(json_object_get(root, "resourceLogs"), i, resource)
        js_resource(o, resource);
    json_decref(root);
    return true;
}

/* ---- the handler ---------------------------------------------------------------------------- */

static void reply(struct insert_session *s, struct tel_http_request *req, bool json)
{
    struct tel_error err;
    if (insert_session_end(s, &err) != TEL_OK) {
        insert_reply_failed(req, &err);
        return;
    }
    struct tel_buf out = {0};
    if (json && s->bad > 0) {
        tel_buf_printf(&out, "{\"partialSuccess\":{\"rejectedLogRecords\":\"%llu\",\"errorMessage\":\"kept as dead letters\"}}\n",
                       (unsigned long long)s->bad);
    } else if (json) {
        TEL_BUF_ADD_LIT(&out, "{}\n");
    } else if (s->bad > 0) { /* partial_success = 1 { int64 rejected_log_records = 1 } */
        char n[TEL_VARINT_MAX];
        size_t len = tel_varint_put(n, s->bad);
        tel_buf_add_char(&out, 0x0a);
        tel_buf_add_char(&out, (char)(1 + len));
        tel_buf_add_char(&out, 0x08);
        tel_buf_add(&out, n, len);
    }
    tel_http_reply(req, 200, json ? "application/json" : "application/x-protobuf", tel_buf_span(&out));
    tel_buf_free(&out);
}

bool insert_otlp_take(struct insert_session *s, struct tel_span body, bool json, struct tel_error *err)
{
    struct otlp o = {.s = s};
    tel_arena_init(&o.arena, 0);
    tel_arena_init(&o.resource_arena, 0);
    bool good = json ? take_json(&o, body, err) : take_protobuf(&o, body, err);
    tel_vec_free(&o.labels);
    tel_vec_free(&o.scope);
    tel_vec_free(&o.fields);
    tel_arena_free(&o.arena);
    tel_arena_free(&o.resource_arena);
    return good;
}

static void otlp_handler(void *ctx, struct tel_http_request *req)
{
    struct tel_insert *in = ctx;
    struct tel_span tenant, type = {NULL, 0}, body = tel_http_body(req);
    struct tel_error err;
    if (!insert_tenant(req, &tenant))
        return;
    struct insert_session *s = insert_session_new(in, tenant, "opentelemetry");
    if (!s) {
        tel_http_reply_error(req, 503, INSERT_NOT_NOW);
        return;
    }
    atomic_fetch_add(&in->bytes, body.len);
    (void)tel_http_header(req, "Content-Type", &type);
    bool json = tel_span_starts(type, TEL_SPAN("application/json"));
    if (insert_otlp_take(s, body, json, &err))
        reply(s, req, json);
    else
        tel_http_reply_error(req, 400, "%s", err.text);
    insert_session_free(s);
}

void insert_otlp_routes(struct tel_insert *in, struct tel_http_server *server)
{
    static const char *const paths[] = {"/insert/opentelemetry/v1/logs", "/v1/logs"};
    for (size_t i = 0; i < TEL_ARRAY_LEN(paths); i++)
        tel_http_server_route(server, &(struct tel_http_route){
            .methods = "POST", .path = paths[i], .handler = otlp_handler, .ctx = in, .body_max = in->body_max,
            .raw_body = true});
}
