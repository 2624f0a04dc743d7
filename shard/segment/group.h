/* What several files of grouping share: the fields that rows are grouped by, as codes. */
#ifndef SHARD_SEGMENT_GROUP_H
#define SHARD_SEGMENT_GROUP_H

#include "shard/segment/reader.h"

#define GROUP_FIELDS_MAX 4u

/*
 * A field has the value of a row's attribute; without one, that of its stream; without that, what
 * every event has (its severity):
 *
 *     codes[place] = 0                 the stream's value
 *                    1..attributes     values[code], or the stream's where that is empty
 *                    beyond            the stream's value, or values[code] where that is empty
 */
struct group_field {
    const struct tel_span *by_stream;
    const uint32_t *codes; /* by place; NULL: streams tell it all */
    const struct tel_span *values;
    uint32_t attributes, value_count; /* value_count: of values, with that of code 0 */
};

/* *ret_coded false: the field has no few values that have numbers. */
TEL_MUST_USE tel_code group_field_read(struct view *view, struct tel_span name,
                                       struct group_field *ret, bool *ret_coded,
                                       struct tel_error *err);

static inline struct tel_span group_field_value(const struct group_field *f, uint32_t stream,
                                                uint32_t code)
{
    struct tel_span label = f->by_stream[stream], own = f->codes ? f->values[code] : label;
    bool label_first = !f->codes || code == 0 || code > f->attributes || own.len == 0;
    return label_first && label.len ? label : own;
}

#endif
