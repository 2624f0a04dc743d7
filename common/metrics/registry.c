/*
 * The format wants all series of a name together under one HELP and TYPE, while a name may come from
 * several registered structs: so each name is shown where it first occurs, with what the later
 * structs have of it.
 */
#include "common/metrics/registry.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/metrics/series.h"

struct entry {
    const struct tel_metric_table *table;
    char *strct;
    char *labels; /* "" or label="value" */
};

struct collector {
    void (*collect)(void *arg);
    void *arg;
};

struct tel_metrics {
    struct tel_mutex lock; /* guards all below; taken before a family's */
    TEL_VEC(struct entry) entries;
    TEL_VEC(struct collector) collectors;
    struct tel_process_metrics *process;
};

struct tel_metrics *tel_metrics_new(void)
{
    struct tel_metrics *metrics = TEL_NEW(struct tel_metrics);
    tel_mutex_init(&metrics->lock);
    metrics->process = tel_process_metrics_new();
    tel_metrics_register(metrics, &tel_process_metric_table, metrics->process, NULL, NULL);
    tel_metrics_on_collect(metrics, tel_process_metrics_collect, metrics->process);
    return metrics;
}

static bool is_family(enum tel_metric_type type)
{
    return type >= TEL_METRIC_COUNTERS;
}

static void entry_done(struct entry *entry)
{
    for (size_t i = 0; i < entry->table->count; i++) {
        const struct tel_metric_item *item = &entry->table->items[i];
        if (is_family(item->type))
            tel_family_done((struct tel_family *)(void *)(entry->strct + item->offset));
    }
    free(entry->labels);
}

void tel_metrics_free(struct tel_metrics *metrics)
{
    if (!metrics)
        return;
    for (size_t i = 0; i < metrics->entries.len; i++)
        entry_done(&metrics->entries.items[i]);
    tel_vec_free(&metrics->entries);
    tel_vec_free(&metrics->collectors);
    tel_mutex_done(&metrics->lock);
    free(metrics->process);
    free(metrics);
}

static bool ends_with(const char *name, const char *end)
{
    return tel_span_ends(tel_span_cstr(name), tel_span_cstr(end));
}

/* A table is ours, so a name against the rules is a bug. */
static void check_item(const struct tel_metric_item *item)
{
    bool counter = item->type == TEL_METRIC_COUNTER || item->type == TEL_METRIC_COUNTERS;
    TEL_CHECK(counter == ends_with(item->name, "_total"));
    TEL_CHECK(strcmp(item->unit, "") == 0 || strstr(item->name, item->unit));
    TEL_CHECK(is_family(item->type) == (*item->labels != '\0'));
    for (const char *p = item->name; *p; p++)
        TEL_CHECK((*p >= 'a' && *p <= 'z') || *p == '_' || (p > item->name && *p >= '0' && *p <= '9'));
}

static void init_metric(const struct tel_metric_item *item, void *metric)
{
    switch (item->type) {
    case TEL_METRIC_COUNTER:
        tel_counter_set(metric, 0);
        break;
    case TEL_METRIC_GAUGE:
        tel_gauge_set(metric, 0);
        break;
    case TEL_METRIC_HISTOGRAM:
        tel_histogram_init(metric, item->unit);
        break;
    case TEL_METRIC_COUNTERS:
    case TEL_METRIC_GAUGES:
    case TEL_METRIC_HISTOGRAMS:
        tel_family_init(metric, item);
        break;
    }
}

void tel_metrics_register(struct tel_metrics *metrics, const struct tel_metric_table *table,
                          void *strct, const char *label, const char *value)
{
    struct tel_buf labels = {0};
    if (label)
        tel_labels_add(&labels, tel_span_cstr(label), tel_span_cstr(value));
    struct entry entry = {table, strct, tel_strdup(tel_buf_cstr(&labels))};
    tel_buf_free(&labels);
    for (size_t i = 0; i < table->count; i++) {
        check_item(&table->items[i]);
        init_metric(&table->items[i], entry.strct + table->items[i].offset);
    }
    tel_mutex_lock(&metrics->lock);
    for (size_t i = 0; i < metrics->entries.len; i++) {
        const struct entry *other = &metrics->entries.items[i];
        /* Two series of one name and the same labels would make the page invalid. */
        TEL_CHECK(other->table != table || strcmp(other->labels, entry.labels) != 0);
    }
    tel_vec_push(&metrics->entries, entry);
    tel_mutex_unlock(&metrics->lock);
}

