/* The store as a whole: opening, what a search sees, dropping days. The design is in store.h. */
#include "shard/store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TEL_LOG_COMPONENT "store"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/timefmt.h"
#include "common/sys/fs.h"
#include "shard/store/store_private.h"

tel_code store_step(struct store *store, enum store_step step, struct tel_error *err)
{
    const struct store_faults *faults = store->options.faults;
    return faults ? faults->step(faults->ctx, step, err) : TEL_OK;
}

static int compare_names(struct folder_day a, struct folder_day b)
{
    if (a.day != b.day)
        return a.day < b.day ? -1 : 1;
    return a.generation < b.generation ? -1 : a.generation > b.generation;
}

static int compare_folder_days(const void *a, const void *b)
{
    return compare_names(*(const struct folder_day *)a, *(const struct folder_day *)b);
}

/* One that cannot be opened stays on the disk, is named in answers, and later events of its date go to
 * another folder. */
static tel_code load_day(struct store_day *day, struct tel_error *err)
{
    struct tel_error why;
    tel_code rc = store_day_load(day, &why);
    if (rc == TEL_OK)
        return rc;
    if (rc == TEL_ERR_LOCKED || rc == TEL_ERR_NOSPACE) {
        if (err)
            *err = why;
        return rc;
    }
    char label[FOLDER_NAME_MAX];
    store_day_label(day, label);
    tel_log_error("a day cannot be opened", tel_kv_str("day", label), tel_kv_error(&why));
    if (day->damage.len == 0)
        tel_buf_printf(&day->damage, "%s: %s", label, why.text);
    day->broken = true;
    return TEL_OK;
}

/* The days first: they say what they have taken from the late. */
static tel_code load_days(struct store *store, struct tel_error *err)
{
    struct folder_list list = {0};
    tel_code rc = folder_scan(store->dir, &list, err);
    for (size_t i = 0; rc == TEL_OK && i < list.dropped.len; i++)
        rc = tel_fs_remove_all(tel_fs_system(), list.dropped.items[i], err);
    if (list.days.len)
        qsort(list.days.items, list.days.len, sizeof(*list.days.items), compare_folder_days);
    for (size_t i = 0; i < list.days.len; i++) {
        struct store_day *day = store_day_new(store, list.days.items[i]);
        if (store_day_is_late(day))
            tel_vec_push(&store->lates, day);
        else
            tel_vec_push(&store->days, day);
    }
    folder_list_free(&list);
    for (size_t i = 0; rc == TEL_OK && i < store->days.len; i++)
        rc = load_day(store->days.items[i], err);
    for (size_t i = 0; rc == TEL_OK && i < store->lates.len; i++) {
        rc = load_day(store->lates.items[i], err);
        store->lates.items[i]->next_id =
            TEL_MAX(store->lates.items[i]->next_id, store->late_floor + 1);
    }
    tel_map_free(&store->late_replaced);
    tel_map_init(&store->late_replaced);
    return rc;
}

tel_code store_open(const struct store_options *options, struct store **ret, struct tel_error *err)
{
    struct store *store = TEL_NEW(struct store);
    store->options = *options;
    store->dir = tel_strdup(options->dir);
    store->options.dir = store->dir;
    store->stats.min_time_ns = INT64_MAX;
    store->stats.max_time_ns = INT64_MIN;
    tel_mutex_init(&store->lock);
    tel_mutex_init(&store->meta_lock);
    tel_cond_init(&store->idle);
    tel_map_init(&store->late_replaced);
    tel_code rc = tel_fs_mkdir_all(tel_fs_system(), store->dir, err);
    if (rc == TEL_OK)
        rc = store_meta_open(store, err);
    if (rc == TEL_OK)
        rc = load_days(store, err);
    if (rc != TEL_OK) {
        store_close(store);
        return tel_error_wrap(err, rc, "store %s", options->dir);
    }
    *ret = store;
    return TEL_OK;
}

/* Takes the day's segments out of the catalogue and drops the references to them. (Not to the unsure
 * ones: they are the owner's. They keep a dropped day's folder until the store is closed.) */
