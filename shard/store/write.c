/*
 * Writing a day: the flush's writer, merges, and deletions.
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

struct store_writer {
    struct store_day *day; /* a reference */
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

tel_code store_delete_keys(struct ldb *db, uint64_t id, struct ldb_batch *batch,
                           struct tel_error *err)
{
    struct entry_key from = entry_key_make(id, ENTRY_SLOT);
    struct ldb_iter *iter = ldb_iter_new(db);
    for (ldb_iter_seek(iter, entry_key_span(&from)); ldb_iter_valid(iter); ldb_iter_next(iter)) {
        uint64_t found;
        uint32_t slot;
        if (!entry_key_parse(ldb_iter_key(iter), &found, &slot) || found != id)
            break;
        ldb_batch_delete(batch, ldb_iter_key(iter));
    }
    tel_code rc = ldb_iter_status(iter, err);
    ldb_iter_free(iter);
    return rc;
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
static void put_sections(struct store_day *day, const struct segment_image *image,
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
static void publish(struct store_day *day, store_segments *segments, struct store_position upto)
{
    struct store *store = day->store;
    tel_mutex_lock(&store->lock);
    for (size_t i = 0; i < segments->len; i++) {
        if (day->dropping)
            store_segment_unref(segments->items[i]);
        else
            store_day_publish(day, segments->items[i]);
    }
    segments->len = 0;
    if (store_position_cmp(upto, day->watermark) > 0)
        day->watermark = upto;
    day->quiet_since_ns = tel_mono_ns(tel_clock_system());
    tel_vec_push(&store->touched, ((struct store_day_mark){day->name, upto}));
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

static struct store_day *find_or_make(struct store *store, int64_t day)
{
    tel_mutex_lock(&store->lock);
    struct store_day *d = store_day_find_live(store, day);
    if (!d) {
        struct folder_day name = {day, 0};
        size_t at = 0;
        for (size_t i = 0; i < store->dropping.len; i++)
            if (store->dropping.items[i]->name.day == day)
                name.generation = TEL_MAX(name.generation,
                                          store->dropping.items[i]->name.generation + 1);
        for (; at < store->days.len && store->days.items[at]->name.day <= day; at++)
            if (store->days.items[at]->name.day == day)
                name.generation = TEL_MAX(name.generation,
                                          store->days.items[at]->name.generation + 1);
        d = store_day_new(store, name);
        d->loaded = true;
        tel_vec_push(&store->days, d);
        memmove(store->days.items + at + 1, store->days.items + at,
                (store->days.len - 1 - at) * sizeof(*store->days.items));
        store->days.items[at] = d;
    }
    store_day_ref(d);
    tel_mutex_unlock(&store->lock);
    return d;
}

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
        rc = store_delete_keys(db, day->orphans.items[i], w->batch, err);
    store_day_unpin(day);
    w->orphans = day->orphans.len;
    return rc;
}

/* LevelDB makes a folder, but does not sync what holds it: a power cut could take the folder with all
 * that was synced in it. */
static tel_code make_folder(struct store_day *day, struct tel_error *err)
{
    if (day->made)
        return TEL_OK;
    char *path = store_day_path(day);
    tel_code rc = tel_fs_mkdir_all(tel_fs_system(), path, err);
    free(path);
    day->made = rc == TEL_OK;
    return rc;
}

tel_code store_writer_begin(struct store *store, int64_t day, struct store_position upto,
                            struct store_writer **ret, struct tel_error *err)
{
    struct store_writer *w = TEL_NEW(struct store_writer);
    w->day = find_or_make(store, day);
    w->upto = upto;
    w->batch = ldb_batch_new();
    tel_code rc = make_folder(w->day, err);
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
    put_sections(w->day, image, w->batch, &e);
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
    if (!w->holding) { /* nothing to add to the day */
        writer_free(w);
        return TEL_OK;
    }
    w->held.commits = true;
    store_put_entry(w->day, &w->held, &w->buf, w->batch);
    tel_code rc = store_day_write(w->day, w->batch, STORE_STEP_DAY_COMMIT, err);
    if (rc == TEL_OK) {
        batch_written(w);
        (void)store_step(store, STORE_STEP_DAY_COMMITTED, NULL);
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

/* ---- merging ------------------------------------------------------------------------------------ */

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void entry_of_inputs(struct entry *e, struct store_segment *const *inputs, size_t count)
{
    e->kind = ENTRY_MERGE;
    e->commits = true;
    e->tenant = inputs[0]->tenant;
    e->upto = inputs[0]->upto;
    e->first_offset = inputs[0]->first_offset;
    e->last_offset = inputs[0]->last_offset;
    e->replaces = tel_calloc(count, sizeof(*e->replaces));
    e->replaces_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        TEL_CHECK(inputs[i]->day == inputs[0]->day);
        TEL_CHECK(tel_span_eq(inputs[i]->tenant, inputs[0]->tenant));
        if (store_position_cmp(inputs[i]->upto, e->upto) > 0)
            e->upto = inputs[i]->upto;
        e->first_offset = TEL_MIN(e->first_offset, inputs[i]->first_offset);
        e->last_offset = TEL_MAX(e->last_offset, inputs[i]->last_offset);
        e->replaces[i] = inputs[i]->id;
    }
    qsort(e->replaces, count, sizeof(*e->replaces), compare_ids);
}

/* Only maintenance deletes, and it is what runs here: the answer holds until the merge is done. */
static bool any_gone(struct store_day *day, struct store_segment *const *inputs, size_t count)
{
    tel_mutex_lock(&day->store->lock);
    bool gone = day->dropping;
    for (size_t i = 0; i < count; i++)
        gone = gone || inputs[i]->dead;
    tel_mutex_unlock(&day->store->lock);
    return gone;
}

/* Puts merged in the inputs' place. */
static void exchange(struct store_day *day, struct store_segment *const *inputs, size_t count,
                     struct store_segment *merged)
{
    struct store *store = day->store;
    tel_mutex_lock(&store->lock);
    for (size_t i = 0; i < count; i++) {
        TEL_CHECK(store_day_unpublish(day, inputs[i]));
        store_day_add_dead(day, inputs[i]);
    }
    store_day_publish(day, merged);
    store->stats.merged_bytes += merged->stored_bytes;
    tel_mutex_unlock(&store->lock);
}

/* If an earlier merge failed, the disk may hold its segment; then the next start takes that for the
 * inputs, which is as good. But two merges of the same inputs must never both be there. */
static tel_code put_unsure_merge(struct store_day *day, struct ldb_batch *batch,
                                 struct tel_error *err)
{
    if (day->unsure_merge == 0)
        return TEL_OK;
    struct ldb *db;
    tel_code rc = store_day_pin(day, &db, err);
    if (rc != TEL_OK)
        return rc;
    rc = store_delete_keys(db, day->unsure_merge, batch, err);
    store_day_unpin(day);
    return rc;
}

tel_code store_replace(struct store *store, struct store_segment *const *inputs, size_t count,
                       const struct segment_image *image, uint32_t compression,
                       struct tel_error *err)
{
    TEL_CHECK(count > 0);
    struct store_day *day = inputs[0]->day;
    if (any_gone(day, inputs, count))
        return tel_error_set(err, TEL_ERR_NOTFOUND, "a segment was deleted meanwhile");
    struct ldb_batch *batch = ldb_batch_new();
    struct tel_buf buf = {0};
    tel_code rc = put_unsure_merge(day, batch, err);
    if (rc != TEL_OK) {
        ldb_batch_free(batch);
        return rc;
    }
    struct entry e = {.id = store_day_take_id(day)};
    entry_of_inputs(&e, inputs, count);
    e.compression = compression;
    put_sections(day, image, batch, &e);
    struct store_segment *merged = store_segment_new(day, &e);
    store_put_entry(day, &e, &buf, batch);
    rc = store_day_write(day, batch, STORE_STEP_MERGE, err);
    if (rc != TEL_OK)
        store_day_reopen(day);
    day->unsure_merge = 0;
    if (rc == TEL_OK) {
        (void)store_step(store, STORE_STEP_MERGED, NULL);
        exchange(day, inputs, count, merged);
    } else {
        day->unsure_merge = e.id;
        store_segment_unref(merged);
    }
    entry_done(&e);
    tel_buf_free(&buf);
    ldb_batch_free(batch);
    return rc;
}
