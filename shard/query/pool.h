/*
 * Threads that help searches. A search works on its caller's thread; with many segments to look at
 * it asks for help, and idle threads join in until nothing is left to take. No search waits for a
 * helper: with none idle it is merely slower.
 */
#ifndef SHARD_QUERY_POOL_H
#define SHARD_QUERY_POOL_H

#include "common/base/error.h"

struct pool;

struct pool_job {
    void (*work)(struct pool_job *job); /* takes pieces of work until there are none */
    unsigned wanted;                    /* helpers at most */
    unsigned helping;                   /* the pool's */
    struct pool_job *next;
};

TEL_MUST_USE tel_code pool_new(unsigned threads, struct pool **ret, struct tel_error *err);
void pool_free(struct pool *pool); /* no job is under way; NULL is fine */

/* Works on the job, with help; returns when nobody works on it any more. Any thread. */
void pool_run(struct pool *pool, struct pool_job *job);

#endif
