/* The journal as its users see it: append, read, follow, roll, trim, budgets, many threads at once. */
#include "tests/unit/journal/journal_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/rand.h"

static void test_append_read_reopen(void **state)
{
    (void)state;
    char *dir = dir_make();
    struct tel_error err;
    struct tel_journal_options o = {.dir = dir};
    struct ack_count acks = {.last_offset = -1};
    int64_t total = 0;
    for (int round = 0; round < 3; round++) {
        struct tel_journal *j = journal_open_ok(&o);
        struct tel_journal *second = NULL;
        assert_int_equal(tel_journal_open(&o, &second, &err), TEL_ERR_LOCKED);
        for (int i = 0; i < 1000; i++)
            append_number(j, (uint64_t)total++, (size_t)(i % 700), count_ack, &acks);
        assert_int_equal(tel_journal_flush(j, 10000, &err), TEL_OK);
        assert_int_equal(atomic_load(&acks.ok), total);
        assert_int_equal(acks.last_offset, total - 1);
        expect_numbers(j, 0, total, 0);
        expect_numbers(j, total / 2, total, 0);
        tel_journal_close(j);
    }
    dir_remove(dir);
}

static void test_gap_and_wait(void **state)
{
    (void)state;
    char *dir = dir_make();
    struct tel_journal *j = journal_open_ok(&(struct tel_journal_options){.dir = dir});
    struct tel_error err;
    const struct tel_journal_record *records = NULL;
    size_t count = 7;
    int64_t next = -1;
    struct tel_journal_reader *r = tel_journal_reader_open(j, 0);
    assert_int_equal(tel_journal_read(r, 0, 10, &records, &count, &next, &err), TEL_OK);
    assert_int_equal(count, 0);
    tel_journal_reader_seek(r, 5);
    assert_int_equal(tel_journal_read(r, 0, 10, &records, &count, &next, &err), TEL_ERR_GAP);
    assert_int_equal(next, 0);
    tel_journal_reader_seek(r, next);
    append_number(j, 0, 10, NULL, NULL);
    assert_int_equal(tel_journal_read(r, 10000, 10, &records, &count, &next, &err), TEL_OK);
    assert_int_equal(count, 1);
    tel_journal_reader_wake(r); /* the next read does not wait */
    assert_int_equal(tel_journal_read(r, 60000, 10, &records, &count, &next, &err), TEL_OK);
    assert_int_equal(count, 0);
    tel_journal_reader_close(r);
    tel_journal_close(j);
    dir_remove(dir);
}

static void test_limits(void **state)
{
    (void)state;
    char *dir = dir_make();
    struct tel_error err;
    struct tel_journal *none = NULL;
    assert_int_equal(tel_journal_open(&(struct tel_journal_options){.dir = dir, .budget_bytes = 1000},
                                      &none, &err),
                     TEL_ERR_INVALID);
    struct tel_journal *j =
        journal_open_ok(&(struct tel_journal_options){.dir = dir, .budget_bytes = 1u << 20});
    uint64_t max = tel_journal_record_max(j);
    append_number(j, 0, max - 1, NULL, NULL); /* "0" is the key */
    char *big = calloc(1, max + 1);
    assert_int_equal(tel_journal_append(j, tel_span_make(NULL, 0), tel_span_make(big, max + 1), NULL,
                                        NULL, &err),
                     TEL_ERR_LIMIT);
    free(big);
    assert_int_equal(tel_journal_flush(j, 10000, &err), TEL_OK);
    expect_numbers(j, 0, 1, 0);
    tel_journal_close(j);
    dir_remove(dir);
}

