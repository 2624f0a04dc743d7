/* Filters and pipes alone, over rows in memory: rows per second of one core, without any storage.
 *
 *     bench_logsql [--rows N]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/logsql/filter.h"
#include "common/logsql/parser.h"
#include "common/logsql/pipe.h"

#define BLOCK_ROWS 65536

struct data {
    struct tel_arena arena;
    struct tel_block block;
};

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* What a store hands out: columns with few values share their bytes, messages do not. */
static void make_data(struct data *d)
{
    static const char *const verbs[] = {
        "Receiving",           "Sending", "Deleting", "Verification succeeded for",
        "error while writing", "Served"};
    struct tel_rand r;
    struct tel_span apps[8], hosts[1000];
    tel_rand_init(&r, 7);
    tel_arena_init(&d->arena, 1u << 20);
    struct tel_row_key *keys = TEL_ARENA_ARRAY(&d->arena, struct tel_row_key, BLOCK_ROWS);
    struct tel_span *cells[5];
    static const char *const names[] = {"_time", "_msg", "app", "host", "size", "id"};
    struct tel_column *columns = TEL_ARENA_ARRAY(&d->arena, struct tel_column, 6);
    for (size_t i = 0; i < 6; i++) {
        columns[i].name = tel_span_cstr(names[i]);
        if (i)
            columns[i].values = cells[i - 1] =
                TEL_ARENA_ARRAY(&d->arena, struct tel_span, BLOCK_ROWS);
    }
    for (size_t i = 0; i < 8; i++)
        apps[i] = tel_arena_printf(&d->arena, "app-%zu", i);
    for (size_t i = 0; i < 1000; i++)
        hosts[i] = tel_arena_printf(&d->arena, "host-%zu.example.org", i);
    for (size_t i = 0; i < BLOCK_ROWS; i++) {
        keys[i] = (struct tel_row_key){
            .time_ns = INT64_C(1700000000000000000) + (int64_t)i * 1000000, .offset = (int64_t)i};
        uint64_t n = tel_rand_u64(&r);
        cells[0][i] = tel_arena_printf(
            &d->arena,
            "%s block blk_%llu src: /10.%u.%u.%u:50010 dest: /10.250.7.%u:50010 "
            "of size %llu in the directory /data/dfs/current/subdir%u",
            verbs[n % 6], (unsigned long long)n, (unsigned)(n >> 8 & 255),
            (unsigned)(n >> 16 & 255), (unsigned)(n >> 24 & 255), (unsigned)(n >> 32 & 255),
            (unsigned long long)(n >> 40), (unsigned)(n & 63));
        cells[1][i] = apps[n % 8];
        cells[2][i] = hosts[n % 1000];
        cells[3][i] = tel_arena_printf(&d->arena, "%llu", (unsigned long long)(n >> 50));
        cells[4][i] = tel_arena_printf(&d->arena, "id-%llu", (unsigned long long)(n % 20000));
    }
    d->block =
        (struct tel_block){.rows = BLOCK_ROWS, .keys = keys, .column_count = 6, .columns = columns};
}

static tel_code count_rows(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    (void)err;
    *(size_t *)ctx += block->rows;
    return TEL_OK;
}

static int run(const struct data *d, const char *text, size_t rows)
{
    struct tel_arena arena = {0}, scratch = {0};
    struct tel_error err = {0};
    struct tel_query *q;
    struct tel_chain *chain = NULL;
    struct tel_exec exec = {.mode = TEL_EXEC_FULL, .seed = 1};
    size_t out = 0;
    tel_code rc = tel_query_parse(tel_span_cstr(text), 0, NULL, &arena, &q, &err);
    if (rc == TEL_OK)
        rc = tel_chain_open(q, &exec, count_rows, &out, &chain, &err);
    double start = cpu_seconds();
    for (size_t n = 0; n < rows && rc == TEL_OK; n += BLOCK_ROWS) {
        struct tel_block_view view;
        struct tel_block some;
        tel_arena_reset(&scratch);
        uint64_t *bitmap = TEL_ARENA_ARRAY(&scratch, uint64_t, TEL_BITMAP_WORDS(BLOCK_ROWS));
        tel_bitmap_fill(bitmap, BLOCK_ROWS);
        tel_block_view_init(&view, &d->block, &scratch);
        rc = tel_filter_eval(q->filter, &view.source, bitmap, &err);
        if (rc == TEL_OK) {
            tel_block_select(&d->block, bitmap, &scratch, &some);
            rc = tel_chain_push(chain, &some, &err);
        }
    }
    if (rc == TEL_OK)
        rc = tel_chain_finish(chain, &err);
    double seconds = cpu_seconds() - start;
    if (rc != TEL_OK)
        fprintf(stderr, "%s: %s\n", text, err.text);
    else
        printf("%8.1f M rows/s  %9zu rows out  %s\n", (double)rows / seconds / 1e6, out, text);
    tel_chain_close(chain);
    if (rc == TEL_OK)
        tel_query_done(q);
    tel_arena_free(&scratch);
    tel_arena_free(&arena);
    return rc != TEL_OK;
}

int main(int argc, char **argv)
{
    static const char *const queries[] = {
        "* | count()",
        "error | count()",
        "blk_17 | count()",
        "\"error while\" | count()",
        "Receiv* | count()",
        "i(ERROR) | count()",
        "~\"subdir[0-9]+$\" | count()",
        "~\"dest\" | count()",
        "app:=\"app-3\" | count()",
        "app:in(app-1, app-2) | count()",
        "size:>8000 | count()",
        "!error app:app-1 | count()",
        "* | stats by (app) count()",
        "* | stats by (host) count()",
        "* | stats by (id) count()",
        "* | stats by (app, host) count(), sum(size)",
        "* | stats by (_time:1s) count()",
        "* | stats sum(size), max(size)",
        "* | stats quantile(0.99, size)",
        "* | stats count_uniq(id)",
        "* | top 10 by (host)",
        "* | uniq by (id)",
        "* | sort by (_time desc) limit 100",
        "* | sort by (size desc) limit 100",
        "* | extract \"of size <s> in\" | stats sum(s)",
        "* | collapse_nums | top 5 by (_msg)",
        "* | math size * 2 as d | stats sum(d)",
        "* | facets",
    };
    size_t rows = 2u << 20;
    if (argc == 3 && strcmp(argv[1], "--rows") == 0)
        rows = (size_t)strtoull(argv[2], NULL, 10);
    else if (argc != 1) {
        printf("usage: %s [--rows N]\n", argv[0]);
        return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
    }
    struct data d;
    int bad = 0;
    make_data(&d);
    for (size_t i = 0; i < TEL_ARRAY_LEN(queries); i++)
        bad |= run(&d, queries[i], rows);
    tel_arena_free(&d.arena);
    return bad;
}
