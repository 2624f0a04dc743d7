/*
 * Values that look alike. Three ways to see it, tried in this order:
 *
 *     fixed    all of one length; bytes that differ are digits or lower-case hex:
 *              2015-10-18_13:53:08   one shape, fields of fixed width
 *     runs     up to eight shapes of digit runs:  blk_# blk_-#   #.#.#.#:#
 *     words    words with digits are fields, the rest is the shape: at most one shape for 16 values
 *
 * A shape's text has a NUL for each field.
 */
#include <stdlib.h>

#include "common/base/map.h"
#include "shard/segment/column.h"
#include "shard/segment/marks.h"

#define FIXED_LEN_MAX   64u
#define RUN_SHAPES_MAX  8u
#define RUN_FIELDS_MAX  16u
#define RUN_VALUE_MAX   256u
#define DECIMAL_MAX     18u /* digits that surely fit 63 bits */
#define HEX_MAX         15u
#define RECUR_SAMPLE    1024u

typedef uint8_t bytes16 __attribute__((vector_size(16)));

struct shape {
    struct tel_span text;
    uint32_t fields;
    size_t count, first_value;
    uint8_t kinds[SHAPE_FIELDS_MAX];
    uint8_t max_len[SHAPE_FIELDS_MAX]; /* of a field's values, 255 for more */
    bool letters[SHAPE_FIELDS_MAX];    /* some are not digits alone */
};

/* The shapes of one column: each value's shape and runs. */
struct shape_scratch {
    TEL_VEC(struct shape) shapes;
    TEL_VEC(uint32_t) codes;    /* per value */
    TEL_VEC(uint32_t) run_from; /* per value: its first run */
    TEL_VEC(struct shape_run) runs;
    TEL_VEC(struct tel_span) field; /* the values of the field at hand */
    TEL_VEC(uint32_t) field_rows;
    TEL_VEC(uint64_t) numbers;
    struct tel_map by_text;
    struct tel_arena texts;
    struct tel_buf text;
};

static struct shape_scratch *scratch_of(struct column_writer *w)
{
    struct shape_scratch **s = &w->scratch[w->depth];
    if (!*s)
        *s = TEL_NEW(struct shape_scratch);
    tel_vec_clear(&(*s)->shapes);
    tel_vec_clear(&(*s)->codes);
    tel_vec_clear(&(*s)->run_from);
    tel_vec_clear(&(*s)->runs);
    tel_map_clear(&(*s)->by_text);
    tel_arena_reset(&(*s)->texts);
    return *s;
}

void column_writer_free_scratch(struct column_writer *w)
{
    for (unsigned i = 0; i <= COLUMN_DEPTH_MAX; i++) {
        struct shape_scratch *s = w->scratch[i];
        if (!s)
            continue;
        tel_vec_free(&s->shapes);
        tel_vec_free(&s->codes);
        tel_vec_free(&s->run_from);
        tel_vec_free(&s->runs);
        tel_vec_free(&s->field);
        tel_vec_free(&s->field_rows);
        tel_vec_free(&s->numbers);
        tel_map_free(&s->by_text);
        tel_arena_free(&s->texts);
        tel_buf_free(&s->text);
        free(s);
        w->scratch[i] = NULL;
    }
}

/* The number of the shape with this text, made if there is none; UINT32_MAX: too many. */
static uint32_t shape_number(struct shape_scratch *s, struct tel_span text, uint32_t fields,
                             size_t value, size_t max)
{
    if (s->codes.len) { /* most values look like the one before */
        uint32_t last = s->codes.items[s->codes.len - 1];
        if (tel_span_eq(s->shapes.items[last].text, text)) {
            s->shapes.items[last].count++;
            return last;
        }
    }
    bool fresh;
    uint64_t *number = tel_map_put(&s->by_text, text, &fresh);
    if (fresh) {
        if (s->shapes.len == max)
            return UINT32_MAX;
        *number = s->shapes.len;
        struct shape shape = {
            .text = tel_arena_copy(&s->texts, text), .fields = fields, .first_value = value};
        tel_vec_push(&s->shapes, shape);
    }
    s->shapes.items[*number].count++;
    return (uint32_t)*number;
}

