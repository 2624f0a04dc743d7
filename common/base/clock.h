/*
 * Time, injectable. Wall time is nanoseconds since the Unix epoch and may jump; monotonic time is
 * nanoseconds since some start and never goes back: deadlines use that.
 */
#ifndef TEL_BASE_CLOCK_H
#define TEL_BASE_CLOCK_H

#include <stdint.h>

#define TEL_NS_PER_US  INT64_C(1000)
#define TEL_NS_PER_MS  INT64_C(1000000)
#define TEL_NS_PER_S   INT64_C(1000000000)
#define TEL_NS_PER_DAY (INT64_C(86400) * TEL_NS_PER_S)

struct tel_clock {
    int64_t (*wall_ns)(const struct tel_clock *clock);
    int64_t (*mono_ns)(const struct tel_clock *clock);
};

/* The machine's clock. Any thread. */
const struct tel_clock *tel_clock_system(void);

static inline int64_t tel_wall_ns(const struct tel_clock *clock)
{
    return clock->wall_ns(clock);
}

static inline int64_t tel_mono_ns(const struct tel_clock *clock)
{
    return clock->mono_ns(clock);
}

/* A clock that stands still until it is told otherwise, for tests and simulations. */
struct tel_clock_manual {
    struct tel_clock clock; /* pass &manual.clock */
    int64_t wall, mono;
};

void tel_clock_manual_init(struct tel_clock_manual *manual, int64_t wall_ns);
void tel_clock_manual_advance(struct tel_clock_manual *manual, int64_t ns);

#endif
