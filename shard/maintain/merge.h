/*
 * Merging small segments into large ones. A flush makes one segment a tenant and day, however few its
 * events are; eight of about one size become one, until they have the full size, so that an event is
 * rewritten once for each factor of eight. Once several would make a full segment, they do at once.
 * Only neighbours in the log's order are merged, so that segments keep that order.
 *
 * Belongs to the server's maintenance thread.
 */
#ifndef SHARD_MAINTAIN_MERGE_H
#define SHARD_MAINTAIN_MERGE_H

#include "shard/store/store.h"

struct budget;
struct tel_clock;
struct merger;

struct merger_options {
    uint64_t full_rows; /* of a full segment */
    const _Atomic bool *stop; /* true: begin no other merge; may be NULL */
    struct budget *budget;    /* what merges may take, and take from; NULL: all they need */
    const struct tel_clock *clock; /* that the budget goes by */
    int cold_level;     /* of zstd, for days before cold_day; 0: they stay as they are */
};
struct merger *merger_new(const struct merger_options *options);
void merger_free(struct merger *merger);

struct merge_stats {
    uint64_t merges, inputs, rows, read_bytes, written_bytes, failures;
    uint64_t recoded, recoded_saved_bytes;
    int64_t cpu_ns;      /* of all of it */
    uint64_t debt_bytes; /* segments that were due in the last step and had to wait for the budget */
};

/* Finds sets of segments to merge and merges them, at most `max` of them, as long as the budget has
 * anything left. quiet_ns: of days that got nothing new for so long, what is left is merged too, however
 * little it is. *ret_done: false when there was nothing to do. With nothing to merge, one segment of a day before cold_day is coded anew with the
 * stronger compression. TEL_ERR_CORRUPT: a segment cannot be read; it is passed over from then on. */
TEL_MUST_USE tel_code merger_step(struct merger *merger, struct store *store, int64_t quiet_ns,
                                  int64_t cold_day, unsigned max, bool *ret_done, struct merge_stats *stats,
                                  struct tel_error *err);

/* For tests: which of the segments, in the log's order, would be merged; 0 for none. */
size_t merge_choose(struct store_segment *const *segments, size_t count, uint64_t full_rows,
                    bool settled, size_t *ret_first);

#endif
