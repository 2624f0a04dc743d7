/*
 * The gRPC side of shard_client.h. A gather is a loop (one completion queue); loops are kept for
 * the next query, because making one costs more than a small query does. Channels are shared by all
 * queries; a server that was never asked has none.
 */
#include "router/shard_client_rpc.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/net/rpc/client.h"
#include "schemas/schemas.h"

#define LOOPS_KEPT 64

struct rpc_client {
    struct shard_client base; /* first */
    struct tel_rpc_tls *tls;
    char *server_name;
    char *bearer;
    int connect_timeout_ms;
    enum tel_rpc_kind kinds[2];
    pthread_mutex_t lock;    /* guards what is below */
    struct tel_map channels; /* address -> struct tel_rpc_channel * */
    TEL_VEC(struct tel_rpc_loop *) loops;
};

struct rpc_search;

struct rpc_gather {
    struct shard_gather base; /* first */
    struct rpc_client *client;
    struct tel_rpc_loop *loop;
    struct rpc_search *searches; /* that have not ended */
    bool closing;                /* no events any more */
};

struct rpc_search {
    struct shard_search base; /* first */
    struct rpc_search *prev, *next;
    struct tel_rpc_op *op;
    const struct shard_events *events;
    void *user;
    Telescope__Shard__V1__SearchEnd *end; /* the shard's own word, when it has come */
    /* of a status */
    void (*done)(void *user, const Telescope__Shard__V1__StatusResponse *status,
                 const struct tel_error *err);
};

/* ---- channels and loops ---------------------------------------------------------------------- */

static struct tel_rpc_channel *client_channel(struct rpc_client *c, const char *address,
                                              struct tel_error *err)
{
    pthread_mutex_lock(&c->lock);
    struct tel_rpc_channel *channel = NULL;
    uint64_t *slot = tel_map_get(&c->channels, tel_span_cstr(address));
    if (slot) {
        channel = (struct tel_rpc_channel *)(uintptr_t)*slot;
    } else {
        struct tel_rpc_channel_options o = {.target = address,
                                            .tls = c->tls,
                                            .server_name = c->server_name,
                                            .connect_timeout_ms = c->connect_timeout_ms};
        if (tel_rpc_channel_new(&o, &channel, err) == TEL_OK)
            *tel_map_put(&c->channels, tel_span_cstr(address), NULL) = (uintptr_t)channel;
    }
    pthread_mutex_unlock(&c->lock);
    return channel;
}

static struct shard_gather *rpc_gather_new(struct shard_client *client)
{
    struct rpc_client *c = (struct rpc_client *)client;
    struct rpc_gather *g = TEL_NEW(struct rpc_gather);
    g->base.ops = client->ops;
    g->client = c;
    pthread_mutex_lock(&c->lock);
    if (c->loops.len > 0)
        g->loop = c->loops.items[--c->loops.len];
    pthread_mutex_unlock(&c->lock);
    if (!g->loop)
        g->loop = tel_rpc_loop_new();
    return &g->base;
}

static void rpc_gather_free(struct shard_gather *gather)
{
    struct rpc_gather *g = (struct rpc_gather *)gather;
    if (!g)
        return;
    g->closing = true;
    for (struct rpc_search *s = g->searches; s; s = s->next)
        tel_rpc_op_cancel(s->op);
    while (tel_rpc_loop_run(g->loop, 1000) > 0)
        ;
    struct rpc_client *c = g->client;
    pthread_mutex_lock(&c->lock);
    bool keep = c->loops.len < LOOPS_KEPT;
    if (keep)
        tel_vec_push(&c->loops, g->loop);
    pthread_mutex_unlock(&c->lock);
    if (!keep)
        tel_rpc_loop_free(g->loop);
    free(g);
}

/* ---- searches -------------------------------------------------------------------------------- */

static void search_free(struct rpc_search *s)
{
    struct rpc_gather *g = (struct rpc_gather *)s->base.gather;
    if (s->prev)
        s->prev->next = s->next;
    else
        g->searches = s->next;
    if (s->next)
        s->next->prev = s->prev;
    if (s->end)
        protobuf_c_message_free_unpacked(&s->end->base, NULL);
    free(s);
}

