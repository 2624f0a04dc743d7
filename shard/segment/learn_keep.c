/*
 * What is learnt, kept beyond the process, and forgotten when it is not used. Clusters are all there
 * is to keep: with them, the first line of a known kind gets the template that it had before.
 *
 *     varint     version
 *     varint     families     each: length and bytes of what tells it
 *     varint     clusters     each: hash of the coarse key (8 bytes, LE), varint family,
 *                             varint when last used (s since the epoch), varint words,
 *                             a byte a word: 255 wild, else how many are known, and their hashes
 *                             (4 bytes, LE)
 *     CRC-32C    4 bytes, LE
 *
 * Forgetting is saving what is worth it and loading that.
 */
#include <stdlib.h>

#include "common/base/crc32c.h"
#include "common/base/clock.h"
#include "shard/segment/cursor.h"
#include "shard/segment/learn_private.h"
#include "shard/segment/streams.h"

#define VERSION       1u
#define WILD          255u
#define KEEP_CLUSTERS (CLUSTERS_MAX / 4)
#define KEEP_FAMILIES (FAMILIES_MAX / 4)
#define KEEP_BYTES    (SEGMENT_LEARNT_BYTES - 64) /* of families and clusters */
#define FORGET_S      (14u * 86400u)
#define SWEEP_S       86400u
#define CLUSTER_LEAST 11u /* bytes of a cluster without words */

struct keeping {
    const struct segment_learnt *learnt;
    TEL_VEC(uint32_t) clusters;      /* the ones to keep */
    uint32_t family_count;
    uint32_t *families;              /* learnt's number -> kept number + 1 */
    struct tel_span *names;          /* of learnt's families */
};

