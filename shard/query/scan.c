/* One piece of a search: a segment through its reader, a chunk of memory row by row. */
#include <inttypes.h>
#include <stdlib.h>

#include "common/base/hash.h"
#include "common/logsql/filter.h"
#include "shard/query/search.h"
#include "shard/segment/events.h"

struct search_range search_range_left(struct search *s)
{
    struct search_range r = {s->start_ns, s->end_ns};
    if (s->edge == SEARCH_ALL)
        return r;
    tel_mutex_lock(&s->lock);
    int64_t floor = top_floor_ns(&s->top);
    tel_mutex_unlock(&s->lock);
    if (floor == INT64_MIN)
        return r;
    if (s->edge == SEARCH_OLDEST)
        r.end_ns = TEL_MIN(r.end_ns, ~floor == INT64_MAX ? INT64_MAX : ~floor + 1);
    else
        r.from_ns = TEL_MAX(r.from_ns, floor);
    return r;
}

/* Remembers when the rows were, so that pieces beyond the N-th need not be looked at. Oldest rows are
 * newest ones with the time turned round. */
static tel_code note_edge(struct search *s, struct tel_block *block, struct tel_arena *arena,
                          struct tel_error *err)
{
    if (s->edge == SEARCH_ALL || s->ordered)
        return TEL_OK;
    struct tel_block keys = {.rows = block->rows, .keys = block->keys};
    if (s->edge == SEARCH_OLDEST) {
        block->rows = keys.rows = (size_t)TEL_MIN(block->rows, s->edge_rows);
        struct tel_row_key *turned = tel_arena_alloc(arena, keys.rows * sizeof(*turned));
        for (size_t i = 0; i < keys.rows; i++) {
            turned[i] = block->keys[keys.rows - 1 - i];
            turned[i].time_ns = ~turned[i].time_ns;
        }
        keys.keys = turned;
    }
    tel_mutex_lock(&s->lock);
    tel_code rc = top_push(&s->top, &keys, err);
    tel_mutex_unlock(&s->lock);
    return rc;
}

/* All columns, as far as the first pipe wants them still: it may know enough of some. */
static tel_code choose_block(struct searcher *me, struct tel_block_source *src,
                             const uint64_t *bitmap, struct tel_block *ret, struct tel_error *err)
{
    const struct tel_fields *f = &me->search->fields;
    const struct tel_span *names;
    size_t count;
    tel_code rc = src->ops->names(src, &names, &count, err);
    if (rc != TEL_OK)
        return rc;
    struct tel_column *columns = TEL_ARENA_ARRAY(&me->arena, struct tel_column, count + 1);
    struct tel_block block = {.rows = src->rows, .keys = src->keys, .columns = columns};
    if (src->keys && tel_fields_has(f, TEL_SPAN(TEL_FIELD_TIME)))
        columns[block.column_count++].name = TEL_SPAN(TEL_FIELD_TIME);
    for (size_t i = 0; i < count && rc == TEL_OK; i++) {
        struct tel_column *c = &columns[block.column_count];
        enum tel_want want = tel_chain_wants(me->chain, names[i]);
        bool time = src->keys && tel_span_eq_cstr(names[i], TEL_FIELD_TIME), all = false;
        if (want == TEL_WANT_NOTHING || time || !tel_fields_has(f, names[i]))
            continue;
        *c = (struct tel_column){.name = names[i]};
        if (want == TEL_WANT_PRESENCE && src->ops->filled)
            rc = src->ops->filled(src, names[i], &all, err);
        if (rc == TEL_OK && !all)
            rc = src->ops->column(src, names[i], &c->values, err);
        block.column_count += all || c->values;
    }
    if (rc == TEL_OK && bitmap)
        tel_block_select(&block, bitmap, &me->arena, ret);
    else if (rc == TEL_OK)
        *ret = block;
    return rc;
}

/* The columns that the pipes need. Without wildcards among them they are asked for by name: to find
 * out which names there are, a source may have to unpack what nobody wants. */
static tel_code make_block(struct searcher *me, struct tel_block_source *src,
                           const uint64_t *bitmap, struct tel_block *ret, struct tel_error *err)
{
    const struct tel_fields *f = &me->search->fields;
    for (size_t i = 0; i < f->allow_count; i++)
        if (tel_field_is_wildcard(f->allow[i]))
            return tel_chain_is_choosy(me->chain)
                       ? choose_block(me, src, bitmap, ret, err)
                       : tel_block_from_source(src, bitmap, f, &me->arena, ret, err);
    struct tel_column *columns = TEL_ARENA_ARRAY(&me->arena, struct tel_column, f->allow_count);
    struct tel_block block = {.rows = src->rows, .keys = src->keys, .columns = columns};
    for (size_t i = 0; i < f->allow_count; i++) {
        struct tel_column *c = &columns[block.column_count];
        *c = (struct tel_column){.name = f->allow[i]};
        if (!tel_span_eq_cstr(c->name, TEL_FIELD_TIME)) {
            tel_code rc = src->ops->column(src, c->name, &c->values, err);
            if (rc != TEL_OK)
                return rc;
            if (!c->values)
                continue;
        }
        block.column_count++;
    }
    if (bitmap)
        tel_block_select(&block, bitmap, &me->arena, ret);
    else
        *ret = block;
    return TEL_OK;
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
    tel_code rc = make_block(me, src, bitmap, &block, err);
    if (rc == TEL_OK && block.rows)
        rc = note_edge(me->search, &block, &me->arena, err);
    if (rc == TEL_OK && block.rows)
        rc = push_block(me, &block, err);
    return rc;
}