static void search_ended(struct rpc_search *s, const struct tel_rpc_op *op)
{
    const struct rpc_gather *g = (const struct rpc_gather *)s->base.gather;
    struct tel_error err = {0};
    tel_code rc = tel_rpc_op_error(op, &err);
    if (rc == TEL_OK && !s->end)
        rc = tel_error_set(&err, TEL_ERR_TRUNCATED, "the shard's answer has no end");
    Telescope__Shard__V1__SearchEnd *end = rc == TEL_OK ? s->end : NULL;
    if (end)
        s->end = NULL;
    if (!g->closing)
        s->events->end(s->user, &s->base, rc, end, rc == TEL_OK ? NULL : &err);
    else if (end)
        protobuf_c_message_free_unpacked(&end->base, NULL);
    search_free(s);
}

static void on_search(const Telescope__Shard__V1__SearchResponse *msg, void *data)
{
    struct tel_rpc_op *op = data;
    struct rpc_search *s = tel_rpc_op_user(op);
    const struct rpc_gather *g = (const struct rpc_gather *)s->base.gather;
    if (!msg) {
        search_ended(s, op);
        return;
    }
    if (g->closing || s->end) /* nothing may stand behind the end */
        return;
    /* Rows and end go on living, their envelope does not. */
    Telescope__Shard__V1__SearchResponse *res =
        (Telescope__Shard__V1__SearchResponse *)tel_rpc_op_take(op);
    Telescope__Shard__V1__RowBatch *rows = NULL;
    if (res->kind_case == TELESCOPE__SHARD__V1__SEARCH_RESPONSE__KIND_ROWS)
        rows = res->rows;
    else if (res->kind_case == TELESCOPE__SHARD__V1__SEARCH_RESPONSE__KIND_END)
        s->end = res->end;
    if (s->end && s->end->rows) { /* the last rows, sent along */
        rows = s->end->rows;
        s->end->rows = NULL;
    }
    res->kind_case = TELESCOPE__SHARD__V1__SEARCH_RESPONSE__KIND__NOT_SET;
    res->rows = NULL;
    protobuf_c_message_free_unpacked(&res->base, NULL);
    if (rows)
        s->events->rows(s->user, &s->base, rows);
}

static struct rpc_search *search_new(struct rpc_gather *g, const char *address, int64_t timeout_ms,
                                     struct tel_rpc_stub *ret_stub, struct tel_error *err)
{
    struct rpc_client *c = g->client;
    struct tel_rpc_channel *channel = client_channel(c, address, err);
    if (!channel)
        return NULL;
    struct rpc_search *s = TEL_NEW(struct rpc_search);
    s->base.gather = &g->base;
    s->next = g->searches;
    if (s->next)
        s->next->prev = s;
    g->searches = s;
    s->op = tel_rpc_op_new(g->loop, &(struct tel_rpc_op_options){.timeout_ms = timeout_ms,
                                                                 .bearer = tel_span_cstr(c->bearer),
                                                                 .user = s});
    tel_rpc_stub_init(ret_stub, &telescope__shard__v1__shard__descriptor, c->kinds, channel);
    return s;
}

static struct shard_search *rpc_search(struct shard_gather *gather, const char *address,
                                       const Telescope__Shard__V1__SearchRequest *request,
                                       int64_t timeout_ms, const struct shard_events *events,
                                       void *user)
{
    struct tel_rpc_stub stub;
    struct tel_error err;
    struct rpc_search *s =
        search_new((struct rpc_gather *)gather, address, TEL_MAX(timeout_ms, 1), &stub, &err);
    TEL_CHECK(s); /* addresses are checked when the shard map is read */
    s->events = events;
    s->user = user;
    telescope__shard__v1__shard__search(&stub.base, request, on_search, s->op);
    return &s->base;
}

