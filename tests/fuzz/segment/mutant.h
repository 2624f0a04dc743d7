/*
 * Segments with damage: a small segment is built once; bytes of a test's input say how it is edited,
 * before it is opened and searched. Directory and nodes are edited unpacked, so that the damage
 * reaches the parsers behind zstd; other sections as they are.
 *
 *     input   { target (1 byte), offset (2), value (1) } ...
 *             target: 0 directory, 1 nodes, 2 filter, 3.. data sections; from 128 on: cut at offset
 */
#ifndef TESTS_FUZZ_SEGMENT_MUTANT_H
#define TESTS_FUZZ_SEGMENT_MUTANT_H

#include <stddef.h>
#include <stdint.h>

/* Returns how many of its searches failed with an error; a wrong read ends the process. */
unsigned mutant_run(const uint8_t *edits, size_t len);

#endif
