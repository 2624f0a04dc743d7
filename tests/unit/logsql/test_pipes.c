/* Chains: where pipes run, what they need, limits, cancelling, and one tree on many threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/rand.h"
#include "common/logsql/filter.h"
#include "common/logsql/parser.h"
#include "tests/unit/logsql/engine.h"

static struct tel_query *parse(const char *text, struct tel_arena *arena)
{
    struct tel_query *q;
    struct tel_error err = {0};
    if (tel_query_parse(tel_span_cstr(text), 0, NULL, arena, &q, &err) != TEL_OK)
        fail_msg("%s: %s", text, err.text);
    return q;
}

static void test_split(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t split;
        bool partial, streaming;
    } table[] = {
        {"*", 0, false, true},
        {"* | fields a", 1, false, true},
        {"* | fields a | count()", 2, true, false},
        {"* | filter x | sort by (a) | limit 3", 2, true, false},
        {"* | offset 1 | count()", 0, false, false},
        {"* | limit 5 | fields a", 1, true, false},
        {"* | stream_context before 1", 0, false, false},
        {"* | extract \"<a> x\" | top 5 by (a) | fields a", 2, true, false},
        {"* | union (b) | count()", 0, false, false},
    };
    struct tel_arena arena = {0};
    for (size_t i = 0; i < TEL_ARRAY_LEN(table); i++) {
        bool partial;
        struct tel_query *q = parse(table[i].text, &arena);
        if (tel_query_split(q, &partial) != table[i].split || partial != table[i].partial ||
            tel_query_is_streaming(q) != table[i].streaming)
            fail_msg("%s", table[i].text);
        tel_query_done(q);
    }
    tel_arena_free(&arena);
}

/* Which queries look at bodies by a pattern alone, and which do not mind the order of their rows. */
static void test_shortcuts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool excerpt, any_order;
    } table[] = {
        {"* | extract \"<x> y\"", false, false},
        {"* | extract \"<x> y\" | fields x", true, false},
        {"* | extract \"<x> y\" | stats avg(x), quantile(0.9, x) q", true, true},
        {"* | extract \"<x> y\" | stats by (_msg) count()", false, true},
        {"* | extract \"<_msg> y\" | fields _msg", false, false},
        {"* | extract \"<x> y\" from a | fields x", false, false},
        {"* | extract if (c:1) \"<x> y\" | fields x", false, false},
        {"* | extract_regexp \"(?P<x>[0-9])\" | fields x", false, false},
        {"* | fields _msg | extract \"<x> y\" | fields x", false, false},
        {"* | extract \"<x> y\" | extract \"<z> y\" | fields x, z", false, false},
        {"* | filter a | stats sum(b)", false, true},
        {"* | stats values(a)", false, false},
        {"* | top 5 by (a)", false, true},
        {"* | uniq by (a)", false, true},
        {"* | sort by (a) | limit 5", false, false},
        {"* | limit 5", false, false},
        {"*", false, false},
    };
    struct tel_arena arena = {0};
    for (size_t i = 0; i < TEL_ARRAY_LEN(table); i++) {
        bool partial;
        struct tel_query *q = parse(table[i].text, &arena);
        size_t split = tel_query_split(q, &partial);
        if ((tel_query_excerpt(q) != NULL) != table[i].excerpt ||
            (partial && tel_query_any_order(q, split)) != table[i].any_order)
            fail_msg("%s", table[i].text);
        tel_query_done(q);
    }
    tel_arena_free(&arena);
}

