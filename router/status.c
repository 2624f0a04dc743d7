#include "router/status.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

#define LAGGING_MS 10000u

typedef Telescope__Router__V1__ShardStatus entry;

static void set_text(char **field, const char *text)
{
    *field = tel_strdup(text ? text : "");
}

static entry *entry_new(uint32_t partition, const char *address, const char *state,
                        const char *error)
{
    entry *e = tel_malloc(sizeof(*e));
    telescope__router__v1__shard_status__init(e);
    e->partition = partition;
    set_text(&e->node, "");
    set_text(&e->address, address);
    set_text(&e->state, state);
    set_text(&e->error, error);
    return e;
}

struct entries {
    TEL_VEC(entry *) v;
};

struct question {
    struct entries *out;
    const struct shard_map *map;
    const char *address;
};

static const Telescope__Shard__V1__PartitionInfo *
find_partition(const Telescope__Shard__V1__StatusResponse *status, uint32_t partition)
{
    for (size_t i = 0; status && i < status->n_partitions; i++)
        if (status->partitions[i]->state && status->partitions[i]->state->partition == partition)
            return status->partitions[i];
    return NULL;
}

static entry *entry_of(const Telescope__Shard__V1__StatusResponse *status,
                       const Telescope__Shard__V1__PartitionInfo *p, const char *address)
{
    const Telescope__Shard__V1__PartitionState *s = p->state;
    const char *error = p->error && p->error[0] ? p->error : s->missing;
    const char *state = error && error[0] ? "error" : s->lag_ms > LAGGING_MS ? "lagging" : "ready";
    entry *e = entry_new(s->partition, address, state, error);
    free(e->node);
    set_text(&e->node, status->node);
    e->watermark = s->watermark;
    e->high = s->high;
    e->lag_ms = s->lag_ms;
    e->events = p->events;
    e->stored_bytes = p->stored_bytes;
    e->raw_bytes = p->raw_bytes;
    return e;
}

static void on_status(void *user, const Telescope__Shard__V1__StatusResponse *status,
                      const struct tel_error *err)
{
    struct question *q = user;
    size_t count;
    const struct shard_replicas *replicas = shard_map_partitions(q->map, &count);
    for (size_t i = 0; i < count; i++) {
        for (uint32_t r = 0; r < replicas[i].count; r++) {
            if (replicas[i].addresses[r] != q->address)
                continue;
            const Telescope__Shard__V1__PartitionInfo *p =
                find_partition(status, replicas[i].partition);
            entry *e = !status
                           ? entry_new(replicas[i].partition, q->address, "unreachable", err->text)
                       : p ? entry_of(status, p, q->address)
                           : entry_new(replicas[i].partition, q->address, "error",
                                       "the server does not hold it");
            tel_vec_push(&q->out->v, e);
        }
    }
}

static int by_partition(const void *a, const void *b)
{
    const entry *x = *(entry *const *)a, *y = *(entry *const *)b;
    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    return strcmp(x->address, y->address);
}

Telescope__Router__V1__StatusResponse *router_status(struct router *router, int64_t timeout_ms)
{
    struct shard_map *map = router_map(router);
    size_t count;
    const char *const *addresses = shard_map_addresses(map, &count);
    struct question *questions = tel_calloc(count, sizeof(*questions));
    struct entries out = {.v = {0}};
    const struct shard_client_ops *ops = router->client->ops;
    struct shard_gather *gather = ops->gather(router->client);
    Telescope__Shard__V1__StatusRequest request = TELESCOPE__SHARD__V1__STATUS_REQUEST__INIT;
    request.map_version = shard_map_version(map);
    for (size_t i = 0; i < count; i++) {
        questions[i] = (struct question){.out = &out, .map = map, .address = addresses[i]};
        ops->status(gather, addresses[i], &request, timeout_ms, on_status, &questions[i]);
    }
    while (ops->run(gather, 100) > 0)
        ;
    ops->gather_free(gather);
    if (out.v.len)
        qsort(out.v.items, out.v.len, sizeof(entry *), by_partition);
    free(questions);
    shard_map_unref(map);
    Telescope__Router__V1__StatusResponse *res = tel_malloc(sizeof(*res));
    telescope__router__v1__status_response__init(res);
    res->n_shards = out.v.len;
    res->shards = out.v.items;
    return res;
}
