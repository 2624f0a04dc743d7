/*
 * Queries over shard servers that work and servers that do not: the order of answers, what replaces
 * what fails, what is said to be missing, and that nothing waits beyond its deadline.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/rand.h"
#include "common/base/vec.h"
#include "router/explain.h"
#include "router/query.h"
#include "router/status.h"
#include "tests/unit/router/memory_shard.h"

#define EVENTS 2000u

static struct memory_event *events;

struct result {
    TEL_VEC(struct tel_row_key) keys;
    uint64_t count; /* of a column "n" or "hits", summed */
    char missing[1024];
    uint64_t lag_ms;
    tel_code rc;
    struct tel_error err;
    int64_t took_ms;
    struct fanout_totals totals;
};

static tel_code sink(void *ctx, const struct tel_block *b, struct tel_error *err)
{
    struct result *r = ctx;
    (void)err;
    const struct tel_column *n = tel_block_column(b, TEL_SPAN("n"));
    for (size_t i = 0; i < b->rows; i++) {
        tel_vec_push(&r->keys, b->keys ? b->keys[i] : (struct tel_row_key){0});
        unsigned long long v = 0;
        if (n && n->values && tel_span_to_u64(n->values[i], &v))
            r->count += v;
    }
    return TEL_OK;
}

static void result_free(struct result *r)
{
    tel_vec_free(&r->keys);
}

static int64_t now_ms(void)
{
    return tel_mono_ns(tel_clock_system()) / TEL_NS_PER_MS;
}

static void run_with(struct memory_cluster *c, struct query_params p, struct result *r)
{
    *r = (struct result){0};
    if (!p.tenant.len)
        p.tenant = TEL_SPAN("default");
    p.now_ns = 2000000 * TEL_NS_PER_S;
    int64_t start = now_ms();
    struct query *q;
    r->rc = query_open(c->router, &p, sink, r, &q, &r->err);
    if (r->rc == TEL_OK) {
        r->rc = query_run(q, &r->err);
        struct tel_buf text = {0};
        query_missing_join(q, &text);
        snprintf(r->missing, sizeof(r->missing), "%.*s", (int)text.len, text.ptr ? text.ptr : "");
        tel_buf_free(&text);
        r->totals = *query_totals(q);
        query_close(q);
    }
    r->took_ms = now_ms() - start;
}

static void run(struct memory_cluster *c, const char *text, uint64_t limit, struct result *r)
{
    run_with(c,
             (struct query_params){.text = tel_span_cstr(text), .limit = limit, .timeout_ms = 5000},
             r);
}

static int oldest_first(const void *a, const void *b)
{
    return tel_row_key_cmp(a, b);
}

/* The keys of all events that match, in order. */
static size_t expected(const char *word, const char *app, struct tel_row_key *out)
{
    size_t n = 0;
    for (size_t i = 0; i < EVENTS; i++)
        if ((!word || strstr(events[i].msg, word)) && (!app || strcmp(events[i].app, app) == 0))
            out[n++] = events[i].key;
    qsort(out, n, sizeof(*out), oldest_first);
    return n;
}

