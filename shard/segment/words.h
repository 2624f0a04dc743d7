/*
 * The segment's filter: which words stand in holes and in the rest, and which in each attribute. A word
 * that is not in it, and not in a template's static text, is in no row of that template. Words with a
 * digit count from seven characters on (shorter numbers are found by scanning), others from two.
 *
 * Words of an attribute are kept under its name: what bodies are asked for is told apart from what every
 * event has in some attribute, its level above all.
 *
 * A binary fuse filter (fuse.h), a byte and a sixth a word. Segments of few words, and those of earlier
 * versions, have a split-block Bloom filter (Putze, Sanders and Singler 2007, as Apache Parquet lays it
 * out): a word sets one bit in each of the eight 32-bit lanes of one 32-byte block.
 *
 *     section   varint flags
 *               0, 2: varint blocks;  blocks * 32 bytes
 *               1:    varint 0                               too many words: it says "maybe"
 *               4:    varint log of a fuse segment's bytes, segments, seed;  prints
 */
#ifndef SHARD_SEGMENT_WORDS_H
#define SHARD_SEGMENT_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/vec.h"
#include "shard/segment/fuse.h"

#define WORDS_DIGIT_LEN_MIN 7u
#define WORDS_LEN_MIN       2u

#define WORDS_RECENT 4096u

/* Collects the words of a segment. */
struct words_writer {
    TEL_VEC(uint64_t) hashes;
    TEL_VEC(uint64_t) sorted; /* of words_put: those that are distinct */
    uint64_t recent[WORDS_RECENT]; /* most words recur soon */
    size_t budget;    /* hashes that may still be added */
    uint64_t under;   /* what the words to come are kept under; 0: they are of bodies */
    bool incomplete;  /* the budget ran out: the filter says nothing */
};

void words_writer_init(struct words_writer *w);
void words_writer_done(struct words_writer *w);
void words_writer_reset(struct words_writer *w, size_t budget);

/* What the words of an attribute are kept under: of its kind (enum segment_attribute_kind) and name. */
uint64_t words_under(unsigned kind, struct tel_span name);

/* Does the filter tell whether this word is there? */
bool words_counts(struct tel_span word);
/* A word, if it counts; 16 bytes behind its start must be readable. */
void words_add(struct words_writer *w, struct tel_span word);
/* All words of a text, with the same slack behind it. */
void words_add_text(struct words_writer *w, struct tel_span text);

/* Appends the section. */
void words_put(struct words_writer *w, struct tel_buf *out);

/* The hash of a word that goes into a filter, without what it is kept under. */
uint64_t words_hash(struct tel_span word);

/* A filter as it is read; all zero: says "maybe" to everything. */
struct words_filter {
    const char *blocks;
    uint32_t block_count;
    struct fuse fuse; /* if it has prints */
    bool named; /* words of attributes are under their names; in older segments they are among the others */
};

/* False if the section cannot be read. */
bool words_filter_open(struct tel_span section, struct words_filter *ret);
/* May a hole hold the word, or (with what words_under says) an attribute? */
bool words_filter_may(const struct words_filter *f, uint64_t under, struct tel_span word);
/* The same of the hash of a word that counts, exclusive-or with what it is kept under. */
bool words_filter_has(const struct words_filter *f, uint64_t hash);

/* Blocks for so many words at so many bits each, and their making: blocks * WORDS_BLOCK_BYTES, zeroed. */
#define WORDS_BLOCK_BYTES 32u
uint32_t words_blocks_for(size_t words, unsigned bits_per_word);
void words_blocks_add(char *blocks, uint32_t block_count, uint64_t hash);

#endif
