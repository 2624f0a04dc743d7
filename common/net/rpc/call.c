/*
 * The life of a call on the server, from its arming to its end; see server_internal.h for the
 * drawing. What a handler sends is in call_send.c.
 *
 * A bidi handler runs once per message: RECV is only started when the handler asks for more, so one
 * message at a time is in memory and handlers of one call never overlap.
 */
#include <grpc/support/alloc.h>
#include <stdlib.h>
#include <strings.h>

#define TEL_LOG_COMPONENT "rpc"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/net/rpc/server_internal.h"

void rpc_call_ref(struct tel_rpc_call *call)
{
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
}

static void call_free(struct tel_rpc_call *call)
{
    if (call->request)
        protobuf_c_message_free_unpacked(call->request, NULL);
    if (call->recv_buf)
        grpc_byte_buffer_destroy(call->recv_buf);
    rpc_call_queue_free(call);
    if (call->peer)
        gpr_free(call->peer);
    free(call->identity);
    free(call->details_text);
    grpc_metadata_array_destroy(&call->headers);
    grpc_call_details_destroy(&call->details);
    if (call->call)
        grpc_call_unref(call->call);
    pthread_cond_destroy(&call->room);
    pthread_mutex_destroy(&call->lock);
    free(call);
}

void rpc_call_unref(struct tel_rpc_call *call)
{
    if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct tel_rpc_server *server = call->server;
    if (call->is_live && server->options.observe) {
        call->stats.method = call->method ? call->method->path : "";
        call->stats.status = call->status;
        call->stats.cancelled = atomic_load(&call->cancelled);
        call->stats.duration_ns = rpc_now_ns() - call->start_ns;
        server->options.observe(server->options.ctx, &call->stats);
    }
    rpc_server_call_gone(call);
}

void rpc_call_arm(struct tel_rpc_server *server)
{
    struct tel_rpc_call *call = TEL_NEW(struct tel_rpc_call);
    call->server = server;
    call->refs = 1;
    call->arrive = (struct rpc_tag){RPC_TAG_ARRIVE, call};
    call->recv = (struct rpc_tag){RPC_TAG_RECV, call};
    call->send = (struct rpc_tag){RPC_TAG_SEND, call};
    call->close = (struct rpc_tag){RPC_TAG_CLOSE, call};
    pthread_mutex_init(&call->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&call->room, &attr);
    pthread_condattr_destroy(&attr);
    grpc_call_details_init(&call->details);
    grpc_metadata_array_init(&call->headers);
    pthread_mutex_lock(&server->lock);
    server->call_count++;
    pthread_mutex_unlock(&server->lock);
    rpc_tag_release(&call->arrive);
    grpc_call_error rc =
        grpc_server_request_call(server->server, &call->call, &call->details, &call->headers,
                                 server->cq, server->cq, &call->arrive);
    TEL_CHECK(rc == GRPC_CALL_OK);
}

/* Starts a batch whose completion is `tag`; holds a reference for it. */
static void call_batch(struct tel_rpc_call *call, const grpc_op *op, struct rpc_tag *tag)
{
    rpc_call_ref(call);
    rpc_tag_release(tag);
    pthread_mutex_lock(&call->lock);
    grpc_call_error rc = grpc_call_start_batch(call->call, op, 1, tag, NULL);
    pthread_mutex_unlock(&call->lock);
    TEL_CHECK(rc == GRPC_CALL_OK);
}

static void call_receive(struct tel_rpc_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &call->recv_buf;
    call_batch(call, &op, &call->recv);
}

/* Joins the server's list. NULL: it is let in; or why it is not. The server's own services answer
 * until the end: health must be able to say NOT_SERVING. */
static const char *call_join(struct tel_rpc_call *call)
{
    struct tel_rpc_server *server = call->server;
    bool built_in = call->method && call->method->service->built_in;
    pthread_mutex_lock(&server->lock);
    const char *refusal = NULL;
    if (server->live_count >= server->options.max_calls)
        refusal = "too many calls at once";
    else if (atomic_load(&server->stopping) && !built_in)
        refusal = "the server is stopping";
    call->is_live = true;
    call->let_in = !refusal && !atomic_load(&server->stopping);
    server->running += call->let_in;
    call->next = server->live;
    if (call->next)
        call->next->prev = call;
    server->live = call;
    server->live_count++;
    pthread_mutex_unlock(&server->lock);
    return refusal;
}

