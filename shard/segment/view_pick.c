/*
 * Few rows of a view. What all rows have (which row is whose, times, keys) is read as far as these rows
 * need it and never put together for all:
 *
 *     place -> template -> row of the family -> row        the family's codes, then all families' codes
 *     time       the sum of the differences up to the row
 *     key        the last row before it in its stream whose key is listed, and how many rows since
 */
#include <stdlib.h>

#include "shard/segment/column_read.h"
#include "shard/segment/reader.h"

/* What the keys of rows are made of. */
struct key_lists {
    size_t listed;
    uint64_t *rows, *partitions, *offsets, *indexes; /* of listed rows; ascending rows */
    uint64_t *bits;                                  /* by row: listed? */
    struct ints_opened severities;                   /* by place */
};

static tel_code read_lists(struct view *v, struct key_lists *l, struct tel_error *err)
{
    size_t n = v->reader->info.rows;
    struct cursor node = v->keys_node;
    uint64_t **const columns[] = {&l->rows, &l->partitions, &l->offsets, &l->indexes};
    uint64_t row = 0, offset = 0;
    l->listed = (size_t)cursor_bounded(&node, n);
    for (size_t i = 0; i < TEL_ARRAY_LEN(columns); i++) {
        *columns[i] = tel_arena_alloc(v->arena, (l->listed + 1) * sizeof(uint64_t));
        tel_code rc = ints_get(&v->streams, &node, l->listed, *columns[i], err);
        if (rc != TEL_OK)
            return rc;
    }
    l->bits = TEL_ARENA_ARRAY(v->arena, uint64_t, TEL_BITMAP_WORDS(n));
    for (size_t i = 0; i < l->listed; i++) {
        uint64_t step = l->rows[i];
        if ((i && step == 0) || step >= n || (row += step) >= n)
            return segment_corrupt(err, "keys of rows");
        l->rows[i] = row;
        l->offsets[i] = offset += (uint64_t)tel_unzigzag(l->offsets[i]);
        l->bits[row / 64] |= UINT64_C(1) << (row % 64);
    }
    return ints_open(&v->streams, &node, n, &l->severities, err);
}

