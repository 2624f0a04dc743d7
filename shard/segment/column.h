/*
 * Columns of text values: what holes, attributes and catch-all bodies are stored as. The first kind
 * that fits is taken:
 *
 *     constant     one value
 *     dictionary   distinct values are at most a quarter: the values, and a code each
 *     shaped       values that look alike: text with fields between, a shape code if there are
 *                  several; a field is a column of integers (decimal, fixed width or hex), of ids
 *                  (ids.h), or of text
 *     text         lengths and bytes
 *     frames       bodies without template: text in pieces that are unpacked one by one
 *
 * A column is a node (bytes of header) and streams. Columns nest: a dictionary's values are a column,
 * and so are the text fields of shapes.
 */
#ifndef SHARD_SEGMENT_COLUMN_H
#define SHARD_SEGMENT_COLUMN_H

#include "shard/segment/ids.h"
#include "shard/segment/ints.h"
#include "shard/segment/split.h"
#include "shard/segment/streams.h"
#include "shard/segment/words.h"

enum column_kind {
    COLUMN_CONSTANT,
    COLUMN_TEXT,
    COLUMN_DICTIONARY,
    COLUMN_SHAPED,
    COLUMN_FRAMES,
};

enum field_kind {
    FIELD_DECIMAL,  /* without leading zeros */
    FIELD_FIXED,    /* decimal of a width */
    FIELD_HEX,      /* lower-case hex of a width */
    FIELD_TEXT,     /* a column */
    FIELD_ID,       /* a slot of the template's ids */
};

#define COLUMN_DEPTH_MAX   6u
#define SHAPES_MAX         4096u
#define SHAPE_FIELDS_MAX   64u
#define FRAME_BYTES        (128u << 10)

/* A run of bytes of a value that a shape leaves open. */
struct shape_run {
    uint32_t start, len;
};

struct shape_scratch; /* one per depth of nesting */

struct column_writer {
    struct stream_writer *out;
    struct ints_writer ints;
    struct ids_writer *ids; /* NULL: no ids here */
    uint32_t id_slots;      /* of the template at hand, so far */
    const uint32_t *rows;   /* the family's row of every value, where ids are allowed */
    struct words_writer *words; /* NULL: words do not count here */
    uint32_t marks;             /* of all that was put since it was set to 0 */
    unsigned depth;
    struct shape_scratch *scratch[COLUMN_DEPTH_MAX + 1];
    TEL_VEC(uint64_t) numbers;
    TEL_VEC(uint32_t) slots; /* of the dictionary's hash table */
    struct tel_buf text;
};

/* Every value must have SPLIT_SLACK readable bytes behind it. */
void column_writer_init(struct column_writer *w, struct stream_writer *out);
void column_writer_done(struct column_writer *w);

/* Appends the node of values[0..n) to node. */
void column_put(struct column_writer *w, struct tel_buf *node, const struct tel_span *values,
                size_t n);
void column_put_frames(struct column_writer *w, struct tel_buf *node,
                       const struct tel_span *values, size_t n);
/* As values that look alike; false, with nothing put, when they do not. */
bool column_put_shaped(struct column_writer *w, struct tel_buf *node,
                       const struct tel_span *values, size_t n);
void column_writer_free_scratch(struct column_writer *w);

/* ---- reading ------------------------------------------------------------------------------ */

/* What the reader of a template's columns needs to know of its ids. */
struct column_ids {
    const struct tel_span *entries; /* of the family */
    const uint32_t *starts;         /* first entry of each row of the template */
    uint32_t slots;
};

/* May some of a column's n values hold these bytes? Looks at dictionaries and texts, not at codes and
 * numbers: cheap, and never wrong when it says no. */
TEL_MUST_USE tel_code column_may_hold(struct stream_reader *r, struct cursor *node, size_t n,
                                      struct tel_span bytes, bool *ret, struct tel_error *err);

/* A column of n values that is a dictionary or constant: *ret_values[0..*ret_count) and the number of
 * each value among them, *ret_codes NULL if all have 0. *ret_coded false: it is neither. */
TEL_MUST_USE tel_code column_codes(struct stream_reader *r, struct cursor *node, size_t n,
                                   uint64_t **ret_codes, struct tel_span **ret_values,
                                   size_t *ret_count, bool *ret_coded, struct tel_error *err);
/* Reads a column of n values into ret; texts live in the reader's arena. */
TEL_MUST_USE tel_code column_get(struct stream_reader *r, struct cursor *node, size_t n,
                                 const struct column_ids *ids, struct tel_span *ret,
                                 struct tel_error *err);

#endif
