/*
 * A chunk: some messages' events in memory, as they were decoded. The partition's owner fills one;
 * sealed, it never changes and is counted, so that searches read it while ingest goes on. It lives
 * until its events are in segments and no search looks at it.
 *
 *     arena   | message bytes | tel_event[] | message bytes | tel_event[] | ...
 *     runs    { tenant, day, offset, events[first .. first+count) }    one per message and day
 *
 * The bytes of a message are copied once; events point into them. Nothing is done per event that the
 * decoder has not done, but for looking at its position and day.
 */
#ifndef SHARD_INGEST_CHUNK_H
#define SHARD_INGEST_CHUNK_H

#include <stdatomic.h>

#include "common/base/arena.h"
#include "common/base/vec.h"
#include "common/record/batch.h"
#include "shard/store/entry.h"

/* Consecutive events of one message that belong to one day. */
struct chunk_run {
    struct tel_span tenant;
    uint64_t tenant_hash;
    int64_t day;
    struct store_position position; /* of the message */
    uint32_t first, count;          /* indexes in the message */
    const struct tel_event *events; /* the first of them */
    const struct tel_field *labels;
    uint32_t label_count;
    int64_t min_time_ns, max_time_ns;
};

struct chunk {
    _Atomic uint32_t refs;
    struct tel_arena arena;
    TEL_VEC(struct chunk_run) runs;
    uint64_t rows;
    int64_t min_time_ns, max_time_ns; /* min > max while there are no rows */
    int64_t born_ns;                  /* monotonic */
};

/* big: many bytes are expected. */
struct chunk *chunk_new(bool big, int64_t mono_ns);
void chunk_add(struct chunk *chunk, const struct chunk_run *run);
size_t chunk_bytes(const struct chunk *chunk);
struct chunk *chunk_ref(struct chunk *chunk);
void chunk_unref(struct chunk *chunk); /* NULL is fine */

typedef TEL_VEC(struct chunk *) chunk_list;
void chunk_list_done(chunk_list *list); /* drops the references and frees the array */

#endif
