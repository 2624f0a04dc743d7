/* See sort.h: runs by the library, merged bottom up. */
#include "common/base/sort.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define RUN          1024u /* items that are sorted in one go */
#define COMPARE_WORK 256u  /* what a comparison costs (tel_pace_step) */

struct merging {
    size_t size;
    tel_compare_fn compare;
    void *ctx;
    struct tel_pace *pace;
    struct tel_error *err;
};

/* from[lo..mid) and from[mid..hi), both sorted, become to[lo..hi). */
static tel_code merge(const struct merging *m, const char *from, char *to, size_t lo, size_t mid,
                      size_t hi)
{
    size_t a = lo, b = mid, size = m->size;
    for (size_t out = lo; out < hi; out++) {
        bool first = b == hi || (a < mid && m->compare(from + a * size, from + b * size, m->ctx) <= 0);
        size_t *taken = first ? &a : &b;
        memcpy(to + out * size, from + *taken * size, size);
        ++*taken;
        tel_code rc = tel_pace_step(m->pace, COMPARE_WORK, m->err);
        if (rc == TEL_OK)
            continue;
        char *rest = to + (out + 1) * size; /* goes along unsorted */
        memcpy(rest, from + a * size, (mid - a) * size);
        memcpy(rest + (mid - a) * size, from + b * size, (hi - b) * size);
        return rc;
    }
    return TEL_OK;
}

tel_code tel_sort(void *items, size_t n, size_t size, tel_compare_fn compare, void *ctx,
                  struct tel_pace *pace, struct tel_error *err)
{
    struct merging m = {size, compare, ctx, pace, err};
    char *from = items;
    tel_code rc = TEL_OK;
    for (size_t i = 0; i < n && rc == TEL_OK; i += RUN) {
        size_t run = n - i < RUN ? n - i : RUN;
        qsort_r(from + i * size, run, size, compare, ctx);
        rc = tel_pace_step(pace, (uint64_t)run * 10 * COMPARE_WORK, err);
    }
    if (rc != TEL_OK || n <= RUN)
        return rc;
    char *other = tel_malloc(n * size), *to = other;
    for (size_t run = RUN; run < n; run *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * run) {
            size_t mid = n - lo < run ? n : lo + run, hi = n - mid < run ? n : mid + run;
            if (rc == TEL_OK)
                rc = merge(&m, from, to, lo, mid, hi);
            else
                memcpy(to + lo * size, from + lo * size, (hi - lo) * size);
        }
        char *swap = from;
        from = to;
        to = swap;
        if (rc != TEL_OK)
            break;
    }
    if (from != items)
        memcpy(items, from, n * size);
    free(other);
    return rc;
}
