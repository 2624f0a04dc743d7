/* The tail plugin inside a whole sidecar: what files do to those who read them. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "tests/unit/sidecar/sidecar_fixture.h"

#define MIB ((size_t)1 << 20)

static void stop_and_read(struct rig *r, struct lines *l)
{
    rig_stop(r);
    rig_read(r, l);
    assert_int_equal(l->repeats, 0);
}

/* Waits until the newest line in the queue is this one. */
static void wait_line(struct rig *r, const char *body)
{
    struct lines l;
    int64_t deadline = tel_mono_ns(tel_clock_system()) + RIG_WAIT_S * TEL_NS_PER_S;
    for (bool found = false; !found; usleep(5000)) {
        rig_read(r, &l);
        found = l.len && strcmp(l.items[l.len - 1].body, body) == 0;
        lines_free(&l);
        if (tel_mono_ns(tel_clock_system()) > deadline)
            fail_msg("\"%s\" did not come", body);
    }
}

static void renamed_file_is_read_to_its_end(void **state)
{
    struct rig r;
    struct lines l;
    (void)state;
    rig_open(&r, 1);
    rig_puts(&r, "a.log", "one\ntwo\n");
    rig_start(&r, "a.log");
    rig_wait_delivered(&r, 2);
    rig_rename(&r, "a.log", "a.log.1");
    rig_puts(&r, "a.log.1", "three\n"); /* its writer has not noticed yet */
    rig_puts(&r, "a.log", "new one\n");
    rig_puts(&r, "a.log.1", "four, without an end");
    rig_wait_delivered(&r, 5);
    stop_and_read(&r, &l);
    LINES_CHECK_SOURCES(&l, "one\ntwo\nthree\nfour, without an end\n", "new one\n");
    lines_free(&l);
    rig_close(&r);
}

static void renamed_within_the_pattern_is_the_same_source(void **state)
{
    struct rig r;
    struct lines l;
    (void)state;
    rig_open(&r, 1);
    rig_puts(&r, "a.log", "one\n");
    rig_start(&r, "a.log*");
    rig_wait_delivered(&r, 1);
    rig_rename(&r, "a.log", "a.log.1");
    rig_puts(&r, "a.log", "other\n");
    rig_wait_delivered(&r, 2);
    rig_puts(&r, "a.log.1", "two\n");
    rig_wait_delivered(&r, 3);
    stop_and_read(&r, &l);
    LINES_CHECK_SOURCES(&l, "one\ntwo\n", "other\n");
    lines_free(&l);
    rig_close(&r);
}

static void truncated_file_begins_anew(void **state)
{
    struct rig r;
    struct lines l;
    (void)state;
    rig_open(&r, 1);
    rig_puts(&r, "a.log", "one\ntwo\nthree\n");
    rig_start(&r, "a.log");
    rig_wait_delivered(&r, 3);
    rig_truncate(&r, "a.log");
    rig_puts(&r, "a.log", "four\n");
    rig_wait_delivered(&r, 4);
    /* Longer than before when it is looked at next: only its head tells. */
    rig_truncate(&r, "a.log");
    rig_puts(&r, "a.log", "five\nsix, which is longer\n");
    rig_wait_delivered(&r, 6);
    stop_and_read(&r, &l);
    LINES_CHECK_SOURCES(&l, "one\ntwo\nthree\n", "four\n", "five\nsix, which is longer\n");
    lines_free(&l);
    rig_close(&r);
}

static void truncated_under_a_writer_that_does_not_append(void **state)
{
    struct rig r;
    struct lines l;
    char path[256];
    struct tel_buf old = {0};
    (void)state;
    rig_open(&r, 1);
    rig_path(&r, "a.log", path);
    int fd = open(path, O_WRONLY | O_CREAT, 0644);
    for (int i = 0; i < 2000; i++)
        tel_buf_printf(&old, "old line %d\n", i);
    assert_int_equal(write(fd, old.ptr, old.len), old.len);
    rig_start(&r, "a.log");
    rig_wait_delivered(&r, 2000);
    rig_truncate(&r, "a.log");
    assert_int_equal(write(fd, "new one\n", 8), 8); /* behind a hole */
    rig_wait_delivered(&r, 2001);
    assert_int_equal(write(fd, "new two\n", 8), 8);
    rig_wait_delivered(&r, 2002);
    close(fd);
    stop_and_read(&r, &l);
    tel_buf_add_char(&old, '\0');
    LINES_CHECK_SOURCES(&l, old.ptr, "new one\nnew two\n");
    tel_buf_free(&old);
    lines_free(&l);
    rig_close(&r);
}

