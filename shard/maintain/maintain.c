/*
 * The maintenance thread of a shard server. Every round: look at the disk, apply retention, merge
 * once per partition, delete what was replaced. What a round takes it takes from the budget (budget.h);
 * rounds that find more to do follow one another as fast as that allows, and the thread is also nice to
 * others. Each step may be cut short by kill -9: the store's own rules make it whole again.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define TEL_LOG_COMPONENT "maintain"
#include "common/base/log.h"
#include "common/base/timefmt.h"
#include "shard/server_private.h"

#define ROUND_MS         1000
#define NICENESS         10
#define TRIM_ROUNDS      5u
#define RESERVE_MAX      (UINT64_C(1) << 30)
/* Merges per round and partition, so that retention and the disk get their turn. */
#define MERGES_PER_ROUND 16u
/* Work that has waited for so long is worth a line in the log, and again after as long. */
#define DEBT_SAID_NS     (600 * TEL_NS_PER_S)

/* ---- the disk ----------------------------------------------------------------------------------- */

static uint64_t reserve_of(const struct shard_server *s, const struct tel_fs_space *space)
{
    uint64_t reserve = s->options.disk_reserve_bytes;
    return reserve ? reserve : TEL_MIN(RESERVE_MAX, space->total_bytes / 20);
}

uint64_t shard_disk_reserve(struct shard_server *s)
{
    struct tel_fs_space space = {0};
    if (s->options.disk_reserve_bytes == UINT64_MAX ||
        tel_fs_space(tel_fs_system(), s->dir, &space, NULL) != TEL_OK)
        return 0;
    return reserve_of(s, &space);
}

/* The partitions ask, too: a merge may keep this thread for long, and the disk fills meanwhile. */
void shard_watch_disk(void *server)
{
    struct shard_server *s = server;
    struct tel_fs_space space;
    struct tel_error err;
    if (s->options.disk_reserve_bytes == UINT64_MAX)
        return;
    if (tel_fs_space(tel_fs_system(), s->dir, &space, &err) != TEL_OK) {
        tel_log_warn("cannot ask for the disk's free space", tel_kv_error(&err));
        return;
    }
    tel_gauge_set(&s->metrics.disk_free, (double)space.free_bytes);
    uint64_t reserve = reserve_of(s, &space);
    tel_mutex_lock(&s->lock);
    bool was = s->disk_full;
    /* A tenth more before it goes on, so that it does not flap. */
    bool full = space.free_bytes < reserve + (was ? reserve / 10 : 0);
    s->disk_full = full;
    for (size_t i = 0; i < s->partition_count; i++)
        partition_pause(s->partitions[i], full);
    tel_mutex_unlock(&s->lock);
    if (full && !was)
        tel_log_error("the disk is nearly full: nothing is consumed until there is room",
                      tel_kv_u64("free_bytes", space.free_bytes),
                      tel_kv_u64("reserve_bytes", reserve));
    else if (was && !full)
        tel_log_info("the disk has room again", tel_kv_u64("free_bytes", space.free_bytes));
}

/* ---- retention ---------------------------------------------------------------------------------- */

void shard_tick_clock(struct shard_server *s)
{
    int64_t wall = tel_wall_ns(s->options.clock);
    bool turned = retention_clock_tick(&s->clock, wall, tel_mono_ns(s->options.clock));
    bool held = s->clock.held_ns > 0;
    if (turned && held)
        tel_log_error("the machine's clock has jumped ahead: nothing is deleted by age until it has "
                      "stayed so, see retention.clock_confirm",
                      tel_kv_i64("ahead_s", (wall - s->clock.now_ns) / TEL_NS_PER_S));
    else if (turned)
        tel_log_warn("retention goes by the machine's clock again");
    struct tel_error err;
    if (retention_clock_save(&s->clock, s->dir, turned, &err) != TEL_OK)
        tel_log_warn("cannot save retention's clock", tel_kv_error(&err));
    retention_set_now(s->retention, s->clock.now_ns);
    tel_mutex_lock(&s->lock);
    s->clock_ahead_ns = held ? wall - s->clock.now_ns : 0;
    tel_mutex_unlock(&s->lock);
}

static void apply_retention(struct shard_server *s, bool *busy)
{
    struct expire_stats stats = s->expire_stats;
    bool more;
    shard_tick_clock(s);
    expire_run(s->stores, s->partition_count, s->retention, &stats, &more);
    *busy = *busy || more;
    tel_mutex_lock(&s->lock);
    s->expire_stats = stats;
    tel_mutex_unlock(&s->lock);
}

/* ---- merging and deleting ------------------------------------------------------------------------ */

static bool stopping(struct shard_server *s)
{
    return atomic_load_explicit(&s->stopping, memory_order_relaxed);
}

