/* JSON lines over real HTTP into a real journal, decoded again by the codec. */
#include "tests/unit/insert/insert_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/sys/fs.h"
#include "tests/unit/http/http_raw.h"

static void post(struct fixture *f, const char *path, const char *headers, const char *body, int status,
                 const char *part)
{
    char *a = fixture_post(f, path, headers, body, strlen(body), status);
    if (!strstr(a, part))
        print_message("answer: %s\n", a);
    assert_non_null(strstr(a, part));
    free(a);
}

static void expect_dump(struct fixture *f, const char *want)
{
    char *got = fixture_dump(f);
    assert_string_equal(got, want);
    free(got);
}

static void test_fields(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_start(&f, 0, 0, 0);
    post(&f, "/insert/jsonline?_stream_fields=app,host.name&_time_field=ts&_msg_field=log.message,message"
             "&ignore_fields=secret,tmp.*&extra_fields=dc=eu,app=forced",
         "X-Scope-OrgID: acme\r\n",
         "{\"ts\":\"2023-11-14T22:13:20.123456789Z\",\"message\":\"second best\",\"log\":{\"message\":\"hello\"},"
         "\"app\":\"a1\",\"host\":{\"name\":\"h\",\"cpu\":0.50},\"secret\":\"x\",\"tmp\":{\"a\":1},\"list\":[1, 2],\"none\":null,\"e\":\"\"}\n"
         "\r\n"
         "{\"ts\":1700000000,\"message\":\"only one\",\"k\":1,\"k\":2}",
         200, "\"accepted\":2,\"rejected\":0");
    expect_dump(&f, "acme|app=forced,host.name=h|1700000000123456789|hello|message=second best,host.cpu=0.50,list=[1, 2],dc=eu\n"
                    "acme|app=forced|1700000000000000000|only one|k=2,dc=eu\n");
    fixture_stop(&f);
    fixture_remove(&f);
}

static void test_bad_lines(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_start(&f, 0, 0, 0);
    static const char body[] = "{\"_time\":\"2023-11-14T22:13:20Z\",\"_msg\":\"one\"}\n"
                               "not json\n"
                               "{\"_time\":\"yesterday\",\"_msg\":\"two\"}\n"
                               "{\"_msg\":\"bad \xff byte\n"
                               "{\"_time\":\"2023-11-14T22:13:21Z\",\"_msg\":\"three\"}\n";
    char *a = fixture_post(&f, "/insert/jsonline", "", body, sizeof(body) - 1, 200);
    assert_non_null(strstr(a, "\"accepted\":2,\"rejected\":3"));
    assert_non_null(strstr(a, "{\"line\":2,\"error\":\"byte 1: an object was expected\"}"));
    assert_non_null(strstr(a, "{\"line\":3,\"error\":\"not a time: \\\"yesterday\\\"\"}"));
    assert_non_null(strstr(a, "{\"line\":4,"));
    free(a);
    expect_dump(&f, "default||1700000000000000000|one|\ndefault||1700000001000000000|three|\n");
    char path[128];
    struct tel_buf letters = {0};
    struct tel_error err;
    snprintf(path, sizeof(path), "%s/dead-letters.jsonl", f.dir);
    assert_int_equal(tel_fs_read_all(tel_fs_system(), path, 100000, &letters, &err), TEL_OK);
    assert_non_null(strstr(tel_buf_cstr(&letters), "\"line\":\"not json\"}\n"));
    assert_non_null(strstr(letters.ptr, "\"line_hex\":\"7b225f6d7367223a2262616420ff2062797465\"}\n"));
    tel_buf_free(&letters);
    post(&f, "/insert/jsonline", "", "<html>", 400, "\"accepted\":0,\"rejected\":1");
    post(&f, "/insert/jsonline?extra_fields=oops", "", "{}", 400, "extra_fields");
    post(&f, "/insert/jsonline", "X-Scope-OrgID: a/b\r\n", "{}", 400, "X-Scope-OrgID");
    post(&f, "/insert/jsonline", "AccountID: 7\r\nProjectID: 3\r\n", "{\"_time\":\"1700000000\"}", 200, "\"accepted\":1");
    char *got = fixture_dump(&f);
    assert_non_null(strstr(got, "7:3||1700000000000000000||\n"));
    free(got);
    fixture_stop(&f);
    fixture_remove(&f);
}

struct poster {
    struct fixture *f;
    int id;
};

#define POSTERS    8
#define POSTS      20
#define POST_LINES 50

static void *post_many(void *arg)
{
    struct poster *p = arg;
    for (int i = 0; i < POSTS; i++) {
        struct tel_buf b = {0};
        for (int k = 0; k < POST_LINES; k++)
            tel_buf_printf(&b, "{\"_time\":\"1700000000\",\"_msg\":\"m %d\",\"s\":\"%d\"}\n",
                           (p->id * POSTS + i) * POST_LINES + k, k % 3);
        char *a = fixture_post(p->f, "/insert/jsonline?_stream_fields=s", "", b.ptr, b.len, 200);
        free(a);
        tel_buf_free(&b);
    }
    return NULL;
}

