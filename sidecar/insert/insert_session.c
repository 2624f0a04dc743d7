/*
 * A session: streams, their messages under construction, sending with back-pressure, the wait for
 * durability.
 */
#include "sidecar/insert/insert_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

#define LANES_MAX      4096u
#define MESSAGE_BYTES  (256u << 10)
#define OPEN_BYTES_MAX (16u << 20) /* of all messages under construction of a session */
#define PARTITIONS_MS  2000
#define NOTES_MAX      10u
#define LETTERS_BYTES  (1u << 20)
#define RETRY_NS       (10 * TEL_NS_PER_MS)

/* ---- lanes and outcomes ------------------------------------------------------------------- */

/* The lowest free one, so that there are as few sources as requests at the same time. */
static struct insert_lane *lane_take(struct tel_insert *in)
{
    struct insert_lane *lane = NULL;
    tel_mutex_lock(&in->lock);
    for (size_t i = 0; i < in->lanes.len && !lane; i++)
        if (!in->lanes.items[i]->taken)
            lane = in->lanes.items[i];
    if (!lane && in->lanes.len < LANES_MAX) {
        lane = TEL_NEW(struct insert_lane);
        lane->number = (uint32_t)in->lanes.len;
        tel_vec_push(&in->lanes, lane);
    }
    if (lane)
        lane->taken = true;
    tel_mutex_unlock(&in->lock);
    return lane;
}

static void outcome_unref(struct insert_outcome *o)
{
    tel_mutex_lock(&o->lock);
    bool last = --o->refs == 0;
    tel_mutex_unlock(&o->lock);
    if (!last)
        return;
    tel_mutex_lock(&o->in->lock);
    o->lane->taken = false;
    tel_mutex_unlock(&o->in->lock);
    tel_cond_done(&o->settled);
    tel_mutex_done(&o->lock);
    free(o);
}

static void on_delivery(void *ctx, tel_code code, int64_t offset, const struct tel_error *err)
{
    (void)offset;
    struct insert_outcome *o = ctx;
    tel_mutex_lock(&o->lock);
    if (code != TEL_OK && o->code == TEL_OK) {
        o->code = code;
        if (err)
            o->err = *err;
        else
            (void)tel_error_set(&o->err, code, "%s", tel_code_text(code));
    }
    if (--o->outstanding == 0)
        tel_cond_signal(&o->settled);
    tel_mutex_unlock(&o->lock);
    outcome_unref(o);
}

/* Asks the transport once it is needed; later requests find the answer. */
static bool partitions_known(struct tel_insert *in)
{
    uint32_t n = 0;
    struct tel_error err;
    if (atomic_load(&in->partitions) == 0 &&
        tel_transport_partitions(in->transport, PARTITIONS_MS, &n, &err) == TEL_OK)
        atomic_store(&in->partitions, n);
    return atomic_load(&in->partitions) > 0;
}

/* ---- session ------------------------------------------------------------------------------ */

struct insert_session *insert_session_new(struct tel_insert *in, struct tel_span tenant,
                                          const char *format)
{
    struct insert_lane *lane = partitions_known(in) ? lane_take(in) : NULL;
    if (!lane)
        return NULL;
    struct insert_outcome *o = TEL_NEW(struct insert_outcome);
    o->in = in;
    o->lane = lane;
    o->refs = 1;
    tel_mutex_init(&o->lock);
    tel_cond_init(&o->settled);
    struct insert_session *s = TEL_NEW(struct insert_session);
    s->in = in;
    s->outcome = o;
    s->format = format;
    tel_arena_init(&s->arena, 16384);
    s->tenant = tel_arena_copy(&s->arena, tenant);
    atomic_fetch_add(&in->requests, 1);
    return s;
}

void insert_session_free(void *session)
{
    struct insert_session *s = session;
    if (!s)
        return;
    outcome_unref(s->outcome);
    for (size_t i = 0; i < s->streams.len; i++) {
        tel_record_writer_free(&s->streams.items[i]->writer);
        free(s->streams.items[i]);
    }
    tel_vec_free(&s->streams);
    tel_map_free(&s->by_key);
    tel_buf_free(&s->key);
    tel_buf_free(&s->letters);
    tel_buf_free(&s->notes);
    tel_arena_free(&s->arena);
    free(s);
}

static void fail_session(struct insert_session *s, tel_code code)
{
    if (s->failed == TEL_OK)
        s->failed = code;
}

/* ---- sending ------------------------------------------------------------------------------ */

/* Waits until the transport may have room; false at the session's deadline. */
static bool wait_for_room(struct insert_session *s)
{
    struct tel_insert *in = s->in;
    int64_t now = tel_mono_ns(tel_clock_system());
    if (now >= s->deadline_ns)
        return false;
    tel_mutex_lock(&in->lock);
    (void)tel_cond_wait_until(&in->progress, &in->lock, TEL_MIN(now + RETRY_NS, s->deadline_ns));
    tel_mutex_unlock(&in->lock);
    return true;
}

