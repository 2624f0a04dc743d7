/* The parser and the printer: what is taken, how it prints, that it prints to itself, and what an
 * error says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/timefmt.h"
#include "common/logsql/parser.h"
#include "common/logsql/print.h"

static int complaints;

/* All of a table's failures are shown, not only its first. */
#define complain(...) (complaints++, print_error(__VA_ARGS__), print_error("\n"))

static int64_t now_ns(void)
{
    int64_t t;
    assert_true(tel_time_parse(TEL_SPAN("2026-03-04T05:06:07Z"), &t));
    return t;
}

static char *print_parsed(const char *text, struct tel_error *err)
{
    struct tel_arena arena = {0};
    struct tel_query *q;
    char *out = NULL;
    if (tel_query_parse(tel_span_cstr(text), now_ns(), NULL, &arena, &q, err) == TEL_OK) {
        struct tel_buf buf = {0};
        tel_query_print(&buf, q);
        out = tel_strndup(tel_buf_span(&buf));
        tel_buf_free(&buf);
        tel_query_done(q);
    }
    tel_arena_free(&arena);
    return out;
}

static const struct {
    const char *text, *canonical;
} good[] = {
    {"error", "error"},
    {"*", "*"},
    {"_msg:*", "*"},
    {"foo bar", "foo bar"},
    {"foo AND bar", "foo bar"},
    {"foo or bar baz", "foo or bar baz"},
    {"(foo or bar) baz", "(foo or bar) baz"},
    {"NOT foo", "!foo"},
    {"-foo !bar", "!foo !bar"},
    {"!(a or b)", "!(a or b)"},
    {"!!foo", "foo"},
    {"app:nginx", "app:nginx"},
    {"app:(nginx or apache)", "app:nginx or app:apache"},
    {"neg:-5", "!neg:5"},
    {"\"foo bar\"", "\"foo bar\""},
    {"'it''s'", NULL},
    {"'a\"b'", "\"a\\\"b\""},
    {"`a\\b`", "\"a\\\\b\""},
    {"\"\\x41\\u00e9\\n\"", "\"A\xc3\xa9\\n\""},
    {"foo*", "foo*"},
    {"\"foo bar\"*", "\"foo bar\"*"},
    {"a:\"\"", "a:\"\""},
    {"a:*", "a:*"},
    {"=\"foo bar\"", "=\"foo bar\""},
    {"a:=foo*", "a:=foo*"},
    {"a:!=foo", "!a:=foo"},
    {"a:!~\"x|y\"", "!a:~\"x|y\""},
    {"~\"err|warn\"", "~\"err|warn\""},
    {"re(\"x\")", "~x"},
    {"re(\"x|y\")", "~\"x|y\""},
    {"a:in(b, \"c d\")", "a:in(b,\"c d\")"},
    {"a:in()", "a:in()"},
    {"a:in(*)", "*"},
    {"a:in(_time:1d error | fields b)", "a:in(_time:1d error | fields b)"},
    {"a:contains_any(x | uniq by (b))", NULL},
    {"contains_all(foo, \"bar baz\")", "contains_all(foo,\"bar baz\")"},
    {"seq(\"error\", \"open file\")", "seq(error,\"open file\")"},
    {"i(Error*)", "i(Error*)"},
    {"i(\"foo bar\")", "i(\"foo bar\")"},
    {"a:range(4.2, Inf)", "a:range(4.2, Inf)"},
    {"a:range[1, 10KiB)", "a:range[1, 10KiB)"},
    {"a:>10KiB", "a:>10KiB"},
    {"a:> 1_000", "a:>1_000"},
    {"a:<=\"John\"", "a:<=\"John\""},
    {"bytes:>>5", "bytes:>\">5\""},
    {"ip:ipv4_range(127.0.0.0, 127.255.255.255)", "ip:ipv4_range(127.0.0.0, 127.255.255.255)"},
    {"ip:ipv4_range(\"10.0.0.0/8\")", "ip:ipv4_range(10.0.0.0, 10.255.255.255)"},
    {"u:string_range(A, C)", "u:string_range(A, C)"},
    {"len_range(5, inf)", "len_range(5, inf)"},
    {"len_range(0xff, 0xABCD)", "len_range(0xff, 0xABCD)"},
    {"u:value_type(uint64)", "u:value_type(uint64)"},
    {"a:eq_field(b)", "a:eq_field(b)"},
    {"a:le_field(b) a:lt_field(c)", "a:le_field(b) a:lt_field(c)"},
    {"_time:5m", "_time:5m"},
    {"\"_time\":\"5m\"", "_time:5m"},
    {"_time:5m offset 1h", "_time:5m offset 1h"},
    {"_time:offset 1h", "_time:offset 1h"},
    {"_time:2023-04-25Z", "_time:2023-04-25Z"},
    {"_time:2023-04-25+05:30", "_time:2023-04-25+05:30"},
    {"_time:[2023-02-01Z, 2023-03-01Z)", "_time:[2023-02-01Z,2023-03-01Z)"},
    {"_time:(now-1h, now]", "_time:(now-1h,now]"},
    {"_time:>=2023", "_time:>=2023"},
    {"_time:>1d", "_time:>1d"},
    {"_time:day_range[08:00, 18:00) offset 2h", "_time:day_range[08:00, 18:00) offset 2h"},
    {"_time:week_range[Mon, Fri]", "_time:week_range[Mon, Fri]"},
    {"_time:week_range[Mon, Foo]", "_time:week_range[Mon, Foo]"},
    {"{app=\"nginx\"}", "{app=\"nginx\"}"},
    {"_stream:{app=nginx,host!~\"a|b\"}", "{app=\"nginx\",host!~\"a|b\"}"},
    {"{app in (\"a\", b) or x not_in (c)}", "{app in (a,b) or x not_in (c)}"},
    {"{}", "{}"},
    {"_stream_id:0000007b000001c850d9950ea6196b1a4812081265faa1c7",
     "_stream_id:0000007b000001c850d9950ea6196b1a4812081265faa1c7"},
    {"_stream_id:in(a, b)", "_stream_id:in(a,b)"},
    {"eror~1", "eror~1"},
    {"msg:conection~2", "msg:conection~2"},
    {"and", "\"and\""},
    {"or foo", "\"or\" foo"},
    {"foo or or bar", "foo or \"or\" bar"},
    {"in", "\"in\""},
    {"1.2.3.4", "1.2.3.4"},
    {"(a b) c", "a b c"},
    {"(a or b) or c d", "a or b or c d"},
    {":a", "a"},
    {":(x:a b)", "x:a b"},
    {"a!b", "\"a!b\""},
    {"f:a!b:c", "f:\"a!b:c\""},
    {"don't", "\"don't\""},
    {"=a[0] b", "=\"a[0]\" b"},
    {"in(a[0], b!)", "in(\"a[0]\",\"b!\")"},
    {"* | sum(hits) | max(a.b)",
     "* | stats sum(hits) as \"sum(hits)\" | stats max(a.b) as \"max(a.b)\""},
    {"* | count() if (ip:1.2.3.4 ~err) n", "* | stats count(*) if (ip:1.2.3.4 ~err) as n"},
    {"* | field_names x | field_values (x)", "* | field_names as x | field_values x"},
    {"* | blocks_count as n", "* | blocks_count as n"},
    {"* | unpack_words a b drop_duplicates", "* | unpack_words from a as b drop_duplicates"},
    {"foo-bar/baz", "\"foo-bar/baz\""},
    {"\xd1\x82\xd0\xb5\xd1\x81\xd1\x82:\xcf\x84\xce\xb9",
     "\xd1\x82\xd0\xb5\xd1\x81\xd1\x82:\xcf\x84\xce\xb9"},
    {"error # a comment\n | limit 5 # another", "error | limit 5"},
    {"options(concurrency=2) a", "options(concurrency=2) a"},
    {"options (time_offset=7d, ignore_global_time_filter=true) a",
     "options(ignore_global_time_filter=true, time_offset=7d) a"},
    {"options", "\"options\""},
    {"* | word", "* | filter word"},
    {"* | where a:>5", "* | filter a:>5"},
    {"* | fields a, b*, \"c d\"", "* | fields a, b*, \"c d\""},
    {"* | keep _msg", "* | fields _msg"},
    {"* | head", "* | limit 10"},
    {"* | limit 1K", "* | limit 1000"},
    {"* | skip 3", "* | offset 3"},
    {"* | sort by (_time) desc", "* | sort by (_time) desc"},
    {"* | sort by (a) | limit 5 | limit 3", "* | sort by (a) limit 5 | limit 3"},
    {"* | sort by (a) | skip 2 | head 5", "* | sort by (a) offset 2 limit 5"},
    {"* | sort by (a) | limit 5 | offset 2", "* | sort by (a) limit 5 | offset 2"},
    {"* | sort by (a) | limit 0", "* | sort by (a) | limit 0"},
    {"* | order (a, b desc) offset 10 limit 20 rank as r",
     "* | sort by (a, b desc) offset 10 limit 20 rank as r"},
    {"* | sort by (x) partition by (host) limit 3", "* | sort by (x) partition by (host) limit 3"},
    {"* | first 3 by (x) partition by (host)", "* | first 3 by (x) partition by (host)"},
    {"* | last (x)", "* | last 1 by (x)"},
    {"* | stats count()", "* | stats count(*) as \"count(*)\""},
    {"* | count() n", "* | stats count(*) as n"},
    {"* | stats by (host, _time:1d offset 2h, ip:/24) count() if (GET) gets, count(a, b*) x",
     "* | stats by (host, _time:1d offset 2h, ip:/24) count(*) if (GET) as gets, count(a, b*) as "
     "x"},
    {"* | by (host) count()", "* | stats by (host) count(*) as \"count(*)\""},
    {"* | (host) count()", "* | stats by (host) count(*) as \"count(*)\""},
    {"* | (a or b)", "* | filter a or b"},
};

