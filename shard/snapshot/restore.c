#include "shard/snapshot/restore.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/sys/fs.h"
#include "shard/snapshot/snapshot.h"
#include "shard/store/copy.h"
#include "shard/store/ldb.h"
#include "shard/verify.h"

#define BLOCK_CACHE_BYTES (8u << 20)

struct restoring {
    const struct restore_options *o;
    struct tel_fs *fs;
    struct manifest manifest;
    struct ldb_shared *shared;
    struct store_import *import; /* of the file under way */
};

static bool wanted(const struct restoring *r, uint32_t partition)
{
    for (size_t i = 0; i < r->o->count; i++)
        if (r->o->partitions[i] == partition)
            return true;
    return r->o->partitions == NULL;
}

/* DIR/p3 or DIR/p3.restoring; to be freed. */
static char *partition_path(const struct restoring *r, uint32_t partition, const char *suffix)
{
    char name[32];
    snprintf(name, sizeof(name), "p%" PRIu32 "%s", partition, suffix);
    return folder_path(r->o->dir, name);
}

/* ---- before anything is made -------------------------------------------------------------------- */

static tel_code check_wanted(const struct restoring *r, struct tel_error *err)
{
    for (size_t i = 0; i < r->o->count; i++) {
        bool there = false;
        for (size_t j = 0; j < r->manifest.partitions.len; j++)
            there = there || r->manifest.partitions.items[j].partition == r->o->partitions[i];
        if (!there)
            return tel_error_set(err, TEL_ERR_NOTFOUND, "%s does not hold partition %" PRIu32,
                                 r->o->snapshot, r->o->partitions[i]);
    }
    return TEL_OK;
}

static tel_code check_target(const struct restoring *r, struct tel_error *err)
{
    uint64_t bytes = 0;
    tel_code rc = TEL_OK;
    for (size_t i = 0; i < r->manifest.partitions.len && rc == TEL_OK; i++) {
        const struct manifest_partition *p = &r->manifest.partitions.items[i];
        if (!wanted(r, p->partition))
            continue;
        for (size_t j = 0; j < p->files.len; j++)
            bytes += p->files.items[j].sum.bytes;
        char *path = partition_path(r, p->partition, "");
        struct tel_fs_stat st;
        if (tel_fs_stat(r->fs, path, &st, NULL) == TEL_OK)
            rc = tel_error_set(err, TEL_ERR_EXISTS, "%s is there already; nothing is overwritten",
                               path);
        free(path);
    }
    struct tel_fs_space space;
    if (rc == TEL_OK)
        rc = tel_fs_space(r->fs, r->o->dir, &space, err);
    if (rc == TEL_OK && space.free_bytes < bytes)
        rc = tel_error_set(err, TEL_ERR_NOSPACE, "%s: %" PRIu64 " bytes are free, %" PRIu64
                           " are needed", r->o->dir, space.free_bytes, bytes);
    return rc;
}

/* ---- making ------------------------------------------------------------------------------------- */

static tel_code put(void *ctx, struct tel_span key, struct tel_span value, struct tel_error *err)
{
    struct restoring *r = ctx;
    return store_import_put(r->import, key, value, err);
}

static tel_code restore_file(struct restoring *r, const struct manifest_partition *p,
                             const struct manifest_file *file, const char *dir,
                             struct tel_error *err)
{
    char name[FOLDER_NAME_MAX + 32];
    manifest_file_path(name, sizeof(name), p->partition, file);
    char *from = folder_path(r->o->snapshot, name);
    char *to = folder_path(dir, strchr(name, '/') + 1);
    struct archive_sum sum;
    tel_code rc = store_import_begin(to, r->shared, file->meta, &r->import, err);
    if (rc == TEL_OK) {
        rc = archive_read(r->fs, from, put, r, &sum, err);
        if (rc == TEL_OK && (sum.bytes != file->sum.bytes || sum.records != file->sum.records ||
                             sum.crc != file->sum.crc))
            rc = tel_error_set(err, TEL_ERR_CORRUPT, "%s is not what the manifest has", from);
        if (rc == TEL_OK)
            rc = store_import_end(r->import, err);
        else
            store_import_abort(r->import);
        r->import = NULL;
    }
    free(from);
    free(to);
    return rc;
}

