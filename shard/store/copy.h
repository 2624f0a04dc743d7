/*
 * A store's keys, taken out one by one and put into new databases: what a snapshot is made of.
 *
 * Taken in this order, the keys make a store as a crash might have left it: first the partition's own
 * store, as of one moment, and then the days as they are at a later one. So the resume position R with
 * the sources' positions as they were at R are of one commit; and each day's watermark is at least
 * what it was at that moment, which is what a start from R needs (shard/FORMAT.md, "Why nothing is lost
 * or doubled"). What was retired or replaced meanwhile does not matter: the days are those of one
 * moment, and they are held until they are copied.
 *
 * Any thread; a copy belongs to one.
 */
#ifndef SHARD_STORE_COPY_H
#define SHARD_STORE_COPY_H

#include "shard/store/folder.h"
#include "shard/store/store.h"

struct ldb_shared;

/* Where keys go. Anything but TEL_OK ends the copy with it. */
struct store_sink {
    tel_code (*put)(void *ctx, struct tel_span key, struct tel_span value, struct tel_error *err);
    void *ctx;
};

/* All keys of the partition's own store; *ret_resume: what they say. TEL_ERR_CORRUPT, _IO: it cannot be
 * read; and what the sink returns. */
TEL_MUST_USE tel_code store_copy_meta(struct store *store, const struct store_sink *sink,
                                      struct store_resume *ret_resume, struct tel_error *err);

/* The live segments of all days at one moment, held. All zero is an empty one. */
struct store_held_day {
    struct folder_day name;
    struct store_position watermark;
    uint64_t next_id;
    store_segments segments; /* by id */
};
struct store_held {
    TEL_VEC(struct store_held_day) days;
};
/* TEL_ERR_CORRUPT: a day is damaged so that nobody knows what it lacks; a copy would pass for whole. */
TEL_MUST_USE tel_code store_hold(struct store *store, struct store_held *ret, struct tel_error *err);
void store_held_done(struct store_held *held);

/* The segment's entry and sections, checked. *ret_whole false: a section cannot be read; it is left
 * out, so that the copy names the same as missing. An entry that cannot be read is TEL_ERR_CORRUPT. */
TEL_MUST_USE tel_code store_copy_segment(struct store_segment *segment,
                                         const struct store_sink *sink, bool *ret_whole,
                                         struct tel_error *err);
/* An entry that carries the day's watermark, whatever became of the segment that brought it. */
TEL_MUST_USE tel_code store_copy_mark(const struct store_held_day *day,
                                      const struct store_sink *sink, struct tel_error *err);

/* A new database: the partition's own store, or a day's, in the folder `path`, which must not be there. */
struct store_import;
TEL_MUST_USE tel_code store_import_begin(const char *path, struct ldb_shared *shared, bool meta,
                                         struct store_import **ret, struct tel_error *err);
TEL_MUST_USE tel_code store_import_put(struct store_import *import, struct tel_span key,
                                       struct tel_span value, struct tel_error *err);
/* Makes all of it durable. Frees the import, also on an error. */
TEL_MUST_USE tel_code store_import_end(struct store_import *import, struct tel_error *err);
void store_import_abort(struct store_import *import); /* NULL is fine */

#endif
