/* See shape_fit.h. */
#include "shard/segment/shape_fit.h"

#define STEPS_MAX 4096u

struct fitting {
    const struct read_shape *shape;
    struct tel_span bytes;
    bool from_word, to_word;
    uint8_t field_at[64]; /* by position in the shape's text */
    struct shape_way *ways;
    size_t count;
    unsigned steps;
    bool all; /* too many ways, or one without a test */
};

static bool is_word(char c)
{
    return split_is_word[(unsigned char)c];
}

/* Is it a character of words for sure? What a high byte is depends on its neighbours. */
static bool is_word_surely(char c)
{
    return is_word(c) && !((unsigned char)c & 0x80);
}

static bool takes(const struct read_field *field, char c)
{
    if (c >= '0' && c <= '9')
        return true;
    return c >= 'a' && c <= 'f' && (field->kind == FIELD_HEX || field->kind == FIELD_ID);
}

/* Can the whole field (or, if `begins`, its beginning) be these digits? */
static bool can_be(const struct read_field *field, struct tel_span digits, bool begins)
{
    switch (field->kind) {
    case FIELD_FIXED:
    case FIELD_HEX:
        return begins ? digits.len <= field->width : digits.len == field->width;
    case FIELD_ID:
        return digits.len <= IDS_LEN_MAX && (begins || digits.len >= IDS_LEN_MIN);
    case FIELD_DECIMAL:
        return digits.len <= FIELD_WIDTH_MAX && (digits.len == 1 || digits.ptr[0] != '0');
    case FIELD_TEXT:
        break;
    }
    return true;
}

/* The better of two tests of one way. */
static struct shape_way better(const struct fitting *f, struct shape_way a, struct shape_way b)
{
    bool id = f->shape->fields[b.field].kind == FIELD_ID;
    if (a.test == FIT_ALL)
        return b;
    bool a_id = f->shape->fields[a.field].kind == FIELD_ID;
    if (id != a_id)
        return id ? b : a;
    return b.digits.len > a.digits.len ? b : a;
}

static void add(struct fitting *f, struct shape_way way)
{
    if (way.test == FIT_ALL || f->count == SHAPE_WAYS_MAX)
        f->all = true;
    else
        f->ways[f->count++] = way;
}

/* Lays bytes[at..] against the shape's text from position k on. */
static void lay(struct fitting *f, size_t k, size_t at, struct shape_way best)
{
    struct tel_span text = f->shape->text, bytes = f->bytes;
    if (f->all || ++f->steps > STEPS_MAX) {
        f->all = true;
        return;
    }
    while (at < bytes.len && k < text.len && text.ptr[k] != 0) {
        if (text.ptr[k++] != bytes.ptr[at++])
            return;
    }
    if (at == bytes.len) { /* a field begins with a character of a word */
        if (!f->to_word || k == text.len || (text.ptr[k] != 0 && !is_word_surely(text.ptr[k])))
            add(f, best);
        return;
    }
    if (k == text.len)
        return;
    unsigned number = f->field_at[k];
    const struct read_field *field = &f->shape->fields[number];
    for (size_t end = at + 1; end <= bytes.len && takes(field, bytes.ptr[end - 1]); end++) {
        struct shape_way way = {FIT_EQUALS, number, tel_span_slice(bytes, at, end)};
        if (can_be(field, way.digits, false))
            lay(f, k + 1, end, better(f, best, way));
        way.test = FIT_BEGINS;
        if (end == bytes.len && !f->to_word && can_be(field, way.digits, true))
            add(f, better(f, best, way));
    }
}

/* The bytes begin within the field at position k, behind its first character. */
static void lay_within(struct fitting *f, size_t k)
{
    const struct read_field *field = &f->shape->fields[f->field_at[k]];
    struct shape_way none = {.test = FIT_ALL};
    for (size_t end = 1; end <= f->bytes.len && takes(field, f->bytes.ptr[end - 1]); end++) {
        lay(f, k + 1, end, none);
        if (end == f->bytes.len && !f->to_word)
            add(f, none);
    }
}

size_t shape_fit(const struct read_shape *shape, struct tel_span bytes, bool from_word,
                 bool to_word, struct shape_way ret[SHAPE_WAYS_MAX])
{
    struct fitting f = {.shape = shape, .bytes = bytes, .from_word = from_word,
                        .to_word = to_word, .ways = ret};
    struct tel_span text = shape->text;
    if (text.len > TEL_ARRAY_LEN(f.field_at) || bytes.len == 0) {
        ret[0] = (struct shape_way){.test = FIT_ALL};
        return 1;
    }
    for (size_t k = 0, field = 0; k < text.len; k++) {
        if (text.ptr[k] == 0)
            f.field_at[k] = (uint8_t)field++;
    }
    for (size_t k = 0; k < text.len; k++) {
        bool within = k > 0 && (text.ptr[k - 1] == 0 || is_word_surely(text.ptr[k - 1]));
        if (!from_word || !within)
            lay(&f, k, 0, (struct shape_way){.test = FIT_ALL});
        if (!from_word && text.ptr[k] == 0)
            lay_within(&f, k);
    }
    if (!f.all)
        return f.count;
    ret[0] = (struct shape_way){.test = FIT_ALL};
    return 1;
}
