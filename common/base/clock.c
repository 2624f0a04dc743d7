#include "common/base/clock.h"

#include <stddef.h>
#include <time.h>

#include "common/base/check.h"

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;
    TEL_CHECK(clock_gettime(id, &ts) == 0);
    return (int64_t)ts.tv_sec * TEL_NS_PER_S + ts.tv_nsec;
}

static int64_t system_wall(const struct tel_clock *clock)
{
    (void)clock;
    return read_clock(CLOCK_REALTIME);
}

static int64_t system_mono(const struct tel_clock *clock)
{
    (void)clock;
    return read_clock(CLOCK_MONOTONIC);
}

const struct tel_clock *tel_clock_system(void)
{
    static const struct tel_clock clock = {system_wall, system_mono};
    return &clock;
}

static int64_t manual_wall(const struct tel_clock *clock)
{
    return ((const struct tel_clock_manual *)(const void *)clock)->wall;
}

static int64_t manual_mono(const struct tel_clock *clock)
{
    return ((const struct tel_clock_manual *)(const void *)clock)->mono;
}

void tel_clock_manual_init(struct tel_clock_manual *manual, int64_t wall_ns)
{
    _Static_assert(offsetof(struct tel_clock_manual, clock) == 0, "the casts above rely on it");
    *manual = (struct tel_clock_manual){.clock = {manual_wall, manual_mono}, .wall = wall_ns};
}

void tel_clock_manual_advance(struct tel_clock_manual *manual, int64_t ns)
{
    TEL_CHECK(ns >= 0);
    manual->wall += ns;
    manual->mono += ns;
}
