/* The machine's files through the interface, the helpers, and the lock file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/sys/fs.h"

static char temp[64];

static int make_temp(void **state)
{
    (void)state;
    strcpy(temp, "/tmp/tel-test-fs-XXXXXX");
    return mkdtemp(temp) ? 0 : -1;
}

static int drop_temp(void **state)
{
    (void)state;
    return tel_fs_remove_all(tel_fs_system(), temp, NULL) == TEL_OK ? 0 : -1;
}

static const char *at(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", temp, name);
    return path;
}

static void test_read_and_write(void **state)
{
    (void)state;
    struct tel_fs *fs = tel_fs_system();
    struct tel_error err = {0};
    struct tel_file *file;
    assert_int_equal(tel_fs_open(fs, at("a"), TEL_FS_READ, &file, &err), TEL_ERR_NOTFOUND);
    assert_non_null(strstr(err.text, temp));
    assert_int_equal(
        tel_fs_open(fs, at("a"), TEL_FS_READ | TEL_FS_APPEND | TEL_FS_CREATE, &file, &err), TEL_OK);
    assert_int_equal(tel_file_write(file, "hello", 5, &err), TEL_OK);
    assert_int_equal(tel_file_write(file, "world", 5, &err), TEL_OK);
    char text[32];
    size_t len;
    assert_int_equal(tel_file_pread(file, 3, text, sizeof text, &len, &err), TEL_OK);
    assert_int_equal(len, 7);
    assert_memory_equal(text, "loworld", 7);
    assert_int_equal(tel_file_truncate(file, 4, &err), TEL_OK);
    assert_int_equal(tel_file_sync(file, &err), TEL_OK);
    struct tel_fs_stat st;
    assert_int_equal(tel_file_stat(file, &st, &err), TEL_OK);
    assert_int_equal(st.size, 4);
    assert_true(st.is_file && !st.is_dir);
    tel_file_close(file);
    tel_file_close(NULL);

    assert_int_equal(tel_fs_open(fs, at("a"), TEL_FS_WRITE | TEL_FS_CREATE | TEL_FS_EXCL, &file, &err),
                     TEL_ERR_EXISTS);
    assert_int_equal(tel_fs_open(fs, at("a"), TEL_FS_WRITE | TEL_FS_READ, &file, &err), TEL_OK);
    assert_int_equal(tel_file_pwrite(file, 2, "LL!", 3, &err), TEL_OK);
    assert_int_equal(tel_file_read(file, text, 2, &len, &err), TEL_OK);
    assert_int_equal(len, 2);
    assert_int_equal(tel_file_read(file, text, sizeof text, &len, &err), TEL_OK);
    assert_int_equal(len, 3);
    assert_memory_equal(text, "LL!", 3);
    assert_int_equal(tel_file_read(file, text, sizeof text, &len, &err), TEL_OK);
    assert_int_equal(len, 0);
    tel_file_close(file);
}

static void test_names(void **state)
{
    (void)state;
    struct tel_fs *fs = tel_fs_system();
    struct tel_error err = {0};
    char deep[256];
    snprintf(deep, sizeof deep, "%s/d/e/f", temp);
    assert_int_equal(tel_fs_mkdir_all(fs, deep, &err), TEL_OK);
    assert_int_equal(tel_fs_mkdir_all(fs, deep, &err), TEL_OK);
    assert_int_equal(tel_fs_write_atomic(fs, at("d/z"), TEL_SPAN("1"), &err), TEL_OK);
    assert_int_equal(tel_fs_write_atomic(fs, at("d/b"), TEL_SPAN("2"), &err), TEL_OK);
    assert_int_equal(tel_fs_mkdir_all(fs, at("d/b"), &err), TEL_ERR_INVALID);
    struct tel_fs_names names;
    assert_int_equal(tel_fs_list(fs, at("d"), &names, &err), TEL_OK);
    assert_int_equal(names.len, 3);
    assert_string_equal(names.items[0], "b");
    assert_string_equal(names.items[1], "e");
    assert_string_equal(names.items[2], "z");
    tel_fs_names_free(&names);
    assert_int_equal(tel_fs_list(fs, at("nowhere"), &names, &err), TEL_ERR_NOTFOUND);
    assert_int_equal(tel_fs_rmdir(fs, at("d"), &err), TEL_ERR_EXISTS);

    /* A link to a folder is removed, not followed. */
    assert_int_equal(tel_fs_mkdir(fs, at("kept"), &err), TEL_OK);
    assert_int_equal(tel_fs_write_atomic(fs, at("kept/file"), TEL_SPAN("x"), &err), TEL_OK);
    char target[256];
    strcpy(target, at("kept"));
    assert_int_equal(symlink(target, at("d/link")), 0);
    assert_int_equal(tel_fs_remove_all(fs, at("d"), &err), TEL_OK);
    struct tel_fs_stat st;
    assert_int_equal(tel_fs_stat(fs, at("d"), &st, &err), TEL_ERR_NOTFOUND);
    assert_int_equal(tel_fs_stat(fs, at("kept/file"), &st, &err), TEL_OK);
    assert_int_equal(tel_fs_remove_all(fs, at("d"), &err), TEL_OK);
}

