/* A shard server over a journal in a temporary folder, and the means to fill and search it. */
#ifndef TESTS_UNIT_SHARD_SHARD_FIXTURE_H
#define TESTS_UNIT_SHARD_SHARD_FIXTURE_H

#include "common/base/map.h"
#include "common/base/vec.h"
#include "common/transport/transport.h"
#include "shard/service.h"

struct world {
    char dir[64];
    char store[80], queue[80];
    uint32_t partitions[8];
    struct tel_transport *transport;
    struct tel_producer *producer;
    struct shard_server *server;
    struct shard_options options;
    int64_t now_ns; /* what relative times in searches refer to; 0: now */
};

/* n partitions, 0 to n-1. */
void world_begin(struct world *w, size_t n);
void world_end(struct world *w);
void world_start(struct world *w);           /* the shard server */
void world_stop(struct world *w, bool flush);

struct world_event {
    int64_t time_ns;
    uint64_t position;
    const char *body;
};
/* One message. Queued only; world_sync waits until all are durable. */
void world_send(struct world *w, uint32_t partition, const char *tenant, const char *source,
                const struct world_event *events, uint32_t count);
void world_send_cb(struct world *w, uint32_t partition, const char *tenant, const char *source,
                   const struct world_event *events, uint32_t count, tel_delivery_cb *cb,
                   void *ctx);
void world_send_bytes(struct world *w, uint32_t partition, struct tel_span value);
void world_sync(struct world *w);

/* Rows of a search: _msg of each, in the order in which they came. */
struct found {
    TEL_VEC(char *) rows;
    struct tel_map bodies; /* _msg -> how often */
    struct tel_map full;   /* key and all fields, by name -> how often */
    Telescope__Shard__V1__SearchEnd *end;
};
/* Over all partitions. max_rows as in shard.proto. */
tel_code world_search(struct world *w, const char *tenant, const char *query, uint64_t max_rows,
                      struct found *ret, struct tel_error *err);
void found_done(struct found *found);
/* The value of `| stats count()` on a shard, summed over states: rows that match the filter. */
uint64_t world_count(struct world *w, const char *tenant, const char *query);
/* Waits (at most 20 s) until the search finds so many rows; fails the test otherwise. */
void world_await(struct world *w, const char *tenant, const char *query, uint64_t rows);

#endif
