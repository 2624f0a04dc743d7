/* Dates as text, against the C library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <time.h>

#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "common/base/timefmt.h"

static void test_days(void **state)
{
    (void)state;
    assert_int_equal(tel_days_from_civil(1970, 1, 1), 0);
    assert_int_equal(tel_days_from_civil(2000, 3, 1), 11017);
    assert_int_equal(tel_days_from_civil(1969, 12, 31), -1);
    for (int64_t day = -800000; day < 800000; day++) {
        int64_t year;
        unsigned month, mday;
        tel_civil_from_days(day, &year, &month, &mday);
        assert_int_equal(tel_days_from_civil(year, month, mday), day);
        assert_true(month >= 1 && month <= 12 && mday >= 1 && mday <= 31);
    }
    assert_int_equal(tel_day_of(0), 0);
    assert_int_equal(tel_day_of(-1), -1);
    assert_int_equal(tel_day_of(TEL_NS_PER_DAY), 1);
    assert_int_equal(tel_day_of(TEL_NS_PER_DAY - 1), 0);
    assert_int_equal(tel_day_of(-TEL_NS_PER_DAY), -1);
    assert_int_equal(tel_day_of(-TEL_NS_PER_DAY - 1), -2);
}

static void expect_text(int64_t ns, const char *want)
{
    char text[TEL_TIME_TEXT_MAX];
    size_t len = tel_time_format(text, ns);
    assert_string_equal(text, want);
    assert_int_equal(len, strlen(want));
}

static void test_format(void **state)
{
    (void)state;
    expect_text(0, "1970-01-01T00:00:00Z");
    expect_text(-1, "1969-12-31T23:59:59.999999999Z");
    expect_text(1, "1970-01-01T00:00:00.000000001Z");
    expect_text(INT64_C(1767323045000000006), "2026-01-02T03:04:05.000000006Z");
    expect_text(INT64_C(1767323045120000000), "2026-01-02T03:04:05.12Z");
    expect_text(INT64_C(951782400000000000), "2000-02-29T00:00:00Z");
    expect_text(INT64_MAX, "2262-04-11T23:47:16.854775807Z");
    expect_text(INT64_MIN, "1677-09-21T00:12:43.145224192Z");
}

static void test_random_times(void **state)
{
    (void)state;
    uint64_t seed = tel_rand_seed();
    struct tel_rand rand;
    tel_rand_init(&rand, seed);
    printf("seed %llu\n", (unsigned long long)seed);
    for (int i = 0; i < 200000; i++) {
        /* within the years that can be read back */
        int64_t ns = (int64_t)tel_rand_below(&rand, UINT64_C(9180000000000000000));
        ns = tel_rand_below(&rand, 2) ? ns : -ns;
        int64_t unit = (int64_t[]){1, 1000, 1000000, 1000000000}[tel_rand_below(&rand, 4)];
        ns -= ns % unit;
        char text[TEL_TIME_TEXT_MAX], want[64];
        tel_time_format(text, ns);
        time_t seconds = (time_t)(ns / TEL_NS_PER_S - (ns % TEL_NS_PER_S < 0));
        struct tm tm;
        gmtime_r(&seconds, &tm);
        strftime(want, sizeof want, "%Y-%m-%dT%H:%M:%S", &tm);
        assert_memory_equal(text, want, strlen(want));
        int64_t back;
        assert_true(tel_time_parse(tel_span_cstr(text), &back));
        assert_int_equal(back, ns);
    }
}

static void test_parse(void **state)
{
    (void)state;
    const int64_t day = tel_days_from_civil(2026, 1, 2) * TEL_NS_PER_DAY;
    const int64_t hour = 3600 * TEL_NS_PER_S, minute = 60 * TEL_NS_PER_S, second = TEL_NS_PER_S;
    const int64_t clock = day + 3 * hour + 4 * minute + 5 * second;
    const struct {
        const char *text;
        int64_t want;
    } good[] = {
        {"2026-01-02", day},
        {"2026-01-02T03:04", clock - 5 * second},
        {"2026-01-02 03:04:05", clock},
        {"2026-01-02t03:04:05z", clock},
        {"2026-01-02T03:04:05.5Z", clock + second / 2},
        {"2026-01-02T03:04:05,25", clock + second / 4},
        {"2026-01-02T03:04:05.123456789Z", clock + 123456789},
        {"2026-01-02T03:04:05.1234567899Z", clock + 123456789},
        {"2026-01-02T03:04:05+01:00", clock - hour},
        {"2026-01-02T03:04:05-0130", clock + hour + 30 * minute},
        {"2026-01-02T03:04+02:00", clock - 5 * second - 2 * hour},
        {"2026-01-02T03:59:60Z", day + 4 * hour},
        {"2024-02-29", tel_days_from_civil(2024, 2, 29) * TEL_NS_PER_DAY},
        {"1678-01-01", tel_days_from_civil(1678, 1, 1) * TEL_NS_PER_DAY},
        {"2261-12-31T23:59:59-23:59", INT64_C(9214646400000000000) - second + 23 * hour + 59 * minute},
    };
    for (size_t i = 0; i < TEL_ARRAY_LEN(good); i++) {
        int64_t ns = 7;
        if (!tel_time_parse(tel_span_cstr(good[i].text), &ns) || ns != good[i].want)
            fail_msg("%s: %lld, not %lld", good[i].text, (long long)ns, (long long)good[i].want);
    }
    static const char *const bad[] = {
        "", "2026", "2026-01", "2026-1-2", "26-01-02", "2026-13-01", "2026-00-01", "2026-01-32",
        "2026-01-00", "2026-02-29", "1900-02-29", "2026-04-31", "1677-12-31", "2262-01-01",
        "2026-01-02T", "2026-01-02T03", "2026-01-02T24:00:00", "2026-01-02T03:60:00",
        "2026-01-02T03:04:61", "2026-01-02T03:04:60", "2026-01-02T03:04:05.", "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05+24:00", "2026-01-02T03:04:05+01:60", "2026-01-02T03:04:05+1",
        "2026-01-02T03:04:05Zx", " 2026-01-02", "2026-01-02 ", "2026/01/02", "2026-01-02T03:04:05 Z"};
    for (size_t i = 0; i < TEL_ARRAY_LEN(bad); i++) {
        int64_t ns = 7;
        if (tel_time_parse(tel_span_cstr(bad[i]), &ns) || ns != 7)
            fail_msg("taken: %s", bad[i]);
    }
}

static void test_parse_prefix(void **state)
{
    (void)state;
    const struct {
        const char *text;
        size_t len; /* 0: refused */
    } cases[] = {
        {"2026-01-02T03:04:05Z rest", 20}, {"2026-01-02 rest", 10},     {"2026-01-02T03 x", 10},
        {"2026-01-02 03:04: x", 16},       {"2026-01-02 03:04:05,x", 19}, {"2026-01-02 03:04:05+01x", 19},
        {"2026-01-02 25:00:00 x", 0},      {"2026-01-02] x", 10},       {"x 2026-01-02", 0},
        {"2026-01-02 03:04:05.123 [main]", 23},
    };
    for (size_t i = 0; i < TEL_ARRAY_LEN(cases); i++) {
        int64_t ns;
        size_t len = 0;
        assert_true(tel_time_parse_prefix(tel_span_cstr(cases[i].text), &ns, &len) == (cases[i].len > 0));
        assert_int_equal(len, cases[i].len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_days),  cmocka_unit_test(test_format), cmocka_unit_test(test_random_times),
        cmocka_unit_test(test_parse), cmocka_unit_test(test_parse_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
