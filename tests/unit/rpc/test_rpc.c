/*
 * Server and client against each other over real sockets: every kind of call, deadlines,
 * cancellation from both sides, back-pressure, limits, drain, scatter-gather with dead and slow
 * peers, health, reflection.
 *
 * What calls bring is kept in static variables: when an assertion has left a test, its calls end in
 * teardown, and still write there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/net/rpc/health.pb-c.h"
#include "common/net/rpc/reflection.pb-c.h"
#include "tests/unit/rpc/echo_server.h"

typedef Telescope__Test__V1__EchoRequest request;
#define REQUEST(...)                                                                               \
    ((request){PROTOBUF_C_MESSAGE_INIT(&telescope__test__v1__echo_request__descriptor),            \
               __VA_ARGS__})

#define WAIT_MS 60000 /* for what must come; only a bug takes so long */

struct fixture {
    struct echo_server echo;
    struct tel_rpc_channel *channel;
    struct tel_rpc_loop *loop;
    struct tel_rpc_stub stub;
    pthread_t stopper; /* a test's thread that stops the server */
    bool stopping;
};

static int setup_with(void **state, const struct tel_rpc_server_options *options)
{
    struct fixture *f = calloc(1, sizeof(*f));
    echo_server_start(&f->echo, options);
    f->channel = echo_channel(f->echo.address, NULL);
    f->loop = tel_rpc_loop_new();
    echo_stub(&f->stub, f->channel);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, NULL);
}

static int setup_small_window(void **state)
{
    return setup_with(state, &(struct tel_rpc_server_options){.window_bytes = 4096,
                                                              .receive_max_bytes = 10000,
                                                              .send_max_bytes = 200000});
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    tel_rpc_loop_free(f->loop);
    tel_rpc_channel_unref(f->channel);
    if (f->stopping)
        pthread_join(f->stopper, NULL);
    echo_server_stop(&f->echo);
    free(f);
    return 0;
}

static int64_t now_ms(void)
{
    return tel_mono_ns(tel_clock_system()) / TEL_NS_PER_MS;
}

static void once(struct fixture *f, const request *req, struct echo_result *r, int64_t timeout_ms)
{
    telescope__test__v1__echo__once(&f->stub.base, req, echo_on_message,
                                    echo_op(f->loop, r, timeout_ms));
}

static void count(struct fixture *f, const request *req, struct echo_result *r, int64_t timeout_ms)
{
    telescope__test__v1__echo__count(&f->stub.base, req, echo_on_message,
                                     echo_op(f->loop, r, timeout_ms));
}

/* A unary answer comes in one closure: there is no second one that would tell the status. */
static void test_unary(void **state)
{
    struct fixture *f = *state;
    static struct echo_result r = {0};
    request req = REQUEST(.text = (char *)"hello", .size = 100000);
    once(f, &req, &r, 0);
    echo_run(f->loop);
    assert_int_equal(r.messages, 1);
    assert_int_equal(r.ends, 0);
    assert_string_equal(r.last, "hello");
    assert_int_equal(r.bytes, 100000);
    assert_string_equal(r.identity, "");
}

static void test_unary_fails(void **state)
{
    struct fixture *f = *state;
    for (unsigned status = 1; status < TEL_RPC_STATUS_COUNT; status++) {
        static struct echo_result r;
        r = (struct echo_result){0};
        request req = REQUEST(.text = (char *)"why", .fail = status);
        once(f, &req, &r, 0);
        echo_run(f->loop);
        assert_int_equal(r.messages, 0);
        assert_int_equal(r.ends, 1);
        assert_int_equal(r.status, status);
        assert_string_equal(r.text, "failed: why");
    }
}

static void test_stream(void **state)
{
    struct fixture *f = *state;
    static struct echo_result r = {0}, failed = {0}, empty = {0};
    request req = REQUEST(.text = (char *)"x", .repeat = 5000, .size = 300);
    request bad = REQUEST(.text = (char *)"y", .repeat = 3, .fail = TEL_RPC_DATA_LOSS);
    request none = REQUEST(.text = (char *)"z");
    count(f, &req, &r, 0);
    count(f, &bad, &failed, 0);
    count(f, &none, &empty, 0);
    echo_run(f->loop);
    assert_int_equal(r.messages, 5000);
    assert_int_equal(r.ends, 1);
    assert_int_equal(r.status, TEL_RPC_OK);
    assert_int_equal(r.bytes, 5000 * 300);
    assert_int_equal(failed.messages, 3);
    assert_int_equal(failed.status, TEL_RPC_DATA_LOSS);
    assert_int_equal(empty.messages, 0);
    assert_int_equal(empty.status, TEL_RPC_OK);
    echo_wait(&f->echo.observed, 3);
    assert_int_equal(f->echo.ok, 2);
}

