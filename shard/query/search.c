/* Searches: plan, run, end. The design is in search.h. */
#include "shard/query/search.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/logsql/filter.h"
#include "common/logsql/parser.h"
#include "shard/query/encode.h"

/* With fewer pieces than this a helper costs more than it gives. */
#define PIECES_FOR_HELP 3u
#define MISSING_BYTES   2048u
#define EMIT_ROWS       2048u
#define EDGE_ROWS_MAX   100000u
#define LONG_NS         (20 * TEL_NS_PER_MS) /* of CPU: then a search takes turns with others */

/* ---- planning ----------------------------------------------------------------------------------- */

/* Pipes that give a row for each row. */
static bool keeps_rows(const struct tel_query *query, size_t count)
{
    static const char *const names[] = {
        "fields", "delete", "copy", "rename", "format", "extract", "extract_regexp", "len", "hash",
        "unpack_json", "unpack_logfmt", "unpack_syslog", "unpack_words", "replace",
        "replace_regexp", "math", "pack_json", "pack_logfmt", "collapse_nums", "decolorize",
    };
    for (size_t i = 0; i < count; i++) {
        bool found = false;
        for (size_t j = 0; j < TEL_ARRAY_LEN(names) && !found; j++)
            found = strcmp(query->pipes[i]->ops->name, names[j]) == 0;
        if (!found)
            return false;
    }
    return true;
}

/* The filter without its times, which are the search's range: no row is asked for what that has settled. */
static const struct tel_filter *without_times(const struct tel_filter *f, struct tel_arena *arena)
{
    static const struct tel_filter all = {.op = TEL_FILTER_ALL};
    if (f->op == TEL_FILTER_TIME)
        return &all;
    if (f->op != TEL_FILTER_AND)
        return f;
    struct tel_filter *rest = TEL_ARENA_NEW(arena, struct tel_filter);
    *rest = *f;
    rest->kids = TEL_ARENA_ARRAY(arena, struct tel_filter *, f->kid_count);
    rest->kid_count = 0;
    for (size_t i = 0; i < f->kid_count; i++)
        if (f->kids[i]->op != TEL_FILTER_TIME)
            rest->kids[rest->kid_count++] = f->kids[i];
    if (rest->kid_count == 0)
        return &all;
    return rest->kid_count == 1 ? rest->kids[0] : rest;
}

static void plan_range(struct search *s)
{
    const Telescope__Shard__V1__SearchRequest *r = s->request;
    bool bounded = r->start_ns != 0 || r->end_ns != 0;
    s->start_ns = bounded ? r->start_ns : INT64_MIN;
    s->end_ns = bounded ? r->end_ns : INT64_MAX;
    int64_t min, max;
    if (!tel_filter_time_range(s->query->filter, &min, &max)) {
        s->end_ns = s->start_ns; /* nothing can match */
        return;
    }
    s->start_ns = TEL_MAX(s->start_ns, min);
    if (max < INT64_MAX)
        s->end_ns = TEL_MIN(s->end_ns, max + 1);
    if (s->has_before && s->before.time_ns < INT64_MAX)
        s->end_ns = TEL_MIN(s->end_ns, s->before.time_ns + 1);
}

/* The newest rows in order, as the router asked; or a sort by time with a limit, which a pipe does,
 * and for which pieces beyond the limit can be passed over. */
static void plan_edge(struct search *s, size_t split)
{
    uint64_t rows;
    bool newest;
    s->ordered = s->request->max_rows > 0;
    if (s->request->before) {
        const Telescope__Shard__V1__RowKey *k = s->request->before;
        s->has_before = true;
        s->before = (struct tel_row_key){k->time_ns, k->partition, k->index, k->offset};
    }
    if (s->ordered) {
        s->edge = SEARCH_NEWEST;
        s->edge_rows = s->request->max_rows;
        s->keeps_rows = keeps_rows(s->query, split);
    } else if (tel_query_time_limit(s->query, &rows, &newest) && rows > 0 && rows <= EDGE_ROWS_MAX) {
        s->edge = newest ? SEARCH_NEWEST : SEARCH_OLDEST;
        s->edge_rows = rows;
        s->keeps_rows = true;
    }
}

