/*
 * The writer. An event costs a few dozen nanoseconds: its checks, one reservation of the most bytes
 * it can take, and copies. See codec.h for how the count gets in front of the events.
 */
#include "common/base/utf8.h"
#include "common/base/varint.h"
#include "common/record/check.h"
#include "common/record/codec.h"

enum { COUNT_ROOM = 3 };

/* zig-zag doubles the count */
_Static_assert(2 * TEL_BATCH_EVENTS_MAX < 1u << (7 * COUNT_ROOM), "the count must fit its room");

static char *put_long(char *out, int64_t v)
{
    return out + tel_varint_put(out, tel_zigzag(v));
}

/* Avro's string and bytes: length, then the bytes. */
static char *put_bytes(char *out, struct tel_span s)
{
    out = put_long(out, (int64_t)s.len);
    if (s.len > 0)
        memcpy(out, s.ptr, s.len);
    return out + s.len;
}

/* The union of null and string: the branch, then the string. */
static char *put_optional(char *out, struct tel_span s)
{
    if (s.len == 0) {
        *out++ = 0;
        return out;
    }
    *out++ = 2;
    return put_bytes(out, s);
}

/* A map as one block, or none when it is empty, and its end. */
static char *put_map(char *out, const struct tel_field *fields, uint32_t count)
{
    if (count > 0) {
        out = put_long(out, (int64_t)count);
        for (uint32_t i = 0; i < count; i++)
            out = put_bytes(put_bytes(out, fields[i].name), fields[i].value);
    }
    *out++ = 0;
    return out;
}

static size_t map_bytes_max(const struct tel_field *fields, uint32_t count)
{
    size_t bytes = TEL_VARINT_MAX + 1;
    for (uint32_t i = 0; i < count; i++)
        bytes += fields[i].name.len + fields[i].value.len + 2 * TEL_VARINT_MAX;
    return bytes;
}

/* s, with U+FFFD for every byte that is not UTF-8. */
static struct tel_span as_text(struct tel_arena *arena, struct tel_span s)
{
    if (tel_utf8_valid(s))
        return s;
    char *out = tel_arena_alloc(arena, 3 * s.len);
    size_t len = 0;
    while (s.len > 0) {
        uint32_t cp;
        size_t n = tel_utf8_decode(s, &cp);
        if (cp == UINT32_MAX)
            len += tel_utf8_encode(0xfffd, out + len);
        else
            memcpy(out + len, s.ptr, n), len += n;
        s = tel_span_slice(s, n, s.len);
    }
    return tel_span_make(out, len);
}

static void put_frame(struct tel_buf *buf, const struct tel_record_framing *framing)
{
    switch (framing->frame) {
    case TEL_RECORD_SINGLE_OBJECT:
        TEL_BUF_ADD_LIT(buf, "\xc3\x01");
        tel_buf_add_le64(buf, TEL_RECORD_FINGERPRINT);
        return;
    case TEL_RECORD_CONFLUENT:
        tel_buf_add_char(buf, 0);
        for (int shift = 24; shift >= 0; shift -= 8)
            tel_buf_add_char(buf, (char)(framing->schema_id >> shift));
        return;
    }
    TEL_UNREACHABLE();
}

tel_code tel_record_writer_begin(struct tel_record_writer *w,
                                 const struct tel_record_framing *framing,
                                 const struct tel_batch *head, struct tel_error *err)
{
    w->open = false;
    tel_arena_reset(&w->scratch);
    w->name_slots = NULL;
    uint32_t count = head->resource_count;
    if (count > TEL_RESOURCE_LABELS_MAX)
        return tel_error_set(err, TEL_ERR_LIMIT, "batch head: too many labels: %u", count);
    struct tel_field *labels = TEL_ARENA_ARRAY(&w->scratch, struct tel_field, count);
    for (uint32_t i = 0; i < count; i++) {
        labels[i].name = head->resource[i].name;
        labels[i].value = as_text(&w->scratch, head->resource[i].value);
    }
    struct tel_record_verdict v = tel_record_check_head(head->tenant, head->source, labels, count);
    if (v.code != TEL_OK)
        return tel_error_set(err, v.code, "batch head: %s", v.what);
    size_t most = 64 + head->tenant.len + head->source.len + map_bytes_max(labels, count);
    if (most > TEL_BATCH_BYTES_MAX / 2)
        return tel_error_set(err, TEL_ERR_LIMIT, "batch head: the labels are too long");

    tel_buf_clear(&w->buf);
    tel_buf_reserve(&w->buf, most);
    w->buf.len = COUNT_ROOM - 1;
    memset(w->buf.ptr, 0, w->buf.len);
    put_frame(&w->buf, framing);
    char *out = w->buf.ptr + w->buf.len;
    out = put_bytes(out, head->tenant);
    out = put_map(out, labels, count);
    out = put_bytes(out, head->source);
    w->head_end = (size_t)(out - w->buf.ptr);
    w->buf.len = w->head_end + COUNT_ROOM;
    w->events = w->fields = 0;
    w->open = true;
    return TEL_OK;
}

