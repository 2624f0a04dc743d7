#include "common/base/map.h"

#include <stdlib.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

#define MIN_CAP        16
#define KEY_BLOCK_SIZE 4096

static const char tombstone[1] = "";

static bool is_live(const struct tel_map_slot *slot)
{
    return slot->key.ptr && slot->key.ptr != tombstone;
}

void tel_map_init(struct tel_map *map)
{
    *map = (struct tel_map){0};
    tel_arena_init(&map->keys, KEY_BLOCK_SIZE);
}

void tel_map_free(struct tel_map *map)
{
    if (!map)
        return;
    free(map->slots);
    tel_arena_free(&map->keys);
    tel_map_init(map);
}

void tel_map_clear(struct tel_map *map)
{
    if (map->cap)
        memset(map->slots, 0, map->cap * sizeof *map->slots);
    map->len = map->used = map->dropped = 0;
    tel_arena_reset(&map->keys);
}

static struct tel_map_slot *find(const struct tel_map *map, struct tel_span key, uint64_t hash)
{
    if (map->len == 0)
        return NULL;
    for (size_t i = hash & (map->cap - 1);; i = (i + 1) & (map->cap - 1)) {
        struct tel_map_slot *slot = &map->slots[i];
        if (!slot->key.ptr)
            return NULL;
        if (slot->hash == hash && slot->key.ptr != tombstone && tel_span_eq(slot->key, key))
            return slot;
    }
}

/* The first slot on the key's path that holds nothing live. */
static struct tel_map_slot *find_free(struct tel_map *map, uint64_t hash)
{
    size_t i = hash & (map->cap - 1);
    while (is_live(&map->slots[i]))
        i = (i + 1) & (map->cap - 1);
    return &map->slots[i];
}

/* Makes room for one more key. Removed keys still take memory in the arena, so when there are any,
 * the live ones move to a new arena: a map that lives long with keys coming and going stays small. */
static void grow(struct tel_map *map)
{
    struct tel_map old = *map;
    bool compact = old.dropped > 0;
    size_t cap = old.cap ? old.cap : MIN_CAP;
    while (old.len + 1 > cap / 2)
        cap *= 2;
    map->slots = tel_calloc(cap, sizeof *map->slots);
    map->cap = cap;
    map->used = old.len;
    map->dropped = 0;
    if (compact)
        tel_arena_init(&map->keys, KEY_BLOCK_SIZE);
    for (size_t i = 0; i < old.cap; i++) {
        if (!is_live(&old.slots[i]))
            continue;
        struct tel_map_slot *slot = find_free(map, old.slots[i].hash);
        *slot = old.slots[i];
        if (compact)
            slot->key = tel_arena_copy(&map->keys, slot->key);
    }
    free(old.slots);
    if (compact)
        tel_arena_free(&old.keys);
}

uint64_t *tel_map_get(const struct tel_map *map, struct tel_span key)
{
    struct tel_map_slot *slot = find(map, key, tel_hash64(key, 0));
    return slot ? &slot->value : NULL;
}

uint64_t *tel_map_put(struct tel_map *map, struct tel_span key, bool *ret_new)
{
    uint64_t hash = tel_hash64(key, 0);
    struct tel_map_slot *slot = find(map, key, hash);
    if (ret_new)
        *ret_new = !slot;
    if (slot)
        return &slot->value;
    if (map->used + 1 > map->cap / 4 * 3 || map->dropped > map->cap)
        grow(map);
    slot = find_free(map, hash);
    if (!slot->key.ptr)
        map->used++;
    map->len++;
    *slot = (struct tel_map_slot){.key = tel_arena_copy(&map->keys, key), .hash = hash};
    return &slot->value;
}

bool tel_map_remove(struct tel_map *map, struct tel_span key)
{
    struct tel_map_slot *slot = find(map, key, tel_hash64(key, 0));
    if (!slot)
        return false;
    *slot = (struct tel_map_slot){.key = {tombstone, 0}};
    map->len--;
    map->dropped++;
    return true;
}

/* Not in the order of the slots: keys that come by their hashes pile up in a map that they are put
 * into (it fills from one end, far beyond its load), and merging two maps would take quadratic time. */
struct tel_map_slot *tel_map_next(const struct tel_map *map, size_t *pos)
{
    while (*pos < map->cap) {
        size_t at = (size_t)((uint64_t)(*pos)++ * UINT64_C(0x9e3779b97f4a7c15)) & (map->cap - 1);
        struct tel_map_slot *slot = &map->slots[at];
        if (is_live(slot))
            return slot;
    }
    return NULL;
}
