/*
 * Rows counted by the labels of their streams, over many segments: what `stats by`, `top` and `uniq` need
 * of labels. Belongs to one thread; all of it lives in its arena.
 */
#ifndef SHARD_QUERY_TALLY_H
#define SHARD_QUERY_TALLY_H

#include "common/base/map.h"
#include "common/base/vec.h"
#include "common/logsql/block.h"
#include "shard/segment/stream_table.h"

#define TALLY_GROUPS_MAX 65536u

struct tally_group {
    uint64_t rows;
    struct tel_span *values; /* by field */
};

/* The group of a stream that was seen before, by the stream's number. */
struct tally_known {
    uint64_t serial;
    size_t group;
};

struct tally {
    const struct tel_span *fields;
    size_t field_count;
    uint64_t rows; /* without fields: all that is counted */
    struct tel_arena arena;
    struct tel_map map; /* values -> group */
    TEL_VEC(struct tally_group) groups;
    TEL_VEC(struct tally_known) known;
};

/* fields: names, which outlive it. */
void tally_init(struct tally *tally, const struct tel_span *fields, size_t field_count);
void tally_done(struct tally *tally);
/* So many more rows of a stream. */
void tally_add(struct tally *tally, const struct stream_entry *stream, uint64_t rows);
/* All groups as a block with hits, in the tally's memory until the next call; rows 0: there are none. */
void tally_block(struct tally *tally, struct tel_block *ret);
/* Counts from nothing again. */
void tally_clear(struct tally *tally);

#endif
