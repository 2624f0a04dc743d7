/*
 * Which columns may hold some bytes; see column_may_hold. Numbers are not read: a shape of numbers is
 * an automaton, and in one with texts a part of the bytes is looked for that lies in one piece, since
 * fields are digits, hex digits, or whole words.
 */
#include "common/logsql/words.h"
#include "shard/segment/column_read.h"

struct finding {
    struct stream_reader *r;
    struct tel_span bytes;
    struct tel_error *err;
};

static bool is_word(char c)
{
    return split_is_word[(unsigned char)c];
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool is_plain_letter(char c)
{
    return is_word(c) && !is_hex(c);
}

static struct tel_span longest(struct tel_span s, bool (*in)(char))
{
    struct tel_span best = {"", 0};
    for (size_t i = 0; i < s.len; i++) {
        size_t start = i;
        while (i < s.len && in(s.ptr[i]))
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

struct tel_span column_part_in_one_piece(struct tel_span shape, struct tel_span bytes)
{
    bool whole = true;
    for (size_t k = 0; k < shape.len; k++) {
        if (shape.ptr[k] == 0 && ((k > 0 && (is_word(shape.ptr[k - 1]) || shape.ptr[k - 1] == 0)) ||
                                  (k + 1 < shape.len && is_word(shape.ptr[k + 1]))))
            whole = false;
    }
    struct tel_span part = longest(bytes, whole ? is_word : is_plain_letter);
    return longest(part, is_plain_letter).len ? part : tel_span_make("", 0);
}

/* Could the bytes stand in a value of a shape whose fields are numbers? The shape as an automaton: a
 * field takes any run of its digits, and the bytes may begin and end anywhere. */
static bool fits(struct tel_span text, const uint8_t *kinds, struct tel_span bytes)
{
    if (text.len >= 63)
        return true;
    uint64_t fields = 0, now = (UINT64_C(1) << (text.len + 1)) - 1;
    uint8_t kind_at[64];
    for (size_t k = 0, f = 0; k < text.len; k++) {
        if (text.ptr[k] == 0) {
            fields |= UINT64_C(1) << k;
            kind_at[k] = kinds[f++];
        }
    }
    for (size_t i = 0; i < bytes.len && now; i++) {
        char c = bytes.ptr[i];
        bool digit = c >= '0' && c <= '9', hex = digit || (c >= 'a' && c <= 'f');
        uint64_t next = 0;
        for (uint64_t b = now; b; b &= b - 1) {
            unsigned at = (unsigned)__builtin_ctzll(b);
            uint64_t behind = UINT64_C(1) << (at + 1);
            if (at == text.len)
                continue;
            if (!(fields >> at & 1))
                next |= text.ptr[at] == c ? behind : 0;
            else if (kind_at[at] == FIELD_HEX || kind_at[at] == FIELD_ID ? hex : digit)
                next |= behind | UINT64_C(1) << at;
        }
        for (unsigned at = 0; at < text.len; at++) /* a field may be at its end */
            next |= (next & fields & UINT64_C(1) << at) << 1;
        now = next;
    }
    return now != 0;
}

static tel_code find_shape(const struct finding *f, struct cursor *node, size_t n, unsigned depth,
                           bool *ret)
{
    struct tel_span text = cursor_span(node);
    uint8_t kinds[SHAPE_FIELDS_MAX];
    size_t fields = 0;
    struct tel_span part = column_part_in_one_piece(text, f->bytes);
    struct finding sub = {f->r, part, f->err};
    bool texts = false;
    for (size_t k = 0; k < text.len && !node->bad; k++) {
        if (text.ptr[k] != 0)
            continue;
        uint8_t kind = cursor_byte(node);
        if (fields == SHAPE_FIELDS_MAX)
            return segment_corrupt(f->err, "fields of a shape");
        kinds[fields++] = kind;
        if (kind <= FIELD_HEX) {
            if (kind != FIELD_DECIMAL)
                cursor_byte(node);
            ints_skip(node);
        } else if (kind == FIELD_ID) {
            cursor_varint(node);
        } else if (kind == FIELD_TEXT) {
            texts = true;
            /* how many values the field has is not known here, and does not matter */
            tel_code rc = find_column(&sub, node, n, part, depth, ret);
            if (rc != TEL_OK)
                return rc;
        } else {
            return segment_corrupt(f->err, "kind of a field");
        }
    }
    if (!*ret)
        *ret = texts ? part.len == 0 || holds(text, part)
                     : fits(text, kinds, f->bytes);
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
    struct finding f = {r, bytes, err};
    *ret = false;
    return find_column(&f, node, n, bytes, 0, ret);
}
