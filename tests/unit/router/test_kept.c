/*
 * Kept replies against fresh ones: a router over real shard servers is asked everything twice, once
 * with its cache and once without, while events come in, are flushed, merged, and deleted by
 * retention. The two answers must be the same, byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/record/codec.h"
#include "router/json.h"
#include "router/query.h"
#include "router/shard_client_local.h"
#include "tests/unit/shard/shard_fixture.h"

#define DAY  TEL_NS_PER_DAY
#define HOUR (3600 * TEL_NS_PER_S)
#define BASE (20400 * DAY)

struct rig {
    struct world w[2];
    struct shard_client_local *local;
    struct router *router;
    struct tel_clock_manual clock;
    struct tel_rand rand;
    int64_t offset[2];
    uint64_t position;
    uint32_t asked, recalled, unchanged;
};

/* ---- shards in this process -------------------------------------------------------------------- */

static tel_code emit(void *out, Telescope__Shard__V1__RowBatch *batch, struct tel_error *err)
{
    tel_code rc = local_search_emit(out, batch);
    return rc == TEL_OK ? rc : tel_error_set(err, rc, "not wanted");
}

static tel_code stop(void *out)
{
    return local_search_cancelled(out) ? TEL_ERR_CANCELLED : TEL_OK;
}

static tel_code search(void *ctx, const Telescope__Shard__V1__SearchRequest *request,
                       struct local_search *out, Telescope__Shard__V1__SearchEnd **ret_end,
                       struct tel_error *err)
{
    struct shard_sink sink = {out, emit, stop};
    struct world *w = ctx;
    return shard_search(w->server, request, &sink, ret_end, err);
}

/* A router over the servers w[0..n): server i holds partition i. */
static void router_begin(struct rig *r, size_t n, size_t cache_bytes)
{
    static const char *const addresses[] = {"a:1", "b:1"};
    struct tel_error err;
    struct shard_map *map = shard_map_new(0);
    assert_int_equal(shard_client_local_new(4, &r->local, &err), TEL_OK);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(shard_map_add(map, i, addresses[i], &err), TEL_OK);
        shard_client_local_add(r->local, addresses[i],
                               &(struct local_shard){.search = search, .ctx = &r->w[i]});
    }
    struct router_options o = {.cache_bytes = cache_bytes, .hedge_after_ms = -1};
    r->router = router_new(&o, shard_client_local_client(r->local), map, NULL);
    shard_map_unref(map);
}

static void router_end(struct rig *r)
{
    struct shard_client *client = shard_client_local_client(r->local);
    router_free(r->router);
    client->ops->free(client);
}

/* ---- asking ------------------------------------------------------------------------------------ */

static tel_code add_rows(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    (void)err;
    json_add_block(ctx, block);
    return TEL_OK;
}

static int by_text(const void *a, const void *b)
{
    return tel_span_cmp(*(const struct tel_span *)a, *(const struct tel_span *)b);
}

/* What is not ordered may come in any order. */
static void sort_lines(struct tel_buf *text)
{
    TEL_VEC(struct tel_span) lines = {0};
    struct tel_span rest = tel_buf_span(text);
    while (rest.len > 0)
        tel_vec_push(&lines, tel_span_split(&rest, '\n'));
    if (lines.len)
        qsort(lines.items, lines.len, sizeof(*lines.items), by_text);
    struct tel_buf sorted = {0};
    for (size_t i = 0; i < lines.len; i++) {
        tel_buf_add_span(&sorted, lines.items[i]);
        tel_buf_add_char(&sorted, '\n');
    }
    tel_buf_free(text);
    tel_vec_free(&lines);
    *text = sorted;
}

static struct fanout_totals ask(struct rig *r, const struct query_params *params, bool cached,
                                struct tel_buf *out)
{
    struct query_params p = *params;
    struct query *q;
    struct tel_error err;
    p.no_cache = !cached;
    if (query_open(r->router, &p, add_rows, out, &q, &err) != TEL_OK ||
        query_run(q, &err) != TEL_OK)
        fail_msg("%.*s: %s", TEL_SPAN_ARG(p.text), err.text);
    assert_int_equal(query_missing(q), 0);
    struct fanout_totals totals = *query_totals(q);
    query_close(q);
    if (p.limit == 0)
        sort_lines(out);
    return totals;
}

static const char *const queries[] = {
    "*",
    "error",
    "took NOT error",
    "_time:36h",
    "_time:>48h",
    "error OR _time:12h",
    "{app=\"a1\"}",
    "* | stats by (app) count() n, min(_time) first, max(_time) last",
    "* | stats by (_time:6h) count() n",
    "* | stats count() if (_time:24h) n",
    "error | uniq by (app)",
    "* | top 3 by (app)",
    "* | sort by (_time desc, _msg) limit 7",
    "* | extract \"took <ms> ms\" | stats sum(ms) ms",
    "* | field_names",
    "* | math now() as n | stats max(n) n",
    "_msg:in(* | sort by (_msg) | limit 3 | fields _msg) | stats count() n",
};

