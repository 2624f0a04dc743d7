/*
 * An append-only log of records with dense offsets: the queue of standalone, and the spool of a
 * sidecar for inputs that cannot be read again. FORMAT.md has the files.
 *
 *     append (any thread) -> queue in memory -> writer thread: one write, one fsync for all that
 *     waits -> acknowledgements, in order -> readers see the records
 *
 * Only durable records are ever read: an offset that a reader has seen is never given to another
 * record, whatever crashes. Space comes back when every reader has released a whole segment, or all
 * there is.
 */
#ifndef TEL_JOURNAL_JOURNAL_H
#define TEL_JOURNAL_JOURNAL_H

#include <stdint.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/span.h"

struct tel_fs;
struct tel_journal;
struct tel_journal_reader;

struct tel_journal_options {
    struct tel_fs *fs;             /* NULL: the machine's */
    const char *dir;               /* made if it is not there; locked against a second process */
    uint64_t budget_bytes;         /* of all files and what waits in memory; 0: 1 GiB; at least 1 MiB */
    uint64_t segment_bytes;        /* 0: 16 MiB; at most an eighth of the budget */
    uint64_t pending_bytes;        /* appended and not yet durable; 0: 8 MiB; an eighth likewise */
    uint64_t disk_reserve_bytes;   /* groups are refused (TEL_ERR_NOSPACE) that would leave less free on
                                      the disk: for whoever has to empty the journal. 0: none */
    uint32_t sync_interval_ms;     /* an append waits at most this long for others to share its
                                      fsync; when none was just made it does not wait. 0: 5 */
    const struct tel_clock *clock; /* for timestamps; NULL: the machine's */
};

/* Opens or makes the journal and starts its writer. TEL_ERR_LOCKED: another process has it. */
TEL_MUST_USE tel_code tel_journal_open(const struct tel_journal_options *options,
                                       struct tel_journal **ret, struct tel_error *err);
/* Makes durable what waits, acknowledges it, closes. Readers are closed before. NULL is fine. */
void tel_journal_close(struct tel_journal *journal);

/* ---- appending: any thread ---------------------------------------------------------------- */

/* Called once per accepted record, on the writer's thread, in the order of appending: TEL_OK and
 * the offset when it is durable; else the record is not in the log (unless the disk also refused to
 * cut it off and to begin a new segment until the process ended: then it may turn up after that). Must
 * not block for long: the next group waits. */
typedef void tel_journal_ack_cb(void *ctx, tel_code code, int64_t offset,
                                const struct tel_error *err);

/* Copies key and value; ack may be NULL. On an error nothing is appended and ack is not called:
 * TEL_ERR_AGAIN    the budget, or what may wait in memory, is used up
 * TEL_ERR_NOSPACE  the disk was full a moment ago; tried again after 200 ms
 * TEL_ERR_IO       the disk failed a moment ago; likewise
 * TEL_ERR_LIMIT    larger than tel_journal_record_max */
TEL_MUST_USE tel_code tel_journal_append(struct tel_journal *journal, struct tel_span key,
                                         struct tel_span value, tel_journal_ack_cb *ack, void *ctx,
                                         struct tel_error *err);
/* Waits until all that was appended before the call has been acknowledged or refused. */
TEL_MUST_USE tel_code tel_journal_flush(struct tel_journal *journal, int timeout_ms,
                                        struct tel_error *err);
/* Bytes of key and value that a record may have. */
uint64_t tel_journal_record_max(const struct tel_journal *journal);

struct tel_journal_stats {
    int64_t low, high;           /* offsets of the first record, and behind the last durable one */
    uint64_t bytes, budget_bytes;
    uint64_t pending_bytes, segments;
    uint64_t appended_records, appended_bytes; /* since it was opened */
    uint64_t syncs, failures;    /* groups made durable, groups that the disk refused */
    uint64_t cut_bytes;          /* torn bytes cut when it was opened */
};
void tel_journal_stats(struct tel_journal *journal, struct tel_journal_stats *ret);

/* ---- reading: each reader belongs to one thread ------------------------------------------- */

struct tel_journal_record {
    int64_t offset, timestamp_ns;
    struct tel_span key, value; /* valid until the reader's next call */
};

/* Reads from offset `start` on. As long as it is open, nothing that it has not released goes. */
struct tel_journal_reader *tel_journal_reader_open(struct tel_journal *journal, int64_t start);
void tel_journal_reader_close(struct tel_journal_reader *reader); /* NULL is fine */

/* Up to `max` records in *ret_records[0..*ret_count), waiting up to timeout_ms for the first.
 * TEL_OK with count 0: nothing new. TEL_ERR_GAP: the next offset is below the log's first (trimmed)
 * or above its end (the log was made anew), and *ret_next is the log's first; TEL_ERR_CORRUPT: records
 * are damaged, and *ret_next is where the log goes on. Both come again until tel_journal_reader_seek. */
TEL_MUST_USE tel_code tel_journal_read(struct tel_journal_reader *reader, int timeout_ms,
                                       size_t max, const struct tel_journal_record **ret_records,
                                       size_t *ret_count, int64_t *ret_next,
                                       struct tel_error *err);
void tel_journal_reader_seek(struct tel_journal_reader *reader, int64_t offset);
/* This reader needs nothing below offset any more. Does not block; any thread. */
void tel_journal_release(struct tel_journal_reader *reader, int64_t offset);
/* Any thread; does not block. */
void tel_journal_watermarks(struct tel_journal *journal, int64_t *ret_low, int64_t *ret_high);
/* Wakes a read that waits; any thread. It returns TEL_OK with what there is. */
void tel_journal_reader_wake(struct tel_journal_reader *reader);

#endif
