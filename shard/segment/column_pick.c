/* See column_pick.h. Nothing read here is trusted, as in column_get.c. */
#include "shard/segment/column_pick.h"

#include <stdlib.h>

#include "shard/segment/column_read.h"

struct picking {
    struct stream_reader *r;
    const struct column_id_rows *ids;
    struct tel_error *err;
};

/* Which values of a column: numbers below n, ascending. */
struct picks {
    const uint32_t *at;
    size_t count, n;
    unsigned depth;
    const uint32_t *rows; /* the template's rows that they belong to; NULL below dictionaries */
};

static tel_code pick_column(const struct picking *p, struct cursor *node, const struct picks *k,
                            struct tel_span *ret);

static void *alloc(const struct picking *p, size_t count, size_t size)
{
    return tel_arena_alloc(p->r->arena, (count + 1) * size);
}

/* Values [from, ...) of a text, cut by lens; picks below `from + rows` and at or above `from`. */
static tel_code cut(const struct picking *p, const struct ints_opened *lens, size_t from,
                    struct tel_span text, const uint32_t *at, size_t count, struct tel_span *ret)
{
    size_t last = from;
    uint64_t start = 0;
    for (size_t i = 0; i < count; i++) {
        start += ints_sum(lens, last, at[i]);
        last = at[i];
        uint64_t len = ints_at(lens, last);
        if (start > text.len || len > text.len - start)
            return segment_corrupt(p->err, "lengths of texts");
        ret[i] = tel_span_make(text.ptr + start, (size_t)len);
    }
    return TEL_OK;
}