/* ---- writing what was seen ---------------------------------------------------------------- */

/* Up to eight characters as a number, the first in the lowest byte, and zero before them. */
static inline uint64_t characters(const char *p, size_t len)
{
    uint64_t v;
    memcpy(&v, p, 8); /* the slack allows it */
    return v << (64 - 8 * len);
}

/* Digits are put together in pairs, then in fours, then in eights. */
static inline uint64_t decimal8(const char *p, size_t len)
{
    uint64_t v = characters(p, len) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    v = v * 10 + (v >> 8);
    uint64_t low = v & UINT64_C(0x000000ff000000ff), high = v >> 16 & UINT64_C(0x000000ff000000ff);
    return (low * (100 + (UINT64_C(1000000) << 32)) + high * (1 + (UINT64_C(10000) << 32))) >> 32;
}

static uint64_t decimal(struct tel_span v)
{
    size_t head = (v.len - 1) % 8 + 1;
    uint64_t n = decimal8(v.ptr, head);
    for (size_t i = head; i < v.len; i += 8)
        n = n * 100000000 + decimal8(v.ptr + i, 8);
    return n;
}

static inline uint64_t hexadecimal8(const char *p, size_t len)
{
    uint64_t v = characters(p, len);
    v = (v & UINT64_C(0x0f0f0f0f0f0f0f0f)) + 9 * (v >> 6 & UINT64_C(0x0101010101010101));
    v = (v << 4 | v >> 8) & UINT64_C(0x00ff00ff00ff00ff);
    v = (v << 8 | v >> 16) & UINT64_C(0x0000ffff0000ffff);
    return (v << 16 | v >> 32) & UINT64_C(0xffffffff);
}

static uint64_t hexadecimal(struct tel_span v)
{
    size_t head = (v.len - 1) % 8 + 1;
    uint64_t n = hexadecimal8(v.ptr, head);
    for (size_t i = head; i < v.len; i += 8)
        n = n << 32 | hexadecimal8(v.ptr + i, 8);
    return n;
}

/* What the bytes of a field have in common. */
struct field_look {
    bool digits, hex, one_len, leading_zero;
    size_t min_len, max_len;
};

/* Is any lane set? */
static bool any_lane(bytes16 v)
{
    uint64_t halves[2];
    memcpy(halves, &v, 16);
    return (halves[0] | halves[1]) != 0;
}

static struct field_look look_at(const struct tel_span *v, size_t n)
{
    /* read from 16 - n on: n bytes are set */
    static const uint8_t first[32] = {255, 255, 255, 255, 255, 255, 255, 255,
                                      255, 255, 255, 255, 255, 255, 255, 255};
    struct field_look look = {.min_len = v[0].len, .max_len = v[0].len};
    bytes16 no_digit = {0}, no_hex = {0};
    for (size_t i = 0; i < n; i++) {
        size_t len = v[i].len;
        look.min_len = len < look.min_len ? len : look.min_len;
        look.max_len = len > look.max_len ? len : look.max_len;
        look.leading_zero |= len > 1 && v[i].ptr[0] == '0';
        for (size_t at = 0; at < len; at += 16) {
            bytes16 c, in;
            memcpy(&c, v[i].ptr + at, 16);
            memcpy(&in, first + 16 - (len - at < 16 ? len - at : 16), 16);
            bytes16 digit = (bytes16)(c - '0' <= 9), letter = (bytes16)(c - 'a' <= 5);
            no_digit |= ~digit & in;
            no_hex |= ~(digit | letter) & in;
        }
        if (i % 64 == 63 && any_lane(no_hex))
            break;
    }
    look.digits = look.min_len > 0 && !any_lane(no_digit);
    look.hex = look.min_len > 0 && !any_lane(no_hex);
    look.one_len = look.min_len == look.max_len;
    return look;
}

