/* The owner thread's loop, and what searches see of it. The design is in partition.h and flush.c. */
#include "shard/ingest/partition.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TEL_LOG_COMPONENT "ingest"
#include "common/base/buf.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/record/schema_folder.h"
#include "common/sys/fs.h"
#include "shard/ingest/partition_private.h"

#define POLL_MESSAGES  256u
#define POLL_MS_MAX    100
#define CHUNK_ROWS     8192u
#define CHUNK_BYTES    (4u << 20)
#define SOURCES_CACHED 100000u
#define ERROR_MS       200
#define TICK_MS        500

tel_code partition_new(const struct partition_options *options, struct partition **ret,
                       struct tel_error *err)
{
    struct partition *p = TEL_NEW(struct partition);
    p->options = *options;
    p->dir = tel_strdup(options->dir);
    p->options.dir = p->dir;
    tel_mutex_init(&p->lock);
    sources_init(&p->sources, SOURCES_CACHED);
    tel_map_init(&p->groups);
    tel_map_init(&p->days);
    p->start_high = -1;
    p->status.high = -1;
    struct store_options store = {
        .dir = p->dir,
        .partition = options->id,
        .shared = options->shared,
        .faults = options->faults,
    };
    tel_code rc = store_open(&store, &p->store, err);
    if (rc != TEL_OK) {
        partition_free(p);
        return rc;
    }
    struct store_resume resume = store_resume_get(p->store);
    p->next = resume.position;
    p->mark = resume.mark;
    p->counters = resume.counters;
    p->replay_end = store_highest_watermark(p->store);
    p->status.visible = p->next;
    p->status.counters = p->counters;
    if (options->schemas_dir && *options->schemas_dir)
        p->schemas = tel_schema_folder_new(tel_fs_system(), options->schemas_dir);
    p->decoder = tel_record_decoder_new(p->schemas ? tel_schema_folder_lookup : NULL, p->schemas);
    p->learnt = segment_learnt_new();
    partition_learnt_read(p);
    p->builder = segment_builder_new(p->learnt);
    *ret = p;
    return TEL_OK;
}

void partition_free(struct partition *p)
{
    if (!p)
        return;
    partition_stop(p, false);
    partition_join(p);
    chunk_unref(p->open);
    chunk_list_done(&p->chunks);
    segment_builder_free(p->builder);
    segment_learnt_free(p->learnt);
    tel_record_decoder_free(p->decoder);
    tel_schema_folder_free(p->schemas);
    tel_vec_free(&p->gaps);
    tel_map_free(&p->groups);
    tel_map_free(&p->days);
    sources_done(&p->sources);
    store_close(p->store);
    tel_mutex_done(&p->lock);
    free(p->dir);
    free(p);
}

/* ---- visibility --------------------------------------------------------------------------------- */

static void fill_memory_range(struct partition *p)
{
    p->status.first_time_ns = INT64_MAX;
    p->status.last_time_ns = INT64_MIN;
    for (size_t i = 0; i < p->chunks.len; i++) {
        p->status.first_time_ns =
            TEL_MIN(p->status.first_time_ns, p->chunks.items[i]->min_time_ns);
        p->status.last_time_ns = TEL_MAX(p->status.last_time_ns, p->chunks.items[i]->max_time_ns);
    }
}

void partition_seal(struct partition *p)
{
    struct chunk *chunk = p->open;
    p->open = NULL;
    if (chunk)
        p->big = chunk->arena.bytes > (64u << 10);
    tel_mutex_lock(&p->lock);
    if (chunk && chunk->runs.len)
        tel_vec_push(&p->chunks, chunk);
    p->status.visible = p->next;
    p->status.counters = p->counters;
    p->status.tally = p->tally;
    p->status.memory_bytes = p->bytes;
    p->status.memory_rows = p->rows;
    p->visible_ns = p->taken_ns;
    tel_mutex_unlock(&p->lock);
    if (chunk && chunk->runs.len == 0)
        chunk_unref(chunk);
}

static bool seal_due(const struct partition *p, int64_t mono_ns)
{
    const struct chunk *c = p->open;
    return c && (c->rows >= CHUNK_ROWS || c->arena.bytes >= CHUNK_BYTES ||
                 mono_ns - c->born_ns >= p->options.limits.chunk_interval_ms * TEL_NS_PER_MS);
}

void partition_set_error(struct partition *p, const char *text)
{
    tel_mutex_lock(&p->lock);
    snprintf(p->status.error, sizeof(p->status.error), "%s", text);
    tel_mutex_unlock(&p->lock);
}

/* ---- the loop ----------------------------------------------------------------------------------- */

/*
 * The log is another one: it came back empty, or lost its tail. What it holds now
 * may all be new, so it is read from its beginning; what is not new is dropped as a repeat, by the
 * sources' positions. Watermarks of before must not be taken for ones of now: once what was read is
 * safe, a new epoch of offsets begins, at once and for good.
 */
