/*
 * What a search needs of a segment to pass it over, or to count its rows, without opening it: its times,
 * its streams with their numbers of rows, the names of its attributes, and a filter over the words of
 * its templates' texts. With the segment's own filter (words.h), over the words of all that varies, it
 * tells whether a word can be in the segment at all: some kilobytes, and some tenths of a percent of the
 * text, that stay in memory while readers come and go.
 *
 *     head ──segment_outline_make──> outline ┐
 *     filter ──segment_words_copy──> words   ┴─ probe.h: can a row match? ─> no: the next segment
 *
 * Outlines are immutable, counted by who keeps them; any thread may read one.
 */
#ifndef SHARD_SEGMENT_OUTLINE_H
#define SHARD_SEGMENT_OUTLINE_H

#include "shard/segment/format.h"
#include "shard/segment/segment.h"
#include "shard/segment/stream_table.h"
#include "shard/segment/words.h"

struct outline_attribute {
    enum segment_attribute_kind kind;
    struct tel_span name;
};

struct segment_outline {
    struct segment_info info;
    struct stream_table *table;
    struct stream_entry **streams;
    uint32_t *stream_rows; /* by stream; they add up to info.rows */
    uint32_t stream_count, attribute_count;
    struct outline_attribute *attributes;
    struct words_filter texts; /* words of templates */
    uint64_t bytes;            /* of memory, without the streams' entries */
};

/* Of a reader of which no more than the head was read. */
TEL_MUST_USE tel_code segment_outline_make(struct segment_reader *reader,
                                           struct stream_table *table,
                                           struct segment_outline **ret, struct tel_error *err);
void segment_outline_free(struct segment_outline *outline); /* NULL is fine */

/* The segment's filter, copied out of its section. */
struct segment_words {
    struct words_filter filter;
    uint64_t bytes;
    char section[];
};
/* *ret is for free(). */
TEL_MUST_USE tel_code segment_words_copy(struct segment_reader *reader, struct segment_words **ret,
                                         struct tel_error *err);

/* Is the attribute one that gives the field a value? */
bool outline_attribute_gives(const struct outline_attribute *attribute, struct tel_span field);
/* Can anything but labels give this field a value in the segment? */
bool segment_outline_has_values(const struct segment_outline *outline, struct tel_span field);

#endif