/* The last message with the end: one of many, and one that is all there is. */
static void test_stream_last(void **state)
{
    struct fixture *f = *state;
    static struct echo_result many = {0}, one = {0}, large = {0};
    request req = REQUEST(.text = (char *)"x", .repeat = 500, .size = 3000, .last = true);
    request alone = REQUEST(.text = (char *)"y", .repeat = 1, .size = 10, .last = true);
    request too_large = REQUEST(.text = (char *)"z", .repeat = 1, .size = 17u << 20, .last = true);
    count(f, &req, &many, 0);
    count(f, &alone, &one, 0);
    count(f, &too_large, &large, 0);
    echo_run(f->loop);
    assert_int_equal(many.messages, 500);
    assert_int_equal(many.bytes, 500 * 3000);
    assert_int_equal(many.status, TEL_RPC_OK);
    assert_int_equal(many.ends, 1);
    assert_int_equal(one.messages, 1);
    assert_int_equal(one.bytes, 10);
    assert_int_equal(one.status, TEL_RPC_OK);
    assert_int_equal(large.messages, 0);
    assert_int_equal(large.status, TEL_RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(large.ends, 1);
}

static void test_bidi(void **state)
{
    struct fixture *f = *state;
    static struct echo_result r = {0};
    request req = REQUEST(.text = (char *)"one");
    telescope__test__v1__echo__chat(&f->stub.base, &req, echo_on_message, echo_op(f->loop, &r, 0));
    for (unsigned i = 1; i < 200; i++) {
        int64_t until = now_ms() + WAIT_MS;
        while (r.messages < i && now_ms() < until)
            tel_rpc_loop_run(f->loop, 50);
        assert_int_equal(r.messages, i);
        req.text = (char *)(i % 2 ? "two" : "three");
        assert_int_equal(tel_rpc_op_send(r.op, &req.base), TEL_OK);
    }
    tel_rpc_op_send_end(r.op);
    echo_run(f->loop);
    assert_int_equal(r.messages, 200);
    assert_int_equal(r.status, TEL_RPC_OK);
    assert_int_equal(r.ends, 1);
}

/* On a machine that is busy a call may not even begin before its deadline: then a later one is
 * tried. */
static void test_deadline(void **state)
{
    struct fixture *f = *state;
    static struct echo_result r, s;
    request req = REQUEST(.hang = 1, .repeat = 2);
    int hanging = 0;
    for (int64_t timeout_ms = 100; hanging < 2; timeout_ms *= 2) {
        assert_true(timeout_ms < WAIT_MS);
        r = s = (struct echo_result){0};
        atomic_store(&f->echo.hanging, 0);
        atomic_store(&f->echo.cancelled, 0);
        int64_t start = now_ms();
        once(f, &req, &r, timeout_ms);
        count(f, &req, &s, timeout_ms);
        echo_run(f->loop);
        assert_true(now_ms() - start >= timeout_ms - 5);
        assert_int_equal(r.status, TEL_RPC_DEADLINE_EXCEEDED);
        assert_int_equal(s.status, TEL_RPC_DEADLINE_EXCEEDED);
        int heard = atomic_load(&f->echo.hanging);
        if (s.messages == 2)
            hanging = heard;
    }
    echo_wait(&f->echo.cancelled, 2); /* the server has heard of it */
}

static void test_client_cancels(void **state)
{
    struct fixture *f = *state;
    static struct echo_result r = {.stop_after = 5}, u = {0};
    request req = REQUEST(.repeat = 100000000, .size = 1000);
    request hang = REQUEST(.hang = 1);
    count(f, &req, &r, 0);
    once(f, &hang, &u, 0);
    int64_t until = now_ms() + WAIT_MS;
    while (f->echo.hanging < 1 && now_ms() < until)
        tel_rpc_loop_run(f->loop, 5);
    tel_rpc_op_cancel(u.op);
    echo_run(f->loop);
    assert_int_equal(r.status, TEL_RPC_CANCELLED);
    assert_int_equal(r.messages, 5);
    assert_int_equal(u.status, TEL_RPC_CANCELLED);
    echo_wait(&f->echo.cancelled, 2);
}

/* A reader that stops reading stops the handler: it can send no more than its window and what the
 * flow control of HTTP/2 holds. */
static void test_back_pressure(void **state)
{
    struct fixture *f = *state;
    static struct echo_result r = {.pause_after = 1};
    request req = REQUEST(.repeat = 20000, .size = 1000);
    count(f, &req, &r, 0);
    int before = -1;
    int64_t until = now_ms() + WAIT_MS, still_since = now_ms();
    while ((r.messages < 1 || now_ms() - still_since < 300) && now_ms() < until) {
        tel_rpc_loop_run(f->loop, 10);
        if (f->echo.sent != before) {
            before = f->echo.sent;
            still_since = now_ms();
        }
    }
    assert_int_equal(r.messages, 1);
    assert_true(f->echo.sent > 0 && f->echo.sent < 15000);
    tel_rpc_op_more(r.op);
    echo_run(f->loop);
    assert_int_equal(r.messages, 20000);
    assert_int_equal(r.status, TEL_RPC_OK);
}

/* Cancelling what is paused still ends it. */
static void test_cancel_paused(void **state)
{
    struct fixture *f = *state;
    static struct echo_result r = {.pause_after = 3};
    request req = REQUEST(.repeat = 100000, .size = 1000);
    count(f, &req, &r, 0);
    int64_t until = now_ms() + WAIT_MS;
    while (r.messages < 3 && now_ms() < until)
        tel_rpc_loop_run(f->loop, 10);
    tel_rpc_op_cancel(r.op);
    echo_run(f->loop);
    assert_int_equal(r.messages, 3);
    assert_int_equal(r.ends, 1);
    assert_int_equal(r.status, TEL_RPC_CANCELLED);
    echo_wait(&f->echo.cancelled, 1);
}

static void test_too_large(void **state)
{
    struct fixture *f = *state;
    char *text = malloc(20001);
    memset(text, 'a', 20000);
    text[20000] = '\0';
    static struct echo_result r = {0}, a = {0}, s = {0};
    request req = REQUEST(.text = text);
    once(f, &req, &r, 0);
    request answer = REQUEST(.size = 300000, .repeat = 1);
    once(f, &answer, &a, 0);
    count(f, &answer, &s, 0);
    echo_run(f->loop);
    assert_int_equal(r.status, TEL_RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(a.status, TEL_RPC_RESOURCE_EXHAUSTED);
    assert_int_equal(s.status, TEL_RPC_RESOURCE_EXHAUSTED);
    free(text);
    static struct echo_result fine = {0}; /* and the connection has survived */
    request small = REQUEST(.text = (char *)"fine", .size = 100000);
    once(f, &small, &fine, 0);
    echo_run(f->loop);
    assert_string_equal(fine.last, "fine");
}

static void test_bearer(void **state)
{
    struct fixture *f = *state;
    f->echo.token = "sesame";
    static struct echo_result none = {0}, bad = {0}, good = {0}, illegal = {0};
    request req = REQUEST(.text = (char *)"in");
    once(f, &req, &none, 0);
    struct tel_rpc_op *op = tel_rpc_op_new(
        f->loop, &(struct tel_rpc_op_options){.bearer = TEL_SPAN("guess"), .user = &bad});
    telescope__test__v1__echo__once(&f->stub.base, &req, echo_on_message, op);
    op = tel_rpc_op_new(f->loop,
                        &(struct tel_rpc_op_options){.bearer = TEL_SPAN("sesame"), .user = &good});
    telescope__test__v1__echo__once(&f->stub.base, &req, echo_on_message, op);
    op = tel_rpc_op_new(f->loop, &(struct tel_rpc_op_options){
                                     .headers = &(struct tel_rpc_header){"Bad Key", TEL_SPAN("v")},
                                     .header_count = 1,
                                     .user = &illegal});
    telescope__test__v1__echo__once(&f->stub.base, &req, echo_on_message, op);
    echo_run(f->loop);
    assert_int_equal(none.status, TEL_RPC_UNAUTHENTICATED);
    assert_int_equal(bad.status, TEL_RPC_UNAUTHENTICATED);
    assert_int_equal(good.messages, 1);
    assert_string_equal(good.bearer, "sesame");
    assert_int_equal(illegal.status, TEL_RPC_INVALID_ARGUMENT);
}

/* Two workers and a queue of four: what is beyond is refused, not queued. */
static void test_too_busy(void **state)
{
    struct fixture *f = *state;
    static struct echo_result r[20] = {0};
    request req = REQUEST(.hang = 1);
    for (int i = 0; i < 20; i++)
        once(f, &req, &r[i], 0);
    int64_t until = now_ms() + WAIT_MS;
    unsigned ended = 0;
    while (ended < 14 && now_ms() < until) {
        tel_rpc_loop_run(f->loop, 10);
        ended = 0;
        for (int i = 0; i < 20; i++)
            ended += r[i].ends;
    }
    assert_int_equal(ended, 14); /* and the others hang, or wait */
    echo_wait(&f->echo.hanging, 2);
    atomic_store(&f->echo.release, true);
    echo_run(f->loop);
    int refused = 0, released = 0;
    for (int i = 0; i < 20; i++) {
        refused += r[i].status == TEL_RPC_UNAVAILABLE;
        released += r[i].status == TEL_RPC_ABORTED;
    }
    assert_int_equal(released, 6);
    assert_int_equal(refused, 14);
}

/* ---- peers that misbehave -------------------------------------------------------------------- */

/* A port where connections are taken and nothing is ever said. */
static int silent_peer(char *address, size_t size)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    if (bind(fd, (struct sockaddr *)&in, sizeof(in)) != 0 || listen(fd, 8) != 0 ||
        getsockname(fd, (struct sockaddr *)&in, &len) != 0)
        abort();
    snprintf(address, size, "127.0.0.1:%u", ntohs(in.sin_port));
    return fd;
}

/* 8 peers: 6 answer, one is not there, one is silent. */
static void test_scatter(void **state)
{
    (void)state;
    struct echo_server servers[6] = {0};
    char address[8][64];
    for (int i = 0; i < 6; i++) {
        echo_server_start(&servers[i], NULL);
        snprintf(address[i], sizeof(address[i]), "%s", servers[i].address);
    }
    int dead = silent_peer(address[6], sizeof(address[6]));
    close(dead);
    int silent = silent_peer(address[7], sizeof(address[7]));
    struct tel_rpc_loop *loop = tel_rpc_loop_new();
    struct tel_rpc_channel *channels[8];
    static struct echo_result r[8] = {0};
    request req = REQUEST(.text = (char *)"all", .repeat = 10);
    int64_t start = now_ms();
    for (int i = 0; i < 8; i++) {
        struct tel_rpc_stub stub;
        channels[i] = echo_channel(address[i], NULL);
        echo_stub(&stub, channels[i]);
        telescope__test__v1__echo__count(&stub.base, &req, echo_on_message,
                                         echo_op(loop, &r[i], i == 7 ? 1000 : WAIT_MS));
    }
    echo_run(loop);
    int64_t took = now_ms() - start;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(r[i].status, TEL_RPC_OK);
        assert_int_equal(r[i].messages, 10);
    }
    assert_int_equal(r[6].status, TEL_RPC_UNAVAILABLE);
    assert_int_equal(r[7].status, TEL_RPC_DEADLINE_EXCEEDED);
    assert_true(took >= 990 && took < WAIT_MS);
    tel_rpc_loop_free(loop);
    for (int i = 0; i < 8; i++)
        tel_rpc_channel_unref(channels[i]);
    close(silent);
    for (int i = 0; i < 6; i++)
        echo_server_stop(&servers[i]);
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void *stop_server(void *arg)
{
    struct echo_server *echo = arg;
    tel_rpc_server_stop(echo->server, WAIT_MS);
    return NULL;
}

static void stop_begins(struct fixture *f)
{
    f->stopping = pthread_create(&f->stopper, NULL, stop_server, &f->echo) == 0;
    assert_true(f->stopping);
}

static void on_health_check(const Grpc__Health__V1__HealthCheckResponse *msg, void *op)
{
    int *answer = tel_rpc_op_user(op);
    *answer = msg ? (int)msg->status : -1;
}

/* What health says of the server: 1 serving, 2 not serving, -1 nothing. */
static int health_now(struct fixture *f)
{
    static const enum tel_rpc_kind kinds[] = {TEL_RPC_UNARY, TEL_RPC_SERVER_STREAM};
    static int answer;
    struct tel_rpc_stub stub;
    tel_rpc_stub_init(&stub, &grpc__health__v1__health__descriptor, kinds, f->channel);
    Grpc__Health__V1__HealthCheckRequest req = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    answer = 0;
    grpc__health__v1__health__check(
        &stub.base, &req, on_health_check,
        tel_rpc_op_new(f->loop,
                       &(struct tel_rpc_op_options){.timeout_ms = WAIT_MS, .user = &answer}));
    for (int64_t until = now_ms() + WAIT_MS; answer == 0 && now_ms() < until;)
        tel_rpc_loop_run(f->loop, 10);
    return answer;
}

/* A stream that runs is finished within the grace. Calls that come meanwhile, on the same
 * connection, are refused at once; health answers, and says so. */
static void test_drain(void **state)
{
    struct fixture *f = *state;
    static struct echo_result r = {.pause_after = 5}, late[3];
    request req = REQUEST(.repeat = 20000, .size = 1000);
    count(f, &req, &r, 0);
    int64_t until = now_ms() + WAIT_MS;
    while (r.messages < 5 && now_ms() < until)
        tel_rpc_loop_run(f->loop, 10);
    assert_int_equal(r.messages, 5);
    assert_int_equal(health_now(f), 1);
    stop_begins(f);
    int health = 1;
    while (health == 1 && now_ms() < until)
        health = health_now(f);
    assert_int_equal(health, 2);
    for (int i = 0; i < 3; i++) {
        once(f, &req, &late[i], 2 * WAIT_MS);
        while (late[i].ends + late[i].messages == 0 && now_ms() < until)
            tel_rpc_loop_run(f->loop, 10);
        assert_int_equal(late[i].status, TEL_RPC_UNAVAILABLE);
        assert_string_equal(late[i].text, "the server is stopping");
    }
    assert_int_equal(health_now(f), 2);
    assert_int_equal(r.ends, 0); /* the stream is held still */
    tel_rpc_op_more(r.op);
    echo_run(f->loop);
    assert_int_equal(r.status, TEL_RPC_OK);
    assert_int_equal(r.messages, 20000);
    pthread_join(f->stopper, NULL);
    f->stopping = false;
}

/* Calls that come all the time, before, while and after the server stops: each is answered or
 * refused, and none hangs. Core itself cancels those that it takes in at the moment when it is shut
 * down. */
static void test_stop_under_fire(void **state)
{
    struct fixture *f = *state;
    enum { CALLS = 4000, AT_ONCE = 4 };
    static struct echo_result r[CALLS];
    request req = REQUEST(.text = (char *)"x");
    int64_t until = now_ms() + WAIT_MS;
    unsigned begun = 0, ended = 0, answered = 0, refused = 0;
    while (ended < begun || (refused < 200 && begun < CALLS)) {
        assert_true(now_ms() < until);
        for (; begun < CALLS && begun - ended < AT_ONCE; begun++)
            once(f, &req, &r[begun], 2 * WAIT_MS);
        if (begun >= 100 && !f->stopping)
            stop_begins(f);
        tel_rpc_loop_run(f->loop, 10);
        answered = refused = ended = 0;
        for (unsigned i = 0; i < begun; i++) {
            answered += r[i].messages;
            refused += r[i].ends && (r[i].status == TEL_RPC_UNAVAILABLE ||
                                     r[i].status == TEL_RPC_CANCELLED);
            ended += r[i].messages + r[i].ends;
        }
    }
    assert_true(answered > 0);
    assert_true(refused > 0);
    assert_int_equal(answered + refused, begun);
}

/* What does not end within the grace is cancelled. */
static void test_drain_cancels(void **state)
{
    struct fixture *f = *state;
    static struct echo_result r = {0};
    request req = REQUEST(.hang = 1);
    once(f, &req, &r, 2 * WAIT_MS);
    int64_t until = now_ms() + WAIT_MS;
    while (f->echo.hanging < 1 && now_ms() < until)
        tel_rpc_loop_run(f->loop, 5);
    int64_t start = now_ms();
    tel_rpc_server_stop(f->echo.server, 100);
    assert_true(now_ms() - start < WAIT_MS);
    echo_run(f->loop);
    assert_true(r.status == TEL_RPC_UNAVAILABLE || r.status == TEL_RPC_CANCELLED);
    assert_int_equal(f->echo.cancelled, 1);
}

static void test_port_in_use(void **state)
{
    struct fixture *f = *state;
    struct tel_rpc_server *second;
    struct tel_error err;
    uint16_t port;
    assert_int_equal(tel_rpc_server_new(&(struct tel_rpc_server_options){.listen = f->echo.address},
                                        &second, &err),
                     TEL_OK);
    assert_int_not_equal(tel_rpc_server_start(second, &port, &err), TEL_OK);
    assert_non_null(strstr(err.text, "Address already in use"));
    tel_rpc_server_free(second);
    assert_int_equal(
        tel_rpc_server_new(&(struct tel_rpc_server_options){.listen = "nonsense"}, &second, &err),
        TEL_ERR_INVALID);
    assert_int_equal(
        tel_rpc_server_new(&(struct tel_rpc_server_options){.listen = "no.such.host.invalid:1"},
                           &second, &err),
        TEL_OK);
    assert_int_not_equal(tel_rpc_server_start(second, &port, &err), TEL_OK);
    tel_rpc_server_free(second);
}

/* A server that comes back on its port is found again. */
static void test_reconnect(void **state)
{
    struct fixture *f = *state;
    static struct echo_result r = {0}, gone = {0}, back = {0};
    request req = REQUEST(.text = (char *)"again");
    once(f, &req, &r, 0);
    echo_run(f->loop);
    assert_int_equal(r.messages, 1);
    char address[64];
    snprintf(address, sizeof(address), "%s", f->echo.address);
    echo_server_stop(&f->echo);
    once(f, &req, &gone, 0);
    echo_run(f->loop);
    assert_int_equal(gone.status, TEL_RPC_UNAVAILABLE);
    echo_server_start(&f->echo, &(struct tel_rpc_server_options){.listen = address});
    struct tel_rpc_op *op = tel_rpc_op_new(
        f->loop,
        &(struct tel_rpc_op_options){.timeout_ms = WAIT_MS, .wait_for_ready = true, .user = &back});
    telescope__test__v1__echo__once(&f->stub.base, &req, echo_on_message, op);
    echo_run(f->loop);
    assert_int_equal(back.messages, 1);
}

/* ---- a loop on a thread of its own ----------------------------------------------------------- */

static void *serve(void *loop)
{
    tel_rpc_loop_serve(loop);
    return NULL;
}

static void test_loop_stops(void **state)
{
    (void)state;
    struct tel_rpc_loop *loop = tel_rpc_loop_new();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, serve, loop), 0);
    for (int i = 0; i < 100; i++)
        tel_rpc_loop_wake(loop);
    tel_rpc_loop_stop(loop);
    pthread_join(thread, NULL);
    tel_rpc_loop_free(loop);
}

