/* See pipe_util.h. */
#include "common/logsql/pipe_util.h"

#include "common/logsql/filter.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"

tel_code tel_pipe_matching(struct tel_stage *stage, const struct tel_filter *filter,
                           const struct tel_block *block, uint64_t **ret, struct tel_error *err)
{
    uint64_t *bitmap =
        TEL_ARENA_ARRAY(&stage->scratch, uint64_t, TEL_BITMAP_WORDS(block->rows) + 1);
    tel_bitmap_fill(bitmap, block->rows);
    *ret = bitmap;
    if (!filter)
        return TEL_OK;
    struct tel_block_view view;
    struct tel_pace pace = tel_stage_pace(stage);
    tel_block_view_init(&view, block, &stage->scratch);
    view.source.pace = &pace;
    return tel_filter_eval(filter, &view.source, bitmap, err);
}

/* What an expression that replaces may take (tel_filter_work). */
#define UPDATE_WORK (TEL_PACE_WORK / 8)

/* ---- changing columns
 * ---------------------------------------------------------------------------- */

void tel_block_edit_init(struct tel_block_edit *edit, const struct tel_block *block,
                         struct tel_arena *arena)
{
    edit->block = *block;
    edit->arena = arena;
    edit->cap = block->column_count + 8;
    edit->columns = TEL_ARENA_ARRAY(arena, struct tel_column, edit->cap);
    if (block->column_count)
        memcpy(edit->columns, block->columns, block->column_count * sizeof *edit->columns);
    edit->block.columns = edit->columns;
}

void tel_block_edit_set(struct tel_block_edit *edit, struct tel_span name,
                        const struct tel_span *values)
{
    for (size_t i = 0; i < edit->block.column_count; i++) {
        if (tel_span_eq(edit->columns[i].name, name)) {
            edit->columns[i].values = values;
            return;
        }
    }
    if (edit->block.column_count == edit->cap) {
        struct tel_column *bigger = TEL_ARENA_ARRAY(edit->arena, struct tel_column, edit->cap * 2);
        memcpy(bigger, edit->columns, edit->cap * sizeof *bigger);
        edit->columns = bigger;
        edit->block.columns = bigger;
        edit->cap *= 2;
    }
    edit->columns[edit->block.column_count++] = (struct tel_column){name, values};
}

void tel_block_edit_drop(struct tel_block_edit *edit, struct tel_span name)
{
    size_t n = 0;
    for (size_t i = 0; i < edit->block.column_count; i++)
        if (!tel_span_eq(edit->columns[i].name, name))
            edit->columns[n++] = edit->columns[i];
    edit->block.column_count = n;
}

struct tel_span *tel_block_edit_values(struct tel_block_edit *edit, struct tel_span name)
{
    struct tel_span *values = TEL_ARENA_ARRAY(edit->arena, struct tel_span, edit->block.rows + 1);
    const struct tel_span *old = tel_block_values(&edit->block, name, edit->arena);
    if (old && edit->block.rows)
        memcpy(values, old, edit->block.rows * sizeof *values);
    return values;
}

struct tel_span tel_text_take(struct tel_arena *arena, struct tel_buf *buf)
{
    struct tel_span s = tel_arena_copy(arena, tel_buf_span(buf));
    tel_buf_clear(buf);
    return s;
}

tel_code tel_pipe_update(struct tel_stage *stage, const struct tel_block *block,
                         const struct tel_filter *condition, struct tel_span from,
                         struct tel_span to, tel_update_fn fn, void *ctx, struct tel_error *err)
{
    uint64_t *bitmap = NULL;
    tel_code rc = condition ? tel_pipe_matching(stage, condition, block, &bitmap, err) : TEL_OK;
    if (rc != TEL_OK)
        return rc;
    struct tel_block_edit edit;
    tel_block_edit_init(&edit, block, &stage->scratch);
    const struct tel_span *in = tel_block_values(block, from, &stage->scratch);
    struct tel_span *out = tel_block_edit_values(&edit, to), last = {0}, last_result = {0};
    struct tel_buf text = {0};
    struct tel_pace pace = tel_stage_pace(stage);
    bool valid = false;
    for (size_t i = 0; i < block->rows && rc == TEL_OK; i++) {
        if (bitmap && !tel_bitmap_get(bitmap, i))
            continue;
        struct tel_span v = in ? in[i] : (struct tel_span){"", 0};
        if (!valid || v.ptr != last.ptr || v.len != last.len) {
            rc = tel_pace_step(&pace, UPDATE_WORK + v.len, err);
            if (rc == TEL_OK)
                rc = fn(ctx, v, &text, err);
            last_result = tel_text_take(&stage->scratch, &text);
            last = v;
            valid = true;
        }
        out[i] = last_result;
    }
    tel_buf_free(&text);
    if (rc != TEL_OK)
        return rc;
    tel_block_edit_set(&edit, to, out);
    return tel_stage_emit(stage, &edit.block, err);
}

