/*
 * The time that retention goes by. A machine's clock may jump by years (a dead battery, a wrong NTP
 * server), and retention by age would then delete everything within a second. So this clock follows
 * the machine's as long as that goes on as the monotonic one does, give or take a day; a jump forward
 * of more than that is believed only when it has lasted for the confirmation time (a day) of running.
 * Meanwhile this clock goes on from where it was, and the server says so. A jump back is followed at
 * once: it deletes nothing.
 *
 *     machine   ────────┐ jump of a year ┌───────────────────
 *     this      ────────┘────────────────┘ believed
 *
 * How far it is, and how long a jump has lasted, is kept over restarts in DIR/CLOCK. Without that file
 * the newest event that is stored is taken for the time at which the server last ran.
 *
 * Belongs to the maintenance thread; it is a function of what it is given.
 */
#ifndef SHARD_MAINTAIN_CLOCK_H
#define SHARD_MAINTAIN_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

struct retention_clock {
    int64_t now_ns;     /* since the epoch */
    int64_t held_ns;    /* for how long a jump has been seen; 0: there is none */
    int64_t confirm_ns; /* how long it must last */
    int64_t mono_ns;    /* at the last tick */
    int64_t saved_ns;   /* monotonic, of the last save; INT64_MIN: never */
};

/* wall_ns and mono_ns are the machine's. newest_ns: of the events that are stored; INT64_MIN: none. */
void retention_clock_begin(struct retention_clock *clock, int64_t wall_ns, int64_t mono_ns,
                           int64_t newest_ns, int64_t confirm_ns);
/* Puts what the file says in place of what retention_clock_begin found. TEL_ERR_NOTFOUND without one;
 * TEL_ERR_CORRUPT: it is not such a file, and nothing has changed. */
TEL_MUST_USE tel_code retention_clock_load(struct retention_clock *clock, const char *dir,
                                           int64_t wall_ns, struct tel_error *err);
/* True when a jump begins, or ends, by being believed or undone: worth a line in the log. */
bool retention_clock_tick(struct retention_clock *clock, int64_t wall_ns, int64_t mono_ns);
/* Writes the file when the last one is an hour old, or if `force`. */
TEL_MUST_USE tel_code retention_clock_save(struct retention_clock *clock, const char *dir,
                                           bool force, struct tel_error *err);

#endif
