/*
 * Events as a block source: what a segment answers, for events that are still in memory. The one
 * place that says which fields an event has:
 *
 *     _msg                 the body
 *     _stream              {app="checkout",host="web-1"}: the labels, sorted by name
 *     _stream_id           32 hex digits, a hash of _stream
 *     <label>              each stream label
 *     <attribute>          each attribute; it hides a label of the same name
 *     severity             "INFO", "WARN2", ...: OpenTelemetry's short names, unless given above
 *     trace_id, span_id    likewise
 *
 * An empty value is an absent field. The source and what it hands out live in an arena.
 */
#ifndef SHARD_SEGMENT_EVENTS_H
#define SHARD_SEGMENT_EVENTS_H

#include "common/base/arena.h"
#include "common/logsql/block.h"
#include "common/record/batch.h"

#define SEGMENT_FIELD_SEVERITY "severity"
#define SEGMENT_FIELD_TRACE_ID "trace_id"
#define SEGMENT_FIELD_SPAN_ID  "span_id"

/* A stream: its labels, sorted by name, and its two special fields. */
struct segment_stream {
    const struct tel_field *labels;
    uint32_t label_count;
    struct tel_span text, id; /* _stream, _stream_id */
};

struct segment_event {
    struct tel_row_key key;
    const struct segment_stream *stream;
    const struct tel_event *event;
};

/* Fills text and id for labels; all of it lives in arena, except the labels, which must. */
void segment_stream_init(struct segment_stream *stream, const struct tel_field *labels,
                         uint32_t label_count, struct tel_arena *arena);

/* What a stream gives a field: a label, _stream or _stream_id; empty without. */
struct tel_span segment_stream_field(const struct segment_stream *stream, struct tel_span field);

/* "INFO" for 9, "INFO2" for 10; empty for 0 and for what is no severity. */
struct tel_span segment_severity_text(uint32_t severity);

/* A source over events[0..count), which must outlive it. Sort them by key before. */
struct tel_block_source *segment_events_source(const struct segment_event *events, size_t count,
                                               struct tel_arena *arena);

#endif
