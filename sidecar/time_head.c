#include "sidecar/time_head.h"

#include <time.h>

#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/base/timefmt.h"

#define HEAD_MAX    200u /* how far a line is searched */
#define AHEAD_MAX_S (25 * 3600)
#define DAY_S       86400

struct civil {
    int64_t year; /* 0: not given */
    unsigned month, day, hour, minute, second;
};

static bool digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* `count` digits at s[*at]. */
static bool number(struct tel_span s, size_t *at, unsigned count, unsigned *ret)
{
    unsigned v = 0;
    if (s.len - *at < count || *at > s.len)
        return false;
    for (unsigned i = 0; i < count; i++) {
        char c = s.ptr[*at + i];
        if (!digit(c))
            return false;
        v = v * 10 + (unsigned)(c - '0');
    }
    *at += count;
    *ret = v;
    return true;
}

static bool literal(struct tel_span s, size_t *at, char c)
{
    if (*at >= s.len || s.ptr[*at] != c)
        return false;
    ++*at;
    return true;
}

static bool month_name(struct tel_span s, size_t *at, unsigned *ret)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if (s.len < *at + 3)
        return false;
    for (unsigned m = 0; m < 12; m++)
        if (memcmp(s.ptr + *at, names + (size_t)3 * m, 3) == 0) {
            *at += 3;
            *ret = m + 1;
            return true;
        }
    return false;
}

static bool clock_time(struct tel_span s, size_t *at, struct civil *c)
{
    return number(s, at, 2, &c->hour) && literal(s, at, ':') && number(s, at, 2, &c->minute) &&
           literal(s, at, ':') && number(s, at, 2, &c->second) && c->hour < 24 && c->minute < 60 &&
           c->second <= 60;
}

/* ---- formats: each reads from s[*at] and moves *at behind the seconds -------------------------- */

/* 2026-01-02T03:04:05, 2026/01/02 03:04:05 */
static bool year_first(struct tel_span s, size_t *at, struct civil *c)
{
    unsigned year;
    if (!number(s, at, 4, &year) || *at >= s.len)
        return false;
    char sep = s.ptr[*at];
    if ((sep != '-' && sep != '/') || !literal(s, at, sep) || !number(s, at, 2, &c->month) ||
        !literal(s, at, sep) || !number(s, at, 2, &c->day))
        return false;
    c->year = year;
    return (literal(s, at, 'T') || literal(s, at, ' ')) && year >= 1971 && clock_time(s, at, c);
}

/* 26/01/02 03:04:05 */
static bool short_year(struct tel_span s, size_t *at, struct civil *c)
{
    unsigned year;
    if (!number(s, at, 2, &year) || !literal(s, at, '/') || !number(s, at, 2, &c->month) ||
        !literal(s, at, '/') || !number(s, at, 2, &c->day) || !literal(s, at, ' '))
        return false;
    c->year = 2000 + (int64_t)year;
    return clock_time(s, at, c);
}

/* 01-02 03:04:05 */
static bool month_day(struct tel_span s, size_t *at, struct civil *c)
{
    return number(s, at, 2, &c->month) && literal(s, at, '-') && number(s, at, 2, &c->day) &&
           literal(s, at, ' ') && clock_time(s, at, c);
}

/* Jan  2 03:04:05 */
static bool syslog_time(struct tel_span s, size_t *at, struct civil *c)
{
    if (!month_name(s, at, &c->month) || !literal(s, at, ' '))
        return false;
    if (!number(s, at, 2, &c->day) && !(literal(s, at, ' ') && number(s, at, 1, &c->day)))
        return false;
    return literal(s, at, ' ') && clock_time(s, at, c);
}

/* Fri Jan 02 03:04:05 2026, with a fraction perhaps before the year */
static bool weekday(struct tel_span s, size_t *at, struct civil *c)
{
    static const char days[] = "MonTueWedThuFriSatSun";
    unsigned year, d = 0;
    if (s.len < *at + 4)
        return false;
    while (d < 7 && memcmp(s.ptr + *at, days + (size_t)3 * d, 3) != 0)
        d++;
    *at += 3;
    if (d == 7 || !literal(s, at, ' ') || !syslog_time(s, at, c))
        return false;
    size_t look = *at;
    if (literal(s, &look, '.'))
        while (look < s.len && digit(s.ptr[look]))
            look++;
    if (literal(s, &look, ' ') && number(s, &look, 4, &year) && year >= 1971)
        c->year = year;
    return true;
}

