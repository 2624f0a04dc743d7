/*
 * LevelDB, wrapped here and nowhere else. A database may be used by several threads; a batch and an
 * iterator belong to one.
 *
 * LevelDB stops taking writes for good after its first write error: the caller closes and opens it
 * again (which replays LevelDB's own log) and then looks what is there.
 */
#ifndef SHARD_STORE_LDB_H
#define SHARD_STORE_LDB_H

#include <stdint.h>

#include "common/base/error.h"
#include "common/base/span.h"

struct ldb;
struct ldb_batch;
struct ldb_iter;

/* What several databases share: a cache of blocks and a bloom filter policy. Outlives them. */
struct ldb_shared;
struct ldb_shared *ldb_shared_new(size_t cache_bytes);
void ldb_shared_free(struct ldb_shared *shared);

struct ldb_options {
    struct ldb_shared *shared;
    size_t write_buffer_bytes, block_bytes, file_bytes;
    int open_files;
    bool create;
    bool bloom;    /* for keys that are looked up and often absent */
    bool paranoid; /* damage anywhere fails the opening, instead of being passed over */
};

TEL_MUST_USE tel_code ldb_open(const char *path, const struct ldb_options *options,
                               struct ldb **ret, struct tel_error *err);
void ldb_close(struct ldb *db); /* NULL is fine */

struct ldb_batch *ldb_batch_new(void);
void ldb_batch_free(struct ldb_batch *batch);
void ldb_batch_clear(struct ldb_batch *batch);
void ldb_batch_put(struct ldb_batch *batch, struct tel_span key, struct tel_span value);
void ldb_batch_delete(struct ldb_batch *batch, struct tel_span key);
size_t ldb_batch_bytes(const struct ldb_batch *batch); /* keys and values put so far */
size_t ldb_batch_count(const struct ldb_batch *batch);

/* All of the batch or nothing. sync: fsynced when it returns. */
TEL_MUST_USE tel_code ldb_write(struct ldb *db, struct ldb_batch *batch, bool sync,
                                struct tel_error *err);

/* *ret must be given to ldb_value_free. TEL_ERR_NOTFOUND without such a key. */
TEL_MUST_USE tel_code ldb_get(struct ldb *db, struct tel_span key, struct tel_span *ret,
                              struct tel_error *err);
void ldb_value_free(struct tel_span value);

struct ldb_iter *ldb_iter_new(struct ldb *db);
void ldb_iter_free(struct ldb_iter *iter);
void ldb_iter_seek(struct ldb_iter *iter, struct tel_span key); /* the first key not below it */
void ldb_iter_next(struct ldb_iter *iter);
/* False at the end, and on an error: ask ldb_iter_status then. */
bool ldb_iter_valid(const struct ldb_iter *iter);
TEL_MUST_USE tel_code ldb_iter_status(const struct ldb_iter *iter, struct tel_error *err);
struct tel_span ldb_iter_key(const struct ldb_iter *iter); /* both until the iterator moves */
struct tel_span ldb_iter_value(const struct ldb_iter *iter);

/* Rewrites the range so that what was deleted in it leaves the disk. Slow. */
void ldb_compact(struct ldb *db, struct tel_span from, struct tel_span to);

#endif
