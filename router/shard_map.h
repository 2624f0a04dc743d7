/*
 * Which servers hold which partition. A map is immutable once built and counted: a query keeps the
 * one it began with. Version 0 is a static map, from the configuration.
 */
#ifndef ROUTER_SHARD_MAP_H
#define ROUTER_SHARD_MAP_H

#include <stdint.h>

#include "common/base/error.h"

#define SHARD_MAP_PARTITIONS_MAX 65536u
#define SHARD_MAP_REPLICAS_MAX   16u

struct shard_replicas {
    uint32_t partition;
    uint32_t count;
    const char *addresses[SHARD_MAP_REPLICAS_MAX]; /* the same text is the same pointer */
};

struct shard_map;

struct shard_map *shard_map_new(uint64_t version);
/* Adds a replica of a partition; before the map is shared. */
TEL_MUST_USE tel_code shard_map_add(struct shard_map *map, uint32_t partition, const char *address,
                                    struct tel_error *err);
struct shard_map *shard_map_ref(struct shard_map *map);
void shard_map_unref(struct shard_map *map); /* NULL is fine */

uint64_t shard_map_version(const struct shard_map *map);
/* The partitions, in no order, with at least one replica each. */
const struct shard_replicas *shard_map_partitions(const struct shard_map *map, size_t *ret_count);
/* All servers. */
const char *const *shard_map_addresses(const struct shard_map *map, size_t *ret_count);

/* "0-3,7" into map, each with the given address. */
TEL_MUST_USE tel_code shard_map_add_ranges(struct shard_map *map, const char *ranges,
                                           const char *address, struct tel_error *err);

#endif
