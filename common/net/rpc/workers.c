/* Worker threads over one bounded queue of jobs. */
#include "common/net/rpc/workers.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/mem.h"

struct job {
    void (*run)(void *arg);
    void *arg;
};

struct tel_rpc_workers {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct job *ring; /* [head, head + count) modulo cap */
    size_t cap, head, count, busy;
    bool closing;
    pthread_t *threads;
    unsigned thread_count;
};

static void *worker(void *arg)
{
    struct tel_rpc_workers *w = arg;
    pthread_setname_np(pthread_self(), "rpc-worker");
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (w->count == 0 && !w->closing)
            pthread_cond_wait(&w->wake, &w->lock);
        if (w->count == 0)
            break;
        struct job job = w->ring[w->head];
        w->head = (w->head + 1) % w->cap;
        w->count--;
        w->busy++;
        pthread_mutex_unlock(&w->lock);
        job.run(job.arg);
        pthread_mutex_lock(&w->lock);
        w->busy--;
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

tel_code tel_rpc_workers_new(unsigned threads, unsigned queue_max, struct tel_rpc_workers **ret,
                             struct tel_error *err)
{
    struct tel_rpc_workers *w = TEL_NEW(struct tel_rpc_workers);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    /* A job for an idle thread does not count as waiting, hence the room for both. */
    w->cap = (size_t)queue_max + threads;
    w->ring = tel_calloc(w->cap, sizeof(*w->ring));
    w->threads = tel_calloc(threads, sizeof(*w->threads));
    for (unsigned i = 0; i < threads; i++) {
        int failed = pthread_create(&w->threads[i], NULL, worker, w);
        if (failed) {
            tel_rpc_workers_free(w);
            return tel_error_errno(err, failed, "start a worker thread");
        }
        w->thread_count++;
    }
    *ret = w;
    return TEL_OK;
}

bool tel_rpc_workers_dispatch(void *workers, void (*run)(void *arg), void *arg)
{
    struct tel_rpc_workers *w = workers;
    pthread_mutex_lock(&w->lock);
    bool room = w->count + w->busy < w->cap; /* a thread that is yet to wake is not busy */
    if (room) {
        w->ring[(w->head + w->count++) % w->cap] = (struct job){run, arg};
        pthread_cond_signal(&w->wake);
    }
    pthread_mutex_unlock(&w->lock);
    return room;
}

void tel_rpc_workers_free(struct tel_rpc_workers *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->closing = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->thread_count; i++)
        pthread_join(w->threads[i], NULL);
    free(w->threads);
    free(w->ring);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
