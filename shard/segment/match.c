/* Filters on a segment. */
#include "shard/segment/match.h"

tel_code match_possible(struct segment_reader *reader, const struct tel_filter *filter,
                        struct tel_arena *arena, bool *ret, struct tel_error *err)
{
    (void)reader, (void)filter, (void)arena, (void)err;
    *ret = true;
    return TEL_OK;
}

tel_code match_rows(struct view *view, const struct segment_query *query, uint64_t *bits,
                    struct tel_error *err)
{
    size_t n = view->reader->info.rows;
    uint32_t *rows = tel_arena_alloc(view->arena, (n + 1) * sizeof(*rows));
    for (uint32_t i = 0; i < n; i++)
        rows[i] = i;
    struct tel_block_source *all;
    tel_code rc = view_source(view, rows, n, &all, err);
    return rc == TEL_OK ? tel_filter_eval(query->filter, all, bits, err) : rc;
}
