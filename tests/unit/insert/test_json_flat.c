/* The scanner against fixed examples, and against jansson on millions of mutated bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/base/buf.h"
#include "common/base/rand.h"
#include "common/base/utf8.h"
#include "sidecar/insert/insert_time.h"
#include "sidecar/insert/json_flat.h"

static struct tel_arena arena;
static struct json_flat flat = {.arena = &arena};

static void expect(const char *json, const char *want)
{
    struct tel_buf got = {0};
    tel_arena_reset(&arena);
    bool ok = json_flatten(&flat, tel_span_cstr(json));
    if (!ok)
        tel_buf_printf(&got, "byte %zu: %s", flat.error_at, flat.error);
    for (size_t i = 0; ok && i < flat.fields.len; i++)
        tel_buf_printf(&got, "%s%.*s=%.*s", i ? "|" : "", TEL_SPAN_ARG(flat.fields.items[i].name),
                       TEL_SPAN_ARG(flat.fields.items[i].value));
    assert_string_equal(tel_buf_cstr(&got), want);
    tel_buf_free(&got);
}

static void test_examples(void **state)
{
    (void)state;
    expect("{}", "");
    expect("  { \"a\" : \"b\" }\r", "a=b");
    expect("{\"a\":1.50,\"b\":-0,\"c\":1e3,\"d\":true,\"e\":false,\"f\":null}", "a=1.50|b=-0|c=1e3|d=true|e=false");
    expect("{\"a\":{\"b\":{\"c\":\"x\"},\"d\":2},\"e\":{}}", "a.b.c=x|a.d=2");
    expect("{\"a\":[1, \"]\\\"\", {\"b\":[]}],\"c\":12345678901234567890}",
           "a=[1, \"]\\\"\", {\"b\":[]}]|c=12345678901234567890");
    expect("{\"a\":\"q\\\"b\\\\s\\/\\b\\f\\n\\r\\t\\u00e9\\u20ac\\ud83d\\ude00\"}",
           "a=q\"b\\s/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    expect("{\"a\":\"\\ud83d.\\ude00\"}", "a=\xef\xbf\xbd.\xef\xbf\xbd");
    expect("{\"a\\u002eb\":{\"\":\"x\"}}", "a.b.=x");
    expect("{\"a\":\"caf\xc3\xa9 long enough for words of eight\"}", "a=caf\xc3\xa9 long enough for words of eight");
}

static void test_errors(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "x", "[]", "\"a\"", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{a:1}",
        "{\"a\":01}", "{\"a\":+1}", "{\"a\":1.}", "{\"a\":.5}", "{\"a\":1e}", "{\"a\":-}", "{\"a\":tru}",
        "{\"a\":nul}", "{\"a\":\"\\x\"}", "{\"a\":\"\\u12g4\"}", "{\"a\":\"\\u12\"}", "{\"a\":\"b}", "{\"a\":\"\\\"}",
        "{\"a\":\"\t\"}", "{\"a\":[1,]}", "{\"a\":[1}", "{\"a\":{\"b\":1]}", "{\"a\":1}{", "{\"a\":1} x", "{\"a\" 1}",
        "{\"a\":[{\"b\"}]}", "{,}", "{\"a\":\"1234567\x01\"}",
    };
    for (size_t i = 0; i < TEL_ARRAY_LEN(bad); i++) {
        assert_false(json_flatten(&flat, tel_span_cstr(bad[i])));
        assert_true(flat.error_at <= strlen(bad[i]));
    }
    struct tel_buf deep = {0};
    tel_buf_printf(&deep, "{\"a\":");
    for (int i = 0; i < 100000; i++)
        tel_buf_add_char(&deep, '[');
    assert_false(json_flatten(&flat, tel_buf_span(&deep)));
    tel_buf_free(&deep);
    expect("{\"a\":01}", "byte 7: a malformed number");
}

/* What the scanner should make of a value, by way of jansson; arrays are left out of the comparison. */
static void flatten_with_jansson(json_t *o, const char *prefix, struct tel_buf *out)
{
    const char *key;
    size_t key_len;
    json_t *v;
    json_object_keylen_foreach(o, key, key_len, v)
    {
        struct tel_buf name = {0};
        tel_buf_printf(&name, "%s%.*s", prefix, (int)key_len, key);
        if (json_is_object(v)) {
            tel_buf_add_char(&name, '.');
            flatten_with_jansson(v, tel_buf_cstr(&name), out);
        } else if (json_is_string(v)) {
            tel_buf_printf(out, "%s=", tel_buf_cstr(&name));
            tel_buf_add(out, json_string_value(v), json_string_length(v));
            tel_buf_add_char(out, '\n');
        }
        tel_buf_free(&name);
    }
}

