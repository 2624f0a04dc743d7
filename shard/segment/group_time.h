/*
 * Times of a segment's rows, for those who look for few of them: where a bucket of time ends, which is
 * the first row of a range. Differences are summed block by block, and rows only in blocks that are
 * looked into.
 */
#ifndef SHARD_SEGMENT_GROUP_TIME_H
#define SHARD_SEGMENT_GROUP_TIME_H

#include "shard/segment/reader.h"

#define TIMES_BLOCK 256u /* rows */

struct tel_bucket;

struct group_times {
    struct ints_opened steps; /* of each row's time to the one before */
    uint64_t first;           /* what they start from */
    int64_t *starts;          /* by block: the time of its first row */
    uint32_t rows;
    uint32_t block; /* the one whose times are in at; UINT32_MAX: none */
    int64_t at[TIMES_BLOCK];
};

TEL_MUST_USE tel_code group_times_read(struct view *view, struct group_times *ret,
                                       struct tel_error *err);
/* The time of a row, row < rows. */
int64_t group_times_at(struct group_times *t, uint32_t row);
/* The first row at or behind a time; `rows` if there is none. */
uint32_t group_times_find(struct group_times *t, int64_t time_ns);
/* Behind the rows from `row` on, and before `to`, that are in its bucket. */
uint32_t group_times_run_end(struct group_times *t, const struct tel_bucket *bucket, uint32_t row,
                             uint32_t to);

#endif
