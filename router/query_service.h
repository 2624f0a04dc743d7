/*
 * The gRPC face: telescope.router.v1.Query (schemas/router.proto). Its handlers block, so the
 * server that it is added to needs workers (tel_rpc_workers_dispatch). The tenant is a field of the
 * request; whether the caller may read it is asked of the users.
 */
#ifndef ROUTER_QUERY_SERVICE_H
#define ROUTER_QUERY_SERVICE_H

#include "common/base/clock.h"
#include "common/net/rpc/server.h"
#include "router/router.h"
#include "router/users.h"

struct query_service;

/* Router, users (NULL: everybody may read all) and clock (NULL: the machine's) outlive it. */
struct query_service *query_service_new(struct router *router, struct users *users,
                                        const struct tel_clock *clock);
TEL_MUST_USE tel_code query_service_add(struct query_service *service,
                                        struct tel_rpc_server *server, struct tel_error *err);
void query_service_free(struct query_service *service); /* after the server; NULL is fine */

#endif
