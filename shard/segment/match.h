/* Which rows match a planned filter. See match.c. */
#ifndef SHARD_SEGMENT_MATCH_H
#define SHARD_SEGMENT_MATCH_H

#include "shard/segment/plan.h"

/* bits, by place, in: rows to consider; out: those of them that match, or, if the query wants only
 * the newest so many, at least the newest so many of them. */
TEL_MUST_USE tel_code match_rows(struct view *view, const struct plan *plan,
                                 const struct segment_query *query, uint64_t *bits,
                                 struct tel_error *err);

#endif
