/*
 * stream_context before N after M [time_window d]: each row that came, with its neighbours in its
 * stream. What has the time of such a row comes with it, and is not counted. There is a chunk per
 * time, and each ends with a row whose _msg is "---" if there are several, as in VictoriaLogs.
 *
 * The neighbours come from another query per stream, over the times of its rows and the window
 * around them; of what that gives, only the rows next to a match are kept.
 */
#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipe_util.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"

struct context_pipe {
    struct tel_pipe base;
    uint64_t before, after;
    struct tel_span window_text;
    int64_t window_ns;
};

struct context_stream {
    struct tel_span id;
    TEL_VEC(struct tel_row_key) hits;
};

struct context_state {
    struct tel_map index; /* stream id -> index + 1 */
    TEL_VEC(struct context_stream *) streams;
    struct tel_arena arena;
    struct tel_rowset set; /* of the stream that is being read */
    TEL_VEC(struct tel_row *) rows;
};

static tel_code parse(struct tel_parser *p, struct tel_pipe **ret)
{
    struct context_pipe *c = TEL_ARENA_NEW(p->arena, struct context_pipe);
    bool any = false;
    c->window_ns = 3600 * TEL_NS_PER_S;
    while (!tel_parse_at_end(p)) {
        if (tel_parse_accept(p, "before"))
            TEL_TRY(tel_parse_uint(p, "a number of rows", &c->before));
        else if (tel_parse_accept(p, "after"))
            TEL_TRY(tel_parse_uint(p, "a number of rows", &c->after));
        else if (tel_parse_accept(p, "time_window"))
            TEL_TRY(tel_parse_duration(p, &c->window_text, &c->window_ns));
        else
            return tel_parse_expected(p, "before, after, time_window or '|'");
        any = any || !c->window_text.len || c->before || c->after;
    }
    if (!any)
        return tel_parse_expected(p, "before or after");
    *ret = &c->base;
    return TEL_OK;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct context_pipe *c = (const struct context_pipe *)pipe;
    tel_buf_printf(out, "stream_context before %llu after %llu", (unsigned long long)c->before,
                   (unsigned long long)c->after);
    if (c->window_text.len)
        tel_buf_printf(out, " time_window %.*s", TEL_SPAN_ARG(c->window_text));
}

static void needed(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    (void)pipe;
    tel_fields_add(fields, TEL_SPAN(TEL_FIELD_STREAM_ID));
    tel_fields_add(fields, TEL_SPAN(TEL_FIELD_TIME));
}

static tel_code context_open(struct tel_stage *stage, struct tel_error *err)
{
    if (!stage->exec->run)
        return tel_error_set(err, TEL_ERR_UNSUPPORTED, "stream_context cannot read streams here");
    if (stage->query->pipe_count == 0 || stage->query->pipes[0] != stage->pipe)
        return tel_error_set(err, TEL_ERR_INVALID,
                             "stream_context must be the first pipe of a query");
    return TEL_OK;
}

static tel_code push(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    struct context_state *st = stage->state;
    const struct tel_span *ids =
        tel_block_values(block, TEL_SPAN(TEL_FIELD_STREAM_ID), &stage->scratch);
    tel_code rc = TEL_OK;
    for (size_t r = 0; ids && block->keys && r < block->rows && rc == TEL_OK; r++) {
        bool is_new;
        uint64_t *at = tel_map_put(&st->index, ids[r], &is_new);
        if (is_new) {
            struct context_stream *s = TEL_ARENA_NEW(&st->arena, struct context_stream);
            s->id = tel_arena_copy(&st->arena, ids[r]);
            tel_vec_push(&st->streams, s);
            *at = st->streams.len;
        }
        tel_vec_push(&st->streams.items[*at - 1]->hits, block->keys[r]);
        rc = tel_stage_charge(stage, sizeof block->keys[r], err);
    }
    return rc;
}

/* ---- one stream
 * --------------------------------------------------------------------------------------- */

