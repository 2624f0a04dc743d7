/* Putting a segment in the place of others: merges, which bring out of the late what is there. The day's folder may have to be made for it, when its
 * segments have waited in the late's until now. */
#include <stdlib.h>

#include "common/base/mem.h"
#include "shard/store/store_private.h"

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* What the entry that replaces the segment calls it. */
static uint64_t replaced_id(const struct store_segment *segment)
{
    return segment->place == segment->day ? segment->id : segment->id | STORE_LATE_ID;
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
        e->replaces[i] = replaced_id(inputs[i]);
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
        store_day_add_dead(inputs[i]);
    }
    store_day_publish(day, merged);
    store->stats.merged_bytes += merged->stored_bytes;
    if (store_position_cmp(merged->upto, day->own) > 0)
        day->own = merged->upto;
    day->stored = true;
    tel_mutex_unlock(&store->lock);
}

/* If an earlier merge failed, the disk may hold its segment; then the next start takes that for the
 * inputs, which is as good. But two merges of the same inputs must never both be there. */
static tel_code delete_unsure(struct store_day *day, struct ldb_batch *batch, struct tel_error *err)
{
    struct ldb *db;
    if (day->unsure_merges.len == 0)
        return TEL_OK;
    tel_code rc = store_day_pin(day, &db, err);
    if (rc != TEL_OK)
        return rc;
    for (size_t i = 0; i < day->unsure_merges.len && rc == TEL_OK; i++)
        rc = store_delete_keys(day, db, day->unsure_merges.items[i], batch, err);
    store_day_unpin(day);
    return rc;
}

/* Writes the batch, and knows what to do if that fails. */
static tel_code write_merged(struct store_day *day, struct ldb_batch *batch, uint64_t id,
                             struct tel_error *err)
{
    tel_code rc = store_day_write(day, batch, STORE_STEP_MERGE, err);
    if (rc != TEL_OK) {
        store_day_reopen(day);
        tel_vec_push(&day->unsure_merges, id);
        return rc;
    }
    day->unsure_merges.len = 0;
    (void)store_step(day->store, STORE_STEP_MERGED, NULL);
    return TEL_OK;
}

tel_code store_replace(struct store *store, struct store_segment *const *inputs, size_t count,
                       const struct segment_image *image, uint32_t compression,
                       struct tel_error *err)
{
    TEL_CHECK(count > 0 && inputs[0]->day->store == store);
    struct store_day *day = inputs[0]->day;
    if (any_gone(day, inputs, count))
        return tel_error_set(err, TEL_ERR_NOTFOUND, "a segment was deleted meanwhile");
    struct ldb_batch *batch = ldb_batch_new();
    struct tel_buf buf = {0};
    tel_code rc = store_day_make_folder(day, err);
    if (rc == TEL_OK)
        rc = delete_unsure(day, batch, err);
    if (rc != TEL_OK) {
        ldb_batch_free(batch);
        return rc;
    }
    struct entry e = {.id = store_day_take_id(day)};
    entry_of_inputs(&e, inputs, count);
    e.compression = compression;
    store_put_sections(day, image, batch, &e);
    struct store_segment *merged = store_segment_new(day, &e);
    store_put_entry(day, &e, &buf, batch);
    rc = write_merged(day, batch, e.id, err);
    if (rc == TEL_OK)
        exchange(day, inputs, count, merged);
    else
        store_segment_unref(merged);
    entry_done(&e);
    tel_buf_free(&buf);
    ldb_batch_free(batch);
    return rc;
}
