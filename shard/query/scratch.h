/*
 * Arenas that searches work in, handed from one to the next: what a segment unpacks to is megabytes,
 * and memory that is fresh from the kernel costs more to touch than to use. Few are kept, and none
 * when nobody searches. Any thread.
 */
#ifndef SHARD_QUERY_SCRATCH_H
#define SHARD_QUERY_SCRATCH_H

#include "common/base/arena.h"

struct scratch;

struct scratch *scratch_new(unsigned max_kept);
void scratch_free(struct scratch *scratch); /* NULL is fine */

/* An empty arena, to be given back. Of a scratch that is NULL it is always a new one. */
void scratch_take(struct scratch *scratch, struct tel_arena *ret);
void scratch_put(struct scratch *scratch, struct tel_arena *arena);
/* Frees those that were kept and not used since the last call. */
void scratch_trim(struct scratch *scratch);

#endif
