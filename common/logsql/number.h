/*
 * Numbers as LogsQL reads and writes them: integers with '_' between digits, decimals, durations
 * (1h33m55s), short forms (10KiB), IPv4 addresses and times. Every value of a log field is text;
 * these say when a text counts as a number, and print numbers back. Pure functions, any thread.
 */
#ifndef TEL_LOGSQL_NUMBER_H
#define TEL_LOGSQL_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/span.h"

/* All fill the whole span or return false with *ret untouched. */
bool tel_number_u64(struct tel_span s, uint64_t *ret); /* 1_000; no leading zeros */
bool tel_number_i64(struct tel_span s, int64_t *ret);
bool tel_number_decimal(struct tel_span s, double *ret);   /* -12.5; no exponent */
bool tel_number_duration(struct tel_span s, int64_t *ret); /* 1h5m, in nanoseconds; saturates */
bool tel_number_bytes(struct tel_span s, int64_t *ret);    /* 1.5KiB; saturates */
bool tel_number_ipv4(struct tel_span s, uint32_t *ret);
/* "1.2.3.4" or "1.2.3.0/24" as an inclusive range. */
bool tel_number_cidr(struct tel_span s, uint32_t *ret_min, uint32_t *ret_max);
/* "hh:mm" or "hhmm" in nanoseconds. */
bool tel_number_hhmm(struct tel_span s, int64_t *ret);
/* Non-negative integers in arguments of pipes and filters: decimal, 0x, 0o, 0b, "inf", 10K, 5s. */
bool tel_number_uint_arg(struct tel_span s, uint64_t *ret);
/* Full RFC 3339 timestamps (date and time to the second at least); without a zone: UTC. */
bool tel_number_time(struct tel_span s, int64_t *ret_ns);

/* What stats functions and comparisons take for a number: decimal, duration, short form, then what
 * strtod reads, hexadecimal, octal and binary. */
bool tel_number_parse(struct tel_span s, double *ret);
/* The same, and times (nanoseconds) and IPv4 addresses: what `math` and `range` take. */
bool tel_number_parse_any(struct tel_span s, double *ret);
/* Does s look like the start of a number? */
bool tel_number_prefix(struct tel_span s);

/* The shortest decimal form without exponent that reads back as f; NaN, +Inf, -Inf. */
void tel_number_print(struct tel_buf *out, double f);
/* 1h33m55.5s; 0 is "0". */
void tel_number_print_duration(struct tel_buf *out, int64_t ns);
void tel_number_print_ipv4(struct tel_buf *out, uint32_t ip);

#endif
