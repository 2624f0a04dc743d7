/*
 * The reading face over HTTP: /select/logsql/..., as VictoriaLogs has it. Put in front of a router
 * by telescope-router and by standalone. Handlers run on the HTTP server's threads, several at
 * once.
 */
#ifndef ROUTER_SELECT_H
#define ROUTER_SELECT_H

#include "common/base/clock.h"
#include "common/net/http/http_server.h"
#include "router/router.h"

struct select;

/* Router and clock (NULL: the machine's) outlive it. */
struct select *select_new(struct router *router, const struct tel_clock *clock);
/* Adds the routes, the web page at / included; before the server starts. */
void select_add_routes(struct select *select, struct tel_http_server *server);
void select_free(struct select *select); /* after the server; NULL is fine */

#endif
