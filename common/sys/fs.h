/*
 * Files. Every durable write goes through a struct tel_fs, so that a test can put one in its place
 * that fails, runs full or loses power (fs_fault.h). Paths are NUL-terminated.
 *
 * A tel_fs may be used by any thread; a tel_file by one thread at a time, except tel_file_pread,
 * which any number of threads may call at once.
 *
 * What is durable when: bytes after tel_file_sync; a new, renamed or removed name after
 * tel_fs_sync_dir of its folder. After a failed sync nothing is known about the bytes: the file must
 * be read again from what is on the disk, not synced again (Rebello et al., "Can applications recover
 * from fsync failures?", 2020).
 */
#ifndef TEL_SYS_FS_H
#define TEL_SYS_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/error.h"

enum tel_fs_flags {
    TEL_FS_READ = 1,
    TEL_FS_WRITE = 2,
    TEL_FS_APPEND = 4, /* implies WRITE: each write goes to the end */
    TEL_FS_CREATE = 8, /* if it is absent, mode 0640 */
    TEL_FS_EXCL = 16,  /* with CREATE: TEL_ERR_EXISTS if it is there */
    TEL_FS_TRUNC = 32,
    TEL_FS_PRIVATE = 64, /* with CREATE: mode 0600 */
};

struct tel_fs_stat {
    uint64_t size, dev, inode;
    int64_t mtime_ns;
    bool is_file, is_dir;
};

struct tel_fs_space {
    uint64_t free_bytes; /* for an ordinary user */
    uint64_t total_bytes;
};

/* The names in a folder in byte order, without "." and "..". */
struct tel_fs_names {
    char **items;
    size_t len, cap;
};

void tel_fs_names_free(struct tel_fs_names *names);

struct tel_file {
    const struct tel_file_ops *ops;
};

struct tel_file_ops {
    tel_code (*read)(struct tel_file *file, void *out, size_t len, size_t *ret_len,
                     struct tel_error *err);
    tel_code (*pread)(struct tel_file *file, uint64_t offset, void *out, size_t len,
                      size_t *ret_len, struct tel_error *err);
    tel_code (*write)(struct tel_file *file, const void *data, size_t len, struct tel_error *err);
    tel_code (*pwrite)(struct tel_file *file, uint64_t offset, const void *data, size_t len,
                       struct tel_error *err);
    tel_code (*sync)(struct tel_file *file, struct tel_error *err);
    tel_code (*truncate)(struct tel_file *file, uint64_t size, struct tel_error *err);
    tel_code (*stat)(struct tel_file *file, struct tel_fs_stat *ret, struct tel_error *err);
    void (*close)(struct tel_file *file);
};

struct tel_fs {
    const struct tel_fs_ops *ops;
};

struct tel_fs_lock; /* see tel_fs_lock */

struct tel_fs_ops {
    tel_code (*open)(struct tel_fs *fs, const char *path, unsigned flags, struct tel_file **ret,
                     struct tel_error *err);
    tel_code (*rename)(struct tel_fs *fs, const char *from, const char *to, struct tel_error *err);
    tel_code (*unlink)(struct tel_fs *fs, const char *path, struct tel_error *err);
    tel_code (*mkdir)(struct tel_fs *fs, const char *path, struct tel_error *err);
    tel_code (*rmdir)(struct tel_fs *fs, const char *path, struct tel_error *err);
    tel_code (*list)(struct tel_fs *fs, const char *dir, struct tel_fs_names *ret,
                     struct tel_error *err);
    tel_code (*stat)(struct tel_fs *fs, const char *path, struct tel_fs_stat *ret,
                     struct tel_error *err);
    tel_code (*sync_dir)(struct tel_fs *fs, const char *dir, struct tel_error *err);
    tel_code (*space)(struct tel_fs *fs, const char *path, struct tel_fs_space *ret,
                      struct tel_error *err);
};

/* The machine's files. Static: nothing to free. */
struct tel_fs *tel_fs_system(void);

static inline TEL_MUST_USE tel_code tel_fs_open(struct tel_fs *fs, const char *path, unsigned flags,
                                                struct tel_file **ret, struct tel_error *err)
{
    return fs->ops->open(fs, path, flags, ret, err);
}

/* Replaces `to` in one step if it is there. */
static inline TEL_MUST_USE tel_code tel_fs_rename(struct tel_fs *fs, const char *from,
                                                  const char *to, struct tel_error *err)
{
    return fs->ops->rename(fs, from, to, err);
}

static inline TEL_MUST_USE tel_code tel_fs_unlink(struct tel_fs *fs, const char *path,
                                                  struct tel_error *err)
{
    return fs->ops->unlink(fs, path, err);
}

/* Mode 0750. TEL_ERR_EXISTS if there is something of that name. */
static inline TEL_MUST_USE tel_code tel_fs_mkdir(struct tel_fs *fs, const char *path,
                                                 struct tel_error *err)
{
    return fs->ops->mkdir(fs, path, err);
}

/* An empty folder. */
static inline TEL_MUST_USE tel_code tel_fs_rmdir(struct tel_fs *fs, const char *path,
                                                 struct tel_error *err)
{
    return fs->ops->rmdir(fs, path, err);
}

