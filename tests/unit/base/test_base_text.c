/* Spans, buffers, JSON, escaping, UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/escape.h"
#include "common/base/rand.h"
#include "common/base/utf8.h"

static void test_span(void **state)
{
    (void)state;
    struct tel_span s = TEL_SPAN("key=value=x"), empty = {0};
    assert_int_equal(tel_span_find(s, TEL_SPAN("=")), 3);
    assert_int_equal(tel_span_find(s, TEL_SPAN("e=x")), 8);
    assert_true(tel_span_find(s, TEL_SPAN("nothing of it")) == SIZE_MAX);
    assert_true(tel_span_find(s, TEL_SPAN("zz")) == SIZE_MAX);
    assert_int_equal(tel_span_find(s, empty), 0);
    assert_int_equal(tel_span_find(empty, empty), 0);
    assert_true(tel_span_find(empty, TEL_SPAN("x")) == SIZE_MAX);

    struct tel_span rest = s;
    assert_true(tel_span_eq_cstr(tel_span_split(&rest, '='), "key"));
    assert_true(tel_span_eq_cstr(rest, "value=x"));
    assert_true(tel_span_eq_cstr(tel_span_split(&rest, '='), "value"));
    assert_true(tel_span_eq_cstr(tel_span_split(&rest, '='), "x"));
    assert_null(rest.ptr);
    rest = TEL_SPAN("a,");
    tel_span_split(&rest, ',');
    assert_true(rest.ptr && rest.len == 0); /* one more, empty */
    assert_int_equal(tel_span_split(&rest, ',').len, 0);
    assert_null(rest.ptr);

    assert_true(tel_span_eq_cstr(tel_span_trim(TEL_SPAN(" \t\r\n a b \n")), "a b"));
    assert_int_equal(tel_span_trim(TEL_SPAN(" \n")).len, 0);
    assert_int_equal(tel_span_trim(empty).len, 0);
    assert_true(tel_span_cmp(TEL_SPAN("a"), TEL_SPAN("ab")) < 0);
    assert_true(tel_span_cmp(TEL_SPAN("b"), TEL_SPAN("ab")) > 0);
    assert_true(tel_span_cmp(TEL_SPAN("\xff"), TEL_SPAN("a")) > 0);
    assert_true(tel_span_cmp(empty, empty) == 0 && tel_span_cmp(empty, TEL_SPAN("a")) < 0);
    assert_true(tel_span_starts(s, TEL_SPAN("key")) && !tel_span_starts(s, TEL_SPAN("value")));
    assert_true(tel_span_ends(s, TEL_SPAN("=x")) && !tel_span_ends(TEL_SPAN("x"), s));
    assert_true(tel_span_starts(empty, empty) && tel_span_ends(empty, empty));
    assert_true(tel_span_eq_cstr(tel_span_slice(s, 4, 9), "value"));
    assert_int_equal(tel_span_slice(s, 20, 5).len, 0);
    assert_int_equal(tel_span_slice(s, 4, 99).len, 7);
}

/* Against the plain way, on texts in which nearly everything looks like the needle. */
static void test_find_random(void **state)
{
    (void)state;
    uint64_t seed = tel_rand_seed();
    struct tel_rand rand;
    tel_rand_init(&rand, seed);
    printf("seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 50000; round++) {
        char text[300], needle[100];
        size_t len = (size_t)tel_rand_below(&rand, sizeof text), want = SIZE_MAX;
        size_t needle_len = 1 + (size_t)tel_rand_below(&rand, round % 10 ? 6 : sizeof needle);
        uint64_t letters = 1 + tel_rand_below(&rand, 3);
        for (size_t i = 0; i < len; i++)
            text[i] = (char)('a' + tel_rand_below(&rand, letters));
        for (size_t i = 0; i < needle_len; i++)
            needle[i] = (char)('a' + tel_rand_below(&rand, letters));
        for (size_t i = 0; i + needle_len <= len && want == SIZE_MAX; i++)
            want = memcmp(text + i, needle, needle_len) == 0 ? i : SIZE_MAX;
        /* At the very end of an allocation, so that a read too far is seen. */
        char *copy = malloc(len + 1);
        memcpy(copy + 1, text, len);
        assert_true(tel_span_find(tel_span_make(copy + 1, len), tel_span_make(needle, needle_len)) == want);
        free(copy);
    }
}

