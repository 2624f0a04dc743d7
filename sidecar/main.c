/* telescope-sidecar: collects logs through plugins and sends them to Kafka, or into a journal. */
#include <malloc.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/conf/program.h"
#include "common/metrics/registry.h"
#include "common/net/http/http_server.h"
#include "common/sys/fs.h"
#include "common/sys/limits.h"
#include "common/transport/transport_journal.h"
#include "common/transport/transport_kafka.h"
#include "sidecar/admin.h"
#include "sidecar/config.h"
#include "sidecar/insert/insert.h"

#define TEL_LOG_COMPONENT "sidecar"
#include "common/base/log.h"

enum { QUEUE_KAFKA, QUEUE_JOURNAL };

static tel_code open_journal(const struct sidecar_config *c, struct tel_transport **ret,
                             struct tel_error *err)
{
    struct tel_transport_journal_options o = {
        .fs = tel_fs_system(),
        .dir = c->journal_dir,
        .partitions = (uint32_t)c->journal_partitions,
        .partition_bytes = (uint64_t)c->journal_partition_bytes,
    };
    return tel_transport_journal_new(&o, ret, err);
}

/* "name=value" texts as name, value, ..., NULL. */
static tel_code properties_of(const struct sidecar_config *c, struct tel_arena *arena,
                              const char *const **ret, struct tel_error *err)
{
    size_t n = c->kafka_properties.len;
    const char **pairs = TEL_ARENA_ARRAY(arena, const char *, 2 * n + 1);
    for (size_t i = 0; i < n; i++) {
        struct tel_span rest = tel_span_cstr(c->kafka_properties.items[i]);
        struct tel_span name = tel_span_split(&rest, '=');
        if (!name.len || !rest.ptr)
            return tel_error_set(err, TEL_ERR_INVALID,
                                 "kafka.properties: number %zu is not name=value", i + 1);
        pairs[2 * i] = tel_arena_copy(arena, name).ptr;
        pairs[2 * i + 1] = tel_arena_copy(arena, rest).ptr;
    }
    *ret = pairs;
    return TEL_OK;
}

static tel_code open_kafka(const struct sidecar_config *c, struct tel_transport **ret,
                           struct tel_error *err)
{
    static const char *const codecs[] = {"lz4", "zstd", "none"};
    struct tel_arena arena;
    struct tel_kafka_options o = {
        .brokers = c->kafka_brokers,
        .topic = c->kafka_topic,
        .compression = codecs[c->kafka_compression],
        .queue_bytes = (uint64_t)c->kafka_queue_bytes,
        .linger_ms = (uint32_t)c->kafka_linger,
        .client_id = "telescope-sidecar",
    };
    tel_arena_init(&arena, 0);
    tel_code rc = properties_of(c, &arena, &o.properties, err);
    if (rc == TEL_OK)
        rc = tel_transport_kafka_new(&o, ret, err);
    tel_arena_free(&arena);
    return rc;
}

/* Inserts by HTTP go straight to the transport: their clients keep what is not acknowledged. */
struct inserts {
    struct tel_insert *insert;
    struct tel_http_server *http;
};

static tel_code inserts_open(const struct sidecar_config *c, struct tel_transport *transport,
                             struct inserts *ret, struct tel_error *err)
{
    if (!*c->insert_listen)
        return TEL_OK;
    struct tel_buf dir = {0};
    tel_buf_printf(&dir, "%s/insert", c->data_dir);
    struct sidecar_options options;
    config_options(c, &options);
    struct tel_insert_options o = {
        .transport = transport,
        .dir = tel_buf_cstr(&dir),
        .framing = options.framing,
        .send_timeout_ms = (uint32_t)c->insert_timeout,
    };
    struct tel_http_server_options h = {.address = c->insert_listen};
    tel_code rc = tel_insert_new(&o, &ret->insert, err);
    tel_buf_free(&dir);
    if (rc == TEL_OK)
        rc = tel_http_server_new(&h, &ret->http, err);
    if (rc != TEL_OK)
        return rc;
    tel_insert_routes(ret->insert, ret->http);
    return tel_http_server_start(ret->http, err);
}

