/*
 * What the readers of columns share: a shape (see column.h) as it is read, and its values put together.
 */
#ifndef SHARD_SEGMENT_COLUMN_READ_H
#define SHARD_SEGMENT_COLUMN_READ_H

#include "shard/segment/column.h"

struct read_field {
    enum field_kind kind;
    unsigned width;                /* of FIXED and HEX */
    const uint64_t *numbers;       /* by value, of fields that are numbers */
    const struct tel_span *texts;  /* by value, of others */
    struct tel_span before;        /* the shape's text in front of it */
};

struct read_shape {
    struct tel_span text;
    struct tel_span behind; /* of the text, the part behind the last field */
    size_t count, field_count;
    struct read_field fields[SHAPE_FIELDS_MAX];
};

#define FIELD_WIDTH_MAX  20u
#define VALUES_BYTES_MAX (UINT64_C(1) << 30) /* of one column, put together */

/* Reads a shape's text and finds its fields, whose nodes are next; false if there are too many. */
bool shape_read(struct cursor *node, struct read_shape *ret);
/* Writes the i-th value at out, which has room for it and STREAM_SLACK, and gives its end. */
char *shape_put(char *out, const struct read_shape *shape, size_t i);
/* The most bytes that the i-th value takes. */
size_t shape_put_max(const struct read_shape *shape, size_t i);
/* What to look for in a shape with fields of text. Where fields are whole words, the longest word of the
 * bytes lies in one field or in the shape's text; elsewhere its longest run of plain letters (no hex
 * digits) does. Empty when it has none of those, and numbers may hold it. */
struct tel_span column_part_in_one_piece(struct tel_span shape, struct tel_span bytes);
/* Pass over a column, or a field of a shape; depth is that of columns around it. They set node->bad
 * where they cannot. */
void column_skip(struct cursor *node, unsigned depth);
void field_skip(struct cursor *node, unsigned depth);
/* Has the column fields that are ids? True as well where that cannot be read. */
bool column_has_ids(struct cursor node);

#endif
