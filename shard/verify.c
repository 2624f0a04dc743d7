#include "shard/verify.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/logsql/filter.h"
#include "common/sys/fs.h"
#include "shard/store/folder.h"
#include "shard/store/ldb.h"
#include "shard/store/store.h"
#include "shard/verify_keys.h"

/* Does every row of the segment unpack, and are there as many as the catalogue says? columns: all of
 * them, and not only the keys. *ret_keys is to be freed. */
static tel_code read_rows(struct store_segment *segment, bool columns,
                          struct tel_row_key **ret_keys, size_t *ret_rows, struct tel_error *err)
{
    struct store_handle *handle;
    struct segment_reader *reader = NULL;
    struct tel_arena arena;
    tel_code rc = store_handle_open(segment, &handle, err);
    if (rc != TEL_OK)
        return rc;
    tel_arena_init(&arena, 0);
    struct segment_io io = store_handle_io(handle);
    rc = segment_reader_open(&io, &reader, err);
    static const struct tel_filter all = {.op = TEL_FILTER_ALL};
    struct segment_query query = {.filter = &all, .start_ns = INT64_MIN, .end_ns = INT64_MAX};
    struct segment_counters counters = {0};
    struct tel_block_source *src = NULL;
    if (rc == TEL_OK)
        rc = segment_select(reader, &query, &arena, &src, &counters, err);
    const struct tel_span *names;
    size_t count = 0;
    if (rc == TEL_OK && src->rows != segment->rows)
        rc = tel_error_set(err, TEL_ERR_CORRUPT, "%zu rows, where the catalogue has %" PRIu64,
                           src->rows, segment->rows);
    if (rc == TEL_OK && columns)
        rc = src->ops->names(src, &names, &count, err);
    for (size_t i = 0; i < count && rc == TEL_OK; i++) {
        const struct tel_span *values;
        rc = src->ops->column(src, names[i], &values, err);
    }
    if (rc == TEL_OK) {
        *ret_rows = src->rows;
        *ret_keys = tel_malloc(src->rows * sizeof(**ret_keys));
        memcpy(*ret_keys, src->keys, src->rows * sizeof(**ret_keys));
    }
    segment_reader_close(reader);
    store_handle_close(handle);
    tel_arena_free(&arena);
    return rc;
}

static tel_code read_keys(struct store_segment *segment, struct tel_row_key **ret,
                          size_t *ret_rows, struct tel_error *err)
{
    return read_rows(segment, false, ret, ret_rows, err);
}

static tel_code verify_segment(struct store_segment *segment, uint32_t partition,
                               struct tel_error *err)
{
    struct tel_row_key *keys = NULL;
    size_t rows = 0;
    tel_code rc = store_segment_verify(segment, err);
    if (rc == TEL_OK)
        rc = read_rows(segment, true, &keys, &rows, err);
    if (rc == TEL_OK)
        rc = verify_keys_of(segment, partition, keys, rows, err);
    free(keys);
    return rc;
}

static void verify_segments(struct store *store, uint32_t partition, FILE *out,
                            struct shard_verify_report *ret)
{
    struct store_view view = {0};
    struct tel_buf missing = {0};
    store_select(store, NULL, INT64_MIN, INT64_MAX, &view, &missing);
    if (missing.len) {
        ret->damaged++;
        fprintf(out, "partition %" PRIu32 ": %.*s\n", partition,
                TEL_SPAN_ARG(tel_buf_span(&missing)));
    }
    for (size_t i = 0; i < view.segments.len; i++) {
        struct store_segment *segment = view.segments.items[i];
        struct tel_error err = {0};
        tel_code rc = verify_segment(segment, partition, &err);
        ret->segments++;
        ret->events += segment->rows;
        ret->bytes += segment->stored_bytes;
        if (rc == TEL_OK)
            continue;
        char name[96];
        store_segment_name(segment, name, sizeof(name));
        ret->damaged++;
        fprintf(out, "partition %" PRIu32 ": %s: %s\n", partition, name, err.text);
    }
    ret->doubles += verify_doubles(&view.segments, partition, read_keys, out);
    store_view_done(&view);
    tel_buf_free(&missing);
}

tel_code shard_verify_partition(const char *dir, uint32_t partition, struct ldb_shared *shared,
                                FILE *out, struct shard_verify_report *ret, struct tel_error *err)
{
    struct store_options options = {.dir = dir, .partition = partition, .shared = shared};
    struct store *store;
    tel_code rc = store_open(&options, &store, err);
    if (rc == TEL_ERR_LOCKED || rc == TEL_ERR_NOSPACE)
        return rc;
    ret->partitions++;
    if (rc != TEL_OK) {
        ret->damaged++;
        fprintf(out, "partition %" PRIu32 ": %s\n", partition, err->text);
        return TEL_OK;
    }
    uint64_t segments = ret->segments, events = ret->events, bytes = ret->bytes;
    verify_segments(store, partition, out, ret);
    ret->days += store_day_count(store);
    struct store_resume resume = store_resume_get(store);
    ret->resume = resume.position;
    struct tel_buf gone = {0};
    store_gone_days(store, &gone);
    if (gone.len) /* no damage: a crash between the deletion and the next commit leaves it so */
        fprintf(out, "partition %" PRIu32 ": no folder of %.*s, deleted by retention just before the "
                     "end or lost\n", partition, TEL_SPAN_ARG(tel_buf_span(&gone)));
    tel_buf_free(&gone);
    fprintf(out,
            "partition %" PRIu32 ": %zu days, %llu segments, %llu events, %llu bytes, resumes at "
            "offset %" PRId64 "\n",
            partition, store_day_count(store), ret->segments - segments, ret->events - events,
            ret->bytes - bytes, resume.position.offset);
    store_close(store);
    return TEL_OK;
}

tel_code shard_verify(const char *dir, FILE *out, struct shard_verify_report *ret,
                      struct tel_error *err)
{
    struct tel_error local;
    if (!err)
        err = &local;
    struct tel_fs *fs = tel_fs_system();
    struct tel_fs_stat st;
    struct tel_fs_lock *lock;
    tel_code rc = tel_fs_stat(fs, dir, &st, err);
    if (rc != TEL_OK)
        return rc;
    char *path = folder_path(dir, "LOCK");
    rc = tel_fs_lock(path, &lock, err);
    free(path);
    if (rc != TEL_OK)
        return rc;
    struct ldb_shared *shared = ldb_shared_new(8u << 20);
    struct tel_fs_names names = {0};
    rc = tel_fs_list(fs, dir, &names, err);
    for (size_t i = 0; i < names.len && rc == TEL_OK; i++) {
        unsigned long long partition;
        struct tel_span name = tel_span_cstr(names.items[i]);
        if (name.len < 2 || name.ptr[0] != 'p' ||
            !tel_span_to_u64(tel_span_slice(name, 1, name.len), &partition) ||
            partition > UINT32_MAX)
            continue;
        path = folder_path(dir, names.items[i]);
        rc = shard_verify_partition(path, (uint32_t)partition, shared, out, ret, err);
        free(path);
    }
    tel_fs_names_free(&names);
    ldb_shared_free(shared);
    tel_fs_unlock(lock);
    return rc;
}
