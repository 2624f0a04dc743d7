/*
 * The rules, in the order in which they are tried at each event byte (digit " = / @) that no
 * earlier hole has swallowed:
 *
 *   "    a quote runs to its closing quote, escapes respected. Followed by ':' it is a key and
 *        stays static, and a bare value or a short [...] behind it is a hole. A request line
 *        ("GET /x HTTP/1.1") gives three holes. Otherwise the content is one hole. A quote that is
 *        never closed ends the quote rule for the line: else a line of \" costs quadratic time.
 *   =    behind a word: its value is a hole.
 *   @    between two word characters: x@y.z is one hole.
 *   run  word characters and joiners around a digit or a '/', joiners trimmed.
 *
 * Then: a month's or weekday's name before a hole joins it; four or more holes with one ',' between
 * are one. Behind a line feed everything is one hole.
 */
#include "shard/segment/split.h"

#include <string.h>

#define LIST_BYTES_MAX 256
#define LIST_HOLES_MIN 4

enum { JOINER = 1, PATH = 2, VALUE_END = 4, BARE_END = 8, OPENER = 16 };

static const uint8_t kind[256] = {
    ['.'] = JOINER, ['-'] = JOINER, ['$'] = JOINER, ['/'] = JOINER,
    [':'] = JOINER,
    ['?'] = PATH, ['&'] = PATH, ['='] = PATH, ['%'] = PATH, ['+'] = PATH, ['~'] = PATH,
    ['#'] = PATH,
    [' '] = VALUE_END | BARE_END, ['\t'] = VALUE_END | BARE_END, ['\r'] = VALUE_END | BARE_END,
    [','] = VALUE_END | BARE_END, ['}'] = VALUE_END | BARE_END, [']'] = VALUE_END | BARE_END,
    [')'] = VALUE_END, [';'] = VALUE_END, ['|'] = VALUE_END, ['>'] = VALUE_END,
    ['"'] = VALUE_END | OPENER, ['\''] = VALUE_END | OPENER, ['('] = VALUE_END | OPENER,
    ['['] = VALUE_END | OPENER, ['{'] = VALUE_END | OPENER, ['<'] = VALUE_END | OPENER,
};

struct scan {
    const char *s;
    size_t len;   /* of the first line */
    size_t floor; /* everything before is dealt with */
    const struct split_classes *classes;
    struct hole *holes;
    size_t count;
    unsigned chain; /* holes before the last one that hang together by ',' */
    bool quotes_off, full;
};

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool is_word(char c)
{
    return split_is_word[(unsigned char)c];
}

static inline uint8_t kind_of(char c)
{
    return kind[(unsigned char)c];
}

/* The first byte at or behind pos that is not in the run. */
static inline size_t run_end(const struct scan *sc, size_t pos)
{
    const uint64_t *run = sc->classes->run;
    size_t word = pos / 64;
    uint64_t zeros = ~run[word] >> (pos % 64);
    if (zeros)
        pos += (size_t)__builtin_ctzll(zeros);
    else {
        do
            zeros = ~run[++word];
        while (!zeros); /* a zero word stands behind the line */
        pos = word * 64 + (size_t)__builtin_ctzll(zeros);
    }
    return pos < sc->len ? pos : sc->len;
}

/* Where the run that holds pos begins, not before the floor. */
static inline size_t run_start(const struct scan *sc, size_t pos)
{
    const uint64_t *run = sc->classes->run;
    size_t word = pos / 64;
    uint64_t zeros = ~run[word] << (63 - pos % 64);
    size_t start;
    if (zeros)
        start = pos + 1 - (size_t)__builtin_clzll(zeros);
    else {
        for (;;) {
            if (word == 0) {
                start = 0;
                break;
            }
            zeros = ~run[--word];
            if (zeros) {
                start = word * 64 + 64 - (size_t)__builtin_clzll(zeros);
                break;
            }
        }
    }
    return start > sc->floor ? start : sc->floor;
}

/* The first of the bitmap's bytes in [from, to), or `to`. */
static inline size_t first_in(const uint64_t *bitmap, size_t from, size_t to)
{
    if (from >= to)
        return to;
    size_t word = from / 64;
    uint64_t bits = bitmap[word] & UINT64_MAX << (from % 64);
    while (!bits && ++word * 64 < to)
        bits = bitmap[word];
    size_t at = bits ? word * 64 + (size_t)__builtin_ctzll(bits) : to;
    return at < to ? at : to;
}

static bool is_date_name(const char *p)
{
    static const char names[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul",
                                    "Aug", "Sep", "Oct", "Nov", "Dec", "Mon", "Tue",
                                    "Wed", "Thu", "Fri", "Sat", "Sun"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (memcmp(p, names[i], 3) == 0)
            return true;
    }
    return false;
}

