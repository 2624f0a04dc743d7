/*
 * Loop, stub and op.
 *
 *   stub (generated) -> stub_invoke -> op starts two batches:
 *        START   initial metadata, message, half-close; the server's initial metadata, and, but for
 *                bidi, its first message
 *        STATUS  the end, whatever it is
 *   and, one at a time while the reader wants more, READ; and for bidi SEND.
 *
 *   An op ends when STATUS has come and nothing else is under way; all messages have been read
 * then, because core completes a READ with nothing before it lets go of STATUS's call.
 *
 * The loop's thread alone touches ops, so there are no locks. Waking it from another thread needs
 * an event on its queue, and the C core has no public call for that: a call on a "lame" channel,
 * which fails at once, is one.
 */
#include "common/net/rpc/client.h"

#include <grpc/support/alloc.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/net/rpc/client_internal.h"

enum op_tag_kind { OP_START, OP_READ, OP_SEND, OP_STATUS, OP_WAKE };

struct op_tag {
    enum op_tag_kind kind;
    struct tel_rpc_op *op;
};

struct wake {
    struct op_tag tag; /* first */
    grpc_call *call;
    grpc_metadata_array trailing;
    grpc_status_code status;
    grpc_slice details;
};

struct tel_rpc_loop {
    grpc_completion_queue *cq;
    grpc_channel *lame;
    struct tel_rpc_op *ops; /* that have not ended */
    size_t live;
    _Atomic bool stopping, waking;
    _Atomic int wakes; /* under way */
};

struct tel_rpc_op {
    struct tel_rpc_loop *loop;
    struct tel_rpc_op *prev, *next;
    struct tel_rpc_channel *channel;
    grpc_call *call;
    enum tel_rpc_kind kind;
    const ProtobufCMessageDescriptor *answer_type;
    ProtobufCClosure closure;
    void *user;
    gpr_timespec deadline;
    bool wait_for_ready;
    TEL_VEC(grpc_metadata) headers;
    struct op_tag start, read, send, status_tag;
    unsigned batches; /* under way */
    grpc_metadata_array initial, trailing;
    grpc_status_code status;
    grpc_slice details;
    const char *local_text; /* why it never started */
    grpc_byte_buffer *read_buf;
    ProtobufCMessage *message; /* while the closure runs, unless it takes it */
    TEL_VEC(grpc_byte_buffer *) outbox;
    size_t outbox_head;
    bool bad_header, status_known, reading, read_end, paused, sending, half_close, half_closed,
        started, cancelled, in_closure, answered;
};

/* ---- loop ------------------------------------------------------------------------------------ */

struct tel_rpc_loop *tel_rpc_loop_new(void)
{
    rpc_core_up();
    struct tel_rpc_loop *loop = TEL_NEW(struct tel_rpc_loop);
    loop->cq = grpc_completion_queue_create_for_next(NULL);
    loop->lame = grpc_lame_client_channel_create("wake", GRPC_STATUS_UNAVAILABLE, "wake");
    return loop;
}

