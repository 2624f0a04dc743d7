/* The store: what is committed is there again, what is not is not, and damage is named. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <endian.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/crc32c.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/base/timefmt.h"
#include "common/sys/fs.h"
#include "shard/store/folder.h"
#include "tests/unit/shard/store_fixture.h"

static size_t count_segments(struct fixture *f, const char *tenant, int64_t day)
{
    struct store_view view = {0};
    struct tel_buf missing = {0};
    struct tel_span name = tel_span_cstr(tenant);
    store_select(f->store, tenant ? &name : NULL, day * TEL_NS_PER_DAY,
                 (day + 1) * TEL_NS_PER_DAY, &view, &missing);
    for (size_t i = 0; i < view.segments.len; i++)
        assert_int_equal(fixture_check(view.segments.items[i]), TEL_OK);
    assert_int_equal(missing.len, 0);
    size_t count = view.segments.len;
    store_view_done(&view);
    return count;
}

static void test_names(void **state)
{
    (void)state;
    char name[FOLDER_NAME_MAX];
    struct folder_day day, again;
    for (int64_t d = -100000; d < 100000; d += 997) {
        day = (struct folder_day){d, (uint32_t)(d & 7)};
        folder_day_name(name, day);
        assert_true(folder_day_parse(name, &again));
        assert_int_equal(again.day, d);
        assert_int_equal(again.generation, day.generation);
    }
    assert_false(folder_day_parse("meta", &again));
    assert_false(folder_day_parse("2026-01-02", &again));
    assert_false(folder_day_parse("2026-02-31.0", &again));
    assert_false(folder_day_parse("2026-01-02.0x", &again));
}

static void test_reopen(void **state)
{
    (void)state;
    struct fixture f;
    fixture_begin(&f);
    fixture_open(&f);
    for (int round = 0; round < 5; round++) {
        for (int64_t day = 20000; day < 20004; day++)
            assert_int_equal(fixture_round(&f, "a", day, round * 10 + 1, round * 10 + 10), TEL_OK);
        assert_int_equal(fixture_round(&f, "b", 20001, round * 10 + 2, round * 10 + 10), TEL_OK);
        assert_int_equal(fixture_commit(&f, round * 10 + 10), TEL_OK);
    }
    for (int again = 0; again < 3; again++) {
        assert_int_equal(count_segments(&f, "a", 20002), 5);
        assert_int_equal(count_segments(&f, "b", 20001), 5);
        assert_int_equal(count_segments(&f, "b", 20002), 0);
        assert_int_equal(count_segments(&f, NULL, 20001), 10);
        assert_int_equal(count_segments(&f, "c", 20001), 0);
        assert_int_equal(store_resume_get(f.store).position.offset, 50);
        assert_int_equal(store_day_watermark(f.store, 20003).offset, 50);
        assert_int_equal(store_day_watermark(f.store, 20009).offset, INT64_MIN);
        struct store_stats stats;
        store_stats_get(f.store, &stats);
        assert_int_equal(stats.days, 4);
        assert_int_equal(stats.segments, 25);
        assert_int_equal(stats.events, 250);
        fixture_close(&f);
        fixture_open(&f);
    }
    fixture_end(&f);
}

/* A writer that ended before its commit leaves nothing, though batches of it were written. */
static void test_uncommitted(void **state)
{
    (void)state;
    struct fixture f;
    fixture_begin(&f);
    fixture_open(&f);
    assert_int_equal(fixture_round(&f, "a", 20000, 1, 10), TEL_OK);
    struct store_writer *writer;
    assert_int_equal(store_writer_begin(f.store, 20000, (struct store_position){0, 20}, &writer,
                                        NULL),
                     TEL_OK);
    for (int i = 0; i < 9000; i++) /* several batches */
        fixture_add(writer, "a", 20000, 11);
    store_writer_abort(writer);
    assert_int_equal(count_segments(&f, "a", 20000), 1);
    fixture_close(&f);
    fixture_open(&f);
    assert_int_equal(count_segments(&f, "a", 20000), 1);
    assert_int_equal(store_day_watermark(f.store, 20000).offset, 10);
    /* The next writer deletes the remains, and goes further than they did. */
    assert_int_equal(fixture_round(&f, "a", 20000, 12, 30), TEL_OK);
    fixture_close(&f);
    fixture_open(&f);
    assert_int_equal(count_segments(&f, "a", 20000), 2);
    fixture_end(&f);
}

