/* `telescope-shard verify DIR`: reads everything in a data folder that no server has open, and says
 * what it found. */
#ifndef SHARD_VERIFY_H
#define SHARD_VERIFY_H

#include <stdio.h>

#include "common/base/error.h"

struct shard_verify_report {
    unsigned long long partitions, days, segments, events, bytes, damaged;
};

/* Prints a line for each partition and for each thing that is wrong. TEL_OK also when something is:
 * ask ret->damaged. */
TEL_MUST_USE tel_code shard_verify(const char *dir, FILE *out, struct shard_verify_report *ret,
                                   struct tel_error *err);

#endif
