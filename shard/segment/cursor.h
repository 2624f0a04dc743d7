/*
 * A cursor over bytes that are not to be trusted. Every read is bounds-checked; the first one that
 * fails makes the cursor bad, and from then on it gives zeros and empty spans, so that a parser can
 * read a whole structure and ask once. Counts that size an allocation are read with cursor_count,
 * which refuses what the remaining bytes cannot hold.
 */
#ifndef SHARD_SEGMENT_CURSOR_H
#define SHARD_SEGMENT_CURSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/span.h"
#include "common/base/varint.h"

struct cursor {
    const char *pos, *end;
    bool bad;
};

static inline struct cursor cursor_make(struct tel_span bytes)
{
    const char *start = bytes.ptr ? bytes.ptr : "";
    return (struct cursor){start, start + bytes.len, false};
}

static inline size_t cursor_left(const struct cursor *c)
{
    return (size_t)(c->end - c->pos);
}

static inline void cursor_fail(struct cursor *c)
{
    c->bad = true;
    c->pos = c->end;
}

static inline uint64_t cursor_varint(struct cursor *c)
{
    uint64_t v = 0;
    if (!tel_varint_get(&c->pos, c->end, &v))
        cursor_fail(c);
    return v;
}

static inline int64_t cursor_zigzag(struct cursor *c)
{
    return tel_unzigzag(cursor_varint(c));
}

/* A varint of at most max. */
static inline uint64_t cursor_bounded(struct cursor *c, uint64_t max)
{
    uint64_t v = cursor_varint(c);
    if (v > max) {
        cursor_fail(c);
        return 0;
    }
    return v;
}

static inline uint32_t cursor_u32(struct cursor *c)
{
    return (uint32_t)cursor_bounded(c, UINT32_MAX);
}

/* How many items follow, each of which takes at least item_bytes. */
static inline size_t cursor_count(struct cursor *c, size_t item_bytes)
{
    uint64_t v = cursor_varint(c);
    if (v > cursor_left(c) / (item_bytes ? item_bytes : 1)) {
        cursor_fail(c);
        return 0;
    }
    return (size_t)v;
}

static inline uint8_t cursor_byte(struct cursor *c)
{
    if (c->pos == c->end) {
        cursor_fail(c);
        return 0;
    }
    return (uint8_t)*c->pos++;
}

static inline struct tel_span cursor_bytes(struct cursor *c, uint64_t len)
{
    if (len > cursor_left(c)) {
        cursor_fail(c);
        return tel_span_make("", 0);
    }
    struct tel_span s = tel_span_make(c->pos, (size_t)len);
    c->pos += len;
    return s;
}

/* A length and so many bytes. */
static inline struct tel_span cursor_span(struct cursor *c)
{
    return cursor_bytes(c, cursor_varint(c));
}

static inline uint64_t cursor_fixed64(struct cursor *c)
{
    struct tel_span s = cursor_bytes(c, 8);
    uint64_t v = 0;
    if (s.len == 8)
        memcpy(&v, s.ptr, 8); /* little-endian machines only: checked at build time in FORMAT's code */
    return v;
}

#endif
