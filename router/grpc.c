#include "router/grpc.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "common/net/rpc/workers.h"
#include "router/query_service.h"

#define WAITING_MAX 1024

struct router_grpc {
    struct tel_rpc_server *server;
    struct tel_rpc_workers *workers;
    struct query_service *service;
    struct users *users; /* NULL: everybody may call */
    char *token;         /* NULL: none */
    uint16_t port;
};

/* Takes as long for a wrong token as for a right one. */
static bool same_secret(struct tel_span given, const char *want)
{
    size_t len = strlen(want);
    unsigned char differ = given.len != len;
    for (size_t i = 0; i < len; i++)
        differ |= (unsigned char)(want[i] ^ (i < given.len ? given.ptr[i] : 0));
    return differ == 0;
}

static enum tel_rpc_status authorize(void *ctx, struct tel_rpc_call *call)
{
    const struct router_grpc *g = ctx;
    if (g->users && users_judge(g->users, tel_rpc_call_header(call, "authorization"),
                                (struct tel_span){0}, USERS_ANY) != USERS_MAY)
        return TEL_RPC_UNAUTHENTICATED;
    if (!g->token || same_secret(tel_rpc_call_bearer(call), g->token))
        return TEL_RPC_OK;
    return TEL_RPC_UNAUTHENTICATED;
}

static bool dispatch(void *ctx, void (*run)(void *arg), void *arg)
{
    struct router_grpc *g = ctx;
    return tel_rpc_workers_dispatch(g->workers, run, arg);
}

tel_code router_grpc_start(struct router *router, const struct router_grpc_options *options,
                           struct router_grpc **ret, struct tel_error *err)
{
    struct router_grpc *g = TEL_NEW(struct router_grpc);
    g->users = options->users;
    g->token = options->token.len ? tel_strndup(options->token) : NULL;
    g->service = query_service_new(router, options->users, NULL);
    struct tel_rpc_server_options o = {.listen = options->listen,
                                       .tls = options->tls,
                                       .ctx = g,
                                       .authorize = authorize,
                                       .dispatch = dispatch};
    tel_code rc = tel_rpc_workers_new(options->workers ? options->workers : 32, WAITING_MAX,
                                      &g->workers, err);
    if (rc == TEL_OK)
        rc = tel_rpc_server_new(&o, &g->server, err);
    if (rc == TEL_OK)
        rc = query_service_add(g->service, g->server, err);
    if (rc == TEL_OK)
        rc = tel_rpc_server_start(g->server, &g->port, err);
    if (rc != TEL_OK) {
        router_grpc_free(g, 0);
        return rc;
    }
    *ret = g;
    return TEL_OK;
}

uint16_t router_grpc_port(const struct router_grpc *grpc)
{
    return grpc->port;
}

void router_grpc_set_health(struct router_grpc *grpc, bool serving)
{
    tel_rpc_server_set_health(grpc->server, NULL, serving);
    tel_rpc_server_set_health(grpc->server, "telescope.router.v1.Query", serving);
}

void router_grpc_free(struct router_grpc *g, int grace_ms)
{
    if (!g)
        return;
    if (g->server)
        tel_rpc_server_stop(g->server, grace_ms);
    tel_rpc_server_free(g->server);
    tel_rpc_workers_free(g->workers);
    query_service_free(g->service);
    if (g->token)
        explicit_bzero(g->token, strlen(g->token));
    free(g->token);
    free(g);
}
