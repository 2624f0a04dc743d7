#include "sidecar/source.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "sidecar/checkpoint.h"
#include "sidecar/sidecar.h"
#include "sidecar/sink.h"

#define TEL_LOG_COMPONENT "pipeline"
#include "common/base/log.h"

#define AGAIN_NS       (5 * TEL_NS_PER_MS)   /* until a full producer is tried again, unless woken */
#define RETRY_NS       (500 * TEL_NS_PER_MS) /* until a failed delivery is repeated */
#define RETRY_LONG_NS  (10 * TEL_NS_PER_S)   /* the same, if the error is not one that passes */

struct tel_span source_name(const struct source *s, char *buf, size_t size)
{
    if (s->entry)
        return tel_span_cstr(s->entry->source);
    const struct pipeline_options *o = &s->pipeline->o;
    int n = snprintf(buf, size, "%s/%s/%.*s", o->sidecar_id, o->input->name, (int)s->id.len,
                     s->id.ptr);
    TEL_CHECK(n > 0 && (size_t)n < size);
    return tel_span_make(buf, (size_t)n);
}

static void batch_free(struct batch *b)
{
    struct pipeline *p = b->source->pipeline;
    pipeline_hold(p, -(int64_t)b->buf.cap);
    pipeline_keep_buffer(p, &b->buf);
    free(b);
}

/* ---- closing batches ------------------------------------------------------------------------ */

static void append(struct source *s, struct batch *b)
{
    *(s->last ? &s->last->next : &s->first) = b;
    s->last = b;
    if (!s->unsent && b->state == BATCH_READY)
        s->unsent = b;
}

static void unlink_open(struct source *s)
{
    struct pipeline *p = s->pipeline;
    *(s->older ? &s->older->younger : &p->oldest) = s->younger;
    *(s->younger ? &s->younger->older : &p->youngest) = s->older;
    s->older = s->younger = NULL;
}

void source_seal(struct source *s)
{
    struct pipeline *p = s->pipeline;
    struct tel_record_writer *w = s->writer;
    if (!w)
        return;
    s->writer = NULL;
    unlink_open(s);
    if (w->events) {
        struct batch *b = TEL_NEW(struct batch);
        b->source = s;
        b->events = w->events;
        b->floor = s->floor;
        b->last = s->taken;
        size_t cap = w->buf.cap;
        b->message = tel_record_writer_finish(w);
        pipeline_hold(p, (int64_t)(w->buf.cap - cap));
        b->buf = w->buf;
        w->buf = (struct tel_buf){0};
        s->floor = s->taken;
        append(s, b);
    }
    pipeline_keep_writer(p, w);
    if (!s->waiting && !s->failed)
        (void)source_send(s, tel_mono_ns(p->o.clock));
}

/* ---- sending -------------------------------------------------------------------------------- */

static void wait_in_line(struct source *s)
{
    struct pipeline *p = s->pipeline;
    if (s->waiting)
        return;
    s->waiting = true;
    s->next_waiting = NULL;
    *(p->waiting_last ? &p->waiting_last->next_waiting : &p->waiting_first) = s;
    p->waiting_last = s;
}

static void leave_line(struct source *s)
{
    struct pipeline *p = s->pipeline;
    struct source *before = NULL, *at = p->waiting_first;
    if (!s->waiting)
        return;
    while (at != s)
        before = at, at = at->next_waiting;
    *(before ? &before->next_waiting : &p->waiting_first) = s->next_waiting;
    if (p->waiting_last == s)
        p->waiting_last = before;
    s->waiting = false;
}

/* Gives the source its partition, once the topic is known, and asks for that to be stored. */
static bool has_place(struct source *s)
{
    struct pipeline *p = s->pipeline;
    char name[1024];
    if (!s->entry) {
        uint32_t partitions = atomic_load(&p->o.sink->partitions);
        if (!partitions)
            return false;
        struct tel_span source = source_name(s, name, sizeof(name));
        uint32_t partition = (uint32_t)(tel_hash64(source, 0) % partitions);
        s->entry = checkpoint_add(p->o.checkpoint, p->o.input->name, s->id, source.ptr, partition,
                                  tel_buf_span(&s->state));
        p->o.urgent(p->o.urgent_ctx);
    }
    return checkpoint_durable(p->o.checkpoint, s->entry);
}

static void give_up(struct source *s, struct batch *b, const struct tel_error *err)
{
    tel_log_error("an event is too large for the transport and is left out",
                  tel_kv_span("source", s->id), tel_kv_u64("position", b->last),
                  tel_kv_u64("bytes", b->message.len), tel_kv_error(err));
    atomic_fetch_add(&s->pipeline->counters.events_rejected, b->events);
    b->events = 0;
    b->state = BATCH_DONE;
}

static struct batch *next_ready(struct batch *b)
{
    while (b && b->state != BATCH_READY)
        b = b->next;
    return b;
}

