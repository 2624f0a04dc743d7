/*
 * Writing a day, or few events of many days: the flush's writer.
 *
 * A writer gathers sections in a batch and writes it, synced, whenever it has grown to 4 MiB. (Every
 * batch is synced and not only the last, because LevelDB may change to a new log between two, and the
 * sync of the new one says nothing about the old one.) The entry of a segment is put one segment
 * late, so that the last one can say that it commits:
 *
 *     add A      sections A
 *     add B      entry A, [write if 4 MiB], sections B
 *     commit     entry B with the commit flag, write
 *
 * When a write fails, it is not known whether LevelDB's log has the batch. The segments are then
 * `unsure`; the LevelDB is closed, and the next writer of the day opens it and looks: if the entry
 * that commits is there, the segments are published as they would have been; if not, whatever is
 * there of them is deleted with the next batch, and the caller writes the events again from memory.
 */
#include <inttypes.h>
#include <stdlib.h>

#define TEL_LOG_COMPONENT "store"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/sys/fs.h"
#include "shard/store/store_private.h"

/* Sections of 64 KiB of a segment of 8 MiB. */
#define BLIND_SLOTS 128u

struct store_writer {
    struct store_day *day; /* a reference; the late's, for segments of many days */
    struct store_position upto;
    struct ldb_batch *batch;
    store_segments segments; /* written or being written, not yet visible */
    struct entry held;       /* of the last segment; its tenant is the segment's */
    bool holding;
    struct tel_buf buf;
    uint64_t bytes;
    size_t orphans; /* of the day's that the batch deletes */
};

/* ---- common ------------------------------------------------------------------------------------- */

/* By the segment's own table of sections, which reads one block. */
static bool delete_by_entry(struct ldb *db, int64_t day, uint64_t id, struct ldb_batch *batch)
{
    struct entry_key key = entry_key_make(id, ENTRY_SLOT);
    struct tel_span value;
    struct entry e;
    if (ldb_get(db, entry_key_span(&key), &value, NULL) != TEL_OK)
        return false;
    bool whole = entry_decode(value, day, id, &e, NULL) == TEL_OK;
    if (whole) {
        ldb_batch_delete(batch, entry_key_span(&key));
        for (uint32_t i = 0; i < e.section_count; i++) {
            key = entry_key_make(id, e.sections[i].section + 1);
            ldb_batch_delete(batch, entry_key_span(&key));
        }
        entry_done(&e);
    }
    ldb_value_free(value);
    return whole;
}

tel_code store_delete_keys(struct store_day *place, struct ldb *db, uint64_t id,
                           struct ldb_batch *batch, struct tel_error *err)
{
    if (delete_by_entry(db, place->name.day, id, batch))
        return TEL_OK;
    struct entry_key from = entry_key_make(id, ENTRY_SLOT);
    struct ldb_iter *iter = ldb_iter_new(db);
    ldb_batch_delete(batch, entry_key_span(&from));
    for (ldb_iter_seek(iter, entry_key_span(&from)); ldb_iter_valid(iter); ldb_iter_next(iter)) {
        uint64_t found;
        uint32_t slot;
        if (!entry_key_parse(ldb_iter_key(iter), &found, &slot) || found != id)
            break;
        ldb_batch_delete(batch, ldb_iter_key(iter));
    }
    tel_code rc = ldb_iter_status(iter, err);
    ldb_iter_free(iter);
    if (rc != TEL_ERR_CORRUPT)
        return rc;
    /* The keys themselves cannot be listed. Without its entry the segment is gone; what it had under
     * the first slots is given back, and more than these are rare. */
    for (uint32_t slot = 1; slot <= BLIND_SLOTS; slot++) {
        struct entry_key key = entry_key_make(id, slot);
        ldb_batch_delete(batch, entry_key_span(&key));
    }
    return TEL_OK;
}

uint64_t store_day_take_id(struct store_day *day)
{
    tel_mutex_lock(&day->store->lock);
    uint64_t id = day->next_id++;
    tel_mutex_unlock(&day->store->lock);
    return id;
}

static int by_section(const void *a, const void *b)
{
    uint32_t x = ((const struct entry_section *)a)->section;
    uint32_t y = ((const struct entry_section *)b)->section;
    return x < y ? -1 : x > y;
}

