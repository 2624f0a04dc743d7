/*
 * The gRPC face with its server: query_service.h behind a listener, with workers, health and
 * reflection. telescope-router and standalone start it alike. One owner thread.
 */
#ifndef ROUTER_GRPC_H
#define ROUTER_GRPC_H

#include "common/net/rpc/server.h"
#include "router/router.h"

struct router_grpc;

struct router_grpc_options {
    const char *listen;      /* "host:port" */
    struct tel_rpc_tls *tls; /* NULL: plain text */
    struct users *users;     /* who may read what; NULL: everybody all */
    struct tel_span token;   /* a bearer that every caller must have; empty: none */
    unsigned workers;        /* searches at once; 0: 32 */
};

TEL_MUST_USE tel_code router_grpc_start(struct router *router,
                                        const struct router_grpc_options *options,
                                        struct router_grpc **ret, struct tel_error *err);
uint16_t router_grpc_port(const struct router_grpc *grpc);
void router_grpc_set_health(struct router_grpc *grpc, bool serving);
void router_grpc_free(struct router_grpc *grpc, int grace_ms); /* drains; NULL is fine */

#endif
