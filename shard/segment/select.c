/*
 * Searching a segment: the time range cuts a run of rows (they are in the order of time), the filter
 * thins them out, the newest are kept, and what is left becomes a source.
 */
#include "shard/segment/match.h"
#include "shard/segment/reader.h"

struct found {
    struct view *view; /* NULL: nothing can match */
    uint32_t *rows;
    size_t count;
};

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

static void collect(struct found *found, const uint64_t *bits, size_t rows)
{
    for (size_t w = 0; w < TEL_BITMAP_WORDS(rows); w++) {
        for (uint64_t b = bits[w]; b; b &= b - 1)
            found->rows[found->count++] = (uint32_t)(w * 64 + (size_t)__builtin_ctzll(b));
    }
}

static tel_code search(struct segment_reader *r, const struct segment_query *query,
                       struct tel_arena *arena, struct found *found,
                       struct segment_counters *counters, struct tel_error *err)
{
    *found = (struct found){NULL, NULL, 0};
    if (r->info.min_time_ns >= query->end_ns || r->info.max_time_ns < query->start_ns)
        return TEL_OK;
    struct plan *plan = NULL;
    tel_code rc = TEL_OK;
    if (query->filter)
        rc = plan_make(r, query->filter, arena, &plan, err);
    if (rc != TEL_OK || (plan && !plan->possible))
        return rc;
    rc = view_open(r, arena, &found->view, err);
    if (rc != TEL_OK)
        return rc;
    struct view *v = found->view;
    size_t n = r->info.rows, from = row_at_time(v, query->start_ns),
           to = row_at_time(v, query->end_ns);
    uint64_t *bits = TEL_ARENA_ARRAY(arena, uint64_t, TEL_BITMAP_WORDS(n) + 1);
    for (size_t i = from; i < to; i++)
        bits[i / 64] |= UINT64_C(1) << (i % 64);
    counters->rows_scanned += to > from ? to - from : 0;
    if (plan && to > from)
        rc = match_rows(v, plan, query, bits, err);
    counters->bytes_read += v->streams.bytes_read;
    if (rc != TEL_OK)
        return rc;
    found->rows = tel_arena_alloc(arena, (n + 1) * sizeof(*found->rows));
    collect(found, bits, n);
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
    if (query->newest && found.count > query->newest) {
        found.rows += found.count - query->newest;
        found.count = query->newest;
    }
    return view_source(found.view, found.rows, found.count, ret, err);
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
        tel_code rc = plan_make(r, query->filter, arena, &plan, err);
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
    if (rc == TEL_OK && !counted)
        *ret = found.count;
    if (rc == TEL_OK)
        counters->rows_matched += *ret;
    tel_arena_free(&arena);
    return rc;
}
