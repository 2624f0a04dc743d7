/*
 * Retention: deletes what the rules no longer keep. In this order:
 *
 *     days that no rule keeps                     whole folders
 *     segments of tenants past their days         one by one; tenants with longer rules keep theirs
 *     a tenant past its bytes                     its oldest segments
 *     all past the bytes of all                   the oldest day, segment by segment; as a folder when
 *                                                 all of it must go
 *
 * A segment is gone for searches at once, and from the disk when no search holds it (store_collect);
 * a crash in between brings it back, and the next round takes it again.
 */
#ifndef SHARD_MAINTAIN_EXPIRE_H
#define SHARD_MAINTAIN_EXPIRE_H

#include "shard/store/retention.h"
#include "shard/store/store.h"

struct expire_stats {
    struct store_gone of[RETENTION_REASONS];
};

/* One round over the stores of a server; adds to *stats. A round deletes a thousand segments at most;
 * *ret_more: there are more to delete. Maintenance's thread. */
void expire_run(struct store *const *stores, size_t count, struct retention *retention,
                struct expire_stats *stats, bool *ret_more);

#endif
