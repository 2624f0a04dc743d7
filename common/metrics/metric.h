/*
 * Counters, gauges and histograms. Any thread may update them, without locks. A program lists its
 * metrics in a .def file, one line each, and makes a struct and a table of it:
 *
 *     METRIC(lines_read, "telescope_sidecar_lines_read_total", COUNTER, "", "", "Lines read")
 *     METRIC(ack_delay, "telescope_sidecar_ack_delay_seconds", HISTOGRAM, "seconds", "", "From ...")
 *     METRIC(lag, "telescope_shard_lag_events", GAUGES, "events", "partition", "Not yet indexed")
 *            member  name                         type     unit      labels      help
 *
 *     struct sidecar_metrics {
 *     #define METRIC TEL_METRIC_MEMBER
 *     #include "sidecar/metrics.def"
 *     #undef METRIC
 *     };
 *     #define METRIC(...) TEL_METRIC_ITEM(struct sidecar_metrics, __VA_ARGS__)
 *     static const struct tel_metric_item items[] = {
 *     #include "sidecar/metrics.def"
 *     };
 *     #undef METRIC
 *     const struct tel_metric_table sidecar_metric_table = TEL_METRIC_TABLE(items);
 *
 * Names follow Prometheus: the base unit is in the name ("_seconds", "_bytes"), counters end with
 * "_total". What is counted in seconds is given in nanoseconds (tel_counter_add(&c, ns),
 * tel_histogram_observe(&h, ns)) and divided when it is shown; gauges of seconds are set in seconds.
 *
 * A histogram's buckets follow from its unit: seconds 0.25 ms to 64 s, bytes 64 B to 64 MiB, anything
 * else 1 to a million.
 *
 * COUNTERS, GAUGES and HISTOGRAMS have labels, named in the table ("topic,partition"): see family.h.
 */
#ifndef TEL_METRICS_METRIC_H
#define TEL_METRICS_METRIC_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/metrics/family.h"

#define TEL_HISTOGRAM_BUCKETS 20 /* at most, without the one to infinity */

enum tel_metric_type {
    TEL_METRIC_COUNTER,
    TEL_METRIC_GAUGE,
    TEL_METRIC_HISTOGRAM,
    TEL_METRIC_COUNTERS,
    TEL_METRIC_GAUGES,
    TEL_METRIC_HISTOGRAMS,
};

struct tel_counter {
    _Atomic uint64_t value;
};

struct tel_gauge {
    _Atomic uint64_t bits; /* of a double */
};

struct tel_histogram {
    const uint64_t *bounds; /* inclusive, rising; of the registry */
    size_t bound_count;
    _Atomic uint64_t buckets[TEL_HISTOGRAM_BUCKETS + 1];
    _Atomic uint64_t sum;
};

struct tel_metric_item {
    const char *name;
    enum tel_metric_type type;
    const char *unit, *labels, *help;
    size_t offset;
};

struct tel_metric_table {
    const struct tel_metric_item *items;
    size_t count;
};

typedef struct tel_counter tel_metric_ctype_COUNTER;
typedef struct tel_gauge tel_metric_ctype_GAUGE;
typedef struct tel_histogram tel_metric_ctype_HISTOGRAM;
typedef struct tel_family tel_metric_ctype_COUNTERS;
typedef struct tel_family tel_metric_ctype_GAUGES;
typedef struct tel_family tel_metric_ctype_HISTOGRAMS;

#define TEL_METRIC_MEMBER(member, name, type, unit, labels, help) tel_metric_ctype_##type member;
#define TEL_METRIC_ITEM(strct, member, name, type, unit, labels, help)                             \
    {name, TEL_METRIC_##type, unit, labels, help, offsetof(strct, member)},
#define TEL_METRIC_TABLE(items) {(items), sizeof(items) / sizeof((items)[0])}

static inline void tel_counter_add(struct tel_counter *counter, uint64_t n)
{
    atomic_fetch_add_explicit(&counter->value, n, memory_order_relaxed);
}

static inline uint64_t tel_counter_get(const struct tel_counter *counter)
{
    return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

/* For what is counted elsewhere (by the kernel, by a library) and only shown here. */
static inline void tel_counter_set(struct tel_counter *counter, uint64_t v)
{
    atomic_store_explicit(&counter->value, v, memory_order_relaxed);
}

static inline void tel_gauge_set(struct tel_gauge *gauge, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    atomic_store_explicit(&gauge->bits, bits, memory_order_relaxed);
}

double tel_gauge_get(const struct tel_gauge *gauge);
void tel_gauge_add(struct tel_gauge *gauge, double n);

/* In the base unit; nanoseconds where the unit is seconds. */
void tel_histogram_observe(struct tel_histogram *histogram, uint64_t v);
uint64_t tel_histogram_count(const struct tel_histogram *histogram);

#endif
