/*
 * count_uniq: distinct tuples of values, but for those that are all empty. count_uniq_hash: the
 * same by 64-bit hashes, in less memory. uniq_values: the distinct values of all fields, as a
 * sorted JSON array.
 */
#include <stdlib.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/logsql/json.h"
#include "common/logsql/order.h"
#include "common/logsql/stats.h"
#include "common/logsql/strset.h"

static bool is_full(const struct tel_stats_func *f, size_t len)
{
    return f->limit && len >= f->limit;
}

/* The tuple of a row as one string; false if all its values are empty. */
static bool tuple(const struct tel_stats_batch *b, size_t row, struct tel_buf *buf,
                  struct tel_span *ret)
{
    bool any = false;
    if (b->column_count == 1) {
        *ret = b->columns[0][row];
        return ret->len > 0;
    }
    tel_buf_clear(buf);
    for (size_t c = 0; c < b->column_count; c++) {
        any = any || b->columns[c][row].len;
        tel_strlist_add(buf, b->columns[c][row]);
    }
    *ret = tel_buf_span(buf);
    return any;
}

/* ---- sets of strings
 * ----------------------------------------------------------------------------------- */

static tel_code update_tuples(const struct tel_stats_func *f, const struct tel_stats_batch *b,
                              struct tel_error *err)
{
    struct tel_buf buf = {0};
    (void)err;
    for (size_t i = 0; i < b->rows; i++) {
        struct tel_strset *set = tel_stats_state(b, f, i);
        struct tel_span key;
        if (set && !is_full(f, set->len) && tuple(b, i, &buf, &key))
            tel_strset_add(set, key);
    }
    tel_buf_free(&buf);
    return TEL_OK;
}

static tel_code update_values(const struct tel_stats_func *f, const struct tel_stats_batch *b,
                              struct tel_error *err)
{
    (void)err;
    for (size_t c = 0; c < b->column_count; c++) {
        const struct tel_span *v = b->columns[c];
        void *last = NULL;
        for (size_t i = 0; i < b->rows; i++) {
            struct tel_strset *set = tel_stats_state(b, f, i);
            bool same =
                i > 0 && set == last && v[i].ptr == v[i - 1].ptr && v[i].len == v[i - 1].len;
            last = set;
            if (set && !same && v[i].len && !is_full(f, set->len))
                tel_strset_add(set, v[i]);
        }
    }
    return TEL_OK;
}

static void save_set(const struct tel_stats_func *f, const void *state, struct tel_buf *out)
{
    (void)f;
    tel_buf_add_span(out, tel_buf_span(&((const struct tel_strset *)state)->bytes));
}

static bool merge_set(const struct tel_stats_func *f, void *state, struct tel_span bytes)
{
    struct tel_strset *set = state;
    struct tel_span s;
    size_t pos = 0, count;
    if (!tel_strlist_valid(bytes, &count))
        return false;
    while (!is_full(f, set->len) && tel_strlist_next(bytes, &pos, &s))
        tel_strset_add(set, s);
    return true;
}

static void drop_set(void *state)
{
    tel_strset_free(state);
}

static size_t held_set(const void *state)
{
    return tel_strset_held(state);
}

static void result_count(const struct tel_stats_func *f, const void *state,
                         const struct tel_stage *stage, struct tel_buf *out)
{
    (void)f;
    (void)stage;
    tel_buf_add_u64(out, ((const struct tel_strset *)state)->len);
}

static int by_nature(const void *a, const void *b)
{
    return tel_order_natural(*(const struct tel_span *)a, *(const struct tel_span *)b);
}

static void result_values(const struct tel_stats_func *f, const void *state,
                          const struct tel_stage *stage, struct tel_buf *out)
{
    const struct tel_strset *set = state;
    struct tel_span *all = tel_malloc((set->len + 1) * sizeof *all);
    size_t pos = 0, n = 0;
    (void)f;
    (void)stage;
    while (n < set->len && tel_strset_next(set, &pos, &all[n]))
        n++;
    qsort(all, n, sizeof *all, by_nature);
    tel_buf_add_char(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            tel_buf_add_char(out, ',');
        tel_json_embed(out, all[i]);
    }
    tel_buf_add_char(out, ']');
    free(all);
}

