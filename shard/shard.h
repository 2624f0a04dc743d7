/*
 * A shard server as a library: partitions of the log, indexed into a data folder and searched. The
 * program telescope-shard puts a gRPC service in front of it; standalone calls shard_search itself.
 *
 *     transport ─> per partition: an owner thread (ingest/) ─> store/ <─ maintenance thread
 *                                                              │
 *     shard_search ─> memory chunks and segments (query/) ─────┘
 *
 * Threads: shard_server_new, _stop and _free belong to one thread; shard_search and the status
 * functions may be called by any number of threads between new and free.
 */
#ifndef SHARD_SHARD_H
#define SHARD_SHARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "shard/store/retention.h"

struct tel_transport;
struct tel_metrics;
struct tel_message;
struct shard_server;
struct store_faults;

enum shard_policy { SHARD_KEEP, SHARD_DROP, SHARD_CLAMP };

struct shard_options {
    const char *dir; /* the data folder; locked against a second process */
    const char *node; /* this server's name, for status */
    const uint32_t *partitions;
    size_t partition_count;
    const struct tel_clock *clock;      /* NULL: the machine's */
    struct tel_metrics *metrics;        /* NULL: none */
    /* Where messages go that cannot be decoded; on a partition's thread. A retriable error: the
     * message is tried again. NULL: they are counted and logged. */
    tel_code (*bury)(void *ctx, const struct tel_message *message, const struct tel_error *why,
                     struct tel_error *err);
    void *bury_ctx;
    const char *schemas_dir; /* writer schemas other than ours, see common/record/schema_folder.h;
                              * NULL or empty: none are known */

    uint64_t memory_bytes;      /* for events not yet in segments, all partitions; 0: 128 MiB */
    uint64_t cache_bytes;       /* for open segments, kept between searches; 0: 64 MiB */
    uint64_t resident_bytes;    /* for what stays of segments that are not open; 0: 96 MiB */
    uint64_t query_memory_bytes; /* a search's own limit; 0: 256 MiB */
    struct tel_memory_pool *memory_pool; /* what all searches may keep; NULL: not bounded together */
    struct tel_lanes *lanes;    /* for searches that take long; NULL: all run at once */
    uint64_t segment_rows;      /* flush when a tenant's day has so many; 0: 131,072 */
    uint32_t flush_interval_ms; /* flush events of this age; 0: 10 s */
    uint32_t flush_interval_max_ms; /* the same when segments would come out tiny; 0: 60 s */
    uint32_t chunk_interval_ms; /* events are visible after at most this; 0: 100 ms */
    unsigned workers;           /* threads of a search; 0: as many as CPUs, at most 4 */

    struct retention_rules retention; /* copied; shard_server_set_retention changes them */
    uint32_t clock_confirm_s;   /* a clock that jumped ahead is believed after so long; 0: a day */
    uint32_t quiet_after_ms;    /* what is left of a day is merged, however little, when it got
                                 * nothing new for so long; 0: 10 min */
    uint32_t cold_after_days;   /* older days are coded anew with a stronger compression; 0: never */
    uint64_t maintain_bytes_per_s; /* what merging, retention and cold compression read and write;
                                    * 0: 64 MiB; UINT64_MAX: no limit */
    unsigned maintain_cpu_percent; /* of one CPU, that they take at most; 0: 50 */
    uint64_t disk_reserve_bytes; /* consumption pauses below so much free space; 0: 1 GiB or 5 %,
                                  * whichever is less; UINT64_MAX: never */
    uint32_t future_limit_s;    /* events further ahead of the log's own clock; 0: 2 days */
    enum shard_policy future_policy; /* SHARD_CLAMP: they get the log's time and keep their own as
                                      * the field original_time */
    uint32_t source_ttl_days;   /* positions of sources not seen so long are forgotten; 0: 30 */
    const struct store_faults *faults; /* NULL outside tests */
};

/* Opens the folder and starts all threads. The transport outlives the server. Without one (NULL) no
 * thread indexes or maintains: see shard_server_feed. */
TEL_MUST_USE tel_code shard_server_new(const struct shard_options *options,
                                       struct tel_transport *transport, struct shard_server **ret,
                                       struct tel_error *err);
/* Stops all threads, after a last flush if so wanted; what was not flushed is read again at the next
 * start. Searches that run end soon, and fail from now on. */
void shard_server_stop(struct shard_server *server, bool flush);
/* Stops first if need be. NULL is fine. */
void shard_server_free(struct shard_server *server);

/* New rules of retention, from the next round of maintenance on. Any thread. */
void shard_server_set_retention(struct shard_server *server, const struct retention_rules *rules);

struct manifest;
struct shard_snapshot_request {
    const char *dest;       /* a folder that is not there; its parent is made if need be */
    const uint32_t *partitions; /* NULL: all that the server holds */
    size_t partition_count;
    uint64_t bytes_per_s;   /* 0: as fast as it goes */
    bool (*gone)(void *ctx); /* asked often: does nobody want it any more? May be NULL */
    void (*progress)(void *ctx, uint64_t bytes_done, uint64_t bytes_all); /* may be NULL */
    void *ctx;
};
/* Makes a snapshot (shard/snapshot/snapshot.h), one at a time: TEL_ERR_LOCKED while another is made.
 * TEL_ERR_NOTFOUND: a partition that is not held; TEL_ERR_CANCELLED: gone, or the server stops.
 * *ret is for manifest_done. Any thread. */
TEL_MUST_USE tel_code shard_server_snapshot(struct shard_server *server,
                                            const struct shard_snapshot_request *request,
                                            struct manifest *ret, struct tel_error *err);

/* Whether every partition has caught up with the log as it was found at the start: readiness. */
bool shard_server_ready(const struct shard_server *server);

/* ---- without a transport, for tools and benchmarks: one thread ---------------------------------- */

/* Takes a message of a partition as its thread would, flushing when that is due. */
TEL_MUST_USE tel_code shard_server_feed(struct shard_server *server,
                                        const struct tel_message *message, struct tel_error *err);
/* Makes everything durable, and does all maintenance that there is to do. */
TEL_MUST_USE tel_code shard_server_settle(struct shard_server *server, struct tel_error *err);
/* Rows that merges have written since the start: over the rows there are, it is their cost. */
uint64_t shard_server_merged_rows(struct shard_server *server);

#endif
