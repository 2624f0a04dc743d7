#include "shard/admin.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "common/metrics/registry.h"
#include "common/net/http/http_admin.h"
#include "shard/admin_snapshot.h"
#include "shard/shard.h"

struct shard_admin {
    struct shard_server *server;
    struct tel_http_admin watched;
    struct tel_http_server *http;
    struct admin_snapshot snapshot;
};

static bool is_ready(void *ctx, struct tel_buf *ret_why)
{
    const struct shard_admin *admin = ctx;
    bool ready = shard_server_ready(admin->server);
    if (!ready)
        TEL_BUF_ADD_LIT(ret_why, "reading what is in the queue");
    return ready;
}

tel_code shard_admin_new(const struct shard_admin_options *o, struct shard_server *server,
                         struct tel_metrics *metrics, struct shard_admin **ret,
                         struct tel_error *err)
{
    struct shard_admin *admin = TEL_NEW(struct shard_admin);
    admin->server = server;
    admin->watched = (struct tel_http_admin){metrics, is_ready, admin};
    admin->snapshot =
        (struct admin_snapshot){server, o->snapshot_dir ? o->snapshot_dir : "", o->snapshot_bytes_per_s};
    struct tel_http_server_options options = {.address = o->listen, .connections_max = 64};
    tel_code rc = tel_http_server_new(&options, &admin->http, err);
    if (rc == TEL_OK) {
        tel_http_admin_routes(&admin->watched, admin->http);
        tel_http_server_route(admin->http, &(struct tel_http_route){.methods = "POST",
                                                                    .path = "/snapshot",
                                                                    .handler = admin_snapshot_handle,
                                                                    .ctx = &admin->snapshot});
        rc = tel_http_server_start(admin->http, err);
    }
    if (rc != TEL_OK) {
        shard_admin_free(admin);
        return rc;
    }
    *ret = admin;
    return TEL_OK;
}

const char *shard_admin_address(const struct shard_admin *admin)
{
    return tel_http_server_address(admin->http);
}

void shard_admin_free(struct shard_admin *admin)
{
    if (!admin)
        return;
    tel_http_server_free(admin->http);
    free(admin);
}
