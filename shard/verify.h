/* `telescope-shard verify DIR`: reads everything in a data folder that no server has open, and says
 * what it found. */
#ifndef SHARD_VERIFY_H
#define SHARD_VERIFY_H

#include <stdio.h>

#include "common/base/error.h"
#include "shard/store/entry.h"

struct shard_verify_report {
    unsigned long long partitions, days, segments, events, bytes;
    unsigned long long damaged; /* days and segments of which something cannot be read, or is wrong */
    unsigned long long doubles; /* rows that are in several segments */
    struct store_position resume; /* of the last partition */
};

struct ldb_shared;

/* Prints a line for each partition and for each thing that is wrong. TEL_OK also when something is:
 * ask ret->damaged and ret->doubles. */
TEL_MUST_USE tel_code shard_verify(const char *dir, FILE *out, struct shard_verify_report *ret,
                                   struct tel_error *err);

/* One partition's folder, which nobody has open; adds to *ret. */
TEL_MUST_USE tel_code shard_verify_partition(const char *dir, uint32_t partition,
                                             struct ldb_shared *shared, FILE *out,
                                             struct shard_verify_report *ret,
                                             struct tel_error *err);

#endif
