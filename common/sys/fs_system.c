/* The machine's files: thin wrappers that retry EINTR, loop over short transfers and name the path in
 * every error. */
#include "common/sys/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/vec.h"

#define IO_MAX (1u << 30) /* one call; Linux itself stops at 2 GiB */

struct system_file {
    struct tel_file file;
    int fd;
    char path[];
};

static struct system_file *self_of(struct tel_file *file)
{
    return TEL_CONTAINER_OF(file, struct system_file, file);
}

static void fill_stat(const struct stat *st, struct tel_fs_stat *ret)
{
    *ret = (struct tel_fs_stat){
        .size = (uint64_t)st->st_size,
        .dev = st->st_dev,
        .inode = st->st_ino,
        .mtime_ns = (int64_t)st->st_mtim.tv_sec * TEL_NS_PER_S + st->st_mtim.tv_nsec,
        .is_file = S_ISREG(st->st_mode),
        .is_dir = S_ISDIR(st->st_mode),
    };
}

static tel_code file_read(struct tel_file *file, void *out, size_t len, size_t *ret_len,
                          struct tel_error *err)
{
    struct system_file *self = self_of(file);
    ssize_t n;
    do
        n = read(self->fd, out, TEL_MIN(len, IO_MAX));
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return tel_error_errno(err, errno, "cannot read %s", self->path);
    *ret_len = (size_t)n;
    return TEL_OK;
}

