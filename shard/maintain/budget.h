/*
 * What background work may take: bytes read and written a second, and a share of one CPU's time. Two
 * buckets that fill as time passes, up to a second's worth. Work is never cut short: a piece may be
 * begun while neither bucket is below zero, what it took is put down behind it, and then nothing is begun
 * until what is owed has come in.
 *
 *     bytes   +64M ──────╮ a merge of 90 MB              ╭──────
 *        0    ───────────┼───────────────────────────────╯ the next one may begin
 *      -26M              ╰───────────────────────
 *
 * Belongs to one thread; a function of what it is given.
 */
#ifndef SHARD_MAINTAIN_BUDGET_H
#define SHARD_MAINTAIN_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct budget {
    uint64_t bytes_per_s; /* 0: no limit */
    double cpu_share;     /* of one CPU: 0.5 is half of it; 0: no limit */
    int64_t mono_ns;      /* when the buckets were filled last */
    double bytes, cpu_ns; /* what is in them; below zero: owed */
};

void budget_begin(struct budget *budget, uint64_t bytes_per_s, double cpu_share, int64_t mono_ns);
/* Puts down what a piece of work took. */
void budget_spend(struct budget *budget, uint64_t bytes, int64_t cpu_ns);
/* How long until the next piece may begin, in ns; 0: now. */
int64_t budget_wait(struct budget *budget, int64_t mono_ns);

#endif
