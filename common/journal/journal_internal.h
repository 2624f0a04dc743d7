/*
 * What the journal's files share. Internal to common/journal.
 *
 * One lock. It guards everything below that is not said to be somebody's own. The writer thread
 * holds it only to swap queues and to publish; reads and writes of files happen without it.
 */
#ifndef TEL_JOURNAL_INTERNAL_H
#define TEL_JOURNAL_INTERNAL_H

#include "common/base/buf.h"
#include "common/base/vec.h"
#include "common/journal/journal.h"
#include "common/journal/journal_format.h"
#include "common/sys/fs.h"
#include "common/sys/thread.h"

struct journal_segment {
    int64_t base, end;  /* offsets [base, end); of the last one, end follows what is durable */
    uint64_t bytes;     /* of the file that count: all behind them is to be ignored */
};

struct journal_ack {
    tel_journal_ack_cb *cb;
    void *ctx;
};

/* Frames and whom to tell: what waits for the next write. */
struct journal_group {
    struct tel_buf bytes;
    TEL_VEC(struct journal_ack) acks; /* one a frame */
};

struct tel_journal {
    struct tel_fs *fs;
    const struct tel_clock *clock;
    char *dir;
    struct tel_fs_lock *dir_lock;
    uint64_t budget, segment_bytes, pending_max, record_max, disk_reserve;
    int64_t sync_interval_ns;

    struct tel_mutex lock;
    struct tel_cond work;   /* to the writer: something waits, or can be trimmed, or stop */
    struct tel_cond settled; /* to readers and flushers: a group has met its fate */
    TEL_VEC(struct journal_segment) segments; /* by base; changed by the writer only; never empty
                                                 once open, see `active` for whether the last takes more */
    int64_t next_offset;    /* what the next append gets */
    int64_t durable_next;   /* everything below is durable */
    uint64_t file_bytes;    /* sum over segments */
    uint64_t waiting_bytes; /* in queue and in the group being written */
    struct journal_group queue;
    uint64_t appended, settled_count; /* records ever appended and ever acknowledged or refused */
    int64_t refuse_until_ns; /* monotonic; appends are refused with refuse_code until then */
    tel_code refuse_code;
    bool flush_now, stop;
    int64_t trim_floor;
    struct tel_journal_reader *readers;
    struct tel_journal_stats stats; /* the counters of it */

    /* the writer's own */
    struct tel_thread thread;
    struct tel_file *active; /* the last segment, open for writing; NULL: the next group makes one */
    struct journal_group writing;
    int64_t last_sync_ns;
};

struct tel_journal_reader {
    struct tel_journal *journal;
    struct tel_journal_reader *next_reader; /* journal->lock */
    int64_t released;                       /* journal->lock */
    bool woken;                             /* journal->lock */

    /* the reader's thread's own */
    int64_t next;            /* offset of the record to be given next */
    struct tel_file *file;   /* of the segment with base file_base */
    int64_t file_base, file_next; /* file_next: offset of the frame at pos, as far as is known */
    uint64_t pos;            /* in the file, of buf's unread part */
    struct tel_buf buf;
    size_t buf_pos;
    uint64_t limit;          /* the file counts up to here */
    TEL_VEC(struct tel_journal_record) records;
};

/* DIR/name, for the caller to free. */
char *journal_path(const struct tel_journal *j, int64_t base);

/* journal_recover.c: finds the segments, settles the last one's end; fills segments, offsets. */
TEL_MUST_USE tel_code journal_recover(struct tel_journal *j, struct tel_error *err);

/* journal_writer.c */
void journal_writer_run(void *arg);
/* Makes an empty, durable segment with this base and opens it as the active one. */
TEL_MUST_USE tel_code journal_segment_make(struct tel_journal *j, int64_t base,
                                           struct tel_error *err);

/* journal_reader.c: lowest released offset over the readers; journal->lock is held. */
int64_t journal_floor(const struct tel_journal *j);

#endif
