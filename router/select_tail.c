/*
 * /select/logsql/tail: rows as they become searchable. The router asks again and again for what is
 * new: each round searches from a little before the newest time that was shown, and what was shown
 * already is known by its key (partition, offset, index), not by its time, so that a late event is
 * shown and none is shown twice. What is remembered is bounded; when a round brings more rows than
 * that, the oldest are passed over and a line says how many.
 */
#include <stdlib.h>
#include <time.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "router/json.h"
#include "router/select_internal.h"

#define ROWS_MAX         10000u /* a round shows at most so many */
#define ROUND_TIMEOUT_MS 10000
#define REFRESH_MIN_NS   (100 * TEL_NS_PER_MS)
#define LATE_NS          (5 * TEL_NS_PER_S) /* events may become searchable so much late */
#define SLICE_MS         50

struct seen {
    struct tel_map now, before; /* keys of the last two spans of LATE_NS */
    int64_t turned_ns;
};

struct tail {
    struct select *select;
    struct query_params params; /* its spans are the request's */
    struct query *query;        /* the round that runs, or NULL */
    struct seen seen;
    struct tel_buf out;
    int64_t next_round_ns, refresh_ns, shown_until_ns;
    uint64_t rows;
};

static bool seen_before(struct seen *s, const struct tel_row_key *key)
{
    struct tel_span k = tel_span_make(key, sizeof(*key));
    if (tel_map_get(&s->before, k))
        return true;
    bool is_new;
    *tel_map_put(&s->now, k, &is_new) = 1;
    return !is_new;
}

/* Forgets what is too old to come again. */
static void seen_turn(struct seen *s, int64_t now_ns)
{
    if (now_ns - s->turned_ns < 3 * LATE_NS)
        return;
    s->turned_ns = now_ns;
    struct tel_map old = s->before;
    s->before = s->now;
    s->now = old;
    tel_map_clear(&s->now);
}

static tel_code tail_sink(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    struct tail *t = ctx;
    if (!block->keys)
        return tel_error_set(err, TEL_ERR_INVALID, "tail shows events, and the query makes others");
    t->rows += block->rows;
    struct tel_arena arena = {0};
    uint64_t *bits = TEL_ARENA_ARRAY(&arena, uint64_t, TEL_BITMAP_WORDS(block->rows) + 1);
    bool any = false;
    for (size_t i = 0; i < block->rows; i++) {
        struct tel_row_key key = block->keys[i];
        if (seen_before(&t->seen, &key))
            continue;
        bits[i / 64] |= UINT64_C(1) << i % 64;
        any = true;
        t->shown_until_ns = TEL_MAX(t->shown_until_ns, key.time_ns);
    }
    if (any) {
        struct tel_block fresh;
        tel_block_select(block, bits, &arena, &fresh);
        json_add_block(&t->out, &fresh);
    }
    tel_arena_free(&arena);
    return TEL_OK;
}

static void tail_free(void *ctx)
{
    struct tail *t = ctx;
    query_close(t->query);
    tel_map_free(&t->seen.now);
    tel_map_free(&t->seen.before);
    tel_buf_free(&t->out);
    free(t);
}

static tel_code round_begin(struct tail *t, struct tel_error *err)
{
    int64_t now = tel_wall_ns(t->select->clock);
    seen_turn(&t->seen, now);
    t->params.now_ns = now;
    int64_t from = TEL_MIN(t->shown_until_ns, now) - LATE_NS;
    t->params.start_ns = TEL_MAX(t->params.start_ns, from);
    t->params.end_ns = INT64_MAX;
    t->params.limit = ROWS_MAX;
    t->params.timeout_ms = ROUND_TIMEOUT_MS;
    t->rows = 0;
    return query_open(t->select->router, &t->params, tail_sink, t, &t->query, err);
}

