/*
 * The HTTP face over a real socket and servers in memory: arguments, answers, errors and how they
 * are told, partial answers, streams that break off, the page.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "router/select.h"
#include "tests/unit/http/http_raw.h"
#include "tests/unit/router/memory_shard.h"

#define EVENTS 2000u

static struct memory_event *events;

struct fixture {
    struct memory_cluster cluster;
    struct select *select;
    struct tel_http_server *http;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const char *holdings[] = {"0,1", "2,3", "4,5,6,7", NULL};
    struct tel_error err;
    memory_cluster_start(&f->cluster, events, EVENTS, holdings, NULL);
    f->select = select_new(f->cluster.router, NULL);
    if (tel_http_server_new(&(struct tel_http_server_options){.address = "127.0.0.1:0"}, &f->http,
                            &err) != TEL_OK)
        return -1;
    select_add_routes(f->select, f->http);
    if (tel_http_server_start(f->http, &err) != TEL_OK)
        return -1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    tel_http_server_free(f->http);
    select_free(f->select);
    memory_cluster_stop(&f->cluster);
    free(f);
    return 0;
}

/* GET path, with headers ("Name: value\r\n"); freed by the caller. */
static char *get(struct fixture *f, const char *path, const char *headers)
{
    char request[4096];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n%s", path, headers);
    return raw_ask(tel_http_server_address(f->http), request, NULL, 0);
}

static void expect(struct fixture *f, const char *path, const char *headers, int status,
                   const char *part)
{
    char *answer = get(f, path, headers);
    if (raw_status(answer) != status || (part && !strstr(answer, part)))
        fail_msg("%s: expected %d and %s in: %s", path, status, part ? part : "anything", answer);
    free(answer);
}

/* Not by strstr: AddressSanitizer's looks at all of a long text for every hit. */
static size_t count_of(const char *text, const char *part)
{
    size_t n = 0, len = strlen(part);
    for (const char *p = text, *end = text + strlen(text);
         (p = memchr(p, part[0], (size_t)(end - p))) && (size_t)(end - p) >= len;) {
        bool hit = memcmp(p, part, len) == 0;
        n += hit;
        p += hit ? len : 1;
    }
    return n;
}

static void test_rows(void **state)
{
    struct fixture *f = *state;
    char *answer = get(f, "/select/logsql/query?query=error&limit=5", "");
    assert_int_equal(raw_status(answer), 200);
    assert_int_equal(count_of(answer, "{\"_time\":\"1970-01-12T"), 5);
    assert_int_equal(count_of(answer, "\"_msg\":\"error while reading\""), 5);
    assert_non_null(strstr(answer, "\"_stream\":\"{app=\\\""));
    assert_non_null(strstr(answer, "X-Telescope-Lag-Ms: 0"));
    assert_null(strstr(answer, "X-Telescope-Partial"));
    /* in order: times never go back */
    char last[40] = "";
    for (const char *p = answer; (p = strstr(p, "{\"_time\":\"")); p++) {
        assert_true(strncmp(last, p + 10, 20) <= 0);
        snprintf(last, sizeof(last), "%.20s", p + 10);
    }
    free(answer);
    answer = get(f, "/select/logsql/query?query=*%20%7C%20fields%20app", "");
    assert_int_equal(count_of(answer, "\"app\":"), EVENTS);
    assert_null(strstr(answer, "_time"));
    free(answer);
    answer = get(f, "/select/logsql/query?query=nosuchword", "");
    assert_int_equal(raw_status(answer), 200);
    assert_null(strstr(answer, "{"));
    free(answer);
    expect(f, "/select/logsql/query?query=*%20%7C%20stats%20count()%20n", "", 200,
           "{\"n\":\"2000\"}");
}

static void test_form(void **state)
{
    struct fixture *f = *state;
    const char *body = "query=error+%7C+stats+by+%28app%29+count%28%29+n&limit=2";
    const char *request = "POST /select/logsql/query HTTP/1.1\r\n"
                          "Content-Type: application/x-www-form-urlencoded\r\n";
    char *answer = raw_ask(tel_http_server_address(f->http), request, body, strlen(body));
    assert_int_equal(raw_status(answer), 200);
    assert_int_equal(count_of(answer, "\"app\":"), 2);
    free(answer);
}

