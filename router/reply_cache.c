#include "router/reply_cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/map.h"
#include "common/base/mem.h"

#define REPLY_BYTES_MAX (1u << 20)
/* A reply that was replaced so often without having been used is of data that changes all the time:
 * from then on one in so many is recorded. */
#define COLD_AFTER 4u
#define COLD_EVERY 16u

struct tenant;

struct entry {
    struct entry *newer, *older; /* of the tenant, by last use */
    struct tenant *tenant;
    char *key;
    size_t key_len, bytes;
    unsigned unused; /* replies in a row that were not used again */
    struct reply *reply;
};

struct tenant {
    struct entry *newest, *oldest;
    size_t bytes;
    struct tel_span name; /* ours */
};

struct reply_cache {
    size_t max_bytes;
    pthread_mutex_t lock;
    struct tel_map entries, tenants; /* -> struct entry *, struct tenant * */
    size_t bytes;
    uint64_t hits, evictions;
};

/* ---- a reply --------------------------------------------------------------------------------- */

struct reply *reply_new(void)
{
    struct reply *r = TEL_NEW(struct reply);
    r->refs = 1;
    return r;
}

void reply_unref(struct reply *r)
{
    if (!r || atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    tel_buf_free(&r->batches);
    free(r);
}

bool reply_add(struct reply *r, const Telescope__Shard__V1__RowBatch *batch)
{
    size_t bytes = protobuf_c_message_get_packed_size(&batch->base);
    if (bytes > REPLY_BYTES_MAX - TEL_MIN(r->batches.len + sizeof(uint32_t), REPLY_BYTES_MAX))
        return false;
    uint32_t len = (uint32_t)bytes;
    tel_buf_add(&r->batches, &len, sizeof(len));
    tel_buf_reserve(&r->batches, bytes);
    protobuf_c_message_pack(&batch->base, (uint8_t *)r->batches.ptr + r->batches.len);
    r->batches.len += bytes;
    return true;
}

Telescope__Shard__V1__RowBatch *reply_next(const struct reply *r, size_t *at)
{
    uint32_t len;
    if (*at == r->batches.len)
        return NULL;
    memcpy(&len, r->batches.ptr + *at, sizeof(len));
    const uint8_t *bytes = (const uint8_t *)r->batches.ptr + *at + sizeof(len);
    *at += sizeof(len) + len;
    Telescope__Shard__V1__RowBatch *batch =
        telescope__shard__v1__row_batch__unpack(NULL, len, bytes);
    TEL_CHECK(batch); /* we have packed it */
    return batch;
}

/* ---- entries ---------------------------------------------------------------------------------- */

struct reply_cache *reply_cache_new(size_t max_bytes)
{
    struct reply_cache *c = TEL_NEW(struct reply_cache);
    c->max_bytes = max_bytes;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

static struct entry *entry_get(const struct reply_cache *c, struct tel_span key)
{
    const uint64_t *slot = tel_map_get(&c->entries, key);
    return slot ? (struct entry *)(uintptr_t)*slot : NULL;
}

static void unlink_entry(struct entry *e)
{
    struct tenant *t = e->tenant;
    *(e->newer ? &e->newer->older : &t->newest) = e->older;
    *(e->older ? &e->older->newer : &t->oldest) = e->newer;
    e->newer = e->older = NULL;
}

static void link_newest(struct entry *e)
{
    struct tenant *t = e->tenant;
    e->newer = NULL;
    e->older = t->newest;
    *(e->older ? &e->older->newer : &t->oldest) = e;
    t->newest = e;
}

static void entry_drop(struct reply_cache *c, struct entry *e)
{
    struct tenant *t = e->tenant;
    unlink_entry(e);
    c->bytes -= e->bytes;
    t->bytes -= e->bytes;
    tel_map_remove(&c->entries, tel_span_make(e->key, e->key_len));
    reply_unref(e->reply);
    free(e->key);
    free(e);
    if (t->newest)
        return;
    tel_map_remove(&c->tenants, t->name);
    free((char *)(uintptr_t)t->name.ptr);
    free(t);
}

void reply_cache_free(struct reply_cache *c)
{
    if (!c)
        return;
    struct tel_map_slot *slot;
    for (size_t i = 0; (slot = tel_map_next(&c->entries, &i)); i = 0)
        entry_drop(c, (struct entry *)(uintptr_t)slot->value);
    tel_map_free(&c->entries);
    tel_map_free(&c->tenants);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static struct tenant *tenant_get(struct reply_cache *c, struct tel_span name)
{
    uint64_t *slot = tel_map_put(&c->tenants, name, NULL);
    if (!*slot) {
        struct tenant *t = TEL_NEW(struct tenant);
        t->name = tel_span_make(tel_strndup(name), name.len);
        *slot = (uintptr_t)t;
    }
    return (struct tenant *)(uintptr_t)*slot;
}

/* The tenant that holds most gives up what it has not used for longest. */
static void evict(struct reply_cache *c)
{
    while (c->bytes > c->max_bytes) {
        struct tenant *most = NULL;
        struct tel_map_slot *slot;
        for (size_t i = 0; (slot = tel_map_next(&c->tenants, &i));) {
            struct tenant *t = (struct tenant *)(uintptr_t)slot->value;
            if (!most || t->bytes > most->bytes)
                most = t;
        }
        entry_drop(c, most->oldest);
        c->evictions++;
    }
}

/* ---- any thread -------------------------------------------------------------------------------- */

struct reply *reply_cache_find(struct reply_cache *c, struct tel_span key, bool *ret_record)
{
    struct reply *reply = NULL;
    *ret_record = true;
    pthread_mutex_lock(&c->lock);
    struct entry *e = entry_get(c, key);
    if (e) {
        reply = e->reply;
        atomic_fetch_add(&reply->refs, 1);
        if (e->unused >= COLD_AFTER)
            *ret_record = e->unused++ % COLD_EVERY == 0;
    }
    pthread_mutex_unlock(&c->lock);
    return reply;
}

void reply_cache_used(struct reply_cache *c, struct tel_span key)
{
    pthread_mutex_lock(&c->lock);
    c->hits++;
    struct entry *e = entry_get(c, key);
    if (e) {
        e->unused = 0;
        unlink_entry(e);
        link_newest(e);
    }
    pthread_mutex_unlock(&c->lock);
}

void reply_cache_put(struct reply_cache *c, struct tel_span tenant, struct tel_span key,
                     struct reply *reply)
{
    size_t bytes = sizeof(struct entry) + sizeof(*reply) + 2 * key.len + reply->batches.cap;
    pthread_mutex_lock(&c->lock);
    struct entry *e = entry_get(c, key);
    if (e) {
        unlink_entry(e);
        c->bytes -= e->bytes;
        e->tenant->bytes -= e->bytes;
        reply_unref(e->reply);
        e->unused++;
    } else {
        e = TEL_NEW(struct entry);
        e->key = tel_strndup(key);
        e->key_len = key.len;
        e->tenant = tenant_get(c, tenant);
        *tel_map_put(&c->entries, key, NULL) = (uintptr_t)e;
    }
    e->reply = reply;
    e->bytes = bytes;
    c->bytes += bytes;
    e->tenant->bytes += bytes;
    link_newest(e);
    evict(c);
    pthread_mutex_unlock(&c->lock);
}

void reply_cache_stats_get(struct reply_cache *c, struct reply_cache_stats *ret)
{
    pthread_mutex_lock(&c->lock);
    *ret = (struct reply_cache_stats){c->bytes, c->entries.len, c->hits, c->evictions};
    pthread_mutex_unlock(&c->lock);
}
