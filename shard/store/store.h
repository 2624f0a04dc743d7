/*
 * The store of one partition: immutable segments in a LevelDB per UTC day, and a small LevelDB of the
 * partition's own with the offset to resume at and the sources' positions. shard/FORMAT.md draws it.
 *
 *     p3/meta/           resume position, counters, source -> highest position, gaps
 *     p3/2026-01-02.0/   (segment id, slot) -> entry | section;  ids only grow
 *     p3/late.0/         the same, for few events of many days; they move to their days in time
 *
 * What a crash may leave is decided by two rules. (1) A day's entries carry the position up to which
 * the day holds every event (its watermark), in the same batch as the last of its segments; segments
 * of a flush without that batch are deleted when the store is opened. (2) The resume position is
 * written after all days have been synced. So it is never above a day's watermark that it needs, and
 * what lies between resume position and a day's watermark is read again and skipped for that day.
 *
 * Threads: reading is for any thread. Writers, store_commit and store_source_get belong to the
 * partition's owner; what stands under "maintenance" to the one thread that maintains.
 */
#ifndef SHARD_STORE_STORE_H
#define SHARD_STORE_STORE_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/hash.h"
#include "common/base/span.h"
#include "common/base/vec.h"
#include "shard/segment/segment.h"
#include "shard/store/entry.h"

struct ldb_shared;
struct store;
struct store_day;
struct store_faults;
struct tel_buf;

struct store_options {
    const char *dir; /* of the partition; made if it is not there */
    uint32_t partition;
    struct ldb_shared *shared;
    size_t write_buffer_bytes; /* of a day's LevelDB; 0: 8 MiB */
    unsigned open_days_max;    /* LevelDBs of days open at a time; 0: 16 */
    const struct store_faults *faults; /* NULL outside tests */
};

TEL_MUST_USE tel_code store_open(const struct store_options *options, struct store **ret,
                                 struct tel_error *err);
void store_close(struct store *store); /* every segment must have been released; NULL is fine */

/* ---- the partition's own small store -------------------------------------------------------- */

struct store_counters {
    uint64_t gap_messages, dead_letters, repeats_dropped, events_outside, events;
};

struct store_resume {
    struct store_position position; /* the next message to index */
    uint64_t mark; /* of the message before it, by which the log is known again; 0: not known */
    struct store_counters counters;
};

/* As of the last commit. */
struct store_resume store_resume_get(const struct store *store);

struct store_source {
    struct tel_hash128 id;
    uint64_t position; /* the highest that was indexed or dropped */
    int64_t seen_ns;   /* when the log took its last message */
};

struct tel_hash128 store_source_id(const struct store *store, struct tel_span source);
/* TEL_ERR_NOTFOUND: never seen. */
TEL_MUST_USE tel_code store_source_get(struct store *store, struct tel_hash128 id,
                                       struct store_source *ret, struct tel_error *err);

/* Messages that the log lost before they were indexed. */
struct store_gap {
    uint32_t epoch;
    int64_t from, to; /* expected, and where the log begins (to < from: it came back empty) */
    int64_t noticed_ns;
};

struct store_commit {
    struct store_resume resume;
    const struct store_source *sources; /* that changed since the last commit */
    size_t source_count;
    const struct store_gap *gaps; /* new ones */
    size_t gap_count;
    int64_t expire_before_ns; /* sources not seen since may be forgotten; INT64_MIN: none */
};

/* Durable when it returns. On an error nothing has changed and it may be tried again. */
TEL_MUST_USE tel_code store_commit(struct store *store, const struct store_commit *commit,
                                   struct tel_error *err);

/* The newest `max` gaps, newest first; returns how many. */
size_t store_gaps(struct store *store, struct store_gap *ret, size_t max);

/* ---- segments: the catalogue ------------------------------------------------------------------ */

/* One segment, counted. All but the last three lines never change. */
struct store_segment {
    _Atomic uint32_t refs;
    struct store_day *day;   /* of its events */
    struct store_day *place; /* whose LevelDB has it: the day, or the late */
    uint64_t id, serial; /* in its place; in this process, never given again */
    struct store_position upto;
    int64_t first_offset, last_offset;
    struct tel_span tenant;
    uint64_t rows, raw_bytes, stored_bytes;
    uint32_t compression;
    int64_t min_time_ns, max_time_ns;
    bool merged;
    _Atomic bool damaged;  /* a read failed its checksum */
    bool dead, retired;    /* replaced, or deleted by retention; guarded by the store's lock */
};

struct store_segment *store_segment_ref(struct store_segment *segment);
void store_segment_unref(struct store_segment *segment); /* NULL is fine */
/* Has it left the catalogue (replaced, retired, its day dropped)? */
bool store_segment_gone(const struct store_segment *segment);
/* For how long its day has got nothing new. */
int64_t store_segment_quiet_ns(const struct store_segment *segment);
int64_t store_segment_day(const struct store_segment *segment);
/* "2026-01-02.0 segment 17", for messages. */
void store_segment_name(const struct store_segment *segment, char *out, size_t size);

typedef TEL_VEC(struct store_segment *) store_segments;
void store_segments_done(store_segments *list); /* drops the references and frees the array */

/* What a search sees of the store at one moment. All zero is an empty one. */
struct store_mark {
    int64_t day;
    struct store_position watermark; /* events of the day below it are in segments, not in memory */
};

/* What store_select passed over. */
struct store_explain {
    uint64_t days, days_outside;
    uint64_t other_tenants, outside; /* segments of the days in range */
};

struct store_view {
    store_segments segments;
    TEL_VEC(struct store_mark) marks; /* of the days in range, by day */
    struct store_explain *explain;    /* to be added to; NULL: nobody wants to know */
};

