/*
 * telescope standalone: sidecar, queue, shards and router in one process.
 *
 *     --tail files ─> sidecar ─┐
 *                              ├─> journal (DIR/queue) ─> shard server (DIR/index) <─ router <─ HTTP, gRPC
 *     HTTP /insert ─> insert ──┘
 *
 * Each part is the library that its program is made of. They are made from right to left and taken
 * down from left to right: no part ever sees one that it needs gone.
 */
#include "cli/standalone.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "common/base/mem.h"
#include "common/conf/program.h"
#include "common/metrics/registry.h"
#include "common/net/http/http_admin.h"
#include "common/net/rpc/server.h"
#include "common/net/rpc/workers.h"
#include "common/sys/fs.h"
#include "common/sys/limits.h"
#include "common/transport/transport_journal.h"
#include "router/query_service.h"
#include "router/router.h"
#include "router/select.h"
#include "router/shard_client.h"
#include "shard/shard.h"
#include "shard/tenants.h"
#include "sidecar/insert/insert.h"
#include "sidecar/sidecar.h"

#define TEL_LOG_COMPONENT "standalone"
#include "common/base/log.h"

#define RETENTION_MIN (UINT64_C(16) << 20)
#define QUEUE_RESERVE_MAX (UINT64_C(2) << 30)
#define GRPC_WORKERS  16
#define GRPC_WAITING  1000

#define COLD_AFTER_DAYS 7 /* as a shard server has it by default */

#define CONF(...) TEL_CONF_ITEM(struct standalone_config, __VA_ARGS__)
static const struct tel_conf_item conf_items[] = {
#include "cli/standalone.def"
};
#undef CONF
const struct tel_conf_table standalone_conf_table = TEL_CONF_TABLE(conf_items, struct standalone_config);

struct standalone {
    const struct standalone_config *config;
    struct tel_arena arena; /* paths */
    struct tel_fs_lock *lock;
    struct tel_metrics *metrics;
    struct standalone_parts p;
    struct tel_memory_pool *memory_pool; /* of all queries */
    struct tel_lanes *lanes;             /* for those that take long */
    struct users *users;
    struct tel_http_admin watched;
    struct shard_server *shards;
    uint64_t budget; /* bytes of segments, unless the configuration says so */
    struct shard_client *client;
    struct router *router;
    struct select *select;
    struct tel_rpc_workers *workers;
    struct query_service *service;
    struct tel_rpc_server *grpc;
    char grpc_address[320];
};

static const char *below(struct standalone *s, const char *name)
{
    return tel_arena_printf(&s->arena, "%s/%s", s->config->data_dir, name).ptr;
}

/* ---- the parts, in the order of their making ---------------------------------------------- */

static tel_code take_folder(struct standalone *s, struct tel_error *err)
{
    tel_code rc = tel_fs_mkdir_all(tel_fs_system(), s->config->data_dir, err);
    if (rc == TEL_OK)
        rc = tel_fs_lock(below(s, "LOCK"), &s->lock, err);
    if (rc == TEL_ERR_LOCKED)
        return tel_error_wrap(err, rc, "another telescope runs on %s", s->config->data_dir);
    return rc;
}

/* What the queue leaves free: the index needs room to take from the queue what fills the disk. Twice
 * what a shard pauses at. */
static tel_code queue_reserve(struct standalone *s, uint64_t *ret, struct tel_error *err)
{
    struct tel_fs_space space = {0};
    tel_code rc = tel_fs_space(tel_fs_system(), s->config->data_dir, &space, err);
    if (rc == TEL_OK)
        *ret = TEL_MIN(space.total_bytes / 10, QUEUE_RESERVE_MAX);
    return rc;
}

static tel_code open_queue(struct standalone *s, struct tel_error *err)
{
    const struct standalone_config *c = s->config;
    struct tel_transport_journal_options o = {
        .dir = below(s, "queue"),
        .partitions = (uint32_t)c->queue_partitions,
        .partition_bytes = (uint64_t)c->queue_bytes,
        .sync_interval_ms = (uint32_t)c->queue_sync_interval,
    };
    tel_code rc = queue_reserve(s, &o.disk_reserve_bytes, err);
    if (rc == TEL_OK)
        rc = tel_transport_journal_new(&o, &s->p.queue, err);
    return rc == TEL_OK ? tel_transport_partitions(s->p.queue, 1000, &s->p.partitions, err) : rc;
}

