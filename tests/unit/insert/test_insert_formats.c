/* Loki, Elasticsearch and OpenTelemetry over real HTTP into a real journal. */
#include "tests/unit/insert/insert_fixture.h"

#include <snappy-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/varint.h"

static struct fixture f;

static int start(void **state)
{
    (void)state;
    fixture_start(&f, 0, 0, 0);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fixture_stop(&f);
    fixture_remove(&f);
    return 0;
}

static void post(const char *path, const char *headers, const void *body, size_t len, int status, const char *part)
{
    char *a = fixture_post(&f, path, headers, body, len, status);
    if (!strstr(a, part))
        print_message("answer: %s\n", a);
    assert_non_null(strstr(a, part));
    free(a);
}

static void expect_dump(const char *want)
{
    char *got = fixture_dump(&f);
    assert_string_equal(got, want);
    free(got);
}

#define JSON "Content-Type: application/json\r\n"

/* ---- protobuf by hand ------------------------------------------------------------------------ */

static void pb_varint(struct tel_buf *b, uint64_t v)
{
    char out[TEL_VARINT_MAX];
    tel_buf_add(b, out, tel_varint_put(out, v));
}

static void pb_bytes(struct tel_buf *b, unsigned number, const void *data, size_t len)
{
    pb_varint(b, number << 3 | 2);
    pb_varint(b, len);
    tel_buf_add(b, data, len);
}

static void pb_str(struct tel_buf *b, unsigned number, const char *s)
{
    pb_bytes(b, number, s, strlen(s));
}

static void pb_num(struct tel_buf *b, unsigned number, uint64_t v)
{
    pb_varint(b, number << 3);
    pb_varint(b, v);
}

static void pb_fixed64(struct tel_buf *b, unsigned number, uint64_t v)
{
    pb_varint(b, number << 3 | 1);
    tel_buf_add_le64(b, v);
}

/* Puts `inner` into `b` as field `number`, and empties it. */
static void pb_message(struct tel_buf *b, unsigned number, struct tel_buf *inner)
{
    pb_bytes(b, number, inner->ptr, inner->len);
    tel_buf_free(inner);
}

/* ---- Loki ------------------------------------------------------------------------------------ */

static void test_loki_json(void **state)
{
    (void)state;
    static const char body[] =
        "{\"streams\":[{\"stream\":{\"app\":\"a\",\"env\":\"p\"},\"values\":[[\"1700000000000000001\",\"one\"],"
        "[\"1700000000000000002\",\"two\",{\"trace\":\"t1\",\"n\":\"5\"}]]},"
        "{\"stream\":{},\"values\":[[\"1700000000000000003\",\"three\"]]}]}";
    post("/insert/loki/api/v1/push", JSON "X-Scope-OrgID: acme\r\n", body, sizeof(body) - 1, 204, "");
    static const char half[] = "{\"streams\":[{\"stream\":{},\"values\":[[\"x\",\"bad\"],[\"1700000000000000004\",\"good\"],[1]]}]}";
    post("/loki/api/v1/push", JSON, half, sizeof(half) - 1, 200, "\"accepted\":1,\"rejected\":2");
    post("/loki/api/v1/push", JSON, "{\"streams\":", 11, 400, "line 1");
    post("/loki/api/v1/push", JSON, "{}", 2, 400, "streams");
    expect_dump("acme|app=a,env=p|1700000000000000001|one|\n"
                "acme|app=a,env=p|1700000000000000002|two|trace=t1,n=5\n"
                "acme||1700000000000000003|three|\n"
                "default||1700000000000000004|good|\n");
}

static void loki_entry(struct tel_buf *stream, uint64_t seconds, uint64_t nanos, const char *line, const char *meta)
{
    struct tel_buf entry = {0}, time = {0}, pair = {0};
    pb_num(&time, 1, seconds);
    pb_num(&time, 2, nanos);
    pb_message(&entry, 1, &time);
    pb_str(&entry, 2, line);
    if (meta) {
        pb_str(&pair, 1, "meta");
        pb_str(&pair, 2, meta);
        pb_message(&entry, 3, &pair);
    }
    pb_message(stream, 2, &entry);
}

