/* Torn ends at every byte, damage at every byte of a record, a disk that is full or fails. */
#include "tests/unit/journal/journal_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define SMALL 60u

static void write_journal(const char *dir, int from, int n, bool one_by_one)
{
    struct tel_error err;
    struct tel_journal *j =
        journal_open_ok(&(struct tel_journal_options){.dir = dir, .sync_interval_ms = 1});
    for (int i = 0; i < n; i++) {
        append_number(j, (uint64_t)(from + i), SMALL, NULL, NULL);
        if (one_by_one)
            assert_int_equal(tel_journal_flush(j, 10000, &err), TEL_OK);
    }
    tel_journal_close(j);
}

static size_t load(const char *path, char *out, size_t cap)
{
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, out, cap);
    close(fd);
    assert_true(n >= 0 && (size_t)n < cap);
    return (size_t)n;
}

static void store(const char *path, const char *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
}

/* Frames of append_number(i, SMALL) for one-digit i. */
#define FRAME (32u + 1u + SMALL)
#define AT(i) (32u + (i) * FRAME)

static void test_torn_at_every_byte(void **state)
{
    (void)state;
    char *dir = dir_make(), file[4096];
    write_journal(dir, 0, 5, true);
    size_t len = load(segment_path(dir, 0), file, sizeof(file));
    assert_int_equal(len, AT(5));
    for (int zeros = 0; zeros < 2; zeros++) {
        for (size_t cut = AT(4); cut < AT(5); cut++) {
            char torn[4096] = {0};
            memcpy(torn, file, cut);
            /* A crash leaves a short file, or a long one whose last pages never came. */
            store(segment_path(dir, 0), torn, zeros ? len : cut);
            struct tel_journal *j = journal_open_ok(&(struct tel_journal_options){.dir = dir});
            expect_numbers(j, 0, 4, 0);
            int64_t low = 0, high = 0;
            tel_journal_watermarks(j, &low, &high);
            assert_int_equal(high, 4);
            append_number(j, 4, SMALL, NULL, NULL);
            struct tel_error err;
            assert_int_equal(tel_journal_flush(j, 10000, &err), TEL_OK);
            expect_numbers(j, 0, 5, 0);
            tel_journal_close(j);
        }
    }
    dir_remove(dir);
}

/* A crash in the moment when a segment is made: no file, an empty one, a piece of its header. */
static void test_torn_header(void **state)
{
    (void)state;
    char *dir = dir_make(), header[33] = "TELJRNL1";
    write_journal(dir, 0, 5, true);
    for (size_t len = 0; len <= 32; len++) {
        store(segment_path(dir, 5), header, len);
        struct tel_journal *j = journal_open_ok(&(struct tel_journal_options){.dir = dir});
        expect_numbers(j, 0, 5, 0);
        append_number(j, 5, SMALL, NULL, NULL);
        struct tel_error err;
        assert_int_equal(tel_journal_flush(j, 10000, &err), TEL_OK);
        expect_numbers(j, 0, 6, 0);
        tel_journal_close(j);
    }
    dir_remove(dir);
}

/* Reads all and returns how many were there; damage must be told, with the place to go on at. */
static int read_around(struct tel_journal *j, int64_t end, int64_t *ret_from, int64_t *ret_to)
{
    struct tel_journal_reader *r = tel_journal_reader_open(j, 0);
    struct tel_error err;
    int64_t at = 0, next = -1;
    int seen = 0;
    while (at < end) {
        const struct tel_journal_record *records = NULL;
        size_t count = 0;
        tel_code rc = tel_journal_read(r, 0, 1, &records, &count, &next, &err);
        if (rc == TEL_ERR_CORRUPT) {
            assert_true(next > at && next <= end);
            *ret_from = at;
            *ret_to = at = next;
            tel_journal_reader_seek(r, next);
            continue;
        }
        assert_int_equal(rc, TEL_OK);
        assert_int_equal(count, 1);
        assert_int_equal(records[0].offset, at);
        assert_int_equal(check_record(&records[0]), at);
        at++;
        seen++;
    }
    tel_journal_reader_close(r);
    return seen;
}

