/* See column_probe.h. */
#include "shard/segment/column_probe.h"

#include "common/logsql/words.h"
#include "shard/segment/column_read.h"
#include "shard/segment/shape_fit.h"

struct probing {
    struct stream_reader *r;
    const struct column_id_rows *ids;
    const struct column_probe *probe;
    struct tel_error *err;
};

/* The values of a column. Those of the outermost one stand for the template's rows, and may have ids. */
struct probed {
    size_t n;
    unsigned depth;
};

static tel_code find(const struct probing *p, struct cursor *node, const struct probed *c,
                     uint64_t *bits);

static void *alloc(const struct probing *p, size_t count, size_t size)
{
    return tel_arena_alloc(p->r->arena, (count + 1) * size);
}

static inline void set(uint64_t *bits, size_t i)
{
    bits[i / 64] |= UINT64_C(1) << (i % 64);
}

static void set_all(uint64_t *bits, size_t n)
{
    for (size_t i = 0; i < n / 64; i++)
        bits[i] = UINT64_MAX;
    for (size_t i = n / 64 * 64; i < n; i++)
        set(bits, i);
}

static uint64_t *new_bits(const struct probing *p, size_t n)
{
    return TEL_ARENA_ARRAY(p->r->arena, uint64_t, TEL_BITMAP_WORDS(n) + 1);
}

/* ---- texts -------------------------------------------------------------------------------------- */

/* Values [from, to) lie one behind the other in text. */
static tel_code find_in_text(const struct probing *p, const struct ints_opened *lens, size_t from,
                             size_t to, struct tel_span text, uint64_t *bits)
{
    struct tel_span bytes = p->probe->bytes;
    size_t value = from, start = 0;
    for (size_t at = tel_words_find_bytes(text, bytes, 0); at != SIZE_MAX;) {
        uint64_t len = 0;
        for (; value < to; value++, start += len) {
            len = ints_at(lens, value);
            if (len > text.len - start)
                return segment_corrupt(p->err, "lengths of texts");
            if (at < start + len)
                break;
        }
        if (value == to)
            return segment_corrupt(p->err, "lengths of texts");
        size_t end = start + (size_t)len, next = at + 1;
        if (at + bytes.len <= end) {
            set(bits, value);
            next = end;
        }
        at = tel_words_find_bytes(text, bytes, next);
    }
    return TEL_OK;
}

static tel_code find_text(const struct probing *p, struct cursor *node, const struct probed *c,
                          uint64_t *bits)
{
    struct ints_opened lens;
    struct tel_span text;
    struct cursor at = *node;
    ints_skip(node);
    tel_code rc = stream_get(p->r, node, &text, p->err);
    if (rc != TEL_OK || tel_words_find_bytes(text, p->probe->bytes, 0) == SIZE_MAX)
        return rc;
    rc = ints_open(p->r, &at, c->n, &lens, p->err);
    return rc == TEL_OK ? find_in_text(p, &lens, 0, c->n, text, bits) : rc;
}

static tel_code find_frames(const struct probing *p, struct cursor *node, const struct probed *c,
                            uint64_t *bits)
{
    struct ints_opened lens;
    tel_code rc = ints_open(p->r, node, c->n, &lens, p->err);
    size_t frames = rc == TEL_OK ? cursor_count(node, 2) : 0, done = 0;
    for (size_t i = 0; i < frames && rc == TEL_OK; i++) {
        struct tel_span text;
        size_t rows = cursor_bounded(node, c->n - done);
        rc = stream_get(p->r, node, &text, p->err);
        if (rc == TEL_OK)
            rc = find_in_text(p, &lens, done, done + rows, text, bits);
        done += rows;
    }
    return rc;
}

/* ---- dictionaries ------------------------------------------------------------------------------- */

static tel_code find_dictionary(const struct probing *p, struct cursor *node,
                                const struct probed *c, uint64_t *bits)
{
    struct probed distinct = {cursor_bounded(node, c->n), c->depth + 1};
    struct cursor at = *node;
    uint64_t *hits = new_bits(p, distinct.n), any = 0;
    ints_skip(node);
    tel_code rc = find(p, node, &distinct, hits);
    for (size_t i = 0; i < TEL_BITMAP_WORDS(distinct.n); i++)
        any |= hits[i];
    if (rc != TEL_OK || !any)
        return rc;
    uint64_t *codes = alloc(p, c->n, sizeof(*codes));
    rc = ints_get(p->r, &at, c->n, codes, p->err);
    for (size_t i = 0; i < c->n && rc == TEL_OK; i++) {
        if (codes[i] >= distinct.n)
            return segment_corrupt(p->err, "a code of a dictionary");
        bits[i / 64] |= (hits[codes[i] / 64] >> (codes[i] % 64) & 1) << (i % 64);
    }
    return rc;
}

/* ---- shapes ------------------------------------------------------------------------------------- */