/* The budget that is printed at start: what was asked for, or half of what was free when the folder
 * was made. That is written down: half of what is free now would shrink with every start. */
static tel_code size_budget(struct standalone *s, uint64_t *ret, struct tel_error *err)
{
    struct tel_fs *fs = tel_fs_system();
    struct tel_fs_space space = {0};
    struct tel_buf text = {0};
    unsigned long long known = 0;
    *ret = (uint64_t)s->config->retention_bytes;
    if (*ret)
        return TEL_OK;
    const char *path = below(s, "RETENTION");
    tel_code rc = tel_fs_read_all(fs, path, 64, &text, err);
    if (rc == TEL_OK && tel_span_to_u64(tel_span_trim(tel_buf_span(&text)), &known) && known > 0) {
        *ret = known;
    } else if (rc == TEL_OK || rc == TEL_ERR_NOTFOUND) {
        rc = tel_fs_space(fs, s->config->data_dir, &space, err);
        *ret = TEL_MAX(space.free_bytes / 2, RETENTION_MIN);
        tel_buf_clear(&text);
        tel_buf_printf(&text, "%llu\n", (unsigned long long)*ret);
        if (rc == TEL_OK)
            rc = tel_fs_write_atomic(fs, path, tel_buf_span(&text), err);
    }
    tel_buf_free(&text);
    return rc;
}

static tel_code start_shards(struct standalone *s, struct tel_error *err)
{
    const struct standalone_config *c = s->config;
    uint64_t budget = 0;
    uint32_t partitions = s->p.partitions;
    tel_code rc = size_budget(s, &budget, err);
    if (rc != TEL_OK)
        return rc;
    uint32_t *all = TEL_ARENA_ARRAY(&s->arena, uint32_t, partitions);
    for (uint32_t i = 0; i < partitions; i++)
        all[i] = i;
    struct retention_tenant *tenants = shard_tenants_rules(&c->retention_tenants);
    s->memory_pool = tel_memory_pool_new((size_t)c->query_memory_total);
    s->lanes = tel_lanes_new(tel_limits_cpus());
    struct shard_options o = {
        .dir = below(s, "index"),
        .memory_pool = s->memory_pool,
        .lanes = s->lanes,
        .node = STANDALONE_SHARD,
        .partitions = all,
        .partition_count = partitions,
        .metrics = s->metrics,
        .memory_bytes = (uint64_t)c->memory_bytes,
        .query_memory_bytes = (uint64_t)c->query_memory_bytes,
        .cold_after_days = COLD_AFTER_DAYS,
        .retention = {.days = (uint32_t)c->retention_days,
                      .bytes = budget,
                      .tenants = tenants,
                      .tenant_count = c->retention_tenants.len},
    };
    s->budget = budget;
    char size[32];
    cli_size_text(size, budget);
    tel_log_info("keeping events", tel_kv_str("up_to", size),
                 c->retention_days ? tel_kv_i64("days", c->retention_days) : tel_kv_str("days", "any"),
                 tel_kv_str("dir", c->data_dir));
    rc = shard_server_new(&o, s->p.queue, &s->shards, err);
    free(tenants);
    return rc;
}

static tel_code start_router(struct standalone *s, struct tel_error *err)
{
    const struct standalone_config *c = s->config;
    tel_code rc = standalone_shard_client(s->shards, &s->client, err);
    if (rc != TEL_OK)
        return rc;
    struct shard_map *map = shard_map_new(0);
    for (uint32_t i = 0; i < s->p.partitions && rc == TEL_OK; i++)
        rc = shard_map_add(map, i, STANDALONE_SHARD, err);
    struct router_options o = {.timeout_ms = c->query_timeout, .memory_bytes = (size_t)c->query_memory_bytes,
                               .memory_pool = s->memory_pool,
                               .lanes = s->lanes,
                               .slow_ms = c->query_slow ? (int)c->query_slow : -1,
                               .cache_bytes = (size_t)c->query_cache};
    if (rc == TEL_OK) {
        s->router = router_new(&o, s->client, map, s->metrics);
        s->select = select_new(s->router, NULL);
    }
    shard_map_unref(map);
    return rc;
}

/* ---- admin -------------------------------------------------------------------------------- */

