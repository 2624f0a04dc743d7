/* TLS and mutual TLS: who is let in, under which name, and certificates that change meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/rpc/echo_server.h"
#include "tests/unit/rpc/test_certs.h"

typedef Telescope__Test__V1__EchoRequest request;

struct fixture {
    char dir[64];
    struct test_ca ca, other;
    struct tel_rpc_tls *server_tls;
    struct echo_server echo;
};

static char *file(struct fixture *f, const char *name)
{
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", f->dir, name);
    return path;
}

static struct tel_rpc_tls *tls(struct fixture *f, const char *ca, const char *cert, const char *key)
{
    struct tel_rpc_tls *made;
    struct tel_error err;
    struct tel_rpc_tls_options o = {.ca_file = ca ? file(f, ca) : NULL,
                                    .cert_file = cert ? file(f, cert) : NULL,
                                    .key_file = key ? file(f, key) : NULL};
    tel_code rc = tel_rpc_tls_new(&o, &made, &err);
    if (rc != TEL_OK)
        fail_msg("%s", err.text);
    return made;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    snprintf(f->dir, sizeof(f->dir), "/tmp/tel-rpc-tls-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    test_ca_make(&f->ca, "our ca", file(f, "ca.crt"));
    test_ca_make(&f->other, "another ca", file(f, "other.crt"));
    test_ca_sign(&f->ca, "server.test", f->dir, "server");
    test_ca_sign(&f->ca, "router-1.test", f->dir, "client");
    test_ca_sign(&f->other, "stranger.test", f->dir, "stranger");
    f->server_tls = tls(f, "ca.crt", "server.crt", "server.key");
    echo_server_start(&f->echo, &(struct tel_rpc_server_options){.tls = f->server_tls});
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    echo_server_stop(&f->echo);
    tel_rpc_tls_unref(f->server_tls);
    test_ca_free(&f->ca);
    test_ca_free(&f->other);
    static const char *const names[] = {"ca.crt",     "other.crt",  "server.crt",   "server.key",
                                        "client.crt", "client.key", "stranger.crt", "stranger.key"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(file(f, names[i]));
    rmdir(f->dir);
    free(f);
    return 0;
}

static struct echo_result call_as(struct fixture *f, struct tel_rpc_tls *client_tls,
                                  const char *server_name)
{
    struct echo_result r = {0};
    struct tel_error err;
    struct tel_rpc_channel *channel;
    struct tel_rpc_channel_options o = {
        .target = f->echo.address,
        .tls = client_tls,
        .server_name = server_name,
        .connect_timeout_ms = 60000}; /* handshakes take long on a busy machine */
    assert_int_equal(tel_rpc_channel_new(&o, &channel, &err), TEL_OK);
    struct tel_rpc_loop *loop = tel_rpc_loop_new();
    struct tel_rpc_stub stub;
    echo_stub(&stub, channel);
    request req = TELESCOPE__TEST__V1__ECHO_REQUEST__INIT;
    req.text = (char *)"secret";
    telescope__test__v1__echo__once(&stub.base, &req, echo_on_message, echo_op(loop, &r, 0));
    echo_run(loop);
    tel_rpc_loop_free(loop);
    tel_rpc_channel_unref(channel);
    return r;
}

static void test_mutual(void **state)
{
    struct fixture *f = *state;
    struct tel_rpc_tls *t = tls(f, "ca.crt", "client.crt", "client.key");
    struct echo_result r = call_as(f, t, NULL); /* 127.0.0.1 is in the certificate */
    assert_int_equal(r.messages, 1);
    assert_string_equal(r.identity, "router-1.test");
    r = call_as(f, t, "server.test");
    assert_int_equal(r.messages, 1);
    r = call_as(f, t, "somebody-else.test"); /* the server is not whom we meant */
    assert_int_equal(r.messages, 0);
    assert_int_equal(r.status, TEL_RPC_UNAVAILABLE);
    tel_rpc_tls_unref(t);
}

