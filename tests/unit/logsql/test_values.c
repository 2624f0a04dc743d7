/* Words, numbers, orders, expressions, buckets, hashes, labels: what single values mean. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/rand.h"
#include "common/base/timefmt.h"
#include "common/logsql/bucket.h"
#include "common/logsql/fields.h"
#include "common/logsql/filter.h"
#include "common/logsql/number.h"
#include "common/logsql/order.h"
#include "common/logsql/parser.h"
#include "common/logsql/regex.h"
#include "common/logsql/xxh64.h"

static struct tel_span sp(const char *s)
{
    return tel_span_cstr(s);
}

static void test_words(void **state)
{
    (void)state;
    struct tel_span s = sp("foo: (bar,\"тест\")! a_b9\xff-x"), word;
    static const char *const want[] = {"foo", "bar", "тест", "a_b9", "x"};
    size_t pos = 0, n = 0;
    while (tel_words_next(s, &pos, &word)) {
        assert_true(n < 5);
        assert_true(tel_span_eq_cstr(word, want[n++]));
    }
    assert_int_equal(n, 5);
    assert_true(tel_words_is_word(sp("größe_1")));
    assert_false(tel_words_is_word(sp("a b")));
    assert_false(tel_words_is_word(sp("")));
}

static void test_phrases(void **state)
{
    (void)state;
    static const struct {
        const char *phrase, *value;
        bool whole, prefix;
    } table[] = {
        {"foo", "foo", true, true},
        {"foo", "a foo b", true, true},
        {"foo", "food", false, true},
        {"foo", "afoo", false, false},
        {"foo", "_foo", false, false},
        {"foo", "éfoo", false, false},
        {"foo", "foo é", true, true},
        {"foo", "fooé", false, true},
        {"foo", "food foo", true, true},
        {"foo",
         "\xff"
         "foo",
         false, false},
        {"foo", "foo\xff", false, true},
        {": a", "x: a", true, true},
        {": a", "x: ab", false, true},
        {"é", "é", true, true},
        {"é", "aé", false, false},
        {"foo bar", "foo bar baz", true, true},
        {"foo", "", false, false},
        {"-", "a-b", true, true},
    };
    for (size_t i = 0; i < TEL_ARRAY_LEN(table); i++) {
        struct tel_phrase p = tel_phrase_make(sp(table[i].phrase));
        if ((tel_phrase_find(&p, sp(table[i].value), 0, false) != SIZE_MAX) != table[i].whole ||
            (tel_phrase_find(&p, sp(table[i].value), 0, true) != SIZE_MAX) != table[i].prefix)
            fail_msg("%s in %s", table[i].phrase, table[i].value);
    }
}

/* The vector search against memmem, at every alignment and length around 16. */
static void test_find_bytes(void **state)
{
    (void)state;
    struct tel_rand r;
    uint64_t seed = tel_rand_seed();
    print_message("seed %llu\n", (unsigned long long)seed);
    tel_rand_init(&r, seed);
    for (int round = 0; round < 20000; round++) {
        char text[80], needle[24];
        size_t n = tel_rand_below(&r, sizeof text), k = tel_rand_below(&r, sizeof needle);
        for (size_t i = 0; i < n; i++)
            text[i] = (char)('a' + tel_rand_below(&r, 2));
        for (size_t i = 0; i < k; i++)
            needle[i] = (char)('a' + tel_rand_below(&r, 2));
        size_t from = tel_rand_below(&r, n + 1);
        const char *p = memmem(text + from, n - from, needle, k);
        size_t want = p ? (size_t)(p - text) : SIZE_MAX;
        assert_true(tel_words_find_bytes(tel_span_make(text, n), tel_span_make(needle, k), from) ==
                    want);
    }
}

