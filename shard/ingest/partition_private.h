/* What the files of shard/ingest share. */
#ifndef SHARD_INGEST_PARTITION_PRIVATE_H
#define SHARD_INGEST_PARTITION_PRIVATE_H

#include "common/base/map.h"
#include "common/record/codec.h"
#include "common/sys/thread.h"
#include "common/transport/transport.h"
#include "shard/ingest/partition.h"
#include "shard/ingest/sources.h"
#include "shard/segment/segment.h"

struct partition {
    struct partition_options options;
    char *dir;
    struct store *store;
    struct tel_thread thread;
    _Atomic bool stopping, stop_flush, paused;

    /* The owner's. */
    struct tel_consumer *consumer;
    struct tel_schema_folder *schemas; /* NULL: none are known but ours */
    struct tel_record_decoder *decoder;
    struct segment_learnt *learnt;
    struct segment_builder *builder;
    int64_t learnt_at_ns; /* monotonic: what is learnt is not written again before */
    struct sources sources;
    struct store_position next;       /* the message to take next */
    uint64_t mark;                    /* of the one before it; 0: not known */
    struct store_position replay_end; /* below it, days may hold what is read again */
    struct chunk *open;               /* not yet searched; may be NULL */
    bool big;                         /* the last chunk had many bytes */
    struct store_counters counters;
    struct partition_tally tally;
    TEL_VEC(struct store_gap) gaps;   /* not yet committed */
    struct tel_map groups;            /* (tenant, day) -> rows since the last flush */
    struct tel_map days;              /* day -> 1, since the last flush */
    uint64_t largest_group;
    uint64_t bytes, rows; /* in memory, sealed chunks and the open one */
    int64_t oldest_ns;    /* monotonic: when the oldest of them came; 0 without any */
    int64_t retry_at_ns;  /* after an error: not before */
    uint32_t retry_ms;
    int64_t next_tick_ns;
    int64_t start_high;   /* the log's end when it was first heard of; -1 before */
    int64_t taken_ns;     /* the log's time of the last message taken */

    /* Shared with searches. */
    struct tel_mutex lock;
    chunk_list chunks;
    struct partition_status status;
    int64_t visible_ns;   /* the log's time of the newest visible message */
    int64_t caught_up_ns; /* wall time when nothing was left to read */
};

/* Takes one message into the open chunk. TEL_OK too when it was a dead letter or repeats only. */
TEL_MUST_USE tel_code partition_take(struct partition *p, const struct tel_message *message,
                                     struct tel_error *err);
/* Makes the open chunk visible. */
void partition_seal(struct partition *p);
bool partition_flush_due(const struct partition *p, int64_t mono_ns);
/* What is learnt, from the disk and to it. at_once: though little time has passed since the last. */
void partition_learnt_read(struct partition *p);
void partition_learnt_write(struct partition *p, bool at_once);
void partition_set_error(struct partition *p, const char *text);

#endif
