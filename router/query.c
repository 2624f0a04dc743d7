/*
 * Two ways to answer (query.h has the outline):
 *
 *   newest   a limit, and no pipe that orders or gathers: the shards run all pipes and send their
 *            newest rows in order; the router merges (newest.h) and shows them oldest first. A
 *            page (cursor.h) is the same behind a key, and newest first
 *   stream   everything else: rows go into the chain of the remaining pipes as they come
 *
 * At the deadline the shards that have not answered are given up and named; what the others said is
 * still made into an answer, for which a little more time is granted.
 *
 * Subqueries, joins and unions are queries of their own that run inside the outer one, with its
 * deadline, bounds and tenant; what they miss is missing from the outer one.
 */
#include "router/query.h"

#include <stdlib.h>

#define TEL_LOG_COMPONENT "query"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/logsql/parser.h"
#include "common/logsql/print.h"
#include "common/sys/limits.h"
#include "router/explain.h"
#include "router/newest.h"

#define HOLD_BYTES    (1u << 20)
#define HOLD_MS       500
#define QUEUE_BYTES   (4u << 20)
#define POLL_MS       20 /* how late a client that is gone may be noticed */
#define NESTED_MAX    8
#define GONE_EVERY_NS (10 * TEL_NS_PER_MS)
#define LONG_NS       (20 * TEL_NS_PER_MS) /* of CPU: then a query takes turns with others */

struct query {
    struct router *router;
    struct query *outer; /* of a nested query */
    struct query_params params;
    struct tel_arena arena;
    char *tenant;
    Telescope__Shard__V1__RowKey before; /* of a page */
    const struct cursor_mark *marks;     /* of the first page, for the next ones */
    size_t mark_count;
    struct tel_query *tree;
    bool owns_tree, admitted;
    struct tel_exec exec;
    struct tel_memory_account memory; /* of it and of those that it nests */
    int64_t worked_ns;                /* CPU of the chain so far */
    struct tel_chain *chain;
    struct newest *newest; /* NULL: stream */
    struct fanout *fanout;
    struct tel_buf text; /* canonical, as the shards get it */
    int64_t begun_ns, deadline_ns, shards_deadline_ns, stop_ns, asked_gone_ns;
    tel_sink_fn sink;
    void *sink_ctx;
    bool emitted, gathered, ended, refuse_partial;
    unsigned depth;
    int64_t parsed_ns, admitted_ns, planned_ns, gathered_ns, ended_ns;
    uint64_t rows;
    struct tel_buf nested; /* explained */
    TEL_VEC(char *) nested_missing;
    struct fanout_totals totals;
};

static int64_t now_ns(void)
{
    return tel_mono_ns(tel_clock_system());
}

/* ---- making ---------------------------------------------------------------------------------- */

static tel_code query_stop(void *ctx)
{
    struct query *q = ctx;
    int64_t now = now_ns();
    if (now >= q->stop_ns)
        return TEL_ERR_TIMEOUT;
    if (q->params.gone && now >= q->asked_gone_ns + GONE_EVERY_NS) {
        q->asked_gone_ns = now;
        if (q->params.gone(q->params.gone_ctx))
            return TEL_ERR_CANCELLED;
    }
    return TEL_OK;
}

static tel_code query_sink(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    struct query *q = ctx;
    q->emitted = true;
    q->rows += block->rows;
    if (!q->outer)
        tel_counter_add(&q->router->metrics.rows, block->rows);
    if (!q->params.sink_waits)
        return q->sink(q->sink_ctx, block, err);
    tel_lanes_step_out();
    tel_code rc = q->sink(q->sink_ctx, block, err);
    tel_lanes_step_in();
    return rc;
}

static tel_code query_nested(void *ctx, const struct tel_query *tree, tel_sink_fn sink,
                             void *sink_ctx, struct tel_error *err);

