/*
 * A source's batches on their way, and why every line of it is in the index exactly once.
 *
 *              seal               send                 acknowledged
 *     OPEN ────────────► SEALED ─────────► IN FLIGHT ────────────────► gone; the position moves over it
 *                           ▲                  │
 *                           ├──────────────────┤ failed: it may or may not be in the queue
 *                           └─── the halves ───┘ refused for its size
 *
 * Batches leave in the order of their positions, one at a time: as long as the fate of one is not known
 * the next stays here. What a shard relies on is that follows from it:
 *
 *   Whenever a position of a source is in the queue's log, all positions of the source below it stand
 *   before it in the log.
 *
 * For a batch is first sent when the one before it was acknowledged, so that is in the log for good. One
 * that failed is sent again as it is, with the same name, partition and positions, as often as it takes,
 * and nothing else of the source in between. A sidecar that was killed begins again at the position on
 * the disk, which is never above what was acknowledged, with the name and partition on the disk, which
 * were there before the first batch left. A request of a killed sidecar, or of a producer that had to
 * begin anew, which the queue takes late, after all others, holds one batch, and what is below that was
 * acknowledged before it was sent. So a shard that drops what is not above the highest position that it
 * has seen of the source drops repeats, all of them, and nothing else. (Where a batch ends does not
 * matter, it need not end there again: positions count, not batches.)
 *
 * With two in flight none of that holds. The second may be acknowledged though the first failed: when
 * the first is refused (for its size, for want of permission), when the producer begins anew between
 * the two, when the partition moves to a broker that never heard of this producer. Then the first is
 * behind what a shard has seen, and lost if it is sent under this name; and if it is sent under another
 * name, a sidecar killed then does not know which of the two names the second one had.
 *
 * So a source can have one message in a round trip. It does not wait for it in vain: what comes
 * meanwhile joins the open batch, which may grow to PIPELINE_GROWTH times its size.
 *
 * tests/unit/sidecar/test_exactly_once.c tries every order of fates, saves and kills.
 */
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

void source_list(struct source *s)
{
    struct pipeline *p = s->pipeline;
    s->older = p->youngest;
    s->younger = NULL;
    *(p->youngest ? &p->youngest->younger : &p->oldest) = s;
    p->youngest = s;
    s->listed = true;
}

static void unlist(struct source *s)
{
    struct pipeline *p = s->pipeline;
    if (!s->listed)
        return;
    *(s->older ? &s->older->younger : &p->oldest) = s->younger;
    *(s->younger ? &s->younger->older : &p->youngest) = s->older;
    s->older = s->younger = NULL;
    s->listed = false;
}

static void seal(struct source *s)
{
    struct pipeline *p = s->pipeline;
    struct tel_record_writer *w = s->writer;
    s->writer = NULL;
    unlist(s);
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
        *(s->last ? &s->last->next : &s->first) = b;
        s->last = b;
    }
    pipeline_keep_writer(p, w);
}

void source_seal(struct source *s)
{
    if (!s->writer)
        return;
    seal(s);
    if (!s->waiting)
        (void)source_send(s, tel_mono_ns(s->pipeline->o.clock));
}

/* Nothing is ahead of the open batch any more: it leaves now if it is due, else it may grow old first,
 * from now on, which keeps the list in order. */
static void open_is_next(struct source *s, int64_t now)
{
    const struct pipeline_options *o = &s->pipeline->o;
    if (!s->writer || s->listed)
        return;
    if (s->opened_ns + o->batch_age_ns <= now || s->writer->events >= o->batch_events ||
        tel_record_writer_size(s->writer) >= o->batch_bytes) {
        seal(s);
    } else {
        s->opened_ns = now;
        source_list(s);
    }
}

