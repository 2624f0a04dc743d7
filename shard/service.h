/*
 * What a shard server answers: the calls of schemas/shard.proto, free of any transport. The gRPC
 * service and standalone both stand on these. Any thread, any number at once.
 */
#ifndef SHARD_SERVICE_H
#define SHARD_SERVICE_H

#include "schemas/shard.pb-c.h"
#include "shard/shard.h"

/* Where a search's rows go. Called by one thread at a time, not always the same. */
struct shard_sink {
    void *ctx;
    /* Takes the batch over (protobuf_c_message_free_unpacked). May wait: that is the back-pressure.
     * Anything but TEL_OK ends the search with it. */
    tel_code (*rows)(void *ctx, Telescope__Shard__V1__RowBatch *batch, struct tel_error *err);
    /* Asked often, by any thread: TEL_ERR_CANCELLED or TEL_ERR_TIMEOUT end the search. */
    tel_code (*stop)(void *ctx);
};

/* Runs the search and returns when it is over. *ret_end is for protobuf_c_message_free_unpacked.
 * Partitions that are not held, or of which something cannot be read, are named in it. Errors:
 * TEL_ERR_PARSE, _INVALID, _UNSUPPORTED (the query), _LIMIT (a budget), _CANCELLED, _TIMEOUT, and
 * those of the sink. */
TEL_MUST_USE tel_code shard_search(struct shard_server *server,
                                   const Telescope__Shard__V1__SearchRequest *request,
                                   const struct shard_sink *sink,
                                   Telescope__Shard__V1__SearchEnd **ret_end,
                                   struct tel_error *err);

/* For protobuf_c_message_free_unpacked. Never fails. */
Telescope__Shard__V1__StatusResponse *
shard_status(struct shard_server *server, const Telescope__Shard__V1__StatusRequest *request);

#endif
