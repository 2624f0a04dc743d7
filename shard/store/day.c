/*
 * A day: its LevelDB and its catalogue in memory.
 *
 * Days are many and LevelDBs are not free (a memtable, open files), so only the few that were used
 * last are open. Whoever needs one pins it for the length of an operation; closing waits for pins.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define TEL_LOG_COMPONENT "store"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/timefmt.h"
#include "shard/store/store_private.h"

#define WRITE_BUFFER_BYTES (8u << 20)
#define BLOCK_BYTES        (16u << 10)
#define FILE_BYTES         (16u << 20)
#define OPEN_DAYS          16u
#define DAY_OPEN_FILES     64
#define DAMAGE_BYTES       512u

char *store_day_path(const struct store_day *day)
{
    char name[FOLDER_NAME_MAX];
    folder_day_name(name, day->name);
    return folder_path(day->store->dir, name);
}

void store_day_label(const struct store_day *day, char out[FOLDER_NAME_MAX])
{
    folder_day_name(out, day->name);
}

struct store_day *store_day_new(struct store *store, struct folder_day name)
{
    struct store_day *day = TEL_NEW(struct store_day);
    day->store = store;
    day->name = name;
    day->next_id = 1;
    day->quiet_since_ns = tel_mono_ns(tel_clock_system());
    day->watermark = day->own = (struct store_position){0, INT64_MIN};
    atomic_init(&day->refs, 1);
    tel_map_init(&day->tenants);
    return day;
}

struct store_day *store_day_ref(struct store_day *day)
{
    atomic_fetch_add_explicit(&day->refs, 1, memory_order_relaxed);
    return day;
}

void store_day_unref(struct store_day *day)
{
    if (atomic_fetch_sub_explicit(&day->refs, 1, memory_order_acq_rel) != 1)
        return;
    TEL_CHECK(day->users == 0);
    ldb_close(day->db);
    for (size_t i = 0; i < day->by_tenant.len; i++)
        tel_vec_free(&day->by_tenant.items[i].list);
    tel_vec_free(&day->by_tenant);
    tel_vec_free(&day->dead);
    tel_vec_free(&day->unsure.segments);
    tel_vec_free(&day->orphans);
    tel_vec_free(&day->unsure_merges);
    tel_map_free(&day->tenants);
    tel_buf_free(&day->damage);
    free(day);
}

/* ---- the LevelDB ------------------------------------------------------------------------------ */

struct ldb_options store_day_ldb_options(struct ldb_shared *shared, size_t write_buffer)
{
    return (struct ldb_options){
        .shared = shared,
        .write_buffer_bytes = write_buffer ? write_buffer : WRITE_BUFFER_BYTES,
        .block_bytes = BLOCK_BYTES,
        .file_bytes = FILE_BYTES,
        .open_files = DAY_OPEN_FILES,
        .create = true,
        .paranoid = true,
    };
}

/* *ret_damage: set when the database opens, but not whole. */
static tel_code open_db(const struct store_day *day, struct ldb **ret, struct tel_error *ret_damage,
                        struct tel_error *err)
{
    const struct store_options *o = &day->store->options;
    struct ldb_options options = store_day_ldb_options(o->shared, o->write_buffer_bytes);
    char *path = store_day_path(day);
    tel_code rc = ldb_open(path, &options, ret, err);
    ret_damage->text[0] = '\0';
    if (rc == TEL_ERR_CORRUPT) {
        /* Damage in LevelDB's own files. What can be read is worth having, and what is missing is
         * said: in the log, in every answer that touches the day, and by the watermark. */
        *ret_damage = *err;
        char label[FOLDER_NAME_MAX];
        store_day_label(day, label);
        tel_log_error("a day's database is damaged", tel_kv_str("day", label),
                      tel_kv_str("error", err->text));
        options.paranoid = false;
        rc = ldb_open(path, &options, ret, err);
    }
    free(path);
    return rc;
}

