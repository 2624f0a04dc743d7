#include "router/router.h"

#include <stdlib.h>

#include "common/base/mem.h"

struct router *router_new(const struct router_options *options, struct shard_client *client,
                          struct shard_map *map)
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
    r->client = client;
    r->map = shard_map_ref(map);
    r->admission = admission_new(o->queries_max, o->queries_waiting);
    fanout_budget_init(&r->budget);
    pthread_rwlock_init(&r->map_lock, NULL);
    return r;
}

void router_free(struct router *r)
{
    if (!r)
        return;
    admission_free(r->admission);
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
