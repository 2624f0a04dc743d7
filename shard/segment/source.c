/* Rows of a view as a block source: the same fields as events.h gives events in memory. */
#include "common/base/map.h"
#include "shard/segment/reader.h"

struct row_source {
    struct tel_block_source base;
    struct view *view;
    const uint32_t *rows;          /* NULL: few rows, */
    const struct view_pick *picks; /* in the order of places */
    const uint32_t *places;        /* of the picks */
    uint32_t *streams;             /* by row of the source */
};

static tel_code body_column(struct row_source *s, struct tel_span *values, struct tel_error *err)
{
    struct view *v = s->view;
    for (size_t i = 0; i < s->base.rows; i++) {
        uint32_t row = s->rows[i], t = v->template_of[row];
        tel_code rc = view_template(v, t, err);
        if (rc != TEL_OK)
            return rc;
        values[i] = view_body(v, t, v->place[row] - v->reader->templates[t].first, NULL);
    }
    return TEL_OK;
}

static tel_code few_bodies(struct row_source *s, struct tel_span *values, struct tel_error *err)
{
    struct view *v = s->view;
    size_t n = s->base.rows;
    uint32_t *at = tel_arena_alloc(v->arena, (n + 1) * sizeof(*at));
    struct tel_span *bodies = tel_arena_alloc(v->arena, (n + 1) * sizeof(*bodies));
    for (size_t i = 0, end; i < n; i = end) {
        uint32_t t = s->picks[i].template_number;
        for (end = i; end < n && s->picks[end].template_number == t; end++)
            at[end] = s->picks[end].place - v->reader->templates[t].first;
        tel_code rc = view_pick_bodies(v, t, at + i, end - i, bodies + i, err);
        if (rc != TEL_OK)
            return rc;
    }
    for (size_t i = 0; i < n; i++)
        values[s->picks[i].out] = bodies[i];
    return TEL_OK;
}

/* The values of an attribute by row of the source; *ret NULL if the segment has none. */
static tel_code attribute_column(struct row_source *s, enum segment_attribute_kind kind,
                                 struct tel_span name, struct tel_span **ret,
                                 struct tel_error *err)
{
    struct view *v = s->view;
    struct tel_span *values;
    tel_code rc = s->rows ? view_attribute(v, kind, name, &values, err)
                          : view_pick_attribute(v, kind, name, s->places, s->base.rows, &values, err);
    *ret = NULL;
    if (rc != TEL_OK || !values)
        return rc;
    *ret = tel_arena_alloc(v->arena, (s->base.rows + 1) * sizeof(**ret));
    for (size_t i = 0; i < s->base.rows; i++) {
        if (s->rows)
            (*ret)[i] = values[v->place[s->rows[i]]];
        else
            (*ret)[s->picks[i].out] = values[i];
    }
    return TEL_OK;
}

static void severity_column(struct row_source *s, struct tel_span *ret)
{
    for (size_t i = 0; i < s->base.rows; i++) {
        uint64_t severity = s->rows ? s->view->severities[s->view->place[s->rows[i]]]
                                    : s->picks[i].severity;
        ret[s->rows ? i : s->picks[i].out] = severity <= TEL_SEVERITY_MAX
                                                 ? segment_severity_text((uint32_t)severity)
                                                 : tel_span_make(NULL, 0);
    }
}

static struct tel_span label_of(const struct segment_stream *stream, struct tel_span name)
{
    for (uint32_t i = 0; i < stream->label_count; i++) {
        if (tel_span_eq(stream->labels[i].name, name))
            return stream->labels[i].value;
    }
    return tel_span_make(NULL, 0);
}

enum intrinsic { NONE, SEVERITY, TRACE_ID, SPAN_ID };

static enum intrinsic intrinsic_of(struct tel_span name)
{
    if (tel_span_eq_cstr(name, SEGMENT_FIELD_SEVERITY))
        return SEVERITY;
    if (tel_span_eq_cstr(name, SEGMENT_FIELD_TRACE_ID))
        return TRACE_ID;
    return tel_span_eq_cstr(name, SEGMENT_FIELD_SPAN_ID) ? SPAN_ID : NONE;
}

/* Attributes hide labels, which hide what every event has. */
static tel_code field_column(struct row_source *s, struct tel_span name, struct tel_span *values,
                             struct tel_error *err)
{
    struct view *v = s->view;
    struct segment_reader *r = v->reader;
    struct tel_span *attribute, *other = NULL;
    enum intrinsic intrinsic = intrinsic_of(name);
    tel_code rc = attribute_column(s, SEGMENT_ATTRIBUTE, name, &attribute, err);
    if (rc == TEL_OK && (intrinsic == TRACE_ID || intrinsic == SPAN_ID))
        rc = attribute_column(s, intrinsic == TRACE_ID ? SEGMENT_TRACE_ID : SEGMENT_SPAN_ID,
                              tel_span_make("", 0), &other, err);
    if (rc != TEL_OK)
        return rc;
    if (intrinsic == SEVERITY) {
        other = tel_arena_alloc(v->arena, (s->base.rows + 1) * sizeof(*other));
        severity_column(s, other);
    }
    struct tel_span *labels = tel_arena_alloc(v->arena, (r->stream_count + 1) * sizeof(*labels));
    for (uint32_t i = 0; i < r->stream_count; i++)
        labels[i] = label_of(&r->streams[i], name);
    for (size_t i = 0; i < s->base.rows; i++) {
        struct tel_span value = attribute ? attribute[i] : tel_span_make(NULL, 0);
        if (value.len == 0)
            value = labels[s->streams[i]];
        if (value.len == 0 && other)
            value = other[i];
        values[i] = value;
    }
    return TEL_OK;
}

