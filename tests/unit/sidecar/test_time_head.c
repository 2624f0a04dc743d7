/* Times at the heads of lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/base/rand.h"
#include "common/base/timefmt.h"
#include "sidecar/time_head.h"

#define NOW "2026-06-15T12:00:00Z"

static int64_t time_of(const char *text)
{
    int64_t ns;
    assert_true(tel_time_parse(tel_span_cstr(text), &ns));
    return ns;
}

static void expect(struct time_head *cache, const char *line, const char *want)
{
    int64_t ns = 0;
    char got[TEL_TIME_TEXT_MAX];
    if (!time_head_parse(cache, tel_span_cstr(line), time_of(NOW), &ns)) {
        if (want)
            fail_msg("no time in \"%s\"", line);
        return;
    }
    tel_time_format(got, ns);
    if (!want || ns != time_of(want))
        fail_msg("\"%s\" gives %s, not %s", line, got, want ? want : "none");
}

static const struct {
    const char *line, *want;
} cases[] = {
    {"2026-01-02T03:04:05Z x", "2026-01-02T03:04:05Z"},
    {"2026-01-02T03:04:05.678901234Z stdout F x", "2026-01-02T03:04:05.678901234Z"},
    {"2026-01-02T03:04:05.5+02:00 x", "2026-01-02T01:04:05.5Z"},
    {"2026-01-02T03:04:05-0330 x", "2026-01-02T06:34:05Z"},
    {"2026-01-02 03:04:05,678 INFO x", "2026-01-02T03:04:05.678Z"},
    {"2026-01-02 03:04:05.678 UTC [12] x", "2026-01-02T03:04:05.678Z"},
    {"2026-01-02 03:04:05 +0100 x", "2026-01-02T02:04:05Z"},
    {"2026/01/02 03:04:05 [error] x", "2026-01-02T03:04:05Z"},
    {"[2026-01-02 03:04:05,1] x", "2026-01-02T03:04:05.1Z"},
    {"26/01/02 03:04:05 INFO x", "2026-01-02T03:04:05Z"},
    {"01-02 03:04:05.678  17 x", "2026-01-02T03:04:05.678Z"},
    {"Jan  2 03:04:05 host sshd[1]: x", "2026-01-02T03:04:05Z"},
    {"Jan 12 03:04:05 host sshd[1]: x", "2026-01-12T03:04:05Z"},
    {"Dec 31 23:59:59 host x", "2025-12-31T23:59:59Z"}, /* the year nearest before now */
    {"<13>Jan 12 03:04:05 host x", "2026-01-12T03:04:05Z"},
    {"<165>1 2026-01-02T03:04:05.003Z host x", "2026-01-02T03:04:05.003Z"},
    {"[Fri Jan 02 03:04:05 2026] [error] x", "2026-01-02T03:04:05Z"},
    {"[Fri Jan 02 03:04:05.123456 2026] [error] x", "2026-01-02T03:04:05.123456Z"},
    {"[Sun Dec 04 04:47:44 2005] [notice] x", "2005-12-04T04:47:44Z"},
    {"I0102 03:04:05.678901    1 a.go:1] x", "2026-01-02T03:04:05.678901Z"},
    {"10.0.0.1 - bob [02/Jan/2026:03:04:05 +0100] \"GET /", "2026-01-02T02:04:05Z"},
    {"a.example:443 10.0.0.1 - - [02/Jan/2026:03:04:05 +0000] x", "2026-01-02T03:04:05Z"},
    {"1767323045 x", "2026-01-02T03:04:05Z"},
    {"1767323045.25 x", "2026-01-02T03:04:05.25Z"},
    {"1767323045678 x", "2026-01-02T03:04:05.678Z"},
    {"1767323045678901234 x", "2026-01-02T03:04:05.678901234Z"},
    {"- 1117838570 2005.06.03 R02 x", "2005-06-03T22:42:50Z"},
    {"ts=2026-01-02T03:04:05.001Z level=info", "2026-01-02T03:04:05.001Z"},
    {"time=\"2026-01-02T03:04:05Z\" level=info", "2026-01-02T03:04:05Z"},
    {"{\"level\":\"info\",\"ts\":\"2026-01-02T03:04:05Z\"}", "2026-01-02T03:04:05Z"},
    {"{\"time\": 1767323045.25,\"a\":1}", "2026-01-02T03:04:05.25Z"},
    {"2026-02-30T03:04:05Z x", NULL},
    {"2026-13-01T03:04:05Z x", NULL},
    {"2026-01-02T25:04:05Z x", NULL},
    {"2031-01-02T03:04:05Z of the future", NULL},
    {"2026-01-02", NULL},
    {"2026-01-02T03:04", NULL},
    {"1234567 is a number", NULL},
    {"17673230456 has one digit too many", NULL},
    {"9999999999 is not now", NULL},
    {"    at java.lang.Thread.run(Thread.java:748)", NULL},
    {"Mayor Jan 12 03:04:05", NULL},
    {"Exception in thread \"main\"", NULL},
    {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[", NULL},
    {"{\"time\":", NULL},
    {"time=\"", NULL},
    {"<13", NULL},
    {"", NULL},
};

/* Each alone, and each behind every other with the cache as that left it. */
static void formats(void **state)
{
    (void)state;
    for (size_t i = 0; i < TEL_ARRAY_LEN(cases); i++) {
        for (size_t k = 0; k < TEL_ARRAY_LEN(cases); k++) {
            struct time_head cache = {0};
            expect(&cache, cases[k].line, cases[k].want);
            expect(&cache, cases[i].line, cases[i].want);
            expect(&cache, cases[i].line, cases[i].want);
        }
    }
}

static void zones_of_the_machine(void **state)
{
    struct time_head cache = {0};
    (void)state;
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    expect(&cache, "2026-01-02 03:04:05 x", "2026-01-02T02:04:05Z");
    expect(&cache, "2026-06-02 03:04:05 x", "2026-06-02T01:04:05Z"); /* summer time */
    expect(&cache, "2026-06-02 03:04:05Z x", "2026-06-02T03:04:05Z");
    setenv("TZ", "UTC", 1);
    tzset();
}

/* Cut at every length and with every byte flipped, from memory that ends there. */
static void never_reads_beyond(void **state)
{
    struct tel_rand r;
    uint64_t seed = tel_rand_seed();
    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    tel_rand_init(&r, seed);
    for (size_t i = 0; i < TEL_ARRAY_LEN(cases); i++) {
        size_t len = strlen(cases[i].line);
        struct time_head cache = {0};
        for (size_t cut = 0; cut <= len; cut++) {
            char *copy = malloc(cut ? cut : 1);
            int64_t ns;
            memcpy(copy, cases[i].line, cut);
            (void)time_head_parse(&cache, tel_span_make(copy, cut), time_of(NOW), &ns);
            if (cut)
                copy[tel_rand_below(&r, cut)] = (char)tel_rand_u64(&r);
            (void)time_head_parse(&cache, tel_span_make(copy, cut), time_of(NOW), &ns);
            free(copy);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats),
        cmocka_unit_test(zones_of_the_machine),
        cmocka_unit_test(never_reads_beyond),
    };
    setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