void tel_metrics_unregister(struct tel_metrics *metrics, void *strct)
{
    tel_mutex_lock(&metrics->lock);
    size_t kept = 0;
    for (size_t i = 0; i < metrics->entries.len; i++) {
        if (metrics->entries.items[i].strct == strct)
            entry_done(&metrics->entries.items[i]);
        else
            metrics->entries.items[kept++] = metrics->entries.items[i];
    }
    metrics->entries.len = kept;
    tel_mutex_unlock(&metrics->lock);
}

void tel_metrics_on_collect(struct tel_metrics *metrics, void (*collect)(void *arg), void *arg)
{
    struct collector collector = {collect, arg};
    tel_mutex_lock(&metrics->lock);
    tel_vec_push(&metrics->collectors, collector);
    tel_mutex_unlock(&metrics->lock);
}

void tel_metrics_off_collect(struct tel_metrics *metrics, void *arg)
{
    tel_mutex_lock(&metrics->lock);
    size_t kept = 0;
    for (size_t i = 0; i < metrics->collectors.len; i++) {
        if (metrics->collectors.items[i].arg != arg)
            metrics->collectors.items[kept++] = metrics->collectors.items[i];
    }
    metrics->collectors.len = kept;
    tel_mutex_unlock(&metrics->lock);
}

/* --- exposition -------------------------------------------------------------------------------- */

static void add_double(struct tel_buf *out, double v)
{
    char text[32];
    if (isnan(v) || isinf(v)) {
        tel_buf_add_span(out, isnan(v) ? TEL_SPAN("NaN") : v > 0 ? TEL_SPAN("+Inf") : TEL_SPAN("-Inf"));
        return;
    }
    snprintf(text, sizeof text, "%.15g", v);
    if (strtod(text, NULL) != v)
        snprintf(text, sizeof text, "%.17g", v);
    tel_buf_add_span(out, tel_span_cstr(text));
}

static bool in_nanoseconds(const struct tel_metric_item *item)
{
    return strcmp(item->unit, "seconds") == 0;
}

static void add_amount(struct tel_buf *out, const struct tel_metric_item *item, uint64_t v)
{
    if (in_nanoseconds(item))
        add_double(out, (double)v / 1e9);
    else
        tel_buf_add_u64(out, v);
}

/* name suffix {a,b,c}; any of a, b, c may be empty */
static void add_series_name(struct tel_buf *out, const char *name, const char *suffix, const char *a,
                            const char *b, const char *c)
{
    const char *labels[] = {a, b, c};
    bool any = false;
    tel_buf_add_span(out, tel_span_cstr(name));
    tel_buf_add_span(out, tel_span_cstr(suffix));
    for (size_t i = 0; i < TEL_ARRAY_LEN(labels); i++) {
        if (!*labels[i])
            continue;
        tel_buf_add_char(out, any ? ',' : '{');
        tel_buf_add_span(out, tel_span_cstr(labels[i]));
        any = true;
    }
    if (any)
        tel_buf_add_char(out, '}');
    tel_buf_add_char(out, ' ');
}

static void add_histogram(struct tel_buf *out, const struct tel_metric_item *item, const char *a,
                          const char *b, const struct tel_histogram *histogram)
{
    uint64_t cumulated = 0;
    for (size_t i = 0; i <= histogram->bound_count; i++) {
        struct tel_buf le = {0};
        TEL_BUF_ADD_LIT(&le, "le=\"");
        if (i == histogram->bound_count)
            TEL_BUF_ADD_LIT(&le, "+Inf");
        else
            add_amount(&le, item, histogram->bounds[i]);
        tel_buf_add_char(&le, '"');
        cumulated += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
        add_series_name(out, item->name, "_bucket", a, b, tel_buf_cstr(&le));
        tel_buf_add_u64(out, cumulated);
        tel_buf_add_char(out, '\n');
        tel_buf_free(&le);
    }
    add_series_name(out, item->name, "_sum", a, b, "");
    add_amount(out, item, atomic_load_explicit(&histogram->sum, memory_order_relaxed));
    tel_buf_add_char(out, '\n');
    /* The same sum as the last bucket, whatever happens meanwhile. */
    add_series_name(out, item->name, "_count", a, b, "");
    tel_buf_add_u64(out, cumulated);
    tel_buf_add_char(out, '\n');
}