static void test_buf(void **state)
{
    (void)state;
    struct tel_buf buf = {0};
    assert_string_equal(tel_buf_cstr(&buf), "");
    tel_buf_add(&buf, NULL, 0);
    for (int i = 0; i < 1000; i++)
        tel_buf_add_char(&buf, 'x');
    assert_int_equal(buf.len, 1000);
    tel_buf_clear(&buf);
    TEL_BUF_ADD_LIT(&buf, "n=");
    tel_buf_printf(&buf, "%d/%s", 42, "y");
    assert_string_equal(tel_buf_cstr(&buf), "n=42/y");
    tel_buf_clear(&buf);
    char *big = calloc(1, 5001);
    memset(big, 'z', 5000);
    tel_buf_printf(&buf, "<%s>", big);
    assert_int_equal(buf.len, 5002);
    assert_int_equal(buf.ptr[5001], '>');
    free(big);
    tel_buf_clear(&buf);
    tel_buf_add_le32(&buf, 0x01020304);
    tel_buf_add_le64(&buf, UINT64_C(0x0102030405060708));
    assert_memory_equal(buf.ptr, "\4\3\2\1\10\7\6\5\4\3\2\1", 12);
    tel_buf_free(&buf);
    assert_null(buf.ptr);
    tel_buf_free(NULL);
}

static void test_decimal(void **state)
{
    (void)state;
    static const uint64_t cases[] = {0, 1, 9, 10, 99, 100, 101, 12345, 999999, 1000000, UINT32_MAX,
                                     UINT64_MAX, UINT64_MAX - 1, INT64_MAX};
    struct tel_buf buf = {0};
    char want[32];
    for (size_t i = 0; i < TEL_ARRAY_LEN(cases); i++) {
        tel_buf_clear(&buf);
        tel_buf_add_u64(&buf, cases[i]);
        snprintf(want, sizeof want, "%llu", (unsigned long long)cases[i]);
        assert_string_equal(tel_buf_cstr(&buf), want);
        tel_buf_clear(&buf);
        tel_buf_add_i64(&buf, (int64_t)(0 - cases[i]));
        snprintf(want, sizeof want, "%lld", (long long)(0 - cases[i]));
        assert_string_equal(tel_buf_cstr(&buf), want);
    }
    tel_buf_clear(&buf);
    tel_buf_add_i64(&buf, INT64_MIN);
    assert_string_equal(tel_buf_cstr(&buf), "-9223372036854775808");
    tel_buf_free(&buf);
}

static const char *json_of(struct tel_buf *buf, struct tel_span s)
{
    tel_buf_clear(buf);
    tel_buf_add_json(buf, s);
    return tel_buf_cstr(buf);
}

