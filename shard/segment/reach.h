/*
 * Can bytes that are looked for have to do with the holes of a template? Where they cannot, its text
 * alone says where they stand, and all its rows have them in the same places.
 */
#ifndef SHARD_SEGMENT_REACH_H
#define SHARD_SEGMENT_REACH_H

#include "shard/segment/reader.h"

/* Which holes may hold the bytes, a bit each; the last bit is for all from 63 on. */
TEL_MUST_USE tel_code reach_holes(struct view *view, uint32_t number, struct tel_span bytes,
                                  uint64_t *ret, struct tel_error *err);
/* Could they begin in static text and end in a hole, or the other way round, or reach over a hole? */
TEL_MUST_USE tel_code reach_over_edges(struct view *view, uint32_t number, struct tel_span bytes,
                                       bool *ret, struct tel_error *err);
/* Either of these. */
TEL_MUST_USE tel_code reach_any(struct view *view, uint32_t number, struct tel_span bytes, bool *ret,
                                struct tel_error *err);

#endif
