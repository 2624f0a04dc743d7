/* What background work may take, and that merges keep to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/record/codec.h"
#include "shard/maintain/budget.h"
#include "shard/maintain/merge.h"
#include "shard/store/ldb.h"
#include "tests/unit/shard/shard_fixture.h"

#define BASE (20400 * TEL_NS_PER_DAY)
#define MB   1000000u

static void test_bytes(void **state)
{
    (void)state;
    struct budget b;
    budget_begin(&b, 10 * MB, 0, 0);
    assert_int_equal(budget_wait(&b, 0), 0);
    budget_spend(&b, 10 * MB, TEL_NS_PER_S * 1000); /* CPU is not limited */
    assert_int_equal(budget_wait(&b, 0), 0);
    budget_spend(&b, 25 * MB, 0); /* one piece of work may take more than there is */
    assert_int_equal(budget_wait(&b, 0), 2500 * TEL_NS_PER_MS);
    assert_int_equal(budget_wait(&b, TEL_NS_PER_S), 1500 * TEL_NS_PER_MS);
    assert_int_equal(budget_wait(&b, 2499 * TEL_NS_PER_MS), TEL_NS_PER_MS);
    assert_int_equal(budget_wait(&b, 2500 * TEL_NS_PER_MS), 0);
    /* A long rest is worth a second, not more. */
    assert_int_equal(budget_wait(&b, 1000 * TEL_NS_PER_S), 0);
    budget_spend(&b, 20 * MB, 0);
    assert_int_equal(budget_wait(&b, 1000 * TEL_NS_PER_S), TEL_NS_PER_S);
    /* A clock that goes back gives nothing and takes nothing. */
    assert_int_equal(budget_wait(&b, 0), TEL_NS_PER_S);
}

static void test_cpu(void **state)
{
    (void)state;
    struct budget b;
    budget_begin(&b, 0, 0.25, 0);
    budget_spend(&b, UINT64_MAX, 250 * TEL_NS_PER_MS);
    assert_int_equal(budget_wait(&b, 0), 0);
    budget_spend(&b, 0, 100 * TEL_NS_PER_MS);
    assert_int_equal(budget_wait(&b, 0), 400 * TEL_NS_PER_MS);
    budget_spend(&b, 0, -5);
    assert_int_equal(budget_wait(&b, 400 * TEL_NS_PER_MS), 0);
}

/* Whatever the pieces, over a minute no more than the rate is taken, but for one piece and one second. */
static void test_any(void **state)
{
    (void)state;
    uint64_t seed = tel_rand_seed() >> 32;
    printf("[ seed     ] %llu\n", (unsigned long long)seed);
    struct tel_rand r;
    tel_rand_init(&r, seed);
    for (unsigned i = 0; i < 200; i++) {
        uint64_t rate = 1 + tel_rand_below(&r, 100 * MB), most = 1 + tel_rand_below(&r, 50 * MB);
        double share = (double)(1 + tel_rand_below(&r, 100)) / 100;
        uint64_t bytes = 0;
        int64_t now = 0, cpu = 0;
        struct budget b;
        budget_begin(&b, rate, share, now);
        while (now < 60 * TEL_NS_PER_S) {
            now += budget_wait(&b, now);
            if (budget_wait(&b, now) > 0)
                continue; /* it is never long */
            uint64_t take = tel_rand_below(&r, most);
            budget_spend(&b, take, (int64_t)take * 10);
            bytes += take;
            cpu += (int64_t)take * 10;
            now += 1000; /* work takes time, too */
        }
        double seconds = (double)now / 1e9;
        assert_true((double)bytes <= (double)rate * (seconds + 1.01) + (double)most);
        assert_true((double)cpu <= share * 1e9 * (seconds + 1.01) + (double)most * 10);
    }
}

/* ---- merges --------------------------------------------------------------------------------------- */

/* A store of one partition with `count` segments of ten rows in each of some days. */
static void feed(struct world *w, unsigned days, unsigned count)
{
    struct tel_error err = {0};
    world_begin(w, 1);
    w->options.memory_bytes = 1; /* every message is flushed */
    w->options.segment_rows = 4000;
    if (shard_server_new(&w->options, NULL, &w->server, &err) != TEL_OK)
        fail_msg("%s", err.text);
    struct tel_buf buf = {0};
    int64_t offset = 0;
    for (unsigned i = 0; i < days * count; i++) {
        struct tel_event events[10];
        for (unsigned k = 0; k < 10; k++)
            events[k] = (struct tel_event){
                .timestamp_ns = BASE + (int64_t)(i % days) * TEL_NS_PER_DAY + i,
                .position = i * 10 + k + 1, .body = TEL_SPAN("a line of the log")};
        struct tel_batch batch = {.tenant = TEL_SPAN("default"), .source = TEL_SPAN("s"),
                                  .events = events, .event_count = 10};
        struct tel_record_framing framing = {.frame = TEL_RECORD_SINGLE_OBJECT};
        tel_buf_clear(&buf);
        assert_int_equal(tel_record_encode(&batch, &framing, &buf, NULL), TEL_OK);
        struct tel_message message = {.offset = offset++, .timestamp_ns = BASE,
                                      .value = tel_buf_span(&buf)};
        assert_int_equal(shard_server_feed(w->server, &message, &err), TEL_OK);
    }
    tel_buf_free(&buf);
    world_stop(w, false);
}

/* With a budget that is used up by one merge, merges come one by one as time passes; what waits is owed,
 * and in the end nothing is. */
static void test_merges_wait(void **state)
{
    (void)state;
    struct world w;
    feed(&w, 5, 8);
    char dir[128];
    snprintf(dir, sizeof(dir), "%s/p0", w.store);
    struct store_options options = {.dir = dir, .shared = ldb_shared_new(1 << 20)};
    struct store *store;
    struct tel_error err = {0};
    if (store_open(&options, &store, &err) != TEL_OK)
        fail_msg("%s", err.text);
    struct tel_clock_manual clock;
    tel_clock_manual_init(&clock, BASE);
    struct budget budget;
    budget_begin(&budget, 100, 0, 0);
    struct merger_options mo = {.full_rows = 4000, .budget = &budget, .clock = &clock.clock};
    struct merger *merger = merger_new(&mo);
    struct merge_stats stats = {0};
    uint64_t debt = UINT64_MAX;
    for (unsigned merges = 0; merges < 5; merges++) {
        for (unsigned again = 0; again < 3; again++) { /* time stands still: no other one begins */
            bool done;
            stats.debt_bytes = 0;
            assert_int_equal(merger_step(merger, store, INT64_MAX, INT64_MIN, 16, &done, &stats, &err),
                             TEL_OK);
            assert_int_equal(stats.merges, merges + 1);
            assert_int_equal(done, again == 0 || merges < 4);
            assert_int_equal(stats.debt_bytes == 0, merges == 4);
        }
        assert_true(stats.debt_bytes < debt);
        debt = stats.debt_bytes;
        int64_t wait = budget_wait(&budget, tel_mono_ns(&clock.clock));
        assert_true(wait > 0);
        while ((wait = budget_wait(&budget, tel_mono_ns(&clock.clock))) > 0)
            tel_clock_manual_advance(&clock, wait);
    }
    assert_int_equal(stats.inputs, 40);
    assert_true(stats.cpu_ns > 0);
    merger_free(merger);
    store_close(store);
    ldb_shared_free(options.shared);
    world_end(&w);
}

int main(void)
{
    tel_log_set_level(TEL_LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_any),
        cmocka_unit_test(test_merges_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