void tel_rpc_loop_wake(struct tel_rpc_loop *loop)
{
    if (atomic_exchange(&loop->waking, true))
        return;
    struct wake *w = TEL_NEW(struct wake);
    w->tag.kind = OP_WAKE;
    grpc_metadata_array_init(&w->trailing);
    w->details = grpc_empty_slice();
    grpc_call *call = grpc_channel_create_call(loop->lame, NULL, GRPC_PROPAGATE_DEFAULTS, loop->cq,
                                               grpc_slice_from_static_string("/wake"), NULL,
                                               gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    w->call = call;
    grpc_call_ref(call); /* w may be gone as soon as the batch is begun */
    grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    op.data.recv_status_on_client.trailing_metadata = &w->trailing;
    op.data.recv_status_on_client.status = &w->status;
    op.data.recv_status_on_client.status_details = &w->details;
    atomic_fetch_add(&loop->wakes, 1);
    rpc_tag_release(&w->tag);
    grpc_call_error rc = grpc_call_start_batch(call, &op, 1, &w->tag, NULL);
    TEL_CHECK(rc == GRPC_CALL_OK);
    grpc_call_cancel(call, NULL); /* a call that was never begun has no status otherwise */
    grpc_call_unref(call);
}

static void wake_done(struct tel_rpc_loop *loop, struct wake *w)
{
    grpc_metadata_array_destroy(&w->trailing);
    grpc_slice_unref(w->details);
    grpc_call_unref(w->call);
    free(w);
    atomic_store(&loop->waking, false);
    atomic_fetch_sub(&loop->wakes, 1);
}

void tel_rpc_loop_stop(struct tel_rpc_loop *loop)
{
    atomic_store(&loop->stopping, true);
    tel_rpc_loop_wake(loop);
}

/* ---- op: making and ending ------------------------------------------------------------------- */

static void op_header(struct tel_rpc_op *op, struct tel_span name, struct tel_span value)
{
    if (!rpc_header_legal(name, value)) {
        op->bad_header = true;
        return;
    }
    grpc_metadata md = {.key = rpc_slice_copy(name), .value = rpc_slice_copy(value)};
    tel_vec_push(&op->headers, md);
}

struct tel_rpc_op *tel_rpc_op_new(struct tel_rpc_loop *loop,
                                  const struct tel_rpc_op_options *options)
{
    struct tel_rpc_op *op = TEL_NEW(struct tel_rpc_op);
    op->loop = loop;
    op->start = (struct op_tag){OP_START, op};
    op->read = (struct op_tag){OP_READ, op};
    op->send = (struct op_tag){OP_SEND, op};
    op->status_tag = (struct op_tag){OP_STATUS, op};
    op->user = options->user;
    op->wait_for_ready = options->wait_for_ready;
    op->deadline = rpc_deadline_in_ms(options->timeout_ms ? options->timeout_ms : 30000);
    grpc_metadata_array_init(&op->initial);
    grpc_metadata_array_init(&op->trailing);
    op->details = grpc_empty_slice();
    if (options->bearer.len) {
        char *value = tel_malloc(options->bearer.len + 8);
        int len = sprintf(value, "Bearer %.*s", TEL_SPAN_ARG(options->bearer));
        op_header(op, TEL_SPAN("authorization"), tel_span_make(value, (size_t)len));
        explicit_bzero(value, (size_t)len);
        free(value);
    }
    for (size_t i = 0; i < options->header_count; i++)
        op_header(op, tel_span_cstr(options->headers[i].name), options->headers[i].value);
    op->next = loop->ops;
    if (op->next)
        op->next->prev = op;
    loop->ops = op;
    loop->live++;
    return op;
}

static void op_free(struct tel_rpc_op *op)
{
    if (op->prev)
        op->prev->next = op->next;
    else
        op->loop->ops = op->next;
    if (op->next)
        op->next->prev = op->prev;
    op->loop->live--;
    for (size_t i = 0; i < op->headers.len; i++) {
        grpc_slice_unref(op->headers.items[i].key);
        grpc_slice_unref(op->headers.items[i].value);
    }
    tel_vec_free(&op->headers);
    for (size_t i = op->outbox_head; i < op->outbox.len; i++)
        grpc_byte_buffer_destroy(op->outbox.items[i]);
    tel_vec_free(&op->outbox);
    if (op->read_buf)
        grpc_byte_buffer_destroy(op->read_buf);
    grpc_metadata_array_destroy(&op->initial);
    grpc_metadata_array_destroy(&op->trailing);
    grpc_slice_unref(op->details);
    if (op->call)
        grpc_call_unref(op->call);
    if (op->channel)
        tel_rpc_channel_unref(op->channel);
    free(op);
}

static void op_closure(struct tel_rpc_op *op, ProtobufCMessage *message)
{
    op->message = message;
    op->in_closure = true;
    op->closure(message, op);
    op->in_closure = false;
    if (op->message)
        protobuf_c_message_free_unpacked(op->message, NULL);
    op->message = NULL;
}

/* The last closure, when all is known. */
static void op_end(struct tel_rpc_op *op)
{
    if (!op->status_known || op->batches > 0)
        return;
    if (op->kind != TEL_RPC_UNARY || !op->answered)
        op_closure(op, NULL);
    op_free(op);
}

static void op_batch(struct tel_rpc_op *op, const grpc_op *ops, size_t n, struct op_tag *tag)
{
    op->batches++;
    rpc_tag_release(tag);
    grpc_call_error rc = grpc_call_start_batch(op->call, ops, n, tag, NULL);
    TEL_CHECK(rc == GRPC_CALL_OK);
}

static void op_read(struct tel_rpc_op *op)
{
    if (op->reading || op->read_end || op->paused || !op->started)
        return;
    grpc_op read = {.op = GRPC_OP_RECV_MESSAGE};
    read.data.recv_message.recv_message = &op->read_buf;
    op->reading = true;
    op_batch(op, &read, 1, &op->read);
}

/* Sends the outbox, one message at a time, and the half-close behind it. */
static void op_pump(struct tel_rpc_op *op)
{
    if (op->sending || op->half_closed || !op->started || op->status_known)
        return;
    grpc_op ops[2] = {0};
    size_t n = 0;
    grpc_byte_buffer *buf = NULL;
    if (op->outbox_head < op->outbox.len) {
        buf = op->outbox.items[op->outbox_head++];
        ops[n].op = GRPC_OP_SEND_MESSAGE;
        ops[n++].data.send_message.send_message = buf;
    }
    if (op->outbox_head == op->outbox.len) {
        op->outbox_head = 0;
        tel_vec_clear(&op->outbox);
        if (op->half_close) {
            ops[n++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
            op->half_closed = true;
        }
    }
    if (n == 0)
        return;
    op->sending = true;
    op_batch(op, ops, n, &op->send);
    if (buf)
        grpc_byte_buffer_destroy(buf);
}

/* An op that cannot start still answers through its closure, but never inside the stub. */
static void op_refuse(struct tel_rpc_op *op, grpc_status_code status, const char *text)
{
    op->status = status;
    op->local_text = text;
    op->status_known = true;
    tel_rpc_loop_wake(op->loop);
}

/* ---- stub ------------------------------------------------------------------------------------ */

static void op_begin(struct tel_rpc_op *op, const ProtobufCMessage *input)
{
    grpc_op ops[6] = {0};
    size_t n = 0;
    ops[n].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[n].flags = op->wait_for_ready ? GRPC_INITIAL_METADATA_WAIT_FOR_READY |
                                            GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET
                                      : 0;
    ops[n].data.send_initial_metadata.count = op->headers.len;
    ops[n++].data.send_initial_metadata.metadata = op->headers.items;
    grpc_byte_buffer *buf = NULL;
    op->sending = true; /* until START is done: two messages must not be under way at once */
    if (input) {
        buf = rpc_pack(input, protobuf_c_message_get_packed_size(input));
        ops[n].op = GRPC_OP_SEND_MESSAGE;
        ops[n++].data.send_message.send_message = buf;
    }
    if (op->kind != TEL_RPC_BIDI) {
        ops[n++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
        op->half_closed = true;
    }
    ops[n].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[n++].data.recv_initial_metadata.recv_initial_metadata = &op->initial;
    if (op->kind != TEL_RPC_BIDI) {
        ops[n].op = GRPC_OP_RECV_MESSAGE;
        ops[n++].data.recv_message.recv_message = &op->read_buf;
        op->reading = true;
    }
    op_batch(op, ops, n, &op->start);
    if (buf)
        grpc_byte_buffer_destroy(buf);

    grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    status.data.recv_status_on_client.trailing_metadata = &op->trailing;
    status.data.recv_status_on_client.status = &op->status;
    status.data.recv_status_on_client.status_details = &op->details;
    op_batch(op, &status, 1, &op->status_tag);
    op->started = true;
    op_read(op);
}

static void stub_invoke(ProtobufCService *service, unsigned index, const ProtobufCMessage *input,
                        ProtobufCClosure closure, void *data)
{
    struct tel_rpc_stub *stub = (struct tel_rpc_stub *)service;
    struct tel_rpc_op *op = data;
    TEL_CHECK(!op->closure);
    const ProtobufCMethodDescriptor *method = &service->descriptor->methods[index];
    op->closure = closure;
    op->kind = stub->kinds[index];
    op->answer_type = method->output;
    op->channel = tel_rpc_channel_ref(stub->channel);
    TEL_CHECK(input || op->kind == TEL_RPC_BIDI);
    char path[256];
    int len = snprintf(path, sizeof(path), "/%s/%s", service->descriptor->name, method->name);
    TEL_CHECK(len > 0 && (size_t)len < sizeof(path));
    if (op->bad_header) {
        op_refuse(op, GRPC_STATUS_INVALID_ARGUMENT, "a header is not legal");
    } else if (input &&
               protobuf_c_message_get_packed_size(input) > rpc_channel_send_max(stub->channel)) {
        op_refuse(op, GRPC_STATUS_RESOURCE_EXHAUSTED, "the request is too large");
    } else {
        op->call = rpc_channel_call(stub->channel, op->loop->cq, path, op->deadline);
        op_begin(op, input);
    }
}

void tel_rpc_stub_init(struct tel_rpc_stub *stub, const ProtobufCServiceDescriptor *service,
                       const enum tel_rpc_kind *kinds, struct tel_rpc_channel *channel)
{
    *stub = (struct tel_rpc_stub){
        .base = {.descriptor = service, .invoke = stub_invoke}, .channel = channel, .kinds = kinds};
}

/* ---- events ---------------------------------------------------------------------------------- */

static void op_got(struct tel_rpc_op *op)
{
    grpc_byte_buffer *buf = op->read_buf;
    op->read_buf = NULL;
    if (!buf) {
        op->read_end = true;
        return;
    }
    ProtobufCMessage *message = op->cancelled ? NULL : rpc_unpack(op->answer_type, buf);
    grpc_byte_buffer_destroy(buf);
    if (!message) {
        if (!op->cancelled)
            grpc_call_cancel_with_status(op->call, GRPC_STATUS_INTERNAL, "the answer is damaged",
                                         NULL);
        op->cancelled = true;
    } else if (op->kind == TEL_RPC_UNARY) {
        op->message = message; /* handed out with the status, if that is OK */
    } else {
        op_closure(op, message);
    }
    op_read(op);
}

static void op_status(struct tel_rpc_op *op)
{
    op->status_known = true;
    if (op->paused) { /* what has arrived already is still read, or the op would never end */
        op->paused = false;
        op_read(op);
    }
}

static void op_end_unary(struct tel_rpc_op *op)
{
    if (op->kind != TEL_RPC_UNARY || !op->status_known || op->batches > 0)
        return;
    ProtobufCMessage *message = op->message;
    op->message = NULL;
    if (message && op->status == GRPC_STATUS_OK) {
        op->answered = true;
        op_closure(op, message);
    } else if (message) {
        protobuf_c_message_free_unpacked(message, NULL);
    } else if (op->status == GRPC_STATUS_OK) {
        op->status = GRPC_STATUS_INTERNAL;
        op->local_text = "the answer is empty";
    }
}

static void loop_event(struct tel_rpc_loop *loop, const grpc_event *ev)
{
    struct op_tag *tag = ev->tag;
    rpc_tag_acquire(tag);
    struct tel_rpc_op *op = tag->op;
    if (tag->kind == OP_WAKE) {
        wake_done(loop, (struct wake *)tag);
        return;
    }
    op->batches--;
    switch (tag->kind) {
    case OP_WAKE:
        break;
    case OP_READ:
        op->reading = false;
        op_got(op);
        break;
    case OP_START:
        op->sending = false;
        if (op->reading && op->kind != TEL_RPC_BIDI) {
            op->reading = false;
            op_got(op);
            break;
        }
        op_pump(op);
        break;
    case OP_SEND:
        op->sending = false;
        op_pump(op);
        break;
    case OP_STATUS:
        op_status(op);
        break;
    }
    op_end_unary(op);
    op_end(op);
}

/* Ops that were refused before they started. */
static void loop_refused(struct tel_rpc_loop *loop)
{
    for (struct tel_rpc_op *op = loop->ops, *next; op; op = next) {
        next = op->next;
        if (op->status_known && !op->call && !op->in_closure) {
            op_end(op);
            next = loop->ops; /* the closure may have made and freed others */
        }
    }
}

size_t tel_rpc_loop_run(struct tel_rpc_loop *loop, int timeout_ms)
{
    loop_refused(loop);
    if (loop->live == 0)
        return 0;
    gpr_timespec until = rpc_deadline_in_ms(timeout_ms);
    for (;;) {
        grpc_event ev = grpc_completion_queue_next(loop->cq, until, NULL);
        if (ev.type != GRPC_OP_COMPLETE)
            break;
        loop_event(loop, &ev);
        until = gpr_inf_past(GPR_CLOCK_MONOTONIC); /* the rest only if it is there */
    }
    loop_refused(loop);
    return loop->live;
}

void tel_rpc_loop_serve(struct tel_rpc_loop *loop)
{
    while (!atomic_load(&loop->stopping)) {
        loop_refused(loop);
        grpc_event ev =
            grpc_completion_queue_next(loop->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (ev.type == GRPC_OP_COMPLETE)
            loop_event(loop, &ev);
    }
}

void tel_rpc_loop_free(struct tel_rpc_loop *loop)
{
    if (!loop)
        return;
    for (struct tel_rpc_op *op = loop->ops; op; op = op->next)
        if (op->call)
            tel_rpc_op_cancel(op);
    while (tel_rpc_loop_run(loop, 1000) > 0)
        ;
    while (atomic_load(&loop->wakes) > 0) {
        grpc_event ev = grpc_completion_queue_next(loop->cq, rpc_deadline_in_ms(1000), NULL);
        if (ev.type == GRPC_OP_COMPLETE)
            loop_event(loop, &ev);
    }
    grpc_completion_queue_shutdown(loop->cq);
    while (grpc_completion_queue_next(loop->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(loop->cq);
    grpc_channel_destroy(loop->lame);
    free(loop);
    rpc_core_down();
}

/* ---- what the caller may ask ----------------------------------------------------------------- */

void *tel_rpc_op_user(const struct tel_rpc_op *op)
{
    return op->user;
}

enum tel_rpc_status tel_rpc_op_status(const struct tel_rpc_op *op)
{
    return (enum tel_rpc_status)op->status;
}

struct tel_span tel_rpc_op_text(const struct tel_rpc_op *op)
{
    return op->local_text ? tel_span_cstr(op->local_text) : rpc_slice_span(&op->details);
}

tel_code tel_rpc_op_error(const struct tel_rpc_op *op, struct tel_error *err)
{
    enum tel_rpc_status status = tel_rpc_op_status(op);
    if (status == TEL_RPC_OK)
        return TEL_OK;
    struct tel_span text = tel_span_slice(tel_rpc_op_text(op), 0, 300);
    return tel_error_set(err, tel_rpc_status_to_code(status), "%s: %s%s%.*s",
                         tel_rpc_channel_target(op->channel), tel_rpc_status_name(status),
                         text.len ? ": " : "", TEL_SPAN_ARG(text));
}

ProtobufCMessage *tel_rpc_op_take(struct tel_rpc_op *op)
{
    TEL_CHECK(op->in_closure);
    ProtobufCMessage *message = op->message;
    op->message = NULL;
    return message;
}

void tel_rpc_op_cancel(struct tel_rpc_op *op)
{
    op->cancelled = true;
    if (op->call && !op->status_known)
        grpc_call_cancel(op->call, NULL);
    if (op->paused && op->kind != TEL_RPC_UNARY) {
        op->paused = false;
        if (!op->in_closure)
            op_read(op);
    }
}

void tel_rpc_op_pause(struct tel_rpc_op *op)
{
    if (!op->status_known && !op->cancelled)
        op->paused = true;
}

void tel_rpc_op_more(struct tel_rpc_op *op)
{
    op->paused = false;
    if (!op->in_closure)
        op_read(op);
}

tel_code tel_rpc_op_send(struct tel_rpc_op *op, const ProtobufCMessage *msg)
{
    TEL_CHECK(op->kind == TEL_RPC_BIDI && !op->half_close);
    if (op->status_known)
        return TEL_ERR_CLOSED;
    size_t size = protobuf_c_message_get_packed_size(msg);
    if (size > rpc_channel_send_max(op->channel))
        return TEL_ERR_LIMIT;
    tel_vec_push(&op->outbox, rpc_pack(msg, size));
    op_pump(op);
    return TEL_OK;
}

void tel_rpc_op_send_end(struct tel_rpc_op *op)
{
    op->half_close = true;
    op_pump(op);
}
