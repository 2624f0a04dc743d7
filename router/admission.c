#include "router/admission.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/mem.h"

struct waiter {
    struct waiter *prev, *next; /* in the order of arrival */
    struct tel_span tenant;
    pthread_cond_t go;
    bool admitted;
};

struct admission {
    pthread_mutex_t lock;
    unsigned running_max, waiting_max;
    unsigned running, waiting;
    struct tel_map by_tenant; /* -> running */
    struct waiter *first, *last;
};

struct admission *admission_new(unsigned running_max, unsigned waiting_max)
{
    struct admission *a = TEL_NEW(struct admission);
    a->running_max = running_max;
    a->waiting_max = waiting_max;
    pthread_mutex_init(&a->lock, NULL);
    tel_map_init(&a->by_tenant);
    return a;
}

void admission_free(struct admission *a)
{
    if (!a)
        return;
    tel_map_free(&a->by_tenant);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

static uint64_t running_of(const struct admission *a, struct tel_span tenant)
{
    const uint64_t *n = tel_map_get(&a->by_tenant, tenant);
    return n ? *n : 0;
}

static void run(struct admission *a, struct tel_span tenant)
{
    a->running++;
    ++*tel_map_put(&a->by_tenant, tenant, NULL);
}

static void unlink_waiter(struct admission *a, struct waiter *w)
{
    *(w->prev ? &w->prev->next : &a->first) = w->next;
    *(w->next ? &w->next->prev : &a->last) = w->prev;
    a->waiting--;
}

/* Gives free places to waiters, fairly. Under the lock. */
static void admit(struct admission *a)
{
    while (a->running < a->running_max && a->first) {
        struct waiter *best = a->first;
        uint64_t least = running_of(a, best->tenant);
        for (struct waiter *w = best->next; w && least > 0; w = w->next) {
            uint64_t n = running_of(a, w->tenant);
            if (n < least) {
                best = w;
                least = n;
            }
        }
        unlink_waiter(a, best);
        run(a, best->tenant);
        best->admitted = true;
        pthread_cond_signal(&best->go);
    }
}

static void waiter_init(struct waiter *w, struct tel_span tenant)
{
    *w = (struct waiter){.tenant = tenant};
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->go, &attr);
    pthread_condattr_destroy(&attr);
}

tel_code admission_enter(struct admission *a, struct tel_span tenant, int wait_ms,
                         struct tel_error *err)
{
    pthread_mutex_lock(&a->lock);
    if (a->running < a->running_max && !a->first) {
        run(a, tenant);
        pthread_mutex_unlock(&a->lock);
        return TEL_OK;
    }
    if (a->waiting >= a->waiting_max) {
        unsigned waiting = a->waiting;
        pthread_mutex_unlock(&a->lock);
        return tel_error_set(err, TEL_ERR_AGAIN, "%u queries wait already", waiting);
    }
    struct waiter w;
    waiter_init(&w, tenant);
    w.prev = a->last;
    *(w.prev ? &w.prev->next : &a->first) = &w;
    a->last = &w;
    a->waiting++;
    int64_t until = tel_mono_ns(tel_clock_system()) + wait_ms * TEL_NS_PER_MS;
    struct timespec ts = {.tv_sec = until / TEL_NS_PER_S, .tv_nsec = until % TEL_NS_PER_S};
    int rc = 0;
    while (!w.admitted && rc == 0)
        rc = pthread_cond_timedwait(&w.go, &a->lock, &ts);
    if (!w.admitted)
        unlink_waiter(a, &w);
    pthread_mutex_unlock(&a->lock);
    pthread_cond_destroy(&w.go);
    if (w.admitted)
        return TEL_OK;
    return tel_error_set(err, TEL_ERR_AGAIN, "no turn within %d ms: %u queries run at once",
                         wait_ms, a->running_max);
}

void admission_leave(struct admission *a, struct tel_span tenant)
{
    pthread_mutex_lock(&a->lock);
    a->running--;
    uint64_t *n = tel_map_get(&a->by_tenant, tenant);
    if (n && *n > 0)
        --*n;
    if (n && *n == 0)
        tel_map_remove(&a->by_tenant, tenant);
    admit(a);
    pthread_mutex_unlock(&a->lock);
}

void admission_counts(struct admission *a, unsigned *ret_running, unsigned *ret_waiting)
{
    pthread_mutex_lock(&a->lock);
    *ret_running = a->running;
    *ret_waiting = a->waiting;
    pthread_mutex_unlock(&a->lock);
}