struct killer {
    enum store_step step;
    int count;
};

static tel_code kill_at(void *ctx, enum store_step step, struct tel_error *err)
{
    (void)err;
    struct killer *k = ctx;
    if (step == k->step && --k->count == 0)
        kill(getpid(), SIGKILL);
    return TEL_OK;
}

/* Runs in a child of its own, so that the parent stays without LevelDB's threads and can fork. */
static int in_child(void (*run)(struct fixture *f, size_t i), struct fixture *f, size_t i)
{
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        run(f, i);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

#define MANY 6000u

static const struct killer kills[] = {
    {STORE_STEP_DAY_BATCH, 1},     {STORE_STEP_DAY_BATCH, 2},   {STORE_STEP_DAY_COMMIT, 2},
    {STORE_STEP_DAY_COMMITTED, 2}, {STORE_STEP_META_COMMIT, 2}, {STORE_STEP_META_COMMITTED, 2},
};

static void write_and_die(struct fixture *f, size_t i)
{
    struct killer killer = kills[i];
    f->faults = (struct store_faults){kill_at, &killer};
    fixture_open(f);
    struct store_writer *writer;
    bool ok = fixture_round(f, "a", 20000, 1, 10) == TEL_OK && fixture_commit(f, 10) == TEL_OK &&
              store_writer_begin(f->store, 20000, (struct store_position){0, 20}, &writer, NULL) ==
                  TEL_OK;
    for (unsigned k = 0; ok && k < MANY; k++)
        fixture_add(writer, "a", 20000, 11);
    if (ok && store_writer_commit(writer, NULL) == TEL_OK)
        (void)!fixture_commit(f, 20);
}

static void look_and_go_on(struct fixture *f, size_t i)
{
    fixture_open(f);
    bool there = i >= 3; /* the day's commit was written */
    assert_int_equal(count_segments(f, "a", 20000), there ? MANY + 1 : 1);
    assert_int_equal(store_day_watermark(f->store, 20000).offset, there ? 20 : 10);
    assert_int_equal(store_resume_get(f->store).position.offset, i == 5 ? 20 : 10);
    /* What was left of it goes with the next flush, and does not come back. */
    assert_int_equal(fixture_round(f, "a", 20000, 31, 40), TEL_OK);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(count_segments(f, "a", 20000), there ? MANY + 2 : 2);
    fixture_close(f);
}

/* Killed at each step of a flush that takes several batches: all of it is there, or nothing. */
static void test_killed(void **state)
{
    (void)state;
    for (size_t i = 0; i < TEL_ARRAY_LEN(kills); i++) {
        struct fixture f;
        fixture_begin(&f);
        int status = in_child(write_and_die, &f, i);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        status = in_child(look_and_go_on, &f, i);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        fixture_end(&f);
    }
}

static void test_sources(void **state)
{
    (void)state;
    struct fixture f;
    fixture_begin(&f);
    fixture_open(&f);
    struct store_source sources[3] = {0}, got;
    for (unsigned i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof(name), "s%u", i);
        sources[i].id = store_source_id(f.store, tel_span_cstr(name));
        sources[i].position = i * UINT64_C(0x7fffffffffff);
        sources[i].seen_ns = (int64_t)i * 100 * TEL_NS_PER_DAY;
    }
    struct store_gap gap = {0, 5, 9, 77}, gaps[4];
    struct store_commit commit = {.resume = {{0, 9}, 77, {.gap_messages = 4, .dead_letters = 2}},
                                  .sources = sources,
                                  .source_count = 2,
                                  .gaps = &gap,
                                  .gap_count = 1,
                                  .expire_before_ns = INT64_MIN};
    assert_int_equal(store_commit(f.store, &commit, NULL), TEL_OK);
    fixture_close(&f);
    fixture_open(&f);
    assert_int_equal(store_source_get(f.store, sources[1].id, &got, NULL), TEL_OK);
    assert_true(got.position == sources[1].position);
    assert_int_equal(store_source_get(f.store, sources[2].id, &got, NULL), TEL_ERR_NOTFOUND);
    assert_int_equal(store_gaps(f.store, gaps, 4), 1);
    assert_int_equal(gaps[0].to, 9);
    assert_int_equal(store_resume_get(f.store).counters.dead_letters, 2);
    assert_int_equal(store_resume_get(f.store).mark, 77);
    /* Old ones are forgotten, unless this very commit puts them. */
    commit = (struct store_commit){.resume = {{0, 10}, 0, {0}},
                                   .sources = sources + 2,
                                   .source_count = 1,
                                   .expire_before_ns = 50 * TEL_NS_PER_DAY};
    assert_int_equal(store_commit(f.store, &commit, NULL), TEL_OK);
    assert_int_equal(store_source_get(f.store, sources[0].id, &got, NULL), TEL_ERR_NOTFOUND);
    assert_int_equal(store_source_get(f.store, sources[1].id, &got, NULL), TEL_OK);
    assert_int_equal(store_source_get(f.store, sources[2].id, &got, NULL), TEL_OK);
    fixture_end(&f);
}

