/*
 * Replies of shard servers, kept for the next query that would ask the same server the same. A reply
 * has a generation (schemas/shard.proto): the server is told it with the next request, and only if it
 * answers that nothing has changed is the kept reply taken for its own. So nothing here can become
 * stale, and a query of which one shard has changed searches that shard alone.
 *
 * Bounded in bytes. When they are used up, the tenant that holds most loses what it has not used for
 * longest: nobody pushes another out who holds less. Any thread.
 */
#ifndef ROUTER_REPLY_CACHE_H
#define ROUTER_REPLY_CACHE_H

#include "common/base/buf.h"
#include "schemas/shard.pb-c.h"

#define REPLY_GENERATION_MAX 64u

struct reply_cache;

/* A reply, counted. It does not change once it is kept. */
struct reply {
    _Atomic unsigned refs;
    uint8_t generation[REPLY_GENERATION_MAX];
    size_t generation_len;
    struct tel_buf batches; /* each: its length in 4 bytes, and the RowBatch, packed */
};

struct reply *reply_new(void);
void reply_unref(struct reply *reply); /* NULL is fine */
/* Before it is kept. False: it would be larger than what is kept of one reply. */
bool reply_add(struct reply *reply, const Telescope__Shard__V1__RowBatch *batch);
/* The batch at *at, which is moved behind it; NULL at the end. The caller frees it. */
Telescope__Shard__V1__RowBatch *reply_next(const struct reply *reply, size_t *at);

struct reply_cache *reply_cache_new(size_t max_bytes);
void reply_cache_free(struct reply_cache *cache); /* NULL is fine */

/* What is kept under the key, a reference of the caller's own; NULL: nothing. *ret_record: is a new
 * reply worth recording? Not if those before were never the answer again. */
struct reply *reply_cache_find(struct reply_cache *cache, struct tel_span key, bool *ret_record);
/* The reply found was the answer again; or it was not, and a new one takes its place (and the
 * reference of the caller). */
void reply_cache_used(struct reply_cache *cache, struct tel_span key);
void reply_cache_put(struct reply_cache *cache, struct tel_span tenant, struct tel_span key,
                     struct reply *reply);

struct reply_cache_stats {
    uint64_t bytes, replies, hits, evictions;
};
void reply_cache_stats_get(struct reply_cache *cache, struct reply_cache_stats *ret);

#endif
