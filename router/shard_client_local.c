/*
 * A job (a search or a status) has two ends: the gather's thread, which takes its rows and its end
 * off in run, and a pool thread, which makes them. What passes between them is under the gather's
 * mutex. A job is freed when both ends have let go of it.
 */
#include "router/shard_client_local.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

#define QUEUE_BATCHES 8u

struct local_gather;

struct local_search {
    struct shard_search base;         /* first */
    struct local_search *prev, *next; /* in the gather, by its thread */
    struct local_search *queued;      /* in the pool's queue */
    struct local_gather *gather;
    const struct local_shard *shard;
    Telescope__Shard__V1__SearchRequest *request;
    Telescope__Shard__V1__StatusRequest *status_request;
    const struct shard_events *events;
    void (*status_done)(void *user, const Telescope__Shard__V1__StatusResponse *status,
                        const struct tel_error *err);
    void *user;
    int64_t deadline_ns;
    _Atomic bool cancelled;
    _Atomic int refs; /* 2: both ends */
    bool ended;       /* the gather's thread has fired the end */
    /* under the gather's lock */
    Telescope__Shard__V1__RowBatch *rows[QUEUE_BATCHES];
    unsigned head, count;
    bool paused, finished;
    tel_code code;
    struct tel_error err;
    Telescope__Shard__V1__SearchEnd *end;
    Telescope__Shard__V1__StatusResponse *status;
};

struct local_gather {
    struct shard_gather base; /* first */
    struct shard_client_local *local;
    struct local_search *searches;
    size_t live;
    _Atomic int refs; /* the query's thread and every job */
    pthread_mutex_t lock;
    pthread_cond_t news; /* for the gather's thread */
    pthread_cond_t room; /* for the pool's */
    bool woken;
};

struct shard_client_local {
    struct shard_client base; /* first */
    struct tel_map shards;    /* address -> struct local_shard * */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct local_search *first, **last; /* jobs that wait for a thread */
    bool closing;
    pthread_t *threads;
    unsigned thread_count;
};

static int64_t now_ns(void)
{
    return tel_mono_ns(tel_clock_system());
}

static struct timespec abs_time(int64_t mono_ns)
{
    return (struct timespec){.tv_sec = mono_ns / TEL_NS_PER_S, .tv_nsec = mono_ns % TEL_NS_PER_S};
}

static void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

