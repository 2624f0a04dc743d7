#include "common/metrics/family.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/utf8.h"
#include "common/base/vec.h"
#include "common/metrics/series.h"

void tel_family_init(struct tel_family *family, const struct tel_metric_item *item)
{
    *family = (struct tel_family){.item = item};
    tel_mutex_init(&family->lock);
    tel_map_init(&family->index);
}

static void series_free(struct tel_series *series)
{
    if (!series)
        return;
    free(series->labels);
    free(series);
}

void tel_family_done(struct tel_family *family)
{
    for (size_t i = 0; i < family->count; i++)
        series_free(family->series[i]);
    free(family->series);
    series_free(family->other);
    tel_map_free(&family->index);
    tel_mutex_done(&family->lock);
    *family = (struct tel_family){0};
}

void tel_labels_add(struct tel_buf *out, struct tel_span name, struct tel_span value)
{
    if (out->len)
        tel_buf_add_char(out, ',');
    tel_buf_add_span(out, name);
    TEL_BUF_ADD_LIT(out, "=\"");
    for (size_t pos = 0; pos < value.len;) {
        uint32_t cp;
        size_t used = tel_utf8_decode(tel_span_slice(value, pos, value.len), &cp);
        if (cp == UINT32_MAX)
            TEL_BUF_ADD_LIT(out, "\xef\xbf\xbd");
        else if (cp == '\n')
            TEL_BUF_ADD_LIT(out, "\\n");
        else if (cp == '"' || cp == '\\')
            tel_buf_printf(out, "\\%c", (char)cp);
        else
            tel_buf_add(out, value.ptr + pos, used);
        pos += used;
    }
    tel_buf_add_char(out, '"');
}

/* values NULL: all "other". */
static void build_labels(const struct tel_family *family, const char *const *values,
                         struct tel_buf *out)
{
    struct tel_span names = tel_span_cstr(family->item->labels);
    for (size_t i = 0; names.ptr; i++) {
        TEL_CHECK(i < TEL_FAMILY_MAX_LABELS);
        struct tel_span name = tel_span_split(&names, ',');
        tel_labels_add(out, name, tel_span_cstr(values ? values[i] : "other"));
    }
}

static void series_reset(const struct tel_family *family, struct tel_series *series)
{
    switch (family->item->type) {
    case TEL_METRIC_COUNTERS:
        tel_counter_set(&series->v.counter, 0);
        break;
    case TEL_METRIC_GAUGES:
        tel_gauge_set(&series->v.gauge, 0);
        break;
    case TEL_METRIC_HISTOGRAMS:
        for (size_t i = 0; i <= TEL_HISTOGRAM_BUCKETS; i++)
            atomic_store_explicit(&series->v.histogram.buckets[i], 0, memory_order_relaxed);
        atomic_store_explicit(&series->v.histogram.sum, 0, memory_order_relaxed);
        break;
    case TEL_METRIC_COUNTER:
    case TEL_METRIC_GAUGE:
    case TEL_METRIC_HISTOGRAM:
        TEL_UNREACHABLE();
    }
}

static struct tel_series *series_new(const struct tel_family *family, struct tel_span labels)
{
    struct tel_series *series = TEL_NEW(struct tel_series);
    series->labels = tel_strndup(labels);
    series->shown = true;
    if (family->item->type == TEL_METRIC_HISTOGRAMS)
        tel_histogram_init(&series->v.histogram, family->item->unit);
    return series;
}

static struct tel_series *get_other(struct tel_family *family)
{
    if (!family->other) {
        struct tel_buf labels = {0};
        build_labels(family, NULL, &labels);
        family->other = series_new(family, tel_buf_span(&labels));
        tel_buf_free(&labels);
    }
    return family->other;
}

static struct tel_series *get(struct tel_family *family, const char *const *values,
                              enum tel_metric_type type)
{
    TEL_CHECK(family->item && family->item->type == type);
    struct tel_buf labels = {0};
    build_labels(family, values, &labels);
    tel_mutex_lock(&family->lock);
    struct tel_series *series;
    uint64_t *at = tel_map_get(&family->index, tel_buf_span(&labels));
    if (at) {
        series = family->series[*at];
        if (!series->shown)
            series_reset(family, series);
        series->shown = true;
    } else if (family->count == TEL_FAMILY_MAX_SERIES) {
        series = get_other(family);
    } else {
        series = series_new(family, tel_buf_span(&labels));
        *tel_map_put(&family->index, tel_buf_span(&labels), NULL) = family->count;
        if (family->count == family->cap)
            tel_vec_grow_raw((void **)&family->series, &family->cap, family->count + 1,
                             sizeof *family->series);
        family->series[family->count++] = series;
    }
    tel_mutex_unlock(&family->lock);
    tel_buf_free(&labels);
    return series;
}

struct tel_counter *tel_family_counter(struct tel_family *family, const char *const *values)
{
    return &get(family, values, TEL_METRIC_COUNTERS)->v.counter;
}

struct tel_gauge *tel_family_gauge(struct tel_family *family, const char *const *values)
{
    return &get(family, values, TEL_METRIC_GAUGES)->v.gauge;
}

struct tel_histogram *tel_family_histogram(struct tel_family *family, const char *const *values)
{
    return &get(family, values, TEL_METRIC_HISTOGRAMS)->v.histogram;
}

void tel_family_drop(struct tel_family *family, const char *const *values)
{
    struct tel_buf labels = {0};
    build_labels(family, values, &labels);
    tel_mutex_lock(&family->lock);
    uint64_t *at = tel_map_get(&family->index, tel_buf_span(&labels));
    if (at)
        family->series[*at]->shown = false;
    tel_mutex_unlock(&family->lock);
    tel_buf_free(&labels);
}
