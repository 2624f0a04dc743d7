/* Columns are made by one walk over the events when they are asked for; nothing is cached, since
 * whoever asks keeps what it got in the same arena. */
#include "shard/segment/events.h"

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/map.h"
#include "common/logsql/filter.h"

struct events_source {
    struct tel_block_source base;
    const struct segment_event *events;
};

struct tel_span segment_severity_text(uint32_t severity)
{
    static const struct tel_span texts[TEL_SEVERITY_MAX + 1] = {
#define FOUR(name)                                                                                 \
    TEL_SPAN_INIT(name), TEL_SPAN_INIT(name "2"), TEL_SPAN_INIT(name "3"), TEL_SPAN_INIT(name "4")
        {"", 0},       FOUR("TRACE"), FOUR("DEBUG"), FOUR("INFO"),
        FOUR("WARN"), FOUR("ERROR"), FOUR("FATAL"),
#undef FOUR
    };
    return severity <= TEL_SEVERITY_MAX ? texts[severity] : texts[0];
}

void segment_stream_init(struct segment_stream *stream, const struct tel_field *labels,
                         uint32_t label_count, struct tel_arena *arena)
{
    struct tel_buf text = {0};
    struct tel_label *copy = TEL_ARENA_ARRAY(arena, struct tel_label, label_count);
    for (uint32_t i = 0; i < label_count; i++)
        copy[i] = (struct tel_label){labels[i].name, labels[i].value};
    tel_stream_print(&text, copy, label_count);
    struct tel_hash128 h = tel_hash128(tel_buf_span(&text), 0);
    stream->labels = labels;
    stream->label_count = label_count;
    stream->text = tel_arena_copy(arena, tel_buf_span(&text));
    stream->id = tel_arena_printf(arena, "%016llx%016llx", (unsigned long long)h.hi,
                                  (unsigned long long)h.lo);
    tel_buf_free(&text);
}

static struct tel_span field_of(const struct tel_field *fields, uint32_t count, struct tel_span name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (tel_span_eq(fields[i].name, name))
            return fields[i].value;
    }
    return tel_span_make(NULL, 0);
}

struct tel_span segment_stream_field(const struct segment_stream *s, struct tel_span field)
{
    if (tel_span_eq_cstr(field, TEL_FIELD_STREAM))
        return s->text;
    if (tel_span_eq_cstr(field, TEL_FIELD_STREAM_ID))
        return s->id;
    struct tel_span label = field_of(s->labels, s->label_count, field);
    return label.ptr ? label : tel_span_make("", 0);
}

static struct tel_span event_field(const struct segment_event *e, struct tel_span name)
{
    if (tel_span_eq_cstr(name, TEL_FIELD_MSG))
        return e->event->body;
    if (tel_span_eq_cstr(name, TEL_FIELD_STREAM))
        return e->stream->text;
    if (tel_span_eq_cstr(name, TEL_FIELD_STREAM_ID))
        return e->stream->id;
    struct tel_span v = field_of(e->event->attributes, e->event->attribute_count, name);
    if (v.len == 0)
        v = field_of(e->stream->labels, e->stream->label_count, name);
    if (v.len)
        return v;
    if (tel_span_eq_cstr(name, SEGMENT_FIELD_SEVERITY))
        return segment_severity_text(e->event->severity);
    if (tel_span_eq_cstr(name, SEGMENT_FIELD_TRACE_ID))
        return e->event->trace_id;
    if (tel_span_eq_cstr(name, SEGMENT_FIELD_SPAN_ID))
        return e->event->span_id;
    return tel_span_make(NULL, 0);
}

static tel_code events_column(struct tel_block_source *src, struct tel_span name,
                              const struct tel_span **ret_values, struct tel_error *err)
{
    (void)err;
    const struct events_source *s = (const struct events_source *)src;
    struct tel_span *values =
        tel_arena_alloc(src->arena, TEL_MAX(src->rows, 1) * sizeof(*values));
    bool any = false;
    for (size_t i = 0; i < src->rows; i++) {
        values[i] = event_field(&s->events[i], name);
        any |= values[i].len > 0;
    }
    *ret_values = any ? values : NULL;
    return TEL_OK;
}

static void add_name(struct tel_map *map, struct tel_span name, struct tel_span value)
{
    if (value.len)
        tel_map_put(map, name, NULL);
}

static tel_code events_names(struct tel_block_source *src, const struct tel_span **ret_names,
                             size_t *ret_count, struct tel_error *err)
{
    (void)err;
    const struct events_source *s = (const struct events_source *)src;
    struct tel_map map;
    tel_map_init(&map);
    const struct segment_stream *last = NULL;
    for (size_t i = 0; i < src->rows; i++) {
        const struct segment_event *e = &s->events[i];
        const struct tel_event *ev = e->event;
        add_name(&map, TEL_SPAN(TEL_FIELD_MSG), ev->body);
        add_name(&map, TEL_SPAN(SEGMENT_FIELD_SEVERITY), segment_severity_text(ev->severity));
        add_name(&map, TEL_SPAN(SEGMENT_FIELD_TRACE_ID), ev->trace_id);
        add_name(&map, TEL_SPAN(SEGMENT_FIELD_SPAN_ID), ev->span_id);
        for (uint32_t k = 0; k < ev->attribute_count; k++)
            add_name(&map, ev->attributes[k].name, ev->attributes[k].value);
        if (e->stream == last)
            continue;
        last = e->stream;
        add_name(&map, TEL_SPAN(TEL_FIELD_STREAM), e->stream->text);
        add_name(&map, TEL_SPAN(TEL_FIELD_STREAM_ID), e->stream->id);
        for (uint32_t k = 0; k < e->stream->label_count; k++)
            add_name(&map, e->stream->labels[k].name, e->stream->labels[k].value);
    }
    struct tel_span *names = tel_arena_alloc(src->arena, TEL_MAX(map.len, 1) * sizeof(*names));
    struct tel_map_slot *slot;
    size_t count = 0;
    for (size_t pos = 0; (slot = tel_map_next(&map, &pos));)
        names[count++] = tel_arena_copy(src->arena, slot->key);
    tel_map_free(&map);
    *ret_names = names;
    *ret_count = count;
    return TEL_OK;
}

static const struct tel_block_source_ops events_ops = {.column = events_column,
                                                        .names = events_names};

struct tel_block_source *segment_events_source(const struct segment_event *events, size_t count,
                                               struct tel_arena *arena)
{
    struct events_source *s = TEL_ARENA_NEW(arena, struct events_source);
    struct tel_row_key *keys = tel_arena_alloc(arena, TEL_MAX(count, 1) * sizeof(*keys));
    for (size_t i = 0; i < count; i++)
        keys[i] = events[i].key;
    s->base = (struct tel_block_source){
        .ops = &events_ops, .rows = count, .keys = keys, .arena = arena};
    s->events = events;
    return &s->base;
}
