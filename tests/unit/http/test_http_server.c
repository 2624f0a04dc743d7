/*
 * The server against a client that speaks raw bytes: parameters, bodies whole, cut and bombed,
 * streams that end and that break off, clients that leave, a thousand at once, drain.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/net/http/http_server.h"
#include "tests/unit/http/http_raw.h"

#define BODY_MAX 65536u

static struct tel_http_server *server;
static const char *address;
static atomic_int handled, streams_done, saw_gone;

static void echo(void *ctx, struct tel_http_request *req)
{
    (void)ctx;
    atomic_fetch_add(&handled, 1);
    struct tel_buf out = {0};
    struct tel_span v;
    tel_buf_printf(&out, "%.*s %.*s rest=%.*s\n", TEL_SPAN_ARG(tel_http_method(req)),
                   TEL_SPAN_ARG(tel_http_path(req)), TEL_SPAN_ARG(tel_http_path_rest(req)));
    size_t n = 0;
    const struct tel_http_pair *p = tel_http_params(req, &n);
    for (size_t i = 0; i < n; i++)
        tel_buf_printf(&out, "[%.*s]=[%.*s]\n", TEL_SPAN_ARG(p[i].name), TEL_SPAN_ARG(p[i].value));
    if (tel_http_header(req, "x-scope-orgid", &v))
        tel_buf_printf(&out, "tenant=%.*s\n", TEL_SPAN_ARG(v));
    tel_buf_printf(&out, "body=%zu:", tel_http_body(req).len);
    tel_buf_add_span(&out, tel_http_body(req));
    tel_http_reply_header(req, "X-Injected", TEL_SPAN("a\r\nEvil: yes"));
    tel_http_reply(req, 200, "text/plain", tel_buf_span(&out));
    tel_buf_free(&out);
}

struct counter {
    int n, stop_at;
    bool abort, forever;
};

static enum tel_http_pull count_up(void *ctx, struct tel_http_request *req, struct tel_buf *out)
{
    struct counter *c = ctx;
    if (c->forever) {
        tel_buf_printf(out, "tick %d\n", c->n++);
        if (tel_http_gone(req))
            atomic_fetch_add(&saw_gone, 1);
        return TEL_HTTP_MORE;
    }
    for (int i = 0; i < 1000 && c->n < c->stop_at; i++)
        tel_buf_printf(out, "line %d\n", c->n++);
    if (c->n < c->stop_at)
        return TEL_HTTP_MORE;
    return c->abort ? TEL_HTTP_ABORT : TEL_HTTP_END;
}

static void counter_done(void *ctx)
{
    atomic_fetch_add(&streams_done, 1);
    free(ctx);
}

static void stream(void *ctx, struct tel_http_request *req)
{
    (void)ctx;
    struct counter *c = calloc(1, sizeof(*c));
    struct tel_span v = {0};
    c->stop_at = 10000;
    c->abort = tel_http_param(req, "abort", &v);
    c->forever = tel_http_param(req, "forever", &v);
    tel_http_stream(req, 200, "text/plain", count_up, counter_done, c);
}

/* Takes whole lines, counts bytes and lines over all pieces. */
struct total {
    size_t bytes, lines, pieces;
};

static void total_add(struct total *t, struct tel_span s)
{
    t->bytes += s.len;
    t->pieces++;
    for (size_t i = 0; i < s.len; i++)
        t->lines += s.ptr[i] == '\n';
}

static size_t add_piece(void *ctx, struct tel_http_request *req, struct tel_span body)
{
    (void)ctx;
    struct tel_span refuse;
    if (tel_http_param(req, "refuse", &refuse)) {
        tel_http_reply_error(req, 400, "refused: %.*s", TEL_SPAN_ARG(refuse));
        return body.len;
    }
    if (!tel_http_state(req))
        tel_http_set_state(req, calloc(1, sizeof(struct total)), free);
    while (body.len > 0 && body.ptr[body.len - 1] != '\n')
        body.len--;
    total_add(tel_http_state(req), body);
    return body.len;
}

