/*
 * A flush: everything in memory becomes segments, one or more for each tenant and day.
 *
 *     seal
 *     for each day, oldest first:   build its segments -> one writer -> commit (synced, visible)
 *     store_commit: resume offset, positions of the sources that changed, gaps   (synced)
 *     drop the chunks, tell the queue
 *
 * Why this neither loses nor repeats an event, whenever the process ends:
 *
 *   Let X be the offset of the next message when the flush begins. After a day's commit the day holds
 *   all of its events below X, and says so (its watermark is X). The resume offset R moves to X only
 *   after all days that have events below X were synced. So at any moment, for every day: either its
 *   watermark is at least R, or it had no event between its watermark and R.
 *
 *   A start reads from R on, with the sources' positions as they were at R: these were written in one
 *   batch with R. What is a repeat depends on those and on the log, so each message is decided as it
 *   was before. An event that is accepted and lies below its day's watermark is in the day (it was
 *   accepted before, too), and is skipped; any other is not in the day, and is taken. A day's segments
 *   and its watermark appear together: the last batch of the day has the watermark, and segments of
 *   batches before it that never got there are deleted when the store is opened.
 *
 *   When a write fails, the events stay in memory and the flush is tried again, for the days that have
 *   not got there. A day that was committed meanwhile shows its events from segments: searches leave
 *   out of memory what is below the day's watermark.
 */
#include <stdlib.h>

#define TEL_LOG_COMPONENT "ingest"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "shard/ingest/partition_private.h"

#define COMPRESSION_HOT 1
#define RETRY_MS_FIRST  500u
#define RETRY_MS_MAX    30000u
/* Segments of fewer rows than this on average are tiny: rather wait than make them. */
#define TINY_ROWS 1000u

struct piece {
    const struct chunk_run *run;
    size_t seq; /* in the log's order */
};

struct pieces {
    struct piece *items;
    size_t count;
};

static int compare_pieces(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    if (x->run->day != y->run->day)
        return x->run->day < y->run->day ? -1 : 1;
    if (x->run->tenant_hash != y->run->tenant_hash)
        return x->run->tenant_hash < y->run->tenant_hash ? -1 : 1;
    int c = tel_span_cmp(x->run->tenant, y->run->tenant);
    if (c != 0)
        return c;
    return x->seq < y->seq ? -1 : 1;
}

/* All runs in memory, by day, tenant and the log's order: of one tenant's one day they are in it. */
static struct pieces gather(const struct partition *p)
{
    struct pieces pieces = {0};
    size_t total = 0;
    for (size_t i = 0; i < p->chunks.len; i++)
        total += p->chunks.items[i]->runs.len;
    pieces.items = tel_calloc(total, sizeof(*pieces.items));
    for (size_t i = 0; i < p->chunks.len; i++) {
        const struct chunk *chunk = p->chunks.items[i];
        for (size_t j = 0; j < chunk->runs.len; j++, pieces.count++)
            pieces.items[pieces.count] = (struct piece){&chunk->runs.items[j], pieces.count};
    }
    bool sorted = true;
    for (size_t i = 1; i < pieces.count && sorted; i++)
        sorted = compare_pieces(&pieces.items[i - 1], &pieces.items[i]) < 0;
    if (!sorted)
        qsort(pieces.items, pieces.count, sizeof(*pieces.items), compare_pieces);
    return pieces;
}

static void add_run(struct partition *p, const struct chunk_run *run)
{
    /* The events were taken some time ago; bodies are read once and lie one behind the other. */
    enum { AHEAD = 4, LINE = 64, LINES = 4 };
    uint32_t stream = segment_builder_stream(p->builder, run->labels, run->label_count);
    struct tel_row_key key = {.partition = p->options.id, .offset = run->position.offset};
    for (uint32_t i = 0; i < run->count; i++) {
        for (int k = 0; i + AHEAD < run->count && k < LINES; k++)
            __builtin_prefetch(run->events[i + AHEAD].body.ptr + k * LINE);
        key.time_ns = run->events[i].timestamp_ns;
        key.index = run->first + i;
        segment_builder_add(p->builder, &key, stream, &run->events[i]);
    }
}

/* Makes a segment of what the builder has and gives it to the writer. */
static tel_code finish_segment(struct partition *p, struct store_writer *writer,
                               const struct piece *first, const struct piece *last,
                               struct tel_error *err)
{
    struct segment_image image;
    tel_code rc = segment_builder_finish(p->builder, COMPRESSION_HOT, &image, err);
    if (rc == TEL_OK) {
        rc = store_writer_add(writer, first->run->tenant, &image, COMPRESSION_HOT,
                              first->run->position.offset,
                              last->run->position.offset, err);
        p->tally.raw_bytes += image.raw_bytes;
        p->tally.segments_written++;
    }
    segment_builder_reset(p->builder);
    return rc;
}

/* One tenant's events of one day. */
static tel_code write_group(struct partition *p, struct store_writer *writer,
                            const struct piece *pieces, size_t count,
                            struct store_position watermark, struct tel_error *err)
{
    tel_code rc = TEL_OK;
    const struct piece *first = NULL, *last = NULL;
    for (size_t i = 0; i < count && rc == TEL_OK; i++) {
        if (store_position_cmp(pieces[i].run->position, watermark) < 0)
            continue; /* an earlier, failed flush wrote it */
        if (!first)
            first = &pieces[i];
        last = &pieces[i];
        add_run(p, pieces[i].run);
        if (segment_builder_rows(p->builder) >= p->options.limits.segment_rows ||
            segment_builder_full(p->builder)) {
            rc = finish_segment(p, writer, first, last, err);
            first = NULL;
        }
    }
    if (rc == TEL_OK && first)
        rc = finish_segment(p, writer, first, last, err);
    else
        segment_builder_reset(p->builder);
    return rc;
}

