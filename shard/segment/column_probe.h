/*
 * Which values of a column may hold some bytes: candidates, found in the column as it is stored.
 * Texts are searched in one piece, dictionaries value by value and then by code. In shapes of numbers
 * and ids the bytes are laid against the shape in every way that fits, and each way is tested on one
 * field, by digits, range and length, before any value is put together.
 */
#ifndef SHARD_SEGMENT_COLUMN_PROBE_H
#define SHARD_SEGMENT_COLUMN_PROBE_H

#include "shard/segment/column_pick.h"

struct column_probe {
    struct tel_span bytes;
    bool from_word; /* they are only looked for where a word begins; their first byte is of a word */
    bool to_word;   /* only where one ends; their last byte is of a word */
};

/* Sets bits[i] for every value i of n that may hold the bytes. Never misses one; values hold whole words:
 * one begins at their beginning and ends at their end. */
TEL_MUST_USE tel_code column_find_candidates(struct stream_reader *r, struct cursor *node, size_t n,
                                             const struct column_id_rows *ids,
                                             const struct column_probe *probe, uint64_t *bits,
                                             struct tel_error *err);

#endif
