#include "shard/query/pool.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/sys/thread.h"

struct pool {
    struct tel_mutex lock;
    struct tel_cond wake, left;
    struct pool_job *jobs; /* that want more helpers */
    bool stopping;
    unsigned threads;
    struct tel_thread *workers;
};

/* The lock is held. */
static void unlist(struct pool *pool, struct pool_job *job)
{
    for (struct pool_job **at = &pool->jobs; *at; at = &(*at)->next) {
        if (*at == job) {
            *at = job->next;
            return;
        }
    }
}

static void help(void *arg)
{
    struct pool *pool = arg;
    tel_mutex_lock(&pool->lock);
    while (!pool->stopping) {
        struct pool_job *job = pool->jobs;
        if (!job) {
            tel_cond_wait(&pool->wake, &pool->lock);
            continue;
        }
        job->helping++;
        if (--job->wanted == 0)
            unlist(pool, job);
        tel_mutex_unlock(&pool->lock);
        job->work(job);
        tel_mutex_lock(&pool->lock);
        if (--job->helping == 0)
            tel_cond_broadcast(&pool->left);
    }
    tel_mutex_unlock(&pool->lock);
}

tel_code pool_new(unsigned threads, struct pool **ret, struct tel_error *err)
{
    struct pool *pool = TEL_NEW(struct pool);
    tel_mutex_init(&pool->lock);
    tel_cond_init(&pool->wake);
    tel_cond_init(&pool->left);
    pool->workers = tel_calloc(threads, sizeof(*pool->workers));
    pool->threads = threads;
    for (unsigned i = 0; i < threads; i++) {
        char name[24];
        snprintf(name, sizeof(name), "search-%u", i);
        tel_code rc = tel_thread_start(&pool->workers[i], name, help, pool, err);
        if (rc != TEL_OK) {
            pool_free(pool);
            return rc;
        }
    }
    *ret = pool;
    return TEL_OK;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    tel_mutex_lock(&pool->lock);
    pool->stopping = true;
    tel_cond_broadcast(&pool->wake);
    tel_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->threads; i++)
        tel_thread_join(&pool->workers[i]);
    free(pool->workers);
    tel_cond_done(&pool->wake);
    tel_cond_done(&pool->left);
    tel_mutex_done(&pool->lock);
    free(pool);
}

void pool_run(struct pool *pool, struct pool_job *job)
{
    job->helping = 0;
    if (job->wanted > 0 && pool->threads > 0) {
        tel_mutex_lock(&pool->lock);
        /* Behind the others: whoever came first is helped first. */
        struct pool_job **at = &pool->jobs;
        while (*at)
            at = &(*at)->next;
        job->next = NULL;
        *at = job;
        tel_cond_broadcast(&pool->wake);
        tel_mutex_unlock(&pool->lock);
    }
    job->work(job);
    tel_mutex_lock(&pool->lock);
    unlist(pool, job);
    while (job->helping > 0)
        tel_cond_wait(&pool->left, &pool->lock);
    tel_mutex_unlock(&pool->lock);
}