static void test_bad_arguments(void **state)
{
    struct fixture *f = *state;
#define Q "/select/logsql/query"
    expect(f, Q, "", 400, "\"query\" is missing");
    expect(f, Q "?query=error%20(", "", 400, "column ");
    expect(f, Q "?query=*&limit=many", "", 400, "limit=many");
    expect(f, Q "?query=*&limit=99999999999", "", 400, "limit and offset");
    expect(f, Q "?query=*&start=yesterdayish", "", 400, "start=yesterdayish");
    expect(f, Q "?query=*&start=%00%1b%5b31m", "", 400, "\\x1b");
    expect(f, Q "?query=*", "X-Scope-OrgID: a b\r\n", 400, "X-Scope-OrgID");
    expect(f, Q "?query=*&limit=1", "X-Scope-OrgID: team-a.b_1\r\n", 200, "_msg");
    expect(f, Q "?query=*", "AccountID: x\r\n", 400, "AccountID");
    expect(f, Q "?query=*", "AccountID: 4294967296\r\n", 400, "AccountID");
    expect(f, Q "?query=*&limit=1", "AccountID: 3\r\nProjectID: 4\r\n", 200, "_msg");
    expect(f, Q "?query=*&limit=1&timeout=x", "", 200, "_msg");
    expect(f, "/select/logsql/hits?query=*&step=day", "", 400, "step=day");
    expect(f, "/select/logsql/hits?query=*&step=0", "", 400, "above zero");
    expect(f, "/select/logsql/stats_query?query=*", "", 422, "no stats pipe");
    expect(f, "/select/logsql/field_values?query=*", "", 400, "\"field\" is missing");
    expect(f, "/select/logsql/tail?query=*%20%7C%20limit%205", "", 400, "tail takes no pipes");
    expect(f, "/select/logsql/nothing", "", 404, NULL);
}

static void test_time_bounds(void **state)
{
    struct fixture *f = *state;
    /* 1000000 is 1970-01-12T13:46:40Z */
    char *answer = get(f, Q "?query=*&start=1970-01-12T13:46:40Z&end=1970-01-12T13:46:50Z", "");
    size_t want = 0;
    for (size_t i = 0; i < EVENTS; i++)
        want += events[i].key.time_ns < 1000011 * TEL_NS_PER_S; /* all of the second of `end` */
    assert_true(want > 0);
    assert_int_equal(count_of(answer, "\"_msg\""), want);
    free(answer);
    static const char *const same[] = {"&end=1000010", "&end=1.00001e6", "&end=1000010&start=0",
                                       "&end=1000010&limit=-1"};
    for (size_t i = 0; i < TEL_ARRAY_LEN(same); i++) {
        char path[200];
        snprintf(path, sizeof path, Q "?query=*%s", same[i]);
        answer = get(f, path, "");
        assert_int_equal(count_of(answer, "\"_msg\""), want);
        free(answer);
    }
    /* All of the millisecond, if it is no whole second. */
    want = 0;
    for (size_t i = 0; i < EVENTS; i++)
        want += events[i].key.time_ns < 1000010 * TEL_NS_PER_S + 124 * TEL_NS_PER_MS;
    answer = get(f, Q "?query=*&end=1970-01-12T13:46:50.123Z", "");
    assert_int_equal(count_of(answer, "\"_msg\""), want);
    free(answer);
}

static void test_partial(void **state)
{
    struct fixture *f = *state;
    f->cluster.shards[1].refuse = true;
    expect(f, Q "?query=*&limit=1", "", 200,
           "X-Telescope-Partial: partition 2,3: b:1: refused\r\n");
    expect(f, Q "?query=*%20%7C%20stats%20count()%20n", "", 200,
           "X-Telescope-Partial: partition 2,3");
    expect(f, "/select/logsql/hits?query=*", "", 200, "X-Telescope-Partial: partition 2,3");
    expect(f, Q "?query=*&limit=1&allow_partial_response=0", "", 503,
           "partition 2,3: b:1: refused");
    f->cluster.shards[0].refuse = f->cluster.shards[2].refuse = true;
    expect(f, Q "?query=*&limit=1", "", 503, "no shard answered");
    for (size_t i = 0; i < 3; i++) {
        f->cluster.shards[i].refuse = false;
        f->cluster.shards[i].hang = true;
    }
    expect(f, Q "?query=*&limit=1&timeout=200ms", "", 504, "no shard answered");
}

