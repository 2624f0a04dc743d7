/* telescope-shard: consumes partitions of a Kafka topic, indexes them, and answers searches. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TEL_LOG_COMPONENT "shard"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/conf/program.h"
#include "common/metrics/registry.h"
#include "common/logsql/memory.h"
#include "common/sys/lanes.h"
#include "common/sys/limits.h"
#include "common/transport/dead_letter.h"
#include "common/transport/transport_kafka.h"
#include "shard/admin.h"
#include "shard/commands.h"
#include "shard/grpc.h"
#include "shard/metrics.h"
#include "shard/shard.h"
#include "shard/tenants.h"

#define GRACE_MS       5000
#define OPEN_FILES     65536u
#define PARTITIONS_MAX 1024u

struct shard_config {
#define CONF TEL_CONF_MEMBER
#include "shard/config.def"
#undef CONF
};

#define CONF(...) TEL_CONF_ITEM(struct shard_config, __VA_ARGS__)
static const struct tel_conf_item items[] = {
#include "shard/config.def"
};
#undef CONF
static const struct tel_conf_table shard_conf_table = TEL_CONF_TABLE(items, struct shard_config);

typedef TEL_VEC(uint32_t) partition_list;

/* "3" or "0-3". */
static bool parse_partitions(const char *text, partition_list *ret)
{
    struct tel_span rest = tel_span_trim(tel_span_cstr(text));
    struct tel_span first = tel_span_split(&rest, '-');
    unsigned long long from, to;
    if (!tel_span_to_u64(first, &from))
        return false;
    to = from;
    if (rest.ptr && !tel_span_to_u64(rest, &to))
        return false;
    if (to < from || to > INT32_MAX || to - from >= PARTITIONS_MAX)
        return false;
    for (unsigned long long p = from; p <= to && ret->len < PARTITIONS_MAX; p++)
        tel_vec_push(ret, (uint32_t)p);
    return true;
}

static void check(const void *config, struct tel_conf *conf, struct tel_conf_mistakes *mistakes)
{
    const struct shard_config *c = config;
    partition_list list = {0};
    for (size_t i = 0; i < c->partitions.len; i++)
        if (!parse_partitions(c->partitions.items[i], &list))
            tel_conf_mistake(mistakes, conf->root, "partitions",
                             "\"%s\" is neither a number nor a range such as 0-3",
                             c->partitions.items[i]);
    for (size_t i = 0; i < list.len; i++)
        for (size_t j = 0; j < i; j++)
            if (list.items[i] == list.items[j])
                tel_conf_mistake(mistakes, conf->root, "partitions", "%" PRIu32 " is there twice",
                                 list.items[i]);
    tel_vec_free(&list);
    for (size_t i = 0; i < c->kafka_properties.len; i++)
        if (!strchr(c->kafka_properties.items[i], '='))
            tel_conf_mistake(mistakes, conf->root, "kafka.properties",
                             "entry %zu is not name=value", i);
    shard_tenants_check(&c->retention_tenants, mistakes);
    if ((*c->tls_cert_file != '\0') != (*c->tls_key_file != '\0'))
        tel_conf_mistake(mistakes, conf->root, "grpc.tls", "cert_file and key_file go together");
    if (c->flush_interval_max < c->flush_interval)
        tel_conf_mistake(mistakes, conf->root, "flush.interval_max",
                         "is less than flush.interval");
}

/* ---- Kafka -------------------------------------------------------------------------------------- */

typedef TEL_VEC(char *) text_list;

/* name, value, name, value, ..., NULL. */
static void split_properties(const struct tel_conf_strings *list, text_list *ret)
{
    for (size_t i = 0; i < list->len; i++) {
        struct tel_span rest = tel_span_cstr(list->items[i]);
        struct tel_span name = tel_span_split(&rest, '=');
        tel_vec_push(ret, tel_strndup(name));
        tel_vec_push(ret, tel_strndup(rest));
    }
    tel_vec_push(ret, NULL);
}

