/*
 * A file system for tests: the machine's files, with failures. Operations fail when they are told to
 * (the n-th, each with a probability, when the disk is full), failing writes leave a prefix behind,
 * and the power can fail: then what was not synced is lost, kept or torn, as a seed decides.
 *
 * What the power takes (after Pillai et al., "All file systems are not created equal", 2014):
 * - bytes written since the last sync of a file: all, none, or a tail cut at any byte with sectors of
 *   512 bytes in it turned into zeros; overwritten sectors come back one by one;
 * - names made, renamed or removed since the last sync_dir of their folder: of each folder's changes,
 *   in their order, some first ones stay and the rest never was. A rename belongs to the folder of
 *   its new name;
 * - bytes whose sync has failed, even if a later sync succeeds, until they are truncated away.
 *
 * Any thread; operations run one at a time.
 */
#ifndef TEL_SYS_FS_FAULT_H
#define TEL_SYS_FS_FAULT_H

#include "common/sys/fs.h"

enum tel_fault_op {
    TEL_FAULT_OPEN = 1 << 0,
    TEL_FAULT_READ = 1 << 1,  /* and pread */
    TEL_FAULT_WRITE = 1 << 2, /* and pwrite */
    TEL_FAULT_SYNC = 1 << 3,
    TEL_FAULT_TRUNCATE = 1 << 4,
    TEL_FAULT_RENAME = 1 << 5,
    TEL_FAULT_UNLINK = 1 << 6,
    TEL_FAULT_MKDIR = 1 << 7,
    TEL_FAULT_RMDIR = 1 << 8,
    TEL_FAULT_LIST = 1 << 9,
    TEL_FAULT_STAT = 1 << 10,
    TEL_FAULT_SYNC_DIR = 1 << 11,
    TEL_FAULT_CREATE = 1 << 12, /* an open that makes a file; it counts as OPEN too */
};

/* Whatever changes something on the disk. */
#define TEL_FAULT_CHANGES                                                                          \
    (TEL_FAULT_WRITE | TEL_FAULT_SYNC | TEL_FAULT_TRUNCATE | TEL_FAULT_RENAME | TEL_FAULT_UNLINK | \
     TEL_FAULT_MKDIR | TEL_FAULT_RMDIR | TEL_FAULT_SYNC_DIR | TEL_FAULT_CREATE)

struct tel_fs_fault;

/* The seed decides how long a failed write's prefix is. */
struct tel_fs_fault *tel_fs_fault_new(uint64_t seed);
/* Every file opened through it is closed. */
void tel_fs_fault_free(struct tel_fs_fault *fault);
/* What the code under test gets. */
struct tel_fs *tel_fs_fault_fs(struct tel_fs_fault *fault);

/* The nth (1 is the next) operation among `ops`, on a path that holds path_part (NULL: any), fails
 * with errnum; so do all behind it if `on`. */
void tel_fs_fault_at(struct tel_fs_fault *fault, unsigned ops, const char *path_part, uint64_t nth,
                     bool on, int errnum);
/* Each such operation fails with this probability. */
void tel_fs_fault_randomly(struct tel_fs_fault *fault, unsigned ops, const char *path_part,
                           double probability, int errnum);
/* So many more bytes fit; then ENOSPC, with the write cut where the disk ends. What is removed or
 * truncated is free again. UINT64_MAX: no end. */
void tel_fs_fault_space_left(struct tel_fs_fault *fault, uint64_t bytes);
/* Takes the rules back (not the space left). */
void tel_fs_fault_clear(struct tel_fs_fault *fault);

/* Operations among `ops` so far: run once without failures, then once for each. */
uint64_t tel_fs_fault_count(struct tel_fs_fault *fault, unsigned ops);

/* The power fails now, or in the middle of the nth operation (1 is the next) that changes something.
 * Everything fails with TEL_ERR_IO from then until the power is back; files that were open stay dead
 * for good. */
void tel_fs_fault_power_off(struct tel_fs_fault *fault, uint64_t seed);
void tel_fs_fault_power_off_at(struct tel_fs_fault *fault, uint64_t nth, uint64_t seed);
bool tel_fs_fault_is_off(struct tel_fs_fault *fault);
void tel_fs_fault_power_on(struct tel_fs_fault *fault);

#endif