static void truncated_while_away(void **state)
{
    struct rig r;
    struct lines l;
    (void)state;
    rig_open(&r, 1);
    rig_puts(&r, "a.log", "one\ntwo\n");
    rig_start(&r, "a.log");
    rig_wait_delivered(&r, 2);
    rig_stop(&r);
    rig_truncate(&r, "a.log");
    rig_puts(&r, "a.log", "not one\nand some more\n");
    rig_start(&r, "a.log");
    rig_wait_delivered(&r, 2);
    stop_and_read(&r, &l);
    LINES_CHECK_SOURCES(&l, "one\ntwo\n", "not one\nand some more\n");
    lines_free(&l);
    rig_close(&r);
}

static void renamed_while_away(void **state)
{
    struct rig r;
    struct lines l;
    (void)state;
    rig_open(&r, 1);
    rig_puts(&r, "a.log", "one\ntwo\n");
    rig_start(&r, "a.log");
    rig_wait_delivered(&r, 2);
    rig_stop(&r);
    rig_puts(&r, "a.log", "three\n");
    rig_rename(&r, "a.log", "a.log.1");
    rig_puts(&r, "a.log", "next one\n");
    rig_start(&r, "a.log");
    rig_wait_delivered(&r, 2);
    stop_and_read(&r, &l);
    LINES_CHECK_SOURCES(&l, "one\ntwo\nthree\n", "next one\n");
    lines_free(&l);
    rig_close(&r);
}

static void deleted_file_is_read_to_its_end(void **state)
{
    struct rig r;
    struct lines l;
    char path[256];
    (void)state;
    rig_open(&r, 1);
    rig_puts(&r, "a.log", "one\n");
    rig_start(&r, "a.log");
    rig_wait_delivered(&r, 1);
    rig_path(&r, "a.log", path);
    int fd = open(path, O_WRONLY | O_APPEND);
    rig_unlink(&r, "a.log");
    assert_int_equal(write(fd, "two\nthree", 9), 9);
    rig_wait_delivered(&r, 3);
    close(fd);
    stop_and_read(&r, &l);
    LINES_CHECK_SOURCES(&l, "one\ntwo\nthree\n");
    lines_free(&l);
    rig_close(&r);
}

static void bytes_stay_as_they_are(void **state)
{
    static const char text[] = "with \0 zero\n\xff\xfe broken utf-8 \xc3\n\n\r\ncrlf\r\n\ttab \x1b[31m\n";
    struct rig r;
    struct lines l;
    (void)state;
    rig_open(&r, 1);
    rig_append(&r, "a.log", text, sizeof(text) - 1);
    rig_start(&r, "a.log");
    rig_wait_delivered(&r, 6);
    stop_and_read(&r, &l);
    assert_int_equal(l.len, 6);
    lines_check_file(&l, "a.log", text, sizeof(text) - 1);
    lines_free(&l);
    rig_close(&r);
}

static void carriage_returns_can_be_stripped(void **state)
{
    struct rig r;
    struct lines l;
    (void)state;
    rig_open(&r, 1);
    rig_set(&r, "strip_cr", "true");
    rig_puts(&r, "a.log", "one\r\ntwo\nin\rside\r\n");
    rig_start(&r, "a.log");
    rig_wait_delivered(&r, 3);
    stop_and_read(&r, &l);
    LINES_CHECK_SOURCES(&l, "one\ntwo\nin\rside\n");
    lines_free(&l);
    rig_close(&r);
}

