/*
 * The reader's inside. An open segment is its parsed directory; a *view* is what one search unpacks
 * of it, in the search's arena: maps of rows, keys, and columns, each made when it is first asked
 * for.
 */
#ifndef SHARD_SEGMENT_READER_H
#define SHARD_SEGMENT_READER_H

#include "shard/segment/column_probe.h"
#include "shard/segment/events.h"
#include "shard/segment/format.h"
#include "shard/segment/segment.h"

struct read_hole {
    size_t node, node_len;
    uint32_t marks; /* marks.h: of all its values */
};

struct read_template {
    uint32_t family;
    uint32_t rows, first;   /* rows, and the first one's place in the template order */
    uint32_t id_slots, hole_count;
    struct tel_span skeleton;
    struct read_hole *holes;
    uint32_t marks, static_marks; /* of all holes, and of the text between */
    bool rest;              /* the rows without template */
};

struct read_family {
    uint32_t first_template, template_count; /* with the rest */
    uint32_t first_stream, stream_count; /* in family_streams */
    uint32_t rows;
    size_t id_count, id_node, id_node_len;
};

struct read_attribute {
    enum segment_attribute_kind kind;
    struct tel_span name;
    uint32_t rows;
    size_t node, node_len;
};

struct segment_reader {
    struct segment_io io;
    struct segment_info info;
    struct tel_arena arena;
    struct decompressor *decompressor;
    uint32_t section_count;
    struct tel_span directory; /* unpacked; what follows is parsed of it when it is first needed */
    bool ready;
    struct tel_span nodes;
    size_t rows_node_len; /* the nodes of what all rows have come first */
    struct segment_stream *streams;
    uint32_t *stream_family;
    uint32_t *stream_rows;
    uint32_t *family_streams; /* streams, family by family */
    uint32_t stream_count;
    struct read_family *families;
    uint32_t family_count;
    struct read_template *templates;
    uint32_t template_count;
    struct read_attribute *attributes;
    uint32_t attribute_count;
    struct tel_span packs; /* their table */
    struct words_filter words;
    bool has_words;
};

/* Columns of a template in a view. */
struct view_template {
    struct tel_span **holes; /* each NULL until it is read, then rows long */
    bool whole;              /* all are read */
    uint32_t *id_starts;
};

/* What a view has read of a family, whose rows are numbered in the order of keys. */
struct view_family {
    struct cursor node;         /* templates of its rows, then their streams */
    const uint32_t *order;      /* by row of the family: row */
    uint32_t *rows;             /* by place less the family's first: row of the family */
    uint32_t *id_starts;        /* by row of the family: its first entry */
    const struct tel_span *ids; /* entries: all of them, */
    struct ids_index *index;    /* and singly */
};

/* Rows have two numbers: by key, and their *place* in the template order, where the rows of a template
 * stand together. Searching goes by places; which row has which place is read only when it matters. */
struct view {
    struct segment_reader *reader;
    struct tel_arena *arena;
    struct stream_reader streams;
    struct cursor codes_node, times_node, keys_node; /* where these begin among the rows' nodes */
    bool has_rows, has_times, has_keys;

    const uint8_t *family_bytes; /* by row, if there are few families */
    uint32_t *family_rows; /* rows, family by family: a family's begin where its places do */
    uint32_t *template_of; /* by row */
    uint32_t *place;       /* by row */
    uint32_t *by_template; /* the reverse: by place */
    uint32_t *stream_of;   /* by row */
    struct tel_row_key *keys; /* by row */
    uint64_t *severities;     /* by place */

    struct view_template *templates;
    struct view_family *families;
    struct tel_pace pace; /* asked before much is unpacked, and by those who match */
};

/* What is read through the view is counted in *counters, which outlives it. */
TEL_MUST_USE tel_code view_open(struct segment_reader *reader, struct tel_arena *arena,
                                struct segment_counters *counters, struct view **ret,
                                struct tel_error *err);
/* Makes template_of, place, by_template and stream_of good. */
TEL_MUST_USE tel_code view_rows(struct view *view, struct tel_error *err);
/* Makes keys[].time_ns good. */
TEL_MUST_USE tel_code view_times(struct view *view, struct tel_error *err);
/* The rows with start_ns <= time < end_ns: [*ret_from, *ret_to). Makes nothing good (view_window.c). */
TEL_MUST_USE tel_code view_time_rows(struct view *view, int64_t start_ns, int64_t end_ns,
                                     size_t *ret_from, size_t *ret_to, struct tel_error *err);
/* (*ret)[i]: the place of row from + i, to - from of them, from <= to. */
TEL_MUST_USE tel_code view_row_places(struct view *view, size_t from, size_t to, uint32_t **ret,
                                      struct tel_error *err);