static uint64_t number_of(struct tel_span digits, unsigned base)
{
    uint64_t n = 0;
    for (size_t i = 0; i < digits.len; i++) {
        char c = digits.ptr[i];
        n = n * base + (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return n;
}

struct numbers {
    uint64_t from, size;
};

/* The numbers of a field that pass a way's test; how many ranges. */
static size_t ranges_of(const struct read_field *field, const struct shape_way *way,
                        struct numbers ret[FIELD_WIDTH_MAX])
{
    unsigned base = field->kind == FIELD_HEX ? 16 : 10;
    struct numbers range = {number_of(way->digits, base), 1};
    size_t count = 0;
    if (way->test == FIT_EQUALS) {
        ret[count++] = range;
        return count;
    }
    if (field->kind != FIELD_DECIMAL) {
        for (size_t i = way->digits.len; i < field->width; i++) {
            range.from *= base;
            range.size *= base;
        }
        ret[count++] = range;
        return count;
    }
    for (size_t i = way->digits.len; i <= 18; i++) { /* with any digits behind them */
        ret[count++] = range;
        if (range.from == 0)
            break;
        range.from *= 10;
        range.size *= 10;
    }
    return count;
}

/* The values of one shape: rows[0..count) of the column. */
struct shape_values {
    const struct read_shape *shape;
    struct cursor nodes[SHAPE_FIELDS_MAX]; /* behind the fields' kinds and widths */
    const uint32_t *rows;
    size_t count;
};

static tel_code test_numbers(const struct probing *p, const struct shape_values *v,
                             const struct shape_way *way, uint64_t *bits)
{
    struct numbers ranges[FIELD_WIDTH_MAX];
    struct cursor node = v->nodes[way->field];
    uint64_t *numbers = alloc(p, v->count, sizeof(*numbers));
    size_t count = ranges_of(&v->shape->fields[way->field], way, ranges);
    tel_code rc = ints_get(p->r, &node, v->count, numbers, p->err);
    for (size_t i = 0; i < v->count && rc == TEL_OK; i++) {
        bool in = false;
        for (size_t k = 0; k < count; k++)
            in |= numbers[i] - ranges[k].from < ranges[k].size;
        if (in)
            set(bits, v->rows[i]);
    }
    return rc;
}

static tel_code test_ids(const struct probing *p, const struct probed *c,
                         const struct shape_values *v, const struct shape_way *way, uint64_t *bits)
{
    struct cursor node = v->nodes[way->field];
    uint64_t slot = cursor_varint(&node);
    uint16_t key, mask;
    if (!p->ids || c->depth > 0 || slot >= p->ids->slots)
        return segment_corrupt(p->err, "slot of an id");
    struct ids_index *x = p->ids->index;
    if (!ids_index_key(way->digits, &key, &mask))
        return TEL_OK;
    for (size_t i = 0; i < v->count; i++) {
        size_t entry = p->ids->starts[v->rows[i]] + (size_t)slot;
        struct tel_span text;
        if ((x->keys[entry] ^ key) & mask)
            continue;
        if (way->test == FIT_EQUALS ? x->lens[entry] != way->digits.len
                                    : x->lens[entry] < way->digits.len)
            continue;
        tel_code rc = way->digits.len > IDS_KEY_LEN ? ids_index_text(x, entry, &text, p->err)
                                                    : TEL_OK;
        if (rc != TEL_OK)
            return rc;
        if (way->digits.len <= IDS_KEY_LEN ||
            memcmp(text.ptr, way->digits.ptr, way->digits.len) == 0)
            set(bits, v->rows[i]);
    }
    return TEL_OK;
}

static void set_shape(const struct shape_values *v, uint64_t *bits)
{
    for (size_t i = 0; i < v->count; i++)
        set(bits, v->rows[i]);
}

static tel_code find_numbers(const struct probing *p, const struct probed *c,
                             const struct shape_values *v, uint64_t *bits)
{
    struct shape_way ways[SHAPE_WAYS_MAX];
    size_t count = shape_fit(v->shape, p->probe->bytes, p->probe->from_word, p->probe->to_word, ways);
    tel_code rc = TEL_OK;
    for (size_t i = 0; i < count && rc == TEL_OK; i++) {
        if (ways[i].test == FIT_ALL)
            set_shape(v, bits);
        else if (v->shape->fields[ways[i].field].kind == FIELD_ID)
            rc = test_ids(p, c, v, &ways[i], bits);
        else
            rc = test_numbers(p, v, &ways[i], bits);
    }
    return rc;
}

/* In a shape with texts: values whose fields or whose shape's text hold a part of the bytes that is
 * known to lie in one piece. */
static tel_code find_part(const struct probing *p, const struct probed *c,
                          const struct shape_values *v, uint64_t *bits)
{
    const struct read_shape *shape = v->shape;
    struct tel_span part = column_part_in_one_piece(shape->text, p->probe->bytes);
    if (part.len == 0 || tel_words_find_bytes(shape->text, part, 0) != SIZE_MAX) {
        set_shape(v, bits);
        return TEL_OK;
    }
    struct column_probe probe = {.bytes = part};
    struct probing sub = {p->r, NULL, &probe, p->err};
    struct probed values = {v->count, c->depth + 1};
    uint64_t *hits = new_bits(p, v->count);
    for (size_t f = 0; f < shape->field_count; f++) {
        struct cursor node = v->nodes[f];
        if (shape->fields[f].kind != FIELD_TEXT)
            continue;
        tel_code rc = find(&sub, &node, &values, hits);
        if (rc != TEL_OK)
            return rc;
    }
    for (size_t i = 0; i < v->count; i++) {
        if (hits[i / 64] >> (i % 64) & 1)
            set(bits, v->rows[i]);
    }
    return TEL_OK;
}

static tel_code find_shape(const struct probing *p, struct cursor *node, const struct probed *c,
                           const uint32_t *rows, size_t count, uint64_t *bits)
{
    struct read_shape *shape = alloc(p, 0, sizeof(*shape));
    struct shape_values *v = alloc(p, 0, sizeof(*v));
    bool texts = false;
    v->shape = shape;
    v->rows = rows;
    v->count = count;
    if (!shape_read(node, shape))
        return segment_corrupt(p->err, "fields of a shape");
    for (size_t f = 0; f < shape->field_count; f++) {
        struct cursor at = *node;
        struct read_field *field = &shape->fields[f];
        field->kind = (enum field_kind)cursor_byte(&at);
        field->width = field->kind == FIELD_FIXED || field->kind == FIELD_HEX ? cursor_byte(&at) : 0;
        v->nodes[f] = at;
        texts |= field->kind == FIELD_TEXT;
        field_skip(node, c->depth);
        if (node->bad || field->width > FIELD_WIDTH_MAX)
            return segment_corrupt(p->err, "fields of a shape");
    }
    if (node->bad)
        return segment_corrupt(p->err, "a shape is cut short");
    if (count == 0)
        return TEL_OK;
    return texts ? find_part(p, c, v, bits) : find_numbers(p, c, v, bits);
}

static tel_code find_shapes(const struct probing *p, struct cursor *node, const struct probed *c,
                            uint64_t *bits)
{
    size_t shapes = cursor_bounded(node, c->n < SHAPES_MAX ? c->n : SHAPES_MAX);
    uint64_t *codes = NULL;
    if (shapes == 0)
        return segment_corrupt(p->err, "number of shapes");
    if (shapes > 1) {
        codes = alloc(p, c->n, sizeof(*codes));
        tel_code rc = ints_get(p->r, node, c->n, codes, p->err);
        if (rc != TEL_OK)
            return rc;
    }
    size_t *from = tel_arena_calloc(p->r->arena, shapes + 2, sizeof(*from));
    uint32_t *rows = alloc(p, c->n, sizeof(*rows));
    for (size_t i = 0; i < c->n; i++) {
        if (codes && codes[i] >= shapes)
            return segment_corrupt(p->err, "a code of a shape");
        from[(codes ? codes[i] : 0) + 2]++;
    }
    for (size_t s = 0; s < shapes; s++)
        from[s + 2] += from[s + 1];
    for (size_t i = 0; i < c->n; i++)
        rows[from[(codes ? codes[i] : 0) + 1]++] = (uint32_t)i;
    tel_code rc = TEL_OK;
    for (size_t s = 0; s < shapes && rc == TEL_OK; s++)
        rc = find_shape(p, node, c, rows + from[s], from[s + 1] - from[s], bits);
    return rc;
}

static tel_code find(const struct probing *p, struct cursor *node, const struct probed *c,
                     uint64_t *bits)
{
    tel_code rc = TEL_OK;
    if (c->depth > COLUMN_DEPTH_MAX)
        return segment_corrupt(p->err, "columns nest too deep");
    switch (cursor_byte(node)) {
    case COLUMN_CONSTANT:
        if (tel_words_find_bytes(cursor_span(node), p->probe->bytes, 0) != SIZE_MAX)
            set_all(bits, c->n);
        break;
    case COLUMN_TEXT:
        rc = find_text(p, node, c, bits);
        break;
    case COLUMN_DICTIONARY:
        rc = find_dictionary(p, node, c, bits);
        break;
    case COLUMN_SHAPED:
        rc = find_shapes(p, node, c, bits);
        break;
    case COLUMN_FRAMES:
        rc = find_frames(p, node, c, bits);
        break;
    default:
        return segment_corrupt(p->err, "kind of a column");
    }
    return rc == TEL_OK && node->bad ? segment_corrupt(p->err, "a node is cut short") : rc;
}

tel_code column_find_candidates(struct stream_reader *r, struct cursor *node, size_t n,
                                const struct column_id_rows *ids, const struct column_probe *probe,
                                uint64_t *bits, struct tel_error *err)
{
    struct probing p = {r, ids, probe, err};
    struct probed c = {n, 0};
    return find(&p, node, &c, bits);
}
