/* See block.h. */
#include "common/logsql/block.h"

#include "common/base/buf.h"
#include "common/logsql/fields.h"
#include "common/logsql/json.h"

int tel_row_key_cmp(const struct tel_row_key *a, const struct tel_row_key *b)
{
    if (a->time_ns != b->time_ns)
        return a->time_ns < b->time_ns ? -1 : 1;
    if (a->partition != b->partition)
        return a->partition < b->partition ? -1 : 1;
    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

const struct tel_column *tel_block_column(const struct tel_block *block, struct tel_span name)
{
    for (size_t i = 0; i < block->column_count; i++)
        if (tel_span_eq(block->columns[i].name, name))
            return &block->columns[i];
    return NULL;
}

struct tel_span tel_column_value(const struct tel_block *block, const struct tel_column *column,
                                 size_t row, char text[TEL_TIME_TEXT_MAX])
{
    if (column->values)
        return column->values[row];
    return tel_span_make(text, tel_time_format(text, block->keys[row].time_ns));
}

static const struct tel_span *time_values(const struct tel_row_key *keys, size_t rows,
                                          struct tel_arena *arena)
{
    struct tel_span *values = TEL_ARENA_ARRAY(arena, struct tel_span, rows + 1);
    for (size_t i = 0; i < rows; i++) {
        if (i > 0 && keys[i].time_ns == keys[i - 1].time_ns) {
            values[i] = values[i - 1];
            continue;
        }
        char *text = tel_arena_alloc_aligned(arena, TEL_TIME_TEXT_MAX, 1);
        values[i] = tel_span_make(text, tel_time_format(text, keys[i].time_ns));
    }
    return values;
}

const struct tel_span *tel_block_values(const struct tel_block *block, struct tel_span name,
                                        struct tel_arena *arena)
{
    const struct tel_column *column = tel_block_column(block, name);
    if (!column)
        return NULL;
    return column->values ? column->values : time_values(block->keys, block->rows, arena);
}

static bool print_row(struct tel_buf *out, const struct tel_block *block, size_t row,
                      void (*add)(struct tel_buf *out, struct tel_span s))
{
    size_t start = out->len;
    char text[TEL_TIME_TEXT_MAX];
    for (size_t i = 0; i < block->column_count; i++) {
        struct tel_span value = tel_column_value(block, &block->columns[i], row, text);
        if (value.len == 0)
            continue;
        tel_buf_add_char(out, out->len == start ? '{' : ',');
        add(out, block->columns[i].name);
        tel_buf_add_char(out, ':');
        add(out, value);
    }
    if (out->len == start)
        return false;
    tel_buf_add_char(out, '}');
    return true;
}

bool tel_block_print_row(struct tel_buf *out, const struct tel_block *block, size_t row)
{
    return print_row(out, block, row, tel_buf_add_json);
}

bool tel_block_embed_row(struct tel_buf *out, const struct tel_block *block, size_t row)
{
    return print_row(out, block, row, tel_json_embed);
}

/* ---- a block as a source ------------------------------------------------------------------------
 */

static tel_code view_column(struct tel_block_source *src, struct tel_span name,
                            const struct tel_span **ret_values, struct tel_error *err)
{
    const struct tel_block_view *view = TEL_CONTAINER_OF(src, struct tel_block_view, source);
    (void)err;
    *ret_values = tel_block_values(view->block, name, src->arena);
    return TEL_OK;
}

static tel_code view_names(struct tel_block_source *src, const struct tel_span **ret_names,
                           size_t *ret_count, struct tel_error *err)
{
    const struct tel_block_view *view = TEL_CONTAINER_OF(src, struct tel_block_view, source);
    (void)err;
    struct tel_span *names =
        TEL_ARENA_ARRAY(src->arena, struct tel_span, view->block->column_count + 1);
    for (size_t i = 0; i < view->block->column_count; i++)
        names[i] = view->block->columns[i].name;
    *ret_names = names;
    *ret_count = view->block->column_count;
    return TEL_OK;
}

void tel_block_view_init(struct tel_block_view *view, const struct tel_block *block,
                         struct tel_arena *arena)
{
    static const struct tel_block_source_ops ops = {.column = view_column, .names = view_names};
    const struct tel_column *time = tel_block_column(block, TEL_SPAN(TEL_FIELD_TIME));
    *view = (struct tel_block_view){
        .source = {.ops = &ops,
                   .rows = block->rows,
                   .keys = time && !time->values ? block->keys : NULL,
                   .arena = arena},
        .block = block,
    };
}

/* ---- selecting rows
 * ------------------------------------------------------------------------------ */

size_t tel_bitmap_count(const uint64_t *bitmap, size_t rows)
{
    size_t n = 0;
    for (size_t i = 0; i < TEL_BITMAP_WORDS(rows); i++)
        n += (size_t)__builtin_popcountll(bitmap[i]);
    return n;
}

void tel_bitmap_fill(uint64_t *bitmap, size_t rows)
{
    size_t words = TEL_BITMAP_WORDS(rows);
    memset(bitmap, 0xff, words * sizeof *bitmap);
    if (rows % 64)
        bitmap[words - 1] = (UINT64_C(1) << rows % 64) - 1;
}

static const struct tel_row_key *select_keys(const struct tel_row_key *keys, size_t rows,
                                             const uint64_t *bitmap, size_t count,
                                             struct tel_arena *arena)
{
    if (!keys)
        return NULL;
    struct tel_row_key *out = TEL_ARENA_ARRAY(arena, struct tel_row_key, count + 1);
    size_t n = 0;
    for (size_t w = 0; w < TEL_BITMAP_WORDS(rows); w++)
        for (uint64_t bits = bitmap[w]; bits; bits &= bits - 1)
            out[n++] = keys[w * 64 + (size_t)__builtin_ctzll(bits)];
    return out;
}

static const struct tel_span *select_values(const struct tel_span *values, size_t rows,
                                            const uint64_t *bitmap, size_t count,
                                            struct tel_arena *arena)
{
    struct tel_span *out = tel_arena_alloc(arena, (count + 1) * sizeof *out);
    size_t n = 0;
    for (size_t w = 0; w < TEL_BITMAP_WORDS(rows); w++)
        for (uint64_t bits = bitmap[w]; bits; bits &= bits - 1)
            out[n++] = values[w * 64 + (size_t)__builtin_ctzll(bits)];
    return out;
}

static const uint64_t *select_hits(const uint64_t *hits, size_t rows, const uint64_t *bitmap,
                                   size_t count, struct tel_arena *arena)
{
    if (!hits)
        return NULL;
    uint64_t *out = TEL_ARENA_ARRAY(arena, uint64_t, count + 1);
    size_t n = 0;
    for (size_t w = 0; w < TEL_BITMAP_WORDS(rows); w++)
        for (uint64_t bits = bitmap[w]; bits; bits &= bits - 1)
            out[n++] = hits[w * 64 + (size_t)__builtin_ctzll(bits)];
    return out;
}

void tel_block_select(const struct tel_block *block, const uint64_t *bitmap,
                      struct tel_arena *arena, struct tel_block *ret)
{
    size_t count = tel_bitmap_count(bitmap, block->rows);
    if (count == block->rows) {
        *ret = *block;
        return;
    }
    struct tel_column *columns = TEL_ARENA_ARRAY(arena, struct tel_column, block->column_count + 1);
    for (size_t i = 0; i < block->column_count; i++) {
        columns[i] = block->columns[i];
        if (columns[i].values)
            columns[i].values = select_values(columns[i].values, block->rows, bitmap, count, arena);
    }
    *ret = (struct tel_block){
        .rows = count,
        .keys = select_keys(block->keys, block->rows, bitmap, count, arena),
        .column_count = block->column_count,
        .columns = columns,
        .hits = select_hits(block->hits, block->rows, bitmap, count, arena),
    };
}

tel_code tel_block_from_source(struct tel_block_source *src, const uint64_t *bitmap,
                               const struct tel_fields *fields, struct tel_arena *arena,
                               struct tel_block *ret, struct tel_error *err)
{
    size_t count = bitmap ? tel_bitmap_count(bitmap, src->rows) : src->rows, name_count, n = 0;
    const struct tel_span *names;
    tel_code rc = src->ops->names(src, &names, &name_count, err);
    if (rc != TEL_OK)
        return rc;
    struct tel_column *columns = TEL_ARENA_ARRAY(arena, struct tel_column, name_count + 1);
    if (src->keys && tel_fields_has(fields, TEL_SPAN(TEL_FIELD_TIME)))
        columns[n++].name = TEL_SPAN(TEL_FIELD_TIME);
    for (size_t i = 0; i < name_count; i++) {
        const struct tel_span *values = NULL;
        if (!tel_fields_has(fields, names[i]) ||
            (src->keys && tel_span_eq_cstr(names[i], TEL_FIELD_TIME)))
            continue;
        rc = src->ops->column(src, names[i], &values, err);
        if (rc != TEL_OK)
            return rc;
        if (!values)
            continue;
        columns[n].name = names[i];
        columns[n++].values =
            count == src->rows ? values : select_values(values, src->rows, bitmap, count, arena);
    }
    *ret = (struct tel_block){
        .rows = count,
        .keys = count == src->rows ? src->keys
                                   : select_keys(src->keys, src->rows, bitmap, count, arena),
        .column_count = n,
        .columns = columns,
    };
    return TEL_OK;
}
