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

struct plan_node {
    const struct tel_filter *filter;
    enum plan_kind kind;
    struct plan_node *kids;
    size_t kid_count;
    uint8_t *verdicts; /* by template */

    /* of body leaves */
    struct tel_span *words; /* every match holds them, as whole words */
    bool *in_holes;         /* whether a hole of the segment may hold them */
    uint32_t *word_marks;
    size_t word_count;
    uint32_t marks;   /* of the bytes that every match holds */
    bool one_word;    /* it looks for (the begin of) one word, which no hole shares with its text */

    bool *streams; /* of stream leaves: by stream */
};

struct plan {
    struct plan_node root;
    bool possible; /* some row may match */
    bool exact;    /* verdicts alone tell which rows match */
};

TEL_MUST_USE tel_code plan_make(struct segment_reader *reader, const struct tel_filter *filter,
                                struct tel_arena *arena, struct plan **ret, struct tel_error *err);

#endif