static struct query *query_new(struct router *router, const struct query_params *params,
                               tel_sink_fn sink, void *sink_ctx)
{
    struct query *q = TEL_NEW(struct query);
    q->router = router;
    q->params = *params;
    q->sink = sink;
    q->sink_ctx = sink_ctx;
    q->tenant = tel_strndup(params->tenant);
    q->params.tenant = tel_span_cstr(q->tenant);
    int64_t timeout_ms = params->timeout_ms ? params->timeout_ms : router->options.timeout_ms;
    timeout_ms = TEL_MIN(timeout_ms, router->options.timeout_max_ms);
    q->begun_ns = now_ns();
    q->deadline_ns = q->begun_ns + timeout_ms * TEL_NS_PER_MS;
    int64_t spare_ms = TEL_MIN(TEL_MAX(timeout_ms / 20, 5), 500);
    q->shards_deadline_ns = q->deadline_ns - spare_ms * TEL_NS_PER_MS;
    /* A machine that is busy finishes a little late rather than not at all. */
    int64_t grace_ms = TEL_MIN(TEL_MAX(timeout_ms / 10, 250), 2000);
    q->stop_ns = q->deadline_ns + grace_ms * TEL_NS_PER_MS;
    q->exec = (struct tel_exec){.mode = TEL_EXEC_ROUTER,
                                .start_ns = params->start_ns,
                                .end_ns = params->end_ns,
                                .memory_limit = router->options.memory_bytes,
                                .stop = query_stop,
                                .stop_ctx = q,
                                .run = query_nested,
                                .run_ctx = q};
    return q;
}

static tel_code query_check_page(const struct query *q, struct tel_error *err)
{
    if (!tel_query_is_row_local(q->tree))
        return tel_error_set(err, TEL_ERR_INVALID,
                             "pages are of events: no pipes that order, limit or gather rows");
    if (q->params.limit == 0 || q->params.offset > 0)
        return tel_error_set(err, TEL_ERR_INVALID, "a page has a limit, and no offset");
    return TEL_OK;
}

/* A limit that the newest rows do not answer becomes pipes. */
static tel_code query_append_limit(struct query *q, struct tel_error *err)
{
    struct tel_buf text = {0};
    tel_query_print(&text, q->tree);
    if (q->params.offset)
        tel_buf_printf(&text, " | offset %llu", (unsigned long long)q->params.offset);
    if (q->params.limit)
        tel_buf_printf(&text, " | limit %llu", (unsigned long long)q->params.limit);
    struct tel_query *longer;
    tel_code rc = tel_query_parse(tel_arena_copy(&q->arena, tel_buf_span(&text)), q->params.now_ns,
                                  NULL, &q->arena, &longer, err);
    tel_buf_free(&text);
    if (rc == TEL_OK) {
        tel_query_done(q->tree);
        q->tree = longer;
    }
    return rc;
}

/* What the shards get: the query, and the extra filter before its own. */
static tel_code query_text(struct query *q, struct tel_error *err)
{
    if (q->params.extra_filter.len == 0) {
        tel_query_print(&q->text, q->tree);
        return TEL_OK;
    }
    static const struct tel_parse_options options = {.filter_only = true};
    struct tel_query *extra;
    tel_code rc =
        tel_query_parse(q->params.extra_filter, q->params.now_ns, &options, &q->arena, &extra, err);
    if (rc != TEL_OK)
        return rc;
    struct tel_filter *kids[] = {extra->filter, q->tree->filter};
    struct tel_filter both = {.op = TEL_FILTER_AND, .kids = kids, .kid_count = 2};
    struct tel_query whole = *q->tree;
    whole.filter = &both;
    tel_query_print(&q->text, &whole);
    tel_query_done(extra);
    return TEL_OK;
}

