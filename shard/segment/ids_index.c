/* See ids_index.h. */
#include "shard/segment/ids_index.h"

#define LITERAL     255u
#define IDS_STEP    32u  /* entries from one noted place to the next */
#define CHUNK_TEXTS 256u

/* Where an entry's operation stands; what it takes of each stream. */
struct step {
    bool literal;
    unsigned edits, known, common;
    size_t of; /* the entry that it refers to */
};

/* Reads entry i, which is not empty, at *place, and moves *place behind it; false if it cannot be. */
static bool take(const struct ids_index *x, size_t i, struct ids_place *place, struct step *ret)
{
    unsigned len = x->lens[i];
    if (place->op >= x->ops.len)
        return false;
    unsigned op = (unsigned char)x->ops.ptr[place->op++];
    ret->literal = op == LITERAL;
    if (ret->literal) {
        ret->edits = ret->common = 0;
        ret->known = len;
        place->nibble += len;
        return true;
    }
    if (place->ref >= x->near.len)
        return false;
    size_t distance = (unsigned char)x->near.ptr[place->ref];
    distance |= (size_t)(unsigned char)x->far.ptr[place->ref++] << 8;
    if (distance == 0 || distance > i || x->known[i - distance] == 0)
        return false;
    unsigned of = x->known[i - distance];
    ret->of = i - distance;
    ret->edits = op;
    ret->common = len < of ? len : of;
    ret->known = len < of ? of : len;
    place->position += op;
    place->nibble += op + len - ret->common;
    return true;
}

static uint16_t key_at(const struct ids_index *x, uint32_t nibble)
{
    uint32_t v;
    memcpy(&v, x->nibbles.ptr + nibble / 2, 4);
    return (uint16_t)(v >> (nibble % 2 * 4));
}

static tel_code walk(struct ids_index *x, struct tel_error *err)
{
    struct ids_place place = {0};
    struct step step = {0};
    for (size_t i = 0; i < x->count; i++) {
        if (i % IDS_STEP == 0)
            x->places[i / IDS_STEP] = place;
        x->known[i] = 0;
        x->keys[i] = 0;
        if (x->lens[i] == 0)
            continue;
        uint32_t nibble = place.nibble;
        if (x->lens[i] < IDS_LEN_MIN || x->lens[i] > IDS_LEN_MAX)
            return segment_corrupt(err, "length of an id");
        if (!take(x, i, &place, &step) || place.position > x->positions.len ||
            place.nibble > 2 * x->nibbles.len)
            return segment_corrupt(err, "an id cannot be read");
        x->known[i] = (uint8_t)step.known;
        x->keys[i] = step.literal ? key_at(x, nibble) : x->keys[step.of];
    }
    return TEL_OK;
}

tel_code ids_index_open(struct stream_reader *r, struct cursor *node, size_t count,
                        struct ids_index **ret, struct tel_error *err)
{
    struct ids_index *x = TEL_ARENA_NEW(r->arena, struct ids_index);
    struct tel_span lens;
    struct tel_span *const streams[] = {&lens,   &x->ops,       &x->near,
                                        &x->far, &x->positions, &x->nibbles};
    for (size_t i = 0; i < TEL_ARRAY_LEN(streams); i++) {
        tel_code rc = stream_get(r, node, streams[i], err);
        if (rc != TEL_OK)
            return rc;
    }
    if (lens.len != count || x->near.len != x->far.len)
        return segment_corrupt(err, "number of ids");
    x->arena = r->arena;
    x->count = count;
    x->lens = (const uint8_t *)lens.ptr;
    x->known = tel_arena_alloc(r->arena, count + 1);
    x->keys = tel_arena_alloc(r->arena, (count + 1) * sizeof(*x->keys));
    x->places = tel_arena_alloc(r->arena, (count / IDS_STEP + 1) * sizeof(*x->places));
    tel_code rc = walk(x, err);
    if (rc == TEL_OK)
        *ret = x;
    return rc;
}

static struct ids_place place_of(const struct ids_index *x, size_t entry)
{
    struct ids_place place = x->places[entry / IDS_STEP];
    struct step step;
    for (size_t i = entry / IDS_STEP * IDS_STEP; i < entry; i++) {
        if (x->lens[i])
            (void)take(x, i, &place, &step); /* walk() has seen that it can be */
    }
    return place;
}