static void sum(void *ctx, struct tel_http_request *req)
{
    (void)ctx;
    struct total none = {0}, *t = tel_http_state(req) ? tel_http_state(req) : &none;
    total_add(t, tel_http_body(req));
    char text[80];
    int n = snprintf(text, sizeof(text), "bytes=%zu lines=%zu %s", t->bytes, t->lines,
                     t->pieces > 1 ? "pieces" : "whole");
    tel_http_reply(req, 200, "text/plain", tel_span_make(text, (size_t)n));
}

static void forget(void *ctx, struct tel_http_request *req)
{
    (void)ctx;
    (void)req;
}

static int start(void **state)
{
    (void)state;
    struct tel_error err;
    struct tel_http_server_options o = {.address = "127.0.0.1:0", .bodies_max = 8u << 20};
    assert_int_equal(tel_http_server_new(&o, &server, &err), TEL_OK);
    static const struct tel_http_route routes[] = {
        {.methods = "GET POST", .path = "/echo", .handler = echo, .body_max = BODY_MAX},
        {.methods = "GET POST", .path = "/echo/*", .handler = echo, .body_max = BODY_MAX},
        {.methods = "POST", .path = "/raw", .handler = echo, .body_max = BODY_MAX, .raw_body = true},
        {.methods = "POST", .path = "/pieces", .handler = sum, .piece = add_piece, .body_max = BODY_MAX},
        {.methods = "GET", .path = "/stream", .handler = stream},
        {.methods = "GET", .path = "/forget", .handler = forget},
    };
    for (size_t i = 0; i < TEL_ARRAY_LEN(routes); i++)
        tel_http_server_route(server, &routes[i]);
    assert_int_equal(tel_http_server_start(server, &err), TEL_OK);
    address = tel_http_server_address(server);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    struct tel_error err;
    assert_int_equal(tel_http_server_drain(server, 5000, &err), TEL_OK);
    tel_http_server_free(server);
    server = NULL;
    return 0;
}

static void expect(const char *request, const void *body, size_t len, int status, const char *part)
{
    char *a = raw_ask(address, request, body, len);
    if (raw_status(a) != status || !strstr(a, part))
        print_message("asked: %s\ngot: %.600s\n", request, a);
    assert_int_equal(raw_status(a), status);
    assert_non_null(strstr(a, part));
    free(a);
}

static void wait_until(atomic_int *what, int value)
{
    int64_t deadline = tel_mono_ns(tel_clock_system()) + 10 * TEL_NS_PER_S;
    while (atomic_load(what) < value) {
        assert_true(tel_mono_ns(tel_clock_system()) < deadline);
        sched_yield();
    }
}

static void test_parameters(void **state)
{
    (void)state;
    expect("GET /echo?query=%22a+b%22%20%7C&x=&y HTTP/1.1\r\n", "", 0, 200, "[query]=[\"a b\" |]\n[x]=[]\n[y]=[]");
    expect("POST /echo?q=1 HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n",
           "q=2&r=%c3%a9%", 13, 200, "[q]=[1]\n[q]=[2]\n[r]=[\xc3\xa9%]\n");
    expect("POST /raw HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n", "q=2&r=1", 7, 200,
           "body=7:q=2&r=1");
    expect("GET /echo/a/b HTTP/1.1\r\nX-Scope-OrgID: t1\r\n", "", 0, 200, "rest=a/b\ntenant=t1");
    char *a = raw_ask(address, "GET /echo HTTP/1.1\r\n", "", 0);
    assert_null(strstr(a, "\nEvil:")); /* a header cannot be forged */
    free(a);
}

static void test_refusals(void **state)
{
    (void)state;
    expect("GET /nowhere HTTP/1.1\r\n", "", 0, 404, "nothing at this path");
    expect("DELETE /echo HTTP/1.1\r\n", "", 0, 405, "Allow: GET, POST");
    expect("GET /forget HTTP/1.1\r\n", "", 0, 500, "no answer");
    expect("POST /raw HTTP/1.1\r\nContent-Encoding: br\r\n", "x", 1, 415, "gzip, deflate and zstd");
    static char big[BODY_MAX + 1];
    memset(big, 'x', sizeof(big));
    expect("POST /raw HTTP/1.1\r\n", big, BODY_MAX, 200, "body=65536:xxx");
    expect("POST /raw HTTP/1.1\r\n", big, BODY_MAX + 1, 413, "too large");
    struct tel_error err;
    struct tel_http_server *second = NULL;
    struct tel_http_server_options o = {.address = address};
    assert_int_not_equal(tel_http_server_new(&o, &second, &err), TEL_OK);
    assert_non_null(strstr(err.text, "in use"));
    o.address = "nonsense";
    assert_int_equal(tel_http_server_new(&o, &second, &err), TEL_ERR_INVALID);
}

