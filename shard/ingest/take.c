/*
 * Taking a message: copy, decode, drop repeats, sort its events by day.
 *
 * Whether an event is a repeat depends on the log alone: its position is not above the highest that
 * the log had before it for this source. So a replay decides as the first reading did, from the
 * positions that were committed with the offset at which it begins. What the replay then accepts and a
 * day already holds (the message is below the day's watermark) is not taken twice.
 *
 * The same holds for events that claim to be from the future: they are compared with the time that
 * the queue gave the message, and not with this machine's clock. Events that are older than what
 * retention keeps are measured by that time too, unless retention's own is behind it.
 */
#include <inttypes.h>
#include <stdio.h>

#define TEL_LOG_COMPONENT "ingest"
#include "common/base/log.h"
#include "common/base/hash.h"
#include "common/base/timefmt.h"
#include "shard/ingest/partition_private.h"

#define CHUNK_BYTES_BIG (64u << 10)
#define DAYS_MAX        4096u /* of a store: each is a LevelDB */
#define ORIGINAL_TIME   TEL_SPAN("original_time")

/* ---- single events ------------------------------------------------------------------------------ */

/* The event gets the time `now_ns` and keeps its own as a field. */
static void clamp_event(struct partition *p, struct tel_event *e, int64_t now_ns)
{
    struct tel_arena *arena = &p->open->arena;
    struct tel_field *fields = tel_arena_alloc(arena, (e->attribute_count + 1) * sizeof(*fields));
    uint32_t count = 0;
    for (uint32_t i = 0; i < e->attribute_count; i++)
        if (!tel_span_eq(e->attributes[i].name, ORIGINAL_TIME))
            fields[count++] = e->attributes[i];
    char text[TEL_TIME_TEXT_MAX];
    size_t len = tel_time_format(text, e->timestamp_ns);
    fields[count++] =
        (struct tel_field){ORIGINAL_TIME, tel_arena_copy(arena, tel_span_make(text, len))};
    e->attributes = fields;
    e->attribute_count = count;
    e->timestamp_ns = now_ns;
}

/* Has the partition room for this day? Called once a run, not once an event. */
static bool day_fits(struct partition *p, int64_t day)
{
    struct tel_span key = tel_span_make(&day, sizeof(day));
    if (tel_map_get(&p->days, key))
        return true;
    if (p->days.len + store_day_count(p->store) >= DAYS_MAX &&
        store_day_watermark(p->store, day).offset == INT64_MIN)
        return false;
    tel_map_put(&p->days, key, NULL);
    return true;
}

/* ---- runs --------------------------------------------------------------------------------------- */

struct taking {
    struct partition *p;
    const struct tel_message *message;
    struct tel_batch *batch;
    struct tel_event *events; /* the batch's, which are ours to change */
    uint64_t tenant_hash;
    int64_t oldest_day, newest_ns; /* outside of them the policies apply */
    uint64_t expired;              /* events of before oldest_day */
};

static void count_group(struct partition *p, uint64_t tenant_hash, int64_t day, uint32_t rows)
{
    uint64_t key[2] = {tenant_hash, (uint64_t)day};
    uint64_t *count = tel_map_put(&p->groups, tel_span_make(key, sizeof(key)), NULL);
    *count += rows;
    if (*count > p->largest_group)
        p->largest_group = *count;
}

static void end_run(struct taking *t, struct chunk_run *run)
{
    struct partition *p = t->p;
    if (run->count == 0)
        return;
    if (store_position_cmp(run->position, p->replay_end) < 0 &&
        store_position_cmp(run->position, store_day_watermark(p->store, run->day)) < 0) {
        p->tally.replayed += run->count;
    } else {
        chunk_add(p->open, run);
        count_group(p, run->tenant_hash, run->day, run->count);
        p->rows += run->count;
        p->counters.events += run->count;
    }
    run->count = 0;
}

/* What the policies say of the event: true if it is kept, with its time in order. */
static bool admit(struct taking *t, struct tel_event *e)
{
    struct partition *p = t->p;
    if (e->timestamp_ns > t->newest_ns) {
        switch (p->options.limits.future_policy) {
        case SHARD_KEEP:
            break;
        case SHARD_DROP:
            p->counters.events_outside++;
            return false;
        case SHARD_CLAMP:
            p->counters.events_outside++;
            clamp_event(p, e, t->message->timestamp_ns);
            break;
        }
    }
    int64_t day = tel_day_of(e->timestamp_ns);
    if (day < t->oldest_day) { /* retention would delete it at once */
        p->counters.events_outside++;
        t->expired++;
        return false;
    }
    if (!day_fits(p, day)) {
        p->counters.events_outside++;
        clamp_event(p, e, t->message->timestamp_ns);
    }
    return true;
}

