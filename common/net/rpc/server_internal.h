/*
 * Internal: a server and its calls.
 *
 *   grpc_server ─ completion queue ─ poller thread(s)
 *                    │ tags, embedded in the calls
 *     ARRIVE ─> live, armed again ─> let in ─> authorize ─> RECV ─> decode ─> dispatch ─> handler
 *     CLOSE  ─> cancelled?            SEND ─> next of the queue, then the status
 *
 * A call's references: one for its arming or its handler, one for each batch under way, one for a
 * handler that runs. When the last goes, the call has been answered and core has let go of it.
 *
 * Lock order: server->lock before call->lock is never needed and never done; neither is held while
 * a hook, a handler or on_cancel runs.
 */
#ifndef TEL_NET_RPC_SERVER_INTERNAL_H
#define TEL_NET_RPC_SERVER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/base/map.h"
#include "common/base/vec.h"
#include "common/net/rpc/core.h"
#include "common/net/rpc/server.h"

enum rpc_tag_kind { RPC_TAG_ARRIVE, RPC_TAG_RECV, RPC_TAG_SEND, RPC_TAG_CLOSE, RPC_TAG_SHUTDOWN };

struct rpc_tag {
    enum rpc_tag_kind kind;
    struct tel_rpc_call *call;
};

struct rpc_service {
    ProtobufCService *impl;
    struct tel_span descriptor_set;
    enum tel_rpc_kind *kinds;
    bool built_in; /* health and reflection: never dispatched */
    bool open;     /* not authorized: health */
};

struct rpc_method {
    char *path; /* "/package.Service/Method" */
    struct rpc_service *service;
    unsigned index;
    enum tel_rpc_kind kind;
};

struct rpc_health;
struct rpc_reflection;

struct tel_rpc_server {
    struct tel_rpc_server_options options; /* with the defaults filled in */
    char *listen;
    grpc_server *server;
    grpc_completion_queue *cq;
    void *tls_state;
    struct rpc_tag shutdown_tag;
    pthread_t *threads;
    unsigned thread_count;
    TEL_VEC(struct rpc_service *) services;
    TEL_VEC(struct rpc_method *) methods;
    struct tel_map by_path; /* -> struct rpc_method *; does not change once started */
    struct rpc_health *health;
    struct rpc_reflection *reflection;
    bool started, stopped;
    _Atomic bool stopping; /* set under the lock */

    pthread_mutex_t lock; /* guards what is below */
    pthread_cond_t changed;
    struct tel_rpc_call *live; /* arrived and not freed */
    size_t live_count;
    size_t running;    /* of those: let in, so that a drain waits for them */
    size_t call_count; /* live or armed */
    bool shut_down;    /* core's word */
};

struct tel_rpc_call {
    struct tel_rpc_server *server;
    struct tel_rpc_call *prev, *next; /* in server->live, under its lock */
    bool is_live, let_in; /* under its lock, too */
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array headers;
    struct rpc_tag arrive, recv, send, close;
    _Atomic int refs;
    const struct rpc_method *method; /* NULL: there is none of that name */
    int64_t start_ns, deadline_ns;   /* monotonic; deadline INT64_MAX: none */
    char *peer, *identity;           /* made when asked for; by the handler's thread only */
    void *user;
    grpc_byte_buffer *recv_buf;
    ProtobufCMessage *request;
    int close_cancelled; /* core writes it before CLOSE */
    struct tel_rpc_stats stats;
    _Atomic bool cancelled;

    pthread_mutex_t lock; /* guards what is below */
    pthread_cond_t room;
    TEL_VEC(grpc_byte_buffer *) queue;    /* [queue_head, len) wait to be sent */
    size_t queue_head, queued_bytes;      /* bytes under way count too */
    bool send_busy, initial_sent, broken; /* broken: a send failed, no more will succeed */
    size_t sending_bytes;
    bool ended, status_sent;
    enum tel_rpc_status status;
    char *details_text;
    void (*on_cancel)(void *ctx);
    void *on_cancel_ctx;
    bool on_cancel_running;
    pthread_t on_cancel_thread;
};

/* server.c */
int64_t rpc_now_ns(void);
bool rpc_on_poller(void);
void rpc_server_call_gone(struct tel_rpc_call *call); /* frees it */

/* call.c: life of a call, driven by the pollers */
void rpc_call_arm(struct tel_rpc_server *server);
void rpc_call_arrived(struct tel_rpc_call *call, bool ok);
void rpc_call_received(struct tel_rpc_call *call, bool ok);
void rpc_call_closed(struct tel_rpc_call *call);
void rpc_call_ref(struct tel_rpc_call *call);
void rpc_call_unref(struct tel_rpc_call *call);
void rpc_call_notify_cancel(struct tel_rpc_call *call);

/* call_send.c: answers */
void rpc_call_sent(struct tel_rpc_call *call, bool ok);
void rpc_call_queue_free(struct tel_rpc_call *call);

/* health.c, reflection.c: services of every server */
struct rpc_health *rpc_health_new(struct tel_rpc_server *server);
ProtobufCService *rpc_health_service(struct rpc_health *health);
struct tel_span rpc_health_descriptor_set(void);
void rpc_health_set(struct rpc_health *health, const char *service, bool serving);
void rpc_health_drain(struct rpc_health *health); /* all NOT_SERVING, for good */
void rpc_health_free(struct rpc_health *health);

struct rpc_reflection *rpc_reflection_new(struct tel_rpc_server *server);
ProtobufCService *rpc_reflection_service(struct rpc_reflection *reflection);
struct tel_span rpc_reflection_descriptor_set(void);
/* When all services have been added. */
TEL_MUST_USE tel_code rpc_reflection_index(struct rpc_reflection *reflection,
                                           struct tel_error *err);
void rpc_reflection_free(struct rpc_reflection *reflection);

#endif