/* A record that later records prove to have been durable is damaged, not torn: nothing is cut, the
 * loss is told, and what stands behind it is read. */
static void test_damage_at_every_byte(void **state)
{
    (void)state;
    char *dir = dir_make(), file[4096];
    write_journal(dir, 0, 5, true);
    size_t len = load(segment_path(dir, 0), file, sizeof(file));
    for (size_t at = AT(2); at < AT(3); at++) {
        file[at] ^= 0x40;
        store(segment_path(dir, 0), file, len);
        for (int again = 0; again < 2; again++) { /* as the last segment, then as an older one */
            struct tel_journal *j = journal_open_ok(&(struct tel_journal_options){.dir = dir});
            int64_t from = -1, to = -1;
            int end = 5 + again;
            if (!again)
                append_number(j, 5, SMALL, NULL, NULL), end = 6;
            struct tel_error err;
            assert_int_equal(tel_journal_flush(j, 10000, &err), TEL_OK);
            assert_int_equal(read_around(j, end, &from, &to), end - 1);
            assert_int_equal(from, 2);
            assert_int_equal(to, 3);
            tel_journal_close(j);
        }
        file[at] ^= 0x40;
        assert_int_equal(unlink(segment_path(dir, 5)), 0);
    }
    dir_remove(dir);
}

/* Records of one group, none of them durable before the other: a wrong one ends the log. */
static void test_torn_group(void **state)
{
    (void)state;
    char *dir = dir_make(), file[4096];
    write_journal(dir, 0, 2, true);
    write_journal(dir, 2, 6, false);
    size_t len = load(segment_path(dir, 0), file, sizeof(file));
    struct tel_journal *j = journal_open_ok(&(struct tel_journal_options){.dir = dir});
    struct tel_journal_stats s;
    tel_journal_stats(j, &s);
    tel_journal_close(j);
    assert_int_equal(s.high, 8);
    file[AT(7) + 50] ^= 1; /* the last one: nothing behind it can speak for it */
    store(segment_path(dir, 0), file, len);
    j = journal_open_ok(&(struct tel_journal_options){.dir = dir});
    tel_journal_stats(j, &s);
    assert_int_equal(s.high, 7);
    assert_int_equal(s.cut_bytes, FRAME);
    expect_numbers(j, 0, 7, 0);
    tel_journal_close(j);
    dir_remove(dir);
}

static void test_missing_segment(void **state)
{
    (void)state;
    char *dir = dir_make();
    struct tel_error err;
    struct tel_journal *j = journal_open_ok(&(struct tel_journal_options){
        .dir = dir, .budget_bytes = 1u << 20, .segment_bytes = 1000, .sync_interval_ms = 1});
    for (int i = 0; i < 60; i++) {
        append_number(j, (uint64_t)i, SMALL, NULL, NULL);
        assert_int_equal(tel_journal_flush(j, 10000, &err), TEL_OK);
    }
    struct tel_journal_stats s;
    tel_journal_stats(j, &s);
    assert_true(s.segments > 3);
    tel_journal_close(j);
    int64_t second = 1;
    while (access(segment_path(dir, second), F_OK) != 0)
        second++;
    int64_t third = second + 1;
    while (access(segment_path(dir, third), F_OK) != 0)
        third++;
    assert_int_equal(unlink(segment_path(dir, second)), 0);
    j = journal_open_ok(&(struct tel_journal_options){.dir = dir});
    int64_t from = -1, to = -1;
    assert_int_equal(read_around(j, 60, &from, &to), 60 - (third - second));
    assert_int_equal(from, second);
    assert_int_equal(to, third);
    tel_journal_close(j);
    dir_remove(dir);
}

