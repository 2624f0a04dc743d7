#include "shard/maintain/rebuild.h"

#include <stdlib.h>

#include "common/base/map.h"
#include "common/logsql/filter.h"
#include "shard/segment/events.h"

void rebuild_init(struct rebuild *rebuild)
{
    memset(rebuild, 0, sizeof(*rebuild));
    tel_arena_init(&rebuild->arena, 256u << 10);
}

void rebuild_done(struct rebuild *rebuild)
{
    for (size_t i = 0; i < rebuild->readers.len; i++)
        segment_reader_close(rebuild->readers.items[i]);
    for (size_t i = 0; i < rebuild->handles.len; i++)
        store_handle_close(rebuild->handles.items[i]);
    tel_vec_free(&rebuild->readers);
    tel_vec_free(&rebuild->handles);
    tel_arena_free(&rebuild->arena);
}

static tel_code open_source(struct rebuild *rebuild, struct store_segment *segment,
                            struct tel_block_source **ret, struct tel_error *err)
{
    struct store_handle *handle;
    tel_code rc = store_handle_open(segment, &handle, err);
    if (rc != TEL_OK)
        return rc;
    tel_vec_push(&rebuild->handles, handle);
    struct segment_io io = store_handle_io(handle);
    struct segment_reader *reader;
    rc = segment_reader_open(&io, &reader, err);
    if (rc != TEL_OK)
        return rc;
    tel_vec_push(&rebuild->readers, reader);
    static const struct tel_filter all = {.op = TEL_FILTER_ALL};
    struct segment_query query = {.filter = &all, .start_ns = INT64_MIN, .end_ns = INT64_MAX};
    return segment_select(reader, &query, &rebuild->arena, ret, &rebuild->counters, err);
}

/* ---- fields into events ------------------------------------------------------------------------- */

enum role { ROLE_ATTRIBUTE, ROLE_BODY, ROLE_SEVERITY, ROLE_TRACE, ROLE_SPAN, ROLE_SKIP };

struct fields {
    size_t count;
    const struct tel_span *names;
    const struct tel_span **values; /* of each name, one a row; NULL: no row has it */
    enum role *roles;
    const struct tel_span *streams; /* _stream */
};

struct stream {
    struct tel_field *labels;
    uint32_t count, number; /* in the builder */
};

static enum role role_of(struct tel_span name)
{
    if (tel_span_eq_cstr(name, TEL_FIELD_MSG))
        return ROLE_BODY;
    if (tel_span_eq_cstr(name, SEGMENT_FIELD_SEVERITY))
        return ROLE_SEVERITY;
    if (tel_span_eq_cstr(name, SEGMENT_FIELD_TRACE_ID))
        return ROLE_TRACE;
    if (tel_span_eq_cstr(name, SEGMENT_FIELD_SPAN_ID))
        return ROLE_SPAN;
    if (tel_span_eq_cstr(name, TEL_FIELD_STREAM) || tel_span_eq_cstr(name, TEL_FIELD_STREAM_ID) ||
        tel_span_eq_cstr(name, TEL_FIELD_TIME))
        return ROLE_SKIP;
    return ROLE_ATTRIBUTE;
}

static tel_code read_fields(struct tel_block_source *src, struct tel_arena *arena,
                            struct fields *ret, struct tel_error *err)
{
    struct fields f = {0};
    tel_code rc = src->ops->names(src, &f.names, &f.count, err);
    if (rc != TEL_OK)
        return rc;
    f.values = tel_arena_calloc(arena, f.count, sizeof(*f.values));
    f.roles = TEL_ARENA_ARRAY(arena, enum role, f.count);
    for (size_t i = 0; i < f.count && rc == TEL_OK; i++) {
        f.roles[i] = role_of(f.names[i]);
        if (f.roles[i] != ROLE_SKIP)
            rc = src->ops->column(src, f.names[i], &f.values[i], err);
    }
    if (rc == TEL_OK)
        rc = src->ops->column(src, TEL_SPAN(TEL_FIELD_STREAM), &f.streams, err);
    if (rc == TEL_OK)
        *ret = f;
    return rc;
}

static uint32_t severity_of(struct tel_span text)
{
    for (uint32_t s = 1; s <= TEL_SEVERITY_MAX; s++)
        if (tel_span_eq(segment_severity_text(s), text))
            return s;
    return 0;
}

static bool is_hex(struct tel_span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!((s.ptr[i] >= '0' && s.ptr[i] <= '9') || (s.ptr[i] >= 'a' && s.ptr[i] <= 'f')))
            return false;
    return true;
}

