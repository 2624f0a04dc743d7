/*
 * What stays in memory of segments (shard/query/residents.h): answers are the same with all of it, with a
 * part and with none; budgets hold; what is damaged is named; searches and evictions at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/rand.h"
#include "shard/server_private.h"
#include "shard/store/entry.h"
#include "shard/store/ldb.h"
#include "shard/store/store_private.h"
#include "tests/unit/shard/shard_fixture.h"

#define DAY      TEL_NS_PER_DAY
#define BASE     (20400 * DAY + 3600 * TEL_NS_PER_S)
#define MESSAGES 120u
#define ROWS     20u
#define DAYS     6u

static const char *const queries[] = {
    "needle77",
    "absent4711",
    "\"event number\" needle*",
    "needle1 or needle99",
    "!needle5",
    "host:s3",
    "host:s3 needle1*",
    "{host=\"s2\"}",
    "{host=\"nobody\"}",
    "{host=\"s2\"} !event",
    "host:in(s1, s4)",
    "nothing:here",
    "nothing:\"\"",
    "severity:INFO needle3",
    "_msg:in(\"a\", \"needle7 event\")",
    "* | stats count() n",
    "* | stats by (host) count() n",
    "* | stats by (host, nothing) count() n",
    "host:s1 | stats by (host) count() n",
    "!host:s1 | stats by (_stream) count() n",
    "{host=~\"s[12]\"} | stats count() n",
    "event | stats by (host) count() n",
    "event !host:s1 | stats by (host) count() n",
    "* | stats by (_time:1d) count() n",
    "* | stats by (_time:7d, host) count() n",
    "* | stats by (_time:1h) count() n",
    "* | uniq by (host)",
    "* | top 3 by (host)",
    "needle1* | stats by (host) max(_time) n",
    "_time:2025-11-09Z | stats by (host) count() n",
    "_time:[2025-11-09, 2025-11-10T02:00:00Z] needle2*",
    "* | stats by (severity) count() n",
    "needle42 | sort by (_time) desc | limit 3",
};

/* MESSAGES of five sources over DAYS days, in segments. */
static void fill(struct world *w)
{
    world_begin(w, 1);
    w->options.segment_rows = 100;
    w->options.workers = 1; /* one state of each pipe: answers can be compared as they come */
    world_start(w);
    for (uint32_t m = 0; m < MESSAGES; m++) {
        struct world_event events[ROWS];
        char bodies[ROWS][80], source[8];
        snprintf(source, sizeof(source), "s%u", m % 5);
        for (uint32_t i = 0; i < ROWS; i++) {
            uint64_t n = (uint64_t)m * ROWS + i;
            snprintf(bodies[i], sizeof(bodies[i]), "event number %u of needle%u took %u ms", i,
                     m + i % 3, (unsigned)(n * 7919 % 100000));
            events[i] = (struct world_event){
                BASE + (int64_t)(m % DAYS) * DAY + (int64_t)n * 1000000, n + 1, bodies[i]};
        }
        world_send(w, 0, "default", source, events, ROWS);
        if (m % 15 == 14) { /* several segments a day */
            world_sync(w);
            world_await(w, "default", "*", (uint64_t)(m + 1) * ROWS);
            world_stop(w, true);
            world_start(w);
        }
    }
    world_stop(w, true);
}

static void open_with(struct world *w, uint64_t resident_bytes, uint64_t cache_bytes)
{
    w->options.resident_bytes = resident_bytes;
    w->options.cache_bytes = cache_bytes;
    world_start(w);
}

static struct residents_stats stats_of(struct world *w)
{
    struct residents_stats stats;
    residents_stats_get(w->server->residents, &stats);
    return stats;
}

/* Bytes for a part of what there is: all outlines and a half of the filters. The server is stopped. */
static uint64_t some_bytes(struct world *w)
{
    struct residents_stats s;
    open_with(w, 8u << 20, 8u << 20);
    world_count(w, "default", "absent4711");
    s = stats_of(w);
    world_stop(w, false);
    assert_true(s.outlines.count == s.words.count && s.words.bytes > 1000);
    return s.outlines.bytes + s.words.bytes / 2;
}

