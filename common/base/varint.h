/*
 * Variable-length integers: LEB128, seven bits a byte, least significant first, as Avro and
 * protobuf have them; zig-zag for signed ones.
 */
#ifndef TEL_BASE_VARINT_H
#define TEL_BASE_VARINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEL_VARINT_MAX 10 /* bytes of the longest 64-bit varint */

/* Writes v at out (room for TEL_VARINT_MAX bytes) and returns the number of bytes. */
static inline size_t tel_varint_put(char *out, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        out[n++] = (char)(v | 0x80);
        v >>= 7;
    }
    out[n++] = (char)v;
    return n;
}

/* Reads a varint from [*pos, end) and moves *pos behind it. False, with nothing moved, if it is cut
 * short or does not fit 64 bits. */
static inline bool tel_varint_get(const char **pos, const char *end, uint64_t *ret)
{
    uint64_t v = 0;
    const char *p = *pos;
    for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
        uint64_t byte = (unsigned char)*p++;
        if (shift == 63 && byte > 1)
            return false;
        v |= (byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *pos = p;
            *ret = v;
            return true;
        }
    }
    return false;
}

static inline uint64_t tel_zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static inline int64_t tel_unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

#endif
