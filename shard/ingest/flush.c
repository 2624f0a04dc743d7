/*
 * A flush: everything in memory becomes segments, one or more for each tenant and day.
 *
 *     seal
 *     days with few events:         build their segments -> one writer for all of them -> commit
 *     for each other day:           build its segments -> one writer -> commit (synced, visible)
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
/* So many days, those with the most events, are written to their own LevelDBs whatever they have. Of the
 * others, those with fewer events than a SPARSE_SHARE of a full segment go to the late's together. */
#define OWN_DAYS     4u
#define SPARSE_SHARE 8u
/* A group with fewer events than this share of a full segment becomes a plain one. */
#define PLAIN_SHARE 128u

/* With so many groups a flush takes long for what it writes: it comes sooner, so that it ends sooner and
 * nobody waits for it. */
#define MANY_GROUPS 256u

/* What pieces are sorted by stands in them: the runs are all over the memory. */
struct piece {
    int64_t day;
    uint64_t tenant_hash;
    const struct chunk_run *run;
    size_t seq; /* in the log's order */
};

struct pieces {
    struct piece *items;
    size_t count;
};

static int by_hash(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    if (x->day != y->day)
        return x->day < y->day ? -1 : 1;
    if (x->tenant_hash != y->tenant_hash)
        return x->tenant_hash < y->tenant_hash ? -1 : 1;
    return x->seq < y->seq ? -1 : 1;
}

/* Of tenants whose hashes are equal. */
static int by_tenant(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    int c = tel_span_cmp(x->run->tenant, y->run->tenant);
    return c != 0 ? c : x->seq < y->seq ? -1 : 1;
}

static void sort_pieces(struct pieces *pieces)
{
    struct piece *items = pieces->items;
    bool sorted = true;
    for (size_t i = 1; i < pieces->count && sorted; i++)
        sorted = by_hash(&items[i - 1], &items[i]) < 0;
    if (!sorted)
        qsort(items, pieces->count, sizeof(*items), by_hash);
    for (size_t i = 0, end; i < pieces->count; i = end) {
        bool mixed = false;
        for (end = i + 1; end < pieces->count && items[end].day == items[i].day &&
                          items[end].tenant_hash == items[i].tenant_hash; end++)
            mixed = mixed || !tel_span_eq(items[end].run->tenant, items[i].run->tenant);
        if (mixed)
            qsort(items + i, end - i, sizeof(*items), by_tenant);
    }
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
            pieces.items[pieces.count] =
                (struct piece){chunk->runs.items[j].day, chunk->runs.items[j].tenant_hash,
                               &chunk->runs.items[j], pieces.count};
    }
    sort_pieces(&pieces);
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

/* A group's events may be one here and one there, as messages brought them: what is needed in a while is
 * asked for now, the run first, then what it points to. */
static void fetch_ahead(const struct piece *pieces, size_t count)
{
    enum { RUN = 12, EVENTS = 8, BODY = 4, LINE = 64, LINES = 4 };
    if (RUN < count)
        __builtin_prefetch(pieces[RUN].run);
    if (EVENTS < count) {
        __builtin_prefetch(pieces[EVENTS].run->events);
        __builtin_prefetch(pieces[EVENTS].run->labels);
    }
    for (int k = 0; BODY < count && k < LINES; k++)
        __builtin_prefetch(pieces[BODY].run->events->body.ptr + k * LINE);
}

/* Of so few events the segment is merged soon, and templates are found then. */
static bool few_rows(const struct partition *p, const struct piece *pieces, size_t count)
{
    uint64_t rows = 0, few = p->options.limits.segment_rows / PLAIN_SHARE;
    for (size_t i = 0; i < count && rows < few; i++)
        rows += pieces[i].run->count;
    return rows < few;
}