/* The place of a page that is not the first. */
static Telescope__Shard__V1__RowKey *query_before(struct query *q)
{
    const struct cursor *c = q->params.cursor;
    telescope__shard__v1__row_key__init(&q->before);
    q->before.time_ns = c->key.time_ns;
    q->before.partition = c->key.partition;
    q->before.offset = c->key.offset;
    q->before.index = c->key.index;
    q->marks = c->marks;
    q->mark_count = c->mark_count;
    return &q->before;
}

static tel_code query_plan(struct query *q, struct tel_error *err)
{
    const struct tel_query_options *o = &q->tree->options;
    q->refuse_partial =
        o->has_allow_partial_response ? !o->allow_partial_response : q->params.refuse_partial;
    bool bounds = !(o->has_ignore_global_time_filter && o->ignore_global_time_filter);
    uint64_t max_rows = 0;
    if (q->params.limit && tel_query_is_row_local(q->tree)) {
        max_rows = q->params.limit + q->params.offset;
        q->newest = newest_new(q->params.limit, q->params.offset, q->params.page,
                               q->exec.memory_limit);
    }
    tel_code rc = query_text(q, err);
    if (rc != TEL_OK)
        return rc;
    Telescope__Shard__V1__SearchRequest request = TELESCOPE__SHARD__V1__SEARCH_REQUEST__INIT;
    request.tenant = q->tenant;
    request.query = (char *)(uintptr_t)tel_buf_cstr(&q->text);
    request.shard_pipes = (uint32_t)tel_query_split(q->tree, NULL);
    request.now_ns = q->params.now_ns;
    request.start_ns = bounds ? q->params.start_ns : 0;
    request.end_ns = bounds ? q->params.end_ns : 0;
    request.max_rows = max_rows;
    request.explain = q->params.explain != QUERY_EXPLAIN_NONE;
    if (q->newest && q->params.cursor)
        request.before = query_before(q);
    rc = tel_chain_open(q->tree, &q->exec, query_sink, q, &q->chain, err);
    if (rc != TEL_OK)
        return rc;
    bool streams = tel_query_is_streaming(q->tree) && !q->newest;
    request.rows_in_end = !streams; /* nobody waits for the first row alone */
    struct shard_map *map = router_map(q->router);
    size_t partitions;
    shard_map_partitions(map, &partitions);
    if (partitions == 0) { /* nothing would be missing from an empty answer */
        shard_map_unref(map);
        return tel_error_set(err, TEL_ERR_UNAVAILABLE, "no shards are known");
    }
    q->fanout = fanout_new(&(struct fanout_options){
        .client = q->router->client,
        .map = map,
        .request = request,
        .marks = q->marks,
        .mark_count = q->mark_count,
        .explain = request.explain,
        .deadline_ns = q->shards_deadline_ns,
        .hedge_after_ms = q->router->options.hedge_after_ms,
        /* Nobody waits for the first row of an answer that needs them all. */
        .hold_bytes = streams ? HOLD_BYTES : QUEUE_BYTES / 2,
        .hold_ms = streams ? HOLD_MS : 0,
        .queue_bytes = QUEUE_BYTES,
        .turn = atomic_fetch_add(&q->router->turn, 1),
        .budget = &q->router->budget,
        .health = q->router->health,
        .cache = q->params.no_cache ? NULL : q->router->cache,
    });
    shard_map_unref(map);
    q->planned_ns = now_ns();
    return TEL_OK;
}

static void query_count(struct query *q, tel_code rc)
{
    struct router_metrics *m = &q->router->metrics;
    if (rc == TEL_ERR_CANCELLED)
        tel_counter_add(&m->gone, 1);
    else if (rc != TEL_OK)
        tel_counter_add(&m->failed, 1);
}

