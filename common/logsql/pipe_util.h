/*
 * What several pipes do: rows that match a condition, replacing and adding columns, building
 * columns value by value, keeping rows.
 */
#ifndef TEL_LOGSQL_PIPE_UTIL_H
#define TEL_LOGSQL_PIPE_UTIL_H

#include "common/base/buf.h"
#include "common/logsql/pipe.h"

/* That of a stage's query. */
static inline struct tel_pace tel_stage_pace(const struct tel_stage *stage)
{
    return (struct tel_pace){stage->exec->stop, stage->exec->stop_ctx, 0};
}

/* The rows of a block that match, as a bitmap in the stage's scratch memory; all of them if filter
 * is NULL. */
TEL_MUST_USE tel_code tel_pipe_matching(struct tel_stage *stage, const struct tel_filter *filter,
                                        const struct tel_block *block, uint64_t **ret,
                                        struct tel_error *err);
static inline bool tel_bitmap_get(const uint64_t *bitmap, size_t row)
{
    return bitmap[row / 64] >> row % 64 & 1;
}

/* A block that is being changed: a copy of the columns in scratch, which can be set and dropped. */
struct tel_block_edit {
    struct tel_block block;
    struct tel_column *columns;
    size_t cap;
    struct tel_arena *arena;
};

void tel_block_edit_init(struct tel_block_edit *edit, const struct tel_block *block,
                         struct tel_arena *arena);
/* Sets a column's values (which stay the caller's), adding it if it is new. */
void tel_block_edit_set(struct tel_block_edit *edit, struct tel_span name,
                        const struct tel_span *values);
void tel_block_edit_drop(struct tel_block_edit *edit, struct tel_span name);
/* The values of a column to be written: a copy of what is there, or empty values. */
struct tel_span *tel_block_edit_values(struct tel_block_edit *edit, struct tel_span name);

/* Text made piece by piece in an arena: begin, write into the buffer, end gives the span. */
struct tel_span tel_text_take(struct tel_arena *arena, struct tel_buf *buf);

/* to[row] = fn(from[row]) for the rows that meet the condition (NULL: all); others keep what `to`
 * had. fn writes to out, which is empty. Equal spans in a row are done once. */
typedef tel_code (*tel_update_fn)(void *ctx, struct tel_span value, struct tel_buf *out,
                                  struct tel_error *err);
TEL_MUST_USE tel_code tel_pipe_update(struct tel_stage *stage, const struct tel_block *block,
                                      const struct tel_filter *condition, struct tel_span from,
                                      struct tel_span to, tel_update_fn fn, void *ctx,
                                      struct tel_error *err);
/* ` if (<filter>)`, or nothing. */
void tel_print_if(struct tel_buf *out, const struct tel_filter *condition);
/* What such a pipe needs: `to` no more, unless some rows keep it; `from` and the condition. */
void tel_update_needed(struct tel_fields *fields, const struct tel_filter *condition,
                       struct tel_span from, struct tel_span to);

/* Rows that a pipe keeps, with blocks of different columns among them. */
struct tel_row_schema {
    struct tel_row_schema *next;
    bool has_keys;
    size_t count;
    struct tel_span *names;
    bool *from_keys; /* _time, made from the key */
};

struct tel_row {
    const struct tel_row_schema *schema;
    struct tel_row_key key;
    struct tel_span *values;
};

struct tel_rowset {
    struct tel_arena arena;
    struct tel_arena schema_arena;
    struct tel_row_schema *schemas;
};

void tel_rowset_done(struct tel_rowset *set);
const struct tel_row_schema *tel_rowset_schema(struct tel_rowset *set,
                                               const struct tel_block *block);
/* Copies a row of a block into arena; *ret_bytes is what it costs. */
void tel_row_copy(struct tel_row *row, const struct tel_row_schema *schema,
                  const struct tel_block *block, size_t index, struct tel_arena *arena,
                  size_t *ret_bytes);
/* The value of a field, _time as text; empty when the row has none. */
struct tel_span tel_row_value(const struct tel_row *row, struct tel_span name,
                              char text[TEL_TIME_TEXT_MAX]);
/* Emits rows in their order, as blocks whose columns are the union of theirs. add: a column with a
 * value per row, or NULL. */
TEL_MUST_USE tel_code tel_rows_emit(struct tel_stage *stage, struct tel_row *const *rows,
                                    size_t count, struct tel_span add_name,
                                    const struct tel_span *add_values, struct tel_error *err);

#endif
