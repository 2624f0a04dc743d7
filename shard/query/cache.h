/*
 * Open readers that no search uses at the moment, kept for the next one. When they hold more bytes than
 * the budget, those least recently used give up their sections first, then go. A search takes a reader
 * for itself and puts it back; two searches of one segment have a reader each. Any thread.
 */
#ifndef SHARD_QUERY_CACHE_H
#define SHARD_QUERY_CACHE_H

#include "shard/segment/segment.h"
#include "shard/store/store.h"

struct cache;

struct cached_reader {
    struct segment_reader *reader;
    struct store_handle *handle;
    struct segment_io io;
    uint64_t bytes;                   /* as counted */
    bool reused;
    struct cached_reader *newer, *older, *next; /* in the cache: by age; of one bucket */
};

struct cache *cache_new(uint64_t max_bytes);
void cache_free(struct cache *cache); /* all readers are back; NULL is fine */

/* Of a reader that was not open only the head has been read: segment_reader_ready does the rest. */
TEL_MUST_USE tel_code cache_take(struct cache *cache, struct store_segment *segment,
                                 struct cached_reader **ret, struct tel_error *err);
/* Was it open when it was taken? */
static inline bool cache_was_open(const struct cached_reader *reader)
{
    return reader->reused;
}
/* broken: an error happened in it, it is closed. */
void cache_put(struct cache *cache, struct cached_reader *reader, bool broken);
/* Closes readers of segments that left the catalogue, which could not be deleted otherwise. */
void cache_purge(struct cache *cache);

struct cache_stats {
    uint64_t bytes, readers, hits, misses;
};
void cache_stats_get(struct cache *cache, struct cache_stats *ret);

#endif
