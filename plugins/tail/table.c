#include "plugins/tail/table.h"

#include <stdlib.h>

#include "plugins/tail/memory.h"

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = a * 0x9e3779b97f4a7c15u + b;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The slot of the key, or the free one where it belongs. The table has a free slot. */
static struct table_slot *find(const struct table *t, uint64_t a, uint64_t b)
{
    size_t i = (size_t)mix(a, b) & (t->cap - 1);
    while (t->slots[i].value && (t->slots[i].a != a || t->slots[i].b != b))
        i = (i + 1) & (t->cap - 1);
    return &t->slots[i];
}

void table_free(struct table *t)
{
    free(t->slots);
    *t = (struct table){NULL, 0, 0};
}

void *table_get(const struct table *t, uint64_t a, uint64_t b)
{
    return t->cap ? find(t, a, b)->value : NULL;
}

void table_put(struct table *t, uint64_t a, uint64_t b, void *value)
{
    if ((t->len + 1) * 2 > t->cap) {
        struct table bigger = {NULL, t->cap ? t->cap * 2 : 32, t->len};
        bigger.slots = tail_alloc(bigger.cap * sizeof(*bigger.slots));
        for (size_t i = 0; i < t->cap; i++)
            if (t->slots[i].value)
                *find(&bigger, t->slots[i].a, t->slots[i].b) = t->slots[i];
        free(t->slots);
        *t = bigger;
    }
    struct table_slot *slot = find(t, a, b);
    if (!slot->value)
        t->len++;
    *slot = (struct table_slot){a, b, value};
}

void table_remove(struct table *t, uint64_t a, uint64_t b)
{
    if (!t->cap)
        return;
    struct table_slot *slot = find(t, a, b);
    if (!slot->value)
        return;
    slot->value = NULL;
    t->len--;
    /* Followers in the same run may sit behind the hole: put each where it belongs now. */
    for (size_t i = ((size_t)(slot - t->slots) + 1) & (t->cap - 1); t->slots[i].value;
         i = (i + 1) & (t->cap - 1)) {
        struct table_slot moved = t->slots[i];
        t->slots[i].value = NULL;
        *find(t, moved.a, moved.b) = moved;
    }
}