static void test_lower(void **state)
{
    (void)state;
    struct tel_buf out = {0};
    char ascii[64];
    tel_words_lower(&out, sp("AZ@[az ÄÖ ТЕСТ \xff"));
    assert_true(tel_span_eq_cstr(tel_buf_span(&out), "az@[az äö тест \xff"));
    assert_true(tel_words_lower_ascii(ascii, sp("Hello, WORLD @[`{ 0123456789 ABCXYZ")));
    assert_memory_equal(ascii, "hello, world @[`{ 0123456789 abcxyz", 35);
    assert_false(tel_words_lower_ascii(ascii, sp("0123456789abcdefghé")));
    tel_buf_free(&out);
}

static void test_near(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        unsigned edits; /* the fewest that do; 3: more than two */
    } table[] = {{"error", "error", 0},  {"error", "eror", 1},  {"error", "errro", 1},
                 {"error", "errors", 1}, {"error", "xrrot", 2}, {"error", "warn", 3},
                 {"größe", "grösse", 2}, {"", "ab", 2},         {"ab", "ba", 1},
                 {"abcd", "badc", 2},    {"a", "bcd", 3}};
    for (size_t i = 0; i < TEL_ARRAY_LEN(table); i++)
        for (unsigned e = 0; e <= 2; e++)
            if (tel_words_near(sp(table[i].a), sp(table[i].b), e) != (e >= table[i].edits))
                fail_msg("%s and %s with %u edits", table[i].a, table[i].b, e);
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {
        {"0", 0},
        {"-12", -12},
        {"1_234", 1234},
        {"0.5", 0.5},
        {"-0.25", -0.25},
        {"1.234_567", 1.234567},
        {"1e3", 1000},
        {"0x1f", 31},
        {"0b101", 5},
        {"0o17", 15},
        {"007", 7},
        {"10KiB", 10240},
        {"1.5K", 1500},
        {"2GB", 2e9},
        {"1h33m55s", 5635e9},
        {"1.5ms", 1.5e6},
        {"3µs", 3000},
        {"1w2d", 777600e9},
        {"-5s", -5e9},
        {"inf", INFINITY},
        {"1.2.3.4", 16909060},
        {"1970-01-01T00:00:01Z", 1e9},
        {".5", 0.5},
        {"18446744073709551615", 18446744073709551615.0},
    };
    static const char *const bad[] = {"",    "a",         "1a",        "--1", "1.2.3", "5 m", "1h5",
                                      "KiB", "1.2.3.4.5", "1.2.3.256", "0x",  "nan",   "_"};
    double f;
    for (size_t i = 0; i < TEL_ARRAY_LEN(good); i++)
        if (!tel_number_parse_any(sp(good[i].text), &f) || f != good[i].value)
            fail_msg("%s is no %f", good[i].text, good[i].value);
    for (size_t i = 0; i < TEL_ARRAY_LEN(bad); i++)
        if (tel_number_parse_any(sp(bad[i]), &f))
            fail_msg("%s was taken for %f", bad[i], f);
}

