/*
 * The journal on disks that fail and lose power: each operation failing once, some of them failing at
 * random, the power going in the middle of any operation. What was acknowledged is there afterwards,
 * at its offset, whole; what was refused is not.
 */
#include "tests/unit/journal/journal_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/base/vec.h"
#include "common/sys/fs_fault.h"

#define APPENDS 60

/* What a run was told about one append. */
struct fate {
    bool told, good;
    int64_t offset;
};

struct run {
    struct fate fates[APPENDS];
    struct tel_journal *journal;
};

struct told {
    struct run *run;
    int number;
};

static struct told tolds[APPENDS];

static void on_ack(void *ctx, tel_code code, int64_t offset, const struct tel_error *err)
{
    (void)err;
    struct told *t = ctx;
    t->run->fates[t->number] = (struct fate){true, code == TEL_OK, offset};
}

static struct tel_journal_options options(struct tel_fs *fs, const char *dir)
{
    return (struct tel_journal_options){.fs = fs, .dir = dir, .budget_bytes = 1u << 20,
                                        .segment_bytes = 2000, .sync_interval_ms = 1};
}

/* Opens, appends, closes; every step may fail. */
static void work(struct run *run, struct tel_fs *fs, const char *dir, struct tel_rand *rand)
{
    struct tel_journal_options o = options(fs, dir);
    struct tel_error err;
    memset(run, 0, sizeof(*run));
    if (tel_journal_open(&o, &run->journal, &err) != TEL_OK)
        return;
    for (int i = 0; i < APPENDS; i++) {
        char key[16], value[200];
        int n = snprintf(key, sizeof(key), "%d", i);
        memset(value, i, sizeof(value));
        tolds[i] = (struct told){run, i};
        tel_code rc = tel_journal_append(run->journal, tel_span_make(key, (size_t)n),
                                         tel_span_make(value, tel_rand_below(rand, sizeof(value))),
                                         on_ack, &tolds[i], &err);
        if (rc != TEL_OK)
            run->fates[i].told = true; /* refused at once */
        if (tel_rand_below(rand, 3) == 0)
            assert_int_equal(tel_journal_flush(run->journal, 10000, &err), TEL_OK);
    }
    tel_journal_close(run->journal);
    for (int i = 0; i < APPENDS; i++)
        assert_true(run->fates[i].told); /* each exactly one fate, whatever happened */
}

/* Opens without faults and compares. exact: what was refused must not be there (after a power cut it
 * may: its fate had not been told when the power went). */
static void verify(const struct run *run, struct tel_fs *fs, const char *dir, bool exact)
{
    struct tel_journal_options o = options(fs, dir);
    struct tel_journal *j = journal_open_ok(&o);
    struct tel_journal_reader *r = tel_journal_reader_open(j, 0);
    int64_t low = 0, high = 0, at = 0, next = 0;
    struct tel_error err;
    int seen[APPENDS] = {0};
    tel_journal_watermarks(j, &low, &high);
    while (at < high) {
        const struct tel_journal_record *records = NULL;
        size_t count = 0;
        tel_code rc = tel_journal_read(r, 0, 7, &records, &count, &next, &err);
        if (rc != TEL_OK)
            print_message("%s\n", err.text);
        assert_int_equal(rc, TEL_OK);
        for (size_t i = 0; i < count; i++, at++) {
            unsigned long long number = 0;
            assert_int_equal(records[i].offset, at);
            assert_true(tel_span_to_u64(records[i].key, &number) && number < APPENDS);
            for (size_t k = 0; k < records[i].value.len; k++)
                assert_int_equal((unsigned char)records[i].value.ptr[k], number);
            seen[number]++;
            if (run->fates[number].good)
                assert_int_equal(run->fates[number].offset, at);
        }
    }
    for (int i = 0; i < APPENDS; i++) {
        if (run->fates[i].good)
            assert_int_equal(seen[i], 1);
        else if (exact)
            assert_int_equal(seen[i], 0);
    }
    tel_journal_reader_close(r);
    tel_journal_close(j);
}

#define OPS (TEL_FAULT_CHANGES | TEL_FAULT_OPEN | TEL_FAULT_LIST | TEL_FAULT_STAT)

