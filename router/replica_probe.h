/*
 * A thread that asks servers which queries avoid (replica_health.h) whether they answer again: a
 * Status, all that are due at once, a second for each. It sleeps while there are none.
 */
#ifndef ROUTER_REPLICA_PROBE_H
#define ROUTER_REPLICA_PROBE_H

struct replica_probe;
struct router;

/* The router's client, health and map outlive it. NULL if there is no thread to be had: servers
 * then come back when a query has nobody else to ask. */
struct replica_probe *replica_probe_new(struct router *router);
void replica_probe_free(struct replica_probe *probe); /* NULL is fine */

#endif
