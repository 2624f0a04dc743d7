/*
 * The store's folders: their names, and making, dropping and locking them so that a crash at any
 * moment leaves something that the next start understands.
 *
 *     DIR/LOCK                     held (flock) while a process has the folder open
 *     DIR/p3/meta/                 LevelDB: the shard's own small store
 *     DIR/p3/2026-01-02.0/         LevelDB: a day, and its generation
 *     DIR/p3/late.0/               LevelDB: few events of many days, on their way to the days' own
 *     DIR/p3/dropped-2026-01-01.0/ a day that is being deleted; finished at the next start
 */
#ifndef SHARD_STORE_FOLDER_H
#define SHARD_STORE_FOLDER_H

#include <stdint.h>

#include "common/base/error.h"
#include "common/base/vec.h"

#define FOLDER_NAME_MAX 64

/* In place of a day: the folder that segments of many days wait in. */
#define FOLDER_LATE INT64_MIN

struct folder_day {
    int64_t day; /* since the epoch; or FOLDER_LATE */
    uint32_t generation;
};

void folder_day_name(char out[FOLDER_NAME_MAX], struct folder_day day);
bool folder_day_parse(const char *name, struct folder_day *ret);

/* Renames dir/name to dir/dropped-name, durably, and returns the new path (to be freed). */
TEL_MUST_USE tel_code folder_retire(const char *dir, const char *name, char **ret_path,
                                    struct tel_error *err);

struct folder_list {
    TEL_VEC(struct folder_day) days;
    TEL_VEC(char *) dropped; /* paths */
};
/* What stands in a partition's folder. */
TEL_MUST_USE tel_code folder_scan(const char *dir, struct folder_list *ret, struct tel_error *err);
void folder_list_free(struct folder_list *list);

char *folder_path(const char *dir, const char *name); /* "dir/name", to be freed */

#endif