static tel_code pick_text(const struct picking *p, struct cursor *node, const struct picks *k,
                          struct tel_span *ret)
{
    struct ints_opened lens;
    struct tel_span text;
    tel_code rc = ints_open(p->r, node, k->n, &lens, p->err);
    if (rc == TEL_OK)
        rc = stream_get(p->r, node, &text, p->err);
    return rc == TEL_OK ? cut(p, &lens, 0, text, k->at, k->count, ret) : rc;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Each distinct value is read once. */
static tel_code pick_dictionary(const struct picking *p, struct cursor *node,
                                const struct picks *k, struct tel_span *ret)
{
    size_t distinct = cursor_bounded(node, k->n), m = 0;
    struct ints_opened codes;
    tel_code rc = ints_open(p->r, node, k->n, &codes, p->err);
    if (rc != TEL_OK)
        return rc;
    uint32_t *wanted = alloc(p, k->count, sizeof(*wanted));
    for (size_t i = 0; i < k->count; i++) {
        uint64_t code = ints_at(&codes, k->at[i]);
        if (code >= distinct)
            return segment_corrupt(p->err, "a code of a dictionary");
        wanted[i] = (uint32_t)code;
    }
    qsort(wanted, k->count, sizeof(*wanted), compare);
    for (size_t i = 0; i < k->count; i++) {
        if (m == 0 || wanted[m - 1] != wanted[i])
            wanted[m++] = wanted[i];
    }
    struct tel_span *values = alloc(p, m, sizeof(*values));
    struct picks sub = {wanted, m, distinct, k->depth + 1, NULL};
    rc = pick_column(p, node, &sub, values);
    for (size_t i = 0; i < k->count && rc == TEL_OK; i++) {
        uint32_t code = (uint32_t)ints_at(&codes, k->at[i]);
        const uint32_t *found = bsearch(&code, wanted, m, sizeof(*wanted), compare);
        ret[i] = values[found - wanted];
    }
    return rc;
}

/* ---- shapes --------------------------------------------------------------------------------- */

/* A field of the values k of one shape. */
static tel_code pick_field(const struct picking *p, struct cursor *node, const struct picks *k,
                           struct read_field *field)
{
    unsigned kind = cursor_byte(node);
    field->kind = (enum field_kind)kind;
    if (kind <= FIELD_HEX) {
        struct ints_opened ints;
        field->width = kind == FIELD_DECIMAL ? 0 : cursor_byte(node);
        if (field->width > FIELD_WIDTH_MAX)
            return segment_corrupt(p->err, "width of a field");
        tel_code rc = ints_open(p->r, node, k->n, &ints, p->err);
        if (rc != TEL_OK)
            return rc;
        uint64_t *numbers = alloc(p, k->count, sizeof(*numbers));
        for (size_t i = 0; i < k->count; i++)
            numbers[i] = ints_at(&ints, k->at[i]);
        field->numbers = numbers;
        return TEL_OK;
    }
    struct tel_span *texts = alloc(p, k->count, sizeof(*texts));
    field->texts = texts;
    if (kind == FIELD_TEXT)
        return pick_column(p, node,
                           &(struct picks){k->at, k->count, k->n, k->depth + 1, NULL}, texts);
    uint64_t slot = kind == FIELD_ID ? cursor_varint(node) : UINT64_MAX;
    if (!p->ids || !k->rows || slot >= p->ids->slots)
        return segment_corrupt(p->err, "slot of an id");
    for (size_t i = 0; i < k->count; i++) {
        tel_code rc = ids_index_text(p->ids->index, p->ids->starts[k->rows[i]] + (size_t)slot,
                                     &texts[i], p->err);
        if (rc != TEL_OK)
            return rc;
    }
    return TEL_OK;
}

/* Reads a shape and puts values of it together; value i goes to ret[to[i]]. */
static tel_code pick_shape(const struct picking *p, struct cursor *node, const struct picks *k,
                           const uint32_t *to, struct tel_span *ret)
{
    struct read_shape *shape = alloc(p, 0, sizeof(*shape));
    if (!shape_read(node, shape))
        return segment_corrupt(p->err, "fields of a shape");
    for (size_t f = 0; f < shape->field_count; f++) {
        tel_code rc = pick_field(p, node, k, &shape->fields[f]);
        if (rc != TEL_OK)
            return rc;
    }
    if (node->bad)
        return segment_corrupt(p->err, "a shape is cut short");
    uint64_t bytes = 0;
    for (size_t i = 0; i < k->count; i++) {
        size_t most = shape_put_max(shape, i);
        if ((bytes += most) > VALUES_BYTES_MAX)
            return segment_corrupt(p->err, "values are too long");
        char *out = tel_arena_alloc_aligned(p->r->arena, most + STREAM_SLACK, 1);
        ret[to[i]] = tel_span_make(out, (size_t)(shape_put(out, shape, i) - out));
    }
    return TEL_OK;
}

static void skip_shape(struct cursor *node, unsigned depth)
{
    struct tel_span text = cursor_span(node);
    for (size_t i = 0; i < text.len && !node->bad; i++) {
        if (text.ptr[i] == 0)
            field_skip(node, depth);
    }
}

/* Picks sorted by the shape of their values; numbers become those within the shape. */
struct sorted_picks {
    size_t *counts; /* values of each shape */
    size_t *from;   /* by shape, and one more: where its picks begin in what follows */
    uint32_t *at, *to, *rows;
};

static tel_code sort_picks(const struct picking *p, const struct picks *k, const uint64_t *codes,
                           size_t shapes, struct sorted_picks *ret)
{
    uint32_t *rank = alloc(p, k->count, sizeof(*rank));
    size_t *counts = tel_arena_calloc(p->r->arena, shapes + 1, sizeof(*counts)), next = 0;
    size_t *from = tel_arena_calloc(p->r->arena, shapes + 2, sizeof(*from));
    for (size_t i = 0; i < k->n; i++) {
        size_t code = codes ? codes[i] : 0;
        if (code >= shapes)
            return segment_corrupt(p->err, "a code of a shape");
        for (; next < k->count && k->at[next] == i; next++) {
            rank[next] = (uint32_t)counts[code];
            from[code + 2]++;
        }
        counts[code]++;
    }
    for (size_t s = 0; s < shapes; s++)
        from[s + 2] += from[s + 1];
    *ret = (struct sorted_picks){.counts = counts, .from = from};
    ret->at = alloc(p, k->count, sizeof(*ret->at));
    ret->to = alloc(p, k->count, sizeof(*ret->to));
    ret->rows = alloc(p, k->count, sizeof(*ret->rows));
    for (size_t i = 0; i < k->count; i++) {
        size_t slot = from[(codes ? codes[k->at[i]] : 0) + 1]++;
        ret->at[slot] = rank[i];
        ret->to[slot] = (uint32_t)i;
        ret->rows[slot] = k->rows ? k->rows[i] : 0;
    }
    return TEL_OK;
}

static tel_code pick_shaped(const struct picking *p, struct cursor *node, const struct picks *k,
                            struct tel_span *ret)
{
    size_t shapes = cursor_bounded(node, k->n < SHAPES_MAX ? k->n : SHAPES_MAX);
    uint64_t *codes = NULL;
    struct sorted_picks sorted = {0};
    if (shapes == 0)
        return segment_corrupt(p->err, "number of shapes");
    if (shapes > 1) {
        codes = alloc(p, k->n, sizeof(*codes));
        tel_code rc = ints_get(p->r, node, k->n, codes, p->err);
        if (rc != TEL_OK)
            return rc;
    }
    tel_code rc = sort_picks(p, k, codes, shapes, &sorted);
    for (size_t s = 0; s < shapes && rc == TEL_OK; s++) {
        size_t from = sorted.from[s], count = sorted.from[s + 1] - from;
        struct picks sub = {sorted.at + from, count, sorted.counts[s], k->depth,
                            k->rows ? sorted.rows + from : NULL};
        if (count == 0)
            skip_shape(node, k->depth);
        else
            rc = pick_shape(p, node, &sub, sorted.to + from, ret);
    }
    return rc == TEL_OK && node->bad ? segment_corrupt(p->err, "a shape is cut short") : rc;
}

/* ---- frames and the rest ---------------------------------------------------------------------- */

static tel_code pick_frames(const struct picking *p, struct cursor *node, const struct picks *k,
                            struct tel_span *ret)
{
    struct ints_opened lens;
    tel_code rc = ints_open(p->r, node, k->n, &lens, p->err);
    size_t frames = rc == TEL_OK ? cursor_count(node, 2) : 0, done = 0, next = 0;
    for (size_t i = 0; i < frames && next < k->count && rc == TEL_OK; i++) {
        struct tel_span text;
        size_t rows = cursor_bounded(node, k->n - done), end = next;
        while (end < k->count && k->at[end] < done + rows)
            end++;
        if (end == next) {
            stream_skip(node);
        } else {
            rc = stream_get(p->r, node, &text, p->err);
            if (rc == TEL_OK)
                rc = cut(p, &lens, done, text, k->at + next, end - next, ret + next);
        }
        next = end;
        done += rows;
    }
    return rc == TEL_OK && next < k->count ? segment_corrupt(p->err, "rows of frames") : rc;
}

static tel_code pick_column(const struct picking *p, struct cursor *node, const struct picks *k,
                            struct tel_span *ret)
{
    if (k->depth > COLUMN_DEPTH_MAX)
        return segment_corrupt(p->err, "columns nest too deep");
    switch (cursor_byte(node)) {
    case COLUMN_CONSTANT: {
        struct tel_span value = cursor_span(node);
        for (size_t i = 0; i < k->count; i++)
            ret[i] = value;
        return node->bad ? segment_corrupt(p->err, "a constant is cut short") : TEL_OK;
    }
    case COLUMN_TEXT:
        return pick_text(p, node, k, ret);
    case COLUMN_DICTIONARY:
        return pick_dictionary(p, node, k, ret);
    case COLUMN_SHAPED:
        return pick_shaped(p, node, k, ret);
    case COLUMN_FRAMES:
        return pick_frames(p, node, k, ret);
    default:
        return segment_corrupt(p->err, "kind of a column");
    }
}

tel_code column_pick(struct stream_reader *r, struct cursor *node, size_t n,
                     const struct column_id_rows *ids, const uint32_t *at, size_t count,
                     struct tel_span *ret, struct tel_error *err)
{
    struct picking p = {r, ids, err};
    struct picks k = {at, count, n, 0, at};
    return pick_column(&p, node, &k, ret);
}
