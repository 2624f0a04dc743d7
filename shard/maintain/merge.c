#include "shard/maintain/merge.h"

#include <stdlib.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/logsql/filter.h"
#include "shard/maintain/budget.h"
#include "shard/maintain/rebuild.h"

#define FAN_IN          8u
#define RAW_BYTES_MAX   (96u << 20) /* of the inputs of a merge: they are in memory */
#define COMPRESSION_HOT 1

struct merger {
    struct merger_options options;
    struct segment_learnt *learnt;
    struct segment_builder *builder;
};

struct merger *merger_new(const struct merger_options *options)
{
    struct merger *merger = TEL_NEW(struct merger);
    merger->options = *options;
    merger->learnt = segment_learnt_new();
    merger->builder = segment_builder_new(merger->learnt);
    return merger;
}

void merger_free(struct merger *merger)
{
    if (!merger)
        return;
    segment_builder_free(merger->builder);
    segment_learnt_free(merger->learnt);
    free(merger);
}

/* ---- choosing ----------------------------------------------------------------------------------- */

/* Which factor of eight a segment's rows lie in. */
static unsigned tier_of(uint64_t rows)
{
    unsigned tier = 0;
    for (; rows >= FAN_IN; rows /= FAN_IN)
        tier++;
    return tier;
}

static bool mergeable(const struct store_segment *s, uint64_t full_rows)
{
    return s->rows < full_rows / 2 && !atomic_load(&s->damaged);
}

/* From `first` on, neighbours of at most that tier, as many as one segment may hold. */
static size_t extend(struct store_segment *const *segments, size_t count, size_t first,
                     unsigned tier, uint64_t full_rows, uint64_t *ret_rows)
{
    uint64_t rows = 0, bytes = 0;
    size_t n = 0;
    for (size_t i = first; i < count; i++) {
        const struct store_segment *s = segments[i];
        if (!mergeable(s, full_rows) || tier_of(s->rows) > tier ||
            rows + s->rows > full_rows + full_rows / 4 || bytes + s->raw_bytes > RAW_BYTES_MAX)
            break;
        rows += s->rows;
        bytes += s->raw_bytes;
        n++;
    }
    *ret_rows = rows;
    return n;
}

size_t merge_choose(struct store_segment *const *segments, size_t count, uint64_t full_rows,
                    bool settled, size_t *ret_first)
{
    unsigned top = tier_of(full_rows);
    for (unsigned tier = 0; tier <= top; tier++) {
        for (size_t i = 0; i < count;) {
            uint64_t rows;
            size_t n = extend(segments, count, i, tier, full_rows, &rows);
            bool enough = n >= FAN_IN || (n >= 2 && rows >= full_rows / 4 * 3) ||
                          (n >= 2 && settled && tier == top);
            if (enough) {
                *ret_first = i;
                return n;
            }
            i += n ? n : 1;
        }
    }
    return 0;
}

/* The first that has not got to its day's LevelDB yet; returns 1, or 0 for none. */
static size_t find_late(struct store_segment *const *segments, size_t count, size_t *ret_first)
{
    for (size_t i = 0; i < count; i++)
        if (store_segment_late(segments[i]) && !atomic_load(&segments[i]->damaged)) {
            *ret_first = i;
            return 1;
        }
    return 0;
}