static bool begin_epoch(struct partition *p, struct store_gap *gap, struct tel_error *err)
{
    int64_t low, high;
    tel_consumer_watermarks(p->consumer, &low, &high);
    if (low >= 0 && low < gap->to)
        gap->to = low;
    if (partition_flush(p, err) != TEL_OK)
        return false; /* the poll tells of the gap again */
    p->next = (struct store_position){p->next.epoch + 1, gap->to};
    p->mark = 0;
    return true;
}

/* Messages are missing. Said at once, and written down with the resume offset that passes the gap: a
 * crash before that meets it again. */
static void note_gap(struct partition *p, int64_t to)
{
    struct store_gap gap = {p->next.epoch, p->next.offset, to, tel_wall_ns(p->options.clock)};
    tel_log_error("messages are missing from the queue", tel_kv_u64("partition", p->options.id),
                  tel_kv_i64("expected", gap.from), tel_kv_i64("found", gap.to));
    struct tel_error err;
    bool again = to <= gap.from; /* a log that begins where we stand is another log, too */
    if (again) {
        if (!begin_epoch(p, &gap, &err))
            return;
    } else {
        p->counters.gap_messages += (uint64_t)(to - gap.from);
        p->next.offset = to;
        p->mark = 0;
    }
    tel_vec_push(&p->gaps, gap);
    if (p->oldest_ns == 0)
        p->oldest_ns = tel_mono_ns(p->options.clock); /* the gap is to be committed */
    if (again)
        partition_flush(p, NULL);
    if (tel_consumer_seek(p->consumer, p->next.offset, &err) != TEL_OK)
        partition_set_error(p, err.text);
    partition_seal(p);
}

static void nap(struct partition *p, int64_t ms)
{
    for (int64_t slept = 0; slept < ms && !atomic_load(&p->stopping); slept += 20) {
        struct timespec ts = {0, 20 * 1000 * 1000};
        nanosleep(&ts, NULL);
    }
}

/* What the log is known to hold, and whether we are at its end. */
static void note_end(struct partition *p, bool idle)
{
    int64_t low, high;
    tel_consumer_watermarks(p->consumer, &low, &high);
    tel_mutex_lock(&p->lock);
    p->status.high = high;
    if (high >= 0 && p->start_high < 0)
        p->start_high = high;
    if (idle && p->open == NULL && high >= 0 && p->next.offset >= high)
        p->caught_up_ns = tel_wall_ns(p->options.clock);
    if (p->start_high >= 0 && p->status.visible.offset >= p->start_high)
        p->status.caught_up = true;
    fill_memory_range(p);
    tel_mutex_unlock(&p->lock);
}

static tel_code poll_once(struct partition *p, int timeout_ms)
{
    const struct tel_message *messages;
    size_t count = 0;
    int64_t gap_to;
    struct tel_error err;
    tel_code rc =
        tel_consumer_poll(p->consumer, timeout_ms, POLL_MESSAGES, &messages, &count, &gap_to, &err);
    if (rc == TEL_ERR_GAP) {
        note_gap(p, gap_to);
        return TEL_OK;
    }
    for (size_t i = 0; rc == TEL_OK && i < count; i++) {
        rc = partition_take(p, &messages[i], &err);
        int64_t now = tel_mono_ns(p->options.clock);
        if (seal_due(p, now))
            partition_seal(p);
        /* The messages stay valid: a flush does not poll. */
        if (rc == TEL_OK && partition_flush_due(p, now))
            (void)partition_flush(p, &err);
    }
    if (count == 0 && p->open)
        partition_seal(p);
    note_end(p, rc == TEL_OK && count == 0);
    if (rc != TEL_OK) {
        partition_set_error(p, err.text);
        tel_log_warn("cannot read on", tel_kv_u64("partition", p->options.id),
                     tel_kv_i64("offset", p->next.offset), tel_kv_error(&err));
        /* Back to the message that could not be taken. */
        if (tel_consumer_seek(p->consumer, p->next.offset, &err) != TEL_OK)
            partition_set_error(p, err.text);
    } else {
        tel_mutex_lock(&p->lock);
        if (p->retry_at_ns == 0) /* else it is the flush that failed */
            p->status.error[0] = '\0';
        tel_mutex_unlock(&p->lock);
    }
    return rc;
}

static bool open_consumer(struct partition *p)
{
    struct tel_error err;
    if (p->consumer)
        return true;
    tel_code rc = tel_transport_consumer(p->options.transport, p->options.id, p->next.offset, p->mark,
                                         &p->consumer, &err);
    if (rc == TEL_OK)
        return true;
    p->consumer = NULL;
    partition_set_error(p, err.text);
    tel_log_warn("cannot consume", tel_kv_u64("partition", p->options.id), tel_kv_error(&err));
    return false;
}

