/* Rows of a view as a block source: the same fields as events.h gives events in memory. */
#include "common/base/map.h"
#include "shard/segment/excerpt.h"

struct made_column {
    struct tel_span name;
    const struct tel_span *values;
    struct made_column *next;
};

struct row_source {
    struct tel_block_source base;
    struct view *view;
    const uint32_t *rows;          /* NULL: places tell, */
    const uint32_t *places;        /* or all places, if that is NULL too; of few rows, those of the picks */
    const struct view_pick *picks; /* of few rows, in the order of places; NULL: not few */
    uint32_t *streams;             /* by row of the source; NULL until they matter */
    const struct tel_pattern *excerpt;
    struct made_column *made; /* columns, once somebody asked for them */
    struct plan_window *windows; /* by template: what of its rows the excerpt is */
    bool *has_window;
};

static uint32_t place_of(const struct row_source *s, size_t i)
{
    return s->rows ? s->view->place[s->rows[i]] : s->places ? s->places[i] : (uint32_t)i;
}

static tel_code read_streams(struct row_source *s, struct tel_error *err)
{
    struct view *v = s->view;
    if (s->streams)
        return TEL_OK;
    tel_code rc = view_rows(v, err);
    if (rc != TEL_OK)
        return rc;
    s->streams = tel_arena_alloc(v->arena, (s->base.rows + 1) * sizeof(*s->streams));
    for (size_t i = 0; i < s->base.rows; i++)
        s->streams[i] = v->stream_of[s->rows ? s->rows[i] : v->by_template[place_of(s, i)]];
    return TEL_OK;
}

/* ---- bodies --------------------------------------------------------------------------------- */

/* What of a template's rows is wanted, with its holes read. */
static tel_code open_window(struct row_source *s, uint32_t number, struct plan_window *ret,
                            struct tel_error *err)
{
    struct view *v = s->view;
    struct tel_span skeleton = v->reader->templates[number].skeleton;
    tel_code rc = TEL_OK;
    if (!s->windows) {
        s->windows = TEL_ARENA_ARRAY(v->arena, struct plan_window, v->reader->template_count + 1);
        s->has_window = TEL_ARENA_ARRAY(v->arena, bool, v->reader->template_count + 1);
    }
    struct plan_window *w = &s->windows[number];
    if (!s->has_window[number]) {
        *w = (struct plan_window){0, (uint32_t)skeleton.len, 0};
        if (s->excerpt)
            rc = excerpt_find(v, number, s->excerpt, w, err);
        uint32_t hole = w->first_hole;
        for (uint32_t i = w->from; i < w->to && rc == TEL_OK; i++) {
            if (skeleton.ptr[i] == 0)
                rc = view_hole(v, number, hole++, err);
        }
        s->has_window[number] = rc == TEL_OK;
    }
    *ret = *w;
    return rc;
}

static tel_code body_column(struct row_source *s, struct tel_span *values, struct tel_error *err)
{
    struct view *v = s->view;
    const struct segment_reader *r = v->reader;
    uint32_t t = 0;
    for (size_t i = 0; i < s->base.rows; i++) {
        uint32_t place = place_of(s, i);
        struct plan_window w;
        if (s->rows)
            t = v->template_of[s->rows[i]];
        while (!s->rows && place - r->templates[t].first >= r->templates[t].rows)
            t++;
        tel_code rc = open_window(s, t, &w, err);
        if (rc != TEL_OK)
            return rc;
        struct tel_span text = tel_span_slice(r->templates[t].skeleton, w.from, w.to);
        struct tel_span *const *holes = v->templates[t].holes;
        values[i] = view_join(v, text, holes ? holes + w.first_hole : NULL,
                              place - r->templates[t].first, NULL);
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
    tel_code rc = s->picks ? view_pick_attribute(v, kind, name, s->places, s->base.rows, &values, err)
                           : view_attribute(v, kind, name, &values, err);
    *ret = NULL;
    if (rc != TEL_OK || !values)
        return rc;
    *ret = tel_arena_alloc(v->arena, (s->base.rows + 1) * sizeof(**ret));
    for (size_t i = 0; i < s->base.rows; i++) {
        if (s->picks)
            (*ret)[s->picks[i].out] = values[i];
        else
            (*ret)[i] = values[place_of(s, i)];
    }
    return TEL_OK;
}

static tel_code severity_column(struct row_source *s, struct tel_span *ret, struct tel_error *err)
{
    tel_code rc = s->picks ? TEL_OK : view_severities(s->view, err);
    for (size_t i = 0; i < s->base.rows && rc == TEL_OK; i++) {
        uint64_t severity = s->picks ? s->picks[i].severity : s->view->severities[place_of(s, i)];
        ret[s->picks ? s->picks[i].out : i] = severity <= TEL_SEVERITY_MAX
                                                  ? segment_severity_text((uint32_t)severity)
                                                  : tel_span_make(NULL, 0);
    }
    return rc;
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
        rc = severity_column(s, other, err);
    }
    struct tel_span *labels = tel_arena_alloc(v->arena, (r->stream_count + 1) * sizeof(*labels));
    bool labelled = false;
    for (uint32_t i = 0; i < r->stream_count; i++) {
        labels[i] = label_of(&r->streams[i], name);
        labelled = labelled || labels[i].len;
    }
    if (rc == TEL_OK && labelled)
        rc = read_streams(s, err);
    for (size_t i = 0; i < s->base.rows && rc == TEL_OK; i++) {
        struct tel_span value = attribute ? attribute[i] : tel_span_make(NULL, 0);
        if (value.len == 0 && labelled)
            value = labels[s->streams[i]];
        if (value.len == 0 && other)
            value = other[i];
        values[i] = value;
    }
    return rc;
}