static struct segment_image one_section(struct segment_section *section, struct tel_span bytes)
{
    *section = (struct segment_section){0, bytes};
    return (struct segment_image){.sections = section,
                                  .section_count = 1,
                                  .rows = 20,
                                  .min_time_ns = 20000 * TEL_NS_PER_DAY,
                                  .max_time_ns = 20000 * TEL_NS_PER_DAY + 50};
}

static void test_replace(void **state)
{
    (void)state;
    struct fixture f;
    fixture_begin(&f);
    fixture_open(&f);
    for (int i = 0; i < 4; i++)
        assert_int_equal(fixture_round(&f, "a", 20000, i + 1, i + 2), TEL_OK);
    struct store_view view = {0}, after = {0};
    struct tel_buf missing = {0};
    store_select(f.store, NULL, 0, INT64_MAX, &view, &missing);
    assert_int_equal(view.segments.len, 4);
    struct segment_section section;
    struct segment_image image = one_section(&section, TEL_SPAN("merged"));
    assert_int_equal(store_replace(f.store, view.segments.items, 4, &image, 1, NULL), TEL_OK);
    /* Twice is refused. */
    assert_int_equal(store_replace(f.store, view.segments.items, 4, &image, 1, NULL),
                     TEL_ERR_NOTFOUND);
    store_select(f.store, NULL, 0, INT64_MAX, &after, &missing);
    assert_int_equal(after.segments.len, 1);
    assert_true(after.segments.items[0]->merged);
    assert_int_equal(after.segments.items[0]->first_offset, 1);
    assert_int_equal(after.segments.items[0]->last_offset, 4);
    /* A search that began before still reads what it found. */
    size_t deleted;
    assert_int_equal(store_collect(f.store, &deleted, NULL), TEL_OK);
    assert_int_equal(deleted, 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(fixture_check(view.segments.items[i]), TEL_OK);
    store_view_done(&view);
    store_view_done(&after);
    for (int again = 0; again < 2; again++) {
        fixture_close(&f);
        fixture_open(&f);
        store_select(f.store, NULL, 0, INT64_MAX, &after, &missing);
        assert_int_equal(after.segments.len, 1);
        store_view_done(&after);
        memset(&after, 0, sizeof(after));
        assert_int_equal(store_collect(f.store, &deleted, NULL), TEL_OK);
        assert_int_equal(deleted, again == 0 ? 4 : 0);
    }
    assert_int_equal(store_day_watermark(f.store, 20000).offset, 5);
    fixture_end(&f);
}

static void test_retire_and_drop(void **state)
{
    (void)state;
    struct fixture f;
    fixture_begin(&f);
    fixture_open(&f);
    for (int64_t day = 20000; day < 20003; day++)
        assert_int_equal(fixture_round(&f, "a", day, day, 10), TEL_OK);
    struct store_view view = {0};
    struct tel_buf missing = {0};
    store_select(f.store, NULL, 20002 * TEL_NS_PER_DAY, INT64_MAX, &view, &missing);
    assert_int_equal(view.segments.len, 1);
    assert_int_equal(store_retire(view.segments.items[0], NULL), TEL_OK);
    assert_int_equal(fixture_check(view.segments.items[0]), TEL_OK);
    store_view_done(&view);
    memset(&view, 0, sizeof(view));
    size_t deleted;
    assert_int_equal(store_collect(f.store, &deleted, NULL), TEL_OK);
    assert_int_equal(deleted, 1);
    /* The watermark outlives the segment that brought it. */
    fixture_close(&f);
    fixture_open(&f);
    assert_int_equal(store_day_watermark(f.store, 20002).offset, 10);

    store_select(f.store, NULL, 0, INT64_MAX, &view, &missing);
    assert_int_equal(view.segments.len, 2);
    struct store_gone gone = {0};
    store_drop_before(f.store, 20001, &gone);
    assert_int_equal(gone.days, 1);
    assert_int_equal(gone.segments, 1);
    assert_int_equal(store_oldest_day(f.store), 20001);
    assert_int_equal(store_collect(f.store, &deleted, NULL), TEL_OK);
    for (size_t i = 0; i < 2; i++) /* also the one of the dropped day */
        assert_int_equal(fixture_check(view.segments.items[i]), TEL_OK);
    /* Late events of the dropped day go to a folder of their own. */
    assert_int_equal(fixture_round(&f, "a", 20000, 77, 20), TEL_OK);
    store_view_done(&view);
    assert_int_equal(store_collect(f.store, &deleted, NULL), TEL_OK);
    assert_int_equal(count_segments(&f, "a", 20000), 1);
    struct tel_fs_names names = {0};
    assert_int_equal(tel_fs_list(tel_fs_system(), f.dir, &names, NULL), TEL_OK);
    for (size_t i = 0; i < names.len; i++)
        assert_string_not_equal(names.items[i], "2024-10-04.0");
    tel_fs_names_free(&names);
    fixture_close(&f);
    fixture_open(&f);
    assert_int_equal(count_segments(&f, "a", 20000), 1);
    fixture_end(&f);
}

/* ---- damage ------------------------------------------------------------------------------------- */

struct damage {
    struct fixture *f;
    struct tel_buf missing;
    size_t good, bad;
};

/* Reads all there is: the right bytes, or an error, never wrong bytes. */
static void read_everything(struct fixture *f, size_t want, const char *what)
{
    struct store_view view = {0};
    struct tel_buf missing = {0};
    store_select(f->store, NULL, INT64_MIN, INT64_MAX, &view, &missing);
    size_t good = 0, bad = 0;
    for (size_t i = 0; i < view.segments.len; i++) {
        tel_code rc = fixture_check(view.segments.items[i]);
        if (rc == TEL_OK)
            good++;
        else
            bad++;
    }
    if (good != want && bad == 0 && missing.len == 0)
        fail_msg("%s: %zu of %zu segments and nothing is said of it", what, good, want);
    store_view_done(&view);
    tel_buf_free(&missing);
}

/* The files of a LevelDB folder whose name ends so. */
static void list_files(const char *dir, const char *suffix, struct tel_fs_names *ret)
{
    struct tel_fs_names all = {0};
    assert_int_equal(tel_fs_list(tel_fs_system(), dir, &all, NULL), TEL_OK);
    for (size_t i = 0; i < all.len; i++)
        if (tel_span_ends(tel_span_cstr(all.items[i]), tel_span_cstr(suffix)))
            tel_vec_push(ret, folder_path(dir, all.items[i]));
    tel_fs_names_free(&all);
}

static void poke(const char *path, size_t at, int flip)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, (long)at, SEEK_SET);
    int c = fgetc(file);
    fseek(file, (long)at, SEEK_SET);
    fputc(c ^ flip, file);
    fclose(file);
}

