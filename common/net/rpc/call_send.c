/*
 * What a call sends. Messages wait in a queue of at most window_bytes (a message larger than that
 * goes alone); one SEND batch is under way at a time, and the first carries the initial metadata,
 * the last the status. WRITE_BUFFER_HINT tells core that more follows at once: three times the
 * messages a second for small ones. The last message and the status go in one batch
 * (tel_rpc_send_last): a small answer is then one write, and one wake-up of its reader.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/net/rpc/server_internal.h"

#define DETAILS_MAX 1024

void rpc_call_queue_free(struct tel_rpc_call *call)
{
    for (size_t i = call->queue_head; i < call->queue.len; i++)
        grpc_byte_buffer_destroy(call->queue.items[i]);
    tel_vec_free(&call->queue);
    call->queue_head = 0;
}

static bool queue_empty(const struct tel_rpc_call *call)
{
    return call->queue_head == call->queue.len;
}

/* Starts the next SEND batch if there is something for it. Under call->lock. */
static void call_pump(struct tel_rpc_call *call)
{
    if (call->send_busy || call->status_sent)
        return;
    if (call->broken) {
        rpc_call_queue_free(call);
        call->queued_bytes = 0;
    }
    grpc_op ops[3] = {0};
    size_t n = 0;
    grpc_byte_buffer *buf = NULL;
    grpc_slice details = grpc_empty_slice();
    if (!call->initial_sent)
        ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
    if (!queue_empty(call)) {
        buf = call->queue.items[call->queue_head++];
        if (queue_empty(call)) {
            call->queue_head = 0;
            tel_vec_clear(&call->queue);
        }
        call->sending_bytes = grpc_byte_buffer_length(buf);
        ops[n].op = GRPC_OP_SEND_MESSAGE;
        ops[n].flags = queue_empty(call) && !call->ended ? 0 : GRPC_WRITE_BUFFER_HINT;
        ops[n++].data.send_message.send_message = buf;
    } else {
        call->sending_bytes = 0;
    }
    if (call->ended && queue_empty(call)) {
        details = rpc_slice_copy(tel_span_cstr(call->details_text));
        ops[n].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
        ops[n].data.send_status_from_server.status = (grpc_status_code)call->status;
        ops[n++].data.send_status_from_server.status_details = call->details_text ? &details : NULL;
        call->status_sent = true;
    } else if (!buf) {
        return;
    }
    call->initial_sent = true;
    call->send_busy = true;
    rpc_call_ref(call);
    rpc_tag_release(&call->send);
    grpc_call_error rc = grpc_call_start_batch(call->call, ops, n, &call->send, NULL);
    TEL_CHECK(rc == GRPC_CALL_OK);
    grpc_slice_unref(details);
    if (buf)
        grpc_byte_buffer_destroy(buf); /* core has taken its slices */
}

void rpc_call_sent(struct tel_rpc_call *call, bool ok)
{
    pthread_mutex_lock(&call->lock);
    call->send_busy = false;
    call->queued_bytes -= call->sending_bytes;
    call->sending_bytes = 0;
    if (!ok)
        call->broken = true;
    call_pump(call);
    pthread_cond_broadcast(&call->room);
    pthread_mutex_unlock(&call->lock);
    rpc_call_unref(call);
}

static bool call_has_room(const struct tel_rpc_call *call, size_t size)
{
    return call->queued_bytes == 0 ||
           call->queued_bytes + size <= call->server->options.window_bytes;
}

static bool call_gone(const struct tel_rpc_call *call)
{
    return call->broken || atomic_load(&call->cancelled);
}

enum send_how { SEND_OR_FAIL, SEND_WAIT, SEND_LAST /* as WAIT; the end, which follows, starts it */ };

