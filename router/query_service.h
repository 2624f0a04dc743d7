/*
 * The gRPC face: telescope.router.v1.Query (schemas/router.proto). Its handlers block, so the
 * server that it is added to needs workers (tel_rpc_workers_dispatch). The bearer of the tenant is
 * the request's field; who may name which is for the server's authorize hook.
 */
#ifndef ROUTER_QUERY_SERVICE_H
#define ROUTER_QUERY_SERVICE_H

#include "common/base/clock.h"
#include "common/net/rpc/server.h"
#include "router/router.h"

struct query_service;

/* Router and clock (NULL: the machine's) outlive it. */
struct query_service *query_service_new(struct router *router, const struct tel_clock *clock);
TEL_MUST_USE tel_code query_service_add(struct query_service *service,
                                        struct tel_rpc_server *server, struct tel_error *err);
void query_service_free(struct query_service *service); /* after the server; NULL is fine */

#endif