static void test_loki_protobuf(void **state)
{
    (void)state;
    struct tel_buf stream = {0}, push = {0};
    char packed[1024];
    pb_str(&stream, 1, "{app=\"a\\\"b\", env=\"p\"}");
    loki_entry(&stream, 1700000000, 5, "first", NULL);
    loki_entry(&stream, 1700000000, 6, "second", "m");
    pb_num(&stream, 3, 77); /* the hash, which nobody needs */
    pb_message(&push, 1, &stream);
    size_t len = sizeof(packed);
    assert_int_equal(snappy_compress(push.ptr, push.len, packed, &len), SNAPPY_OK);
    const char *type = "Content-Type: application/x-protobuf\r\n";
    post("/insert/loki/api/v1/push", type, packed, len, 204, "");
    expect_dump("default|app=a\"b,env=p|1700000000000000005|first|\n"
                "default|app=a\"b,env=p|1700000000000000006|second|meta=m\n");
    for (size_t cut = 0; cut < len; cut++) {
        char *a = fixture_post(&f, "/insert/loki/api/v1/push", type, packed, cut, 400);
        free(a);
    }
    for (size_t cut = 1; cut < push.len; cut++) { /* well packed, cut inside */
        len = sizeof(packed);
        assert_int_equal(snappy_compress(push.ptr, cut, packed, &len), SNAPPY_OK);
        char *a = fixture_post(&f, "/insert/loki/api/v1/push", type, packed, len, 400);
        free(a);
    }
    tel_buf_free(&push);
    static const char bomb[] = "\xff\xff\xff\xff\x0f"; /* says that it holds 4 GiB */
    post("/insert/loki/api/v1/push", type, bomb, 5, 400, "larger than");
}

/* ---- Elasticsearch --------------------------------------------------------------------------- */

static void test_elastic(void **state)
{
    (void)state;
    static const char body[] = "{\"create\":{\"_index\":\"x\"}}\n"
                               "{\"@timestamp\":\"2023-11-14T22:13:20.5Z\",\"message\":\"one\",\"host\":{\"name\":\"h\"}}\n"
                               "{\"index\":{}}\n"
                               "{broken\n"
                               "{ \"index\" : {} }\n"
                               "{\"@timestamp\":\"1700000001\",\"message\":\"two\"}\n";
    char *a = fixture_post(&f, "/insert/elasticsearch/_bulk?_stream_fields=host.name", "Content-Type: application/x-ndjson\r\n",
                           body, sizeof(body) - 1, 200);
    assert_non_null(strstr(a, "\"errors\":true,\"items\":[{\"create\":{\"status\":201}},{\"index\":{\"status\":400,"));
    assert_non_null(strstr(a, "}},{\"index\":{\"status\":201}}]}"));
    free(a);
    expect_dump("default|host.name=h|1700000000500000000|one|\n"
                "default||1700000001000000000|two|\n");
    post("/_bulk", "", "{\"delete\":{}}\n", 14, 400, "line 1");
    post("/insert/elasticsearch/_ilm/policy/x", "", "{}", 2, 200, "{}");
}

/* ---- OpenTelemetry --------------------------------------------------------------------------- */

static void any_string(struct tel_buf *b, unsigned number, const char *s)
{
    struct tel_buf any = {0};
    pb_str(&any, 1, s);
    pb_message(b, number, &any);
}

static void key_string(struct tel_buf *b, unsigned number, const char *key, const char *value)
{
    struct tel_buf kv = {0};
    pb_str(&kv, 1, key);
    any_string(&kv, 2, value);
    pb_message(b, number, &kv);
}

static void otlp_request(struct tel_buf *request)
{
    struct tel_buf record = {0}, kv = {0}, any = {0}, list = {0}, scope_logs = {0}, scope = {0}, resource = {0}, logs = {0};
    pb_fixed64(&record, 1, UINT64_C(1700000000000000007));
    pb_num(&record, 2, 17);
    pb_str(&record, 3, "ERROR");
    any_string(&record, 5, "it failed");
    key_string(&record, 6, "http.method", "GET");
    pb_str(&kv, 1, "n");
    pb_num(&any, 3, 42);
    pb_message(&kv, 2, &any);
    pb_message(&record, 6, &kv);
    pb_str(&kv, 1, "ratio");
    double ratio = 0.1;
    uint64_t bits;
    memcpy(&bits, &ratio, sizeof(bits));
    pb_fixed64(&any, 4, bits);
    pb_message(&kv, 2, &any);
    pb_message(&record, 6, &kv);
    pb_str(&kv, 1, "user"); /* a list of pairs */
    key_string(&list, 1, "id", "7");
    pb_message(&any, 6, &list);
    pb_message(&kv, 2, &any);
    pb_message(&record, 6, &kv);
    pb_str(&kv, 1, "tags"); /* an array */
    any_string(&list, 1, "x");
    any_string(&list, 1, "y\"z");
    pb_message(&any, 5, &list);
    pb_message(&kv, 2, &any);
    pb_message(&record, 6, &kv);
    pb_bytes(&record, 9, "\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef", 16);
    pb_bytes(&record, 10, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8);
    pb_str(&scope, 1, "lib");
    pb_message(&scope_logs, 1, &scope);
    pb_message(&scope_logs, 2, &record);
    pb_message(&logs, 2, &scope_logs); /* before its resource: protobuf allows it */
    key_string(&resource, 1, "service.name", "shop");
    pb_message(&logs, 1, &resource);
    pb_message(request, 1, &logs);
}