static size_t gzip(const char *in, size_t len, char *out, size_t cap)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)in;
    z.avail_in = (uInt)len;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)cap;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t n = cap - z.avail_out;
    deflateEnd(&z);
    return n;
}

static void test_encodings(void **state)
{
    (void)state;
    static char packed[1u << 20], bomb[64u << 20];
    const char *gz = "POST /raw HTTP/1.1\r\nContent-Encoding: gzip\r\n";
    const char *zs = "POST /raw HTTP/1.1\r\nContent-Encoding: zstd\r\n";
    size_t n = gzip("hello", 5, packed, sizeof(packed));
    expect(gz, packed, n, 200, "body=5:hello");
    size_t m = gzip(" again", 6, packed + n, sizeof(packed) - n);
    expect(gz, packed, n + m, 200, "body=11:hello again");
    for (size_t cut = 1; cut < n; cut++)
        expect(gz, packed, cut, 400, "ends too early");
    packed[n / 2] ^= 0x55;
    expect(gz, packed, n, 400, "body");
    n = gzip(bomb, sizeof(bomb), packed, sizeof(packed));
    assert_true(n <= BODY_MAX);
    expect(gz, packed, n, 413, "larger than 65536");
    n = ZSTD_compress(packed, sizeof(packed), "hello", 5, 3);
    expect(zs, packed, n, 200, "body=5:hello");
    for (size_t cut = 1; cut < n; cut++)
        expect(zs, packed, cut, 400, "ends too early");
    n = ZSTD_compress(packed, sizeof(packed), bomb, sizeof(bomb), 3);
    assert_true(n <= BODY_MAX);
    expect(zs, packed, n, 413, "larger than 65536");
}

static void test_pieces(void **state)
{
    (void)state;
    static char lines[1u << 20], packed[1u << 20];
    for (size_t i = 0; i < sizeof(lines); i++)
        lines[i] = i % 100 == 99 ? '\n' : 'a';
    expect("POST /pieces HTTP/1.1\r\n", lines, 1000, 200, "bytes=1000 lines=10 whole");
    expect("POST /pieces HTTP/1.1\r\n", lines, sizeof(lines), 200, "bytes=1048576 lines=10485 pieces");
    size_t n = gzip(lines, sizeof(lines), packed, sizeof(packed));
    expect("POST /pieces HTTP/1.1\r\nContent-Encoding: gzip\r\n", packed, n, 413, "larger than");
    for (size_t i = 0; i < sizeof(lines); i++) /* hard to compress: no bomb */
        lines[i] = i % 100 == 99 ? '\n' : (char)('a' + tel_hash_u64(i) % 26);
    n = gzip(lines, sizeof(lines), packed, sizeof(packed));
    expect("POST /pieces HTTP/1.1\r\nContent-Encoding: gzip\r\n", packed, n, 200,
           "bytes=1048576 lines=10485 pieces");
    memset(lines, 'a', sizeof(lines)); /* one line that is larger than a piece */
    expect("POST /pieces HTTP/1.1\r\n", lines, 4 * BODY_MAX, 413, "larger than");
    /* Pieces know the parameters, and may refuse what comes with them: once, and heard by the client. */
    expect("POST /pieces?refuse=because HTTP/1.1\r\n", lines, sizeof(lines), 400, "refused: because");
    expect("POST /pieces?refuse=because HTTP/1.1\r\nContent-Encoding: gzip\r\n", packed, n, 400,
           "refused: because");
}