/* Groups segments of one day and tenant, in the log's order. */
static int by_group(const void *a, const void *b)
{
    const struct store_segment *x = *(struct store_segment *const *)a;
    const struct store_segment *y = *(struct store_segment *const *)b;
    if (x->day != y->day) {
        int64_t dx = store_segment_day(x), dy = store_segment_day(y);
        if (dx != dy)
            return dx > dy ? -1 : 1; /* newest first: it is searched most */
        return x->day < y->day ? -1 : 1;
    }
    int c = tel_span_cmp(x->tenant, y->tenant);
    if (c != 0)
        return c;
    if (x->upto.epoch != y->upto.epoch)
        return x->upto.epoch < y->upto.epoch ? -1 : 1;
    if (x->first_offset != y->first_offset)
        return x->first_offset < y->first_offset ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool same_group(const struct store_segment *a, const struct store_segment *b)
{
    return a->day == b->day && tel_span_eq(a->tenant, b->tenant) &&
           a->upto.epoch == b->upto.epoch;
}

/* ---- merging ------------------------------------------------------------------------------------ */

static int64_t thread_cpu_ns(void)
{
    struct timespec ts = {0};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * TEL_NS_PER_S + ts.tv_nsec;
}

static bool may_begin(struct merger *merger)
{
    const struct merger_options *o = &merger->options;
    return !o->budget || budget_wait(o->budget, tel_mono_ns(o->clock)) == 0;
}

static uint64_t bytes_of(struct store_segment *const *segments, size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += segments[i]->stored_bytes;
    return bytes;
}

static tel_code merge_inputs(struct merger *merger, struct store *store,
                             struct store_segment *const *inputs, size_t count, int level,
                             struct merge_stats *stats, struct tel_error *err)
{
    int64_t cpu_ns = thread_cpu_ns();
    uint64_t moved = stats->read_bytes + stats->written_bytes;
    struct rebuild rebuild;
    rebuild_init(&rebuild);
    tel_code rc = TEL_OK;
    for (size_t i = 0; i < count && rc == TEL_OK; i++) {
        rc = rebuild_add(&rebuild, inputs[i], merger->builder, err);
        stats->read_bytes += inputs[i]->stored_bytes;
    }
    struct segment_image image;
    if (rc == TEL_OK)
        rc = segment_builder_finish(merger->builder, level, &image, err);
    if (rc == TEL_OK)
        rc = store_replace(store, inputs, count, &image, (uint32_t)level, err);
    if (rc == TEL_OK && count == 1) {
        stats->recoded++;
        if (image.stored_bytes < inputs[0]->stored_bytes)
            stats->recoded_saved_bytes += inputs[0]->stored_bytes - image.stored_bytes;
        stats->written_bytes += image.stored_bytes;
    } else if (rc == TEL_OK) {
        stats->merges++;
        stats->inputs += count;
        stats->rows += image.rows;
        stats->written_bytes += image.stored_bytes;
    } else {
        stats->failures++;
    }
    segment_builder_reset(merger->builder);
    segment_learnt_age(merger->learnt, tel_wall_ns(tel_clock_system()));
    rebuild_done(&rebuild);
    cpu_ns = thread_cpu_ns() - cpu_ns;
    stats->cpu_ns += cpu_ns;
    if (merger->options.budget)
        budget_spend(merger->options.budget, stats->read_bytes + stats->written_bytes - moved, cpu_ns);
    return rc;
}

/* A full or quiet segment of a cold day that was not coded for it yet; or NULL. */
static struct store_segment *find_cold(struct merger *merger, const store_segments *all,
                                       int64_t quiet_ns, int64_t cold_day)
{
    for (size_t i = 0; i < all->len && merger->options.cold_level > 0; i++) {
        struct store_segment *s = all->items[i];
        if (store_segment_day(s) < cold_day && !atomic_load(&s->damaged) &&
            s->compression < (uint32_t)merger->options.cold_level &&
            s->raw_bytes <= RAW_BYTES_MAX && store_segment_quiet_ns(s) >= quiet_ns)
            return s;
    }
    return NULL;
}

/* Of a cold day that events still come to, what is merged is merged again soon. */
static int level_of(const struct merger *merger, const struct store_segment *s, int64_t quiet_ns,
                    int64_t cold_day)
{
    bool cold = merger->options.cold_level > 0 && store_segment_day(s) < cold_day &&
                store_segment_quiet_ns(s) >= quiet_ns;
    return cold ? merger->options.cold_level : COMPRESSION_HOT;
}

/* A set of the group that is to be merged, or what is to be brought home; 0 for none. */
static size_t choose(const struct merger *merger, struct store_segment *const *group, size_t count,
                     int64_t quiet_ns, size_t *ret_first)
{
    bool settled = store_segment_quiet_ns(group[0]) >= quiet_ns;
    size_t n = merge_choose(group, count, merger->options.full_rows, settled, ret_first);
    if (n == 0 && settled) /* what waits for company is at home alone */
        n = find_late(group, count, ret_first);
    return n;
}

static bool stopped(const struct merger *merger)
{
    const _Atomic bool *stop = merger->options.stop;
    return stop && atomic_load_explicit(stop, memory_order_relaxed);
}

/* Merges of all groups, each once. Adds to *done. */
static tel_code merge_groups(struct merger *merger, struct store *store, const store_segments *all,
                             int64_t quiet_ns, int64_t cold_day, unsigned max, unsigned *done,
                             struct merge_stats *stats, struct tel_error *err)
{
    tel_code rc = TEL_OK;
    bool may = may_begin(merger);
    for (size_t i = 0, end; i < all->len && *done < max && rc == TEL_OK && !stopped(merger); i = end) {
        struct store_segment *const *group = all->items + i;
        size_t first;
        for (end = i + 1; end < all->len && same_group(group[0], all->items[end]); end++)
            ;
        size_t n = choose(merger, group, end - i, quiet_ns, &first);
        if (n == 0)
            continue;
        if (!may) {
            stats->debt_bytes += bytes_of(group + first, n);
            continue;
        }
        int level = level_of(merger, group[0], quiet_ns, cold_day);
        rc = merge_inputs(merger, store, group + first, n, level, stats, err);
        *done += rc == TEL_OK;
        may = may_begin(merger);
    }
    return rc;
}

tel_code merger_step(struct merger *merger, struct store *store, int64_t quiet_ns,
                     int64_t cold_day, unsigned max, bool *ret_done, struct merge_stats *stats,
                     struct tel_error *err)
{
    struct store_view view = {0};
    struct tel_buf missing = {0};
    store_select(store, NULL, INT64_MIN, INT64_MAX, &view, &missing);
    tel_buf_free(&missing);
    store_segments *all = &view.segments;
    if (all->len)
        qsort(all->items, all->len, sizeof(*all->items), by_group);
    unsigned done = 0;
    uint64_t debt = stats->debt_bytes;
    tel_code rc = merge_groups(merger, store, all, quiet_ns, cold_day, max, &done, stats, err);
    struct store_segment *cold = find_cold(merger, all, quiet_ns, cold_day);
    if (rc == TEL_OK && done == 0 && cold && stats->debt_bytes == debt) {
        if (may_begin(merger)) {
            rc = merge_inputs(merger, store, &cold, 1, merger->options.cold_level, stats, err);
            done += rc == TEL_OK;
        } else {
            stats->debt_bytes += cold->stored_bytes;
        }
    }
    store_view_done(&view);
    if (rc == TEL_OK)
        *ret_done = done > 0 || stats->debt_bytes > debt;
    return rc;
}