static void long_lines_are_split_and_marked(void **state)
{
    struct rig r;
    struct lines l;
    struct tel_buf text = {0};
    struct tel_rand rnd;
    (void)state;
    rig_open(&r, 1);
    tel_rand_init(&rnd, 7);
    /* Exactly the limit, one more, and five times as much; two-byte characters lie across the cuts. */
    const size_t sizes[] = {MIB, MIB + 1, 5 * MIB + 17, 10};
    for (size_t i = 0; i < TEL_ARRAY_LEN(sizes); i++) {
        for (size_t n = 0; n + 1 < sizes[i]; n += 2)
            tel_buf_add(&text, tel_rand_below(&rnd, 2) ? "\xc3\xa4" : "ab", 2);
        if (sizes[i] % 2)
            tel_buf_add_char(&text, 'x');
        tel_buf_add_char(&text, '\n');
    }
    rig_append(&r, "a.log", text.ptr, text.len);
    rig_start(&r, "a.log");
    rig_wait_delivered(&r, 1 + 2 + 6 + 1);
    stop_and_read(&r, &l);
    lines_check_file(&l, "a.log", text.ptr, text.len);
    assert_int_equal(l.len, 10);
    assert_null(l.items[0].split);
    assert_string_equal(l.items[1].split, "1/?");
    assert_string_equal(l.items[2].split, "2/2");
    assert_string_equal(l.items[3].split, "1/?");
    assert_string_equal(l.items[8].split, "6/6");
    assert_null(l.items[9].split);
    lines_free(&l);
    tel_buf_free(&text);
    rig_close(&r);
}

static void long_line_survives_restarts(void **state)
{
    struct rig r;
    struct lines l;
    struct tel_buf text = {0};
    (void)state;
    rig_open(&r, 1);
    rig_set(&r, "max_line_bytes", "1000");
    rig_start(&r, "a.log");
    for (int i = 0; i < 10; i++) {
        struct tel_buf part = {0};
        for (int n = 0; n < 77; n++)
            tel_buf_printf(&part, "%04d ", i * 77 + n);
        if (i == 9)
            tel_buf_add_char(&part, '\n');
        rig_append(&r, "a.log", part.ptr, part.len);
        tel_buf_add(&text, part.ptr, part.len);
        if (text.len > 1001) {
            rig_stop(&r);
            rig_start(&r, "a.log");
        }
        tel_buf_free(&part);
    }
    rig_puts(&r, "a.log", "end\n");
    TEL_BUF_ADD_LIT(&text, "end\n");
    wait_line(&r, "end");
    stop_and_read(&r, &l);
    lines_check_file(&l, "a.log", text.ptr, text.len);
    const struct line *last = &l.items[l.len - 2];
    assert_non_null(last->split);
    assert_int_equal(strtoul(last->split, NULL, 10), l.len - 1);
    lines_free(&l);
    tel_buf_free(&text);
    rig_close(&r);
}

static void partial_line_waits_for_its_end(void **state)
{
    struct rig r;
    struct lines l;
    (void)state;
    rig_open(&r, 1);
    rig_start(&r, "*.log");
    rig_puts(&r, "a.log", "first\nbegun ");
    rig_wait_delivered(&r, 1);
    rig_puts(&r, "a.log", "and ");
    rig_puts(&r, "b.log", "shows that time went by\n");
    rig_wait_delivered(&r, 2);
    rig_puts(&r, "a.log", "ended\n");
    rig_wait_delivered(&r, 3);
    stop_and_read(&r, &l);
    LINES_CHECK_SOURCES(&l, "first\nbegun and ended\n", "shows that time went by\n");
    lines_free(&l);
    rig_close(&r);
}

static void partial_line_can_time_out(void **state)
{
    struct rig r;
    struct lines l;
    (void)state;
    rig_open(&r, 1);
    rig_set(&r, "partial_timeout", "30ms");
    rig_start(&r, "a.log");
    rig_puts(&r, "a.log", "begun ");
    rig_wait_delivered(&r, 1);
    rig_puts(&r, "a.log", "and ended\n");
    rig_wait_delivered(&r, 2);
    stop_and_read(&r, &l);
    LINES_CHECK_SOURCES(&l, "begun and ended\n");
    assert_string_equal(l.items[0].split, "1/?");
    assert_string_equal(l.items[1].split, "2/2");
    lines_free(&l);
    rig_close(&r);
}

static void patterns_reach_deep(void **state)
{
    struct rig r;
    struct lines l;
    char from[256], to[256];
    (void)state;
    rig_open(&r, 2);
    rig_mkdir(&r, "logs/a/b/c");
    rig_puts(&r, "logs/top.log", "top\n");
    rig_puts(&r, "logs/a/b/c/deep.log", "deep\n");
    rig_puts(&r, "logs/a/b/debug.log", "excluded\n");
    rig_puts(&r, "logs/a/skip.txt", "not of the pattern\n");
    rig_puts(&r, "target", "through a link\n");
    rig_path(&r, "target", from);
    rig_path(&r, "logs/link.log", to);
    assert_int_equal(symlink(from, to), 0);
    rig_path(&r, "logs", from);
    rig_path(&r, "logs/a/loop", to);
    assert_int_equal(symlink(from, to), 0);
    rig_set(&r, "exclude", "debug*");
    rig_start(&r, "logs/**/*.{log,out}");
    rig_wait_delivered(&r, 3);
    rig_mkdir(&r, "logs/new/folder");
    rig_puts(&r, "logs/new/folder/late.out", "late\n");
    rig_puts(&r, "target", "more through a link\n");
    rig_wait_delivered(&r, 5);
    stop_and_read(&r, &l);
    LINES_CHECK_SOURCES(&l, "top\n", "deep\n", "through a link\nmore through a link\n", "late\n");
    lines_free(&l);
    rig_close(&r);
}

