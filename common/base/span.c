#include "common/base/span.h"

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#define DOUBLE_TEXT_MAX 512

struct tel_span tel_span_split(struct tel_span *rest, char sep)
{
    struct tel_span all = *rest;
    const char *p = all.len ? memchr(all.ptr, sep, all.len) : NULL;
    if (!p) {
        *rest = (struct tel_span){NULL, 0};
        return all;
    }
    size_t len = (size_t)(p - all.ptr);
    *rest = (struct tel_span){p + 1, all.len - len - 1};
    return (struct tel_span){all.ptr, len};
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct tel_span tel_span_trim(struct tel_span s)
{
    while (s.len && is_space(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

bool tel_span_to_u64(struct tel_span s, unsigned long long *ret)
{
    unsigned long long v = 0;
    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned char)s.ptr[i] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(v, 10ULL, &v) ||
            __builtin_add_overflow(v, (unsigned long long)digit, &v))
            return false;
    }
    *ret = v;
    return true;
}

bool tel_span_to_i64(struct tel_span s, long long *ret)
{
    unsigned long long v;
    bool negative = s.len && s.ptr[0] == '-';
    if (!tel_span_to_u64(negative ? tel_span_slice(s, 1, s.len) : s, &v))
        return false;
    if (v > (unsigned long long)LLONG_MAX + negative)
        return false;
    *ret = negative ? (long long)(0 - v) : (long long)v;
    return true;
}

static size_t skip_digits(struct tel_span s, size_t pos)
{
    while (pos < s.len && s.ptr[pos] >= '0' && s.ptr[pos] <= '9')
        pos++;
    return pos;
}

/* [+-] digits [. digits] [e [+-] digits], with a digit before or behind the point. */
static bool is_decimal(struct tel_span s)
{
    size_t pos = s.len && (s.ptr[0] == '-' || s.ptr[0] == '+');
    size_t from = pos;
    pos = skip_digits(s, pos);
    size_t digits = pos - from;
    if (pos < s.len && s.ptr[pos] == '.') {
        from = ++pos;
        pos = skip_digits(s, pos);
        digits += pos - from;
    }
    if (digits == 0)
        return false;
    if (pos < s.len && (s.ptr[pos] == 'e' || s.ptr[pos] == 'E')) {
        pos++;
        if (pos < s.len && (s.ptr[pos] == '-' || s.ptr[pos] == '+'))
            pos++;
        from = pos;
        pos = skip_digits(s, pos);
        if (pos == from)
            return false;
    }
    return pos == s.len;
}

/* Plain numbers of at most 15 digits are exact in a double, and so are powers of ten up to 22, so
 * that one correctly rounded division gives what strtod gives (Clinger 1990). */
static bool short_double(struct tel_span s, double *ret)
{
    static const double tens[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    bool negative = s.ptr[0] == '-', point = false;
    int64_t v = 0;
    size_t digits = 0, decimals = 0;
    for (size_t i = negative || s.ptr[0] == '+'; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '.') {
            point = true;
            continue;
        }
        if (c < '0' || c > '9' || ++digits > 15)
            return false;
        v = v * 10 + (c - '0');
        decimals += point;
    }
    double d = (double)v / tens[decimals];
    *ret = negative ? -d : d;
    return true;
}

bool tel_span_to_double(struct tel_span s, double *ret)
{
    if (s.len == 0 || s.len >= DOUBLE_TEXT_MAX || !is_decimal(s))
        return false;
    if (short_double(s, ret))
        return true;
    char text[DOUBLE_TEXT_MAX];
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    char *end;
    double d = strtod(text, &end);
    if (*end != '\0' || isinf(d))
        return false;
    *ret = d;
    return true;
}
