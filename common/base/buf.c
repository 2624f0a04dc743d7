#include "common/base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "common/base/escape.h"
#include "common/base/mem.h"
#include "common/base/utf8.h"

void tel_buf_free(struct tel_buf *buf)
{
    if (!buf)
        return;
    free(buf->ptr);
    *buf = (struct tel_buf){0};
}

void tel_buf_grow(struct tel_buf *buf, size_t more)
{
    size_t need;
    TEL_CHECK(!__builtin_add_overflow(buf->len, more, &need));
    if (need <= buf->cap)
        return;
    size_t cap = buf->cap < 64 ? 64 : buf->cap;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    buf->ptr = tel_realloc(buf->ptr, cap);
    buf->cap = cap;
}

void tel_buf_printf(struct tel_buf *buf, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    tel_buf_reserve(buf, 64);
    size_t room = buf->cap - buf->len;
    int len = vsnprintf(buf->ptr + buf->len, room, fmt, args);
    TEL_CHECK(len >= 0);
    if ((size_t)len >= room) {
        tel_buf_reserve(buf, (size_t)len + 1);
        vsnprintf(buf->ptr + buf->len, (size_t)len + 1, fmt, again);
    }
    buf->len += (size_t)len;
    va_end(again);
    va_end(args);
}

const char *tel_buf_cstr(struct tel_buf *buf)
{
    tel_buf_reserve(buf, 1);
    buf->ptr[buf->len] = '\0';
    return buf->ptr;
}

static bool json_plain(char c)
{
    return (signed char)c >= 0x20 && c != '"' && c != '\\';
}

/* How many bytes at p need no escape: ASCII but for controls, '"' and '\'. */
static size_t json_plain_run(const char *p, size_t len)
{
    size_t pos = 0;
#if defined(__SSE2__)
    const __m128i space = _mm_set1_epi8(0x20), quote = _mm_set1_epi8('"'),
                  slash = _mm_set1_epi8('\\');
    for (; len - pos >= 16; pos += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + pos));
        /* Signed: bytes from 0x80 up are negative and so below the space too. */
        __m128i bad = _mm_or_si128(_mm_cmplt_epi8(v, space),
                                   _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)));
        unsigned mask = (unsigned)_mm_movemask_epi8(bad);
        if (mask)
            return pos + (unsigned)__builtin_ctz(mask);
    }
#endif
    while (pos < len && json_plain(p[pos]))
        pos++;
    return pos;
}

/* An ASCII character that must not stand in a JSON string as it is. */
static void add_json_escape(struct tel_buf *buf, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    const char *found = memchr(from, c, sizeof from - 1);
    if (found) {
        char two[2] = {'\\', to[found - from]};
        tel_buf_add(buf, two, 2);
    } else {
        char six[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        tel_buf_add(buf, six, 6);
    }
}

void tel_buf_add_json(struct tel_buf *buf, struct tel_span s)
{
    size_t copied = 0; /* all before it is in the buffer; [copied, pos) can be copied as it is */
    if (!s.ptr)
        s.ptr = "";
    tel_buf_reserve(buf, s.len + 2);
    buf->ptr[buf->len++] = '"';
    for (size_t pos = 0;;) {
        pos += json_plain_run(s.ptr + pos, s.len - pos);
        /* Text in other scripts: stay here while it lasts. */
        uint32_t cp = 0;
        while (pos < s.len && (unsigned char)s.ptr[pos] >= 0x80) {
            size_t used = tel_utf8_decode(tel_span_slice(s, pos, s.len), &cp);
            if (cp == UINT32_MAX)
                break;
            pos += used;
        }
        if (pos < s.len && cp != UINT32_MAX && json_plain(s.ptr[pos]))
            continue;
        tel_buf_add(buf, s.ptr + copied, pos - copied);
        if (pos == s.len)
            break;
        if (cp == UINT32_MAX)
            TEL_BUF_ADD_LIT(buf, "\xef\xbf\xbd");
        else
            add_json_escape(buf, (unsigned char)s.ptr[pos]);
        copied = ++pos;
    }
    tel_buf_add_char(buf, '"');
}

void tel_buf_add_escaped(struct tel_buf *buf, struct tel_span s, size_t max)
{
    size_t used;
    char piece[TEL_ESCAPE_MAX];
    for (size_t pos = 0; pos < s.len; pos += used) {
        size_t n = tel_escape_next(tel_span_slice(s, pos, s.len), piece, &used);
        if (pos + used > max) {
            TEL_BUF_ADD_LIT(buf, "...");
            return;
        }
        tel_buf_add(buf, piece, n);
    }
}

void tel_buf_add_u64(struct tel_buf *buf, uint64_t v)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233"
                                "34353637383940414243444546474849505152535455565758596061626364656667"
                                "6869707172737475767778798081828384858687888990919293949596979899";
    char text[20];
    size_t pos = sizeof text;
    while (v >= 100) {
        pos -= 2;
        memcpy(text + pos, pairs + 2 * (v % 100), 2);
        v /= 100;
    }
    if (v >= 10) {
        pos -= 2;
        memcpy(text + pos, pairs + 2 * v, 2);
    } else {
        text[--pos] = (char)('0' + v);
    }
    tel_buf_add(buf, text + pos, sizeof text - pos);
}

void tel_buf_add_i64(struct tel_buf *buf, int64_t v)
{
    if (v < 0)
        tel_buf_add_char(buf, '-');
    tel_buf_add_u64(buf, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void tel_buf_add_le32(struct tel_buf *buf, uint32_t v)
{
    char bytes[4];
    for (int i = 0; i < 4; i++)
        bytes[i] = (char)(v >> (8 * i) & 0xff);
    tel_buf_add(buf, bytes, sizeof bytes);
}

void tel_buf_add_le64(struct tel_buf *buf, uint64_t v)
{
    tel_buf_add_le32(buf, (uint32_t)v);
    tel_buf_add_le32(buf, (uint32_t)(v >> 32));
}