static size_t file_size(const char *path)
{
    struct tel_fs_stat st;
    assert_int_equal(tel_fs_stat(tel_fs_system(), path, &st, NULL), TEL_OK);
    return (size_t)st.size;
}

/* Some segments in tables and some in the log. */
static void make_small_day(struct fixture *f)
{
    fixture_open(f);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fixture_round(f, "a", 20000, i + 1, i + 2), TEL_OK);
    fixture_close(f); /* opening again makes a table of the log */
    fixture_open(f);
    assert_int_equal(fixture_round(f, "a", 20000, 4, 5), TEL_OK);
    assert_int_equal(fixture_commit(f, 5), TEL_OK);
    fixture_close(f);
}

static void flip_every_byte(const char *suffix, size_t step)
{
    struct fixture f;
    fixture_begin(&f);
    make_small_day(&f);
    char dir[96];
    snprintf(dir, sizeof(dir), "%s/2024-10-04.0", f.dir);
    char *copy = folder_path(f.dir, "copy");
    char command[256];
    snprintf(command, sizeof(command), "cp -r %s %s", dir, copy);
    assert_int_equal(system(command), 0);
    struct tel_fs_names files = {0};
    list_files(dir, suffix, &files);
    assert_true(files.len > 0);
    snprintf(command, sizeof(command), "rm -r %s && cp -r %s %s", dir, copy, dir);
    for (size_t i = 0; i < files.len; i++) {
        size_t size = file_size(files.items[i]);
        for (size_t at = 0; at < size; at += step) {
            poke(files.items[i], at, 0x41);
            fixture_open(&f);
            char what[256];
            snprintf(what, sizeof(what), "%s byte %zu", files.items[i], at);
            read_everything(&f, 4, what);
            fixture_close(&f);
            assert_int_equal(system(command), 0);
        }
    }
    tel_fs_names_free(&files);
    free(copy);
    fixture_end(&f);
}

