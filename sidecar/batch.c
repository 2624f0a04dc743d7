/*
 * Cutting a batch that is too large for the transport: the message is taken apart and encoded again,
 * which is slow and happens only when something went wrong.
 *
 * Where it is cut depends on the batch, but what a cut event's pieces are does not: an event is halved
 * only when it is refused alone. And the stored position never stands between them. So after a restart,
 * when the event may come in another batch, it is read whole and cut into the same pieces, and those that
 * the queue has already are repeats.
 */
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/utf8.h"
#include "sidecar/source.h"

#define TEL_LOG_COMPONENT "pipeline"
#include "common/base/log.h"

#define CONFLUENT_HEADER 5u /* bytes before the datum */
#define SINGLE_HEADER    10u

/* The batch of a message of ours, whatever frame it has. */
static tel_code take_apart(const struct batch *b, struct tel_arena *arena, struct tel_batch *ret,
                           struct tel_error *err)
{
    struct tel_span message = b->message;
    if (b->source->pipeline->o.framing.frame == TEL_RECORD_CONFLUENT) {
        struct tel_buf copy = {0};
        tel_buf_add(&copy, "\xc3\x01", 2);
        tel_buf_add_le64(&copy, TEL_RECORD_FINGERPRINT);
        TEL_CHECK(copy.len == SINGLE_HEADER);
        tel_buf_add(&copy, message.ptr + CONFLUENT_HEADER, message.len - CONFLUENT_HEADER);
        message = tel_arena_copy(arena, tel_buf_span(&copy));
        tel_buf_free(&copy);
    }
    return tel_record_decode(NULL, message, arena, ret, err);
}

static tel_code put_together(struct batch *b, const struct tel_batch *batch, struct tel_error *err)
{
    struct pipeline *p = b->source->pipeline;
    struct tel_buf buf = {0};
    tel_code rc = tel_record_encode(batch, &p->o.framing, &buf, err);
    if (rc != TEL_OK) {
        tel_buf_free(&buf);
        return rc;
    }
    pipeline_hold(p, (int64_t)buf.cap - (int64_t)b->buf.cap);
    tel_buf_free(&b->buf);
    b->buf = buf;
    b->message = tel_buf_span(&b->buf);
    b->events = batch->event_count;
    return TEL_OK;
}

/* One event as two, each with half of the body. The first half needs a position of its own, which is
 * there when positions count bytes: the bytes of the second half before the event's. */
static bool halve_event(const struct batch *b, const struct tel_event *whole,
                        struct tel_event halves[2], struct tel_arena *arena)
{
    static const struct tel_span mark = TEL_SPAN_INIT("telescope.split");
    size_t cut = whole->body.len / 2, second = whole->body.len - cut;
    if (cut == 0 || whole->position < second || whole->position - second <= b->floor)
        return false;
    struct tel_span label = TEL_SPAN_INIT("");
    struct tel_field *f = TEL_ARENA_ARRAY(arena, struct tel_field, whole->attribute_count + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < whole->attribute_count; i++) {
        if (tel_span_eq(whole->attributes[i].name, mark))
            label = whole->attributes[i].value;
        else
            f[n++] = whole->attributes[i];
    }
    for (int i = 0; i < 2; i++) {
        struct tel_field *own = TEL_ARENA_ARRAY(arena, struct tel_field, n + 1);
        memcpy(own, f, n * sizeof(*f));
        own[n] = (struct tel_field){mark, tel_arena_printf(arena, "%.*s%s%d/2", TEL_SPAN_ARG(label),
                                                           label.len ? " " : "", i + 1)};
        halves[i] = *whole;
        halves[i].attributes = own;
        halves[i].attribute_count = n + 1;
    }
    halves[0].body.len = cut;
    halves[0].position = whole->position - second;
    halves[1].body = tel_span_slice(whole->body, cut, whole->body.len);
    return true;
}

bool batch_split(struct batch *b)
{
    struct tel_arena arena;
    struct tel_batch batch, half;
    struct tel_error err;
    struct tel_event halves[2];
    tel_arena_init(&arena, 0);
    tel_code rc = take_apart(b, &arena, &batch, &err);
    TEL_CHECK(rc == TEL_OK);
    const struct tel_event *events = batch.events;
    uint32_t count = batch.event_count;
    if (count == 1) {
        if (!halve_event(b, &events[0], halves, &arena)) {
            tel_arena_free(&arena);
            return false;
        }
        events = halves;
        count = 2;
    }
    /* The old bytes must live until both halves are encoded. */
    struct tel_buf old = b->buf;
    struct batch *second = TEL_NEW(struct batch);
    b->buf = (struct tel_buf){0};
    pipeline_hold(b->source->pipeline, -(int64_t)old.cap);
    *second = (struct batch){
        .next = b->next, .source = b->source, .last = b->last, .piece = b->piece};
    b->piece |= batch.event_count == 1;
    half = batch;
    half.events = events + count / 2;
    half.event_count = count - count / 2;
    rc = put_together(second, &half, &err);
    TEL_CHECK(rc == TEL_OK);
    half.events = events;
    half.event_count = count / 2;
    rc = put_together(b, &half, &err);
    TEL_CHECK(rc == TEL_OK);
    b->last = second->floor = events[count / 2 - 1].position;
    b->next = second;
    if (b->source->last == b)
        b->source->last = second;
    tel_buf_free(&old);
    tel_arena_free(&arena);
    return true;
}
