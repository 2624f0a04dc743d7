/*
 * A gRPC server. One completion queue, `pollers` threads on it (one is best: measured, two
 * contend), and a hook that takes handlers to worker threads (workers.h). Health (grpc.health.v1)
 * and reflection (grpc.reflection.v1alpha) are served by every server and never leave the poller.
 *
 *     struct tel_rpc_server *s;
 *     tel_rpc_server_new(&(struct tel_rpc_server_options){.listen = "127.0.0.1:7072"}, &s, err);
 *     tel_rpc_server_add(s, &my_service.base, descriptor_set, err);
 *     tel_rpc_server_start(s, &port, err);
 *     ...
 *     tel_rpc_server_stop(s, 5000);
 *     tel_rpc_server_free(s);
 *
 * _new, _add, _start, _stop and _free belong to one thread; _set_health is for any.
 */
#ifndef TEL_NET_RPC_SERVER_H
#define TEL_NET_RPC_SERVER_H

#include "common/net/rpc/call.h"
#include "common/net/rpc/tls.h"

struct tel_rpc_server;

/* What one call came to; handed to `observe` when it is over. */
struct tel_rpc_stats {
    const char *method; /* as tel_rpc_call_method; "" for methods that do not exist */
    enum tel_rpc_status status;
    bool cancelled;
    int64_t duration_ns;
    uint64_t bytes_in, bytes_out, messages_in, messages_out;
};

struct tel_rpc_server_options {
    const char *listen;       /* "host:port"; port 0 takes a free one */
    struct tel_rpc_tls *tls;  /* NULL: plain text */
    unsigned pollers;         /* 0: 1 */
    unsigned armed;           /* calls that can be accepted at once; 0: 64 */
    unsigned max_calls;       /* beyond: UNAVAILABLE; 0: 10000 */
    size_t receive_max_bytes; /* of one message; 0: 4 MiB */
    size_t send_max_bytes;    /* 0: 16 MiB */
    size_t window_bytes;      /* a call's messages that wait to be sent; 0: 1 MiB */
    int keepalive_ms;         /* 0: 6000; peers that are silent this long are pinged, */
    int keepalive_timeout_ms; /* 0: 1500; and given up after this */
    int min_ping_interval_ms; /* 0: 4000; clients that ping more often are sent away */
    void *ctx;                /* for the hooks */
    /* Before the request is decoded; on a poller thread. Anything but OK ends the call. NULL: all
     * may. Not asked for health. */
    enum tel_rpc_status (*authorize)(void *ctx, struct tel_rpc_call *call);
    /* Once a call, after its end. Must not block. */
    void (*observe)(void *ctx, const struct tel_rpc_stats *stats);
    /* Takes run(arg) to a worker. False: too busy, the call ends with UNAVAILABLE. NULL:
     * handlers run on the poller and must not block. */
    bool (*dispatch)(void *ctx, void (*run)(void *arg), void *arg);
};

TEL_MUST_USE tel_code tel_rpc_server_new(const struct tel_rpc_server_options *options,
                                         struct tel_rpc_server **ret, struct tel_error *err);

/* Before _start. impl outlives the server. descriptor_set: a serialised FileDescriptorSet that
 * describes it, with imports; it outlives the server too (embed it). */
TEL_MUST_USE tel_code tel_rpc_server_add(struct tel_rpc_server *server, ProtobufCService *impl,
                                         struct tel_span descriptor_set, struct tel_error *err);

/* Listens and serves; every service that was added is then SERVING. */
TEL_MUST_USE tel_code tel_rpc_server_start(struct tel_rpc_server *server, uint16_t *ret_port,
                                           struct tel_error *err);

/* service NULL means the server as a whole (""). Watchers are told. */
void tel_rpc_server_set_health(struct tel_rpc_server *server, const char *service, bool serving);

/* Drains and stops. Health goes NOT_SERVING; a call that comes from then on gets UNAVAILABLE at
 * once (health still answers); calls that run are told (on_cancel) and may end within grace_ms,
 * then they are cancelled. When no call runs, connections are told to go, and closed at most a
 * second later. Clients see UNAVAILABLE or CANCELLED for what is cancelled, and for a call that
 * crosses the close. Returns when all has ended: later than grace_ms only for handlers that do not
 * heed. Idempotent. */
void tel_rpc_server_stop(struct tel_rpc_server *server, int grace_ms);
void tel_rpc_server_free(struct tel_rpc_server *server); /* stops it if need be; NULL is fine */

#endif
