/* See learn.h. Three tables: known skeletons, clusters by coarse key, templates by skeleton. */
#include <stdlib.h>

#include "common/base/hash.h"
#include "shard/segment/learn_private.h"

struct segment_learnt *segment_learnt_new(void)
{
    struct segment_learnt *l = TEL_NEW(struct segment_learnt);
    l->known_slots = tel_calloc(KNOWN_SLOTS, sizeof(*l->known_slots));
    tel_arena_init(&l->arena, 0);
    tel_arena_init(&l->cluster_arena, 0);
    tel_map_init(&l->template_numbers);
    tel_map_init(&l->cluster_heads);
    tel_map_init(&l->family_numbers);
    return l;
}

void segment_learnt_free(struct segment_learnt *l)
{
    if (!l)
        return;
    free(l->known_slots);
    tel_vec_free(&l->known);
    tel_arena_free(&l->arena);
    tel_arena_free(&l->cluster_arena);
    tel_map_free(&l->template_numbers);
    tel_map_free(&l->cluster_heads);
    tel_map_free(&l->family_numbers);
    tel_vec_free(&l->templates);
    tel_vec_free(&l->clusters);
    tel_vec_free(&l->families);
    tel_buf_free(&l->coarse);
    tel_buf_free(&l->text);
    free(l);
}

/* Labels that tell an application, the strongest first. Without any, every stream is its own. */
static const char *const family_labels[] = {
    "app",     "application", "service", "service.name", "container",    "k8s.container.name",
    "job",     "program",     "unit",    "deployment",   "app.kubernetes.io/name",
};

uint32_t learnt_family_put(struct segment_learnt *l, struct tel_span key)
{
    if (l->families.len >= FAMILIES_MAX) {
        uint64_t *old = tel_map_get(&l->family_numbers, key);
        return old ? (uint32_t)*old : (uint32_t)(tel_hash64(key, 1) % FAMILIES_MAX);
    }
    bool fresh;
    uint64_t *number = tel_map_put(&l->family_numbers, key, &fresh);
    if (fresh) {
        *number = l->families.len;
        tel_vec_push(&l->families, ((struct family){0}));
    }
    return (uint32_t)*number;
}

uint32_t learnt_family(struct segment_learnt *l, const struct tel_field *labels,
                       uint32_t label_count)
{
    struct tel_buf *key = &l->coarse;
    tel_buf_clear(key);
    for (size_t f = 0; f < TEL_ARRAY_LEN(family_labels) && key->len == 0; f++) {
        for (uint32_t i = 0; i < label_count; i++) {
            if (tel_span_eq_cstr(labels[i].name, family_labels[f]))
                tel_buf_add_span(key, labels[i].value);
        }
    }
    for (uint32_t i = 0; i < label_count && key->len == 0; i++) {
        tel_buf_add_span(key, labels[i].name);
        tel_buf_add_char(key, '=');
        tel_buf_add_span(key, labels[i].value);
    }
    return learnt_family_put(l, tel_buf_span(key));
}

const struct learnt_template *learnt_template(const struct segment_learnt *l, uint32_t number)
{
    TEL_CHECK(number < l->templates.len);
    return &l->templates.items[number];
}

uint64_t learnt_generation(const struct segment_learnt *l)
{
    return l->generation;
}

void learnt_forget_templates(struct segment_learnt *l)
{
    memset(l->known_slots, 0, KNOWN_SLOTS * sizeof(*l->known_slots));
    tel_vec_clear(&l->known);
    tel_map_clear(&l->template_numbers);
    tel_vec_clear(&l->templates);
    tel_arena_reset(&l->arena);
    l->generation++;
    l->worked_out = 0;
}

/* Does a word that ends at `end` name a value? */
static bool is_key(const char *s, size_t len, size_t end)
{
    return (end < len && s[end] == '=') || (end + 1 < len && s[end] == '"' && s[end + 1] == ':');
}