tel_code query_open(struct router *router, const struct query_params *params, tel_sink_fn sink,
                    void *sink_ctx, struct query **ret, struct tel_error *err)
{
    tel_counter_add(&router->metrics.queries, 1);
    struct query *q = query_new(router, params, sink, sink_ctx);
    q->owns_tree = true;
    tel_memory_open(&q->memory, router->options.memory_pool);
    q->exec.account = &q->memory;
    tel_code rc = TEL_OK;
    if (params->limit > UINT32_MAX || params->offset > UINT32_MAX)
        rc = tel_error_set(err, TEL_ERR_INVALID, "limit and offset may be %u at most", UINT32_MAX);
    if (rc == TEL_OK)
        rc = tel_query_parse(params->text, params->now_ns, NULL, &q->arena, &q->tree, err);
    if (rc == TEL_OK && params->page)
        rc = query_check_page(q, err);
    bool newest = rc == TEL_OK && params->limit && tel_query_is_row_local(q->tree);
    if (rc == TEL_OK && !newest && (params->limit || params->offset))
        rc = query_append_limit(q, err);
    q->parsed_ns = now_ns();
    if (rc == TEL_OK) {
        int64_t left_ms = (q->deadline_ns - now_ns()) / TEL_NS_PER_MS;
        rc = admission_enter(router->admission, q->params.tenant,
                             (int)TEL_MIN(router->options.wait_max_ms, left_ms), err);
        q->admitted = rc == TEL_OK;
        if (rc != TEL_OK)
            tel_counter_add(&router->metrics.refused, 1);
    }
    q->admitted_ns = now_ns();
    if (rc == TEL_OK && tel_query_has_subqueries(q->tree))
        rc = tel_query_resolve(q->tree, &q->exec, err);
    if (rc == TEL_OK)
        rc = query_plan(q, err);
    if (rc != TEL_OK) {
        query_count(q, rc);
        query_close(q);
        return rc;
    }
    *ret = q;
    return TEL_OK;
}

/* ---- nested queries -------------------------------------------------------------------------- */

static tel_code nest(struct query *outer, const struct tel_query *tree, tel_sink_fn sink,
                     void *sink_ctx, struct tel_error *err)
{
    if (outer->depth >= NESTED_MAX)
        return tel_error_set(err, TEL_ERR_LIMIT, "queries are nested deeper than %d", NESTED_MAX);
    struct query_params params = outer->params;
    params.limit = params.offset = 0;
    params.page = false;
    params.cursor = NULL;
    params.timeout_ms = TEL_MAX((outer->deadline_ns - now_ns()) / TEL_NS_PER_MS, 1);
    struct query *q = query_new(outer->router, &params, sink, sink_ctx);
    q->parsed_ns = q->admitted_ns = q->begun_ns;
    q->outer = outer;
    q->depth = outer->depth + 1;
    q->tree = (struct tel_query *)(uintptr_t)tree;
    /* One budget for all that a query holds. */
    q->exec.memory_limit = outer->exec.memory_limit > outer->exec.memory_used
                               ? outer->exec.memory_limit - outer->exec.memory_used
                               : 1;
    q->exec.account = outer->exec.account;
    tel_code rc = query_plan(q, err);
    if (rc == TEL_OK)
        rc = query_run(q, err);
    if (rc == TEL_OK && params.explain) {
        if (outer->nested.len && params.explain == QUERY_EXPLAIN_JSON)
            tel_buf_add_char(&outer->nested, ',');
        explain_query(q, &outer->nested);
    }
    for (size_t i = 0; i < query_missing(q); i++)
        tel_vec_push(&outer->nested_missing, tel_strdup(query_missing_text(q, i)));
    query_close(q);
    return rc;
}

/* The outer query waits for shards, and computes only where the inner one says so. */
static tel_code query_nested(void *ctx, const struct tel_query *tree, tel_sink_fn sink,
                             void *sink_ctx, struct tel_error *err)
{
    tel_lanes_step_out();
    tel_code rc = nest(ctx, tree, sink, sink_ctx, err);
    tel_lanes_step_in();
    return rc;
}

/* ---- turns: only queries that have proved long wait for a lane ---------------------------------- */

