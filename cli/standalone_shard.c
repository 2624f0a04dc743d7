/* The router's calls as function calls of the shard server in the same process. */
#include <stddef.h>

#include "cli/standalone.h"
#include "common/base/clock.h"
#include "router/shard_client_local.h"
#include "shard/service.h"

#define THREADS 16

static tel_code rows(void *ctx, Telescope__Shard__V1__RowBatch *batch, struct tel_error *err)
{
    tel_code rc = local_search_emit(ctx, batch);
    return rc == TEL_OK ? TEL_OK : tel_error_set(err, rc, "%s", tel_code_text(rc));
}

static tel_code stop(void *ctx)
{
    const struct local_search *out = ctx;
    if (local_search_cancelled(out))
        return TEL_ERR_CANCELLED;
    return tel_mono_ns(tel_clock_system()) >= local_search_deadline_ns(out) ? TEL_ERR_TIMEOUT : TEL_OK;
}

static tel_code search(void *ctx, const Telescope__Shard__V1__SearchRequest *request,
                       struct local_search *out, Telescope__Shard__V1__SearchEnd **ret_end,
                       struct tel_error *err)
{
    const struct shard_sink sink = {.ctx = out, .rows = rows, .stop = stop};
    return shard_search(ctx, request, &sink, ret_end, err);
}

static tel_code status(void *ctx, const Telescope__Shard__V1__StatusRequest *request,
                       Telescope__Shard__V1__StatusResponse **ret, struct tel_error *err)
{
    (void)err;
    *ret = shard_status(ctx, request);
    return TEL_OK;
}

tel_code standalone_shard_client(struct shard_server *server, struct shard_client **ret,
                                 struct tel_error *err)
{
    struct shard_client_local *local = NULL;
    const struct local_shard shard = {.search = search, .status = status, .ctx = server};
    tel_code rc = shard_client_local_new(THREADS, &local, err);
    if (rc != TEL_OK)
        return rc;
    shard_client_local_add(local, STANDALONE_SHARD, &shard);
    *ret = shard_client_local_client(local);
    return TEL_OK;
}