/* Hands the stream's message over. */
static bool send_stream(struct insert_session *s, struct insert_stream *stream)
{
    struct insert_outcome *o = s->outcome;
    struct tel_span message = tel_record_writer_finish(&stream->writer);
    stream->open = false;
    tel_mutex_lock(&o->lock);
    o->outstanding++;
    o->refs++;
    tel_mutex_unlock(&o->lock);
    s->deadline_ns = tel_deadline_ms((int64_t)s->in->send_timeout_ms);
    tel_code rc;
    do
        rc = tel_producer_send(s->in->producer, stream->partition, stream->head.source, message,
                               on_delivery, o, &s->err);
    while (rc == TEL_ERR_AGAIN && wait_for_room(s));
    if (rc == TEL_OK)
        return true;
    fail_session(s, rc);
    tel_mutex_lock(&o->lock);
    o->outstanding--;
    o->refs--; /* the session's own is left */
    tel_mutex_unlock(&o->lock);
    return false;
}

/* Sends everything that is under construction. */
static bool send_all(struct insert_session *s)
{
    bool good = true;
    for (size_t i = 0; i < s->streams.len && good; i++)
        if (s->streams.items[i]->open)
            good = send_stream(s, s->streams.items[i]);
    s->open_bytes = 0;
    return good;
}

/* ---- streams ------------------------------------------------------------------------------ */

static void key_add(struct tel_buf *key, struct tel_span part)
{
    uint32_t len = (uint32_t)part.len;
    tel_buf_add(key, &len, sizeof(len));
    tel_buf_add_span(key, part);
}