static tel_code keep_block(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    struct tel_stage *stage = ctx;
    struct context_state *st = stage->state;
    const struct tel_row_schema *schema = tel_rowset_schema(&st->set, block);
    for (size_t r = 0; block->keys && r < block->rows; r++) {
        struct tel_row *row = TEL_ARENA_NEW(&st->set.arena, struct tel_row);
        size_t bytes;
        tel_row_copy(row, schema, block, r, &st->set.arena, &bytes);
        tel_vec_push(&st->rows, row);
        tel_code rc = tel_stage_charge(stage, bytes + sizeof *row + sizeof row, err);
        if (rc != TEL_OK)
            return rc;
    }
    return TEL_OK;
}

static int by_key(const void *a, const void *b)
{
    return tel_row_key_cmp(&(*(struct tel_row *const *)a)->key,
                           &(*(struct tel_row *const *)b)->key);
}

static int compare_keys(const void *a, const void *b)
{
    return tel_row_key_cmp(a, b);
}

static tel_code read_stream(struct tel_stage *stage, const struct context_stream *s,
                            struct tel_error *err)
{
    const struct context_pipe *c = (const struct context_pipe *)stage->pipe;
    struct tel_arena arena = {0};
    struct tel_buf text = {0};
    char from_text[TEL_TIME_TEXT_MAX], to_text[TEL_TIME_TEXT_MAX];
    int64_t from = s->hits.items[0].time_ns, to = s->hits.items[s->hits.len - 1].time_ns;
    if (c->before && __builtin_sub_overflow(from, c->window_ns, &from))
        from = INT64_MIN / 2;
    if (c->after && __builtin_add_overflow(to, c->window_ns, &to))
        to = INT64_MAX / 2;
    tel_time_format(from_text, from);
    tel_time_format(to_text, to);
    TEL_BUF_ADD_LIT(&text, "_stream_id:");
    tel_lexer_quote(&text, s->id);
    /* `to` has all its digits, or is a whole second, of which nothing behind it may count. */
    tel_buf_printf(&text, " _time:>=%s (_time:<%s or _time:%s)", from_text, to_text, to_text);
    struct tel_query *query;
    tel_code rc =
        tel_query_parse(tel_buf_span(&text), stage->query->now_ns, NULL, &arena, &query, err);
    if (rc == TEL_OK) {
        rc = stage->exec->run(stage->exec->run_ctx, query, keep_block, stage, err);
        tel_query_done(query);
    }
    tel_buf_free(&text);
    tel_arena_free(&arena);
    return rc;
}

static tel_code emit_separator(struct tel_stage *stage, const struct tel_row *before,
                               struct tel_error *err)
{
    char text[TEL_TIME_TEXT_MAX];
    struct tel_row_key key = before->key;
    struct tel_span msg = TEL_SPAN("---");
    struct tel_span id = tel_row_value(before, TEL_SPAN(TEL_FIELD_STREAM_ID), text);
    struct tel_span stream = tel_row_value(before, TEL_SPAN(TEL_FIELD_STREAM), text);
    key.time_ns++;
    struct tel_column columns[] = {{TEL_SPAN(TEL_FIELD_TIME), NULL},
                                   {TEL_SPAN(TEL_FIELD_STREAM_ID), &id},
                                   {TEL_SPAN(TEL_FIELD_STREAM), &stream},
                                   {TEL_SPAN(TEL_FIELD_MSG), &msg}};
    struct tel_block out = {.rows = 1, .keys = &key, .column_count = 4, .columns = columns};
    return tel_stage_emit(stage, &out, err);
}

/* The first of the n rows that is at time_ns or later. */
static size_t first_at(struct tel_row *const *rows, size_t n, int64_t time_ns)
{
    size_t low = 0;
    while (low < n) {
        size_t mid = low + (n - low) / 2;
        if (rows[mid]->key.time_ns < time_ns)
            low = mid + 1;
        else
            n = mid;
    }
    return low;
}

/* The times of the hits, each once: a chunk each. */
static size_t distinct_times(const struct context_stream *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->hits.len; i++)
        n += i == 0 || s->hits.items[i].time_ns != s->hits.items[i - 1].time_ns;
    return n;
}