static void test_json(void **state)
{
    (void)state;
    struct tel_buf buf = {0};
    assert_string_equal(json_of(&buf, (struct tel_span){0}), "\"\"");
    assert_string_equal(json_of(&buf, TEL_SPAN("plain and long enough for the fast path")),
                        "\"plain and long enough for the fast path\"");
    assert_string_equal(json_of(&buf, TEL_SPAN("a\"b\\c/d\b\f\n\r\t\x01\x1f\x7f")),
                        "\"a\\\"b\\\\c/d\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"");
    assert_string_equal(json_of(&buf, TEL_SPAN("nul\0in")), "\"nul\\u0000in\"");
    assert_string_equal(json_of(&buf, TEL_SPAN("h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80")),
                        "\"h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"");
    /* a lone tail, an overlong slash, a surrogate, a cut sequence: a mark per byte */
    assert_string_equal(json_of(&buf, TEL_SPAN("\x80|\xc0\xaf|\xed\xa0\x80|\xe2\x82")),
                        "\"\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|"
                        "\xef\xbf\xbd\xef\xbf\xbd\"");
    tel_buf_free(&buf);
}

/* The reverse, strictly after RFC 8259; false if it is not a JSON string. */
static bool json_decode(struct tel_span s, struct tel_buf *out)
{
    if (s.len < 2 || s.ptr[0] != '"' || s.ptr[s.len - 1] != '"' || !tel_utf8_valid(s))
        return false;
    for (size_t i = 1; i + 1 < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < 0x20 || c == '"')
            return false;
        if (c != '\\') {
            tel_buf_add_char(out, (char)c);
            continue;
        }
        static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
        if (++i + 1 >= s.len)
            return false;
        const char *found = strchr(from, s.ptr[i]);
        if (found) {
            tel_buf_add_char(out, to[found - from]);
        } else {
            unsigned v;
            char hex[5] = "";
            if (s.ptr[i] != 'u' || i + 5 >= s.len)
                return false;
            memcpy(hex, s.ptr + i + 1, 4);
            if (sscanf(hex, "%4x", &v) != 1 || v >= 0x20)
                return false;
            tel_buf_add_char(out, (char)v);
            i += 4;
        }
    }
    return true;
}

/* Random bytes of every mixture: the result is valid JSON and says the same, bad bytes apart. */
static void test_json_random(void **state)
{
    (void)state;
    uint64_t seed = tel_rand_seed();
    struct tel_rand rand;
    struct tel_buf in = {0}, json = {0}, back = {0}, want = {0};
    tel_rand_init(&rand, seed);
    printf("seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 20000; round++) {
        tel_buf_clear(&in);
        tel_buf_clear(&json);
        tel_buf_clear(&back);
        tel_buf_clear(&want);
        size_t len = (size_t)tel_rand_below(&rand, 80);
        uint64_t odd = tel_rand_below(&rand, 3); /* mostly plain, half, wild */
        while (in.len < len) {
            if (tel_rand_below(&rand, 2) < odd) {
                char utf8[4];
                size_t n = tel_utf8_encode((uint32_t)tel_rand_below(&rand, 0x3000), utf8);
                tel_buf_add(&in, utf8, tel_rand_below(&rand, 4) ? n : 1);
            } else {
                tel_buf_add_char(&in, (char)tel_rand_below(&rand, odd ? 256 : 128));
            }
        }
        for (size_t pos = 0; pos < in.len;) {
            uint32_t cp;
            size_t n = tel_utf8_decode(tel_span_make(in.ptr + pos, in.len - pos), &cp);
            if (cp == UINT32_MAX)
                TEL_BUF_ADD_LIT(&want, "\xef\xbf\xbd");
            else
                tel_buf_add(&want, in.ptr + pos, n);
            pos += n;
        }
        tel_buf_add_json(&json, tel_buf_span(&in));
        assert_true(json_decode(tel_buf_span(&json), &back));
        assert_true(tel_span_eq(tel_buf_span(&back), tel_buf_span(&want)));
    }
    tel_buf_free(&in);
    tel_buf_free(&json);
    tel_buf_free(&back);
    tel_buf_free(&want);
}

static void test_escaped(void **state)
{
    (void)state;
    struct tel_buf buf = {0};
    tel_buf_add_escaped(&buf, TEL_SPAN("a\n\x1b[31m\x7f\xff\xc3\xa9\xc2\x85\xe2\x80\xae"), 100);
    assert_string_equal(tel_buf_cstr(&buf),
                        "a\\x0a\\x1b[31m\\x7f\\xff\xc3\xa9\\xc2\\x85\\xe2\\x80\\xae");
    tel_buf_clear(&buf);
    tel_buf_add_escaped(&buf, TEL_SPAN("123456\xc3\xa9"), 7);
    assert_string_equal(tel_buf_cstr(&buf), "123456...");
    tel_buf_clear(&buf);
    tel_buf_add_escaped(&buf, TEL_SPAN("1234567"), 7);
    assert_string_equal(tel_buf_cstr(&buf), "1234567");
    tel_buf_free(&buf);
    char small[8];
    assert_int_equal(tel_escape_into(small, sizeof small, TEL_SPAN("ab\n\n")), 6);
    assert_string_equal(small, "ab\\x0a");
    assert_int_equal(tel_escape_into(small, 1, TEL_SPAN("ab")), 0);
    assert_string_equal(small, "");
}

static void test_utf8_all_code_points(void **state)
{
    (void)state;
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        char text[4];
        uint32_t back;
        size_t len = tel_utf8_encode(cp, text);
        bool surrogate = cp >= 0xd800 && cp <= 0xdfff;
        assert_int_equal(tel_utf8_decode(tel_span_make(text, len), &back), len);
        assert_true(back == (surrogate ? 0xfffd : cp));
        assert_true(tel_utf8_valid(tel_span_make(text, len)));
        for (size_t cut = 1; cut < len; cut++) {
            assert_int_equal(tel_utf8_decode(tel_span_make(text, cut), &back), 1);
            assert_true(back == UINT32_MAX);
            assert_false(tel_utf8_valid(tel_span_make(text, cut)));
        }
    }
    char text[4];
    assert_int_equal(tel_utf8_encode(0x110000, text), 3);
    static const char *const bad[] = {"\xc0\x80",         "\xc1\xbf",         "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf",
                                      "\xed\xa0\x80",     "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xbf",
                                      "12345678\x80"};
    for (size_t i = 0; i < TEL_ARRAY_LEN(bad); i++)
        assert_false(tel_utf8_valid(tel_span_cstr(bad[i])));
    assert_true(tel_utf8_valid(TEL_SPAN("0123456789abcdef\xc3\xa9xyz01234567")));
    assert_true(tel_utf8_valid((struct tel_span){0}));
}

