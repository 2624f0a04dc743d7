/* Segments with random damage: see tests/fuzz/segment/mutant.h. test_segment_damage [SEED [RUNS]] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/rand.h"
#include "tests/fuzz/segment/mutant.h"

static uint64_t seed;
static unsigned runs = 400;

static void test_intact(void **state)
{
    (void)state;
    assert_int_equal(mutant_run(NULL, 0), 0);
}

static void test_damage(void **state)
{
    (void)state;
    struct tel_rand rand;
    unsigned failed = 0;
    tel_rand_init(&rand, seed);
    for (unsigned i = 0; i < runs; i++) {
        uint8_t edits[32];
        size_t n = 4 * (1 + tel_rand_below(&rand, sizeof(edits) / 4));
        for (size_t k = 0; k < n; k++)
            edits[k] = (uint8_t)tel_rand_u64(&rand);
        for (size_t k = 0; k < n; k += 4) {
            if (tel_rand_below(&rand, 8))
                edits[k] &= 1; /* mostly directory and nodes, and no cuts */
            if (tel_rand_below(&rand, 2))
                edits[k + 3] &= 7;
        }
        failed += mutant_run(edits, n) > 0;
    }
    print_message("%u of %u mutants were found to be damaged\n", failed, runs);
    assert_true(failed > runs / 10);
}

int main(int argc, char **argv)
{
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : tel_rand_seed() % 1000000;
    if (argc > 2)
        runs = (unsigned)strtoul(argv[2], NULL, 10);
    print_message("seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_intact),
                                       cmocka_unit_test(test_damage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
