/*
 * The metrics of a process, and how they are shown: Prometheus' text format 0.0.4
 * (prometheus.io/docs/instrumenting/exposition_formats). Any thread.
 */
#ifndef TEL_METRICS_REGISTRY_H
#define TEL_METRICS_REGISTRY_H

#include "common/base/buf.h"
#include "common/metrics/metric.h"

#define TEL_METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct tel_metrics;

/* With the metrics of the process itself (memory, CPU, files). */
struct tel_metrics *tel_metrics_new(void);
void tel_metrics_free(struct tel_metrics *metrics);

/* Makes the metrics of a table ready and shows them. label and value (both NULL for none) tell apart
 * several structs of one table, as when standalone runs two shards. */
void tel_metrics_register(struct tel_metrics *metrics, const struct tel_metric_table *table,
                          void *strct, const char *label, const char *value);
/* Before the struct goes: shows it no longer, and frees its series. */
void tel_metrics_unregister(struct tel_metrics *metrics, void *strct);

/* collect(arg) is called before each exposition, to set gauges that are asked for, not kept. It runs
 * under the registry's lock and must not call the registry. */
void tel_metrics_on_collect(struct tel_metrics *metrics, void (*collect)(void *arg), void *arg);
void tel_metrics_off_collect(struct tel_metrics *metrics, void *arg);

void tel_metrics_expose(struct tel_metrics *metrics, struct tel_buf *out);

/* The tables' documentation as a page in Markdown; the process's own metrics included. */
void tel_metrics_doc_markdown(struct tel_buf *out, const char *program,
                              const struct tel_metric_table *const *tables, size_t count);

#endif