/* Memory is full and cannot be flushed, or the disk is: leave the rest in the queue. */
static bool must_wait(struct partition *p)
{
    return atomic_load(&p->paused) ||
           (p->retry_at_ns && p->bytes >= p->options.limits.memory_bytes);
}

static void tick(struct partition *p)
{
    int64_t now = tel_mono_ns(p->options.clock);
    if (!p->options.tick || now < p->next_tick_ns)
        return;
    p->next_tick_ns = now + TICK_MS * TEL_NS_PER_MS;
    p->options.tick(p->options.tick_ctx);
}

static void own(void *arg)
{
    struct partition *p = arg;
    while (!atomic_load(&p->stopping)) {
        tick(p);
        bool waiting = must_wait(p);
        tel_mutex_lock(&p->lock);
        p->status.paused = waiting;
        tel_mutex_unlock(&p->lock);
        if (waiting) {
            if (p->open)
                partition_seal(p);
            if (p->consumer)
                note_end(p, false);
            nap(p, POLL_MS_MAX);
        } else if (!open_consumer(p)) {
            nap(p, ERROR_MS);
        } else {
            int timeout = p->open ? (int)TEL_MIN(p->options.limits.chunk_interval_ms, 10u)
                                  : POLL_MS_MAX;
            if (poll_once(p, timeout) != TEL_OK)
                nap(p, ERROR_MS);
        }
        if (partition_flush_due(p, tel_mono_ns(p->options.clock)) && !atomic_load(&p->paused))
            (void)partition_flush(p, NULL);
    }
    if (atomic_load(&p->stop_flush) && p->oldest_ns != 0 && !atomic_load(&p->paused))
        (void)partition_flush(p, NULL);
    if (atomic_load(&p->stop_flush))
        partition_learnt_write(p, true);
    tel_consumer_free(p->consumer);
    p->consumer = NULL;
}

tel_code partition_start(struct partition *p, struct tel_error *err)
{
    char name[16];
    snprintf(name, sizeof(name), "ingest-%u", p->options.id);
    return tel_thread_start(&p->thread, name, own, p, err);
}

void partition_stop(struct partition *p, bool flush)
{
    atomic_store(&p->stop_flush, flush);
    atomic_store(&p->stopping, true);
}

void partition_join(struct partition *p)
{
    tel_thread_join(&p->thread);
}

void partition_pause(struct partition *p, bool paused)
{
    atomic_store(&p->paused, paused);
}

uint32_t partition_id(const struct partition *p)
{
    return p->options.id;
}

struct store *partition_store(struct partition *p)
{
    return p->store;
}

tel_code partition_feed(struct partition *p, const struct tel_message *message,
                        struct tel_error *err)
{
    tel_code rc = partition_take(p, message, err);
    int64_t now = tel_mono_ns(p->options.clock);
    if (seal_due(p, now))
        partition_seal(p);
    if (rc == TEL_OK && partition_flush_due(p, now))
        rc = partition_flush(p, err);
    return rc;
}

void partition_show(struct partition *p)
{
    partition_seal(p);
}

/* ---- any thread --------------------------------------------------------------------------------- */

/* The lock is held. The age of the oldest message that is not visible is not known before it has been
 * read; it is at most the time since the newest visible one, or since nothing was left to read. */
static void fill_lag(struct partition *p, struct partition_status *ret)
{
    if (ret->high < 0 || ret->visible.offset >= ret->high)
        return;
    int64_t since = TEL_MAX(p->visible_ns, p->caught_up_ns);
    int64_t now = tel_wall_ns(p->options.clock);
    ret->lag_ms = since && now > since ? (uint64_t)((now - since) / TEL_NS_PER_MS) : 1;
}

void partition_status(struct partition *p, struct partition_status *ret)
{
    tel_mutex_lock(&p->lock);
    *ret = p->status;
    fill_lag(p, ret);
    tel_mutex_unlock(&p->lock);
}

void partition_view(struct partition *p, const struct tel_span *tenant, int64_t start_ns,
                    int64_t end_ns, struct partition_view *ret, struct tel_buf *missing)
{
    tel_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->chunks.len; i++) {
        struct chunk *chunk = p->chunks.items[i];
        if (chunk->min_time_ns < end_ns && chunk->max_time_ns >= start_ns)
            tel_vec_push(&ret->chunks, chunk_ref(chunk));
    }
    ret->status = p->status;
    fill_lag(p, &ret->status);
    tel_mutex_unlock(&p->lock);
    /* Behind the chunks: what was flushed between is in segments, and left out of memory by the
     * watermarks. */
    store_select(p->store, tenant, start_ns, end_ns, &ret->store, missing);
}

void partition_view_done(struct partition_view *view)
{
    chunk_list_done(&view->chunks);
    store_view_done(&view->store);
}

bool partition_view_holds(const struct partition_view *view, const struct chunk_run *run)
{
    return store_position_cmp(run->position, store_view_mark(&view->store, run->day)) >= 0;
}