static void round_end(struct tail *t)
{
    if (t->rows >= ROWS_MAX)
        tel_buf_printf(
            &t->out,
            "{\"_warning\":\"more than %u events at once: the oldest were passed over\"}\n",
            ROWS_MAX);
    query_close(t->query);
    t->query = NULL;
    t->next_round_ns = tel_mono_ns(t->select->clock) + t->refresh_ns;
}

static void wait_a_little(struct tail *t)
{
    int64_t left = t->next_round_ns - tel_mono_ns(t->select->clock);
    left = TEL_MIN(left, SLICE_MS * TEL_NS_PER_MS);
    if (left > 0)
        nanosleep(&(struct timespec){.tv_nsec = left}, NULL);
}

static enum tel_http_pull tail_pull(void *ctx, struct tel_http_request *req, struct tel_buf *out)
{
    struct tail *t = ctx;
    struct tel_error err;
    tel_code rc = TEL_OK;
    bool more = true;
    if (!t->query) {
        if (tel_http_draining(req)) /* it has no end of its own */
            return TEL_HTTP_END;
        if (tel_mono_ns(t->select->clock) < t->next_round_ns) {
            wait_a_little(t);
            return TEL_HTTP_MORE;
        }
        rc = round_begin(t, &err);
    }
    if (rc == TEL_OK)
        rc = query_step(t->query, SLICE_MS, &more, &err);
    if (rc == TEL_OK && !more)
        round_end(t);
    if (rc == TEL_ERR_AGAIN || rc == TEL_ERR_UNAVAILABLE || rc == TEL_ERR_TIMEOUT) {
        /* It may pass: tell, and go on. */
        TEL_BUF_ADD_LIT(&t->out, "{\"_warning\":");
        tel_buf_add_json(&t->out, tel_span_cstr(err.text));
        TEL_BUF_ADD_LIT(&t->out, "}\n");
        t->rows = 0;
        round_end(t);
        t->next_round_ns += TEL_NS_PER_S;
        rc = TEL_OK;
    }
    tel_buf_add_span(out, tel_buf_span(&t->out));
    tel_buf_clear(&t->out);
    if (rc == TEL_OK)
        return TEL_HTTP_MORE;
    TEL_BUF_ADD_LIT(out, "{\"_error\":");
    tel_buf_add_json(out, tel_span_cstr(err.text));
    TEL_BUF_ADD_LIT(out, "}\n");
    return TEL_HTTP_ABORT;
}

static bool gone(void *ctx)
{
    return tel_http_gone(ctx);
}

void select_tail_handler(void *ctx, struct tel_http_request *req)
{
    struct select *s = ctx;
    struct select_args args;
    int64_t refresh_ns, start_offset_ns;
    if (!select_arg_duration(req, "refresh_interval", TEL_NS_PER_S, &refresh_ns) ||
        !select_arg_duration(req, "start_offset", 0, &start_offset_ns) ||
        !select_args_read(s, req, false, &args))
        return;
    bool streams = tel_query_is_row_local(args.tree);
    select_args_done(&args);
    if (!streams) {
        tel_http_reply_error(
            req, 400, "tail takes no pipes that order, limit or gather rows (sort, limit, stats)");
        return;
    }
    struct tail *t = TEL_NEW(struct tail);
    t->select = s;
    t->params = args.params;
    t->params.explain = QUERY_EXPLAIN_NONE;
    t->params.no_cache = true; /* no round is like another */
    t->params.gone = gone;
    t->params.gone_ctx = req;
    t->refresh_ns = TEL_MAX(refresh_ns, REFRESH_MIN_NS);
    t->params.start_ns = args.params.now_ns - start_offset_ns;
    t->shown_until_ns = t->params.start_ns;
    t->seen.turned_ns = args.params.now_ns;
    tel_map_init(&t->seen.now);
    tel_map_init(&t->seen.before);
    tel_http_stream(req, 200, "application/stream+json", tail_pull, tail_free, t);
}
