#include "shard/snapshot/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TEL_LOG_COMPONENT "snapshot"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "shard/store/copy.h"

#define LOCK_NAME   "LOCK"
#define NAP_MS      20
#define SPACE_EVERY (UINT64_C(4) << 20)

struct taking {
    const struct snapshot_options *o;
    struct tel_fs *fs;
    char *partial;
    uint64_t done, all; /* bytes */
    uint64_t asked;     /* `done` when the disk was asked for its free space last */
    int64_t began_ns;   /* monotonic */
    struct archive_writer *writer; /* of the file under way */
};

/* ---- pace, space, stop -------------------------------------------------------------------------- */

static tel_code ask_stop(struct taking *t, struct tel_error *err)
{
    return t->o->stop ? t->o->stop(t->o->ctx, err) : TEL_OK;
}

static tel_code ask_space(struct taking *t, uint64_t need, struct tel_error *err)
{
    struct tel_fs_space space;
    tel_code rc = tel_fs_space(t->fs, t->partial, &space, err);
    t->asked = t->done;
    if (rc == TEL_OK && (space.free_bytes < need || space.free_bytes - need < t->o->reserve_bytes))
        rc = tel_error_set(err, TEL_ERR_NOSPACE,
                           "%s: %" PRIu64 " bytes are free, %" PRIu64
                           " are needed and %" PRIu64 " must stay free",
                           t->o->dest, space.free_bytes, need, t->o->reserve_bytes);
    return rc;
}

/* Waits until so many bytes may have been written. */
static tel_code keep_pace(struct taking *t, struct tel_error *err)
{
    tel_code rc = ask_stop(t, err);
    const struct timespec nap = {0, NAP_MS * TEL_NS_PER_MS};
    while (rc == TEL_OK && t->o->bytes_per_s) {
        double passed_s = (double)(tel_mono_ns(tel_clock_system()) - t->began_ns) / 1e9;
        if ((double)t->done <= passed_s * (double)t->o->bytes_per_s)
            break;
        nanosleep(&nap, NULL);
        rc = ask_stop(t, err);
    }
    return rc;
}

static tel_code put(void *ctx, struct tel_span key, struct tel_span value, struct tel_error *err)
{
    struct taking *t = ctx;
    uint64_t written;
    tel_code rc = archive_put(t->writer, key, value, &written, err);
    if (rc != TEL_OK || written == 0)
        return rc;
    t->done += written;
    if (t->o->progress)
        t->o->progress(t->o->ctx, t->done, TEL_MAX(t->all, t->done));
    if (t->done - t->asked >= SPACE_EVERY)
        rc = ask_space(t, 0, err);
    return rc == TEL_OK ? keep_pace(t, err) : rc;
}

/* ---- files -------------------------------------------------------------------------------------- */

static tel_code begin_file(struct taking *t, uint32_t partition, const struct manifest_file *file,
                           struct archive_writer *writer, struct tel_error *err)
{
    char name[FOLDER_NAME_MAX + 32];
    manifest_file_path(name, sizeof(name), partition, file);
    char *path = folder_path(t->partial, name);
    tel_code rc = archive_create(t->fs, path, writer, err);
    free(path);
    t->writer = writer;
    return rc;
}

/* Closes it; on success the partition's list has it. */
static tel_code end_file(struct taking *t, struct archive_writer *writer, tel_code rc,
                         struct manifest_file *file, struct manifest_partition *p,
                         struct tel_error *err)
{
    uint64_t counted = writer->sum.bytes;
    if (rc == TEL_OK)
        rc = archive_finish(writer, err);
    file->sum = writer->sum;
    t->done += writer->sum.bytes - counted;
    archive_close(writer);
    if (rc == TEL_OK)
        tel_vec_push(&p->files, *file);
    return rc == TEL_OK ? keep_pace(t, err) : rc;
}

static tel_code take_meta(struct taking *t, struct store *store, struct manifest_partition *p,
                          struct tel_error *err)
{
    struct archive_writer writer = {0};
    struct manifest_file file = {.meta = true};
    struct store_resume resume = {0};
    tel_code rc = begin_file(t, p->partition, &file, &writer, err);
    if (rc == TEL_OK)
        rc = store_copy_meta(store, &(struct store_sink){put, t}, &resume, err);
    p->resume = resume.position;
    return end_file(t, &writer, rc, &file, p, err);
}