static void test_whole_files(void **state)
{
    (void)state;
    struct tel_fs *fs = tel_fs_system();
    struct tel_error err = {0};
    struct tel_buf big = {0}, got = {0};
    for (int i = 0; i < 200000; i++)
        tel_buf_add_char(&big, (char)(i * 31));
    assert_int_equal(tel_fs_write_atomic(fs, at("big"), tel_buf_span(&big), &err), TEL_OK);
    TEL_BUF_ADD_LIT(&got, "kept");
    assert_int_equal(tel_fs_read_all(fs, at("big"), big.len - 1, &got, &err), TEL_ERR_LIMIT);
    assert_int_equal(got.len, 4);
    assert_int_equal(tel_fs_read_all(fs, at("big"), big.len, &got, &err), TEL_OK);
    assert_int_equal(got.len, 4 + big.len);
    assert_memory_equal(got.ptr + 4, big.ptr, big.len);
    tel_buf_clear(&got);
    assert_int_equal(tel_fs_read_all(fs, "/proc/self/stat", 4096, &got, &err), TEL_OK);
    assert_true(got.len > 10);
    struct tel_fs_stat st;
    assert_int_equal(tel_fs_stat(fs, at("big.tmp"), &st, &err), TEL_ERR_NOTFOUND);
    tel_buf_free(&big);
    tel_buf_free(&got);

    struct tel_fs_space space;
    assert_int_equal(tel_fs_space(fs, temp, &space, &err), TEL_OK);
    assert_true(space.total_bytes >= space.free_bytes && space.total_bytes > 0);
}

static void test_dirname(void **state)
{
    (void)state;
    const char *cases[][2] = {{"a", "."},      {"a/b", "a"}, {"/a", "/"},       {"/", "/"},
                              {"a/b/", "a"},   {"", "."},    {"a//b", "a"},     {"/a/b/c", "/a/b"}};
    for (size_t i = 0; i < TEL_ARRAY_LEN(cases); i++) {
        char *dir = tel_fs_dirname(cases[i][0]);
        assert_string_equal(dir, cases[i][1]);
        free(dir);
    }
}

static void test_lock(void **state)
{
    (void)state;
    struct tel_error err = {0};
    struct tel_fs_lock *lock, *second;
    assert_int_equal(tel_fs_lock(at("LOCK"), &lock, &err), TEL_OK);
    char pid[32];
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct tel_error theirs = {0};
        tel_code rc = tel_fs_lock(at("LOCK"), &second, &theirs);
        _exit(rc == TEL_ERR_LOCKED && strstr(theirs.text, pid) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(tel_fs_lock(at("LOCK"), &second, &err), TEL_ERR_LOCKED);
    tel_fs_unlock(lock);
    assert_int_equal(tel_fs_lock(at("LOCK"), &lock, &err), TEL_OK);
    tel_fs_unlock(lock);
    tel_fs_unlock(NULL);
    assert_int_equal(tel_fs_lock(at("no/LOCK"), &lock, &err), TEL_ERR_NOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_and_write), cmocka_unit_test(test_names),
        cmocka_unit_test(test_whole_files),    cmocka_unit_test(test_dirname),
        cmocka_unit_test(test_lock),
    };
    return cmocka_run_group_tests(tests, make_temp, drop_temp);
}
