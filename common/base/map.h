/*
 * A hash map from byte strings to a 64-bit value (an integer, an index, or a pointer cast through
 * uintptr_t). Open addressing with linear probing, power-of-two capacity, at most 3/4 full. Keys are
 * copied into the map's arena; removal leaves a tombstone. Not safe for several threads.
 */
#ifndef TEL_BASE_MAP_H
#define TEL_BASE_MAP_H

#include <stdint.h>

#include "common/base/arena.h"

struct tel_map_slot {
    struct tel_span key; /* ptr NULL: free; ptr == tombstone: removed */
    uint64_t hash;
    uint64_t value;
};

struct tel_map {
    struct tel_map_slot *slots;
    size_t cap, len, used; /* used counts tombstones too */
    size_t dropped;        /* removed keys that still take memory in the arena */
    struct tel_arena keys;
};

void tel_map_init(struct tel_map *map); /* all zero will do as well */
void tel_map_free(struct tel_map *map);
void tel_map_clear(struct tel_map *map);

/* The value of key, or NULL. Valid until the map changes. */
uint64_t *tel_map_get(const struct tel_map *map, struct tel_span key);
/* The value of key, inserted as 0 if it was absent; *ret_new (may be NULL) tells which. */
uint64_t *tel_map_put(struct tel_map *map, struct tel_span key, bool *ret_new);
bool tel_map_remove(struct tel_map *map, struct tel_span key);

/* Iteration in no order: for (size_t i = 0; (slot = tel_map_next(map, &i));) */
struct tel_map_slot *tel_map_next(const struct tel_map *map, size_t *pos);

#endif
