/*
 * The late: segments of days of which a flush has few events, all in one LevelDB.
 *
 * Opening a day's LevelDB takes a dozen files and half as many syncs, some milliseconds of CPU and disk,
 * and a log that comes late or from many clocks may touch a thousand days in each flush. So a flush
 * writes what is not much to late.0/ instead: one batch and one sync for all such days. From there the
 * maintenance brings it to the days' own LevelDBs, many flushes at a time: a merge of a day's segments
 * takes those of the late along, and once the day has been quiet, what is left of it is coded anew.
 *
 *     flush ──few events of a day──> late.0/  ──merge (store_replace)──> 2026-01-02.0/
 *           ──many────────────────────────────────────────────────────>
 *
 * A segment belongs to the catalogue of its events' day wherever it lies, so searches, retention and
 * merges see no difference. What makes crashes harmless:
 *
 *   A late segment says of its own day what an entry of the day's folder would say: the day has every
 *   event below `upto`. Days that had no segment in that flush are told nothing.
 *
 *   A merge is written to the day first, with the ids that it replaces (STORE_LATE_ID marks them as
 *   the late's); only then it is deleted in the late. A start that finds both takes the day's. The
 *   day's entry is not deleted itself while the late still has what it replaced (take_dead).
 *
 *   Ids of the late are never given again: the newest entry stays as a mark, and a late that was lost
 *   begins above all ids that days have replaced.
 *
 *   Segments leave the late only when the resume position has passed them; until then they carry their
 *   days' watermarks.
 */
#include "shard/store/store_private.h"

struct store_day *store_late_find(const struct store *store)
{
    struct store_day *last = store->lates.len ? store->lates.items[store->lates.len - 1] : NULL;
    return last && !last->broken ? last : NULL;
}

struct store_day *store_late_make(struct store *store)
{
    tel_mutex_lock(&store->lock);
    struct store_day *late = store_late_find(store);
    if (!late) {
        struct folder_day name = {FOLDER_LATE, 0};
        if (store->lates.len)
            name.generation = store->lates.items[store->lates.len - 1]->name.generation + 1;
        late = store_day_new(store, name);
        late->loaded = true;
        late->next_id = store->late_floor + 1;
        tel_vec_push(&store->lates, late);
    }
    tel_mutex_unlock(&store->lock);
    return late;
}

static bool is_torn(const struct store_day *place)
{
    return place && (place->unsure.segments.len > 0 || place->orphans.len > 0);
}

bool store_late_torn(struct store *store)
{
    tel_mutex_lock(&store->lock);
    bool torn = is_torn(store_late_find(store));
    tel_mutex_unlock(&store->lock);
    return torn;
}

bool store_day_torn(struct store *store, int64_t day)
{
    tel_mutex_lock(&store->lock);
    bool torn = is_torn(store_day_find_live(store, day));
    tel_mutex_unlock(&store->lock);
    return torn;
}

bool store_segment_late(const struct store_segment *segment)
{
    return segment->place != segment->day;
}
