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

struct built_row {
    struct tel_row_key key;
    uint32_t stream, template_number; /* in this segment; NO_TEMPLATE */
    uint32_t first_hole;
    uint32_t body, body_len; /* in text: the whole body, or that of its holes */
    uint32_t severity;
};

struct built_stream {
    uint32_t family;
    uint32_t code; /* in its family */
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
    uint32_t from; /* its first hole; of a row without template: the row, as it came */
    uint32_t severity;
};

struct built_attribute {
    uint32_t row, key, value, value_len; /* value in text */
};

struct segment_builder {
    struct segment_learnt *learnt;
    struct splitter *splitter;
    uint64_t raw_bytes;

    struct tel_buf line; /* the body at hand, with slack */
    struct tel_buf text; /* holes, bodies and attribute values; SPLIT_SLACK readable bytes behind */
    TEL_VEC(struct built_row) rows;
    TEL_VEC(struct hole) holes; /* start in text */
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
    TEL_VEC(uint32_t) family_row;    /* of the row at a place: which of its family's */
    TEL_VEC(uint64_t) times;         /* differences, by key; before that, scratch of the order */
    TEL_VEC(uint64_t) codes, stream_codes; /* family by family */
    TEL_VEC(uint32_t) listed;        /* rows (by key) whose key does not follow from the last one */
    TEL_VEC(uint64_t) numbers;
    TEL_VEC(struct tel_span) values;
    TEL_VEC(struct segment_section) sections;
};

/* Fills b->order; the least and the greatest time. */
void builder_order(struct segment_builder *b, int64_t *ret_min, int64_t *ret_max);

#endif
