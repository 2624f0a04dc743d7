/*
 * The partition's own small store: a LevelDB with one key for what changes with every commit and one
 * key a source. A commit is one batch, and writes only the sources that changed.
 *
 *     F                          version, partition, seed of the sources' hashes
 *     R                          resume position, counters, mark of the last message
 *     D day generation           the day's watermark as of the last commit
 *     G number                   a gap
 *     S hash128(source, seed)    highest position, when last seen (hours)
 *
 * A source costs 17 bytes of key and about 12 of value. The seed keeps anybody from making two
 * sources that meet. Each value ends with a CRC-32C over key and value.
 */
#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>

#define TEL_LOG_COMPONENT "store"
#include "common/base/clock.h"
#include "common/base/crc32c.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/base/varint.h"
#include "common/sys/fs.h"
#include "shard/store/copy.h"
#include "shard/store/store_private.h"

#define META_VERSION      1u
#define META_WRITE_BUFFER (4u << 20)
#define META_BLOCK        (4u << 10)
#define META_FILE         (4u << 20)
#define SWEEP_KEYS        2000u /* sources looked at per commit for their age */
#define NS_PER_HOUR       (INT64_C(3600) * TEL_NS_PER_S)

struct meta_key {
    char bytes[17];
    size_t len;
};

static struct tel_span key_span(const struct meta_key *key)
{
    return tel_span_make(key->bytes, key->len);
}

static struct meta_key key_plain(char kind)
{
    return (struct meta_key){{kind}, 1};
}

static struct meta_key key_two(char kind, uint64_t a, uint64_t b)
{
    struct meta_key key = {{kind}, 17};
    a = htobe64(a);
    b = htobe64(b);
    memcpy(key.bytes + 1, &a, 8);
    memcpy(key.bytes + 9, &b, 8);
    return key;
}

/* The sign bit is turned so that negative days sort first. */
static struct meta_key key_day(struct folder_day day)
{
    return key_two('D', (uint64_t)day.day ^ (UINT64_C(1) << 63), day.generation);
}

static void key_parse(struct tel_span key, uint64_t *a, uint64_t *b)
{
    memcpy(a, key.ptr + 1, 8);
    memcpy(b, key.ptr + 9, 8);
    *a = be64toh(*a);
    *b = be64toh(*b);
}

/* Values are lists of varints and a checksum. */
static void put_values(struct ldb_batch *batch, const struct meta_key *key, const uint64_t *values,
                       size_t count)
{
    char out[TEL_VARINT_MAX * 8 + 4];
    size_t len = 0;
    TEL_CHECK(count <= 8);
    for (size_t i = 0; i < count; i++)
        len += tel_varint_put(out + len, values[i]);
    uint32_t crc = htole32(tel_crc32c(tel_crc32c(0, key->bytes, key->len), out, len));
    memcpy(out + len, &crc, 4);
    ldb_batch_put(batch, key_span(key), tel_span_make(out, len + 4));
}

static bool take_values(struct tel_span key, struct tel_span value, uint64_t *values, size_t count)
{
    if (value.len < 4)
        return false;
    size_t len = value.len - 4;
    uint32_t crc;
    memcpy(&crc, value.ptr + len, 4);
    if (le32toh(crc) != tel_crc32c(tel_crc32c(0, key.ptr, key.len), value.ptr, len))
        return false;
    const char *pos = value.ptr, *end = value.ptr + len;
    for (size_t i = 0; i < count; i++)
        if (!tel_varint_get(&pos, end, &values[i]))
            return false;
    return pos == end;
}

static tel_code open_db(struct store *store, struct tel_error *err);

/* After a failed write the database may not have been opened again: the disk was still full. */
static tel_code need_db(struct store *store, struct tel_error *err)
{
    return store->meta ? TEL_OK : open_db(store, err);
}

static tel_code get_values(struct store *store, const struct meta_key *key, uint64_t *values,
                           size_t count, struct tel_error *err)
{
    struct tel_span value;
    tel_code rc = need_db(store, err);
    if (rc != TEL_OK)
        return rc;
    rc = ldb_get(store->meta, key_span(key), &value, err);
    if (rc != TEL_OK)
        return rc;
    if (!take_values(key_span(key), value, values, count))
        rc = tel_error_set(err, TEL_ERR_CORRUPT, "meta store: bad value of key %c", key->bytes[0]);
    ldb_value_free(value);
    return rc;
}