static bool is_label(const struct stream *stream, struct tel_span name, struct tel_span value)
{
    for (uint32_t i = 0; i < stream->count; i++)
        if (tel_span_eq(stream->labels[i].name, name))
            return tel_span_eq(stream->labels[i].value, value);
    return false;
}

static void make_event(const struct fields *f, size_t row, const struct stream *stream,
                       struct tel_arena *arena, struct tel_event *e)
{
    struct tel_field *attributes = tel_arena_alloc(arena, f->count * sizeof(*attributes));
    uint32_t count = 0;
    for (size_t i = 0; i < f->count; i++) {
        if (!f->values[i] || f->values[i][row].len == 0)
            continue;
        struct tel_span value = f->values[i][row];
        enum role role = f->roles[i];
        if (role == ROLE_SEVERITY && (e->severity = severity_of(value)) != 0)
            continue;
        if (role == ROLE_TRACE && is_hex(value)) {
            e->trace_id = value;
        } else if (role == ROLE_SPAN && is_hex(value)) {
            e->span_id = value;
        } else if (role == ROLE_BODY) {
            e->body = value;
        } else if (!is_label(stream, f->names[i], value)) {
            attributes[count++] = (struct tel_field){f->names[i], value};
        }
    }
    e->attributes = attributes;
    e->attribute_count = count;
}

/* ---- rows --------------------------------------------------------------------------------------- */

struct order {
    struct tel_row_key key;
    size_t row;
};

static int by_offset(const void *a, const void *b)
{
    const struct order *x = a, *y = b;
    if (x->key.offset != y->key.offset)
        return x->key.offset < y->key.offset ? -1 : 1;
    return x->key.index < y->key.index ? -1 : x->key.index > y->key.index;
}

static tel_code find_stream(struct rebuild *rebuild, struct tel_map *streams, struct tel_span text,
                            struct segment_builder *builder, struct stream **ret,
                            struct tel_error *err)
{
    bool is_new;
    uint64_t *slot = tel_map_put(streams, text, &is_new);
    if (is_new) {
        struct stream *stream = TEL_ARENA_NEW(&rebuild->arena, struct stream);
        struct tel_label *labels;
        size_t count;
        if (!tel_stream_labels(text, &rebuild->arena, &labels, &count))
            return tel_error_set(err, TEL_ERR_CORRUPT, "a stream that is none: %.*s",
                                 (int)TEL_MIN(text.len, 200), text.ptr ? text.ptr : "");
        stream->labels = tel_arena_alloc(&rebuild->arena, count * sizeof(*stream->labels));
        for (size_t i = 0; i < count; i++)
            stream->labels[i] = (struct tel_field){labels[i].name, labels[i].value};
        stream->count = (uint32_t)count;
        stream->number = segment_builder_stream(builder, stream->labels, stream->count);
        *slot = (uint64_t)(uintptr_t)stream;
    }
    *ret = (struct stream *)(uintptr_t)*slot;
    return TEL_OK;
}

tel_code rebuild_add(struct rebuild *rebuild, struct store_segment *segment,
                     struct segment_builder *builder, struct tel_error *err)
{
    struct tel_block_source *src;
    struct fields f;
    tel_code rc = open_source(rebuild, segment, &src, err);
    if (rc == TEL_OK)
        rc = read_fields(src, &rebuild->arena, &f, err);
    if (rc != TEL_OK)
        return rc;
    if (src->rows != segment->rows)
        return tel_error_set(err, TEL_ERR_CORRUPT, "%zu rows, where the catalogue has %llu",
                             src->rows, (unsigned long long)segment->rows);
    struct order *order = tel_arena_alloc(&rebuild->arena, src->rows * sizeof(*order));
    struct tel_event *events = TEL_ARENA_ARRAY(&rebuild->arena, struct tel_event, src->rows);
    for (size_t i = 0; i < src->rows; i++)
        order[i] = (struct order){src->keys[i], i};
    if (src->rows)
        qsort(order, src->rows, sizeof(*order), by_offset);
    struct tel_map streams;
    tel_map_init(&streams);
    for (size_t i = 0; i < src->rows && rc == TEL_OK; i++) {
        size_t row = order[i].row;
        struct stream *stream = NULL;
        rc = find_stream(rebuild, &streams, f.streams ? f.streams[row] : TEL_SPAN("{}"), builder,
                         &stream, err);
        if (rc != TEL_OK)
            break;
        events[i].timestamp_ns = order[i].key.time_ns;
        make_event(&f, row, stream, &rebuild->arena, &events[i]);
        segment_builder_add(builder, &order[i].key, stream->number, &events[i]);
    }
    tel_map_free(&streams);
    return rc;
}
