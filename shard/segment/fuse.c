/*
 * See fuse.h. To make it, each place counts its hashes and xors them. A place with one hash left gives
 * that hash a place of its own; taking it away from its other two may leave one in those, and so on. In
 * the reverse order each hash's own byte is set to what makes its three come out right, and no byte that
 * was needed changes afterwards.
 */
#include "shard/segment/fuse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

#define TRIES 16u

struct places {
    uint32_t at[3];
};

/* The first try takes hashes as they are: then ascending ones go through memory in that order. */
static uint64_t seeded(const struct fuse *f, uint64_t hash)
{
    return f->seed ? tel_hash_u64(hash + f->seed * UINT64_C(0x9e3779b97f4a7c15)) : hash;
}

static struct places places_of(const struct fuse *f, uint64_t h)
{
    uint64_t range = (uint64_t)f->segments << f->segment_log;
    uint32_t size = UINT32_C(1) << f->segment_log, mask = size - 1;
    uint32_t first = (uint32_t)((h >> 32) * range >> 32);
    /* Which segments is said by the upper half; where in the others, by bits of a mix of all. */
    uint64_t mix = h * UINT64_C(0xd6e8feb86659fd93);
    return (struct places){{first, (first + size) ^ ((uint32_t)(mix >> 18) & mask),
                            (first + 2 * size) ^ ((uint32_t)(mix >> 40) & mask)}};
}

static uint8_t print_of(uint64_t h)
{
    return (uint8_t)(h ^ h >> 23);
}

struct fuse fuse_shape(size_t count)
{
    double n = count < 2 ? 2 : (double)count;
    double log_size = floor(log(n) / log(3.33) + 2.25);
    double factor = 0.875 + 0.25 * log(1e6) / log(n);
    uint32_t segment_log = log_size > FUSE_SEGMENT_LOG_MAX ? FUSE_SEGMENT_LOG_MAX : (uint32_t)log_size;
    double bytes = n * (factor > 1.125 ? factor : 1.125);
    uint32_t segments = (uint32_t)(bytes / (double)(UINT32_C(1) << segment_log)) + 1;
    return (struct fuse){.segment_log = segment_log, .segments = segments > 2 ? segments - 2 : 1};
}

size_t fuse_bytes(const struct fuse *f)
{
    return (size_t)(f->segments + 2) << f->segment_log;
}

struct peeling {
    uint64_t *xors;    /* by place */
    uint8_t *counts;   /* by place */
    uint32_t *alone;   /* places with one hash left */
    uint64_t *order;   /* hashes as they were taken */
    uint8_t *own;      /* by order: which of its three places is its own */
    size_t size, taken;
};

static bool count_hashes(const struct fuse *f, struct peeling *p, const uint64_t *hashes, size_t n)
{
    memset(p->xors, 0, p->size * sizeof(*p->xors));
    memset(p->counts, 0, p->size);
    for (size_t i = 0; i < n; i++) {
        uint64_t h = seeded(f, hashes[i]);
        struct places s = places_of(f, h);
        for (unsigned k = 0; k < 3; k++) {
            p->xors[s.at[k]] ^= h;
            if (++p->counts[s.at[k]] == UINT8_MAX)
                return false;
        }
    }
    return true;
}

static void peel(const struct fuse *f, struct peeling *p)
{
    size_t waiting = 0;
    p->taken = 0;
    for (size_t i = 0; i < p->size; i++) {
        p->alone[waiting] = (uint32_t)i;
        waiting += p->counts[i] == 1;
    }
    while (waiting) {
        uint32_t place = p->alone[--waiting];
        if (p->counts[place] != 1)
            continue;
        uint64_t h = p->xors[place];
        struct places s = places_of(f, h);
        p->order[p->taken] = h;
        for (unsigned k = 0; k < 3; k++) {
            uint32_t at = s.at[k];
            if (at == place)
                p->own[p->taken] = (uint8_t)k;
            p->xors[at] ^= h;
            if (--p->counts[at] == 1)
                p->alone[waiting++] = at;
        }
        p->taken++;
    }
}

static void set_prints(const struct fuse *f, const struct peeling *p, uint8_t *out)
{
    memset(out, 0, p->size);
    for (size_t i = p->taken; i-- > 0;) {
        struct places s = places_of(f, p->order[i]);
        unsigned own = p->own[i];
        out[s.at[own]] = (uint8_t)(print_of(p->order[i]) ^ out[s.at[(own + 1) % 3]] ^
                                   out[s.at[(own + 2) % 3]]);
    }
}

bool fuse_build(struct fuse *f, const uint64_t *hashes, size_t count, uint8_t *out)
{
    struct peeling p = {.size = fuse_bytes(f)};
    p.xors = tel_malloc(p.size * sizeof(*p.xors));
    p.counts = tel_malloc(p.size);
    p.alone = tel_malloc((p.size + 1) * sizeof(*p.alone));
    p.order = tel_malloc((count + 1) * sizeof(*p.order));
    p.own = tel_malloc(count + 1);
    bool done = false;
    for (f->seed = 0; f->seed < TRIES && !done; f->seed += !done) {
        if (!count_hashes(f, &p, hashes, count))
            continue;
        peel(f, &p);
        done = p.taken == count;
    }
    if (done)
        set_prints(f, &p, out);
    f->prints = out;
    free(p.xors);
    free(p.counts);
    free(p.alone);
    free(p.order);
    free(p.own);
    return done;
}

bool fuse_has(const struct fuse *f, uint64_t hash)
{
    uint64_t h = seeded(f, hash);
    struct places s = places_of(f, h);
    return (f->prints[s.at[0]] ^ f->prints[s.at[1]] ^ f->prints[s.at[2]]) == print_of(h);
}
