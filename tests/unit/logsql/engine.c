/* See engine.h. */
#include "tests/unit/logsql/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/timefmt.h"
#include "common/logsql/bucket.h"
#include "common/logsql/filter.h"
#include "common/logsql/parser.h"

void engine_init(struct engine *e)
{
    memset(e, 0, sizeof *e);
    TEL_CHECK(tel_time_parse(TEL_SPAN("2026-03-04T05:06:07Z"), &e->now_ns));
}

void engine_done(struct engine *e)
{
    tel_arena_free(&e->arena);
    free(e->rows);
}

void engine_add(struct engine *e, struct tel_span json)
{
    if (e->count == e->cap) {
        e->cap = e->cap ? e->cap * 2 : 64;
        e->rows = tel_realloc_array(e->rows, e->cap, sizeof *e->rows);
    }
    struct engine_row *row = &e->rows[e->count];
    struct tel_json_fields all = {0};
    struct tel_span copy = tel_arena_copy(&e->arena, json);
    memset(row, 0, sizeof *row);
    if (!tel_json_object(copy, &e->arena, &all)) {
        fprintf(stderr, "not a JSON object: %.*s\n", TEL_SPAN_ARG(json));
        abort();
    }
    row->key = (struct tel_row_key){.time_ns = (int64_t)e->count,
                                    .partition = (uint32_t)(e->count % 4),
                                    .offset = (int64_t)e->count};
    for (size_t i = 0; i < all.len; i++) {
        if (tel_span_eq_cstr(all.items[i].name, "_time"))
            TEL_CHECK(tel_time_parse(all.items[i].value, &row->key.time_ns));
        else
            tel_json_add(&row->fields, &e->arena, all.items[i].name, all.items[i].value);
    }
    e->count++;
}

/* ---- rows as blocks
 * ------------------------------------------------------------------------------------ */

/* A block of rows, with fresh columns, as a store would make it. */
static struct tel_block make_block(struct engine_row *const *rows, size_t count,
                                   struct tel_arena *arena)
{
    size_t n = 1, cap = 1;
    for (size_t r = 0; r < count; r++)
        cap += rows[r]->fields.len;
    struct tel_column *columns = TEL_ARENA_ARRAY(arena, struct tel_column, cap);
    struct tel_row_key *keys = TEL_ARENA_ARRAY(arena, struct tel_row_key, count);
    columns[0].name = TEL_SPAN("_time");
    for (size_t r = 0; r < count; r++) {
        keys[r] = rows[r]->key;
        for (size_t f = 0; f < rows[r]->fields.len; f++) {
            struct tel_json_field field = rows[r]->fields.items[f];
            size_t c = 1;
            while (c < n && !tel_span_eq(columns[c].name, field.name))
                c++;
            if (c == n) {
                columns[n].name = field.name;
                columns[n++].values = TEL_ARENA_ARRAY(arena, struct tel_span, count);
            }
            ((struct tel_span *)(uintptr_t)columns[c].values)[r] = field.value;
        }
    }
    return (struct tel_block){.rows = count, .keys = keys, .column_count = n, .columns = columns};
}

/* May rows that are alike be pushed as one with their number, as segments do? */
static bool may_count(const struct tel_query *q, const struct tel_fields *needed,
                      struct tel_pipe_counting *counting)
{
    bool partial;
    if (tel_query_split(q, &partial) != 1 || !partial || q->score ||
        q->options.time_offset_ns || !tel_pipe_counts(q->pipes[0], counting))
        return false;
    for (size_t i = 0; i < needed->allow_count; i++)
        if (tel_field_is_wildcard(needed->allow[i]))
            return false;
    return counting->bucket || !tel_fields_has(needed, TEL_SPAN("_time"));
}

