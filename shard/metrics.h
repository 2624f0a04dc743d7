/* The metrics of a shard server; metrics.def lists them. */
#ifndef SHARD_METRICS_H
#define SHARD_METRICS_H

#include "common/metrics/metric.h"

struct shard_metrics {
#define METRIC TEL_METRIC_MEMBER
#include "shard/metrics.def"
#undef METRIC
};

extern const struct tel_metric_table shard_metric_table;

struct partition;
/* Sets what is kept elsewhere. */
void shard_metrics_partition(struct shard_metrics *metrics, struct partition *partition);

struct residents;
void shard_metrics_residents(struct shard_metrics *metrics, struct residents *residents);

struct retention;
struct expire_stats;
void shard_metrics_retention(struct shard_metrics *metrics, struct retention *retention,
                             const struct expire_stats *stats);

#endif