/* Do integers code this field much better than its digits are long? Then it is no id. */
static bool compact(const uint64_t *v, size_t n, size_t digits)
{
    uint64_t min = v[0], max = v[0], delta = 0;
    for (size_t i = 0; i < n; i++) {
        min = v[i] < min ? v[i] : min;
        max = v[i] > max ? v[i] : max;
        if (i)
            delta |= tel_zigzag((int64_t)(v[i] - v[i - 1]));
    }
    uint64_t smaller = (max - min) < delta ? max - min : delta;
    unsigned bits = smaller ? 64 - (unsigned)__builtin_clzll(smaller) : 0;
    return bits * 10 < digits * 33 * 6 / 10;
}

static bool put_numbers(struct column_writer *w, struct shape_scratch *s, struct tel_buf *node,
                        const struct field_look *look, bool may_be_id)
{
    const struct tel_span *v = s->field.items;
    size_t n = s->field.len;
    if (look->min_len == 0)
        return false;
    bool dec = look->digits && look->max_len <= DECIMAL_MAX &&
               (look->one_len || !look->leading_zero);
    bool hex = !dec && look->hex && look->one_len && look->max_len <= HEX_MAX;
    if (!dec && !hex)
        return false;
    tel_vec_reserve(&s->numbers, n);
    size_t digits = hex ? look->max_len * 6 / 5 : look->min_len, first = n < 256 ? n : 256;
    for (size_t i = 0; i < n; i++) {
        s->numbers.items[i] = dec ? decimal(v[i]) : hexadecimal(v[i]);
        /* what is not compact among the first will not be so among all */
        if (may_be_id && i + 1 == first && !compact(s->numbers.items, first, digits))
            return false;
    }
    if (may_be_id && !compact(s->numbers.items, n, digits))
        return false;
    if (dec && !look->leading_zero) {
        tel_buf_add_char(node, FIELD_DECIMAL);
    } else {
        tel_buf_add_char(node, (char)(dec ? FIELD_FIXED : FIELD_HEX));
        tel_buf_add_char(node, (char)look->max_len);
    }
    ints_put(&w->ints, w->out, node, s->numbers.items, n);
    w->marks |= dec ? MARKS_DIGITS : MARKS_DIGITS | MARKS_HEX;
    return true;
}

/* Do short values recur as ids do? They need not to fill a dictionary to refer back. */
static bool recurs(const struct tel_span *v, size_t n)
{
    uint16_t last[1024] = {0}; /* value + 1, by its first four characters */
    size_t m = n < RECUR_SAMPLE ? n : RECUR_SAMPLE, same = 0;
    for (size_t i = 0; i < m; i++) {
        uint32_t key;
        memcpy(&key, v[i].ptr, 4);
        uint16_t *slot = &last[key * 2654435761u >> 22];
        if (*slot) {
            struct tel_span of = v[*slot - 1];
            size_t len = of.len < v[i].len ? of.len : v[i].len;
            same += memcmp(of.ptr, v[i].ptr, len) == 0;
        }
        *slot = (uint16_t)(i + 1);
    }
    return same * 6 > m;
}

/* Writes the field in s->field, as the slot-th id of its value if it is one. */
static void put_field(struct column_writer *w, struct shape_scratch *s, struct tel_buf *node,
                      struct shape *shape, uint32_t field, uint32_t *slot)
{
    struct field_look look = look_at(s->field.items, s->field.len);
    bool may_be_id = w->ids && look.hex && look.min_len >= IDS_LEN_MIN &&
                     look.max_len <= IDS_LEN_MAX && s->field.len >= 4 &&
                     (look.min_len >= IDS_LEN_SURE || recurs(s->field.items, s->field.len));
    shape->max_len[field] = (uint8_t)(look.max_len < 255 ? look.max_len : 255);
    shape->letters[field] = !look.digits;
    bool number = put_numbers(w, s, node, &look, may_be_id);
    /* w->words is set where fields are whole words; those of text are added by their column */
    if (w->words && (number || may_be_id) &&
        (!look.digits || look.max_len >= WORDS_DIGIT_LEN_MIN)) {
        for (size_t i = 0; i < s->field.len; i++)
            words_add(w->words, s->field.items[i]);
    }
    if (number)
        return;
    if (may_be_id) {
        tel_buf_add_char(node, FIELD_ID);
        put_varint(node, w->id_slots + *slot);
        ++*slot;
        shape->kinds[field] = FIELD_ID;
        w->marks |= MARKS_DIGITS | MARKS_HEX;
        return;
    }
    tel_buf_add_char(node, FIELD_TEXT);
    struct ids_writer *ids = w->ids;
    w->ids = NULL;
    column_put(w, node, s->field.items, s->field.len);
    w->ids = ids;
}

