/* A shard server as a whole: starting, stopping, and the door to searches. */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#define TEL_LOG_COMPONENT "shard"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/sys/limits.h"
#include "common/transport/transport.h"
#include "shard/server_private.h"
#include "shard/store/ldb.h"

#define MIB               (UINT64_C(1) << 20)
#define MEMORY_BYTES      (128 * MIB)
#define CACHE_BYTES       (64 * MIB)
#define RESIDENT_BYTES    (96 * MIB)
#define QUERY_BYTES       (256 * MIB)
#define SEGMENT_ROWS      131072u
#define FLUSH_MS          10000u
#define FLUSH_MAX_MS      60000u
#define CHUNK_MS          100u
#define WORKERS_MAX       4u
#define FUTURE_S          (2u * 86400u)
#define SOURCE_TTL_DAYS   30u
#define CLOCK_CONFIRM_S   86400u
#define BLOCK_CACHE_BYTES (8u << 20)
#define MALLOC_ARENAS     2
#define MAINTAIN_BYTES    (64 * MIB)
#define MAINTAIN_CPU      50u
#define QUIET_MS          600000u
#define COLD_LEVEL        19 /* of zstd: 4 to 8 % smaller, for 6 to 40 us of CPU an event; 12 gains half of it */
#define RESULTS_BYTES     (16 * MIB)

static void fill_defaults(struct shard_options *o)
{
    if (!o->clock)
        o->clock = tel_clock_system();
    if (!o->memory_bytes)
        o->memory_bytes = MEMORY_BYTES;
    if (!o->cache_bytes)
        o->cache_bytes = CACHE_BYTES;
    if (!o->resident_bytes)
        o->resident_bytes = RESIDENT_BYTES;
    if (!o->query_memory_bytes)
        o->query_memory_bytes = QUERY_BYTES;
    if (!o->segment_rows)
        o->segment_rows = SEGMENT_ROWS;
    if (!o->flush_interval_ms)
        o->flush_interval_ms = FLUSH_MS;
    if (!o->flush_interval_max_ms)
        o->flush_interval_max_ms = TEL_MAX(FLUSH_MAX_MS, o->flush_interval_ms);
    if (!o->chunk_interval_ms)
        o->chunk_interval_ms = CHUNK_MS;
    if (!o->workers)
        o->workers = TEL_MIN(tel_limits_cpus(), WORKERS_MAX);
    if (!o->future_limit_s)
        o->future_limit_s = FUTURE_S;
    if (!o->quiet_after_ms)
        o->quiet_after_ms = QUIET_MS;
    if (!o->source_ttl_days)
        o->source_ttl_days = SOURCE_TTL_DAYS;
    if (!o->maintain_bytes_per_s)
        o->maintain_bytes_per_s = MAINTAIN_BYTES;
    if (!o->maintain_cpu_percent)
        o->maintain_cpu_percent = MAINTAIN_CPU;
    if (!o->clock_confirm_s)
        o->clock_confirm_s = CLOCK_CONFIRM_S;
}

static tel_code open_partitions(struct shard_server *s, struct tel_transport *transport,
                                struct tel_error *err)
{
    const struct shard_options *o = &s->options;
    s->partitions = tel_calloc(o->partition_count, sizeof(struct partition *));
    s->stores = tel_calloc(o->partition_count, sizeof(struct store *));
    for (size_t i = 0; i < o->partition_count; i++) {
        char name[16];
        snprintf(name, sizeof(name), "p%" PRIu32, o->partitions[i]);
        char *dir = folder_path(s->dir, name);
        struct partition_options options = {
            .id = o->partitions[i],
            .dir = dir,
            .shared = s->shared,
            .clock = o->clock,
            .transport = transport,
            .bury = o->bury,
            .bury_ctx = o->bury_ctx,
            .tick = shard_watch_disk,
            .tick_ctx = s,
            .schemas_dir = o->schemas_dir,
            .limits = {.memory_bytes = o->memory_bytes / o->partition_count,
                       .segment_rows = o->segment_rows,
                       .flush_interval_ms = o->flush_interval_ms,
                       .flush_interval_max_ms = o->flush_interval_max_ms,
                       .chunk_interval_ms = o->chunk_interval_ms,
                       .future_limit_ns = o->future_limit_s * TEL_NS_PER_S,
                       .future_policy = o->future_policy,
                       .source_ttl_ns = o->source_ttl_days * TEL_NS_PER_DAY},
            .retention = s->retention,
            .faults = o->faults,
        };
        tel_code rc = partition_new(&options, &s->partitions[i], err);
        free(dir);
        if (rc != TEL_OK)
            return rc;
        s->stores[i] = partition_store(s->partitions[i]);
        s->partition_count++;
    }
    return TEL_OK;
}

