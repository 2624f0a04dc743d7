#include "router/replica_health.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

#define PROBE_NS (2 * TEL_NS_PER_S)

struct replica_health {
    const struct tel_clock *clock;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct tel_map bad; /* address -> monotonic ns of its next probe */
    bool closed;
};

struct replica_health *replica_health_new(const struct tel_clock *clock)
{
    struct replica_health *h = TEL_NEW(struct replica_health);
    h->clock = clock;
    pthread_mutex_init(&h->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&h->changed, &attr);
    pthread_condattr_destroy(&attr);
    tel_map_init(&h->bad);
    return h;
}

void replica_health_free(struct replica_health *h)
{
    if (!h)
        return;
    tel_map_free(&h->bad);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

bool replica_health_avoid(struct replica_health *h, const char *address)
{
    pthread_mutex_lock(&h->lock);
    bool avoid = h->bad.len && tel_map_get(&h->bad, tel_span_cstr(address));
    pthread_mutex_unlock(&h->lock);
    return avoid;
}

void replica_health_bad(struct replica_health *h, const char *address)
{
    pthread_mutex_lock(&h->lock);
    bool is_new;
    uint64_t *probe = tel_map_put(&h->bad, tel_span_cstr(address), &is_new);
    if (is_new) { /* more failures put the probe off no further */
        *probe = (uint64_t)(tel_mono_ns(h->clock) + PROBE_NS);
        pthread_cond_signal(&h->changed);
    }
    pthread_mutex_unlock(&h->lock);
}

void replica_health_good(struct replica_health *h, const char *address)
{
    pthread_mutex_lock(&h->lock);
    if (h->bad.len)
        tel_map_remove(&h->bad, tel_span_cstr(address));
    pthread_mutex_unlock(&h->lock);
}

/* ---- for the probe --------------------------------------------------------------------------- */

bool replica_health_wait(struct replica_health *h)
{
    pthread_mutex_lock(&h->lock);
    while (!h->closed) {
        uint64_t first = UINT64_MAX;
        const struct tel_map_slot *slot;
        for (size_t i = 0; (slot = tel_map_next(&h->bad, &i));)
            first = TEL_MIN(first, slot->value);
        if (first == UINT64_MAX) {
            pthread_cond_wait(&h->changed, &h->lock);
            continue;
        }
        if (tel_mono_ns(h->clock) >= (int64_t)first)
            break;
        struct timespec until = {.tv_sec = (int64_t)first / TEL_NS_PER_S,
                                 .tv_nsec = (int64_t)first % TEL_NS_PER_S};
        pthread_cond_timedwait(&h->changed, &h->lock, &until);
    }
    bool open = !h->closed;
    pthread_mutex_unlock(&h->lock);
    return open;
}

size_t replica_health_due(struct replica_health *h, const char *const *addresses, size_t count,
                          const char **ret)
{
    size_t due = 0;
    pthread_mutex_lock(&h->lock);
    int64_t now = tel_mono_ns(h->clock);
    for (size_t i = 0; i < count; i++) {
        uint64_t *probe = tel_map_get(&h->bad, tel_span_cstr(addresses[i]));
        if (!probe || now < (int64_t)*probe)
            continue;
        *probe = (uint64_t)(now + PROBE_NS);
        ret[due++] = addresses[i];
    }
    TEL_VEC(struct tel_span) gone = {0};
    const struct tel_map_slot *slot;
    for (size_t i = 0; (slot = tel_map_next(&h->bad, &i));)
        if (now >= (int64_t)slot->value)
            tel_vec_push(&gone, slot->key);
    for (size_t i = 0; i < gone.len; i++)
        tel_map_remove(&h->bad, gone.items[i]);
    tel_vec_free(&gone);
    pthread_mutex_unlock(&h->lock);
    return due;
}

void replica_health_close(struct replica_health *h)
{
    pthread_mutex_lock(&h->lock);
    h->closed = true;
    pthread_cond_signal(&h->changed);
    pthread_mutex_unlock(&h->lock);
}