static void gather_field(struct shape_scratch *s, const struct tel_span *values, size_t n,
                         uint32_t shape, uint32_t field)
{
    tel_vec_clear(&s->field);
    tel_vec_reserve(&s->field, s->shapes.items[shape].count);
    for (size_t i = 0; i < n; i++) {
        if (s->codes.items[i] != shape)
            continue;
        struct shape_run run = s->runs.items[s->run_from.items[i] + field];
        s->field.items[s->field.len++] = tel_span_make(values[i].ptr + run.start, run.len);
    }
}

/* Ids of this column, slot by slot, and an empty entry where a value's shape has none. */
static void put_ids(struct column_writer *w, struct shape_scratch *s,
                    const struct tel_span *values, size_t n, uint32_t slots)
{
    for (uint32_t slot = 0; slot < slots; slot++) {
        for (size_t i = 0; i < n; i++) {
            const struct shape *shape = &s->shapes.items[s->codes.items[i]];
            struct tel_span text = {"", 0};
            uint32_t seen = 0;
            for (uint32_t f = 0; f < shape->fields; f++) {
                if (shape->kinds[f] != FIELD_ID || seen++ != slot)
                    continue;
                struct shape_run run = s->runs.items[s->run_from.items[i] + f];
                text = tel_span_make(values[i].ptr + run.start, run.len);
                break;
            }
            ids_add(w->ids, w->rows[i], text);
        }
    }
}

/* A word of a shape that holds fields: from `prefix` bytes before the first of them to `suffix`
 * bytes behind the last. */
struct shape_word {
    uint32_t first, last;
    size_t prefix, suffix;
};

static void add_word_values(struct words_writer *words, const struct shape_scratch *s,
                            const struct tel_span *values, size_t n, uint32_t shape,
                            const struct shape_word *word)
{
    for (size_t i = 0; i < n; i++) {
        if (s->codes.items[i] != shape)
            continue;
        const struct shape_run *runs = s->runs.items + s->run_from.items[i];
        size_t from = runs[word->first].start - word->prefix;
        size_t to = runs[word->last].start + runs[word->last].len + word->suffix;
        words_add(words, tel_span_make(values[i].ptr + from, to - from));
    }
}

/* The words of the values of a shape whose fields may be parts of words. Words of few digits are
 * seen by the shape alone not to count. */
static void add_words(struct words_writer *words, const struct shape_scratch *s,
                      const struct tel_span *values, size_t n, uint32_t number)
{
    const struct shape *shape = &s->shapes.items[number];
    const char *t = shape->text.ptr;
    uint32_t field = 0;
    bool high = false;
    for (size_t i = 0; i < shape->text.len; i++)
        high |= (t[i] & 0x80) != 0;
    if (high) { /* which of these bytes are letters depends on their neighbours */
        for (size_t i = 0; i < n; i++) {
            if (s->codes.items[i] == number)
                words_add_text(words, values[i]);
        }
        return;
    }
    for (size_t i = 0; i < shape->text.len;) {
        struct shape_word word = {.first = UINT32_MAX};
        size_t start = i, literal = 0, len = 0;
        bool letters = false;
        for (; i < shape->text.len && (t[i] == 0 || split_is_word[(unsigned char)t[i]]); i++) {
            if (t[i] != 0) {
                literal++;
                word.suffix++;
                continue;
            }
            if (word.first == UINT32_MAX) {
                word.first = field;
                word.prefix = literal;
            }
            word.last = field;
            word.suffix = 0;
            len += shape->max_len[field];
            letters |= shape->letters[field++];
        }
        if (i == start)
            i++;
        else if (word.first == UINT32_MAX)
            words_add(words, tel_span_make(t + start, i - start));
        else if (letters || len + literal >= WORDS_DIGIT_LEN_MIN)
            add_word_values(words, s, values, n, number, &word);
    }
}