/* ---- the services of every server ------------------------------------------------------------ */

struct health_result {
    int status[8];
    int count;
    enum tel_rpc_status end;
    bool ended;
};

static void on_health(const Grpc__Health__V1__HealthCheckResponse *msg, void *op)
{
    struct health_result *r = tel_rpc_op_user(op);
    if (msg && r->count < 8) {
        r->status[r->count++] = (int)msg->status;
    } else if (!msg) {
        r->end = tel_rpc_op_status(op);
        r->ended = true;
    }
}

static struct tel_rpc_op *health_op(struct fixture *f, struct health_result *r)
{
    return tel_rpc_op_new(f->loop, &(struct tel_rpc_op_options){.timeout_ms = WAIT_MS, .user = r});
}

static void test_health(void **state)
{
    struct fixture *f = *state;
    f->echo.token = "health is not asked for it";
    static const enum tel_rpc_kind kinds[] = {TEL_RPC_UNARY, TEL_RPC_SERVER_STREAM};
    struct tel_rpc_stub stub;
    tel_rpc_stub_init(&stub, &grpc__health__v1__health__descriptor, kinds, f->channel);
    Grpc__Health__V1__HealthCheckRequest req = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    static struct health_result all = {0}, echo = {0}, unknown = {0}, watch = {0};
    grpc__health__v1__health__check(&stub.base, &req, on_health, health_op(f, &all));
    req.service = (char *)"telescope.test.v1.Echo";
    grpc__health__v1__health__check(&stub.base, &req, on_health, health_op(f, &echo));
    grpc__health__v1__health__watch(&stub.base, &req, on_health, health_op(f, &watch));
    req.service = (char *)"nobody";
    grpc__health__v1__health__check(&stub.base, &req, on_health, health_op(f, &unknown));
    int64_t until = now_ms() + WAIT_MS;
    while ((all.count < 1 || echo.count < 1 || watch.count < 1 || !unknown.ended) &&
           now_ms() < until)
        tel_rpc_loop_run(f->loop, 10);
    assert_int_equal(all.status[0], 1);
    assert_int_equal(echo.status[0], 1);
    assert_int_equal(unknown.end, TEL_RPC_NOT_FOUND);
    tel_rpc_server_set_health(f->echo.server, "telescope.test.v1.Echo", false);
    while (watch.count < 2 && now_ms() < until)
        tel_rpc_loop_run(f->loop, 10);
    tel_rpc_server_set_health(f->echo.server, "telescope.test.v1.Echo", true);
    while (watch.count < 3 && now_ms() < until)
        tel_rpc_loop_run(f->loop, 10);
    tel_rpc_server_stop(f->echo.server, 5000);
    echo_run(f->loop);
    assert_int_equal(watch.count, 4);
    assert_int_equal(watch.status[0], 1);
    assert_int_equal(watch.status[1], 2);
    assert_int_equal(watch.status[2], 1);
    assert_int_equal(watch.status[3], 2);
    assert_int_equal(watch.end, TEL_RPC_UNAVAILABLE);
}

