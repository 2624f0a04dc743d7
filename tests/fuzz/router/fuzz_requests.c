/*
 * What callers may send: any bytes behind a first one that says whom to. 'S' is a shard's
 * SearchRequest, which is planned and run over no partitions; 'R' is a router's, opened where no
 * shards are known, so that it is parsed, checked and planned.
 */
#include <stdint.h>
#include <string.h>

#include "router/query.h"
#include "router/shard_client_local.h"
#include "schemas/router.pb-c.h"
#include "shard/query/search.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- a shard --------------------------------------------------------------------------------------- */

static tel_code no_rows(void *ctx, Telescope__Shard__V1__RowBatch *batch, struct tel_error *err)
{
    (void)ctx;
    (void)err;
    protobuf_c_message_free_unpacked(&batch->base, NULL);
    return TEL_OK;
}

static void ask_shard(const uint8_t *data, size_t size)
{
    static struct search_env env;
    if (!env.pool) {
        TEL_CHECK(pool_new(0, &env.pool, NULL) == TEL_OK);
        env.memory_limit = 1 << 20;
    }
    Telescope__Shard__V1__SearchRequest *request =
        telescope__shard__v1__search_request__unpack(NULL, size, data);
    if (!request)
        return;
    struct shard_sink sink = {.rows = no_rows};
    Telescope__Shard__V1__SearchEnd *end = NULL;
    struct tel_error err = {0};
    tel_code rc = search_run(&env, request, &sink, &end, &err);
    if (rc == TEL_OK) {
        TEL_CHECK(end->n_partitions == request->n_partitions && !end->unchanged);
        TEL_CHECK(end->generation.len == 0 || request->n_partitions == 0);
        protobuf_c_message_free_unpacked(&end->base, NULL);
    } else {
        TEL_CHECK(err.text[0]);
    }
    protobuf_c_message_free_unpacked(&request->base, NULL);
}

/* ---- a router -------------------------------------------------------------------------------------- */

static tel_code no_block(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    (void)ctx;
    (void)block;
    (void)err;
    return TEL_OK;
}

static struct router *router_of_nothing(void)
{
    static struct router *router;
    static struct shard_client_local *local;
    if (router)
        return router;
    TEL_CHECK(shard_client_local_new(1, &local, NULL) == TEL_OK);
    struct shard_map *map = shard_map_new(0);
    router = router_new(&(struct router_options){.memory_bytes = 1 << 20},
                        shard_client_local_client(local), map, NULL);
    shard_map_unref(map);
    return router;
}

static void ask_router(const uint8_t *data, size_t size)
{
    Telescope__Router__V1__SearchRequest *r =
        telescope__router__v1__search_request__unpack(NULL, size, data);
    if (!r)
        return;
    struct query_params p = {
        .tenant = tel_span_cstr(r->tenant),
        .text = tel_span_cstr(r->query),
        .now_ns = 1700000000 * TEL_NS_PER_S,
        .start_ns = r->start_ns,
        .end_ns = r->end_ns,
        .limit = r->limit,
        .page = r->page,
        .refuse_partial = r->refuse_partial,
        .no_cache = r->no_cache,
        .explain = r->explain ? QUERY_EXPLAIN_JSON : QUERY_EXPLAIN_NONE,
    };
    struct query *q = NULL;
    struct tel_error err = {0};
    tel_code rc = query_open(router_of_nothing(), &p, no_block, NULL, &q, &err);
    TEL_CHECK(rc != TEL_OK && err.text[0]); /* there are no shards */
    protobuf_c_message_free_unpacked(&r->base, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == 'S')
        ask_shard(data + 1, size - 1);
    else if (size > 0 && data[0] == 'R')
        ask_router(data + 1, size - 1);
    return 0;
}