static tel_code take_day(struct taking *t, struct store_held_day *day, struct manifest_partition *p,
                         struct tel_error *err)
{
    struct archive_writer writer = {0};
    struct manifest_file file = {.day = day->name};
    const struct store_sink sink = {put, t};
    tel_code rc = begin_file(t, p->partition, &file, &writer, err);
    for (size_t i = 0; i < day->segments.len && rc == TEL_OK; i++) {
        struct store_segment *s = day->segments.items[i];
        bool whole;
        rc = store_copy_segment(s, &sink, &whole, err);
        p->segments++;
        p->events += s->rows;
        p->bytes += s->stored_bytes;
        p->damaged += rc == TEL_OK && !whole;
    }
    if (rc == TEL_OK)
        rc = store_copy_mark(day, &sink, err);
    return end_file(t, &writer, rc, &file, p, err);
}

static tel_code take_days(struct taking *t, struct store *store, struct manifest_partition *p,
                          struct tel_error *err)
{
    struct store_held held = {0};
    tel_code rc = store_hold(store, &held, err);
    for (size_t i = 0; i < held.days.len && rc == TEL_OK; i++) {
        rc = take_day(t, &held.days.items[i], p, err);
        store_segments_done(&held.days.items[i].segments); /* they may be merged and deleted now */
    }
    store_held_done(&held);
    return rc;
}

static tel_code take_partition(struct taking *t, size_t i, struct manifest *m, struct tel_error *err)
{
    tel_vec_push(&m->partitions, ((struct manifest_partition){.partition = t->o->partitions[i]}));
    struct manifest_partition *p = &m->partitions.items[m->partitions.len - 1];
    char name[16];
    snprintf(name, sizeof(name), "p%" PRIu32, p->partition);
    char *dir = folder_path(t->partial, name);
    tel_code rc = tel_fs_mkdir(t->fs, dir, err);
    /* In this order: see shard/store/copy.h. */
    if (rc == TEL_OK)
        rc = take_meta(t, t->o->stores[i], p, err);
    if (rc == TEL_OK)
        rc = take_days(t, t->o->stores[i], p, err);
    if (rc == TEL_OK)
        rc = tel_fs_sync_dir(t->fs, dir, err);
    free(dir);
    return rc == TEL_OK ? rc : tel_error_wrap(err, rc, "partition %" PRIu32, p->partition);
}

/* ---- the folder --------------------------------------------------------------------------------- */

static bool exists(struct tel_fs *fs, const char *path)
{
    struct tel_fs_stat st;
    return tel_fs_stat(fs, path, &st, NULL) == TEL_OK;
}

/* The lock file goes last: whoever is killed here leaves what can be known again. */
static tel_code remove_begun(struct taking *t, const char *dir, struct tel_error *err)
{
    struct tel_fs_names names = {0};
    tel_code rc = tel_fs_list(t->fs, dir, &names, err);
    for (size_t i = 0; i < names.len && rc == TEL_OK; i++) {
        char *path = folder_path(dir, names.items[i]);
        if (strcmp(names.items[i], LOCK_NAME) != 0)
            rc = tel_fs_remove_all(t->fs, path, err);
        free(path);
    }
    tel_fs_names_free(&names);
    return rc == TEL_OK ? tel_fs_remove_all(t->fs, dir, err) : rc;
}

static void clean_up(struct taking *t, const char *path)
{
    struct tel_error why;
    if (remove_begun(t, path, &why) != TEL_OK)
        tel_log_warn("cannot remove what is left of a snapshot", tel_kv_str("path", path),
                     tel_kv_error(&why));
}

/* A folder that has the lock file was begun by us, and so was an empty one: the process that made it was
 * killed before it had the lock. */
static tel_code is_ours(struct taking *t, const char *lock_path, bool *ret, struct tel_error *err)
{
    struct tel_fs_names names = {0};
    *ret = exists(t->fs, lock_path);
    if (*ret)
        return TEL_OK;
    tel_code rc = tel_fs_list(t->fs, t->partial, &names, err);
    *ret = rc == TEL_OK && names.len == 0;
    tel_fs_names_free(&names);
    return rc;
}

/* When nobody holds the lock of what is there of ours, it is a leftover. */
static tel_code make_room(struct taking *t, const char *lock_path, struct tel_error *err)
{
    struct tel_fs_lock *lock = NULL;
    bool ours;
    tel_code rc = is_ours(t, lock_path, &ours, err);
    if (rc == TEL_OK && !ours)
        rc = tel_error_set(err, TEL_ERR_EXISTS, "%s is there and is no snapshot's", t->partial);
    if (rc == TEL_OK)
        rc = tel_fs_lock(lock_path, &lock, err);
    if (rc == TEL_OK)
        rc = remove_begun(t, t->partial, err);
    tel_fs_unlock(lock);
    return rc;
}