/* A real file system that runs full, and gets room again. */
static void test_full_disk(void **state)
{
    (void)state;
    char *dir = dir_make();
    if (mount("tmpfs", dir, "tmpfs", 0, "size=1m") != 0) {
        print_message("cannot mount a tmpfs here (%s): not tested\n", strerror(errno));
        dir_remove(dir);
        skip();
    }
    struct tel_error err;
    struct tel_journal_options o = {.dir = dir, .sync_interval_ms = 1, .segment_bytes = 100000};
    struct tel_journal *j = journal_open_ok(&o);
    struct tel_journal_reader *r = tel_journal_reader_open(j, 0);
    struct ack_count acks = {.last_offset = -1};
    uint64_t number = 0;
    for (int round = 0; round < 3; round++) {
        tel_code rc = TEL_OK;
        atomic_store(&acks.failed, 0);
        while (rc != TEL_ERR_NOSPACE && atomic_load(&acks.failed) == 0) {
            uint64_t before = atomic_load(&acks.ok);
            char value[5000];
            memset(value, (int)(number & 0xff), sizeof(value));
            rc = tel_journal_append(j, TEL_SPAN("k"), tel_span_make(value, sizeof(value)), count_ack,
                                    &acks, &err);
            assert_int_equal(tel_journal_flush(j, 10000, &err), TEL_OK);
            number += atomic_load(&acks.ok) - before;
        }
        assert_int_equal(acks.last_code, TEL_ERR_NOSPACE);
        struct tel_journal_stats s;
        tel_journal_stats(j, &s);
        assert_int_equal(s.high, number); /* nothing of the refused is in the log */
        tel_journal_release(r, s.high);   /* makes room on the disk */
        do
            sched_yield();
        while (tel_journal_stats(j, &s), s.segments > 1);
        do /* refused for a moment, then let through */
            rc = tel_journal_append(j, TEL_SPAN("k"), TEL_SPAN("room again"), count_ack, &acks, &err);
        while (rc == TEL_ERR_NOSPACE);
        assert_int_equal(rc, TEL_OK);
        assert_int_equal(tel_journal_flush(j, 10000, &err), TEL_OK);
        tel_journal_stats(j, &s);
        assert_int_equal(s.high, ++number);
    }
    tel_journal_reader_close(r);
    tel_journal_close(j);
    j = journal_open_ok(&o);
    struct tel_journal_stats s;
    tel_journal_stats(j, &s);
    assert_int_equal(s.high, number);
    assert_int_equal(s.cut_bytes, 0);
    tel_journal_close(j);
    assert_int_equal(umount(dir), 0);
    dir_remove(dir);
}

/* The reserve is refused to appends, before anything is written. */
static void test_reserve(void **state)
{
    (void)state;
    char *dir = dir_make();
    struct tel_error err;
    struct ack_count acks = {.last_offset = -1};
    struct tel_journal *j = journal_open_ok(
        &(struct tel_journal_options){.dir = dir, .sync_interval_ms = 1, .disk_reserve_bytes = UINT64_MAX / 2});
    append_number(j, 0, 10, count_ack, &acks);
    assert_int_equal(tel_journal_flush(j, 10000, &err), TEL_OK);
    assert_int_equal(atomic_load(&acks.failed), 1);
    assert_int_equal(acks.last_code, TEL_ERR_NOSPACE);
    assert_int_equal(tel_journal_append(j, TEL_SPAN("k"), TEL_SPAN("v"), NULL, NULL, &err), TEL_ERR_NOSPACE);
    struct tel_journal_stats s;
    tel_journal_stats(j, &s);
    assert_int_equal(s.high, 0);
    tel_journal_close(j);
    dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torn_at_every_byte), cmocka_unit_test(test_torn_header),
        cmocka_unit_test(test_damage_at_every_byte), cmocka_unit_test(test_torn_group),
        cmocka_unit_test(test_missing_segment),    cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_reserve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
