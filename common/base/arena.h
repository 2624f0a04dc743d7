/*
 * An arena: memory for what lives as long as a batch or a request, freed or reset at once.
 * Not safe for several threads. Pointers are valid until tel_arena_reset or _free.
 *
 *     blocks (newest first)   [ used ......... | free ]  ->  [ used ...... ]  ->  NULL
 *
 * Requests larger than a block get a block of their own. Reset keeps the first ordinary block, so a
 * loop that resets per batch soon stops calling malloc.
 */
#ifndef TEL_BASE_ARENA_H
#define TEL_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#include "common/base/check.h"
#include "common/base/span.h"

struct tel_arena_block;

struct tel_arena {
    struct tel_arena_block *head;
    char *next, *end; /* the free part of head */
    size_t block_size;
    size_t bytes; /* held from the heap */
};

/* block_size 0 means 64 KiB. Allocates nothing yet. */
void tel_arena_init(struct tel_arena *arena, size_t block_size);
void tel_arena_reset(struct tel_arena *arena);
void tel_arena_free(struct tel_arena *arena); /* an arena that is all zero is fine */

void *tel_arena_alloc_slow(struct tel_arena *arena, size_t size, size_t align);

/* Never NULL. align is a power of two of at most 64. */
static inline void *tel_arena_alloc_aligned(struct tel_arena *arena, size_t size, size_t align)
{
    size_t pad = (size_t)(-(unsigned long)arena->next & (align - 1));
    if (TEL_LIKELY(arena->next && size + pad >= size &&
                   (size_t)(arena->end - arena->next) >= size + pad)) {
        char *p = arena->next + pad;
        arena->next = p + size;
        return p;
    }
    return tel_arena_alloc_slow(arena, size, align);
}

static inline void *tel_arena_alloc(struct tel_arena *arena, size_t size)
{
    return tel_arena_alloc_aligned(arena, size, 16);
}

/* Zeroed; the product is checked for overflow. */
void *tel_arena_calloc(struct tel_arena *arena, size_t count, size_t size);

#define TEL_ARENA_NEW(arena, type)          ((type *)tel_arena_calloc((arena), 1, sizeof(type)))
#define TEL_ARENA_ARRAY(arena, type, count) ((type *)tel_arena_calloc((arena), (count), sizeof(type)))

/* A copy of s (NUL-terminated behind its end, which costs one byte and saves callers from C strings). */
struct tel_span tel_arena_copy(struct tel_arena *arena, struct tel_span s);
char *tel_arena_strdup(struct tel_arena *arena, const char *s);
struct tel_span tel_arena_printf(struct tel_arena *arena, const char *fmt, ...) TEL_PRINTF(2, 3);

#endif