static void ask(struct world *w, const char *query, struct found *ret)
{
    struct tel_error err = {0};
    if (world_search(w, "default", query, 0, ret, &err) != TEL_OK)
        fail_msg("%s: %s", query, err.text);
    if (*ret->end->partitions[0]->missing)
        fail_msg("%s: missing %s", query, ret->end->partitions[0]->missing);
}

static void same(const struct found *want, const struct found *got, const char *query)
{
    struct tel_map_slot *slot;
    if (want->full.len != got->full.len ||
        want->end->stats->rows_matched != got->end->stats->rows_matched)
        fail_msg("%s: %zu rows, %llu matched, instead of %zu and %llu", query, got->full.len,
                 (unsigned long long)got->end->stats->rows_matched, want->full.len,
                 (unsigned long long)want->end->stats->rows_matched);
    for (size_t pos = 0; (slot = tel_map_next(&want->full, &pos));) {
        const uint64_t *n = tel_map_get(&got->full, slot->key);
        if (!n || *n != slot->value)
            fail_msg("%s: %llu instead of %llu of [%.*s]", query, n ? (unsigned long long)*n : 0,
                     (unsigned long long)slot->value, TEL_SPAN_ARG(slot->key));
    }
}

static void test_same_answers(void **state)
{
    (void)state;
    struct world w;
    struct found want[TEL_ARRAY_LEN(queries)], got;
    fill(&w);
    const uint64_t budgets[] = {1, some_bytes(&w), 8u << 20};
    for (size_t b = 0; b < TEL_ARRAY_LEN(budgets); b++) {
        open_with(&w, budgets[b], b == 1 ? 1 : 8u << 20);
        for (unsigned again = 0; again < 3; again++) {
            for (size_t q = 0; q < TEL_ARRAY_LEN(queries); q++) {
                ask(&w, queries[q], b || again ? &got : &want[q]);
                if (b || again) {
                    same(&want[q], &got, queries[q]);
                    found_done(&got);
                }
            }
        }
        struct residents_stats s = stats_of(&w);
        if (b == 0)
            assert_int_equal(s.outlines.count + s.words.count, 0);
        if (b == 1) /* one budget for both; filters go first */
            assert_true(s.outlines.bytes + s.words.bytes <= budgets[b] && s.words.dropped > 0 &&
                        s.words.count < s.outlines.count);
        if (b == 2)
            assert_true(s.outlines.count > DAYS && s.words.count == s.outlines.count &&
                        s.outlines.dropped + s.words.dropped == 0 &&
                        s.outlines.misses == s.outlines.count && s.words.hits > s.words.misses);
        world_stop(&w, false);
    }
    for (size_t q = 0; q < TEL_ARRAY_LEN(queries); q++)
        found_done(&want[q]);
    world_end(&w);
}

/* What is settled by what is in memory opens no reader. */
static void test_no_reader(void **state)
{
    (void)state;
    static const char *const settled[] = {
        "absent4711", "{host=\"nobody\"}", "host:nobody needle1", "* | stats count() n",
        "* | stats by (host) count() n", "host:s1 | stats by (host) count() n",
        "* | stats by (_time:7d) count() n", "* | uniq by (host)"};
    struct world w;
    struct found found;
    fill(&w);
    open_with(&w, 8u << 20, 8u << 20);
    ask(&w, "absent4711", &found);
    found_done(&found);
    for (size_t q = 0; q < TEL_ARRAY_LEN(settled); q++) {
        struct cache_stats before, after;
        cache_stats_get(w.server->cache, &before);
        ask(&w, settled[q], &found);
        cache_stats_get(w.server->cache, &after);
        if (after.hits + after.misses != before.hits + before.misses)
            fail_msg("%s takes readers", settled[q]);
        assert_true(found.end->stats->segments >= DAYS);
        found_done(&found);
    }
    world_end(&w);
}

