/* See column_read.h. */
#include "shard/segment/column_read.h"

bool shape_read(struct cursor *node, struct read_shape *ret)
{
    size_t start = 0;
    ret->text = cursor_span(node);
    ret->field_count = 0;
    for (size_t k = 0; k < ret->text.len; k++) {
        if (ret->text.ptr[k] != 0)
            continue;
        if (ret->field_count == SHAPE_FIELDS_MAX)
            return false;
        ret->fields[ret->field_count++] =
            (struct read_field){.before = tel_span_slice(ret->text, start, k)};
        start = k + 1;
    }
    ret->behind = tel_span_slice(ret->text, start, ret->text.len);
    return true;
}

static char *put_decimal(char *out, uint64_t v, unsigned width)
{
    char digits[20];
    unsigned n = 0;
    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    for (; width > n; width--)
        *out++ = '0';
    while (n)
        *out++ = digits[--n];
    return out;
}

static char *put_hex(char *out, uint64_t v, unsigned width)
{
    for (unsigned i = 0; i < width; i++) {
        unsigned shift = 4 * (width - 1 - i);
        *out++ = "0123456789abcdef"[shift < 64 ? v >> shift & 15 : 0];
    }
    return out;
}

char *shape_put(char *out, const struct read_shape *shape, size_t i)
{
    for (size_t f = 0; f < shape->field_count; f++) {
        const struct read_field *field = &shape->fields[f];
        out = stream_copy(out, field->before);
        if (field->texts)
            out = stream_copy(out, field->texts[i]);
        else if (field->kind == FIELD_HEX)
            out = put_hex(out, field->numbers[i], field->width);
        else
            out = put_decimal(out, field->numbers[i], field->width);
    }
    return stream_copy(out, shape->behind);
}

size_t shape_put_max(const struct read_shape *shape, size_t i)
{
    size_t bytes = shape->text.len + FIELD_WIDTH_MAX * shape->field_count;
    for (size_t f = 0; f < shape->field_count; f++)
        bytes += shape->fields[f].texts ? shape->fields[f].texts[i].len : 0;
    return bytes;
}

void field_skip(struct cursor *node, unsigned depth)
{
    unsigned kind = cursor_byte(node);
    if (kind == FIELD_TEXT) {
        column_skip(node, depth + 1);
    } else if (kind == FIELD_ID) {
        cursor_varint(node);
    } else if (kind <= FIELD_HEX) {
        if (kind != FIELD_DECIMAL)
            cursor_byte(node);
        ints_skip(node);
    } else {
        cursor_fail(node);
    }
}

static void skip_shapes(struct cursor *node, unsigned depth)
{
    size_t shapes = cursor_bounded(node, SHAPES_MAX);
    if (shapes > 1)
        ints_skip(node);
    for (size_t k = 0; k < shapes && !node->bad; k++) {
        struct tel_span text = cursor_span(node);
        for (size_t i = 0; i < text.len && !node->bad; i++) {
            if (text.ptr[i] == 0)
                field_skip(node, depth);
        }
    }
}

void column_skip(struct cursor *node, unsigned depth)
{
    unsigned kind = cursor_byte(node);
    if (depth > COLUMN_DEPTH_MAX) {
        cursor_fail(node);
    } else if (kind == COLUMN_CONSTANT) {
        cursor_span(node);
    } else if (kind == COLUMN_TEXT) {
        ints_skip(node);
        stream_skip(node);
    } else if (kind == COLUMN_DICTIONARY) {
        cursor_varint(node);
        ints_skip(node);
        column_skip(node, depth + 1);
    } else if (kind == COLUMN_SHAPED) {
        skip_shapes(node, depth);
    } else if (kind == COLUMN_FRAMES) {
        ints_skip(node);
        for (size_t k = cursor_count(node, 2); k && !node->bad; k--) {
            cursor_varint(node);
            stream_skip(node);
        }
    } else {
        cursor_fail(node);
    }
}

bool column_has_ids(struct cursor node)
{
    bool found = false;
    if (cursor_byte(&node) != COLUMN_SHAPED) /* they are fields of a hole's own shapes */
        return false;
    size_t shapes = cursor_bounded(&node, SHAPES_MAX);
    if (shapes > 1)
        ints_skip(&node);
    for (size_t k = 0; k < shapes && !node.bad && !found; k++) {
        struct tel_span text = cursor_span(&node);
        for (size_t i = 0; i < text.len && !node.bad && !found; i++) {
            if (text.ptr[i] != 0)
                continue;
            found = node.pos < node.end && *node.pos == FIELD_ID;
            field_skip(&node, 1);
        }
    }
    return found || node.bad;
}
