#include "router/router.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "router/replica_probe.h"

#define METRIC(...) TEL_METRIC_ITEM(struct router_metrics, __VA_ARGS__)
static const struct tel_metric_item metric_items[] = {
#include "router/metrics.def"
};
#undef METRIC
const struct tel_metric_table router_metric_table = TEL_METRIC_TABLE(metric_items);

static void collect(void *arg)
{
    struct router *r = arg;
    unsigned running, waiting;
    admission_counts(r->admission, &running, &waiting);
    tel_gauge_set(&r->metrics.running, running);
    tel_gauge_set(&r->metrics.waiting, waiting);
    if (r->options.memory_pool) {
        struct tel_memory_stats memory;
        tel_memory_pool_stats(r->options.memory_pool, &memory);
        tel_gauge_set(&r->metrics.memory_used, (double)memory.used);
        tel_counter_set(&r->metrics.memory_refused, memory.refused);
    }
    if (!r->cache)
        return;
    struct reply_cache_stats cache;
    reply_cache_stats_get(r->cache, &cache);
    tel_gauge_set(&r->metrics.cache_bytes, (double)cache.bytes);
    tel_gauge_set(&r->metrics.cache_replies, (double)cache.replies);
    tel_counter_set(&r->metrics.cache_evictions, cache.evictions);
}

struct router *router_new(const struct router_options *options, struct shard_client *client,
                          struct shard_map *map, struct tel_metrics *registry)
{
    struct router *r = TEL_NEW(struct router);
    struct router_options *o = &r->options;
    *o = *options;
    o->timeout_ms = o->timeout_ms ? o->timeout_ms : 30000;
    o->timeout_max_ms = o->timeout_max_ms ? o->timeout_max_ms : 600000;
    o->memory_bytes = o->memory_bytes ? o->memory_bytes : 256u << 20;
    o->hedge_after_ms = o->hedge_after_ms ? o->hedge_after_ms : 1000;
    o->queries_max = o->queries_max ? o->queries_max : 64;
    o->queries_waiting = o->queries_waiting ? o->queries_waiting : 2000;
    o->wait_max_ms = o->wait_max_ms ? o->wait_max_ms : 10000;
    o->slow_ms = o->slow_ms ? o->slow_ms : 10000;
    r->client = client;
    r->map = shard_map_ref(map);
    r->admission = admission_new(o->queries_max, o->queries_waiting);
    fanout_budget_init(&r->budget);
    r->health = replica_health_new(tel_clock_system());
    pthread_rwlock_init(&r->map_lock, NULL);
    r->probe = replica_probe_new(r);
    r->cache = o->cache_bytes ? reply_cache_new(o->cache_bytes) : NULL;
    r->registry = registry;
    if (registry) {
        tel_metrics_register(registry, &router_metric_table, &r->metrics, NULL, NULL);
        tel_metrics_on_collect(registry, collect, r);
    }
    return r;
}

void router_free(struct router *r)
{
    if (!r)
        return;
    if (r->registry) {
        tel_metrics_off_collect(r->registry, r);
        tel_metrics_unregister(r->registry, &r->metrics);
    }
    replica_probe_free(r->probe);
    reply_cache_free(r->cache);
    admission_free(r->admission);
    replica_health_free(r->health);
    shard_map_unref(r->map);
    pthread_rwlock_destroy(&r->map_lock);
    free(r);
}

void router_set_map(struct router *r, struct shard_map *map)
{
    pthread_rwlock_wrlock(&r->map_lock);
    struct shard_map *old = r->map;
    r->map = shard_map_ref(map);
    pthread_rwlock_unlock(&r->map_lock);
    shard_map_unref(old);
}

struct shard_map *router_map(struct router *r)
{
    pthread_rwlock_rdlock(&r->map_lock);
    struct shard_map *map = shard_map_ref(r->map);
    pthread_rwlock_unlock(&r->map_lock);
    return map;
}
