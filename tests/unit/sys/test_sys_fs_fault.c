/* Injected failures, and the loss of power: what was synced stays, what was not may go in any way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/crc32c.h"
#include "common/base/rand.h"
#include "common/sys/fs_fault.h"

static char temp[64];

static int make_temp(void **state)
{
    (void)state;
    strcpy(temp, "/tmp/tel-test-fault-XXXXXX");
    return mkdtemp(temp) ? 0 : -1;
}

static int drop_temp(void **state)
{
    (void)state;
    return tel_fs_remove_all(tel_fs_system(), temp, NULL) == TEL_OK ? 0 : -1;
}

static const char *at(const char *name)
{
    static char paths[4][256];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", temp, name);
    return path;
}

static uint64_t size_of(const char *path)
{
    struct tel_fs_stat st;
    return tel_fs_stat(tel_fs_system(), path, &st, NULL) == TEL_OK ? st.size : UINT64_MAX;
}

static struct tel_file *open_for(struct tel_fs *fs, const char *path, unsigned flags)
{
    struct tel_file *file = NULL;
    assert_int_equal(tel_fs_open(fs, path, flags, &file, NULL), TEL_OK);
    return file;
}

static void test_injected_errors(void **state)
{
    (void)state;
    struct tel_fs_fault *fault = tel_fs_fault_new(1);
    struct tel_fs *fs = tel_fs_fault_fs(fault);
    struct tel_error err = {0};
    struct tel_file *file = open_for(fs, at("a"), TEL_FS_APPEND | TEL_FS_CREATE), *other;

    tel_fs_fault_at(fault, TEL_FAULT_WRITE, "/a", 2, false, EIO);
    assert_int_equal(tel_file_write(file, "0123456789", 10, &err), TEL_OK);
    assert_int_equal(tel_file_write(file, "0123456789", 10, &err), TEL_ERR_IO);
    assert_non_null(strstr(err.text, "injected"));
    assert_true(size_of(at("a")) >= 10 && size_of(at("a")) <= 20);
    assert_int_equal(tel_file_write(file, "x", 1, &err), TEL_OK);

    tel_fs_fault_at(fault, TEL_FAULT_SYNC, NULL, 1, true, EIO);
    assert_int_equal(tel_file_sync(file, &err), TEL_ERR_IO);
    assert_int_equal(tel_file_sync(file, &err), TEL_ERR_IO);
    tel_fs_fault_clear(fault);
    assert_int_equal(tel_file_sync(file, &err), TEL_OK);

    tel_fs_fault_at(fault, TEL_FAULT_CREATE, NULL, 1, false, EACCES);
    assert_int_equal(tel_fs_open(fs, at("b"), TEL_FS_WRITE | TEL_FS_CREATE, &other, &err),
                     TEL_ERR_DENIED);
    assert_true(size_of(at("b")) == UINT64_MAX);
    tel_fs_fault_at(fault, TEL_FAULT_RENAME | TEL_FAULT_UNLINK, NULL, 1, true, ENOSPC);
    assert_int_equal(tel_fs_rename(fs, at("a"), at("c"), &err), TEL_ERR_NOSPACE);
    assert_int_equal(tel_fs_unlink(fs, at("a"), &err), TEL_ERR_NOSPACE);
    tel_fs_fault_clear(fault);

    int failed = 0;
    tel_fs_fault_randomly(fault, TEL_FAULT_STAT, NULL, 0.5, EIO);
    for (int i = 0; i < 1000; i++) {
        struct tel_fs_stat st;
        failed += tel_file_stat(file, &st, &err) != TEL_OK;
    }
    assert_true(failed > 400 && failed < 600);
    assert_true(tel_fs_fault_count(fault, TEL_FAULT_STAT) == 1000);
    tel_file_close(file);
    tel_fs_fault_free(fault);
}

static void test_full_disk(void **state)
{
    (void)state;
    struct tel_fs_fault *fault = tel_fs_fault_new(1);
    struct tel_fs *fs = tel_fs_fault_fs(fault);
    struct tel_file *file = open_for(fs, at("full"), TEL_FS_WRITE | TEL_FS_CREATE);
    struct tel_fs_space space;
    tel_fs_fault_space_left(fault, 15);
    assert_int_equal(tel_fs_space(fs, temp, &space, NULL), TEL_OK);
    assert_int_equal(space.free_bytes, 15);
    assert_int_equal(tel_file_write(file, "0123456789", 10, NULL), TEL_OK);
    assert_int_equal(tel_file_write(file, "0123456789", 10, NULL), TEL_ERR_NOSPACE);
    assert_int_equal(size_of(at("full")), 15);
    assert_int_equal(tel_file_truncate(file, 10, NULL), TEL_OK);
    assert_int_equal(tel_file_pwrite(file, 10, "abcde", 5, NULL), TEL_OK);
    assert_int_equal(tel_file_pwrite(file, 15, "f", 1, NULL), TEL_ERR_NOSPACE);
    tel_file_close(file);
    assert_int_equal(tel_fs_unlink(fs, at("full"), NULL), TEL_OK);
    assert_int_equal(tel_fs_write_atomic(fs, at("fits"), TEL_SPAN("0123456789abcde"), NULL), TEL_OK);
    assert_int_equal(tel_fs_write_atomic(fs, at("more"), TEL_SPAN("x"), NULL), TEL_ERR_NOSPACE);
    assert_true(size_of(at("more")) == UINT64_MAX && size_of(at("more.tmp")) == UINT64_MAX);
    tel_fs_fault_free(fault);
}

/* Over many seeds: synced bytes always stay, and each way of losing the others is seen. */
static void test_power_and_bytes(void **state)
{
    (void)state;
    int none = 0, all = 0, torn = 0, holes = 0, sectors = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct tel_fs_fault *fault = tel_fs_fault_new(seed);
        struct tel_fs *fs = tel_fs_fault_fs(fault);
        struct tel_file *file =
            open_for(fs, at("p"), TEL_FS_READ | TEL_FS_WRITE | TEL_FS_CREATE | TEL_FS_TRUNC);
        char first[2000], then[3000], over[1024], got[8000];
        size_t len;
        memset(first, 'a', sizeof first);
        memset(then, 'b', sizeof then);
        memset(over, 'c', sizeof over);
        assert_int_equal(tel_file_write(file, first, sizeof first, NULL), TEL_OK);
        assert_int_equal(tel_file_sync(file, NULL), TEL_OK);
        assert_int_equal(tel_fs_sync_dir(fs, temp, NULL), TEL_OK);
        assert_int_equal(tel_file_write(file, then, sizeof then, NULL), TEL_OK);
        assert_int_equal(tel_file_pwrite(file, 0, over, sizeof over, NULL), TEL_OK);
        tel_fs_fault_power_off(fault, seed);
        assert_true(tel_fs_fault_is_off(fault));
        struct tel_error err = {0};
        assert_int_equal(tel_file_write(file, "x", 1, &err), TEL_ERR_IO);
        tel_fs_fault_power_on(fault);
        assert_int_equal(tel_file_write(file, "x", 1, &err), TEL_ERR_IO); /* dead for good */
        tel_file_close(file);

        file = open_for(fs, at("p"), TEL_FS_READ);
        assert_int_equal(tel_file_pread(file, 0, got, sizeof got, &len, NULL), TEL_OK);
        assert_true(len >= sizeof first && len <= sizeof first + sizeof then);
        assert_memory_equal(got + sizeof over, first, sizeof first - sizeof over);
        bool old_first = got[0] == 'a', old_second = got[512] == 'a';
        for (size_t i = 0; i < sizeof over; i++)
            assert_int_equal(got[i], (i < 512 ? old_first : old_second) ? 'a' : 'c');
        bool zeros = memchr(got + sizeof first, 0, len - sizeof first);
        none += len == sizeof first && old_first && old_second;
        all += len == sizeof first + sizeof then && !zeros && !old_first && !old_second;
        torn += len > sizeof first && len < sizeof first + sizeof then;
        holes += zeros;
        sectors += old_first != old_second;
        tel_file_close(file);
        tel_fs_fault_free(fault);
    }
    assert_true(none > 10 && all > 10 && torn > 30 && holes > 10 && sectors > 10);
}