/* create_partitions: for a topic that is made when it is not there. */
static tel_code open_kafka(const struct shard_config *c, const char *topic,
                           uint32_t create_partitions, struct tel_transport **ret,
                           struct tel_error *err)
{
    text_list properties = {0};
    split_properties(&c->kafka_properties, &properties);
    struct tel_kafka_options options = {
        .brokers = c->kafka_brokers,
        .topic = topic,
        .create_partitions = create_partitions,
        .fetch_bytes = (uint64_t)c->kafka_fetch_bytes,
        .client_id = "telescope-shard",
        .properties = (const char *const *)properties.items,
    };
    tel_code rc = tel_transport_kafka_new(&options, ret, err);
    for (size_t i = 0; i < properties.len; i++)
        free(properties.items[i]);
    tel_vec_free(&properties);
    return rc;
}

/* ---- running ------------------------------------------------------------------------------------ */

struct program {
    char node[256];
    partition_list partitions;
    struct tel_metrics *metrics;
    struct tel_transport *transport, *dead_transport;
    struct tel_dead_letters *dead_letters; /* NULL: none are kept */
    struct tel_memory_pool *memory_pool; /* of all queries */
    struct tel_lanes *lanes;             /* for those that take long */
    struct shard_server *server;
    struct shard_grpc *grpc;
    struct shard_admin *admin;
};

static struct retention_rules retention_rules(const struct shard_config *c,
                                              const struct retention_tenant *tenants)
{
    return (struct retention_rules){
        .days = (uint32_t)c->retention_days,
        .bytes = (uint64_t)c->retention_bytes,
        .tenants = tenants,
        .tenant_count = c->retention_tenants.len,
    };
}

static tel_code start_server(const struct shard_config *c, struct program *p,
                             struct tel_error *err)
{
    struct retention_tenant *tenants = shard_tenants_rules(&c->retention_tenants);
    p->memory_pool = tel_memory_pool_new((size_t)c->memory_queries);
    p->lanes = tel_lanes_new(tel_limits_cpus());
    struct shard_options options = {
        .dir = c->data_dir,
        .memory_pool = p->memory_pool,
        .lanes = p->lanes,
        .node = p->node,
        .partitions = p->partitions.items,
        .partition_count = p->partitions.len,
        .metrics = p->metrics,
        .bury = p->dead_letters ? tel_dead_letters_bury : NULL,
        .bury_ctx = p->dead_letters,
        .schemas_dir = c->record_schemas,
        .memory_bytes = (uint64_t)c->memory_events,
        .cache_bytes = (uint64_t)c->memory_cache,
        .resident_bytes = (uint64_t)c->memory_resident,
        .query_memory_bytes = (uint64_t)c->memory_query,
        .segment_rows = (uint64_t)c->flush_rows,
        .flush_interval_ms = (uint32_t)c->flush_interval,
        .flush_interval_max_ms = (uint32_t)c->flush_interval_max,
        .workers = (unsigned)c->query_threads,
        .retention = retention_rules(c, tenants),
        .clock_confirm_s = (uint32_t)(c->clock_confirm / 1000),
        .cold_after_days = (uint32_t)c->cold_after_days,
        .quiet_after_ms = (uint32_t)c->merge_quiet_after,
        .maintain_bytes_per_s = c->maintain_rate ? (uint64_t)c->maintain_rate : UINT64_MAX,
        .maintain_cpu_percent = (unsigned)c->maintain_cpu,
        .disk_reserve_bytes = (uint64_t)c->disk_reserve,
        .future_limit_s = (uint32_t)TEL_MIN(c->future_limit / 1000, (int64_t)UINT32_MAX),
        .future_policy = (enum shard_policy)c->future_policy,
        .source_ttl_days = (uint32_t)TEL_MAX(c->sources_ttl / 86400000, 1),
    };
    tel_code rc = shard_server_new(&options, p->transport, &p->server, err);
    free(tenants);
    return rc;
}

static tel_code start_admin(const struct shard_config *c, struct program *p, struct tel_error *err)
{
    struct shard_admin_options options = {
        .listen = c->admin_listen,
        .snapshot_dir = c->snapshot_dir,
        .snapshot_bytes_per_s = (uint64_t)c->snapshot_rate,
    };
    return shard_admin_new(&options, p->server, p->metrics, &p->admin, err);
}

