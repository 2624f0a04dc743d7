/*
 * A block: rows as columns, the unit in which data moves from segments and memory through filters
 * and pipes to the answer. Every value is text, as LogsQL has it; an empty value is an absent
 * field.
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
#include "common/base/pace.h"
#include "common/base/span.h"
#include "common/base/timefmt.h"

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

/* values NULL: the column is _time, made from the keys when somebody wants its text
 * (tel_column_value). A block shows exactly its columns: rows without a _time column have keys for
 * their order only. */
struct tel_column {
    struct tel_span name;
    const struct tel_span *values; /* rows of them */
};

struct tel_block {
    size_t rows;
    const struct tel_row_key *keys; /* NULL once the rows are no events any more (behind stats) */
    size_t column_count;
    const struct tel_column *columns;
    /* NULL: a row is one event. Else row i stands for hits[i] events that are alike in its columns;
     * only pipes that say so are given such blocks (tel_pipe_counts). */
    const uint64_t *hits;
};

static inline uint64_t tel_block_hits(const struct tel_block *block, size_t row)
{
    return block->hits ? block->hits[row] : 1;
}

/* The column called name, or NULL. */
const struct tel_column *tel_block_column(const struct tel_block *block, struct tel_span name);

/* Rows that can be asked for columns one by one. Spans that it hands out live as long as `arena`
 * below or the source's own memory, whichever it says. */
struct tel_block_source {
    const struct tel_block_source_ops *ops;
    size_t rows;
    const struct tel_row_key *keys;
    struct tel_arena *arena; /* for what is made on demand */
    struct tel_pace *pace;   /* of whoever works through it; NULL: nothing stops that */
};

struct tel_block_source_ops {
    /* The values of `name` (any field, or _msg, _stream, _stream_id, but not _time) for all rows;
     * *ret_values NULL when no row has it. */
    tel_code (*column)(struct tel_block_source *src, struct tel_span name,
                       const struct tel_span **ret_values, struct tel_error *err);
    /* The names of all columns that at least one row has, in *ret_names[0..*ret_count). */
    tel_code (*names)(struct tel_block_source *src, const struct tel_span **ret_names,
                      size_t *ret_count, struct tel_error *err);
    /* Whether every row has a value of `name` (as of `column`), if that is told without making them:
     * *ret_all false says that it is not known. May be NULL. */
    tel_code (*filled)(struct tel_block_source *src, struct tel_span name, bool *ret_all,
                       struct tel_error *err);
};

/* The text of a value; times are written to `text`. */
struct tel_span tel_column_value(const struct tel_block *block, const struct tel_column *column,
                                 size_t row, char text[TEL_TIME_TEXT_MAX]);

/* The values of a column as text, those of _time made in arena; NULL when the block has no such
 * column. */
const struct tel_span *tel_block_values(const struct tel_block *block, struct tel_span name,
                                        struct tel_arena *arena);

/* A row as a JSON object of its non-empty fields. False, with nothing added, if all are empty: such
 * rows are not shown. */
struct tel_buf;
bool tel_block_print_row(struct tel_buf *out, const struct tel_block *block, size_t row);
/* The same for JSON inside a value (tel_json_embed). */
bool tel_block_embed_row(struct tel_buf *out, const struct tel_block *block, size_t row);

/* A block as a source, for filters behind pipes; lives as long as both. Its keys are those of the
 * block if its _time is made from them. */
struct tel_block_view {
    struct tel_block_source source;
    const struct tel_block *block;
};
void tel_block_view_init(struct tel_block_view *view, const struct tel_block *block,
                         struct tel_arena *arena);

/* The rows of a source as a block, with those columns that `fields` has (_time included); rows
 * whose bit is unset are left out if bitmap is not NULL. Lives as long as the source and arena. */
struct tel_fields;
TEL_MUST_USE tel_code tel_block_from_source(struct tel_block_source *src, const uint64_t *bitmap,
                                            const struct tel_fields *fields,
                                            struct tel_arena *arena, struct tel_block *ret,
                                            struct tel_error *err);
/* The rows of a block whose bits are set. */
void tel_block_select(const struct tel_block *block, const uint64_t *bitmap,
                      struct tel_arena *arena, struct tel_block *ret);
size_t tel_bitmap_count(const uint64_t *bitmap, size_t rows);
/* All bits of the first `rows` set, the rest zero. */
void tel_bitmap_fill(uint64_t *bitmap, size_t rows);

/* Bitmaps over rows: (rows + 63) / 64 words, unused bits zero. */
#define TEL_BITMAP_WORDS(rows) (((rows) + 63) / 64)

#endif
