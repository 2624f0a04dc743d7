/*
 * grpc.health.v1: Check answers at once, Watch sends the state and every change of it. A watcher
 * whose client does not read misses states between, never the last: the newest is sent when its
 * window has room again, at the next change.
 */
#include <stdlib.h>

#include "common/net/rpc/health.pb-c.h"
#include "common/net/rpc/server_internal.h"

#define WATCHERS_MAX 256

extern const unsigned char tel_rpc_health_pb[];
extern const size_t tel_rpc_health_pb_len;

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving_status;
#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

struct watcher {
    struct rpc_health *health;
    struct watcher *next;
    struct tel_rpc_call *call;
    char *service;
    serving_status sent;
};

struct rpc_health {
    Grpc__Health__V1__Health_Service base; /* first: handlers get a pointer to it */
    pthread_mutex_t lock;
    struct tel_map states; /* service -> serving_status */
    struct watcher *watchers;
    size_t watcher_count;
    bool draining;
};

static serving_status health_state(const struct rpc_health *h, const char *service)
{
    const uint64_t *state = tel_map_get(&h->states, tel_span_cstr(service));
    return state ? (serving_status)*state : STATUS(SERVICE_UNKNOWN);
}

static void health_check(Grpc__Health__V1__Health_Service *self,
                         const Grpc__Health__V1__HealthCheckRequest *req,
                         Grpc__Health__V1__HealthCheckResponse_Closure reply, void *data)
{
    struct rpc_health *h = (struct rpc_health *)self;
    pthread_mutex_lock(&h->lock);
    serving_status state = health_state(h, req->service);
    pthread_mutex_unlock(&h->lock);
    if (state == STATUS(SERVICE_UNKNOWN)) {
        tel_rpc_finish(data, TEL_RPC_NOT_FOUND, "no such service");
        return;
    }
    Grpc__Health__V1__HealthCheckResponse res = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    res.status = state;
    reply(&res, data);
}

/* Under the lock. */
static void watcher_send(struct watcher *w, serving_status state)
{
    if (state == w->sent)
        return;
    Grpc__Health__V1__HealthCheckResponse res = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    res.status = state;
    if (tel_rpc_send(w->call, &res.base) == TEL_OK)
        w->sent = state;
}

/* Takes w off the list. Under the lock. */
static void watcher_unlink(struct watcher *w)
{
    for (struct watcher **p = &w->health->watchers; *p; p = &(*p)->next) {
        if (*p == w) {
            *p = w->next;
            w->health->watcher_count--;
            return;
        }
    }
}

static void watcher_gone(void *ctx)
{
    struct watcher *w = ctx;
    pthread_mutex_lock(&w->health->lock);
    watcher_unlink(w);
    pthread_mutex_unlock(&w->health->lock);
    tel_rpc_finish(w->call, TEL_RPC_UNAVAILABLE, "the server stops");
    free(w->service);
    free(w);
}

static void health_watch(Grpc__Health__V1__Health_Service *self,
                         const Grpc__Health__V1__HealthCheckRequest *req,
                         Grpc__Health__V1__HealthCheckResponse_Closure reply, void *data)
{
    (void)reply;
    struct rpc_health *h = (struct rpc_health *)self;
    struct watcher *w = TEL_NEW(struct watcher);
    *w = (struct watcher){.health = h, .call = data, .service = tel_strdup(req->service)};
    pthread_mutex_lock(&h->lock);
    bool room = h->watcher_count < WATCHERS_MAX;
    if (room) {
        w->next = h->watchers;
        h->watchers = w;
        h->watcher_count++;
        watcher_send(w, health_state(h, w->service));
    }
    pthread_mutex_unlock(&h->lock);
    if (!room) {
        tel_rpc_finish(w->call, TEL_RPC_RESOURCE_EXHAUSTED, "too many watchers");
        free(w->service);
        free(w);
    } else if (!tel_rpc_call_on_cancel(w->call, watcher_gone, w)) {
        watcher_gone(w);
    }
}

struct rpc_health *rpc_health_new(struct tel_rpc_server *server)
{
    (void)server;
    struct rpc_health *h = TEL_NEW(struct rpc_health);
    grpc__health__v1__health__init(&h->base, NULL);
    h->base.check = health_check;
    h->base.watch = health_watch;
    pthread_mutex_init(&h->lock, NULL);
    tel_map_init(&h->states);
    return h;
}

ProtobufCService *rpc_health_service(struct rpc_health *health)
{
    return &health->base.base;
}

struct tel_span rpc_health_descriptor_set(void)
{
    return tel_span_make(tel_rpc_health_pb, tel_rpc_health_pb_len);
}

void rpc_health_set(struct rpc_health *h, const char *service, bool serving)
{
    pthread_mutex_lock(&h->lock);
    serving_status state = serving && !h->draining ? STATUS(SERVING) : STATUS(NOT_SERVING);
    *tel_map_put(&h->states, tel_span_cstr(service), NULL) = state;
    for (struct watcher *w = h->watchers; w; w = w->next)
        if (strcmp(w->service, service) == 0)
            watcher_send(w, state);
    pthread_mutex_unlock(&h->lock);
}

void rpc_health_drain(struct rpc_health *h)
{
    pthread_mutex_lock(&h->lock);
    h->draining = true;
    struct tel_map_slot *slot;
    for (size_t i = 0; (slot = tel_map_next(&h->states, &i));)
        slot->value = STATUS(NOT_SERVING);
    for (struct watcher *w = h->watchers; w; w = w->next)
        watcher_send(w, health_state(h, w->service));
    pthread_mutex_unlock(&h->lock);
}

void rpc_health_free(struct rpc_health *h)
{
    if (!h)
        return;
    tel_map_free(&h->states);
    pthread_mutex_destroy(&h->lock);
    free(h);
}
