#include "shard/ingest/chunk.h"

#include <stdlib.h>

#include "common/base/mem.h"

/* A trickle seals a chunk with a few lines in it several times a second. */
#define BLOCK_SMALL (4u << 10)
#define BLOCK_BIG   (256u << 10)

struct chunk *chunk_new(bool big, int64_t mono_ns)
{
    struct chunk *chunk = TEL_NEW(struct chunk);
    atomic_init(&chunk->refs, 1);
    tel_arena_init(&chunk->arena, big ? BLOCK_BIG : BLOCK_SMALL);
    chunk->min_time_ns = INT64_MAX;
    chunk->max_time_ns = INT64_MIN;
    chunk->born_ns = mono_ns;
    return chunk;
}

void chunk_add(struct chunk *chunk, const struct chunk_run *run)
{
    tel_vec_push(&chunk->runs, *run);
    chunk->rows += run->count;
    chunk->min_time_ns = TEL_MIN(chunk->min_time_ns, run->min_time_ns);
    chunk->max_time_ns = TEL_MAX(chunk->max_time_ns, run->max_time_ns);
}

size_t chunk_bytes(const struct chunk *chunk)
{
    return sizeof(*chunk) + chunk->arena.bytes + chunk->runs.cap * sizeof(*chunk->runs.items);
}

struct chunk *chunk_ref(struct chunk *chunk)
{
    atomic_fetch_add_explicit(&chunk->refs, 1, memory_order_relaxed);
    return chunk;
}

void chunk_unref(struct chunk *chunk)
{
    if (!chunk || atomic_fetch_sub_explicit(&chunk->refs, 1, memory_order_acq_rel) != 1)
        return;
    tel_vec_free(&chunk->runs);
    tel_arena_free(&chunk->arena);
    free(chunk);
}

void chunk_list_done(chunk_list *list)
{
    for (size_t i = 0; i < list->len; i++)
        chunk_unref(list->items[i]);
    tel_vec_free(list);
}