static void test_cut_body(void **state)
{
    (void)state;
    struct tel_http_server_stats before, after;
    tel_http_server_stats(server, &before);
    int n = atomic_load(&handled);
    static const char *const cut[] = {
        "POST /raw HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nonly this",
        "POST /raw HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwor",
        "POST /raw HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    };
    for (size_t i = 0; i < TEL_ARRAY_LEN(cut); i++) {
        int fd = raw_connect(address);
        raw_send_str(fd, cut[i]);
        close(fd);
    }
    int64_t deadline = tel_mono_ns(tel_clock_system()) + 10 * TEL_NS_PER_S;
    do {
        tel_http_server_stats(server, &after);
        assert_true(tel_mono_ns(tel_clock_system()) < deadline);
        sched_yield();
    } while (after.bodies_cut < before.bodies_cut + TEL_ARRAY_LEN(cut));
    assert_int_equal(atomic_load(&handled), n);
    tel_http_server_stats(server, &after);
    assert_int_equal(after.body_bytes_held, 0);
}

static void test_streams(void **state)
{
    (void)state;
    char *a = raw_ask(address, "GET /stream HTTP/1.1\r\n", "", 0);
    assert_non_null(strstr(a, "line 9999\n"));
    assert_non_null(strstr(a, "\r\n0\r\n\r\n")); /* the last chunk: a clean end */
    free(a);
    a = raw_ask(address, "GET /stream?abort=1 HTTP/1.1\r\n", "", 0);
    assert_non_null(strstr(a, "line 9999\n"));
    assert_null(strstr(a, "\r\n0\r\n\r\n"));
    free(a);
    int fd = raw_connect(address);
    raw_send_str(fd, "GET /stream?forever=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    char some[512];
    assert_true(recv(fd, some, sizeof(some), MSG_WAITALL) == sizeof(some));
    close(fd);
    wait_until(&streams_done, 3); /* two above and this one, though it never ends by itself */
}

static void *ask_once(void *arg)
{
    char *a = raw_ask(address, "GET /echo?x=1 HTTP/1.1\r\n", "", 0);
    *(int *)arg = raw_status(a);
    free(a);
    return NULL;
}

static void test_thousand(void **state)
{
    (void)state;
    enum { N = 1000 };
    static int status[N];
    static pthread_t threads[N];
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256u << 10);
    for (int i = 0; i < N; i++)
        assert_int_equal(pthread_create(&threads[i], &attr, ask_once, &status[i]), 0);
    for (int i = 0; i < N; i++)
        pthread_join(threads[i], NULL);
    pthread_attr_destroy(&attr);
    for (int i = 0; i < N; i++)
        assert_int_equal(status[i], 200);
}

static void test_keep_alive(void **state)
{
    (void)state;
    int fd = raw_connect(address);
    for (int i = 0; i < 3; i++)
        raw_send_str(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    raw_send_str(fd, "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    struct tel_buf out = {0};
    raw_read(fd, &out);
    close(fd);
    int n = 0;
    for (const char *p = out.ptr; (p = strstr(p, "HTTP/1.1 200")); p++)
        n++;
    assert_int_equal(n, 4);
    tel_buf_free(&out);
}

static void test_drain_cuts(void **state)
{
    (void)state;
    assert_int_equal(start(NULL), 0);
    int fd = raw_connect(address);
    raw_send_str(fd, "GET /stream?forever=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    char some[64];
    assert_true(recv(fd, some, sizeof(some), MSG_WAITALL) == sizeof(some));
    struct tel_error err;
    assert_int_equal(tel_http_server_drain(server, 50, &err), TEL_ERR_TIMEOUT);
    int late = raw_connect(address);
    assert_int_equal(late, -1);
    tel_http_server_free(server);
    server = NULL;
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_parameters, start, stop),
        cmocka_unit_test_setup_teardown(test_refusals, start, stop),
        cmocka_unit_test_setup_teardown(test_encodings, start, stop),
        cmocka_unit_test_setup_teardown(test_pieces, start, stop),
        cmocka_unit_test_setup_teardown(test_cut_body, start, stop),
        cmocka_unit_test_setup_teardown(test_streams, start, stop),
        cmocka_unit_test_setup_teardown(test_thousand, start, stop),
        cmocka_unit_test_setup_teardown(test_keep_alive, start, stop),
        cmocka_unit_test(test_drain_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
