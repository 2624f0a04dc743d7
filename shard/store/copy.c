#include "shard/store/copy.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "common/sys/fs.h"
#include "shard/store/store_private.h"

/* ---- out ---------------------------------------------------------------------------------------- */

/* Adds the day's live segments, each to where it lies: its own folder, or the late's (the first). */
static void hold_day(const struct store_day *day, struct store_held *ret)
{
    struct store_held_day held = {
        .name = day->name, .watermark = day->watermark, .next_id = day->next_id};
    for (size_t t = 0; t < day->by_tenant.len; t++) {
        const store_segments *list = &day->by_tenant.items[t].list;
        for (size_t j = 0; j < list->len; j++) {
            struct store_segment *s = store_segment_ref(list->items[j]);
            if (store_segment_late(s))
                tel_vec_push(&ret->days.items[0].segments, s);
            else
                tel_vec_push(&held.segments, s);
        }
    }
    if (day->stored)
        tel_vec_push(&ret->days, held);
}

tel_code store_hold(struct store *store, struct store_held *ret, struct tel_error *err)
{
    const struct store_day *damaged = NULL;
    tel_mutex_lock(&store->lock);
    const struct store_day *late = store_late_find(store);
    if (late)
        tel_vec_push(&ret->days, ((struct store_held_day){.name = late->name,
                                                          .watermark = late->watermark,
                                                          .next_id = late->next_id}));
    for (size_t i = 0; i < store->lates.len && !damaged; i++)
        damaged = store->lates.items[i]->damage.len ? store->lates.items[i] : NULL;
    for (size_t i = 0; i < store->days.len && !damaged; i++) {
        damaged = store->days.items[i]->damage.len ? store->days.items[i] : NULL;
        if (!damaged)
            hold_day(store->days.items[i], ret);
    }
    tel_code rc = damaged ? tel_error_set(err, TEL_ERR_CORRUPT, "%.*s",
                                          TEL_SPAN_ARG(tel_buf_span(&damaged->damage)))
                          : TEL_OK;
    tel_mutex_unlock(&store->lock);
    for (size_t i = 0; i < ret->days.len; i++) {
        store_segments *list = &ret->days.items[i].segments;
        if (list->len)
            qsort(list->items, list->len, sizeof(*list->items), store_compare_segment_ids);
    }
    if (rc != TEL_OK)
        store_held_done(ret);
    return rc;
}

void store_held_done(struct store_held *held)
{
    for (size_t i = 0; i < held->days.len; i++)
        store_segments_done(&held->days.items[i].segments);
    tel_vec_free(&held->days);
}

static tel_code copy_sections(struct store_segment *segment, const struct entry *e,
                              const struct store_sink *sink, bool *ret_whole, struct tel_error *err)
{
    tel_code rc = TEL_OK;
    for (uint32_t i = 0; i < e->section_count && rc == TEL_OK; i++) {
        struct tel_span value;
        struct entry_key key = entry_key_make(segment->id, e->sections[i].section + 1);
        rc = store_read_section(segment, &e->sections[i], &value, err);
        if (rc == TEL_ERR_CORRUPT) {
            *ret_whole = false;
            rc = TEL_OK;
        } else if (rc == TEL_OK) {
            rc = sink->put(sink->ctx, entry_key_span(&key), value, err);
            ldb_value_free(value);
        }
    }
    return rc;
}

tel_code store_copy_segment(struct store_segment *segment, const struct store_sink *sink,
                            bool *ret_whole, struct tel_error *err)
{
    struct tel_error local;
    struct entry_key key = entry_key_make(segment->id, ENTRY_SLOT);
    struct tel_span value;
    struct entry e;
    if (!err)
        err = &local;
    *ret_whole = true;
    tel_code rc = store_read_value(segment, ENTRY_SLOT, &value, err);
    if (rc == TEL_OK) {
        rc = entry_decode(value, segment->place->name.day, segment->id, &e, err);
        if (rc != TEL_OK)
            ldb_value_free(value);
    }
    if (rc != TEL_OK) {
        char name[FOLDER_NAME_MAX + 32];
        store_segment_name(segment, name, sizeof(name));
        return tel_error_wrap(err, rc, "%s, its entry", name);
    }
    rc = sink->put(sink->ctx, entry_key_span(&key), value, err);
    if (rc == TEL_OK)
        rc = copy_sections(segment, &e, sink, ret_whole, err);
    entry_done(&e);
    ldb_value_free(value);
    return rc;
}

tel_code store_copy_mark(const struct store_held_day *day, const struct store_sink *sink,
                         struct tel_error *err)
{
    if (day->watermark.offset == INT64_MIN)
        return TEL_OK;
    struct entry e = {
        .id = day->next_id, .kind = ENTRY_MARK, .commits = true, .upto = day->watermark};
    struct entry_key key = entry_key_make(e.id, ENTRY_SLOT);
    struct tel_buf buf = {0};
    entry_encode(&e, day->name.day, &buf);
    tel_code rc = sink->put(sink->ctx, entry_key_span(&key), tel_buf_span(&buf), err);
    tel_buf_free(&buf);
    return rc;
}

/* ---- in ----------------------------------------------------------------------------------------- */

struct store_import {
    struct ldb *db;
    struct ldb_batch *batch;
};

tel_code store_import_begin(const char *path, struct ldb_shared *shared, bool meta,
                            struct store_import **ret, struct tel_error *err)
{
    struct tel_fs_stat st;
    if (tel_fs_stat(tel_fs_system(), path, &st, NULL) == TEL_OK)
        return tel_error_set(err, TEL_ERR_EXISTS, "%s is there already", path);
    tel_code rc = tel_fs_mkdir_all(tel_fs_system(), path, err); /* durable, as LevelDB's is not */
    if (rc != TEL_OK)
        return rc;
    struct ldb_options options = meta ? store_meta_ldb_options(shared)
                                      : store_day_ldb_options(shared, 0);
    struct store_import *import = TEL_NEW(struct store_import);
    rc = ldb_open(path, &options, &import->db, err);
    if (rc != TEL_OK) {
        free(import);
        return rc;
    }
    import->batch = ldb_batch_new();
    *ret = import;
    return TEL_OK;
}

static tel_code write_batch(struct store_import *import, struct tel_error *err)
{
    /* Each is synced: LevelDB may begin a new log between two, whose sync says nothing of this one. */
    tel_code rc = ldb_write(import->db, import->batch, true, err);
    ldb_batch_clear(import->batch);
    return rc;
}

tel_code store_import_put(struct store_import *import, struct tel_span key, struct tel_span value,
                          struct tel_error *err)
{
    ldb_batch_put(import->batch, key, value);
    return ldb_batch_bytes(import->batch) < STORE_BATCH_BYTES ? TEL_OK : write_batch(import, err);
}

tel_code store_import_end(struct store_import *import, struct tel_error *err)
{
    tel_code rc = TEL_OK;
    if (ldb_batch_count(import->batch))
        rc = write_batch(import, err);
    store_import_abort(import);
    return rc;
}

void store_import_abort(struct store_import *import)
{
    if (!import)
        return;
    ldb_batch_free(import->batch);
    ldb_close(import->db);
    free(import);
}
