/*
 * A query router: what its queries share. The faces (HTTP in select.h, gRPC in query_service.h) sit
 * on query.h, and that on this. Any thread, once it is made; the shard map may change meanwhile.
 */
#ifndef ROUTER_ROUTER_H
#define ROUTER_ROUTER_H

#include <stdatomic.h>

#include "common/logsql/memory.h"
#include "common/metrics/registry.h"
#include "common/sys/lanes.h"
#include "router/admission.h"
#include "router/fanout.h"

struct router_options {
    int64_t timeout_ms;       /* of a query that gives none; 0: 30 s */
    int64_t timeout_max_ms;   /* what a query may ask for; 0: 10 min */
    size_t memory_bytes;      /* what one query may hold here; 0: 256 MiB */
    int hedge_after_ms;       /* 0: 1000; negative: never */
    unsigned queries_max;     /* at once; 0: 64 */
    unsigned queries_waiting; /* beyond: 429; 0: 2000 */
    int wait_max_ms;          /* for a turn; 0: 10 s */
    struct tel_memory_pool *memory_pool; /* what all queries may keep; NULL: not bounded together */
    struct tel_lanes *lanes;  /* for queries that take long; NULL: all run at once */
    size_t cache_bytes;       /* for replies of shards that are kept; 0: none are */
    int slow_ms;              /* queries that take longer are logged; 0: 10 s; negative: never */
};

struct router_metrics {
#define METRIC TEL_METRIC_MEMBER
#include "router/metrics.def"
#undef METRIC
};
extern const struct tel_metric_table router_metric_table;

struct router {
    struct router_options options; /* with the defaults filled in */
    struct shard_client *client;   /* not owned */
    struct fanout_budget budget;
    struct replica_health *health;
    struct replica_probe *probe;
    struct reply_cache *cache; /* NULL: nothing is kept */
    struct admission *admission;
    struct router_metrics metrics;
    struct tel_metrics *registry; /* where they are shown; NULL: nowhere */
    _Atomic uint64_t turn;
    pthread_rwlock_t map_lock;
    struct shard_map *map;
};

/* Takes a reference of the map. Client and registry (may be NULL) outlive the router. */
struct router *router_new(const struct router_options *options, struct shard_client *client,
                          struct shard_map *map, struct tel_metrics *registry);
void router_free(struct router *router); /* when no query runs; NULL is fine */

void router_set_map(struct router *router, struct shard_map *map);
struct shard_map *router_map(struct router *router); /* a reference of the caller's own */

#endif
