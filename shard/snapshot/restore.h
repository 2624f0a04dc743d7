/*
 * A data folder out of a snapshot. Everything is checked before anything is made: the manifest, then
 * each file while it is read, then each segment as `verify` does. A partition is built as
 * DIR/p3.restoring and gets its name when all partitions are whole; what is there already is never
 * touched.
 */
#ifndef SHARD_SNAPSHOT_RESTORE_H
#define SHARD_SNAPSHOT_RESTORE_H

#include <stdio.h>

#include "shard/snapshot/manifest.h"

struct restore_options {
    const char *snapshot, *dir;
    const uint32_t *partitions; /* which of them; NULL: all */
    size_t count;
    FILE *out; /* a line for each partition */
};

/* TEL_ERR_EXISTS: a partition is there already; TEL_ERR_NOTFOUND: no whole snapshot, or it lacks a
 * partition; TEL_ERR_CORRUPT: something is not as it was written; TEL_ERR_LOCKED: a server has the
 * folder; TEL_ERR_NOSPACE. On an error no partition is there that was not before, unless the disk
 * failed between the renames at the end, which the text then says. */
TEL_MUST_USE tel_code restore_run(const struct restore_options *options, struct tel_error *err);

#endif
