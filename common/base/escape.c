#include "common/base/escape.h"

#include "common/base/utf8.h"

static bool is_unsafe(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == UINT32_MAX ||
           (cp >= 0x200e && cp <= 0x200f) || (cp >= 0x2028 && cp <= 0x202e) ||
           (cp >= 0x2066 && cp <= 0x2069);
}

size_t tel_escape_next(struct tel_span s, char out[TEL_ESCAPE_MAX], size_t *ret_used)
{
    static const char hex[] = "0123456789abcdef";
    uint32_t cp;
    size_t used = tel_utf8_decode(s, &cp);
    *ret_used = used;
    if (!is_unsafe(cp)) {
        memcpy(out, s.ptr, used);
        return used;
    }
    for (size_t i = 0; i < used; i++) {
        unsigned char byte = (unsigned char)s.ptr[i];
        out[4 * i] = '\\';
        out[4 * i + 1] = 'x';
        out[4 * i + 2] = hex[byte >> 4];
        out[4 * i + 3] = hex[byte & 15];
    }
    return 4 * used;
}

size_t tel_escape_into(char *out, size_t cap, struct tel_span s)
{
    size_t len = 0, used;
    char piece[TEL_ESCAPE_MAX];
    for (size_t pos = 0; pos < s.len; pos += used) {
        size_t n = tel_escape_next(tel_span_slice(s, pos, s.len), piece, &used);
        if (len + n + 1 > cap)
            break;
        memcpy(out + len, piece, n);
        len += n;
    }
    out[len] = '\0';
    return len;
}
