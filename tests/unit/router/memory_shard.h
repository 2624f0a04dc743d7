/*
 * Shard servers for tests: events in memory, searched by the real filters and pipes, behind the
 * real in-process client; and each can be told to misbehave.
 */
#ifndef TESTS_UNIT_ROUTER_MEMORY_SHARD_H
#define TESTS_UNIT_ROUTER_MEMORY_SHARD_H

#include <stdatomic.h>

#include "common/logsql/pipe.h"
#include "router/router.h"
#include "router/shard_client_local.h"

struct memory_event {
    struct tel_row_key key;
    const char *msg, *app, *host;
};

/* One server: some partitions of a shared set of events. */
struct memory_shard {
    const struct memory_event *events;
    _Atomic size_t event_count; /* tests let it grow */
    const char *address;
    uint32_t partitions[64];
    size_t partition_count;

    /* Tests change these while searches run. */
    _Atomic bool refuse;         /* UNAVAILABLE at once */
    _Atomic bool hang;           /* say nothing until cancelled; no status either */
    _Atomic int fail_after;      /* end with an error behind so many batches; 0: never */
    _Atomic int stall_after;     /* say nothing more behind so many batches; 0: never */
    _Atomic tel_code fail_code;  /* 0: UNAVAILABLE */
    const char *_Atomic missing; /* said of the first partition */
    _Atomic bool no_end;         /* end without a word about partitions */
    _Atomic bool unchanged;      /* say that nothing has changed, asked or not */
    _Atomic uint32_t lag_ms;
    _Atomic int64_t watermark; /* 0: 1000 */
    _Atomic size_t batch_rows; /* 0: 100 */
    _Atomic int searches, cancelled, rows_sent, statuses;
};

struct memory_cluster {
    struct shard_client_local *local;
    struct shard_map *map;
    struct memory_shard shards[16];
    size_t shard_count;
    struct router *router;
};

/* replicas[i] of server i: the partitions that it holds, e.g. "0,2". Misbehaviour is set
 * afterwards; NULL ends the list. */
void memory_cluster_start(struct memory_cluster *c, const struct memory_event *events, size_t count,
                          const char *const *holdings, const struct router_options *options);
void memory_cluster_stop(struct memory_cluster *c);

/* The events in memory: `count` of them over `partitions`, made from seed; many share a time. */
struct memory_event *memory_events(size_t count, uint32_t partitions, uint64_t seed);

#endif
