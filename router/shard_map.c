#include "router/shard_map.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/span.h"
#include "common/base/vec.h"

struct shard_map {
    _Atomic int refs;
    uint64_t version;
    TEL_VEC(struct shard_replicas) partitions;
    TEL_VEC(char *) addresses;
};

struct shard_map *shard_map_new(uint64_t version)
{
    struct shard_map *map = TEL_NEW(struct shard_map);
    map->refs = 1;
    map->version = version;
    return map;
}

static const char *map_address(struct shard_map *map, const char *address)
{
    for (size_t i = 0; i < map->addresses.len; i++)
        if (strcmp(map->addresses.items[i], address) == 0)
            return map->addresses.items[i];
    char *copy = tel_strdup(address);
    tel_vec_push(&map->addresses, copy);
    return copy;
}

tel_code shard_map_add(struct shard_map *map, uint32_t partition, const char *address,
                       struct tel_error *err)
{
    if (partition >= SHARD_MAP_PARTITIONS_MAX)
        return tel_error_set(err, TEL_ERR_INVALID, "partition %u is beyond %u", partition,
                             SHARD_MAP_PARTITIONS_MAX - 1);
    struct shard_replicas *r = NULL;
    for (size_t i = 0; i < map->partitions.len && !r; i++)
        if (map->partitions.items[i].partition == partition)
            r = &map->partitions.items[i];
    if (!r) {
        tel_vec_push(&map->partitions, (struct shard_replicas){.partition = partition});
        r = &map->partitions.items[map->partitions.len - 1];
    }
    const char *known = map_address(map, address);
    for (uint32_t i = 0; i < r->count; i++)
        if (r->addresses[i] == known)
            return tel_error_set(err, TEL_ERR_EXISTS, "%s holds partition %u twice", address,
                                 partition);
    if (r->count == SHARD_MAP_REPLICAS_MAX)
        return tel_error_set(err, TEL_ERR_LIMIT, "partition %u has more than %u replicas",
                             partition, SHARD_MAP_REPLICAS_MAX);
    r->addresses[r->count++] = known;
    return TEL_OK;
}

/* "4" or "0-3" */
static bool range_parse(struct tel_span item, uint32_t *ret_first, uint32_t *ret_last)
{
    struct tel_span rest = tel_span_trim(item);
    struct tel_span from = tel_span_trim(tel_span_split(&rest, '-'));
    struct tel_span to = rest.ptr ? tel_span_trim(rest) : from;
    unsigned long long first, last;
    if (!tel_span_to_u64(from, &first) || !tel_span_to_u64(to, &last) || first > last ||
        last >= SHARD_MAP_PARTITIONS_MAX)
        return false;
    *ret_first = (uint32_t)first;
    *ret_last = (uint32_t)last;
    return true;
}

tel_code shard_map_add_ranges(struct shard_map *map, const char *ranges, const char *address,
                              struct tel_error *err)
{
    struct tel_span rest = tel_span_cstr(ranges);
    do {
        struct tel_span item = tel_span_split(&rest, ',');
        uint32_t first, last;
        if (!range_parse(item, &first, &last))
            return tel_error_set(err, TEL_ERR_INVALID,
                                 "\"%.*s\" is no partition and no range of partitions like 0-3",
                                 TEL_SPAN_ARG(item));
        for (uint32_t p = first; p <= last; p++) {
            tel_code rc = shard_map_add(map, p, address, err);
            if (rc != TEL_OK)
                return rc;
        }
    } while (rest.ptr);
    return TEL_OK;
}

struct shard_map *shard_map_ref(struct shard_map *map)
{
    atomic_fetch_add(&map->refs, 1);
    return map;
}

void shard_map_unref(struct shard_map *map)
{
    if (!map || atomic_fetch_sub(&map->refs, 1) != 1)
        return;
    for (size_t i = 0; i < map->addresses.len; i++)
        free(map->addresses.items[i]);
    tel_vec_free(&map->addresses);
    tel_vec_free(&map->partitions);
    free(map);
}

uint64_t shard_map_version(const struct shard_map *map)
{
    return map->version;
}

const struct shard_replicas *shard_map_partitions(const struct shard_map *map, size_t *ret_count)
{
    *ret_count = map->partitions.len;
    return map->partitions.items;
}

const char *const *shard_map_addresses(const struct shard_map *map, size_t *ret_count)
{
    *ret_count = map->addresses.len;
    return (const char *const *)map->addresses.items;
}