/* Does the body end as chunked bodies do? */
static bool ends_well(const char *answer)
{
    size_t len = strlen(answer);
    return strstr(answer, "Content-Length") ||
           (len > 5 && strcmp(answer + len - 5, "0\r\n\r\n") == 0);
}

/* Rows are on their way when a server breaks: a line that says so, and no clean end. */
static void test_breaks_off(void **state)
{
    (void)state;
    struct memory_event *many = memory_events(60000, 2, 1);
    struct fixture f = {0};
    const char *holdings[] = {"0", "1", NULL};
    struct tel_error err;
    memory_cluster_start(&f.cluster, many, 60000, holdings, NULL);
    f.cluster.shards[0].batch_rows = 1000;
    f.cluster.shards[1].batch_rows = 1000;
    f.select = select_new(f.cluster.router, NULL);
    assert_int_equal(
        tel_http_server_new(&(struct tel_http_server_options){.address = "127.0.0.1:0"}, &f.http,
                            &err),
        TEL_OK);
    select_add_routes(f.select, f.http);
    assert_int_equal(tel_http_server_start(f.http, &err), TEL_OK);
    char *answer = get(&f, Q "?query=*", "");
    assert_int_equal(raw_status(answer), 200);
    assert_int_equal(count_of(answer, "\"_msg\":"), 60000);
    assert_true(ends_well(answer));
    free(answer);
    f.cluster.shards[0].fail_after = 27;
    answer = get(&f, Q "?query=*", "");
    assert_int_equal(raw_status(answer), 200);
    assert_non_null(
        strstr(answer, "{\"_error\":\"partial answer: partition 0: a:1: broke down\"}"));
    assert_false(ends_well(answer));
    free(answer);
    tel_http_server_free(f.http);
    select_free(f.select);
    memory_cluster_stop(&f.cluster);
    free(many);
}

static void test_hits(void **state)
{
    struct fixture *f = *state;
    char *answer = get(f, "/select/logsql/hits?query=*&step=1d", "");
    assert_int_equal(raw_status(answer), 200);
    assert_non_null(strstr(answer,
                           "{\"hits\":[{\"fields\":{},\"timestamps\":[\"1970-01-12T00:00:00Z\"],"
                           "\"values\":[2000],\"total\":2000}]}"));
    free(answer);
    answer = get(f, "/select/logsql/hits?query=error&step=1m&field=app&field=host", "");
    assert_int_equal(count_of(answer, "\"fields\":{\"app\":\""), 12);
    free(answer);
    answer = get(f, "/select/logsql/hits?query=*&step=1d&field=app&fields_limit=1", "");
    assert_int_equal(count_of(answer, "\"fields\":{\"app\":\""), 1);
    assert_int_equal(count_of(answer, "\"fields\":{},"), 1);
    free(answer);
    /* hits of a query that gathers are those of its filter */
    expect(f, "/select/logsql/hits?query=*%20%7C%20stats%20count()&step=1d", "", 200,
           "\"total\":2000");
}

