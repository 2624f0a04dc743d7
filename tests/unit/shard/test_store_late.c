/* Few events of many days: one LevelDB holds them until merges bring them to their days. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/timefmt.h"
#include "common/sys/fs.h"
#include "shard/store/copy.h"
#include "tests/unit/shard/store_fixture.h"

#define DAY  20000
#define DAYS 6

/* A flush of one segment for each of DAYS days, with offset `tag`. */
static tel_code late_round(struct fixture *f, int64_t tag, int64_t upto)
{
    struct store_writer *writer;
    struct tel_error err;
    tel_code rc =
        store_writer_begin_late(f->store, (struct store_position){0, upto}, &writer, &err);
    if (rc != TEL_OK)
        return rc;
    for (int64_t day = DAY; day < DAY + DAYS; day++)
        fixture_add(writer, "a", day, tag);
    return store_writer_commit(writer, &err);
}

static bool lost_some; /* and so something is missing, rightly */

/* What a search of the day finds; every byte of it is right, and nothing is missing. */
static void select_day(struct fixture *f, int64_t day, struct store_view *ret)
{
    struct tel_buf missing = {0};
    memset(ret, 0, sizeof(*ret));
    store_select(f->store, NULL, day * TEL_NS_PER_DAY, (day + 1) * TEL_NS_PER_DAY, ret, &missing);
    if (!lost_some)
        assert_int_equal(missing.len, 0);
    tel_buf_free(&missing);
}

static size_t count_day(struct fixture *f, int64_t day)
{
    struct store_view view;
    select_day(f, day, &view);
    for (size_t i = 0; i < view.segments.len; i++) {
        assert_int_equal(store_segment_day(view.segments.items[i]), day);
        if (!view.segments.items[i]->merged)
            assert_int_equal(fixture_check(view.segments.items[i]), TEL_OK);
    }
    size_t count = view.segments.len;
    store_view_done(&view);
    return count;
}

static void reopen(struct fixture *f)
{
    fixture_close(f);
    fixture_open(f);
}

static bool folder_is_there(struct fixture *f, const char *name)
{
    char path[128];
    struct tel_fs_stat st;
    snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    return tel_fs_stat(tel_fs_system(), path, &st, NULL) == TEL_OK;
}

static void merge_day(struct fixture *f, int64_t day)
{
    struct store_view view;
    select_day(f, day, &view);
    struct segment_section section = {0, TEL_SPAN("merged")};
    struct segment_image image = {.sections = &section,
                                  .section_count = 1,
                                  .rows = 10 * view.segments.len,
                                  .min_time_ns = day * TEL_NS_PER_DAY,
                                  .max_time_ns = day * TEL_NS_PER_DAY + 50};
    struct tel_error err = {0};
    if (store_replace(f->store, view.segments.items, view.segments.len, &image, 1, &err) != TEL_OK)
        fail_msg("%s", err.text);
    store_view_done(&view);
}

static size_t collect(struct fixture *f)
{
    size_t deleted;
    assert_int_equal(store_collect(f->store, &deleted, NULL), TEL_OK);
    return deleted;
}

static void begin(struct fixture *f)
{
    fixture_begin(f);
    fixture_open(f);
}

static void test_written(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    for (int64_t i = 1; i <= 3; i++)
        assert_int_equal(late_round(&f, i, i + 1), TEL_OK);
    assert_int_equal(fixture_commit(&f, 4), TEL_OK);
    for (int again = 0; again < 3; again++) {
        for (int64_t day = DAY; day < DAY + DAYS; day++) {
            assert_int_equal(count_day(&f, day), 3);
            assert_int_equal(store_day_watermark(f.store, day).offset, 4);
        }
        /* A day that had nothing is told nothing. */
        assert_int_equal(store_day_watermark(f.store, DAY + DAYS).offset, INT64_MIN);
        assert_true(folder_is_there(&f, "late.0"));
        assert_false(folder_is_there(&f, "2024-10-04.0"));
        assert_false(store_late_torn(f.store));
        struct tel_buf gone = {0};
        store_gone_days(f.store, &gone);
        assert_int_equal(gone.len, 0);
        reopen(&f);
    }
    fixture_end(&f);
}