static void put_shapes(struct column_writer *w, struct shape_scratch *s, struct tel_buf *node,
                       const struct tel_span *values, size_t n, bool whole_words)
{
    struct words_writer *words = w->words;
    if (!whole_words)
        w->words = NULL; /* fields are parts of words: those are added below */
    tel_buf_add_char(node, COLUMN_SHAPED);
    put_varint(node, s->shapes.len);
    if (s->shapes.len > 1) {
        tel_vec_reserve(&s->numbers, n);
        for (size_t i = 0; i < n; i++)
            s->numbers.items[i] = s->codes.items[i];
        ints_put(&w->ints, w->out, node, s->numbers.items, n);
    }
    uint32_t slots = 0;
    for (uint32_t k = 0; k < s->shapes.len; k++) {
        struct shape *shape = &s->shapes.items[k];
        uint32_t slot = 0;
        put_span(node, shape->text);
        for (uint32_t f = 0; f < shape->fields; f++) {
            gather_field(s, values, n, k, f);
            put_field(w, s, node, shape, f, &slot);
        }
        w->marks |= marks_of(shape->text);
        slots = slot > slots ? slot : slots;
    }
    w->words = words;
    for (uint32_t k = 0; words && k < s->shapes.len; k++) {
        if (whole_words)
            words_add_text(words, s->shapes.items[k].text);
        else
            add_words(words, s, values, n, k);
    }
    if (slots) {
        put_ids(w, s, values, n, slots);
        w->id_slots += slots;
    }
}

/* ---- fixed -------------------------------------------------------------------------------- */

struct fixed_marks {
    uint8_t differs[FIXED_LEN_MAX], no_hex[FIXED_LEN_MAX];
};

/* What differs at each place, 16 places at once. */
static void mark(const struct tel_span *values, size_t n, size_t len, struct fixed_marks *m)
{
    for (size_t at = 0; at < len; at += 16) {
        bytes16 first, differs = {0}, no_hex = {0};
        memcpy(&first, values[0].ptr + at, 16);
        for (size_t i = 0; i < n; i++) {
            bytes16 c;
            memcpy(&c, values[i].ptr + at, 16);
            differs |= c ^ first;
            bytes16 digit = (bytes16)(c - '0' <= 9), letter = (bytes16)(c - 'a' <= 5);
            no_hex |= ~(digit | letter);
        }
        memcpy(m->differs + at, &differs, 16);
        memcpy(m->no_hex + at, &no_hex, 16);
    }
}

static bool see_fixed(struct shape_scratch *s, const struct tel_span *values, size_t n)
{
    size_t len = values[0].len;
    struct fixed_marks m;
    struct shape_run runs[FIXED_LEN_MAX];
    uint32_t count = 0;
    if (len > FIXED_LEN_MAX || len == 0 || memchr(values[0].ptr, 0, len))
        return false;
    for (size_t i = 1; i < n; i++) {
        if (values[i].len != len)
            return false;
    }
    mark(values, n, len, &m);
    tel_buf_clear(&s->text);
    for (size_t i = 0; i < len;) {
        if (!m.differs[i]) {
            tel_buf_add_char(&s->text, values[0].ptr[i++]);
            continue;
        }
        size_t start = i;
        if (m.no_hex[i])
            return false;
        /* constant places beside it belong to it: ids refer to each other over columns */
        while (i < len && !m.no_hex[i])
            i++;
        while (start > 0 && !m.no_hex[start - 1] && s->text.len > 0 &&
               s->text.ptr[s->text.len - 1] != 0) {
            start--;
            s->text.len--;
        }
        tel_buf_add_char(&s->text, 0);
        runs[count++] = (struct shape_run){(uint32_t)start, (uint32_t)(i - start)};
    }
    uint32_t number = shape_number(s, tel_buf_span(&s->text), count, 0, 1);
    s->shapes.items[number].count = n;
    tel_vec_reserve(&s->codes, n);
    tel_vec_reserve(&s->run_from, n);
    tel_vec_reserve(&s->runs, count);
    memcpy(s->runs.items, runs, count * sizeof(*runs));
    memset(s->codes.items, 0, n * sizeof(uint32_t));
    memset(s->run_from.items, 0, n * sizeof(uint32_t)); /* all share the runs */
    return true;
}

