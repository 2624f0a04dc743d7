/* The builder's inside: what build.c collects and finish.c writes. */
#ifndef SHARD_SEGMENT_BUILDER_H
#define SHARD_SEGMENT_BUILDER_H

#include "common/base/map.h"
#include "shard/segment/column.h"
#include "shard/segment/format.h"
#include "shard/segment/learn.h"
#include "shard/segment/segment.h"

#define NO_TEMPLATE            UINT32_MAX
#define TEMPLATES_PER_FAMILY   2048u

/*
 * What varies of a row lies together in the builder's text, so that whoever looks at it has it all:
 *
 *     with a template   the lengths of its holes (2 bytes each), then the holes
 *     without           the length of the body (4 bytes), then the body
 */
struct built_row {
    int64_t time_ns, offset; /* with the next two: its key */
    uint32_t partition, index;
    uint32_t stream, template_number; /* in this segment; NO_TEMPLATE */
    uint32_t text;
    uint32_t severity;
};

/* As tel_row_key_cmp. */
static inline int built_row_cmp(const struct built_row *x, const struct built_row *y)
{
    if (x->time_ns != y->time_ns)
        return x->time_ns < y->time_ns ? -1 : 1;
    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

struct built_stream {
    uint32_t family;
    uint32_t code; /* in its family */
    uint32_t rows;
    uint32_t last_row; /* of finish: the last row of those seen, as it came, + 1 */
};

struct built_template {
    struct tel_span skeleton; /* in the builder's arena */
    uint32_t family, hole_count, rows;
    uint32_t code;       /* in its family; set by finish */
    uint32_t first, next; /* finish: its rows in the template order */
};

struct built_family {
    uint32_t learnt;
    uint32_t templates, streams; /* how many */
    uint32_t kept, first_kept; /* finish: templates that stay, and where in the builder's `kept` */
    uint32_t rows;
    uint32_t first_row, next_row; /* finish: where its rows begin when they lie family by family */
    struct built_template rest; /* finish: the rows without template */
};

/* What finish keeps of a row, in the template order. */
struct built_place {
    uint32_t from; /* its text */
    uint32_t severity;
};

struct built_attribute {
    uint32_t row, key, value, value_len; /* value in text */
};

struct segment_builder {
    struct segment_learnt *learnt;
    struct splitter *splitter;
    uint64_t raw_bytes;
    int64_t min_ns, max_ns; /* of the rows' times, if there are any */
    bool unsorted;          /* rows did not come in the order of their keys */
    bool plain; /* bodies stay whole, and all streams are one family */

    struct tel_buf line; /* the body at hand, with slack */
    struct tel_buf text; /* of rows and attributes; SPLIT_SLACK readable bytes behind */
    TEL_VEC(struct built_row) rows;
    struct tel_arena arena;     /* skeletons */

    struct tel_buf stream_labels;
    struct tel_map stream_numbers;
    TEL_VEC(struct built_stream) streams;

    struct tel_map family_numbers; /* learnt family -> family */
    TEL_VEC(struct built_family) families;

    uint64_t generation;          /* of what is learnt */
    TEL_VEC(uint32_t) local;      /* learnt template -> template + 1 */
    TEL_VEC(struct built_template) templates;

    struct tel_map key_numbers;
    TEL_VEC(struct built_attribute) attributes;

    /* of finish */
    struct stream_writer out;
    struct column_writer columns;
    struct ids_writer ids;
    struct words_writer words;
    struct tel_buf nodes, directory, head;
    TEL_VEC(uint32_t) order;         /* rows by key */
    TEL_VEC(uint32_t) kept;          /* templates that stay, family by family */
    TEL_VEC(uint32_t) place;         /* of a row (by key) in the template order */
    TEL_VEC(struct built_place) placed; /* by place */
    TEL_VEC(uint32_t) next_hole;     /* in text, of each row of the template at hand */
    TEL_VEC(uint32_t) family_row;    /* of the row at a place: which of its family's */
    TEL_VEC(uint64_t) times;         /* differences, by key; before that, scratch of the order */
    TEL_VEC(uint64_t) codes, stream_codes; /* family by family */
    TEL_VEC(uint32_t) listed;        /* rows (by key) whose key does not follow from the last one */
    TEL_VEC(uint64_t) numbers;
    TEL_VEC(struct tel_span) values;
    TEL_VEC(struct segment_section) sections;
};

/* Fills b->order. */
void builder_order(struct segment_builder *b);

#endif
