/*
 * Finds the time at the head of a line:
 *
 *     2026-01-02T03:04:05.678Z   2026-01-02 03:04:05,678   2026/01/02 03:04:05   (with or without zone)
 *     Jan  2 03:04:05            01-02 03:04:05.678        26/01/02 03:04:05
 *     [Fri Jan 02 03:04:05 2026] I0102 03:04:05.678901     1767323045[.678]      1767323045678
 *     10.0.0.1 - - [02/Jan/2026:03:04:05 +0000]            ts=..., {"time":"..."}
 *
 * behind an optional '[', '<13>', '- '. Where there is no zone the machine's applies; where there is
 * no year, the one that puts the time nearest before now. What lies more than a day ahead of now, or
 * is no date, is no time.
 *
 * Lines of one source mostly have the format of the line before, and within one second also its text,
 * so that is tried first: one comparison and the fraction.
 */
#ifndef SIDECAR_TIME_HEAD_H
#define SIDECAR_TIME_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/span.h"

/* Per source; all zero to begin. One thread. */
struct time_head {
    char text[28];     /* date and time down to the second, as the last line had it */
    uint8_t len;       /* of text; 0: none yet */
    uint8_t lead;      /* bytes before it */
    bool fraction_only; /* no zone can follow (klog, syslog) */
    int64_t civil_s;   /* its seconds, read as if it were UTC */
    int64_t zone_hour; /* the hour (civil) for which zone_s holds */
    int32_t zone_s;    /* the machine's offset from UTC */
    bool zone_known;
};

/* False if the body does not begin with a time. now_ns is wall time. */
bool time_head_parse(struct time_head *cache, struct tel_span body, int64_t now_ns,
                     int64_t *ret_ns);

#endif