static void test_stats_as_prometheus(void **state)
{
    struct fixture *f = *state;
    expect(f, "/select/logsql/stats_query?query=*%20%7C%20stats%20count()%20n&time=1000", "", 200,
           "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":"
           "{\"__name__\":\"n\"},\"value\":[1000,\"2000\"]}]}}");
    char *answer =
        get(f, "/select/logsql/stats_query?query=*%20%7C%20stats%20by%20(app)%20count()%20n", "");
    assert_int_equal(count_of(answer, "{\"__name__\":\"n\",\"app\":\""), 4);
    free(answer);
    answer = get(
        f,
        "/select/logsql/stats_query_range?step=1d&query=*%20%7C%20stats%20by%20(app)%20count()%20n",
        "");
    assert_int_equal(count_of(answer, "\"metric\":{\"__name__\":\"n\",\"app\":\""), 4);
    assert_int_equal(count_of(answer, "\"values\":[[950400,\""), 4);
    assert_non_null(strstr(answer, "\"resultType\":\"matrix\""));
    free(answer);
    expect(f, "/select/logsql/stats_query_range?step=1d&query=*%20%7C%20stats%20count()%20n", "",
           200, "{\"metric\":{\"__name__\":\"n\"},\"values\":[[950400,\"2000\"]]}");
}

/* Errors of stats are Prometheus' JSON; the time of an answer is `end`; what a format makes is a label. */
static void test_stats_details(void **state)
{
    struct fixture *f = *state;
    expect(f, "/select/logsql/stats_query?query=(", "", 422,
           "{\"status\":\"error\",\"errorType\":\"422\",\"error\":\"line 1, column 2: ");
    expect(f, "/select/logsql/stats_query", "", 422, "\"errorType\":\"422\"");
    expect(f, "/select/logsql/stats_query?query=*%7Ccount()n&time=foo", "", 422, "time=foo");
    expect(f, "/select/logsql/stats_query_range?query=*%7Ccount()n&step=x", "", 422, "step=x");
    expect(f, "/select/logsql/stats_query?query=*%7Ccount()n&end=2000000", "", 200,
           "\"value\":[2000000,\"2000\"]");
    expect(f, "/select/logsql/stats_query?query=*%7Ccount()n&end=2000000&time=1000", "", 200,
           "\"value\":[1000,\"2000\"]");
    expect(f, "/select/logsql/stats_query?query=*%7Cstats+count()+n%7Cformat+%22x%22+as+y", "", 200,
           "[{\"metric\":{\"__name__\":\"n\",\"y\":\"x\"},");
    expect(f, "/select/logsql/stats_query?query=*%7Ccount()n", "AccountID: \r\n", 200, "\"2000\"");
}

/* What counts streams, values and hits looks at the events, not at what pipes make of them. */
static void test_values_of_events(void **state)
{
    struct fixture *f = *state;
    static const char *const pipes[] = {"%7C+fields+nothing", "%7C+stats+count()+n", "%7C+limit+1",
                                        "%7C+delete+_time", "%7C+rename+app+as+x+%7C+filter+x:y"};
    for (size_t i = 0; i < TEL_ARRAY_LEN(pipes); i++) {
        char path[300];
        snprintf(path, sizeof path, "/select/logsql/hits?step=1w&query=*+%s", pipes[i]);
        expect(f, path, "", 200, "\"total\":2000");
        snprintf(path, sizeof path, "/select/logsql/stream_field_names?query=*+%s", pipes[i]);
        expect(f, path, "", 200, "{\"value\":\"app\",\"hits\":2000}");
        snprintf(path, sizeof path, "/select/logsql/field_names?query=*+%s", pipes[i]);
        expect(f, path, "", 200, "{\"value\":\"app\",\"hits\":2000}");
    }
    expect(f, "/select/logsql/field_names?query=*+%7C+filter+app:nothing+%7C+fields+x", "", 200,
           "{\"values\":[]}");
    expect(f, "/select/logsql/field_values?query=*&field=nothing", "", 200,
           "{\"values\":[{\"value\":\"\",\"hits\":2000}]}");
    expect(f, "/select/logsql/facets?query=*&limit=0&keep_const_fields=true", "", 200, "\"facets\":[{");
}