/* All rows at time_ns, those before it from *done on, those after it up to the next hit. */
static tel_code emit_chunk(struct tel_stage *stage, int64_t time_ns, size_t next_hit, bool separate,
                           size_t *done, struct tel_error *err)
{
    const struct context_pipe *c = (const struct context_pipe *)stage->pipe;
    struct context_state *st = stage->state;
    size_t low = first_at(st->rows.items, st->rows.len, time_ns);
    size_t high = first_at(st->rows.items, st->rows.len, time_ns + 1);
    size_t from = TEL_MAX(*done, low - (size_t)TEL_MIN(c->before, (uint64_t)low));
    size_t to = high + (size_t)TEL_MIN(c->after, (uint64_t)(next_hit - high));
    *done = to;
    if (from >= to)
        return TEL_OK;
    tel_code rc =
        tel_rows_emit(stage, st->rows.items + from, to - from, (struct tel_span){0}, NULL, err);
    if (rc == TEL_OK && separate)
        rc = emit_separator(stage, st->rows.items[to - 1], err);
    return rc;
}

static tel_code emit_stream(struct tel_stage *stage, const struct context_stream *s,
                            struct tel_error *err)
{
    struct context_state *st = stage->state;
    size_t n = st->rows.len, done = 0;
    bool separate = st->streams.len > 1 || distinct_times(s) > 1;
    tel_code rc = TEL_OK;
    if (n > 1)
        qsort(st->rows.items, n, sizeof *st->rows.items, by_key);
    for (size_t i = 0; i < s->hits.len && rc == TEL_OK;) {
        size_t next = i + 1;
        while (next < s->hits.len && s->hits.items[next].time_ns == s->hits.items[i].time_ns)
            next++;
        size_t next_hit = next < s->hits.len
                              ? first_at(st->rows.items, n, s->hits.items[next].time_ns)
                              : n;
        rc = emit_chunk(stage, s->hits.items[i].time_ns, next_hit, separate, &done, err);
        i = next;
    }
    return rc;
}

static int by_first_hit(const void *a, const void *b)
{
    return tel_row_key_cmp((*(struct context_stream *const *)a)->hits.items,
                           (*(struct context_stream *const *)b)->hits.items);
}

static void sort_streams(struct context_state *st)
{
    for (size_t i = 0; i < st->streams.len; i++)
        qsort(st->streams.items[i]->hits.items, st->streams.items[i]->hits.len,
              sizeof *st->streams.items[i]->hits.items, compare_keys);
    if (st->streams.len > 1)
        qsort(st->streams.items, st->streams.len, sizeof *st->streams.items, by_first_hit);
}

static tel_code finish(struct tel_stage *stage, struct tel_error *err)
{
    struct context_state *st = stage->state;
    tel_code rc = TEL_OK;
    sort_streams(st);
    for (size_t i = 0; i < st->streams.len && rc == TEL_OK; i++) {
        struct context_stream *s = st->streams.items[i];
        rc = read_stream(stage, s, err);
        if (rc == TEL_OK)
            rc = emit_stream(stage, s, err);
        tel_vec_clear(&st->rows);
        tel_rowset_done(&st->set);
    }
    return rc;
}

static void context_close(struct tel_stage *stage)
{
    struct context_state *st = stage->state;
    for (size_t i = 0; i < st->streams.len; i++)
        tel_vec_free(&st->streams.items[i]->hits);
    tel_vec_free(&st->streams);
    tel_vec_free(&st->rows);
    tel_map_free(&st->index);
    tel_arena_free(&st->arena);
    tel_rowset_done(&st->set);
}

const struct tel_pipe_ops tel_pipe_stream_context = {.name = "stream_context",
                                                     .parse = parse,
                                                     .print = print,
                                                     .needed = needed,
                                                     .state_size = sizeof(struct context_state),
                                                     .open = context_open,
                                                     .push = push,
                                                     .finish = finish,
                                                     .close = context_close};
