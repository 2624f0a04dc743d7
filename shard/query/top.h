/*
 * The newest N rows among many, from blocks in any order. Copies what it keeps. Belongs to whoever
 * holds its lock.
 */
#ifndef SHARD_QUERY_TOP_H
#define SHARD_QUERY_TOP_H

#include "common/base/vec.h"
#include "common/logsql/block.h"

struct top_row {
    struct tel_row_key key;
    uint32_t count;
    bool timed; /* has a _time column, made from the key */
    const struct tel_field *fields;
};

struct top {
    size_t max;
    uint64_t memory_limit;
    struct tel_arena arena;
    uint64_t live_bytes; /* of the rows that are kept */
    TEL_VEC(struct top_row) rows;
    bool full; /* there are max rows, and the oldest of them is: */
    struct tel_row_key oldest;
};

void top_init(struct top *top, size_t max, uint64_t memory_limit);
void top_done(struct top *top);

/* Rows of a block with keys. TEL_ERR_LIMIT: they need too much memory. */
TEL_MUST_USE tel_code top_push(struct top *top, const struct tel_block *block,
                               struct tel_error *err);
/* Rows older than this are not wanted any more; INT64_MIN: all are. */
int64_t top_floor_ns(const struct top *top);

/* Orders what was kept, newest first. */
void top_finish(struct top *top);
/* Up to `max` rows from *at on as a block in arena, *at moved behind them. False: none. */
bool top_next(const struct top *top, size_t *at, size_t max, struct tel_arena *arena,
              struct tel_block *ret);

#endif
