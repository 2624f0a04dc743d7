/*
 * Deleting: segments that a merge replaced or that retention retired, and whole days. All of it waits
 * until no search holds what is to go.
 *
 * Replaced segments are deleted in the order of their ids, so that a merge's entry, which says what
 * it replaced, never goes before what it replaced: else a crash would bring that back.
 */
#include <inttypes.h>
#include <stdlib.h>

#define TEL_LOG_COMPONENT "store"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/sys/fs.h"
#include "shard/store/store_private.h"

#define COLLECT_SEGMENTS 256u
#define COMPACT_BYTES    (32u << 20)

/* Must the segment stay on the disk, though nobody reads it? In the late it carries its day's watermark
 * until the resume position has passed it; in a day it may have replaced some of the late's, which go
 * first. The lock is held. */
static bool is_needed(const struct store_day *place, const struct store_segment *s)
{
    if (store_day_is_late(place))
        return store_position_cmp(s->upto, place->store->resume.position) > 0;
    return place->late_dead > 0;
}

/* The dead segments of the day that nobody reads, from the lowest id on, without a hole. */
static void take_dead(struct store_day *day, store_segments *ret, bool *ret_mark)
{
    *ret_mark = false;
    tel_mutex_lock(&day->store->lock);
    for (size_t i = 0; i < day->dead.len && i < COLLECT_SEGMENTS; i++) {
        struct store_segment *s = day->dead.items[i];
        if (atomic_load_explicit(&s->refs, memory_order_acquire) != 1 || is_needed(day, s))
            break;
        /* Whoever finds it no more in the catalogue cannot take a reference any more. */
        tel_vec_push(ret, s);
        if ((s->retired || store_day_is_late(day)) && store_position_cmp(s->upto, day->own) >= 0)
            *ret_mark = true;
    }
    tel_mutex_unlock(&day->store->lock);
}

static void forget_dead(struct store_day *day, const store_segments *list, uint64_t *ret_bytes)
{
    struct store *store = day->store;
    tel_mutex_lock(&store->lock);
    for (size_t i = 0; i < list->len; i++) {
        TEL_CHECK(day->dead.items[i] == list->items[i]);
        day->deleted_bytes += list->items[i]->stored_bytes;
        list->items[i]->day->late_dead -= store_day_is_late(day);
        store->stats.dead_segments--;
        store->stats.dead_bytes -= list->items[i]->stored_bytes;
        store_segment_unref(list->items[i]);
    }
    day->dead.len -= list->len;
    if (day->dead.len)
        memmove(day->dead.items, day->dead.items + list->len,
                day->dead.len * sizeof(*day->dead.items));
    *ret_bytes = day->deleted_bytes;
    tel_mutex_unlock(&store->lock);
}

/* An entry with the day's watermark, in place of the mark before it. Returns its id. */
static uint64_t put_mark(struct store_day *day, struct ldb_batch *batch)
{
    tel_mutex_lock(&day->store->lock);
    struct entry e = {.kind = ENTRY_MARK, .commits = true, .upto = day->watermark};
    tel_mutex_unlock(&day->store->lock);
    struct tel_buf buf = {0};
    e.id = store_day_take_id(day);
    store_put_entry(day, &e, &buf, batch);
    tel_buf_free(&buf);
    if (day->mark) {
        struct entry_key old = entry_key_make(day->mark, ENTRY_SLOT);
        ldb_batch_delete(batch, entry_key_span(&old));
    }
    return e.id;
}

/* Gives deleted segments' space back to the disk. */
static void compact(struct store_day *day, uint64_t last_id)
{
    struct ldb *db;
    if (store_day_pin(day, &db, NULL) != TEL_OK)
        return;
    struct entry_key from = entry_key_make(0, 0), to = entry_key_make(last_id + 1, 0);
    ldb_compact(db, entry_key_span(&from), entry_key_span(&to));
    store_day_unpin(day);
    tel_mutex_lock(&day->store->lock);
    day->deleted_bytes = 0;
    tel_mutex_unlock(&day->store->lock);
}