static bool is_ready(void *ctx, struct tel_buf *ret_why)
{
    const struct standalone *s = ctx;
    bool ready = shard_server_ready(s->shards);
    if (!ready)
        TEL_BUF_ADD_LIT(ret_why, "catching up with the queue");
    return ready;
}

static tel_code open_http(struct standalone *s, struct tel_error *err)
{
    const struct standalone_config *c = s->config;
    s->users = users_new(&c->users);
    struct tel_http_server_options h = {
        .address = c->http_address,
        .connections_max = (uint32_t)c->http_connections_max,
        .authorize = users_http_authorize,
        .authorize_ctx = s->users,
        .tls_cert_file = c->http_cert_file[0] ? c->http_cert_file : NULL,
        .tls_key_file = c->http_key_file[0] ? c->http_key_file : NULL,
    };
    struct tel_insert_options i = {
        .transport = s->p.queue,
        .dir = below(s, "insert"),
        .body_max = (uint64_t)c->insert_body_max,
        .send_timeout_ms = (uint32_t)c->insert_timeout,
    };
    tel_code rc = tel_insert_new(&i, &s->p.insert, err);
    if (rc == TEL_OK)
        rc = tel_http_server_new(&h, &s->p.http, err);
    if (rc != TEL_OK)
        return rc;
    s->watched = (struct tel_http_admin){s->metrics, is_ready, s};
    tel_http_admin_routes(&s->watched, s->p.http);
    select_add_routes(s->select, s->p.http);
    tel_insert_routes(s->p.insert, s->p.http);
    return tel_http_server_start(s->p.http, err);
}

static tel_code open_grpc(struct standalone *s, struct tel_error *err)
{
    const char *listen = s->config->grpc_address, *colon = strrchr(listen, ':');
    uint16_t port = 0;
    tel_code rc = tel_rpc_workers_new(GRPC_WORKERS, GRPC_WAITING, &s->workers, err);
    if (rc != TEL_OK)
        return rc;
    s->service = query_service_new(s->router, s->users, NULL);
    struct tel_rpc_server_options o = {.listen = listen, .ctx = s->workers, .dispatch = tel_rpc_workers_dispatch};
    rc = tel_rpc_server_new(&o, &s->grpc, err);
    if (rc == TEL_OK)
        rc = query_service_add(s->service, s->grpc, err);
    if (rc == TEL_OK)
        rc = tel_rpc_server_start(s->grpc, &port, err);
    if (rc == TEL_OK)
        snprintf(s->grpc_address, sizeof(s->grpc_address), "%.*s:%u", (int)(colon - listen), listen, port);
    return rc;
}

static tel_code start_tail(struct standalone *s, struct tel_error *err)
{
    const struct standalone_config *c = s->config;
    if (c->tail_paths.len == 0)
        return TEL_OK;
    struct sidecar_input input = {0};
    struct sidecar_tail space;
    sidecar_input_tail(&input, &space, "tail", (const char *const *)c->tail_paths.items, c->tail_paths.len);
    struct sidecar_options o = {.data_dir = below(s, "sidecar"), .inputs = &input, .input_count = 1};
    tel_code rc = sidecar_new(&o, s->p.queue, &s->p.sidecar, err);
    return rc == TEL_OK ? sidecar_start(s->p.sidecar, err) : rc;
}

/* ---- running ------------------------------------------------------------------------------ */

static void on_reload(const void *config, struct tel_conf *conf, void *arg)
{
    const struct standalone_config *c = config;
    struct standalone *s = arg;
    struct tel_error err;
    (void)conf;
    /* No budget means the one that was written down at the first start. */
    struct retention_tenant *tenants = shard_tenants_rules(&c->retention_tenants);
    struct retention_rules rules = {(uint32_t)c->retention_days,
                                    c->retention_bytes ? (uint64_t)c->retention_bytes : s->budget,
                                    tenants, c->retention_tenants.len};
    shard_server_set_retention(s->shards, &rules);
    free(tenants);
    users_set(s->users, &c->users);
    if (tel_http_server_reload(s->p.http, &err) != TEL_OK)
        tel_log_error("the certificate stays as it was", tel_kv_error(&err));
}

