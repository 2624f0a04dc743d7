/*
 * Decoding is strict: overlong forms, surrogates and values beyond U+10FFFF are invalid (RFC 3629,
 * section 3). The word test is a two-level bitmap: a byte per page of 256 code points names one of
 * about a hundred distinct pages of 256 bits.
 */
#include "common/base/utf8.h"

#include "common/base/check.h"

struct lower_run {
    uint32_t first, last;
    uint32_t step;
    int32_t delta;
};

#include "unicode_tables.inc"

static bool is_tail(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

size_t tel_utf8_decode(struct tel_span s, uint32_t *ret)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    uint32_t c = p[0];
    if (c < 0x80) {
        *ret = c;
        return 1;
    }
    if (c >= 0xc2 && c < 0xe0 && s.len >= 2 && is_tail(p[1])) {
        *ret = (c & 0x1f) << 6 | (p[1] & 0x3fu);
        return 2;
    }
    if (c >= 0xe0 && c < 0xf0 && s.len >= 3 && is_tail(p[1]) && is_tail(p[2])) {
        uint32_t cp = (c & 0x0f) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
        if (cp >= 0x800 && (cp < 0xd800 || cp > 0xdfff)) {
            *ret = cp;
            return 3;
        }
    }
    if (c >= 0xf0 && c < 0xf5 && s.len >= 4 && is_tail(p[1]) && is_tail(p[2]) && is_tail(p[3])) {
        uint32_t cp = (c & 0x07) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
        if (cp >= 0x10000 && cp <= 0x10ffff) {
            *ret = cp;
            return 4;
        }
    }
    *ret = UINT32_MAX;
    return 1;
}

size_t tel_utf8_encode(uint32_t cp, char out[4])
{
    if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
        cp = 0xfffd;
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xe0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

bool tel_utf8_valid(struct tel_span s)
{
    size_t pos = 0;
    while (pos < s.len) {
        uint64_t eight;
        while (s.len - pos >= 8) {
            memcpy(&eight, s.ptr + pos, 8);
            if (eight & UINT64_C(0x8080808080808080))
                break;
            pos += 8;
        }
        if (pos == s.len)
            break;
        uint32_t cp;
        pos += tel_utf8_decode(tel_span_slice(s, pos, s.len), &cp);
        if (cp == UINT32_MAX)
            return false;
    }
    return true;
}

bool tel_utf8_is_word(uint32_t cp)
{
    if (cp > 0x10ffff)
        return false;
    return word_pages[word_index[cp >> 8]][cp >> 6 & 3] >> (cp & 63) & 1;
}

uint32_t tel_utf8_lower(uint32_t cp)
{
    if (cp < 0x80)
        return cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
    size_t lo = 0, hi = TEL_ARRAY_LEN(lower_runs);
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (lower_runs[mid].last < cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == TEL_ARRAY_LEN(lower_runs))
        return cp;
    const struct lower_run *run = &lower_runs[lo];
    if (cp < run->first || (cp - run->first) % run->step != 0)
        return cp;
    return (uint32_t)((int32_t)cp + run->delta);
}