tel_code tel_record_writer_add(struct tel_record_writer *w, const struct tel_event *event,
                               struct tel_error *err)
{
    TEL_CHECK(w->open);
    struct tel_record_names names = {.arena = &w->scratch, .slots = w->name_slots};
    struct tel_record_verdict v =
        tel_record_check_event(event, w->events ? &w->last_position : NULL, &names);
    w->name_slots = names.slots;
    if (TEL_UNLIKELY(v.code != TEL_OK))
        return tel_error_set(err, v.code, "event at position %llu: %s",
                             (unsigned long long)event->position, v.what);
    size_t most = 8 * TEL_VARINT_MAX + event->body.len + event->trace_id.len + event->span_id.len +
                  map_bytes_max(event->attributes, event->attribute_count);
    if (TEL_UNLIKELY(w->events == TEL_BATCH_EVENTS_MAX ||
                     w->buf.len + most > TEL_BATCH_BYTES_MAX ||
                     w->fields + event->attribute_count > TEL_BATCH_FIELDS_MAX)) {
        if (w->events == 0)
            return tel_error_set(err, TEL_ERR_LIMIT, "event at position %llu: too large for a batch",
                                 (unsigned long long)event->position);
        return tel_error_set(err, TEL_ERR_AGAIN, "the batch is full");
    }
    tel_buf_reserve(&w->buf, most + 1);
    char *out = w->buf.ptr + w->buf.len;
    out = put_long(out, event->timestamp_ns);
    out = put_long(out, (int64_t)event->position);
    out = put_long(out, (int64_t)event->severity);
    out = put_bytes(out, event->body);
    out = put_map(out, event->attributes, event->attribute_count);
    out = put_optional(out, event->trace_id);
    out = put_optional(out, event->span_id);
    w->buf.len = (size_t)(out - w->buf.ptr);
    w->last_position = event->position;
    w->fields += event->attribute_count;
    w->events++;
    return TEL_OK;
}

struct tel_span tel_record_writer_finish(struct tel_record_writer *w)
{
    TEL_CHECK(w->open);
    w->open = false;
    char count[TEL_VARINT_MAX];
    size_t n = 0;
    if (w->events > 0) {
        n = tel_varint_put(count, tel_zigzag((int64_t)w->events));
        TEL_CHECK(n <= COUNT_ROOM);
        tel_buf_add_char(&w->buf, 0);
    } else {
        count[n++] = 0; /* the end of an array without blocks */
    }
    /* Everything in front of the events ends at head_end + COUNT_ROOM. */
    size_t shift = COUNT_ROOM - n, from = COUNT_ROOM - 1;
    memmove(w->buf.ptr + from + shift, w->buf.ptr + from, w->head_end - from);
    memcpy(w->buf.ptr + w->head_end + shift, count, n);
    return tel_span_slice(tel_buf_span(&w->buf), from + shift, w->buf.len);
}

void tel_record_writer_free(struct tel_record_writer *w)
{
    tel_buf_free(&w->buf);
    tel_arena_free(&w->scratch);
    memset(w, 0, sizeof *w);
}

tel_code tel_record_encode(const struct tel_batch *batch, const struct tel_record_framing *framing,
                           struct tel_buf *ret, struct tel_error *err)
{
    struct tel_record_writer w = {0};
    tel_code rc = tel_record_writer_begin(&w, framing, batch, err);
    for (uint32_t i = 0; rc == TEL_OK && i < batch->event_count; i++)
        rc = tel_record_writer_add(&w, &batch->events[i], err);
    if (rc == TEL_OK)
        tel_buf_add_span(ret, tel_record_writer_finish(&w));
    else if (rc == TEL_ERR_AGAIN)
        rc = tel_error_set(err, TEL_ERR_LIMIT, "the batch is too large");
    tel_record_writer_free(&w);
    return rc;
}