static tel_code source_column(struct tel_block_source *src, struct tel_span name,
                              const struct tel_span **ret_values, struct tel_error *err)
{
    struct row_source *s = (struct row_source *)src;
    struct tel_span *values = tel_arena_alloc(src->arena, (src->rows + 1) * sizeof(*values));
    tel_code rc = TEL_OK;
    if (tel_span_eq_cstr(name, TEL_FIELD_MSG)) {
        rc = s->rows ? body_column(s, values, err) : few_bodies(s, values, err);
    } else if (tel_span_eq_cstr(name, TEL_FIELD_STREAM)) {
        for (size_t i = 0; i < src->rows; i++)
            values[i] = s->view->reader->streams[s->streams[i]].text;
    } else if (tel_span_eq_cstr(name, TEL_FIELD_STREAM_ID)) {
        for (size_t i = 0; i < src->rows; i++)
            values[i] = s->view->reader->streams[s->streams[i]].id;
    } else {
        rc = field_column(s, name, values, err);
    }
    if (rc != TEL_OK)
        return rc;
    bool any = false;
    for (size_t i = 0; i < src->rows && !any; i++)
        any = values[i].len > 0;
    *ret_values = any ? values : NULL;
    return TEL_OK;
}

static tel_code add_name(struct row_source *s, struct tel_map *map, struct tel_span name,
                         struct tel_error *err)
{
    const struct tel_span *values;
    if (tel_map_get(map, name))
        return TEL_OK;
    tel_code rc = source_column(&s->base, name, &values, err);
    if (rc == TEL_OK && values)
        tel_map_put(map, name, NULL);
    return rc;
}

static tel_code collect_names(struct row_source *s, struct tel_map *map, struct tel_error *err)
{
    static const char *const fixed[] = {TEL_FIELD_MSG,           TEL_FIELD_STREAM,
                                        TEL_FIELD_STREAM_ID,     SEGMENT_FIELD_SEVERITY,
                                        SEGMENT_FIELD_TRACE_ID,  SEGMENT_FIELD_SPAN_ID};
    const struct segment_reader *r = s->view->reader;
    tel_code rc = TEL_OK;
    for (size_t i = 0; i < TEL_ARRAY_LEN(fixed) && rc == TEL_OK; i++)
        rc = add_name(s, map, tel_span_cstr(fixed[i]), err);
    for (uint32_t i = 0; i < r->attribute_count && rc == TEL_OK; i++) {
        if (r->attributes[i].kind == SEGMENT_ATTRIBUTE)
            rc = add_name(s, map, r->attributes[i].name, err);
    }
    uint8_t *seen = TEL_ARENA_ARRAY(s->base.arena, uint8_t, r->stream_count + 1);
    for (size_t i = 0; i < s->base.rows; i++) {
        uint32_t stream = s->streams[i];
        for (uint32_t k = 0; !seen[stream] && k < r->streams[stream].label_count; k++) {
            if (r->streams[stream].labels[k].value.len)
                tel_map_put(map, r->streams[stream].labels[k].name, NULL);
        }
        seen[stream] = 1;
    }
    return rc;
}

static tel_code source_names(struct tel_block_source *src, const struct tel_span **ret_names,
                             size_t *ret_count, struct tel_error *err)
{
    struct row_source *s = (struct row_source *)src;
    struct tel_map map;
    tel_map_init(&map);
    tel_code rc = collect_names(s, &map, err);
    if (rc == TEL_OK) {
        struct tel_span *names = tel_arena_alloc(src->arena, (map.len + 1) * sizeof(*names));
        struct tel_map_slot *slot;
        size_t count = 0;
        for (size_t pos = 0; (slot = tel_map_next(&map, &pos));)
            names[count++] = tel_arena_copy(src->arena, slot->key);
        *ret_names = names;
        *ret_count = count;
    }
    tel_map_free(&map);
    return rc;
}

static const struct tel_block_source_ops source_ops = {source_column, source_names};

tel_code view_source(struct view *v, const uint32_t *rows, size_t count,
                     struct tel_block_source **ret, struct tel_error *err)
{
    tel_code rc = view_keys(v, err);
    if (rc != TEL_OK)
        return rc;
    struct row_source *s = TEL_ARENA_NEW(v->arena, struct row_source);
    struct tel_row_key *keys = tel_arena_alloc(v->arena, (count + 1) * sizeof(*keys));
    for (size_t i = 0; i < count; i++)
        keys[i] = v->keys[rows[i]];
    s->streams = tel_arena_alloc(v->arena, (count + 1) * sizeof(*s->streams));
    for (size_t i = 0; i < count; i++)
        s->streams[i] = v->stream_of[rows[i]];
    s->base = (struct tel_block_source){&source_ops, count, keys, v->arena};
    s->view = v;
    s->rows = rows;
    *ret = &s->base;
    return TEL_OK;
}

tel_code view_few_source(struct view *v, const uint32_t *places, size_t count,
                         struct tel_block_source **ret, struct tel_error *err)
{
    struct view_pick *picks;
    tel_code rc = view_pick_rows(v, places, count, &picks, err);
    if (rc != TEL_OK)
        return rc;
    struct row_source *s = TEL_ARENA_NEW(v->arena, struct row_source);
    struct tel_row_key *keys = tel_arena_alloc(v->arena, (count + 1) * sizeof(*keys));
    s->streams = tel_arena_alloc(v->arena, (count + 1) * sizeof(*s->streams));
    for (size_t i = 0; i < count; i++) {
        keys[picks[i].out] = picks[i].key;
        s->streams[picks[i].out] = picks[i].stream;
    }
    s->base = (struct tel_block_source){&source_ops, count, keys, v->arena};
    s->view = v;
    s->picks = picks;
    s->places = places;
    *ret = &s->base;
    return TEL_OK;
}
