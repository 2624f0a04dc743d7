#include "shard/maintain/budget.h"

#include <math.h>

#include "common/base/clock.h"
#include "common/base/check.h"

/* Nobody waits for longer without looking again. */
#define WAIT_MAX_NS (60 * TEL_NS_PER_S)

void budget_begin(struct budget *b, uint64_t bytes_per_s, double cpu_share, int64_t mono_ns)
{
    *b = (struct budget){.bytes_per_s = bytes_per_s,
                         .cpu_share = cpu_share,
                         .mono_ns = mono_ns,
                         .bytes = (double)bytes_per_s,
                         .cpu_ns = cpu_share * (double)TEL_NS_PER_S};
}

void budget_spend(struct budget *b, uint64_t bytes, int64_t cpu_ns)
{
    b->bytes -= (double)bytes;
    b->cpu_ns -= (double)TEL_MAX(cpu_ns, 0);
}

static void fill(struct budget *b, int64_t mono_ns)
{
    double passed = (double)TEL_MAX(mono_ns - b->mono_ns, 0) / (double)TEL_NS_PER_S;
    double bytes = (double)b->bytes_per_s, cpu_ns = b->cpu_share * (double)TEL_NS_PER_S;
    b->mono_ns = mono_ns;
    b->bytes = fmin(b->bytes + passed * bytes, bytes);
    b->cpu_ns = fmin(b->cpu_ns + passed * cpu_ns, cpu_ns);
}

/* ns until what is owed has come in; rate: of it a second. */
static double wait_for(double left, double rate)
{
    return rate > 0 && left < 0 ? -left / rate * (double)TEL_NS_PER_S : 0;
}

int64_t budget_wait(struct budget *b, int64_t mono_ns)
{
    fill(b, mono_ns);
    double ns = fmax(wait_for(b->bytes, (double)b->bytes_per_s),
                     wait_for(b->cpu_ns, b->cpu_share * (double)TEL_NS_PER_S));
    return (int64_t)ceil(fmin(ns, (double)WAIT_MAX_NS));
}
