/*
 * A growable byte buffer. All zero is the empty buffer. Growth is amortised; what it may hold is for
 * the caller to cap.
 */
#ifndef TEL_BASE_BUF_H
#define TEL_BASE_BUF_H

#include <stdarg.h>
#include <stdint.h>

#include "common/base/check.h"
#include "common/base/span.h"

struct tel_buf {
    char *ptr;
    size_t len, cap;
};

void tel_buf_free(struct tel_buf *buf);
void tel_buf_grow(struct tel_buf *buf, size_t more); /* room for `more` bytes behind len */

static inline void tel_buf_clear(struct tel_buf *buf)
{
    buf->len = 0;
}

static inline void tel_buf_reserve(struct tel_buf *buf, size_t more)
{
    if (TEL_UNLIKELY(buf->cap - buf->len < more))
        tel_buf_grow(buf, more);
}

static inline void tel_buf_add(struct tel_buf *buf, const void *ptr, size_t len)
{
    if (len == 0)
        return;
    tel_buf_reserve(buf, len);
    memcpy(buf->ptr + buf->len, ptr, len);
    buf->len += len;
}

static inline void tel_buf_add_span(struct tel_buf *buf, struct tel_span s)
{
    tel_buf_add(buf, s.ptr, s.len);
}

static inline void tel_buf_add_char(struct tel_buf *buf, char c)
{
    tel_buf_reserve(buf, 1);
    buf->ptr[buf->len++] = c;
}

#define TEL_BUF_ADD_LIT(buf, lit) tel_buf_add((buf), (lit), sizeof(lit) - 1)

static inline struct tel_span tel_buf_span(const struct tel_buf *buf)
{
    return tel_span_make(buf->ptr, buf->len);
}

void tel_buf_printf(struct tel_buf *buf, const char *fmt, ...) TEL_PRINTF(2, 3);
/* A NUL behind the end that does not count in len; valid until the buffer changes. */
const char *tel_buf_cstr(struct tel_buf *buf);

/* s as a JSON string with its quotes (RFC 8259). Invalid UTF-8 bytes become U+FFFD, so that the
 * result is always valid JSON. */
void tel_buf_add_json(struct tel_buf *buf, struct tel_span s);
/* s for a person's eyes: control characters and invalid UTF-8 as \xHH, at most `max` bytes of s and
 * then "...". */
void tel_buf_add_escaped(struct tel_buf *buf, struct tel_span s, size_t max);
void tel_buf_add_u64(struct tel_buf *buf, uint64_t v); /* decimal */
void tel_buf_add_i64(struct tel_buf *buf, int64_t v);
/* Fixed-width little-endian integers. */
void tel_buf_add_le32(struct tel_buf *buf, uint32_t v);
void tel_buf_add_le64(struct tel_buf *buf, uint64_t v);

#endif