static void gather_unref(struct local_gather *g)
{
    if (atomic_fetch_sub(&g->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&g->lock);
    pthread_cond_destroy(&g->news);
    pthread_cond_destroy(&g->room);
    free(g);
}

static void message_free(void *message)
{
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

static void job_unref(struct local_search *s)
{
    if (atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    while (s->count > 0) {
        message_free(s->rows[s->head]);
        s->head = (s->head + 1) % QUEUE_BATCHES;
        s->count--;
    }
    message_free(s->end);
    message_free(s->status);
    message_free(s->request);
    message_free(s->status_request);
    gather_unref(s->gather);
    free(s);
}

/* ---- the pool's side ------------------------------------------------------------------------- */

static void job_run(struct local_search *s)
{
    tel_code rc;
    struct tel_error err = {0};
    Telescope__Shard__V1__SearchEnd *end = NULL;
    Telescope__Shard__V1__StatusResponse *status = NULL;
    if (atomic_load(&s->cancelled))
        rc = tel_error_set(&err, TEL_ERR_CANCELLED, "cancelled");
    else if (!s->shard)
        rc = tel_error_set(&err, TEL_ERR_UNAVAILABLE, "there is no such shard in this process");
    else if (s->request)
        rc = s->shard->search(s->shard->ctx, s->request, s, &end, &err);
    else
        rc = s->shard->status(s->shard->ctx, s->status_request, &status, &err);
    struct local_gather *g = s->gather;
    pthread_mutex_lock(&g->lock);
    s->finished = true;
    s->code = rc;
    s->err = err;
    s->end = end;
    s->status = status;
    pthread_cond_signal(&g->news);
    pthread_mutex_unlock(&g->lock);
    job_unref(s);
}

static void *pool_thread(void *arg)
{
    struct shard_client_local *l = arg;
    pthread_setname_np(pthread_self(), "local-shard");
    pthread_mutex_lock(&l->lock);
    for (;;) {
        while (!l->first && !l->closing)
            pthread_cond_wait(&l->wake, &l->lock);
        struct local_search *s = l->first;
        if (!s)
            break;
        l->first = s->queued;
        if (!l->first)
            l->last = &l->first;
        pthread_mutex_unlock(&l->lock);
        job_run(s);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

tel_code local_search_emit(struct local_search *s, Telescope__Shard__V1__RowBatch *batch)
{
    struct local_gather *g = s->gather;
    tel_code rc = TEL_OK;
    struct timespec until = abs_time(s->deadline_ns);
    pthread_mutex_lock(&g->lock);
    while ((s->count == QUEUE_BATCHES || s->paused) && !atomic_load(&s->cancelled) && rc == TEL_OK)
        if (pthread_cond_timedwait(&g->room, &g->lock, &until) != 0 && now_ns() >= s->deadline_ns)
            rc = TEL_ERR_TIMEOUT;
    if (atomic_load(&s->cancelled))
        rc = TEL_ERR_CANCELLED;
    if (rc == TEL_OK) {
        s->rows[(s->head + s->count++) % QUEUE_BATCHES] = batch;
        pthread_cond_signal(&g->news);
    }
    pthread_mutex_unlock(&g->lock);
    if (rc != TEL_OK)
        message_free(batch);
    return rc;
}

bool local_search_cancelled(const struct local_search *out)
{
    return atomic_load(&out->cancelled) || now_ns() >= out->deadline_ns;
}

int64_t local_search_deadline_ns(const struct local_search *out)
{
    return out->deadline_ns;
}

/* ---- the gather's side ----------------------------------------------------------------------- */

static struct shard_gather *local_gather_new(struct shard_client *client)
{
    struct local_gather *g = TEL_NEW(struct local_gather);
    g->base.ops = client->ops;
    g->local = (struct shard_client_local *)client;
    g->refs = 1;
    pthread_mutex_init(&g->lock, NULL);
    cond_init(&g->news);
    cond_init(&g->room);
    return &g->base;
}

static struct local_search *job_new(struct local_gather *g, const char *address, int64_t timeout_ms)
{
    struct local_search *s = TEL_NEW(struct local_search);
    s->base.gather = &g->base;
    s->gather = g;
    const uint64_t *found = tel_map_get(&g->local->shards, tel_span_cstr(address));
    s->shard = found ? (const struct local_shard *)(uintptr_t)*found : NULL;
    s->deadline_ns = now_ns() + timeout_ms * TEL_NS_PER_MS;
    s->refs = 2;
    atomic_fetch_add(&g->refs, 1);
    s->next = g->searches;
    if (s->next)
        s->next->prev = s;
    g->searches = s;
    g->live++;
    return s;
}

static void job_queue(struct local_search *s)
{
    struct shard_client_local *l = s->gather->local;
    pthread_mutex_lock(&l->lock);
    *l->last = s;
    l->last = &s->queued;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
}

/* A request outlives the caller's: it is copied the way the network would. */
static void *message_copy(const ProtobufCMessage *msg)
{
    size_t size = protobuf_c_message_get_packed_size(msg);
    uint8_t *bytes = tel_malloc(size + 1);
    protobuf_c_message_pack(msg, bytes);
    ProtobufCMessage *copy = protobuf_c_message_unpack(msg->descriptor, NULL, size, bytes);
    free(bytes);
    TEL_CHECK(copy);
    return copy;
}

static struct shard_search *local_search(struct shard_gather *gather, const char *address,
                                         const Telescope__Shard__V1__SearchRequest *request,
                                         int64_t timeout_ms, const struct shard_events *events,
                                         void *user)
{
    struct local_search *s = job_new((struct local_gather *)gather, address, timeout_ms);
    s->request = message_copy(&request->base);
    s->events = events;
    s->user = user;
    job_queue(s);
    return &s->base;
}

static void local_status(struct shard_gather *gather, const char *address,
                         const Telescope__Shard__V1__StatusRequest *request, int64_t timeout_ms,
                         void (*done)(void *user,
                                      const Telescope__Shard__V1__StatusResponse *status,
                                      const struct tel_error *err),
                         void *user)
{
    struct local_search *s = job_new((struct local_gather *)gather, address, timeout_ms);
    s->status_request = message_copy(&request->base);
    s->status_done = done;
    s->user = user;
    job_queue(s);
}

static void job_leave(struct local_search *s)
{
    struct local_gather *g = s->gather;
    if (s->prev)
        s->prev->next = s->next;
    else
        g->searches = s->next;
    if (s->next)
        s->next->prev = s->prev;
    g->live--;
    job_unref(s);
}

/* Fires one event of the job if there is one. Called and returns under the lock, not held while the
 * event runs. */
static bool job_fire(struct local_search *s)
{
    struct local_gather *g = s->gather;
    bool late = !s->finished && now_ns() >= s->deadline_ns;
    if (s->count > 0 && !s->paused && !atomic_load(&s->cancelled)) {
        Telescope__Shard__V1__RowBatch *batch = s->rows[s->head];
        s->head = (s->head + 1) % QUEUE_BATCHES;
        s->count--;
        pthread_cond_broadcast(&g->room);
        pthread_mutex_unlock(&g->lock);
        s->events->rows(s->user, &s->base, batch);
        pthread_mutex_lock(&g->lock);
        return true;
    }
    if (s->count > 0 && s->paused && !late && !atomic_load(&s->cancelled))
        return false;
    if (!s->finished && !late && !atomic_load(&s->cancelled))
        return false;
    /* The end. What is cancelled or late ends now; its thread finds out by itself. */
    struct tel_error err = s->err;
    tel_code code = s->code;
    Telescope__Shard__V1__SearchEnd *end = NULL;
    if (atomic_load(&s->cancelled)) {
        code = tel_error_set(&err, TEL_ERR_CANCELLED, "cancelled");
    } else if (late) {
        code = tel_error_set(&err, TEL_ERR_TIMEOUT, "deadline exceeded");
        atomic_store(&s->cancelled, true);
        pthread_cond_broadcast(&g->room);
    } else if (code == TEL_OK) {
        end = s->end;
        s->end = NULL;
    }
    pthread_mutex_unlock(&g->lock);
    if (s->events)
        s->events->end(s->user, &s->base, code, end, code == TEL_OK ? NULL : &err);
    else
        s->status_done(s->user, code == TEL_OK ? s->status : NULL, &err);
    job_leave(s);
    pthread_mutex_lock(&g->lock);
    return true;
}

static bool gather_fire(struct local_gather *g)
{
    bool fired = false;
    for (struct local_search *s = g->searches, *next; s; s = next) {
        next = s->next;
        fired |= job_fire(s);
    }
    return fired;
}

static size_t local_run(struct shard_gather *gather, int timeout_ms)
{
    struct local_gather *g = (struct local_gather *)gather;
    if (g->live == 0)
        return 0;
    int64_t until = now_ns() + timeout_ms * TEL_NS_PER_MS;
    pthread_mutex_lock(&g->lock);
    while (!gather_fire(g) && !g->woken) {
        int64_t wait = until;
        for (struct local_search *s = g->searches; s; s = s->next)
            wait = TEL_MIN(wait, s->deadline_ns);
        if (now_ns() >= until)
            break;
        struct timespec ts = abs_time(wait);
        pthread_cond_timedwait(&g->news, &g->lock, &ts);
    }
    g->woken = false;
    pthread_mutex_unlock(&g->lock);
    return g->live;
}

static void local_pause(struct shard_search *search)
{
    struct local_search *s = (struct local_search *)search;
    pthread_mutex_lock(&s->gather->lock);
    s->paused = true;
    pthread_mutex_unlock(&s->gather->lock);
}

static void local_resume(struct shard_search *search)
{
    struct local_search *s = (struct local_search *)search;
    pthread_mutex_lock(&s->gather->lock);
    s->paused = false;
    pthread_cond_broadcast(&s->gather->room);
    pthread_mutex_unlock(&s->gather->lock);
}

static void local_cancel(struct shard_search *search)
{
    struct local_search *s = (struct local_search *)search;
    pthread_mutex_lock(&s->gather->lock);
    atomic_store(&s->cancelled, true);
    pthread_cond_broadcast(&s->gather->room);
    pthread_mutex_unlock(&s->gather->lock);
}

static void local_wake(struct shard_gather *gather)
{
    struct local_gather *g = (struct local_gather *)gather;
    pthread_mutex_lock(&g->lock);
    g->woken = true;
    pthread_cond_signal(&g->news);
    pthread_mutex_unlock(&g->lock);
}

static void local_gather_free(struct shard_gather *gather)
{
    struct local_gather *g = (struct local_gather *)gather;
    if (!g)
        return;
    for (struct local_search *s = g->searches, *next; s; s = next) {
        next = s->next;
        local_cancel(&s->base);
        job_leave(s);
    }
    gather_unref(g);
}

/* ---- the client ------------------------------------------------------------------------------ */

static void local_free(struct shard_client *client)
{
    struct shard_client_local *l = (struct shard_client_local *)client;
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->closing = true;
    pthread_cond_broadcast(&l->wake);
    pthread_mutex_unlock(&l->lock);
    for (unsigned i = 0; i < l->thread_count; i++)
        pthread_join(l->threads[i], NULL);
    free(l->threads);
    struct tel_map_slot *slot;
    for (size_t i = 0; (slot = tel_map_next(&l->shards, &i));)
        free((void *)(uintptr_t)slot->value);
    tel_map_free(&l->shards);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->wake);
    free(l);
}

static const struct shard_client_ops local_ops = {
    .gather = local_gather_new,
    .search = local_search,
    .status = local_status,
    .pause = local_pause,
    .resume = local_resume,
    .cancel = local_cancel,
    .run = local_run,
    .wake = local_wake,
    .gather_free = local_gather_free,
    .free = local_free,
};

tel_code shard_client_local_new(unsigned threads, struct shard_client_local **ret,
                                struct tel_error *err)
{
    struct shard_client_local *l = TEL_NEW(struct shard_client_local);
    l->base.ops = &local_ops;
    l->last = &l->first;
    tel_map_init(&l->shards);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->wake, NULL);
    l->threads = tel_calloc(threads, sizeof(*l->threads));
    for (unsigned i = 0; i < threads; i++) {
        int failed = pthread_create(&l->threads[i], NULL, pool_thread, l);
        if (failed) {
            local_free(&l->base);
            return tel_error_errno(err, failed, "start a thread for searches");
        }
        l->thread_count++;
    }
    *ret = l;
    return TEL_OK;
}

void shard_client_local_add(struct shard_client_local *local, const char *address,
                            const struct local_shard *shard)
{
    struct local_shard *copy = TEL_NEW(struct local_shard);
    *copy = *shard;
    *tel_map_put(&local->shards, tel_span_cstr(address), NULL) = (uintptr_t)copy;
}

struct shard_client *shard_client_local_client(struct shard_client_local *local)
{
    return &local->base;
}
