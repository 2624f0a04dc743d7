/*
 * A filter, planned for one segment: for each template, do all of its rows match, none, or must the
 * columns be asked? That is known from static text, the filter over words, character marks and
 * labels, before any row is read.
 */
#ifndef SHARD_SEGMENT_PLAN_H
#define SHARD_SEGMENT_PLAN_H

#include "common/logsql/filter.h"
#include "shard/segment/reader.h"

enum verdict { VERDICT_NONE, VERDICT_MAYBE, VERDICT_ALL };

enum plan_kind {
    PLAN_BODY,    /* a leaf that looks at the body */
    PLAN_STREAM,  /* a leaf that the stream of a row decides */
    PLAN_TIME,
    PLAN_OTHER,   /* columns decide, by the plain evaluator */
    PLAN_BRANCH,
};

/* How the rows of a MAYBE template are asked, once its columns were looked at: of PLAN_HOLES and
 * PLAN_IN_HOLES the literal lies within a hole or nowhere; the first are decided by that alone. Of
 * PLAN_WINDOW it lies in one place of the static text, and what a match can reach around it decides. */
enum plan_refined {
    PLAN_UNKNOWN,
    PLAN_NO_ROW,
    PLAN_HOLES,
    PLAN_IN_HOLES,
    PLAN_WINDOW,
    PLAN_BODIES
};

/* A part of a template's text: [from, to), in which hole first_hole is the first. */
struct plan_window {
    uint32_t from, to, first_hole;
};

struct plan_node {
    const struct tel_filter *filter;
    enum plan_kind kind;
    struct plan_node *kids;
    size_t kid_count;
    uint8_t *verdicts; /* by template */

    struct tel_span *words; /* of leaves on bodies or attributes: every match holds them, as whole words */
    /* of body leaves */
    bool *in_holes;         /* whether a hole of the segment may hold them */
    uint32_t *word_marks;
    size_t word_count;
    uint32_t marks;   /* of the bytes that every match holds */
    struct tel_span literal;
    struct column_probe probe; /* for the literal */
    bool one_word;   /* it looks for (the begin of) one word, which no hole shares with its text */
    bool is_literal; /* it looks for the literal, and perhaps for what stands beside it */
    uint8_t *refined; /* by template: enum plan_refined */
    struct plan_window *windows; /* by template, of PLAN_WINDOW; NULL if no match has a reach */
    size_t before, after;        /* the reach: bytes of a match around its literal, at most */
    uint64_t *holes;  /* by template: which holes may hold it, the last bit for all from 63 on */

    bool *streams; /* of stream leaves: by stream */
};

struct plan {
    struct plan_node root;
    bool possible; /* some row may match */
    bool exact;    /* verdicts alone tell which rows match */
};

/* For query->filter; query->stop is asked on the way. */
TEL_MUST_USE tel_code plan_make(struct segment_reader *reader, const struct segment_query *query,
                                struct tel_arena *arena, struct plan **ret, struct tel_error *err);

/* Adds to *explain what the plan says of its segment: that it will be read, or what it was that told
 * that no row can match. plan NULL: there is no filter. */
void plan_explain(const struct segment_reader *reader, const struct plan *plan,
                  struct segment_explain *explain);

/* Looks at the dictionaries and texts of a template that the leaf's verdict calls MAYBE. */
TEL_MUST_USE tel_code plan_refine(const struct plan_node *node, struct view *view, uint32_t number,
                                  struct tel_error *err);

#endif
