/*
 * One file of a snapshot: the keys and values of a database, in order, each with its checksum, and a
 * count at the end; shard/FORMAT.md draws it. Written once, from front to end; read the same way.
 * Belongs to one thread.
 */
#ifndef SHARD_SNAPSHOT_ARCHIVE_H
#define SHARD_SNAPSHOT_ARCHIVE_H

#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/base/span.h"
#include "common/sys/fs.h"

/* What is known of a whole file: a manifest says it, a reader finds it. */
struct archive_sum {
    uint64_t bytes, records;
    uint32_t crc; /* CRC-32C of all bytes */
};

struct archive_writer {
    struct tel_file *file;
    struct tel_buf buf;
    struct archive_sum sum;
};

/* Makes the file, which must not be there. */
TEL_MUST_USE tel_code archive_create(struct tel_fs *fs, const char *path,
                                     struct archive_writer *ret, struct tel_error *err);
/* *ret_written: bytes that went to the file by this call; often none, as they are gathered. */
TEL_MUST_USE tel_code archive_put(struct archive_writer *writer, struct tel_span key,
                                  struct tel_span value, uint64_t *ret_written,
                                  struct tel_error *err);
/* Writes the end and syncs; the writer's sum is complete. */
TEL_MUST_USE tel_code archive_finish(struct archive_writer *writer, struct tel_error *err);
void archive_close(struct archive_writer *writer); /* always; all zero is fine */

/* Reads the whole file and gives each record to `put`. TEL_ERR_CORRUPT: it is not as it was written;
 * what `put` got before that must not be used. Errors of put end it. */
TEL_MUST_USE tel_code archive_read(struct tel_fs *fs, const char *path,
                                   tel_code (*put)(void *ctx, struct tel_span key,
                                                   struct tel_span value, struct tel_error *err),
                                   void *ctx, struct archive_sum *ret, struct tel_error *err);

#endif