static int64_t call_deadline_ns(const struct tel_rpc_call *call)
{
    gpr_timespec left =
        gpr_time_sub(gpr_convert_clock_type(call->details.deadline, GPR_CLOCK_MONOTONIC),
                     gpr_now(GPR_CLOCK_MONOTONIC));
    if (left.tv_sec > INT64_MAX / TEL_NS_PER_S / 4)
        return INT64_MAX;
    return call->start_ns + left.tv_sec * TEL_NS_PER_S + left.tv_nsec;
}

void rpc_call_arrived(struct tel_rpc_call *call, bool ok)
{
    struct tel_rpc_server *server = call->server;
    if (!ok) { /* core has shut down */
        rpc_call_unref(call);
        return;
    }
    /* First of all another is armed: a flood must not queue unseen inside core. While the server
     * drains, too: what nobody takes is not refused, it hangs. */
    rpc_call_arm(server);
    call->start_ns = rpc_now_ns();
    call->deadline_ns = call_deadline_ns(call);
    const uint64_t *found = tel_map_get(&server->by_path, rpc_slice_span(&call->details.method));
    call->method = found ? (const struct rpc_method *)(uintptr_t)*found : NULL;
    const char *refusal = call_join(call);

    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &call->close_cancelled;
    call_batch(call, &op, &call->close);

    if (!call->method) {
        tel_rpc_finish(call, TEL_RPC_UNIMPLEMENTED, "no such method");
    } else if (refusal) {
        tel_rpc_finish(call, TEL_RPC_UNAVAILABLE, "%s", refusal);
    } else {
        enum tel_rpc_status status = TEL_RPC_OK;
        if (server->options.authorize && !call->method->service->open)
            status = server->options.authorize(server->options.ctx, call);
        if (status == TEL_RPC_OK)
            call_receive(call);
        else
            tel_rpc_finish(call, status, "not allowed");
    }
}

/* The handler, on a poller or a worker. Owns a reference. */
static void call_run(void *arg)
{
    struct tel_rpc_call *call = arg;
    const struct rpc_method *method = call->method;
    ProtobufCService *impl = method->service->impl;
    bool bidi = method->kind == TEL_RPC_BIDI;
    if (!bidi && atomic_load(&call->cancelled)) {
        tel_rpc_finish(call, TEL_RPC_CANCELLED, "cancelled before it was begun");
    } else if (!bidi) {
        impl->invoke(impl, method->index, call->request, tel_rpc_reply, call);
    } else {
        /* The handler may ask for the next message, whose RECV may overwrite call->request. */
        ProtobufCMessage *request = call->request;
        call->request = NULL;
        impl->invoke(impl, method->index, request, tel_rpc_reply, call);
        if (request)
            protobuf_c_message_free_unpacked(request, NULL);
    }
    rpc_call_unref(call);
}

void rpc_call_received(struct tel_rpc_call *call, bool ok)
{
    const struct rpc_method *method = call->method;
    struct tel_rpc_server *server = call->server;
    grpc_byte_buffer *buf = call->recv_buf;
    call->recv_buf = NULL;
    if (buf) {
        const ProtobufCMethodDescriptor *m =
            &method->service->impl->descriptor->methods[method->index];
        call->stats.messages_in++;
        call->stats.bytes_in += grpc_byte_buffer_length(buf);
        call->request = rpc_unpack(m->input, buf);
        grpc_byte_buffer_destroy(buf);
        if (!call->request) {
            tel_rpc_finish(call, TEL_RPC_INVALID_ARGUMENT, "request is no %s", m->input->name);
            rpc_call_unref(call);
            return;
        }
    } else if (method->kind != TEL_RPC_BIDI) {
        /* Too large, or the client was gone before it had spoken. */
        if (ok && !atomic_load(&call->cancelled))
            tel_rpc_finish(call, TEL_RPC_INVALID_ARGUMENT,
                           "no request, or one of more than %zu bytes",
                           server->options.receive_max_bytes);
        else
            tel_rpc_finish(call, TEL_RPC_CANCELLED, "cancelled before its request came");
        rpc_call_unref(call);
        return;
    }
    /* RECV's reference becomes the handler run's. */
    if (!server->options.dispatch || method->service->built_in)
        call_run(call);
    else if (!server->options.dispatch(server->options.ctx, call_run, call)) {
        if (method->kind == TEL_RPC_BIDI && !call->request) {
            call_run(call); /* the handler must learn that its client is gone, queue or not */
            return;
        }
        tel_rpc_finish(call, TEL_RPC_UNAVAILABLE, "too busy");
        rpc_call_unref(call);
    }
}