static bool turn_is_gone(void *ctx)
{
    struct query *q = ctx;
    return query_stop(q) != TEL_OK || tel_memory_check(&q->memory, NULL) != TEL_OK;
}

/* A query that is nested computes in the lane of the outer one, if that has any. */
static tel_code turn_begin(struct query *q, bool *ret_lane, struct tel_error *err)
{
    *ret_lane = false;
    if (q->outer) {
        tel_lanes_step_in();
        return TEL_OK;
    }
    if (!q->router->options.lanes || q->worked_ns < LONG_NS)
        return TEL_OK;
    *ret_lane = tel_lanes_enter(q->router->options.lanes, q->params.tenant, turn_is_gone, q);
    if (*ret_lane)
        return TEL_OK;
    tel_code rc = tel_memory_check(&q->memory, err);
    if (rc == TEL_OK && (rc = query_stop(q)) != TEL_OK)
        tel_error_set(err, rc, "the query was stopped: %s", tel_code_text(rc));
    return rc != TEL_OK ? rc : tel_error_set(err, TEL_ERR_CANCELLED, "the query was stopped");
}

static void turn_end(struct query *q, bool lane, int64_t began_ns)
{
    q->worked_ns += tel_thread_cpu_ns() - began_ns;
    if (q->outer)
        tel_lanes_step_out();
    else if (lane)
        tel_lanes_leave(q->router->options.lanes);
}

static tel_code chain_push(struct query *q, const struct tel_block *block, struct tel_error *err)
{
    bool lane;
    tel_code rc = turn_begin(q, &lane, err);
    if (rc != TEL_OK)
        return rc;
    int64_t began = tel_thread_cpu_ns();
    rc = tel_chain_push(q->chain, block, err);
    turn_end(q, lane, began);
    return rc;
}

static tel_code chain_finish(struct query *q, struct tel_error *err)
{
    bool lane;
    tel_code rc = turn_begin(q, &lane, err);
    if (rc != TEL_OK)
        return rc;
    int64_t began = tel_thread_cpu_ns();
    rc = tel_chain_finish(q->chain, err);
    turn_end(q, lane, began);
    return rc;
}

/* ---- running --------------------------------------------------------------------------------- */

/* The shards have ended: may the answer be given? */
static tel_code query_judge(struct query *q, struct tel_error *err)
{
    if (q->gathered)
        return TEL_OK;
    q->gathered = true;
    q->gathered_ns = now_ns();
    q->totals = *fanout_totals(q->fanout);
    if (q->params.page && !q->params.cursor)
        q->mark_count = fanout_marks(q->fanout, &q->arena, &q->marks);
    struct router_metrics *m = &q->router->metrics;
    tel_counter_add(&m->searches, q->totals.searches);
    tel_counter_add(&m->failovers, q->totals.failovers);
    tel_counter_add(&m->hedges, q->totals.hedges);
    tel_counter_add(&m->cache_hits, q->totals.unchanged);
    tel_counter_add(&m->cache_misses, q->totals.recalled - q->totals.unchanged);
    if (query_missing(q) == 0)
        return TEL_OK;
    tel_counter_add(&m->partial, 1);
    bool late = false;
    bool all = fanout_all_missing(q->fanout, &late);
    if (!all && !q->refuse_partial)
        return TEL_OK;
    struct tel_buf text = {0};
    query_missing_join(q, &text);
    tel_code rc =
        tel_error_set(err, all && late ? TEL_ERR_TIMEOUT : TEL_ERR_UNAVAILABLE, "%s: %.*s",
                      all ? "no shard answered" : "the answer would be partial",
                      (int)TEL_MIN(text.len, 400), text.ptr);
    tel_buf_free(&text);
    return rc;
}