/* One tenant's events of one day. */
static tel_code write_group(struct partition *p, struct store_writer *writer,
                            const struct piece *pieces, size_t count,
                            struct store_position watermark, struct tel_error *err)
{
    tel_code rc = TEL_OK;
    const struct piece *first = NULL, *last = NULL;
    if (few_rows(p, pieces, count))
        segment_builder_plain(p->builder);
    for (size_t i = 0; i < count && rc == TEL_OK; i++) {
        if (store_position_cmp(pieces[i].run->position, watermark) < 0)
            continue; /* an earlier, failed flush wrote it */
        fetch_ahead(pieces + i, count - i);
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

/* A day's pieces, which stand together. */
struct span_of_day {
    int64_t day;
    size_t first, count;
    uint64_t rows;
    bool late; /* goes to the late's LevelDB */
};

typedef TEL_VEC(struct span_of_day) spans;

/* Into a writer that has begun. */
static tel_code write_groups(struct partition *p, struct store_writer *writer,
                             const struct piece *pieces, size_t count, struct tel_error *err)
{
    struct store_position watermark = store_day_watermark(p->store, pieces[0].run->day);
    tel_code rc = TEL_OK;
    for (size_t i = 0, end; i < count && rc == TEL_OK; i = end) {
        for (end = i + 1; end < count && same_group(pieces[i].run, pieces[end].run); end++)
            ;
        rc = write_group(p, writer, pieces + i, end - i, watermark, err);
    }
    return rc;
}

static tel_code end_writer(struct store_writer *writer, tel_code rc, struct tel_error *err)
{
    if (rc == TEL_OK)
        return store_writer_commit(writer, err);
    store_writer_abort(writer);
    return rc;
}

static tel_code write_day(struct partition *p, const struct piece *pieces, size_t count,
                          struct tel_error *err)
{
    struct store_writer *writer;
    tel_code rc = store_writer_begin(p->store, pieces[0].run->day, p->next, &writer, err);
    if (rc != TEL_OK)
        return rc;
    return end_writer(writer, write_groups(p, writer, pieces, count, err), err);
}

static tel_code write_late(struct partition *p, const struct piece *pieces, const spans *days,
                           struct tel_error *err)
{
    bool any = store_late_torn(p->store);
    for (size_t i = 0; i < days->len && !any; i++)
        any = days->items[i].late;
    struct store_writer *writer;
    if (!any)
        return TEL_OK;
    tel_code rc = store_writer_begin_late(p->store, p->next, &writer, err);
    if (rc != TEL_OK)
        return rc;
    for (size_t i = 0; i < days->len && rc == TEL_OK; i++)
        if (days->items[i].late)
            rc = write_groups(p, writer, pieces + days->items[i].first, days->items[i].count, err);
    return end_writer(writer, rc, err);
}

static int most_rows_first(const void *a, const void *b)
{
    const struct span_of_day *x = a, *y = b;
    if (x->rows != y->rows)
        return x->rows > y->rows ? -1 : 1;
    return x->first < y->first ? -1 : 1;
}

/* Finds the days, and which of them go to the late's LevelDB. */
static void find_days(const struct partition *p, const struct pieces *pieces, spans *ret)
{
    for (size_t i = 0; i < pieces->count; i++) {
        const struct chunk_run *run = pieces->items[i].run;
        if (i == 0 || run->day != ret->items[ret->len - 1].day)
            tel_vec_push(ret, ((struct span_of_day){.day = run->day, .first = i}));
        ret->items[ret->len - 1].count++;
        ret->items[ret->len - 1].rows += run->count;
    }
    if (ret->len)
        qsort(ret->items, ret->len, sizeof(*ret->items), most_rows_first);
    for (size_t i = OWN_DAYS; i < ret->len; i++)
        ret->items[i].late = ret->items[i].rows < p->options.limits.segment_rows / SPARSE_SHARE &&
                             !store_day_torn(p->store, ret->items[i].day);
}

/* The late first: what it finds of an earlier, failed flush may raise watermarks of days. */
static tel_code write_days(struct partition *p, struct tel_error *err)
{
    struct pieces pieces = gather(p);
    spans days = {0};
    find_days(p, &pieces, &days);
    tel_code rc = write_late(p, pieces.items, &days, err);
    for (size_t i = 0; i < days.len && rc == TEL_OK; i++)
        if (!days.items[i].late)
            rc = write_day(p, pieces.items + days.items[i].first, days.items[i].count, err);
    tel_vec_free(&days);
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
    bool tiny = p->rows < p->groups.len * TINY_ROWS;
    uint64_t full = tiny && p->groups.len > MANY_GROUPS ? l->memory_bytes / 3 : l->memory_bytes;
    if (p->retry_at_ns || p->bytes >= full || p->largest_group >= l->segment_rows)
        return true;
    int64_t age_ms = (mono_ns - p->oldest_ns) / TEL_NS_PER_MS;
    return age_ms >= (tiny ? l->flush_interval_max_ms : l->flush_interval_ms);
}