static void on_status(const Telescope__Shard__V1__StatusResponse *msg, void *data)
{
    struct tel_rpc_op *op = data;
    struct rpc_search *s = tel_rpc_op_user(op);
    struct rpc_gather *g = (struct rpc_gather *)s->base.gather;
    struct tel_error err = {0};
    if (!msg && tel_rpc_op_error(op, &err) == TEL_OK)
        tel_error_set(&err, TEL_ERR_INTERNAL, "the shard's answer is empty");
    if (!g->closing)
        s->done(s->user, msg, &err);
    search_free(s);
}

static void rpc_status(struct shard_gather *gather, const char *address,
                       const Telescope__Shard__V1__StatusRequest *request, int64_t timeout_ms,
                       void (*done)(void *user, const Telescope__Shard__V1__StatusResponse *status,
                                    const struct tel_error *err),
                       void *user)
{
    struct tel_rpc_stub stub;
    struct tel_error err;
    struct rpc_search *s =
        search_new((struct rpc_gather *)gather, address, TEL_MAX(timeout_ms, 1), &stub, &err);
    TEL_CHECK(s);
    s->done = done;
    s->user = user;
    telescope__shard__v1__shard__status(&stub.base, request, on_status, s->op);
}

static void rpc_pause(struct shard_search *search)
{
    tel_rpc_op_pause(((struct rpc_search *)search)->op);
}

static void rpc_resume(struct shard_search *search)
{
    tel_rpc_op_more(((struct rpc_search *)search)->op);
}

static void rpc_cancel(struct shard_search *search)
{
    tel_rpc_op_cancel(((struct rpc_search *)search)->op);
}

static size_t rpc_run(struct shard_gather *gather, int timeout_ms)
{
    return tel_rpc_loop_run(((struct rpc_gather *)gather)->loop, timeout_ms);
}

static void rpc_wake(struct shard_gather *gather)
{
    tel_rpc_loop_wake(((struct rpc_gather *)gather)->loop);
}

/* ---- the client ------------------------------------------------------------------------------ */

static void rpc_free(struct shard_client *client)
{
    struct rpc_client *c = (struct rpc_client *)client;
    if (!c)
        return;
    for (size_t i = 0; i < c->loops.len; i++)
        tel_rpc_loop_free(c->loops.items[i]);
    tel_vec_free(&c->loops);
    struct tel_map_slot *slot;
    for (size_t i = 0; (slot = tel_map_next(&c->channels, &i));)
        tel_rpc_channel_unref((struct tel_rpc_channel *)(uintptr_t)slot->value);
    tel_map_free(&c->channels);
    tel_rpc_tls_unref(c->tls);
    pthread_mutex_destroy(&c->lock);
    free(c->server_name);
    if (c->bearer)
        explicit_bzero(c->bearer, strlen(c->bearer));
    free(c->bearer);
    free(c);
}

static const struct shard_client_ops rpc_ops = {
    .gather = rpc_gather_new,
    .search = rpc_search,
    .status = rpc_status,
    .pause = rpc_pause,
    .resume = rpc_resume,
    .cancel = rpc_cancel,
    .run = rpc_run,
    .wake = rpc_wake,
    .gather_free = rpc_gather_free,
    .free = rpc_free,
};

tel_code shard_client_rpc_new(const struct shard_client_rpc_options *options,
                              struct shard_client **ret, struct tel_error *err)
{
    struct rpc_client *c = TEL_NEW(struct rpc_client);
    c->base.ops = &rpc_ops;
    tel_code rc = tel_rpc_kinds(tel_span_make(tel_schema_shard_pb, tel_schema_shard_pb_len),
                                &telescope__shard__v1__shard__descriptor, c->kinds, err);
    if (rc != TEL_OK) {
        free(c);
        return rc;
    }
    c->tls = tel_rpc_tls_ref(options->tls);
    c->server_name = options->server_name ? tel_strdup(options->server_name) : NULL;
    c->bearer = options->bearer.len ? tel_strndup(options->bearer) : NULL;
    c->connect_timeout_ms = options->connect_timeout_ms;
    pthread_mutex_init(&c->lock, NULL);
    tel_map_init(&c->channels);
    *ret = &c->base;
    return TEL_OK;
}