static tel_code step_stream(struct query *q, bool *ret_again, struct tel_error *err)
{
    struct rows *rows;
    while (!q->emitted && (rows = fanout_take(q->fanout))) {
        tel_code rc = chain_push(q, &rows->block, err);
        rows_free(rows);
        if (rc != TEL_OK)
            return rc;
        if (tel_chain_done(q->chain)) {
            fanout_enough(q->fanout);
            break;
        }
    }
    *ret_again = q->emitted;
    return TEL_OK;
}

static tel_code charge_newest(struct query *q, struct tel_error *err)
{
    size_t bytes = newest_bytes(q->newest);
    if (!q->exec.account || bytes <= q->exec.memory_taken + TEL_MEMORY_FREE_BYTES)
        return TEL_OK;
    size_t more = bytes - q->exec.memory_taken;
    tel_code rc = tel_memory_take(q->exec.account, more, query_stop, q, err);
    if (rc == TEL_OK)
        q->exec.memory_taken += more;
    return rc;
}

static tel_code step_newest(struct query *q, bool *ret_again, struct tel_error *err)
{
    bool full;
    tel_code rc = newest_take(q->newest, q->fanout, &full, err);
    *ret_again = false;
    if (rc == TEL_OK)
        rc = charge_newest(q, err);
    if (rc != TEL_OK || !full)
        return rc;
    /* The first page's servers must say how far they have searched. */
    if (q->params.page && !q->params.cursor)
        newest_drop(q->fanout);
    else
        fanout_enough(q->fanout);
    return TEL_OK;
}

/* Everything is gathered: what the chain still holds, or the newest rows. */
static tel_code step_end(struct query *q, struct tel_error *err)
{
    tel_code rc = query_judge(q, err);
    if (rc != TEL_OK)
        return rc;
    if (!q->newest) {
        q->ended = true;
        return chain_finish(q, err);
    }
    struct tel_block block;
    while (!q->emitted && rc == TEL_OK) {
        if (!newest_next(q->newest, &block)) {
            q->ended = true;
            return TEL_OK;
        }
        rc = query_sink(q, &block, err);
    }
    return rc;
}

static tel_code step(struct query *q, int timeout_ms, bool *ret_more, struct tel_error *err)
{
    int64_t until = now_ns() + timeout_ms * TEL_NS_PER_MS;
    q->emitted = false;
    while (!q->ended && !q->emitted) {
        bool more = false, again = false;
        tel_code rc = q->newest ? step_newest(q, &again, err) : step_stream(q, &again, err);
        if (rc != TEL_OK)
            return rc;
        if (again)
            break;
        int64_t left_ms = (until - now_ns()) / TEL_NS_PER_MS;
        rc = fanout_run(q->fanout, (int)TEL_MAX(TEL_MIN(left_ms, POLL_MS), 0), &more, err);
        if (rc != TEL_OK)
            return rc;
        if (!more)
            rc = step_end(q, err);
        else if ((rc = query_stop(q)) != TEL_OK)
            tel_error_set(err, rc, "the query was stopped: %s", tel_code_text(rc));
        if (rc != TEL_OK)
            return rc;
        if (more && now_ns() >= until)
            break;
    }
    *ret_more = !q->ended;
    if (q->ended)
        q->ended_ns = now_ns();
    return TEL_OK;
}

tel_code query_step(struct query *q, int timeout_ms, bool *ret_more, struct tel_error *err)
{
    tel_code rc = step(q, timeout_ms, ret_more, err);
    if (rc != TEL_OK && !q->outer)
        query_count(q, rc);
    return rc;
}

tel_code query_run(struct query *q, struct tel_error *err)
{
    bool more = true;
    tel_code rc = TEL_OK;
    while (rc == TEL_OK && more)
        rc = query_step(q, POLL_MS, &more, err);
    return rc;
}

/* ---- asking ---------------------------------------------------------------------------------- */

bool query_gathered(const struct query *q)
{
    return q->gathered;
}

size_t query_missing(const struct query *q)
{
    return q->nested_missing.len + (q->fanout ? fanout_missing(q->fanout) : 0);
}

