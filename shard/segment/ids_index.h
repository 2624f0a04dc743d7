/*
 * Ids one by one. An index knows where each entry's bytes lie in the streams of ids.h, after one
 * cheap pass over operations and distances, and puts single texts together when they are asked for.
 *
 * The first four characters of an id are never edited: an entry's are those of the literal that its
 * chain of references ends in. The pass notes them as four nibbles, so that which ids begin in a
 * certain way is known without putting any together.
 */
#ifndef SHARD_SEGMENT_IDS_INDEX_H
#define SHARD_SEGMENT_IDS_INDEX_H

#include "shard/segment/ids.h"

struct ids_place {
    uint32_t op, ref, position, nibble; /* in their streams */
};

struct ids_index {
    struct tel_arena *arena;
    size_t count;
    const uint8_t *lens;      /* by entry */
    uint8_t *known;           /* by entry: the length of its text and the tail it keeps in mind */
    uint16_t *keys;           /* by entry: its first characters, the first in the lowest nibble */
    struct ids_place *places; /* of every IDS_STEP-th entry */
    struct tel_span ops, near, far, positions, nibbles;
    uint32_t *made;           /* by entry: text + 1; NULL until one is made */
    char **chunks;            /* of texts */
    uint32_t made_count;
};

/* Lives in the reader's arena, as its texts do. */
TEL_MUST_USE tel_code ids_index_open(struct stream_reader *r, struct cursor *node, size_t count,
                                     struct ids_index **ret, struct tel_error *err);
/* The text of an entry, entry < count, with STREAM_SLACK readable bytes behind it. */
TEL_MUST_USE tel_code ids_index_text(struct ids_index *x, size_t entry, struct tel_span *ret,
                                     struct tel_error *err);
/* The key of ids that begin with these characters, and which of its bits those decide. False if no
 * id begins so: some character is no digit or lower-case hex letter. */
bool ids_index_key(struct tel_span start, uint16_t *ret_key, uint16_t *ret_mask);

#endif
