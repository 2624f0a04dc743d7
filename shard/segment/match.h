/* Filters on a segment: which rows match. See match.c. */
#ifndef SHARD_SEGMENT_MATCH_H
#define SHARD_SEGMENT_MATCH_H

#include "common/logsql/filter.h"
#include "shard/segment/reader.h"

/* *ret false when nothing in the segment can match: no column need be read. */
TEL_MUST_USE tel_code match_possible(struct segment_reader *reader, const struct tel_filter *filter,
                                     struct tel_arena *arena, bool *ret, struct tel_error *err);

/* bits in: rows to consider; out: those of them that match the query's filter. */
TEL_MUST_USE tel_code match_rows(struct view *view, const struct segment_query *query,
                                 uint64_t *bits, struct tel_error *err);

#endif
