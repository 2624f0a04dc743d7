/* telescope-router: parse, scatter, gather, answer. Keeps nothing; any number may run side by side.
 */
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/conf/program.h"
#include "common/metrics/registry.h"
#include "common/net/http/http_admin.h"
#include "common/sys/limits.h"
#include "router/grpc.h"
#include "router/select.h"
#include "router/shard_client_rpc.h"
#include "router/users.h"

#define TEL_LOG_COMPONENT "router"
#include "common/base/log.h"

struct shard_config {
#define CONF TEL_CONF_MEMBER
#include "router/shards.def"
#undef CONF
};
#define CONF(...) TEL_CONF_ITEM(struct shard_config, __VA_ARGS__)
static const struct tel_conf_item shard_items[] = {
#include "router/shards.def"
};
#undef CONF
static const struct tel_conf_table shard_table = TEL_CONF_TABLE(shard_items, struct shard_config);

struct router_config {
#define CONF TEL_CONF_MEMBER
#include "router/config.def"
#undef CONF
};
#define CONF(...) TEL_CONF_ITEM(struct router_config, __VA_ARGS__)
static const struct tel_conf_item config_items[] = {
#include "router/config.def"
};
#undef CONF
static const struct tel_conf_table config_table =
    TEL_CONF_TABLE(config_items, struct router_config);

struct program {
    const struct router_config *config;
    struct tel_metrics *metrics;
    struct tel_rpc_tls *shard_tls, *grpc_tls;
    struct shard_client *client;
    struct tel_memory_pool *memory_pool; /* of all queries */
    struct tel_lanes *lanes;             /* for those that take long */
    struct router *router;
    struct select *select;
    struct users *users;
    struct tel_http_admin watched;
    struct tel_http_server *http;
    struct router_grpc *grpc;
    _Atomic bool stopping;
};

static const char *or_null(const char *s)
{
    return s[0] ? s : NULL;
}

/* ---- the shard map --------------------------------------------------------------------------- */

static tel_code make_map(const struct router_config *c, struct shard_map **ret,
                         struct tel_error *err)
{
    struct shard_map *map = shard_map_new(0);
    tel_code rc = TEL_OK;
    for (size_t i = 0; i < c->shards.len && rc == TEL_OK; i++) {
        const struct shard_config *s = TEL_CONF_SECTION(c->shards, struct shard_config, i);
        rc = shard_map_add_ranges(map, s->partitions, s->address, err);
    }
    if (rc != TEL_OK) {
        shard_map_unref(map);
        return rc;
    }
    *ret = map;
    return TEL_OK;
}

static void check(const void *config, struct tel_conf *conf, struct tel_conf_mistakes *mistakes)
{
    const struct router_config *c = config;
    struct shard_map *map;
    struct tel_error err;
    (void)conf;
    for (size_t i = 0; i < c->shards.len; i++) {
        const struct shard_config *s = TEL_CONF_SECTION(c->shards, struct shard_config, i);
        map = shard_map_new(0);
        if (shard_map_add_ranges(map, s->partitions, s->address, &err) != TEL_OK)
            tel_conf_mistake(mistakes, c->shards.nodes[i], "partitions", "%s", err.text);
        shard_map_unref(map);
    }
    if (mistakes->count == 0 && make_map(c, &map, &err) != TEL_OK)
        tel_conf_mistake(mistakes, conf->root, "shards", "%s", err.text);
    else if (mistakes->count == 0)
        shard_map_unref(map);
    if (!c->http_cert_file[0] != !c->http_key_file[0])
        tel_conf_mistake(mistakes, conf->root, "http.tls.cert_file",
                         "a certificate needs its key, and a key its certificate");
    if (!c->grpc_cert_file[0] != !c->grpc_key_file[0])
        tel_conf_mistake(mistakes, conf->root, "grpc.tls.cert_file",
                         "a certificate needs its key, and a key its certificate");
    users_conf_check(&c->users, mistakes);
    if (c->users.len && c->grpc_token[0])
        tel_conf_mistake(mistakes, conf->root, "grpc.token", "users have tokens of their own: give one or the other");
    if (c->grpc_ca_file[0] && !c->grpc_cert_file[0])
        tel_conf_mistake(
            mistakes, conf->root, "grpc.tls.ca_file",
            "clients can be asked for certificates only with TLS (grpc.tls.cert_file)");
}