/* May rows be counted without being made? `only`: a partial pipe is all that runs here. */
static void plan_counting(struct search *s, bool only)
{
    const struct tel_query *query = s->query;
    const struct tel_fields *f = &s->fields;
    struct tel_pipe_counting counting;
    if (!only || !tel_pipe_counts(query->pipes[0], &counting))
        return;
    s->counting = tel_fields_empty(f);
    if (s->counting || query->score || query->options.time_offset_ns)
        return;
    struct tel_span *names = TEL_ARENA_ARRAY(&s->arena, struct tel_span, f->allow_count);
    size_t count = 0;
    for (size_t i = 0; i < f->allow_count; i++) {
        bool time = tel_span_eq_cstr(f->allow[i], TEL_FIELD_TIME);
        if (tel_field_is_wildcard(f->allow[i]) || (time && !counting.bucket))
            return;
        if (!time)
            names[count++] = f->allow[i];
    }
    s->group = (struct segment_grouping){names, count, counting.bucket};
    s->grouping = true;
}

/* What need not be made of rows. */
static void plan_rows(struct search *s, size_t split, bool partial)
{
    bool wildcard = false;
    for (size_t i = 0; i < s->fields.allow_count; i++)
        wildcard = wildcard || tel_field_is_wildcard(s->fields.allow[i]);
    s->excerpt = split > 1 ? tel_query_excerpt(s->query) : NULL;
    s->any_order = partial && s->edge == SEARCH_ALL && !wildcard &&
                   !tel_fields_has(&s->fields, TEL_SPAN(TEL_FIELD_TIME)) &&
                   tel_query_any_order(s->query, split);
}

static tel_code plan(struct search *s, struct tel_error *err)
{
    const Telescope__Shard__V1__SearchRequest *r = s->request;
    struct tel_parse_options options = {.stop = search_stop, .stop_ctx = s};
    tel_code rc = tel_query_parse(tel_span_cstr(r->query), r->now_ns, &options, &s->arena, &s->query,
                                  err);
    if (rc != TEL_OK)
        return rc;
    if (tel_query_has_subqueries(s->query))
        return tel_error_set(err, TEL_ERR_UNSUPPORTED,
                             "subqueries are for the router to resolve");
    bool partial;
    size_t split = tel_query_split(s->query, &partial);
    if (r->shard_pipes != split)
        return tel_error_set(err, TEL_ERR_INVALID,
                             "the router would run %u pipes here, this shard %zu: they differ in "
                             "version",
                             r->shard_pipes, split);
    plan_edge(s, split);
    if (s->ordered && partial)
        return tel_error_set(err, TEL_ERR_INVALID, "max_rows goes with rows that are events");
    if (s->has_before && !s->ordered)
        return tel_error_set(err, TEL_ERR_INVALID, "before goes with max_rows");
    if (r->n_watermarks && r->n_watermarks != r->n_partitions)
        return tel_error_set(err, TEL_ERR_INVALID, "%zu watermarks for %zu partitions",
                             r->n_watermarks, r->n_partitions);
    plan_range(s);
    s->filter = without_times(s->query->filter, &s->arena);
    tel_fields_init(&s->fields, &s->arena);
    tel_query_needed_fields(s->query, 0, &s->fields);
    plan_counting(s, partial && split == 1);
    plan_rows(s, split, partial);
    reuse_plan(s, split, partial);
    s->outlining = s->env->residents &&
                   (s->counting || s->grouping || !reuse_takes_all(s->filter));
    return TEL_OK;
}

