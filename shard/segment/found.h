/* The rows of a segment that a planned filter and a time range leave. */
#ifndef SHARD_SEGMENT_FOUND_H
#define SHARD_SEGMENT_FOUND_H

#include "shard/segment/plan.h"

struct found {
    struct view *view; /* NULL: nothing can match */
    uint64_t *bits;    /* by place */
    size_t count;
};

/* plan NULL: every row matches. What is found lives in arena. With a query for the newest rows there
 * may be more than those. */
TEL_MUST_USE tel_code found_search(struct segment_reader *reader, const struct segment_query *query,
                                   const struct plan *plan, struct tel_arena *arena,
                                   struct found *found, struct segment_counters *counters,
                                   struct tel_error *err);
/* The rows that were found, in the order of keys: the newest `max` of them, or all if that is 0. */
TEL_MUST_USE tel_code found_rows(const struct found *found, uint64_t max, struct tel_arena *arena,
                                 uint32_t **ret, size_t *ret_count, struct tel_error *err);
/* The same, all of them, as places. */
uint32_t *found_places(const struct found *found, struct tel_arena *arena);

#endif
