#include "common/metrics/registry.h"
#include "common/metrics/series.h"

static void add_rows(struct tel_buf *out, const struct tel_metric_table *table)
{
    static const char *const types[] = {"counter", "gauge", "histogram",
                                        "counter", "gauge", "histogram"};
    for (size_t i = 0; i < table->count; i++) {
        const struct tel_metric_item *item = &table->items[i];
        tel_buf_printf(out, "| `%s` | %s | %s | ", item->name, types[item->type], item->unit);
        struct tel_span labels = tel_span_cstr(item->labels);
        for (bool first = true; labels.len; first = false) {
            struct tel_span label = tel_span_split(&labels, ',');
            tel_buf_printf(out, "%s`%.*s`", first ? "" : ", ", TEL_SPAN_ARG(label));
        }
        tel_buf_printf(out, " | %s |\n", item->help);
    }
}

void tel_metrics_doc_markdown(struct tel_buf *out, const char *program,
                              const struct tel_metric_table *const *tables, size_t count)
{
    tel_buf_printf(out,
                   "# Metrics of %s\n\n"
                   "Made by `%s --print-docs metrics`; do not edit.\n\n"
                   "Shown in Prometheus' text format at `/metrics` of the admin address.\n\n"
                   "| Name | Type | Unit | Labels | |\n|---|---|---|---|---|\n",
                   program, program);
    for (size_t t = 0; t < count; t++)
        add_rows(out, tables[t]);
    add_rows(out, &tel_process_metric_table);
}
