#include "common/base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"

#define DEFAULT_BLOCK_SIZE (64 * 1024)

struct tel_arena_block {
    struct tel_arena_block *next;
    size_t size; /* of data */
    _Alignas(16) char data[];
};

void tel_arena_init(struct tel_arena *arena, size_t block_size)
{
    *arena = (struct tel_arena){.block_size = block_size ? block_size : DEFAULT_BLOCK_SIZE};
}

static struct tel_arena_block *block_new(struct tel_arena *arena, size_t size)
{
    TEL_CHECK(size <= SIZE_MAX - sizeof(struct tel_arena_block));
    struct tel_arena_block *block = tel_malloc(sizeof *block + size);
    block->size = size;
    block->next = NULL;
    arena->bytes += sizeof *block + size;
    return block;
}

static void block_use(struct tel_arena *arena, struct tel_arena_block *block)
{
    arena->next = block->data;
    arena->end = block->data + block->size;
}

static char *align_up(char *p, size_t align)
{
    return p + ((size_t)(-(uintptr_t)p) & (align - 1));
}

void *tel_arena_alloc_slow(struct tel_arena *arena, size_t size, size_t align)
{
    TEL_CHECK(align > 0 && align <= 64 && (align & (align - 1)) == 0);
    TEL_CHECK(size <= SIZE_MAX / 2);
    if (arena->block_size == 0)
        arena->block_size = DEFAULT_BLOCK_SIZE;

    if (size + align > arena->block_size) {
        /* A block of its own, put behind the head so that the head's free part stays in use. */
        struct tel_arena_block *big = block_new(arena, size + align);
        if (arena->head) {
            big->next = arena->head->next;
            arena->head->next = big;
        } else {
            arena->head = big;
            arena->next = arena->end = big->data + big->size;
        }
        return align_up(big->data, align);
    }
    struct tel_arena_block *block = block_new(arena, arena->block_size);
    block->next = arena->head;
    arena->head = block;
    block_use(arena, block);
    char *p = align_up(arena->next, align);
    arena->next = p + size;
    return p;
}

static void free_blocks(struct tel_arena *arena, struct tel_arena_block *keep)
{
    for (struct tel_arena_block *block = arena->head, *next; block; block = next) {
        next = block->next;
        if (block != keep)
            free(block);
    }
}

void tel_arena_reset(struct tel_arena *arena)
{
    struct tel_arena_block *keep = NULL;
    for (struct tel_arena_block *block = arena->head; block; block = block->next) {
        if (block->size == arena->block_size)
            keep = block;
    }
    free_blocks(arena, keep);
    arena->head = keep;
    arena->next = arena->end = NULL;
    arena->bytes = 0;
    if (keep) {
        keep->next = NULL;
        arena->bytes = sizeof *keep + keep->size;
        block_use(arena, keep);
    }
}

void tel_arena_free(struct tel_arena *arena)
{
    free_blocks(arena, NULL);
    *arena = (struct tel_arena){.block_size = arena->block_size};
}

void *tel_arena_calloc(struct tel_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    TEL_CHECK(!__builtin_mul_overflow(count, size, &bytes));
    void *p = tel_arena_alloc(arena, bytes);
    if (bytes)
        memset(p, 0, bytes);
    return p;
}

struct tel_span tel_arena_copy(struct tel_arena *arena, struct tel_span s)
{
    char *p = tel_arena_alloc_aligned(arena, s.len + 1, 1);
    if (s.len)
        memcpy(p, s.ptr, s.len);
    p[s.len] = '\0';
    return tel_span_make(p, s.len);
}

char *tel_arena_strdup(struct tel_arena *arena, const char *s)
{
    /* The copy is NUL-terminated and ours, so the const can go. */
    return (char *)(uintptr_t)tel_arena_copy(arena, tel_span_cstr(s)).ptr;
}

struct tel_span tel_arena_printf(struct tel_arena *arena, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    TEL_CHECK(len >= 0);
    char *p = tel_arena_alloc_aligned(arena, (size_t)len + 1, 1);
    vsnprintf(p, (size_t)len + 1, fmt, again);
    va_end(again);
    va_end(args);
    return tel_span_make(p, (size_t)len);
}