/* The coarse key, and the words that it leaves out; false if there are too many. */
static bool reduce(struct segment_learnt *l, struct tel_span skeleton)
{
    const char *s = skeleton.ptr;
    tel_buf_clear(&l->coarse);
    tel_buf_reserve(&l->coarse, skeleton.len + 1);
    char *out = l->coarse.ptr;
    l->run_count = 0;
    for (size_t i = 0; i < skeleton.len;) {
        if (!split_is_word[(unsigned char)s[i]]) {
            *out++ = s[i++];
            continue;
        }
        size_t start = i;
        while (i < skeleton.len && split_is_word[(unsigned char)s[i]])
            i++;
        if (is_key(s, skeleton.len, i)) {
            memcpy(out, s + start, i - start);
            out += i - start;
            continue;
        }
        if (l->run_count == WORDS_MAX)
            return false;
        l->hashes[l->run_count] = (uint32_t)tel_hash64(tel_span_make(s + start, i - start), 0);
        l->runs[l->run_count++] = (struct word_run){(uint32_t)start, (uint32_t)(i - start)};
        *out++ = 1;
    }
    l->coarse.len = (size_t)(out - l->coarse.ptr);
    return true;
}

static bool position_holds(const struct position *p, uint32_t word)
{
    for (unsigned i = 0; i < p->count; i++) {
        if (p->words[i] == word)
            return true;
    }
    return false;
}

/* The words that were just reduced join the cluster. */
static void cluster_join(struct segment_learnt *l, struct cluster *c)
{
    c->used_s = l->now_s;
    for (size_t i = 0; i < l->run_count; i++) {
        struct position *p = &c->positions[i];
        if (p->wild || position_holds(p, l->hashes[i]))
            continue;
        if (p->count < WORD_SET - 1) {
            p->words[p->count++] = l->hashes[i];
            l->changes++;
        } else if ((c->wild_count + 1) * 2 <= c->word_count + 1) {
            p->wild = true;
            c->wild_count++;
            c->version++;
            l->changes++;
        }
    }
}

struct cluster *learnt_cluster_put(struct segment_learnt *l, uint64_t key, uint32_t family,
                                   size_t word_count)
{
    if (l->clusters.len >= CLUSTERS_MAX || l->cluster_arena.bytes >= CLUSTER_BYTES)
        return NULL;
    uint64_t whole[2] = {key, family};
    uint64_t *head = tel_map_put(&l->cluster_heads, tel_span_make(whole, sizeof(whole)), NULL);
    struct cluster c = {.key = key,
                        .family = family,
                        .next = (uint32_t)*head,
                        .word_count = (uint32_t)word_count,
                        .used_s = l->now_s};
    c.positions = TEL_ARENA_ARRAY(&l->cluster_arena, struct position, word_count);
    tel_vec_push(&l->clusters, c);
    *head = l->clusters.len;
    l->changes++;
    return &l->clusters.items[l->clusters.len - 1];
}

/* The cluster of the words that were just reduced; LEARNT_NONE if there is no room for one. */
static uint32_t cluster_find(struct segment_learnt *l, uint32_t family, size_t holes)
{
    uint64_t key[2] = {tel_hash64(tel_buf_span(&l->coarse), 0), family};
    const uint64_t *head = tel_map_get(&l->cluster_heads, tel_span_make(key, sizeof(key)));
    uint32_t best = LEARNT_NONE, count = 0;
    size_t best_score = 0; /* of 1,024 */
    for (uint32_t at = head ? (uint32_t)*head : 0; at; at = l->clusters.items[at - 1].next, count++) {
        const struct cluster *c = &l->clusters.items[at - 1];
        size_t equal = 0, fixed = 0;
        if (c->word_count != l->run_count)
            continue;
        for (size_t i = 0; i < l->run_count; i++) {
            fixed += !c->positions[i].wild;
            equal += !c->positions[i].wild && position_holds(&c->positions[i], l->hashes[i]);
        }
        size_t of = 2 * fixed + holes;
        size_t score = of ? (2 * equal + holes) * 1024 / of : 1024;
        if (score > best_score) {
            best_score = score;
            best = at - 1;
        }
    }
    if (best_score > 512)
        return best;
    if (count < CLUSTERS_PER_KEY && learnt_cluster_put(l, key[0], family, l->run_count))
        return (uint32_t)l->clusters.len - 1;
    return best_score > 256 ? best : LEARNT_NONE;
}