/* The budget refuses, releasing makes room, and offsets go on where they were, over restarts too. */
static void test_budget_and_trim(void **state)
{
    (void)state;
    char *dir = dir_make();
    struct tel_error err;
    struct tel_journal_options o = {.dir = dir, .budget_bytes = 1u << 20};
    struct tel_journal *j = journal_open_ok(&o);
    struct tel_journal_reader *slow = tel_journal_reader_open(j, 0);
    struct tel_journal_reader *fast = tel_journal_reader_open(j, 0);
    char value[1000] = {0};
    struct tel_span v = {value, sizeof(value)};
    tel_code rc = TEL_OK;
    for (int i = 0; i < 2000 && rc != TEL_ERR_AGAIN; i++) {
        rc = tel_journal_append(j, tel_span_make(NULL, 0), v, NULL, NULL, &err);
        assert_int_equal(tel_journal_flush(j, 10000, &err), TEL_OK);
    }
    assert_int_equal(rc, TEL_ERR_AGAIN);
    assert_non_null(strstr(err.text, "budget"));
    struct tel_journal_stats s;
    tel_journal_stats(j, &s);
    assert_true(s.bytes <= s.budget_bytes);
    int64_t full = s.high;
    tel_journal_release(fast, full);
    tel_journal_stats(j, &s);
    assert_int_equal(s.low, 0); /* the slow one holds everything */
    tel_journal_release(slow, full);
    do
        sched_yield();
    while (tel_journal_stats(j, &s), s.low == 0);
    append_number(j, (uint64_t)full, 500, NULL, NULL);
    assert_int_equal(tel_journal_flush(j, 10000, &err), TEL_OK);
    expect_numbers(j, full, full + 1, 0);
    const struct tel_journal_record *records = NULL;
    size_t count = 0;
    int64_t next = 0;
    assert_int_equal(tel_journal_read(slow, 0, 1, &records, &count, &next, &err), TEL_ERR_GAP);
    assert_true(next > 0 && next <= full);
    tel_journal_reader_close(slow);
    tel_journal_reader_close(fast);
    tel_journal_close(j);
    j = journal_open_ok(&o);
    int64_t low = 0, high = 0;
    tel_journal_watermarks(j, &low, &high);
    assert_int_equal(low, next);
    assert_int_equal(high, full + 1);
    expect_numbers(j, full, full + 1, 0);
    tel_journal_close(j);
    dir_remove(dir);
}

/* ---- many threads ------------------------------------------------------------------------- */

#define APPENDERS 3
#define EACH      4000

struct crowd {
    struct tel_journal *j;
    struct ack_count acks;
    int id;
};

static void *append_many(void *arg)
{
    struct crowd *c = arg;
    struct tel_rand rand;
    tel_rand_init(&rand, (uint64_t)c->id);
    for (int i = 0; i < EACH; i++)
        append_number(c->j, (uint64_t)(c->id * EACH + i), tel_rand_below(&rand, 900), count_ack, &c->acks);
    return NULL;
}

static void *read_all_and_release(void *arg)
{
    struct tel_journal_reader *r = arg;
    int64_t offset = 0, next = 0;
    int seen[APPENDERS] = {0};
    struct tel_error err;
    while (offset < APPENDERS * EACH) {
        const struct tel_journal_record *records = NULL;
        size_t count = 0;
        tel_code rc = tel_journal_read(r, 1000, 64, &records, &count, &next, &err);
        if (rc != TEL_OK) /* cmocka says nothing of other threads */
            print_error("reader at %lld: %s\n", (long long)offset, err.text);
        assert_int_equal(rc, TEL_OK);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(records[i].offset, offset++);
            uint64_t n = check_record(&records[i]);
            assert_int_equal(n % EACH, seen[n / EACH]++); /* each appender's own order */
        }
        tel_journal_release(r, offset);
    }
    tel_journal_reader_close(r);
    return NULL;
}

static void test_many_threads(void **state)
{
    (void)state;
    char *dir = dir_make();
    /* A budget far below what is written: trimming goes on all the while. */
    struct tel_journal *j = journal_open_ok(
        &(struct tel_journal_options){.dir = dir, .budget_bytes = 2u << 20, .sync_interval_ms = 1});
    pthread_t appenders[APPENDERS], readers[2];
    struct crowd crowd[APPENDERS];
    /* Both are open before anything is released: then neither loses anything to the other. */
    struct tel_journal_reader *opened[2] = {tel_journal_reader_open(j, 0), tel_journal_reader_open(j, 0)};
    for (size_t i = 0; i < 2; i++)
        pthread_create(&readers[i], NULL, read_all_and_release, opened[i]);
    for (int i = 0; i < APPENDERS; i++) {
        crowd[i] = (struct crowd){.j = j, .acks = {.last_offset = -1}, .id = i};
        pthread_create(&appenders[i], NULL, append_many, &crowd[i]);
    }
    for (int i = 0; i < APPENDERS; i++)
        pthread_join(appenders[i], NULL);
    struct tel_error err;
    assert_int_equal(tel_journal_flush(j, 10000, &err), TEL_OK);
    for (size_t i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
    for (int i = 0; i < APPENDERS; i++)
        assert_int_equal(atomic_load(&crowd[i].acks.ok), EACH);
    tel_journal_close(j);
    dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_read_reopen), cmocka_unit_test(test_gap_and_wait),
        cmocka_unit_test(test_limits),             cmocka_unit_test(test_budget_and_trim),
        cmocka_unit_test(test_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
