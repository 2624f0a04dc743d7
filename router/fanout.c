/* Scatter and gather as a whole: beginning, running, taking rows, the end. fanout.h has the
 * drawing. */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "router/fanout_internal.h"

#define EXPIRE_MS 20 /* how late the calls' own deadlines may be */

struct fanout *fanout_new(const struct fanout_options *options)
{
    struct fanout *f = TEL_NEW(struct fanout);
    f->o = *options;
    shard_map_ref(f->o.map);
    f->gather = f->o.client->ops->gather(f->o.client);
    size_t count;
    const char *const *addresses = shard_map_addresses(f->o.map, &count);
    for (size_t i = 0; i < count && f->o.health; i++)
        if (replica_health_avoid(f->o.health, addresses[i]))
            tel_vec_push(&f->avoid, addresses[i]);
    const struct shard_replicas *replicas = shard_map_partitions(f->o.map, &count);
    f->parts = tel_calloc(count, sizeof(*f->parts));
    f->part_count = count;
    struct part **all = tel_calloc(count, sizeof(*all));
    for (size_t i = 0; i < count; i++) {
        f->parts[i].replicas = &replicas[i];
        all[i] = &f->parts[i];
    }
    fanout_plan(f, all, count, NULL);
    free(all);
    for (uint32_t i = 0; i < f->totals.searches; i++)
        fanout_budget_earn(f->o.budget);
    return f;
}

void fanout_free(struct fanout *f)
{
    if (!f)
        return;
    f->o.client->ops->gather_free(f->gather);
    for (struct fanout_source *s = f->sources, *next; s; s = next) {
        next = s->next;
        fanout_source_free(s);
    }
    for (size_t i = 0; i < f->part_count; i++)
        free(f->parts[i].why);
    free(f->parts);
    for (size_t i = 0; i < f->missing.len; i++)
        free(f->missing.items[i]);
    tel_vec_free(&f->missing);
    tel_vec_free(&f->avoid);
    shard_map_unref(f->o.map);
    free(f);
}

/* Names what is missing; runs of partitions with the same reason are named together. */
static void fanout_settle(struct fanout *f)
{
    if (f->settled)
        return;
    f->settled = true;
    struct tel_buf text = {0};
    for (size_t i = 0; i < f->part_count; i++) {
        struct part *p = &f->parts[i];
        if (p->done || (f->enough && !p->missing))
            continue;
        p->missing = true;
        const char *why = p->why ? p->why : "deadline exceeded";
        bool said = false;
        for (size_t k = 0; k < i && !said; k++)
            said = f->parts[k].missing && f->parts[k].why && strcmp(f->parts[k].why, why) == 0;
        if (said)
            continue;
        tel_buf_clear(&text);
        tel_buf_printf(&text, "partition %u", p->replicas->partition);
        for (size_t k = i + 1; k < f->part_count; k++) {
            struct part *q = &f->parts[k];
            if (!q->done && !(f->enough && !q->missing) && q->why && strcmp(q->why, why) == 0)
                tel_buf_printf(&text, ",%u", q->replicas->partition);
        }
        tel_buf_printf(&text, ": %s", why);
        if (!p->why)
            fanout_part_why(p, why);
        tel_vec_push(&f->missing, tel_strndup(tel_buf_span(&text)));
    }
    tel_buf_free(&text);
}

static bool fanout_alive(const struct fanout *f, bool *ret_rows)
{
    bool alive = false;
    for (const struct fanout_source *s = f->sources; s; s = s->next) {
        alive |= !s->ended;
        *ret_rows |= fanout_source_has_rows(s);
    }
    return alive;
}

/* The deadline has passed, though the calls' own should have said so. */
static void fanout_expire(struct fanout *f)
{
    for (struct fanout_source *s = f->sources; s; s = s->next) {
        if (s->ended)
            continue;
        for (size_t i = 0; i < s->parts.len; i++) {
            char text[128];
            snprintf(text, sizeof(text), "%s: deadline exceeded", s->address);
            fanout_part_why(s->parts.items[i], text);
            s->parts.items[i]->late = true;
        }
        if (s->consumed)
            s->ended = s->dead = true;
        else
            fanout_source_kill(s);
    }
}

tel_code fanout_run(struct fanout *f, int timeout_ms, bool *ret_more, struct tel_error *err)
{
    bool rows = false;
    if (fanout_alive(f, &rows)) {
        int64_t left_ms = (f->o.deadline_ns - fanout_now_ns()) / TEL_NS_PER_MS;
        if (left_ms < -EXPIRE_MS)
            fanout_expire(f);
        else
            f->o.client->ops->run(f->gather, (int)TEL_MIN(timeout_ms, TEL_MAX(left_ms, 0) + 1));
        fanout_hedge(f);
    }
    if (f->error.code != TEL_OK) {
        if (err)
            *err = f->error;
        return f->error.code;
    }
    rows = false;
    bool alive = fanout_alive(f, &rows);
    if (!alive)
        fanout_settle(f);
    *ret_more = alive || rows;
    return TEL_OK;
}