static void test_values(void **state)
{
    struct fixture *f = *state;
    char *answer = get(f, "/select/logsql/streams?query=*", "");
    assert_int_equal(count_of(answer, "{\"value\":\"{app="), 12);
    free(answer);
    answer = get(f, "/select/logsql/streams?query=*&limit=3", "");
    assert_int_equal(count_of(answer, "{\"value\":\"{app="), 3);
    free(answer);
    expect(f, "/select/logsql/stream_field_names?query=*", "", 200,
           "{\"values\":[{\"value\":\"app\",\"hits\":2000},{\"value\":\"host\",\"hits\":2000}]}");
    answer = get(f, "/select/logsql/stream_field_values?query=*&field=host", "");
    assert_int_equal(count_of(answer, "{\"value\":\"h"), 3);
    free(answer);
    answer = get(f, "/select/logsql/field_values?query=*&field=app", "");
    assert_int_equal(count_of(answer, "{\"value\":\""), 4);
    free(answer);
    expect(f, "/select/logsql/field_names?query=*", "", 200, "{\"value\":\"app\",\"hits\":2000}");
    answer = get(f, "/select/logsql/facets?query=*", "");
    assert_int_equal(count_of(answer, "{\"field_name\":\"app\",\"values\":[{\"field_value\":\""),
                     1);
    assert_int_equal(count_of(answer, "\"field_value\":\"h"), 3);
    free(answer);
    answer = get(f, "/select/logsql/patterns?query=*", "");
    assert_int_equal(count_of(answer, "{\"pattern\":"), 4);
    free(answer);
    expect(f, "/select/logsql/patterns?query=*&limit=1", "", 200, "\"pattern\":");
}

/* Filters that a proxy adds cannot be got around, by subqueries neither. */
static void test_extra_filters(void **state)
{
    struct fixture *f = *state;
    size_t nginx = 0, both = 0;
    for (size_t i = 0; i < EVENTS; i++) {
        bool is_nginx = strcmp(events[i].app, "nginx") == 0;
        nginx += is_nginx;
        both += is_nginx && strcmp(events[i].host, "h2") == 0;
    }
    char want[64];
    snprintf(want, sizeof(want), "{\"n\":\"%zu\"}", nginx);
#define COUNT Q "?query=*%20%7C%20stats%20count()%20n"
    expect(f, COUNT "&extra_filters=app:nginx", "", 200, want);
    expect(f, COUNT "&extra_filters=%7B%22app%22:%22nginx%22%7D", "", 200, want);
    expect(f, COUNT "&extra_filters=%7B%22app%22:%5B%22nginx%22,%22none%22%5D%7D", "", 200, want);
    expect(f, COUNT "&extra_stream_filters=%7B%22app%22:%22nginx%22%7D", "", 200, want);
    expect(f, COUNT "&extra_stream_filters=%7Bapp=%22nginx%22%7D", "", 200, want);
    expect(f,
           Q "?query=app:sshd%20or%20app:nginx%20%7C%20stats%20count()%20n&extra_filters=app:nginx",
           "", 200, want);
    expect(f,
           Q "?query=*%20%7C%20stats%20count()%20n%20%7C%20union%20(*%20%7C%20stats%20count()%20m)"
             "&extra_filters=app:nginx",
           "", 200, want);
    snprintf(want, sizeof(want), "{\"m\":\"%zu\"}", nginx);
    expect(f,
           Q "?query=*%20%7C%20stats%20count()%20n%20%7C%20union%20(*%20%7C%20stats%20count()%20m)"
             "&extra_filters=app:nginx",
           "", 200, want);
    snprintf(want, sizeof(want), "{\"n\":\"%zu\"}", both);
    expect(f, COUNT "&extra_filters=app:nginx&extra_filters=host:h2", "", 200, want);
    snprintf(want, sizeof(want), "\"total\":%zu", nginx);
    expect(f, "/select/logsql/hits?query=*&extra_filters=app:nginx", "", 200, want);
    expect(f, COUNT "&extra_filters=app:nginx)%20or%20(*", "", 400, "extra_filters: ");
    expect(f, COUNT "&extra_filters=app:nginx%20%7C%20limit%201", "", 400, "extra_filters: ");
}