static void test_numbers_print(void **state)
{
    (void)state;
    static const struct {
        double f;
        const char *text;
    } table[] = {{0, "0"},
                 {-1.5, "-1.5"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {1e21, "1000000000000000000000"},
                 {1.25e-7, "0.000000125"},
                 {NAN, "NaN"},
                 {-INFINITY, "-Inf"},
                 {123456789.125, "123456789.125"},
                 {9007199254740993.0, "9007199254740992"},
                 {1.0 / 3, "0.3333333333333333"}};
    struct tel_buf out = {0};
    for (size_t i = 0; i < TEL_ARRAY_LEN(table); i++) {
        tel_buf_clear(&out);
        tel_number_print(&out, table[i].f);
        assert_string_equal(tel_buf_cstr(&out), table[i].text);
    }
    static const struct {
        int64_t ns;
        const char *text;
    } durations[] = {{0, "0"},
                     {1, "1ns"},
                     {1500, "1µs500ns"},
                     {2000000, "2ms"},
                     {1500000000, "1.5s"},
                     {INT64_C(5635000000000), "1h33m55s"},
                     {INT64_C(-694861500000000), "-1w1d1h1m1.5s"}};
    for (size_t i = 0; i < TEL_ARRAY_LEN(durations); i++) {
        tel_buf_clear(&out);
        tel_number_print_duration(&out, durations[i].ns);
        assert_string_equal(tel_buf_cstr(&out), durations[i].text);
    }
    struct tel_rand r;
    tel_rand_init(&r, 3);
    for (int i = 0; i < 20000; i++) { /* what is printed reads back */
        uint64_t bits = tel_rand_u64(&r);
        double f, again;
        memcpy(&f, &bits, 8);
        if (!isfinite(f) || fabs(f) > 1e40 || fabs(f) < 1e-30)
            continue;
        tel_buf_clear(&out);
        tel_number_print(&out, f);
        again = strtod(tel_buf_cstr(&out), NULL);
        assert_true(again == f);
    }
    tel_buf_free(&out);
}

static void test_order(void **state)
{
    (void)state;
    /* In ascending order. */
    static const char *const values[] = {
        "", "-5", "0.5", "7", "10.0.0.1", "1s", "2026-01-01T00:00:00Z", "a", "a9", "a10", "b"};
    static const char *const natural[] = {"",    "-5", "0.5", "1",   "9",    "10",
                                          "10a", "a",  "a2b", "a10", "a010", "b"};
    for (size_t i = 0; i < TEL_ARRAY_LEN(values); i++) {
        for (size_t j = 0; j < TEL_ARRAY_LEN(values); j++) {
            struct tel_order_key a = tel_order_key_any(sp(values[i])),
                                 b = tel_order_key_any(sp(values[j]));
            int c = tel_order_cmp(&a, &b);
            if ((c < 0) != (i < j) || (c == 0) != (i == j))
                fail_msg("%s against %s", values[i], values[j]);
        }
    }
    for (size_t i = 0; i + 1 < TEL_ARRAY_LEN(natural); i++) {
        struct tel_span a = sp(natural[i]), b = sp(natural[i + 1]);
        if (tel_order_natural(a, b) == 0 ||
            (tel_order_natural(a, b) < 0) == (tel_order_natural(b, a) < 0))
            fail_msg("%s against %s", natural[i], natural[i + 1]);
    }
}

static void test_regex_literals(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *literal;
        bool whole;
    } table[] = {
        {"foo", "foo", true},           {"foo\\.bar", "foo.bar", true},
        {"foo.*bar", "foo", false},     {"a+bc", "bc", false},
        {"fo?bar", "bar", false},       {"foo|bar", "", false},
        {"(foo|bar)baz", "baz", false}, {"[a-z]+error$", "error", false},
        {"(?i)error", "", false},       {"ab{2}cde", "cde", false},
        {"\\d+ms", "ms", false},        {"^GET /x", "GET /x", false},
        {"é?foo", "foo", false},        {"", "", false},
        {"a\\/b", "a/b", true},
    };
    struct tel_error err;
    for (size_t i = 0; i < TEL_ARRAY_LEN(table); i++) {
        struct tel_regex *re;
        assert_int_equal(tel_regex_new(sp(table[i].pattern), false, &re, NULL, &err), TEL_OK);
        if (!tel_span_eq_cstr(tel_regex_literal(re), table[i].literal) ||
            tel_regex_is_literal(re) != table[i].whole)
            fail_msg("%s has the literal %.*s", table[i].pattern,
                     TEL_SPAN_ARG(tel_regex_literal(re)));
        tel_regex_free(re);
    }
}

