/*
 * For each file that has unsynced changes we keep the way back to its durable bytes:
 *
 *     0                     floor        durable_size          size
 *     |-- durable ... [old] -|-- cut off --|--- appended ------|
 *
 * `old` are sectors overwritten since the last sync, with their bytes before; `floor` is the least
 * size since then (a truncation below durable_size keeps what it cut off as old bytes too). A sync
 * forgets all that. Names are a journal of changes per folder, each with what it takes to undo it.
 */
#include "common/sys/fs_fault_power.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/vec.h"

#define SECTOR 512

struct old_bytes {
    uint64_t offset;
    size_t len;
    char *bytes;
};

struct power_file {
    struct power_file *next;
    dev_t dev;
    ino_t inode;
    int fd;
    unsigned refs;
    uint64_t durable_size, floor;
    bool poisoned; /* a sync failed: later ones do not help */
    TEL_VEC(struct old_bytes) old;
};

enum name_kind { NAME_CREATED, NAME_MADE_DIR, NAME_UNLINKED, NAME_RENAMED, NAME_REMOVED_DIR };

struct name_change {
    enum name_kind kind;
    char *dir, *path, *to;
    struct power_file *lost; /* the file that lost this name, or NULL */
};

struct power {
    struct power_file *files;
    TEL_VEC(struct name_change) names;
};

struct power *power_new(void)
{
    return TEL_NEW(struct power);
}

static void forget_old(struct power_file *file)
{
    for (size_t i = 0; i < file->old.len; i++)
        free(file->old.items[i].bytes);
    tel_vec_clear(&file->old);
}

static void file_free(struct power_file *file)
{
    forget_old(file);
    tel_vec_free(&file->old);
    close(file->fd);
    free(file);
}

uint64_t power_file_size(const struct power_file *file)
{
    struct stat st;
    return fstat(file->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

struct power_file *power_file_ref(struct power *power, const char *path, bool fresh)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        fd = open(path, O_RDONLY | O_CLOEXEC); /* not ours to write, and so never dirty */
    struct stat st;
    TEL_CHECK(fd >= 0 && fstat(fd, &st) == 0);
    for (struct power_file *file = power->files; file; file = file->next) {
        if (file->dev == st.st_dev && file->inode == st.st_ino) {
            close(fd);
            file->refs++;
            return file;
        }
    }
    struct power_file *file = TEL_NEW(struct power_file);
    file->dev = st.st_dev;
    file->inode = st.st_ino;
    file->fd = fd;
    file->refs = 1;
    file->durable_size = file->floor = fresh ? 0 : (uint64_t)st.st_size;
    file->next = power->files;
    power->files = file;
    return file;
}

static bool is_dirty(const struct power_file *file)
{
    return file->old.len || file->poisoned || file->floor != file->durable_size ||
           power_file_size(file) != file->durable_size;
}

/* A dirty file is kept although nobody has it open, as long as it has a name: its bytes can still be
 * lost. */
void power_file_unref(struct power *power, struct power_file *file)
{
    struct stat st;
    TEL_CHECK(file->refs > 0);
    if (--file->refs > 0 || (is_dirty(file) && fstat(file->fd, &st) == 0 && st.st_nlink > 0))
        return;
    struct power_file **link = &power->files;
    while (*link != file)
        link = &(*link)->next;
    *link = file->next;
    file_free(file);
}

/* Keeps the bytes in [from, to) as they are now. */
static void keep_old(struct power_file *file, uint64_t from, uint64_t to)
{
    if (from >= to)
        return;
    struct old_bytes old = {from, (size_t)(to - from), tel_malloc((size_t)(to - from))};
    ssize_t n = pread(file->fd, old.bytes, old.len, (off_t)from);
    TEL_CHECK(n == (ssize_t)old.len);
    tel_vec_push(&file->old, old);
}

void power_before_write(struct power_file *file, uint64_t offset, uint64_t len)
{
    /* Bytes from floor on are not durable, or kept already. */
    keep_old(file, offset, TEL_MIN(offset + len, file->floor));
}

void power_before_truncate(struct power_file *file, uint64_t size)
{
    /* Bytes whose sync failed are gone with this, unless some lie below, overwritten. */
    if (size <= file->durable_size && file->old.len == 0)
        file->poisoned = false;
    keep_old(file, size, file->floor);
    file->floor = TEL_MIN(file->floor, size);
}

void power_synced(struct power_file *file)
{
    if (file->poisoned)
        return;
    forget_old(file);
    file->durable_size = file->floor = power_file_size(file);
}

void power_sync_failed(struct power_file *file)
{
    file->poisoned = is_dirty(file);
}

/* --- names ------------------------------------------------------------------------------------- */

static void note(struct power *power, enum name_kind kind, const char *path, const char *to,
                 struct power_file *lost)
{
    struct name_change change = {.kind = kind,
                                 .dir = tel_fs_dirname(to ? to : path),
                                 .path = tel_strdup(path),
                                 .to = to ? tel_strdup(to) : NULL,
                                 .lost = lost};
    tel_vec_push(&power->names, change);
}

static void change_done(struct power *power, struct name_change *change)
{
    if (change->lost)
        power_file_unref(power, change->lost);
    free(change->dir);
    free(change->path);
    free(change->to);
}

static struct power_file *hold(struct power *power, const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) ? power_file_ref(power, path, false) : NULL;
}

