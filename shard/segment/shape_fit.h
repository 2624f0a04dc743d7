/*
 * Ways in which bytes may stand in the values of a shape whose fields are numbers and ids: laid against
 * its text, with each field taking some of their digits. What a way asks of one field is a test that
 * says which values are candidates.
 */
#ifndef SHARD_SEGMENT_SHAPE_FIT_H
#define SHARD_SEGMENT_SHAPE_FIT_H

#include "shard/segment/column_read.h"

#define SHAPE_WAYS_MAX 8u

enum fit_test {
    FIT_ALL,    /* nothing can be tested: every value is a candidate */
    FIT_BEGINS, /* the field begins with the digits */
    FIT_EQUALS, /* it is them */
};

struct shape_way {
    enum fit_test test;
    unsigned field;
    struct tel_span digits; /* of the bytes */
};

/* The ways, at most SHAPE_WAYS_MAX; 0: the bytes stand in no value. Where there are too many, one that
 * is FIT_ALL. shape: kinds and widths are read. from_word, to_word: see column_probe.h. */
size_t shape_fit(const struct read_shape *shape, struct tel_span bytes, bool from_word,
                 bool to_word, struct shape_way ret[SHAPE_WAYS_MAX]);

#endif