/* How far a match reaches around its literal; -1: not known. */
static void test_regex_reach(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        int before, after;
    } table[] = {
        {"status: (4|5)[0-9][0-9]", 0, 9}, {"foo", 0, 0},
        {"a?foo", 1, 0},                   {"foo.{2,3}", 0, 12},
        {"(?:ab|c)xyz\\d{1,3}?", 2, 12},   {"(?P<n>ab|cde)wxyz", 3, 0},
        {"[0-9]+foo", -1, 0},              {"foo[a-z]{2,}", 0, -1},
        {"foo\\b", 0, -1},                 {"^foo", -1, 0},
        {"foo+", 0, -1},                   {"foo\\d{2}+", 0, -1},
        {"fooé?", 0, -1},
        {"(a(b|c?){4})food", 5, 0},        {"foo(?=bar)", -1, -1},
        {"x{1,2,3}foo", -1, 0},            {"", -1, -1},
    };
    struct tel_error err;
    for (size_t i = 0; i < TEL_ARRAY_LEN(table); i++) {
        struct tel_regex *re;
        size_t before, after;
        if (tel_regex_new(sp(table[i].pattern), false, &re, NULL, &err) != TEL_OK)
            fail_msg("%s: %s", table[i].pattern, err.text);
        bool known = tel_regex_reach(re, &before, &after);
        if (before != (size_t)table[i].before || after != (size_t)table[i].after ||
            known != (table[i].before >= 0 && table[i].after >= 0))
            fail_msg("%s reaches %zd, %zd", table[i].pattern, (ssize_t)before, (ssize_t)after);
        tel_regex_free(re);
    }
}

static void test_regex_is_limited(void **state)
{
    (void)state;
    struct tel_regex *re;
    struct tel_error err = {0};
    struct tel_buf text = {0};
    bool hit;
    assert_int_equal(tel_regex_new(sp("(a|aa|a.)+$"), false, &re, NULL, &err), TEL_OK);
    for (int i = 0; i < 5000; i++)
        tel_buf_add_char(&text, 'a');
    tel_buf_add_char(&text, '\n');
    tel_code rc = tel_regex_match(re, tel_buf_span(&text), &hit, &err);
    assert_int_equal(rc, TEL_ERR_LIMIT);
    assert_non_null(strstr(err.text, "too many steps"));
    tel_regex_free(re);
    tel_buf_free(&text);
}

/* What is no ASCII is no space, no digit and no word's character, compiled to machine code or not. */
static void test_regex_negations(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text, *match;
    } table[] = {
        {"^\\S+", "a\xf0\x9f\x98\x80\xc3\xa9 b", "a\xf0\x9f\x98\x80\xc3\xa9"},
        {"a\\W", "xa\xf0\x9f\x98\x80", "a\xf0\x9f\x98\x80"},
        {"\\D+", "1\xc3\xa9-2", "\xc3\xa9-"},
        {"[^\\S]+", "a \t\xc3\xa9", " \t"},
        {"[]\\S]+", "] b", "]"},
        {"[[:space:]\\S]+\\S", " \xc3\xa9", " \xc3\xa9"},
        {"\\\\S", "a\\S", "\\S"},
        {"\\Q\\S\\E", "a\\S", "\\S"},
        {"\\[\\S", "[\xc3\xa9", "[\xc3\xa9"},
    };
    for (size_t i = 0; i < TEL_ARRAY_LEN(table); i++) {
        struct tel_regex *re;
        struct tel_error err = {0};
        struct tel_span groups[TEL_REGEX_GROUPS_MAX];
        size_t count;
        assert_int_equal(tel_regex_new(sp(table[i].pattern), false, &re, NULL, &err), TEL_OK);
        assert_int_equal(tel_regex_exec(re, sp(table[i].text), 0, groups, &count, &err), TEL_OK);
        if (count == 0 || !tel_span_eq_cstr(groups[0], table[i].match))
            fail_msg("%s in %s finds %.*s", table[i].pattern, table[i].text,
                     TEL_SPAN_ARG(count ? groups[0] : sp("nothing")));
        tel_regex_free(re);
    }
}

