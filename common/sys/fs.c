/* What can be said in terms of the interface, and the lock file. */
#include "common/sys/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"

#define MAX_DEPTH 64

struct tel_fs_lock {
    int fd;
};

void tel_fs_names_free(struct tel_fs_names *names)
{
    if (!names)
        return;
    for (size_t i = 0; i < names->len; i++)
        free(names->items[i]);
    free(names->items);
    *names = (struct tel_fs_names){0};
}

char *tel_fs_dirname(const char *path)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    while (len > 0 && path[len - 1] != '/')
        len--;
    if (len == 0)
        return tel_strdup(".");
    while (len > 1 && path[len - 1] == '/')
        len--;
    return tel_strndup(tel_span_make(path, len));
}

tel_code tel_fs_mkdir_all(struct tel_fs *fs, const char *path, struct tel_error *err)
{
    struct tel_fs_stat st;
    tel_code rc = tel_fs_stat(fs, path, &st, err);
    if (rc == TEL_OK && st.is_dir)
        return TEL_OK;
    if (rc == TEL_OK)
        return tel_error_set(err, TEL_ERR_INVALID, "%s is there but is not a folder", path);
    if (rc != TEL_ERR_NOTFOUND)
        return rc;
    char *parent = tel_fs_dirname(path);
    rc = strcmp(parent, path) == 0 ? tel_error_set(err, rc, "no folder %s", path)
                                   : tel_fs_mkdir_all(fs, parent, err);
    if (rc == TEL_OK) {
        rc = tel_fs_mkdir(fs, path, err);
        /* Another process may have been faster. */
        if (rc == TEL_OK || rc == TEL_ERR_EXISTS)
            rc = tel_fs_sync_dir(fs, parent, err);
    }
    free(parent);
    return rc;
}

static char *join(const char *dir, const char *name)
{
    size_t len = strlen(dir) + strlen(name) + 2;
    char *path = tel_malloc(len);
    snprintf(path, len, "%s/%s", dir, name);
    return path;
}

static tel_code remove_tree(struct tel_fs *fs, const char *path, int depth, struct tel_error *err)
{
    /* A symbolic link is removed as such: only what lstat calls a folder is entered. */
    struct stat st;
    if (lstat(path, &st) != 0) {
        int errnum = errno;
        return errnum == ENOENT ? TEL_OK : tel_error_errno(err, errnum, "cannot stat %s", path);
    }
    if (!S_ISDIR(st.st_mode))
        return tel_fs_unlink(fs, path, err);
    if (depth == MAX_DEPTH)
        return tel_error_set(err, TEL_ERR_LIMIT, "%s lies too deep to be removed", path);
    struct tel_fs_names names;
    tel_code rc = tel_fs_list(fs, path, &names, err);
    if (rc != TEL_OK)
        return rc;
    for (size_t i = 0; i < names.len && rc == TEL_OK; i++) {
        char *child = join(path, names.items[i]);
        rc = remove_tree(fs, child, depth + 1, err);
        free(child);
    }
    tel_fs_names_free(&names);
    return rc == TEL_OK ? tel_fs_rmdir(fs, path, err) : rc;
}

tel_code tel_fs_remove_all(struct tel_fs *fs, const char *path, struct tel_error *err)
{
    return remove_tree(fs, path, 0, err);
}

tel_code tel_fs_read_all(struct tel_fs *fs, const char *path, size_t max, struct tel_buf *out,
                         struct tel_error *err)
{
    struct tel_file *file;
    tel_code rc = tel_fs_open(fs, path, TEL_FS_READ, &file, err);
    if (rc != TEL_OK)
        return rc;
    size_t before = out->len, got;
    do {
        /* One byte more than allowed tells a full file from one that is too long. The size from stat
         * is not asked: files in /proc have none, and others grow. */
        size_t want = TEL_MIN(max - (out->len - before) + 1, (size_t)64 * 1024);
        tel_buf_reserve(out, want);
        rc = tel_file_read(file, out->ptr + out->len, want, &got, err);
        if (rc != TEL_OK)
            break;
        out->len += got;
        if (out->len - before > max)
            rc = tel_error_set(err, TEL_ERR_LIMIT, "%s holds more than %zu bytes", path, max);
    } while (rc == TEL_OK && got > 0);
    if (rc != TEL_OK)
        out->len = before;
    tel_file_close(file);
    return rc;
}

static tel_code write_and_sync(struct tel_fs *fs, const char *path, struct tel_span data,
                               struct tel_error *err)
{
    struct tel_file *file;
    tel_code rc = tel_fs_open(fs, path, TEL_FS_WRITE | TEL_FS_CREATE | TEL_FS_TRUNC, &file, err);
    if (rc != TEL_OK)
        return rc;
    rc = tel_file_write(file, data.ptr, data.len, err);
    if (rc == TEL_OK)
        rc = tel_file_sync(file, err);
    tel_file_close(file);
    return rc;
}

tel_code tel_fs_write_atomic(struct tel_fs *fs, const char *path, struct tel_span data,
                             struct tel_error *err)
{
    size_t len = strlen(path) + 5;
    char *temp = tel_malloc(len), *dir = tel_fs_dirname(path);
    snprintf(temp, len, "%s.tmp", path);
    tel_code rc = write_and_sync(fs, temp, data, err);
    if (rc == TEL_OK)
        rc = tel_fs_rename(fs, temp, path, err);
    if (rc == TEL_OK)
        rc = tel_fs_sync_dir(fs, dir, err);
    else /* the first error is the one to tell; what stays is overwritten by the next attempt */
        (void)!tel_fs_unlink(fs, temp, NULL);
    free(temp);
    free(dir);
    return rc;
}

static tel_code report_locked(int fd, const char *path, struct tel_error *err)
{
    char text[24] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    unsigned long long pid;
    struct tel_span s = tel_span_trim(tel_span_make(text, n > 0 ? (size_t)n : 0));
    if (!tel_span_to_u64(s, &pid))
        return tel_error_set(err, TEL_ERR_LOCKED, "%s is held by another process", path);
    return tel_error_set(err, TEL_ERR_LOCKED, "%s is held by process %llu", path, pid);
}

tel_code tel_fs_lock(const char *path, struct tel_fs_lock **ret, struct tel_error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return tel_error_errno(err, errno, "cannot open the lock file %s", path);
    tel_code rc = TEL_OK;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int errnum = errno;
        rc = errnum == EWOULDBLOCK ? report_locked(fd, path, err)
                                   : tel_error_errno(err, errnum, "cannot lock %s", path);
    } else {
        char text[24];
        int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
        if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)len, 0) != len)
            rc = tel_error_errno(err, errno, "cannot write the lock file %s", path);
    }
    if (rc != TEL_OK) {
        close(fd);
        return rc;
    }
    *ret = tel_malloc(sizeof **ret);
    (*ret)->fd = fd;
    return TEL_OK;
}

void tel_fs_unlock(struct tel_fs_lock *lock)
{
    if (!lock)
        return;
    close(lock->fd);
    free(lock);
}
