/*
 * How the router asks the servers that hold shards. Two implementations stand behind this: gRPC
 * (shard_client_rpc.c) and a direct call within the process (made by whoever composes standalone).
 *
 *     struct shard_gather *g = client->ops->gather(client);
 *     search = g->ops->search(g, address, &request, &timeout..., events, user)      K of them
 *     while (...)
 *         g->ops->run(g, 50);               events fire in here, on this thread
 *     g->ops->free(g);                      cancels what has not ended
 *
 * A client is shared by all threads. A gather belongs to the thread of one query: everything that
 * is below it, and every event, happens on that thread.
 */
#ifndef ROUTER_SHARD_CLIENT_H
#define ROUTER_SHARD_CLIENT_H

#include <stdint.h>

#include "common/base/error.h"
#include "schemas/shard.pb-c.h"

struct shard_client;
struct shard_gather;
struct shard_search; /* one Search (or Status) under way; gone when its end has fired */

/* What comes of a search: rows, any number of times, then end, exactly once. */
struct shard_events {
    /* A batch of rows; the callee takes `batch` over and frees it with
     * protobuf_c_message_free_unpacked(&batch->base, NULL). It may pause the search. */
    void (*rows)(void *user, struct shard_search *search, Telescope__Shard__V1__RowBatch *batch);
    /* The end: code TEL_OK and the shard's own word (to be freed likewise), or an error and NULL. A
     * stream that ended well but without that word is TEL_ERR_TRUNCATED. search is gone after. */
    void (*end)(void *user, struct shard_search *search, tel_code code,
                Telescope__Shard__V1__SearchEnd *end, const struct tel_error *err);
};

struct shard_client_ops {
    struct shard_gather *(*gather)(struct shard_client *client);

    /* Begins a search on the server at `address`. Fires no event before run. Never fails: what is
     * wrong is said by the end. The request may be freed at once. */
    struct shard_search *(*search)(struct shard_gather *gather, const char *address,
                                   const Telescope__Shard__V1__SearchRequest *request,
                                   int64_t timeout_ms, const struct shard_events *events,
                                   void *user);
    /* Begins a Status; `done` fires once, on run. status NULL: err says why. It is freed after. */
    void (*status)(struct shard_gather *gather, const char *address,
                   const Telescope__Shard__V1__StatusRequest *request, int64_t timeout_ms,
                   void (*done)(void *user, const Telescope__Shard__V1__StatusResponse *status,
                                const struct tel_error *err),
                   void *user);

    /* No rows fire until resume, apart from what is under way. The server feels it. */
    void (*pause)(struct shard_search *search);
    void (*resume)(struct shard_search *search);
    /* The end fires on a later run, with TEL_ERR_CANCELLED unless it had ended already. */
    void (*cancel)(struct shard_search *search);

    /* Waits up to timeout_ms for an event and fires what is due. Returns how many searches and
     * statuses have not ended. */
    size_t (*run)(struct shard_gather *gather, int timeout_ms);
    /* Makes a run that waits return. Any thread. */
    void (*wake)(struct shard_gather *gather);
    /* Cancels what has not ended; no event fires any more. */
    void (*gather_free)(struct shard_gather *gather);

    void (*free)(struct shard_client *client);
};

/* Implementations begin with these. */
struct shard_client {
    const struct shard_client_ops *ops;
};
struct shard_gather {
    const struct shard_client_ops *ops;
};
struct shard_search {
    struct shard_gather *gather;
};

#endif
