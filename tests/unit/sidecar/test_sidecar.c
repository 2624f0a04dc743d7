/* The whole sidecar over a journal: files in, records out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/rand.h"
#include "tests/unit/sidecar/sidecar_fixture.h"

static void numbered(struct tel_buf *buf, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        tel_buf_printf(buf, "2026-01-02T03:04:05.%06uZ line %u of this test\n", i % 1000000, i);
}

static void lines_come_through(void **state)
{
    struct rig r;
    struct lines l;
    struct tel_buf text = {0};
    (void)state;
    rig_open(&r, 3);
    numbered(&text, 0, 20000);
    rig_append(&r, "a.log", text.ptr, text.len);
    rig_puts(&r, "b.log", "only one\n");
    rig_puts(&r, "c.txt", "not wanted\n");
    rig_start(&r, "*.log");
    rig_wait_delivered(&r, 20001);
    numbered(&text, 20000, 20100);
    struct tel_buf more = {0};
    numbered(&more, 20000, 20100);
    rig_append(&r, "a.log", more.ptr, more.len);
    rig_wait_delivered(&r, 20101);
    rig_stop(&r);
    rig_read(&r, &l);
    assert_int_equal(l.len, 20101);
    assert_int_equal(l.repeats, 0);
    assert_int_equal(lines_sources(&l), 2);
    lines_check_file(&l, "a.log", text.ptr, text.len);
    lines_check_file(&l, "b.log", "only one\n", 9);
    for (size_t i = 0; i < l.len; i++)
        if (l.items[i].body_len == strlen("only one"))
            assert_true(l.items[i].timestamp_ns > 1600000000000000000);
        else
            assert_int_equal(l.items[i].timestamp_ns / 1000000000, 1767323045);
    lines_free(&l);
    tel_buf_free(&text);
    tel_buf_free(&more);
    rig_close(&r);
}

static void restart_goes_on(void **state)
{
    struct rig r;
    struct lines l;
    struct tel_buf text = {0};
    (void)state;
    rig_open(&r, 4);
    for (unsigned round = 0; round < 5; round++) {
        struct tel_buf more = {0};
        numbered(&more, round * 100, round * 100 + 100);
        numbered(&text, round * 100, round * 100 + 100);
        rig_append(&r, "a.log", more.ptr, more.len);
        tel_buf_free(&more);
        rig_start(&r, "a.log");
        rig_wait_delivered(&r, 100);
        rig_stop(&r);
    }
    rig_read(&r, &l);
    assert_int_equal(l.repeats, 0);
    assert_int_equal(lines_sources(&l), 1);
    lines_check_file(&l, "a.log", text.ptr, text.len);
    lines_free(&l);
    tel_buf_free(&text);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_through),
        cmocka_unit_test(restart_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
