/*
 * Searching a segment: the time range cuts a run of rows (they are in the order of time), the filter
 * thins them out, the newest are kept, and what is left becomes a source.
 */
#include <stdlib.h>

#include "shard/segment/found.h"
#include "shard/segment/match.h"

#define FEW_ROWS     256u /* so many are read one by one */
#define FIRST_WINDOW 4096u

/* The first row at or behind a time. */
static size_t row_at_time(const struct view *v, int64_t time_ns)
{
    size_t lo = 0, hi = v->reader->info.rows;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (v->keys[mid].time_ns < time_ns)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Moves *to down to the first row that is not before the key. Rows of one time are told apart by the
 * rest of their keys, which are read only if there are some. */
static tel_code cut_before(struct view *v, const struct tel_row_key *before, size_t *to,
                           struct tel_error *err)
{
    size_t lo = row_at_time(v, before->time_ns), hi = *to;
    if (hi > lo && v->keys[hi - 1].time_ns > before->time_ns)
        hi = row_at_time(v, before->time_ns + 1);
    if (lo < hi) {
        tel_code rc = view_keys(v, err);
        if (rc != TEL_OK)
            return rc;
        while (lo < hi) {
            size_t mid = (lo + hi) / 2;
            if (tel_row_key_cmp(&v->keys[mid], before) < 0)
                lo = mid + 1;
            else
                hi = mid;
        }
    }
    *to = TEL_MIN(*to, lo);
    return TEL_OK;
}

/* The places of the rows in the time range. */
static tel_code in_time(struct view *v, const struct segment_query *query, uint64_t *bits,
                        uint64_t *ret_rows, struct tel_error *err)
{
    const struct segment_info *info = &v->reader->info;
    size_t n = info->rows;
    if (query->start_ns <= info->min_time_ns && query->end_ns > info->max_time_ns &&
        (!query->before || query->before->time_ns > info->max_time_ns)) {
        memset(bits, 0xff, n / 64 * sizeof(*bits));
        if (n % 64)
            bits[n / 64] = (UINT64_C(1) << (n % 64)) - 1;
        *ret_rows = n;
        return TEL_OK;
    }
    size_t from, to;
    uint32_t *places;
    tel_code rc = view_time_rows(v, query->start_ns, query->end_ns, &from, &to, err);
    if (rc == TEL_OK && query->before) {
        rc = view_times(v, err);
        if (rc == TEL_OK)
            rc = cut_before(v, query->before, &to, err);
    }
    if (rc != TEL_OK || from >= to)
        return rc;
    rc = view_row_places(v, from, to, &places, err);
    for (size_t i = 0; i < to - from && rc == TEL_OK; i++)
        bits[places[i] / 64] |= UINT64_C(1) << (places[i] % 64);
    *ret_rows = to - from;
    return rc;
}

tel_code found_search(struct segment_reader *r, const struct segment_query *query,
                      const struct plan *plan, struct tel_arena *arena, struct found *found,
                      struct segment_counters *counters, struct tel_error *err)
{
    uint64_t rows = 0;
    *found = (struct found){NULL, NULL, 0};
    if (plan && !plan->possible)
        return TEL_OK;
    tel_code rc = view_open(r, arena, counters, &found->view, err);
    if (rc != TEL_OK)
        return rc;
    found->view->pace = (struct tel_pace){query->stop, query->stop_ctx, 0};
    size_t words = TEL_BITMAP_WORDS(r->info.rows);
    found->bits = TEL_ARENA_ARRAY(arena, uint64_t, words);
    rc = in_time(found->view, query, found->bits, &rows, err);
    counters->rows_scanned += rows;
    if (rc == TEL_OK && plan && rows)
        rc = match_rows(found->view, plan, query, found->bits, err);
    for (size_t w = 0; w < words && rc == TEL_OK; w++)
        found->count += (size_t)__builtin_popcountll(found->bits[w]);
    return rc;
}

/* Plans the filter, if the segment's times are such that a row can match. */
static tel_code search(struct segment_reader *r, const struct segment_query *query,
                       struct tel_arena *arena, struct found *found,
                       struct segment_counters *counters, struct tel_error *err)
{
    struct plan *plan = NULL;
    tel_code rc = TEL_OK;
    *found = (struct found){NULL, NULL, 0};
    if (r->info.min_time_ns >= query->end_ns || r->info.max_time_ns < query->start_ns)
        return TEL_OK;
    if (query->filter)
        rc = plan_make(r, query, arena, &plan, err);
    if (rc == TEL_OK && counters->explain)
        plan_explain(r, plan, counters->explain);
    return rc == TEL_OK ? found_search(r, query, plan, arena, found, counters, err) : rc;
}

tel_code found_rows(const struct found *found, uint64_t max, struct tel_arena *arena,
                    uint32_t **ret, size_t *ret_count, struct tel_error *err)
{
    struct view *v = found->view;
    size_t count = max && max < found->count ? (size_t)max : found->count, left = count;
    uint32_t *rows = tel_arena_alloc(arena, (count + 1) * sizeof(*rows));
    tel_code rc = view_rows(v, err);
    if (rc != TEL_OK)
        return rc;
    for (size_t row = v->reader->info.rows; row-- > 0 && left;) {
        uint32_t place = v->place[row];
        if (found->bits[place / 64] >> (place % 64) & 1)
            rows[--left] = (uint32_t)row;
    }
    *ret = rows;
    *ret_count = count;
    return TEL_OK;
}

uint32_t *found_places(const struct found *found, struct tel_arena *arena)
{
    uint32_t *places = tel_arena_alloc(arena, (found->count + 1) * sizeof(*places));
    size_t n = 0;
    for (size_t w = 0; n < found->count; w++) {
        for (uint64_t b = found->bits[w]; b; b &= b - 1)
            places[n++] = (uint32_t)(w * 64 + (size_t)__builtin_ctzll(b));
    }
    return places;
}

static int by_place(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The newest `max` of what was found, as ascending places, in windows from the newest row on. */
static tel_code newest_places(const struct found *found, size_t max, struct tel_arena *arena,
                              uint32_t **ret, size_t *ret_count, struct tel_error *err)
{
    struct view *v = found->view;
    size_t count = 0, to = v->reader->info.rows;
    uint32_t *places = tel_arena_alloc(arena, (max + 1) * sizeof(*places)), *window;
    max = TEL_MIN(max, found->count);
    for (size_t size = FIRST_WINDOW; to > 0 && count < max; size *= 8) {
        size_t from = to > size ? to - size : 0;
        tel_code rc = view_row_places(v, from, to, &window, err);
        if (rc != TEL_OK)
            return rc;
        for (size_t i = to - from; i-- > 0 && count < max;) {
            if (found->bits[window[i] / 64] >> (window[i] % 64) & 1)
                places[count++] = window[i];
        }
        to = from;
    }
    if (count)
        qsort(places, count, sizeof(*places), by_place);
    *ret = places;
    *ret_count = count;
    return TEL_OK;
}

tel_code segment_select(struct segment_reader *r, const struct segment_query *query,
                        struct tel_arena *arena, struct tel_block_source **ret,
                        struct segment_counters *counters, struct tel_error *err)
{
    struct found found;
    tel_code rc = search(r, query, arena, &found, counters, err);
    if (rc != TEL_OK)
        return rc;
    counters->rows_matched += found.count;
    if (found.count == 0) {
        *ret = segment_events_source(NULL, 0, arena);
        return TEL_OK;
    }
    uint32_t *rows;
    size_t count;
    if (found.count <= FEW_ROWS && (!query->newest || found.count <= query->newest))
        return view_few_source(found.view, found_places(&found, arena), found.count, ret, err);
    if (query->newest && query->newest <= FEW_ROWS) {
        rc = newest_places(&found, (size_t)query->newest, arena, &rows, &count, err);
        return rc == TEL_OK ? view_few_source(found.view, rows, count, ret, err) : rc;
    }
    if (query->any_order && !query->newest)
        return view_place_source(found.view, found_places(&found, arena), found.count, query->excerpt,
                                 ret, err);
    rc = found_rows(&found, query->newest, arena, &rows, &count, err);
    return rc == TEL_OK ? view_source(found.view, rows, count, query->excerpt, ret, err) : rc;
}

/* When the templates' verdicts tell all and the time range takes all: the sum of their rows. */
static tel_code count_templates(struct segment_reader *r, const struct segment_query *query,
                                struct tel_arena *arena, bool *ret_counted, uint64_t *ret,
                                struct tel_error *err)
{
    struct plan *plan = NULL;
    if (query->newest || query->start_ns > r->info.min_time_ns ||
        query->end_ns <= r->info.max_time_ns)
        return TEL_OK;
    if (query->filter) {
        tel_code rc = plan_make(r, query, arena, &plan, err);
        if (rc != TEL_OK || !plan->exact)
            return rc;
    }
    uint64_t count = 0;
    for (uint32_t t = 0; t < r->template_count; t++) {
        if (!plan || plan->root.verdicts[t] == VERDICT_ALL)
            count += r->templates[t].rows;
    }
    *ret_counted = true;
    *ret = count;
    return TEL_OK;
}

tel_code segment_count(struct segment_reader *r, const struct segment_query *query, uint64_t *ret,
                       struct segment_counters *counters, struct tel_error *err)
{
    struct tel_arena arena;
    struct found found;
    bool counted = false;
    tel_arena_init(&arena, 1 << 20);
    tel_code rc = count_templates(r, query, &arena, &counted, ret, err);
    if (rc == TEL_OK && !counted)
        rc = search(r, query, &arena, &found, counters, err);
    if (rc == TEL_OK && counted && counters->explain)
        counters->explain->counted++;
    if (rc == TEL_OK && !counted)
        *ret = found.count;
    if (rc == TEL_OK)
        counters->rows_matched += *ret;
    tel_arena_free(&arena);
    return rc;
}
