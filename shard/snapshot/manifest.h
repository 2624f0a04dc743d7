/*
 * A snapshot's MANIFEST: what it holds, with sizes and checksums. It is written last, so a snapshot
 * without one is not whole. Lines of text, drawn in shard/FORMAT.md; the last has the CRC-32C of all
 * before it.
 */
#ifndef SHARD_SNAPSHOT_MANIFEST_H
#define SHARD_SNAPSHOT_MANIFEST_H

#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/base/vec.h"
#include "shard/snapshot/archive.h"
#include "shard/store/entry.h"
#include "shard/store/folder.h"

#define MANIFEST_NAME      "MANIFEST"
#define MANIFEST_BYTES_MAX (64u << 20)

struct manifest_file {
    bool meta; /* the partition's own store; else a day */
    struct folder_day day;
    struct archive_sum sum;
};

struct manifest_partition {
    uint32_t partition;
    struct store_position resume;
    uint64_t segments, events, bytes;
    uint64_t damaged; /* segments of which not all could be read; the copy lacks the same */
    TEL_VEC(struct manifest_file) files; /* the partition's own store first */
};

struct manifest {
    int64_t made_ns; /* since the epoch */
    TEL_VEC(struct manifest_partition) partitions;
};

void manifest_done(struct manifest *manifest);
void manifest_write(const struct manifest *manifest, struct tel_buf *ret);
/* TEL_ERR_CORRUPT with the line's number; TEL_ERR_UNSUPPORTED: of another version. */
TEL_MUST_USE tel_code manifest_parse(struct tel_span text, struct manifest *ret,
                                     struct tel_error *err);

/* "p3/meta" or "p3/2026-01-02.0", below the snapshot's folder. */
void manifest_file_path(char *out, size_t size, uint32_t partition,
                        const struct manifest_file *file);

#endif
