/* Internal to the fan-out: its state, and what fanout.c and fanout_source.c do for each other. */
#ifndef ROUTER_FANOUT_INTERNAL_H
#define ROUTER_FANOUT_INTERNAL_H

#include "common/base/clock.h"
#include "common/base/vec.h"
#include "router/fanout.h"

/* A partition. */
struct part {
    const struct shard_replicas *replicas;
    uint32_t tried; /* bit i: replica (turn + i) has been asked */
    bool missing, done, late;
    int64_t watermark; /* of the server that is done with it */
    char *why; /* the last failure, or what is missing */
};

/* A server's answer to one search. */
struct fanout_source {
    struct fanout *fanout;
    struct fanout_source *prev, *next;
    struct shard_search *search; /* NULL once it has ended */
    const char *address;
    TEL_VEC(struct part *) parts;
    TEL_VEC(struct rows *) queue; /* [head, len) */
    size_t head, queued_bytes;
    int64_t started_ns, first_ns, ended_ns;
    uint64_t rows_got, batches_got, bytes_got;
    char *why;                            /* it failed */
    Telescope__Shard__V1__SearchEnd *end; /* kept for explain */
    struct tel_buf key;                   /* of its reply in the cache; empty: not kept */
    struct reply *kept, *record;          /* of earlier, to be taken if nothing has changed; this one's */
    struct fanout_source *rival_of; /* whoever speaks first is kept */
    bool spoke, unchanged, ended, dead, consumed, paused, hedged;
};

struct fanout {
    struct fanout_options o;
    struct shard_gather *gather;
    struct part *parts;
    size_t part_count;
    struct fanout_source *sources; /* dead ones too, until they are freed */
    TEL_VEC(char *) missing;
    TEL_VEC(const char *) avoid; /* servers to ask last */
    bool enough, settled;
    struct tel_error error; /* of the query itself */
    struct fanout_totals totals;
};

static inline int64_t fanout_now_ns(void)
{
    return tel_mono_ns(tel_clock_system());
}

static inline bool fanout_source_has_rows(const struct fanout_source *s)
{
    return !s->dead && s->head < s->queue.len;
}

/* fanout_source.c */

void fanout_budget_earn(struct fanout_budget *budget);
void fanout_part_why(struct part *part, const char *text);
/* Starts searches for these parts on their next replicas, one per server; parts without one are
 * missing. rival_of: the source that the new ones compete with, or NULL. */
void fanout_plan(struct fanout *f, struct part **parts, size_t count,
                 struct fanout_source *rival_of);
/* Asks other replicas of what has been silent for too long. */
void fanout_hedge(struct fanout *f);
void fanout_source_clear(struct fanout_source *source);
/* Ends a source whose answer is not wanted any more. It is freed with the fanout. */
void fanout_source_kill(struct fanout_source *source);
void fanout_source_free(struct fanout_source *source);

#endif