static int newest_first(const void *a, const void *b, void *ctx)
{
    const struct segment_learnt *l = ctx;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    uint32_t ux = l->clusters.items[x].used_s, uy = l->clusters.items[y].used_s;
    if (ux != uy)
        return ux > uy ? -1 : 1;
    return x > y ? -1 : x < y;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static size_t cluster_bytes(const struct cluster *c)
{
    size_t n = 8 + 3 * TEL_VARINT_MAX;
    for (uint32_t i = 0; i < c->word_count; i++)
        n += 1 + (c->positions[i].wild ? 0 : 4u * c->positions[i].count);
    return n;
}

/* Picks the clusters that were used last, as many as there is room for, and their families. */
static void choose(struct keeping *k)
{
    const struct segment_learnt *l = k->learnt;
    size_t bytes = 0, kept = 0;
    for (uint32_t i = 0; i < l->clusters.len; i++) {
        uint32_t used = l->clusters.items[i].used_s;
        if (l->now_s < used || l->now_s - used < FORGET_S)
            tel_vec_push(&k->clusters, i);
    }
    if (k->clusters.len)
        qsort_r(k->clusters.items, k->clusters.len, sizeof(uint32_t), newest_first,
                (void *)(uintptr_t)l);
    for (size_t i = 0; i < k->clusters.len && kept < KEEP_CLUSTERS; i++) {
        const struct cluster *c = &l->clusters.items[k->clusters.items[i]];
        bool fresh = k->families[c->family] == 0;
        size_t more = cluster_bytes(c);
        if (fresh)
            more += TEL_VARINT_MAX + k->names[c->family].len;
        if (bytes + more > KEEP_BYTES || (fresh && k->family_count == KEEP_FAMILIES))
            continue;
        bytes += more;
        if (fresh)
            k->families[c->family] = ++k->family_count;
        k->clusters.items[kept++] = k->clusters.items[i];
    }
    k->clusters.len = kept;
    if (kept) /* of one key, the order in which they were made decides between equals */
        qsort(k->clusters.items, kept, sizeof(uint32_t), by_number);
}

static void put_le(struct tel_buf *out, uint64_t v, size_t bytes)
{
    tel_buf_add(out, &v, bytes); /* little-endian machines only: format.h */
}

static void put_cluster(struct tel_buf *out, const struct cluster *c, uint32_t family)
{
    put_le(out, c->key, 8);
    put_varint(out, family);
    put_varint(out, c->used_s);
    put_varint(out, c->word_count);
    for (uint32_t i = 0; i < c->word_count; i++) {
        const struct position *p = &c->positions[i];
        tel_buf_add_char(out, (char)(p->wild ? WILD : p->count));
        for (unsigned w = 0; !p->wild && w < p->count; w++)
            put_le(out, p->words[w], 4);
    }
}

static void save(const struct segment_learnt *l, struct tel_buf *out)
{
    struct keeping k = {.learnt = l};
    k.families = tel_calloc(l->families.len, sizeof(*k.families));
    k.names = tel_calloc(l->families.len, sizeof(*k.names));
    struct tel_map_slot *slot;
    for (size_t pos = 0; (slot = tel_map_next(&l->family_numbers, &pos));)
        k.names[slot->value] = slot->key;
    choose(&k);
    struct tel_span *names = tel_calloc(k.family_count, sizeof(*names));
    for (size_t f = 0; f < l->families.len; f++) {
        if (k.families[f])
            names[k.families[f] - 1] = k.names[f];
    }
    size_t start = out->len;
    put_varint(out, VERSION);
    put_varint(out, k.family_count);
    for (uint32_t f = 0; f < k.family_count; f++)
        put_span(out, names[f]);
    put_varint(out, k.clusters.len);
    for (size_t i = 0; i < k.clusters.len; i++) {
        const struct cluster *c = &l->clusters.items[k.clusters.items[i]];
        put_cluster(out, c, k.families[c->family] - 1);
    }
    put_le(out, tel_crc32c(0, out->ptr + start, out->len - start), 4);
    TEL_CHECK(out->len - start <= SEGMENT_LEARNT_BYTES);
    tel_vec_free(&k.clusters);
    free(k.families);
    free(k.names);
    free(names);
}

static void forget_all(struct segment_learnt *l)
{
    learnt_forget_templates(l);
    tel_map_clear(&l->cluster_heads);
    tel_vec_clear(&l->clusters);
    tel_arena_reset(&l->cluster_arena);
    tel_map_clear(&l->family_numbers);
    tel_vec_clear(&l->families);
    l->changes = 0;
}

static void get_positions(struct cursor *c, struct cluster *to)
{
    for (uint32_t i = 0; i < to->word_count && !c->bad; i++) {
        struct position *p = &to->positions[i];
        unsigned count = cursor_byte(c);
        if (count == WILD) {
            p->wild = true;
            to->wild_count++;
            continue;
        }
        struct tel_span words = cursor_bytes(c, 4u * count);
        if (count >= WORD_SET || words.len != 4u * count) {
            cursor_fail(c);
            return;
        }
        p->count = (uint8_t)count;
        memcpy(p->words, words.ptr, words.len);
    }
}

static bool load(struct segment_learnt *l, struct cursor *c)
{
    size_t families = cursor_count(c, 1);
    for (size_t f = 0; f < families && !c->bad; f++) {
        struct tel_span name = cursor_span(c);
        if (families > KEEP_FAMILIES || learnt_family_put(l, name) != f) /* twice the same? */
            cursor_fail(c);
    }
    size_t clusters = cursor_count(c, CLUSTER_LEAST);
    for (size_t i = 0; i < clusters && !c->bad; i++) {
        uint64_t key = cursor_fixed64(c), family = cursor_varint(c);
        uint32_t used_s = cursor_u32(c);
        uint64_t words = cursor_bounded(c, WORDS_MAX);
        struct cluster *to =
            c->bad || family >= families ? NULL : learnt_cluster_put(l, key, (uint32_t)family, words);
        if (!to) {
            cursor_fail(c);
            break;
        }
        to->used_s = used_s;
        get_positions(c, to);
    }
    return !c->bad && cursor_left(c) == 0;
}

tel_code segment_learnt_load(struct segment_learnt *l, struct tel_span bytes, struct tel_error *err)
{
    uint32_t crc = 0;
    forget_all(l);
    if (bytes.len < 4 || bytes.len > SEGMENT_LEARNT_BYTES)
        return tel_error_set(err, TEL_ERR_CORRUPT, "%zu bytes", bytes.len);
    size_t len = bytes.len - 4;
    memcpy(&crc, bytes.ptr + len, 4);
    if (crc != tel_crc32c(0, bytes.ptr, len))
        return tel_error_set(err, TEL_ERR_CORRUPT, "the checksum of %zu bytes is wrong", len);
    struct cursor c = cursor_make(tel_span_make(bytes.ptr, len));
    uint64_t version = cursor_varint(&c);
    if (version != VERSION)
        return tel_error_set(err, TEL_ERR_UNSUPPORTED, "version %llu", (unsigned long long)version);
    if (!load(l, &c)) {
        forget_all(l);
        return tel_error_set(err, TEL_ERR_CORRUPT, "the tables cannot be read");
    }
    l->changes = 0;
    return TEL_OK;
}

void segment_learnt_save(struct segment_learnt *l, struct tel_buf *out)
{
    save(l, out);
    l->changes = 0;
}

uint64_t segment_learnt_changes(const struct segment_learnt *l)
{
    return l->changes;
}

void segment_learnt_age(struct segment_learnt *l, int64_t wall_ns)
{
    int64_t now_s = wall_ns / TEL_NS_PER_S;
    if (now_s > l->now_s && now_s <= UINT32_MAX)
        l->now_s = (uint32_t)now_s;
    if (l->swept_s == 0)
        l->swept_s = l->now_s;
    if (l->clusters.len <= CLUSTERS_MAX / 2 && l->families.len <= FAMILIES_MAX / 2 &&
        l->cluster_arena.bytes <= CLUSTER_BYTES / 2 && l->now_s - l->swept_s < SWEEP_S)
        return;
    struct tel_buf kept = {0};
    struct tel_error err;
    uint64_t changes = l->changes;
    save(l, &kept);
    TEL_CHECK(segment_learnt_load(l, tel_buf_span(&kept), &err) == TEL_OK);
    tel_buf_free(&kept);
    l->changes = changes + 1;
    l->swept_s = l->now_s;
}