#define SET_OPS(fn_name, update_fn, result_fn)                                                     \
    {                                                                                              \
        .name = fn_name, .state_size = sizeof(struct tel_strset), .has_limit = true,               \
        .update = update_fn, .save = save_set, .merge = merge_set, .result = result_fn,            \
        .drop = drop_set, .held = held_set                                                         \
    }

const struct tel_stats_ops tel_stats_count_uniq =
    SET_OPS("count_uniq", update_tuples, result_count);
const struct tel_stats_ops tel_stats_uniq_values =
    SET_OPS("uniq_values", update_values, result_values);

/* ---- sets of hashes
 * -------------------------------------------------------------------------------------- */

struct hashes {
    uint64_t *slots; /* 0 is free */
    size_t cap, len;
};

static void add_hash(struct hashes *h, uint64_t hash)
{
    hash += hash == 0;
    if ((h->len + 1) * 4 > h->cap * 3) {
        struct hashes bigger = {.cap = h->cap ? h->cap * 2 : 8};
        bigger.slots = tel_calloc(bigger.cap, sizeof *bigger.slots);
        for (size_t i = 0; i < h->cap; i++)
            if (h->slots[i])
                add_hash(&bigger, h->slots[i]);
        free(h->slots);
        *h = bigger;
    }
    size_t i = (size_t)hash & (h->cap - 1);
    for (; h->slots[i]; i = (i + 1) & (h->cap - 1))
        if (h->slots[i] == hash)
            return;
    h->slots[i] = hash;
    h->len++;
}

static tel_code update_hashes(const struct tel_stats_func *f, const struct tel_stats_batch *b,
                              struct tel_error *err)
{
    struct tel_buf buf = {0};
    (void)err;
    for (size_t i = 0; i < b->rows; i++) {
        struct hashes *h = tel_stats_state(b, f, i);
        struct tel_span key;
        if (h && !is_full(f, h->len) && tuple(b, i, &buf, &key))
            add_hash(h, tel_hash64(key, 2));
    }
    tel_buf_free(&buf);
    return TEL_OK;
}

static void save_hashes(const struct tel_stats_func *f, const void *state, struct tel_buf *out)
{
    const struct hashes *h = state;
    (void)f;
    for (size_t i = 0; i < h->cap; i++)
        if (h->slots[i])
            tel_buf_add_le64(out, h->slots[i]);
}

static bool merge_hashes(const struct tel_stats_func *f, void *state, struct tel_span bytes)
{
    if (bytes.len % 8)
        return false;
    for (size_t i = 0; i < bytes.len; i += 8) {
        uint64_t v = 0;
        for (unsigned k = 0; k < 8; k++)
            v |= (uint64_t)(unsigned char)bytes.ptr[i + k] << 8 * k;
        if (!is_full(f, ((struct hashes *)state)->len))
            add_hash(state, v);
    }
    return true;
}

static void result_hashes(const struct tel_stats_func *f, const void *state,
                          const struct tel_stage *stage, struct tel_buf *out)
{
    (void)f;
    (void)stage;
    tel_buf_add_u64(out, ((const struct hashes *)state)->len);
}

static void drop_hashes(void *state)
{
    free(((struct hashes *)state)->slots);
}

static size_t held_hashes(const void *state)
{
    return ((const struct hashes *)state)->cap * sizeof(uint64_t);
}

const struct tel_stats_ops tel_stats_count_uniq_hash = {.name = "count_uniq_hash",
                                                        .state_size = sizeof(struct hashes),
                                                        .has_limit = true,
                                                        .update = update_hashes,
                                                        .save = save_hashes,
                                                        .merge = merge_hashes,
                                                        .result = result_hashes,
                                                        .drop = drop_hashes,
                                                        .held = held_hashes};
