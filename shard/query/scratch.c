#include "shard/query/scratch.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "common/sys/thread.h"

/* What a search of a segment of the usual size takes; only what is touched is resident. */
#define BLOCK_BYTES (16u << 20)
#define KEPT_MAX    8u

struct scratch {
    struct tel_mutex lock;
    unsigned max_kept, kept;
    unsigned unused; /* at the bottom of the stack, so many were not taken since the last trim */
    struct tel_arena arenas[KEPT_MAX];
};

struct scratch *scratch_new(unsigned max_kept)
{
    struct scratch *s = TEL_NEW(struct scratch);
    tel_mutex_init(&s->lock);
    s->max_kept = TEL_MIN(max_kept, KEPT_MAX);
    return s;
}

void scratch_free(struct scratch *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->kept; i++)
        tel_arena_free(&s->arenas[i]);
    tel_mutex_done(&s->lock);
    free(s);
}

void scratch_take(struct scratch *s, struct tel_arena *ret)
{
    tel_arena_init(ret, BLOCK_BYTES);
    if (!s)
        return;
    tel_mutex_lock(&s->lock);
    if (s->kept)
        *ret = s->arenas[--s->kept];
    s->unused = TEL_MIN(s->unused, s->kept);
    tel_mutex_unlock(&s->lock);
}

void scratch_put(struct scratch *s, struct tel_arena *arena)
{
    if (!s) {
        tel_arena_free(arena);
        return;
    }
    tel_arena_reset(arena);
    tel_mutex_lock(&s->lock);
    bool keep = s->kept < s->max_kept;
    if (keep)
        s->arenas[s->kept++] = *arena;
    tel_mutex_unlock(&s->lock);
    if (!keep)
        tel_arena_free(arena);
}

void scratch_trim(struct scratch *s)
{
    struct tel_arena gone[KEPT_MAX];
    unsigned count = 0;
    tel_mutex_lock(&s->lock);
    while (count < s->unused) {
        gone[count] = s->arenas[count];
        count++;
    }
    for (unsigned i = count; i < s->kept; i++)
        s->arenas[i - count] = s->arenas[i];
    s->kept -= count;
    s->unused = s->kept;
    tel_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < count; i++)
        tel_arena_free(&gone[i]);
}
