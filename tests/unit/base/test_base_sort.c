/* Sorting that can be stopped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/base/sort.h"

struct item {
    uint32_t key, number;
};

static int by_key(const void *a, const void *b, void *ctx)
{
    const struct item *x = a, *y = b;
    ++*(uint64_t *)ctx;
    return (x->key > y->key) - (x->key < y->key);
}

static struct item *random_items(struct tel_rand *r, size_t n)
{
    struct item *items = tel_calloc(n + 1, sizeof(*items));
    uint64_t keys = 1 + tel_rand_below(r, 2 * n + 1);
    for (size_t i = 0; i < n; i++)
        items[i] = (struct item){(uint32_t)tel_rand_below(r, keys), (uint32_t)i};
    return items;
}

static size_t random_size(struct tel_rand *r)
{
    static const size_t edges[] = {0, 1, 2, 1023, 1024, 1025, 2048, 2049, 4096, 5000};
    return tel_rand_below(r, 2) ? edges[tel_rand_below(r, TEL_ARRAY_LEN(edges))]
                                : tel_rand_below(r, 20000);
}

static void test_sorts(void **state)
{
    (void)state;
    struct tel_rand r;
    uint64_t seed = tel_rand_seed(), compared = 0;
    tel_rand_init(&r, seed);
    for (unsigned round = 0; round < 200; round++) {
        size_t n = random_size(&r);
        struct item *items = random_items(&r, n);
        assert_int_equal(tel_sort(items, n, sizeof(*items), by_key, &compared, NULL, NULL), TEL_OK);
        uint8_t *seen = tel_calloc(n + 1, 1);
        for (size_t i = 0; i < n; i++) {
            if (seen[items[i].number]++ || (i && items[i - 1].key > items[i].key))
                fail_msg("seed %llu round %u: item %zu", (unsigned long long)seed, round, i);
        }
        free(items);
        free(seen);
    }
}

static tel_code stop_after(void *ctx)
{
    unsigned *asks = ctx;
    return (*asks)-- ? TEL_OK : TEL_ERR_CANCELLED;
}

/* A sort that is stopped has all items still, each once. */
static void test_stops(void **state)
{
    (void)state;
    struct tel_rand r;
    uint64_t seed = tel_rand_seed(), compared = 0;
    unsigned stopped = 0;
    tel_rand_init(&r, seed);
    for (unsigned round = 0; round < 100; round++) {
        size_t n = 50000 + tel_rand_below(&r, 50000);
        struct item *items = random_items(&r, n);
        uint8_t *seen = tel_calloc(n, 1);
        unsigned asks = (unsigned)tel_rand_below(&r, 300);
        struct tel_pace pace = {stop_after, &asks, 0};
        struct tel_error err;
        tel_code rc = tel_sort(items, n, sizeof(*items), by_key, &compared, &pace, &err);
        stopped += rc == TEL_ERR_CANCELLED;
        for (size_t i = 0; i < n; i++) {
            if (items[i].number >= n || seen[items[i].number]++)
                fail_msg("seed %llu round %u: item %zu", (unsigned long long)seed, round, i);
        }
        free(items);
        free(seen);
    }
    assert_in_range(stopped, 20, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sorts), cmocka_unit_test(test_stops)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
