/* Updates from many threads, families, and the exposition as Prometheus' own parser reads it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <math.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/metrics/registry.h"

static const char *python, *script;

struct example {
#define METRIC TEL_METRIC_MEMBER
#include "tests/unit/metrics/example.def"
#undef METRIC
};

#define METRIC(...) TEL_METRIC_ITEM(struct example, __VA_ARGS__)
static const struct tel_metric_item items[] = {
#include "tests/unit/metrics/example.def"
};
#undef METRIC
static const struct tel_metric_table table = TEL_METRIC_TABLE(items);

/* What the parser understood of the exposition. */
static void parse(struct tel_metrics *metrics, struct tel_buf *ret)
{
    char path[] = "/tmp/tel-test-metrics-XXXXXX", command[1024];
    int fd = mkstemp(path);
    struct tel_buf page = {0};
    tel_metrics_expose(metrics, &page);
    assert_int_equal(write(fd, page.ptr, page.len), (long)page.len);
    close(fd);
    snprintf(command, sizeof command, "'%s' '%s' <'%s'", python, script, path);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    char text[4096];
    size_t n;
    while ((n = fread(text, 1, sizeof text, f)) > 0)
        tel_buf_add(ret, text, n);
    int status = pclose(f);
    unlink(path);
    if (status != 0)
        fail_msg("the parser refused:\n%s", tel_buf_cstr(&page));
    tel_buf_free(&page);
}

static void expect_line(struct tel_buf *parsed, const char *line)
{
    char with_end[512];
    snprintf(with_end, sizeof with_end, "%s\n", line);
    if (!strstr(tel_buf_cstr(parsed), with_end))
        fail_msg("missing: %s\nin:\n%s", line, tel_buf_cstr(parsed));
}

static void test_exposition(void **state)
{
    (void)state;
    struct tel_metrics *metrics = tel_metrics_new();
    struct example m;
    tel_metrics_register(metrics, &table, &m, NULL, NULL);
    tel_counter_add(&m.lines, 3);
    tel_counter_add(&m.lines, UINT64_C(9007199254740000));
    tel_counter_add(&m.busy, 1500000000);
    tel_gauge_set(&m.depth, 2.5);
    tel_gauge_add(&m.depth, -3);
    tel_histogram_observe(&m.delay, 250000);         /* on the first bound */
    tel_histogram_observe(&m.delay, 250001);         /* just over it */
    tel_histogram_observe(&m.delay, 100000000000);   /* over the last */
    tel_histogram_observe(&m.sizes, 1000);
    const char *odd[] = {"a \"quoted\" \\ name\nwith lines", "\xff\xc3\xa9"};
    tel_counter_add(tel_family_counter(&m.by_partition, odd), 7);
    const char *zero[] = {"0"}, *one[] = {"1"}, *two[] = {"2"};
    tel_gauge_set(tel_family_gauge(&m.lag, zero), 1e300);
    tel_gauge_set(tel_family_gauge(&m.lag, one), 5);
    tel_gauge_set(tel_family_gauge(&m.lag, two), -(double)INFINITY);
    tel_family_drop(&m.lag, one);
    tel_histogram_observe(tel_family_histogram(&m.waits, (const char *[]){"in"}), 3000000);

    struct tel_buf parsed = {0};
    parse(metrics, &parsed);
    expect_line(&parsed, "help example_lines 'Lines \\\\ with a backslash'");
    expect_line(&parsed, "counter example_lines_total{} 9007199254740003.0");
    expect_line(&parsed, "counter example_busy_seconds_total{} 1.5");
    expect_line(&parsed, "gauge example_depth{} -0.5");
    expect_line(&parsed, "histogram example_delay_seconds_bucket{le='0.00025'} 1.0");
    expect_line(&parsed, "histogram example_delay_seconds_bucket{le='0.0005'} 2.0");
    expect_line(&parsed, "histogram example_delay_seconds_bucket{le='64'} 2.0");
    expect_line(&parsed, "histogram example_delay_seconds_bucket{le='+Inf'} 3.0");
    expect_line(&parsed, "histogram example_delay_seconds_sum{} 100.000500001");
    expect_line(&parsed, "histogram example_delay_seconds_count{} 3.0");
    expect_line(&parsed, "histogram example_size_bytes_bucket{le='256'} 0.0");
    expect_line(&parsed, "histogram example_size_bytes_bucket{le='1024'} 1.0");
    expect_line(&parsed, "counter example_read_total{partition='\xef\xbf\xbd\xc3\xa9',"
                         "topic='a \"quoted\" \\\\ name\\nwith lines'} 7.0");
    expect_line(&parsed, "gauge example_lag_events{partition='0'} 1e+300");
    expect_line(&parsed, "gauge example_lag_events{partition='2'} -inf");
    assert_null(strstr(tel_buf_cstr(&parsed), "example_lag_events{partition='1'}"));
    expect_line(&parsed, "histogram example_wait_seconds_bucket{le='0.004',queue='in'} 1.0");
    assert_non_null(strstr(tel_buf_cstr(&parsed), "gauge process_resident_memory_bytes{} "));
    assert_non_null(strstr(tel_buf_cstr(&parsed), "counter process_cpu_seconds_total{} "));

    /* A series that comes back begins anew. */
    assert_true(tel_gauge_get(tel_family_gauge(&m.lag, one)) == 0);
    tel_buf_free(&parsed);
    tel_metrics_free(metrics);
}

static void set_depth(void *arg)
{
    tel_gauge_set(&((struct example *)arg)->depth, 42);
}

