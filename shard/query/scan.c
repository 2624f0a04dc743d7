/* One piece of a search: a segment through its reader, a chunk of memory row by row. */
#include <inttypes.h>
#include <stdlib.h>

#include "common/base/hash.h"
#include "common/logsql/filter.h"
#include "shard/query/search.h"
#include "shard/segment/events.h"

/* What the piece still has to give, when only the newest rows are wanted. */
static int64_t floor_ns(struct search *s)
{
    if (!s->ordered)
        return s->start_ns;
    tel_mutex_lock(&s->lock);
    int64_t ns = top_floor_ns(&s->top);
    tel_mutex_unlock(&s->lock);
    return TEL_MAX(ns, s->start_ns);
}

static tel_code push_block(struct searcher *me, const struct tel_block *block,
                           struct tel_error *err)
{
    tel_code rc = tel_chain_push(me->chain, block, err);
    me->chain_failed = rc != TEL_OK;
    return rc;
}

static tel_code push_source(struct searcher *me, struct tel_block_source *src,
                            const uint64_t *bitmap, struct tel_error *err)
{
    struct tel_block block;
    tel_code rc = tel_block_from_source(src, bitmap, &me->search->fields, &me->arena, &block, err);
    if (rc == TEL_OK && block.rows)
        rc = push_block(me, &block, err);
    return rc;
}

/* So many rows of which nothing but their number matters. */
static tel_code push_count(struct searcher *me, uint64_t rows, struct tel_error *err)
{
    struct tel_block block = {.rows = (size_t)rows};
    return rows ? push_block(me, &block, err) : TEL_OK;
}

/* ---- segments ----------------------------------------------------------------------------------- */

static tel_code scan_segment(struct searcher *me, const struct search_piece *piece,
                             int64_t from_ns, struct tel_error *err)
{
    struct search *s = me->search;
    struct cached_reader *reader;
    tel_code rc = cache_take(s->env->cache, piece->segment, &reader, err);
    if (rc != TEL_OK)
        return rc;
    struct segment_query query = {
        .filter = s->query->filter,
        .start_ns = from_ns,
        .end_ns = s->end_ns,
        .newest = s->ordered && s->keeps_rows ? s->request->max_rows : 0,
        .stop = search_stop,
        .stop_ctx = s,
    };
    me->segments++;
    if (s->counting) {
        uint64_t rows = 0;
        rc = segment_count(reader->reader, &query, &rows, &me->counters, err);
        if (rc == TEL_OK)
            rc = push_count(me, rows, err);
    } else {
        struct tel_block_source *src;
        rc = segment_select(reader->reader, &query, &me->arena, &src, &me->counters, err);
        if (rc == TEL_OK && src->rows)
            rc = push_source(me, src, NULL, err);
    }
    if (rc != TEL_OK && !me->chain_failed && rc != TEL_ERR_CANCELLED && rc != TEL_ERR_TIMEOUT) {
        char name[96];
        store_segment_name(piece->segment, name, sizeof(name));
        if (tel_span_find(tel_span_cstr(err->text), tel_span_cstr(name)) == (size_t)-1)
            tel_error_wrap(err, rc, "%s", name);
    }
    /* The rows live in the reader until here. */
    cache_put(s->env->cache, reader, rc != TEL_OK);
    return rc;
}

/* ---- memory ------------------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
    return tel_row_key_cmp(&((const struct segment_event *)a)->key,
                           &((const struct segment_event *)b)->key);
}

static size_t gather_run(struct searcher *me, const struct chunk_run *run, uint32_t partition,
                         int64_t from_ns, int64_t end_ns, struct segment_event *out)
{
    size_t count = 0;
    struct segment_stream *stream = NULL;
    for (uint32_t i = 0; i < run->count; i++) {
        const struct tel_event *e = &run->events[i];
        if (e->timestamp_ns < from_ns || e->timestamp_ns >= end_ns)
            continue;
        if (!stream) {
            stream = TEL_ARENA_NEW(&me->arena, struct segment_stream);
            segment_stream_init(stream, run->labels, run->label_count, &me->arena);
        }
        out[count++] = (struct segment_event){
            {e->timestamp_ns, partition, run->first + i, run->position.offset}, stream, e};
    }
    return count;
}

static tel_code scan_chunk(struct searcher *me, const struct search_piece *piece, int64_t from_ns,
                           struct tel_error *err)
{
    struct search *s = me->search;
    const struct chunk *chunk = piece->chunk;
    uint64_t hash = tel_hash64(s->tenant, 0);
    struct segment_event *events = tel_arena_alloc(&me->arena, chunk->rows * sizeof(*events));
    size_t count = 0;
    for (size_t i = 0; i < chunk->runs.len; i++) {
        const struct chunk_run *run = &chunk->runs.items[i];
        if (run->tenant_hash == hash && tel_span_eq(run->tenant, s->tenant) &&
            run->min_time_ns < s->end_ns && run->max_time_ns >= from_ns &&
            partition_view_holds(&piece->partition->view, run))
            count += gather_run(me, run, piece->partition->id, from_ns, s->end_ns, events + count);
    }
    if (count == 0)
        return TEL_OK;
    qsort(events, count, sizeof(*events), by_key);
    struct tel_block_source *src = segment_events_source(events, count, &me->arena);
    uint64_t *bitmap = TEL_ARENA_ARRAY(&me->arena, uint64_t, TEL_BITMAP_WORDS(count));
    tel_bitmap_fill(bitmap, count);
    tel_code rc = tel_filter_eval(s->query->filter, src, bitmap, err);
    if (rc != TEL_OK)
        return rc;
    size_t matched = tel_bitmap_count(bitmap, count);
    me->counters.rows_scanned += count;
    me->counters.rows_matched += matched;
    if (s->counting)
        return push_count(me, matched, err);
    return matched ? push_source(me, src, bitmap, err) : TEL_OK;
}

/* ---- both --------------------------------------------------------------------------------------- */

tel_code search_scan(struct searcher *me, const struct search_piece *piece, struct tel_error *err)
{
    struct search *s = me->search;
    int64_t from_ns = floor_ns(s);
    if (piece->max_time_ns < from_ns) { /* all of it is older than what was found */
        me->pruned += piece->segment != NULL;
        return TEL_OK;
    }
    tel_code rc;
    if (piece->segment)
        rc = scan_segment(me, piece, from_ns, err);
    else
        rc = scan_chunk(me, piece, from_ns, err);
    tel_arena_reset(&me->arena);
    return rc;
}