static tel_code collect_day(struct store_day *day, size_t *deleted, struct tel_error *err)
{
    store_segments list = {0};
    bool mark;
    take_dead(day, &list, &mark);
    if (list.len == 0)
        return TEL_OK;
    struct ldb_batch *batch = ldb_batch_new();
    struct ldb *db;
    tel_code rc = store_day_pin(day, &db, err);
    if (rc == TEL_OK) {
        for (size_t i = 0; i < list.len && rc == TEL_OK; i++)
            rc = store_delete_keys(day, db, list.items[i]->id, batch, err);
        store_day_unpin(day);
    }
    uint64_t mark_id = rc == TEL_OK && mark ? put_mark(day, batch) : 0;
    if (rc == TEL_OK) {
        rc = store_day_write(day, batch, STORE_STEP_COLLECT, err);
        if (rc != TEL_OK)
            store_day_reopen(day);
    }
    ldb_batch_free(batch);
    if (rc == TEL_OK) {
        uint64_t last_id = list.items[list.len - 1]->id, bytes;
        *deleted += list.len;
        if (mark_id)
            day->mark = mark_id;
        forget_dead(day, &list, &bytes);
        if (bytes >= COMPACT_BYTES)
            compact(day, last_id);
    }
    tel_vec_free(&list);
    return rc;
}

/* Deletes the folder of a dropped day that nobody uses any more. */
static tel_code delete_day(struct store *store, struct store_day *day, struct tel_error *err)
{
    store_day_close_db(day);
    char name[FOLDER_NAME_MAX], *path = NULL;
    store_day_label(day, name);
    tel_code rc = store_step(store, STORE_STEP_DROP, err);
    if (rc == TEL_OK)
        rc = folder_retire(store->dir, name, &path, err);
    if (rc == TEL_ERR_NOTFOUND) /* it was never made: its first write failed */
        return TEL_OK;
    if (rc != TEL_OK)
        return rc;
    (void)store_step(store, STORE_STEP_DROPPED, NULL);
    struct tel_error why;
    if (tel_fs_remove_all(tel_fs_system(), path, &why) != TEL_OK) /* the next start tries again */
        tel_log_warn("cannot delete a dropped day", tel_kv_str("path", path), tel_kv_error(&why));
    free(path);
    return TEL_OK;
}

static tel_code collect_dropping(struct store *store, struct tel_error *err)
{
    for (size_t i = 0;;) {
        tel_mutex_lock(&store->lock);
        struct store_day *day = i < store->dropping.len ? store->dropping.items[i] : NULL;
        bool idle = day && atomic_load(&day->refs) == 1;
        tel_mutex_unlock(&store->lock);
        if (!day)
            return TEL_OK;
        if (!idle) {
            i++;
            continue;
        }
        tel_code rc = delete_day(store, day, err);
        if (rc != TEL_OK)
            return rc;
        tel_mutex_lock(&store->lock);
        store->dropping.items[i] = store->dropping.items[--store->dropping.len];
        tel_mutex_unlock(&store->lock);
        store_day_unref(day);
    }
}

tel_code store_collect(struct store *store, size_t *ret_deleted, struct tel_error *err)
{
    TEL_VEC(struct store_day *) days = {0};
    tel_mutex_lock(&store->lock);
    struct store_day *late = store_late_find(store);
    if (late && late->dead.len) /* before the days: they wait for it */
        tel_vec_push(&days, store_day_ref(late));
    for (size_t i = 0; i < store->days.len; i++)
        if (store->days.items[i]->dead.len && !store->days.items[i]->broken)
            tel_vec_push(&days, store_day_ref(store->days.items[i]));
    tel_mutex_unlock(&store->lock);
    tel_code rc = TEL_OK;
    size_t deleted = 0;
    for (size_t i = 0; i < days.len; i++) {
        if (rc == TEL_OK)
            rc = collect_day(days.items[i], &deleted, err);
        store_day_unref(days.items[i]);
    }
    tel_vec_free(&days);
    if (rc == TEL_OK)
        rc = collect_dropping(store, err);
    *ret_deleted = deleted;
    return rc;
}

tel_code store_retire(struct store_segment *segment, struct tel_error *err)
{
    struct store *store = segment->day->store;
    tel_code rc = store_step(store, STORE_STEP_RETIRE, err);
    if (rc != TEL_OK)
        return rc;
    struct store_day *day = segment->day;
    tel_mutex_lock(&store->lock);
    if (segment->dead || day->dropping || !store_day_unpublish(day, segment)) {
        rc = tel_error_set(err, TEL_ERR_NOTFOUND, "the segment is deleted already");
    } else {
        segment->retired = true;
        store_day_add_dead(segment);
    }
    tel_mutex_unlock(&store->lock);
    return rc;
}