/* The first batch is done with. */
static void pop(struct source *s)
{
    struct batch *b = s->first;
    if (!b->piece)
        s->acked = b->last;
    s->first = b->next;
    if (!s->first)
        s->last = NULL;
    batch_free(b);
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

void source_leave_line(struct source *s)
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
    s->next_waiting = NULL;
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

/* Cuts the first batch; if it is one event that cannot be cut, that is left out. */
static void make_smaller(struct source *s, const struct tel_error *err)
{
    struct batch *b = s->first;
    if (batch_split(b))
        return;
    tel_log_error("an event is too large for the transport and is left out",
                  tel_kv_span("source", s->id), tel_kv_u64("position", b->last),
                  tel_kv_u64("bytes", b->message.len), tel_kv_error(err));
    atomic_fetch_add(&s->pipeline->counters.events_rejected, b->events);
    pop(s);
}

static int64_t wait_until(struct source *s, int64_t then)
{
    wait_in_line(s);
    return then;
}

int64_t source_send(struct source *s, int64_t now)
{
    struct pipeline *p = s->pipeline;
    struct tel_error err;
    if (s->in_flight)
        return TEL_NO_DEADLINE;
    if (now < s->retry_ns)
        return wait_until(s, s->retry_ns);
    if (!has_place(s) && (s->first || !s->entry))
        return wait_until(s, TEL_NO_DEADLINE);
    for (;;) {
        if (!s->first)
            open_is_next(s, now);
        if (!s->first)
            return TEL_NO_DEADLINE;
        tel_code rc = tel_producer_send(p->o.sink->producer, s->entry->partition,
                                        tel_span_cstr(s->entry->source), s->first->message,
                                        pipeline_delivered, s->first, &err);
        if (rc == TEL_OK) {
            s->in_flight = true;
            atomic_fetch_add(&p->counters.in_flight, 1);
            return TEL_NO_DEADLINE;
        }
        if (rc == TEL_ERR_AGAIN)
            return wait_until(s, now + AGAIN_NS);
        if (rc != TEL_ERR_LIMIT) {
            tel_log_warn("cannot send", tel_kv_span("source", s->id), tel_kv_error(&err));
            s->retry_ns = now + (err.retriable ? RETRY_NS : RETRY_LONG_NS);
            return wait_until(s, s->retry_ns);
        }
        make_smaller(s, &err);
    }
}

/* ---- fates ---------------------------------------------------------------------------------- */

void source_settle(struct source *s)
{
    struct pipeline *p = s->pipeline;
    /* Behind the last batch there may be events that a transform dropped. */
    if (!s->first && !s->writer) {
        s->acked = s->taken;
        s->floor = s->taken;
    }
    if (s->acked != s->told) {
        s->told = s->acked;
        if (s->entry)
            checkpoint_move(p->o.checkpoint, s->entry, s->acked);
        if (!s->closed)
            p->o.acked(p->o.acked_ctx, s->user, s->acked);
    }
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
    int64_t now = tel_mono_ns(s->pipeline->o.clock);
    struct tel_error err;
    TEL_CHECK(s->in_flight && b == s->first);
    s->in_flight = false;
    atomic_fetch_sub(&c->in_flight, 1);
    if (b->fate == TEL_OK) {
        atomic_fetch_add_explicit(&c->events_delivered, b->events, memory_order_relaxed);
        atomic_fetch_add_explicit(&c->batches_delivered, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&c->bytes_delivered, b->message.len, memory_order_relaxed);
        pop(s);
    } else {
        atomic_fetch_add_explicit(&c->delivery_errors, 1, memory_order_relaxed);
        if (b->fate == TEL_ERR_LIMIT) {
            (void)tel_error_set(&err, b->fate, "the queue refused it");
            make_smaller(s, &err);
        } else {
            s->retry_ns = now + (tel_code_retriable(b->fate) ? RETRY_NS : RETRY_LONG_NS);
        }
    }
    (void)source_send(s, now);
    source_settle(s);
}

void source_free(struct source *s)
{
    struct pipeline *p = s->pipeline;
    source_leave_line(s);
    if (s->writer) {
        unlist(s);
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