/* ---- opening -------------------------------------------------------------------------------------- */

struct ldb_options store_meta_ldb_options(struct ldb_shared *shared)
{
    return (struct ldb_options){
        .shared = shared,
        .write_buffer_bytes = META_WRITE_BUFFER,
        .block_bytes = META_BLOCK,
        .file_bytes = META_FILE,
        .open_files = 64,
        .create = true,
        .bloom = true,
        .paranoid = true,
    };
}

static tel_code open_db(struct store *store, struct tel_error *err)
{
    struct ldb_options options = store_meta_ldb_options(store->options.shared);
    struct ldb *db = NULL;
    char *path = folder_path(store->dir, "meta");
    tel_code rc = tel_fs_mkdir_all(tel_fs_system(), path, err); /* durable, as LevelDB's is not */
    if (rc == TEL_OK)
        rc = ldb_open(path, &options, &db, err);
    free(path);
    tel_mutex_lock(&store->meta_lock);
    store->meta = db;
    tel_mutex_unlock(&store->meta_lock);
    return rc;
}

static tel_code read_identity(struct store *store, struct tel_error *err)
{
    struct meta_key key = key_plain('F');
    uint64_t v[3];
    tel_code rc = get_values(store, &key, v, 3, err);
    if (rc == TEL_ERR_NOTFOUND) {
        uint64_t seed;
        tel_rand_secure(&seed, sizeof(seed));
        struct ldb_batch *batch = ldb_batch_new();
        put_values(batch, &key, (uint64_t[]){META_VERSION, store->options.partition, seed}, 3);
        rc = ldb_write(store->meta, batch, true, err);
        ldb_batch_free(batch);
        store->source_seed = seed;
        return rc;
    }
    if (rc != TEL_OK)
        return rc;
    if (v[0] != META_VERSION)
        return tel_error_set(err, TEL_ERR_UNSUPPORTED, "written in version %" PRIu64 " of the format",
                             v[0]);
    if (v[1] != store->options.partition)
        return tel_error_set(err, TEL_ERR_INVALID, "holds partition %" PRIu64 ", not %u", v[1],
                             store->options.partition);
    store->source_seed = v[2];
    return TEL_OK;
}

#define RESUME_VALUES 8

/* One without a mark, as it was written once, is read too. */
static tel_code take_resume(struct tel_span value, struct store_resume *ret, struct tel_error *err)
{
    struct tel_span key = TEL_SPAN("R");
    uint64_t v[RESUME_VALUES] = {0};
    if (!take_values(key, value, v, RESUME_VALUES) &&
        !take_values(key, value, v, RESUME_VALUES - 1))
        return tel_error_set(err, TEL_ERR_CORRUPT, "meta store: bad value of key R");
    *ret = (struct store_resume){
        .position = {(uint32_t)v[0], tel_unzigzag(v[1])},
        .counters = {.gap_messages = v[2],
                     .dead_letters = v[3],
                     .repeats_dropped = v[4],
                     .events_outside = v[5],
                     .events = v[6]},
        .mark = v[7],
    };
    return TEL_OK;
}

static tel_code read_resume(struct store *store, struct tel_error *err)
{
    struct tel_span value;
    tel_code rc = need_db(store, err);
    if (rc == TEL_OK)
        rc = ldb_get(store->meta, TEL_SPAN("R"), &value, err);
    if (rc == TEL_ERR_NOTFOUND)
        return TEL_OK; /* a new store: from the log's beginning */
    if (rc != TEL_OK)
        return rc;
    rc = take_resume(value, &store->resume, err);
    ldb_value_free(value);
    return rc;
}

tel_code store_copy_meta(struct store *store, const struct store_sink *sink,
                         struct store_resume *ret_resume, struct tel_error *err)
{
    struct store_resume resume = {0};
    tel_mutex_lock(&store->meta_lock);
    if (!store->meta) {
        tel_mutex_unlock(&store->meta_lock);
        return tel_error_set(err, TEL_ERR_IO, "the partition's own store is closed after an error");
    }
    struct ldb_iter *iter = ldb_iter_new(store->meta); /* sees one moment */
    tel_code rc = TEL_OK;
    for (ldb_iter_seek(iter, TEL_SPAN("")); ldb_iter_valid(iter) && rc == TEL_OK;
         ldb_iter_next(iter)) {
        struct tel_span key = ldb_iter_key(iter), value = ldb_iter_value(iter);
        if (tel_span_eq(key, TEL_SPAN("R")))
            rc = take_resume(value, &resume, err);
        if (rc == TEL_OK)
            rc = sink->put(sink->ctx, key, value, err);
    }
    if (rc == TEL_OK)
        rc = ldb_iter_status(iter, err);
    ldb_iter_free(iter);
    tel_mutex_unlock(&store->meta_lock);
    if (rc == TEL_OK)
        *ret_resume = resume;
    return rc;
}