void power_created(struct power *power, const char *path)
{
    note(power, NAME_CREATED, path, NULL, NULL);
}

void power_made_dir(struct power *power, const char *path)
{
    note(power, NAME_MADE_DIR, path, NULL, NULL);
}

void power_before_unlink(struct power *power, const char *path)
{
    note(power, NAME_UNLINKED, path, NULL, hold(power, path));
}

void power_before_rename(struct power *power, const char *from, const char *to)
{
    note(power, NAME_RENAMED, from, to, hold(power, to));
}

void power_removed_dir(struct power *power, const char *path)
{
    note(power, NAME_REMOVED_DIR, path, NULL, NULL);
}

void power_forget_last(struct power *power)
{
    TEL_CHECK(power->names.len > 0);
    change_done(power, &power->names.items[--power->names.len]);
}

void power_synced_dir(struct power *power, const char *dir)
{
    size_t kept = 0, dir_len = strlen(dir);
    while (dir_len > 1 && dir[dir_len - 1] == '/')
        dir_len--;
    for (size_t i = 0; i < power->names.len; i++) {
        struct name_change *change = &power->names.items[i];
        if (strlen(change->dir) == dir_len && strncmp(change->dir, dir, dir_len) == 0)
            change_done(power, change);
        else
            power->names.items[kept++] = *change;
    }
    power->names.len = kept;
}

/* --- the power fails --------------------------------------------------------------------------- */

static void write_at(int fd, const char *bytes, size_t len, uint64_t offset)
{
    TEL_CHECK(pwrite(fd, bytes, len, (off_t)offset) == (ssize_t)len);
}

/* The bytes as they were at the last sync. */
static void lose_all(struct power_file *file)
{
    for (size_t i = file->old.len; i-- > 0;)
        write_at(file->fd, file->old.items[i].bytes, file->old.items[i].len,
                 file->old.items[i].offset);
    TEL_CHECK(ftruncate(file->fd, (off_t)file->durable_size) == 0);
}

