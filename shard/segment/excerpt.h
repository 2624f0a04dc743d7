/*
 * The part of a template's rows that a pattern of `extract` looks at. Where the pattern's texts stand in
 * the template's own text, and cannot stand in a hole, a row is the same to the pattern without what
 * lies before its first text and behind its last one: those holes need not be read, nor be put together.
 */
#ifndef SHARD_SEGMENT_EXCERPT_H
#define SHARD_SEGMENT_EXCERPT_H

#include "shard/segment/plan.h"

struct tel_pattern;

/* What tel_pattern_match makes of a row's body it makes of this part of it too. The whole, if nothing
 * better is known. */
TEL_MUST_USE tel_code excerpt_find(struct view *view, uint32_t number,
                                   const struct tel_pattern *pattern, struct plan_window *ret,
                                   struct tel_error *err);

#endif