static int newest_first(const void *a, const void *b)
{
    const struct search_piece *x = a, *y = b;
    if (x->max_time_ns != y->max_time_ns)
        return x->max_time_ns > y->max_time_ns ? -1 : 1;
    return (x->min_time_ns < y->min_time_ns) - (x->min_time_ns > y->min_time_ns);
}

static int oldest_first(const void *a, const void *b)
{
    const struct search_piece *x = a, *y = b;
    if (x->min_time_ns != y->min_time_ns)
        return x->min_time_ns < y->min_time_ns ? -1 : 1;
    return (x->max_time_ns > y->max_time_ns) - (x->max_time_ns < y->max_time_ns);
}

static struct partition *find_partition(const struct search_env *env, uint32_t id)
{
    for (size_t i = 0; i < env->partition_count; i++)
        if (partition_id(env->partitions[i]) == id)
            return env->partitions[i];
    return NULL;
}

static void view_partition(struct search *s, struct search_partition *sp, struct partition *p,
                           int64_t watermark)
{
    sp->held = true;
    sp->view.store.explain = s->explain ? &s->explain->store : NULL;
    partition_view(p, &s->tenant, s->start_ns, s->end_ns, &sp->view, &sp->missing);
    if (sp->view.status.visible.offset < watermark) {
        tel_buf_printf(&sp->missing,
                       "messages up to offset %" PRId64 " can be searched so far, and an earlier "
                       "page saw those up to %" PRId64,
                       sp->view.status.visible.offset, watermark);
        return;
    }
    for (size_t i = 0; i < sp->view.store.segments.len; i++) {
        struct store_segment *segment = sp->view.store.segments.items[i];
        tel_vec_push(&s->pieces, ((struct search_piece){.partition = sp,
                                                        .segment = segment,
                                                        .min_time_ns = segment->min_time_ns,
                                                        .max_time_ns = segment->max_time_ns}));
    }
    for (size_t i = 0; i < sp->view.chunks.len; i++) {
        struct chunk *chunk = sp->view.chunks.items[i];
        tel_vec_push(&s->pieces, ((struct search_piece){.partition = sp,
                                                        .chunk = chunk,
                                                        .min_time_ns = chunk->min_time_ns,
                                                        .max_time_ns = chunk->max_time_ns}));
    }
}

static void view_partitions(struct search *s)
{
    s->partition_count = s->request->n_partitions;
    s->partitions = tel_calloc(s->partition_count, sizeof(*s->partitions));
    for (size_t i = 0; i < s->partition_count; i++) {
        struct search_partition *sp = &s->partitions[i];
        sp->id = s->request->partitions[i];
        bool twice = false;
        for (size_t j = 0; j < i; j++)
            twice = twice || s->partitions[j].id == sp->id;
        struct partition *p = find_partition(s->env, sp->id);
        if (twice)
            tel_buf_printf(&sp->missing, "partition %" PRIu32 " was asked for twice", sp->id);
        else if (p)
            view_partition(s, sp, p,
                           s->request->n_watermarks ? s->request->watermarks[i] : INT64_MIN);
        else
            tel_buf_printf(&sp->missing, "partition %" PRIu32 " is not held by this server",
                           sp->id);
    }
    if (s->pieces.len)
        qsort(s->pieces.items, s->pieces.len, sizeof(*s->pieces.items),
              s->edge == SEARCH_OLDEST ? oldest_first : newest_first);
}

/* ---- running ------------------------------------------------------------------------------------ */

tel_code search_stop(void *ctx)
{
    struct search *s = ctx;
    if (atomic_load_explicit(&s->over, memory_order_relaxed))
        return TEL_ERR_CANCELLED;
    return s->sink->stop ? s->sink->stop(s->sink->ctx) : TEL_OK;
}

/* Ends the search with the first error. The lock is held. */
static void fail(struct search *s, tel_code code, const struct tel_error *err)
{
    if (s->code == TEL_OK) {
        s->code = code;
        s->error = *err;
    }
    atomic_store(&s->over, true);
}

