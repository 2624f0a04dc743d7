/*
 * Character marks: which kinds of bytes a text holds, 31 kinds in 32 bits. A text can only hold
 * another if its marks cover the other's, so that a substring or expression is looked for only in
 * columns that may hold it.
 */
#ifndef SHARD_SEGMENT_MARKS_H
#define SHARD_SEGMENT_MARKS_H

#include <stdint.h>

#include "common/base/span.h"

#define MARKS_DIGITS (UINT32_C(1) << 0)
#define MARKS_HEX    (UINT32_C(1) << 1) /* a to f */
#define MARKS_ALL    UINT32_MAX

uint32_t marks_of(struct tel_span text);

#endif