static bool same_group(const struct chunk_run *a, const struct chunk_run *b)
{
    return a->day == b->day && a->tenant_hash == b->tenant_hash &&
           tel_span_eq(a->tenant, b->tenant);
}

static tel_code write_day(struct partition *p, const struct piece *pieces, size_t count,
                          struct tel_error *err)
{
    struct store_writer *writer;
    int64_t day = pieces[0].run->day;
    tel_code rc = store_writer_begin(p->store, day, p->next, &writer, err);
    if (rc != TEL_OK)
        return rc;
    struct store_position watermark = store_day_watermark(p->store, day);
    for (size_t i = 0, end; i < count && rc == TEL_OK; i = end) {
        for (end = i + 1; end < count && same_group(pieces[i].run, pieces[end].run); end++)
            ;
        rc = write_group(p, writer, pieces + i, end - i, watermark, err);
    }
    if (rc != TEL_OK) {
        store_writer_abort(writer);
        return rc;
    }
    return store_writer_commit(writer, err);
}

static tel_code write_days(struct partition *p, struct tel_error *err)
{
    struct pieces pieces = gather(p);
    tel_code rc = TEL_OK;
    for (size_t i = 0, end; i < pieces.count && rc == TEL_OK; i = end) {
        for (end = i + 1; end < pieces.count; end++)
            if (pieces.items[end].run->day != pieces.items[i].run->day)
                break;
        rc = write_day(p, pieces.items + i, end - i, err);
    }
    free(pieces.items);
    return rc;
}

static tel_code commit(struct partition *p, struct tel_error *err)
{
    size_t count;
    struct store_source *changed = sources_changed(&p->sources, &count);
    int64_t ttl = p->options.limits.source_ttl_ns;
    /* By the log's time, as `seen` is: a machine's clock that jumps must not forget a source. */
    int64_t now = TEL_MIN(p->taken_ns, retention_now(p->options.retention));
    struct store_commit c = {
        .resume = {p->next, p->mark, p->counters},
        .sources = changed,
        .source_count = count,
        .gaps = p->gaps.items,
        .gap_count = p->gaps.len,
        .expire_before_ns = ttl ? now - ttl : INT64_MIN,
    };
    tel_code rc = store_commit(p->store, &c, err);
    free(changed);
    return rc;
}

static void drop_chunks(struct partition *p)
{
    tel_mutex_lock(&p->lock);
    chunk_list old = p->chunks;
    memset(&p->chunks, 0, sizeof(p->chunks));
    p->status.memory_bytes = p->status.memory_rows = 0;
    p->status.error[0] = '\0';
    tel_mutex_unlock(&p->lock);
    chunk_list_done(&old);
    tel_map_clear(&p->groups);
    tel_map_clear(&p->days);
    tel_vec_clear(&p->gaps);
    p->largest_group = p->bytes = p->rows = 0;
    p->oldest_ns = 0;
    p->retry_ms = 0;
    p->retry_at_ns = 0;
}

tel_code partition_flush(struct partition *p, struct tel_error *err)
{
    struct tel_error local;
    if (!err)
        err = &local;
    int64_t began = tel_mono_ns(p->options.clock);
    partition_seal(p);
    tel_code rc = write_days(p, err);
    if (rc == TEL_OK)
        rc = commit(p, err);
    int64_t now = tel_mono_ns(p->options.clock);
    p->tally.flush_ns += (uint64_t)(now - began);
    p->tally.flushes += rc == TEL_OK;
    p->tally.flush_errors += rc != TEL_OK;
    tel_mutex_lock(&p->lock);
    p->status.tally = p->tally;
    tel_mutex_unlock(&p->lock);
    if (rc == TEL_OK) {
        sources_committed(&p->sources);
        drop_chunks(p);
        if (p->consumer)
            tel_consumer_release(p->consumer, p->next.offset);
        partition_learnt_write(p, false);
        return TEL_OK;
    }
    p->retry_ms = p->retry_ms ? TEL_MIN(p->retry_ms * 2, RETRY_MS_MAX) : RETRY_MS_FIRST;
    p->retry_at_ns = now + p->retry_ms * TEL_NS_PER_MS;
    partition_set_error(p, err->text);
    tel_log_error("cannot flush; the events stay in memory and in the queue",
                  tel_kv_u64("partition", p->options.id), tel_kv_u64("retry_ms", p->retry_ms),
                  tel_kv_error(err));
    return rc;
}

bool partition_flush_due(const struct partition *p, int64_t mono_ns)
{
    const struct partition_limits *l = &p->options.limits;
    if (p->oldest_ns == 0 || mono_ns < p->retry_at_ns)
        return false;
    if (p->retry_at_ns || p->bytes >= l->memory_bytes || p->largest_group >= l->segment_rows)
        return true;
    int64_t age_ms = (mono_ns - p->oldest_ns) / TEL_NS_PER_MS;
    bool tiny = p->rows < p->groups.len * TINY_ROWS;
    return age_ms >= (tiny ? l->flush_interval_max_ms : l->flush_interval_ms);
}