/* The rows of a block, those alike in all columns and in the bucket of their time as one. */
static struct tel_block count_alike(const struct tel_block *b, const struct tel_bucket *bucket,
                                    struct tel_arena *arena)
{
    struct tel_map map = {0};
    struct tel_buf key = {0};
    uint64_t *firsts = TEL_ARENA_ARRAY(arena, uint64_t, TEL_BITMAP_WORDS(b->rows) + 1);
    uint64_t *counts = TEL_ARENA_ARRAY(arena, uint64_t, b->rows), *hits;
    struct tel_block some;
    size_t n = 0;
    for (size_t r = 0; r < b->rows; r++) {
        bool is_new;
        tel_buf_clear(&key);
        if (bucket)
            tel_buf_printf(&key, "%lld ", (long long)tel_bucket_time(bucket, b->keys[r].time_ns));
        for (size_t c = 0; c < b->column_count; c++) {
            struct tel_span v = b->columns[c].values ? b->columns[c].values[r] : TEL_SPAN("");
            tel_buf_printf(&key, "%zu:", v.len);
            tel_buf_add_span(&key, v);
        }
        uint64_t *first = tel_map_put(&map, tel_buf_span(&key), &is_new);
        if (is_new) {
            *first = r;
            firsts[r / 64] |= UINT64_C(1) << (r % 64);
        }
        counts[*first]++;
    }
    tel_map_free(&map);
    tel_buf_free(&key);
    tel_block_select(b, firsts, arena, &some);
    hits = TEL_ARENA_ARRAY(arena, uint64_t, some.rows + 1);
    for (size_t r = 0; r < b->rows; r++)
        if (counts[r])
            hits[n++] = counts[r];
    some.hits = hits;
    return some;
}

static tel_code feed(struct engine *e, const struct tel_query *q, struct tel_chain *chain,
                     size_t block_rows, size_t shard, size_t shards, struct tel_error *err)
{
    struct engine_row **mine = tel_malloc((e->count + 1) * sizeof *mine);
    size_t n = 0;
    for (size_t i = 0; i < e->count; i++)
        if (shards == 0 || (i * 7 + i / 3) % shards == shard)
            mine[n++] = &e->rows[i];
    tel_code rc = TEL_OK;
    for (size_t i = 0; i < n && rc == TEL_OK && !tel_chain_done(chain); i += block_rows) {
        struct tel_arena arena = {0};
        struct tel_block block = make_block(mine + i, TEL_MIN(block_rows, n - i), &arena), some;
        struct tel_block_view view;
        uint64_t *bitmap = TEL_ARENA_ARRAY(&arena, uint64_t, TEL_BITMAP_WORDS(block.rows) + 1);
        tel_bitmap_fill(bitmap, block.rows);
        tel_block_view_init(&view, &block, &arena);
        rc = tel_filter_eval(q->filter, &view.source, bitmap, err);
        if (rc == TEL_OK && tel_bitmap_count(bitmap, block.rows)) {
            struct tel_fields needed;
            tel_fields_init(&needed, &arena);
            tel_query_needed_fields(q, 0, &needed);
            rc = tel_block_from_source(&view.source, bitmap, &needed, &arena, &some, err);
            struct tel_pipe_counting counting;
            if (rc == TEL_OK && shards && may_count(q, &needed, &counting))
                some = count_alike(&some, counting.bucket, &arena);
            if (rc == TEL_OK)
                rc = tel_chain_push(chain, &some, err);
        }
        tel_arena_free(&arena);
    }
    free(mine);
    return rc;
}

/* ---- running
 * ------------------------------------------------------------------------------------------- */

struct run {
    struct engine *e;
    size_t block_rows, shards;
};

static tel_code run_query(struct run *run, const struct tel_query *q, tel_sink_fn sink, void *ctx,
                          struct tel_error *err);

static tel_code run_other(void *ctx, const struct tel_query *q, tel_sink_fn sink, void *sink_ctx,
                          struct tel_error *err)
{
    return run_query(ctx, q, sink, sink_ctx, err);
}

static void exec_init(struct tel_exec *exec, struct run *run, enum tel_exec_mode mode)
{
    *exec = (struct tel_exec){.mode = mode,
                              .memory_limit = run->e->memory_limit,
                              .run = run_other,
                              .run_ctx = run,
                              .seed = 1};
}

/* From a shard to the router, as the wire has it: columns without a value do not travel. */
static tel_code push_to_chain(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    struct tel_block some = *block;
    struct tel_column *columns = tel_malloc((block->column_count + 1) * sizeof *columns);
    some.columns = columns;
    some.column_count = 0;
    for (size_t c = 0; c < block->column_count; c++) {
        bool any = !block->columns[c].values;
        for (size_t r = 0; r < block->rows && !any; r++)
            any = block->columns[c].values[r].len > 0;
        if (any)
            columns[some.column_count++] = block->columns[c];
    }
    tel_code rc = tel_chain_push(ctx, &some, err);
    free(columns);
    return rc;
}

static tel_code run_whole(struct run *run, const struct tel_query *q, tel_sink_fn sink, void *ctx,
                          struct tel_error *err)
{
    struct tel_exec exec;
    struct tel_chain *chain;
    exec_init(&exec, run, TEL_EXEC_FULL);
    tel_code rc = tel_chain_open(q, &exec, sink, ctx, &chain, err);
    if (rc != TEL_OK)
        return rc;
    rc = feed(run->e, q, chain, run->block_rows, 0, 0, err);
    if (rc == TEL_OK)
        rc = tel_chain_finish(chain, err);
    tel_chain_close(chain);
    return rc;
}