void rpc_call_notify_cancel(struct tel_rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    void (*cb)(void *ctx) = call->ended ? NULL : call->on_cancel;
    void *ctx = call->on_cancel_ctx;
    call->on_cancel = NULL;
    if (cb) {
        call->on_cancel_running = true;
        call->on_cancel_thread = pthread_self();
    }
    pthread_cond_broadcast(&call->room);
    pthread_mutex_unlock(&call->lock);
    if (!cb)
        return;
    cb(ctx);
    pthread_mutex_lock(&call->lock);
    call->on_cancel_running = false;
    pthread_cond_broadcast(&call->room);
    pthread_mutex_unlock(&call->lock);
}

void rpc_call_closed(struct tel_rpc_call *call)
{
    if (call->close_cancelled) {
        atomic_store(&call->cancelled, true);
        rpc_call_notify_cancel(call);
    }
    rpc_call_unref(call);
}

void rpc_server_call_gone(struct tel_rpc_call *call)
{
    struct tel_rpc_server *server = call->server;
    bool was_live = call->is_live, was_let_in = call->let_in;
    if (was_live) {
        pthread_mutex_lock(&server->lock);
        if (call->prev)
            call->prev->next = call->next;
        else
            server->live = call->next;
        if (call->next)
            call->next->prev = call->prev;
        pthread_mutex_unlock(&server->lock);
    }
    call_free(call);
    /* Counted out only now: _stop waits for the counts before it takes the queue down. */
    pthread_mutex_lock(&server->lock);
    server->call_count--;
    server->live_count -= was_live;
    server->running -= was_let_in;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

/* ---- what a handler may ask ------------------------------------------------------------------ */

void tel_rpc_call_more(struct tel_rpc_call *call)
{
    TEL_CHECK(call->method->kind == TEL_RPC_BIDI);
    call_receive(call);
}

bool tel_rpc_call_cancelled(const struct tel_rpc_call *call)
{
    return atomic_load(&call->cancelled);
}

bool tel_rpc_call_draining(const struct tel_rpc_call *call)
{
    return atomic_load(&call->server->stopping);
}

bool tel_rpc_call_on_cancel(struct tel_rpc_call *call, void (*cb)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&call->lock);
    bool gone = atomic_load(&call->cancelled) || atomic_load(&call->server->stopping);
    if (!gone) {
        call->on_cancel = cb;
        call->on_cancel_ctx = ctx;
    }
    pthread_mutex_unlock(&call->lock);
    return !gone;
}

int64_t tel_rpc_call_ms_left(const struct tel_rpc_call *call)
{
    if (call->deadline_ns == INT64_MAX)
        return INT64_MAX;
    int64_t left = call->deadline_ns - rpc_now_ns();
    return left > 0 ? left / TEL_NS_PER_MS : 0;
}

struct tel_span tel_rpc_call_header(const struct tel_rpc_call *call, const char *name)
{
    for (size_t i = 0; i < call->headers.count; i++)
        if (tel_span_eq_cstr(rpc_slice_span(&call->headers.metadata[i].key), name))
            return rpc_slice_span(&call->headers.metadata[i].value);
    return (struct tel_span){0};
}

struct tel_span tel_rpc_call_bearer(const struct tel_rpc_call *call)
{
    struct tel_span value = tel_rpc_call_header(call, "authorization");
    if (value.len < 7 || strncasecmp(value.ptr, "Bearer ", 7) != 0)
        return (struct tel_span){0};
    return tel_span_slice(value, 7, value.len);
}

const char *tel_rpc_call_peer(struct tel_rpc_call *call)
{
    if (!call->peer)
        call->peer = grpc_call_get_peer(call->call);
    return call->peer;
}

const char *tel_rpc_call_identity(struct tel_rpc_call *call)
{
    if (call->identity)
        return call->identity;
    grpc_auth_context *auth = grpc_call_auth_context(call->call);
    if (auth && grpc_auth_context_peer_is_authenticated(auth)) {
        grpc_auth_property_iterator it = grpc_auth_context_peer_identity(auth);
        const grpc_auth_property *p = grpc_auth_property_iterator_next(&it);
        if (p)
            call->identity = tel_strndup(tel_span_make(p->value, p->value_length));
    }
    if (auth)
        grpc_auth_context_release(auth);
    if (!call->identity)
        call->identity = tel_strdup("");
    return call->identity;
}

const char *tel_rpc_call_method(const struct tel_rpc_call *call)
{
    return call->method ? call->method->path : "";
}

void tel_rpc_call_set_user(struct tel_rpc_call *call, void *user)
{
    call->user = user;
}

void *tel_rpc_call_user(const struct tel_rpc_call *call)
{
    return call->user;
}