static void test_power_and_failed_sync(void **state)
{
    (void)state;
    int lost = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct tel_fs_fault *fault = tel_fs_fault_new(seed);
        struct tel_fs *fs = tel_fs_fault_fs(fault);
        struct tel_file *file = open_for(fs, at("s"), TEL_FS_WRITE | TEL_FS_CREATE | TEL_FS_TRUNC);
        assert_int_equal(tel_fs_sync_dir(fs, temp, NULL), TEL_OK);
        assert_int_equal(tel_file_write(file, "kept", 4, NULL), TEL_OK);
        assert_int_equal(tel_file_sync(file, NULL), TEL_OK);
        assert_int_equal(tel_file_write(file, "lost", 4, NULL), TEL_OK);
        tel_fs_fault_at(fault, TEL_FAULT_SYNC, NULL, 1, false, EIO);
        assert_int_equal(tel_file_sync(file, NULL), TEL_ERR_IO);
        assert_int_equal(tel_file_sync(file, NULL), TEL_OK); /* which means nothing */
        if (seed % 2) {
            /* As it ought to be done: back to what is known, and again. */
            assert_int_equal(tel_file_truncate(file, 4, NULL), TEL_OK);
            assert_int_equal(tel_file_pwrite(file, 4, "safe", 4, NULL), TEL_OK);
            assert_int_equal(tel_file_sync(file, NULL), TEL_OK);
        }
        tel_fs_fault_power_off(fault, seed);
        tel_file_close(file);
        if (seed % 2)
            assert_int_equal(size_of(at("s")), 8);
        else
            lost += size_of(at("s")) < 8;
        tel_fs_fault_free(fault);
    }
    assert_true(lost > 5);
}

