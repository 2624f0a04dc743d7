/* What the store's tests share: a temporary folder, images made from a seed, and their check. */
#ifndef TESTS_UNIT_SHARD_STORE_FIXTURE_H
#define TESTS_UNIT_SHARD_STORE_FIXTURE_H

#include "shard/store/fault.h"
#include "shard/store/ldb.h"
#include "shard/store/store.h"

struct fixture {
    char dir[64];
    struct ldb_shared *shared;
    struct store_faults faults;
    struct store *store;
};

void fixture_begin(struct fixture *f);
void fixture_end(struct fixture *f);
void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);

/* Sections whose bytes follow from tag; offset `tag` is its only message. */
#define FIXTURE_SECTIONS 4u
void fixture_add(struct store_writer *writer, const char *tenant, int64_t day, int64_t tag);
/* Writes one segment a tenant for the day and commits the day. */
tel_code fixture_round(struct fixture *f, const char *tenant, int64_t day, int64_t tag,
                       int64_t upto);
/* TEL_OK when every section reads back as made from the segment's first offset; TEL_ERR_CORRUPT when
 * the store says so; fails the test on wrong bytes. */
tel_code fixture_check(struct store_segment *segment);
tel_code fixture_commit(struct fixture *f, int64_t offset);

#endif