static void test_needed_fields(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *yes, *no; /* names, one letter each */
    } table[] = {
        {"*", "abc", ""},
        {"* | fields a, b", "ab", "cd"},
        {"* | count()", "", "abc"},
        {"* | stats by (a) sum(b) if (c:x) s", "abc", "d"},
        {"* | copy a as b | fields b", "a", "bc"},
        {"* | rename a as b | fields b, c", "ac", "bd"},
        {"* | extract \"<x> y\" from a | fields x", "a", "xb"},
        {"* | extract \"<x> y\" from a | fields b", "b", "ax"},
        {"* | extract if (c:1) \"<x> y\" from a | fields x", "acx", "b"},
        {"* | math a + b as c | fields c", "ab", "cd"},
        {"* | format \"<a>\" as b | fields b", "a", "bc"},
        {"* | delete a", "bc", "a"},
        {"* | drop_empty_fields | count()", "abc", ""},
        {"* | fields a | drop_empty_fields | count()", "a", "bc"},
        {"* | sort by (a) | fields b", "ab", "c"},
        {"* | filter a:1 | fields b", "ab", "c"},
        {"* | unpack_json from a | fields b", "ab", "c"},
        {"* | unpack_json from a | count()", "", "abc"},
        {"* | top 3 by (a)", "a", "bc"},
        {"* | uniq by (a) | fields b", "a", "bc"},
        {"* | pack_json as a | fields a", "abcd", ""},
        {"* | len(a) as b | fields b", "a", "bc"},
        {"* | replace (\"x\", \"y\") at a | fields b", "b", "ac"},
        {"* | join by (a) (* | fields a, b) | fields b", "ab", "c"},
    };
    struct tel_arena arena = {0};
    for (size_t i = 0; i < TEL_ARRAY_LEN(table); i++) {
        struct tel_query *q = parse(table[i].text, &arena);
        struct tel_fields f;
        tel_fields_init(&f, &arena);
        tel_query_needed_fields(q, 0, &f);
        for (const char *p = table[i].yes; *p; p++)
            if (!tel_fields_has(&f, tel_span_make(p, 1)))
                fail_msg("%s: needs %c", table[i].text, *p);
        for (const char *p = table[i].no; *p; p++)
            if (tel_fields_has(&f, tel_span_make(p, 1)))
                fail_msg("%s: does not need %c", table[i].text, *p);
        tel_query_done(q);
    }
    tel_arena_free(&arena);
}

static void test_time_limits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t count; /* 0: none */
        bool newest;
    } table[] = {
        {"* | sort by (_time) desc | limit 100", 100, true},
        {"* | sort by (_time desc) limit 10", 10, true},
        {"* | sort by (_time) limit 10 offset 5", 15, false},
        {"* | sort by (_time desc) desc limit 10", 10, false},
        {"* | first 3 by (_time)", 3, false},
        {"* | last 3 by (_time)", 3, true},
        {"* | fields _time, a | last 3 by (_time)", 3, true},
        {"* | sort by (_time) | offset 2 | limit 3", 5, false},
        {"* | sort by (_time)", 0, false},
        {"* | sort by (a) limit 3", 0, false},
        {"* | sort by (_time, a) limit 3", 0, false},
        {"* | filter x | last 3 by (_time)", 0, false},
        {"* | sort by (_time) partition by (a) limit 3", 0, false},
        {"* | limit 3", 0, false},
    };
    struct tel_arena arena = {0};
    for (size_t i = 0; i < TEL_ARRAY_LEN(table); i++) {
        struct tel_query *q = parse(table[i].text, &arena);
        uint64_t count = 0;
        bool newest = false, some = tel_query_time_limit(q, &count, &newest);
        if (some != (table[i].count > 0) ||
            (some && (count != table[i].count || newest != table[i].newest)))
            fail_msg("%s", table[i].text);
        tel_query_done(q);
    }
    tel_arena_free(&arena);
}

static void fill(struct engine *e, size_t rows)
{
    struct tel_buf text = {0};
    for (size_t i = 0; i < rows; i++) {
        tel_buf_clear(&text);
        tel_buf_printf(
            &text,
            "{\"_msg\":\"row %zu of a Test with "
            "words\",\"id\":\"id-%zu\",\"n\":\"%zu\",\"_stream\":\"{app=\\\"a%zu\\\"}\"}",
            i, i, (i * 7919) % 10007, i % 5);
        engine_add(e, tel_buf_span(&text));
    }
    tel_buf_free(&text);
}

static void test_memory_is_limited(void **state)
{
    (void)state;
    static const char *const hungry[] = {
        "* | sort by (n)",
        "* | uniq by (id)",
        "* | stats by (id) count()",
        "* | top 5 by (id)",
        "* | stats values(_msg)",
        "* | stats count_uniq(id)",
        "* | stats uniq_values(id)",
        "* | stats quantile(0.5, _msg)",
        "* | stats json_values()",
        "* | field_values id",
        "* | facets max_values_per_field 1000000",
        "* | join by (id) (*)",
        "n:in(* | fields id)",
        "* | stats count_uniq_hash(id, n)",
        "* | patterns",
    };
    struct engine e;
    engine_init(&e);
    fill(&e, 20000);
    for (size_t i = 0; i < TEL_ARRAY_LEN(hungry); i++) {
        for (size_t shards = 0; shards <= 2; shards += 2) {
            struct engine_answer a;
            struct tel_error err = {0};
            e.memory_limit = 200000;
            tel_code rc = engine_run(&e, tel_span_cstr(hungry[i]), 1000, shards, &a, &err);
            if (i + 1 == TEL_ARRAY_LEN(hungry)) {
                assert_int_equal(rc, TEL_OK); /* one pattern is little */
            } else if (rc != TEL_ERR_LIMIT || !strstr(err.text, "memory of")) {
                fail_msg("%s: %d %s", hungry[i], rc, err.text);
            }
            engine_answer_done(&a);
        }
    }
    /* The best few of many need little. */
    struct engine_answer a;
    struct tel_error err = {0};
    assert_int_equal(engine_run(&e, TEL_SPAN("* | sort by (n desc) limit 100"), 100, 0, &a, &err),
                     TEL_OK);
    assert_int_equal(a.count, 100);
    engine_answer_done(&a);
    engine_done(&e);
}

