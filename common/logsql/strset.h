/*
 * A set of byte strings that is small when it holds little: stats keep one per group. Strings lie
 * one behind the other in one piece of memory, each with its length in front; a table of offsets
 * finds them. All zero is the empty set.
 */
#ifndef TEL_LOGSQL_STRSET_H
#define TEL_LOGSQL_STRSET_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

struct tel_strset {
    struct tel_buf bytes;
    uint32_t *slots; /* offset + 1 */
    size_t cap, len;
};

void tel_strset_free(struct tel_strset *set);
/* True if it was new. Full sets (4 GiB) take nothing. */
bool tel_strset_add(struct tel_strset *set, struct tel_span s);
/* Iteration in order of insertion, from *pos = 0. */
bool tel_strset_next(const struct tel_strset *set, size_t *pos, struct tel_span *ret);
size_t tel_strset_held(const struct tel_strset *set);

/* Strings with their lengths in front, in a buffer. */
void tel_strlist_add(struct tel_buf *list, struct tel_span s);
bool tel_strlist_next(struct tel_span list, size_t *pos, struct tel_span *ret);
/* Is it a list, all of it? */
bool tel_strlist_valid(struct tel_span list, size_t *ret_count);

#endif
