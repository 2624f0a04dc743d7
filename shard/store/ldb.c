#include "shard/store/ldb.h"

#include <leveldb/c.h>
#include <stdlib.h>

#include "common/base/mem.h"

struct ldb_shared {
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *bloom;
};

struct ldb {
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_readoptions_t *read;
    leveldb_writeoptions_t *write, *write_sync;
};

struct ldb_batch {
    leveldb_writebatch_t *batch;
    size_t bytes, count;
};

struct ldb_iter {
    leveldb_iterator_t *iter;
};

/* Turns LevelDB's message into an error. Its texts begin with the status' name. */
static tel_code ldb_error(struct tel_error *err, char *text)
{
    tel_code code = TEL_ERR_IO;
    struct tel_span s = tel_span_cstr(text);
    if (tel_span_find(s, TEL_SPAN("No space left")) != (size_t)-1 ||
        tel_span_find(s, TEL_SPAN("File too large")) != (size_t)-1 ||
        tel_span_find(s, TEL_SPAN("Disk quota")) != (size_t)-1)
        code = TEL_ERR_NOSPACE;
    else if (tel_span_starts(s, TEL_SPAN("Corruption")))
        code = TEL_ERR_CORRUPT;
    else if (tel_span_starts(s, TEL_SPAN("NotFound")))
        code = TEL_ERR_NOTFOUND;
    else if (tel_span_find(s, TEL_SPAN("already held by process")) != (size_t)-1 ||
             tel_span_find(s, TEL_SPAN("/LOCK")) != (size_t)-1)
        code = TEL_ERR_LOCKED;
    tel_error_set(err, code, "LevelDB: %s", text);
    leveldb_free(text);
    return code;
}

struct ldb_shared *ldb_shared_new(size_t cache_bytes)
{
    struct ldb_shared *shared = TEL_NEW(struct ldb_shared);
    shared->cache = leveldb_cache_create_lru(cache_bytes);
    shared->bloom = leveldb_filterpolicy_create_bloom(10);
    return shared;
}

void ldb_shared_free(struct ldb_shared *shared)
{
    if (!shared)
        return;
    leveldb_cache_destroy(shared->cache);
    leveldb_filterpolicy_destroy(shared->bloom);
    free(shared);
}

tel_code ldb_open(const char *path, const struct ldb_options *options, struct ldb **ret,
                  struct tel_error *err)
{
    struct ldb *db = TEL_NEW(struct ldb);
    db->options = leveldb_options_create();
    leveldb_options_set_create_if_missing(db->options, options->create);
    leveldb_options_set_compression(db->options, leveldb_no_compression);
    leveldb_options_set_cache(db->options, options->shared->cache);
    leveldb_options_set_write_buffer_size(db->options, options->write_buffer_bytes);
    leveldb_options_set_block_size(db->options, options->block_bytes);
    leveldb_options_set_max_file_size(db->options, options->file_bytes);
    leveldb_options_set_max_open_files(db->options, options->open_files);
    leveldb_options_set_paranoid_checks(db->options, options->paranoid);
    if (options->bloom)
        leveldb_options_set_filter_policy(db->options, options->shared->bloom);
    db->read = leveldb_readoptions_create();
    leveldb_readoptions_set_verify_checksums(db->read, 1);
    db->write = leveldb_writeoptions_create();
    db->write_sync = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(db->write_sync, 1);

    char *text = NULL;
    db->db = leveldb_open(db->options, path, &text);
    if (text) {
        tel_code rc = ldb_error(err, text);
        db->db = NULL;
        ldb_close(db);
        return rc;
    }
    *ret = db;
    return TEL_OK;
}

void ldb_close(struct ldb *db)
{
    if (!db)
        return;
    if (db->db)
        leveldb_close(db->db);
    leveldb_options_destroy(db->options);
    leveldb_readoptions_destroy(db->read);
    leveldb_writeoptions_destroy(db->write);
    leveldb_writeoptions_destroy(db->write_sync);
    free(db);
}

