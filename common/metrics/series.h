/* The inside of a family, for the registry. */
#ifndef TEL_METRICS_SERIES_H
#define TEL_METRICS_SERIES_H

#include "common/base/buf.h"
#include "common/metrics/metric.h"

struct tel_series {
    char *labels; /* topic="t",partition="3" */
    bool shown;
    union {
        struct tel_counter counter;
        struct tel_gauge gauge;
        struct tel_histogram histogram;
    } v;
};

void tel_family_init(struct tel_family *family, const struct tel_metric_item *item);
void tel_family_done(struct tel_family *family);

void tel_histogram_init(struct tel_histogram *histogram, const char *unit);
/* Adds name="value", escaped, to a list of labels. */
void tel_labels_add(struct tel_buf *out, struct tel_span name, struct tel_span value);

extern const struct tel_metric_table tel_process_metric_table;
struct tel_process_metrics;
struct tel_process_metrics *tel_process_metrics_new(void);
void tel_process_metrics_collect(void *process_metrics);

#endif
