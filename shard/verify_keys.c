#include "shard/verify_keys.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/timefmt.h"

tel_code verify_keys_of(const struct store_segment *s, uint32_t partition,
                        const struct tel_row_key *keys, size_t rows, struct tel_error *err)
{
    for (size_t i = 0; i < rows; i++) {
        const struct tel_row_key *k = &keys[i];
        const char *what = NULL;
        if (k->partition != partition)
            what = "another partition's";
        else if (tel_day_of(k->time_ns) != store_segment_day(s))
            what = "of another day";
        else if (k->time_ns < s->min_time_ns || k->time_ns > s->max_time_ns)
            what = "outside of the segment's times";
        else if (k->offset < s->first_offset || k->offset > s->last_offset)
            what = "outside of the segment's offsets";
        else if (!s->merged && k->offset >= s->upto.offset)
            what = "above the position that the segment reaches";
        if (what)
            return tel_error_set(err, TEL_ERR_CORRUPT, "the row of offset %" PRId64 ", index %" PRIu32
                                 " is %s", k->offset, k->index, what);
    }
    return TEL_OK;
}

/* ---- doubles ------------------------------------------------------------------------------------ */

struct owned_key {
    struct tel_row_key key;
    const struct store_segment *segment;
};

typedef TEL_VEC(struct owned_key) owned_keys;

/* Segments that may share rows stand together, by offsets. Epochs count offsets anew. */
static int by_range(const void *a, const void *b)
{
    const struct store_segment *x = *(struct store_segment *const *)a;
    const struct store_segment *y = *(struct store_segment *const *)b;
    int64_t dx = store_segment_day(x), dy = store_segment_day(y);
    int c = tel_span_cmp(x->tenant, y->tenant);
    if (c != 0 || dx != dy)
        return c != 0 ? c : dx < dy ? -1 : 1;
    if (x->upto.epoch != y->upto.epoch)
        return x->upto.epoch < y->upto.epoch ? -1 : 1;
    if (x->first_offset != y->first_offset)
        return x->first_offset < y->first_offset ? -1 : 1;
    return x->serial < y->serial ? -1 : x->serial > y->serial;
}

static bool same_group(const struct store_segment *x, const struct store_segment *y)
{
    return store_segment_day(x) == store_segment_day(y) && x->upto.epoch == y->upto.epoch &&
           tel_span_eq(x->tenant, y->tenant);
}

static int by_key(const void *a, const void *b)
{
    const struct tel_row_key *x = &((const struct owned_key *)a)->key;
    const struct tel_row_key *y = &((const struct owned_key *)b)->key;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    return x->time_ns < y->time_ns ? -1 : x->time_ns > y->time_ns;
}

struct range {
    int64_t first, last;
};

/* Adds the keys of the segment that lie where another segment of the chain has offsets, too. */
static void add_keys(struct store_segment *s, const struct range *shared, size_t count,
                     verify_read_keys *read, owned_keys *ret)
{
    struct tel_row_key *keys = NULL;
    size_t rows;
    if (read(s, &keys, &rows, NULL) != TEL_OK)
        return; /* it is named as damaged already */
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < count; j++)
            if (keys[i].offset >= shared[j].first && keys[i].offset <= shared[j].last) {
                tel_vec_push(ret, ((struct owned_key){keys[i], s}));
                break;
            }
    free(keys);
}

static uint64_t count_doubles(owned_keys *keys, uint32_t partition, FILE *out)
{
    uint64_t doubles = 0;
    const struct store_segment *said_a = NULL, *said_b = NULL;
    if (keys->len)
        qsort(keys->items, keys->len, sizeof(*keys->items), by_key);
    for (size_t i = 1; i < keys->len; i++) {
        const struct owned_key *a = &keys->items[i - 1], *b = &keys->items[i];
        if (by_key(a, b) != 0)
            continue;
        doubles++;
        if (a->segment == said_a && b->segment == said_b)
            continue;
        char x[96], y[96];
        store_segment_name(said_a = a->segment, x, sizeof(x));
        store_segment_name(said_b = b->segment, y, sizeof(y));
        fprintf(out, "partition %" PRIu32 ": the row of offset %" PRId64 ", index %" PRIu32
                     " is in %s and in %s\n", partition, a->key.offset, a->key.index, x, y);
    }
    return doubles;
}

/* A chain of segments whose ranges overlap, one with the next ones. */
static uint64_t check_chain(struct store_segment *const *chain, size_t count, uint32_t partition,
                            verify_read_keys *read, FILE *out)
{
    TEL_VEC(struct range) shared = {0};
    int64_t last = chain[0]->last_offset;
    for (size_t i = 1; i < count; i++) {
        tel_vec_push(&shared, ((struct range){chain[i]->first_offset,
                                              TEL_MIN(last, chain[i]->last_offset)}));
        last = TEL_MAX(last, chain[i]->last_offset);
    }
    owned_keys keys = {0};
    for (size_t i = 0; i < count; i++)
        add_keys(chain[i], shared.items, shared.len, read, &keys);
    uint64_t doubles = count_doubles(&keys, partition, out);
    tel_vec_free(&keys);
    tel_vec_free(&shared);
    return doubles;
}

uint64_t verify_doubles(const store_segments *segments, uint32_t partition, verify_read_keys *read,
                        FILE *out)
{
    uint64_t doubles = 0;
    TEL_VEC(struct store_segment *) list = {0};
    for (size_t i = 0; i < segments->len; i++)
        tel_vec_push(&list, segments->items[i]);
    if (list.len)
        qsort(list.items, list.len, sizeof(*list.items), by_range);
    for (size_t i = 0, end; i < list.len; i = end) {
        int64_t last = list.items[i]->last_offset;
        for (end = i + 1; end < list.len && same_group(list.items[i], list.items[end]) &&
                          list.items[end]->first_offset <= last; end++)
            last = TEL_MAX(last, list.items[end]->last_offset);
        if (end > i + 1)
            doubles += check_chain(list.items + i, end - i, partition, read, out);
    }
    tel_vec_free(&list);
    return doubles;
}