static char *text_at(const struct ids_index *x, uint32_t number)
{
    return x->chunks[number / CHUNK_TEXTS] + (size_t)(number % CHUNK_TEXTS) * IDS_LEN_MAX;
}

static char *new_text(struct ids_index *x, size_t entry)
{
    uint32_t number = x->made_count++;
    if (number % CHUNK_TEXTS == 0)
        x->chunks[number / CHUNK_TEXTS] =
            tel_arena_calloc(x->arena, 1, CHUNK_TEXTS * IDS_LEN_MAX + STREAM_SLACK);
    x->made[entry] = number + 1;
    return text_at(x, number);
}

static char nibble_at(const struct ids_index *x, uint32_t at)
{
    return "0123456789abcdef"[(unsigned char)x->nibbles.ptr[at / 2] >> (at % 2 * 4) & 15];
}

/* Makes the text of an entry whose reference is made. */
static tel_code make(struct ids_index *x, size_t entry, struct tel_error *err)
{
    struct ids_place end = place_of(x, entry), place = end;
    struct step step;
    (void)take(x, entry, &end, &step);
    char *out = new_text(x, entry);
    if (!step.literal)
        memcpy(out, text_at(x, x->made[step.of] - 1), IDS_LEN_MAX);
    for (unsigned i = 0; i < step.edits; i++) {
        unsigned at = (unsigned char)x->positions.ptr[place.position + i];
        if (at < IDS_KEY_LEN || at >= step.common)
            return segment_corrupt(err, "an id cannot be read");
        out[at] = nibble_at(x, place.nibble++);
    }
    for (unsigned i = step.common; i < x->lens[entry]; i++)
        out[i] = nibble_at(x, place.nibble++);
    return TEL_OK;
}

/* A chain of references may be as long as there are entries: it is turned round, and not recursed. */
tel_code ids_index_text(struct ids_index *x, size_t entry, struct tel_span *ret,
                        struct tel_error *err)
{
    if (entry >= x->count)
        return segment_corrupt(err, "number of ids");
    if (x->lens[entry] == 0) {
        *ret = tel_span_make("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 0);
        return TEL_OK;
    }
    if (!x->made) {
        x->made = TEL_ARENA_ARRAY(x->arena, uint32_t, x->count);
        x->chunks = TEL_ARENA_ARRAY(x->arena, char *, x->count / CHUNK_TEXTS + 1);
    }
    size_t cap = 64, depth = 0;
    uint32_t *chain = tel_arena_alloc(x->arena, cap * sizeof(*chain));
    for (size_t at = entry; !x->made[at];) {
        if (depth == cap) {
            uint32_t *longer = tel_arena_alloc(x->arena, 2 * cap * sizeof(*chain));
            memcpy(longer, chain, cap * sizeof(*chain));
            chain = longer;
            cap *= 2;
        }
        chain[depth++] = (uint32_t)at;
        struct ids_place place = place_of(x, at);
        struct step step;
        (void)take(x, at, &place, &step);
        if (step.literal)
            break;
        at = step.of;
    }
    while (depth) {
        tel_code rc = make(x, chain[--depth], err);
        if (rc != TEL_OK)
            return rc;
    }
    *ret = tel_span_make(text_at(x, x->made[entry] - 1), x->lens[entry]);
    return TEL_OK;
}

bool ids_index_key(struct tel_span start, uint16_t *ret_key, uint16_t *ret_mask)
{
    uint16_t key = 0, mask = 0;
    for (size_t i = 0; i < start.len; i++) {
        char c = start.ptr[i];
        bool digit = c >= '0' && c <= '9';
        if (!digit && !(c >= 'a' && c <= 'f'))
            return false;
        if (i < IDS_KEY_LEN) {
            key = (uint16_t)(key | (unsigned)(digit ? c - '0' : c - 'a' + 10) << (4 * i));
            mask = (uint16_t)(mask | 15u << (4 * i));
        }
    }
    *ret_key = key;
    *ret_mask = mask;
    return true;
}