int64_t source_send(struct source *s, int64_t now)
{
    struct pipeline *p = s->pipeline;
    struct tel_error err;
    if (now < s->retry_ns || (!has_place(s) && (s->unsent || !s->entry))) {
        wait_in_line(s);
        return s->retry_ns > now ? s->retry_ns : TEL_NO_DEADLINE;
    }
    while (s->unsent && !s->failed) {
        struct batch *b = s->unsent;
        tel_code rc = tel_producer_send(p->o.sink->producer, s->entry->partition,
                                        tel_span_cstr(s->entry->source), b->message,
                                        pipeline_delivered, b, &err);
        if (rc == TEL_OK) {
            b->state = BATCH_SENT;
            s->in_flight++;
            atomic_fetch_add(&p->counters.in_flight, 1);
            s->unsent = next_ready(b->next);
        } else if (rc == TEL_ERR_AGAIN) {
            wait_in_line(s);
            return now + AGAIN_NS;
        } else if (rc == TEL_ERR_LIMIT) {
            if (!batch_split(b))
                give_up(s, b, &err);
            s->unsent = next_ready(s->unsent);
        } else {
            tel_log_warn("cannot send", tel_kv_span("source", s->id), tel_kv_error(&err));
            s->retry_ns = now + (err.retriable ? RETRY_NS : RETRY_LONG_NS);
            wait_in_line(s);
            return s->retry_ns;
        }
    }
    return TEL_NO_DEADLINE;
}

/* ---- fates ---------------------------------------------------------------------------------- */

/* Everything that was in flight has met its fate, and some of it failed: begin again at the first
 * failed batch. */
static void recover(struct source *s)
{
    struct pipeline *p = s->pipeline;
    struct tel_error err;
    bool overtaken = false, failed = false, lasting = false;
    for (struct batch *b = s->first; b; b = b->next) {
        overtaken |= failed && b->state == BATCH_DONE && b->events;
        failed |= b->state == BATCH_FAILED;
        lasting |= b->state == BATCH_FAILED && !tel_code_retriable(b->fate) &&
                   b->fate != TEL_ERR_LIMIT;
    }
    if (overtaken) {
        tel_log_warn("later batches overtook one that failed: the source gets a new name",
                     tel_kv_span("source", s->id));
        source_seal(s);
        checkpoint_rename(p->o.checkpoint, s->entry);
        p->o.urgent(p->o.urgent_ctx);
    }
    for (struct batch *b = s->first, *next; b; b = next) {
        next = b->next; /* what is split off behind it needs no look */
        if (b->state != BATCH_DONE && overtaken)
            batch_rename(b);
        if (b->state != BATCH_FAILED)
            continue;
        b->state = BATCH_READY;
        if (b->fate == TEL_ERR_LIMIT && !batch_split(b)) {
            (void)tel_error_set(&err, b->fate, "the queue refused it");
            give_up(s, b, &err);
        }
    }
    s->failed = false;
    s->unsent = next_ready(s->first);
    s->retry_ns = tel_mono_ns(p->o.clock) + (lasting ? RETRY_LONG_NS : RETRY_NS);
    (void)source_send(s, tel_mono_ns(p->o.clock));
}

void source_settle(struct source *s)
{
    struct pipeline *p = s->pipeline;
    uint64_t before = s->acked;
    while (s->first && s->first->state == BATCH_DONE) {
        struct batch *b = s->first;
        s->acked = b->last;
        s->first = b->next;
        if (!s->first)
            s->last = NULL;
        batch_free(b);
    }
    /* Behind the last batch there may be events that a transform dropped. */
    if (!s->first && !s->writer) {
        s->acked = s->taken;
        s->floor = s->taken;
    }
    if (s->acked != before && s->entry)
        checkpoint_move(p->o.checkpoint, s->entry, s->acked);
    if (s->acked != before && !s->closed)
        p->o.acked(p->o.acked_ctx, s->user, s->acked);
    if (s->closed && !s->first && !s->writer) {
        if (s->forget && s->entry)
            checkpoint_remove(p->o.checkpoint, s->entry);
        source_free(s);
    }
}

void source_delivered(struct batch *b)
{
    struct source *s = b->source;
    struct pipeline_counters *c = &s->pipeline->counters;
    s->in_flight--;
    atomic_fetch_sub(&c->in_flight, 1);
    if (b->fate == TEL_OK) {
        b->state = BATCH_DONE;
        atomic_fetch_add_explicit(&c->events_delivered, b->events, memory_order_relaxed);
        atomic_fetch_add_explicit(&c->batches_delivered, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&c->bytes_delivered, b->message.len, memory_order_relaxed);
    } else {
        b->state = BATCH_FAILED;
        s->failed = true;
        atomic_fetch_add_explicit(&c->delivery_errors, 1, memory_order_relaxed);
    }
    if (s->failed && s->in_flight == 0)
        recover(s);
    source_settle(s);
}

void source_free(struct source *s)
{
    struct pipeline *p = s->pipeline;
    leave_line(s);
    if (s->writer) {
        unlink_open(s);
        pipeline_keep_writer(p, s->writer);
    }
    while (s->first) {
        struct batch *next = s->first->next;
        batch_free(s->first);
        s->first = next;
    }
    tel_map_remove(&p->by_id, s->id);
    struct source *last = p->sources.items[--p->sources.len];
    if (last != s) {
        last->index = s->index;
        p->sources.items[s->index] = last;
        *tel_map_get(&p->by_id, last->id) = last->index;
    }
    atomic_fetch_sub(&p->counters.sources, 1);
    tel_buf_free(&s->state);
    tel_arena_free(&s->memory);
    free(s);
}