/* New work stops first, what is under way ends, then the parts behind it. */
static void drain(struct standalone *s)
{
    struct tel_error err;
    int grace = (int)s->config->stop_grace;
    if (s->p.http && tel_http_server_drain(s->p.http, (uint32_t)grace, &err) != TEL_OK)
        tel_log_warn("HTTP", tel_kv_error(&err));
    if (s->grpc)
        tel_rpc_server_stop(s->grpc, grace);
    if (s->p.sidecar && sidecar_stop(s->p.sidecar, grace, &err) != TEL_OK)
        tel_log_warn("not all that was read is stored; it will be read again", tel_kv_error(&err));
}

static void take_down(struct standalone *s)
{
    tel_metrics_off_collect(s->metrics, &s->p);
    tel_metrics_unregister(s->metrics, &s->p.metrics);
    tel_http_server_free(s->p.http);
    tel_rpc_server_free(s->grpc);
    tel_rpc_workers_free(s->workers);
    query_service_free(s->service);
    users_free(s->users);
    sidecar_free(s->p.sidecar);
    tel_insert_free(s->p.insert);
    select_free(s->select);
    router_free(s->router);
    if (s->client)
        s->client->ops->free(s->client);
    if (s->shards)
        shard_server_stop(s->shards, true);
    shard_server_free(s->shards);
    tel_memory_pool_free(s->memory_pool);
    tel_lanes_free(s->lanes);
    tel_transport_free(s->p.queue);
    tel_metrics_free(s->metrics);
    tel_fs_unlock(s->lock);
    tel_arena_free(&s->arena);
}

static tel_code start(struct standalone *s, struct tel_error *err)
{
    tel_code rc = take_folder(s, err);
    if (rc == TEL_OK)
        rc = open_queue(s, err);
    if (rc == TEL_OK)
        rc = start_shards(s, err);
    if (rc == TEL_OK)
        rc = start_router(s, err);
    if (rc == TEL_OK)
        rc = open_http(s, err);
    if (rc == TEL_OK)
        rc = open_grpc(s, err);
    if (rc == TEL_OK)
        rc = start_tail(s, err);
    return rc;
}

static tel_code run_standalone(const void *config, struct tel_program_run *run, struct tel_error *err)
{
    struct standalone s = {.config = config};
    tel_arena_init(&s.arena, 0);
    s.metrics = tel_metrics_new();
    (void)tel_limits_raise_open_files(65536);
    tel_metrics_register(s.metrics, &standalone_metric_table, &s.p.metrics, NULL, NULL);
    tel_code rc = start(&s, err);
    if (rc == TEL_OK) {
        tel_metrics_on_collect(s.metrics, standalone_metrics_collect, &s.p);
        printf("ready http=%s grpc=%s\n", tel_http_server_address(s.p.http), s.grpc_address);
        fflush(stdout);
        tel_program_wait(run, on_reload, &s);
        drain(&s);
    }
    take_down(&s);
    return rc;
}

static void check(const void *config, struct tel_conf *conf, struct tel_conf_mistakes *mistakes)
{
    const struct standalone_config *c = config;
    users_conf_check(&c->users, mistakes);
    if (!c->http_cert_file[0] != !c->http_key_file[0])
        tel_conf_mistake(mistakes, conf->root, "http.cert_file",
                         "HTTPS needs http.cert_file and http.key_file, both");
    shard_tenants_check(&c->retention_tenants, mistakes);
}

int cli_standalone(int argc, char **argv)
{
    static const struct tel_program_flag flags[] = {
        {"--data", "DIR", "data.dir", "Folder of the data", false},
        {"--http", "HOST:PORT", "http.address", "Where HTTP listens; port 0 takes a free one", false},
        {"--grpc", "HOST:PORT", "grpc.address", "Where gRPC listens; port 0 takes a free one", false},
        {"--tail", "GLOB", "tail.paths", "Files to follow; may be given several times", true},
    };
    static const struct tel_program_doc docs[] = {{"metrics", standalone_metrics_doc}};
    static const struct tel_program program = {
        .name = "telescope standalone",
        .summary = "All of Telescope in one process: logs in by HTTP or from files, queries out.",
        .table = &standalone_conf_table,
        .flags = flags,
        .flag_count = TEL_ARRAY_LEN(flags),
        .docs = docs,
        .doc_count = TEL_ARRAY_LEN(docs),
        .check = check,
        .run = run_standalone,
    };
    return tel_program_main(&program, argc, argv);
}