static void test_refused(void **state)
{
    struct fixture *f = *state;
    struct echo_result r = call_as(f, NULL, NULL); /* plain text */
    assert_int_equal(r.status, TEL_RPC_UNAVAILABLE);
    struct tel_rpc_tls *none = tls(f, "ca.crt", NULL, NULL); /* no certificate */
    r = call_as(f, none, NULL);
    assert_int_equal(r.status, TEL_RPC_UNAVAILABLE);
    tel_rpc_tls_unref(none);
    struct tel_rpc_tls *stranger = tls(f, "ca.crt", "stranger.crt", "stranger.key");
    r = call_as(f, stranger, NULL); /* signed by somebody else */
    assert_int_equal(r.status, TEL_RPC_UNAVAILABLE);
    tel_rpc_tls_unref(stranger);
    struct tel_rpc_tls *gullible = tls(f, "other.crt", "client.crt", "client.key");
    r = call_as(f, gullible, NULL); /* a server that the client does not trust */
    assert_int_equal(r.status, TEL_RPC_UNAVAILABLE);
    tel_rpc_tls_unref(gullible);
    assert_int_equal(f->echo.observed, 0);
}

/* A server that asks for no certificate: encrypted, and nobody has a name. */
static void test_one_sided(void **state)
{
    struct fixture *f = *state;
    struct tel_rpc_tls *server_tls = tls(f, NULL, "server.crt", "server.key");
    struct tel_rpc_tls *client_tls = tls(f, "ca.crt", NULL, NULL);
    echo_server_stop(&f->echo);
    echo_server_start(&f->echo, &(struct tel_rpc_server_options){.tls = server_tls});
    struct echo_result r = call_as(f, client_tls, NULL);
    assert_int_equal(r.messages, 1);
    assert_string_equal(r.identity, "");
    assert_int_equal(call_as(f, NULL, NULL).status, TEL_RPC_UNAVAILABLE);
    echo_server_stop(&f->echo);
    echo_server_start(&f->echo, &(struct tel_rpc_server_options){.tls = f->server_tls});
    tel_rpc_tls_unref(server_tls);
    tel_rpc_tls_unref(client_tls);
}

/* The server changes to certificates of another authority while it runs. */
static void test_reload(void **state)
{
    struct fixture *f = *state;
    struct tel_rpc_tls *ours = tls(f, "ca.crt", "client.crt", "client.key");
    assert_int_equal(call_as(f, ours, NULL).messages, 1);
    test_ca_sign(&f->other, "server.test", f->dir, "server");
    struct tel_error err;
    assert_int_equal(tel_rpc_tls_reload(f->server_tls, &err), TEL_OK);
    struct tel_rpc_tls *theirs = tls(f, "other.crt", "client.crt", "client.key");
    assert_int_equal(call_as(f, theirs, NULL).messages, 1);
    assert_int_equal(call_as(f, ours, NULL).status, TEL_RPC_UNAVAILABLE);
    /* What cannot be read leaves what was. */
    unlink(file(f, "server.crt"));
    assert_int_not_equal(tel_rpc_tls_reload(f->server_tls, &err), TEL_OK);
    assert_non_null(strstr(err.text, "server.crt"));
    assert_int_equal(call_as(f, theirs, NULL).messages, 1);
    tel_rpc_tls_unref(ours);
    tel_rpc_tls_unref(theirs);
}

static void test_bad_files(void **state)
{
    struct fixture *f = *state;
    struct tel_rpc_tls *t;
    struct tel_error err;
    struct tel_rpc_tls_options o = {.ca_file = "/nowhere/ca.crt"};
    assert_int_equal(tel_rpc_tls_new(&o, &t, &err), TEL_ERR_NOTFOUND);
    o = (struct tel_rpc_tls_options){.ca_file = "/proc/self/status"};
    assert_int_equal(tel_rpc_tls_new(&o, &t, &err), TEL_ERR_INVALID);
    o = (struct tel_rpc_tls_options){.cert_file = file(f, "server.crt")};
    assert_int_equal(tel_rpc_tls_new(&o, &t, &err), TEL_ERR_INVALID);
    struct tel_rpc_tls *no_cert = tls(f, "ca.crt", NULL, NULL);
    struct tel_rpc_server *server;
    assert_int_equal(tel_rpc_server_new(
                         &(struct tel_rpc_server_options){.listen = "127.0.0.1:0", .tls = no_cert},
                         &server, &err),
                     TEL_ERR_INVALID);
    tel_rpc_tls_unref(no_cert);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_mutual, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_sided, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reload, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_files, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