/* Fills an entry from an image and puts the sections into the batch. */
void store_put_sections(struct store_day *day, const struct segment_image *image,
                        struct ldb_batch *batch, struct entry *e)
{
    e->section_count = (uint32_t)image->section_count;
    e->sections = tel_calloc(image->section_count, sizeof(*e->sections));
    e->rows = image->rows;
    e->raw_bytes = image->raw_bytes;
    e->stored_bytes = 0;
    e->min_time_ns = image->min_time_ns;
    e->max_time_ns = image->max_time_ns;
    for (size_t i = 0; i < image->section_count; i++) {
        const struct segment_section *s = &image->sections[i];
        TEL_CHECK(s->id < UINT32_MAX && s->bytes.len <= UINT32_MAX);
        e->sections[i] = (struct entry_section){
            s->id, entry_checksum(day->name.day, e->id, s->id + 1, s->bytes), s->bytes.len};
        struct entry_key key = entry_key_make(e->id, s->id + 1);
        ldb_batch_put(batch, entry_key_span(&key), s->bytes);
        e->stored_bytes += s->bytes.len;
    }
    if (e->section_count)
        qsort(e->sections, e->section_count, sizeof(*e->sections), by_section);
    for (uint32_t i = 1; i < e->section_count; i++)
        TEL_CHECK(e->sections[i].section > e->sections[i - 1].section);
}

void store_put_entry(struct store_day *day, const struct entry *e, struct tel_buf *buf,
                      struct ldb_batch *batch)
{
    tel_buf_clear(buf);
    entry_encode(e, day->name.day, buf);
    struct entry_key key = entry_key_make(e->id, ENTRY_SLOT);
    ldb_batch_put(batch, entry_key_span(&key), tel_buf_span(buf));
}

tel_code store_day_write(struct store_day *day, struct ldb_batch *batch, enum store_step step,
                            struct tel_error *err)
{
    struct ldb *db;
    tel_code rc = store_step(day->store, step, err);
    if (rc == TEL_OK)
        rc = store_day_pin(day, &db, err);
    if (rc != TEL_OK)
        return rc;
    rc = ldb_write(db, batch, true, err);
    store_day_unpin(day);
    return rc;
}

/* ---- after a failed write ----------------------------------------------------------------------- */

void store_day_reopen(struct store_day *day)
{
    store_day_close_db(day);
    tel_mutex_lock(&day->store->lock);
    day->store->stats.reopened++;
    tel_mutex_unlock(&day->store->lock);
}

/* Publishes segments and the watermark that they bring. Takes the list's references. */
static void publish(struct store_day *place, store_segments *segments, struct store_position upto)
{
    struct store *store = place->store;
    int64_t now = tel_mono_ns(tel_clock_system());
    tel_mutex_lock(&store->lock);
    for (size_t i = 0; i < segments->len; i++) {
        struct store_day *day = segments->items[i]->day;
        if (store_position_cmp(upto, day->watermark) > 0)
            day->watermark = upto;
        day->quiet_since_ns = now;
        store_day_put_in(segments->items[i]);
    }
    segments->len = 0;
    if (store_position_cmp(upto, place->watermark) > 0)
        place->watermark = upto;
    if (store_position_cmp(upto, place->own) > 0)
        place->own = upto;
    place->stored = true;
    tel_vec_push(&store->touched, ((struct store_day_mark){place->name, upto}));
    tel_mutex_unlock(&store->lock);
}

/* Finds out whether the failed writer's commit is on the disk. */
static tel_code settle_unsure(struct store_day *day, struct tel_error *err)
{
    struct store_unsure *u = &day->unsure;
    if (u->segments.len == 0)
        return TEL_OK;
    struct ldb *db;
    tel_code rc = store_day_pin(day, &db, err);
    if (rc != TEL_OK)
        return rc;
    const struct store_segment *last = u->segments.items[u->segments.len - 1];
    struct entry_key key = entry_key_make(last->id, ENTRY_SLOT);
    struct tel_span value;
    bool committed = false;
    rc = ldb_get(db, entry_key_span(&key), &value, err);
    if (rc == TEL_OK) {
        struct entry e;
        rc = entry_decode(value, day->name.day, last->id, &e, err);
        if (rc == TEL_OK) {
            committed = e.commits;
            entry_done(&e);
        }
        ldb_value_free(value);
    } else if (rc == TEL_ERR_NOTFOUND) {
        rc = TEL_OK;
    }
    store_day_unpin(day);
    if (rc != TEL_OK)
        return rc;
    if (committed) {
        publish(day, &u->segments, u->upto);
        return TEL_OK;
    }
    for (size_t i = 0; i < u->segments.len; i++) {
        tel_vec_push(&day->orphans, u->segments.items[i]->id);
        store_segment_unref(u->segments.items[i]);
    }
    u->segments.len = 0;
    return TEL_OK;
}

/* ---- the writer --------------------------------------------------------------------------------- */

static void writer_free(struct store_writer *w)
{
    entry_done(&w->held);
    store_segments_done(&w->segments);
    ldb_batch_free(w->batch);
    tel_buf_free(&w->buf);
    store_day_unref(w->day);
    free(w);
}

/* Puts deletes of what an earlier writer left behind into the batch. */
static tel_code put_orphans(struct store_writer *w, struct tel_error *err)
{
    struct store_day *day = w->day;
    if (day->orphans.len == 0)
        return TEL_OK;
    struct ldb *db;
    tel_code rc = store_day_pin(day, &db, err);
    if (rc != TEL_OK)
        return rc;
    for (size_t i = 0; i < day->orphans.len && rc == TEL_OK; i++)
        rc = store_delete_keys(day, db, day->orphans.items[i], w->batch, err);
    store_day_unpin(day);
    w->orphans = day->orphans.len;
    return rc;
}

