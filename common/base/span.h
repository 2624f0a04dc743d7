/*
 * A span: bytes that somebody else owns, passed by value. Not NUL-terminated. An empty span may have
 * a null pointer. Whoever hands out a span says for how long it is valid.
 */
#ifndef TEL_BASE_SPAN_H
#define TEL_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct tel_span {
    const char *ptr;
    size_t len;
};

/* A span over a string literal; usable in static initialisers through TEL_SPAN_INIT. */
#define TEL_SPAN_INIT(lit) {(lit), sizeof(lit) - 1}
#define TEL_SPAN(lit)      ((struct tel_span)TEL_SPAN_INIT(lit))
/* printf("%.*s", TEL_SPAN_ARG(s)) */
#define TEL_SPAN_ARG(s)    (int)(s).len, ((s).ptr ? (s).ptr : "")

static inline struct tel_span tel_span_make(const void *ptr, size_t len)
{
    return (struct tel_span){(const char *)ptr, len};
}

/* NULL gives the empty span. */
static inline struct tel_span tel_span_cstr(const char *s)
{
    return (struct tel_span){s, s ? strlen(s) : 0};
}

static inline bool tel_span_eq(struct tel_span a, struct tel_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool tel_span_eq_cstr(struct tel_span a, const char *b)
{
    return tel_span_eq(a, tel_span_cstr(b));
}

/* Byte order, a proper prefix first; <0, 0, >0. */
static inline int tel_span_cmp(struct tel_span a, struct tel_span b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    if (c != 0)
        return c;
    return a.len < b.len ? -1 : a.len > b.len;
}

static inline bool tel_span_starts(struct tel_span s, struct tel_span prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

static inline bool tel_span_ends(struct tel_span s, struct tel_span suffix)
{
    return s.len >= suffix.len &&
           (suffix.len == 0 || memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0);
}

/* Bytes [from, to) of s; both are clamped to s.len. */
static inline struct tel_span tel_span_slice(struct tel_span s, size_t from, size_t to)
{
    to = to > s.len ? s.len : to;
    from = from > to ? to : from;
    return (struct tel_span){s.ptr ? s.ptr + from : NULL, to - from};
}

/* Offset of the first `needle` in `s`, or SIZE_MAX ((size_t)-1). The empty needle is found at 0. */
size_t tel_span_find(struct tel_span s, struct tel_span needle);

/* Splits at the first `sep`: returns what is before it and moves *rest behind it. When there is no
 * `sep`, returns all of *rest and leaves *rest empty with a null pointer. */
struct tel_span tel_span_split(struct tel_span *rest, char sep);

/* Without leading and trailing space, \t, \r, \n. */
struct tel_span tel_span_trim(struct tel_span s);

/* Decimal numbers that fill the whole span; false (and *ret untouched) on anything else. */
bool tel_span_to_u64(struct tel_span s, unsigned long long *ret);
bool tel_span_to_i64(struct tel_span s, long long *ret);
bool tel_span_to_double(struct tel_span s, double *ret);

#endif