void tel_print_if(struct tel_buf *out, const struct tel_filter *condition)
{
    if (!condition)
        return;
    TEL_BUF_ADD_LIT(out, " if (");
    tel_filter_print(out, condition);
    tel_buf_add_char(out, ')');
}

void tel_update_needed(struct tel_fields *fields, const struct tel_filter *condition,
                       struct tel_span from, struct tel_span to)
{
    if (!tel_fields_has(fields, to))
        return;
    if (!condition)
        tel_fields_remove(fields, to);
    else
        tel_filter_fields(condition, fields);
    tel_fields_add(fields, from);
}

/* ---- keeping rows
 * -------------------------------------------------------------------------------- */

void tel_rowset_done(struct tel_rowset *set)
{
    tel_arena_free(&set->arena);
    tel_arena_free(&set->schema_arena);
    set->schemas = NULL;
}

static bool same_schema(const struct tel_row_schema *schema, const struct tel_block *block)
{
    if (schema->count != block->column_count || schema->has_keys != (block->keys != NULL))
        return false;
    for (size_t i = 0; i < schema->count; i++)
        if (schema->from_keys[i] != !block->columns[i].values ||
            !tel_span_eq(schema->names[i], block->columns[i].name))
            return false;
    return true;
}

const struct tel_row_schema *tel_rowset_schema(struct tel_rowset *set,
                                               const struct tel_block *block)
{
    struct tel_row_schema **at = &set->schemas;
    for (; *at; at = &(*at)->next) {
        if (same_schema(*at, block)) {
            struct tel_row_schema *found = *at; /* to the front: blocks come in runs */
            *at = found->next;
            found->next = set->schemas;
            set->schemas = found;
            return found;
        }
    }
    struct tel_row_schema *schema = TEL_ARENA_NEW(&set->schema_arena, struct tel_row_schema);
    schema->has_keys = block->keys != NULL;
    schema->count = block->column_count;
    schema->names = TEL_ARENA_ARRAY(&set->schema_arena, struct tel_span, block->column_count + 1);
    schema->from_keys = TEL_ARENA_ARRAY(&set->schema_arena, bool, block->column_count + 1);
    for (size_t i = 0; i < block->column_count; i++) {
        schema->names[i] = tel_arena_copy(&set->schema_arena, block->columns[i].name);
        schema->from_keys[i] = !block->columns[i].values;
    }
    schema->next = set->schemas;
    set->schemas = schema;
    return schema;
}

void tel_row_copy(struct tel_row *row, const struct tel_row_schema *schema,
                  const struct tel_block *block, size_t index, struct tel_arena *arena,
                  size_t *ret_bytes)
{
    size_t bytes = 0;
    for (size_t i = 0; i < schema->count; i++)
        bytes += block->columns[i].values ? block->columns[i].values[index].len : 0;
    row->schema = schema;
    row->key = block->keys ? block->keys[index] : (struct tel_row_key){0};
    row->values = tel_arena_alloc(arena, (schema->count + 1) * sizeof *row->values);
    char *text = tel_arena_alloc_aligned(arena, bytes + 1, 1);
    for (size_t i = 0; i < schema->count; i++) {
        struct tel_span v = {"", 0};
        if (block->columns[i].values)
            v = block->columns[i].values[index];
        if (v.len)
            memcpy(text, v.ptr, v.len);
        row->values[i] = tel_span_make(text, v.len);
        text += v.len;
    }
    *ret_bytes = bytes + (schema->count + 1) * sizeof *row->values + 16;
}

struct tel_span tel_row_value(const struct tel_row *row, struct tel_span name,
                              char text[TEL_TIME_TEXT_MAX])
{
    for (size_t i = 0; i < row->schema->count; i++) {
        if (!tel_span_eq(row->schema->names[i], name))
            continue;
        if (row->schema->from_keys[i])
            return tel_span_make(text, tel_time_format(text, row->key.time_ns));
        return row->values[i];
    }
    return (struct tel_span){"", 0};
}

#define EMIT_ROWS 1024

