/*
 * Scatter: one search per server that is asked, each for some partitions; gather: their rows, in
 * queues that the query empties.
 *
 *   partition 0 ─ replica a ┐                       ┌ source a {0,2}: [rows][rows]… end
 *   partition 1 ─ replica b ┼─ one replica each ──> ┤
 *   partition 2 ─ replica a ┘                       └ source b {1}:   [rows]… failed
 *                                                       └─> source c {1} (the next replica)
 *
 * A source that fails before a row of it was taken is replaced by searches of the next replicas;
 * one that fails later leaves its partitions missing, for its rows cannot be taken back. That is
 * why a source holds its rows a little (hold_bytes, hold_ms): answers of ordinary size are all or
 * nothing. A server that says nothing at all for hedge_after_ms gets rivals on the next replicas;
 * whoever speaks first is kept.
 *
 * What cannot be had is said partition by partition. Belongs to one thread.
 */
#ifndef ROUTER_FANOUT_H
#define ROUTER_FANOUT_H

#include <stdatomic.h>

#include "router/cursor.h"
#include "router/replica_health.h"
#include "router/reply_cache.h"
#include "router/rows.h"
#include "router/shard_client.h"
#include "router/shard_map.h"

/* Rivals cost the shards: a tenth of all searches may have one, and a few more at once. Shared. */
struct fanout_budget {
    _Atomic int tokens;
};
void fanout_budget_init(struct fanout_budget *budget);

struct fanout_options {
    struct shard_client *client;
    struct shard_map *map;
    /* Sent to every server with its partitions; what it points to outlives the fanout. */
    Telescope__Shard__V1__SearchRequest request;
    /* What a server must have searched of a partition at least; partitions may lack here. Outlive
     * the fanout. */
    const struct cursor_mark *marks;
    size_t mark_count;
    int64_t deadline_ns;           /* monotonic */
    int hedge_after_ms;            /* 0: never */
    size_t hold_bytes;             /* rows a source holds back so that it can be replaced, */
    int hold_ms;                   /* for so long at most; 0: until it has ended */
    size_t queue_bytes;            /* rows a source may have waiting; then it is paused */
    uint64_t turn;                 /* which replica is first: differs from query to query */
    bool explain;                  /* keep what fanout_each_report tells */
    struct fanout_budget *budget;  /* may be NULL */
    struct replica_health *health; /* may be NULL */
    struct reply_cache *cache;     /* of replies; NULL: none is kept or used */
};

struct fanout;
struct fanout_source;

struct fanout *fanout_new(const struct fanout_options *options);
void fanout_free(struct fanout *f); /* cancels what runs; NULL is fine */

/* Waits up to timeout_ms for something to happen. False when all has ended and no rows are left. An
 * error is one of the query itself (a limit, an unknown pipe), which no replica would mend. */
TEL_MUST_USE tel_code fanout_run(struct fanout *f, int timeout_ms, bool *ret_more,
                                 struct tel_error *err);
/* Makes a fanout_run that waits return. Any thread. */
void fanout_wake(struct fanout *f);
/* No more rows are wanted: what runs is cancelled, and nothing is missing for that. */
void fanout_enough(struct fanout *f);

/* In any order: the next rows, or NULL if there are none now. The caller frees them. */
struct rows *fanout_take(struct fanout *f);

/* In the order of each source, from rows->next on. Has every source that runs rows to look at (at
 * first: all of its rows, or more than it holds back)? */
bool fanout_all_ready(const struct fanout *f);
/* Sources with rows: for (s = fanout_first(f); s; s = fanout_next(s)) */
struct fanout_source *fanout_first(struct fanout *f);
struct fanout_source *fanout_next(struct fanout_source *source);
struct rows *fanout_head(const struct fanout_source *source); /* stays the source's */
void fanout_touch(struct fanout_source *source);       /* rows of it have been taken: no way back */
struct rows *fanout_pop(struct fanout_source *source); /* the caller frees it */

/* What is missing, one text per partition or run of partitions: "partition 3: 10.0.0.1:7072: ...".
 */
size_t fanout_missing(const struct fanout *f);
const char *fanout_missing_text(const struct fanout *f, size_t i);
/* Is every partition missing, and were they all late? */
bool fanout_all_missing(const struct fanout *f, bool *ret_late);

struct fanout_totals {
    uint64_t lag_ms; /* the greatest */
    uint64_t segments, segments_pruned, rows_scanned, rows_matched, bytes_read, cpu_ns;
    uint32_t searches, failovers, hedges;
    uint32_t recalled, unchanged; /* searches whose reply might have been kept; was, and is the answer */
};
const struct fanout_totals *fanout_totals(const struct fanout *f);

/* What became of each search that was sent, oldest first. */
struct fanout_report {
    const char *address;
    const uint32_t *partitions;
    size_t partition_count;
    const char *outcome; /* "answered", "unchanged" (by a kept reply), "failed", "not needed", "cut off" */
    const char *why;     /* of a failure; or NULL */
    /* From the time given until it was asked; from then until the first answer (-1: none came) and
     * until it ended. */
    int64_t asked_ns, first_ns, took_ns;
    uint64_t rows, batches, bytes;
    const Telescope__Shard__V1__SearchEnd *end; /* NULL: none came */
};
void fanout_each_report(const struct fanout *f, int64_t since_ns,
                        void (*each)(void *ctx, const struct fanout_report *report), void *ctx);
/* How far the partitions that are not missing were searched; when all has ended. */
size_t fanout_marks(const struct fanout *f, struct tel_arena *arena,
                    const struct cursor_mark **ret);

#endif
