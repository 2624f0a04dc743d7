/* What the disk would hold if the power failed now; for fs_fault.c only. Under its lock. */
#ifndef TEL_SYS_FS_FAULT_POWER_H
#define TEL_SYS_FS_FAULT_POWER_H

#include "common/base/rand.h"
#include "common/sys/fs.h"

struct power;
struct power_file; /* a file by device and inode, whatever it is called */

struct power *power_new(void);
void power_free(struct power *power);

/* The file behind an open handle; `fresh` if it was made just now. Counted: give back with
 * power_file_unref. */
struct power_file *power_file_ref(struct power *power, const char *path, bool fresh);
void power_file_unref(struct power *power, struct power_file *file);

/* Before bytes [offset, offset + len) are overwritten or appended, before the size changes. */
void power_before_write(struct power_file *file, uint64_t offset, uint64_t len);
void power_before_truncate(struct power_file *file, uint64_t size);
void power_synced(struct power_file *file);
void power_sync_failed(struct power_file *file);
uint64_t power_file_size(const struct power_file *file);

/* Names. The file that is about to lose its name is held until its folder is synced. */
void power_created(struct power *power, const char *path);
void power_made_dir(struct power *power, const char *path);
void power_before_unlink(struct power *power, const char *path);
void power_before_rename(struct power *power, const char *from, const char *to);
void power_removed_dir(struct power *power, const char *path);
/* Takes back the last of the notes above, when the operation itself then failed. */
void power_forget_last(struct power *power);
void power_synced_dir(struct power *power, const char *dir);

/* Lets the disk be as it might be after the power failed. */
void power_fail(struct power *power, struct tel_rand *rand);

#endif