/* ---- admin ----------------------------------------------------------------------------------- */

/* A router without shards to ask, or one that stops, should be sent no queries. Shards that are
 * down do not count: its answers say so, and all routers would go at once. */
static bool is_ready(void *ctx, struct tel_buf *ret_why)
{
    struct program *p = ctx;
    struct shard_map *map = router_map(p->router);
    size_t partitions;
    shard_map_partitions(map, &partitions);
    shard_map_unref(map);
    if (atomic_load(&p->stopping))
        TEL_BUF_ADD_LIT(ret_why, "stopping");
    else if (partitions == 0)
        TEL_BUF_ADD_LIT(ret_why, "no shards are known");
    return ret_why->len == 0;
}

/* ---- start and stop -------------------------------------------------------------------------- */

static tel_code load_tls(struct program *p, struct tel_error *err)
{
    const struct router_config *c = p->config;
    tel_code rc = TEL_OK;
    if (c->shard_ca_file[0]) {
        struct tel_rpc_tls_options o = {.ca_file = c->shard_ca_file,
                                        .cert_file = or_null(c->shard_cert_file),
                                        .key_file = or_null(c->shard_key_file)};
        rc = tel_rpc_tls_new(&o, &p->shard_tls, err);
    }
    if (rc == TEL_OK && c->grpc_cert_file[0]) {
        struct tel_rpc_tls_options o = {.ca_file = or_null(c->grpc_ca_file),
                                        .cert_file = c->grpc_cert_file,
                                        .key_file = c->grpc_key_file};
        rc = tel_rpc_tls_new(&o, &p->grpc_tls, err);
    }
    return rc;
}

static tel_code start_router(struct program *p, struct tel_error *err)
{
    const struct router_config *c = p->config;
    struct shard_client_rpc_options o = {.tls = p->shard_tls,
                                         .server_name = or_null(c->shard_server_name),
                                         .bearer = tel_span_cstr(c->shard_token)};
    struct shard_map *map = NULL;
    tel_code rc = shard_client_rpc_new(&o, &p->client, err);
    if (rc == TEL_OK)
        rc = make_map(c, &map, err);
    if (rc != TEL_OK)
        return rc;
    p->memory_pool = tel_memory_pool_new((size_t)c->query_memory_total);
    p->lanes = tel_lanes_new(tel_limits_cpus());
    struct router_options r = {
        .memory_pool = p->memory_pool,
        .lanes = p->lanes,
        .timeout_ms = c->query_timeout,
        .timeout_max_ms = c->query_timeout_max,
        .memory_bytes = (size_t)c->query_memory,
        .cache_bytes = (size_t)c->query_cache,
        .hedge_after_ms = c->query_hedge_after ? (int)c->query_hedge_after : -1,
        .queries_max = (unsigned)c->query_concurrency,
        .queries_waiting = (unsigned)c->query_waiting,
        .wait_max_ms = (int)c->query_wait,
        .slow_ms = c->query_slow ? (int)c->query_slow : -1,
    };
    p->router = router_new(&r, p->client, map, p->metrics);
    p->select = select_new(p->router, NULL);
    shard_map_unref(map);
    return TEL_OK;
}

