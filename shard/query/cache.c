#include "shard/query/cache.h"

#include <stdlib.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/sys/thread.h"
#include "shard/segment/format.h"

#define BUCKETS 4096u

struct cache {
    struct tel_mutex lock;
    uint64_t max_bytes;
    struct cache_stats stats;
    struct cached_reader *newest, *oldest;
    struct cached_reader *buckets[BUCKETS];
};

struct cache *cache_new(uint64_t max_bytes)
{
    struct cache *cache = TEL_NEW(struct cache);
    tel_mutex_init(&cache->lock);
    cache->max_bytes = max_bytes;
    return cache;
}

static struct cached_reader **bucket_of(struct cache *cache, const struct store_segment *segment)
{
    return &cache->buckets[tel_hash_u64((uint64_t)(uintptr_t)segment) % BUCKETS];
}

static void close_reader(struct cached_reader *r)
{
    segment_reader_close(r->reader);
    store_handle_close(r->handle);
    free(r);
}

/* Takes it out of the list and its bucket. The lock is held. */
static void unlink_reader(struct cache *cache, struct cached_reader *r)
{
    *(r->newer ? &r->newer->older : &cache->newest) = r->older;
    *(r->older ? &r->older->newer : &cache->oldest) = r->newer;
    struct cached_reader **at = bucket_of(cache, store_handle_segment(r->handle));
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    r->newer = r->older = r->next = NULL;
    cache->stats.bytes -= r->bytes;
    cache->stats.readers--;
}

void cache_free(struct cache *cache)
{
    if (!cache)
        return;
    while (cache->oldest) {
        struct cached_reader *r = cache->oldest;
        unlink_reader(cache, r);
        close_reader(r);
    }
    tel_mutex_done(&cache->lock);
    free(cache);
}

/* The store names the segment in its errors; the reader does not know it. */
static void name_error(const struct store_segment *segment, tel_code code, struct tel_error *err)
{
    char name[96];
    store_segment_name(segment, name, sizeof(name));
    if (!err || tel_span_find(tel_span_cstr(err->text), tel_span_cstr(name)) == (size_t)-1)
        tel_error_wrap(err, code, "%s", name);
}

tel_code cache_take(struct cache *cache, struct store_segment *segment, struct cached_reader **ret,
                    struct tel_error *err)
{
    tel_mutex_lock(&cache->lock);
    struct cached_reader *r = *bucket_of(cache, segment);
    while (r && store_handle_segment(r->handle) != segment)
        r = r->next;
    if (r) {
        unlink_reader(cache, r);
        cache->stats.hits++;
    } else {
        cache->stats.misses++;
    }
    tel_mutex_unlock(&cache->lock);
    if (r) {
        r->reused = true;
        *ret = r;
        return TEL_OK;
    }
    r = TEL_NEW(struct cached_reader);
    tel_code rc = store_handle_open(segment, &r->handle, err);
    if (rc == TEL_OK) {
        r->io = store_handle_io(r->handle);
        rc = segment_reader_begin(&r->io, &r->reader, err);
        if (rc != TEL_OK)
            name_error(segment, rc, err);
    }
    if (rc != TEL_OK) {
        store_handle_close(r->handle);
        free(r);
        return rc;
    }
    *ret = r;
    return TEL_OK;
}

static uint64_t reader_bytes(const struct cached_reader *r)
{
    return store_handle_bytes(r->handle) + segment_reader_bytes(r->reader);
}

/* What is cheap to read again goes first; what opening has parsed stays. The lock is held. */
static void drop_sections(struct cache *cache, struct cached_reader *r)
{
    cache->stats.bytes -= r->bytes;
    store_handle_drop(r->handle, SEGMENT_SECTION_DATA);
    r->bytes = reader_bytes(r);
    cache->stats.bytes += r->bytes;
}

void cache_put(struct cache *cache, struct cached_reader *reader, bool broken)
{
    struct cached_reader *evicted = NULL;
    segment_reader_rest(reader->reader);
    reader->bytes = reader_bytes(reader);
    if (broken || reader->bytes > cache->max_bytes ||
        store_segment_gone(store_handle_segment(reader->handle))) {
        close_reader(reader);
        return;
    }
    tel_mutex_lock(&cache->lock);
    struct cached_reader **bucket = bucket_of(cache, store_handle_segment(reader->handle));
    reader->next = *bucket;
    *bucket = reader;
    reader->older = cache->newest;
    reader->newer = NULL;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = reader;
    cache->newest = reader;
    cache->stats.bytes += reader->bytes;
    cache->stats.readers++;
    for (struct cached_reader *r = cache->oldest; r && cache->stats.bytes > cache->max_bytes;
         r = r->newer)
        drop_sections(cache, r);
    while (cache->stats.bytes > cache->max_bytes) {
        struct cached_reader *r = cache->oldest;
        unlink_reader(cache, r);
        r->next = evicted;
        evicted = r;
    }
    tel_mutex_unlock(&cache->lock);
    while (evicted) {
        struct cached_reader *r = evicted;
        evicted = r->next;
        close_reader(r);
    }
}

void cache_purge(struct cache *cache)
{
    struct cached_reader *gone = NULL;
    tel_mutex_lock(&cache->lock);
    for (struct cached_reader *r = cache->oldest, *newer; r; r = newer) {
        newer = r->newer;
        if (!store_segment_gone(store_handle_segment(r->handle)))
            continue;
        unlink_reader(cache, r);
        r->next = gone;
        gone = r;
    }
    tel_mutex_unlock(&cache->lock);
    while (gone) {
        struct cached_reader *r = gone;
        gone = r->next;
        close_reader(r);
    }
}

void cache_stats_get(struct cache *cache, struct cache_stats *ret)
{
    tel_mutex_lock(&cache->lock);
    *ret = cache->stats;
    tel_mutex_unlock(&cache->lock);
}