/* _stream or _stream_id. */
static tel_code stream_column(struct row_source *s, bool id, struct tel_span *values,
                              struct tel_error *err)
{
    tel_code rc = read_streams(s, err);
    for (size_t i = 0; i < s->base.rows && rc == TEL_OK; i++) {
        const struct segment_stream *stream = &s->view->reader->streams[s->streams[i]];
        values[i] = id ? stream->id : stream->text;
    }
    return rc;
}

static tel_code source_column(struct tel_block_source *src, struct tel_span name,
                              const struct tel_span **ret_values, struct tel_error *err)
{
    struct row_source *s = (struct row_source *)src;
    for (const struct made_column *m = s->made; m; m = m->next) {
        if (tel_span_eq(m->name, name)) {
            *ret_values = m->values;
            return TEL_OK;
        }
    }
    struct tel_span *values = tel_arena_alloc(src->arena, (src->rows + 1) * sizeof(*values));
    tel_code rc = TEL_OK;
    if (tel_span_eq_cstr(name, TEL_FIELD_MSG)) {
        rc = s->picks ? few_bodies(s, values, err) : body_column(s, values, err);
    } else if (tel_span_eq_cstr(name, TEL_FIELD_STREAM) ||
               tel_span_eq_cstr(name, TEL_FIELD_STREAM_ID)) {
        rc = stream_column(s, tel_span_eq_cstr(name, TEL_FIELD_STREAM_ID), values, err);
    } else {
        rc = field_column(s, name, values, err);
    }
    if (rc != TEL_OK)
        return rc;
    bool any = false;
    for (size_t i = 0; i < src->rows && !any; i++)
        any = values[i].len > 0;
    *ret_values = any ? values : NULL;
    struct made_column *made = TEL_ARENA_NEW(src->arena, struct made_column);
    *made = (struct made_column){tel_arena_copy(src->arena, name), *ret_values, s->made};
    s->made = made;
    return TEL_OK;
}

/* ---- what is told without making columns ---------------------------------------------------- */

static bool has_text(struct tel_span skeleton)
{
    for (size_t i = 0; i < skeleton.len; i++)
        if (skeleton.ptr[i] != 0)
            return true;
    return false;
}

/* Every row of the template has a body: its text has something, or else its holes do. */
static tel_code template_filled(struct row_source *s, uint32_t number, bool *ret,
                                struct tel_error *err)
{
    struct view *v = s->view;
    const struct read_template *t = &v->reader->templates[number];
    *ret = has_text(t->skeleton) || t->rows == 0;
    if (*ret || t->hole_count != 1)
        return TEL_OK;
    tel_code rc = view_hole(v, number, 0, err);
    *ret = rc == TEL_OK;
    for (uint32_t i = 0; i < t->rows && *ret; i++)
        *ret = v->templates[number].holes[0][i].len > 0;
    return rc;
}

/* All rows of the segment, and no others. */
static bool is_whole(const struct row_source *s)
{
    return s->base.rows == s->view->reader->info.rows;
}

