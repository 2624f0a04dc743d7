/* The client against our own server: whole and broken answers, headers, refusals, TLS and its reload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/net/http/http_client.h"
#include "common/net/http/http_server.h"
#include "common/sys/fs.h"

static struct tel_http_server *server;
static char dir[64], url[128];

static void echo(void *ctx, struct tel_http_request *req)
{
    (void)ctx;
    struct tel_buf out = {0};
    struct tel_span v = {NULL, 0};
    if (tel_http_header(req, "Authorization", &v))
        tel_buf_add_span(&out, v);
    tel_buf_add_char(&out, '|');
    tel_buf_add_span(&out, tel_http_body(req));
    tel_http_reply_header(req, "X-Answer", TEL_SPAN("forty-two"));
    tel_http_reply(req, tel_http_param(req, "fail", &v) ? 503 : 200, "text/plain", tel_buf_span(&out));
    tel_buf_free(&out);
}

struct lines {
    int n;
    bool abort, endless;
};

static enum tel_http_pull pull(void *ctx, struct tel_http_request *req, struct tel_buf *out)
{
    (void)req;
    struct lines *l = ctx;
    if (l->endless && l->n > 3) {
        usleep(20000);
        return TEL_HTTP_MORE;
    }
    tel_buf_printf(out, "line %d\n", l->n++);
    if (l->endless || l->n < 1000)
        return TEL_HTTP_MORE;
    return l->abort ? TEL_HTTP_ABORT : TEL_HTTP_END;
}

static void stream(void *ctx, struct tel_http_request *req)
{
    (void)ctx;
    struct tel_span v;
    struct lines *l = calloc(1, sizeof(*l));
    l->abort = tel_http_param(req, "abort", &v);
    l->endless = tel_http_param(req, "endless", &v);
    tel_http_stream(req, 200, "text/plain", pull, free, l);
}

static void start(const char *cert, const char *key)
{
    struct tel_error err;
    struct tel_http_server_options o = {.address = "127.0.0.1:0", .tls_cert_file = cert, .tls_key_file = key};
    assert_int_equal(tel_http_server_new(&o, &server, &err), TEL_OK);
    tel_http_server_route(server, &(struct tel_http_route){.methods = "GET POST", .path = "/echo", .handler = echo});
    tel_http_server_route(server, &(struct tel_http_route){.methods = "GET", .path = "/stream", .handler = stream});
    tel_code rc = tel_http_server_start(server, &err);
    if (rc != TEL_OK)
        print_message("%s\n", err.text);
    assert_int_equal(rc, TEL_OK);
    snprintf(url, sizeof(url), "%s://%s", cert ? "https" : "http", tel_http_server_address(server));
}

struct seen {
    struct tel_buf data;
    char answer[32];
    bool stop;
};

static bool on_data(void *ctx, struct tel_span piece)
{
    struct seen *s = ctx;
    tel_buf_add_span(&s->data, piece);
    return true;
}

static void on_header(void *ctx, struct tel_span name, struct tel_span value)
{
    struct seen *s = ctx;
    if (tel_span_eq_cstr(name, "x-answer"))
        snprintf(s->answer, sizeof(s->answer), "%.*s", TEL_SPAN_ARG(value));
}

static bool stop(void *ctx)
{
    return ((struct seen *)ctx)->stop;
}

static tel_code call(struct tel_http_client *c, const char *path, const char *body, struct seen *seen,
                     unsigned *status, struct tel_buf *text, struct tel_error *err)
{
    char full[256];
    snprintf(full, sizeof(full), "%s%s", url, path);
    struct tel_http_call k = {
        .method = body ? "POST" : "GET", .url = full, .body = tel_span_cstr(body), .content_type = body ? "text/x" : NULL,
        .timeout_ms = 20000, .on_data = on_data, .on_header = on_header, .stop = stop, .ctx = seen,
    };
    return tel_http_client_call(c, &k, status, text, err);
}

static void test_plain(void **state)
{
    (void)state;
    start(NULL, NULL);
    struct tel_http_client *c = tel_http_client_new(&(struct tel_http_client_options){.bearer = "secret"});
    struct seen s = {.stop = false};
    struct tel_buf text = {0};
    struct tel_error err;
    unsigned status = 0;
    assert_int_equal(call(c, "/echo", "a body", &s, &status, &text, &err), TEL_OK);
    assert_int_equal(status, 200);
    assert_string_equal(tel_buf_cstr(&s.data), "Bearer secret|a body");
    assert_string_equal(s.answer, "forty-two");
    assert_int_equal(text.len, 0);
    tel_buf_clear(&s.data);
    assert_int_equal(call(c, "/echo?fail=1", NULL, &s, &status, &text, &err), TEL_OK);
    assert_int_equal(status, 503);
    assert_int_equal(s.data.len, 0); /* not data: an explanation */
    assert_string_equal(tel_buf_cstr(&text), "Bearer secret|");
    assert_int_equal(call(c, "/stream", NULL, &s, &status, NULL, &err), TEL_OK);
    assert_non_null(strstr(tel_buf_cstr(&s.data), "line 999\n"));
    tel_buf_clear(&s.data);
    assert_int_equal(call(c, "/stream?abort=1", NULL, &s, &status, NULL, &err), TEL_ERR_TRUNCATED);
    assert_non_null(strstr(tel_buf_cstr(&s.data), "line 999\n"));
    s.stop = true;
    assert_int_equal(call(c, "/stream?endless=1", NULL, &s, &status, NULL, &err), TEL_ERR_CANCELLED);
    tel_http_server_free(server);
    s.stop = false;
    assert_int_equal(call(c, "/echo", NULL, &s, &status, NULL, &err), TEL_ERR_UNAVAILABLE);
    assert_null(strstr(err.text, "secret"));
    snprintf(url, sizeof(url), "ftp://127.0.0.1");
    assert_int_equal(call(c, "/", NULL, &s, &status, NULL, &err), TEL_ERR_INVALID);
    tel_buf_free(&s.data);
    tel_buf_free(&text);
    tel_http_client_free(c);
}