/* References to the live segments of tenant that touch start_ns <= time < end_ns, in no order.
 * tenant NULL: of all. What is missing (a day that cannot be read) is appended to *missing as text,
 * if there is any. */
void store_select(struct store *store, const struct tel_span *tenant, int64_t start_ns,
                  int64_t end_ns, struct store_view *ret, struct tel_buf *missing);
void store_view_done(struct store_view *view);
/* The watermark of a day in the view, or {0, INT64_MIN}. */
struct store_position store_view_mark(const struct store_view *view, int64_t day);

/* The day's watermark: {0, INT64_MIN} for a day without segments. */
struct store_position store_day_watermark(struct store *store, int64_t day);
/* Days that had a watermark at the last commit and have no folder now, as text. After a crash between
 * the deletion of a day and the next commit there may be some; else they are lost. */
void store_gone_days(struct store *store, struct tel_buf *ret);
/* The highest of all days. */
struct store_position store_highest_watermark(struct store *store);
size_t store_day_count(struct store *store);

struct store_stats {
    uint64_t days, segments, events, raw_bytes, stored_bytes;
    int64_t min_time_ns, max_time_ns;          /* of all segments; min > max without any */
    uint64_t dead_segments, dead_bytes;        /* replaced, not yet deleted */
    uint64_t written_bytes, merged_bytes;      /* by flushes and merges since the start */
    uint64_t reopened, damaged_segments, broken_days;
};
void store_stats_get(struct store *store, struct store_stats *ret);

/* ---- writing a day ------------------------------------------------------------------------------ */

struct store_writer;

/* Begins to write what the day lacks up to `upto`. If an earlier writer of the day failed, finds out
 * first how far it came; so ask store_day_watermark after this, not before. */
TEL_MUST_USE tel_code store_writer_begin(struct store *store, int64_t day,
                                         struct store_position upto, struct store_writer **ret,
                                         struct tel_error *err);
/* The same for many days of which there are few events: their segments go to one LevelDB together, as
 * opening one a day would cost more than the events do. Come here before any store_writer_begin of the
 * flush, and if store_late_torn even without such days. */
TEL_MUST_USE tel_code store_writer_begin_late(struct store *store, struct store_position upto,
                                              struct store_writer **ret, struct tel_error *err);
/* Has an earlier write left something in the late's LevelDB that the next flush must delete? */
bool store_late_torn(struct store *store);
/* The same of a day's own: its events must be written there, and not to the late's. */
bool store_day_torn(struct store *store, int64_t day);
/* Copies the image. Nothing is visible before the commit. All events are of one day, the writer's. */
TEL_MUST_USE tel_code store_writer_add(struct store_writer *writer, struct tel_span tenant,
                                       const struct segment_image *image, uint32_t compression,
                                       int64_t first_offset, int64_t last_offset,
                                       struct tel_error *err);
/* Makes all of it durable and visible at once, with the watermark. Frees the writer, also on an
 * error; then it is not known whether the disk has it, which the next writer of the day finds out. */
TEL_MUST_USE tel_code store_writer_commit(struct store_writer *writer, struct tel_error *err);
void store_writer_abort(struct store_writer *writer); /* NULL is fine */

/* ---- maintenance -------------------------------------------------------------------------------- */

/* Puts a merged segment in place of its inputs (of one day and tenant; one is coded anew), in one batch
 * of the day's LevelDB, wherever the inputs are. Searches see either. TEL_ERR_NOTFOUND if an input is gone meanwhile. */
TEL_MUST_USE tel_code store_replace(struct store *store, struct store_segment *const *inputs,
                                    size_t count, const struct segment_image *image,
                                    uint32_t compression, struct tel_error *err);
/* Does the segment wait in the late's LevelDB? */
bool store_segment_late(const struct store_segment *segment);
/* Deletes replaced segments that nobody reads any more. *ret_deleted of them. */
TEL_MUST_USE tel_code store_collect(struct store *store, size_t *ret_deleted,
                                    struct tel_error *err);
/* Deletes one segment (retention of a tenant, or by size). */
TEL_MUST_USE tel_code store_retire(struct store_segment *segment, struct tel_error *err);
/* What retention took. */
struct store_gone {
    uint64_t days, segments, events, bytes;
};
/* Drops all days before `day`: they are invisible at once, and deleted once nobody reads them, by
 * this or a later call of store_collect. Adds to *sum. */
void store_drop_before(struct store *store, int64_t day, struct store_gone *sum);
/* Drops days of which nothing is left, and nothing is being written. */
void store_drop_empty(struct store *store);
/* The oldest day, or INT64_MAX; the newest, or INT64_MIN. */
int64_t store_oldest_day(struct store *store);
int64_t store_newest_day(struct store *store);

/* ---- reading a segment ---------------------------------------------------------------------------- */

/* A segment's sections, as segment_io wants them. One thread at a time. Holds a reference. */
struct store_handle;
TEL_MUST_USE tel_code store_handle_open(struct store_segment *segment, struct store_handle **ret,
                                        struct tel_error *err);
void store_handle_close(struct store_handle *handle); /* NULL is fine */
struct segment_io store_handle_io(struct store_handle *handle);
/* Frees the sections with numbers from `from` on that were read: they are read again when asked for. */
void store_handle_drop(struct store_handle *handle, uint32_t from);
uint64_t store_handle_bytes(const struct store_handle *handle); /* held in memory */
struct store_segment *store_handle_segment(const struct store_handle *handle);

/* Reads every section of the segment and checks it. */
TEL_MUST_USE tel_code store_segment_verify(struct store_segment *segment, struct tel_error *err);

#endif