/* The LevelDB that was not used for the longest time, if too many are open: it is closed to others
 * from now on, and cannot be deleted before it is closed. The lock is held. */
static struct store_day *take_idle(struct store *store)
{
    unsigned max = store->options.open_days_max ? store->options.open_days_max : OPEN_DAYS;
    struct store_day *oldest = NULL;
    if (store->open_days <= max)
        return NULL;
    for (size_t i = 0; i < store->days.len; i++) {
        struct store_day *day = store->days.items[i];
        if (day->db && day->users == 0 && !day->reopening &&
            (!oldest || day->last_use < oldest->last_use))
            oldest = day;
    }
    if (!oldest)
        return NULL;
    oldest->reopening = true;
    return oldest;
}

/* Closes a LevelDB that take_idle or the caller has closed to others. The lock is held, but not
 * meanwhile. */
static void close_taken(struct store_day *day)
{
    struct store *store = day->store;
    struct ldb *db = day->db;
    day->db = NULL;
    if (db && !store_day_is_late(day))
        store->open_days--;
    tel_mutex_unlock(&store->lock);
    ldb_close(db);
    tel_mutex_lock(&store->lock);
    day->reopening = false;
    tel_cond_broadcast(&store->idle);
}

/* Opening takes some files and syncs, so others go on meanwhile. The lock is held, but not then. */
static tel_code open_taken(struct store_day *day, struct tel_error *err)
{
    struct store *store = day->store;
    struct ldb *db = NULL;
    struct tel_error damage;
    day->reopening = true;
    tel_mutex_unlock(&store->lock);
    tel_code rc = open_db(day, &db, &damage, err);
    tel_mutex_lock(&store->lock);
    if (damage.text[0] && day->damage.len == 0) {
        char label[FOLDER_NAME_MAX];
        store_day_label(day, label);
        tel_buf_printf(&day->damage, "%s: %s", label, damage.text);
    }
    if (rc == TEL_OK) {
        day->db = db;
        if (!store_day_is_late(day))
            store->open_days++;
    }
    day->reopening = false;
    tel_cond_broadcast(&store->idle);
    return rc;
}

tel_code store_day_pin(struct store_day *day, struct ldb **ret, struct tel_error *err)
{
    struct store *store = day->store;
    struct tel_error local;
    tel_code rc = TEL_OK;
    tel_mutex_lock(&store->lock);
    while (day->reopening)
        tel_cond_wait(&store->idle, &store->lock);
    if (day->broken)
        rc = tel_error_set(err, TEL_ERR_CORRUPT, "%s", tel_buf_cstr(&day->damage));
    else if (!day->db)
        rc = open_taken(day, err ? err : &local);
    struct store_day *idle = NULL;
    if (rc == TEL_OK) {
        day->users++;
        day->last_use = ++store->clock;
        *ret = day->db;
        while ((idle = take_idle(store)) != NULL)
            close_taken(idle);
    }
    tel_mutex_unlock(&store->lock);
    return rc;
}

void store_day_unpin(struct store_day *day)
{
    struct store *store = day->store;
    tel_mutex_lock(&store->lock);
    TEL_CHECK(day->users > 0);
    if (--day->users == 0)
        tel_cond_broadcast(&store->idle);
    tel_mutex_unlock(&store->lock);
}

void store_day_close_db(struct store_day *day)
{
    struct store *store = day->store;
    tel_mutex_lock(&store->lock);
    while (day->reopening)
        tel_cond_wait(&store->idle, &store->lock);
    day->reopening = true;
    while (day->users > 0)
        tel_cond_wait(&store->idle, &store->lock);
    close_taken(day);
    tel_mutex_unlock(&store->lock);
}

/* ---- the catalogue ---------------------------------------------------------------------------- */