/* The columns of the union of the rows' schemas; *ret_map[schema] is not kept, schemas are few. */
static size_t union_columns(struct tel_row *const *rows, size_t count, struct tel_arena *arena,
                            struct tel_column **ret, bool *ret_keys)
{
    size_t n = 0, cap = 0;
    struct tel_column *columns = NULL;
    const struct tel_row_schema *last = NULL;
    *ret_keys = true;
    for (size_t r = 0; r < count; r++) {
        const struct tel_row_schema *schema = rows[r]->schema;
        if (schema == last)
            continue;
        last = schema;
        *ret_keys = *ret_keys && schema->has_keys;
        if (n + schema->count + 1 > cap) {
            cap = (n + schema->count + 1) * 2;
            struct tel_column *bigger = TEL_ARENA_ARRAY(arena, struct tel_column, cap);
            if (n)
                memcpy(bigger, columns, n * sizeof *bigger);
            columns = bigger;
        }
        for (size_t i = 0; i < schema->count; i++) {
            size_t j = 0;
            while (j < n && !tel_span_eq(columns[j].name, schema->names[i]))
                j++;
            if (j == n)
                columns[n++].name = schema->names[i];
        }
    }
    *ret = columns;
    return n;
}

static tel_code emit_chunk(struct tel_stage *stage, struct tel_row *const *rows, size_t count,
                           struct tel_span add_name, const struct tel_span *add_values,
                           struct tel_error *err)
{
    struct tel_arena *arena = &stage->scratch;
    tel_arena_reset(arena);
    bool keyed;
    struct tel_column *columns;
    size_t n = union_columns(rows, count, arena, &columns, &keyed);
    struct tel_span **cells = TEL_ARENA_ARRAY(arena, struct tel_span *, n + 1);
    bool *from_keys = TEL_ARENA_ARRAY(arena, bool, n + 1);
    for (size_t i = 0; i < n; i++) {
        cells[i] = TEL_ARENA_ARRAY(arena, struct tel_span, count);
        from_keys[i] = keyed;
    }
    const struct tel_row_schema *last = NULL;
    size_t *map = NULL;
    for (size_t r = 0; r < count; r++) {
        const struct tel_row_schema *schema = rows[r]->schema;
        if (schema != last) {
            map = TEL_ARENA_ARRAY(arena, size_t, schema->count + 1);
            bool *here = TEL_ARENA_ARRAY(arena, bool, n + 1);
            for (size_t i = 0; i < schema->count; i++) {
                while (!tel_span_eq(columns[map[i]].name, schema->names[i]))
                    map[i]++;
                here[map[i]] = schema->from_keys[i];
            }
            for (size_t i = 0; i < n; i++)
                from_keys[i] = from_keys[i] && here[i];
            last = schema;
        }
        for (size_t i = 0; i < schema->count; i++) {
            struct tel_span v = rows[r]->values[i];
            if (schema->from_keys[i] && !from_keys[map[i]]) {
                char *text = tel_arena_alloc_aligned(arena, TEL_TIME_TEXT_MAX, 1);
                v = tel_span_make(text, tel_time_format(text, rows[r]->key.time_ns));
            }
            cells[map[i]][r] = v;
        }
    }
    struct tel_row_key *keys = keyed ? TEL_ARENA_ARRAY(arena, struct tel_row_key, count) : NULL;
    for (size_t r = 0; keyed && r < count; r++)
        keys[r] = rows[r]->key;
    /* A _time that some rows make from keys and others hold as text is text; rows before the first
     * such one were left without. */
    for (size_t i = 0; i < n; i++) {
        for (size_t r = 0; r < count && !from_keys[i]; r++) {
            const struct tel_row_schema *schema = rows[r]->schema;
            for (size_t k = 0; k < schema->count && cells[i][r].len == 0; k++) {
                if (schema->from_keys[k] && tel_span_eq(schema->names[k], columns[i].name)) {
                    char *text = tel_arena_alloc_aligned(arena, TEL_TIME_TEXT_MAX, 1);
                    cells[i][r] = tel_span_make(text, tel_time_format(text, rows[r]->key.time_ns));
                }
            }
        }
        columns[i].values = from_keys[i] ? NULL : cells[i];
    }
    struct tel_block out = {.rows = count, .keys = keys, .column_count = n, .columns = columns};
    struct tel_block_edit edit;
    if (add_values) {
        tel_block_edit_init(&edit, &out, arena);
        tel_block_edit_set(&edit, add_name, add_values);
        out = edit.block;
    }
    return tel_stage_emit(stage, &out, err);
}

tel_code tel_rows_emit(struct tel_stage *stage, struct tel_row *const *rows, size_t count,
                       struct tel_span add_name, const struct tel_span *add_values,
                       struct tel_error *err)
{
    for (size_t i = 0; i < count; i += EMIT_ROWS) {
        tel_code rc = emit_chunk(stage, rows + i, TEL_MIN(EMIT_ROWS, count - i), add_name,
                                 add_values ? add_values + i : NULL, err);
        if (rc == TEL_OK)
            rc = tel_stage_stopped(stage, err);
        if (rc != TEL_OK || (stage->next && stage->next->done))
            return rc;
    }
    return TEL_OK;
}
