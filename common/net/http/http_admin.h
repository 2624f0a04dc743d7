/* What every program serves for those who watch it: /metrics (Prometheus' text), /healthz (the process
 * answers), /readyz (200 when it should be sent work, else 503 with the reason). */
#ifndef TEL_NET_HTTP_HTTP_ADMIN_H
#define TEL_NET_HTTP_HTTP_ADMIN_H

#include "common/metrics/registry.h"
#include "common/net/http/http_server.h"

struct tel_http_admin {
    struct tel_metrics *metrics;
    /* False, and why, if it should not be sent work now. Any thread. */
    bool (*ready)(void *ctx, struct tel_buf *ret_why);
    void *ctx;
};

/* Before the server's start; admin outlives it. */
void tel_http_admin_routes(const struct tel_http_admin *admin, struct tel_http_server *server);

#endif
