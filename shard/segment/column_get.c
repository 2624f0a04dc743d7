/* Reading columns; see column.h. Nothing read here is trusted: kinds, counts, codes and the size of
 * what values grow to are all checked. */
#include "shard/segment/column_read.h"

static tel_code get_column(struct stream_reader *r, struct cursor *node, size_t n,
                           const struct column_ids *ids, unsigned depth, struct tel_span *ret,
                           struct tel_error *err);

static tel_code get_numbers(struct stream_reader *r, struct cursor *node, size_t n, uint64_t **ret,
                            struct tel_error *err)
{
    *ret = tel_arena_alloc(r->arena, (n + 1) * sizeof(**ret));
    return ints_get(r, node, n, *ret, err);
}

/* lens[0..n) cut `text` into values. */
static tel_code cut(const uint64_t *lens, size_t n, struct tel_span text, struct tel_span *ret,
                    struct tel_error *err)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (lens[i] > text.len - at)
            return segment_corrupt(err, "lengths of texts");
        ret[i] = tel_span_make(text.ptr + at, (size_t)lens[i]);
        at += lens[i];
    }
    return at == text.len ? TEL_OK : segment_corrupt(err, "lengths of texts");
}

static tel_code get_text(struct stream_reader *r, struct cursor *node, size_t n,
                         struct tel_span *ret, struct tel_error *err)
{
    uint64_t *lens;
    struct tel_span text;
    tel_code rc = get_numbers(r, node, n, &lens, err);
    if (rc == TEL_OK)
        rc = stream_get(r, node, &text, err);
    return rc == TEL_OK ? cut(lens, n, text, ret, err) : rc;
}

static tel_code get_frames(struct stream_reader *r, struct cursor *node, size_t n,
                           struct tel_span *ret, struct tel_error *err)
{
    uint64_t *lens;
    tel_code rc = get_numbers(r, node, n, &lens, err);
    if (rc != TEL_OK)
        return rc;
    size_t frames = cursor_count(node, 2), done = 0;
    for (size_t i = 0; i < frames; i++) {
        struct tel_span text;
        size_t rows = cursor_bounded(node, n - done);
        rc = stream_get(r, node, &text, err);
        if (rc == TEL_OK)
            rc = cut(lens + done, rows, text, ret + done, err);
        if (rc != TEL_OK)
            return rc;
        done += rows;
    }
    return done == n ? TEL_OK : segment_corrupt(err, "rows of frames");
}

static tel_code read_dictionary(struct stream_reader *r, struct cursor *node, size_t n,
                                unsigned depth, uint64_t **ret_codes, struct tel_span **ret_values,
                                size_t *ret_count, struct tel_error *err)
{
    size_t count = cursor_bounded(node, n);
    uint64_t *codes;
    tel_code rc = get_numbers(r, node, n, &codes, err);
    if (rc != TEL_OK)
        return rc;
    for (size_t i = 0; i < n; i++) {
        if (codes[i] >= count)
            return segment_corrupt(err, "a code of a dictionary");
    }
    *ret_codes = codes;
    *ret_values = tel_arena_alloc(r->arena, (count + 1) * sizeof(**ret_values));
    *ret_count = count;
    return get_column(r, node, count, NULL, depth, *ret_values, err);
}

static tel_code get_dictionary(struct stream_reader *r, struct cursor *node, size_t n,
                               unsigned depth, struct tel_span *ret, struct tel_error *err)
{
    uint64_t *codes;
    struct tel_span *values;
    size_t count;
    tel_code rc = read_dictionary(r, node, n, depth, &codes, &values, &count, err);
    for (size_t i = 0; i < n && rc == TEL_OK; i++)
        ret[i] = values[codes[i]];
    return rc;
}

static tel_code get_field(struct stream_reader *r, struct cursor *node, struct read_shape *shape,
                          struct read_field *field, const struct column_ids *ids, const size_t *rows,
                          unsigned depth, struct tel_error *err)
{
    size_t n = shape->count;
    unsigned kind = cursor_byte(node);
    tel_code rc;
    field->kind = (enum field_kind)kind;
    if (kind <= FIELD_HEX) {
        uint64_t *numbers;
        field->width = kind == FIELD_DECIMAL ? 0 : cursor_byte(node);
        if (field->width > FIELD_WIDTH_MAX)
            return segment_corrupt(err, "width of a field");
        rc = get_numbers(r, node, n, &numbers, err);
        field->numbers = numbers;
        return rc;
    }
    struct tel_span *texts = tel_arena_alloc(r->arena, (n + 1) * sizeof(*texts));
    field->texts = texts;
    if (kind == FIELD_TEXT)
        return get_column(r, node, n, NULL, depth, texts, err);
    if (kind != FIELD_ID)
        return segment_corrupt(err, "kind of a field");
    uint64_t slot = cursor_varint(node);
    if (!ids || slot >= ids->slots)
        return segment_corrupt(err, "slot of an id");
    for (size_t i = 0; i < n; i++)
        texts[i] = ids->entries[ids->starts[rows[i]] + slot];
    return TEL_OK;
}

