/*
 * A call, as its handler on the server sees it. The handler gets it as closure_data, owns it, and
 * ends it exactly once, with tel_rpc_reply or tel_rpc_finish, from any thread, at once or later,
 * even when the peer is gone. After that the call must not be touched. The request message is valid
 * until then (bidi: until the handler returns).
 *
 * Bidirectional methods: the handler is invoked for every message of the client in turn, the next
 * one only after tel_rpc_call_more, and with NULL when the client has said its last (or is gone).
 *
 * Functions below may be called from any thread, between the handler's start and the call's end.
 */
#ifndef TEL_NET_RPC_CALL_H
#define TEL_NET_RPC_CALL_H

#include <stdint.h>

#include "common/net/rpc/rpc.h"

struct tel_rpc_call;

/* The closure that every handler gets. Unary: answers with msg and ends the call with OK (NULL:
 * INTERNAL). Streams: sends msg as tel_rpc_send_wait does; NULL ends the call with OK. */
void tel_rpc_reply(const ProtobufCMessage *msg, void *call);

/* Queues a message of a stream; msg may be freed at once. TEL_ERR_AGAIN: the send window is full,
 * nothing was taken. TEL_ERR_LIMIT: larger than the server sends. TEL_ERR_CANCELLED: the peer is
 * gone or the deadline has passed; finish the call. */
TEL_MUST_USE tel_code tel_rpc_send(struct tel_rpc_call *call, const ProtobufCMessage *msg);

/* As tel_rpc_send, but waits for room: this is the back-pressure of a slow reader. Not on a
 * poller thread (a server without dispatch runs its handlers there). Wakes when the call is
 * cancelled, which its deadline does too. */
TEL_MUST_USE tel_code tel_rpc_send_wait(struct tel_rpc_call *call, const ProtobufCMessage *msg);

/* Sends the last message of a stream and ends the call with OK, both in one write. Waits for room,
 * as tel_rpc_send_wait does. When msg cannot be sent the call ends with what is wrong. */
void tel_rpc_send_last(struct tel_rpc_call *call, const ProtobufCMessage *msg);

/* Ends the call. Messages that are queued go out first. The text reaches the peer: no secrets. */
void tel_rpc_finish(struct tel_rpc_call *call, enum tel_rpc_status status, const char *fmt, ...)
    TEL_PRINTF(3, 4);
void tel_rpc_finish_ok(struct tel_rpc_call *call);
/* Ends the call as err says. */
void tel_rpc_finish_error(struct tel_rpc_call *call, const struct tel_error *err);

/* Bidi: asks for the client's next message. */
void tel_rpc_call_more(struct tel_rpc_call *call);

bool tel_rpc_call_cancelled(const struct tel_rpc_call *call); /* peer gone, or deadline passed */
bool tel_rpc_call_draining(const struct tel_rpc_call *call);  /* the server is stopping: end soon */

/* Runs cb once on a poller thread when the call is cancelled or the server begins to drain, unless
 * the call ends first; never after the end has returned, unless cb itself ends the call. cb must
 * not block. False: it is cancelled already, cb will not run. */
bool tel_rpc_call_on_cancel(struct tel_rpc_call *call, void (*cb)(void *ctx), void *ctx);

int64_t tel_rpc_call_ms_left(const struct tel_rpc_call *call); /* INT64_MAX: no deadline */
/* The value of a header of the request, empty if absent. name in lower case. Valid until the end.
 */
struct tel_span tel_rpc_call_header(const struct tel_rpc_call *call, const char *name);
/* The token of "authorization: Bearer <token>", empty if absent. */
struct tel_span tel_rpc_call_bearer(const struct tel_rpc_call *call);
/* "ipv4:127.0.0.1:4711" */
const char *tel_rpc_call_peer(struct tel_rpc_call *call);
/* The name in the peer's verified certificate (subject alternative name, or common name); empty
 * without mutual TLS. */
const char *tel_rpc_call_identity(struct tel_rpc_call *call);
/* "/telescope.shard.v1.Shard/Search" */
const char *tel_rpc_call_method(const struct tel_rpc_call *call);

/* A place for the handler's own state. */
void tel_rpc_call_set_user(struct tel_rpc_call *call, void *user);
void *tel_rpc_call_user(const struct tel_rpc_call *call);

#endif
