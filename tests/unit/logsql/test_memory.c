/* The memory of all queries together: who gets it, who is refused, and that it comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/rand.h"
#include "common/logsql/memory.h"
#include "common/sys/thread.h"

#define MIB (1u << 20)

static tel_code take(struct tel_memory_account *a, size_t bytes, struct tel_error *err)
{
    return tel_memory_take(a, bytes, NULL, NULL, err);
}

static size_t used(struct tel_memory_pool *pool)
{
    struct tel_memory_stats stats;
    tel_memory_pool_stats(pool, &stats);
    return stats.used;
}

static void test_the_largest_is_refused(void **state)
{
    (void)state;
    struct tel_memory_pool *pool = tel_memory_pool_new(10 * MIB);
    struct tel_memory_account a, b;
    struct tel_error err = {0};
    tel_memory_open(&a, pool);
    tel_memory_open(&b, pool);
    assert_int_equal(take(&a, 6 * MIB, &err), TEL_OK);
    assert_int_equal(take(&b, 3 * MIB, &err), TEL_OK);
    assert_int_equal(take(&a, 2 * MIB, &err), TEL_ERR_LIMIT);
    assert_non_null(strstr(err.text, "10 MiB"));
    assert_int_equal(take(&a, 1, &err), TEL_ERR_LIMIT); /* and stays so */
    assert_int_equal(tel_memory_check(&a, &err), TEL_ERR_LIMIT);
    assert_int_equal(tel_memory_check(&b, &err), TEL_OK);
    assert_int_equal(used(pool), 9 * MIB);
    tel_memory_close(&a);
    tel_memory_close(&a);
    assert_int_equal(used(pool), 3 * MIB);
    assert_int_equal(take(&b, 7 * MIB, &err), TEL_OK);
    assert_int_equal(take(&b, 1, &err), TEL_ERR_LIMIT);
    tel_memory_close(&b);
    struct tel_memory_stats stats;
    tel_memory_pool_stats(pool, &stats);
    assert_int_equal(stats.used, 0);
    assert_int_equal(stats.refused, 2);
    /* What could never be had. */
    tel_memory_open(&a, pool);
    assert_int_equal(take(&a, SIZE_MAX, &err), TEL_ERR_LIMIT);
    tel_memory_close(&a);
    tel_memory_pool_free(pool);
}

static void test_nobody_gives_back(void **state)
{
    (void)state;
    struct tel_memory_pool *pool = tel_memory_pool_new(10 * MIB);
    struct tel_memory_account large, small;
    struct tel_error err = {0};
    tel_memory_open(&large, pool);
    tel_memory_open(&small, pool);
    assert_int_equal(take(&large, 9 * MIB, &err), TEL_OK);
    assert_int_equal(take(&small, 2 * MIB, &err), TEL_ERR_LIMIT);
    assert_int_equal(tel_memory_check(&large, &err), TEL_ERR_LIMIT);
    tel_memory_close(&small);
    tel_memory_close(&large);
    tel_memory_pool_free(pool);
}

static tel_code stopped(void *ctx)
{
    return *(bool *)ctx ? TEL_ERR_CANCELLED : TEL_OK;
}

static void test_stopped_while_waiting(void **state)
{
    (void)state;
    struct tel_memory_pool *pool = tel_memory_pool_new(10 * MIB);
    struct tel_memory_account large, small;
    struct tel_error err = {0};
    bool stop = true;
    tel_memory_open(&large, pool);
    tel_memory_open(&small, pool);
    assert_int_equal(take(&large, 9 * MIB, &err), TEL_OK);
    assert_int_equal(tel_memory_take(&small, 2 * MIB, stopped, &stop, &err), TEL_ERR_CANCELLED);
    tel_memory_close(&small);
    tel_memory_close(&large);
    tel_memory_pool_free(pool);
}

/* ---- many at once --------------------------------------------------------------------------------- */

struct worker {
    struct tel_thread thread;
    struct tel_memory_pool *pool;
    uint64_t seed;
    unsigned done, refused;
};

static void work(void *arg)
{
    struct worker *w = arg;
    struct tel_rand r;
    tel_rand_init(&r, w->seed);
    for (int i = 0; i < 300; i++) {
        struct tel_memory_account a;
        struct tel_error err;
        tel_memory_open(&a, w->pool);
        tel_code rc = TEL_OK;
        for (uint64_t n = 1 + tel_rand_below(&r, 6); n > 0 && rc == TEL_OK; n--) {
            rc = take(&a, MIB, &err);
            assert_true(used(w->pool) <= 10 * MIB);
            sched_yield();
        }
        assert_true(rc == TEL_OK || rc == TEL_ERR_LIMIT);
        w->done += rc == TEL_OK;
        w->refused += rc != TEL_OK;
        tel_memory_close(&a);
    }
}

static void test_many(void **state)
{
    (void)state;
    uint64_t seed = tel_rand_seed() >> 32;
    printf("[ seed     ] %llu\n", (unsigned long long)seed);
    struct tel_memory_pool *pool = tel_memory_pool_new(10 * MIB);
    struct worker w[6];
    for (size_t i = 0; i < 6; i++) {
        w[i] = (struct worker){.pool = pool, .seed = seed + i};
        assert_int_equal(tel_thread_start(&w[i].thread, "work", work, &w[i], NULL), TEL_OK);
    }
    unsigned done = 0, refused = 0;
    for (size_t i = 0; i < 6; i++) {
        tel_thread_join(&w[i].thread);
        done += w[i].done;
        refused += w[i].refused;
    }
    printf("[ pool     ] %u done, %u refused\n", done, refused);
    assert_true(done > 0);
    assert_int_equal(used(pool), 0);
    tel_memory_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_largest_is_refused),
        cmocka_unit_test(test_nobody_gives_back),
        cmocka_unit_test(test_stopped_while_waiting),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