static void test_words_and_case(void **state)
{
    (void)state;
    static const uint32_t words[] = {'a', 'Z', '0', '9', 0xaa, 0xe9, 0x3b1, 0x416, 0x5d0, 0x627, 0x661,
                                     0x4e2d, 0xac00, 0x3042, 0x1d7ce, 0x20000, 0x10400};
    static const uint32_t others[] = {' ', '_', '-', '.', 0, 0x7f, 0xa0, 0xb2, 0xd7, 0x300, 0x2028,
                                      0x2160, 0x20ac, 0xd800, 0x1f600, 0xffff, 0x10ffff, 0x110000,
                                      UINT32_MAX};
    for (size_t i = 0; i < TEL_ARRAY_LEN(words); i++)
        assert_true(tel_utf8_is_word(words[i]));
    for (size_t i = 0; i < TEL_ARRAY_LEN(others); i++)
        assert_false(tel_utf8_is_word(others[i]));
    static const uint32_t lower[][2] = {{'A', 'a'},       {'Z', 'z'},       {'a', 'a'},     {'[', '['},
                                        {0xc9, 0xe9},     {0xd7, 0xd7},     {0x130, 0x69},  {0x178, 0xff},
                                        {0x391, 0x3b1},   {0x3a9, 0x3c9},   {0x416, 0x436}, {0x100, 0x101},
                                        {0x101, 0x101},   {0x1e9e, 0xdf},   {0x2126, 0x3c9}, {0x10400, 0x10428},
                                        {0x1e921, 0x1e943}, {0x10ffff, 0x10ffff}, {0x13a0, 0xab70}};
    for (size_t i = 0; i < TEL_ARRAY_LEN(lower); i++)
        assert_int_equal(tel_utf8_lower(lower[i][0]), lower[i][1]);
    /* Lower case is final, and every change is to another letter or mark of the same plane. */
    unsigned changed = 0;
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        uint32_t low = tel_utf8_lower(cp);
        changed += low != cp;
        assert_int_equal(tel_utf8_lower(low), low);
        assert_true(low < 0x110000);
    }
    assert_true(changed > 1380 && changed < 1600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_span),        cmocka_unit_test(test_find_random), cmocka_unit_test(test_buf),
        cmocka_unit_test(test_decimal),     cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_random), cmocka_unit_test(test_escaped),
        cmocka_unit_test(test_utf8_all_code_points), cmocka_unit_test(test_words_and_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