static void start_at_the_end_is_remembered(void **state)
{
    struct rig r;
    struct lines l;
    (void)state;
    rig_open(&r, 1);
    rig_set(&r, "start_at", "end");
    rig_puts(&r, "a.log", "old\n");
    rig_start(&r, "*.log");
    rig_wait_sources(&r, 1); /* the first scan has been */
    rig_puts(&r, "b.log", "of a new file\n");
    rig_wait_delivered(&r, 1);
    rig_kill(&r);
    rig_puts(&r, "a.log", "while away\n");
    rig_start(&r, "*.log");
    wait_line(&r, "while away");
    rig_stop(&r);
    rig_read(&r, &l);
    LINES_CHECK_SOURCES(&l, "while away\n", "of a new file\n");
    lines_free(&l);
    rig_close(&r);
}

static void few_descriptors_suffice(void **state)
{
    struct rig r;
    struct lines l;
    char name[32], text[64];
    (void)state;
    rig_open(&r, 4);
    rig_set(&r, "max_open_files", "3");
    rig_start(&r, "*.log");
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 20; i++) {
            snprintf(name, sizeof(name), "%02d.log", i);
            snprintf(text, sizeof(text), "file %d round %d\n", i, round);
            rig_puts(&r, name, text);
        }
        rig_wait_delivered(&r, (uint64_t)(round + 1) * 20);
    }
    stop_and_read(&r, &l);
    assert_int_equal(lines_sources(&l), 20);
    for (int i = 0; i < 20; i++) {
        struct tel_buf want = {0};
        for (int round = 0; round < 5; round++)
            tel_buf_printf(&want, "file %d round %d\n", i, round);
        snprintf(name, sizeof(name), "/%02d.log", i);
        lines_check_file(&l, name, want.ptr, want.len);
        tel_buf_free(&want);
    }
    lines_free(&l);
    rig_close(&r);
}

static void binary_files_are_left_out(void **state)
{
    static const char gzip[] = "\x1f\x8b\x08\0\0\0\0\0\n\n";
    struct rig r;
    struct lines l;
    (void)state;
    rig_open(&r, 1);
    rig_append(&r, "a.log", gzip, sizeof(gzip) - 1);
    rig_puts(&r, "b.log", "text\n");
    rig_start(&r, "*.log");
    rig_wait_delivered(&r, 1);
    stop_and_read(&r, &l);
    LINES_CHECK_SOURCES(&l, "text\n");
    lines_free(&l);
    rig_close(&r);
}

static void works_without_inotify(void **state)
{
    struct rig r;
    struct lines l;
    (void)state;
    rig_open(&r, 1);
    rig_set(&r, "inotify", "false");
    rig_start(&r, "*.log");
    rig_puts(&r, "a.log", "one\n");
    rig_wait_delivered(&r, 1);
    rig_puts(&r, "a.log", "two\n");
    rig_wait_delivered(&r, 2);
    rig_rename(&r, "a.log", "gone");
    rig_puts(&r, "gone", "three");
    rig_wait_delivered(&r, 3);
    stop_and_read(&r, &l);
    LINES_CHECK_SOURCES(&l, "one\ntwo\nthree\n");
    lines_free(&l);
    rig_close(&r);
}

static void a_new_file_on_an_old_inode_is_new(void **state)
{
    struct rig r;
    struct lines l;
    (void)state;
    rig_open(&r, 1);
    rig_puts(&r, "a.log", "same head\n");
    rig_start(&r, "a.log");
    rig_wait_delivered(&r, 1);
    rig_unlink(&r, "a.log");
    /* Its grace over, the old one is forgotten; a file system gives the number away again. */
    rig_wait_sources(&r, 0);
    rig_puts(&r, "a.log", "same head\n");
    rig_wait_delivered(&r, 2);
    stop_and_read(&r, &l);
    LINES_CHECK_SOURCES(&l, "same head\n", "same head\n");
    lines_free(&l);
    rig_close(&r);
}