static const char *const seeds[] = {
    "{\"_time\":\"2024-01-01T00:00:00Z\",\"_msg\":\"GET /a?b=c 200 \\\"x\\\"\",\"host\":{\"name\":\"h1\",\"ip\":\"10.0.0.1\"},\"n\":12.5e-3}",
    "{\"a\":{\"b\":{\"c\":[1,{\"d\":\"\\u00e9\\ud83d\\ude00\"},null,true]}},\"e\":\"\",\"f\":false,\"g\":-0.1}",
    "{\"k1\":\"v1\",\"k2\":\"a rather long value with \\\\ and \\/ and \\n in it\",\"k3\":{\"x\":{},\"y\":\"z\"}}",
};

static void test_against_jansson(void **state)
{
    (void)state;
    uint64_t seed = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 10) : tel_rand_seed();
    print_message("SEED=%llu\n", (unsigned long long)seed);
    struct tel_rand rand;
    tel_rand_init(&rand, seed);
    static const char alphabet[] = "{}[]\",:\\u0123456789abcdefntr.-+eE \t";
    int both = 0;
    for (int round = 0; round < 200000; round++) {
        char text[512];
        size_t len = strlen(seeds[round % 3]);
        memcpy(text, seeds[round % 3], len);
        for (uint64_t n = tel_rand_below(&rand, 4); n > 0; n--)
            text[tel_rand_below(&rand, len)] = alphabet[tel_rand_below(&rand, sizeof(alphabet) - 1)];
        json_error_t e;
        json_t *theirs = json_loadb(text, len, JSON_ALLOW_NUL, &e);
        tel_arena_reset(&arena);
        bool ours = json_flatten(&flat, tel_span_make(text, len));
        if (theirs && json_is_object(theirs) && !ours)
            fail_msg("refused (%s): %.*s", flat.error, (int)len, text);
        if (theirs && ours) {
            struct tel_buf want = {0}, got = {0};
            flatten_with_jansson(theirs, "", &want);
            for (size_t i = 0; i < flat.fields.len; i++) {
                struct tel_field f = flat.fields.items[i];
                bool quoted = f.value.ptr > text && f.value.ptr <= text + len ? f.value.ptr[-1] == '"' : true;
                if (f.value.len == 0 || quoted)
                    tel_buf_printf(&got, "%.*s=%.*s\n", TEL_SPAN_ARG(f.name), TEL_SPAN_ARG(f.value));
            }
            /* A name that comes twice is one for jansson, which keeps the last; NULs end a printf. */
            if (want.len == got.len && memchr(got.ptr ? got.ptr : "", 0, got.len) == NULL) {
                assert_memory_equal(want.ptr ? want.ptr : "", got.ptr ? got.ptr : "", got.len);
                both++;
            }
            tel_buf_free(&want);
            tel_buf_free(&got);
        }
        json_decref(theirs);
    }
    assert_true(both > 20000);
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        {"", 42},
        {"0", 42},
        {"1700000000", INT64_C(1700000000000000000)},
        {"1700000000.000000001", INT64_C(1700000000000000001)},
        {"1700000000123", INT64_C(1700000000123000000)},
        {"1700000000123.5", INT64_C(1700000000123500000)},
        {"1700000000123456", INT64_C(1700000000123456000)},
        {"1700000000123456789", INT64_C(1700000000123456789)},
        {"-1", INT64_C(-1000000000)},
        {"2023-11-14T22:13:20Z", INT64_C(1700000000000000000)},
        {"2023-11-14T23:13:20.5+01:00", INT64_C(1700000000500000000)},
        {"2023-11-14 22:13:20.000000001", INT64_C(1700000000000000001)},
    };
    for (size_t i = 0; i < TEL_ARRAY_LEN(good); i++) {
        int64_t ns = 0;
        assert_true(insert_time_parse(tel_span_cstr(good[i].text), 42, &ns));
        assert_int_equal(ns, good[i].ns);
    }
    static const char *const bad[] = {"x", "1.2.3", "12:00", "1e9", "99999999999999999999", "2023-13-01T00:00:00Z", "--1"};
    for (size_t i = 0; i < TEL_ARRAY_LEN(bad); i++) {
        int64_t ns = 0;
        assert_false(insert_time_parse(tel_span_cstr(bad[i]), 42, &ns));
    }
}

static int end(void **state)
{
    (void)state;
    tel_vec_free(&flat.fields);
    tel_arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_against_jansson), cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
