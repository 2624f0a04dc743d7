/*
 * A snapshot: a consistent copy of partitions, taken while they are written to, in a folder of its own.
 *
 *     DEST/MANIFEST          what there is, with sizes and checksums; written last
 *     DEST/p3/meta           the partition's own store, as of one moment
 *     DEST/p3/2026-01-02.0   a day, as of a later moment
 *
 * A shard that starts on what restore makes of it reads the queue from the snapshot's resume offset on
 * and ends with every event once: shard/store/copy.h says why. What was in memory only is not in it;
 * the queue has that.
 *
 * It is made as DEST.partial and renamed when all of it is durable, so that half of one is never taken
 * for one; what was left behind by a process that was killed is removed by the next of that name.
 */
#ifndef SHARD_SNAPSHOT_SNAPSHOT_H
#define SHARD_SNAPSHOT_SNAPSHOT_H

#include "common/base/error.h"
#include "common/sys/fs.h"
#include "shard/snapshot/manifest.h"

struct store;

struct snapshot_options {
    struct tel_fs *fs;  /* where it goes; NULL: the machine's */
    const char *dest;   /* must not be there */
    struct store *const *stores;
    const uint32_t *partitions; /* of the stores */
    size_t count;
    uint64_t bytes_per_s;   /* 0: as fast as it goes */
    uint64_t reserve_bytes; /* free space that is left alone */
    /* Asked often; anything but TEL_OK ends it with that. May be NULL. */
    tel_code (*stop)(void *ctx, struct tel_error *err);
    /* Told now and then how much has been written. May be NULL. */
    void (*progress)(void *ctx, uint64_t bytes_done, uint64_t bytes_all);
    void *ctx;
};

/* *ret_manifest is for manifest_done. On an error nothing stays behind. TEL_ERR_EXISTS: DEST is there,
 * or DEST.partial and not ours; TEL_ERR_LOCKED: another makes it now; TEL_ERR_NOSPACE; TEL_ERR_CORRUPT:
 * a day is damaged so that nobody knows what it lacks. Any thread. */
TEL_MUST_USE tel_code snapshot_take(const struct snapshot_options *options,
                                    struct manifest *ret_manifest, struct tel_error *err);

/* Reads and parses a snapshot's MANIFEST. TEL_ERR_NOTFOUND: there is none, so it is not whole. */
TEL_MUST_USE tel_code snapshot_open(struct tel_fs *fs, const char *dir, struct manifest *ret,
                                    struct tel_error *err);

#endif
