/*
 * The highest position of each source, which decides what is a repeat. The truth is in the store, as
 * of the last commit; here are the sources that changed since, and, as a cache, others that were
 * looked up. One look-up a message. Belongs to the partition's owner.
 */
#ifndef SHARD_INGEST_SOURCES_H
#define SHARD_INGEST_SOURCES_H

#include "shard/store/store.h"

struct source {
    struct tel_hash128 id;
    uint64_t position;
    int64_t seen_ns;
    bool used; /* the slot */
    bool known; /* position is valid */
    bool dirty; /* changed since the last commit */
};

struct sources {
    struct source *slots; /* open addressing; power of two */
    size_t cap, len, dirty;
    size_t max; /* entries kept over a commit */
};

void sources_init(struct sources *sources, size_t max);
void sources_done(struct sources *sources);

/* The source's slot, looked up in the store if need be. Valid until the next call. */
TEL_MUST_USE tel_code sources_find(struct sources *sources, struct store *store,
                                   struct tel_span name, struct source **ret,
                                   struct tel_error *err);
/* Notes that everything up to `position` has been taken. */
void sources_advance(struct sources *sources, struct source *source, uint64_t position,
                     int64_t seen_ns);

/* What a commit must write: an array for the caller to free. */
struct store_source *sources_changed(const struct sources *sources, size_t *ret_count);
/* The commit is durable. */
void sources_committed(struct sources *sources);

#endif
