/* The inside of a shard server, for server.c, status.c and maintain/maintain.c. */
#ifndef SHARD_SERVER_PRIVATE_H
#define SHARD_SERVER_PRIVATE_H

#include "common/metrics/registry.h"
#include "common/sys/fs.h"
#include "common/sys/thread.h"
#include "shard/ingest/partition.h"
#include "shard/maintain/budget.h"
#include "shard/maintain/clock.h"
#include "shard/maintain/expire.h"
#include "shard/maintain/merge.h"
#include "shard/metrics.h"
#include "shard/query/search.h"
#include "shard/service.h"
#include "shard/store/folder.h"

struct ldb_shared;

struct shard_server {
    struct shard_options options;
    char *dir, *node;
    bool has_transport;
    struct tel_fs_lock *lock_file;
    struct ldb_shared *shared;
    struct partition **partitions;
    size_t partition_count;
    struct cache *cache;
    struct residents *residents;
    struct results *results;
    struct scratch *scratch;
    struct pool *pool;
    struct search_env env;
    struct merger *merger;
    struct budget budget; /* the maintainer's, as long as there is a thread of it */
    struct retention *retention;
    struct retention_clock clock; /* the maintainer's */
    struct store **stores;        /* of the partitions */
    int64_t quiet_ns; /* a day that got nothing for so long is merged to the end */
    struct shard_metrics metrics;
    bool registered;

    struct tel_thread maintainer;
    struct tel_mutex lock; /* guards what follows */
    struct tel_cond wake;  /* the maintainer; searches == 0 */
    _Atomic bool stopping; /* written under the lock, read by searches without it */
    unsigned searches; /* under way; a snapshot counts as one */
    bool in_snapshot;
    _Atomic bool disk_full;         /* written under the lock */
    struct merge_stats merge_stats;   /* the maintainer's, copied under the lock */
    struct maintain_stats {
        uint64_t bytes;
        int64_t cpu_ns;
    } maintain_stats; /* likewise */
    int64_t debt_since_ns; /* monotonic, the maintainer's: since when work has waited; 0: none does */
    struct expire_stats expire_stats; /* likewise */
    int64_t clock_ahead_ns; /* of retention's time is the machine's; 0 unless it has jumped */
};

/* The maintenance thread (maintain.c): merging, retention, deletion, the disk's high-water mark. */
void shard_maintain(void *server);
/* Looks at the disk, and pauses or resumes all partitions. Any thread. */
void shard_watch_disk(void *server);
/* Free space at which consuming pauses, and which a snapshot leaves alone; 0: none. Any thread. */
uint64_t shard_disk_reserve(struct shard_server *server);
/* Brings retention's time up to date. The maintainer's, or before there is one. */
void shard_tick_clock(struct shard_server *server);
/* One round of it; *ret_busy: there is more to do at once. */
void shard_maintain_once(struct shard_server *server, bool *ret_busy);

#endif
