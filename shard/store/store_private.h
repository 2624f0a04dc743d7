/* What the files of shard/store share. Lock order: the store's lock is innermost. */
#ifndef SHARD_STORE_STORE_PRIVATE_H
#define SHARD_STORE_STORE_PRIVATE_H

#include "common/base/buf.h"
#include "common/base/map.h"
#include "common/sys/thread.h"
#include "shard/store/fault.h"
#include "shard/store/folder.h"
#include "shard/store/ldb.h"
#include "shard/store/store.h"

/* A batch is written when it has this much, so that a round of many segments stays within memory. */
#define STORE_BATCH_BYTES (4u << 20)

struct tenant_segments {
    store_segments list;
};

/* Segments that a failed writer may or may not have written. */
struct store_unsure {
    struct store_position upto;
    store_segments segments; /* the last of them carries the commit */
};

/* A day: its catalogue, and the LevelDB that its segments lie in. A day of which there have only ever
 * been few events has a catalogue and no folder: its segments lie in the LevelDB of the late, which
 * is a store_day itself, with a LevelDB and an empty catalogue (late.c). */
struct store_day {
    _Atomic uint32_t refs; /* the store's, and one per segment */
    struct store *store;
    struct folder_day name;
    /* The store's lock guards all of these. */
    struct ldb *db;       /* NULL: closed */
    unsigned users;       /* threads inside db now */
    bool reopening;       /* wait: it is being opened or closed */
    uint64_t last_use;
    bool broken;          /* cannot be opened; new events of the day go to another generation */
    bool dropping;
    bool loaded;
    struct tel_buf damage; /* what is known to be wrong; empty: nothing */
    struct store_position watermark;
    struct store_position own; /* the highest that its own folder's entries say; the late may say more */
    bool stored;   /* its own folder has entries, or had */
    uint64_t next_id;
    uint64_t mark; /* id of the newest entry that is a mark; 0: none. Maintenance's once loaded */
    struct tel_map tenants; /* name -> index in by_tenant */
    TEL_VEC(struct tenant_segments) by_tenant;
    store_segments dead; /* replaced, to be deleted: by ascending id */
    size_t late_dead;    /* segments of this day that are in the late's `dead` */
    size_t live;
    int64_t quiet_since_ns; /* monotonic: the last flush, or the opening */
    uint64_t deleted_bytes; /* since the last compaction */
    TEL_VEC(uint64_t) unsure_merges; /* ids of merges whose write failed; maintenance's thread only */
    _Atomic bool made; /* its folder is there for good */
    /* The owner's only, without the lock: */
    struct store_unsure unsure;
    TEL_VEC(uint64_t) orphans; /* ids whose keys are to be deleted with the next batch */
};

struct store_day_mark {
    struct folder_day name;
    struct store_position watermark;
};

struct store {
    struct store_options options;
    char *dir;
    struct ldb *meta; /* the owner's; guarded by meta_lock where it changes and for other threads */
    struct tel_mutex meta_lock; /* a leaf */
    struct store_resume resume;
    uint64_t source_seed, next_gap;
    struct tel_hash128 expire_at; /* where the sweep over the sources stands */
    TEL_VEC(struct store_day_mark) said;    /* from the meta store, as it was opened */
    TEL_VEC(struct store_day_mark) touched; /* days committed since the last store_commit */
    TEL_VEC(struct folder_day) forgotten;   /* days dropped since */
    struct tel_mutex lock;
    struct tel_cond idle; /* a day's users went to 0, or reopening ended */
    TEL_VEC(struct store_day *) days; /* sorted by (day, generation) */
    TEL_VEC(struct store_day *) lates; /* by generation; all but the last are broken */
    struct tel_map late_replaced; /* while loading: ids of the late that days' entries replaced */
    uint64_t late_floor; /* the late's next id is above this */
    TEL_VEC(struct store_day *) dropping;
    unsigned open_days;
    uint64_t clock; /* of last_use */
    struct store_stats stats; /* the counters among them */
};

tel_code store_step(struct store *store, enum store_step step, struct tel_error *err);
char *store_day_path(const struct store_day *day);
void store_day_label(const struct store_day *day, char out[FOLDER_NAME_MAX]);

