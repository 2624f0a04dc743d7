#include "shard/metrics.h"

#include <inttypes.h>
#include <stdio.h>

#include "shard/ingest/partition.h"
#include "shard/maintain/expire.h"
#include "shard/query/residents.h"

#define METRIC(...) TEL_METRIC_ITEM(struct shard_metrics, __VA_ARGS__)
static const struct tel_metric_item items[] = {
#include "shard/metrics.def"
};
#undef METRIC
const struct tel_metric_table shard_metric_table = TEL_METRIC_TABLE(items);

static void count(struct tel_family *family, const char *const *labels, uint64_t value)
{
    tel_counter_set(tel_family_counter(family, labels), value);
}

static void show(struct tel_family *family, const char *const *labels, double value)
{
    tel_gauge_set(tel_family_gauge(family, labels), value);
}

void shard_metrics_partition(struct shard_metrics *m, struct partition *partition)
{
    char id[16];
    snprintf(id, sizeof(id), "%" PRIu32, partition_id(partition));
    const char *const l[] = {id};
    struct partition_status s;
    struct store_stats st;
    partition_status(partition, &s);
    store_stats_get(partition_store(partition), &st);

    count(&m->events, l, s.counters.events);
    count(&m->messages, l, s.tally.messages);
    count(&m->repeats, l, s.counters.repeats_dropped);
    count(&m->replayed, l, s.tally.replayed);
    count(&m->dead_letters, l, s.counters.dead_letters);
    count(&m->gap_messages, l, s.counters.gap_messages);
    count(&m->events_outside, l, s.counters.events_outside);
    count(&m->flushes, l, s.tally.flushes);
    count(&m->flush_errors, l, s.tally.flush_errors);
    count(&m->flush_seconds, l, s.tally.flush_ns);
    count(&m->written_bytes, l, st.written_bytes);
    count(&m->merged_bytes, l, st.merged_bytes);
    count(&m->reopened, l, st.reopened);

    show(&m->watermark, l, (double)s.visible.offset);
    show(&m->high, l, (double)s.high);
    show(&m->lag_messages, l, s.high > s.visible.offset ? (double)(s.high - s.visible.offset) : 0);
    show(&m->lag_seconds, l, (double)s.lag_ms / 1000);
    show(&m->memory_bytes, l, (double)s.memory_bytes);
    show(&m->stored_bytes, l, (double)st.stored_bytes);
    show(&m->raw_bytes, l, (double)st.raw_bytes);
    show(&m->segments, l, (double)st.segments);
    show(&m->days, l, (double)st.days);
    show(&m->dead_bytes, l, (double)st.dead_bytes);
    show(&m->damaged, l, (double)(st.damaged_segments + st.broken_days));
    show(&m->paused, l, s.paused);
}

static void show_part(struct shard_metrics *m, const char *name, const struct residents_part *part)
{
    const char *const l[] = {name};
    show(&m->resident_bytes, l, (double)part->bytes);
    show(&m->resident_segments, l, (double)part->count);
    count(&m->resident_hits, l, part->hits);
    count(&m->resident_misses, l, part->misses);
    count(&m->resident_dropped, l, part->dropped);
}

void shard_metrics_residents(struct shard_metrics *m, struct residents *residents)
{
    struct residents_stats stats;
    residents_stats_get(residents, &stats);
    show_part(m, "outline", &stats.outlines);
    show_part(m, "words", &stats.words);
}

static void count_expired(void *ctx, const char *tenant, uint64_t events)
{
    struct shard_metrics *m = ctx;
    const char *const l[] = {tenant};
    count(&m->expired, l, events);
}

void shard_metrics_retention(struct shard_metrics *m, struct retention *retention,
                             const struct expire_stats *stats)
{
    for (unsigned why = 0; why < RETENTION_REASONS; why++) {
        const char *const l[] = {retention_reason_name((enum retention_reason)why)};
        const struct store_gone *gone = &stats->of[why];
        count(&m->retention_days, l, gone->days);
        count(&m->retention_segments, l, gone->segments);
        count(&m->retention_events, l, gone->events);
        count(&m->retention_bytes, l, gone->bytes);
    }
    retention_each_expired(retention, count_expired, m);
}
