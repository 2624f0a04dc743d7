#include "router/replica_health.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/map.h"
#include "common/base/mem.h"

#define AVOID_NS (5 * TEL_NS_PER_S)
#define PROBE_NS (2 * TEL_NS_PER_S) /* how long others wait for the word of the one that tries */

struct replica_health {
    const struct tel_clock *clock;
    pthread_mutex_t lock;
    struct tel_map bad; /* address -> monotonic ns until which it is avoided */
};

struct replica_health *replica_health_new(const struct tel_clock *clock)
{
    struct replica_health *h = TEL_NEW(struct replica_health);
    h->clock = clock;
    pthread_mutex_init(&h->lock, NULL);
    tel_map_init(&h->bad);
    return h;
}

void replica_health_free(struct replica_health *h)
{
    if (!h)
        return;
    tel_map_free(&h->bad);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

bool replica_health_avoid(struct replica_health *h, const char *address)
{
    bool avoid = false;
    pthread_mutex_lock(&h->lock);
    uint64_t *until = h->bad.len ? tel_map_get(&h->bad, tel_span_cstr(address)) : NULL;
    if (until) {
        int64_t now = tel_mono_ns(h->clock);
        avoid = now < (int64_t)*until;
        if (!avoid)
            *until = (uint64_t)(now + PROBE_NS);
    }
    pthread_mutex_unlock(&h->lock);
    return avoid;
}

void replica_health_bad(struct replica_health *h, const char *address)
{
    pthread_mutex_lock(&h->lock);
    *tel_map_put(&h->bad, tel_span_cstr(address), NULL) =
        (uint64_t)(tel_mono_ns(h->clock) + AVOID_NS);
    pthread_mutex_unlock(&h->lock);
}

void replica_health_good(struct replica_health *h, const char *address)
{
    pthread_mutex_lock(&h->lock);
    if (h->bad.len)
        tel_map_remove(&h->bad, tel_span_cstr(address));
    pthread_mutex_unlock(&h->lock);
}