static void release_segments(struct store_day *day)
{
    for (size_t i = 0; i < day->by_tenant.len; i++) {
        store_segments *list = &day->by_tenant.items[i].list;
        for (size_t j = 0; j < list->len; j++)
            store_segment_unref(list->items[j]);
        list->len = 0;
    }
    for (size_t i = 0; i < day->dead.len; i++)
        store_segment_unref(day->dead.items[i]);
    day->dead.len = 0;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    for (size_t i = 0; i < store->dropping.len; i++)
        tel_vec_push(&store->days, store->dropping.items[i]);
    for (size_t i = 0; i < store->lates.len; i++)
        tel_vec_push(&store->days, store->lates.items[i]);
    for (size_t i = 0; i < store->days.len; i++) {
        release_segments(store->days.items[i]);
        store_segments_done(&store->days.items[i]->unsure.segments);
    }
    for (size_t i = 0; i < store->days.len; i++) {
        struct store_day *day = store->days.items[i];
        TEL_CHECK(atomic_load(&day->refs) == 1);
        store_day_unref(day);
    }
    tel_vec_free(&store->days);
    tel_vec_free(&store->lates);
    tel_map_free(&store->late_replaced);
    tel_vec_free(&store->dropping);
    tel_vec_free(&store->said);
    tel_vec_free(&store->touched);
    tel_vec_free(&store->forgotten);
    ldb_close(store->meta);
    tel_mutex_done(&store->lock);
    tel_mutex_done(&store->meta_lock);
    tel_cond_done(&store->idle);
    free(store->dir);
    free(store);
}

/* ---- what a search sees ------------------------------------------------------------------------- */

static void select_list(const store_segments *list, int64_t start_ns, int64_t end_ns,
                        store_segments *ret)
{
    for (size_t i = 0; i < list->len; i++) {
        struct store_segment *s = list->items[i];
        if (s->min_time_ns < end_ns && s->max_time_ns >= start_ns)
            tel_vec_push(ret, store_segment_ref(s));
    }
}

/* A day in the range: of how many segments the tenant's were `theirs`, of which some were chosen. */
static void explain_day(const struct store_day *day, size_t theirs, size_t chosen,
                        struct store_explain *e)
{
    size_t all = 0;
    for (size_t i = 0; i < day->by_tenant.len; i++)
        all += day->by_tenant.items[i].list.len;
    e->days++;
    e->other_tenants += all - theirs;
    e->outside += theirs - chosen;
}

static void name_damage(const struct store_day *day, struct tel_buf *missing)
{
    if (day->damage.len)
        tel_buf_printf(missing, "%s%.*s", missing->len ? "; " : "",
                       TEL_SPAN_ARG(tel_buf_span(&day->damage)));
}

void store_select(struct store *store, const struct tel_span *tenant, int64_t start_ns,
                  int64_t end_ns, struct store_view *ret, struct tel_buf *missing)
{
    int64_t first = tel_day_of(start_ns), last = tel_day_of(end_ns - (end_ns > INT64_MIN));
    tel_mutex_lock(&store->lock);
    for (size_t i = 0; i < store->lates.len; i++) /* nobody knows of which days it lacks something */
        name_damage(store->lates.items[i], missing);
    size_t begin = store_day_index(store, first), end = begin;
    for (; end < store->days.len && store->days.items[end]->name.day <= last; end++) {
        struct store_day *day = store->days.items[end];
        name_damage(day, missing);
        if (ret->marks.len && ret->marks.items[ret->marks.len - 1].day == day->name.day) {
            struct store_mark *mark = &ret->marks.items[ret->marks.len - 1];
            if (store_position_cmp(day->watermark, mark->watermark) > 0)
                mark->watermark = day->watermark;
        } else {
            tel_vec_push(&ret->marks, ((struct store_mark){day->name.day, day->watermark}));
        }
        if (!tenant) {
            for (size_t j = 0; j < day->by_tenant.len; j++)
                select_list(&day->by_tenant.items[j].list, start_ns, end_ns, &ret->segments);
            continue;
        }
        uint64_t *index = tel_map_get(&day->tenants, *tenant);
        const store_segments *theirs = index ? &day->by_tenant.items[*index].list : NULL;
        size_t before = ret->segments.len;
        if (theirs)
            select_list(theirs, start_ns, end_ns, &ret->segments);
        if (ret->explain)
            explain_day(day, theirs ? theirs->len : 0, ret->segments.len - before, ret->explain);
    }
    if (ret->explain)
        ret->explain->days_outside += store->days.len - (end - begin);
    tel_mutex_unlock(&store->lock);
}

