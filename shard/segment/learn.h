/*
 * Templates: what is learnt about the lines of a shard's streams, and lives on between segments.
 *
 * Level 1 is the splitter's skeleton: a line whose skeleton is known has its template after one hash
 * look-up. Level 2 runs when it is not known: which words of the skeleton vary? Skeletons that agree
 * in all but their words are clustered; a position where many words were seen becomes *wild*, and
 * the template has a hole there too.
 *
 *     skeleton   sshd[\0]: session opened for user root by (uid=\0)
 *     coarse     \1[\0]: \1 \1 \1 \1 \1 \1 (uid=\0)            names the clusters
 *     template   sshd[\0]: session opened for user \0 by (uid=\0)
 *
 * Words before = and ": are keys and never become wild. All is per *family*: the streams of one
 * application, whichever host or pod they come from. Everything is bounded; what is full is
 * forgotten and learnt again. Clusters live on over restarts (learn_keep.c). One thread at a time.
 */
#ifndef SHARD_SEGMENT_LEARN_H
#define SHARD_SEGMENT_LEARN_H

#include <stdint.h>

#include "common/record/batch.h"
#include "shard/segment/segment.h"
#include "shard/segment/split.h"

#define LEARNT_NONE UINT32_MAX

struct learnt_template {
    struct tel_span skeleton; /* valid until the generation changes */
    uint32_t family, hole_count;
};

/* The family of a stream's labels. */
uint32_t learnt_family(struct segment_learnt *learnt, const struct tel_field *labels,
                       uint32_t label_count);

/* The number of the template of the line that the splitter has just cut, or LEARNT_NONE; the
 * splitter's holes then are the template's. */
uint32_t learnt_match(struct segment_learnt *learnt, uint32_t family, struct splitter *splitter,
                      struct tel_span line);

const struct learnt_template *learnt_template(const struct segment_learnt *learnt, uint32_t number);

/* Grows when templates were forgotten: numbers from before mean nothing any more. */
uint64_t learnt_generation(const struct segment_learnt *learnt);

#endif