/* Makes all of the above good, the rest of the keys, and severities. */
TEL_MUST_USE tel_code view_keys(struct view *view, struct tel_error *err);
/* Makes severities good. */
TEL_MUST_USE tel_code view_severities(struct view *view, struct tel_error *err);
/* Makes the column of one hole good. */
TEL_MUST_USE tel_code view_hole(struct view *view, uint32_t number, uint32_t hole,
                                struct tel_error *err);
/* May a hole's values hold these bytes? See column_may_hold. */
TEL_MUST_USE tel_code view_hole_may_hold(struct view *view, uint32_t number, uint32_t hole,
                                         struct tel_span bytes, bool *ret, struct tel_error *err);
/* Makes the columns of all of a template's holes good. */
TEL_MUST_USE tel_code view_template(struct view *view, uint32_t number, struct tel_error *err);
/* The body of the i-th row of a template whose columns are good: in scratch, in the arena if that is
 * NULL, or where it lies. */
struct tel_span view_body(const struct view *view, uint32_t number, uint32_t i,
                          struct tel_buf *scratch);
/* The same from columns of its own, holes[hole][i], of a part of a template's text. */
struct tel_span view_join(const struct view *view, struct tel_span text,
                          struct tel_span *const *holes, uint32_t i, struct tel_buf *scratch);
/* NULL if the segment has none. */
const struct read_attribute *view_find_attribute(const struct view *view,
                                                 enum segment_attribute_kind kind,
                                                 struct tel_span name);
/* The values of an attribute by place; *ret NULL if the segment has none. */
TEL_MUST_USE tel_code view_attribute(struct view *view, enum segment_attribute_kind kind,
                                     struct tel_span name, struct tel_span **ret,
                                     struct tel_error *err);

/* Makes family_rows good. */
TEL_MUST_USE tel_code view_families(struct view *view, struct tel_error *err);
/* Makes families[number].order good. */
TEL_MUST_USE tel_code view_family_order(struct view *view, uint32_t number, struct tel_error *err);
/* Makes families[number].rows and, if it has ids, id_starts good. */
TEL_MUST_USE tel_code view_family_rows(struct view *view, uint32_t number, struct tel_error *err);
/* Where the ids of a template's rows are, which has some. */
TEL_MUST_USE tel_code view_id_rows(struct view *view, uint32_t number, struct column_id_rows *ret,
                                   struct tel_error *err);

/* Sets bits[i] for every row i of a template whose value of the hole may hold what is probed for. */
TEL_MUST_USE tel_code view_candidates(struct view *view, uint32_t number, uint32_t hole,
                                      const struct column_probe *probe, uint64_t *bits,
                                      struct tel_error *err);

/* ---- few rows: read one by one, without what all rows have (view_pick.c) ------------------------ */

struct view_pick {
    uint32_t place, template_number, row, stream;
    uint32_t out; /* its number in the order of keys */
    uint64_t severity;
    struct tel_row_key key;
};

/* The rows at places[0..count), ascending, in that order. */
TEL_MUST_USE tel_code view_pick_rows(struct view *view, const uint32_t *places, size_t count,
                                     struct view_pick **ret, struct tel_error *err);
/* ret[0..count): the values of a hole in the rows at[0..count) of a template, ascending. */
TEL_MUST_USE tel_code view_pick_hole(struct view *view, uint32_t number, uint32_t hole,
                                     const uint32_t *at, size_t count, struct tel_span *ret,
                                     struct tel_error *err);
/* Their bodies, in the arena. */
TEL_MUST_USE tel_code view_pick_bodies(struct view *view, uint32_t number, const uint32_t *at,
                                       size_t count, struct tel_span *ret, struct tel_error *err);
/* The values of an attribute at places[0..count), ascending; *ret NULL if the segment has none. */
TEL_MUST_USE tel_code view_pick_attribute(struct view *view, enum segment_attribute_kind kind,
                                          struct tel_span name, const uint32_t *places,
                                          size_t count, struct tel_span **ret,
                                          struct tel_error *err);

/* ---- as a block source -------------------------------------------------------------------------- */

/* A source over rows[0..count) of the view. excerpt: as in segment_query. */
TEL_MUST_USE tel_code view_source(struct view *view, const uint32_t *rows, size_t count,
                                  const struct tel_pattern *excerpt, struct tel_block_source **ret,
                                  struct tel_error *err);
/* The same over the rows at places[0..count), or at all places if that is NULL, in the order of places
 * and without keys: which rows these are is not read unless labels matter. */
TEL_MUST_USE tel_code view_place_source(struct view *view, const uint32_t *places, size_t count,
                                        const struct tel_pattern *excerpt,
                                        struct tel_block_source **ret, struct tel_error *err);
/* The same over the few rows at places[0..count), ascending, in the order of keys. */
TEL_MUST_USE tel_code view_few_source(struct view *view, const uint32_t *places, size_t count,
                                      struct tel_block_source **ret, struct tel_error *err);

#endif