/* Puts the values of a shape together. */
static tel_code assemble(struct stream_reader *r, const struct read_shape *shape, const size_t *rows,
                         struct tel_span *ret, struct tel_error *err)
{
    if (shape->field_count == 1 && shape->text.len == 1 && shape->fields[0].texts) {
        for (size_t i = 0; i < shape->count; i++)
            ret[rows[i]] = shape->fields[0].texts[i];
        return TEL_OK;
    }
    uint64_t bytes = (shape->text.len + FIELD_WIDTH_MAX * shape->field_count) * shape->count;
    for (size_t f = 0; f < shape->field_count; f++) {
        for (size_t i = 0; shape->fields[f].texts && i < shape->count; i++)
            bytes += shape->fields[f].texts[i].len;
    }
    if (bytes > VALUES_BYTES_MAX)
        return segment_corrupt(err, "values are too long");
    char *out = tel_arena_alloc_aligned(r->arena, (size_t)bytes + STREAM_SLACK, 1);
    for (size_t i = 0; i < shape->count; i++) {
        char *end = shape_put(out, shape, i);
        ret[rows[i]] = tel_span_make(out, (size_t)(end - out));
        out = end;
    }
    return TEL_OK;
}

static tel_code get_shape(struct stream_reader *r, struct cursor *node, struct read_shape *shape,
                          const size_t *rows, const struct column_ids *ids, unsigned depth,
                          struct tel_span *ret, struct tel_error *err)
{
    if (!shape_read(node, shape))
        return segment_corrupt(err, "fields of a shape");
    for (size_t f = 0; f < shape->field_count; f++) {
        tel_code rc = get_field(r, node, shape, &shape->fields[f], ids, rows, depth, err);
        if (rc != TEL_OK)
            return rc;
    }
    return node->bad ? segment_corrupt(err, "a shape is cut short")
                     : assemble(r, shape, rows, ret, err);
}

static tel_code get_shaped(struct stream_reader *r, struct cursor *node, size_t n,
                           const struct column_ids *ids, unsigned depth, struct tel_span *ret,
                           struct tel_error *err)
{
    size_t shapes = cursor_bounded(node, n < SHAPES_MAX ? n : SHAPES_MAX);
    if (shapes == 0)
        return segment_corrupt(err, "number of shapes");
    uint64_t *codes = NULL;
    if (shapes > 1) {
        tel_code rc = get_numbers(r, node, n, &codes, err);
        if (rc != TEL_OK)
            return rc;
    }
    size_t *counts = tel_arena_calloc(r->arena, shapes + 1, sizeof(*counts));
    for (size_t i = 0; i < n; i++) {
        if (codes && codes[i] >= shapes)
            return segment_corrupt(err, "a code of a shape");
        counts[(codes ? codes[i] : 0) + 1]++;
    }
    for (size_t k = 0; k < shapes; k++)
        counts[k + 1] += counts[k];
    size_t *rows = tel_arena_alloc(r->arena, (n + 1) * sizeof(*rows));
    size_t *next = tel_arena_alloc(r->arena, shapes * sizeof(*next));
    memcpy(next, counts, shapes * sizeof(*next));
    for (size_t i = 0; i < n; i++)
        rows[next[codes ? codes[i] : 0]++] = i;
    struct read_shape *shape = tel_arena_alloc(r->arena, sizeof(*shape));
    for (size_t k = 0; k < shapes; k++) {
        shape->count = counts[k + 1] - counts[k];
        tel_code rc = get_shape(r, node, shape, rows + counts[k], ids, depth, ret, err);
        if (rc != TEL_OK)
            return rc;
    }
    return TEL_OK;
}

static tel_code get_column(struct stream_reader *r, struct cursor *node, size_t n,
                           const struct column_ids *ids, unsigned depth, struct tel_span *ret,
                           struct tel_error *err)
{
    if (depth > COLUMN_DEPTH_MAX)
        return segment_corrupt(err, "columns nest too deep");
    switch (cursor_byte(node)) {
    case COLUMN_CONSTANT: {
        struct tel_span value = cursor_span(node);
        if (node->bad)
            return segment_corrupt(err, "a constant is cut short");
        for (size_t i = 0; i < n; i++)
            ret[i] = value;
        return TEL_OK;
    }
    case COLUMN_TEXT:
        return get_text(r, node, n, ret, err);
    case COLUMN_DICTIONARY:
        return get_dictionary(r, node, n, depth + 1, ret, err);
    case COLUMN_SHAPED:
        return get_shaped(r, node, n, ids, depth + 1, ret, err);
    case COLUMN_FRAMES:
        return get_frames(r, node, n, ret, err);
    default:
        return segment_corrupt(err, "kind of a column");
    }
}

tel_code column_codes(struct stream_reader *r, struct cursor *node, size_t n, uint64_t **ret_codes,
                      struct tel_span **ret_values, size_t *ret_count, bool *ret_coded,
                      struct tel_error *err)
{
    unsigned kind = cursor_byte(node);
    *ret_coded = kind == COLUMN_CONSTANT || kind == COLUMN_DICTIONARY;
    if (!*ret_coded)
        return TEL_OK;
    if (kind == COLUMN_DICTIONARY)
        return read_dictionary(r, node, n, 1, ret_codes, ret_values, ret_count, err);
    *ret_codes = NULL;
    *ret_values = tel_arena_alloc(r->arena, sizeof(**ret_values));
    **ret_values = cursor_span(node);
    *ret_count = 1;
    return node->bad ? segment_corrupt(err, "a constant is cut short") : TEL_OK;
}

tel_code column_get(struct stream_reader *r, struct cursor *node, size_t n,
                    const struct column_ids *ids, struct tel_span *ret, struct tel_error *err)
{
    return get_column(r, node, n, ids, 0, ret, err);
}