static tel_code start(const struct shard_config *c, struct program *p, struct tel_error *err)
{
    for (size_t i = 0; i < c->partitions.len; i++)
        TEL_CHECK(parse_partitions(c->partitions.items[i], &p->partitions));
    if (*c->node)
        snprintf(p->node, sizeof(p->node), "%s", c->node);
    else if (gethostname(p->node, sizeof(p->node) - 1) != 0)
        snprintf(p->node, sizeof(p->node), "unknown");
    tel_limits_raise_open_files(OPEN_FILES);
    p->metrics = tel_metrics_new();
    uint16_t port;
    tel_code rc = open_kafka(c, c->kafka_topic, 0, &p->transport, err);
    if (rc == TEL_OK && *c->kafka_dead_letter_topic)
        rc = open_kafka(c, c->kafka_dead_letter_topic, 1, &p->dead_transport, err);
    if (rc == TEL_OK && p->dead_transport)
        p->dead_letters = tel_dead_letters_new(p->dead_transport, c->kafka_topic);
    if (rc == TEL_OK)
        rc = start_server(c, p, err);
    if (rc == TEL_OK) {
        struct shard_grpc_options options = {
            .listen = c->grpc_listen,
            .workers = (unsigned)c->grpc_workers,
            .cert_file = c->tls_cert_file,
            .key_file = c->tls_key_file,
            .ca_file = c->tls_ca_file,
        };
        rc = shard_grpc_new(&options, p->server, &p->grpc, &port, err);
    }
    if (rc == TEL_OK)
        rc = start_admin(c, p, err);
    if (rc == TEL_OK)
        tel_log_info("ready", tel_kv_str("node", p->node), tel_kv_str("grpc", c->grpc_listen),
                     tel_kv_u64("grpc_port", port),
                     tel_kv_str("admin", shard_admin_address(p->admin)),
                     tel_kv_u64("partitions", p->partitions.len));
    return rc;
}

static void stop(struct program *p)
{
    if (p->grpc)
        shard_grpc_stop(p->grpc, GRACE_MS);
    if (p->server)
        shard_server_stop(p->server, true);
    shard_grpc_free(p->grpc);
    shard_admin_free(p->admin);
    shard_server_free(p->server);
    tel_memory_pool_free(p->memory_pool);
    tel_lanes_free(p->lanes);
    tel_dead_letters_free(p->dead_letters);
    tel_transport_free(p->dead_transport);
    tel_transport_free(p->transport);
    tel_metrics_free(p->metrics);
    tel_vec_free(&p->partitions);
}

static void on_reload(const void *config, struct tel_conf *conf, void *arg)
{
    const struct shard_config *c = config;
    struct program *p = arg;
    (void)conf;
    struct retention_tenant *tenants = shard_tenants_rules(&c->retention_tenants);
    struct retention_rules rules = retention_rules(c, tenants);
    shard_server_set_retention(p->server, &rules);
    free(tenants);
}

static tel_code run(const void *config, struct tel_program_run *program_run,
                    struct tel_error *err)
{
    struct program p = {0};
    tel_code rc = start(config, &p, err);
    if (rc == TEL_OK)
        tel_program_wait(program_run, on_reload, &p);
    stop(&p);
    return rc;
}

static void write_metrics_doc(struct tel_buf *out)
{
    const struct tel_metric_table *const tables[] = {&shard_metric_table};
    tel_metrics_doc_markdown(out, "telescope-shard", tables, TEL_ARRAY_LEN(tables));
}

int main(int argc, char **argv)
{
    static const struct tel_program_flag flags[] = {
        {"--data", "DIR", "data.dir", "Where the index lies", false},
    };
    static const struct tel_program_doc docs[] = {{"metrics", write_metrics_doc}};
    static const struct tel_program program = {
        .name = "telescope-shard",
        .summary = "Indexes partitions of the queue and answers searches.\n"
                   "`telescope-shard verify DIR`, `snapshot DEST` and `restore SNAPSHOT --data DIR` check, "
                   "copy and make a data folder; each has --help.",
        .table = &shard_conf_table,
        .flags = flags,
        .flag_count = TEL_ARRAY_LEN(flags),
        .docs = docs,
        .doc_count = TEL_ARRAY_LEN(docs),
        .check = check,
        .run = run,
    };
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {
        {"verify", shard_command_verify},
        {"snapshot", shard_command_snapshot},
        {"restore", shard_command_restore},
    };
    for (size_t i = 0; argc > 1 && i < TEL_ARRAY_LEN(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc, argv);
    return tel_program_main(&program, argc, argv);
}
