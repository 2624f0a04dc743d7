/* Choosing and writing a column's kind; see column.h. Shapes are in column_shape.c. */
#include <stdlib.h>

#include "common/base/hash.h"
#include "shard/segment/column.h"
#include "shard/segment/marks.h"

#define DICTIONARY_MIN 16u /* values, below which text in a pack is as good */
#define DICTIONARY_MAX (1u << 16)

void column_writer_init(struct column_writer *w, struct stream_writer *out)
{
    memset(w, 0, sizeof(*w));
    w->out = out;
}

void column_writer_done(struct column_writer *w)
{
    ints_writer_done(&w->ints);
    column_writer_free_scratch(w);
    tel_vec_free(&w->numbers);
    tel_vec_free(&w->slots);
    tel_buf_free(&w->text);
}

/* The first 16 bytes of a value as two numbers, zero behind its end; the slack allows the loads. */
static inline void value_words(struct tel_span v, uint64_t *a, uint64_t *b)
{
    memcpy(a, v.ptr, 8);
    memcpy(b, v.ptr + 8, 8);
    if (v.len < 8) {
        *a = v.len ? *a << (64 - 8 * v.len) : 0;
        *b = 0;
    } else if (v.len < 16) {
        *b = v.len > 8 ? *b << (128 - 8 * v.len) : 0;
    }
}

static inline uint64_t value_hash(struct tel_span v)
{
    if (v.len > 16)
        return tel_hash64(v, 0);
    uint64_t a, b;
    value_words(v, &a, &b);
    a = (a ^ v.len) * UINT64_C(0x9e3779b97f4a7c15);
    a ^= a >> 32;
    a = (a + b) * UINT64_C(0xbf58476d1ce4e5b9);
    return a ^ a >> 29;
}

static inline bool value_eq(struct tel_span v, struct tel_span w)
{
    uint64_t a, b, c, d;
    if (v.len != w.len)
        return false;
    if (v.len > 16)
        return memcmp(v.ptr, w.ptr, v.len) == 0;
    value_words(v, &a, &b);
    value_words(w, &c, &d);
    return ((a ^ c) | (b ^ d)) == 0;
}

static bool same(const struct tel_span *values, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (!value_eq(values[i], values[0]))
            return false;
    }
    return true;
}

/* Codes of the values in w->numbers and the distinct ones in `distinct`; 0 if there are too many. */
static size_t find_codes(struct column_writer *w, const struct tel_span *values, size_t n,
                         struct tel_span *distinct, size_t max)
{
    size_t cap = 64, count = 0;
    while (cap < max * 2)
        cap *= 2;
    tel_vec_reserve(&w->slots, cap);
    memset(w->slots.items, 0, cap * sizeof(uint32_t));
    tel_vec_reserve(&w->numbers, n);
    for (size_t i = 0; i < n; i++) {
        struct tel_span v = values[i];
        size_t slot = value_hash(v) & (cap - 1);
        uint32_t at;
        while ((at = w->slots.items[slot]) != 0) {
            if (value_eq(distinct[at - 1], v))
                break;
            slot = (slot + 1) & (cap - 1);
        }
        if (at == 0) {
            /* hopeless early on: most of the first values were new */
            if (count == max || ((i == 256 || i == 1024) && count > i / 2))
                return 0;
            distinct[count++] = v;
            at = w->slots.items[slot] = (uint32_t)count;
        }
        w->numbers.items[i] = at - 1;
    }
    return count;
}

static void put_text(struct column_writer *w, struct tel_buf *node, const struct tel_span *values,
                     size_t n)
{
    tel_buf_add_char(node, COLUMN_TEXT);
    tel_vec_reserve(&w->numbers, n);
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += w->numbers.items[i] = values[i].len;
    tel_buf_clear(&w->text);
    tel_buf_reserve(&w->text, total + SPLIT_SLACK);
    char *out = w->text.ptr;
    for (size_t i = 0; i < n; i++) {
        split_copy(out, values[i].ptr, values[i].len);
        out += values[i].len;
    }
    w->text.len = total;
    w->marks |= marks_of(tel_buf_span(&w->text));
    for (size_t i = 0; i < n && w->words; i++)
        words_add_text(w->words, values[i]);
    ints_put(&w->ints, w->out, node, w->numbers.items, n);
    stream_put(w->out, node, tel_buf_span(&w->text));
}

static bool put_dictionary(struct column_writer *w, struct tel_buf *node,
                           const struct tel_span *values, size_t n)
{
    size_t max = n / 4 < DICTIONARY_MAX ? n / 4 : DICTIONARY_MAX;
    if (n < DICTIONARY_MIN)
        return false;
    struct tel_span *distinct = tel_malloc(max * sizeof(*distinct));
    size_t count = find_codes(w, values, n, distinct, max);
    if (count) {
        tel_buf_add_char(node, COLUMN_DICTIONARY);
        put_varint(node, count);
        ints_put(&w->ints, w->out, node, w->numbers.items, n);
        struct ids_writer *ids = w->ids;
        w->ids = NULL;
        column_put(w, node, distinct, count);
        w->ids = ids;
    }
    free(distinct);
    return count > 0;
}

void column_put(struct column_writer *w, struct tel_buf *node, const struct tel_span *values,
                size_t n)
{
    TEL_CHECK(n > 0);
    w->depth++;
    if (same(values, n)) {
        tel_buf_add_char(node, COLUMN_CONSTANT);
        put_span(node, values[0]);
        w->marks |= marks_of(values[0]);
        if (w->words)
            words_add_text(w->words, values[0]);
    } else if (w->depth >= COLUMN_DEPTH_MAX || n < 4) {
        put_text(w, node, values, n);
    } else if (!put_dictionary(w, node, values, n) && !column_put_shaped(w, node, values, n)) {
        put_text(w, node, values, n);
    }
    w->depth--;
}

void column_put_frames(struct column_writer *w, struct tel_buf *node,
                       const struct tel_span *values, size_t n)
{
    tel_buf_add_char(node, COLUMN_FRAMES);
    tel_vec_reserve(&w->numbers, n);
    for (size_t i = 0; i < n; i++)
        w->numbers.items[i] = values[i].len;
    ints_put(&w->ints, w->out, node, w->numbers.items, n);
    tel_buf_clear(&w->text);
    struct tel_buf frames = {0};
    uint64_t count = 0;
    size_t rows = 0;
    for (size_t i = 0; i < n; i++) {
        tel_buf_add_span(&w->text, values[i]);
        if (w->words)
            words_add_text(w->words, values[i]);
        rows++;
        if (w->text.len < FRAME_BYTES && i + 1 < n)
            continue;
        put_varint(&frames, rows);
        stream_put(w->out, &frames, tel_buf_span(&w->text));
        w->marks |= marks_of(tel_buf_span(&w->text));
        tel_buf_clear(&w->text);
        rows = 0;
        count++;
    }
    put_varint(node, count);
    tel_buf_add_span(node, tel_buf_span(&frames));
    tel_buf_free(&frames);
}