static void test_flip_table(void **state)
{
    (void)state;
    flip_every_byte(".ldb", 17);
}

static void test_flip_log(void **state)
{
    (void)state;
    flip_every_byte(".log", 13);
}

/* LevelDB's log cut at any byte: a prefix of the rounds is there, and if less than was durable is
 * there, it is said. */
static void test_torn_log(void **state)
{
    (void)state;
    struct fixture f;
    fixture_begin(&f);
    fixture_open(&f);
    for (int i = 0; i < 4; i++)
        assert_int_equal(fixture_round(&f, "a", 20000, i + 1, i + 2), TEL_OK);
    fixture_close(&f);
    char dir[96], command[1024];
    snprintf(dir, sizeof(dir), "%s/2024-10-04.0", f.dir);
    snprintf(command, sizeof(command), "cp -r %s %s/copy", dir, f.dir);
    assert_int_equal(system(command), 0);
    struct tel_fs_names files = {0};
    list_files(dir, ".log", &files);
    assert_int_equal(files.len, 1);
    size_t size = file_size(files.items[0]);
    snprintf(command, sizeof(command), "rm -r %s && cp -r %s/copy %s", dir, f.dir, dir);
    for (size_t at = 0; at < size; at += 29) {
        snprintf(command, sizeof(command), "rm -r %s && cp -r %s/copy %s && truncate -s %zu %s", dir,
                 f.dir, dir, at, files.items[0]);
        assert_int_equal(system(command), 0);
        fixture_open(&f);
        struct store_position mark = store_day_watermark(f.store, 20000);
        size_t want = mark.offset == INT64_MIN ? 0 : (size_t)mark.offset - 1;
        assert_int_equal(count_segments(&f, "a", 20000), want);
        fixture_close(&f);
    }
    tel_fs_names_free(&files);
    fixture_end(&f);
}

