/*
 * Columns of unsigned integers: constant; frame of reference (FOR) and bit-packed, straight or as
 * zig-zag differences, with one width or one per 256; or the same as byte planes, where zstd does better with them (values that
 * recur in patterns). After "FastPFor" (Lemire and Boytsov 2015) and "BtrBlocks" (Kuschewski et al.
 * 2023): the choice is by trial.
 */
#ifndef SHARD_SEGMENT_INTS_H
#define SHARD_SEGMENT_INTS_H

#include "shard/segment/streams.h"

struct ints_writer {
    TEL_VEC(uint64_t) shifted;
    struct tel_buf planes, packed, bits, widths;
};

void ints_writer_done(struct ints_writer *w);

/* Appends the node of values[0..n) to node, its streams to out. */
void ints_put(struct ints_writer *w, struct stream_writer *out, struct tel_buf *node,
              const uint64_t *values, size_t n);

/* Reads n values. */
TEL_MUST_USE tel_code ints_get(struct stream_reader *r, struct cursor *node, size_t n,
                               uint64_t *ret, struct tel_error *err);

/* Passes over a node. */
void ints_skip(struct cursor *node);

/* Bits i*width .. of packed numbers of `width` <= 56 bits; 8 bytes behind them must be readable. */
static inline uint64_t ints_unpack_one(const char *bits, size_t i, unsigned width)
{
    size_t at = i * width;
    uint64_t v;
    memcpy(&v, bits + at / 8, 8);
    return v >> (at % 8) & ((UINT64_C(1) << width) - 1);
}

#endif