/* Where the segment's rows belong, by their time; a reference. */
static struct store_day *day_of(struct store_day *place, const struct entry *entry)
{
    if (!store_day_is_late(place))
        return store_day_ref(place);
    tel_mutex_lock(&place->store->lock);
    struct store_day *day = store_day_find_or_make(place->store, tel_day_of(entry->min_time_ns));
    tel_mutex_unlock(&place->store->lock);
    return day;
}

struct store_segment *store_segment_new(struct store_day *place, const struct entry *entry)
{
    struct store_segment *s = tel_calloc(1, sizeof(*s) + entry->tenant.len + 1);
    char *tenant = (char *)(s + 1);
    memcpy(tenant, entry->tenant.ptr ? entry->tenant.ptr : "", entry->tenant.len);
    atomic_init(&s->refs, 1);
    s->day = day_of(place, entry);
    s->place = place;
    static _Atomic uint64_t serials;
    s->id = entry->id;
    s->serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed) + 1;
    s->upto = entry->upto;
    s->first_offset = entry->first_offset;
    s->last_offset = entry->last_offset;
    s->tenant = tel_span_make(tenant, entry->tenant.len);
    s->rows = entry->rows;
    s->raw_bytes = entry->raw_bytes;
    s->stored_bytes = entry->stored_bytes;
    s->compression = entry->compression;
    s->min_time_ns = entry->min_time_ns;
    s->max_time_ns = entry->max_time_ns;
    s->merged = entry->kind == ENTRY_MERGE;
    return s;
}

void store_day_publish(struct store_day *day, struct store_segment *segment)
{
    bool is_new;
    uint64_t *index = tel_map_put(&day->tenants, segment->tenant, &is_new);
    if (is_new) {
        *index = day->by_tenant.len;
        tel_vec_push(&day->by_tenant, ((struct tenant_segments){{0}}));
    }
    tel_vec_push(&day->by_tenant.items[*index].list, segment);
    struct store_stats *st = &day->store->stats;
    day->live++;
    st->segments++;
    st->events += segment->rows;
    st->raw_bytes += segment->raw_bytes;
    st->stored_bytes += segment->stored_bytes;
    if (day->live == 1 && st->segments == 1) {
        st->min_time_ns = segment->min_time_ns;
        st->max_time_ns = segment->max_time_ns;
    }
    st->min_time_ns = TEL_MIN(st->min_time_ns, segment->min_time_ns);
    st->max_time_ns = TEL_MAX(st->max_time_ns, segment->max_time_ns);
}

bool store_day_unpublish(struct store_day *day, struct store_segment *segment)
{
    uint64_t *index = tel_map_get(&day->tenants, segment->tenant);
    if (!index)
        return false;
    store_segments *list = &day->by_tenant.items[*index].list;
    for (size_t i = 0; i < list->len; i++) {
        if (list->items[i] != segment)
            continue;
        list->items[i] = list->items[--list->len];
        struct store_stats *st = &day->store->stats;
        day->live--;
        st->segments--;
        st->events -= segment->rows;
        st->raw_bytes -= segment->raw_bytes;
        st->stored_bytes -= segment->stored_bytes;
        return true;
    }
    return false;
}

void store_day_put_in(struct store_segment *segment)
{
    struct store_day *day = segment->day;
    if (!day->dropping)
        store_day_publish(day, segment);
    else if (segment->place != day)
        store_day_add_dead(segment);
    else
        store_segment_unref(segment);
}

void store_day_add_dead(struct store_segment *segment)
{
    struct store_day *day = segment->place;
    segment->dead = true;
    segment->day->late_dead += segment->place != segment->day;
    size_t at = day->dead.len;
    tel_vec_push(&day->dead, segment);
    for (; at > 0 && day->dead.items[at - 1]->id > segment->id; at--)
        day->dead.items[at] = day->dead.items[at - 1];
    day->dead.items[at] = segment;
    day->store->stats.dead_segments++;
    day->store->stats.dead_bytes += segment->stored_bytes;
}

struct loading {
    TEL_VEC(struct entry) entries;
    TEL_VEC(struct store_segment *) segments; /* one each, NULL for marks */
    struct tel_map replaced;
};