/* Durable rounds that vanish from a day are noticed by the meta store's word. */
static void test_lost_day(void **state)
{
    (void)state;
    struct fixture f;
    fixture_begin(&f);
    make_small_day(&f);
    char dir[96];
    snprintf(dir, sizeof(dir), "%s/2024-10-04.0", f.dir);
    struct tel_fs_names files = {0};
    list_files(dir, ".log", &files);
    for (size_t i = 0; i < files.len; i++) {
        FILE *file = fopen(files.items[i], "wb");
        fclose(file);
    }
    tel_fs_names_free(&files);
    fixture_open(&f);
    read_everything(&f, 4, "log emptied");
    fixture_end(&f);
}

/* A day that retention deleted right before a kill, whose last word the meta store still has, comes back;
 * and the server is killed again before anything is in its folder. */
static void test_day_comes_back(void **state)
{
    (void)state;
    struct fixture f;
    struct store_writer *writer;
    char dir[96];
    fixture_begin(&f);
    fixture_open(&f);
    assert_int_equal(fixture_round(&f, "acme", 20000, 1, 10), TEL_OK);
    assert_int_equal(fixture_commit(&f, 10), TEL_OK);
    fixture_close(&f);
    snprintf(dir, sizeof(dir), "%s/2024-10-04.0", f.dir);
    assert_int_equal(tel_fs_remove_all(tel_fs_system(), dir, NULL), TEL_OK);
    fixture_open(&f);
    assert_int_equal(store_writer_begin(f.store, 20000, (struct store_position){0, 20}, &writer, NULL),
                     TEL_OK);
    store_writer_abort(writer);
    fixture_close(&f);
    fixture_open(&f);
    assert_int_equal(count_segments(&f, "acme", 20000), 0);
    assert_int_equal(fixture_round(&f, "acme", 20000, 2, 20), TEL_OK);
    assert_int_equal(fixture_commit(&f, 20), TEL_OK);
    fixture_close(&f);
    fixture_open(&f);
    assert_int_equal(count_segments(&f, "acme", 20000), 1);
    fixture_end(&f);
}

/* Stores were written without a mark once. */
static void test_resume_without_mark(void **state)
{
    (void)state;
    struct fixture f;
    char dir[96], value[12] = {0, 18, 1, 2, 3, 4, 5}; /* epoch 0, offset 9, counters */
    struct ldb *meta;
    fixture_begin(&f);
    fixture_open(&f);
    assert_int_equal(fixture_commit(&f, 4), TEL_OK);
    fixture_close(&f);
    snprintf(dir, sizeof(dir), "%s/meta", f.dir);
    struct ldb_options options = {.shared = f.shared, .write_buffer_bytes = 1 << 20,
                                  .block_bytes = 4096, .file_bytes = 1 << 20, .open_files = 16};
    assert_int_equal(ldb_open(dir, &options, &meta, NULL), TEL_OK);
    struct ldb_batch *batch = ldb_batch_new();
    uint32_t crc = htole32(tel_crc32c(tel_crc32c(0, "R", 1), value, 7));
    memcpy(value + 7, &crc, 4);
    ldb_batch_put(batch, TEL_SPAN("R"), tel_span_make(value, 11));
    assert_int_equal(ldb_write(meta, batch, true, NULL), TEL_OK);
    ldb_batch_free(batch);
    ldb_close(meta);
    fixture_open(&f);
    struct store_resume resume = store_resume_get(f.store);
    assert_int_equal(resume.position.offset, 9);
    assert_int_equal(resume.counters.events, 5);
    assert_true(resume.mark == 0);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed), /* first: it forks */
        cmocka_unit_test(test_names),       cmocka_unit_test(test_reopen),
        cmocka_unit_test(test_uncommitted), cmocka_unit_test(test_sources),
        cmocka_unit_test(test_resume_without_mark), cmocka_unit_test(test_day_comes_back),
        cmocka_unit_test(test_replace),     cmocka_unit_test(test_retire_and_drop),
        cmocka_unit_test(test_flip_table),  cmocka_unit_test(test_flip_log),
        cmocka_unit_test(test_torn_log),    cmocka_unit_test(test_lost_day),
    };
    tel_log_set_level(TEL_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
