/*
 * Hashing: XXH3, wrapped here and nowhere else. The 64-bit values may be written to disk (XXH3 is
 * stable across versions and machines).
 */
#ifndef TEL_BASE_HASH_H
#define TEL_BASE_HASH_H

#include <stdint.h>

#include "common/base/span.h"

struct tel_hash128 {
    uint64_t lo, hi;
};

uint64_t tel_hash64(struct tel_span s, uint64_t seed);
struct tel_hash128 tel_hash128(struct tel_span s, uint64_t seed);

/* Mixes an integer (the finaliser of SplitMix64). */
static inline uint64_t tel_hash_u64(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

#endif
