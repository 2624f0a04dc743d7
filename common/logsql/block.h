/*
 * A block: rows as columns, the unit in which data moves from segments and memory through filters
 * and pipes to the answer. Every value is text, as LogsQL has it; an empty value is an absent field.
 *
 *     keys[0..rows)    time, partition, offset, index: the exact order of events
 *     columns          name -> values[0..rows)
 *
 * A block source makes columns on demand, so that a filter or a pipe touches only what it names.
 */
#ifndef TEL_LOGSQL_BLOCK_H
#define TEL_LOGSQL_BLOCK_H

#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/base/span.h"

/* Where an event stands. Answers are ordered by time, then partition, offset, index, so that
 * paging is exact. */
struct tel_row_key {
    int64_t time_ns;
    uint32_t partition;
    uint32_t index; /* in its message */
    int64_t offset;
};

int tel_row_key_cmp(const struct tel_row_key *a, const struct tel_row_key *b);

/* The special names. _time is never stored as text: it is made from the keys. */
#define TEL_FIELD_MSG       "_msg"
#define TEL_FIELD_TIME      "_time"
#define TEL_FIELD_STREAM    "_stream"
#define TEL_FIELD_STREAM_ID "_stream_id"

struct tel_column {
    struct tel_span name;
    const struct tel_span *values; /* rows of them */
};

struct tel_block {
    size_t rows;
    const struct tel_row_key *keys; /* NULL once the rows are no events any more (behind stats) */
    size_t column_count;
    const struct tel_column *columns;
};

/* The column called name, or NULL. */
const struct tel_column *tel_block_column(const struct tel_block *block, struct tel_span name);

/* Rows that can be asked for columns one by one. Spans that it hands out live as long as `arena`
 * below or the source's own memory, whichever it says. */
struct tel_block_source {
    const struct tel_block_source_ops *ops;
    size_t rows;
    const struct tel_row_key *keys;
    struct tel_arena *arena; /* for what is made on demand */
};

struct tel_block_source_ops {
    /* The values of `name` (any field, or _msg, _stream, _stream_id, but not _time) for all rows;
     * *ret_values NULL when no row has it. */
    tel_code (*column)(struct tel_block_source *src, struct tel_span name,
                       const struct tel_span **ret_values, struct tel_error *err);
    /* The names of all columns that at least one row has, in *ret_names[0..*ret_count). */
    tel_code (*names)(struct tel_block_source *src, const struct tel_span **ret_names,
                      size_t *ret_count, struct tel_error *err);
};

/* Bitmaps over rows: (rows + 63) / 64 words, unused bits zero. */
#define TEL_BITMAP_WORDS(rows) (((rows) + 63) / 64)

#endif
