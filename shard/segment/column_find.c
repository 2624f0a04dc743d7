/*
 * Which columns may hold some bytes; see column_may_hold. Shapes are looked at by their text alone: a
 * run of letters that are no hex digits never reaches from a shape's text into a field, since fields
 * are digits, hex digits, or whole words.
 */
#include "common/logsql/words.h"
#include "shard/segment/column.h"

struct finding {
    struct stream_reader *r;
    struct tel_span bytes;
    struct tel_span letters; /* the longest run of letters in it that no number holds */
    struct tel_error *err;
};

static bool is_plain_letter(char c)
{
    unsigned char u = (unsigned char)c;
    return split_is_word[u] && !(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f');
}

static struct tel_span longest_letters(struct tel_span s)
{
    struct tel_span best = {"", 0};
    for (size_t i = 0; i < s.len; i++) {
        size_t start = i;
        while (i < s.len && is_plain_letter(s.ptr[i]))
            i++;
        if (i - start > best.len)
            best = tel_span_slice(s, start, i);
    }
    return best;
}

static bool holds(struct tel_span text, struct tel_span bytes)
{
    return tel_words_find_bytes(text, bytes, 0) != SIZE_MAX;
}

static tel_code find_column(const struct finding *f, struct cursor *node, size_t n,
                            struct tel_span bytes, unsigned depth, bool *ret);

static tel_code find_shape(const struct finding *f, struct cursor *node, size_t n, unsigned depth,
                           bool *ret)
{
    struct tel_span text = cursor_span(node);
    if (f->letters.len == 0 || holds(text, f->letters))
        *ret = true;
    for (size_t k = 0; k < text.len && !node->bad; k++) {
        if (text.ptr[k] != 0)
            continue;
        unsigned kind = cursor_byte(node);
        if (kind <= FIELD_HEX) {
            if (kind != FIELD_DECIMAL)
                cursor_byte(node);
            ints_skip(node);
        } else if (kind == FIELD_ID) {
            cursor_varint(node);
        } else if (kind == FIELD_TEXT) {
            /* how many values the field has is not known here, and does not matter */
            tel_code rc = find_column(f, node, n, f->letters, depth, ret);
            if (rc != TEL_OK)
                return rc;
        } else {
            return segment_corrupt(f->err, "kind of a field");
        }
    }
    return TEL_OK;
}

static tel_code find_shapes(const struct finding *f, struct cursor *node, size_t n, unsigned depth,
                            bool *ret)
{
    size_t shapes = cursor_bounded(node, n < SHAPES_MAX ? n : SHAPES_MAX);
    if (shapes > 1)
        ints_skip(node);
    for (size_t k = 0; k < shapes && !node->bad; k++) {
        tel_code rc = find_shape(f, node, n, depth, ret);
        if (rc != TEL_OK)
            return rc;
    }
    return TEL_OK;
}

static tel_code find_stream(const struct finding *f, struct cursor *node, struct tel_span bytes,
                            bool *ret)
{
    struct tel_span text;
    if (*ret) {
        stream_skip(node);
        return TEL_OK;
    }
    tel_code rc = stream_get(f->r, node, &text, f->err);
    if (rc == TEL_OK)
        *ret = holds(text, bytes);
    return rc;
}

static tel_code find_column(const struct finding *f, struct cursor *node, size_t n,
                            struct tel_span bytes, unsigned depth, bool *ret)
{
    tel_code rc = TEL_OK;
    if (depth > COLUMN_DEPTH_MAX)
        return segment_corrupt(f->err, "columns nest too deep");
    switch (cursor_byte(node)) {
    case COLUMN_CONSTANT:
        *ret |= holds(cursor_span(node), bytes);
        break;
    case COLUMN_TEXT:
        ints_skip(node);
        rc = find_stream(f, node, bytes, ret);
        break;
    case COLUMN_DICTIONARY:
        n = cursor_bounded(node, n);
        ints_skip(node);
        rc = find_column(f, node, n, bytes, depth + 1, ret);
        break;
    case COLUMN_SHAPED:
        rc = find_shapes(f, node, n, depth + 1, ret);
        break;
    case COLUMN_FRAMES:
        ints_skip(node);
        for (size_t k = cursor_count(node, 2); k && rc == TEL_OK; k--) {
            cursor_varint(node);
            rc = find_stream(f, node, bytes, ret);
        }
        break;
    default:
        return segment_corrupt(f->err, "kind of a column");
    }
    return rc == TEL_OK && node->bad ? segment_corrupt(f->err, "a node is cut short") : rc;
}

tel_code column_may_hold(struct stream_reader *r, struct cursor *node, size_t n,
                         struct tel_span bytes, bool *ret, struct tel_error *err)
{
    struct finding f = {r, bytes, longest_letters(bytes), err};
    *ret = false;
    return find_column(&f, node, n, bytes, 0, ret);
}
