/* Fields as codes; see group.h. */
#include "shard/segment/group.h"

static const struct read_attribute *find_attribute(const struct segment_reader *r,
                                                   enum segment_attribute_kind kind,
                                                   struct tel_span name)
{
    for (uint32_t i = 0; i < r->attribute_count; i++) {
        if (r->attributes[i].kind == kind && tel_span_eq(r->attributes[i].name, name))
            return &r->attributes[i];
    }
    return NULL;
}

/* Does something that is neither a label, an attribute nor a severity give it values here? */
static bool has_other_values(const struct segment_reader *r, struct tel_span name)
{
    struct tel_span none = tel_span_make("", 0);
    if (tel_span_eq_cstr(name, TEL_FIELD_MSG) || tel_span_eq_cstr(name, TEL_FIELD_TIME))
        return true;
    if (tel_span_eq_cstr(name, SEGMENT_FIELD_TRACE_ID))
        return find_attribute(r, SEGMENT_TRACE_ID, none) != NULL;
    return tel_span_eq_cstr(name, SEGMENT_FIELD_SPAN_ID) &&
           find_attribute(r, SEGMENT_SPAN_ID, none) != NULL;
}

/* Codes from 1 on of the rows that have the attribute, and what they stand for from values[1] on. */
static tel_code read_attribute(struct view *v, const struct read_attribute *a, uint32_t *codes,
                               struct tel_span **ret_values, uint32_t *ret_count, bool *ret_coded,
                               struct tel_error *err)
{
    size_t n = v->reader->info.rows, distinct;
    struct cursor node =
        cursor_make(tel_span_slice(v->reader->nodes, a->node, a->node + a->node_len));
    uint64_t *places = NULL, *numbers;
    struct tel_span *values;
    tel_code rc = TEL_OK;
    if (a->rows < n) {
        places = tel_arena_alloc(v->arena, ((size_t)a->rows + 1) * sizeof(*places));
        rc = ints_get(&v->streams, &node, a->rows, places, err);
    }
    if (rc == TEL_OK)
        rc = column_codes(&v->streams, &node, a->rows, &numbers, &values, &distinct, ret_coded,
                          err);
    if (rc != TEL_OK || !*ret_coded)
        return rc;
    uint64_t place = 0;
    for (uint32_t i = 0; i < a->rows; i++) {
        place = places ? place + places[i] : i;
        if (place >= n)
            return segment_corrupt(err, "rows of an attribute");
        codes[place] = (uint32_t)(numbers ? numbers[i] : 0) + 1;
    }
    *ret_values = values;
    *ret_count = (uint32_t)distinct;
    return TEL_OK;
}

/* Rows without the attribute get codes of their severities. */
static tel_code add_severities(struct view *v, uint32_t *codes, uint32_t first,
                               struct tel_error *err)
{
    size_t n = v->reader->info.rows;
    struct cursor node = v->keys_node;
    cursor_varint(&node);
    for (size_t i = 0; i < 4; i++)
        ints_skip(&node);
    uint64_t *severities = tel_arena_alloc(v->arena, (n + 1) * sizeof(*severities));
    tel_code rc = ints_get(&v->streams, &node, n, severities, err);
    for (size_t i = 0; i < n && rc == TEL_OK; i++) {
        if (codes[i] == 0 && severities[i] <= TEL_SEVERITY_MAX)
            codes[i] = first + (uint32_t)severities[i];
    }
    return rc;
}

static void read_labels(struct view *v, struct tel_span name, struct group_field *field)
{
    const struct segment_reader *r = v->reader;
    struct tel_span *labels = tel_arena_alloc(v->arena, (r->stream_count + 1) * sizeof(*labels));
    for (uint32_t i = 0; i < r->stream_count; i++)
        labels[i] = segment_stream_field(&r->streams[i], name);
    field->by_stream = labels;
}

tel_code group_field_read(struct view *v, struct tel_span name, struct group_field *ret,
                          bool *ret_coded, struct tel_error *err)
{
    const struct segment_reader *r = v->reader;
    *ret = (struct group_field){0};
    *ret_coded = !has_other_values(r, name);
    if (!*ret_coded)
        return TEL_OK;
    read_labels(v, name, ret);
    bool severity = tel_span_eq_cstr(name, SEGMENT_FIELD_SEVERITY);
    const struct read_attribute *a = find_attribute(r, SEGMENT_ATTRIBUTE, name);
    if (tel_span_eq_cstr(name, TEL_FIELD_STREAM) || tel_span_eq_cstr(name, TEL_FIELD_STREAM_ID) ||
        (!a && !severity))
        return TEL_OK;
    uint32_t *codes = TEL_ARENA_ARRAY(v->arena, uint32_t, r->info.rows + 1);
    struct tel_span *distinct = NULL;
    tel_code rc = a ? read_attribute(v, a, codes, &distinct, &ret->attributes, ret_coded, err)
                    : TEL_OK;
    if (rc == TEL_OK && *ret_coded && severity)
        rc = add_severities(v, codes, ret->attributes + 1, err);
    if (rc != TEL_OK || !*ret_coded)
        return rc;
    ret->value_count = ret->attributes + 1 + (severity ? TEL_SEVERITY_MAX + 1 : 0);
    struct tel_span *values = TEL_ARENA_ARRAY(v->arena, struct tel_span, ret->value_count);
    if (ret->attributes)
        memcpy(values + 1, distinct, ret->attributes * sizeof(*values));
    for (uint32_t i = 0; severity && i <= TEL_SEVERITY_MAX; i++)
        values[ret->attributes + 1 + i] = segment_severity_text(i);
    ret->codes = codes;
    ret->values = values;
    return TEL_OK;
}
