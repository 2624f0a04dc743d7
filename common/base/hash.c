#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/base/hash.h"

uint64_t tel_hash64(struct tel_span s, uint64_t seed)
{
    return XXH3_64bits_withSeed(s.len ? s.ptr : "", s.len, seed);
}

struct tel_hash128 tel_hash128(struct tel_span s, uint64_t seed)
{
    XXH128_hash_t h = XXH3_128bits_withSeed(s.len ? s.ptr : "", s.len, seed);
    return (struct tel_hash128){h.low64, h.high64};
}
