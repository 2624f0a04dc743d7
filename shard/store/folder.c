#include "shard/store/folder.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/timefmt.h"
#include "common/sys/fs.h"

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
    if (day.day == FOLDER_LATE) {
        snprintf(out, FOLDER_NAME_MAX, "late.%" PRIu32, day.generation);
        return;
    }
    tel_civil_from_days(day.day, &year, &month, &mday);
    snprintf(out, FOLDER_NAME_MAX, "%04" PRId64 "-%02u-%02u.%" PRIu32, year, month, mday,
             day.generation);
}

static bool parse_day(const char *name, struct folder_day *ret)
{
    long long year;
    unsigned month, mday;
    int used = 0;
    if (sscanf(name, "%lld-%2u-%2u.%" SCNu32 "%n", &year, &month, &mday, &ret->generation, &used) != 4 ||
        name[used] != '\0' || month < 1 || month > 12 || mday < 1 || mday > 31)
        return false;
    ret->day = tel_days_from_civil(year, month, mday);
    return true;
}

static bool parse_late(const char *name, struct folder_day *ret)
{
    int used = 0;
    ret->day = FOLDER_LATE;
    return sscanf(name, "late.%" SCNu32 "%n", &ret->generation, &used) == 1 && name[used] == '\0';
}

bool folder_day_parse(const char *name, struct folder_day *ret)
{
    struct folder_day day;
    if (!parse_late(name, &day) && !parse_day(name, &day))
        return false;
    /* One name per day: what does not print as it was read is not ours. */
    char again[FOLDER_NAME_MAX];
    folder_day_name(again, day);
    if (strcmp(again, name) != 0)
        return false;
    *ret = day;
    return true;
}

tel_code folder_retire(const char *dir, const char *name, char **ret_path, struct tel_error *err)
{
    char dropped[FOLDER_NAME_MAX + sizeof(DROPPED_PREFIX)];
    snprintf(dropped, sizeof(dropped), DROPPED_PREFIX "%s", name);
    char *from = folder_path(dir, name), *to = folder_path(dir, dropped);
    struct tel_fs *fs = tel_fs_system();
    tel_code rc = tel_fs_rename(fs, from, to, err);
    if (rc == TEL_OK)
        rc = tel_fs_sync_dir(fs, dir, err);
    free(from);
    if (rc == TEL_OK)
        *ret_path = to;
    else
        free(to);
    return rc;
}

tel_code folder_scan(const char *dir, struct folder_list *ret, struct tel_error *err)
{
    struct tel_fs_names names = {0};
    tel_code rc = tel_fs_list(tel_fs_system(), dir, &names, err);
    for (size_t i = 0; rc == TEL_OK && i < names.len; i++) {
        struct folder_day day;
        if (strncmp(names.items[i], DROPPED_PREFIX, sizeof(DROPPED_PREFIX) - 1) == 0)
            tel_vec_push(&ret->dropped, folder_path(dir, names.items[i]));
        else if (folder_day_parse(names.items[i], &day))
            tel_vec_push(&ret->days, day);
    }
    tel_fs_names_free(&names);
    return rc;
}

void folder_list_free(struct folder_list *list)
{
    for (size_t i = 0; i < list->dropped.len; i++)
        free(list->dropped.items[i]);
    tel_vec_free(&list->dropped);
    tel_vec_free(&list->days);
}