struct ldb_batch *ldb_batch_new(void)
{
    struct ldb_batch *batch = TEL_NEW(struct ldb_batch);
    batch->batch = leveldb_writebatch_create();
    return batch;
}

void ldb_batch_free(struct ldb_batch *batch)
{
    if (!batch)
        return;
    leveldb_writebatch_destroy(batch->batch);
    free(batch);
}

void ldb_batch_clear(struct ldb_batch *batch)
{
    /* LevelDB's own clear keeps the memory of the greatest batch there ever was. */
    leveldb_writebatch_destroy(batch->batch);
    batch->batch = leveldb_writebatch_create();
    batch->bytes = batch->count = 0;
}

void ldb_batch_put(struct ldb_batch *batch, struct tel_span key, struct tel_span value)
{
    leveldb_writebatch_put(batch->batch, key.ptr, key.len, value.ptr ? value.ptr : "", value.len);
    batch->bytes += key.len + value.len;
    batch->count++;
}

void ldb_batch_delete(struct ldb_batch *batch, struct tel_span key)
{
    leveldb_writebatch_delete(batch->batch, key.ptr, key.len);
    batch->bytes += key.len;
    batch->count++;
}

size_t ldb_batch_bytes(const struct ldb_batch *batch)
{
    return batch->bytes;
}

size_t ldb_batch_count(const struct ldb_batch *batch)
{
    return batch->count;
}

tel_code ldb_write(struct ldb *db, struct ldb_batch *batch, bool sync, struct tel_error *err)
{
    char *text = NULL;
    leveldb_write(db->db, sync ? db->write_sync : db->write, batch->batch, &text);
    return text ? ldb_error(err, text) : TEL_OK;
}

tel_code ldb_get(struct ldb *db, struct tel_span key, struct tel_span *ret, struct tel_error *err)
{
    char *text = NULL;
    size_t len = 0;
    char *value = leveldb_get(db->db, db->read, key.ptr, key.len, &len, &text);
    if (text)
        return ldb_error(err, text);
    if (!value)
        return tel_error_set(err, TEL_ERR_NOTFOUND, "LevelDB: no such key");
    *ret = tel_span_make(value, len);
    return TEL_OK;
}

void ldb_value_free(struct tel_span value)
{
    leveldb_free((void *)(uintptr_t)value.ptr);
}

struct ldb_iter *ldb_iter_new(struct ldb *db)
{
    struct ldb_iter *iter = TEL_NEW(struct ldb_iter);
    iter->iter = leveldb_create_iterator(db->db, db->read);
    return iter;
}

void ldb_iter_free(struct ldb_iter *iter)
{
    if (!iter)
        return;
    leveldb_iter_destroy(iter->iter);
    free(iter);
}

void ldb_iter_seek(struct ldb_iter *iter, struct tel_span key)
{
    leveldb_iter_seek(iter->iter, key.ptr ? key.ptr : "", key.len);
}

void ldb_iter_next(struct ldb_iter *iter)
{
    leveldb_iter_next(iter->iter);
}

bool ldb_iter_valid(const struct ldb_iter *iter)
{
    return leveldb_iter_valid(iter->iter);
}

tel_code ldb_iter_status(const struct ldb_iter *iter, struct tel_error *err)
{
    char *text = NULL;
    leveldb_iter_get_error(iter->iter, &text);
    return text ? ldb_error(err, text) : TEL_OK;
}

struct tel_span ldb_iter_key(const struct ldb_iter *iter)
{
    size_t len;
    const char *ptr = leveldb_iter_key(iter->iter, &len);
    return tel_span_make(ptr, len);
}

struct tel_span ldb_iter_value(const struct ldb_iter *iter)
{
    size_t len;
    const char *ptr = leveldb_iter_value(iter->iter, &len);
    return tel_span_make(ptr, len);
}

void ldb_compact(struct ldb *db, struct tel_span from, struct tel_span to)
{
    leveldb_compact_range(db->db, from.ptr, from.len, to.ptr, to.len);
}