/* I0102 03:04:05 (klog, glog) */
static bool klog_time(struct tel_span s, size_t *at, struct civil *c)
{
    return number(s, at, 2, &c->month) && number(s, at, 2, &c->day) && literal(s, at, ' ') &&
           clock_time(s, at, c);
}

/* 02/Jan/2026:03:04:05 */
static bool access_time(struct tel_span s, size_t *at, struct civil *c)
{
    unsigned year;
    if (!number(s, at, 2, &c->day) || !literal(s, at, '/') || !month_name(s, at, &c->month) ||
        !literal(s, at, '/') || !number(s, at, 4, &year) || year < 1971 || !literal(s, at, ':'))
        return false;
    c->year = year;
    return clock_time(s, at, c);
}

/* ---- from the text to a time ------------------------------------------------------------------ */

static bool days_in_month(const struct civil *c)
{
    static const unsigned char days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return c->month >= 1 && c->month <= 12 && c->day >= 1 && c->day <= days[c->month - 1];
}

static int64_t civil_seconds(const struct civil *c)
{
    return tel_days_from_civil(c->year, c->month, c->day) * DAY_S + c->hour * 3600 +
           c->minute * 60 + c->second;
}

static bool to_seconds(struct civil *c, int64_t now_s, int64_t *ret)
{
    if (!days_in_month(c))
        return false;
    if (c->year == 0) {
        int64_t year;
        unsigned month, day;
        tel_civil_from_days(now_s / DAY_S, &year, &month, &day);
        c->year = year + 1;
        while (civil_seconds(c) > now_s + AHEAD_MAX_S && c->year > year - 1)
            c->year--;
    }
    *ret = civil_seconds(c);
    return true;
}

/* The machine's offset at a civil time; asked for once an hour of the log. */
static int32_t machine_zone(struct time_head *cache, int64_t civil_s)
{
    int64_t hour = civil_s / 3600;
    if (!cache->zone_known || cache->zone_hour != hour) {
        struct tm tm;
        time_t guess = (time_t)civil_s;
        cache->zone_s = 0;
        if (localtime_r(&guess, &tm)) {
            guess = (time_t)(civil_s - tm.tm_gmtoff);
            if (localtime_r(&guess, &tm))
                cache->zone_s = (int32_t)tm.tm_gmtoff;
        }
        cache->zone_hour = hour;
        cache->zone_known = true;
    }
    return cache->zone_s;
}

/* Z, +hh:mm, +hhmm, each perhaps behind a blank; UTC, GMT behind a blank. */
static bool zone(struct tel_span s, size_t at, int32_t *ret)
{
    if (at < s.len && (s.ptr[at] == 'Z' || s.ptr[at] == 'z')) {
        *ret = 0;
        return true;
    }
    if (at < s.len && s.ptr[at] == ' ') {
        at++;
        if (s.len - at >= 3 &&
            (memcmp(s.ptr + at, "UTC", 3) == 0 || memcmp(s.ptr + at, "GMT", 3) == 0)) {
            *ret = 0;
            return true;
        }
    }
    unsigned hours, minutes;
    if (s.len - at < 5 || (s.ptr[at] != '+' && s.ptr[at] != '-'))
        return false;
    int32_t sign = s.ptr[at++] == '-' ? -1 : 1;
    if (!number(s, &at, 2, &hours))
        return false;
    (void)literal(s, &at, ':');
    if (!number(s, &at, 2, &minutes) || hours > 14 || minutes > 59 ||
        (at < s.len && digit(s.ptr[at])))
        return false;
    *ret = sign * (int32_t)(hours * 3600 + minutes * 60);
    return true;
}