static void test_power_and_names(void **state)
{
    (void)state;
    int made = 0, renamed = 0, removed = 0, truncated = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct tel_fs_fault *fault = tel_fs_fault_new(seed);
        struct tel_fs *fs = tel_fs_fault_fs(fault);
        assert_int_equal(tel_fs_remove_all(tel_fs_system(), at("n"), NULL), TEL_OK);
        assert_int_equal(tel_fs_mkdir_all(fs, at("n/sub"), NULL), TEL_OK);
        assert_int_equal(tel_fs_write_atomic(fs, at("n/old"), TEL_SPAN("old"), NULL), TEL_OK);
        assert_int_equal(tel_fs_write_atomic(fs, at("n/gone"), TEL_SPAN("gone"), NULL), TEL_OK);
        assert_int_equal(tel_fs_write_atomic(fs, at("n/sub/cut"), TEL_SPAN("cut"), NULL), TEL_OK);
        /* Nothing of what follows is synced. */
        struct tel_file *file = open_for(fs, at("n/new"), TEL_FS_WRITE | TEL_FS_CREATE);
        tel_file_close(file);
        file = open_for(fs, at("n/sub/cut"), TEL_FS_WRITE | TEL_FS_TRUNC);
        tel_file_close(file);
        assert_int_equal(tel_fs_unlink(fs, at("n/gone"), NULL), TEL_OK);
        assert_int_equal(tel_fs_rename(fs, at("n/new"), at("n/old"), NULL), TEL_OK);
        tel_fs_fault_power_off(fault, seed);
        /* Changes of a folder stay in their order: made, removed, renamed. */
        bool is_new = size_of(at("n/new")) == 0, is_gone = size_of(at("n/gone")) == UINT64_MAX;
        uint64_t old = size_of(at("n/old"));
        assert_true(old == 3 || old == 0);
        if (old == 0)
            assert_true(is_gone && !is_new);
        if (is_gone && old == 3)
            assert_true(is_new);
        if (!is_gone)
            assert_int_equal(size_of(at("n/gone")), 4);
        assert_true(size_of(at("n/sub/cut")) == 3 || size_of(at("n/sub/cut")) == 0);
        made += is_new;
        removed += is_gone;
        renamed += old == 0;
        truncated += size_of(at("n/sub/cut")) == 0;
        tel_fs_fault_free(fault);
    }
    assert_true(made > 10 && removed > 10 && renamed > 10 && truncated > 10);
    assert_true(made < 90 && removed < 95 && renamed < 90 && truncated < 90);
}