/* Late ones and the day's own become one, in the day's LevelDB. */
static void test_merged(void **state)
{
    (void)state;
    for (int stop = 0; stop < 3; stop++) { /* the store ends: never, before the deletion, behind it */
        struct fixture f;
        begin(&f);
        assert_int_equal(late_round(&f, 1, 2), TEL_OK);
        assert_int_equal(fixture_round(&f, "a", DAY, 2, 3), TEL_OK);
        assert_int_equal(late_round(&f, 3, 4), TEL_OK);
        merge_day(&f, DAY);
        assert_true(folder_is_there(&f, "2024-10-04.0"));
        assert_int_equal(count_day(&f, DAY), 1);
        /* The resume position has passed none of it: the late keeps its word for the days. */
        assert_int_equal(collect(&f), 0);
        assert_int_equal(fixture_commit(&f, 4), TEL_OK);
        if (stop == 1)
            reopen(&f);
        assert_int_equal(count_day(&f, DAY), 1);
        size_t deleted = collect(&f);
        deleted += collect(&f);
        assert_int_equal(deleted, 3);
        if (stop == 2)
            reopen(&f);
        assert_int_equal(count_day(&f, DAY), 1);
        assert_int_equal(count_day(&f, DAY + 1), 2);
        assert_int_equal(store_day_watermark(f.store, DAY).offset, 4);
        fixture_end(&f);
    }
}

/* The whole of it is lost, while it has nothing: its folder, or what is in it. */
static void lose_late(struct fixture *f, bool keep_folder)
{
    char path[128];
    struct tel_error err;
    snprintf(path, sizeof(path), "%s/late.0", f->dir);
    fixture_close(f);
    assert_int_equal(tel_fs_remove_all(tel_fs_system(), path, &err), TEL_OK);
    if (keep_folder)
        assert_int_equal(tel_fs_mkdir_all(tel_fs_system(), path, &err), TEL_OK);
    fixture_open(f);
    lost_some = keep_folder; /* it had a mark, at least: who knows what else */
}

/* When the late is empty, its ids go on: what a day has replaced is not what comes next. */
static void check_ids(bool keep_folder)
{
    struct fixture f;
    begin(&f);
    for (int64_t round = 0; round < 3; round++) {
        assert_int_equal(late_round(&f, round + 1, round + 2), TEL_OK);
        assert_int_equal(fixture_commit(&f, round + 2), TEL_OK);
        reopen(&f);
        for (int64_t day = DAY; day < DAY + DAYS; day++) {
            assert_int_equal(count_day(&f, day), round > 0 ? 2 : 1);
            merge_day(&f, day);
        }
        collect(&f);
        if (round == 0)
            lose_late(&f, keep_folder);
        for (int64_t day = DAY; day < DAY + DAYS; day++)
            assert_int_equal(count_day(&f, day), 1);
    }
    fixture_end(&f);
    lost_some = false;
}

static void test_ids(void **state)
{
    (void)state;
    check_ids(false);
    check_ids(true);
}

/* ---- what goes wrong ------------------------------------------------------------------------------ */

struct faulty {
    enum store_step step;
    int countdown; /* 0: no fault */
};

static tel_code fail_step(void *ctx, enum store_step step, struct tel_error *err)
{
    struct faulty *faulty = ctx;
    if (step != faulty->step || faulty->countdown == 0 || --faulty->countdown > 0)
        return TEL_OK;
    return tel_error_set(err, TEL_ERR_IO, "made to fail");
}

static void begin_faulty(struct fixture *f, struct faulty *faulty)
{
    fixture_begin(f);
    f->faults = (struct store_faults){fail_step, faulty};
    fixture_open(f);
}