static tel_code file_pread(struct tel_file *file, uint64_t offset, void *out, size_t len,
                           size_t *ret_len, struct tel_error *err)
{
    struct system_file *self = self_of(file);
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(self->fd, (char *)out + done, TEL_MIN(len - done, IO_MAX),
                          (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tel_error_errno(err, errno, "cannot read %s", self->path);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *ret_len = done;
    return TEL_OK;
}

static tel_code file_write(struct tel_file *file, const void *data, size_t len,
                           struct tel_error *err)
{
    struct system_file *self = self_of(file);
    for (const char *p = data; len;) {
        ssize_t n = write(self->fd, p, TEL_MIN(len, IO_MAX));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tel_error_errno(err, errno, "cannot write to %s", self->path);
        p += n;
        len -= (size_t)n;
    }
    return TEL_OK;
}

static tel_code file_pwrite(struct tel_file *file, uint64_t offset, const void *data, size_t len,
                            struct tel_error *err)
{
    struct system_file *self = self_of(file);
    for (const char *p = data; len;) {
        ssize_t n = pwrite(self->fd, p, TEL_MIN(len, IO_MAX), (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tel_error_errno(err, errno, "cannot write to %s", self->path);
        p += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return TEL_OK;
}

static tel_code file_sync(struct tel_file *file, struct tel_error *err)
{
    struct system_file *self = self_of(file);
    if (fdatasync(self->fd) != 0)
        return tel_error_errno(err, errno, "cannot sync %s", self->path);
    return TEL_OK;
}

static tel_code file_truncate(struct tel_file *file, uint64_t size, struct tel_error *err)
{
    struct system_file *self = self_of(file);
    int rc;
    do
        rc = ftruncate(self->fd, (off_t)size);
    while (rc != 0 && errno == EINTR);
    if (rc != 0)
        return tel_error_errno(err, errno, "cannot truncate %s", self->path);
    return TEL_OK;
}

static tel_code file_stat(struct tel_file *file, struct tel_fs_stat *ret, struct tel_error *err)
{
    struct system_file *self = self_of(file);
    struct stat st;
    if (fstat(self->fd, &st) != 0)
        return tel_error_errno(err, errno, "cannot stat %s", self->path);
    fill_stat(&st, ret);
    return TEL_OK;
}

static void file_close(struct tel_file *file)
{
    struct system_file *self = self_of(file);
    close(self->fd);
    free(self);
}

static const struct tel_file_ops file_ops = {
    .read = file_read,
    .pread = file_pread,
    .write = file_write,
    .pwrite = file_pwrite,
    .sync = file_sync,
    .truncate = file_truncate,
    .stat = file_stat,
    .close = file_close,
};

static int open_flags(unsigned flags)
{
    bool writes = flags & (TEL_FS_WRITE | TEL_FS_APPEND);
    int oflags = O_CLOEXEC | (!writes ? O_RDONLY : flags & TEL_FS_READ ? O_RDWR : O_WRONLY);
    oflags |= flags & TEL_FS_APPEND ? O_APPEND : 0;
    oflags |= flags & TEL_FS_CREATE ? O_CREAT : 0;
    oflags |= flags & TEL_FS_EXCL ? O_EXCL : 0;
    oflags |= flags & TEL_FS_TRUNC ? O_TRUNC : 0;
    return oflags;
}

static tel_code fs_open(struct tel_fs *fs, const char *path, unsigned flags, struct tel_file **ret,
                        struct tel_error *err)
{
    (void)fs;
    int fd;
    do
        fd = open(path, open_flags(flags), flags & TEL_FS_PRIVATE ? 0600 : 0640);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return tel_error_errno(err, errno, "cannot open %s", path);
    size_t path_size = strlen(path) + 1;
    struct system_file *self = tel_malloc(sizeof *self + path_size);
    self->file.ops = &file_ops;
    self->fd = fd;
    memcpy(self->path, path, path_size);
    *ret = &self->file;
    return TEL_OK;
}

static tel_code fs_rename(struct tel_fs *fs, const char *from, const char *to,
                          struct tel_error *err)
{
    (void)fs;
    if (rename(from, to) != 0)
        return tel_error_errno(err, errno, "cannot rename %s to %s", from, to);
    return TEL_OK;
}

static tel_code fs_unlink(struct tel_fs *fs, const char *path, struct tel_error *err)
{
    (void)fs;
    if (unlink(path) != 0)
        return tel_error_errno(err, errno, "cannot remove %s", path);
    return TEL_OK;
}

static tel_code fs_mkdir(struct tel_fs *fs, const char *path, struct tel_error *err)
{
    (void)fs;
    if (mkdir(path, 0750) != 0)
        return tel_error_errno(err, errno, "cannot make the folder %s", path);
    return TEL_OK;
}

static tel_code fs_rmdir(struct tel_fs *fs, const char *path, struct tel_error *err)
{
    (void)fs;
    if (rmdir(path) != 0)
        return tel_error_errno(err, errno, "cannot remove the folder %s", path);
    return TEL_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static tel_code fs_list(struct tel_fs *fs, const char *dir, struct tel_fs_names *ret,
                        struct tel_error *err)
{
    (void)fs;
    DIR *handle = opendir(dir);
    if (!handle)
        return tel_error_errno(err, errno, "cannot list %s", dir);
    struct tel_fs_names names = {0};
    errno = 0;
    for (struct dirent *e; (e = readdir(handle));) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            tel_vec_push(&names, tel_strdup(e->d_name));
        errno = 0;
    }
    int errnum = errno;
    closedir(handle);
    if (errnum) {
        tel_fs_names_free(&names);
        return tel_error_errno(err, errnum, "cannot list %s", dir);
    }
    if (names.len)
        qsort(names.items, names.len, sizeof *names.items, compare_names);
    *ret = names;
    return TEL_OK;
}

static tel_code fs_stat(struct tel_fs *fs, const char *path, struct tel_fs_stat *ret,
                        struct tel_error *err)
{
    (void)fs;
    struct stat st;
    if (stat(path, &st) != 0)
        return tel_error_errno(err, errno, "cannot stat %s", path);
    fill_stat(&st, ret);
    return TEL_OK;
}

static tel_code fs_sync_dir(struct tel_fs *fs, const char *dir, struct tel_error *err)
{
    (void)fs;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return tel_error_errno(err, errno, "cannot open the folder %s", dir);
    int rc = fsync(fd), errnum = errno;
    close(fd);
    /* Some file systems have nothing to sync in a folder and say so with EINVAL. */
    if (rc != 0 && errnum != EINVAL)
        return tel_error_errno(err, errnum, "cannot sync the folder %s", dir);
    return TEL_OK;
}

static tel_code fs_space(struct tel_fs *fs, const char *path, struct tel_fs_space *ret,
                         struct tel_error *err)
{
    (void)fs;
    struct statvfs st;
    if (statvfs(path, &st) != 0)
        return tel_error_errno(err, errno, "cannot tell the free space of %s", path);
    ret->free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    ret->total_bytes = (uint64_t)st.f_blocks * st.f_frsize;
    return TEL_OK;
}

static const struct tel_fs_ops fs_ops = {
    .open = fs_open,
    .rename = fs_rename,
    .unlink = fs_unlink,
    .mkdir = fs_mkdir,
    .rmdir = fs_rmdir,
    .list = fs_list,
    .stat = fs_stat,
    .sync_dir = fs_sync_dir,
    .space = fs_space,
};

struct tel_fs *tel_fs_system(void)
{
    static struct tel_fs fs = {&fs_ops};
    return &fs;
}