static tel_code read_lists(struct store *store, struct tel_error *err)
{
    struct ldb_iter *iter = ldb_iter_new(store->meta);
    for (ldb_iter_seek(iter, TEL_SPAN("D")); ldb_iter_valid(iter); ldb_iter_next(iter)) {
        struct tel_span key = ldb_iter_key(iter);
        uint64_t a, b, v[2];
        if (key.len == 0 || key.ptr[0] > 'G')
            break;
        if (key.len != 17)
            continue;
        key_parse(key, &a, &b);
        if (key.ptr[0] == 'G')
            store->next_gap = b + 1;
        else if (take_values(key, ldb_iter_value(iter), v, 2))
            tel_vec_push(&store->said,
                         ((struct store_day_mark){
                             {(int64_t)(a ^ (UINT64_C(1) << 63)), (uint32_t)b},
                             {(uint32_t)v[0], tel_unzigzag(v[1])}}));
    }
    tel_code rc = ldb_iter_status(iter, err);
    ldb_iter_free(iter);
    return rc;
}

tel_code store_meta_open(struct store *store, struct tel_error *err)
{
    tel_code rc = open_db(store, err);
    if (rc == TEL_OK)
        rc = read_identity(store, err);
    if (rc == TEL_OK)
        rc = read_resume(store, err);
    if (rc == TEL_OK)
        rc = read_lists(store, err);
    return rc;
}

const struct store_position *store_meta_mark(const struct store *store, struct folder_day name)
{
    for (size_t i = 0; i < store->said.len; i++)
        if (store->said.items[i].name.day == name.day &&
            store->said.items[i].name.generation == name.generation)
            return &store->said.items[i].watermark;
    return NULL;
}

struct store_resume store_resume_get(const struct store *store)
{
    return store->resume;
}

/* ---- sources -------------------------------------------------------------------------------------- */

struct tel_hash128 store_source_id(const struct store *store, struct tel_span source)
{
    return tel_hash128(source, store->source_seed);
}

tel_code store_source_get(struct store *store, struct tel_hash128 id, struct store_source *ret,
                          struct tel_error *err)
{
    struct meta_key key = key_two('S', id.hi, id.lo);
    uint64_t v[2];
    tel_code rc = get_values(store, &key, v, 2, err);
    if (rc == TEL_OK)
        *ret = (struct store_source){id, v[0], (int64_t)v[1] * NS_PER_HOUR};
    return rc;
}

/* Deletes sources of a great age, a few at each commit, in turn. */
static void sweep_sources(struct store *store, struct ldb_batch *batch, int64_t before_ns)
{
    struct meta_key key = key_two('S', store->expire_at.hi, store->expire_at.lo);
    struct ldb_iter *iter = ldb_iter_new(store->meta);
    unsigned seen = 0;
    for (ldb_iter_seek(iter, key_span(&key)); ldb_iter_valid(iter) && seen < SWEEP_KEYS;
         ldb_iter_next(iter), seen++) {
        struct tel_span k = ldb_iter_key(iter);
        uint64_t v[2];
        if (k.len != 17 || k.ptr[0] != 'S')
            break;
        key_parse(k, &store->expire_at.hi, &store->expire_at.lo);
        if (take_values(k, ldb_iter_value(iter), v, 2) &&
            (int64_t)v[1] * NS_PER_HOUR + NS_PER_HOUR < before_ns)
            ldb_batch_delete(batch, k);
    }
    if (seen < SWEEP_KEYS)
        store->expire_at = (struct tel_hash128){0, 0};
    ldb_iter_free(iter);
}

/* ---- committing ----------------------------------------------------------------------------------- */