/* Writes, rotates and restarts at random; at the end every line is there, in order in its source. */
static void random_life(uint64_t seed)
{
    struct rig r;
    struct lines l;
    struct tel_rand rnd;
    unsigned written = 0, rotations = 0, since = 0;
    print_message("seed %llu\n", (unsigned long long)seed);
    tel_rand_init(&rnd, seed);
    rig_open(&r, 3);
    rig_set(&r, "rotate_grace", "20ms");
    rig_start(&r, "app.log*");
    for (int step = 0; step < 120; step++) {
        struct tel_buf text = {0};
        unsigned n = (unsigned)tel_rand_below(&rnd, 400);
        for (unsigned i = 0; i < n; i++)
            tel_buf_printf(&text, "line %08u %.*s\n", written++, (int)tel_rand_below(&rnd, 60),
                           "------------------------------------------------------------");
        if (n)
            rig_append(&r, "app.log", text.ptr, text.len);
        tel_buf_free(&text);
        since += n;
        uint64_t what = tel_rand_below(&rnd, 10);
        if (what < 2 && n) {
            char name[32];
            snprintf(name, sizeof(name), "app.log.%u", rotations++);
            rig_rename(&r, "app.log", name);
        } else if (what == 2) {
            rig_kill(&r);
            rig_start(&r, "app.log*");
            since = 0;
        } else if (what == 3) {
            rig_stop(&r);
            rig_start(&r, "app.log*");
            since = 0;
        } else if (what == 4) {
            rig_wait_delivered(&r, tel_rand_below(&rnd, since + 1));
        }
    }
    /* Everything: until the last line that was written has come. */
    int64_t deadline = tel_mono_ns(tel_clock_system()) + RIG_WAIT_S * TEL_NS_PER_S;
    rig_read(&r, &l);
    while (l.len < written && tel_mono_ns(tel_clock_system()) < deadline) {
        lines_free(&l);
        usleep(20000);
        rig_read(&r, &l);
    }
    bool *seen = calloc(written + 1, sizeof(bool));
    for (size_t i = 0; i < l.len; i++) {
        unsigned number = (unsigned)strtoul(l.items[i].body + 5, NULL, 10);
        assert_true(number < written);
        if (seen[number])
            fail_msg("line %u came twice", number);
        seen[number] = true;
    }
    for (unsigned i = 0; i < written; i++)
        if (!seen[i])
            fail_msg("line %u is lost", i);
    assert_int_equal(lines_sources(&l), rotations + (lines_sources(&l) > rotations));
    print_message("%u lines, %u rotations, %zu repeats dropped\n", written, rotations, l.repeats);
    free(seen);
    rig_stop(&r);
    lines_free(&l);
    rig_close(&r);
}

static void random_lives(void **state)
{
    const char *given = getenv("TEL_TEST_SEED");
    (void)state;
    if (given) {
        random_life(strtoull(given, NULL, 10));
        return;
    }
    for (int i = 0; i < 3; i++)
        random_life(tel_rand_seed() % 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renamed_file_is_read_to_its_end),
        cmocka_unit_test(renamed_within_the_pattern_is_the_same_source),
        cmocka_unit_test(truncated_file_begins_anew),
        cmocka_unit_test(truncated_under_a_writer_that_does_not_append),
        cmocka_unit_test(truncated_while_away),
        cmocka_unit_test(renamed_while_away),
        cmocka_unit_test(deleted_file_is_read_to_its_end),
        cmocka_unit_test(bytes_stay_as_they_are),
        cmocka_unit_test(carriage_returns_can_be_stripped),
        cmocka_unit_test(long_lines_are_split_and_marked),
        cmocka_unit_test(long_line_survives_restarts),
        cmocka_unit_test(partial_line_waits_for_its_end),
        cmocka_unit_test(partial_line_can_time_out),
        cmocka_unit_test(patterns_reach_deep),
        cmocka_unit_test(start_at_the_end_is_remembered),
        cmocka_unit_test(few_descriptors_suffice),
        cmocka_unit_test(binary_files_are_left_out),
        cmocka_unit_test(works_without_inotify),
        cmocka_unit_test(a_new_file_on_an_old_inode_is_new),
        cmocka_unit_test(random_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
