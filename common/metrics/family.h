/*
 * Metrics with labels whose values are known only at run time: a partition, an input, a query kind.
 * A series is made when it is first asked for and stays at its address until the registry lets go of
 * the table, so that an owner asks once and keeps the pointer. The number of series is bounded: what
 * is beyond shares one series whose label values are all "other". Any thread.
 */
#ifndef TEL_METRICS_FAMILY_H
#define TEL_METRICS_FAMILY_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/map.h"
#include "common/sys/thread.h"

#define TEL_FAMILY_MAX_SERIES 1024
#define TEL_FAMILY_MAX_LABELS 6

struct tel_counter;
struct tel_gauge;
struct tel_histogram;
struct tel_metric_item;
struct tel_series;

struct tel_family {
    const struct tel_metric_item *item;
    struct tel_mutex lock;
    struct tel_series **series; /* in the order of their making; all below under lock */
    size_t count, cap;
    struct tel_map index; /* label text -> position in series */
    struct tel_series *other;
};

/* The series of these label values, as many as the table names, in its order. */
struct tel_counter *tel_family_counter(struct tel_family *family, const char *const *values);
struct tel_gauge *tel_family_gauge(struct tel_family *family, const char *const *values);
struct tel_histogram *tel_family_histogram(struct tel_family *family, const char *const *values);

/* The series is no longer shown, until it is asked for again (and then begins at zero). Its pointer
 * stays good. */
void tel_family_drop(struct tel_family *family, const char *const *values);

#endif