static void test_buckets(void **state)
{
    (void)state;
    static const struct {
        const char *step, *offset, *value, *bucket;
    } table[] = {
        {"10", NULL, "25", "20"},
        {"10", NULL, "-5", "-10"},
        {"0.1", NULL, "0.37", "0.3"},
        {"0.1", NULL, "0.3", "0.3"},
        {"10", "3", "25", "23"},
        {"10KB", NULL, "25000", "20000"},
        {"1m", NULL, "2026-03-04T05:06:07Z", "2026-03-04T05:06:00Z"},
        {"month", NULL, "2026-03-04T05:06:07Z", "2026-03-01T00:00:00Z"},
        {"week", NULL, "2026-03-08T23:00:00Z", "2026-03-02T00:00:00Z"},
        {"/8", NULL, "10.20.30.40", "10.0.0.0"},
        {"5s", NULL, "12s", "10s"},
        {"10", NULL, "foo", "foo"},
        {"10", NULL, "", ""},
        {"1d", "2h", "2026-03-04T01:00:00Z", "2026-03-03T02:00:00Z"},
    };
    struct tel_buf out = {0};
    for (size_t i = 0; i < TEL_ARRAY_LEN(table); i++) {
        struct tel_bucket b = {0};
        assert_true(tel_bucket_set_step(&b, sp(table[i].step)));
        if (table[i].offset)
            assert_true(tel_bucket_set_offset(&b, sp(table[i].offset)));
        tel_buf_clear(&out);
        tel_bucket_value(&b, sp(table[i].value), &out);
        if (!tel_span_eq_cstr(tel_buf_span(&out), table[i].bucket))
            fail_msg("%s by %s is %s", table[i].value, table[i].step, tel_buf_cstr(&out));
    }
    tel_buf_free(&out);
}

/* Values that libxxhash's XXH64 gives. */
static void test_xxh64(void **state)
{
    (void)state;
    char x100[100];
    memset(x100, 'x', sizeof x100);
    assert_true(tel_xxh64(sp("")) == UINT64_C(17241709254077376921));
    assert_true(tel_xxh64(sp("batch")) == UINT64_C(8387167139427554480));
    assert_true(tel_xxh64(tel_span_make(x100, 100)) == UINT64_C(10588207204368892052));
    assert_true(tel_xxh64(sp("0123456789012345678901234567890123")) ==
                UINT64_C(14148966693936851381));
}

static void test_labels(void **state)
{
    (void)state;
    struct tel_arena arena = {0};
    struct tel_label *labels;
    struct tel_buf out = {0};
    size_t n;
    struct tel_span text = sp("{app=\"a\\\"b\",host=\"x,y=z\"}");
    assert_true(tel_stream_labels(text, &arena, &labels, &n));
    assert_int_equal(n, 2);
    assert_true(tel_span_eq_cstr(labels[0].value, "a\"b"));
    assert_true(tel_span_eq_cstr(labels[1].value, "x,y=z"));
    tel_stream_print(&out, labels, n);
    assert_true(tel_span_eq(tel_buf_span(&out), text));
    static const char *const bad[] = {
        "", "{", "app", "{app}", "{app=x}", "{app=\"x}", "{app=\"x\" b=\"y\"}"};
    for (size_t i = 0; i < TEL_ARRAY_LEN(bad); i++)
        assert_false(tel_stream_labels(sp(bad[i]), &arena, &labels, &n));
    tel_buf_free(&out);
    tel_arena_free(&arena);
}