static void test_prints_to_itself(void **state)
{
    (void)state;
    complaints = 0;
    for (size_t i = 0; i < TEL_ARRAY_LEN(good); i++) {
        struct tel_error err = {0};
        char *once = print_parsed(good[i].text, &err);
        if (!once && !good[i].canonical)
            continue;
        if (!once) {
            complain("%s: %s", good[i].text, err.text);
            continue;
        }
        if (good[i].canonical && strcmp(once, good[i].canonical) != 0)
            complain("%s: printed as %s, not %s", good[i].text, once, good[i].canonical);
        char *twice = print_parsed(once, &err);
        if (!twice)
            complain("%s: its print %s does not parse: %s", good[i].text, once, err.text);
        else if (strcmp(once, twice) != 0)
            complain("%s: prints as %s and then as %s", good[i].text, once, twice);
        free(once);
        free(twice);
    }
    assert_int_equal(complaints, 0);
}

/* Line and column of the mistake, and words that the message must hold. */
static const struct {
    const char *text, *place, *words;
} bad[] = {
    {"", "line 1, column 1", "expected a filter"},
    {"   # only a comment", "line 1, column 20", "expected a filter"},
    {"(foo", "line 1, column 5", "expected ')', found the end"},
    {"foo)", "line 1, column 4", "expected the end of the query, found )"},
    {"foo |", "line 1, column 6", "expected a pipe, found the end"},
    {"foo | | bar", "line 1, column 7", "expected a pipe"},
    {"\"foo", "line 1, column 1", "without its closing \""},
    {"a \"foo\nbar\"", "line 1, column 3", "without its closing \""},
    {"\"\\q\"", "line 1, column 1", "bad escape"},
    {"a:", "line 1, column 3", "expected a filter"},
    {"a:,", "line 1, column 3", "expected a filter, found ,"},
    {"foo [", "line 1, column 5", "expected a filter"},
    {"~\"(\"", "line 1, column 2", "bad regular expression"},
    {"foo\nbar ~\"[a\"", "line 2, column 6", "bad regular expression"},
    {"a:in(b", "line 1, column 7", "expected ',' or ')'"},
    {"a:in(b | fields x, y)", "line 1, column 5", "ends with '| fields name'"},
    {"a:range(1, b)", "line 1, column 12", "expected a number"},
    {"a:range(1 2)", "line 1, column 11", "expected ','"},
    {"a:range[1, 2", "line 1, column 13", "')' or ']'"},
    {"a:ipv4_range(foo)", "line 1, column 13", "IPv4"},
    {"stats", "line 1, column 1", "quote it"},
    {"a | by", "line 1, column 5", "quote it"},
    {"a | count", "line 1, column 5", "quote it"},
    {"* | union (first x)", "line 1, column 12", "quote it"},
    {"word(a)", "line 1, column 5", "a space"},
    {"(a)(b)", "line 1, column 4", "a space"},
    {"a* | sort by (a) limit 1 limit 2", "line 1, column 26", "expected desc"},
    {"a* | sort by (a) offset 1 offset 2", "line 1, column 27", "expected desc"},
    {"a* | histogram(a, b)", "line 1, column 15", "one field"},
    {"a* | histogram(*)", "line 1, column 15", "one field"},
    {"a:len_range(1)", "line 1, column 12", "expected 2 arguments"},
    {"a:len_range(x, 2)", "line 1, column 12", "two lengths"},
    {"a:eq_field(b, c)", "line 1, column 11", "expected 1 argument of eq_field, found 2"},
    {"_time:foo", "line 1, column 7", "expected a duration"},
    {"_time:[2023-01-01Z, foo]", "line 1, column 21", "expected a time"},
    {"_time:[2023-01-01Z 2024Z]", "line 1, column 20", "','"},
    {"_time:2023-13-01Z", "line 1, column 7", "expected a time"},
    {"_time:day_range[25:00, 26:00]", "line 1, column 17", "hh:mm"},
    {"_time:5m offset x", "line 1, column 17", "duration"},
    {"_time:le_field(x)", "line 1, column 7", "duration"},
    {"_stream:*", "line 1, column 9", "expected '{'"},
    {"_stream:~\"x\"", "line 1, column 9", "expected '{'"},
    {"_stream_id:*", "line 1, column 12", "a stream id"},
    {"{app=\"a\"", "line 1, column 9", "',', 'or' or '}'"},
    {"{app \"a\"}", "line 1, column 6", "one of = !="},
    {"{app=~\"(\"}", "line 1, column 7", "bad regular expression"},
    {"a:{b=\"c\"}", "line 1, column 3", "stream selector"},
    {"http.*:GET", "line 1, column 1", "cannot end with '*'"},
    {"options(foo=1) a", "line 1, column 9", "no such option"},
    {"options(concurrency=x) a", "line 1, column 21", "bad value"},
    {"options(concurrency) a", "line 1, column 20", "'='"},
    {"* | limit x", "line 1, column 11", "number of rows"},
    {"* | limit 1e1", "line 1, column 11", "number of rows"},
    {"* | limit -1", "line 1, column 11", "number of rows"},
    {"* | fields", "line 1, column 11", "a field name"},
    {"* | fields a,", "line 1, column 14", "a field name"},
    {"* | sort by a", "line 1, column 13", "'('"},
    {"* | sort by (a) foo", "line 1, column 17", "desc, limit"},
    {"* | stats", "line 1, column 10", "a stats function"},
    {"* | stats foo()", "line 1, column 11", "a stats function"},
    {"* | stats by (a count()", "line 1, column 17", "',' or ')'"},
    {"* | stats by (_time:x) count()", "line 1, column 21", "bucket's step"},
    {"* | stats count() a, count() a", "line 1, column 22", "a second result"},
    {"* | stats count() if (", "line 1, column 23", "a filter"},
    {"error | stats by (host | count()", "line 1, column 24", "',' or ')'"},
};