static void add_plain(struct tel_buf *out, const struct tel_metric_item *item, const char *a,
                      const char *b, const void *metric)
{
    if (item->type == TEL_METRIC_HISTOGRAM || item->type == TEL_METRIC_HISTOGRAMS) {
        add_histogram(out, item, a, b, metric);
        return;
    }
    add_series_name(out, item->name, "", a, b, "");
    if (item->type == TEL_METRIC_GAUGE || item->type == TEL_METRIC_GAUGES)
        add_double(out, tel_gauge_get(metric));
    else
        add_amount(out, item, tel_counter_get(metric));
    tel_buf_add_char(out, '\n');
}

static void add_family(struct tel_buf *out, const struct tel_metric_item *item, const char *labels,
                       struct tel_family *family)
{
    tel_mutex_lock(&family->lock);
    for (size_t i = 0; i < family->count; i++) {
        if (family->series[i]->shown)
            add_plain(out, item, labels, family->series[i]->labels, &family->series[i]->v);
    }
    if (family->other)
        add_plain(out, item, labels, family->other->labels, &family->other->v);
    tel_mutex_unlock(&family->lock);
}

static const char *type_name(enum tel_metric_type type)
{
    switch (type) {
    case TEL_METRIC_COUNTER:
    case TEL_METRIC_COUNTERS:
        return "counter";
    case TEL_METRIC_GAUGE:
    case TEL_METRIC_GAUGES:
        return "gauge";
    case TEL_METRIC_HISTOGRAM:
    case TEL_METRIC_HISTOGRAMS:
        return "histogram";
    }
    return "untyped";
}

static void add_head(struct tel_buf *out, const struct tel_metric_item *item)
{
    tel_buf_printf(out, "# HELP %s ", item->name);
    for (const char *p = item->help; *p; p++) {
        if (*p == '\\' || *p == '\n')
            tel_buf_add_char(out, '\\');
        tel_buf_add_char(out, *p == '\n' ? 'n' : *p);
    }
    tel_buf_printf(out, "\n# TYPE %s %s\n", item->name, type_name(item->type));
}

static const struct tel_metric_item *find_item(const struct tel_metric_table *table,
                                               const char *name)
{
    for (size_t i = 0; i < table->count; i++) {
        if (strcmp(table->items[i].name, name) == 0)
            return &table->items[i];
    }
    return NULL;
}

static void add_name(struct tel_metrics *metrics, size_t first, const struct tel_metric_item *head,
                     struct tel_buf *out)
{
    for (size_t e = 0; e < first; e++) {
        if (find_item(metrics->entries.items[e].table, head->name))
            return; /* shown there */
    }
    add_head(out, head);
    for (size_t e = first; e < metrics->entries.len; e++) {
        const struct entry *entry = &metrics->entries.items[e];
        const struct tel_metric_item *item = find_item(entry->table, head->name);
        if (!item)
            continue;
        void *metric = entry->strct + item->offset;
        if (is_family(item->type))
            add_family(out, item, entry->labels, metric);
        else
            add_plain(out, item, entry->labels, "", metric);
    }
}

void tel_metrics_expose(struct tel_metrics *metrics, struct tel_buf *out)
{
    tel_mutex_lock(&metrics->lock);
    for (size_t i = 0; i < metrics->collectors.len; i++)
        metrics->collectors.items[i].collect(metrics->collectors.items[i].arg);
    for (size_t e = 0; e < metrics->entries.len; e++) {
        const struct tel_metric_table *table = metrics->entries.items[e].table;
        for (size_t i = 0; i < table->count; i++)
            add_name(metrics, e, &table->items[i], out);
    }
    tel_mutex_unlock(&metrics->lock);
}
