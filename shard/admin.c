#include "shard/admin.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "common/metrics/registry.h"
#include "common/net/http/http_server.h"
#include "shard/admin_snapshot.h"
#include "shard/shard.h"

struct shard_admin {
    struct shard_server *server;
    struct tel_metrics *metrics;
    struct tel_http_server *http;
    struct admin_snapshot snapshot;
};

static void serve_metrics(void *ctx, struct tel_http_request *req)
{
    struct shard_admin *admin = ctx;
    struct tel_buf out = {0};
    tel_metrics_expose(admin->metrics, &out);
    tel_http_reply(req, 200, TEL_METRICS_CONTENT_TYPE, tel_buf_span(&out));
    tel_buf_free(&out);
}

static void serve_health(void *ctx, struct tel_http_request *req)
{
    (void)ctx;
    tel_http_reply(req, 200, "text/plain", TEL_SPAN("ok\n"));
}

static void serve_ready(void *ctx, struct tel_http_request *req)
{
    struct shard_admin *admin = ctx;
    if (shard_server_ready(admin->server))
        tel_http_reply(req, 200, "text/plain", TEL_SPAN("ready\n"));
    else
        tel_http_reply(req, 503, "text/plain", TEL_SPAN("reading what is in the queue\n"));
}

tel_code shard_admin_new(const struct shard_admin_options *o, struct shard_server *server,
                         struct tel_metrics *metrics, struct shard_admin **ret,
                         struct tel_error *err)
{
    struct shard_admin *admin = TEL_NEW(struct shard_admin);
    admin->server = server;
    admin->metrics = metrics;
    admin->snapshot =
        (struct admin_snapshot){server, o->snapshot_dir ? o->snapshot_dir : "", o->snapshot_bytes_per_s};
    struct tel_http_server_options options = {.address = o->listen, .connections_max = 64};
    tel_code rc = tel_http_server_new(&options, &admin->http, err);
    if (rc == TEL_OK) {
        const struct tel_http_route routes[] = {
            {.methods = "GET", .path = "/metrics", .handler = serve_metrics, .ctx = admin},
            {.methods = "GET", .path = "/healthz", .handler = serve_health, .ctx = admin},
            {.methods = "GET", .path = "/readyz", .handler = serve_ready, .ctx = admin},
            {.methods = "POST",
             .path = "/snapshot",
             .handler = admin_snapshot_handle,
             .ctx = &admin->snapshot},
        };
        for (size_t i = 0; i < TEL_ARRAY_LEN(routes); i++)
            tel_http_server_route(admin->http, &routes[i]);
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
