/* See ids.h. */
#include "shard/segment/ids.h"

#include <stdlib.h>

#define TABLE_BITS 16u
#define EDITS_MAX  6u
#define LITERAL    255
#define TEXT_CHUNK (32u << 10) /* bytes of ids that are read into memory at a time */

void ids_writer_init(struct ids_writer *w)
{
    memset(w, 0, sizeof(*w));
    w->last = tel_calloc(1u << TABLE_BITS, sizeof(*w->last));
    w->known_of = tel_calloc(1u << TABLE_BITS, sizeof(*w->known_of));
}

void ids_writer_done(struct ids_writer *w)
{
    tel_vec_free(&w->entries);
    tel_vec_free(&w->ordered);
    tel_vec_free(&w->starts);
    tel_vec_free(&w->known);
    tel_vec_free(&w->used);
    free(w->last);
    free(w->known_of);
    tel_buf_free(&w->lens);
    tel_buf_free(&w->ops);
    tel_buf_free(&w->near);
    tel_buf_free(&w->far);
    tel_buf_free(&w->positions);
    tel_buf_free(&w->nibbles);
}

static inline unsigned nibble_of(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
}

static void put_nibble(struct ids_writer *w, char c)
{
    unsigned n = nibble_of(c);
    if (w->half)
        w->nibbles.ptr[w->nibbles.len - 1] |= (char)(n << 4);
    else
        tel_buf_add_char(&w->nibbles, (char)n);
    w->half = !w->half;
}

/* Entries by row; those of one row stay in the order of their slots. */
static void order(struct ids_writer *w, uint32_t row_count)
{
    size_t n = w->entries.len;
    tel_vec_reserve(&w->starts, (size_t)row_count + 1);
    memset(w->starts.items, 0, ((size_t)row_count + 1) * sizeof(uint32_t));
    for (size_t i = 0; i < n; i++)
        w->starts.items[w->entries.items[i].row + 1]++;
    for (uint32_t r = 0; r < row_count; r++)
        w->starts.items[r + 1] += w->starts.items[r];
    tel_vec_reserve(&w->ordered, n);
    for (size_t i = 0; i < n; i++)
        w->ordered.items[w->starts.items[w->entries.items[i].row]++] = w->entries.items[i];
}

/* As a reference to what is known, if that is worth it. */
static bool put_reference(struct ids_writer *w, const struct ids_entry *e,
                          const struct ids_known *of, size_t distance)
{
    uint8_t edits[EDITS_MAX];
    unsigned count = 0;
    uint32_t common = e->len < of->len ? e->len : of->len;
    for (uint32_t i = IDS_KEY_LEN; i < common; i++) {
        if (e->text[i] == of->text[i])
            continue;
        if (count == EDITS_MAX)
            return false;
        edits[count++] = (uint8_t)i;
    }
    if (count * 3 > e->len)
        return false;
    tel_buf_add_char(&w->ops, (char)count);
    tel_buf_add_char(&w->near, (char)distance);
    tel_buf_add_char(&w->far, (char)(distance >> 8));
    for (unsigned i = 0; i < count; i++) {
        tel_buf_add_char(&w->positions, (char)edits[i]);
        put_nibble(w, e->text[edits[i]]);
    }
    for (uint32_t i = common; i < e->len; i++)
        put_nibble(w, e->text[i]);
    return true;
}

static bool has_letter(const struct ids_entry *e)
{
    for (uint32_t i = 0; i < e->len; i++) {
        if (e->text[i] > '9')
            return true;
    }
    return false;
}

static void put_entry(struct ids_writer *w, size_t number)
{
    const struct ids_entry *e = &w->ordered.items[number];
    tel_buf_add_char(&w->lens, (char)e->len);
    if (e->len == 0)
        return;
    uint32_t key;
    memcpy(&key, e->text, IDS_KEY_LEN);
    key = (key + has_letter(e)) * 2654435761u >> (32 - TABLE_BITS);
    uint32_t last = w->last[key];
    if (!last)
        tel_vec_push(&w->used, key);
    w->last[key] = (uint32_t)number + 1;
    if (last && number + 1 - last <= UINT16_MAX) {
        struct ids_known *of = &w->known.items[w->known_of[key] - 1];
        if (memcmp(of->text, e->text, IDS_KEY_LEN) == 0 &&
            put_reference(w, e, of, number + 1 - last)) {
            memcpy(of->text, e->text, e->len);
            of->len = e->len > of->len ? e->len : of->len;
            return;
        }
    }
    if (!w->known_of[key]) {
        tel_vec_push(&w->known, ((struct ids_known){0}));
        w->known_of[key] = (uint32_t)w->known.len;
    }
    struct ids_known *known = &w->known.items[w->known_of[key] - 1];
    memcpy(known->text, e->text, e->len);
    known->len = e->len;
    tel_buf_add_char(&w->ops, (char)LITERAL);
    for (uint32_t i = 0; i < e->len; i++)
        put_nibble(w, e->text[i]);
}

