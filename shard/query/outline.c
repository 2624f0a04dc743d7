/*
 * Segments that their outlines settle, without a reader: no row can match; or all that is wanted is how
 * many rows match, by labels perhaps, and that depends on nothing but their streams.
 */
#include "common/logsql/bucket.h"
#include "shard/query/search.h"

void search_outline_begin(struct searcher *me)
{
    struct search *s = me->search;
    tel_arena_init(&me->probe_arena, 16u << 10);
    tally_init(&me->tally, s->group.fields, s->group.field_count);
    if (s->outlining)
        me->probe = segment_probe_new(s->filter, &me->probe_arena);
}

void search_outline_done(struct searcher *me)
{
    tally_done(&me->tally);
    tel_arena_free(&me->probe_arena);
}

tel_code search_outline_end(struct searcher *me, struct tel_error *err)
{
    struct tel_block block;
    tally_block(&me->tally, &block);
    if (block.rows == 0)
        return TEL_OK;
    tel_code rc = tel_chain_push(me->chain, &block, err);
    me->chain_failed = rc != TEL_OK;
    tally_clear(&me->tally);
    return rc;
}

/* ---- counting ----------------------------------------------------------------------------------- */

/* Is each of the fields a label of the segment's streams, or nothing? */
static bool labels_only(const struct search *s, const struct segment_outline *o)
{
    for (size_t i = 0; i < s->group.field_count; i++) {
        struct tel_span name = s->group.fields[i];
        if (!tel_span_eq_cstr(name, TEL_FIELD_STREAM) &&
            !tel_span_eq_cstr(name, TEL_FIELD_STREAM_ID) && segment_outline_has_values(o, name))
            return false;
    }
    return true;
}

static bool one_bucket(const struct search *s, const struct segment_outline *o)
{
    return !s->group.bucket || tel_bucket_time(s->group.bucket, o->info.min_time_ns) ==
                                   tel_bucket_time(s->group.bucket, o->info.max_time_ns);
}

/* Rows of a bucket are pushed at once, with a time of it: the tally knows none. */
static tel_code push_bucket(struct searcher *me, const struct segment_outline *o,
                            struct tel_error *err)
{
    struct tel_block block;
    tally_block(&me->tally, &block);
    if (block.rows == 0)
        return TEL_OK;
    struct tel_arena *arena = &me->tally.arena;
    size_t n = block.column_count, rows = block.rows;
    struct tel_column *columns = TEL_ARENA_ARRAY(arena, struct tel_column, n + 1);
    struct tel_row_key *keys = TEL_ARENA_ARRAY(arena, struct tel_row_key, rows);
    if (n)
        memcpy(columns, block.columns, n * sizeof(*columns));
    columns[n] = (struct tel_column){TEL_SPAN(TEL_FIELD_TIME), NULL};
    for (size_t i = 0; i < rows; i++)
        keys[i].time_ns = o->info.min_time_ns;
    struct tel_block out = {
        .rows = rows, .keys = keys, .column_count = n + 1, .columns = columns, .hits = block.hits};
    tel_code rc = tel_chain_push(me->chain, &out, err);
    me->chain_failed = rc != TEL_OK;
    tally_clear(&me->tally);
    return rc;
}

/* Counts the rows of the streams that match, if that can be told. */
static tel_code count(struct searcher *me, const struct segment_outline *o, bool *ret_counted,
                      struct tel_error *err)
{
    struct search *s = me->search;
    if (s->grouping && (!labels_only(s, o) || !one_bucket(s, o)))
        return TEL_OK;
    bool *matches = TEL_ARENA_ARRAY(&me->arena, bool, o->stream_count + 1);
    *ret_counted = segment_probe_streams(me->probe, o, matches);
    if (!*ret_counted)
        return TEL_OK;
    for (uint32_t i = 0; i < o->stream_count; i++) {
        if (!matches[i] || o->stream_rows[i] == 0)
            continue;
        tally_add(&me->tally, o->streams[i], o->stream_rows[i]);
        me->counters.rows_matched += o->stream_rows[i];
    }
    if (s->grouping)
        me->counters.rows_scanned += o->info.rows;
    if (s->group.bucket)
        return push_bucket(me, o, err);
    return me->tally.groups.len > TALLY_GROUPS_MAX ? search_outline_end(me, err) : TEL_OK;
}

/* ---- a segment ---------------------------------------------------------------------------------- */

static void name_error(const struct search_piece *piece, tel_code code, struct tel_error *err)
{
    char name[96];
    store_segment_name(piece->segment, name, sizeof(name));
    if (tel_span_find(tel_span_cstr(err->text), tel_span_cstr(name)) == (size_t)-1)
        tel_error_wrap(err, code, "%s", name);
}

/* What there is in memory of the segment, or else made from its reader. Not there, and no error: it is
 * not worth the while. */
static tel_code get_resident(struct searcher *me, const struct search_piece *piece,
                             struct resident *ret, struct tel_error *err)
{
    struct search *s = me->search;
    bool words = segment_probe_wants_words(me->probe);
    residents_take(s->env->residents, piece->segment, words, ret);
    if (ret->outline && (!words || ret->words))
        return TEL_OK;
    /* Labels may tell; what is read of a segment that has no room is read in vain. */
    if (ret->outline && segment_probe_test(me->probe, ret->outline, NULL) == PROBE_NONE)
        return TEL_OK;
    tel_code rc = cache_take(s->env->cache, piece->segment, &me->taken, err);
    if (rc != TEL_OK)
        return rc;
    if (cache_was_open(me->taken) && !residents_have_room(s->env->residents, piece->segment))
        return TEL_OK;
    rc = residents_learn(s->env->residents, piece->segment, me->taken->reader, words, ret, err);
    if (rc != TEL_OK)
        name_error(piece, rc, err);
    return rc;
}

tel_code search_outline(struct searcher *me, const struct search_piece *piece, bool *ret_settled,
                        struct tel_error *err)
{
    struct search *s = me->search;
    struct resident resident = {0};
    if (!me->probe || !piece->segment)
        return TEL_OK;
    struct search_range range = search_range_left(s);
    if (piece->max_time_ns < range.from_ns || piece->min_time_ns >= range.end_ns)
        return TEL_OK; /* the scan passes it over */
    tel_code rc = get_resident(me, piece, &resident, err);
    bool none = rc == TEL_OK && resident.outline &&
                segment_probe_test(me->probe, resident.outline, resident.words) == PROBE_NONE;
    bool whole = piece->min_time_ns >= range.from_ns && piece->max_time_ns < range.end_ns &&
                 !s->has_before;
    if (none) {
        *ret_settled = true;
        ++*segment_probe_reason(me->probe, resident.outline, resident.words, &me->explain.segments);
    } else if (rc == TEL_OK && resident.outline && whole && (s->counting || s->grouping)) {
        rc = count(me, resident.outline, ret_settled, err);
        me->explain.segments.counted += *ret_settled;
        tel_arena_reset(&me->arena);
    }
    residents_put(s->env->residents, &resident);
    me->segments += *ret_settled;
    me->explain.outlines += *ret_settled;
    return rc;
}