/* A state on its way to the router by another chain of the shard's. */
static tel_code import_to_chain(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    return tel_chain_import(ctx, block, err);
}

static tel_code run_split(struct run *run, const struct tel_query *q, tel_sink_fn sink, void *ctx,
                          struct tel_error *err)
{
    struct tel_exec router_exec, gather_exec, shard_exec;
    struct tel_chain *router = NULL, *gather = NULL, *shard = NULL;
    bool partial;
    tel_query_split(q, &partial);
    exec_init(&router_exec, run, TEL_EXEC_ROUTER);
    exec_init(&gather_exec, run, TEL_EXEC_SHARD);
    tel_code rc = tel_chain_open(q, &router_exec, sink, ctx, &router, err);
    if (rc == TEL_OK)
        rc = tel_chain_open(q, &gather_exec, push_to_chain, router, &gather, err);
    for (size_t i = 0; i < run->shards && rc == TEL_OK; i++) {
        exec_init(&shard_exec, run, TEL_EXEC_SHARD);
        if (partial && i % 2)
            rc = tel_chain_open(q, &shard_exec, import_to_chain, gather, &shard, err);
        else
            rc = tel_chain_open(q, &shard_exec, push_to_chain, router, &shard, err);
        if (rc != TEL_OK)
            break;
        rc = feed(run->e, q, shard, run->block_rows, i, run->shards, err);
        if (rc == TEL_OK)
            rc = tel_chain_finish(shard, err);
        tel_chain_close(shard);
    }
    if (rc == TEL_OK && partial)
        rc = tel_chain_finish(gather, err);
    tel_chain_close(gather);
    if (rc == TEL_OK)
        rc = tel_chain_finish(router, err);
    tel_chain_close(router);
    return rc;
}

static tel_code run_query(struct run *run, const struct tel_query *q, tel_sink_fn sink, void *ctx,
                          struct tel_error *err)
{
    return run->shards ? run_split(run, q, sink, ctx, err) : run_whole(run, q, sink, ctx, err);
}

static int by_name(const void *a, const void *b)
{
    return tel_span_cmp(((const struct tel_column *)a)->name, ((const struct tel_column *)b)->name);
}

static tel_code collect(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    struct engine_answer *a = ctx;
    struct tel_block sorted = *block;
    struct tel_column *columns = tel_malloc((block->column_count + 1) * sizeof *columns);
    struct tel_buf text = {0};
    (void)err;
    if (block->column_count)
        memcpy(columns, block->columns, block->column_count * sizeof *columns);
    qsort(columns, block->column_count, sizeof *columns, by_name);
    sorted.columns = columns;
    for (size_t r = 0; r < block->rows; r++) {
        tel_buf_clear(&text);
        if (!tel_block_print_row(&text, &sorted, r))
            continue;
        if (a->count == a->cap) {
            a->cap = a->cap ? a->cap * 2 : 16;
            a->rows = tel_realloc_array(a->rows, a->cap, sizeof *a->rows);
        }
        a->rows[a->count++] = tel_strndup(tel_buf_span(&text));
    }
    tel_buf_free(&text);
    free(columns);
    return TEL_OK;
}

tel_code engine_run(struct engine *e, struct tel_span query, size_t block_rows, size_t shards,
                    struct engine_answer *ret, struct tel_error *err)
{
    struct tel_arena arena = {0};
    struct tel_query *q;
    struct run run = {e, block_rows, shards};
    memset(ret, 0, sizeof *ret);
    tel_code rc = tel_query_parse(query, e->now_ns, NULL, &arena, &q, err);
    if (rc == TEL_OK) {
        struct tel_exec exec;
        exec_init(&exec, &run, TEL_EXEC_FULL);
        rc = tel_query_resolve(q, &exec, err);
        if (rc == TEL_OK)
            rc = run_query(&run, q, collect, ret, err);
        tel_query_done(q);
    }
    tel_arena_free(&arena);
    return rc;
}

void engine_answer_done(struct engine_answer *a)
{
    for (size_t i = 0; i < a->count; i++)
        free(a->rows[i]);
    free(a->rows);
    memset(a, 0, sizeof *a);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void engine_answer_sort(struct engine_answer *a)
{
    if (a->count)
        qsort(a->rows, a->count, sizeof *a->rows, by_text);
}