static tel_code source_filled(struct tel_block_source *src, struct tel_span name, bool *ret_all,
                              struct tel_error *err)
{
    struct row_source *s = (struct row_source *)src;
    const struct segment_reader *r = s->view->reader;
    *ret_all = tel_span_eq_cstr(name, TEL_FIELD_STREAM) ||
               tel_span_eq_cstr(name, TEL_FIELD_STREAM_ID);
    if (!*ret_all && tel_span_eq_cstr(name, TEL_FIELD_MSG) && !s->excerpt) {
        *ret_all = true;
        for (uint32_t t = 0; t < r->template_count && *ret_all; t++) {
            tel_code rc = template_filled(s, t, ret_all, err);
            if (rc != TEL_OK)
                return rc;
        }
    }
    /* An attribute that is listed for a row has a value there. */
    for (uint32_t i = 0; i < r->attribute_count && !*ret_all; i++)
        *ret_all = r->attributes[i].kind == SEGMENT_ATTRIBUTE &&
                   r->attributes[i].rows == r->info.rows &&
                   tel_span_eq(r->attributes[i].name, name);
    return TEL_OK;
}

/* Has some row a value, as is known at once? */
static bool surely_there(const struct row_source *s, struct tel_span name)
{
    const struct segment_reader *r = s->view->reader;
    if (s->base.rows == 0 || s->excerpt)
        return false;
    if (tel_span_eq_cstr(name, TEL_FIELD_STREAM) || tel_span_eq_cstr(name, TEL_FIELD_STREAM_ID))
        return true;
    bool body = tel_span_eq_cstr(name, TEL_FIELD_MSG);
    for (uint32_t t = 0; body && is_whole(s) && t < r->template_count; t++)
        if (r->templates[t].rows && has_text(r->templates[t].skeleton))
            return true;
    for (uint32_t i = 0; is_whole(s) && i < r->attribute_count; i++) {
        const struct read_attribute *a = &r->attributes[i];
        enum intrinsic of = intrinsic_of(name);
        if (a->rows && ((a->kind == SEGMENT_ATTRIBUTE && tel_span_eq(a->name, name)) ||
                        (a->kind == SEGMENT_TRACE_ID && of == TRACE_ID) ||
                        (a->kind == SEGMENT_SPAN_ID && of == SPAN_ID)))
            return true;
    }
    return false;
}

static tel_code add_name(struct row_source *s, struct tel_map *map, struct tel_span name,
                         struct tel_error *err)
{
    const struct tel_span *values;
    if (tel_map_get(map, name))
        return TEL_OK;
    if (surely_there(s, name)) {
        tel_map_put(map, name, NULL);
        return TEL_OK;
    }
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
    if (rc == TEL_OK)
        rc = read_streams(s, err);
    for (size_t i = 0; i < s->base.rows && rc == TEL_OK; i++) {
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

static const struct tel_block_source_ops source_ops = {source_column, source_names, source_filled};

tel_code view_source(struct view *v, const uint32_t *rows, size_t count,
                     const struct tel_pattern *excerpt, struct tel_block_source **ret,
                     struct tel_error *err)
{
    tel_code rc = view_keys(v, err);
    if (rc != TEL_OK)
        return rc;
    struct row_source *s = TEL_ARENA_NEW(v->arena, struct row_source);
    struct tel_row_key *keys = tel_arena_alloc(v->arena, (count + 1) * sizeof(*keys));
    for (size_t i = 0; i < count; i++)
        keys[i] = v->keys[rows[i]];
    s->base = (struct tel_block_source){
        .ops = &source_ops, .rows = count, .keys = keys, .arena = v->arena};
    s->view = v;
    s->rows = rows;
    s->excerpt = excerpt;
    *ret = &s->base;
    return TEL_OK;
}

tel_code view_place_source(struct view *v, const uint32_t *places, size_t count,
                           const struct tel_pattern *excerpt, struct tel_block_source **ret,
                           struct tel_error *err)
{
    (void)err;
    struct row_source *s = TEL_ARENA_NEW(v->arena, struct row_source);
    s->base = (struct tel_block_source){
        .ops = &source_ops, .rows = count, .keys = NULL, .arena = v->arena};
    s->view = v;
    s->places = places;
    s->excerpt = excerpt;
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
    s->base = (struct tel_block_source){
        .ops = &source_ops, .rows = count, .keys = keys, .arena = v->arena};
    s->view = v;
    s->picks = picks;
    s->places = places;
    *ret = &s->base;
    return TEL_OK;
}