void fanout_wake(struct fanout *f)
{
    f->o.client->ops->wake(f->gather);
}

void fanout_enough(struct fanout *f)
{
    f->enough = true;
    for (struct fanout_source *s = f->sources; s; s = s->next)
        if (!s->dead)
            fanout_source_kill(s);
    fanout_settle(f);
}

/* ---- taking rows ----------------------------------------------------------------------------- */

struct rows *fanout_head(const struct fanout_source *s)
{
    return s->queue.items[s->head];
}

struct rows *fanout_pop(struct fanout_source *s)
{
    struct rows *rows = s->queue.items[s->head++];
    s->consumed = true;
    s->queued_bytes -= rows->bytes;
    if (s->head == s->queue.len) {
        s->head = 0;
        tel_vec_clear(&s->queue);
    }
    if (s->paused && s->queued_bytes < s->fanout->o.queue_bytes / 2 && s->search) {
        s->paused = false;
        s->fanout->o.client->ops->resume(s->search);
    }
    return rows;
}

struct rows *fanout_take(struct fanout *f)
{
    int64_t before = f->o.hold_ms ? fanout_now_ns() - f->o.hold_ms * TEL_NS_PER_MS : INT64_MIN;
    for (struct fanout_source *s = f->sources; s; s = s->next)
        if (fanout_source_has_rows(s) &&
            (s->ended || s->consumed || s->first_ns < before || s->queued_bytes > f->o.hold_bytes))
            return fanout_pop(s);
    return NULL;
}

void fanout_touch(struct fanout_source *source)
{
    source->consumed = true;
}

bool fanout_all_ready(const struct fanout *f)
{
    for (const struct fanout_source *s = f->sources; s; s = s->next) {
        bool ready = s->consumed ? fanout_source_has_rows(s) : s->queued_bytes > f->o.hold_bytes;
        if (!s->ended && !ready)
            return false;
    }
    return true;
}

static struct fanout_source *with_rows(struct fanout_source *s)
{
    while (s && !fanout_source_has_rows(s))
        s = s->next;
    return s;
}

struct fanout_source *fanout_first(struct fanout *f)
{
    return with_rows(f->sources);
}

struct fanout_source *fanout_next(struct fanout_source *source)
{
    return with_rows(source->next);
}

/* ---- what to say ----------------------------------------------------------------------------- */

size_t fanout_missing(const struct fanout *f)
{
    return f->missing.len;
}

const char *fanout_missing_text(const struct fanout *f, size_t i)
{
    return f->missing.items[i];
}

bool fanout_all_missing(const struct fanout *f, bool *ret_late)
{
    bool late = true;
    for (size_t i = 0; i < f->part_count; i++) {
        if (!f->parts[i].missing)
            return false;
        late &= f->parts[i].late;
    }
    *ret_late = late;
    return f->part_count > 0;
}

const struct fanout_totals *fanout_totals(const struct fanout *f)
{
    return &f->totals;
}

static void report_source(const struct fanout_source *s, int64_t since_ns,
                          struct fanout_report *ret)
{
    int64_t ended_ns = s->ended_ns ? s->ended_ns : fanout_now_ns();
    *ret = (struct fanout_report){
        .address = s->address,
        .partition_count = s->parts.len,
        .outcome = s->why     ? "failed"
                   : s->unchanged ? "unchanged"
                   : s->end   ? "answered"
                   : s->dead  ? "not needed"
                              : "cut off",
        .why = s->why,
        .asked_ns = s->started_ns - since_ns,
        .first_ns = s->first_ns ? s->first_ns - s->started_ns : -1,
        .took_ns = ended_ns - s->started_ns,
        .rows = s->rows_got,
        .batches = s->batches_got,
        .bytes = s->bytes_got,
        .end = s->end,
    };
}

void fanout_each_report(const struct fanout *f, int64_t since_ns,
                        void (*each)(void *ctx, const struct fanout_report *report), void *ctx)
{
    const struct fanout_source *s = f->sources;
    while (s && s->next)
        s = s->next;
    for (; s; s = s->prev) {
        struct fanout_report report;
        report_source(s, since_ns, &report);
        uint32_t *partitions = tel_calloc(s->parts.len, sizeof(*partitions));
        for (size_t i = 0; i < s->parts.len; i++)
            partitions[i] = s->parts.items[i]->replicas->partition;
        report.partitions = partitions;
        each(ctx, &report);
        free(partitions);
    }
}

size_t fanout_marks(const struct fanout *f, struct tel_arena *arena,
                    const struct cursor_mark **ret)
{
    struct cursor_mark *marks = TEL_ARENA_ARRAY(arena, struct cursor_mark, f->part_count + 1);
    size_t n = 0;
    for (size_t i = 0; i < f->part_count; i++)
        if (f->parts[i].done)
            marks[n++] = (struct cursor_mark){f->parts[i].replicas->partition,
                                              f->parts[i].watermark};
    *ret = marks;
    return n;
}