static size_t find_listed(const struct key_lists *l, uint64_t row)
{
    size_t lo = 0, hi = l->listed;
    while (lo + 1 < hi) {
        size_t mid = (lo + hi) / 2;
        if (l->rows[mid] <= row)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

/* The key of a family's k-th row; rows, streams: of the family's rows. */
static tel_code make_key(const struct key_lists *l, const uint32_t *rows, const uint64_t *streams,
                         size_t k, struct tel_row_key *ret, struct tel_error *err)
{
    uint64_t stream = streams[k], since = 0;
    for (size_t i = k + 1; i-- > 0;) {
        if (streams[i] != stream)
            continue;
        if (l->bits[rows[i] / 64] >> (rows[i] % 64) & 1) {
            size_t at = find_listed(l, rows[i]);
            ret->partition = (uint32_t)l->partitions[at];
            ret->offset = (int64_t)l->offsets[at];
            ret->index = (uint32_t)(l->indexes[at] + since);
            return TEL_OK;
        }
        since++;
    }
    return segment_corrupt(err, "keys of rows");
}

/* Fills the picks of one family, but for their times. */
static tel_code pick_family(struct view *v, uint32_t number, const struct key_lists *l,
                            struct view_pick *picks, size_t count, struct tel_error *err)
{
    const struct segment_reader *r = v->reader;
    const struct read_family *f = &r->families[number];
    uint32_t first = r->templates[f->first_template].first;
    uint64_t *streams = tel_arena_alloc(v->arena, ((size_t)f->rows + 1) * sizeof(*streams));
    tel_code rc = view_family_rows(v, number, err);
    if (rc == TEL_OK)
        rc = view_family_order(v, number, err);
    const uint32_t *rows = v->families[number].order;
    struct cursor node = v->families[number].node;
    ints_skip(&node);
    if (rc == TEL_OK)
        rc = ints_get(&v->streams, &node, f->rows, streams, err);
    for (size_t i = 0; i < count && rc == TEL_OK; i++) {
        uint32_t k = v->families[number].rows[picks[i].place - first];
        if (streams[k] >= f->stream_count)
            return segment_corrupt(err, "streams of rows");
        picks[i].row = rows[k];
        picks[i].stream = r->family_streams[f->first_stream + streams[k]];
        picks[i].severity = ints_at(&l->severities, picks[i].place);
        rc = make_key(l, rows, streams, k, &picks[i].key, err);
    }
    return rc;
}

static int by_row(const void *a, const void *b)
{
    uint32_t x = (*(struct view_pick *const *)a)->row, y = (*(struct view_pick *const *)b)->row;
    return x < y ? -1 : x > y;
}

/* Numbers in the order of keys, and times. */
static tel_code order_picks(struct view *v, struct view_pick *picks, size_t count,
                            struct tel_error *err)
{
    struct cursor node = v->times_node;
    uint64_t time = (uint64_t)cursor_zigzag(&node);
    struct ints_opened deltas;
    size_t last = 0;
    tel_code rc = ints_open(&v->streams, &node, v->reader->info.rows, &deltas, err);
    struct view_pick **order = tel_arena_alloc(v->arena, (count + 1) * sizeof(*order));
    for (size_t i = 0; i < count; i++)
        order[i] = &picks[i];
    qsort(order, count, sizeof(struct view_pick *), by_row);
    for (size_t i = 0; i < count && rc == TEL_OK; i++) {
        time += ints_sum(&deltas, last, order[i]->row + 1);
        last = order[i]->row + 1;
        order[i]->key.time_ns = (int64_t)time;
        order[i]->out = (uint32_t)i;
    }
    return rc;
}

tel_code view_pick_rows(struct view *v, const uint32_t *places, size_t count,
                        struct view_pick **ret, struct tel_error *err)
{
    const struct segment_reader *r = v->reader;
    struct view_pick *picks = TEL_ARENA_ARRAY(v->arena, struct view_pick, count + 1);
    struct key_lists lists;
    uint32_t t = 0;
    tel_code rc = read_lists(v, &lists, err);
    for (size_t i = 0; i < count; i++) {
        while (places[i] >= r->templates[t].first + r->templates[t].rows)
            t++;
        picks[i].place = places[i];
        picks[i].template_number = t;
    }
    for (size_t i = 0, end; i < count && rc == TEL_OK; i = end) {
        uint32_t family = r->templates[picks[i].template_number].family;
        for (end = i + 1; end < count; end++) {
            if (r->templates[picks[end].template_number].family != family)
                break;
        }
        rc = pick_family(v, family, &lists, picks + i, end - i, err);
    }
    if (rc == TEL_OK)
        rc = order_picks(v, picks, count, err);
    *ret = picks;
    return rc;
}

/* ---- columns ------------------------------------------------------------------------------------ */

tel_code view_pick_hole(struct view *v, uint32_t number, uint32_t hole, const uint32_t *at,
                        size_t count, struct tel_span *ret, struct tel_error *err)
{
    const struct read_template *t = &v->reader->templates[number];
    const struct view_template *vt = &v->templates[number];
    const struct read_hole *h = &t->holes[hole];
    struct column_id_rows ids = {.slots = 0};
    if (vt->holes && vt->holes[hole]) {
        for (size_t i = 0; i < count; i++)
            ret[i] = vt->holes[hole][at[i]];
        return TEL_OK;
    }
    struct cursor node = cursor_make(tel_span_slice(v->reader->nodes, h->node, h->node + h->node_len));
    bool has_ids = t->id_slots && column_has_ids(node);
    if (has_ids) {
        tel_code rc = view_id_rows(v, number, &ids, err);
        if (rc != TEL_OK)
            return rc;
    }
    return column_pick(&v->streams, &node, t->rows, has_ids ? &ids : NULL, at, count, ret, err);
}

tel_code view_pick_bodies(struct view *v, uint32_t number, const uint32_t *at, size_t count,
                          struct tel_span *ret, struct tel_error *err)
{
    const struct read_template *t = &v->reader->templates[number];
    struct tel_span **holes = TEL_ARENA_ARRAY(v->arena, struct tel_span *, t->hole_count + 1);
    for (uint32_t h = 0; h < t->hole_count; h++) {
        holes[h] = tel_arena_alloc(v->arena, (count + 1) * sizeof(struct tel_span));
        tel_code rc = view_pick_hole(v, number, h, at, count, holes[h], err);
        if (rc != TEL_OK)
            return rc;
    }
    for (size_t i = 0; i < count; i++)
        ret[i] = view_join(v, t->skeleton, holes, (uint32_t)i, NULL);
    return TEL_OK;
}

tel_code view_pick_attribute(struct view *v, enum segment_attribute_kind kind,
                             struct tel_span name, const uint32_t *places, size_t count,
                             struct tel_span **ret, struct tel_error *err)
{
    const struct segment_reader *r = v->reader;
    const struct read_attribute *a = view_find_attribute(v, kind, name);
    *ret = NULL;
    if (!a)
        return TEL_OK;
    struct cursor node = cursor_make(tel_span_slice(r->nodes, a->node, a->node + a->node_len));
    uint32_t *at = tel_arena_alloc(v->arena, (count + 1) * sizeof(*at));
    uint32_t *to = tel_arena_alloc(v->arena, (count + 1) * sizeof(*to));
    size_t n = 0;
    if (a->rows < r->info.rows) { /* which of the places have it */
        struct ints_opened steps;
        tel_code rc = ints_open(&v->streams, &node, a->rows, &steps, err);
        if (rc != TEL_OK)
            return rc;
        uint64_t place = 0;
        for (size_t i = 0, k = 0; i < a->rows && k < count; i++) {
            place += ints_at(&steps, i);
            while (k < count && places[k] < place)
                k++;
            if (k < count && places[k] == place) {
                at[n] = (uint32_t)i;
                to[n++] = (uint32_t)k++;
            }
        }
    } else {
        for (; n < count; n++) {
            at[n] = places[n];
            to[n] = (uint32_t)n;
        }
    }
    struct tel_span *values = tel_arena_alloc(v->arena, (n + 1) * sizeof(*values));
    struct tel_span *spread = TEL_ARENA_ARRAY(v->arena, struct tel_span, count + 1);
    tel_code rc = column_pick(&v->streams, &node, a->rows, NULL, at, n, values, err);
    for (size_t i = 0; i < n && rc == TEL_OK; i++)
        spread[to[i]] = values[i];
    *ret = spread;
    return rc;
}
