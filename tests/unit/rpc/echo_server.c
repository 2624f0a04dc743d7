/* Handlers run on two workers, so that they may block, and misbehave as they are told to. */
#include "tests/unit/rpc/echo_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

extern const unsigned char echo_descriptor[];
extern const size_t echo_descriptor_len;

typedef Telescope__Test__V1__EchoRequest request;
typedef Telescope__Test__V1__EchoResponse response;

struct tel_span echo_descriptor_set(void)
{
    return tel_span_make(echo_descriptor, echo_descriptor_len);
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void echo_hang(struct echo_server *echo, struct tel_rpc_call *call)
{
    atomic_fetch_add(&echo->hanging, 1);
    while (!tel_rpc_call_cancelled(call) && !echo->release)
        nap();
    if (echo->release) {
        tel_rpc_finish(call, TEL_RPC_ABORTED, "released");
        return;
    }
    atomic_fetch_add(&echo->cancelled, 1);
    tel_rpc_finish(call, TEL_RPC_CANCELLED, "hung until it was cancelled");
}

static void fill(response *res, const request *req, struct tel_rpc_call *call, char *bearer,
                 size_t bearer_size)
{
    struct tel_span token = tel_rpc_call_bearer(call);
    snprintf(bearer, bearer_size, "%.*s", TEL_SPAN_ARG(token));
    res->text = req->text;
    res->identity = (char *)(uintptr_t)tel_rpc_call_identity(call);
    res->bearer = bearer;
    res->padding.len = req->size;
    res->padding.data = tel_calloc(req->size + 1, 1);
}

static void echo_once(Telescope__Test__V1__Echo_Service *self, const request *req,
                      Telescope__Test__V1__EchoResponse_Closure reply, void *call)
{
    struct echo_server *echo = (struct echo_server *)self;
    if (req->hang) {
        echo_hang(echo, call);
        return;
    }
    if (req->fail) {
        tel_rpc_finish(call, (enum tel_rpc_status)req->fail, "failed: %s", req->text);
        return;
    }
    char bearer[128];
    response res = TELESCOPE__TEST__V1__ECHO_RESPONSE__INIT;
    fill(&res, req, call, bearer, sizeof(bearer));
    uint8_t *padding = res.padding.data;
    reply(&res, call);
    free(padding);
}

static void echo_count(Telescope__Test__V1__Echo_Service *self, const request *req,
                       Telescope__Test__V1__EchoResponse_Closure reply, void *call)
{
    (void)reply;
    struct echo_server *echo = (struct echo_server *)self;
    char bearer[128];
    response res = TELESCOPE__TEST__V1__ECHO_RESPONSE__INIT;
    fill(&res, req, call, bearer, sizeof(bearer));
    uint8_t *padding = res.padding.data;
    tel_code rc = TEL_OK;
    for (uint32_t i = 0; i < req->repeat && rc == TEL_OK; i++) {
        res.number = i;
        if (req->last && i + 1 == req->repeat) {
            tel_rpc_send_last(call, &res.base);
            free(padding);
            return;
        }
        rc = tel_rpc_send_wait(call, &res.base);
        if (rc == TEL_OK)
            atomic_fetch_add(&echo->sent, 1);
    }
    free(padding);
    if (rc == TEL_ERR_CANCELLED)
        atomic_fetch_add(&echo->cancelled, 1);
    if (req->hang && rc == TEL_OK)
        echo_hang(echo, call);
    else if (rc != TEL_OK)
        tel_rpc_finish(call, tel_rpc_status_from_code(rc), "%s", tel_code_text(rc));
    else if (req->fail)
        tel_rpc_finish(call, (enum tel_rpc_status)req->fail, "failed: %s", req->text);
    else
        tel_rpc_finish_ok(call);
}

static void echo_chat(Telescope__Test__V1__Echo_Service *self, const request *req,
                      Telescope__Test__V1__EchoResponse_Closure reply, void *call)
{
    (void)self;
    if (!req || strcmp(req->text, "bye") == 0) {
        reply(NULL, call);
        return;
    }
    char bearer[128];
    response res = TELESCOPE__TEST__V1__ECHO_RESPONSE__INIT;
    fill(&res, req, call, bearer, sizeof(bearer));
    uint8_t *padding = res.padding.data;
    reply(&res, call);
    free(padding);
    tel_rpc_call_more(call);
}

static enum tel_rpc_status echo_authorize(void *ctx, struct tel_rpc_call *call)
{
    struct echo_server *echo = ctx;
    const char *token = echo->token;
    if (!token)
        return TEL_RPC_OK;
    return tel_span_eq_cstr(tel_rpc_call_bearer(call), token) ? TEL_RPC_OK
                                                              : TEL_RPC_UNAUTHENTICATED;
}

static void echo_observe(void *ctx, const struct tel_rpc_stats *stats)
{
    struct echo_server *echo = ctx;
    if (stats->status == TEL_RPC_OK && !stats->cancelled)
        atomic_fetch_add(&echo->ok, 1);
    atomic_fetch_add(&echo->observed, 1);
}

static bool echo_dispatch(void *ctx, void (*run)(void *arg), void *arg)
{
    struct echo_server *echo = ctx;
    return tel_rpc_workers_dispatch(echo->workers, run, arg);
}

static void must(tel_code rc, const struct tel_error *err)
{
    if (rc != TEL_OK) {
        fprintf(stderr, "echo server: %s\n", err->text);
        abort();
    }
}

void echo_server_start(struct echo_server *echo, const struct tel_rpc_server_options *options)
{
    struct tel_rpc_server_options o = options ? *options : (struct tel_rpc_server_options){0};
    if (!o.listen)
        o.listen = "127.0.0.1:0";
    o.ctx = echo;
    o.authorize = echo_authorize;
    o.observe = echo_observe;
    o.dispatch = echo_dispatch;
    telescope__test__v1__echo__init(&echo->service, NULL);
    echo->service.once = echo_once;
    echo->service.count = echo_count;
    echo->service.chat = echo_chat;
    struct tel_error err;
    must(tel_rpc_workers_new(2, 4, &echo->workers, &err), &err);
    must(tel_rpc_server_new(&o, &echo->server, &err), &err);
    must(tel_rpc_server_add(echo->server, &echo->service.base, echo_descriptor_set(), &err), &err);
    must(tel_rpc_server_start(echo->server, &echo->port, &err), &err);
    snprintf(echo->address, sizeof(echo->address), "127.0.0.1:%u", echo->port);
}

void echo_server_stop(struct echo_server *echo)
{
    tel_rpc_server_free(echo->server);
    tel_rpc_workers_free(echo->workers);
    echo->server = NULL;
    echo->workers = NULL;
}

/* ---- the client's side ----------------------------------------------------------------------- */

void echo_on_message(const response *msg, void *data)
{
    struct tel_rpc_op *op = data;
    struct echo_result *r = tel_rpc_op_user(op);
    if (msg) {
        r->messages++;
        r->bytes += msg->padding.len;
        snprintf(r->last, sizeof(r->last), "%s", msg->text);
        snprintf(r->identity, sizeof(r->identity), "%s", msg->identity);
        snprintf(r->bearer, sizeof(r->bearer), "%s", msg->bearer);
        if (r->messages == r->stop_after)
            tel_rpc_op_cancel(op);
        if (r->messages == r->pause_after)
            tel_rpc_op_pause(op);
        r->op = op;
        return;
    }
    r->ends++;
    r->op = NULL;
    r->status = tel_rpc_op_status(op);
    snprintf(r->text, sizeof(r->text), "%.*s", TEL_SPAN_ARG(tel_rpc_op_text(op)));
}

struct tel_rpc_op *echo_op(struct tel_rpc_loop *loop, struct echo_result *result,
                           int64_t timeout_ms)
{
    result->status = TEL_RPC_STATUS_COUNT;
    result->op = tel_rpc_op_new(
        loop, &(struct tel_rpc_op_options){.timeout_ms = timeout_ms ? timeout_ms : 60000,
                                           .user = result});
    return result->op;
}

void echo_stub(struct tel_rpc_stub *stub, struct tel_rpc_channel *channel)
{
    static enum tel_rpc_kind kinds[3];
    struct tel_error err;
    must(tel_rpc_kinds(echo_descriptor_set(), &telescope__test__v1__echo__descriptor, kinds, &err),
         &err);
    tel_rpc_stub_init(stub, &telescope__test__v1__echo__descriptor, kinds, channel);
}

struct tel_rpc_channel *echo_channel(const char *address, struct tel_rpc_tls *tls)
{
    struct tel_rpc_channel *channel;
    struct tel_error err;
    must(tel_rpc_channel_new(&(struct tel_rpc_channel_options){.target = address, .tls = tls},
                             &channel, &err),
         &err);
    return channel;
}

static int64_t now_ms(void)
{
    return tel_mono_ns(tel_clock_system()) / TEL_NS_PER_MS;
}

void echo_run(struct tel_rpc_loop *loop)
{
    int64_t until = now_ms() + 120000;
    while (tel_rpc_loop_run(loop, 50) > 0)
        if (now_ms() > until)
            abort();
}

void echo_wait(_Atomic int *counter, int n)
{
    int64_t until = now_ms() + 60000;
    while (atomic_load(counter) < n) {
        if (now_ms() > until) {
            fprintf(stderr, "echo: waited for %d, there are %d\n", n, atomic_load(counter));
            abort();
        }
        nap();
    }
}
