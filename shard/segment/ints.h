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

/* The same as bytes, for values below max <= 255; others may become anything from max on. */
TEL_MUST_USE tel_code ints_get_bytes(struct stream_reader *r, struct cursor *node, size_t n,
                                     unsigned max, const uint8_t **ret, struct tel_error *err);

/* Passes over a node. */
void ints_skip(struct cursor *node);

/* Integers whose streams are unpacked and which are then read one by one. */
struct ints_opened {
    unsigned mode, width, plane_count;
    size_t n;
    uint64_t base;
    const char *bits;
    const char *planes[8];
    const uint32_t *starts;  /* of blocks with a width each: byte in bits */
    const uint8_t *widths;
    const uint64_t *values;  /* differences cannot be read singly: all of them, summed up */
};
TEL_MUST_USE tel_code ints_open(struct stream_reader *r, struct cursor *node, size_t n,
                                struct ints_opened *ret, struct tel_error *err);
/* The i-th, i < n. */
uint64_t ints_at(const struct ints_opened *ints, size_t i);
/* The sum of those in [from, to), to <= n. */
uint64_t ints_sum(const struct ints_opened *ints, size_t from, size_t to);

/* Bits i*width .. of packed numbers of `width` <= 56 bits; 8 bytes behind them must be readable. */
static inline uint64_t ints_unpack_one(const char *bits, size_t i, unsigned width)
{
    size_t at = i * width;
    uint64_t v;
    memcpy(&v, bits + at / 8, 8);
    return v >> (at % 8) & ((UINT64_C(1) << width) - 1);
}

#endif