static struct query_params random_query(struct rig *r)
{
    int64_t now = tel_wall_ns(&r->clock.clock);
    struct query_params p = {
        .tenant = tel_rand_below(&r->rand, 3) ? TEL_SPAN("default") : TEL_SPAN("other"),
        .text = tel_span_cstr(queries[tel_rand_below(&r->rand, TEL_ARRAY_LEN(queries))]),
        .now_ns = now,
    };
    if (tel_rand_below(&r->rand, 2)) { /* few different ranges, so that some are asked again */
        p.start_ns = BASE - (int64_t)tel_rand_below(&r->rand, 4) * DAY;
        p.end_ns = p.start_ns + (int64_t)(1 + tel_rand_below(&r->rand, 3)) * DAY / 2;
    }
    if (tel_rand_below(&r->rand, 2) && !memchr(p.text.ptr, '|', p.text.len))
        p.limit = 1 + 20 * tel_rand_below(&r->rand, 2);
    return p;
}

static void compare(struct rig *r, const struct query_params *p)
{
    struct tel_buf kept = {0}, fresh = {0};
    struct fanout_totals t = ask(r, p, true, &kept), none = ask(r, p, false, &fresh);
    assert_int_equal(none.recalled, 0);
    assert_int_equal(none.unchanged, 0);
    if (!tel_span_eq(tel_buf_span(&kept), tel_buf_span(&fresh)))
        fail_msg("%.*s [%lld, %lld) limit %llu: with the cache (%u of %u unchanged)\n%.*s\nwithout\n%.*s",
                 TEL_SPAN_ARG(p->text), (long long)p->start_ns, (long long)p->end_ns,
                 (unsigned long long)p->limit, t.unchanged, t.searches,
                 TEL_SPAN_ARG(tel_buf_span(&kept)), TEL_SPAN_ARG(tel_buf_span(&fresh)));
    r->asked++;
    r->recalled += t.recalled;
    r->unchanged += t.unchanged;
    tel_buf_free(&kept);
    tel_buf_free(&fresh);
}

/* ---- what happens meanwhile ---------------------------------------------------------------------- */

/* One message: events of the last days, most of them of one day. */
static void feed(struct rig *r, size_t server)
{
    struct tel_event events[20] = {{0}};
    char bodies[20][64];
    uint32_t count = 1 + (uint32_t)tel_rand_below(&r->rand, 20);
    int64_t day = BASE - (int64_t)tel_rand_below(&r->rand, 4) * DAY;
    for (uint32_t i = 0; i < count; i++) {
        int len = snprintf(bodies[i], sizeof(bodies[i]), "%s took %llu ms",
                           tel_rand_below(&r->rand, 4) ? "request" : "error",
                           (unsigned long long)tel_rand_below(&r->rand, 50));
        events[i].timestamp_ns = day + (int64_t)tel_rand_below(&r->rand, 24) * HOUR +
                                 (int64_t)tel_rand_below(&r->rand, 3);
        events[i].position = ++r->position;
        events[i].body = tel_span_make(bodies[i], (size_t)len);
    }
    struct tel_field labels[] = {{TEL_SPAN("app"), tel_rand_below(&r->rand, 2) ? TEL_SPAN("a1") : TEL_SPAN("a2")}};
    struct tel_batch batch = {
        .tenant = tel_rand_below(&r->rand, 3) ? TEL_SPAN("default") : TEL_SPAN("other"),
        .source = labels[0].value,
        .resource = labels,
        .resource_count = 1,
        .events = events,
        .event_count = count,
    };
    struct tel_record_framing framing = {.frame = TEL_RECORD_SINGLE_OBJECT};
    struct tel_buf buf = {0};
    struct tel_error err = {0};
    assert_int_equal(tel_record_encode(&batch, &framing, &buf, &err), TEL_OK);
    struct tel_message m = {.partition = (uint32_t)server,
                            .offset = r->offset[server]++,
                            .timestamp_ns = tel_wall_ns(&r->clock.clock),
                            .value = tel_buf_span(&buf)};
    if (shard_server_feed(r->w[server].server, &m, &err) != TEL_OK)
        fail_msg("%s", err.text);
    tel_buf_free(&buf);
}

static void settle(struct rig *r, size_t server)
{
    struct tel_error err = {0};
    if (shard_server_settle(r->w[server].server, &err) != TEL_OK)
        fail_msg("%s", err.text);
}