/* Before any thread asks for retention's time. */
static void start_clock(struct shard_server *s)
{
    const struct tel_clock *clock = s->options.clock;
    int64_t wall = tel_wall_ns(clock), newest = INT64_MIN;
    for (size_t i = 0; i < s->partition_count; i++) {
        struct store_stats stats;
        store_stats_get(s->stores[i], &stats);
        newest = TEL_MAX(newest, stats.max_time_ns);
    }
    retention_clock_begin(&s->clock, wall, tel_mono_ns(clock), newest,
                          s->options.clock_confirm_s * TEL_NS_PER_S);
    struct tel_error err;
    tel_code rc = retention_clock_load(&s->clock, s->dir, wall, &err);
    if (rc != TEL_OK && rc != TEL_ERR_NOTFOUND)
        tel_log_warn("retention's clock begins at the newest event", tel_kv_error(&err));
    shard_tick_clock(s);
}

static void collect_metrics(void *arg)
{
    struct shard_server *s = arg;
    for (size_t i = 0; i < s->partition_count; i++)
        shard_metrics_partition(&s->metrics, s->partitions[i]);
    struct cache_stats cache;
    cache_stats_get(s->cache, &cache);
    tel_gauge_set(&s->metrics.cache_bytes, (double)cache.bytes);
    tel_counter_set(&s->metrics.cache_hits, cache.hits);
    tel_counter_set(&s->metrics.cache_misses, cache.misses);
    shard_metrics_residents(&s->metrics, s->residents);
    struct results_stats results;
    results_stats_get(s->results, &results);
    tel_gauge_set(&s->metrics.result_bytes, (double)results.bytes);
    tel_counter_set(&s->metrics.result_hits, results.hits);
    tel_counter_set(&s->metrics.result_misses, results.misses);
    tel_mutex_lock(&s->lock);
    tel_counter_set(&s->metrics.maintain_bytes, s->maintain_stats.bytes);
    tel_counter_set(&s->metrics.maintain_cpu, (uint64_t)s->maintain_stats.cpu_ns);
    tel_gauge_set(&s->metrics.maintain_debt, (double)s->merge_stats.debt_bytes);
    tel_counter_set(&s->metrics.merges, s->merge_stats.merges);
    tel_counter_set(&s->metrics.merge_inputs, s->merge_stats.inputs);
    tel_counter_set(&s->metrics.merge_failures, s->merge_stats.failures);
    tel_counter_set(&s->metrics.recoded, s->merge_stats.recoded);
    tel_counter_set(&s->metrics.recoded_saved, s->merge_stats.recoded_saved_bytes);
    shard_metrics_retention(&s->metrics, s->retention, &s->expire_stats);
    tel_gauge_set(&s->metrics.clock_ahead, (double)s->clock_ahead_ns / 1e9);
    tel_mutex_unlock(&s->lock);
}

static tel_code check_options(const struct shard_options *o, struct tel_error *err)
{
    if (o->partition_count == 0)
        return tel_error_set(err, TEL_ERR_INVALID, "no partitions");
    for (size_t i = 0; i < o->partition_count; i++)
        for (size_t j = 0; j < i; j++)
            if (o->partitions[i] == o->partitions[j])
                return tel_error_set(err, TEL_ERR_INVALID, "partition %" PRIu32 " is named twice",
                                     o->partitions[i]);
    return TEL_OK;
}

static tel_code take_folder(struct shard_server *s, struct tel_error *err)
{
    tel_code rc = tel_fs_mkdir_all(tel_fs_system(), s->dir, err);
    if (rc != TEL_OK)
        return rc;
    char *path = folder_path(s->dir, "LOCK");
    rc = tel_fs_lock(path, &s->lock_file, err);
    free(path);
    return rc;
}

