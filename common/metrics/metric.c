#include "common/metrics/metric.h"

#include "common/metrics/series.h"

#define US UINT64_C(1000)
#define MS (1000 * US)
#define S  (1000 * MS)

static const uint64_t seconds_bounds[] = {250 * US, 500 * US, 1 * MS,   2 * MS,   4 * MS,  8 * MS,
                                          16 * MS,  32 * MS,  64 * MS,  128 * MS, 256 * MS, 512 * MS,
                                          1 * S,    2 * S,    4 * S,    8 * S,    16 * S,  32 * S,
                                          64 * S};
static const uint64_t bytes_bounds[] = {64,      256,     1 << 10, 4 << 10,  16 << 10, 64 << 10,
                                        256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20};
static const uint64_t count_bounds[] = {1,    2,    5,     10,    20,    50,     100,    200,    500,
                                        1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000, 500000,
                                        1000000};

_Static_assert(TEL_ARRAY_LEN(seconds_bounds) <= TEL_HISTOGRAM_BUCKETS, "buckets");
_Static_assert(TEL_ARRAY_LEN(count_bounds) <= TEL_HISTOGRAM_BUCKETS, "buckets");

double tel_gauge_get(const struct tel_gauge *gauge)
{
    uint64_t bits = atomic_load_explicit(&gauge->bits, memory_order_relaxed);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

void tel_gauge_add(struct tel_gauge *gauge, double n)
{
    uint64_t old = atomic_load_explicit(&gauge->bits, memory_order_relaxed), bits;
    do {
        double v;
        memcpy(&v, &old, sizeof v);
        v += n;
        memcpy(&bits, &v, sizeof bits);
    } while (!atomic_compare_exchange_weak_explicit(&gauge->bits, &old, bits, memory_order_relaxed,
                                                    memory_order_relaxed));
}

void tel_histogram_init(struct tel_histogram *histogram, const char *unit)
{
    memset(histogram, 0, sizeof *histogram);
    if (strcmp(unit, "seconds") == 0) {
        histogram->bounds = seconds_bounds;
        histogram->bound_count = TEL_ARRAY_LEN(seconds_bounds);
    } else if (strcmp(unit, "bytes") == 0) {
        histogram->bounds = bytes_bounds;
        histogram->bound_count = TEL_ARRAY_LEN(bytes_bounds);
    } else {
        histogram->bounds = count_bounds;
        histogram->bound_count = TEL_ARRAY_LEN(count_bounds);
    }
}

void tel_histogram_observe(struct tel_histogram *histogram, uint64_t v)
{
    size_t lo = 0, hi = histogram->bound_count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (histogram->bounds[mid] < v)
            lo = mid + 1;
        else
            hi = mid;
    }
    atomic_fetch_add_explicit(&histogram->buckets[lo], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum, v, memory_order_relaxed);
}

uint64_t tel_histogram_count(const struct tel_histogram *histogram)
{
    uint64_t count = 0;
    for (size_t i = 0; i <= histogram->bound_count; i++)
        count += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
    return count;
}