/* What stands behind the seconds: fraction and zone. */
static bool finish(struct time_head *cache, struct tel_span s, size_t at, int64_t now_ns,
                   int64_t *ret_ns)
{
    int64_t fraction = 0, unit = 100000000;
    if (at + 1 < s.len && (s.ptr[at] == '.' || s.ptr[at] == ',') && digit(s.ptr[at + 1])) {
        for (at++; at < s.len && digit(s.ptr[at]); at++, unit /= 10)
            fraction += (s.ptr[at] - '0') * unit;
    }
    int32_t offset;
    if (cache->fraction_only || !zone(s, at, &offset))
        offset = machine_zone(cache, cache->civil_s);
    int64_t seconds = cache->civil_s - offset;
    if (seconds > now_ns / TEL_NS_PER_S + AHEAD_MAX_S)
        return false;
    *ret_ns = seconds * TEL_NS_PER_S + fraction;
    return true;
}

static bool remember(struct time_head *cache, struct tel_span s, size_t lead, size_t end,
                     struct civil *c, int64_t now_ns)
{
    if (end - lead > sizeof(cache->text) || lead > UINT8_MAX ||
        !to_seconds(c, now_ns / TEL_NS_PER_S, &cache->civil_s)) {
        cache->len = 0;
        return false;
    }
    memcpy(cache->text, s.ptr + lead, end - lead);
    cache->len = (uint8_t)(end - lead);
    cache->lead = (uint8_t)lead;
    return true;
}

typedef bool format_fn(struct tel_span s, size_t *at, struct civil *c);

static bool try_format(struct time_head *cache, struct tel_span s, size_t lead, format_fn *format,
                       bool fraction_only, int64_t now_ns, int64_t *ret_ns)
{
    struct civil c = {0};
    size_t at = lead;
    if (!format(s, &at, &c) || !remember(cache, s, lead, at, &c, now_ns))
        return false;
    cache->fraction_only = fraction_only;
    return finish(cache, s, at, now_ns, ret_ns);
}

/* Seconds, milliseconds, microseconds or nanoseconds since the epoch, told apart by their digits. */
static bool unix_time(struct tel_span s, size_t at, int64_t now_ns, int64_t *ret_ns)
{
    static const int64_t unit_of[20] = {[10] = TEL_NS_PER_S, [13] = TEL_NS_PER_MS,
                                        [16] = TEL_NS_PER_US, [19] = 1};
    uint64_t v = 0;
    size_t start = at;
    for (; at < s.len && digit(s.ptr[at]) && at - start < 20; at++)
        v = v * 10 + (uint64_t)(s.ptr[at] - '0');
    size_t len = at - start;
    if (len >= 20 || !unit_of[len] || s.ptr[start] == '0')
        return false;
    if (at < s.len && s.ptr[at] != '.' && s.ptr[at] != ' ' && s.ptr[at] != '\t' &&
        s.ptr[at] != ']' && s.ptr[at] != ',' && s.ptr[at] != ':' && s.ptr[at] != '"')
        return false;
    int64_t ns = 0, unit = unit_of[len] / 10;
    if (__builtin_mul_overflow((int64_t)v, unit_of[len], &ns))
        return false;
    if (at < s.len && s.ptr[at] == '.')
        for (at++; at < s.len && digit(s.ptr[at]) && unit; at++, unit /= 10)
            ns += (s.ptr[at] - '0') * unit;
    if (ns > now_ns + AHEAD_MAX_S * TEL_NS_PER_S)
        return false;
    *ret_ns = ns;
    return true;
}

static bool at_digit(struct time_head *cache, struct tel_span s, size_t lead, int64_t now_ns,
                     int64_t *ret_ns)
{
    size_t rest = s.len - lead;
    const char *p = s.ptr + lead;
    if (rest >= 19 && (p[4] == '-' || p[4] == '/'))
        return try_format(cache, s, lead, year_first, false, now_ns, ret_ns);
    if (rest >= 17 && p[2] == '/')
        return p[3] >= 'A' ? try_format(cache, s, lead, access_time, false, now_ns, ret_ns)
                           : try_format(cache, s, lead, short_year, false, now_ns, ret_ns);
    if (rest >= 14 && p[2] == '-')
        return try_format(cache, s, lead, month_day, true, now_ns, ret_ns);
    return rest >= 10 && digit(p[9]) && unix_time(s, lead, now_ns, ret_ns);
}

