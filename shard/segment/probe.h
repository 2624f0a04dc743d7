/*
 * A filter held against outlines: may a row of the segment match, do all, or none? What it says is what
 * the plan of an open segment would say at best, with less to go by; it never says "none" or "all" where
 * that is not so.
 *
 *     words of a condition     in the segment's filter or in a template's text, each of them, or no row
 *     labels, streams          asked once a stream and search, and remembered
 *     time                     held against the segment's own
 *
 * A probe belongs to one thread of one search: it remembers what it asked.
 */
#ifndef SHARD_SEGMENT_PROBE_H
#define SHARD_SEGMENT_PROBE_H

#include "common/logsql/filter.h"
#include "shard/segment/outline.h"

enum probe_verdict { PROBE_NONE, PROBE_MAYBE, PROBE_ALL };

struct segment_probe;

/* Lives in arena, as the filter must for as long. */
struct segment_probe *segment_probe_new(const struct tel_filter *filter, struct tel_arena *arena);

/* Does the segment's filter of words matter to it? */
bool segment_probe_wants_words(const struct segment_probe *probe);
/* words NULL: they are not known. */
enum probe_verdict segment_probe_test(struct segment_probe *probe,
                                      const struct segment_outline *outline,
                                      const struct segment_words *words);
/* What told PROBE_NONE, as the plan of an open segment counts it. */
uint64_t *segment_probe_reason(struct segment_probe *probe, const struct segment_outline *outline,
                               const struct segment_words *words, struct segment_explain *explain);
/* ret[i]: do the rows of the i-th stream match? False if more than the stream must be known. */
bool segment_probe_streams(struct segment_probe *probe, const struct segment_outline *outline,
                           bool *ret);

#endif
