/*
 * LevelDB's files cut short or changed: its logs and manifests, of the partition's own store, a day and
 * the late. The store opens or says why not; and a replay of the log from where it resumes finds each
 * event once, or what is missing is named.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/sys/fs.h"
#include "shard/store/folder.h"
#include "tests/unit/shard/store_fixture.h"

#define DAY    20000
#define ROUNDS 4
#define TAIL   160u /* bytes of the end that are cut one by one */

/* Round i is message i: a segment of the day, and one of the next day in the late. Then the commit. */
static void make(struct fixture *f)
{
    fixture_begin(f);
    fixture_open(f);
    for (int64_t i = 1; i <= ROUNDS; i++) {
        struct store_writer *writer;
        assert_int_equal(store_writer_begin_late(f->store, (struct store_position){0, i + 1}, &writer,
                                                 NULL), TEL_OK);
        fixture_add(writer, "a", DAY + 1, i);
        assert_int_equal(store_writer_commit(writer, NULL), TEL_OK);
        assert_int_equal(fixture_round(f, "a", DAY, i, i + 1), TEL_OK);
        assert_int_equal(fixture_commit(f, i + 1), TEL_OK);
        if (i == 2) { /* some of it in tables */
            fixture_close(f);
            fixture_open(f);
        }
    }
    fixture_close(f);
    char command[300];
    snprintf(command, sizeof(command), "mkdir %s-copy && cp -r %s/* %s-copy", f->dir, f->dir, f->dir);
    assert_int_equal(system(command), 0);
}

static void restore(struct fixture *f)
{
    char command[300];
    snprintf(command, sizeof(command), "rm -r %s && cp -r %s-copy %s", f->dir, f->dir, f->dir);
    assert_int_equal(system(command), 0);
}

static void unmake(struct fixture *f)
{
    char copy[100];
    snprintf(copy, sizeof(copy), "%s-copy", f->dir);
    assert_int_equal(tel_fs_remove_all(tel_fs_system(), copy, NULL), TEL_OK);
    fixture_end(f);
}

/* What a server does that reads the log on: what a day has not got is written again. */
static void replay(struct fixture *f)
{
    int64_t from = TEL_MAX(store_resume_get(f->store).position.offset, 1);
    for (int64_t day = DAY; day <= DAY + 1; day++)
        for (int64_t i = from; i <= ROUNDS; i++)
            if (i >= store_day_watermark(f->store, day).offset)
                assert_int_equal(fixture_round(f, "a", day, i, i + 1), TEL_OK);
    assert_int_equal(fixture_commit(f, ROUNDS + 1), TEL_OK);
}

/* Each message once a day, or something is said to be missing. */
static void check_once(struct fixture *f, const char *what)
{
    for (int64_t day = DAY; day <= DAY + 1; day++) {
        struct store_view view = {0};
        struct tel_buf missing = {0};
        unsigned times[ROUNDS + 1] = {0};
        bool said = false;
        store_select(f->store, NULL, day * TEL_NS_PER_DAY, (day + 1) * TEL_NS_PER_DAY, &view, &missing);
        for (size_t i = 0; i < view.segments.len; i++) {
            times[view.segments.items[i]->first_offset]++;
            said = said || fixture_check(view.segments.items[i]) != TEL_OK;
        }
        said = said || missing.len > 0;
        for (unsigned i = 1; i <= ROUNDS; i++)
            if (times[i] > 1 || (times[i] == 0 && !said))
                fail_msg("%s: message %u is there %u times on day %d, and nothing is said", what, i,
                         times[i], (int)(day - DAY));
        store_view_done(&view);
        tel_buf_free(&missing);
    }
}

/* True if the store opens. */
static bool opens(struct fixture *f, const char *what)
{
    struct store_options options = {.dir = f->dir, .partition = 3, .shared = f->shared};
    struct tel_error err = {0};
    if (store_open(&options, &f->store, &err) == TEL_OK)
        return true;
    if (err.text[0] == '\0')
        fail_msg("%s: refused without a word", what);
    f->store = NULL;
    return false;
}

static void try_damage(struct fixture *f, const char *what, unsigned *opened, unsigned *refused)
{
    if (opens(f, what)) {
        replay(f);
        check_once(f, what);
        fixture_close(f);
        if (opens(f, what)) { /* and it stays so */
            check_once(f, what);
            fixture_close(f);
        }
        ++*opened;
    } else {
        ++*refused;
    }
    restore(f);
}

/* The files of a folder that hold what was written last. */
static void list_last(const char *dir, struct tel_fs_names *ret)
{
    struct tel_fs_names all = {0};
    assert_int_equal(tel_fs_list(tel_fs_system(), dir, &all, NULL), TEL_OK);
    for (size_t i = 0; i < all.len; i++)
        if (tel_span_ends(tel_span_cstr(all.items[i]), TEL_SPAN(".log")) ||
            tel_span_starts(tel_span_cstr(all.items[i]), TEL_SPAN("MANIFEST-")))
            tel_vec_push(ret, folder_path(dir, all.items[i]));
    tel_fs_names_free(&all);
    assert_true(ret->len >= 2);
}

static long size_of(const char *path)
{
    struct tel_fs_stat st;
    assert_int_equal(tel_fs_stat(tel_fs_system(), path, &st, NULL), TEL_OK);
    return (long)st.size;
}

static void flip(const char *path, long at, int bits)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, at, SEEK_SET);
    int c = fgetc(file);
    fseek(file, at, SEEK_SET);
    fputc(c ^ bits, file);
    fclose(file);
}

static void damage_folder(const char *name, struct tel_rand *r)
{
    struct fixture f;
    make(&f);
    char dir[128], what[256];
    snprintf(dir, sizeof(dir), "%s/%s", f.dir, name);
    struct tel_fs_names files = {0};
    list_last(dir, &files);
    unsigned opened = 0, refused = 0;
    for (size_t i = 0; i < files.len; i++) {
        long size = size_of(files.items[i]);
        for (long cut = TEL_MAX(size - (long)TAIL, 0); cut < size; cut += 1 + (cut % 2)) {
            char command[300];
            snprintf(command, sizeof(command), "truncate -s %ld %s", cut, files.items[i]);
            assert_int_equal(system(command), 0);
            snprintf(what, sizeof(what), "%s cut at %ld of %ld", files.items[i], cut, size);
            try_damage(&f, what, &opened, &refused);
        }
        for (unsigned k = 0; k < 40 && size > 0; k++) {
            long at = (long)tel_rand_below(r, (uint64_t)size);
            int bits = 1 << tel_rand_below(r, 8);
            flip(files.items[i], at, bits);
            snprintf(what, sizeof(what), "%s byte %ld of %ld, bits %x", files.items[i], at, size, bits);
            try_damage(&f, what, &opened, &refused);
        }
    }
    printf("[ damage   ] %s: %u opened, %u refused\n", name, opened, refused);
    assert_true(opened > 0);
    tel_fs_names_free(&files);
    unmake(&f);
}

static void test_torn(void **state)
{
    (void)state;
    uint64_t seed = tel_rand_seed() >> 32;
    printf("[ seed     ] %llu\n", (unsigned long long)seed);
    struct tel_rand r;
    tel_rand_init(&r, seed);
    damage_folder("meta", &r);
    damage_folder("2024-10-04.0", &r);
    damage_folder("late.0", &r);
}

int main(void)
{
    tel_log_set_level(TEL_LOG_OFF);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_torn)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