/* write_atomic under a power cut at each of its steps: old or new, whole. */
static void test_write_atomic_is_atomic(void **state)
{
    (void)state;
    struct tel_buf text = {0};
    int old = 0, fresh = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        for (uint64_t step = 1;; step++) {
            struct tel_fs_fault *fault = tel_fs_fault_new(seed * 1000 + step);
            struct tel_fs *fs = tel_fs_fault_fs(fault);
            assert_int_equal(tel_fs_write_atomic(fs, at("w"), TEL_SPAN("old value"), NULL), TEL_OK);
            tel_fs_fault_power_off_at(fault, step, seed);
            tel_code rc = tel_fs_write_atomic(fs, at("w"), TEL_SPAN("new and longer value"), NULL);
            bool off = tel_fs_fault_is_off(fault);
            assert_true(off == (rc != TEL_OK));
            if (!off)
                tel_fs_fault_power_off(fault, seed); /* it was said to be durable */
            tel_buf_clear(&text);
            assert_int_equal(tel_fs_read_all(tel_fs_system(), at("w"), 100, &text, NULL), TEL_OK);
            bool is_old = strcmp(tel_buf_cstr(&text), "old value") == 0;
            bool is_new = strcmp(tel_buf_cstr(&text), "new and longer value") == 0;
            assert_true(is_new || (off && is_old));
            old += is_old;
            fresh += is_new && off;
            tel_fs_fault_free(fault);
            if (!off) {
                assert_true(step > 4);
                break;
            }
        }
    }
    assert_true(old > 20 && fresh > 5);
    tel_buf_free(&text);
}

/* A log as simple as can be, cut at a random operation, again and again: all that was synced is read
 * back, and no record that was never written. The seed is printed. */
static void append_records(struct tel_fs *fs, const char *path, uint32_t *next, uint32_t *synced,
                           struct tel_rand *rand)
{
    struct tel_file *file;
    if (tel_fs_open(fs, path, TEL_FS_APPEND | TEL_FS_CREATE, &file, NULL) != TEL_OK)
        return;
    tel_code rc = tel_fs_sync_dir(fs, temp, NULL);
    while (rc == TEL_OK) {
        char record[700];
        size_t len = 12 + (size_t)tel_rand_below(rand, sizeof record - 12);
        memset(record, (int)(*next & 0x7f) + 1, len);
        memcpy(record + 4, next, 4);
        uint32_t len32 = (uint32_t)len;
        memcpy(record + 8, &len32, 4);
        uint32_t crc = tel_crc32c(0, record + 4, len - 4);
        memcpy(record, &crc, 4);
        rc = tel_file_write(file, record, len, NULL);
        if (rc == TEL_OK)
            ++*next;
        if (rc == TEL_OK && tel_rand_below(rand, 3) == 0) {
            rc = tel_file_sync(file, NULL);
            if (rc == TEL_OK)
                *synced = *next;
        }
    }
    tel_file_close(file);
}

/* How many whole records from the start, and cuts the file behind them. */
static uint32_t recover(const char *path)
{
    struct tel_buf text = {0};
    uint32_t count = 0;
    size_t pos = 0;
    if (tel_fs_read_all(tel_fs_system(), path, 1 << 24, &text, NULL) != TEL_OK)
        return 0;
    while (text.len - pos >= 12) {
        uint32_t crc, number, len;
        memcpy(&crc, text.ptr + pos, 4);
        memcpy(&number, text.ptr + pos + 4, 4);
        memcpy(&len, text.ptr + pos + 8, 4);
        if (len < 12 || len > text.len - pos || crc != tel_crc32c(0, text.ptr + pos + 4, len - 4))
            break;
        assert_int_equal(number, count);
        count++;
        pos += len;
    }
    assert_int_equal(truncate(path, (off_t)pos), 0);
    tel_buf_free(&text);
    return count;
}

static void test_log_under_power_cuts(void **state)
{
    (void)state;
    uint64_t seed = tel_rand_seed();
    struct tel_rand rand;
    uint32_t next = 0, synced = 0;
    printf("seed %llu\n", (unsigned long long)seed);
    tel_rand_init(&rand, seed);
    for (int round = 0; round < 150; round++) {
        struct tel_fs_fault *fault = tel_fs_fault_new(tel_rand_u64(&rand));
        tel_fs_fault_power_off_at(fault, 1 + tel_rand_below(&rand, 40), tel_rand_u64(&rand));
        append_records(tel_fs_fault_fs(fault), at("log"), &next, &synced, &rand);
        assert_true(tel_fs_fault_is_off(fault));
        tel_fs_fault_free(fault);
        uint32_t found = recover(at("log"));
        assert_true(found >= synced);
        assert_true(found <= next + 1); /* a write that was cut may have been whole */
        next = synced = found;
    }
    assert_true(next > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_injected_errors),        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_power_and_bytes),        cmocka_unit_test(test_power_and_failed_sync),
        cmocka_unit_test(test_power_and_names),        cmocka_unit_test(test_write_atomic_is_atomic),
        cmocka_unit_test(test_log_under_power_cuts),
    };
    return cmocka_run_group_tests(tests, make_temp, drop_temp);
}