static const char otlp_event[] = "default|service.name=shop|1700000000000000007|it failed|http.method=GET,n=42,ratio=0.1,"
                                 "user.id=7,tags=[\"x\",\"y\\\"z\"],scope.name=lib,severity_text=ERROR|severity=17"
                                 "|trace=0123456789abcdef0123456789abcdef\n";

static void test_otlp_protobuf(void **state)
{
    (void)state;
    struct tel_buf request = {0};
    const char *type = "Content-Type: application/x-protobuf\r\n";
    otlp_request(&request);
    post("/insert/opentelemetry/v1/logs", type, request.ptr, request.len, 200, "");
    expect_dump(otlp_event);
    for (size_t cut = 1; cut < request.len; cut++) {
        char *a = fixture_post(&f, "/v1/logs", type, request.ptr, cut, 400);
        free(a);
    }
    struct tel_buf deep = {0}; /* lists in lists in lists */
    for (int i = 0; i < 1000; i++) {
        struct tel_buf kv = {0}, any = {0}, list = {0};
        pb_str(&kv, 1, "k");
        pb_message(&kv, 2, &deep);
        pb_message(&list, 1, &kv);
        pb_message(&any, 6, &list);
        deep = any;
    }
    struct tel_buf record = {0}, scope_logs = {0}, logs = {0}, bad = {0};
    pb_message(&record, 5, &deep);
    pb_message(&scope_logs, 2, &record);
    pb_message(&logs, 2, &scope_logs);
    pb_message(&bad, 1, &logs);
    post("/v1/logs", type, bad.ptr, bad.len, 400, "not an Export");
    tel_buf_free(&bad);
    tel_buf_free(&request);
}

static void test_otlp_json(void **state)
{
    (void)state;
    static const char body[] =
        "{\"resourceLogs\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":\"shop\"}}]},"
        "\"scopeLogs\":[{\"scope\":{\"name\":\"lib\"},\"logRecords\":[{\"timeUnixNano\":\"1700000000000000007\","
        "\"severityNumber\":17,\"severityText\":\"ERROR\",\"body\":{\"stringValue\":\"it failed\"},\"attributes\":["
        "{\"key\":\"http.method\",\"value\":{\"stringValue\":\"GET\"}},{\"key\":\"n\",\"value\":{\"intValue\":\"42\"}},"
        "{\"key\":\"ratio\",\"value\":{\"doubleValue\":0.1}},"
        "{\"key\":\"user\",\"value\":{\"kvlistValue\":{\"values\":[{\"key\":\"id\",\"value\":{\"stringValue\":\"7\"}}]}}},"
        "{\"key\":\"tags\",\"value\":{\"arrayValue\":{\"values\":[{\"stringValue\":\"x\"},{\"stringValue\":\"y\\\"z\"}]}}}],"
        "\"traceId\":\"0123456789ABCDEF0123456789abcdef\",\"spanId\":\"0123456789abcdef\"}]}]}]}";
    post("/v1/logs", JSON, body, sizeof(body) - 1, 200, "{}");
    char *got = fixture_dump(&f);
    assert_non_null(strstr(got, "ratio=0.1"));
    assert_string_equal(got, otlp_event);
    free(got);
    post("/v1/logs", JSON, "[1", 2, 400, "line 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_loki_json, start, stop),
        cmocka_unit_test_setup_teardown(test_loki_protobuf, start, stop),
        cmocka_unit_test_setup_teardown(test_elastic, start, stop),
        cmocka_unit_test_setup_teardown(test_otlp_protobuf, start, stop),
        cmocka_unit_test_setup_teardown(test_otlp_json, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