void ids_put(struct ids_writer *w, struct stream_writer *out, struct tel_buf *node,
             uint32_t row_count)
{
    order(w, row_count);
    struct tel_buf *const streams[] = {&w->lens, &w->ops,       &w->near,
                                       &w->far,  &w->positions, &w->nibbles};
    for (size_t i = 0; i < TEL_ARRAY_LEN(streams); i++)
        tel_buf_clear(streams[i]);
    w->half = false;
    for (size_t i = 0; i < w->entries.len; i++)
        put_entry(w, i);
    for (size_t i = 0; i < TEL_ARRAY_LEN(streams); i++)
        stream_put(out, node, tel_buf_span(streams[i]));
    tel_vec_clear(&w->entries);
    for (size_t i = 0; i < w->used.len; i++) /* there may be many families, of few ids each */
        w->last[w->used.items[i]] = w->known_of[w->used.items[i]] = 0;
    tel_vec_clear(&w->used);
    tel_vec_clear(&w->known);
}

struct ids_reading {
    struct cursor lens, ops, near, far, positions, nibbles;
    unsigned nibble;
    bool half;
};

static char get_nibble(struct ids_reading *g)
{
    if (!g->half)
        g->nibble = cursor_byte(&g->nibbles);
    else
        g->nibble >>= 4;
    g->half = !g->half;
    return "0123456789abcdef"[g->nibble & 15];
}

/* Reads an entry's text and, behind it, the tail that it keeps in mind, at out, which has room for
 * IDS_LEN_MAX; 0 when it cannot be read. */
static size_t get_entry(struct ids_reading *g, const struct tel_span *entries, const uint8_t *known,
                        size_t number, char *out, size_t len)
{
    unsigned op = cursor_byte(&g->ops);
    size_t all = len, common = 0;
    if (op != LITERAL) {
        size_t distance = cursor_byte(&g->near);
        distance |= (size_t)cursor_byte(&g->far) << 8;
        if (distance == 0 || distance > number)
            return 0;
        size_t of = known[number - distance];
        if (of == 0)
            return 0;
        common = len < of ? len : of;
        all = len < of ? of : len;
        char text[IDS_LEN_MAX]; /* there is room for all, but it may overlap */
        memcpy(text, entries[number - distance].ptr, IDS_LEN_MAX);
        memcpy(out, text, IDS_LEN_MAX);
        for (unsigned i = 0; i < op; i++) {
            size_t at = cursor_byte(&g->positions);
            if (at < IDS_KEY_LEN || at >= common)
                return 0;
            out[at] = get_nibble(g);
        }
    }
    for (size_t i = common; i < len; i++)
        out[i] = get_nibble(g);
    bool bad = g->ops.bad | g->near.bad | g->far.bad | g->positions.bad | g->nibbles.bad;
    return bad ? 0 : all;
}

tel_code ids_get(struct stream_reader *r, struct cursor *node, size_t count, struct tel_span **ret,
                 struct tel_error *err)
{
    struct ids_reading g = {.half = false};
    struct cursor *const cursors[] = {&g.lens, &g.ops,       &g.near,
                                      &g.far,  &g.positions, &g.nibbles};
    for (size_t i = 0; i < TEL_ARRAY_LEN(cursors); i++) {
        struct tel_span bytes;
        tel_code rc = stream_get(r, node, &bytes, err);
        if (rc != TEL_OK)
            return rc;
        *cursors[i] = cursor_make(bytes);
    }
    if (cursor_left(&g.lens) != count)
        return segment_corrupt(err, "number of ids");
    struct tel_span *entries = tel_arena_alloc(r->arena, (count + 1) * sizeof(*entries));
    uint8_t *known = tel_arena_alloc(r->arena, count + 1);
    char *out = NULL, *end = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t len = cursor_byte(&g.lens);
        known[i] = 0;
        if (len && (len < IDS_LEN_MIN || len > IDS_LEN_MAX))
            return segment_corrupt(err, "length of an id");
        if ((size_t)(end - out) < IDS_LEN_MAX) {
            out = tel_arena_alloc(r->arena, TEXT_CHUNK + IDS_LEN_MAX);
            memset(out + TEXT_CHUNK, 0, IDS_LEN_MAX);
            end = out + TEXT_CHUNK;
        }
        entries[i] = tel_span_make(out, len);
        if (len == 0)
            continue;
        known[i] = (uint8_t)get_entry(&g, entries, known, i, out, len);
        if (known[i] == 0)
            return segment_corrupt(err, "an id cannot be read");
        out += known[i];
    }
    *ret = entries;
    return TEL_OK;
}