static void inserts_close(struct inserts *i, uint32_t grace_ms)
{
    struct tel_error err;
    if (i->http && tel_http_server_drain(i->http, grace_ms, &err) != TEL_OK)
        tel_log_warn("inserts", tel_kv_error(&err));
    tel_http_server_free(i->http);
    tel_insert_free(i->insert);
}

static tel_code serve(const struct sidecar_config *c, struct sidecar *s, struct tel_transport *transport,
                      struct tel_program_run *run, struct tel_error *err)
{
    struct admin *admin = NULL;
    struct inserts inserts = {NULL, NULL};
    tel_code rc = TEL_OK;
    if (*c->admin_listen)
        rc = admin_new(s, c->admin_listen, &admin, err);
    if (rc == TEL_OK)
        rc = inserts_open(c, transport, &inserts, err);
    if (rc == TEL_OK)
        rc = sidecar_start(s, err);
    if (rc == TEL_OK) {
        tel_log_info("running", tel_kv_str("admin", admin ? admin_address(admin) : "none"),
                     tel_kv_str("insert", inserts.http ? tel_http_server_address(inserts.http) : "none"));
        tel_program_wait(run, NULL, NULL);
        tel_log_info("stopping");
        rc = sidecar_stop(s, (int)c->stop_grace, err);
    }
    inserts_close(&inserts, (uint32_t)c->stop_grace);
    admin_free(admin);
    if (rc == TEL_ERR_TIMEOUT) { /* not a failure: nothing is lost */
        tel_log_warn("stopped", tel_kv_error(err));
        rc = TEL_OK;
    }
    return rc;
}

static tel_code run_sidecar(const void *config, struct tel_program_run *run, struct tel_error *err)
{
    const struct sidecar_config *c = config;
    struct tel_conf_mistakes mistakes = {0};
    struct tel_transport *transport = NULL;
    struct sidecar *s = NULL;
    struct sidecar_options o;
    (void)tel_limits_raise_open_files(65536);
    /* Batches and messages of some hundred kilobytes come and go: mapped, they go back to the system,
     * where in the heap they would leave holes. Left to itself glibc raises this threshold. */
    (void)mallopt(M_MMAP_THRESHOLD, 256 << 10);
    config_options(c, &o);
    config_inputs(c, tel_program_conf(run), &mistakes, &o.inputs, &o.input_count);
    tel_conf_mistakes_free(&mistakes); /* there are none: config_check was asked */
    tel_code rc = c->queue == QUEUE_JOURNAL ? open_journal(c, &transport, err)
                                            : open_kafka(c, &transport, err);
    if (rc == TEL_OK)
        rc = sidecar_new(&o, transport, &s, err);
    if (rc == TEL_OK)
        rc = serve(c, s, transport, run, err);
    sidecar_free(s);
    tel_transport_free(transport);
    return rc;
}

static void doc_metrics(struct tel_buf *out)
{
    static const struct tel_metric_table *const tables[] = {&sidecar_metric_table};
    tel_metrics_doc_markdown(out, "telescope-sidecar", tables, 1);
}

int main(int argc, char **argv)
{
    static const struct tel_program_flag flags[] = {
        {"--data", "DIR", "data.dir", "Folder of the checkpoint", false},
        {"--brokers", "LIST", "kafka.brokers", "Kafka's brokers", false},
    };
    static const struct tel_program_doc docs[] = {{"metrics", doc_metrics},
                                                  {"plugins", config_doc_plugins}};
    static const struct tel_program program = {
        .name = "telescope-sidecar",
        .summary = "Collects logs through plugins and sends them to Kafka.",
        .table = &sidecar_conf_table,
        .flags = flags,
        .flag_count = TEL_ARRAY_LEN(flags),
        .docs = docs,
        .doc_count = TEL_ARRAY_LEN(docs),
        .check = config_check,
        .run = run_sidecar,
    };
    return tel_program_main(&program, argc, argv);
}