struct reflection_result {
    unsigned services, files, errors, messages;
};

static void on_reflection(const Grpc__Reflection__V1alpha__ServerReflectionResponse *msg, void *op)
{
    struct reflection_result *r = tel_rpc_op_user(op);
    if (!msg)
        return;
    r->messages++;
    if (msg->list_services_response &&
        msg->message_response_case ==
            GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE)
        r->services = (unsigned)msg->list_services_response->n_service;
    else if (
        msg->message_response_case ==
        GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE)
        r->files += (unsigned)msg->file_descriptor_response->n_file_descriptor_proto;
    else
        r->errors++;
}

static void test_reflection(void **state)
{
    struct fixture *f = *state;
    static const enum tel_rpc_kind kinds[] = {TEL_RPC_BIDI};
    struct tel_rpc_stub stub;
    tel_rpc_stub_init(&stub, &grpc__reflection__v1alpha__server_reflection__descriptor, kinds,
                      f->channel);
    static struct reflection_result r;
    struct tel_rpc_op *op =
        tel_rpc_op_new(f->loop, &(struct tel_rpc_op_options){.timeout_ms = WAIT_MS, .user = &r});
    Grpc__Reflection__V1alpha__ServerReflectionRequest req =
        GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__INIT;
#define ASK(kind)                                                                                  \
    req.message_request_case =                                                                     \
        GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##kind
    ASK(LIST_SERVICES);
    req.list_services = (char *)"";
    grpc__reflection__v1alpha__server_reflection__server_reflection_info(&stub.base, &req,
                                                                         on_reflection, op);
    ASK(FILE_CONTAINING_SYMBOL);
    req.file_containing_symbol = (char *)"telescope.test.v1.Echo.Count";
    assert_int_equal(tel_rpc_op_send(op, &req.base), TEL_OK);
    req.file_containing_symbol = (char *)"telescope.test.v1.EchoRequest";
    assert_int_equal(tel_rpc_op_send(op, &req.base), TEL_OK);
    req.file_containing_symbol = (char *)"telescope.test.v1.Nothing";
    assert_int_equal(tel_rpc_op_send(op, &req.base), TEL_OK);
    ASK(FILE_BY_FILENAME);
    req.file_by_filename = (char *)"echo.proto";
    assert_int_equal(tel_rpc_op_send(op, &req.base), TEL_OK);
    tel_rpc_op_send_end(op);
    echo_run(f->loop);
    assert_int_equal(r.messages, 5);
    assert_int_equal(r.services, 3);
    assert_int_equal(r.files, 3);
    assert_int_equal(r.errors, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unary, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unary_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stream_last, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bidi, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(test_client_cancels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_back_pressure, setup_small_window, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_paused, setup_small_window, teardown),
        cmocka_unit_test_setup_teardown(test_too_large, setup_small_window, teardown),
        cmocka_unit_test_setup_teardown(test_bearer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_busy, setup, teardown),
        cmocka_unit_test(test_scatter),
        cmocka_unit_test_setup_teardown(test_drain, setup_small_window, teardown),
        cmocka_unit_test_setup_teardown(test_stop_under_fire, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain_cancels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_port_in_use, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reconnect, setup, teardown),
        cmocka_unit_test(test_loop_stops),
        cmocka_unit_test_setup_teardown(test_health, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reflection, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