/* LevelDB makes a folder, but does not sync what holds it: a power cut could take the folder with all
 * that was synced in it. */
tel_code store_day_make_folder(struct store_day *day, struct tel_error *err)
{
    if (atomic_load(&day->made))
        return TEL_OK;
    char *path = store_day_path(day);
    tel_code rc = tel_fs_mkdir_all(tel_fs_system(), path, err);
    free(path);
    atomic_store(&day->made, rc == TEL_OK);
    return rc;
}

/* Takes over the reference. */
static tel_code begin(struct store_day *place, struct store_position upto, struct store_writer **ret,
                      struct tel_error *err)
{
    struct store_writer *w = TEL_NEW(struct store_writer);
    w->day = place;
    w->upto = upto;
    w->batch = ldb_batch_new();
    tel_code rc = store_day_make_folder(w->day, err);
    if (rc == TEL_OK)
        rc = settle_unsure(w->day, err);
    if (rc == TEL_OK)
        rc = put_orphans(w, err);
    if (rc != TEL_OK) {
        store_day_reopen(w->day);
        writer_free(w);
        return rc;
    }
    *ret = w;
    return TEL_OK;
}

tel_code store_writer_begin(struct store *store, int64_t day, struct store_position upto,
                            struct store_writer **ret, struct tel_error *err)
{
    tel_mutex_lock(&store->lock);
    struct store_day *place = store_day_find_or_make(store, day);
    tel_mutex_unlock(&store->lock);
    return begin(place, upto, ret, err);
}

tel_code store_writer_begin_late(struct store *store, struct store_position upto,
                                 struct store_writer **ret, struct tel_error *err)
{
    return begin(store_day_ref(store_late_make(store)), upto, ret, err);
}

/* The batch is on the disk. */
static void batch_written(struct store_writer *w)
{
    w->bytes += ldb_batch_bytes(w->batch);
    ldb_batch_clear(w->batch);
    if (w->orphans) {
        w->day->orphans.len = 0;
        w->orphans = 0;
    }
}

/* A write failed: keep what is needed to find out how far it came. */
static void writer_failed(struct store_writer *w)
{
    w->day->unsure.upto = w->upto;
    store_segments swap = w->day->unsure.segments;
    w->day->unsure.segments = w->segments;
    w->segments = swap;
    store_day_reopen(w->day);
}

tel_code store_writer_add(struct store_writer *w, struct tel_span tenant,
                          const struct segment_image *image, uint32_t compression,
                          int64_t first_offset, int64_t last_offset, struct tel_error *err)
{
    if (w->holding) {
        store_put_entry(w->day, &w->held, &w->buf, w->batch);
        entry_done(&w->held);
        w->holding = false;
        if (ldb_batch_bytes(w->batch) >= STORE_BATCH_BYTES) {
            tel_code rc = store_day_write(w->day, w->batch, STORE_STEP_DAY_BATCH, err);
            if (rc != TEL_OK)
                return rc;
            batch_written(w);
        }
    }
    struct entry e = {
        .id = store_day_take_id(w->day),
        .kind = ENTRY_FLUSH,
        .upto = w->upto,
        .compression = compression,
        .first_offset = first_offset,
        .last_offset = last_offset,
        .tenant = tenant,
    };
    store_put_sections(w->day, image, w->batch, &e);
    struct store_segment *segment = store_segment_new(w->day, &e);
    e.tenant = segment->tenant;
    tel_vec_push(&w->segments, segment);
    w->held = e;
    w->holding = true;
    return TEL_OK;
}

tel_code store_writer_commit(struct store_writer *w, struct tel_error *err)
{
    struct store *store = w->day->store;
    if (!w->holding && w->orphans == 0) { /* nothing to add to the day, nor to take from it */
        writer_free(w);
        return TEL_OK;
    }
    if (w->holding) {
        w->held.commits = true;
        store_put_entry(w->day, &w->held, &w->buf, w->batch);
    }
    tel_code rc = store_day_write(w->day, w->batch, STORE_STEP_DAY_COMMIT, err);
    if (rc == TEL_OK) {
        batch_written(w);
        (void)store_step(store, STORE_STEP_DAY_COMMITTED, NULL);
        if (w->segments.len)
            publish(w->day, &w->segments, w->upto);
        tel_mutex_lock(&store->lock);
        store->stats.written_bytes += w->bytes;
        tel_mutex_unlock(&store->lock);
    } else {
        writer_failed(w);
    }
    writer_free(w);
    return rc;
}

void store_writer_abort(struct store_writer *w)
{
    if (!w)
        return;
    writer_failed(w);
    writer_free(w);
}