/* *ret is filled anew; free it with tel_fs_names_free. */
static inline TEL_MUST_USE tel_code tel_fs_list(struct tel_fs *fs, const char *dir,
                                                struct tel_fs_names *ret, struct tel_error *err)
{
    return fs->ops->list(fs, dir, ret, err);
}

/* Follows symbolic links. TEL_ERR_NOTFOUND if there is nothing. */
static inline TEL_MUST_USE tel_code tel_fs_stat(struct tel_fs *fs, const char *path,
                                                struct tel_fs_stat *ret, struct tel_error *err)
{
    return fs->ops->stat(fs, path, ret, err);
}

static inline TEL_MUST_USE tel_code tel_fs_sync_dir(struct tel_fs *fs, const char *dir,
                                                    struct tel_error *err)
{
    return fs->ops->sync_dir(fs, dir, err);
}

/* Of the file system that holds path. */
static inline TEL_MUST_USE tel_code tel_fs_space(struct tel_fs *fs, const char *path,
                                                 struct tel_fs_space *ret, struct tel_error *err)
{
    return fs->ops->space(fs, path, ret, err);
}

/* Up to len bytes from the file's position; *ret_len 0 is the end of the file. */
static inline TEL_MUST_USE tel_code tel_file_read(struct tel_file *file, void *out, size_t len,
                                                  size_t *ret_len, struct tel_error *err)
{
    return file->ops->read(file, out, len, ret_len, err);
}

/* len bytes from offset; *ret_len is less only at the end of the file. */
static inline TEL_MUST_USE tel_code tel_file_pread(struct tel_file *file, uint64_t offset,
                                                   void *out, size_t len, size_t *ret_len,
                                                   struct tel_error *err)
{
    return file->ops->pread(file, offset, out, len, ret_len, err);
}

/* All of it, or an error, after which some prefix of data may stand in the file. */
static inline TEL_MUST_USE tel_code tel_file_write(struct tel_file *file, const void *data,
                                                   size_t len, struct tel_error *err)
{
    return file->ops->write(file, data, len, err);
}

/* As tel_file_write, at an offset. Not for files opened with TEL_FS_APPEND. */
static inline TEL_MUST_USE tel_code tel_file_pwrite(struct tel_file *file, uint64_t offset,
                                                    const void *data, size_t len,
                                                    struct tel_error *err)
{
    return file->ops->pwrite(file, offset, data, len, err);
}

/* Bytes and size become durable (fdatasync). */
static inline TEL_MUST_USE tel_code tel_file_sync(struct tel_file *file, struct tel_error *err)
{
    return file->ops->sync(file, err);
}

static inline TEL_MUST_USE tel_code tel_file_truncate(struct tel_file *file, uint64_t size,
                                                      struct tel_error *err)
{
    return file->ops->truncate(file, size, err);
}

static inline TEL_MUST_USE tel_code tel_file_stat(struct tel_file *file, struct tel_fs_stat *ret,
                                                  struct tel_error *err)
{
    return file->ops->stat(file, ret, err);
}

/* NULL is fine. Says nothing about durability: whoever needs that has synced before. */
static inline void tel_file_close(struct tel_file *file)
{
    if (file)
        file->ops->close(file);
}

/* The folder and all folders above it, each made durable. Fine if it is there already. */
TEL_MUST_USE tel_code tel_fs_mkdir_all(struct tel_fs *fs, const char *path, struct tel_error *err);

/* A file or a folder with all that it holds; does not follow symbolic links out of it. Fine if it is
 * not there. Refuses to go deeper than 64 folders. */
TEL_MUST_USE tel_code tel_fs_remove_all(struct tel_fs *fs, const char *path, struct tel_error *err);

/* Appends the whole file to *out. TEL_ERR_LIMIT, and *out unchanged, if it holds more than `max`. */
TEL_MUST_USE tel_code tel_fs_read_all(struct tel_fs *fs, const char *path, size_t max,
                                      struct tel_buf *out, struct tel_error *err);

/* Puts data under `path` so that a crash at any moment leaves either the old file or the new one:
 * a temporary name beside it, sync, rename, sync of the folder. */
TEL_MUST_USE tel_code tel_fs_write_atomic(struct tel_fs *fs, const char *path, struct tel_span data,
                                          struct tel_error *err);

/* The folder that holds path: "a/b" -> "a", "a" -> ".", "/a" -> "/". For the caller to free. */
char *tel_fs_dirname(const char *path);

/* Takes a lock file (flock), which the kernel gives back when the process ends, however it ends. The
 * file holds the pid. TEL_ERR_LOCKED names the process that has it. Always on the machine's files:
 * a lock guards against other processes, and no test can lose that. */
TEL_MUST_USE tel_code tel_fs_lock(const char *path, struct tel_fs_lock **ret,
                                  struct tel_error *err);
/* Gives the lock back; the file stays (removing it would race with the next). NULL is fine. */
void tel_fs_unlock(struct tel_fs_lock *lock);

#endif