const char *query_missing_text(const struct query *q, size_t i)
{
    return i < q->nested_missing.len ? q->nested_missing.items[i]
                                     : fanout_missing_text(q->fanout, i - q->nested_missing.len);
}

void query_missing_join(const struct query *q, struct tel_buf *out)
{
    for (size_t i = 0; i < query_missing(q); i++) {
        if (i > 0)
            TEL_BUF_ADD_LIT(out, "; ");
        tel_buf_add_span(out, tel_span_cstr(query_missing_text(q, i)));
    }
}

const struct fanout_totals *query_totals(const struct query *q)
{
    return &q->totals;
}

bool query_next_page(const struct query *q, struct cursor *ret)
{
    struct tel_row_key key;
    if (!q->params.page || !newest_last_key(q->newest, &key))
        return false;
    *ret = (struct cursor){.now_ns = q->params.now_ns,
                           .start_ns = q->params.start_ns,
                           .end_ns = q->params.end_ns,
                           .key = key,
                           .marks = q->marks,
                           .mark_count = q->mark_count};
    return true;
}

void query_story(const struct query *q, struct query_story *ret)
{
    *ret = (struct query_story){
        .params = &q->params,
        .text = tel_buf_span(&q->text),
        .fanout = q->fanout,
        .newest = q->newest != NULL,
        .streams = tel_query_is_streaming(q->tree),
        .begun_ns = q->begun_ns,
        .parsed_ns = q->parsed_ns,
        .admitted_ns = q->admitted_ns,
        .planned_ns = q->planned_ns,
        .gathered_ns = q->gathered_ns,
        .ended_ns = q->ended_ns,
        .rows = q->rows,
        .memory_used = q->exec.memory_used,
        .nested = tel_buf_span(&q->nested),
    };
}

const struct tel_query *query_tree(const struct query *q)
{
    return q->tree;
}

/* The slow-query log. */
static void query_log(const struct query *q)
{
    int64_t took_ms = (now_ns() - q->begun_ns) / TEL_NS_PER_MS;
    if (q->outer || q->router->options.slow_ms < 0 || took_ms < q->router->options.slow_ms)
        return;
    const struct fanout_totals *t = q->fanout ? fanout_totals(q->fanout) : &q->totals;
    tel_log_info("slow query", tel_kv_i64("ms", took_ms), tel_kv_span("tenant", q->params.tenant),
                 tel_kv_span("query", tel_span_slice(tel_buf_span(&q->text), 0, 500)),
                 tel_kv_u64("searches", t->searches), tel_kv_u64("segments", t->segments),
                 tel_kv_u64("rows_scanned", t->rows_scanned),
                 tel_kv_u64("rows_matched", t->rows_matched),
                 tel_kv_u64("bytes_read", t->bytes_read),
                 tel_kv_i64("shard_cpu_ms", (int64_t)t->cpu_ns / TEL_NS_PER_MS),
                 tel_kv_u64("missing", query_missing(q)), tel_kv_bool("finished", q->ended));
}

void query_close(struct query *q)
{
    if (!q)
        return;
    query_log(q);
    tel_chain_close(q->chain);
    newest_free(q->newest);
    fanout_free(q->fanout);
    tel_memory_close(&q->memory);
    if (q->admitted) {
        tel_histogram_observe(&q->router->metrics.duration, (uint64_t)(now_ns() - q->begun_ns));
        admission_leave(q->router->admission, q->params.tenant);
    }
    if (q->owns_tree)
        tel_query_done(q->tree);
    for (size_t i = 0; i < q->nested_missing.len; i++)
        free(q->nested_missing.items[i]);
    tel_vec_free(&q->nested_missing);
    tel_buf_free(&q->text);
    tel_buf_free(&q->nested);
    tel_arena_free(&q->arena);
    free(q->tenant);
    free(q);
}