static tel_code stop_now(void *ctx)
{
    return --*(int *)ctx < 0 ? TEL_ERR_CANCELLED : TEL_OK;
}

static tel_code ignore_rows(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    (void)err;
    *(size_t *)ctx += block->rows;
    return TEL_OK;
}

static void test_stops_and_ends_early(void **state)
{
    (void)state;
    struct tel_arena arena = {0};
    struct tel_error err = {0};
    struct tel_chain *chain;
    struct tel_row_key keys[3] = {{.time_ns = 1}, {.time_ns = 2}, {.time_ns = 3}};
    struct tel_column column = {TEL_SPAN("_time"), NULL};
    struct tel_block block = {.rows = 3, .keys = keys, .column_count = 1, .columns = &column};
    int pushes = 2;
    size_t rows = 0;
    struct tel_exec exec = {.stop = stop_now, .stop_ctx = &pushes};
    struct tel_query *q = parse("* | filter *", &arena);
    assert_int_equal(tel_chain_open(q, &exec, ignore_rows, &rows, &chain, &err), TEL_OK);
    assert_int_equal(tel_chain_push(chain, &block, &err), TEL_OK);
    assert_int_equal(tel_chain_push(chain, &block, &err), TEL_OK);
    assert_int_equal(tel_chain_push(chain, &block, &err), TEL_ERR_CANCELLED);
    tel_chain_close(chain);
    tel_query_done(q);

    q = parse("* | limit 4", &arena);
    exec = (struct tel_exec){0};
    rows = 0;
    assert_int_equal(tel_chain_open(q, &exec, ignore_rows, &rows, &chain, &err), TEL_OK);
    assert_int_equal(tel_chain_push(chain, &block, &err), TEL_OK);
    assert_false(tel_chain_done(chain));
    assert_int_equal(tel_chain_push(chain, &block, &err), TEL_OK);
    assert_true(tel_chain_done(chain));
    assert_int_equal(rows, 4);
    assert_int_equal(tel_chain_finish(chain, &err), TEL_OK);
    tel_chain_close(chain);
    tel_query_done(q);

    /* Without somebody to run them, other queries are refused. */
    q = parse("* | union (a)", &arena);
    assert_int_equal(tel_chain_open(q, &exec, ignore_rows, &rows, &chain, &err), TEL_OK);
    assert_int_equal(tel_chain_finish(chain, &err), TEL_ERR_UNSUPPORTED);
    tel_chain_close(chain);
    tel_query_done(q);
    tel_arena_free(&arena);
}

