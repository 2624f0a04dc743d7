#include "shard/query/results.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/varint.h"
#include "common/sys/thread.h"

#define BUCKETS 8192u

struct result {
    uint64_t serial;
    struct tel_hash128 query;
    struct result *newer, *older, *next;
    size_t len;
    char bytes[];
};

struct results {
    struct tel_mutex lock;
    uint64_t max_bytes;
    struct results_stats stats;
    struct result *newest, *oldest;
    struct result *buckets[BUCKETS];
};

struct results *results_new(uint64_t max_bytes)
{
    struct results *results = TEL_NEW(struct results);
    tel_mutex_init(&results->lock);
    results->max_bytes = max_bytes;
    return results;
}

static struct result **bucket_of(struct results *r, uint64_t serial, struct tel_hash128 query)
{
    return &r->buckets[tel_hash_u64(serial ^ query.lo) % BUCKETS];
}

static struct result *find(struct results *r, uint64_t serial, struct tel_hash128 query)
{
    struct result *e = *bucket_of(r, serial, query);
    while (e && !(e->serial == serial && e->query.lo == query.lo && e->query.hi == query.hi))
        e = e->next;
    return e;
}

static uint64_t weight(const struct result *e)
{
    return sizeof(*e) + e->len;
}

static void unlink_age(struct results *r, struct result *e)
{
    *(e->newer ? &e->newer->older : &r->newest) = e->older;
    *(e->older ? &e->older->newer : &r->oldest) = e->newer;
}

static void link_newest(struct results *r, struct result *e)
{
    e->older = r->newest;
    e->newer = NULL;
    *(r->newest ? &r->newest->newer : &r->oldest) = e;
    r->newest = e;
}

static void drop(struct results *r, struct result *e)
{
    unlink_age(r, e);
    struct result **at = bucket_of(r, e->serial, e->query);
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    r->stats.bytes -= weight(e);
    r->stats.entries--;
    free(e);
}

void results_free(struct results *results)
{
    if (!results)
        return;
    while (results->oldest)
        drop(results, results->oldest);
    tel_mutex_done(&results->lock);
    free(results);
}

bool results_get(struct results *results, uint64_t serial, struct tel_hash128 query,
                 struct tel_buf *ret)
{
    tel_mutex_lock(&results->lock);
    struct result *e = find(results, serial, query);
    if (e) {
        unlink_age(results, e);
        link_newest(results, e);
        tel_buf_add(ret, e->bytes, e->len);
        results->stats.hits++;
    } else {
        results->stats.misses++;
    }
    tel_mutex_unlock(&results->lock);
    return e != NULL;
}

void results_put(struct results *results, uint64_t serial, struct tel_hash128 query,
                 struct tel_span bytes)
{
    struct result *e = tel_malloc(sizeof(*e) + bytes.len);
    e->serial = serial;
    e->query = query;
    e->len = bytes.len;
    if (bytes.len)
        memcpy(e->bytes, bytes.ptr, bytes.len);
    tel_mutex_lock(&results->lock);
    if (find(results, serial, query) || weight(e) > results->max_bytes) {
        free(e);
    } else {
        struct result **bucket = bucket_of(results, serial, query);
        e->next = *bucket;
        *bucket = e;
        link_newest(results, e);
        results->stats.bytes += weight(e);
        results->stats.entries++;
        while (results->stats.bytes > results->max_bytes)
            drop(results, results->oldest);
    }
    tel_mutex_unlock(&results->lock);
}

void results_stats_get(struct results *results, struct results_stats *ret)
{
    tel_mutex_lock(&results->lock);
    *ret = results->stats;
    tel_mutex_unlock(&results->lock);
}

/* ---- blocks as bytes ---------------------------------------------------------------------------- */

static void put(struct tel_buf *out, uint64_t v)
{
    tel_buf_reserve(out, TEL_VARINT_MAX);
    out->len += tel_varint_put(out->ptr + out->len, v);
}

void results_write_block(struct tel_buf *out, const struct tel_block *block)
{
    put(out, block->rows);
    put(out, block->column_count);
    for (size_t c = 0; c < block->column_count; c++) {
        const struct tel_column *column = &block->columns[c];
        put(out, column->name.len);
        tel_buf_add_span(out, column->name);
        for (size_t i = 0; i < block->rows; i++) {
            put(out, column->values[i].len);
            tel_buf_add_span(out, column->values[i]);
        }
    }
}

static uint64_t get(const char **pos, const char *end)
{
    uint64_t v;
    TEL_CHECK(tel_varint_get(pos, end, &v));
    return v;
}

static struct tel_span get_span(const char **pos, const char *end)
{
    size_t len = (size_t)get(pos, end);
    TEL_CHECK(len <= (size_t)(end - *pos));
    struct tel_span s = tel_span_make(*pos, len);
    *pos += len;
    return s;
}

bool results_read_block(struct tel_span *at, struct tel_arena *arena, struct tel_block *ret)
{
    if (at->len == 0)
        return false;
    const char *pos = at->ptr, *end = at->ptr + at->len;
    struct tel_block block = {.rows = (size_t)get(&pos, end)};
    block.column_count = (size_t)get(&pos, end);
    struct tel_column *columns = TEL_ARENA_ARRAY(arena, struct tel_column, block.column_count);
    for (size_t c = 0; c < block.column_count; c++) {
        columns[c].name = get_span(&pos, end);
        struct tel_span *values = TEL_ARENA_ARRAY(arena, struct tel_span, block.rows);
        for (size_t i = 0; i < block.rows; i++)
            values[i] = get_span(&pos, end);
        columns[c].values = values;
    }
    block.columns = columns;
    *ret = block;
    *at = tel_span_make(pos, (size_t)(end - pos));
    return true;
}