/* A flush that did not commit leaves nothing, though batches of it are on the disk. */
static void test_torn(void **state)
{
    (void)state;
    for (int crash = 0; crash < 2; crash++) {
        struct faulty faulty = {STORE_STEP_DAY_COMMIT, 0};
        struct fixture f;
        struct store_writer *writer;
        begin_faulty(&f, &faulty);
        assert_int_equal(late_round(&f, 1, 2), TEL_OK);
        assert_int_equal(fixture_commit(&f, 2), TEL_OK);
        assert_int_equal(store_writer_begin_late(f.store, (struct store_position){0, 5}, &writer,
                                                 NULL), TEL_OK);
        for (int i = 0; i < 9000; i++) /* several batches */
            fixture_add(writer, "a", DAY + i % DAYS, 3);
        faulty.countdown = 1;
        assert_int_equal(store_writer_commit(writer, NULL), TEL_ERR_IO);
        assert_true(store_late_torn(f.store));
        if (crash)
            reopen(&f);
        assert_true(store_late_torn(f.store));
        assert_int_equal(count_day(&f, DAY), 1);
        assert_int_equal(store_day_watermark(f.store, DAY).offset, 2);
        /* The next flush has much of that day, and comes by here only to clean up. */
        assert_int_equal(store_writer_begin_late(f.store, (struct store_position){0, 5}, &writer,
                                                 NULL), TEL_OK);
        assert_int_equal(store_writer_commit(writer, NULL), TEL_OK);
        assert_int_equal(fixture_round(&f, "a", DAY, 3, 5), TEL_OK);
        assert_int_equal(fixture_commit(&f, 5), TEL_OK);
        assert_false(store_late_torn(f.store));
        reopen(&f);
        assert_int_equal(count_day(&f, DAY), 2);
        assert_int_equal(count_day(&f, DAY + 1), 1);
        fixture_end(&f);
    }
}

/* A merge whose write failed may be on the disk or not; what is there in the end is there once. */
static void test_failed_merge(void **state)
{
    (void)state;
    struct faulty faulty = {STORE_STEP_MERGE, 0};
    struct fixture f;
    begin_faulty(&f, &faulty);
    assert_int_equal(late_round(&f, 1, 2), TEL_OK);
    assert_int_equal(late_round(&f, 2, 3), TEL_OK);
    assert_int_equal(fixture_commit(&f, 3), TEL_OK);
    struct store_view view;
    select_day(&f, DAY, &view);
    struct segment_section section = {0, TEL_SPAN("merged")};
    struct segment_image image = {.sections = &section, .section_count = 1, .rows = 20,
                                  .min_time_ns = DAY * TEL_NS_PER_DAY,
                                  .max_time_ns = DAY * TEL_NS_PER_DAY + 9};
    for (int i = 0; i < 2; i++) {
        faulty.countdown = 1;
        assert_int_equal(store_replace(f.store, view.segments.items, 2, &image, 1, NULL),
                         TEL_ERR_IO);
        assert_int_equal(count_day(&f, DAY), 2);
    }
    store_view_done(&view);
    merge_day(&f, DAY);
    assert_int_equal(collect(&f), 2);
    reopen(&f);
    assert_int_equal(count_day(&f, DAY), 1);
    fixture_end(&f);
}

/* Retention takes a day, or a segment of it, out of the late. */
static void test_dropped(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_int_equal(late_round(&f, 1, 2), TEL_OK);
    assert_int_equal(fixture_commit(&f, 2), TEL_OK);
    struct store_gone gone = {0};
    store_drop_before(f.store, DAY + 2, &gone);
    assert_int_equal(gone.days, 2);
    assert_int_equal(gone.segments, 2);
    assert_int_equal(count_day(&f, DAY), 0);
    struct store_view view;
    select_day(&f, DAY + 2, &view);
    assert_int_equal(store_retire(view.segments.items[0], NULL), TEL_OK);
    assert_int_equal(collect(&f), 2);
    assert_int_equal(fixture_check(view.segments.items[0]), TEL_OK); /* a search still has it */
    store_view_done(&view);
    assert_int_equal(collect(&f), 1);
    store_drop_empty(f.store);
    assert_int_equal(store_day_count(f.store), DAYS - 3);
    collect(&f);
    /* The day comes again, and is dropped while a writer has it. */
    struct store_writer *writer;
    assert_int_equal(store_writer_begin_late(f.store, (struct store_position){0, 5}, &writer, NULL),
                     TEL_OK);
    fixture_add(writer, "a", DAY, 4);
    fixture_add(writer, "a", DAY + 5, 4);
    store_drop_before(f.store, DAY + 1, &gone);
    assert_int_equal(store_writer_commit(writer, NULL), TEL_OK);
    assert_int_equal(count_day(&f, DAY), 0);
    assert_int_equal(count_day(&f, DAY + 5), 2);
    assert_int_equal(fixture_commit(&f, 5), TEL_OK);
    assert_int_equal(collect(&f), 1);
    reopen(&f);
    assert_int_equal(store_day_count(f.store), 3);
    assert_int_equal(count_day(&f, DAY + 5), 2);
    fixture_end(&f);
}

