/*
 * Streams, each kept once, however many segments it is in: a segment's outline refers to entries here.
 * Counted; safe for any thread. An entry's number is small, so that who looks at many segments keeps
 * what it found out about a stream in an array, and its serial tells whether that was of this stream:
 * numbers are given again, serials never.
 */
#ifndef SHARD_SEGMENT_STREAM_TABLE_H
#define SHARD_SEGMENT_STREAM_TABLE_H

#include "common/base/error.h"
#include "shard/segment/events.h"

struct stream_table;

struct stream_entry {
    struct segment_stream stream;
    uint64_t serial;
    uint32_t number;
};

struct stream_table *stream_table_new(void);
void stream_table_free(struct stream_table *table); /* every entry was put back; NULL is fine */

/* The entry of the stream with these labels, as a segment's directory has them (their number, then name
 * and value of each). TEL_ERR_CORRUPT: they cannot be read. */
TEL_MUST_USE tel_code stream_table_take(struct stream_table *table, struct tel_span labels,
                                        struct stream_entry **ret, struct tel_error *err);
/* Gives so many entries back. */
void stream_table_put(struct stream_table *table, struct stream_entry *const *entries, size_t count);
/* Bytes of all entries. */
uint64_t stream_table_bytes(struct stream_table *table);

#endif
