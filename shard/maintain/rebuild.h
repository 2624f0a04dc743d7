/*
 * The events of a segment, made again from its fields, for a builder. Which fields an event has is
 * kept exactly: what was a label, an attribute or the severity before is found by the field's name
 * and value, and gives the same field again.
 */
#ifndef SHARD_MAINTAIN_REBUILD_H
#define SHARD_MAINTAIN_REBUILD_H

#include "common/base/vec.h"
#include "shard/segment/segment.h"
#include "shard/store/store.h"

struct rebuild_source;

/* What the events point into while they are added. */
struct rebuild {
    struct tel_arena arena;
    TEL_VEC(struct segment_reader *) readers;
    TEL_VEC(struct store_handle *) handles;
    struct segment_counters counters; /* that its sources count in */
};

void rebuild_init(struct rebuild *rebuild);
void rebuild_done(struct rebuild *rebuild);
/* Adds all events of the segment, in the log's order. */
TEL_MUST_USE tel_code rebuild_add(struct rebuild *rebuild, struct store_segment *segment,
                                  struct segment_builder *builder, struct tel_error *err);

#endif
