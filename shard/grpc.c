#include "shard/grpc.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "common/net/rpc/server.h"
#include "common/net/rpc/workers.h"
#include "schemas/schemas.h"
#include "shard/service.h"

#define QUEUE_MAX  1024u
#define HELD_BYTES (256u << 10) /* of rows that wait for the end */

struct shard_grpc {
    Telescope__Shard__V1__Shard_Service service; /* first: protobuf-c hands it to the handlers */
    struct shard_server *server;
    struct tel_rpc_server *rpc;
    struct tel_rpc_workers *workers;
    struct tel_rpc_tls *tls;
};

static struct shard_grpc *grpc_of(Telescope__Shard__V1__Shard_Service *service)
{
    return TEL_CONTAINER_OF(service, struct shard_grpc, service);
}

/* ---- Search ------------------------------------------------------------------------------------- */

/* A search's answer on its way. Its sink is called by one thread at a time. */
struct answer {
    struct tel_rpc_call *call;
    bool may_hold;                        /* the router waits for all of the answer anyway */
    Telescope__Shard__V1__RowBatch *held; /* to be sent with the end, if nothing comes behind it */
};

static tel_code send_batch(struct answer *a, Telescope__Shard__V1__RowBatch *batch,
                           struct tel_error *err)
{
    Telescope__Shard__V1__SearchResponse response = TELESCOPE__SHARD__V1__SEARCH_RESPONSE__INIT;
    response.kind_case = TELESCOPE__SHARD__V1__SEARCH_RESPONSE__KIND_ROWS;
    response.rows = batch;
    tel_code rc = tel_rpc_send_wait(a->call, &response.base);
    protobuf_c_message_free_unpacked(&batch->base, NULL);
    if (rc != TEL_OK)
        tel_error_set(err, rc, "cannot send rows: %s", tel_code_text(rc));
    return rc;
}

static bool is_small(const Telescope__Shard__V1__RowBatch *batch)
{
    size_t bytes = 0;
    for (size_t i = 0; i < batch->n_columns && bytes <= HELD_BYTES; i++)
        bytes += batch->columns[i]->data.len + batch->columns[i]->n_lengths;
    return bytes <= HELD_BYTES;
}

static tel_code send_rows(void *ctx, Telescope__Shard__V1__RowBatch *batch, struct tel_error *err)
{
    struct answer *a = ctx;
    if (!a->may_hold)
        return send_batch(a, batch, err);
    Telescope__Shard__V1__RowBatch *before = a->held;
    a->held = batch;
    tel_code rc = before ? send_batch(a, before, err) : TEL_OK;
    if (rc == TEL_OK && !is_small(batch)) {
        a->held = NULL;
        rc = send_batch(a, batch, err);
    }
    return rc;
}

static tel_code call_stop(void *ctx)
{
    const struct answer *a = ctx;
    const struct tel_rpc_call *call = a->call;
    if (tel_rpc_call_ms_left(call) <= 0)
        return TEL_ERR_TIMEOUT;
    return tel_rpc_call_cancelled(call) ? TEL_ERR_CANCELLED : TEL_OK;
}

static void search(Telescope__Shard__V1__Shard_Service *service,
                   const Telescope__Shard__V1__SearchRequest *request,
                   Telescope__Shard__V1__SearchResponse_Closure closure, void *closure_data)
{
    (void)closure;
    struct tel_rpc_call *call = closure_data;
    struct answer answer = {.call = call, .may_hold = request->rows_in_end};
    struct shard_sink sink = {&answer, send_rows, call_stop};
    Telescope__Shard__V1__SearchEnd *end;
    struct tel_error err = {0};
    tel_code rc = shard_search(grpc_of(service)->server, request, &sink, &end, &err);
    if (rc != TEL_OK) {
        if (answer.held)
            protobuf_c_message_free_unpacked(&answer.held->base, NULL);
        tel_rpc_finish_error(call, &err);
        return;
    }
    end->rows = answer.held;
    Telescope__Shard__V1__SearchResponse response = TELESCOPE__SHARD__V1__SEARCH_RESPONSE__INIT;
    response.kind_case = TELESCOPE__SHARD__V1__SEARCH_RESPONSE__KIND_END;
    response.end = end;
    tel_rpc_send_last(call, &response.base);
    protobuf_c_message_free_unpacked(&end->base, NULL);
}

/* ---- Status ------------------------------------------------------------------------------------- */

static void status(Telescope__Shard__V1__Shard_Service *service,
                   const Telescope__Shard__V1__StatusRequest *request,
                   Telescope__Shard__V1__StatusResponse_Closure closure, void *closure_data)
{
    Telescope__Shard__V1__StatusResponse *response =
        shard_status(grpc_of(service)->server, request);
    closure(response, closure_data);
    protobuf_c_message_free_unpacked(&response->base, NULL);
}

/* ---- the server --------------------------------------------------------------------------------- */

static tel_code open_tls(const struct shard_grpc_options *o, struct shard_grpc *grpc,
                         struct tel_error *err)
{
    if (!o->cert_file || !*o->cert_file)
        return TEL_OK;
    struct tel_rpc_tls_options options = {
        .ca_file = o->ca_file && *o->ca_file ? o->ca_file : NULL,
        .cert_file = o->cert_file,
        .key_file = o->key_file,
    };
    return tel_rpc_tls_new(&options, &grpc->tls, err);
}

tel_code shard_grpc_new(const struct shard_grpc_options *o, struct shard_server *server,
                        struct shard_grpc **ret, uint16_t *ret_port, struct tel_error *err)
{
    struct shard_grpc *grpc = TEL_NEW(struct shard_grpc);
    telescope__shard__v1__shard__init(&grpc->service, NULL);
    grpc->service.search = search;
    grpc->service.status = status;
    grpc->server = server;
    tel_code rc = open_tls(o, grpc, err);
    if (rc == TEL_OK)
        rc = tel_rpc_workers_new(o->workers, QUEUE_MAX, &grpc->workers, err);
    if (rc == TEL_OK) {
        struct tel_rpc_server_options options = {
            .listen = o->listen,
            .tls = grpc->tls,
            .ctx = grpc->workers,
            .dispatch = tel_rpc_workers_dispatch,
        };
        rc = tel_rpc_server_new(&options, &grpc->rpc, err);
    }
    if (rc == TEL_OK)
        rc = tel_rpc_server_add(grpc->rpc, &grpc->service.base,
                                tel_span_make(tel_schema_shard_pb, tel_schema_shard_pb_len), err);
    if (rc == TEL_OK)
        rc = tel_rpc_server_start(grpc->rpc, ret_port, err);
    if (rc != TEL_OK) {
        shard_grpc_free(grpc);
        return rc;
    }
    *ret = grpc;
    return TEL_OK;
}

void shard_grpc_stop(struct shard_grpc *grpc, int grace_ms)
{
    tel_rpc_server_stop(grpc->rpc, grace_ms);
}

void shard_grpc_free(struct shard_grpc *grpc)
{
    if (!grpc)
        return;
    if (grpc->rpc)
        tel_rpc_server_free(grpc->rpc);
    tel_rpc_workers_free(grpc->workers);
    tel_rpc_tls_unref(grpc->tls);
    free(grpc);
}