struct store_day *store_day_new(struct store *store, struct folder_day name);
struct store_day *store_day_ref(struct store_day *day);
void store_day_unref(struct store_day *day);
/* Opens the LevelDB if need be and keeps it open until unpinned. Short: others may wait. */
TEL_MUST_USE tel_code store_day_pin(struct store_day *day, struct ldb **ret,
                                    struct tel_error *err);
void store_day_unpin(struct store_day *day);
/* Closes the LevelDB once nobody is inside; the next pin opens it anew. Not while pinned. */
void store_day_close_db(struct store_day *day);
/* Reads the catalogue. */
TEL_MUST_USE tel_code store_day_load(struct store_day *day, struct tel_error *err);
/* With the store's lock held. */
void store_day_publish(struct store_day *day, struct store_segment *segment);
bool store_day_unpublish(struct store_day *day, struct store_segment *segment);
/* Takes over the catalogue's reference. */
void store_day_add_dead(struct store_segment *segment);
struct store_day *store_day_find_live(struct store *store, int64_t day);
/* The index of the first folder of the day, or of a later one. With the store's lock held. */
size_t store_day_index(const struct store *store, int64_t day);
/* The day that new events go to, made if it is not there; a reference. With the store's lock held. */
struct store_day *store_day_find_or_make(struct store *store, int64_t day);
/* The new segments' reference goes to their day's catalogue, or to the dead if it is dropped. With the
 * store's lock held. */
void store_day_put_in(struct store_segment *segment);

/* ---- late.c ---- */

static inline bool store_day_is_late(const struct store_day *day)
{
    return day->name.day == FOLDER_LATE;
}
/* Where late segments are written, or NULL. With the store's lock held. */
struct store_day *store_late_find(const struct store *store);
/* The same, made if it is not there. */
struct store_day *store_late_make(struct store *store);
/* Ids of the late that a day's entry replaces have this bit. */
#define STORE_LATE_ID (UINT64_C(1) << 63)

/* Deletes of all keys of the segment, into the batch. */
TEL_MUST_USE tel_code store_delete_keys(struct store_day *place, struct ldb *db, uint64_t id,
                                        struct ldb_batch *batch, struct tel_error *err);
TEL_MUST_USE tel_code store_day_make_folder(struct store_day *day, struct tel_error *err);
/* Fills an entry from an image and puts the sections into the batch. */
void store_put_sections(struct store_day *day, const struct segment_image *image,
                        struct ldb_batch *batch, struct entry *entry);
uint64_t store_day_take_id(struct store_day *day);
void store_put_entry(struct store_day *day, const struct entry *entry, struct tel_buf *buf,
                     struct ldb_batch *batch);
/* Writes the batch, synced. After an error the day must be opened anew: store_day_reopen. */
TEL_MUST_USE tel_code store_day_write(struct store_day *day, struct ldb_batch *batch,
                                      enum store_step step, struct tel_error *err);
void store_day_reopen(struct store_day *day);

/* place: the LevelDB that it is in. One in the late's gets the day of its events. */
struct store_segment *store_segment_new(struct store_day *place, const struct entry *entry);

/* The value under a slot; TEL_ERR_CORRUPT if it is not there. For ldb_value_free. */
TEL_MUST_USE tel_code store_read_value(struct store_segment *segment, uint32_t slot,
                                       struct tel_span *ret, struct tel_error *err);
/* The segment's entry, checked, with its table of sections: for entry_done. A failure marks the segment
 * as damaged. The tenant is the segment's own. */
TEL_MUST_USE tel_code store_read_entry(struct store_segment *segment, struct entry *ret,
                                       struct tel_error *err);
/* A section, checked; a failure marks the segment as damaged. For ldb_value_free. */
TEL_MUST_USE tel_code store_read_section(struct store_segment *segment,
                                         const struct entry_section *section, struct tel_span *ret,
                                         struct tel_error *err);
int store_compare_segment_ids(const void *a, const void *b); /* for qsort, of pointers */

/* How a day's LevelDB and the partition's own are opened. write_buffer 0: as usual. */
struct ldb_options store_day_ldb_options(struct ldb_shared *shared, size_t write_buffer);
struct ldb_options store_meta_ldb_options(struct ldb_shared *shared);

tel_code store_meta_open(struct store *store, struct tel_error *err);
/* The day's watermark as the meta store has it, while the store is being opened; or NULL. */
const struct store_position *store_meta_mark(const struct store *store, struct folder_day name);

#endif
