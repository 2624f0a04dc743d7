/*
 * Shards in this process: what `telescope standalone` uses instead of gRPC, and what tests use for
 * servers that behave as they are told. Every search runs on a thread of its own for as long as it
 * lasts, from a pool, and hands its rows over through a bounded queue.
 */
#ifndef ROUTER_SHARD_CLIENT_LOCAL_H
#define ROUTER_SHARD_CLIENT_LOCAL_H

#include "router/shard_client.h"

struct local_search;

/* The server behind an address; called on the pool's threads, several at once. */
struct local_shard {
    /* Runs a search and hands its rows to local_search_emit. *ret_end is malloc'ed as protobuf-c
     * unpacks; it may be left NULL only on an error. */
    tel_code (*search)(void *ctx, const Telescope__Shard__V1__SearchRequest *request,
                       struct local_search *out, Telescope__Shard__V1__SearchEnd **ret_end,
                       struct tel_error *err);
    tel_code (*status)(void *ctx, const Telescope__Shard__V1__StatusRequest *request,
                       Telescope__Shard__V1__StatusResponse **ret, struct tel_error *err);
    void *ctx;
};

/* Takes batch over (as protobuf-c unpacks it, or made alike with malloc). Waits while the queue is
 * full. TEL_ERR_CANCELLED: nobody wants more; return soon. TEL_ERR_TIMEOUT: the deadline. */
TEL_MUST_USE tel_code local_search_emit(struct local_search *out,
                                        Telescope__Shard__V1__RowBatch *batch);
/* For work between rows. */
bool local_search_cancelled(const struct local_search *out);
/* Monotonic. */
int64_t local_search_deadline_ns(const struct local_search *out);

struct shard_client_local;

/* threads: searches that run at once; more wait. */
TEL_MUST_USE tel_code shard_client_local_new(unsigned threads, struct shard_client_local **ret,
                                             struct tel_error *err);
/* Before the client is used. A search of an address that was not added ends with UNAVAILABLE. */
void shard_client_local_add(struct shard_client_local *local, const char *address,
                            const struct local_shard *shard);
/* What the router takes; its `free` frees all. */
struct shard_client *shard_client_local_client(struct shard_client_local *local);

#endif