/* A new certificate of 127.0.0.1 in DIR/NAME.pem, its key in DIR/NAME.key. */
static void make_certificate(const char *name)
{
    char command[600];
    snprintf(command, sizeof(command),
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=%s "
             "-addext subjectAltName=IP:127.0.0.1 -keyout %s/%s.key -out %s/%s.pem >/dev/null 2>&1",
             name, dir, name, dir, name);
    assert_int_equal(system(command), 0);
}

static char *in_dir(const char *name)
{
    static char paths[4][128];
    static int turn;
    char *p = paths[turn++ % 4];
    snprintf(p, 128, "%s/%s", dir, name);
    return p;
}

static void test_tls_and_reload(void **state)
{
    (void)state;
    struct seen s = {.stop = false};
    struct tel_error err;
    unsigned status = 0;
    snprintf(dir, sizeof(dir), "/tmp/http-tls-XXXXXX");
    assert_non_null(mkdtemp(dir));
    make_certificate("one");
    make_certificate("two");
    start(in_dir("one.pem"), in_dir("one.key"));
    struct tel_http_client *trusts_one = tel_http_client_new(&(struct tel_http_client_options){.ca_file = in_dir("one.pem")});
    struct tel_http_client *trusts_two = tel_http_client_new(&(struct tel_http_client_options){.ca_file = in_dir("two.pem")});
    assert_int_equal(call(trusts_one, "/echo", "x", &s, &status, NULL, &err), TEL_OK);
    assert_int_equal(status, 200);
    assert_int_equal(call(trusts_two, "/echo", "x", &s, &status, NULL, &err), TEL_ERR_UNAVAILABLE);

    /* A broken file changes nothing; a good one is for new connections. */
    struct tel_fs *fs = tel_fs_system();
    struct tel_buf good = {0};
    assert_int_equal(tel_fs_write_atomic(fs, in_dir("one.pem"), TEL_SPAN("rubbish"), &err), TEL_OK);
    assert_int_not_equal(tel_http_server_reload(server, &err), TEL_OK);
    assert_int_equal(call(trusts_one, "/echo", "x", &s, &status, NULL, &err), TEL_OK);
    assert_int_equal(tel_fs_read_all(fs, in_dir("two.pem"), 100000, &good, &err), TEL_OK);
    assert_int_equal(tel_fs_write_atomic(fs, in_dir("one.pem"), tel_buf_span(&good), &err), TEL_OK);
    tel_buf_clear(&good);
    assert_int_equal(tel_fs_read_all(fs, in_dir("two.key"), 100000, &good, &err), TEL_OK);
    assert_int_equal(tel_fs_write_atomic(fs, in_dir("one.key"), tel_buf_span(&good), &err), TEL_OK);
    assert_int_equal(tel_http_server_reload(server, &err), TEL_OK);
    assert_int_equal(call(trusts_two, "/echo", "x", &s, &status, NULL, &err), TEL_OK);
    assert_int_equal(tel_http_server_reload(server, &err), TEL_OK); /* the first daemon is let go */

    tel_http_client_free(trusts_one);
    tel_http_client_free(trusts_two);
    tel_http_server_free(server);
    tel_buf_free(&s.data);
    tel_buf_free(&good);
    assert_int_equal(tel_fs_remove_all(fs, dir, &err), TEL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plain), cmocka_unit_test(test_tls_and_reload)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