static tel_code start_threads(struct shard_server *s, struct tel_error *err)
{
    unsigned helpers = s->options.workers > 1 ? s->options.workers - 1 : 0;
    tel_code rc = pool_new(helpers, &s->pool, err);
    if (rc != TEL_OK)
        return rc;
    s->scratch = scratch_new(helpers + 1);
    s->env = (struct search_env){
        .partitions = s->partitions,
        .partition_count = s->partition_count,
        .cache = s->cache,
        .residents = s->residents,
        .results = s->results,
        .scratch = s->scratch,
        .pool = s->pool,
        .helpers = helpers,
        .memory_limit = s->options.query_memory_bytes,
    };
    s->env.pool_memory = s->options.memory_pool;
    s->env.lanes = s->options.lanes;
    tel_rand_secure(s->env.epoch, sizeof(s->env.epoch));
    if (!s->has_transport)
        return TEL_OK;
    for (size_t i = 0; i < s->partition_count && rc == TEL_OK; i++)
        rc = partition_start(s->partitions[i], err);
    if (rc == TEL_OK)
        rc = tel_thread_start(&s->maintainer, "maintain", shard_maintain, s, err);
    return rc;
}

tel_code shard_server_new(const struct shard_options *options, struct tel_transport *transport,
                          struct shard_server **ret, struct tel_error *err)
{
    tel_code rc = check_options(options, err);
    if (rc != TEL_OK)
        return rc;
    /* Searches work in arenas of their own; malloc needs no arena per thread, each of which would
     * keep what its thread once used. */
    mallopt(M_ARENA_MAX, MALLOC_ARENAS);
    struct shard_server *s = TEL_NEW(struct shard_server);
    s->options = *options;
    s->has_transport = transport != NULL;
    fill_defaults(&s->options);
    s->dir = tel_strdup(options->dir);
    s->node = tel_strdup(options->node ? options->node : "");
    tel_mutex_init(&s->lock);
    tel_cond_init(&s->wake);
    s->shared = ldb_shared_new(BLOCK_CACHE_BYTES);
    s->cache = cache_new(s->options.cache_bytes);
    s->residents = residents_new(s->options.resident_bytes);
    s->results = results_new(RESULTS_BYTES);
    struct merger_options merger = {
        .full_rows = s->options.segment_rows,
        .stop = &s->stopping,
        .budget = s->has_transport ? &s->budget : NULL, /* a tool waits for the end of it */
        .clock = tel_clock_system(),
        .cold_level = s->options.cold_after_days ? COLD_LEVEL : 0,
    };
    s->merger = merger_new(&merger);
    s->retention = retention_new(&options->retention);
    s->quiet_ns = s->options.quiet_after_ms * TEL_NS_PER_MS;
    rc = take_folder(s, err);
    if (rc == TEL_OK)
        rc = open_partitions(s, transport, err);
    if (rc == TEL_OK)
        start_clock(s);
    if (rc == TEL_OK && options->metrics) {
        tel_metrics_register(options->metrics, &shard_metric_table, &s->metrics, NULL, NULL);
        tel_metrics_on_collect(options->metrics, collect_metrics, s);
        s->registered = true;
    }
    if (rc == TEL_OK)
        rc = start_threads(s, err);
    if (rc != TEL_OK) {
        shard_server_free(s);
        return rc;
    }
    *ret = s;
    return TEL_OK;
}

void shard_server_stop(struct shard_server *s, bool flush)
{
    tel_mutex_lock(&s->lock);
    bool before = s->stopping;
    s->stopping = true;
    tel_cond_broadcast(&s->wake);
    tel_mutex_unlock(&s->lock);
    if (before)
        return;
    for (size_t i = 0; i < s->partition_count; i++)
        partition_stop(s->partitions[i], flush);
    for (size_t i = 0; i < s->partition_count; i++)
        partition_join(s->partitions[i]);
    tel_thread_join(&s->maintainer);
    tel_mutex_lock(&s->lock);
    while (s->searches > 0)
        tel_cond_wait(&s->wake, &s->lock);
    tel_mutex_unlock(&s->lock);
}