/* So many rows of which nothing but their number matters. */
static tel_code push_count(struct searcher *me, uint64_t rows, struct tel_error *err)
{
    struct tel_block block = {.rows = 1, .hits = &rows};
    return rows ? push_block(me, &block, err) : TEL_OK;
}

/* ---- segments ----------------------------------------------------------------------------------- */

static tel_code scan_segment(struct searcher *me, const struct search_piece *piece,
                             struct search_range range, struct tel_error *err)
{
    struct search *s = me->search;
    struct cached_reader *reader = me->taken;
    tel_code rc = TEL_OK;
    if (!reader)
        rc = cache_take(s->env->cache, piece->segment, &reader, err);
    me->taken = NULL;
    if (rc != TEL_OK)
        return rc;
    struct segment_query query = {
        .filter = s->filter,
        .start_ns = range.from_ns,
        .end_ns = range.end_ns,
        .newest = s->edge == SEARCH_NEWEST && s->keeps_rows ? s->edge_rows : 0,
        .before = s->has_before ? &s->before : NULL,
        .excerpt = s->excerpt,
        .any_order = s->any_order,
        .stop = search_stop,
        .stop_ctx = s,
    };
    me->segments++;
    *(cache_was_open(reader) ? &me->explain.readers_open : &me->explain.readers_opened) += 1;
    rc = segment_reader_ready(reader->reader, err);
    if (rc != TEL_OK) {
        /* named below */
    } else if (s->counting) {
        uint64_t rows = 0;
        rc = segment_count(reader->reader, &query, &rows, &me->counters, err);
        if (rc == TEL_OK)
            rc = push_count(me, rows, err);
    } else if (s->grouping) {
        struct tel_block_source *src;
        struct tel_block block;
        rc = segment_group(reader->reader, &query, &s->group, &me->arena, &block, &src,
                           &me->counters, err);
        if (rc == TEL_OK && src && src->rows)
            rc = push_source(me, src, NULL, err);
        else if (rc == TEL_OK && block.rows)
            rc = push_block(me, &block, err);
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

/* The stream of these labels. Messages of a source bring the same ones again and again, and to print
 * and hash them costs more than to look: the last few are kept. */
static struct segment_stream *find_stream(struct searcher *me, const struct chunk_run *run)
{
    uint64_t hash = run->label_count;
    for (uint32_t i = 0; i < run->label_count; i++)
        hash = tel_hash64(run->labels[i].value, tel_hash64(run->labels[i].name, hash));
    struct known_stream *k = &me->streams[hash % KNOWN_STREAMS];
    bool same = k->stream && k->hash == hash && k->stream->label_count == run->label_count;
    for (uint32_t i = 0; same && i < run->label_count; i++)
        same = tel_span_eq(k->stream->labels[i].name, run->labels[i].name) &&
               tel_span_eq(k->stream->labels[i].value, run->labels[i].value);
    if (!same) {
        k->hash = hash;
        k->stream = TEL_ARENA_NEW(&me->arena, struct segment_stream);
        segment_stream_init(k->stream, run->labels, run->label_count, &me->arena);
    }
    return k->stream;
}

static size_t gather_run(struct searcher *me, const struct chunk_run *run, uint32_t partition,
                         struct search_range range, struct segment_event *out)
{
    const struct search *s = me->search;
    size_t count = 0;
    struct segment_stream *stream = NULL;
    for (uint32_t i = 0; i < run->count; i++) {
        const struct tel_event *e = &run->events[i];
        if (e->timestamp_ns < range.from_ns || e->timestamp_ns >= range.end_ns)
            continue;
        struct tel_row_key key = {e->timestamp_ns, partition, run->first + i, run->position.offset};
        if (s->has_before && tel_row_key_cmp(&key, &s->before) >= 0)
            continue;
        if (!stream)
            stream = find_stream(me, run);
        out[count++] = (struct segment_event){key, stream, e};
    }
    return count;
}

static tel_code scan_chunk(struct searcher *me, const struct search_piece *piece,
                           struct search_range range, struct tel_error *err)
{
    struct search *s = me->search;
    const struct chunk *chunk = piece->chunk;
    uint64_t hash = tel_hash64(s->tenant, 0);
    struct segment_event *events = tel_arena_alloc(&me->arena, chunk->rows * sizeof(*events));
    size_t count = 0;
    memset(me->streams, 0, sizeof(me->streams)); /* they lived in the arena */
    for (size_t i = 0; i < chunk->runs.len; i++) {
        const struct chunk_run *run = &chunk->runs.items[i];
        if (run->tenant_hash == hash && tel_span_eq(run->tenant, s->tenant) &&
            run->min_time_ns < range.end_ns && run->max_time_ns >= range.from_ns &&
            partition_view_holds(&piece->partition->view, run))
            count += gather_run(me, run, piece->partition->id, range, events + count);
    }
    me->explain.chunks++;
    if (count == 0)
        return TEL_OK;
    qsort(events, count, sizeof(*events), by_key);
    struct tel_block_source *src = segment_events_source(events, count, &me->arena);
    struct tel_pace pace = {search_stop, s, 0};
    src->pace = &pace;
    uint64_t *bitmap = TEL_ARENA_ARRAY(&me->arena, uint64_t, TEL_BITMAP_WORDS(count));
    tel_bitmap_fill(bitmap, count);
    tel_code rc = tel_filter_eval(s->filter, src, bitmap, err);
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
    struct search_range range = search_range_left(s);
    if (piece->max_time_ns < range.from_ns || piece->min_time_ns >= range.end_ns) {
        me->pruned += piece->segment != NULL;
        return TEL_OK;
    }
    tel_code rc;
    if (piece->segment)
        rc = scan_segment(me, piece, range, err);
    else
        rc = scan_chunk(me, piece, range, err);
    tel_arena_reset(&me->arena);
    return rc;
}