static bool at_letter(struct time_head *cache, struct tel_span s, size_t lead, int64_t now_ns,
                      int64_t *ret_ns)
{
    size_t rest = s.len - lead;
    const char *p = s.ptr + lead;
    if (rest >= 14 && digit(p[1]) && (*p == 'I' || *p == 'W' || *p == 'E' || *p == 'F'))
        return try_format(cache, s, lead + 1, klog_time, true, now_ns, ret_ns);
    if (rest >= 15 && p[3] == ' ')
        return try_format(cache, s, lead, digit(p[4]) || p[4] == ' ' ? syslog_time : weekday, true,
                          now_ns, ret_ns);
    if (rest >= 13 && (memcmp(p, "ts=", 3) == 0 || memcmp(p, "time=", 5) == 0)) {
        lead += p[1] == 's' ? 3 : 5;
        lead += s.ptr[lead] == '"';
        return digit(s.ptr[lead]) && at_digit(cache, s, lead, now_ns, ret_ns);
    }
    return false;
}

/* {"time":"...", with the key anywhere in the head of the line. */
static bool in_json(struct time_head *cache, struct tel_span s, int64_t now_ns, int64_t *ret_ns)
{
    static const struct tel_span keys[] = {TEL_SPAN_INIT("ts\":"), TEL_SPAN_INIT("time\":"),
                                           TEL_SPAN_INIT("timestamp\":"),
                                           TEL_SPAN_INIT("@timestamp\":")};
    const char *end = s.ptr + TEL_MIN(s.len, (size_t)HEAD_MAX), *p = s.ptr;
    while ((p = memchr(p, '"', (size_t)(end - p)))) {
        struct tel_span rest = tel_span_slice(s, (size_t)(++p - s.ptr), s.len);
        for (size_t k = 0; k < TEL_ARRAY_LEN(keys); k++) {
            if (!tel_span_starts(rest, keys[k]))
                continue;
            size_t at = (size_t)(p - s.ptr) + keys[k].len;
            while (at < s.len && (s.ptr[at] == ' ' || s.ptr[at] == '"'))
                at++;
            return at < s.len && digit(s.ptr[at]) && at_digit(cache, s, at, now_ns, ret_ns);
        }
    }
    return false;
}

/* 10.0.0.1 - - [02/Jan/2026:... */
static bool in_brackets(struct time_head *cache, struct tel_span s, int64_t now_ns, int64_t *ret_ns)
{
    const char *end = s.ptr + TEL_MIN(s.len, (size_t)HEAD_MAX), *p = s.ptr;
    while ((p = memchr(p, '[', (size_t)(end - p)))) {
        size_t at = (size_t)(++p - s.ptr);
        if (s.len - at >= 20 && digit(p[0]) && p[2] == '/' && p[3] >= 'A')
            return try_format(cache, s, at, access_time, false, now_ns, ret_ns);
    }
    return false;
}

static bool search(struct time_head *cache, struct tel_span s, int64_t now_ns, int64_t *ret_ns)
{
    size_t at = 0;
    if (s.len < 10)
        return false;
    if (s.ptr[0] == '{')
        return in_json(cache, s, now_ns, ret_ns);
    if (s.ptr[0] == '<') { /* a syslog priority, and the version that RFC 5424 puts behind it */
        const char *close = memchr(s.ptr, '>', 5);
        if (!close || !digit(s.ptr[1]))
            return false;
        at = (size_t)(close + 1 - s.ptr);
        if (s.len - at > 2 && s.ptr[at] == '1' && s.ptr[at + 1] == ' ')
            at += 2;
    } else if (s.ptr[0] == '[') {
        at = 1;
    } else if (s.ptr[0] == '-' && s.ptr[1] == ' ') {
        at = 2;
    }
    if (s.len - at < 10)
        return false;
    char c = s.ptr[at];
    if (digit(c) ? at_digit(cache, s, at, now_ns, ret_ns)
                 : c >= 'A' && at_letter(cache, s, at, now_ns, ret_ns))
        return true;
    return in_brackets(cache, s, now_ns, ret_ns);
}

bool time_head_parse(struct time_head *cache, struct tel_span body, int64_t now_ns, int64_t *ret_ns)
{
    size_t lead = cache->lead, len = cache->len;
    if (TEL_LIKELY(len && body.len >= lead + len &&
                   memcmp(body.ptr + lead, cache->text, len) == 0))
        return finish(cache, body, lead + len, now_ns, ret_ns);
    return search(cache, body, now_ns, ret_ns);
}