static void lose_some(struct power_file *file, struct tel_rand *rand)
{
    static const char zeros[SECTOR];
    uint64_t size = power_file_size(file);
    for (size_t i = file->old.len; i-- > 0;) {
        const struct old_bytes *old = &file->old.items[i];
        /* Sectors below what is left of the durable bytes come back or not. */
        for (size_t at = 0; at < old->len;) {
            uint64_t offset = old->offset + at;
            size_t len = TEL_MIN(old->len - at, (size_t)(SECTOR - offset % SECTOR));
            if (offset + len <= TEL_MIN(size, file->floor) && tel_rand_below(rand, 2))
                write_at(file->fd, old->bytes + at, len, offset);
            at += len;
        }
    }
    if (size <= file->floor)
        return;
    uint64_t cut = file->floor + tel_rand_below(rand, size - file->floor + 1);
    TEL_CHECK(ftruncate(file->fd, (off_t)cut) == 0);
    bool holes = tel_rand_below(rand, 2);
    for (uint64_t at = file->floor; holes && at < cut;) {
        uint64_t len = TEL_MIN(cut - at, SECTOR - at % SECTOR);
        if (tel_rand_below(rand, 3) == 0)
            write_at(file->fd, zeros, (size_t)len, at);
        at += len;
    }
}

static void fail_file(struct power_file *file, struct tel_rand *rand)
{
    if (!is_dirty(file))
        return;
    switch (tel_rand_below(rand, 4)) {
    case 0:
        lose_all(file);
        break;
    case 1:
        break; /* all of it had reached the disk */
    default:
        lose_some(file, rand);
        break;
    }
}

/* Puts the bytes of a file that lost its name under that name again. */
static void restore(const struct power_file *lost, const char *path)
{
    char block[16 * 1024];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0)
        return; /* its folder is gone too */
    for (uint64_t at = 0;;) {
        ssize_t n = pread(lost->fd, block, sizeof block, (off_t)at);
        TEL_CHECK(n >= 0);
        if (n == 0)
            break;
        write_at(fd, block, (size_t)n, at);
        at += (uint64_t)n;
    }
    close(fd);
}

static void undo(const struct name_change *change)
{
    switch (change->kind) {
    case NAME_CREATED:
        unlink(change->path);
        break;
    case NAME_MADE_DIR:
        (void)!tel_fs_remove_all(tel_fs_system(), change->path, NULL);
        break;
    case NAME_UNLINKED:
        if (change->lost)
            restore(change->lost, change->path);
        break;
    case NAME_RENAMED:
        (void)!rename(change->to, change->path);
        if (change->lost)
            restore(change->lost, change->to);
        break;
    case NAME_REMOVED_DIR:
        mkdir(change->path, 0750);
        break;
    }
}

void power_fail(struct power *power, struct tel_rand *rand)
{
    for (struct power_file *file = power->files; file; file = file->next)
        fail_file(file, rand);
    /* Per folder, how many of its changes stay: decided at the last one, seen from behind. */
    size_t count = power->names.len;
    bool *stays = tel_calloc(count, sizeof *stays);
    bool *decided = tel_calloc(count, sizeof *decided);
    for (size_t i = 0; i < count; i++) {
        if (decided[i])
            continue;
        size_t of_dir = 0;
        for (size_t k = i; k < count; k++)
            of_dir += strcmp(power->names.items[k].dir, power->names.items[i].dir) == 0;
        uint64_t keep = tel_rand_below(rand, of_dir + 1);
        for (size_t k = i; k < count; k++) {
            if (strcmp(power->names.items[k].dir, power->names.items[i].dir) != 0)
                continue;
            decided[k] = true;
            stays[k] = keep > 0;
            keep -= keep > 0;
        }
    }
    for (size_t i = count; i-- > 0;) {
        if (!stays[i])
            undo(&power->names.items[i]);
    }
    free(stays);
    free(decided);
    for (size_t i = 0; i < count; i++)
        change_done(power, &power->names.items[i]);
    tel_vec_clear(&power->names);
    /* What the disk holds now is durable. Handles may still refer to the files. */
    for (struct power_file *file = power->files, *next; file; file = next) {
        next = file->next;
        file->poisoned = false;
        power_synced(file);
        file->refs++;
        power_file_unref(power, file);
    }
}

void power_free(struct power *power)
{
    if (!power)
        return;
    for (size_t i = 0; i < power->names.len; i++)
        change_done(power, &power->names.items[i]);
    tel_vec_free(&power->names);
    for (struct power_file *file = power->files, *next; file; file = next) {
        next = file->next;
        file_free(file);
    }
    free(power);
}
