/*
 * What stays in memory of segments while their readers come and go: outlines, and filters of words
 * (shard/segment/outline.h). A search holds its filter against them and opens what may answer.
 *
 *     a search ─take─> outline, words ─test─> no row can match, or the rows are counted: no reader
 *                         │  one is missing
 *                         └─> reader, its head read ─learn─> outline, words: kept if there is room
 *
 * One budget for both. When it is used up, filters go first, those of segments that were not used for the
 * longest time, and of those used in the same minute the ones with the oldest events; then outlines, in
 * the same order. A segment that would be the next to go is not taken in, so that searches over more
 * than there is room for leave what there is alone. What is missing is read from the disk again; it is
 * never missed in an answer. Any thread.
 */
#ifndef SHARD_QUERY_RESIDENTS_H
#define SHARD_QUERY_RESIDENTS_H

#include "shard/segment/outline.h"
#include "shard/store/store.h"

struct residents;
struct resident_entry;
struct resident_words;

/* What a search has in its hands of one segment. */
struct resident {
    const struct segment_outline *outline; /* NULL: not there */
    const struct segment_words *words;     /* NULL: not there, or not asked for */
    struct resident_entry *entry;
    struct resident_words *counted;
};

struct residents *residents_new(uint64_t max_bytes);
void residents_free(struct residents *residents); /* all was put back; NULL is fine */

/* What there is. To be put back, whatever it is. */
void residents_take(struct residents *residents, struct store_segment *segment, bool want_words,
                    struct resident *ret);
void residents_put(struct residents *residents, struct resident *resident);
/* Would what is learnt now be kept? */
bool residents_have_room(struct residents *residents, const struct store_segment *segment);
/* Makes what is missing in *resident from a reader of the segment, and keeps it if there is room. On an
 * error *resident is as it was. */
TEL_MUST_USE tel_code residents_learn(struct residents *residents, struct store_segment *segment,
                                      struct segment_reader *reader, bool want_words,
                                      struct resident *resident, struct tel_error *err);
/* Forgets segments that left the catalogue, which could not be deleted otherwise. */
void residents_purge(struct residents *residents);

struct residents_part {
    uint64_t bytes, count, hits, misses, dropped; /* dropped: for want of room */
};
struct residents_stats {
    struct residents_part outlines, words; /* outlines: with the streams that they share */
};
void residents_stats_get(struct residents *residents, struct residents_stats *ret);

#endif
