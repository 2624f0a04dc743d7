/*
 * Identifiers: request ids, block ids, hex and digits of eight and more characters that recur,
 * whole or nearly, over the lines of an application. All those of a family lie in one sequence, in
 * the order of rows, shared by its templates; each refers back to the last one with the same first
 * four characters, or is a packed literal.
 *
 *     38101a0b9c   literal
 *     38101a0b9c   back 1, no edits
 *     3810ff0b     back 1, edits at 4, 5: f f
 *     3810ff0b9c   back 1, no edits
 *
 * An entry that is shorter than the one that it refers to keeps the other's tail in mind, so that a
 * longer one behind it (the last line above) can refer to both at once.
 *
 * A template has a fixed number of *slots* per row; a row that has no value for a slot has an entry
 * of length 0. So the entry of (row, slot) is found by counting slots of the family's rows before.
 */
#ifndef SHARD_SEGMENT_IDS_H
#define SHARD_SEGMENT_IDS_H

#include "shard/segment/streams.h"

#define IDS_LEN_MIN  5u
#define IDS_LEN_SURE 8u /* shorter ones must be seen to recur */
#define IDS_LEN_MAX  40u
#define IDS_KEY_LEN  4u /* first characters, which an entry shares with the one it refers to */

struct ids_entry {
    union {
        uint32_t row;
        uint32_t slot; /* of the table, once they are in the order of their rows */
    };
    uint32_t len;
    const char *text; /* digits and lower-case hex letters, with a segment's slack behind */
};

/* What can be referred to: an entry's text and the tail that it keeps in mind. */
struct ids_known {
    uint32_t len;
    char text[IDS_LEN_MAX + 4]; /* is read 8 bytes at a time behind the first four */
};

struct ids_last {
    uint32_t entry; /* + 1 */
    uint32_t known;
};

struct ids_writer {
    TEL_VEC(struct ids_entry) entries; /* of the family at hand */
    TEL_VEC(struct ids_entry) ordered;
    TEL_VEC(uint32_t) starts;
    struct ids_last *last;  /* the table: by hash of the first characters */
    TEL_VEC(struct ids_known) known; /* by table slot, numbered in the order of appearance */
    TEL_VEC(uint32_t) used; /* table slots, to be cleared */
    struct tel_buf lens, ops, near, far, positions, nibbles;
};

void ids_writer_init(struct ids_writer *w);
void ids_writer_done(struct ids_writer *w);
static inline void ids_add(struct ids_writer *w, uint32_t row, struct tel_span text)
{
    tel_vec_push(&w->entries, ((struct ids_entry){{row}, (uint32_t)text.len, text.ptr}));
}
/* Encodes what was added, whose rows are < row_count, and is ready for the next family. */
void ids_put(struct ids_writer *w, struct stream_writer *out, struct tel_buf *node,
             uint32_t row_count);

/* Reads `count` entries into arena. */
TEL_MUST_USE tel_code ids_get(struct stream_reader *r, struct cursor *node, size_t count,
                              struct tel_span **ret, struct tel_error *err);

#endif
