/* What learn.c and learn_keep.c share: the tables of what is learnt. */
#ifndef SHARD_SEGMENT_LEARN_PRIVATE_H
#define SHARD_SEGMENT_LEARN_PRIVATE_H

#include "common/base/buf.h"
#include "common/base/map.h"
#include "common/base/vec.h"
#include "shard/segment/learn.h"

#define KNOWN_SLOTS      (1u << 16) /* at most half of them are used */
#define AGE_MAX          (1u << 20) /* lines */
#define KNOWN_BYTES_MAX  (16u << 20)
#define TEMPLATES_MAX    (1u << 16)
#define CLUSTERS_MAX     (1u << 15)
#define CLUSTER_BYTES    (8u << 20)
#define CLUSTERS_PER_KEY 8u
#define FAMILIES_MAX     4096u
#define WORDS_MAX        96u
#define WORD_SET         4u /* so many distinct words make a position wild */
#define FREE_FAILURES    2048u

struct wild {
    uint32_t before; /* holes of the skeleton before it */
    uint32_t offset; /* from the end of the last of them, or from the line's begin */
    uint32_t len;
};

struct known {
    uint64_t hash;
    const char *skeleton;
    uint32_t skeleton_len, family;
    uint32_t template_number;
    uint32_t cluster, version;
    uint32_t wild_count;
    const struct wild *wilds;
};

struct position {
    uint32_t words[WORD_SET];
    uint8_t count;
    bool wild;
};

/* Skeletons with the same coarse key (by its hash) whose words agree. */
struct cluster {
    uint64_t key;
    uint32_t family;
    uint32_t next; /* of the same key, +1 */
    uint32_t word_count, wild_count, version;
    uint32_t used_s; /* when a line last fell into it, by learnt's clock */
    struct position *positions;
};

struct family {
    uint64_t rows;
    uint64_t failures; /* lines that made a template or found none */
    uint32_t skipped;
};

struct word_run {
    uint32_t start, len;
};

struct segment_learnt {
    uint32_t *known_slots; /* by hash: known + 1; what is looked up often lies together in `known` */
    TEL_VEC(struct known) known;
    struct tel_arena arena; /* skeletons, wild lists, templates' text */
    struct tel_map template_numbers;
    TEL_VEC(struct learnt_template) templates;
    uint64_t generation;
    uint64_t worked_out; /* lines since the table of known skeletons is full */

    struct tel_map cluster_heads; /* key and family -> cluster + 1 */
    TEL_VEC(struct cluster) clusters;
    struct tel_arena cluster_arena;
    uint64_t changes;         /* of clusters, since they were saved */
    uint32_t now_s, swept_s;  /* seconds since the epoch, as segment_learnt_age was told */

    struct tel_map family_numbers;
    TEL_VEC(struct family) families;

    struct tel_buf coarse, text; /* scratch */
    struct word_run runs[WORDS_MAX];
    uint32_t hashes[WORDS_MAX];
    size_t run_count;
    struct wild wilds[WORDS_MAX]; /* of the line at hand */
    bool made_template;           /* for it */
    struct hole merged[SPLIT_HOLES_ALL];
};

/* The family's number, made if there is room for one. */
uint32_t learnt_family_put(struct segment_learnt *learnt, struct tel_span key);
/* A cluster without words yet, the first of its key; NULL if there is no room. */
struct cluster *learnt_cluster_put(struct segment_learnt *learnt, uint64_t key, uint32_t family,
                                   size_t word_count);
void learnt_forget_templates(struct segment_learnt *learnt);

#endif
