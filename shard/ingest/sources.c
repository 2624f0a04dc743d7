#include "shard/ingest/sources.h"

#include <stdlib.h>

#include "common/base/mem.h"

#define SLOTS_MIN 1024u

void sources_init(struct sources *sources, size_t max)
{
    memset(sources, 0, sizeof(*sources));
    sources->max = max;
    sources->cap = SLOTS_MIN;
    sources->slots = tel_calloc(sources->cap, sizeof(*sources->slots));
}

void sources_done(struct sources *sources)
{
    free(sources->slots);
    memset(sources, 0, sizeof(*sources));
}

static struct source *find_slot(const struct sources *sources, struct tel_hash128 id)
{
    for (size_t i = id.lo & (sources->cap - 1);; i = (i + 1) & (sources->cap - 1)) {
        struct source *s = &sources->slots[i];
        if (!s->used || (s->id.lo == id.lo && s->id.hi == id.hi))
            return s;
    }
}

static void grow(struct sources *sources)
{
    struct source *old = sources->slots;
    size_t cap = sources->cap;
    sources->cap *= 2;
    sources->slots = tel_calloc(sources->cap, sizeof(*sources->slots));
    for (size_t i = 0; i < cap; i++)
        if (old[i].used)
            *find_slot(sources, old[i].id) = old[i];
    free(old);
}

tel_code sources_find(struct sources *sources, struct store *store, struct tel_span name,
                      struct source **ret, struct tel_error *err)
{
    struct tel_hash128 id = store_source_id(store, name);
    struct source *s = find_slot(sources, id);
    if (!s->used) {
        struct store_source stored;
        tel_code rc = store_source_get(store, id, &stored, err);
        if (rc != TEL_OK && rc != TEL_ERR_NOTFOUND)
            return rc;
        if (sources->len >= sources->cap / 2) {
            grow(sources);
            s = find_slot(sources, id);
        }
        *s = (struct source){.id = id, .used = true, .known = rc == TEL_OK};
        if (s->known) {
            s->position = stored.position;
            s->seen_ns = stored.seen_ns;
        }
        sources->len++;
    }
    *ret = s;
    return TEL_OK;
}

void sources_advance(struct sources *sources, struct source *source, uint64_t position,
                     int64_t seen_ns)
{
    source->position = position;
    source->known = true;
    source->seen_ns = seen_ns;
    if (!source->dirty) {
        source->dirty = true;
        sources->dirty++;
    }
}

struct store_source *sources_changed(const struct sources *sources, size_t *ret_count)
{
    struct store_source *list = tel_calloc(sources->dirty, sizeof(*list));
    size_t count = 0;
    for (size_t i = 0; i < sources->cap && count < sources->dirty; i++) {
        const struct source *s = &sources->slots[i];
        if (s->used && s->dirty)
            list[count++] = (struct store_source){s->id, s->position, s->seen_ns};
    }
    *ret_count = count;
    return list;
}

void sources_committed(struct sources *sources)
{
    if (sources->len > sources->max) { /* the store knows them all */
        size_t max = sources->max;
        sources_done(sources);
        sources_init(sources, max);
        return;
    }
    for (size_t i = 0; i < sources->cap; i++)
        sources->slots[i].dirty = false;
    sources->dirty = 0;
}
