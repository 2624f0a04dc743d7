/*
 * What a search came to in one segment, kept for the next search that asks the same: the exported
 * state of a stats pipe and its like, a few bytes. A segment never changes, and its serial number is
 * never given again, so nothing here can become stale; what is not asked for goes when the budget is
 * used up. Any thread.
 */
#ifndef SHARD_QUERY_RESULTS_H
#define SHARD_QUERY_RESULTS_H

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/logsql/block.h"

struct results;

struct results *results_new(uint64_t max_bytes);
void results_free(struct results *results); /* NULL is fine */

/* Appends what is kept to *ret; false if nothing is. */
bool results_get(struct results *results, uint64_t serial, struct tel_hash128 query,
                 struct tel_buf *ret);
void results_put(struct results *results, uint64_t serial, struct tel_hash128 query,
                 struct tel_span bytes);

struct results_stats {
    uint64_t bytes, entries, hits, misses;
};
void results_stats_get(struct results *results, struct results_stats *ret);

/* Blocks without keys as bytes, one behind the other, and back. */
void results_write_block(struct tel_buf *out, const struct tel_block *block);
/* The next block of *at, in arena, its values in the bytes; false at the end. The bytes are our own. */
bool results_read_block(struct tel_span *at, struct tel_arena *arena, struct tel_block *ret);

#endif