/* The day's own folder keeps its word when its last segment goes, though the late says more. */
static void test_own_word(void **state)
{
    (void)state;
    struct fixture f;
    struct store_view view;
    begin(&f);
    assert_int_equal(fixture_round(&f, "a", DAY, 1, 2), TEL_OK);
    assert_int_equal(fixture_round(&f, "a", DAY, 2, 3), TEL_OK);
    assert_int_equal(fixture_commit(&f, 3), TEL_OK);
    assert_int_equal(late_round(&f, 3, 4), TEL_OK);
    assert_int_equal(fixture_commit(&f, 4), TEL_OK);
    select_day(&f, DAY, &view);
    for (size_t i = 0; i < view.segments.len; i++)
        if (view.segments.items[i]->first_offset == 2)
            assert_int_equal(store_retire(view.segments.items[i], NULL), TEL_OK);
    store_view_done(&view);
    assert_int_equal(collect(&f), 1);
    reopen(&f);
    assert_int_equal(count_day(&f, DAY), 2);
    assert_int_equal(store_day_watermark(f.store, DAY).offset, 4);
    fixture_end(&f);
}

/* What cannot be read is named in every answer, as nobody knows of which day it is; new events go on. */
static void test_broken(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f);
    assert_int_equal(late_round(&f, 1, 2), TEL_OK);
    assert_int_equal(fixture_round(&f, "a", DAY, 1, 2), TEL_OK);
    assert_int_equal(fixture_commit(&f, 2), TEL_OK);
    fixture_close(&f);
    char path[128];
    snprintf(path, sizeof(path), "%s/late.0/CURRENT", f.dir);
    struct tel_error err;
    assert_int_equal(tel_fs_write_atomic(tel_fs_system(), path, TEL_SPAN("nonsense"), &err), TEL_OK);
    fixture_open(&f);
    struct store_view view = {0};
    struct tel_buf missing = {0};
    store_select(f.store, NULL, DAY * TEL_NS_PER_DAY, (DAY + 1) * TEL_NS_PER_DAY, &view, &missing);
    assert_int_equal(view.segments.len, 1);
    assert_true(tel_span_find(tel_buf_span(&missing), TEL_SPAN("late.0")) != (size_t)-1);
    store_view_done(&view);
    tel_buf_free(&missing);
    struct store_held held = {0};
    assert_int_equal(store_hold(f.store, &held, &err), TEL_ERR_CORRUPT);
    assert_int_equal(late_round(&f, 2, 3), TEL_OK);
    assert_true(folder_is_there(&f, "late.1"));
    fixture_end(&f);
}

/* A copy has each segment where it lies. */
static void test_held(void **state)
{
    (void)state;
    struct fixture f;
    struct store_held held = {0};
    begin(&f);
    assert_int_equal(late_round(&f, 1, 2), TEL_OK);
    assert_int_equal(fixture_round(&f, "a", DAY, 2, 3), TEL_OK);
    assert_int_equal(store_hold(f.store, &held, NULL), TEL_OK);
    assert_int_equal(held.days.len, 2);
    assert_int_equal(held.days.items[0].name.day, FOLDER_LATE);
    assert_int_equal(held.days.items[0].segments.len, DAYS);
    assert_int_equal(held.days.items[0].watermark.offset, 2);
    assert_int_equal(held.days.items[1].name.day, DAY);
    assert_int_equal(held.days.items[1].segments.len, 1);
    store_held_done(&held);
    fixture_end(&f);
}

int main(void)
{
    tel_log_set_level(TEL_LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written),      cmocka_unit_test(test_merged),
        cmocka_unit_test(test_ids),          cmocka_unit_test(test_torn),
        cmocka_unit_test(test_failed_merge), cmocka_unit_test(test_dropped),
        cmocka_unit_test(test_own_word),     cmocka_unit_test(test_broken),
        cmocka_unit_test(test_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
