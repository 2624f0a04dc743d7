#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/metrics/series.h"
#include "common/sys/limits.h"

struct tel_process_metrics {
#define METRIC TEL_METRIC_MEMBER
#include "common/metrics/process.def"
#undef METRIC
};

#define METRIC(...) TEL_METRIC_ITEM(struct tel_process_metrics, __VA_ARGS__)
static const struct tel_metric_item items[] = {
#include "common/metrics/process.def"
};
#undef METRIC

const struct tel_metric_table tel_process_metric_table = TEL_METRIC_TABLE(items);

struct tel_process_metrics *tel_process_metrics_new(void)
{
    return TEL_NEW(struct tel_process_metrics);
}

void tel_process_metrics_collect(void *process_metrics)
{
    struct tel_process_metrics *self = process_metrics;
    tel_counter_set(&self->cpu, (uint64_t)tel_process_cpu_ns());
    tel_gauge_set(&self->rss, (double)tel_process_rss_bytes());
    tel_gauge_set(&self->vsize, (double)tel_process_virtual_bytes());
    tel_gauge_set(&self->fds, (double)tel_process_open_files());
    tel_gauge_set(&self->max_fds, (double)tel_limits_raise_open_files(0));
    if (tel_gauge_get(&self->start) == 0)
        tel_gauge_set(&self->start, (double)tel_process_start_ns() / (double)TEL_NS_PER_S);
}
