#include "shard/store/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/timefmt.h"

#define DROPPED_PREFIX "dropped-"

char *folder_path(const char *dir, const char *name)
{
    size_t a = strlen(dir), b = strlen(name);
    char *path = tel_malloc(a + b + 2);
    memcpy(path, dir, a);
    path[a] = '/';
    memcpy(path + a + 1, name, b + 1);
    return path;
}

void folder_day_name(char out[FOLDER_NAME_MAX], struct folder_day day)
{
    int64_t year;
    unsigned month, mday;
    tel_civil_from_days(day.day, &year, &month, &mday);
    snprintf(out, FOLDER_NAME_MAX, "%04" PRId64 "-%02u-%02u.%" PRIu32, year, month, mday,
             day.generation);
}

bool folder_day_parse(const char *name, struct folder_day *ret)
{
    long long year;
    unsigned month, mday, generation;
    int used = 0;
    if (sscanf(name, "%lld-%2u-%2u.%u%n", &year, &month, &mday, &generation, &used) != 4 ||
        name[used] != '\0' || month < 1 || month > 12 || mday < 1 || mday > 31)
        return false;
    struct folder_day day = {tel_days_from_civil(year, month, mday), generation};
    /* One name per day: what does not print as it was read is not ours. */
    char again[FOLDER_NAME_MAX];
    folder_day_name(again, day);
    if (strcmp(again, name) != 0)
        return false;
    *ret = day;
    return true;
}

tel_code folder_sync(const char *path, struct tel_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return tel_error_errno(err, errno, "cannot open folder %s", path);
    tel_code rc = fsync(fd) == 0 ? TEL_OK
                                 : tel_error_errno(err, errno, "cannot sync folder %s", path);
    close(fd);
    return rc;
}

static tel_code make_one(const char *path, struct tel_error *err)
{
    if (mkdir(path, 0750) == 0) {
        char *parent = tel_strdup(path);
        char *slash = strrchr(parent, '/');
        if (slash == parent)
            slash++;
        if (slash)
            *slash = '\0';
        tel_code rc = folder_sync(slash ? parent : ".", err);
        free(parent);
        return rc;
    }
    struct stat st;
    if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return TEL_OK;
    return tel_error_errno(err, errno, "cannot make folder %s", path);
}

tel_code folder_make(const char *path, struct tel_error *err)
{
    char *copy = tel_strdup(path);
    tel_code rc = TEL_OK;
    for (char *p = copy + 1; *p && rc == TEL_OK; p++) {
        if (*p != '/' || p[-1] == '/')
            continue;
        *p = '\0';
        struct stat st;
        if (stat(copy, &st) != 0)
            rc = make_one(copy, err);
        *p = '/';
    }
    if (rc == TEL_OK)
        rc = make_one(copy, err);
    free(copy);
    return rc;
}

/* Deletes what is in the folder `fd` (which it closes), at most so many levels deep. */
static tel_code empty_folder(int fd, const char *path, unsigned levels, struct tel_error *err)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return tel_error_errno(err, errno, "cannot read folder %s", path);
    }
    tel_code rc = TEL_OK;
    struct dirent *item;
    while (rc == TEL_OK && (item = readdir(dir))) {
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd(dir), item->d_name, 0) == 0 || errno == ENOENT)
            continue;
        if (errno != EISDIR && errno != EPERM) {
            rc = tel_error_errno(err, errno, "cannot delete %s/%s", path, item->d_name);
            continue;
        }
        int sub = openat(dirfd(dir), item->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub < 0 || levels == 0) {
            rc = tel_error_errno(err, sub < 0 ? errno : ELOOP, "cannot delete %s/%s", path,
                                 item->d_name);
            if (sub >= 0)
                close(sub);
            continue;
        }
        rc = empty_folder(sub, path, levels - 1, err);
        if (rc == TEL_OK && unlinkat(dirfd(dir), item->d_name, AT_REMOVEDIR) != 0)
            rc = tel_error_errno(err, errno, "cannot delete %s/%s", path, item->d_name);
    }
    closedir(dir);
    return rc;
}

tel_code folder_remove(const char *path, struct tel_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? TEL_OK
                               : tel_error_errno(err, errno, "cannot open folder %s", path);
    tel_code rc = empty_folder(fd, path, 4, err);
    if (rc == TEL_OK && rmdir(path) != 0 && errno != ENOENT)
        rc = tel_error_errno(err, errno, "cannot delete folder %s", path);
    return rc;
}

tel_code folder_retire(const char *dir, const char *name, char **ret_path, struct tel_error *err)
{
    char dropped[FOLDER_NAME_MAX + sizeof(DROPPED_PREFIX)];
    snprintf(dropped, sizeof(dropped), DROPPED_PREFIX "%s", name);
    char *from = folder_path(dir, name), *to = folder_path(dir, dropped);
    tel_code rc = TEL_OK;
    if (rename(from, to) != 0)
        rc = tel_error_errno(err, errno, "cannot rename %s", from);
    if (rc == TEL_OK)
        rc = folder_sync(dir, err);
    free(from);
    if (rc == TEL_OK)
        *ret_path = to;
    else
        free(to);
    return rc;
}

tel_code folder_scan(const char *dir, struct folder_list *ret, struct tel_error *err)
{
    DIR *d = opendir(dir);
    if (!d)
        return tel_error_errno(err, errno, "cannot read folder %s", dir);
    struct dirent *item;
    while ((item = readdir(d))) {
        struct folder_day day;
        if (strncmp(item->d_name, DROPPED_PREFIX, sizeof(DROPPED_PREFIX) - 1) == 0)
            tel_vec_push(&ret->dropped, folder_path(dir, item->d_name));
        else if (folder_day_parse(item->d_name, &day))
            tel_vec_push(&ret->days, day);
    }
    closedir(d);
    return TEL_OK;
}

void folder_list_free(struct folder_list *list)
{
    for (size_t i = 0; i < list->dropped.len; i++)
        free(list->dropped.items[i]);
    tel_vec_free(&list->dropped);
    tel_vec_free(&list->days);
}

tel_code folder_lock(const char *dir, int *ret_fd, struct tel_error *err)
{
    char *path = folder_path(dir, "LOCK");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    tel_code rc = TEL_OK;
    if (fd < 0)
        rc = tel_error_errno(err, errno, "cannot open %s", path);
    else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        rc = errno == EWOULDBLOCK
                 ? tel_error_set(err, TEL_ERR_LOCKED, "the folder %s is in use by another process",
                                 dir)
                 : tel_error_errno(err, errno, "cannot lock %s", path);
        close(fd);
    }
    free(path);
    if (rc == TEL_OK)
        *ret_fd = fd;
    return rc;
}

void folder_unlock(int fd)
{
    if (fd >= 0)
        close(fd);
}

tel_code folder_space(const char *path, uint64_t *ret_free, uint64_t *ret_total,
                      struct tel_error *err)
{
    struct statvfs st;
    if (statvfs(path, &st) != 0)
        return tel_error_errno(err, errno, "cannot ask for the space of %s", path);
    *ret_free = (uint64_t)st.f_bavail * st.f_frsize;
    *ret_total = (uint64_t)st.f_blocks * st.f_frsize;
    return TEL_OK;
}