static void server_begin(struct rig *r, size_t i)
{
    struct tel_error err;
    world_begin(&r->w[i], 1);
    r->w[i].partitions[0] = (uint32_t)i;
    r->w[i].options.clock = &r->clock.clock;
    r->w[i].options.segment_rows = 200;
    if (shard_server_new(&r->w[i].options, NULL, &r->w[i].server, &err) != TEL_OK)
        fail_msg("%s", err.text);
}

/* Everything is deleted of the days before `days` ago; and the rule is lifted again. */
static void expire(struct rig *r, size_t server, uint32_t days)
{
    struct retention_rules rules = {.days = days};
    shard_server_set_retention(r->w[server].server, &rules);
    settle(r, server);
    rules.days = 0;
    shard_server_set_retention(r->w[server].server, &rules);
}

static void step(struct rig *r)
{
    size_t server = tel_rand_below(&r->rand, 2);
    switch (tel_rand_below(&r->rand, 12)) {
    case 0: /* flushed with the next message */
        tel_clock_manual_advance(&r->clock, 70 * TEL_NS_PER_S);
        break;
    case 1: /* flushed and merged */
        settle(r, server);
        break;
    case 2:
        expire(r, server, 1 + (uint32_t)tel_rand_below(&r->rand, 4));
        break;
    case 3: /* what is relative to now moves */
        tel_clock_manual_advance(&r->clock, HOUR / 2);
        break;
    case 4: /* a new process over the same folder: serial numbers begin again */
        if (tel_rand_below(&r->rand, 8))
            break;
        settle(r, server);
        world_stop(&r->w[server], true);
        struct tel_error err;
        if (shard_server_new(&r->w[server].options, NULL, &r->w[server].server, &err) != TEL_OK)
            fail_msg("%s", err.text);
        break;
    default:
        tel_clock_manual_advance(&r->clock, 200 * TEL_NS_PER_MS); /* visible with the next */
        feed(r, server);
    }
}

static void run(size_t cache_bytes, uint32_t rounds, struct rig *r)
{
    uint64_t seed = tel_rand_seed() >> 32;
    printf("[ seed     ] %llu\n", (unsigned long long)seed);
    memset(r, 0, sizeof(*r));
    tel_rand_init(&r->rand, seed);
    tel_clock_manual_init(&r->clock, BASE + DAY);
    server_begin(r, 0);
    server_begin(r, 1);
    router_begin(r, 2, cache_bytes);
    struct query_params again = random_query(r);
    for (uint32_t i = 0; i < rounds; i++) {
        step(r);
        struct query_params p = random_query(r);
        compare(r, &p);
        compare(r, &again);
        again.now_ns = tel_wall_ns(&r->clock.clock);
        if (i % 8 == 0)
            again = p;
    }
}

static void rig_end(struct rig *r)
{
    router_end(r);
    for (size_t i = 0; i < 2; i++) {
        world_stop(&r->w[i], false);
        world_end(&r->w[i]);
    }
}

static void test_kept_as_fresh(void **state)
{
    (void)state;
    static struct rig r;
    run(8u << 20, 700, &r);
    printf("[ kept     ] %u of %u searches, %u queries\n", r.unchanged, r.recalled, r.asked);
    assert_true(r.unchanged > r.recalled / 20); /* it is used, */
    assert_true(r.unchanged < r.recalled * 19 / 20); /* and what has changed is noticed */
    struct reply_cache_stats stats;
    reply_cache_stats_get(r.router->cache, &stats);
    assert_true(stats.hits >= r.unchanged); /* and those of subqueries */
    assert_true(stats.bytes <= 8u << 20);
    rig_end(&r);
}

/* A cache that is always full. */
static void test_kept_little_room(void **state)
{
    (void)state;
    static struct rig r;
    run(20000, 200, &r);
    struct reply_cache_stats stats;
    reply_cache_stats_get(r.router->cache, &stats);
    assert_true(stats.bytes <= 20000);
    assert_true(stats.evictions > 0);
    rig_end(&r);
}

/* The answer to the same query again is kept, whole; and is not after an event in its range, but
 * after one outside. */