/* What a filter says before it sees rows. */
static void test_pruning(void **state)
{
    (void)state;
    struct tel_arena arena = {0};
    struct tel_query *q;
    struct tel_error err;
    int64_t min, max;
    assert_int_equal(tel_query_parse(sp("_time:[2026-01-01Z, 2026-01-02Z) (a or b:\"x y.z\") !c:1"),
                                     0, NULL, &arena, &q, &err),
                     TEL_OK);
    assert_true(tel_filter_time_range(q->filter, &min, &max));
    char text[TEL_TIME_TEXT_MAX];
    tel_time_format(text, min);
    assert_string_equal(text, "2026-01-01T00:00:00Z");
    tel_time_format(text, max);
    assert_string_equal(text, "2026-01-01T23:59:59.999999999Z");
    struct tel_fields fields;
    tel_fields_init(&fields, &arena);
    tel_filter_fields(q->filter, &fields);
    assert_true(tel_fields_has(&fields, sp("_msg")) && tel_fields_has(&fields, sp("b")) &&
                tel_fields_has(&fields, sp("c")) && !tel_fields_has(&fields, sp("d")));
    struct tel_span *words;
    size_t n;
    tel_filter_words(q->filter->kids[1]->kids[1], &arena, &words, &n);
    assert_int_equal(n, 3);
    tel_query_done(q);
    assert_int_equal(
        tel_query_parse(sp("_time:2026-01Z _time:2026-02Z"), 0, NULL, &arena, &q, &err), TEL_OK);
    assert_false(tel_filter_time_range(q->filter, &min, &max));
    tel_query_done(q);
    static const struct {
        const char *filter, *words; /* joined by ',' */
        bool empty;
    } leaves[] = {{"foo*", "", false},
                  {"\"a b\"*", "a", false},
                  {"=\"a b\"", "a,b", false},
                  {"=\"a b\"*", "a", false},
                  {"seq(\"a b\", c)", "a,b,c", false},
                  {"~\"x foo bar\"", "foo", false},
                  {"i(foo)", "", false},
                  {"contains_all(a, \"b c\")", "a,b,c", false},
                  {"\"\"", "", true},
                  {"in(a, b)", "", false},
                  {"x:!y", "", true}};
    for (size_t i = 0; i < TEL_ARRAY_LEN(leaves); i++) {
        struct tel_buf joined = {0};
        assert_int_equal(tel_query_parse(sp(leaves[i].filter), 0, NULL, &arena, &q, &err), TEL_OK);
        tel_filter_words(q->filter, &arena, &words, &n);
        for (size_t k = 0; k < n; k++)
            tel_buf_printf(&joined, "%s%.*s", k ? "," : "", TEL_SPAN_ARG(words[k]));
        if (q->filter->op != TEL_FILTER_NOT &&
            (!tel_span_eq_cstr(tel_buf_span(&joined), leaves[i].words) ||
             tel_filter_matches_empty(q->filter) != leaves[i].empty))
            fail_msg("%s: %.*s", leaves[i].filter, TEL_SPAN_ARG(tel_buf_span(&joined)));
        tel_buf_free(&joined);
        tel_query_done(q);
    }
    tel_arena_free(&arena);
}

static void test_field_sets(void **state)
{
    (void)state;
    struct tel_arena arena = {0};
    struct tel_fields f;
    tel_fields_init(&f, &arena);
    assert_true(tel_fields_empty(&f));
    tel_fields_add(&f, sp("*"));
    assert_true(tel_fields_is_all(&f));
    tel_fields_remove(&f, sp("a"));
    tel_fields_remove(&f, sp("x*"));
    assert_false(tel_fields_has(&f, sp("a")));
    assert_false(tel_fields_has(&f, sp("xy")));
    assert_true(tel_fields_has(&f, sp("b")));
    tel_fields_add(&f, sp("xa"));
    assert_true(tel_fields_has(&f, sp("xa")));
    struct tel_span names[] = {sp("b*"), sp("a")};
    tel_fields_intersect(&f, names, 2);
    assert_true(tel_fields_has(&f, sp("bc")));
    assert_false(tel_fields_has(&f, sp("a")));
    assert_false(tel_fields_has(&f, sp("c")));
    assert_false(tel_fields_is_all(&f));
    tel_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),          cmocka_unit_test(test_phrases),
        cmocka_unit_test(test_find_bytes),     cmocka_unit_test(test_lower),
        cmocka_unit_test(test_near),           cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_numbers_print),  cmocka_unit_test(test_order),
        cmocka_unit_test(test_regex_literals), cmocka_unit_test(test_regex_reach), cmocka_unit_test(test_regex_is_limited),
        cmocka_unit_test(test_regex_negations),
        cmocka_unit_test(test_buckets),        cmocka_unit_test(test_xxh64),
        cmocka_unit_test(test_labels),         cmocka_unit_test(test_pruning),
        cmocka_unit_test(test_field_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
