/*
 * Pieces whose result is kept. A segment that lies wholly in the query's time range gives the same
 * state to the same pipes every time; so it gets a chain of its own, whose exported state is both
 * kept and taken in by the thread's chain. States that are large (a pipe that keeps every value) are not
 * worth it: the first one ends this for the whole search, and is remembered. Nor is it worth it where
 * the directory of a segment tells the answer: groups of labels over all rows.
 */
#include "common/logsql/filter.h"
#include "shard/query/search.h"

#define STATE_BYTES_MAX (64u << 10)
#define MARK_STATE      'S'
#define MARK_LARGE      'L'

/* ---- may it be kept? ---------------------------------------------------------------------------- */

/* Does the filter look at the time in a way that a segment inside the query's range does not settle? */
static bool looks_at_time(const struct tel_filter *f, bool top)
{
    if (f->op == TEL_FILTER_TIME)
        return !top;
    for (size_t i = 0; i < f->kid_count; i++)
        if (looks_at_time(f->kids[i], top && f->op == TEL_FILTER_AND))
            return true;
    return false;
}

static tel_code see_filter(void *ctx, struct tel_filter **filter, struct tel_error *err)
{
    (void)err;
    bool *timed = ctx;
    *timed = *timed || looks_at_time(*filter, false);
    return TEL_OK;
}

static bool is_one_of(const struct tel_pipe *pipe, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(pipe->ops->name, names[i]) == 0)
            return true;
    return false;
}

bool reuse_takes_all(const struct tel_filter *f)
{
    if (f->op != TEL_FILTER_AND)
        return f->op == TEL_FILTER_ALL || f->op == TEL_FILTER_TIME;
    for (size_t i = 0; i < f->kid_count; i++)
        if (!reuse_takes_all(f->kids[i]))
            return false;
    return true;
}

void reuse_plan(struct search *s, size_t split, bool partial)
{
    static const char *const ends[] = {"stats", "top", "uniq"};
    /* Pipes that make the same of the same rows whenever they run (so not sample, nor math). */
    static const char *const before[] = {
        "fields", "delete", "copy", "rename", "format", "extract", "extract_regexp", "len", "hash",
        "unpack_json", "unpack_logfmt", "unpack_syslog", "unpack_words", "replace",
        "replace_regexp", "filter", "collapse_nums", "decolorize",
    };
    s->reusing = false;
    if (!s->env->results || !partial || split == 0 || looks_at_time(s->query->filter, true) ||
        !is_one_of(s->query->pipes[split - 1], ends, TEL_ARRAY_LEN(ends)))
        return;
    if (s->grouping && !s->group.bucket && reuse_takes_all(s->query->filter))
        return;
    for (size_t i = 0; i < split; i++) {
        struct tel_pipe *pipe = s->query->pipes[i];
        bool timed = false;
        if (i + 1 < split && !is_one_of(pipe, before, TEL_ARRAY_LEN(before)))
            return;
        if (pipe->ops->filters &&
            (pipe->ops->filters(pipe, see_filter, &timed, NULL) != TEL_OK || timed))
            return;
    }
    s->reusing = true;
    s->query_id = tel_hash128(tel_span_cstr(s->request->query), 0);
}

/* ---- one piece ---------------------------------------------------------------------------------- */

struct keeper {
    struct tel_chain *shared; /* the thread's, which takes the state in */
    struct tel_buf bytes;
    bool large;
};

static tel_code keep_block(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    struct keeper *k = ctx;
    bool plain = block->keys == NULL;
    for (size_t i = 0; i < block->column_count; i++)
        plain = plain && block->columns[i].values;
    if (plain && !k->large)
        results_write_block(&k->bytes, block);
    k->large = k->large || !plain || k->bytes.len > STATE_BYTES_MAX;
    return tel_chain_import(k->shared, block, err);
}

static tel_code send_kept(struct searcher *me, struct tel_span bytes, struct tel_error *err)
{
    struct tel_block block;
    tel_code rc = TEL_OK;
    while (rc == TEL_OK && results_read_block(&bytes, &me->arena, &block))
        rc = block.rows ? tel_chain_import(me->chain, &block, err) : TEL_OK;
    me->chain_failed = rc != TEL_OK;
    tel_arena_reset(&me->arena);
    return rc;
}

static tel_code scan_and_keep(struct searcher *me, const struct search_piece *piece,
                              struct keeper *k, struct tel_error *err)
{
    struct search *s = me->search;
    struct tel_exec exec = me->exec;
    struct tel_chain *shared = me->chain, *own;
    tel_code rc = tel_chain_open(s->query, &exec, keep_block, k, &own, err);
    if (rc != TEL_OK) {
        me->chain_failed = true;
        return rc;
    }
    me->chain = own;
    rc = search_scan(me, piece, err);
    if (rc == TEL_OK) {
        rc = tel_chain_finish(own, err);
        me->chain_failed = rc != TEL_OK;
    }
    tel_chain_close(own);
    me->exec.memory_taken = exec.memory_taken; /* what its state took is free for the next one's */
    me->chain = shared;
    return rc;
}

tel_code search_scan_reusing(struct searcher *me, const struct search_piece *piece,
                             struct tel_error *err)
{
    struct search *s = me->search;
    if (!piece->segment || !atomic_load_explicit(&s->reusing, memory_order_relaxed) ||
        piece->min_time_ns < s->start_ns || piece->max_time_ns >= s->end_ns)
        return search_scan(me, piece, err);
    struct keeper k = {.shared = me->chain};
    if (results_get(s->env->results, piece->segment->serial, s->query_id, &k.bytes)) {
        tel_code rc;
        if (k.bytes.ptr[0] == MARK_LARGE) {
            atomic_store(&s->reusing, false);
            rc = search_scan(me, piece, err);
        } else {
            uint64_t matched;
            memcpy(&matched, k.bytes.ptr + 1, sizeof(matched));
            me->counters.rows_matched += matched;
            me->segments++;
            me->explain.kept++;
            rc = send_kept(me, tel_span_slice(tel_buf_span(&k.bytes), 1 + sizeof(matched),
                                              k.bytes.len), err);
        }
        tel_buf_free(&k.bytes);
        return rc;
    }
    uint64_t before = me->counters.rows_matched, matched = 0;
    tel_buf_add_char(&k.bytes, MARK_STATE);
    tel_buf_add(&k.bytes, &matched, sizeof(matched));
    tel_code rc = scan_and_keep(me, piece, &k, err);
    if (rc == TEL_OK && k.large) {
        atomic_store(&s->reusing, false);
        results_put(s->env->results, piece->segment->serial, s->query_id, TEL_SPAN("L"));
    } else if (rc == TEL_OK) {
        matched = me->counters.rows_matched - before;
        memcpy(k.bytes.ptr + 1, &matched, sizeof(matched));
        results_put(s->env->results, piece->segment->serial, s->query_id, tel_buf_span(&k.bytes));
    }
    tel_buf_free(&k.bytes);
    return rc;
}