static void test_kept_ranges(void **state)
{
    (void)state;
    static struct rig r;
    memset(&r, 0, sizeof(r));
    tel_rand_init(&r.rand, 3);
    tel_clock_manual_init(&r.clock, BASE + DAY);
    server_begin(&r, 0);
    server_begin(&r, 1);
    router_begin(&r, 2, 1u << 20);
    for (int i = 0; i < 200; i++)
        feed(&r, (size_t)i % 2);
    settle(&r, 0);
    settle(&r, 1);
    static const char *const texts[] = {"*", "* | stats by (app) count() n", "error | sort by (_msg)"};
    for (size_t i = 0; i < TEL_ARRAY_LEN(texts); i++) {
        struct query_params p = {.tenant = TEL_SPAN("default"), .text = tel_span_cstr(texts[i]),
                                 .start_ns = BASE - DAY, .end_ns = BASE, .now_ns = BASE};
        struct tel_buf out = {0};
        assert_int_equal(ask(&r, &p, true, &out).unchanged, 0);
        p.now_ns += 12345; /* which it does not depend on */
        assert_int_equal(ask(&r, &p, true, &out).unchanged, 2);
        p.tenant = TEL_SPAN("other");
        assert_int_equal(ask(&r, &p, true, &out).unchanged, 0);
        p.tenant = TEL_SPAN("default");
        p.end_ns++;
        assert_int_equal(ask(&r, &p, true, &out).unchanged, 0);
        p.end_ns--;
        expire(&r, 0, 2); /* its day stays, the days before go */
        assert_int_equal(ask(&r, &p, true, &out).unchanged, 2);
        tel_buf_free(&out);
    }
    expire(&r, 1, 1);
    struct query_params p = {.tenant = TEL_SPAN("default"), .text = TEL_SPAN("*"),
                             .start_ns = BASE - DAY, .end_ns = BASE, .now_ns = BASE};
    struct tel_buf out = {0};
    assert_int_equal(ask(&r, &p, true, &out).unchanged, 1);
    tel_buf_free(&out);
    rig_end(&r);
}

/* ---- while another thread sends ------------------------------------------------------------------ */

struct sender {
    struct world *w;
    _Atomic bool stop;
};

static void *send_events(void *arg)
{
    struct sender *s = arg;
    char body[64];
    for (uint64_t i = 1; !atomic_load(&s->stop) && i < 200000; i++) {
        snprintf(body, sizeof(body), "%s number %llu", i % 5 ? "request" : "error",
                 (unsigned long long)i);
        struct world_event e = {BASE + (int64_t)(i % 1000) * TEL_NS_PER_S, i, body};
        world_send(s->w, 0, "default", "s", &e, 1);
        if (i % 64 == 0)
            world_sync(s->w);
    }
    world_sync(s->w);
    return NULL;
}

static uint64_t count_of(struct rig *r, bool cached, uint32_t *unchanged)
{
    struct query_params p = {.tenant = TEL_SPAN("default"), .text = TEL_SPAN("error | stats count() n"),
                             .start_ns = BASE, .end_ns = BASE + HOUR, .now_ns = BASE};
    struct tel_buf out = {0};
    *unchanged += ask(r, &p, cached, &out).unchanged;
    unsigned long long n = 0;
    struct tel_span digits = tel_span_slice(tel_buf_span(&out), 6, out.len - 3); /* {"n":"7"}\n */
    assert_true(tel_span_to_u64(digits, &n));
    tel_buf_free(&out);
    return n;
}

/* What can be searched only grows here: an answer with the cache is never behind one from before it,
 * nor ahead of one from after. */
static void test_kept_under_ingest(void **state)
{
    (void)state;
    static struct rig r;
    memset(&r, 0, sizeof(r));
    world_begin(&r.w[0], 1);
    r.w[0].options.chunk_interval_ms = 20;
    r.w[0].options.flush_interval_ms = 300;
    r.w[0].options.flush_interval_max_ms = 300;
    r.w[0].options.segment_rows = 2000;
    world_start(&r.w[0]);
    router_begin(&r, 1, 1u << 20);
    struct sender s = {.w = &r.w[0]};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, send_events, &s), 0);
    uint32_t unchanged = 0, none = 0;
    uint64_t last = 0, rounds = 0;
    int64_t until = tel_mono_ns(tel_clock_system()) + 3 * TEL_NS_PER_S;
    while (tel_mono_ns(tel_clock_system()) < until || rounds < 50 || unchanged == 0 || last == 0) {
        uint64_t before = count_of(&r, false, &none), kept = count_of(&r, true, &unchanged),
                 after = count_of(&r, false, &none);
        if (kept < before || kept > after)
            fail_msg("%llu before, %llu with the cache, %llu after", (unsigned long long)before,
                     (unsigned long long)kept, (unsigned long long)after);
        last = after;
        if (++rounds > 50 && unchanged == 0)
            atomic_store(&s.stop, true); /* sent faster than chunks are asked twice */
        assert_true(rounds < 1000000);
    }
    atomic_store(&s.stop, true);
    pthread_join(thread, NULL);
    printf("[ kept     ] %u of %llu, %llu rows at the end\n", unchanged, (unsigned long long)rounds,
           (unsigned long long)last);
    assert_int_equal(none, 0);
    router_end(&r);
    world_stop(&r.w[0], false);
    world_end(&r.w[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_as_fresh),
        cmocka_unit_test(test_kept_little_room),
        cmocka_unit_test(test_kept_ranges),
        cmocka_unit_test(test_kept_under_ingest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