int store_compare_segment_ids(const void *a, const void *b)
{
    const struct store_segment *x = *(struct store_segment *const *)a;
    const struct store_segment *y = *(struct store_segment *const *)b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void note_replaced(struct store *store, struct loading *l, const struct entry *e)
{
    for (uint32_t i = 0; i < e->replaces_count; i++) {
        uint64_t id = e->replaces[i] & ~STORE_LATE_ID;
        struct tel_map *map = &l->replaced;
        if (e->replaces[i] & STORE_LATE_ID) {
            map = &store->late_replaced;
            store->late_floor = TEL_MAX(store->late_floor, id);
        }
        tel_map_put(map, tel_span_make(&id, sizeof(id)), NULL);
    }
}

/* Reads all entries: one seek a segment, since ids are dense and each begins with its entry. */
static tel_code read_entries(struct store_day *day, struct ldb *db, struct loading *l,
                             struct tel_error *err)
{
    struct ldb_iter *iter = ldb_iter_new(db);
    uint64_t id = 0, next = 0;
    uint32_t slot;
    struct entry_key key = entry_key_make(0, ENTRY_SLOT);
    for (ldb_iter_seek(iter, entry_key_span(&key)); ldb_iter_valid(iter);
         key = entry_key_make(next, ENTRY_SLOT), ldb_iter_seek(iter, entry_key_span(&key))) {
        struct entry e;
        struct tel_error why = {.text = "no catalogue entry"};
        if (!entry_key_parse(ldb_iter_key(iter), &id, &slot)) {
            ldb_iter_free(iter);
            return tel_error_set(err, TEL_ERR_CORRUPT, "a key that is no segment's");
        }
        if (slot == ENTRY_SLOT &&
            entry_decode(ldb_iter_value(iter), day->name.day, id, &e, &why) == TEL_OK) {
            struct store_segment *s = e.kind == ENTRY_MARK ? NULL : store_segment_new(day, &e);
            tel_vec_push(&l->segments, s);
            e.tenant = tel_span_make(NULL, 0);
            free(e.sections);
            e.sections = NULL;
            tel_vec_push(&l->entries, e);
            note_replaced(day->store, l, &e);
            if (e.kind == ENTRY_MARK)
                day->mark = id;
        } else {
            char label[FOLDER_NAME_MAX];
            store_day_label(day, label);
            if (day->damage.len < DAMAGE_BYTES) /* a few tell enough */
                tel_buf_printf(&day->damage, "%s%s segment %" PRIu64 ": %s",
                               day->damage.len ? "; " : "", label, id, why.text);
        }
        if (id == UINT64_MAX)
            break;
        next = id + 1;
        day->next_id = next;
    }
    tel_code rc = ldb_iter_status(iter, err);
    ldb_iter_free(iter);
    return rc;
}

/* Decides what each entry is worth: live, replaced, or of a flush that never committed. What is not
 * above the resume position was committed even if the entry that said so is damaged. */
static void settle_entries(struct store_day *day, struct loading *l)
{
    const struct store_position resume = day->store->resume.position;
    struct tel_map *replaced = store_day_is_late(day) ? &day->store->late_replaced : &l->replaced;
    struct store_position seen = {0, INT64_MIN};
    for (size_t i = 0; i < l->entries.len; i++)
        if (l->entries.items[i].commits &&
            store_position_cmp(l->entries.items[i].upto, day->watermark) > 0)
            day->watermark = day->own = l->entries.items[i].upto;
    for (size_t i = 0; i < l->entries.len; i++) {
        struct entry *e = &l->entries.items[i];
        struct store_segment *s = l->segments.items[i];
        if (store_position_cmp(e->upto, seen) > 0)
            seen = e->upto;
        if (!s)
            continue;
        if (store_position_cmp(e->upto, day->watermark) > 0 &&
            store_position_cmp(e->upto, resume) > 0) {
            tel_vec_push(&day->orphans, e->id);
            store_segment_unref(s);
        } else {
            /* What the late has of a day, the day has. */
            if (s->place != s->day && store_position_cmp(e->upto, s->day->watermark) > 0)
                s->day->watermark = e->upto;
            if (tel_map_get(replaced, tel_span_make(&e->id, sizeof(e->id))))
                store_day_add_dead(s);
            else
                store_day_publish(s->day, s);
        }
        l->segments.items[i] = NULL;
    }
    const struct store_position *said =
        store_meta_mark(day->store, day->name);
    if (said && store_position_cmp(seen, *said) < 0) {
        char label[FOLDER_NAME_MAX];
        store_day_label(day, label);
        tel_buf_printf(&day->damage, "%s%s: events below offset %" PRId64 " were durable and are lost",
                       day->damage.len ? "; " : "", label, said->offset);
    }
}

tel_code store_day_load(struct store_day *day, struct tel_error *err)
{
    struct ldb *db;
    tel_code rc = store_day_pin(day, &db, err);
    if (rc != TEL_OK)
        return rc;
    struct loading l = {0};
    tel_map_init(&l.replaced);
    rc = read_entries(day, db, &l, err);
    tel_mutex_lock(&day->store->lock);
    if (rc == TEL_ERR_CORRUPT) {
        /* A block of entries is gone; the rest is served, and the loss is named. */
        char label[FOLDER_NAME_MAX];
        store_day_label(day, label);
        tel_buf_printf(&day->damage, "%s%s: %s", day->damage.len ? "; " : "", label,
                       err ? err->text : "catalogue is damaged");
        rc = TEL_OK;
    }
    if (rc == TEL_OK) {
        settle_entries(day, &l);
        day->stored = l.entries.len > 0;
        day->loaded = true;
    }
    tel_mutex_unlock(&day->store->lock);
    if (day->damage.len)
        tel_log_error("a day is damaged",
                      tel_kv_span("damage", tel_buf_span(&day->damage)));
    for (size_t i = 0; i < l.entries.len; i++) {
        entry_done(&l.entries.items[i]);
        store_segment_unref(l.segments.items[i]);
    }
    tel_vec_free(&l.entries);
    tel_vec_free(&l.segments);
    tel_map_free(&l.replaced);
    store_day_unpin(day);
    return rc;
}

/* ---- counted segments ------------------------------------------------------------------------- */

struct store_segment *store_segment_ref(struct store_segment *segment)
{
    atomic_fetch_add_explicit(&segment->refs, 1, memory_order_relaxed);
    return segment;
}

void store_segment_unref(struct store_segment *segment)
{
    if (!segment || atomic_fetch_sub_explicit(&segment->refs, 1, memory_order_acq_rel) != 1)
        return;
    store_day_unref(segment->day);
    free(segment);
}

bool store_segment_gone(const struct store_segment *segment)
{
    struct store_day *day = segment->day;
    tel_mutex_lock(&day->store->lock);
    bool gone = segment->dead || day->dropping;
    tel_mutex_unlock(&day->store->lock);
    return gone;
}

int64_t store_segment_quiet_ns(const struct store_segment *segment)
{
    struct store_day *day = segment->day;
    tel_mutex_lock(&day->store->lock);
    int64_t since = day->quiet_since_ns;
    tel_mutex_unlock(&day->store->lock);
    return tel_mono_ns(tel_clock_system()) - since;
}

int64_t store_segment_day(const struct store_segment *segment)
{
    return segment->day->name.day;
}

void store_segment_name(const struct store_segment *segment, char *out, size_t size)
{
    char label[FOLDER_NAME_MAX];
    store_day_label(segment->place, label);
    snprintf(out, size, "%s segment %" PRIu64, label, segment->id);
}

void store_segments_done(store_segments *list)
{
    for (size_t i = 0; i < list->len; i++)
        store_segment_unref(list->items[i]);
    tel_vec_free(list);
}