void shard_server_free(struct shard_server *s)
{
    if (!s)
        return;
    shard_server_stop(s, false);
    if (s->registered) {
        tel_metrics_off_collect(s->options.metrics, s);
        tel_metrics_unregister(s->options.metrics, &s->metrics);
    }
    pool_free(s->pool);
    scratch_free(s->scratch);
    cache_free(s->cache);
    residents_free(s->residents);
    results_free(s->results);
    merger_free(s->merger);
    for (size_t i = 0; i < s->partition_count; i++)
        partition_free(s->partitions[i]);
    free(s->partitions);
    free(s->stores);
    retention_free(s->retention);
    ldb_shared_free(s->shared);
    tel_fs_unlock(s->lock_file);
    tel_cond_done(&s->wake);
    tel_mutex_done(&s->lock);
    free(s->dir);
    free(s->node);
    free(s);
}

void shard_server_set_retention(struct shard_server *s, const struct retention_rules *rules)
{
    retention_set(s->retention, rules);
}

bool shard_server_ready(const struct shard_server *s)
{
    for (size_t i = 0; i < s->partition_count; i++) {
        struct partition_status status;
        partition_status(s->partitions[i], &status);
        if (!status.caught_up)
            return false;
    }
    return true;
}

tel_code shard_server_feed(struct shard_server *s, const struct tel_message *message,
                           struct tel_error *err)
{
    TEL_CHECK(!s->has_transport);
    for (size_t i = 0; i < s->partition_count; i++)
        if (partition_id(s->partitions[i]) == message->partition)
            return partition_feed(s->partitions[i], message, err);
    return tel_error_set(err, TEL_ERR_NOTFOUND, "partition %" PRIu32 " is not held",
                         message->partition);
}

tel_code shard_server_settle(struct shard_server *s, struct tel_error *err)
{
    TEL_CHECK(!s->has_transport);
    for (size_t i = 0; i < s->partition_count; i++) {
        tel_code rc = partition_flush(s->partitions[i], err);
        if (rc != TEL_OK)
            return rc;
    }
    bool busy;
    do
        shard_maintain_once(s, &busy);
    while (busy);
    return TEL_OK;
}

uint64_t shard_server_merged_rows(struct shard_server *s)
{
    tel_mutex_lock(&s->lock);
    uint64_t rows = s->merge_stats.rows;
    tel_mutex_unlock(&s->lock);
    return rows;
}

/* ---- the door ----------------------------------------------------------------------------------- */

struct door {
    struct shard_server *server;
    const struct shard_sink *sink;
};

static tel_code door_rows(void *ctx, Telescope__Shard__V1__RowBatch *batch, struct tel_error *err)
{
    const struct door *door = ctx;
    return door->sink->rows(door->sink->ctx, batch, err);
}

static tel_code door_stop(void *ctx)
{
    const struct door *door = ctx;
    if (atomic_load_explicit(&door->server->stopping, memory_order_relaxed))
        return TEL_ERR_CANCELLED;
    return door->sink->stop ? door->sink->stop(door->sink->ctx) : TEL_OK;
}

tel_code shard_search(struct shard_server *s, const Telescope__Shard__V1__SearchRequest *request,
                      const struct shard_sink *sink, Telescope__Shard__V1__SearchEnd **ret_end,
                      struct tel_error *err)
{
    tel_mutex_lock(&s->lock);
    if (s->stopping) {
        tel_mutex_unlock(&s->lock);
        return tel_error_set(err, TEL_ERR_UNAVAILABLE, "the shard server is stopping");
    }
    s->searches++;
    if (s->registered)
        tel_gauge_set(&s->metrics.searches_running, (double)s->searches);
    tel_mutex_unlock(&s->lock);
    int64_t began = tel_mono_ns(tel_clock_system());
    struct door door = {s, sink};
    struct shard_sink through = {&door, door_rows, door_stop};
    Telescope__Shard__V1__SearchEnd *end = NULL;
    tel_code rc = search_run(&s->env, request, &through, &end, err);
    if (s->registered) {
        tel_counter_add(&s->metrics.searches, 1);
        tel_counter_add(&s->metrics.search_errors, rc != TEL_OK);
        tel_histogram_observe(&s->metrics.search_seconds,
                              (uint64_t)(tel_mono_ns(tel_clock_system()) - began));
        if (end)
            tel_counter_add(&s->metrics.search_cpu, end->stats->cpu_ns);
    }
    tel_mutex_lock(&s->lock);
    if (--s->searches == 0)
        tel_cond_broadcast(&s->wake);
    if (s->registered)
        tel_gauge_set(&s->metrics.searches_running, (double)s->searches);
    tel_mutex_unlock(&s->lock);
    if (rc == TEL_OK)
        *ret_end = end;
    return rc;
}
