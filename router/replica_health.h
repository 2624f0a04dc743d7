/*
 * What is remembered about servers from query to query: one that failed, or was silent while
 * another answered, is asked last for a while. Then one query tries it again, while the others
 * still keep away. Any thread.
 */
#ifndef ROUTER_REPLICA_HEALTH_H
#define ROUTER_REPLICA_HEALTH_H

#include <stdbool.h>

#include "common/base/clock.h"

struct replica_health;

struct replica_health *replica_health_new(const struct tel_clock *clock);
void replica_health_free(struct replica_health *h); /* NULL is fine */

/* Should a query ask it, if there is another? Asked once a query and server. */
bool replica_health_avoid(struct replica_health *h, const char *address);
void replica_health_bad(struct replica_health *h, const char *address);
void replica_health_good(struct replica_health *h, const char *address);

#endif