static tel_code make_partial(struct taking *t, struct tel_fs_lock **ret_lock, struct tel_error *err)
{
    char *path = folder_path(t->partial, LOCK_NAME);
    tel_code rc = TEL_OK;
    if (exists(t->fs, t->partial))
        rc = make_room(t, path, err);
    if (rc == TEL_OK) {
        rc = tel_fs_mkdir_all(t->fs, t->partial, err);
        if (rc == TEL_OK)
            rc = tel_fs_lock(path, ret_lock, err);
        if (rc != TEL_OK && rc != TEL_ERR_LOCKED)
            clean_up(t, t->partial);
    }
    free(path);
    return rc;
}

static tel_code write_manifest(struct taking *t, const struct manifest *m, struct tel_error *err)
{
    struct tel_buf text = {0};
    manifest_write(m, &text);
    char *path = folder_path(t->partial, MANIFEST_NAME);
    tel_code rc = tel_fs_write_atomic(t->fs, path, tel_buf_span(&text), err);
    free(path);
    tel_buf_free(&text);
    return rc;
}

static tel_code finish(struct taking *t, const struct manifest *m, struct tel_error *err)
{
    char *parent = tel_fs_dirname(t->o->dest);
    tel_code rc = write_manifest(t, m, err);
    if (rc == TEL_OK)
        rc = tel_fs_rename(t->fs, t->partial, t->o->dest, err);
    if (rc == TEL_OK) {
        /* It is there; a power cut may still take the name, and with it all of it. */
        rc = tel_fs_sync_dir(t->fs, parent, err);
        if (rc != TEL_OK)
            clean_up(t, t->o->dest);
    }
    if (rc == TEL_OK) {
        struct tel_error why;
        char *path = folder_path(t->o->dest, LOCK_NAME);
        if (tel_fs_unlink(t->fs, path, &why) != TEL_OK)
            tel_log_warn("the lock file of a snapshot stays", tel_kv_error(&why));
        free(path);
    }
    free(parent);
    return rc;
}

static uint64_t bytes_of(const struct snapshot_options *o)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < o->count; i++) {
        struct store_stats stats;
        store_stats_get(o->stores[i], &stats);
        bytes += stats.stored_bytes;
    }
    return bytes;
}

static tel_code take_all(struct taking *t, struct manifest *m, struct tel_error *err)
{
    tel_code rc = ask_space(t, t->all, err);
    for (size_t i = 0; i < t->o->count && rc == TEL_OK; i++)
        rc = take_partition(t, i, m, err);
    return rc == TEL_OK ? finish(t, m, err) : rc;
}

tel_code snapshot_take(const struct snapshot_options *options, struct manifest *ret_manifest,
                       struct tel_error *err)
{
    struct taking t = {
        .o = options,
        .fs = options->fs ? options->fs : tel_fs_system(),
        .all = bytes_of(options),
        .began_ns = tel_mono_ns(tel_clock_system()),
    };
    if (exists(t.fs, options->dest))
        return tel_error_set(err, TEL_ERR_EXISTS, "%s is there already", options->dest);
    struct tel_buf partial = {0};
    tel_buf_printf(&partial, "%s.partial", options->dest);
    t.partial = tel_strndup(tel_buf_span(&partial));
    tel_buf_free(&partial);
    struct tel_fs_lock *lock = NULL;
    struct manifest m = {.made_ns = TEL_MAX(tel_wall_ns(tel_clock_system()), 0)};
    tel_code rc = make_partial(&t, &lock, err);
    bool ours = rc == TEL_OK;
    if (rc == TEL_OK)
        rc = take_all(&t, &m, err);
    if (rc != TEL_OK && ours)
        clean_up(&t, t.partial);
    tel_fs_unlock(lock);
    free(t.partial);
    if (rc == TEL_OK)
        *ret_manifest = m;
    else
        manifest_done(&m);
    return rc;
}

tel_code snapshot_open(struct tel_fs *fs, const char *dir, struct manifest *ret,
                       struct tel_error *err)
{
    struct tel_buf text = {0};
    char *path = folder_path(dir, MANIFEST_NAME);
    tel_code rc = tel_fs_read_all(fs, path, MANIFEST_BYTES_MAX, &text, err);
    if (rc == TEL_OK)
        rc = manifest_parse(tel_buf_span(&text), ret, err);
    tel_buf_free(&text);
    if (rc == TEL_ERR_NOTFOUND)
        rc = tel_error_set(err, rc, "%s: there is no whole snapshot, as it has no " MANIFEST_NAME, dir);
    else if (rc != TEL_OK)
        rc = tel_error_wrap(err, rc, "%s", dir);
    free(path);
    return rc;
}