/* The template of the skeleton with the wild words of its cluster as holes. */
static uint32_t template_of(struct segment_learnt *l, uint32_t family, struct tel_span skeleton,
                            size_t holes, const struct cluster *c, struct known *k)
{
    struct tel_buf *text = &l->text;
    tel_buf_clear(text);
    struct wild *wilds = l->wilds;
    uint32_t wild_count = 0, before = 0;
    size_t pos = 0, base = 0;
    for (size_t i = 0; c && i < l->run_count; i++) {
        if (!c->positions[i].wild)
            continue;
        struct word_run run = l->runs[i];
        for (size_t p = pos; p < run.start; p++) {
            if (skeleton.ptr[p] == 0) {
                before++;
                base = p + 1;
            }
        }
        wilds[wild_count++] = (struct wild){before, (uint32_t)(run.start - base), run.len};
        tel_buf_add(text, skeleton.ptr + pos, run.start - pos);
        tel_buf_add_char(text, 0);
        pos = run.start + run.len;
    }
    tel_buf_add(text, skeleton.ptr + pos, skeleton.len - pos);
    tel_buf_add(text, &family, sizeof(family));
    bool fresh;
    uint64_t *number = tel_map_put(&l->template_numbers, tel_buf_span(text), &fresh);
    if (fresh) {
        *number = l->templates.len;
        text->len -= sizeof(family);
        tel_vec_push(&l->templates,
                     ((struct learnt_template){tel_arena_copy(&l->arena, tel_buf_span(text)),
                                               family, (uint32_t)holes + wild_count}));
    }
    k->wilds = wilds;
    k->wild_count = wild_count;
    l->made_template = fresh;
    return (uint32_t)*number;
}

/* Fills k's template from what is known about the skeleton; false if it is not to be learnt. */
static bool learn(struct segment_learnt *l, uint32_t family, const struct splitter *sp,
                  struct known *k)
{
    struct tel_span skeleton = tel_span_make(sp->skeleton, sp->skeleton_len);
    if (!reduce(l, skeleton))
        return false;
    k->cluster = cluster_find(l, family, sp->hole_count);
    struct cluster *c = NULL;
    if (k->cluster != LEARNT_NONE) {
        c = &l->clusters.items[k->cluster];
        cluster_join(l, c);
        k->version = c->version;
    }
    k->template_number = template_of(l, family, skeleton, sp->hole_count, c, k);
    return true;
}

static void merge_wilds(struct segment_learnt *l, struct splitter *sp, const struct known *k)
{
    size_t n = 0, w = 0, total = sp->hole_count + k->wild_count;
    uint32_t base = 0;
    TEL_CHECK(total <= SPLIT_HOLES_ALL);
    for (size_t i = 0; i <= sp->hole_count; i++) {
        for (; w < k->wild_count && k->wilds[w].before == i; w++)
            l->merged[n++] = (struct hole){base + k->wilds[w].offset, k->wilds[w].len};
        if (i < sp->hole_count) {
            l->merged[n++] = sp->holes[i];
            base = sp->holes[i].start + sp->holes[i].len;
        }
    }
    memcpy(sp->holes, l->merged, n * sizeof(*l->merged));
    sp->hole_count = n;
}

/* May an unknown skeleton of this family still teach? Text without templates must not cost more
 * than a look at one line in 16. */