void store_view_done(struct store_view *view)
{
    store_segments_done(&view->segments);
    tel_vec_free(&view->marks);
}

struct store_position store_view_mark(const struct store_view *view, int64_t day)
{
    size_t lo = 0, hi = view->marks.len;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (view->marks.items[mid].day < day)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < view->marks.len && view->marks.items[lo].day == day)
        return view->marks.items[lo].watermark;
    return (struct store_position){0, INT64_MIN};
}

struct store_position store_day_watermark(struct store *store, int64_t day)
{
    struct store_position ret = {0, INT64_MIN};
    tel_mutex_lock(&store->lock);
    for (size_t i = store_day_index(store, day);
         i < store->days.len && store->days.items[i]->name.day == day; i++)
        if (store_position_cmp(store->days.items[i]->watermark, ret) > 0)
            ret = store->days.items[i]->watermark;
    tel_mutex_unlock(&store->lock);
    return ret;
}

struct store_position store_highest_watermark(struct store *store)
{
    struct store_position ret = {0, INT64_MIN};
    tel_mutex_lock(&store->lock);
    for (size_t i = 0; i < store->days.len; i++)
        if (store_position_cmp(store->days.items[i]->watermark, ret) > 0)
            ret = store->days.items[i]->watermark;
    tel_mutex_unlock(&store->lock);
    return ret;
}

void store_gone_days(struct store *store, struct tel_buf *ret)
{
    tel_mutex_lock(&store->lock);
    for (size_t i = 0; i < store->said.len; i++) {
        bool there = false;
        for (size_t j = 0; j < store->lates.len && !there; j++)
            there = compare_names(store->lates.items[j]->name, store->said.items[i].name) == 0;
        for (size_t j = store_day_index(store, store->said.items[i].name.day);
             j < store->days.len && !there; j++)
            there = compare_names(store->days.items[j]->name, store->said.items[i].name) == 0;
        if (there)
            continue;
        char name[FOLDER_NAME_MAX];
        folder_day_name(name, store->said.items[i].name);
        tel_buf_printf(ret, "%s%s", ret->len ? ", " : "", name);
    }
    tel_mutex_unlock(&store->lock);
}

size_t store_day_count(struct store *store)
{
    tel_mutex_lock(&store->lock);
    size_t count = store->days.len;
    tel_mutex_unlock(&store->lock);
    return count;
}

void store_stats_get(struct store *store, struct store_stats *ret)
{
    tel_mutex_lock(&store->lock);
    *ret = store->stats;
    ret->days = store->days.len;
    ret->broken_days = 0;
    for (size_t i = 0; i < store->days.len; i++)
        ret->broken_days += store->days.items[i]->damage.len > 0;
    for (size_t i = 0; i < store->lates.len; i++)
        ret->broken_days += store->lates.items[i]->damage.len > 0;
    tel_mutex_unlock(&store->lock);
}

/* ---- days --------------------------------------------------------------------------------------- */

