/*
 * Generations: a name for all that a search's answer depends on, beside its request. A router that
 * kept an answer sends the name back with the same request, and while it is the same nothing needs
 * to be searched.
 *
 *     a random number of this process   serial numbers and offsets mean nothing in another
 *     resolved times                    of relative times in the query
 *     of each partition                 the segments in the range, by serial number
 *                                       the tenant's runs of events in memory, by their place in the log
 *
 * Segments and runs never change. What ingest, flushes, merges and retention do to the range adds or
 * takes away one or the other, and what they do outside of it changes nothing here. Their order in
 * the catalogue does not matter: the parts are summed.
 */
#include "common/base/hash.h"
#include "shard/query/search.h"

static void add(struct tel_hash128 *sum, const void *bytes, size_t len, uint64_t kind)
{
    struct tel_hash128 h = tel_hash128(tel_span_make(bytes, len), kind);
    sum->lo += h.lo;
    sum->hi += h.hi;
}

enum { KIND_SEARCH = 1, KIND_TIME, KIND_SEGMENT, KIND_RUN, KIND_NAME };

/* ---- the query ---------------------------------------------------------------------------------- */

static void add_times(struct tel_hash128 *sum, const struct tel_filter *f, uint64_t place)
{
    if (f->op == TEL_FILTER_TIME) {
        const int64_t times[] = {f->u.time.min, f->u.time.max, (int64_t)place};
        add(sum, times, sizeof(times), KIND_TIME);
    }
    for (size_t i = 0; i < f->kid_count; i++)
        add_times(sum, f->kids[i], place * 31 + i + 1);
}

struct seen {
    struct tel_hash128 *sum;
    uint64_t place;
};

static tel_code see_filter(void *ctx, struct tel_filter **filter, struct tel_error *err)
{
    struct seen *seen = ctx;
    (void)err;
    add_times(seen->sum, *filter, ++seen->place);
    return TEL_OK;
}

/* Does the pipe make the same of the same rows whenever it runs, but for the times above? Not so:
 * sample, math (random, now), unpack_syslog (the year), and what looks elsewhere. */
static bool is_steady(const struct tel_pipe *pipe)
{
    static const char *const names[] = {
        "fields", "delete", "copy", "rename", "format", "extract", "extract_regexp", "len", "hash",
        "unpack_json", "unpack_logfmt", "unpack_words", "replace", "replace_regexp", "filter",
        "collapse_nums", "decolorize", "pack_json", "pack_logfmt", "drop_empty_fields", "unroll",
        "json_array_len", "stats", "top", "uniq", "sort", "first", "last", "limit", "field_names",
        "field_values", "facets", "patterns",
    };
    for (size_t i = 0; i < TEL_ARRAY_LEN(names); i++)
        if (strcmp(pipe->ops->name, names[i]) == 0)
            return true;
    return false;
}

static bool add_query(struct tel_hash128 *sum, const struct search *s)
{
    struct seen seen = {sum, UINT64_C(1) << 32};
    size_t split = tel_query_split(s->query, NULL);
    if (s->query->score)
        return false;
    for (size_t i = 0; i < split; i++) {
        struct tel_pipe *pipe = s->query->pipes[i];
        if (!is_steady(pipe) || (pipe->ops->filters &&
                                 pipe->ops->filters(pipe, see_filter, &seen, NULL) != TEL_OK))
            return false;
    }
    add_times(sum, s->query->filter, 0);
    const uint64_t whole[] = {s->env->epoch[0], s->env->epoch[1], (uint64_t)s->start_ns,
                              (uint64_t)s->end_ns};
    add(sum, whole, sizeof(whole), KIND_SEARCH);
    return true;
}

/* ---- what is searched --------------------------------------------------------------------------- */

static bool add_segments(struct tel_hash128 *sum, const struct search_partition *sp)
{
    for (size_t i = 0; i < sp->view.store.segments.len; i++) {
        const struct store_segment *segment = sp->view.store.segments.items[i];
        if (atomic_load(&segment->damaged))
            return false;
        const uint64_t part[] = {sp->id, segment->serial};
        add(sum, part, sizeof(part), KIND_SEGMENT);
    }
    return true;
}

static void add_chunk(struct tel_hash128 *sum, const struct search *s,
                      const struct search_partition *sp, const struct chunk *chunk)
{
    for (size_t i = 0; i < chunk->runs.len; i++) {
        const struct chunk_run *run = &chunk->runs.items[i];
        if (run->min_time_ns >= s->end_ns || run->max_time_ns < s->start_ns ||
            !tel_span_eq(run->tenant, s->tenant) || !partition_view_holds(&sp->view, run))
            continue;
        const uint64_t part[] = {sp->id,     run->position.epoch, (uint64_t)run->position.offset,
                                 run->first, run->count,          (uint64_t)run->day};
        add(sum, part, sizeof(part), KIND_RUN);
    }
}

bool generation_make(struct search *s)
{
    struct tel_hash128 sum = {0, 0};
    if (!add_query(&sum, s))
        return false;
    for (size_t i = 0; i < s->partition_count; i++) {
        const struct search_partition *sp = &s->partitions[i];
        if (!sp->held || sp->missing.len || !add_segments(&sum, sp))
            return false;
        for (size_t k = 0; k < sp->view.chunks.len; k++)
            add_chunk(&sum, s, sp, sp->view.chunks.items[k]);
    }
    struct tel_hash128 name = {0, 0};
    add(&name, &sum, sizeof(sum), KIND_NAME);
    s->generation[0] = name.lo;
    s->generation[1] = name.hi;
    return true;
}

bool generation_is(const struct search *s, const ProtobufCBinaryData *known)
{
    return known->len == sizeof(s->generation) &&
           memcmp(known->data, s->generation, sizeof(s->generation)) == 0;
}