/* Two structs of one table: one HELP, series told apart; one may go. */
static void test_two_of_a_kind(void **state)
{
    (void)state;
    struct tel_metrics *metrics = tel_metrics_new();
    struct example a, b;
    tel_metrics_register(metrics, &table, &a, "shard", "a");
    tel_metrics_register(metrics, &table, &b, "shard", "b");
    tel_metrics_on_collect(metrics, set_depth, &b);
    tel_counter_add(&a.lines, 1);
    tel_counter_add(&b.lines, 2);
    tel_gauge_set(tel_family_gauge(&b.lag, (const char *[]){"0"}), 9);
    struct tel_buf parsed = {0};
    parse(metrics, &parsed);
    expect_line(&parsed, "counter example_lines_total{shard='a'} 1.0");
    expect_line(&parsed, "counter example_lines_total{shard='b'} 2.0");
    expect_line(&parsed, "gauge example_lag_events{partition='0',shard='b'} 9.0");
    expect_line(&parsed, "gauge example_depth{shard='b'} 42.0");
    expect_line(&parsed, "histogram example_delay_seconds_bucket{le='0.001',shard='a'} 0.0");
    tel_metrics_unregister(metrics, &a);
    tel_metrics_off_collect(metrics, &b);
    tel_gauge_set(&b.depth, 1);
    tel_buf_clear(&parsed);
    parse(metrics, &parsed);
    assert_null(strstr(tel_buf_cstr(&parsed), "shard='a'"));
    expect_line(&parsed, "counter example_lines_total{shard='b'} 2.0");
    expect_line(&parsed, "gauge example_depth{shard='b'} 1.0");
    tel_buf_free(&parsed);
    tel_metrics_free(metrics);
}

static void test_bounded_series(void **state)
{
    (void)state;
    struct tel_metrics *metrics = tel_metrics_new();
    struct example m;
    tel_metrics_register(metrics, &table, &m, NULL, NULL);
    struct tel_gauge *first = NULL, *beyond = NULL;
    for (int i = 0; i < TEL_FAMILY_MAX_SERIES + 10; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        struct tel_gauge *gauge = tel_family_gauge(&m.lag, (const char *[]){text});
        tel_gauge_add(gauge, 1);
        if (i == 0)
            first = gauge;
        if (i >= TEL_FAMILY_MAX_SERIES) {
            assert_true(!beyond || beyond == gauge);
            beyond = gauge;
        }
    }
    assert_ptr_equal(tel_family_gauge(&m.lag, (const char *[]){"0"}), first);
    struct tel_buf page = {0};
    tel_metrics_expose(metrics, &page);
    assert_non_null(strstr(tel_buf_cstr(&page), "example_lag_events{partition=\"other\"} 10\n"));
    tel_buf_free(&page);
    tel_metrics_free(metrics);
}

#define THREADS 4
#define ROUNDS  20000

struct worker {
    struct tel_thread thread;
    struct example *m;
    int number;
};

static void work(void *arg)
{
    struct worker *self = arg;
    for (int i = 0; i < ROUNDS; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i % 100);
        tel_counter_add(&self->m->lines, 1);
        tel_gauge_add(&self->m->depth, self->number % 2 ? 1 : -1);
        tel_histogram_observe(&self->m->delay, (uint64_t)i * 1000);
        tel_counter_add(tel_family_counter(&self->m->by_partition, (const char *[]){"t", text}), 1);
    }
}

static void test_many_threads(void **state)
{
    (void)state;
    struct tel_metrics *metrics = tel_metrics_new();
    struct example m;
    struct worker workers[THREADS] = {0};
    tel_metrics_register(metrics, &table, &m, NULL, NULL);
    for (int i = 0; i < THREADS; i++) {
        workers[i].m = &m;
        workers[i].number = i;
        assert_int_equal(tel_thread_start(&workers[i].thread, "worker", work, &workers[i], NULL), TEL_OK);
    }
    for (int i = 0; i < 20; i++) {
        struct tel_buf page = {0};
        tel_metrics_expose(metrics, &page);
        assert_true(page.len > 1000);
        tel_buf_free(&page);
    }
    for (int i = 0; i < THREADS; i++)
        tel_thread_join(&workers[i].thread);
    assert_int_equal(tel_counter_get(&m.lines), THREADS * ROUNDS);
    assert_true(tel_gauge_get(&m.depth) == 0);
    assert_int_equal(tel_histogram_count(&m.delay), THREADS * ROUNDS);
    assert_int_equal(tel_counter_get(tel_family_counter(&m.by_partition, (const char *[]){"t", "5"})),
                     THREADS * ROUNDS / 100);
    tel_metrics_free(metrics);
}

static void test_documentation(void **state)
{
    (void)state;
    const struct tel_metric_table *tables[] = {&table};
    struct tel_buf out = {0};
    tel_metrics_doc_markdown(&out, "prog", tables, 1);
    const char *page = tel_buf_cstr(&out);
    assert_non_null(strstr(page, "# Metrics of prog\n"));
    assert_non_null(strstr(page, "| `example_read_total` | counter |  | `topic`, `partition` | By partition |\n"));
    assert_non_null(strstr(page, "| `process_open_fds` | gauge |  |  | Open files |\n"));
    tel_buf_free(&out);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exposition),     cmocka_unit_test(test_two_of_a_kind),
        cmocka_unit_test(test_bounded_series), cmocka_unit_test(test_many_threads),
        cmocka_unit_test(test_documentation),
    };
    if (argc < 3) {
        fprintf(stderr, "usage: %s PYTHON PARSER\n", argv[0]);
        return 2;
    }
    python = getenv("TEL_PYTHON") ? getenv("TEL_PYTHON") : argv[1];
    script = argv[2];
    if (access(python, X_OK) != 0) {
        fprintf(stderr, "%s is not there: make it with tests/tools/venv.sh, or name another Python that has "
                        "prometheus_client in TEL_PYTHON\n",
                python);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