/* Opens what was made, as a server would, and reads all of it. */
static tel_code verify(struct restoring *r, const struct manifest_partition *p, const char *dir,
                       struct tel_error *err)
{
    struct shard_verify_report report = {0};
    tel_code rc = shard_verify_partition(dir, p->partition, r->shared, r->o->out, &report, err);
    if (rc != TEL_OK)
        return rc;
    if (report.segments != p->segments || report.events != p->events ||
        report.damaged != p->damaged || report.doubles || report.resume.epoch != p->resume.epoch ||
        report.resume.offset != p->resume.offset)
        return tel_error_set(err, TEL_ERR_CORRUPT,
                             "partition %" PRIu32 ": %llu segments, %llu events, %llu damaged, resumes "
                             "at %" PRId64 "; the manifest has %" PRIu64 ", %" PRIu64 ", %" PRIu64
                             " and %" PRId64,
                             p->partition, report.segments, report.events, report.damaged,
                             report.resume.offset, p->segments, p->events, p->damaged,
                             p->resume.offset);
    return TEL_OK;
}

static tel_code build(struct restoring *r, const struct manifest_partition *p,
                      struct tel_error *err)
{
    char *dir = partition_path(r, p->partition, ".restoring");
    tel_code rc = tel_fs_remove_all(r->fs, dir, err); /* of one that was killed */
    if (rc == TEL_OK)
        rc = tel_fs_mkdir_all(r->fs, dir, err);
    for (size_t i = 0; i < p->files.len && rc == TEL_OK; i++)
        rc = restore_file(r, p, &p->files.items[i], dir, err);
    if (rc == TEL_OK)
        rc = tel_fs_sync_dir(r->fs, dir, err);
    if (rc == TEL_OK)
        rc = verify(r, p, dir, err);
    free(dir);
    return rc;
}

static void remove_built(struct restoring *r)
{
    for (size_t i = 0; i < r->manifest.partitions.len; i++) {
        uint32_t partition = r->manifest.partitions.items[i].partition;
        if (!wanted(r, partition))
            continue;
        char *dir = partition_path(r, partition, ".restoring");
        struct tel_error why;
        if (tel_fs_remove_all(r->fs, dir, &why) != TEL_OK) /* the next one tries again */
            fprintf(r->o->out, "%s stays behind: %s\n", dir, why.text);
        free(dir);
    }
}

static tel_code name_built(struct restoring *r, struct tel_error *err)
{
    tel_code rc = TEL_OK;
    for (size_t i = 0; i < r->manifest.partitions.len && rc == TEL_OK; i++) {
        uint32_t partition = r->manifest.partitions.items[i].partition;
        if (!wanted(r, partition))
            continue;
        char *from = partition_path(r, partition, ".restoring");
        char *to = partition_path(r, partition, "");
        rc = tel_fs_rename(r->fs, from, to, err);
        if (rc != TEL_OK)
            tel_error_wrap(err, rc, "partitions before %" PRIu32 " are restored, others not",
                           partition);
        free(from);
        free(to);
    }
    return rc == TEL_OK ? tel_fs_sync_dir(r->fs, r->o->dir, err) : rc;
}

static tel_code restore_all(struct restoring *r, struct tel_error *err)
{
    tel_code rc = check_target(r, err);
    if (rc != TEL_OK)
        return rc;
    for (size_t i = 0; i < r->manifest.partitions.len && rc == TEL_OK; i++)
        if (wanted(r, r->manifest.partitions.items[i].partition))
            rc = build(r, &r->manifest.partitions.items[i], err);
    if (rc == TEL_OK)
        rc = name_built(r, err);
    if (rc != TEL_OK)
        remove_built(r);
    return rc;
}

tel_code restore_run(const struct restore_options *options, struct tel_error *err)
{
    struct restoring r = {.o = options, .fs = tel_fs_system()};
    struct tel_fs_lock *lock = NULL;
    tel_code rc = snapshot_open(r.fs, options->snapshot, &r.manifest, err);
    if (rc == TEL_OK)
        rc = check_wanted(&r, err);
    if (rc == TEL_OK)
        rc = tel_fs_mkdir_all(r.fs, options->dir, err);
    if (rc == TEL_OK) {
        char *path = folder_path(options->dir, "LOCK");
        rc = tel_fs_lock(path, &lock, err);
        free(path);
    }
    if (rc == TEL_OK) {
        r.shared = ldb_shared_new(BLOCK_CACHE_BYTES);
        rc = restore_all(&r, err);
        ldb_shared_free(r.shared);
    }
    tel_fs_unlock(lock);
    manifest_done(&r.manifest);
    return rc;
}
