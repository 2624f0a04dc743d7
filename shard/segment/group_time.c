/* See group_time.h. */
#include "shard/segment/group_time.h"

#include "common/logsql/bucket.h"

tel_code group_times_read(struct view *v, struct group_times *t, struct tel_error *err)
{
    size_t n = v->reader->info.rows;
    struct cursor node = v->times_node;
    uint64_t time = t->first = (uint64_t)cursor_zigzag(&node);
    tel_code rc = ints_open(&v->streams, &node, n, &t->steps, err);
    if (rc != TEL_OK)
        return rc;
    t->rows = (uint32_t)n;
    t->block = UINT32_MAX;
    t->starts = tel_arena_alloc(v->arena, (n / TIMES_BLOCK + 1) * sizeof(*t->starts));
    for (size_t from = 0; from < n; from += TIMES_BLOCK) {
        size_t to = n - from < TIMES_BLOCK ? n : from + TIMES_BLOCK;
        int64_t start = (int64_t)(time + ints_at(&t->steps, from));
        t->starts[from / TIMES_BLOCK] = start;
        time += ints_sum(&t->steps, from, to);
        if (start > (int64_t)time || (from && start < t->starts[from / TIMES_BLOCK - 1]))
            return segment_corrupt(err, "times of rows");
    }
    return TEL_OK;
}

int64_t group_times_at(struct group_times *t, uint32_t row)
{
    uint32_t block = row / TIMES_BLOCK, first = block * TIMES_BLOCK;
    if (t->block != block) {
        uint64_t time = (uint64_t)t->starts[block];
        t->at[0] = (int64_t)time;
        for (uint32_t i = 1; i < TIMES_BLOCK && first + i < t->rows; i++)
            t->at[i] = (int64_t)(time += ints_at(&t->steps, first + i));
        t->block = block;
    }
    return t->at[row - first];
}

uint32_t group_times_find(struct group_times *t, int64_t time_ns)
{
    uint32_t lo = 0, hi = (t->rows + TIMES_BLOCK - 1) / TIMES_BLOCK;
    while (lo < hi) { /* the first block that begins at or behind it */
        uint32_t mid = lo + (hi - lo) / 2;
        if (t->starts[mid] < time_ns)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == 0)
        return 0;
    uint32_t row = (lo - 1) * TIMES_BLOCK, end = TEL_MIN(lo * TIMES_BLOCK, t->rows);
    while (row < end && group_times_at(t, row) < time_ns)
        row++;
    return row;
}

uint32_t group_times_run_end(struct group_times *t, const struct tel_bucket *bucket, uint32_t row,
                             uint32_t to)
{
    int64_t own = tel_bucket_time(bucket, group_times_at(t, row));
    uint32_t lo = row / TIMES_BLOCK + 1, hi = (to + TIMES_BLOCK - 1) / TIMES_BLOCK;
    while (lo < hi) { /* the first block behind the row's that begins with another bucket */
        uint32_t mid = lo + (hi - lo) / 2;
        if (tel_bucket_time(bucket, t->starts[mid]) == own)
            lo = mid + 1;
        else
            hi = mid;
    }
    uint32_t from = TEL_MAX(row + 1, (lo - 1) * TIMES_BLOCK), end = TEL_MIN(lo * TIMES_BLOCK, to);
    while (from < end) {
        uint32_t mid = from + (end - from) / 2;
        if (tel_bucket_time(bucket, group_times_at(t, mid)) == own)
            from = mid + 1;
        else
            end = mid;
    }
    return from;
}