/* start, moved before the names of months and weekdays that end right before it. */
static size_t join_date_names(const struct scan *sc, size_t start)
{
    size_t bound = sc->count ? sc->holes[sc->count - 1].start + sc->holes[sc->count - 1].len : 0;
    for (;;) {
        size_t p = start;
        for (unsigned spaces = 0; spaces < 2 && p > bound && sc->s[p - 1] == ' '; spaces++)
            p--;
        if (p == start || p < bound + 3 || sc->s[p - 3] < 'A' || sc->s[p - 3] > 'W' ||
            (p - 3 > 0 && is_word(sc->s[p - 4])) || !is_date_name(sc->s + p - 3))
            return start;
        start = p - 3;
    }
}

static void add_hole(struct scan *sc, size_t start, size_t end)
{
    if (start > 3 && sc->s[start - 1] == ' ')
        start = join_date_names(sc, start);
    sc->floor = end;
    if (sc->count) {
        struct hole *last = &sc->holes[sc->count - 1];
        bool chained = start == (size_t)last->start + last->len + 1 && sc->s[start - 1] == ',';
        sc->chain = chained ? sc->chain + 1 : 0;
        if (sc->chain >= LIST_HOLES_MIN - 1) {
            if (sc->chain == LIST_HOLES_MIN - 1)
                sc->count -= LIST_HOLES_MIN - 2;
            struct hole *first = &sc->holes[sc->count - 1];
            first->len = (uint32_t)(end - first->start);
            return;
        }
    }
    if (sc->count == SPLIT_HOLES_MAX - 1) {
        sc->full = true;
        end = sc->len;
    }
    sc->holes[sc->count++] = (struct hole){(uint32_t)start, (uint32_t)(end - start)};
}

static void at_run(struct scan *sc, size_t pos)
{
    const char *s = sc->s;
    size_t start = run_start(sc, pos), end = run_end(sc, pos);
    bool path = first_in(sc->classes->slash, start, end) < end;
    if (!path && end < sc->len && s[end] == '=' && is_word(s[start]) && !is_digit(s[start])) {
        sc->floor = end; /* a key */
        return;
    }
    while (end < sc->len) {
        if (s[end] == '@' ? end + 1 < sc->len && is_word(s[end + 1])
                          : path && (kind_of(s[end]) & PATH))
            end = run_end(sc, end + 1);
        else
            break;
    }
    size_t resume = end;
    while (start < end && (kind_of(s[start]) & JOINER) &&
           !(s[start] == '-' && start + 1 < end && is_digit(s[start + 1])))
        start++;
    while (end > start && (kind_of(s[end - 1]) & (JOINER | PATH)))
        end--;
    if (end > start)
        add_hole(sc, start, end);
    if (resume > sc->floor)
        sc->floor = resume;
}

static void at_equals(struct scan *sc, size_t pos)
{
    const char *s = sc->s;
    size_t v = pos + 1;
    sc->floor = v;
    if (pos == 0 || !is_word(s[pos - 1]))
        return;
    if (v < sc->len && (s[v] == '=' || s[v] == '>')) {
        sc->floor = v + 1;
        return;
    }
    if (v < sc->len && s[v] == '\'') {
        const char *close = memchr(s + v + 1, '\'', sc->len - v - 1);
        if (close)
            add_hole(sc, v + 1, (size_t)(close - s));
        return;
    }
    if (v < sc->len && (kind_of(s[v]) & OPENER))
        return;
    size_t end = v;
    while (end < sc->len && !(kind_of(s[end]) & VALUE_END))
        end++;
    while (end > v && (s[end - 1] == '.' || s[end - 1] == ':'))
        end--;
    add_hole(sc, v, end);
}

static void at_at(struct scan *sc, size_t pos)
{
    const char *s = sc->s;
    if (pos == sc->floor || pos + 1 >= sc->len || !is_word(s[pos - 1]) || !is_word(s[pos + 1])) {
        sc->floor = pos + 1;
        return;
    }
    size_t start = run_start(sc, pos - 1), end = run_end(sc, pos + 1);
    while (kind_of(s[start]) & JOINER)
        start++;
    while (kind_of(s[end - 1]) & JOINER)
        end--;
    add_hole(sc, start, end);
}

/* The value behind a quoted key and its ':'. */
static void key_value(struct scan *sc, size_t v)
{
    const char *s = sc->s;
    if (v < sc->len && s[v] == ' ')
        v++;
    sc->floor = v;
    if (v >= sc->len || s[v] == '"')
        return;
    if (s[v] == '{') {
        sc->floor = v + 1;
        return;
    }
    if (s[v] == '[') {
        size_t room = sc->len - v - 1 < LIST_BYTES_MAX ? sc->len - v - 1 : LIST_BYTES_MAX;
        const char *close = memchr(s + v + 1, ']', room);
        sc->floor = v + 1;
        if (close)
            add_hole(sc, v + 1, (size_t)(close - s));
        return;
    }
    size_t end = v;
    while (end < sc->len && !(kind_of(s[end]) & BARE_END) && s[end] != '"')
        end++;
    if (end > v)
        add_hole(sc, v, end);
}

