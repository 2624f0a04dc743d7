/*
 * Dates as text. Proleptic Gregorian calendar, years 1678 to 2261 (what 64-bit nanoseconds hold).
 * Civil-date arithmetic after Howard Hinnant, "chrono-compatible low-level date algorithms".
 */
#ifndef TEL_BASE_TIMEFMT_H
#define TEL_BASE_TIMEFMT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/span.h"

#define TEL_TIME_TEXT_MAX 40

/* Days since 1970-01-01 of a civil date; month and day from 1. */
int64_t tel_days_from_civil(int64_t year, unsigned month, unsigned day);
void tel_civil_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day);

/* The UTC day (days since the epoch, floor) of a time. */
static inline int64_t tel_day_of(int64_t time_ns)
{
    const int64_t day = INT64_C(86400000000000);
    return time_ns / day - (time_ns % day < 0);
}

/* "2026-01-02T03:04:05.000000006Z": always UTC; the fraction has 9 digits, without trailing zeros,
 * and is left out when it is zero. Returns the length; out has TEL_TIME_TEXT_MAX bytes and is
 * NUL-terminated. */
size_t tel_time_format(char *out, int64_t time_ns);

/* RFC 3339, with what people write: date alone, 'T' or space, seconds and fraction (. or ,; up to 9
 * digits used) optional, zone Z, +hh:mm, +hhmm or none (UTC). Must fill the span. False on anything
 * else or out of range. */
bool tel_time_parse(struct tel_span s, int64_t *ret_ns);

/* As tel_time_parse, but for a prefix of s: *ret_len is how much of s was used. */
bool tel_time_parse_prefix(struct tel_span s, int64_t *ret_ns, size_t *ret_len);

#endif