static void test_errors_name_the_place(void **state)
{
    (void)state;
    complaints = 0;
    for (size_t i = 0; i < TEL_ARRAY_LEN(bad); i++) {
        struct tel_error err = {0};
        char *printed = print_parsed(bad[i].text, &err);
        if (printed) {
            complain("%s: taken as %s", bad[i].text, printed);
            free(printed);
        } else if (err.code != TEL_ERR_PARSE ||
                   strncmp(err.text, bad[i].place, strlen(bad[i].place)) != 0 ||
                   !strstr(err.text, bad[i].words))
            complain("%s: expected %s ... %s, got %s", bad[i].text, bad[i].place, bad[i].words,
                     err.text);
    }
    assert_int_equal(complaints, 0);
}

static void test_caret_stands_below_the_place(void **state)
{
    (void)state;
    struct tel_error err = {0};
    assert_null(print_parsed("error | stats by (host | count()", &err));
    assert_string_equal(
        err.text, "line 1, column 24: expected ',' or ')' behind the field to group by, found |\n"
                  "  error | stats by (host | count()\n"
                  "                         ^");
}

static void test_nesting_is_limited(void **state)
{
    (void)state;
    struct tel_buf text = {0};
    for (int i = 0; i < 100000; i++)
        tel_buf_add_char(&text, i % 2 ? '(' : '!');
    struct tel_error err = {0};
    assert_null(print_parsed(tel_buf_cstr(&text), &err));
    assert_non_null(strstr(err.text, "nested more than"));
    tel_buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prints_to_itself),
        cmocka_unit_test(test_errors_name_the_place),
        cmocka_unit_test(test_caret_stands_below_the_place),
        cmocka_unit_test(test_nesting_is_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