static void test_status_and_page(void **state)
{
    struct fixture *f = *state;
    f->cluster.shards[1].refuse = true;
    char *answer = get(f, "/select/status", "");
    assert_int_equal(count_of(answer, "\"state\":\"ready\""), 6);
    assert_int_equal(count_of(answer, "\"state\":\"unreachable\",\"error\":\"b:1: refused\""), 2);
    free(answer);
    expect(f, "/", "", 200, "Content-Security-Policy: default-src 'none';");
    expect(f, "/", "", 200, "<!doctype html>");
    expect(f, "/page.js", "", 200, "text/javascript");
    expect(f, "/page.css", "", 200, "text/css");
}

/* Reads from fd until `part` has come `n` times, or for wait_ms; returns how often it came. */
static size_t read_until(int fd, struct tel_buf *out, const char *part, size_t n, int wait_ms)
{
    int64_t until = tel_mono_ns(tel_clock_system()) + wait_ms * TEL_NS_PER_MS;
    for (;;) {
        size_t got = out->len ? count_of(tel_buf_cstr(out), part) : 0;
        int64_t left = (until - tel_mono_ns(tel_clock_system())) / TEL_NS_PER_MS;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (got >= n || left <= 0 || poll(&p, 1, (int)left) <= 0)
            return got;
        tel_buf_reserve(out, 65536);
        ssize_t len = read(fd, out->ptr + out->len, 65535);
        if (len <= 0)
            return got;
        out->len += (size_t)len;
    }
}

/* New events come once each, old ones not again, and late ones too. */
static void test_tail(void **state)
{
    struct fixture *f = *state;
    struct memory_event *fresh = memory_events(120, 8, 7);
    int64_t now = tel_wall_ns(tel_clock_system());
    for (size_t i = 0; i < 120; i++)
        fresh[i].key.time_ns = now - (int64_t)(i % 10) * 100 * TEL_NS_PER_MS;
    for (size_t i = 0; i < f->cluster.shard_count; i++) {
        f->cluster.shards[i].events = fresh;
        f->cluster.shards[i].event_count = 100;
    }
    int fd = raw_connect(tel_http_server_address(f->http));
    raw_send_str(
        fd, "GET /select/logsql/tail?query=*&start_offset=1m&refresh_interval=100ms HTTP/1.1\r\n"
            "Host: x\r\n\r\n");
    struct tel_buf out = {0};
    assert_int_equal(read_until(fd, &out, "\"_msg\":", 100, 10000), 100);
    int searches = f->cluster.shards[0].searches;
    assert_int_equal(read_until(fd, &out, "\"_msg\":", 101, 500), 100);
    assert_true(f->cluster.shards[0].searches > searches);
    for (size_t i = 0; i < f->cluster.shard_count; i++)
        f->cluster.shards[i].event_count = 120;
    assert_int_equal(read_until(fd, &out, "\"_msg\":", 120, 10000), 120);
    assert_int_equal(read_until(fd, &out, "\"_msg\":", 121, 500), 120);
    /* A server that goes is told, and the tail goes on. */
    for (size_t i = 0; i < f->cluster.shard_count; i++)
        f->cluster.shards[i].refuse = true;
    assert_int_equal(read_until(fd, &out, "{\"_warning\":\"no shard answered", 1, 10000), 1);
    close(fd);
    tel_buf_free(&out);
    int64_t until = tel_mono_ns(tel_clock_system()) + 10 * TEL_NS_PER_S;
    struct tel_http_server_stats stats;
    do {
        tel_http_server_stats(f->http, &stats);
    } while (stats.in_flight > 0 && tel_mono_ns(tel_clock_system()) < until);
    assert_int_equal(stats.in_flight, 0);
    for (size_t i = 0; i < f->cluster.shard_count; i++)
        f->cluster.shards[i].event_count = 0;
    free(fresh);
}

static int make_events(void **state)
{
    (void)state;
    events = memory_events(EVENTS, 8, 42);
    return 0;
}

static int free_events(void **state)
{
    (void)state;
    free(events);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_form, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partial, setup, teardown),
        cmocka_unit_test(test_breaks_off),
        cmocka_unit_test_setup_teardown(test_hits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stats_as_prometheus, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stats_details, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values_of_events, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_extra_filters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_status_and_page, setup, teardown),
    };
    return cmocka_run_group_tests(tests, make_events, free_events);
}