static tel_code call_send(struct tel_rpc_call *call, const ProtobufCMessage *msg, enum send_how how)
{
    bool wait = how != SEND_OR_FAIL;
    size_t size = protobuf_c_message_get_packed_size(msg);
    if (size > call->server->options.send_max_bytes)
        return TEL_ERR_LIMIT;
    pthread_mutex_lock(&call->lock);
    TEL_CHECK(!call->ended);
    while (wait && !call_gone(call) && !call_has_room(call, size))
        pthread_cond_wait(&call->room, &call->lock);
    tel_code rc = call_gone(call)              ? TEL_ERR_CANCELLED
                  : !call_has_room(call, size) ? TEL_ERR_AGAIN
                                               : TEL_OK;
    if (rc == TEL_OK)
        call->queued_bytes += size; /* the room is ours while we serialise */
    pthread_mutex_unlock(&call->lock);
    if (rc != TEL_OK)
        return rc;
    grpc_byte_buffer *buf = rpc_pack(msg, size);
    pthread_mutex_lock(&call->lock);
    tel_vec_push(&call->queue, buf);
    call->stats.messages_out++;
    call->stats.bytes_out += size;
    if (how != SEND_LAST)
        call_pump(call);
    pthread_mutex_unlock(&call->lock);
    return TEL_OK;
}

tel_code tel_rpc_send(struct tel_rpc_call *call, const ProtobufCMessage *msg)
{
    return call_send(call, msg, SEND_OR_FAIL);
}

tel_code tel_rpc_send_wait(struct tel_rpc_call *call, const ProtobufCMessage *msg)
{
    TEL_CHECK(!rpc_on_poller());
    return call_send(call, msg, SEND_WAIT);
}

/* Text of a status goes over the wire as UTF-8. Takes text over. */
static void call_end(struct tel_rpc_call *call, enum tel_rpc_status status, char *text)
{
    pthread_mutex_lock(&call->lock);
    TEL_CHECK(!call->ended);
    call->on_cancel = NULL;
    while (call->on_cancel_running && !pthread_equal(call->on_cancel_thread, pthread_self()))
        pthread_cond_wait(&call->room, &call->lock);
    call->ended = true;
    call->status = status;
    call->details_text = text;
    call_pump(call);
    pthread_mutex_unlock(&call->lock);
    rpc_call_unref(call);
}

void tel_rpc_finish(struct tel_rpc_call *call, enum tel_rpc_status status, const char *fmt, ...)
{
    char text[DETAILS_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    call_end(call, status, tel_strdup(text));
}

void tel_rpc_finish_ok(struct tel_rpc_call *call)
{
    call_end(call, TEL_RPC_OK, NULL);
}

void tel_rpc_send_last(struct tel_rpc_call *call, const ProtobufCMessage *msg)
{
    TEL_CHECK(!rpc_on_poller());
    tel_code rc = call_send(call, msg, SEND_LAST);
    if (rc == TEL_OK)
        tel_rpc_finish_ok(call);
    else
        tel_rpc_finish(call, tel_rpc_status_from_code(rc), "%s", tel_code_text(rc));
}

void tel_rpc_finish_error(struct tel_rpc_call *call, const struct tel_error *err)
{
    tel_rpc_finish(call, tel_rpc_status_from_code(err->code), "%s", err->text);
}

void tel_rpc_reply(const ProtobufCMessage *msg, void *ctx)
{
    struct tel_rpc_call *call = ctx;
    bool unary = call->method->kind == TEL_RPC_UNARY;
    if (!msg) {
        if (unary)
            tel_rpc_finish(call, TEL_RPC_INTERNAL, "no answer was made");
        else
            tel_rpc_finish_ok(call);
        return;
    }
    /* The window of a unary call is its one message: there is always room. A stream whose client is
     * gone learns it from tel_rpc_call_cancelled; the message is nobody's then. */
    tel_code rc = unary ? tel_rpc_send(call, msg) : tel_rpc_send_wait(call, msg);
    if (!unary)
        return;
    if (rc == TEL_ERR_LIMIT)
        tel_rpc_finish(call, TEL_RPC_RESOURCE_EXHAUSTED, "the answer is larger than %zu bytes",
                       call->server->options.send_max_bytes);
    else
        tel_rpc_finish_ok(call);
}
