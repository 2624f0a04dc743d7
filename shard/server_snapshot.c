/* A server's snapshot: which stores, how fast, and when it must end. */
#include <inttypes.h>
#include <stdlib.h>

#define TEL_LOG_COMPONENT "snapshot"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "shard/server_private.h"
#include "shard/snapshot/snapshot.h"

struct asking {
    struct shard_server *server;
    const struct shard_snapshot_request *request;
};

static tel_code stop(void *ctx, struct tel_error *err)
{
    const struct asking *a = ctx;
    if (atomic_load_explicit(&a->server->stopping, memory_order_relaxed))
        return tel_error_set(err, TEL_ERR_CANCELLED, "the shard server is stopping");
    if (a->request->gone && a->request->gone(a->request->ctx))
        return tel_error_set(err, TEL_ERR_CANCELLED, "whoever asked for it has gone");
    return TEL_OK;
}

static void progress(void *ctx, uint64_t done, uint64_t all)
{
    const struct asking *a = ctx;
    if (a->request->progress)
        a->request->progress(a->request->ctx, done, all);
}

/* The stores that are wanted, in the server's order. */
static tel_code choose(struct shard_server *s, const struct shard_snapshot_request *r,
                       struct store **stores, uint32_t *ids, size_t *ret_count,
                       struct tel_error *err)
{
    size_t count = 0;
    for (size_t i = 0; i < s->partition_count; i++) {
        uint32_t id = partition_id(s->partitions[i]);
        bool wanted = r->partitions == NULL;
        for (size_t j = 0; j < r->partition_count; j++)
            wanted = wanted || r->partitions[j] == id;
        if (!wanted)
            continue;
        stores[count] = s->stores[i];
        ids[count++] = id;
    }
    for (size_t j = 0; j < r->partition_count; j++) {
        bool held = false;
        for (size_t i = 0; i < count; i++)
            held = held || ids[i] == r->partitions[j];
        if (!held)
            return tel_error_set(err, TEL_ERR_NOTFOUND, "partition %" PRIu32 " is not held",
                                 r->partitions[j]);
    }
    *ret_count = count;
    return TEL_OK;
}

static tel_code enter(struct shard_server *s, struct tel_error *err)
{
    tel_code rc = TEL_OK;
    tel_mutex_lock(&s->lock);
    if (s->stopping)
        rc = tel_error_set(err, TEL_ERR_UNAVAILABLE, "the shard server is stopping");
    else if (s->in_snapshot)
        rc = tel_error_set(err, TEL_ERR_LOCKED, "another snapshot is being made");
    if (rc == TEL_OK) {
        s->in_snapshot = true;
        s->searches++;
    }
    tel_mutex_unlock(&s->lock);
    return rc;
}

static void leave(struct shard_server *s)
{
    tel_mutex_lock(&s->lock);
    s->in_snapshot = false;
    if (--s->searches == 0)
        tel_cond_broadcast(&s->wake);
    tel_mutex_unlock(&s->lock);
}

static void report(struct shard_server *s, const char *dest, tel_code rc, int64_t began_ns,
                   const struct manifest *m, const struct tel_error *err)
{
    if (rc != TEL_OK) {
        tel_counter_add(&s->metrics.snapshot_errors, 1);
        tel_log_error("no snapshot", tel_kv_str("dest", dest), tel_kv_error(err));
        return;
    }
    uint64_t segments = 0, events = 0, damaged = 0;
    for (size_t i = 0; i < m->partitions.len; i++) {
        segments += m->partitions.items[i].segments;
        events += m->partitions.items[i].events;
        damaged += m->partitions.items[i].damaged;
    }
    tel_counter_add(&s->metrics.snapshots, 1);
    tel_log_info("snapshot made", tel_kv_str("dest", dest), tel_kv_u64("segments", segments),
                 tel_kv_u64("events", events), tel_kv_u64("damaged", damaged),
                 tel_kv_i64("ms", (tel_mono_ns(tel_clock_system()) - began_ns) / TEL_NS_PER_MS));
}

tel_code shard_server_snapshot(struct shard_server *s, const struct shard_snapshot_request *request,
                               struct manifest *ret, struct tel_error *err)
{
    struct tel_error local;
    if (!err)
        err = &local;
    tel_code rc = enter(s, err);
    if (rc != TEL_OK)
        return rc;
    int64_t began = tel_mono_ns(tel_clock_system());
    struct asking asking = {s, request};
    struct store **stores = tel_calloc(s->partition_count, sizeof(*stores));
    uint32_t *ids = tel_calloc(s->partition_count, sizeof(*ids));
    size_t count = 0;
    rc = choose(s, request, stores, ids, &count, err);
    struct snapshot_options options = {
        .dest = request->dest,
        .stores = stores,
        .partitions = ids,
        .count = count,
        .bytes_per_s = request->bytes_per_s,
        .reserve_bytes = shard_disk_reserve(s),
        .stop = stop,
        .progress = progress,
        .ctx = &asking,
    };
    if (rc == TEL_OK)
        rc = snapshot_take(&options, ret, err);
    report(s, request->dest, rc, began, ret, err);
    free(stores);
    free(ids);
    leave(s);
    return rc;
}
