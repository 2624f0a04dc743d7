/*
 * Single values of a column. Streams are unpacked and single numbers read from them; no other value
 * is put together, and of frames only those are unpacked that hold a value asked for.
 */
#ifndef SHARD_SEGMENT_COLUMN_PICK_H
#define SHARD_SEGMENT_COLUMN_PICK_H

#include "shard/segment/column.h"
#include "shard/segment/ids_index.h"

/* Where the ids of a template's rows are. */
struct column_id_rows {
    struct ids_index *index;
    const uint32_t *starts; /* by row of the template: its first entry */
    uint32_t slots;
};

/* ret[0..count): of a column of n values those numbered at[0..count), ascending and
 * each < n. ids: NULL where a
 * column has none. Values that are equal by a dictionary share their bytes. */
TEL_MUST_USE tel_code column_pick(struct stream_reader *r, struct cursor *node, size_t n,
                                  const struct column_id_rows *ids, const uint32_t *at, size_t count,
                                  struct tel_span *ret, struct tel_error *err);

#endif