/* `METHOD target HTTP/x` in [start, end): three holes. */
static bool request_line(struct scan *sc, size_t start, size_t end)
{
    const char *s = sc->s;
    size_t p = start;
    while (p < end && p - start < 10 && s[p] >= 'A' && s[p] <= 'Z')
        p++;
    if (p - start < 3 || p >= end || s[p] != ' ' || end - p < 9)
        return false;
    size_t last = end;
    while (last > p && end - last < 10 && s[last - 1] != ' ')
        last--;
    if (last <= p + 1 || s[last - 1] != ' ' || end - last < 6 || memcmp(s + last, "HTTP/", 5) != 0)
        return false;
    add_hole(sc, start, p);
    add_hole(sc, p + 1, last - 1);
    add_hole(sc, last + 5, end);
    return true;
}

static void at_quote(struct scan *sc, size_t pos)
{
    const char *s = sc->s;
    size_t close = pos;
    if (sc->quotes_off) {
        sc->floor = pos + 1;
        return;
    }
    for (;;) {
        close = first_in(sc->classes->quote, close + 1, sc->len);
        if (close == sc->len) {
            sc->quotes_off = true;
            sc->floor = pos + 1;
            return;
        }
        size_t escapes = 0;
        while (close - escapes - 1 > pos && s[close - escapes - 1] == '\\')
            escapes++;
        if (escapes % 2 == 0)
            break;
    }
    if (close + 1 < sc->len && s[close + 1] == ':') {
        key_value(sc, close + 2);
        return;
    }
    if (sc->count + 3 >= SPLIT_HOLES_MAX || !request_line(sc, pos + 1, close))
        add_hole(sc, pos + 1, close);
    if (!sc->full && sc->floor < close + 1)
        sc->floor = close + 1;
}

static void scan_events(struct scan *sc)
{
    size_t words = (sc->len + 63) / 64;
    for (size_t w = 0; w < words; w++) {
        uint64_t bits = sc->classes->event[w];
        while (bits) {
            size_t pos = w * 64 + (size_t)__builtin_ctzll(bits);
            if (pos < sc->floor) {
                if (sc->floor >= (w + 1) * 64)
                    break;
                bits &= UINT64_MAX << (sc->floor % 64);
                continue;
            }
            if (pos >= sc->len || sc->full)
                return;
            bits &= bits - 1;
            switch (sc->s[pos]) {
            case '"':
                at_quote(sc, pos);
                break;
            case '=':
                at_equals(sc, pos);
                break;
            case '@':
                at_at(sc, pos);
                break;
            default:
                at_run(sc, pos);
                break;
            }
        }
    }
}

void splitter_make_skeleton(struct splitter *sp, struct tel_span line)
{
    char *out = sp->skeleton;
    size_t pos = 0;
    for (size_t i = 0; i < sp->hole_count; i++) {
        size_t n = sp->holes[i].start - pos;
        split_copy(out, line.ptr + pos, n);
        out += n;
        *out++ = 0;
        pos = sp->holes[i].start + sp->holes[i].len;
    }
    split_copy(out, line.ptr + pos, line.len - pos);
    sp->skeleton_len = (size_t)(out - sp->skeleton) + line.len - pos;
}

bool splitter_run(struct splitter *sp, struct tel_span line)
{
    static split_classify_fn *classify; /* a race writes the same value twice */
    split_classify_fn *fn = __atomic_load_n(&classify, __ATOMIC_RELAXED);
    if (!fn) {
        fn = splitter_classify_best();
        __atomic_store_n(&classify, fn, __ATOMIC_RELAXED);
    }
    sp->hole_count = 0;
    sp->skeleton_len = 0;
    if (line.len > SPLIT_LINE_MAX)
        return false;
    if (line.len == 0)
        return true;
    fn(line.ptr, line.len, &sp->classes);
    if (sp->classes.has_nul)
        return false;
    struct scan sc = {.s = line.ptr,
                      .len = sp->classes.newline == SIZE_MAX ? line.len : sp->classes.newline,
                      .classes = &sp->classes,
                      .holes = sp->holes};
    scan_events(&sc);
    sp->hole_count = sc.count;
    if (sp->classes.newline != SIZE_MAX) {
        size_t tail = sp->classes.newline + 1;
        sp->holes[sp->hole_count++] =
            (struct hole){(uint32_t)tail, (uint32_t)(line.len - tail)};
    }
    splitter_make_skeleton(sp, line);
    return true;
}