/* Adds to *debt what had to wait. */
static void merge(struct shard_server *s, struct store *store, bool *busy, uint64_t *debt)
{
    struct merge_stats stats = s->merge_stats;
    stats.debt_bytes = *debt;
    int64_t cold = tel_day_of(tel_wall_ns(s->options.clock)) - s->options.cold_after_days;
    struct tel_error err;
    bool done = false;
    tel_code rc = merger_step(s->merger, store, s->quiet_ns, cold, MERGES_PER_ROUND, &done, &stats,
                              &err);
    if (rc != TEL_OK)
        tel_log_warn("cannot merge", tel_kv_error(&err));
    *busy = *busy || done;
    *debt = stats.debt_bytes;
    tel_mutex_lock(&s->lock);
    s->merge_stats = stats;
    tel_mutex_unlock(&s->lock);
}

/* What the round has taken, but for the merges, which put theirs down themselves. */
static void spend(struct shard_server *s, const struct merge_stats *before, uint64_t deleted_bytes,
                  int64_t cpu_ns)
{
    const struct merge_stats *now = &s->merge_stats;
    uint64_t merged = now->read_bytes + now->written_bytes - before->read_bytes - before->written_bytes;
    budget_spend(&s->budget, deleted_bytes, cpu_ns - (now->cpu_ns - before->cpu_ns));
    tel_mutex_lock(&s->lock);
    s->maintain_stats.bytes += merged + deleted_bytes;
    s->maintain_stats.cpu_ns += cpu_ns;
    tel_mutex_unlock(&s->lock);
}

/* Work that waits is seen in the metrics at once, and said in the log when that goes on for long. */
static void note_debt(struct shard_server *s, uint64_t debt)
{
    int64_t now = tel_mono_ns(tel_clock_system());
    if (debt == 0)
        s->debt_since_ns = 0;
    else if (s->debt_since_ns == 0)
        s->debt_since_ns = now;
    else if (now - s->debt_since_ns >= DEBT_SAID_NS) {
        tel_log_warn("merging falls behind: maintain.rate or maintain.cpu is too low",
                     tel_kv_u64("debt_bytes", debt));
        s->debt_since_ns = now;
    }
}

static uint64_t collect(struct shard_server *s, struct store *store)
{
    struct store_stats before, after;
    size_t deleted = 0;
    struct tel_error err;
    store_stats_get(store, &before);
    if (store_collect(store, &deleted, &err) != TEL_OK)
        tel_log_warn("cannot delete replaced segments", tel_kv_error(&err));
    tel_counter_add(&s->metrics.deleted_segments, deleted);
    store_stats_get(store, &after);
    return before.dead_bytes > after.dead_bytes ? before.dead_bytes - after.dead_bytes : 0;
}

static int64_t thread_cpu_ns(void)
{
    struct timespec ts = {0};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * TEL_NS_PER_S + ts.tv_nsec;
}

void shard_maintain_once(struct shard_server *s, bool *ret_busy)
{
    struct merge_stats before = s->merge_stats;
    int64_t cpu_ns = thread_cpu_ns();
    uint64_t debt = 0, deleted = 0;
    *ret_busy = false;
    shard_watch_disk(s);
    apply_retention(s, ret_busy);
    for (size_t i = 0; i < s->partition_count && !stopping(s); i++) {
        struct store *store = partition_store(s->partitions[i]);
        /* Merging needs room for a moment. */
        if (!s->disk_full)
            merge(s, store, ret_busy, &debt);
        cache_purge(s->cache);
        residents_purge(s->residents);
        deleted += collect(s, store);
    }
    spend(s, &before, deleted, thread_cpu_ns() - cpu_ns);
    note_debt(s, debt);
}

/* Searches take and free much memory; what malloc keeps of it is given back when nothing else is to
 * be done. */
static void give_back_memory(struct shard_server *s, unsigned *idle_rounds)
{
    if (++*idle_rounds % TRIM_ROUNDS != 0)
        return;
    scratch_trim(s->scratch);
    malloc_trim(0);
}

void shard_maintain(void *arg)
{
    struct shard_server *s = arg;
    const struct tel_clock *clock = tel_clock_system();
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICENESS);
    unsigned idle_rounds = 0;
    budget_begin(&s->budget,
                 s->options.maintain_bytes_per_s == UINT64_MAX ? 0 : s->options.maintain_bytes_per_s,
                 s->options.maintain_cpu_percent / 100.0, tel_mono_ns(clock));
    tel_mutex_lock(&s->lock);
    while (!s->stopping) {
        tel_mutex_unlock(&s->lock);
        bool busy;
        shard_maintain_once(s, &busy);
        if (!busy)
            give_back_memory(s, &idle_rounds);
        int64_t now = tel_mono_ns(clock);
        int64_t round = ROUND_MS * TEL_NS_PER_MS;
        int64_t until = now + (busy ? TEL_MIN(budget_wait(&s->budget, now), round) : round);
        tel_mutex_lock(&s->lock);
        while (!s->stopping && tel_cond_wait_until(&s->wake, &s->lock, until))
            ;
    }
    tel_mutex_unlock(&s->lock);
}
