/* See xxh64.h. */
#include "common/logsql/xxh64.h"

#define P1 0x9e3779b185ebca87u
#define P2 0xc2b2ae3d27d4eb4fu
#define P3 0x165667b19e3779f9u
#define P4 0x85ebca77c2b2ae63u
#define P5 0x27d4eb2f165667c5u

static uint64_t rotate(uint64_t v, unsigned n)
{
    return v << n | v >> (64 - n);
}

static uint64_t read_le(const char *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)(unsigned char)p[i] << 8 * i;
    return v;
}

static uint64_t mix(uint64_t acc, uint64_t lane)
{
    return rotate(acc + lane * P2, 31) * P1;
}

uint64_t tel_xxh64(struct tel_span s)
{
    const char *p = s.ptr;
    size_t left = s.len;
    uint64_t h = P5;
    if (left >= 32) {
        uint64_t acc[4] = {P1 + P2, P2, 0, 0 - P1};
        for (; left >= 32; left -= 32, p += 32)
            for (unsigned i = 0; i < 4; i++)
                acc[i] = mix(acc[i], read_le(p + 8 * i, 8));
        h = rotate(acc[0], 1) + rotate(acc[1], 7) + rotate(acc[2], 12) + rotate(acc[3], 18);
        for (unsigned i = 0; i < 4; i++)
            h = (h ^ mix(0, acc[i])) * P1 + P4;
    }
    h += s.len;
    for (; left >= 8; left -= 8, p += 8)
        h = rotate(h ^ mix(0, read_le(p, 8)), 27) * P1 + P4;
    for (; left >= 4; left -= 4, p += 4)
        h = rotate(h ^ read_le(p, 4) * P1, 23) * P2 + P3;
    for (; left > 0; left--, p++)
        h = rotate(h ^ (unsigned char)*p * P5, 11) * P1;
    h = (h ^ h >> 33) * P2;
    h = (h ^ h >> 29) * P3;
    return h ^ h >> 32;
}