/* The lock is held. The reader may be slow: that is no reason to keep others from computing. */
static tel_code emit(struct search *s, const struct tel_block *block, struct tel_error *err)
{
    for (size_t at = 0; at < block->rows;) {
        Telescope__Shard__V1__RowBatch *batch = encode_rows(block, &at);
        tel_lanes_step_out();
        tel_code rc = s->sink->rows(s->sink->ctx, batch, err);
        tel_lanes_step_in();
        if (rc != TEL_OK)
            return rc;
    }
    return TEL_OK;
}

/* The newest rows are memory that is kept, too. The lock is held. */
static tel_code charge_top(struct search *s, struct tel_error *err)
{
    size_t bytes = s->top.arena.bytes;
    if (bytes <= s->top_taken + TEL_MEMORY_FREE_BYTES)
        return TEL_OK;
    size_t more = bytes - s->top_taken;
    tel_code rc = tel_memory_take(&s->memory, more, search_stop, s, err);
    if (rc == TEL_OK)
        s->top_taken += more;
    return rc;
}

tel_code search_take_block(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    struct search *s = ctx;
    tel_mutex_lock(&s->lock);
    tel_code rc = s->ordered ? top_push(&s->top, block, err) : emit(s, block, err);
    if (rc == TEL_OK && s->ordered)
        rc = charge_top(s, err);
    tel_mutex_unlock(&s->lock);
    return rc;
}

/* Is it the piece alone that fails? Then the rest of the answer stands, and it is named. */
static bool only_piece(tel_code code)
{
    return code == TEL_ERR_CORRUPT || code == TEL_ERR_TRUNCATED || code == TEL_ERR_IO ||
           code == TEL_ERR_UNSUPPORTED || code == TEL_ERR_NOTFOUND;
}

static void name_missing(struct search *s, const struct search_piece *piece,
                         const struct tel_error *err)
{
    tel_mutex_lock(&s->lock);
    struct tel_buf *missing = &piece->partition->missing;
    if (missing->len < MISSING_BYTES)
        tel_buf_printf(missing, "%s%s", missing->len ? "; " : "", err->text);
    tel_mutex_unlock(&s->lock);
}

static uint64_t thread_cpu_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- whose turn it is: only searches that have proved long wait for a lane ----------------------- */

static bool turn_is_gone(void *ctx)
{
    struct search *s = ctx;
    return search_stop(s) != TEL_OK || tel_memory_check(&s->memory, NULL) != TEL_OK;
}

static tel_code turn_begin(struct search *s, bool *ret_lane, struct tel_error *err)
{
    *ret_lane = false;
    if (!s->env->lanes || atomic_load_explicit(&s->worked_ns, memory_order_relaxed) < LONG_NS)
        return TEL_OK;
    *ret_lane = tel_lanes_enter(s->env->lanes, s->tenant, turn_is_gone, s);
    if (*ret_lane)
        return TEL_OK;
    tel_code rc = tel_memory_check(&s->memory, err);
    if (rc != TEL_OK)
        return rc;
    rc = search_stop(s);
    return tel_error_set(err, rc != TEL_OK ? rc : TEL_ERR_CANCELLED, "the search was stopped: %s",
                         tel_code_text(rc));
}

static void turn_end(struct search *s, bool lane, uint64_t began_ns)
{
    atomic_fetch_add(&s->worked_ns, (int64_t)(thread_cpu_ns() - began_ns));
    if (lane)
        tel_lanes_leave(s->env->lanes);
}

static tel_code scan_in_turn(struct searcher *me, const struct search_piece *piece,
                             struct tel_error *err)
{
    bool lane;
    tel_code rc = turn_begin(me->search, &lane, err);
    if (rc != TEL_OK) {
        me->chain_failed = true; /* nothing of the piece is missing for that */
        return rc;
    }
    uint64_t began = thread_cpu_ns();
    rc = search_scan_reusing(me, piece, err);
    turn_end(me->search, lane, began);
    return rc;
}

