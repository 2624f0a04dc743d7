#include "common/net/http/http_admin.h"

static void serve_metrics(void *ctx, struct tel_http_request *req)
{
    const struct tel_http_admin *admin = ctx;
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
    const struct tel_http_admin *admin = ctx;
    struct tel_buf why = {0};
    if (admin->ready(admin->ctx, &why))
        tel_http_reply(req, 200, "text/plain", TEL_SPAN("ready\n"));
    else
        tel_http_reply_error(req, 503, "%.*s", (int)TEL_MIN(why.len, 1000), why.ptr ? why.ptr : "");
    tel_buf_free(&why);
}

void tel_http_admin_routes(const struct tel_http_admin *admin, struct tel_http_server *server)
{
    void *ctx = (void *)(uintptr_t)admin;
    const struct tel_http_route routes[] = {
        {.methods = "GET", .path = "/metrics", .handler = serve_metrics, .ctx = ctx},
        {.methods = "GET", .path = "/healthz", .handler = serve_health, .ctx = ctx},
        {.methods = "GET", .path = "/readyz", .handler = serve_ready, .ctx = ctx},
    };
    for (size_t i = 0; i < TEL_ARRAY_LEN(routes); i++)
        tel_http_server_route(server, &routes[i]);
}