static void begin_run(struct taking *t, struct chunk_run *run, uint32_t index)
{
    struct tel_event *e = &t->events[index];
    *run = (struct chunk_run){
        .tenant = t->batch->tenant,
        .tenant_hash = t->tenant_hash,
        .day = tel_day_of(e->timestamp_ns),
        .position = {t->p->next.epoch, t->message->offset},
        .first = index,
        .events = e,
        .labels = t->batch->resource,
        .label_count = t->batch->resource_count,
        .min_time_ns = e->timestamp_ns,
        .max_time_ns = e->timestamp_ns,
    };
}

static void take_events(struct taking *t, struct source *source)
{
    struct partition *p = t->p;
    struct chunk_run run = {0};
    int64_t day_start = 0, day_end = 0; /* of the run; empty without one */
    uint64_t high = source->position;
    bool known = source->known;
    for (uint32_t i = 0; i < t->batch->event_count; i++) {
        struct tel_event *e = &t->events[i];
        if (known && e->position <= high) {
            end_run(t, &run);
            day_end = day_start;
            p->counters.repeats_dropped++;
            continue;
        }
        high = e->position;
        known = true;
        if (e->timestamp_ns < day_start || e->timestamp_ns >= day_end ||
            e->timestamp_ns > t->newest_ns) {
            end_run(t, &run);
            day_end = day_start;
            if (!admit(t, e))
                continue;
            begin_run(t, &run, i);
            /* Saturates at the ends of 64-bit time, where days are cut short. */
            if (__builtin_mul_overflow(run.day, TEL_NS_PER_DAY, &day_start))
                day_start = INT64_MIN;
            if (__builtin_add_overflow(day_start, TEL_NS_PER_DAY, &day_end))
                day_end = INT64_MAX;
            if (day_start == INT64_MIN)
                day_end = day_start; /* one run an event on that one day */
        }
        run.count++;
        run.min_time_ns = TEL_MIN(run.min_time_ns, e->timestamp_ns);
        run.max_time_ns = TEL_MAX(run.max_time_ns, e->timestamp_ns);
    }
    end_run(t, &run);
    if (known)
        sources_advance(&p->sources, source, high, t->message->timestamp_ns);
}

/* ---- the message -------------------------------------------------------------------------------- */

static tel_code bury(struct partition *p, const struct tel_message *message,
                     const struct tel_error *why, struct tel_error *err)
{
    if (p->options.bury) {
        tel_code rc = p->options.bury(p->options.bury_ctx, message, why, err);
        if (rc != TEL_OK)
            return tel_error_wrap(err, rc, "offset %" PRId64 " cannot be decoded (%s) and not buried",
                                  message->offset, why->text);
    }
    p->counters.dead_letters++;
    tel_log_warn("a message cannot be decoded", tel_kv_u64("partition", p->options.id),
                 tel_kv_i64("offset", message->offset), tel_kv_error(why));
    return TEL_OK;
}

tel_code partition_take(struct partition *p, const struct tel_message *message,
                        struct tel_error *err)
{
    int64_t mono = tel_mono_ns(p->options.clock);
    if (message->offset < p->next.offset)
        return TEL_OK; /* taken before */
    if (!p->open)
        p->open = chunk_new(p->big || message->value.len > CHUNK_BYTES_BIG, mono);
    struct chunk *chunk = p->open;
    size_t before = chunk_bytes(chunk);

    struct tel_batch batch;
    struct tel_error why;
    struct tel_span value = tel_arena_copy(&chunk->arena, message->value);
    tel_code rc = tel_record_decode(p->decoder, value, &chunk->arena, &batch, &why);
    struct source *source = NULL;
    if (rc == TEL_OK)
        rc = sources_find(&p->sources, p->store, batch.source, &source, &why);
    else if (!why.retriable) {
        struct tel_error reason = why;
        rc = bury(p, message, &reason, &why);
    }
    if (rc == TEL_OK && source) {
        const struct partition_limits *l = &p->options.limits;
        struct taking t = {
            .p = p,
            .message = message,
            .batch = &batch,
            .events = (struct tel_event *)(uintptr_t)batch.events,
            .tenant_hash = tel_hash64(batch.tenant, 0),
            .oldest_day =
                retention_oldest_day(p->options.retention, batch.tenant, message->timestamp_ns),
            .newest_ns = INT64_MAX,
        };
        if (l->future_policy != SHARD_KEEP &&
            __builtin_add_overflow(message->timestamp_ns, l->future_limit_ns, &t.newest_ns))
            t.newest_ns = INT64_MAX;
        take_events(&t, source);
        if (t.expired)
            retention_count_expired(p->options.retention, batch.tenant, t.expired);
    }
    p->bytes += chunk_bytes(chunk) - before;
    if (p->oldest_ns == 0)
        p->oldest_ns = TEL_MAX(mono, 1); /* 0 says that there is nothing */
    if (rc != TEL_OK) {
        if (err)
            *err = why;
        return rc;
    }
    p->tally.messages++;
    p->next.offset = message->offset + 1;
    p->mark = message->mark;
    p->taken_ns = message->timestamp_ns;
    return TEL_OK;
}
