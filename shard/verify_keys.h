/*
 * What the rows of segments say against their entries and against each other: each lies in its
 * segment's day, time and offsets, and none is there twice.
 */
#ifndef SHARD_VERIFY_KEYS_H
#define SHARD_VERIFY_KEYS_H

#include <stdio.h>

#include "common/logsql/block.h"
#include "shard/store/store.h"

/* The keys of a segment's rows against its entry. TEL_ERR_CORRUPT names the first that is wrong. */
TEL_MUST_USE tel_code verify_keys_of(const struct store_segment *segment, uint32_t partition,
                                     const struct tel_row_key *keys, size_t rows,
                                     struct tel_error *err);

/* Reads a segment's keys into *ret, an array to be freed. */
typedef tel_code verify_read_keys(struct store_segment *segment, struct tel_row_key **ret,
                                  size_t *ret_rows, struct tel_error *err);

/* Rows that are in several of the segments (of one partition, all days and tenants), with a line on
 * `out` for each pair of segments that shares some. Segments are read again only where their ranges of
 * offsets overlap; those that cannot be read are passed over. Returns how many rows are too many. */
uint64_t verify_doubles(const store_segments *segments, uint32_t partition, verify_read_keys *read,
                        FILE *out);

#endif