/* Names of fields and their values are told of segments by less than is read of events in memory. */
static void test_facets(void **state)
{
    (void)state;
    static const char *const asked[] = {"* | field_names", "* | facets", "needle1* | field_names",
                                        "needle1* | facets 3 max_values_per_field 5",
                                        "host:s2 | facets keep_const_fields"};
    struct world w;
    struct found want[TEL_ARRAY_LEN(asked)], got;
    char bodies[2000][48];
    struct world_event events[2000];
    world_begin(&w, 1);
    w.options.workers = 1;
    world_start(&w);
    for (uint32_t i = 0; i < 2000; i++) {
        bodies[i][0] = 0; /* some have none */
        if (i % 50)
            snprintf(bodies[i], sizeof(bodies[i]), "event %u of needle%u", i, i % 30);
        events[i] = (struct world_event){BASE + (int64_t)i * 1000, i + 1, bodies[i]};
    }
    world_send(&w, 0, "default", "s1", events, 1500);
    world_send(&w, 0, "default", "s2", events + 1500, 500);
    world_sync(&w);
    world_await(&w, "default", "*", 2000);
    for (unsigned again = 0; again < 3; again++) {
        for (size_t q = 0; q < TEL_ARRAY_LEN(asked); q++) {
            ask(&w, asked[q], again ? &got : &want[q]);
            assert_true(again || want[q].full.len > 2);
            if (again) {
                same(&want[q], &got, asked[q]);
                found_done(&got);
            }
        }
        world_stop(&w, true);
        world_start(&w);
    }
    for (size_t q = 0; q < TEL_ARRAY_LEN(asked); q++)
        found_done(&want[q]);
    world_end(&w);
}

/* A budget for a part: what is dropped is of the oldest events, and a second search over everything
 * finds the rest where it was. */
static void test_steady_when_small(void **state)
{
    (void)state;
    struct world w;
    struct found found;
    fill(&w);
    open_with(&w, some_bytes(&w), 1);
    ask(&w, "absent4711", &found);
    found_done(&found);
    struct residents_stats first = stats_of(&w);
    assert_true(first.words.count > 0 && first.words.count < first.outlines.misses);
    for (unsigned i = 0; i < 5; i++) {
        ask(&w, "absent4711", &found);
        found_done(&found);
    }
    struct residents_stats last = stats_of(&w);
    assert_true(last.words.hits - first.words.hits >= 4 * (uint64_t)first.words.count / 2);
    /* the newest day needs nothing from the disk */
    struct cache_stats before, after;
    cache_stats_get(w.server->cache, &before);
    ask(&w, "_time:2025-11-13Z absent4711", &found);
    found_done(&found);
    cache_stats_get(w.server->cache, &after);
    assert_int_equal(after.misses, before.misses);
    world_end(&w);
}

/* ---- damage ------------------------------------------------------------------------------------- */

/* Spoils a section of every segment of a day, so that its checksum is wrong; how many. */
static unsigned spoil(struct world *w, const char *day, uint32_t section)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/p0/%s", w->store, day);
    struct ldb_shared *shared = ldb_shared_new(1u << 20);
    struct ldb_options options = store_day_ldb_options(shared, 0);
    struct ldb *db;
    struct tel_error err = {0};
    if (ldb_open(path, &options, &db, &err) != TEL_OK)
        fail_msg("%s", err.text);
    struct ldb_batch *batch = ldb_batch_new();
    struct ldb_iter *iter = ldb_iter_new(db);
    unsigned count = 0;
    for (ldb_iter_seek(iter, TEL_SPAN("")); ldb_iter_valid(iter); ldb_iter_next(iter)) {
        uint64_t id;
        uint32_t slot;
        if (!entry_key_parse(ldb_iter_key(iter), &id, &slot) || slot != section + 1)
            continue;
        struct tel_span value = ldb_iter_value(iter);
        char *copy = malloc(value.len);
        memcpy(copy, value.ptr, value.len);
        copy[value.len / 2] ^= 0x11;
        ldb_batch_put(batch, ldb_iter_key(iter), tel_span_make(copy, value.len));
        free(copy);
        count++;
    }
    ldb_iter_free(iter);
    assert_int_equal(ldb_write(db, batch, true, &err), TEL_OK);
    ldb_batch_free(batch);
    ldb_close(db);
    ldb_shared_free(shared);
    return count;
}

static void expect_missing(struct world *w, const char *query, bool missing, uint64_t rows)
{
    struct found found;
    struct tel_error err = {0};
    for (unsigned again = 0; again < 2; again++) {
        if (world_search(w, "default", query, 0, &found, &err) != TEL_OK)
            fail_msg("%s: %s", query, err.text);
        const char *text = found.end->partitions[0]->missing;
        if ((strstr(text, "2025-11-09.0 segment") != NULL) != missing)
            fail_msg("%s: missing [%s]", query, text);
        assert_int_equal(found.end->stats->rows_matched, rows);
        found_done(&found);
    }
}