/* A shard that sends nonsense is an error, not a crash. */
static void test_bad_partial_states(void **state)
{
    (void)state;
    static const char *const queries[] = {
        ("* | stats by (a) count(), sum(a), min(a), count_uniq(a), values(a), histogram(a), "
         "row_any(), count_uniq_hash(a), sum_len(a)"),
        "* | top 3 by (a)",
        "* | facets",
        "* | field_names",
        "* | patterns",
        "* | blocks_count"};
    static const char *const values[] = {"", "x", "\x01",
                                         "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "-1"};
    struct tel_arena arena = {0};
    for (size_t i = 0; i < TEL_ARRAY_LEN(queries); i++) {
        struct tel_query *q = parse(queries[i], &arena);
        for (size_t v = 0; v < TEL_ARRAY_LEN(values); v++) {
            struct tel_span cells[13];
            struct tel_column columns[13];
            static const char *const names[13] = {"a",  "#0", "#1", "#2",    "#3",     "#4",   "#5",
                                                  "#6", "#7", "#8", "#hits", "#field", "count"};
            for (size_t c = 0; c < 13; c++) {
                cells[c] = tel_span_cstr(values[v]);
                columns[c] = (struct tel_column){tel_span_cstr(names[c]), &cells[c]};
            }
            struct tel_block block = {.rows = 1, .column_count = 13, .columns = columns};
            struct tel_exec exec = {.mode = TEL_EXEC_ROUTER};
            struct tel_error err = {0};
            struct tel_chain *chain;
            size_t rows = 0;
            assert_int_equal(tel_chain_open(q, &exec, ignore_rows, &rows, &chain, &err), TEL_OK);
            assert_int_equal(tel_chain_push(chain, &block, &err), TEL_ERR_CORRUPT);
            tel_chain_close(chain);
        }
        tel_query_done(q);
    }
    tel_arena_free(&arena);
}

static int by_number(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;
    return x < y ? -1 : x > y;
}

static void test_quantiles(void **state)
{
    (void)state;
    struct tel_rand r;
    uint64_t seed = tel_rand_seed();
    print_message("seed %llu\n", (unsigned long long)seed);
    tel_rand_init(&r, seed);
    for (int round = 0; round < 40; round++) {
        struct engine e;
        struct tel_buf text = {0};
        size_t n = 1 + tel_rand_below(&r, 3000),
               kinds = 1 + tel_rand_below(&r, round % 2 ? 5 : 100000);
        long *values = malloc(n * sizeof *values);
        engine_init(&e);
        for (size_t i = 0; i < n; i++) {
            values[i] = round % 3 == 0 ? (long)i : (long)tel_rand_below(&r, kinds) - 50;
            tel_buf_clear(&text);
            tel_buf_printf(&text, "{\"n\":\"%ld\"}", values[i]);
            engine_add(&e, tel_buf_span(&text));
        }
        qsort(values, n, sizeof *values, by_number);
        unsigned percent = (unsigned)tel_rand_below(&r, 100);
        struct engine_answer a;
        struct tel_error err = {0};
        tel_buf_clear(&text);
        tel_buf_printf(&text, "* | stats quantile(0.%02u, n) q", percent);
        assert_int_equal(engine_run(&e, tel_buf_span(&text), 700, (size_t)round % 4, &a, &err),
                         TEL_OK);
        size_t i = (size_t)((percent / 100.0) * (double)n);
        tel_buf_clear(&text);
        tel_buf_printf(&text, "{\"q\":\"%ld\"}", values[i < n ? i : n - 1]);
        assert_int_equal(a.count, 1);
        assert_string_equal(a.rows[0], tel_buf_cstr(&text));
        engine_answer_done(&a);
        engine_done(&e);
        tel_buf_free(&text);
        free(values);
    }
}

/* ---- threads
 * ------------------------------------------------------------------------------------------- */

struct shared {
    const struct tel_query *query;
    const struct tel_block *block;
    size_t want;
};

static void *evaluate(void *arg)
{
    struct shared *s = arg;
    for (int round = 0; round < 50; round++) {
        struct tel_arena arena = {0};
        struct tel_block_view view;
        struct tel_error err = {0};
        uint64_t *bitmap = TEL_ARENA_ARRAY(&arena, uint64_t, TEL_BITMAP_WORDS(s->block->rows));
        tel_bitmap_fill(bitmap, s->block->rows);
        tel_block_view_init(&view, s->block, &arena);
        if (tel_filter_eval(s->query->filter, &view.source, bitmap, &err) != TEL_OK ||
            tel_bitmap_count(bitmap, s->block->rows) != s->want)
            abort();
        tel_arena_free(&arena);
    }
    return NULL;
}

static void test_one_tree_many_threads(void **state)
{
    (void)state;
    struct tel_arena arena = {0};
    struct tel_query *q = parse("(~\"r[0-9]w|w.rds 1\" or i(WORDS)) !id:in(id-3, id-4) "
                                "{app=~\"a.*\"} seq(row, words) n:>=0",
                                &arena);
    struct tel_span *cells[4];
    struct tel_column columns[4];
    static const char *const names[4] = {"_msg", "id", "n", "_stream"};
    for (size_t c = 0; c < 4; c++) {
        cells[c] = TEL_ARENA_ARRAY(&arena, struct tel_span, 100);
        columns[c] = (struct tel_column){tel_span_cstr(names[c]), cells[c]};
    }
    for (size_t i = 0; i < 100; i++) {
        cells[0][i] = tel_arena_printf(&arena, "row with Words %zu", i);
        cells[1][i] = tel_arena_printf(&arena, "id-%zu", i);
        cells[2][i] = tel_arena_printf(&arena, "%zu", i);
        cells[3][i] = TEL_SPAN("{app=\"a1\"}");
    }
    for (size_t i = 0; i < 100; i += 2)
        cells[0][i] = tel_arena_printf(&arena, "row with words %zu", i);
    struct tel_block block = {.rows = 100, .column_count = 4, .columns = columns};
    struct shared shared = {q, &block, 49}; /* even rows, without id-4 */
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, evaluate, &shared), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    tel_query_done(q);
    tel_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_needed_fields),
        cmocka_unit_test(test_shortcuts),
        cmocka_unit_test(test_time_limits),
        cmocka_unit_test(test_memory_is_limited),
        cmocka_unit_test(test_stops_and_ends_early),
        cmocka_unit_test(test_bad_partial_states),
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_one_tree_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