/* ---- runs and words ----------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The runs of digits of v; its shape's text in s->text. A run with a leading zero has its width
 * marked, so that one shape's runs are all of one width, or all without leading zeros. */
static bool split_runs(struct shape_scratch *s, struct tel_span v, uint32_t *ret_fields)
{
    uint32_t fields = 0;
    if (v.len > RUN_VALUE_MAX)
        return false;
    tel_buf_clear(&s->text);
    tel_buf_reserve(&s->text, v.len + RUN_FIELDS_MAX);
    for (size_t i = 0; i < v.len;) {
        char c = v.ptr[i];
        if (!is_digit(c)) {
            if (c == 0)
                return false;
            s->text.ptr[s->text.len++] = c;
            i++;
            continue;
        }
        size_t start = i;
        while (i < v.len && is_digit(v.ptr[i]))
            i++;
        if (fields++ == RUN_FIELDS_MAX || i - start > IDS_LEN_MAX)
            return false;
        s->text.ptr[s->text.len++] = 0;
        tel_vec_push(&s->runs, ((struct shape_run){(uint32_t)start, (uint32_t)(i - start)}));
    }
    *ret_fields = fields;
    return fields > 0;
}

/* The words of v that hold a digit. */
static bool split_words(struct shape_scratch *s, struct tel_span v, uint32_t *ret_fields)
{
    uint32_t fields = 0;
    if (v.len > SPLIT_LINE_MAX)
        return false;
    tel_buf_clear(&s->text);
    tel_buf_reserve(&s->text, v.len + 1);
    for (size_t i = 0; i < v.len;) {
        size_t start = i;
        bool digit = false;
        while (i < v.len && split_is_word[(unsigned char)v.ptr[i]]) {
            digit |= is_digit(v.ptr[i]);
            i++;
        }
        if (i == start) {
            if (v.ptr[i] == 0)
                return false;
            tel_buf_add_char(&s->text, v.ptr[i++]);
        } else if (digit) {
            if (fields++ == SHAPE_FIELDS_MAX)
                return false;
            tel_buf_add_char(&s->text, 0);
            tel_vec_push(&s->runs, ((struct shape_run){(uint32_t)start, (uint32_t)(i - start)}));
        } else {
            tel_buf_add(&s->text, v.ptr + start, i - start);
        }
    }
    *ret_fields = fields;
    return fields > 0 && !(fields == 1 && s->text.len == 1);
}

typedef bool split_fn(struct shape_scratch *s, struct tel_span v, uint32_t *ret_fields);

static bool see(struct column_writer *w, struct shape_scratch **ret, const struct tel_span *values,
                size_t n, split_fn *split, size_t max)
{
    struct shape_scratch *s = scratch_of(w);
    *ret = s;
    tel_vec_reserve(&s->codes, n);
    tel_vec_reserve(&s->run_from, n);
    for (size_t i = 0; i < n; i++) {
        uint32_t fields;
        s->run_from.items[i] = (uint32_t)s->runs.len;
        if (!split(s, values[i], &fields))
            return false;
        uint32_t number = shape_number(s, tel_buf_span(&s->text), fields, i, max);
        if (number == UINT32_MAX || (i == 512 && s->shapes.len > 128))
            return false;
        s->codes.items[s->codes.len++] = number;
    }
    return true;
}

bool column_put_shaped(struct column_writer *w, struct tel_buf *node,
                       const struct tel_span *values, size_t n)
{
    struct shape_scratch *s = scratch_of(w);
    size_t word_shapes = n / 16 < SHAPES_MAX ? n / 16 : SHAPES_MAX;
    bool whole_words = false;
    if (!see_fixed(s, values, n) && !see(w, &s, values, n, split_runs, RUN_SHAPES_MAX)) {
        whole_words = true;
        if (!see(w, &s, values, n, split_words, word_shapes))
            return false;
    }
    if (s->shapes.len > 1 && s->shapes.len * 2 > n)
        return false;
    put_shapes(w, s, node, values, n, whole_words);
    return true;
}