static void test_each_operation_once(void **state)
{
    (void)state;
    static const int errors[] = {EIO, ENOSPC};
    static const unsigned kinds[] = {TEL_FAULT_WRITE, TEL_FAULT_SYNC, OPS};
    for (size_t e = 0; e < TEL_ARRAY_LEN(errors); e++)
        for (size_t k = 0; k < TEL_ARRAY_LEN(kinds); k++) {
            uint64_t last = 1;
            for (uint64_t nth = 1; nth <= last && nth <= 60; nth++) {
                struct tel_fs_fault *fault = tel_fs_fault_new(nth);
                struct tel_rand rand;
                struct run run;
                char *dir = dir_make();
                tel_rand_init(&rand, nth);
                tel_fs_fault_at(fault, kinds[k], NULL, nth, false, errors[e]);
                work(&run, tel_fs_fault_fs(fault), dir, &rand);
                last = tel_fs_fault_count(fault, kinds[k]);
                tel_fs_fault_clear(fault);
                verify(&run, tel_fs_fault_fs(fault), dir, true);
                tel_fs_fault_free(fault);
                dir_remove(dir);
            }
        }
}

/* A single failed fsync costs nothing: the group is written again, to a new segment. */
static void test_failed_fsync_is_survived(void **state)
{
    (void)state;
    struct tel_fs_fault *fault = tel_fs_fault_new(1);
    struct ack_count acks = {.last_offset = -1};
    struct tel_error err;
    char *dir = dir_make();
    struct tel_journal_options o = options(tel_fs_fault_fs(fault), dir);
    struct tel_journal *j = journal_open_ok(&o);
    append_number(j, 0, 10, count_ack, &acks);
    assert_int_equal(tel_journal_flush(j, 10000, &err), TEL_OK);
    tel_fs_fault_at(fault, TEL_FAULT_SYNC, NULL, 1, false, EIO);
    append_number(j, 1, 10, count_ack, &acks);
    assert_int_equal(tel_journal_flush(j, 10000, &err), TEL_OK);
    assert_int_equal(atomic_load(&acks.ok), 2);
    tel_fs_fault_power_off(fault, 1); /* and what it acknowledged is really there */
    tel_journal_close(j);
    tel_fs_fault_power_on(fault);
    j = journal_open_ok(&o);
    expect_numbers(j, 0, 2, 0);
    tel_journal_close(j);
    tel_fs_fault_free(fault);
    dir_remove(dir);
}

static uint64_t the_seed(void)
{
    uint64_t seed = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 10) : tel_rand_seed();
    print_message("SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static void test_random_failures(void **state)
{
    (void)state;
    struct tel_rand rand;
    tel_rand_init(&rand, the_seed());
    for (int round = 0; round < 60; round++) {
        struct tel_fs_fault *fault = tel_fs_fault_new(tel_rand_u64(&rand));
        struct run run;
        char *dir = dir_make();
        bool can_cut = tel_rand_below(&rand, 2) == 0;
        unsigned kinds = can_cut ? TEL_FAULT_CHANGES & ~(unsigned)TEL_FAULT_TRUNCATE : TEL_FAULT_CHANGES;
        tel_fs_fault_randomly(fault, kinds, NULL, 0.02 * (double)(1 + tel_rand_below(&rand, 12)),
                              tel_rand_below(&rand, 2) ? EIO : ENOSPC);
        work(&run, tel_fs_fault_fs(fault), dir, &rand);
        tel_fs_fault_clear(fault);
        verify(&run, tel_fs_fault_fs(fault), dir, can_cut);
        tel_fs_fault_free(fault);
        dir_remove(dir);
    }
}

static void test_power_cuts(void **state)
{
    (void)state;
    struct tel_rand rand;
    tel_rand_init(&rand, the_seed());
    for (int round = 0; round < 150; round++) {
        struct tel_fs_fault *fault = tel_fs_fault_new(tel_rand_u64(&rand));
        struct run run;
        char *dir = dir_make();
        if (round % 3 == 0) /* with failing fsyncs before */
            tel_fs_fault_randomly(fault, TEL_FAULT_SYNC, NULL, 0.1, EIO);
        tel_fs_fault_power_off_at(fault, 1 + tel_rand_below(&rand, 70), tel_rand_u64(&rand));
        work(&run, tel_fs_fault_fs(fault), dir, &rand);
        tel_fs_fault_clear(fault);
        if (!tel_fs_fault_is_off(fault))
            tel_fs_fault_power_off(fault, tel_rand_u64(&rand));
        tel_fs_fault_power_on(fault);
        verify(&run, tel_fs_fault_fs(fault), dir, false);
        tel_fs_fault_free(fault);
        dir_remove(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_operation_once), cmocka_unit_test(test_failed_fsync_is_survived),
        cmocka_unit_test(test_random_failures),     cmocka_unit_test(test_power_cuts),
    };
    tel_log_set_level(TEL_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
