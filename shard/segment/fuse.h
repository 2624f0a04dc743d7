/*
 * A binary fuse filter (Graf and Lemire 2022): which of a set of hashes are there, by a byte each and a
 * sixth of a byte more. Of those that are not, one in 256 is said to be; a Bloom filter of the same size
 * says so of eight times as many. It is made of the whole set at once.
 *
 *     a hash's three places lie in three segments, one behind the other
 *
 *     | segment | segment | segment | segment | ...        place 0, place 1, place 2
 *          ^         ^         ^                           the three bytes there, xored, are the hash's print
 */
#ifndef SHARD_SEGMENT_FUSE_H
#define SHARD_SEGMENT_FUSE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/span.h"

#define FUSE_SEGMENT_LOG_MAX 18u
#define FUSE_SEGMENTS_MAX    (1u << 20)

/* Where prints lie: (segments + 2) << segment_log bytes. Lives as long as they do. */
struct fuse {
    const uint8_t *prints;
    uint64_t seed;
    uint32_t segment_log, segments;
};

/* The shape for so many hashes, without prints and seed. */
struct fuse fuse_shape(size_t count);
size_t fuse_bytes(const struct fuse *fuse);
/* Makes the prints of distinct hashes, best in ascending order, in out (fuse_bytes). False: it cannot be
 * done, as of hashes that somebody chose to that end. */
bool fuse_build(struct fuse *fuse, const uint64_t *hashes, size_t count, uint8_t *out);
/* May the hash be in the set? */
bool fuse_has(const struct fuse *fuse, uint64_t hash);

#endif