static bool may_teach(struct family *f)
{
    return f->failures <= FREE_FAILURES + f->rows / 16 || ++f->skipped % 16 == 0;
}

static uint32_t settle(struct segment_learnt *l, struct splitter *sp, const struct known *k)
{
    if (k->wild_count)
        merge_wilds(l, sp, k);
    return k->template_number;
}

/* Keeps the skeleton, so that it is known next time. */
static void remember(struct segment_learnt *l, const struct splitter *sp, size_t slot,
                     struct known k)
{
    struct tel_span copy =
        tel_arena_copy(&l->arena, tel_span_make(sp->skeleton, sp->skeleton_len));
    struct wild *wilds = tel_arena_alloc(&l->arena, k.wild_count * sizeof(*wilds) + 1);
    memcpy(wilds, k.wilds, k.wild_count * sizeof(*wilds));
    k.wilds = wilds;
    k.skeleton = copy.ptr;
    k.skeleton_len = (uint32_t)copy.len;
    tel_vec_push(&l->known, k);
    l->known_slots[slot] = (uint32_t)l->known.len;
}

static uint32_t match_unknown(struct segment_learnt *l, uint32_t family, struct splitter *sp,
                              uint64_t hash, size_t slot)
{
    struct family *f = &l->families.items[family];
    if (!may_teach(f))
        return LEARNT_NONE;
    if (l->templates.len >= TEMPLATES_MAX || l->arena.bytes > KNOWN_BYTES_MAX ||
        l->worked_out > AGE_MAX) {
        learnt_forget_templates(l);
        slot = hash % KNOWN_SLOTS;
    }
    struct known k = {.hash = hash, .family = family};
    bool learnt = learn(l, family, sp, &k);
    f->failures += !learnt || l->made_template;
    if (!learnt)
        return LEARNT_NONE;
    /* words that vary make skeletons without end: the later ones are worked out each time, until
     * what is known seems to have aged */
    if (l->known.len < KNOWN_SLOTS / 2)
        remember(l, sp, slot, k);
    else
        l->worked_out++;
    return settle(l, sp, &k);
}

/* A known skeleton whose cluster has changed. */
static bool relearn(struct segment_learnt *l, uint32_t family, struct splitter *sp,
                    struct known *k)
{
    if (!learn(l, family, sp, k))
        return false;
    struct wild *wilds = tel_arena_alloc(&l->arena, k->wild_count * sizeof(*wilds) + 1);
    memcpy(wilds, k->wilds, k->wild_count * sizeof(*wilds));
    k->wilds = wilds;
    return true;
}

uint32_t learnt_match(struct segment_learnt *l, uint32_t family, struct splitter *sp,
                      struct tel_span line)
{
    (void)line;
    struct tel_span skeleton = tel_span_make(sp->skeleton, sp->skeleton_len);
    uint64_t hash = tel_hash64(skeleton, family);
    struct family *f = &l->families.items[family];
    if (++f->rows >= UINT64_C(1) << 24) {
        f->rows /= 2;
        f->failures /= 2;
    }
    size_t slot = hash % KNOWN_SLOTS;
    for (; l->known_slots[slot]; slot = (slot + 1) % KNOWN_SLOTS) {
        struct known *k = &l->known.items[l->known_slots[slot] - 1];
        if (k->hash != hash || k->family != family || k->skeleton_len != skeleton.len ||
            memcmp(k->skeleton, skeleton.ptr, skeleton.len) != 0)
            continue;
        if (k->cluster != LEARNT_NONE) {
            struct cluster *c = &l->clusters.items[k->cluster];
            c->used_s = l->now_s;
            if (TEL_UNLIKELY(c->version != k->version) && !relearn(l, family, sp, k))
                return LEARNT_NONE;
        }
        return settle(l, sp, k);
    }
    return match_unknown(l, family, sp, hash, slot);
}
