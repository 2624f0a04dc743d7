/*
 * Reading Avro's binary encoding with bounds, shared by the fast path and by the walk that goes before
 * avro-c. Internal to common/record.
 */
#ifndef TEL_RECORD_DECODE_H
#define TEL_RECORD_DECODE_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/base/span.h"
#include "common/base/varint.h"

struct tel_avro_cursor {
    const char *start, *pos, *end; /* start is the message's first byte: positions count from there */
    /* the first thing that went wrong */
    tel_code code;
    const char *what;
    size_t at;
};

/* Notes an error at the cursor's place, if it is the first. Always false. */
static inline bool tel_avro_fail_at(struct tel_avro_cursor *c, const char *at, tel_code code,
                                    const char *what)
{
    if (c->code == TEL_OK) {
        c->code = code;
        c->what = what;
        c->at = (size_t)(at - c->start);
    }
    return false;
}

static inline bool tel_avro_fail(struct tel_avro_cursor *c, tel_code code, const char *what)
{
    return tel_avro_fail_at(c, c->pos, code, what);
}

static inline size_t tel_avro_left(const struct tel_avro_cursor *c)
{
    return (size_t)(c->end - c->pos);
}

/* A varint that is not there: cut short, or longer than 64 bits. */
bool tel_avro_bad_varint(struct tel_avro_cursor *c);

static inline bool tel_avro_long(struct tel_avro_cursor *c, int64_t *ret)
{
    uint64_t v;
    if (TEL_LIKELY(c->pos < c->end && (unsigned char)*c->pos < 0x80)) {
        *ret = tel_unzigzag((unsigned char)*c->pos++);
        return true;
    }
    if (TEL_UNLIKELY(!tel_varint_get(&c->pos, c->end, &v)))
        return tel_avro_bad_varint(c);
    *ret = tel_unzigzag(v);
    return true;
}

/* Length and bytes, at most max. */
static inline bool tel_avro_bytes(struct tel_avro_cursor *c, size_t max, struct tel_span *ret)
{
    const char *at = c->pos;
    int64_t len = 0;
    if (TEL_UNLIKELY(!tel_avro_long(c, &len)))
        return false;
    if (TEL_UNLIKELY(len < 0))
        return tel_avro_fail_at(c, at, TEL_ERR_CORRUPT, "a length is negative");
    if (TEL_UNLIKELY((uint64_t)len > max))
        return tel_avro_fail_at(c, at, TEL_ERR_LIMIT, "a length is over its limit");
    if (TEL_UNLIKELY((uint64_t)len > tel_avro_left(c)))
        return tel_avro_fail_at(c, at, TEL_ERR_TRUNCATED, "bytes end before their length");
    *ret = tel_span_make(c->pos, (size_t)len);
    c->pos += len;
    return true;
}

/* The head of a block of an array or map: its count (0: the end) and, when the writer gave it, where
 * the block ends (else NULL). `room` is how many more items there may be, `least` the fewest bytes
 * that an item takes. */
bool tel_avro_block(struct tel_avro_cursor *c, uint64_t room, size_t least, uint32_t *ret_count,
                    const char **ret_end);

/* Behind a block's items: they must have ended where the writer said. */
static inline bool tel_avro_block_end(struct tel_avro_cursor *c, const char *block_end)
{
    return !block_end || block_end == c->pos ||
           tel_avro_fail(c, TEL_ERR_CORRUPT, "a block does not end where it says");
}

#endif