static tel_code take_pieces(struct searcher *me, struct tel_error *err)
{
    struct search *s = me->search;
    for (;;) {
        tel_code rc = search_stop(s);
        if (rc != TEL_OK)
            return tel_error_set(err, rc, "the search was stopped: %s", tel_code_text(rc));
        size_t i = atomic_fetch_add(&s->next_piece, 1);
        if (i >= s->pieces.len || tel_chain_done(me->chain))
            return search_outline_end(me, err);
        bool settled = false;
        rc = search_outline(me, &s->pieces.items[i], &settled, err);
        if (rc == TEL_OK && !settled)
            rc = scan_in_turn(me, &s->pieces.items[i], err);
        if (me->taken)
            cache_put(s->env->cache, me->taken, rc != TEL_OK);
        me->taken = NULL;
        if (rc != TEL_OK && s->pieces.items[i].segment && !me->chain_failed && only_piece(rc))
            name_missing(s, &s->pieces.items[i], err);
        else if (rc != TEL_OK)
            return rc;
    }
}

static void work(struct pool_job *job)
{
    struct search *s = TEL_CONTAINER_OF(job, struct search, job);
    uint64_t began = thread_cpu_ns();
    struct tel_error err = {0};
    struct searcher me = {
        .search = s,
        .exec = {.mode = TEL_EXEC_SHARD,
                 .start_ns = s->start_ns,
                 .end_ns = s->end_ns,
                 .memory_limit = s->memory_limit / (s->env->helpers + 1),
                 .account = &s->memory,
                 .stop = search_stop,
                 .stop_ctx = s},
    };
    if (s->explain)
        me.counters.explain = &me.explain.segments;
    scratch_take(s->env->scratch, &me.arena);
    search_outline_begin(&me);
    tel_code rc = tel_chain_open(s->query, &me.exec, search_take_block, s, &me.chain, &err);
    if (rc == TEL_OK) {
        rc = take_pieces(&me, &err);
        bool lane = false;
        uint64_t finishing = thread_cpu_ns();
        if (rc == TEL_OK)
            rc = turn_begin(s, &lane, &err);
        if (rc == TEL_OK)
            rc = tel_chain_finish(me.chain, &err);
        turn_end(s, lane, finishing);
        tel_chain_close(me.chain);
    }
    search_outline_done(&me);
    scratch_put(s->env->scratch, &me.arena);
    tel_mutex_lock(&s->lock);
    if (rc != TEL_OK)
        fail(s, rc, &err);
    s->counters.rows_scanned += me.counters.rows_scanned;
    s->counters.rows_matched += me.counters.rows_matched;
    s->counters.bytes_read += me.counters.bytes_read;
    s->counters.bytes_unpacked += me.counters.bytes_unpacked;
    if (s->explain)
        search_explain_add(s->explain, &me.explain);
    s->segments += me.segments;
    s->pruned += me.pruned;
    s->cpu_ns += thread_cpu_ns() - began;
    tel_mutex_unlock(&s->lock);
}

static tel_code emit_newest(struct search *s, struct tel_error *err)
{
    top_finish(&s->top);
    struct tel_arena arena;
    tel_arena_init(&arena, 0);
    struct tel_block block;
    tel_code rc = TEL_OK;
    for (size_t at = 0; rc == TEL_OK && top_next(&s->top, &at, EMIT_ROWS, &arena, &block);
         tel_arena_reset(&arena))
        rc = emit(s, &block, err);
    tel_arena_free(&arena);
    return rc;
}

/* ---- the end ------------------------------------------------------------------------------------ */