/* Many at once, and again after a restart: every event once, positions growing per source (the dump
 * checks that), so that a shard drops nothing. */
static void test_concurrent_and_restart(void **state)
{
    (void)state;
    struct fixture f = {0};
    static unsigned char seen[POSTERS * POSTS * POST_LINES];
    for (int round = 1; round <= 2; round++) {
        fixture_start(&f, 0, 0, 0);
        pthread_t threads[POSTERS];
        struct poster posters[POSTERS];
        for (int i = 0; i < POSTERS; i++) {
            posters[i] = (struct poster){&f, i};
            pthread_create(&threads[i], NULL, post_many, &posters[i]);
        }
        for (int i = 0; i < POSTERS; i++)
            pthread_join(threads[i], NULL);
        memset(seen, 0, sizeof(seen));
        char *got = fixture_dump(&f);
        for (char *p = got; (p = strstr(p, "|m ")); p++)
            seen[atoi(p + 3)]++;
        free(got);
        for (size_t i = 0; i < sizeof(seen); i++)
            assert_int_equal(seen[i], round);
        fixture_stop(&f);
    }
    fixture_remove(&f);
}

/* A body far larger than what is held at once, in pieces: each is read with the request's parameters,
 * and parameters that are wrong refuse it. */
static void test_large_body(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_start(&f, 0, 65536, 0);
    struct tel_buf b = {0};
    for (int k = 0; k < 20000; k++)
        tel_buf_printf(&b, "{\"at\":\"1700000000\",\"text\":\"message number %d\",\"s\":\"%d\"}\n", k, k % 3);
    char *a = fixture_post(&f, "/insert/jsonline?_stream_fields=s&_time_field=at&_msg_field=text", "", b.ptr,
                           b.len, 200);
    assert_non_null(strstr(a, "\"accepted\":20000,\"rejected\":0"));
    free(a);
    char *got = fixture_dump(&f);
    size_t lines = 0, labelled = 0;
    for (char *p = got; (p = strchr(p, '\n')); p++)
        lines++;
    for (char *p = got; (p = strstr(p, "|s=")); p++)
        labelled += strncmp(p + strlen("|s=?"), "|1700000000000000000|message", 28) == 0;
    assert_int_equal(lines, 20000);
    assert_int_equal(labelled, 20000);
    free(got);
    a = fixture_post(&f, "/insert/jsonline?extra_fields=nothing", "", b.ptr, b.len, 400);
    assert_non_null(strstr(a, "extra_fields"));
    free(a);
    a = fixture_post(&f, "/insert/jsonline", "X-Scope-OrgID: no/tenant\r\n", b.ptr, b.len, 400);
    free(a);
    memset(b.ptr, 'x', b.len); /* one endless line */
    a = fixture_post(&f, "/insert/jsonline", "", b.ptr, b.len, 413);
    free(a);
    tel_buf_free(&b);
    fixture_stop(&f);
    fixture_remove(&f);
}

/* Nobody reads the queue: when its budget is used up the request waits, then is told to come again. */
static void test_full_queue(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_start(&f, 4u << 20, 0, 50);
    struct tel_buf b = {0};
    for (int k = 0; k < 100000; k++)
        tel_buf_printf(&b, "{\"_time\":\"1700000000\",\"_msg\":\"a message that is long enough to fill a queue %d\"}\n", k);
    post(&f, "/insert/jsonline", "", "{\"_msg\":\"small\"}", 200, "\"accepted\":1");
    char *a = fixture_post(&f, "/insert/jsonline", "", b.ptr, b.len, 429);
    assert_non_null(strstr(a, "send them again")); /* the budget, or a slow disk */
    free(a);
    tel_buf_free(&b);
    fixture_stop(&f);
    fixture_remove(&f);
}

static void test_damaged_id(void **state)
{
    (void)state;
    struct fixture f = {0};
    fixture_start(&f, 0, 0, 0);
    fixture_stop(&f);
    char path[128];
    struct tel_error err;
    snprintf(path, sizeof(path), "%s/insert.id", f.dir);
    assert_int_equal(tel_fs_write_atomic(tel_fs_system(), path, TEL_SPAN("garbage"), &err), TEL_OK);
    char queue[80];
    snprintf(queue, sizeof(queue), "%s/queue", f.dir);
    struct tel_transport_journal_options t = {.dir = queue, .partitions = 1};
    assert_int_equal(tel_transport_journal_new(&t, &f.transport, &err), TEL_OK);
    struct tel_insert_options o = {.transport = f.transport, .dir = f.dir};
    assert_int_equal(tel_insert_new(&o, &f.insert, &err), TEL_ERR_CORRUPT);
    assert_non_null(strstr(err.text, "insert.id"));
    tel_transport_free(f.transport);
    fixture_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),     cmocka_unit_test(test_bad_lines),
        cmocka_unit_test(test_concurrent_and_restart), cmocka_unit_test(test_large_body),
        cmocka_unit_test(test_full_queue), cmocka_unit_test(test_damaged_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
