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
}

void ids_writer_done(struct ids_writer *w)
{
    tel_vec_free(&w->entries);
    tel_vec_free(&w->ordered);
    tel_vec_free(&w->starts);
    tel_vec_free(&w->known);
    tel_vec_free(&w->used);
    free(w->last);
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

/* Where the bytes of each stream go: room is made before, so that none asks for it. */
struct ids_writing {
    uint8_t *op, *near, *far, *position, *nibble;
    bool half; /* the last nibble's byte waits for its other half */
};

static inline void put_nibble(struct ids_writing *g, char c)
{
    unsigned n = nibble_of(c);
    if (g->half)
        *g->nibble++ |= (uint8_t)(n << 4);
    else
        *g->nibble = (uint8_t)n;
    g->half = !g->half;
}

static void put_nibbles(struct ids_writing *g, const char *text, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        put_nibble(g, text[i]);
}

/* Entries by row; those of one row stay in the order of their slots. How many characters they have. */
static size_t order(struct ids_writer *w, uint32_t row_count)
{
    size_t n = w->entries.len, total = 0;
    tel_vec_reserve(&w->starts, (size_t)row_count + 1);
    memset(w->starts.items, 0, ((size_t)row_count + 1) * sizeof(uint32_t));
    for (size_t i = 0; i < n; i++)
        w->starts.items[w->entries.items[i].row + 1]++;
    for (uint32_t r = 0; r < row_count; r++)
        w->starts.items[r + 1] += w->starts.items[r];
    tel_vec_reserve(&w->ordered, n);
    for (size_t i = 0; i < n; i++) {
        w->ordered.items[w->starts.items[w->entries.items[i].row]++] = w->entries.items[i];
        total += w->entries.items[i].len;
    }
    w->ordered.len = n;
    return total;
}

/* Bytes [i, i + 8) of both, as the bits in which they differ; the slack allows the loads. */
static inline uint64_t differing(const char *a, const char *b, uint32_t i)
{
    uint64_t x, y;
    memcpy(&x, a + i, 8);
    memcpy(&y, b + i, 8);
    return x ^ y;
}

/* As a reference to what is known, if that is worth it. */
static bool put_reference(struct ids_writing *g, const struct ids_entry *e,
                          const struct ids_known *of, size_t distance)
{
    uint8_t edits[EDITS_MAX];
    unsigned count = 0;
    uint32_t common = e->len < of->len ? e->len : of->len;
    for (uint32_t i = IDS_KEY_LEN; i < common; i += 8) {
        uint64_t bits = differing(e->text, of->text, i);
        if (common - i < 8)
            bits &= (UINT64_C(1) << (8 * (common - i))) - 1;
        while (bits) {
            unsigned at = (unsigned)__builtin_ctzll(bits) / 8;
            if (count == EDITS_MAX)
                return false;
            edits[count++] = (uint8_t)(i + at);
            bits &= ~(UINT64_C(0xff) << (8 * at));
        }
    }
    if (count * 3 > e->len)
        return false;
    *g->op++ = (uint8_t)count;
    *g->near++ = (uint8_t)distance;
    *g->far++ = (uint8_t)(distance >> 8);
    for (unsigned i = 0; i < count; i++) {
        *g->position++ = edits[i];
        put_nibble(g, e->text[edits[i]]);
    }
    put_nibbles(g, e->text, common, e->len);
    return true;
}

static bool has_letter(const char *text, uint32_t len)
{
    unsigned letters = 0;
    for (uint32_t i = 0; i < len; i += 8) {
        uint64_t v;
        memcpy(&v, text + i, 8);
        v &= UINT64_C(0x4040404040404040); /* of a letter, not of a digit */
        letters |= (len - i < 8 ? v << (64 - 8 * (len - i)) : v) != 0;
    }
    return letters;
}

static inline uint32_t table_slot(const struct ids_entry *e)
{
    uint32_t key;
    memcpy(&key, e->text, IDS_KEY_LEN);
    return (key + has_letter(e->text, e->len)) * 2654435761u >> (32 - TABLE_BITS);
}

static void put_entry(struct ids_writer *w, struct ids_writing *g, size_t number)
{
    const struct ids_entry *e = &w->ordered.items[number];
    struct ids_last *last = &w->last[e->slot];
    size_t distance = number + 1 - last->entry;
    bool refers = last->entry && distance <= UINT16_MAX;
    if (!last->entry) {
        tel_vec_push(&w->used, e->slot);
        tel_vec_push(&w->known, ((struct ids_known){0}));
        last->known = (uint32_t)w->known.len - 1;
    }
    last->entry = (uint32_t)number + 1;
    struct ids_known *known = &w->known.items[last->known];
    if (refers && memcmp(known->text, e->text, IDS_KEY_LEN) == 0 &&
        put_reference(g, e, known, distance)) {
        known->len = e->len > known->len ? e->len : known->len;
    } else {
        known->len = e->len;
        *g->op++ = LITERAL;
        put_nibbles(g, e->text, 0, e->len);
    }
    if (e->len >= known->len)
        memcpy(known->text, e->text, IDS_LEN_MAX); /* at once: the slack allows it */
    else
        memcpy(known->text, e->text, e->len);
}
/* Room for all that `count` entries, of `total` characters, may take. */
static struct ids_writing begin_streams(struct ids_writer *w, size_t count, size_t total)
{
    struct tel_buf *const streams[] = {&w->lens, &w->ops,       &w->near,
                                       &w->far,  &w->positions, &w->nibbles};
    const size_t most[] = {count, count, count, count, count * EDITS_MAX, total / 2 + 1};
    for (size_t i = 0; i < TEL_ARRAY_LEN(streams); i++) {
        tel_buf_clear(streams[i]);
        tel_buf_reserve(streams[i], most[i]);
    }
    return (struct ids_writing){.op = (uint8_t *)w->ops.ptr,
                                .near = (uint8_t *)w->near.ptr,
                                .far = (uint8_t *)w->far.ptr,
                                .position = (uint8_t *)w->positions.ptr,
                                .nibble = (uint8_t *)w->nibbles.ptr};
}

static void end_streams(struct ids_writer *w, const struct ids_writing *g)
{
    w->lens.len = w->ordered.len;
    w->ops.len = (size_t)((char *)g->op - w->ops.ptr);
    w->near.len = (size_t)((char *)g->near - w->near.ptr);
    w->far.len = (size_t)((char *)g->far - w->far.ptr);
    w->positions.len = (size_t)((char *)g->position - w->positions.ptr);
    w->nibbles.len = (size_t)((char *)g->nibble - w->nibbles.ptr) + g->half;
}

/* Texts lie far from each other, and so do the table's slots and what is known: each is asked for
 * some entries before it is needed. */
static void put_entries(struct ids_writer *w, struct ids_writing *g)
{
    enum { TEXT_AHEAD = 24, SLOT_AHEAD = 12, KNOWN_AHEAD = 6 };
    struct ids_entry *e = w->ordered.items;
    size_t n = w->ordered.len;
    for (size_t i = 0; i < n + TEXT_AHEAD; i++) {
        if (i < n)
            __builtin_prefetch(e[i].text);
        size_t s = i - (TEXT_AHEAD - SLOT_AHEAD), k = i - (TEXT_AHEAD - KNOWN_AHEAD);
        if (s < n && e[s].len) { /* below 0 is above n */
            e[s].slot = table_slot(&e[s]);
            __builtin_prefetch(&w->last[e[s].slot]);
        }
        if (k < n && e[k].len && w->last[e[k].slot].entry)
            __builtin_prefetch(&w->known.items[w->last[e[k].slot].known]);
        size_t at = i - TEXT_AHEAD;
        if (at >= n)
            continue;
        w->lens.ptr[at] = (char)e[at].len;
        if (e[at].len)
            put_entry(w, g, at);
    }
}

void ids_put(struct ids_writer *w, struct stream_writer *out, struct tel_buf *node,
             uint32_t row_count)
{
    struct tel_buf *const streams[] = {&w->lens, &w->ops,       &w->near,
                                       &w->far,  &w->positions, &w->nibbles};
    size_t total = order(w, row_count);
    struct ids_writing g = begin_streams(w, w->ordered.len, total);
    put_entries(w, &g);
    end_streams(w, &g);
    for (size_t i = 0; i < TEL_ARRAY_LEN(streams); i++)
        stream_put(out, node, tel_buf_span(streams[i]));
    tel_vec_clear(&w->entries);
    for (size_t i = 0; i < w->used.len; i++) /* there may be many families, of few ids each */
        w->last[w->used.items[i]] = (struct ids_last){0};
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
