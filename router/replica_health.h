/*
 * What is remembered about servers from query to query: one that failed, or was silent while
 * another answered, is asked last, until it has answered again: a query, or the probe
 * (replica_probe.h), which tries it every two seconds. So no query pays for trying it. Any thread.
 */
#ifndef ROUTER_REPLICA_HEALTH_H
#define ROUTER_REPLICA_HEALTH_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/clock.h"

struct replica_health;

struct replica_health *replica_health_new(const struct tel_clock *clock);
void replica_health_free(struct replica_health *h); /* NULL is fine */

/* Should a query ask it last? */
bool replica_health_avoid(struct replica_health *h, const char *address);
void replica_health_bad(struct replica_health *h, const char *address);
void replica_health_good(struct replica_health *h, const char *address);

/* For the one thread that probes. Waits until a server is due; false once closed. */
bool replica_health_wait(struct replica_health *h);
/* Those of addresses[count] that are due, at most `count`, into ret; they are due again in two
 * seconds. What is due and not among addresses is forgotten: the shard map has it no more. */
size_t replica_health_due(struct replica_health *h, const char *const *addresses, size_t count,
                          const char **ret);
void replica_health_close(struct replica_health *h); /* ends replica_health_wait */

#endif