static struct insert_stream *stream_new(struct insert_session *s, const struct tel_field *labels,
                                        uint32_t count)
{
    struct insert_stream *stream = TEL_NEW(struct insert_stream);
    struct tel_field *copy = TEL_ARENA_ARRAY(&s->arena, struct tel_field, count ? count : 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        if (labels[i].value.len > 0)
            copy[n++] = (struct tel_field){tel_arena_copy(&s->arena, labels[i].name),
                                           tel_arena_copy(&s->arena, labels[i].value)};
    stream->key = tel_arena_copy(&s->arena, tel_buf_span(&s->key));
    stream->head = (struct tel_batch){
        .tenant = s->tenant,
        .source = tel_arena_printf(&s->arena, "http/%s/%u/%016llx", s->in->id,
                                   s->outcome->lane->number,
                                   (unsigned long long)tel_hash64(stream->key, tel_hash64(s->tenant, 0))),
        .resource = copy,
        .resource_count = n,
    };
    stream->partition = (uint32_t)(tel_hash64(stream->head.source, 0) % atomic_load(&s->in->partitions));
    tel_vec_push(&s->streams, stream);
    return stream;
}

struct insert_stream *insert_stream(struct insert_session *s, const struct tel_field *labels,
                                    uint32_t count)
{
    tel_buf_clear(&s->key);
    for (uint32_t i = 0; i < count; i++) {
        if (labels[i].value.len == 0)
            continue;
        key_add(&s->key, labels[i].name);
        key_add(&s->key, labels[i].value);
    }
    struct tel_span key = tel_buf_span(&s->key);
    if (s->last && tel_span_eq(s->last->key, key))
        return s->last;
    bool fresh = false;
    uint64_t *slot = tel_map_put(&s->by_key, key.len ? key : TEL_SPAN("\0\0\0"), &fresh);
    if (fresh)
        *slot = (uint64_t)(uintptr_t)stream_new(s, labels, count);
    s->last = (struct insert_stream *)(uintptr_t)*slot;
    return s->last;
}

/* ---- events ------------------------------------------------------------------------------- */

/* Takes out all but the last attribute of each name. Quadratic, and only for events that have been
 * refused because of it. */
static void drop_repeats(struct tel_event *event, struct tel_arena *arena)
{
    struct tel_field *kept = TEL_ARENA_ARRAY(arena, struct tel_field, event->attribute_count);
    uint32_t n = 0;
    for (uint32_t i = 0; i < event->attribute_count; i++) {
        uint32_t at = 0;
        while (at < n && !tel_span_eq(kept[at].name, event->attributes[i].name))
            at++;
        kept[at] = event->attributes[i];
        n = TEL_MAX(n, at + 1);
    }
    event->attributes = kept;
    event->attribute_count = n;
}

/* Into the stream's message, starting one or sending a full one as it needs. */
static tel_code add_once(struct insert_session *s, struct insert_stream *stream,
                         const struct tel_event *event, struct tel_error *err)
{
    for (int attempt = 0;; attempt++) {
        tel_code rc = TEL_OK;
        if (!stream->open) {
            rc = tel_record_writer_begin(&stream->writer, &s->in->framing, &stream->head, err);
            if (rc != TEL_OK)
                return rc;
            stream->open = true;
        }
        size_t before = tel_record_writer_size(&stream->writer);
        rc = tel_record_writer_add(&stream->writer, event, err);
        if (rc == TEL_OK)
            s->open_bytes += tel_record_writer_size(&stream->writer) - before;
        if (rc != TEL_ERR_AGAIN || attempt > 0)
            return rc;
        if (!send_stream(s, stream))
            return s->failed;
    }
}

bool insert_add(struct insert_session *s, struct insert_stream *stream, struct tel_event *event,
                struct tel_error *err)
{
    if (s->failed != TEL_OK)
        return false;
    event->position = s->in->generation << 40 | ++s->outcome->lane->counter;
    tel_code rc = add_once(s, stream, event, err);
    if (rc == TEL_ERR_INVALID && event->attribute_count > 1) {
        struct tel_arena scratch;
        uint32_t before = event->attribute_count;
        tel_arena_init(&scratch, 0);
        drop_repeats(event, &scratch);
        if (event->attribute_count < before)
            rc = add_once(s, stream, event, err);
        tel_arena_free(&scratch);
    }
    if (rc != TEL_OK)
        return false;
    s->events++;
    if (tel_record_writer_size(&stream->writer) >= MESSAGE_BYTES)
        (void)send_stream(s, stream);
    else if (s->open_bytes >= OPEN_BYTES_MAX)
        (void)send_all(s);
    return true;
}

static void keep_letters(struct insert_session *s)
{
    struct tel_error err;
    if (s->letters.len > 0 && dead_letters_keep(s->in->dead, tel_buf_span(&s->letters), &err) != TEL_OK)
        atomic_fetch_add(&s->in->dead_lost, 1);
    tel_buf_clear(&s->letters);
}

void insert_bad(struct insert_session *s, const char *reason, struct tel_span item)
{
    s->bad++;
    dead_letter_format(&s->letters, tel_wall_ns(s->in->clock), s->tenant, s->format, reason, item);
    if (s->letters.len >= LETTERS_BYTES)
        keep_letters(s);
    if (s->note_count == NOTES_MAX)
        return;
    tel_buf_printf(&s->notes, "%s{\"line\":%llu,\"error\":", s->note_count ? "," : "",
                   (unsigned long long)s->line);
    tel_buf_add_json(&s->notes, tel_span_cstr(reason));
    tel_buf_add_char(&s->notes, '}');
    s->note_count++;
}

static tel_code wait_settled(struct insert_session *s, struct tel_error *err)
{
    struct insert_outcome *o = s->outcome;
    int64_t deadline = tel_deadline_ms((int64_t)s->in->send_timeout_ms);
    tel_mutex_lock(&o->lock);
    bool in_time = true;
    while (o->outstanding > 0 && in_time)
        in_time = tel_cond_wait_until(&o->settled, &o->lock, deadline);
    tel_code rc = o->outstanding > 0 ? TEL_ERR_TIMEOUT : o->code;
    if (rc == TEL_ERR_TIMEOUT)
        (void)tel_error_set(err, rc, "the queue has not confirmed the events in time");
    else if (rc != TEL_OK && err)
        *err = o->err;
    tel_mutex_unlock(&o->lock);
    return rc;
}

tel_code insert_session_end(struct insert_session *s, struct tel_error *err)
{
    if (s->failed == TEL_OK)
        (void)send_all(s);
    keep_letters(s);
    tel_code rc = wait_settled(s, err);
    if (s->failed != TEL_OK) {
        rc = s->failed;
        if (err)
            *err = s->err;
    }
    atomic_fetch_add(&s->in->bad, s->bad);
    if (rc == TEL_OK)
        atomic_fetch_add(&s->in->events, s->events);
    else
        atomic_fetch_add(&s->in->failed, 1);
    return rc;
}

void insert_reply_failed(struct tel_http_request *req, const struct tel_error *err)
{
    tel_http_reply_header(req, "Retry-After", TEL_SPAN("1"));
    tel_http_reply_error(req, err->code == TEL_ERR_AGAIN ? 429 : 503,
                         "not all events were stored, send them again: %s", err->text);
}

void insert_reply(struct insert_session *s, struct tel_http_request *req, unsigned status)
{
    struct tel_error err;
    tel_error_clear(&err);
    if (insert_session_end(s, &err) != TEL_OK) {
        insert_reply_failed(req, &err);
        return;
    }
    if (status == 204 && s->bad == 0) {
        tel_http_reply(req, status, NULL, tel_span_make(NULL, 0));
        return;
    }
    struct tel_buf out = {0};
    tel_buf_printf(&out, "{\"accepted\":%llu,\"rejected\":%llu", (unsigned long long)s->events,
                   (unsigned long long)s->bad);
    if (s->bad > 0) {
        TEL_BUF_ADD_LIT(&out, ",\"errors\":[");
        tel_buf_add_span(&out, tel_buf_span(&s->notes));
        TEL_BUF_ADD_LIT(&out, "]");
    }
    TEL_BUF_ADD_LIT(&out, "}\n");
    /* Nothing but bad lines is most likely the wrong format or the wrong field names. */
    tel_http_reply(req, s->bad > 0 && s->events == 0 ? 400 : 200, "application/json",
                   tel_buf_span(&out));
    tel_buf_free(&out);
}