static void test_damaged(void **state)
{
    (void)state;
    static const uint64_t budgets[] = {8u << 20, 1};
    struct world w;
    fill(&w);
    open_with(&w, 8u << 20, 8u << 20);
    uint64_t all = world_count(&w, "default", "*");
    uint64_t words = world_count(&w, "default", "took");
    uint64_t whole = world_count(&w, "default", "took _time:2025-11-09Z");
    assert_true(words == all && whole > 0);
    world_stop(&w, false);
    assert_true(spoil(&w, "2025-11-09.0", SEGMENT_SECTION_FILTER) > 0);
    for (size_t b = 0; b < TEL_ARRAY_LEN(budgets); b++) {
        open_with(&w, budgets[b], 8u << 20);
        expect_missing(&w, "took", true, words - whole);
        expect_missing(&w, "absent4711", true, 0);
        expect_missing(&w, "_time:2025-11-10Z took", false,
                       world_count(&w, "default", "_time:2025-11-10Z"));
        expect_missing(&w, "* | stats by (host) count() n", false, all); /* asks no words */
        world_stop(&w, false);
    }
    assert_true(spoil(&w, "2025-11-09.0", SEGMENT_SECTION_HEAD) > 0);
    for (size_t b = 0; b < TEL_ARRAY_LEN(budgets); b++) {
        open_with(&w, budgets[b], 8u << 20);
        expect_missing(&w, "* | stats by (host) count() n", true, all - whole);
        expect_missing(&w, "absent4711", true, 0);
        world_stop(&w, false);
    }
    world_end(&w);
}

/* ---- many at once ------------------------------------------------------------------------------- */

struct asker {
    struct world *w;
    struct tel_thread thread;
    uint64_t seed;
    const uint64_t *want; /* rows of each query */
    unsigned wrong;
};

static const char *const counted[] = {"needle77", "absent4711", "*",         "host:s3",
                                      "!host:s3", "took",       "needle1*",  "{host=\"s1\"} event",
                                      "needle5",  "needle9",    "needle110", "_time:2025-11-09Z"};

static void ask_often(void *arg)
{
    struct asker *a = arg;
    struct tel_rand r;
    tel_rand_init(&r, a->seed);
    for (unsigned i = 0; i < 60; i++) {
        size_t q = tel_rand_below(&r, TEL_ARRAY_LEN(counted));
        char text[128];
        struct found found;
        snprintf(text, sizeof(text), "%s | stats by (host) count() n", counted[q]);
        if (world_search(a->w, "default", text, 0, &found, NULL) != TEL_OK ||
            found.end->stats->rows_matched != a->want[q] || *found.end->partitions[0]->missing)
            a->wrong++;
        found_done(&found);
    }
}

static void test_many_at_once(void **state)
{
    (void)state;
    struct world w;
    uint64_t want[TEL_ARRAY_LEN(counted)];
    fill(&w);
    uint64_t some = some_bytes(&w);
    open_with(&w, 8u << 20, 8u << 20);
    for (size_t q = 0; q < TEL_ARRAY_LEN(counted); q++)
        want[q] = world_count(&w, "default", counted[q]);
    for (unsigned round = 0; round < 3; round++) {
        const uint64_t budgets[] = {some / 3, some, some * 2};
        world_stop(&w, false);
        w.options.workers = 2;
        open_with(&w, budgets[round], 64u << 10);
        struct asker askers[4];
        for (size_t i = 0; i < TEL_ARRAY_LEN(askers); i++) {
            askers[i] = (struct asker){.w = &w, .seed = round * 10 + i, .want = want};
            assert_int_equal(
                tel_thread_start(&askers[i].thread, "asker", ask_often, &askers[i], NULL), TEL_OK);
        }
        for (unsigned i = 0; i < 50; i++) /* what maintenance does meanwhile */
            residents_purge(w.server->residents);
        for (size_t i = 0; i < TEL_ARRAY_LEN(askers); i++) {
            tel_thread_join(&askers[i].thread);
            assert_int_equal(askers[i].wrong, 0);
        }
        struct residents_stats s = stats_of(&w);
        assert_true(s.outlines.bytes + s.words.bytes <= budgets[round]);
    }
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_answers), cmocka_unit_test(test_no_reader),
        cmocka_unit_test(test_steady_when_small), cmocka_unit_test(test_facets),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_many_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