size_t store_day_index(const struct store *store, int64_t day)
{
    size_t lo = 0, hi = store->days.len;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (store->days.items[mid]->name.day < day)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The folder that new events of the day go to, or NULL. The lock is held. */
struct store_day *store_day_find_live(struct store *store, int64_t day)
{
    struct store_day *last = NULL;
    for (size_t i = store_day_index(store, day);
         i < store->days.len && store->days.items[i]->name.day == day; i++)
        if (!store->days.items[i]->broken)
            last = store->days.items[i];
    return last;
}

struct store_day *store_day_find_or_make(struct store *store, int64_t day)
{
    struct store_day *d = store_day_find_live(store, day);
    if (d)
        return store_day_ref(d);
    struct folder_day name = {day, 0};
    for (size_t i = 0; i < store->dropping.len; i++)
        if (store->dropping.items[i]->name.day == day)
            name.generation =
                TEL_MAX(name.generation, store->dropping.items[i]->name.generation + 1);
    /* What the meta store says of a folder that is gone must not be held against a new one. */
    for (size_t i = 0; i < store->said.len; i++)
        if (store->said.items[i].name.day == day)
            name.generation = TEL_MAX(name.generation, store->said.items[i].name.generation + 1);
    size_t at = store_day_index(store, day);
    for (; at < store->days.len && store->days.items[at]->name.day == day; at++)
        name.generation = TEL_MAX(name.generation, store->days.items[at]->name.generation + 1);
    d = store_day_new(store, name);
    d->loaded = true;
    tel_vec_push(&store->days, d);
    memmove(store->days.items + at + 1, store->days.items + at,
            (store->days.len - 1 - at) * sizeof(*store->days.items));
    store->days.items[at] = d;
    return store_day_ref(d);
}

int64_t store_oldest_day(struct store *store)
{
    tel_mutex_lock(&store->lock);
    int64_t day = store->days.len ? store->days.items[0]->name.day : INT64_MAX;
    tel_mutex_unlock(&store->lock);
    return day;
}

int64_t store_newest_day(struct store *store)
{
    tel_mutex_lock(&store->lock);
    int64_t day = store->days.len ? store->days.items[store->days.len - 1]->name.day : INT64_MIN;
    tel_mutex_unlock(&store->lock);
    return day;
}

/* What a dropped day has in the late's LevelDB is deleted there. The lock is held. */
static void bury_late(struct store_day *d)
{
    for (size_t i = 0; i < d->by_tenant.len; i++) {
        store_segments *list = &d->by_tenant.items[i].list;
        size_t kept = 0;
        for (size_t j = 0; j < list->len; j++)
            if (store_segment_late(list->items[j]))
                store_day_add_dead(list->items[j]);
            else
                list->items[kept++] = list->items[j];
        list->len = kept;
    }
}

/* Takes the day out of the catalogue. The lock is held. */
static void drop_day(struct store *store, struct store_day *d, struct store_gone *sum)
{
    d->dropping = true;
    for (size_t i = 0; i < d->by_tenant.len; i++) {
        const store_segments *list = &d->by_tenant.items[i].list;
        for (size_t j = 0; j < list->len; j++) {
            store->stats.segments--;
            store->stats.events -= list->items[j]->rows;
            store->stats.raw_bytes -= list->items[j]->raw_bytes;
            store->stats.stored_bytes -= list->items[j]->stored_bytes;
            sum->segments++;
            sum->events += list->items[j]->rows;
            sum->bytes += list->items[j]->stored_bytes;
        }
    }
    for (size_t i = 0; i < d->dead.len; i++) {
        store->stats.dead_segments--;
        store->stats.dead_bytes -= d->dead.items[i]->stored_bytes;
    }
    sum->days++;
    tel_vec_push(&store->forgotten, d->name);
    tel_vec_push(&store->dropping, d);
    bury_late(d);
    /* The catalogue's references go; those of searches stay until they end. */
    release_segments(d);
}

void store_drop_before(struct store *store, int64_t day, struct store_gone *sum)
{
    size_t dropped = 0;
    tel_mutex_lock(&store->lock);
    while (dropped < store->days.len && store->days.items[dropped]->name.day < day)
        drop_day(store, store->days.items[dropped++], sum);
    if (dropped)
        memmove(store->days.items, store->days.items + dropped,
                (store->days.len - dropped) * sizeof(*store->days.items));
    store->days.len -= dropped;
    tel_mutex_unlock(&store->lock);
}

/* Its last segment was deleted from the disk, and no start will read again what it held: the resume
 * position has passed it. A writer would hold a reference. */
static bool is_empty(const struct store *store, const struct store_day *d)
{
    return d->live == 0 && d->dead.len == 0 && d->loaded && !d->broken && d->damage.len == 0 &&
           atomic_load_explicit(&d->refs, memory_order_acquire) == 1 &&
           store_position_cmp(d->watermark, store->resume.position) <= 0;
}

void store_drop_empty(struct store *store)
{
    struct store_gone gone = {0};
    size_t kept = 0;
    tel_mutex_lock(&store->lock);
    for (size_t i = 0; i < store->days.len; i++) {
        if (is_empty(store, store->days.items[i]))
            drop_day(store, store->days.items[i], &gone);
        else
            store->days.items[kept++] = store->days.items[i];
    }
    store->days.len = kept;
    tel_mutex_unlock(&store->lock);
}
