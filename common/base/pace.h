/*
 * How a long loop asks whether it may go on: not at every step, which would cost more than many a step,
 * but after every so much work. Work is counted in bytes looked at, or what takes as long: some
 * milliseconds' worth lie between two questions.
 */
#ifndef TEL_BASE_PACE_H
#define TEL_BASE_PACE_H

#include <stdint.h>

#include "common/base/error.h"

#define TEL_PACE_WORK (1u << 20)

/* Belongs to one thread. All zero, or no pace at all (NULL): nobody stops it. */
struct tel_pace {
    tel_code (*stop)(void *ctx); /* TEL_ERR_CANCELLED or TEL_ERR_TIMEOUT ends the work */
    void *ctx;
    uint64_t done; /* since it was asked last */
};

/* Asks at once. */
static inline tel_code tel_pace_ask(struct tel_pace *pace, struct tel_error *err)
{
    tel_code rc = pace && pace->stop ? pace->stop(pace->ctx) : TEL_OK;
    if (pace)
        pace->done = 0;
    return rc == TEL_OK ? rc : tel_error_set(err, rc, "the search was stopped: %s", tel_code_text(rc));
}

/* Before or behind a step of so much work. */
static inline tel_code tel_pace_step(struct tel_pace *pace, uint64_t work, struct tel_error *err)
{
    if (!pace || (pace->done += work) < TEL_PACE_WORK)
        return TEL_OK;
    return tel_pace_ask(pace, err);
}

#endif