static void assert_keys(const struct result *r, const struct tel_row_key *keys, size_t n)
{
    assert_int_equal(r->rc, TEL_OK);
    assert_int_equal(r->keys.len, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(tel_row_key_cmp(&r->keys.items[i], &keys[i]), 0);
}

/* ---- order
 * --------------------------------------------------------------------------------------- */

static void test_newest_in_order(void **state)
{
    (void)state;
    struct memory_cluster c;
    const char *holdings[] = {"0,1", "2", "3,4", "5,6,7", NULL};
    memory_cluster_start(&c, events, EVENTS, holdings, NULL);
    for (size_t i = 0; i < c.shard_count; i++)
        c.shards[i].batch_rows = 7 + i;
    struct tel_row_key keys[EVENTS];
    size_t n = expected("error", NULL, keys);
    static const uint64_t limits[] = {1, 2, 10, 100, 5000};
    for (size_t i = 0; i < TEL_ARRAY_LEN(limits); i++) {
        struct result r;
        run(&c, "error", limits[i], &r);
        size_t want = TEL_MIN(limits[i], n);
        assert_keys(&r, keys + n - want, want);
        result_free(&r);
    }
    /* The newest 10 behind the newest 25. */
    struct result r;
    run_with(&c, (struct query_params){.text = TEL_SPAN("error"), .limit = 10, .offset = 25}, &r);
    assert_keys(&r, keys + n - 35, 10);
    result_free(&r);
    memory_cluster_stop(&c);
}

/* Ties everywhere: one time for all, over random holdings; the seed is printed. */
static void test_ties(void **state)
{
    (void)state;
    uint64_t seed = tel_rand_seed();
    print_message("seed %llu\n", (unsigned long long)seed);
    struct tel_rand rand;
    tel_rand_init(&rand, seed);
    struct memory_event *same = memory_events(500, 8, seed);
    for (size_t i = 0; i < 500; i++)
        same[i].key.time_ns = 1000000 * TEL_NS_PER_S + (int64_t)tel_rand_below(&rand, 2);
    struct memory_cluster c;
    const char *holdings[] = {"0,3", "1,4,7", "2,5,6", NULL};
    memory_cluster_start(&c, same, 500, holdings, NULL);
    struct tel_row_key keys[500];
    for (size_t i = 0; i < 500; i++)
        keys[i] = same[i].key;
    qsort(keys, 500, sizeof(*keys), oldest_first);
    for (int i = 0; i < 20; i++) {
        uint64_t limit = 1 + tel_rand_below(&rand, 500);
        for (size_t k = 0; k < c.shard_count; k++)
            c.shards[k].batch_rows = 1 + tel_rand_below(&rand, 50);
        struct result r;
        run(&c, "*", limit, &r);
        assert_keys(&r, keys + 500 - limit, limit);
        result_free(&r);
    }
    memory_cluster_stop(&c);
    free(same);
}

static void test_pipes(void **state)
{
    (void)state;
    struct memory_cluster c;
    const char *holdings[] = {"0,1,2,3", "4,5,6,7", NULL};
    memory_cluster_start(&c, events, EVENTS, holdings, NULL);
    struct tel_row_key keys[EVENTS];
    size_t n = expected("error", "nginx", keys);
    struct result r;
    run(&c, "error app:nginx | stats count() n", 0, &r);
    assert_int_equal(r.rc, TEL_OK);
    assert_int_equal(r.keys.len, 1);
    assert_int_equal(r.count, n);
    result_free(&r);
    run(&c, "* | stats by (app) count() n", 0, &r);
    assert_int_equal(r.keys.len, 4);
    assert_int_equal(r.count, EVENTS);
    result_free(&r);
    run(&c, "* | stats by (app, host) count() n | sort by (n desc) | limit 5", 0, &r);
    assert_int_equal(r.keys.len, 5);
    result_free(&r);
    run(&c, "error app:nginx | sort by (_time) desc | limit 7", 0, &r);
    assert_int_equal(r.keys.len, 7);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(r.keys.items[i].time_ns, keys[n - 1 - i].time_ns);
    result_free(&r);
    run(&c, "error | limit 13", 0, &r);
    assert_int_equal(r.keys.len, 13);
    result_free(&r);
    run(&c, "* | sort by (_time) | limit 40", 6, &r); /* the argument becomes a pipe */
    assert_int_equal(r.keys.len, 6);
    result_free(&r);
    run(&c, "error", 0, &r);
    assert_int_equal(r.keys.len, expected("error", NULL, keys));
    result_free(&r);
    memory_cluster_stop(&c);
}

static void test_bounds_and_mistakes(void **state)
{
    (void)state;
    struct memory_cluster c;
    const char *holdings[] = {"0,1,2,3,4,5,6,7", NULL};
    memory_cluster_start(&c, events, EVENTS, holdings, NULL);
    struct result r;
    int64_t from = 1000000 * TEL_NS_PER_S, to = from + 10 * TEL_NS_PER_S;
    run_with(&c, (struct query_params){.text = TEL_SPAN("*"), .start_ns = from, .end_ns = to}, &r);
    assert_int_equal(r.rc, TEL_OK);
    size_t n = 0;
    for (size_t i = 0; i < EVENTS; i++)
        n += events[i].key.time_ns >= from && events[i].key.time_ns < to;
    assert_true(n > 0);
    assert_int_equal(r.keys.len, n);
    result_free(&r);
    run(&c, "error | stats by (host | count()", 0, &r);
    assert_int_equal(r.rc, TEL_ERR_PARSE);
    assert_non_null(strstr(r.err.text, "column"));
    run(&c, "*", UINT64_MAX, &r);
    assert_int_equal(r.rc, TEL_ERR_INVALID);
    memory_cluster_stop(&c);
}

/* ---- what fails
 * ---------------------------------------------------------------------------------- */

/* Replicas in pairs: a and b hold 0..3, c and d hold 4..7. */
static const char *const PAIRS[] = {"0,1,2,3", "0,1,2,3", "4,5,6,7", "4,5,6,7", NULL};

/* On a busy machine a server that is well may be late, too. */
#define NO_RIVALS_MS 60000

static void forget(struct memory_cluster *c)
{
    for (size_t i = 0; i < c->shard_count; i++)
        replica_health_good(c->router->health, c->shards[i].address);
    c->router->turn = 0;
}

static void assert_whole(struct memory_cluster *c, int failovers)
{
    struct tel_row_key keys[EVENTS];
    size_t n = expected("error", NULL, keys);
    struct result r;
    forget(c);
    run(c, "error", 50, &r);
    assert_string_equal(r.missing, "");
    assert_keys(&r, keys + n - 50, 50);
    assert_true(r.took_ms < 4000);
    if (failovers >= 0)
        assert_int_equal(r.totals.failovers, failovers);
    result_free(&r);
    forget(c);
    run(c, "error | stats count() n", 0, &r);
    assert_string_equal(r.missing, "");
    assert_int_equal(r.count, n);
    result_free(&r);
}

static void test_failover(void **state)
{
    (void)state;
    struct memory_cluster c;
    memory_cluster_start(&c, events, EVENTS, PAIRS, NULL);
    assert_whole(&c, 0);
    c.shards[0].refuse = true;
    assert_whole(&c, 1);
    c.shards[0].refuse = false;
    /* Rows had come, but were held: nothing is shown twice. */
    c.shards[0].fail_after = 2;
    c.shards[2].fail_after = 1;
    assert_whole(&c, 2);
    c.shards[0].fail_after = c.shards[2].fail_after = 0;
    /* A partition that the server says is not whole there. */
    c.shards[0].missing = "a segment is damaged";
    assert_whole(&c, 1);
    /* A server that does not say what it searched is not believed. */
    c.shards[0].missing = NULL;
    c.shards[0].no_end = true;
    assert_whole(&c, 1);
    /* Nor is one that knows what it was not asked. */
    c.shards[0].no_end = false;
    c.shards[0].unchanged = true;
    assert_whole(&c, 1);
    memory_cluster_stop(&c);
}

static void test_silent_replica(void **state)
{
    (void)state;
    struct memory_cluster c;
    memory_cluster_start(&c, events, EVENTS, PAIRS, &(struct router_options){.hedge_after_ms = 30});
    c.shards[0].hang = true;
    c.shards[3].hang = true;
    assert_whole(&c, -1);
    /* It is remembered: the next queries do not even try the silent one. */
    c.router->options.hedge_after_ms = NO_RIVALS_MS;
    struct result r;
    int searches = c.shards[0].searches;
    for (int i = 0; i < 5; i++) {
        c.router->turn = 0;
        run(&c, "error", 5, &r);
        assert_int_equal(r.totals.hedges, 0);
        assert_string_equal(r.missing, "");
        result_free(&r);
    }
    assert_int_equal(c.shards[0].searches, searches);
    /* But when it is the only one that is left, it is asked. */
    c.router->options.hedge_after_ms = 30;
    c.shards[0].hang = false;
    c.shards[1].refuse = true;
    run(&c, "error", 5, &r);
    assert_string_equal(r.missing, "");
    result_free(&r);
    memory_cluster_stop(&c);
}

static void test_health_is_forgotten(void **state)
{
    (void)state;
    struct tel_clock_manual clock;
    tel_clock_manual_init(&clock, 0);
    struct replica_health *h = replica_health_new(&clock.clock);
    static const char *const all[] = {"a:1", "b:1", "c:1"};
    const char *due[3];
    assert_false(replica_health_avoid(h, "a:1"));
    replica_health_bad(h, "a:1");
    replica_health_bad(h, "gone:1"); /* the map has it no more */
    assert_true(replica_health_avoid(h, "a:1"));
    assert_false(replica_health_avoid(h, "b:1"));
    assert_int_equal(replica_health_due(h, all, 3, due), 0);
    tel_clock_manual_advance(&clock, TEL_NS_PER_S);
    replica_health_bad(h, "a:1"); /* does not put the probe off */
    replica_health_bad(h, "c:1");
    tel_clock_manual_advance(&clock, TEL_NS_PER_S);
    assert_true(replica_health_wait(h));
    assert_int_equal(replica_health_due(h, all, 3, due), 1);
    assert_string_equal(due[0], "a:1");
    assert_false(replica_health_avoid(h, "gone:1"));
    assert_true(replica_health_avoid(h, "a:1")); /* until the probe has its word */
    assert_int_equal(replica_health_due(h, all, 3, due), 0);
    replica_health_good(h, "a:1");
    assert_false(replica_health_avoid(h, "a:1"));
    tel_clock_manual_advance(&clock, TEL_NS_PER_S);
    assert_int_equal(replica_health_due(h, all, 3, due), 1);
    assert_string_equal(due[0], "c:1");
    replica_health_close(h);
    assert_false(replica_health_wait(h));
    replica_health_free(h);
}

static bool is_avoided(struct memory_cluster *c, size_t server)
{
    return replica_health_avoid(c->router->health, c->shards[server].address);
}

/* A server that was silent is asked by the probe, not by a query, until it answers again. */
static void test_probe(void **state)
{
    (void)state;
    struct memory_cluster c;
    struct result r;
    memory_cluster_start(&c, events, EVENTS, PAIRS, &(struct router_options){.hedge_after_ms = 30});
    c.shards[0].hang = true;
    c.router->turn = 0;
    run(&c, "error", 5, &r);
    assert_true(r.totals.hedges >= 1);
    result_free(&r);
    assert_true(is_avoided(&c, 0));
    c.router->options.hedge_after_ms = NO_RIVALS_MS;
    int searches = c.shards[0].searches;
    int64_t until = tel_mono_ns(tel_clock_system()) + 60 * TEL_NS_PER_S;
    while (c.shards[0].statuses == 0) {
        assert_true(tel_mono_ns(tel_clock_system()) < until);
        nanosleep(&(struct timespec){.tv_nsec = 10 * TEL_NS_PER_MS}, NULL);
        c.router->turn = 0;
        run(&c, "error", 5, &r);
        assert_int_equal(r.totals.hedges, 0);
        assert_string_equal(r.missing, "");
        result_free(&r);
    }
    assert_true(is_avoided(&c, 0));
    assert_int_equal(c.shards[0].searches, searches);
    c.shards[0].hang = false;
    while (is_avoided(&c, 0)) {
        assert_true(tel_mono_ns(tel_clock_system()) < until);
        nanosleep(&(struct timespec){.tv_nsec = 10 * TEL_NS_PER_MS}, NULL);
    }
    c.router->turn = 0;
    run(&c, "error", 5, &r);
    assert_int_equal(c.shards[0].searches, searches + 1);
    result_free(&r);
    memory_cluster_stop(&c);
}

/* Without budget there are no rivals, but for a server that is known to be silent. */
static void test_hedge_budget(void **state)
{
    (void)state;
    struct memory_cluster c;
    struct result r;
    memory_cluster_start(&c, events, EVENTS, PAIRS, &(struct router_options){.hedge_after_ms = 30});
    c.shards[0].hang = true;
    c.router->turn = 0;
    atomic_store(&c.router->budget.tokens, -100000);
    run_with(&c, (struct query_params){.text = TEL_SPAN("*"), .limit = 5, .timeout_ms = 400}, &r);
    assert_int_equal(r.totals.hedges, 0);
    assert_non_null(strstr(r.missing, "partition 0,1,2,3: "));
    result_free(&r);
    /* It failed, so it is known. Both replicas are, and the query has no better choice. */
    assert_true(is_avoided(&c, 0));
    replica_health_bad(c.router->health, c.shards[1].address);
    c.router->turn = 0;
    run_with(&c, (struct query_params){.text = TEL_SPAN("*"), .limit = 5, .timeout_ms = 400}, &r);
    assert_int_equal(r.totals.hedges, 0);
    result_free(&r);
    /* With budget there is one. */
    forget(&c);
    atomic_store(&c.router->budget.tokens, 100);
    run(&c, "error", 5, &r);
    assert_true(r.totals.hedges >= 1);
    assert_string_equal(r.missing, "");
    result_free(&r);
    memory_cluster_stop(&c);
}

static void test_missing_is_named(void **state)
{
    (void)state;
    struct memory_cluster c;
    const char *holdings[] = {"0,1", "2,3", "4,5,6,7", NULL};
    memory_cluster_start(&c, events, EVENTS, holdings, NULL);
    c.shards[1].refuse = true;
    c.shards[2].lag_ms = 1234;
    struct result r;
    run(&c, "*", 0, &r);
    assert_int_equal(r.rc, TEL_OK);
    assert_string_equal(r.missing, "partition 2,3: b:1: refused");
    assert_int_equal(r.totals.lag_ms, 1234);
    size_t n = 0;
    for (size_t i = 0; i < EVENTS; i++)
        n += events[i].key.partition != 2 && events[i].key.partition != 3;
    assert_int_equal(r.keys.len, n);
    result_free(&r);
    run_with(&c, (struct query_params){.text = TEL_SPAN("*"), .refuse_partial = true}, &r);
    assert_int_equal(r.rc, TEL_ERR_UNAVAILABLE);
    assert_non_null(strstr(r.err.text, "partition 2,3: b:1: refused"));
    result_free(&r);
    c.shards[0].missing = "not held";
    c.shards[1].refuse = false;
    run(&c, "*", 20, &r);
    assert_string_equal(r.missing, "partition 0: a:1: not held");
    assert_int_equal(r.keys.len, 20);
    result_free(&r);
    memory_cluster_stop(&c);
}

/* Rows that were shown cannot be taken back: what they belong to is missing. */
static void test_fails_behind_shown_rows(void **state)
{
    (void)state;
    struct memory_event *many = memory_events(60000, 2, 1);
    struct memory_cluster c;
    const char *holdings[] = {"0", "0", "1", NULL};
    memory_cluster_start(&c, many, 60000, holdings, NULL);
    c.shards[0].batch_rows = 1000;
    c.shards[0].fail_after = 25; /* some 3 MB behind, more than is held */
    struct result r;
    c.router->turn = 0;
    run(&c, "*", 0, &r);
    assert_int_equal(r.rc, TEL_OK);
    assert_string_equal(r.missing, "partition 0: a:1: broke down");
    assert_int_equal(c.shards[1].searches, 0);
    result_free(&r);
    memory_cluster_stop(&c);
    free(many);
}

static void test_all_gone(void **state)
{
    (void)state;
    struct memory_cluster c;
    memory_cluster_start(&c, events, EVENTS, PAIRS, &(struct router_options){.hedge_after_ms = -1});
    for (size_t i = 0; i < c.shard_count; i++)
        c.shards[i].refuse = true;
    struct result r;
    run(&c, "*", 10, &r);
    assert_int_equal(r.rc, TEL_ERR_UNAVAILABLE);
    assert_non_null(strstr(r.err.text, "partition 4,5,6,7"));
    for (size_t i = 0; i < c.shard_count; i++) {
        c.shards[i].refuse = false;
        c.shards[i].hang = true;
    }
    run_with(&c, (struct query_params){.text = TEL_SPAN("*"), .timeout_ms = 150}, &r);
    assert_int_equal(r.rc, TEL_ERR_TIMEOUT);
    assert_true(r.took_ms >= 100 && r.took_ms < 2000);
    memory_cluster_stop(&c);
}

/* One server is silent until the deadline: the rest is answered, and in time. */
static void test_deadline(void **state)
{
    (void)state;
    struct memory_cluster c;
    const char *holdings[] = {"0,1", "2,3", "4,5,6,7", NULL};
    memory_cluster_start(&c, events, EVENTS, holdings, NULL);
    c.shards[1].hang = true;
    struct result r;
    run_with(&c, (struct query_params){.text = TEL_SPAN("* | stats count() n"), .timeout_ms = 300},
             &r);
    assert_int_equal(r.rc, TEL_OK);
    assert_non_null(strstr(r.missing, "partition 2,3: "));
    assert_non_null(strstr(r.missing, "deadline exceeded"));
    assert_true(r.count > 0 && r.count < EVENTS);
    assert_true(r.took_ms < 2000);
    result_free(&r);
    /* Silent in the middle of its rows. */
    c.shards[1].hang = false;
    c.shards[1].stall_after = 1;
    c.shards[1].batch_rows = 10;
    run_with(&c, (struct query_params){.text = TEL_SPAN("*"), .limit = 10000, .timeout_ms = 300},
             &r);
    assert_int_equal(r.rc, TEL_OK);
    assert_non_null(strstr(r.missing, "partition 2,3: "));
    assert_true(r.took_ms < 2000);
    result_free(&r);
    memory_cluster_stop(&c);
}

/* An error of the query is not one of a server. */
static void test_query_errors(void **state)
{
    (void)state;
    struct memory_cluster c;
    memory_cluster_start(&c, events, EVENTS, PAIRS, NULL);
    c.shards[0].fail_after = c.shards[1].fail_after = 1;
    c.shards[0].fail_code = c.shards[1].fail_code = TEL_ERR_LIMIT;
    struct result r;
    run(&c, "*", 0, &r);
    assert_int_equal(r.rc, TEL_ERR_LIMIT);
    assert_int_equal(c.shards[0].searches + c.shards[1].searches, 1);
    result_free(&r);
    memory_cluster_stop(&c);
    memory_cluster_start(&c, events, EVENTS, PAIRS,
                         &(struct router_options){.memory_bytes = 20000});
    run(&c, "*", 1900, &r);
    assert_int_equal(r.rc, TEL_ERR_LIMIT);
    result_free(&r);
    run(&c, "* | sort by (_msg)", 0, &r);
    assert_int_equal(r.rc, TEL_ERR_LIMIT);
    result_free(&r);
    memory_cluster_stop(&c);
}

/* ---- clients that go, and too many of them
 * ------------------------------------------------------- */

struct leaving {
    struct memory_cluster *c;
    int64_t gone_ms; /* when the client was first said to be gone */
};

static bool gone(void *ctx)
{
    struct leaving *l = ctx;
    if (l->c->shards[0].searches == 0)
        return false;
    if (l->gone_ms == 0)
        l->gone_ms = now_ms();
    return true;
}

static void test_client_gone(void **state)
{
    (void)state;
    struct memory_cluster c;
    const char *holdings[] = {"0,1,2,3,4,5,6,7", NULL};
    memory_cluster_start(&c, events, EVENTS, holdings, NULL);
    c.shards[0].hang = true;
    struct leaving l = {.c = &c};
    struct result r;
    run_with(&c, (struct query_params){.text = TEL_SPAN("*"), .gone = gone, .gone_ctx = &l}, &r);
    assert_int_equal(r.rc, TEL_ERR_CANCELLED);
    int64_t until = now_ms() + 5000;
    while (c.shards[0].cancelled == 0 && now_ms() < until)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_int_equal(c.shards[0].cancelled, 1);
    assert_true(now_ms() - l.gone_ms < 1000);
    result_free(&r);
    memory_cluster_stop(&c);
}

static void test_too_busy(void **state)
{
    (void)state;
    struct memory_cluster c;
    memory_cluster_start(&c, events, EVENTS, PAIRS,
                         &(struct router_options){.queries_max = 1, .wait_max_ms = 50});
    struct result r, ignored = {0};
    struct query *first;
    struct tel_error err;
    struct query_params p = {.text = TEL_SPAN("*"), .tenant = TEL_SPAN("t")};
    assert_int_equal(query_open(c.router, &p, sink, &ignored, &first, &err), TEL_OK);
    run(&c, "*", 1, &r);
    assert_int_equal(r.rc, TEL_ERR_AGAIN);
    query_close(first);
    run(&c, "*", 1, &r);
    assert_int_equal(r.rc, TEL_OK);
    result_free(&r);
    memory_cluster_stop(&c);
}

static void test_no_shards(void **state)
{
    (void)state;
    struct memory_cluster c;
    const char *holdings[] = {NULL};
    memory_cluster_start(&c, events, EVENTS, holdings, NULL);
    struct result r;
    run(&c, "*", 1, &r);
    assert_int_equal(r.rc, TEL_ERR_UNAVAILABLE);
    assert_string_equal(r.err.text, "no shards are known");
    memory_cluster_stop(&c);
}

/* What became of each search: one failed, another went in its place, one was cut off by nobody. */
static void test_explained(void **state)
{
    (void)state;
    struct memory_cluster c;
    memory_cluster_start(&c, events, EVENTS, PAIRS, NULL);
    c.shards[1].refuse = true;
    for (int text = 0; text < 2; text++) {
        struct result r = {0};
        struct query_params p = {.text = TEL_SPAN("error | stats count() n"),
                                 .tenant = TEL_SPAN("default"),
                                 .explain = text ? QUERY_EXPLAIN_TEXT : QUERY_EXPLAIN_JSON};
        struct query *q;
        struct tel_buf out = {0};
        c.router->turn = 1; /* the one that refuses is first */
        assert_int_equal(query_open(c.router, &p, sink, &r, &q, &r.err), TEL_OK);
        assert_int_equal(query_run(q, &r.err), TEL_OK);
        explain_query(q, &out);
        const char *told = tel_buf_cstr(&out);
        assert_non_null(strstr(told, "stats count(*) as n"));
        if (text == 0) { /* the next query asks it last */
            assert_non_null(strstr(told, "\"address\":\"b:1\""));
            assert_non_null(strstr(told, "\"outcome\":\"failed\",\"why\":\"b:1: refused\""));
            assert_non_null(strstr(told, "\"failovers\":1"));
        }
        assert_non_null(strstr(told, "answered"));
        query_close(q);
        tel_buf_free(&out);
        result_free(&r);
    }
    memory_cluster_stop(&c);
}

static void test_status(void **state)
{
    (void)state;
    struct memory_cluster c;
    memory_cluster_start(&c, events, EVENTS, PAIRS, NULL);
    c.shards[1].refuse = true;
    c.shards[2].lag_ms = 60000;
    c.shards[3].missing = "disk full";
    Telescope__Router__V1__StatusResponse *s = router_status(c.router, 2000);
    assert_int_equal(s->n_shards, 16);
    assert_string_equal(s->shards[0]->address, "a:1");
    assert_string_equal(s->shards[0]->state, "ready");
    assert_int_equal(s->shards[0]->events, 7);
    assert_string_equal(s->shards[1]->state, "unreachable");
    assert_string_equal(s->shards[1]->error, "b:1: refused");
    assert_int_equal(s->shards[8]->partition, 4);
    assert_string_equal(s->shards[8]->state, "lagging");
    assert_string_equal(s->shards[9]->state, "error");
    assert_string_equal(s->shards[9]->error, "disk full");
    protobuf_c_message_free_unpacked(&s->base, NULL);
    memory_cluster_stop(&c);
}

static int make_events(void **state)
{
    (void)state;
    events = memory_events(EVENTS, 8, 42);
    return 0;
}

static int free_events(void **state)
{
    (void)state;
    free(events);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newest_in_order),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_pipes),
        cmocka_unit_test(test_bounds_and_mistakes),
        cmocka_unit_test(test_failover),
        cmocka_unit_test(test_silent_replica),
        cmocka_unit_test(test_health_is_forgotten),
        cmocka_unit_test(test_probe),
        cmocka_unit_test(test_hedge_budget),
        cmocka_unit_test(test_missing_is_named),
        cmocka_unit_test(test_fails_behind_shown_rows),
        cmocka_unit_test(test_all_gone),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_query_errors),
        cmocka_unit_test(test_client_gone),
        cmocka_unit_test(test_too_busy),
        cmocka_unit_test(test_no_shards),
        cmocka_unit_test(test_explained),
        cmocka_unit_test(test_status),
    };
    return cmocka_run_group_tests(tests, make_events, free_events);
}
