/* All of Telescope in one process. Internal to cli/. */
#ifndef CLI_STANDALONE_H
#define CLI_STANDALONE_H

#include "common/conf/conf.h"
#include "common/metrics/metric.h"

struct standalone_config {
#define CONF TEL_CONF_MEMBER
#include "cli/standalone.def"
#undef CONF
};

extern const struct tel_conf_table standalone_conf_table;

struct sidecar;
struct shard_client;
struct shard_server;
struct tel_http_server;
struct tel_insert;
struct tel_transport;

struct standalone_metrics {
#define METRIC TEL_METRIC_MEMBER
#include "cli/metrics.def"
#undef METRIC
};
extern const struct tel_metric_table standalone_metric_table;

/* The parts that count for themselves; NULL while there are none. */
struct standalone_parts {
    struct tel_transport *queue;
    uint32_t partitions;
    struct tel_insert *insert;
    struct tel_http_server *http;
    struct sidecar *sidecar;
    struct standalone_metrics metrics;
};

/* For tel_metrics_on_collect; arg is the parts. */
void standalone_metrics_collect(void *arg);
/* The page of --print-docs metrics. */
void standalone_metrics_doc(struct tel_buf *out);

/* The shard server of this process, as the router asks it: without a network. */
#define STANDALONE_SHARD "standalone"
TEL_MUST_USE tel_code standalone_shard_client(struct shard_server *server, struct shard_client **ret,
                                              struct tel_error *err);

#endif