static void put_resume(struct ldb_batch *batch, const struct store_resume *r)
{
    struct meta_key key = key_plain('R');
    const struct store_counters *c = &r->counters;
    put_values(batch, &key,
               (uint64_t[]){r->position.epoch, tel_zigzag(r->position.offset), c->gap_messages,
                            c->dead_letters, c->repeats_dropped, c->events_outside, c->events,
                            r->mark},
               RESUME_VALUES);
}

/* Returns how many dropped days the batch tells of. */
static size_t put_days(struct store *store, struct ldb_batch *batch)
{
    tel_mutex_lock(&store->lock);
    size_t forgotten = store->forgotten.len;
    for (size_t i = 0; i < store->touched.len; i++) {
        const struct store_day_mark *m = &store->touched.items[i];
        struct meta_key key = key_day(m->name);
        put_values(batch, &key,
                   (uint64_t[]){m->watermark.epoch, tel_zigzag(m->watermark.offset)}, 2);
    }
    for (size_t i = 0; i < store->forgotten.len; i++) {
        struct meta_key key = key_day(store->forgotten.items[i]);
        ldb_batch_delete(batch, key_span(&key));
    }
    tel_mutex_unlock(&store->lock);
    return forgotten;
}

/* The meta store takes no more writes after an error: open it anew. */
static void reopen(struct store *store)
{
    struct tel_error err;
    tel_mutex_lock(&store->meta_lock); /* waits for a copy that reads it */
    ldb_close(store->meta);
    store->meta = NULL;
    tel_mutex_unlock(&store->meta_lock);
    if (open_db(store, &err) != TEL_OK)
        tel_log_error("cannot reopen the meta store", tel_kv_error(&err));
    tel_mutex_lock(&store->lock);
    store->stats.reopened++;
    tel_mutex_unlock(&store->lock);
}

tel_code store_commit(struct store *store, const struct store_commit *commit, struct tel_error *err)
{
    tel_code rc = need_db(store, err);
    if (rc != TEL_OK)
        return rc;
    struct ldb_batch *batch = ldb_batch_new();
    /* Deletes come first: a source that came back in this very round is put again below. */
    if (commit->expire_before_ns != INT64_MIN)
        sweep_sources(store, batch, commit->expire_before_ns);
    for (size_t i = 0; i < commit->source_count; i++) {
        const struct store_source *s = &commit->sources[i];
        struct meta_key key = key_two('S', s->id.hi, s->id.lo);
        put_values(batch, &key,
                   (uint64_t[]){s->position, (uint64_t)(TEL_MAX(s->seen_ns, 0) / NS_PER_HOUR)}, 2);
    }
    for (size_t i = 0; i < commit->gap_count; i++) {
        const struct store_gap *g = &commit->gaps[i];
        struct meta_key key = key_two('G', 0, store->next_gap + i);
        put_values(batch, &key,
                   (uint64_t[]){g->epoch, tel_zigzag(g->from), tel_zigzag(g->to),
                                tel_zigzag(g->noticed_ns)},
                   4);
    }
    size_t forgotten = put_days(store, batch);
    put_resume(batch, &commit->resume);
    rc = store_step(store, STORE_STEP_META_COMMIT, err);
    if (rc == TEL_OK)
        rc = ldb_write(store->meta, batch, true, err);
    ldb_batch_free(batch);
    if (rc != TEL_OK) {
        reopen(store);
        return tel_error_wrap(err, rc, "commit of offset %" PRId64, commit->resume.position.offset);
    }
    tel_mutex_lock(&store->lock);
    store->resume = commit->resume;
    store->next_gap += commit->gap_count;
    store->touched.len = 0;
    store->forgotten.len -= forgotten;
    if (store->forgotten.len)
        memmove(store->forgotten.items, store->forgotten.items + forgotten,
                store->forgotten.len * sizeof(*store->forgotten.items));
    tel_mutex_unlock(&store->lock);
    (void)store_step(store, STORE_STEP_META_COMMITTED, NULL);
    return TEL_OK;
}

size_t store_gaps(struct store *store, struct store_gap *ret, size_t max)
{
    size_t count = 0;
    for (uint64_t n = store->next_gap; n-- > 0 && count < max;) {
        struct meta_key key = key_two('G', 0, n);
        uint64_t v[4];
        if (get_values(store, &key, v, 4, NULL) != TEL_OK)
            break;
        ret[count++] = (struct store_gap){(uint32_t)v[0], tel_unzigzag(v[1]), tel_unzigzag(v[2]),
                                          tel_unzigzag(v[3])};
    }
    return count;
}
