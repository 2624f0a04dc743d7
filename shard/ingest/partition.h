/*
 * One partition of the log: a thread consumes it, keeps its newest events in memory, where they are
 * searched, and flushes them to the store.
 *
 *     transport ─poll─> decode ─> drop repeats ─> open chunk ─seal─> chunks ─flush─> store
 *                                                 (owner's)          (searched)      (searched)
 *
 * Threads: partition_new, _start, _stop and _free belong to the server's thread; what is under "any
 * thread" may be called by any. All else happens on the owner thread.
 */
#ifndef SHARD_INGEST_PARTITION_H
#define SHARD_INGEST_PARTITION_H

#include "shard/ingest/chunk.h"
#include "shard/shard.h"
#include "shard/store/retention.h"
#include "shard/store/store.h"

struct tel_transport;
struct tel_message;
struct partition;

struct partition_limits {
    uint64_t memory_bytes, segment_rows;
    uint32_t flush_interval_ms, flush_interval_max_ms, chunk_interval_ms;
    int64_t future_limit_ns;
    enum shard_policy future_policy;
    int64_t source_ttl_ns;
};

struct partition_options {
    uint32_t id;
    const char *dir; /* of the store */
    struct ldb_shared *shared;
    const struct tel_clock *clock;
    struct tel_transport *transport;      /* NULL: nothing is consumed, see partition_feed */
    /* Puts a message that cannot be decoded where somebody can look at it. A retriable error: the
     * message is tried again later. NULL: it is counted and logged only. */
    tel_code (*bury)(void *ctx, const struct tel_message *message, const struct tel_error *why,
                     struct tel_error *err);
    void *bury_ctx;
    /* Called now and then on the owner thread, to look at what may pause it; may be NULL. */
    void (*tick)(void *ctx);
    void *tick_ctx;
    const char *schemas_dir; /* as in shard_options */
    struct retention *retention; /* NULL: everything is kept */
    struct partition_limits limits;
    const struct store_faults *faults;
};

TEL_MUST_USE tel_code partition_new(const struct partition_options *options,
                                    struct partition **ret, struct tel_error *err);
TEL_MUST_USE tel_code partition_start(struct partition *partition, struct tel_error *err);
/* Asks the owner thread to end; flush: after a last flush. Does not wait. */
void partition_stop(struct partition *partition, bool flush);
void partition_join(struct partition *partition);
void partition_free(struct partition *partition); /* NULL is fine; no search uses it any more */

/* ---- any thread ------------------------------------------------------------------------------- */

uint32_t partition_id(const struct partition *partition);
struct store *partition_store(struct partition *partition);
/* Stops or resumes consuming, because the disk is nearly full. */
void partition_pause(struct partition *partition, bool paused);

/* Since the start. */
struct partition_tally {
    uint64_t messages, replayed; /* replayed: events that a day held already */
    uint64_t flushes, flush_errors, flush_ns;
    uint64_t segments_written, raw_bytes;
};

struct partition_status {
    struct store_position visible; /* every message below is searched */
    int64_t high;                  /* the log's end; -1 not known */
    uint64_t lag_ms;
    uint64_t memory_bytes, memory_rows;
    struct store_counters counters;
    struct partition_tally tally;
    int64_t first_time_ns, last_time_ns; /* of what is in memory; first > last: nothing */
    bool caught_up;                      /* has been, once since the start */
    bool paused;
    char error[TEL_ERROR_TEXT_MAX]; /* what stops it now; empty: nothing does */
};
void partition_status(struct partition *partition, struct partition_status *ret);

/* What a search sees: chunks first, and then the store. All zero is an empty one. */
struct partition_view {
    chunk_list chunks;
    struct store_view store;
    struct partition_status status;
};
void partition_view(struct partition *partition, const struct tel_span *tenant, int64_t start_ns,
                    int64_t end_ns, struct partition_view *ret, struct tel_buf *missing);
void partition_view_done(struct partition_view *view);
/* Is the run in the view's memory and not in its segments? */
bool partition_view_holds(const struct partition_view *view, const struct chunk_run *run);

/* ---- without a thread, for tools and benchmarks ------------------------------------------------ */

/* Takes a message as the owner thread would; flushes when that is due. */
TEL_MUST_USE tel_code partition_feed(struct partition *partition, const struct tel_message *message,
                                     struct tel_error *err);
/* Makes what was taken visible. */
void partition_show(struct partition *partition);
/* A failure is logged, and tried again by itself when it is due. */
tel_code partition_flush(struct partition *partition, struct tel_error *err);

#endif