static tel_code start_faces(struct program *p, struct tel_error *err)
{
    const struct router_config *c = p->config;
    p->users = users_new(&c->users);
    struct tel_http_server_options h = {.address = c->http_listen,
                                        .connections_max = (uint32_t)c->http_connections,
                                        .authorize = users_http_authorize,
                                        .authorize_ctx = p->users,
                                        .tls_cert_file = or_null(c->http_cert_file),
                                        .tls_key_file = or_null(c->http_key_file)};
    tel_code rc = tel_http_server_new(&h, &p->http, err);
    if (rc != TEL_OK)
        return rc;
    p->watched = (struct tel_http_admin){p->metrics, is_ready, p};
    tel_http_admin_routes(&p->watched, p->http);
    select_add_routes(p->select, p->http);
    struct router_grpc_options g = {.listen = c->grpc_listen,
                                    .tls = p->grpc_tls,
                                    .users = p->users,
                                    .token = tel_span_cstr(c->grpc_token),
                                    .workers = (unsigned)c->grpc_workers};
    rc = router_grpc_start(p->router, &g, &p->grpc, err);
    return rc == TEL_OK ? tel_http_server_start(p->http, err) : rc;
}

static void on_reload(const void *config, struct tel_conf *conf, void *arg)
{
    struct program *p = arg;
    const struct router_config *fresh = config;
    struct tel_error err;
    struct shard_map *map;
    (void)conf;
    users_set(p->users, &fresh->users);
    if (make_map(config, &map, &err) == TEL_OK) {
        router_set_map(p->router, map);
        shard_map_unref(map);
    }
    if (p->shard_tls && tel_rpc_tls_reload(p->shard_tls, &err) != TEL_OK)
        tel_log_warn("shard_tls not reloaded", tel_kv_error(&err));
    if (p->grpc_tls && tel_rpc_tls_reload(p->grpc_tls, &err) != TEL_OK)
        tel_log_warn("grpc certificates not reloaded", tel_kv_error(&err));
    if (p->config->http_cert_file[0] && tel_http_server_reload(p->http, &err) != TEL_OK)
        tel_log_warn("http certificates not reloaded", tel_kv_error(&err));
}

static void program_stop(struct program *p)
{
    struct tel_error err;
    int grace_ms = (int)p->config->drain;
    atomic_store(&p->stopping, true);
    router_grpc_free(p->grpc, grace_ms);
    if (p->http && tel_http_server_drain(p->http, (uint32_t)grace_ms, &err) != TEL_OK)
        tel_log_warn("queries are cut off", tel_kv_error(&err));
    tel_http_server_free(p->http);
    select_free(p->select);
    users_free(p->users);
    router_free(p->router);
    tel_memory_pool_free(p->memory_pool);
    tel_lanes_free(p->lanes);
    if (p->client)
        p->client->ops->free(p->client);
    tel_rpc_tls_unref(p->shard_tls);
    tel_rpc_tls_unref(p->grpc_tls);
    tel_metrics_free(p->metrics);
}

static tel_code run(const void *config, struct tel_program_run *run, struct tel_error *err)
{
    struct program p = {.config = config, .metrics = tel_metrics_new()};
    tel_limits_raise_open_files(65536);
    tel_code rc = load_tls(&p, err);
    if (rc == TEL_OK)
        rc = start_router(&p, err);
    if (rc == TEL_OK)
        rc = start_faces(&p, err);
    if (rc == TEL_OK) {
        tel_log_info("ready", tel_kv_str("http", tel_http_server_address(p.http)),
                     tel_kv_u64("grpc_port", router_grpc_port(p.grpc)),
                     tel_kv_u64("shards", p.config->shards.len));
        tel_program_wait(run, on_reload, &p);
    }
    program_stop(&p);
    return rc;
}

static void write_metrics(struct tel_buf *out)
{
    const struct tel_metric_table *tables[] = {&router_metric_table};
    tel_metrics_doc_markdown(out, "telescope-router", tables, 1);
}

int main(int argc, char **argv)
{
    static const struct tel_program_doc docs[] = {{"metrics", write_metrics}};
    static const struct tel_program program = {
        .name = "telescope-router",
        .summary = "Answers queries from the shard servers, over HTTP and gRPC.",
        .table = &config_table,
        .docs = docs,
        .doc_count = TEL_ARRAY_LEN(docs),
        .check = check,
        .run = run,
    };
    return tel_program_main(&program, argc, argv);
}
