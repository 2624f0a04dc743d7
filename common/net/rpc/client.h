/*
 * Calling a gRPC server.
 *
 *     channel   one server: a connection that is made when needed and kept alive. Any thread
 *     loop      one completion queue, run by one thread, which owns every op on it
 *     stub      a ProtobufCService whose invoke starts a call: protoc-c's stubs are typed calls
 *     op        one call
 *
 *     struct tel_rpc_op *op = tel_rpc_op_new(loop, &(struct tel_rpc_op_options){
 *         .timeout_ms = 2000, .user = me});
 *     foo__search(&stub.base, &request, on_message, op);
 *     while (tel_rpc_loop_run(loop, 50) > 0)
 *         ;
 *
 * The closure: unary, once, with the answer or NULL; stream, with each message, then once with
 * NULL. In that last run tel_rpc_op_status says how it ended; the op is freed when the closure
 * returns. Messages are valid until the closure returns, unless taken. Scatter-gather is K calls on
 * one loop.
 */
#ifndef TEL_NET_RPC_CLIENT_H
#define TEL_NET_RPC_CLIENT_H

#include <stdint.h>

#include "common/net/rpc/rpc.h"
#include "common/net/rpc/tls.h"

struct tel_rpc_channel;
struct tel_rpc_loop;
struct tel_rpc_op;

/* ---- channel: any thread --------------------------------------------------------------------- */

struct tel_rpc_channel_options {
    const char *target;       /* "host:port" */
    struct tel_rpc_tls *tls;  /* NULL: plain text */
    const char *server_name;  /* expected in the server's certificate; NULL: the target's host */
    size_t receive_max_bytes; /* 0: 64 MiB */
    size_t send_max_bytes;    /* 0: 16 MiB */
    int connect_timeout_ms;   /* TLS included; 0: 2000 */
    int backoff_max_ms;       /* between attempts to connect; 0: 5000 */
    int keepalive_ms;         /* 0: 6000. Not below the server's min_ping_interval */
    int keepalive_timeout_ms; /* 0: 1500 */
};

TEL_MUST_USE tel_code tel_rpc_channel_new(const struct tel_rpc_channel_options *options,
                                          struct tel_rpc_channel **ret, struct tel_error *err);
struct tel_rpc_channel *tel_rpc_channel_ref(struct tel_rpc_channel *channel);
void tel_rpc_channel_unref(struct tel_rpc_channel *channel);
const char *tel_rpc_channel_target(const struct tel_rpc_channel *channel);

/* ---- loop: one thread ------------------------------------------------------------------------ */

struct tel_rpc_loop *tel_rpc_loop_new(void);
/* Waits up to timeout_ms (0: not at all) for something to happen and handles all that has. Returns
 * the number of ops that have not ended. Returns at once when there are none. */
size_t tel_rpc_loop_run(struct tel_rpc_loop *loop, int timeout_ms);
/* Handles events until tel_rpc_loop_stop. For a thread of its own. */
void tel_rpc_loop_serve(struct tel_rpc_loop *loop);
void tel_rpc_loop_stop(struct tel_rpc_loop *loop); /* any thread */
/* Makes a _run that waits return. Any thread; many calls may count as one. */
void tel_rpc_loop_wake(struct tel_rpc_loop *loop);
/* Cancels what has not ended and waits for it (the closures run). NULL is fine. */
void tel_rpc_loop_free(struct tel_rpc_loop *loop);

/* ---- stub: the loop's thread ----------------------------------------------------------------- */

struct tel_rpc_stub {
    ProtobufCService base;
    struct tel_rpc_channel *channel; /* not referenced: outlives the stub's calls' start */
    const enum tel_rpc_kind *kinds;
};

/* kinds: as tel_rpc_kinds fills it, once per service; outlives the stub. Nothing to undo. */
void tel_rpc_stub_init(struct tel_rpc_stub *stub, const ProtobufCServiceDescriptor *service,
                       const enum tel_rpc_kind *kinds, struct tel_rpc_channel *channel);

/* ---- op: the loop's thread ------------------------------------------------------------------- */

struct tel_rpc_header {
    const char *name;      /* lower case; letters, digits, '-', '_', '.' */
    struct tel_span value; /* printable ASCII */
};

struct tel_rpc_op_options {
    int64_t timeout_ms;                   /* 0: 30000. Every call has a deadline */
    bool wait_for_ready;                  /* wait for a connection instead of failing at once */
    struct tel_span bearer;               /* sent as "authorization: Bearer ..."; copied */
    const struct tel_rpc_header *headers; /* copied; bad ones make the call end INVALID_ARGUMENT */
    size_t header_count;
    void *user;
};

/* To be passed to exactly one stub, which takes it over. */
struct tel_rpc_op *tel_rpc_op_new(struct tel_rpc_loop *loop,
                                  const struct tel_rpc_op_options *options);
void *tel_rpc_op_user(const struct tel_rpc_op *op);
/* In the last closure. */
enum tel_rpc_status tel_rpc_op_status(const struct tel_rpc_op *op);
struct tel_span
tel_rpc_op_text(const struct tel_rpc_op *op); /* the peer's or the library's words */
/* The code for the status, with err filled: "<target>: DEADLINE_EXCEEDED: <text>". */
tel_code tel_rpc_op_error(const struct tel_rpc_op *op, struct tel_error *err);
/* A closure keeps its message: the caller frees it with protobuf_c_message_free_unpacked(m, NULL).
 */
ProtobufCMessage *tel_rpc_op_take(struct tel_rpc_op *op);
/* The closure still gets its last NULL, with CANCELLED. Never runs the closure itself. */
void tel_rpc_op_cancel(struct tel_rpc_op *op);
/* Streams: no message is read after this one until _more. That is the back-pressure. */
void tel_rpc_op_pause(struct tel_rpc_op *op);
void tel_rpc_op_more(struct tel_rpc_op *op);
/* Bidi: the stub starts the call with its input as the first message (may be NULL). TEL_ERR_CLOSED
 * when it has ended. Messages are queued without bound: send what you have, no more. */
TEL_MUST_USE tel_code tel_rpc_op_send(struct tel_rpc_op *op, const ProtobufCMessage *msg);
void tel_rpc_op_send_end(struct tel_rpc_op *op);

#endif