static Telescope__Shard__V1__SearchEnd *make_end(struct search *s)
{
    Telescope__Shard__V1__SearchEnd *end = tel_malloc(sizeof(*end));
    telescope__shard__v1__search_end__init(end);
    bool whole = true;
    end->partitions = tel_calloc(s->partition_count, sizeof(*end->partitions));
    end->n_partitions = s->partition_count;
    for (size_t i = 0; i < s->partition_count; i++) {
        struct search_partition *sp = &s->partitions[i];
        Telescope__Shard__V1__PartitionState *state = tel_malloc(sizeof(*state));
        telescope__shard__v1__partition_state__init(state);
        state->partition = sp->id;
        state->watermark = sp->held ? sp->view.status.visible.offset : 0;
        state->high = sp->held ? sp->view.status.high : -1;
        state->lag_ms = sp->held ? sp->view.status.lag_ms : 0;
        state->missing = tel_strndup(tel_buf_span(&sp->missing));
        whole = whole && sp->missing.len == 0;
        end->partitions[i] = state;
    }
    end->unchanged = s->unchanged;
    if (s->has_generation && whole) {
        end->generation.len = sizeof(s->generation);
        end->generation.data = tel_malloc(sizeof(s->generation));
        memcpy(end->generation.data, s->generation, sizeof(s->generation));
    }
    Telescope__Shard__V1__SearchStats *stats = tel_malloc(sizeof(*stats));
    telescope__shard__v1__search_stats__init(stats);
    stats->segments = s->segments;
    stats->segments_pruned = s->pruned;
    stats->rows_scanned = s->counters.rows_scanned;
    stats->rows_matched = s->counters.rows_matched;
    stats->bytes_read = s->counters.bytes_read;
    stats->cpu_ns = s->cpu_ns;
    end->stats = stats;
    if (s->explain)
        end->explain = search_explain_message(s);
    return end;
}

static void search_done(struct search *s)
{
    for (size_t i = 0; i < s->partition_count; i++) {
        partition_view_done(&s->partitions[i].view);
        tel_buf_free(&s->partitions[i].missing);
    }
    free(s->partitions);
    tel_vec_free(&s->pieces);
    top_done(&s->top);
    tel_query_done(s->query);
    tel_memory_close(&s->memory);
    tel_arena_free(&s->arena);
    tel_mutex_done(&s->lock);
}

tel_code search_run(const struct search_env *env,
                    const Telescope__Shard__V1__SearchRequest *request,
                    const struct shard_sink *sink, Telescope__Shard__V1__SearchEnd **ret_end,
                    struct tel_error *err)
{
    struct search s = {.env = env, .request = request, .sink = sink};
    struct search_explain explain = {.begun_ns = tel_mono_ns(tel_clock_system())};
    s.explain = request->explain ? &explain : NULL;
    s.job.work = work;
    tel_arena_init(&s.arena, 0);
    tel_mutex_init(&s.lock);
    s.tenant = tel_span_cstr(request->tenant && *request->tenant ? request->tenant : "default");
    s.memory_limit = env->memory_limit;
    if (request->memory_limit_bytes)
        s.memory_limit = TEL_MIN(s.memory_limit, request->memory_limit_bytes);
    tel_memory_open(&s.memory, env->pool_memory);
    tel_code rc = plan(&s, err);
    if (rc == TEL_OK) {
        if (s.edge != SEARCH_ALL)
            top_init(&s.top, (size_t)s.edge_rows, s.memory_limit / 2);
        view_partitions(&s);
        s.has_generation = generation_make(&s);
        s.unchanged = s.has_generation && generation_is(&s, &request->generation);
        s.job.wanted = s.pieces.len >= PIECES_FOR_HELP ? env->helpers : 0;
        explain.scan_ns = tel_mono_ns(tel_clock_system());
        if (!s.unchanged)
            pool_run(env->pool, &s.job);
        explain.scanned_ns = tel_mono_ns(tel_clock_system());
        rc = s.code;
        if (rc != TEL_OK && err)
            *err = s.error;
        if (rc == TEL_OK && s.ordered && !s.unchanged)
            rc = emit_newest(&s, err);
        if (rc == TEL_OK)
            *ret_end = make_end(&s);
    }
    search_done(&s);
    return rc;
}
