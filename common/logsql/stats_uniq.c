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

/* Makes the tuples of a batch's rows: the values in the order of the fields, or, with wildcards
 * among the fields, the values that are not empty behind their names, by name. */
struct tuples {
    const struct tel_stats_batch *batch;
    const struct tel_column **by_name; /* NULL: no wildcards */
    struct tel_column *columns;
    struct tel_buf buf;
};

static int by_name(const void *a, const void *b)
{
    return tel_span_cmp((*(const struct tel_column *const *)a)->name,
                        (*(const struct tel_column *const *)b)->name);
}

static void tuples_init(struct tuples *t, const struct tel_stats_func *f,
                        const struct tel_stats_batch *b)
{
    *t = (struct tuples){.batch = b};
    if (!tel_stats_has_wildcard(f))
        return;
    t->columns = tel_calloc(b->column_count + 1, sizeof *t->columns);
    t->by_name = tel_calloc(b->column_count + 1, sizeof *t->by_name);
    for (size_t c = 0; c < b->column_count; c++) {
        t->columns[c] = (struct tel_column){b->names[c], b->columns[c]};
        t->by_name[c] = &t->columns[c];
    }
    qsort(t->by_name, b->column_count, sizeof *t->by_name, by_name);
}

static void tuples_done(struct tuples *t)
{
    free(t->columns);
    free(t->by_name);
    tel_buf_free(&t->buf);
}

/* The tuple of a row as one string; false if all its values are empty. */
static bool tuple(struct tuples *t, size_t row, struct tel_span *ret)
{
    const struct tel_stats_batch *b = t->batch;
    bool any = false;
    if (b->column_count == 1 && !t->by_name) {
        *ret = b->columns[0][row];
        return ret->len > 0;
    }
    tel_buf_clear(&t->buf);
    for (size_t c = 0; c < b->column_count; c++) {
        struct tel_span value = t->by_name ? t->by_name[c]->values[row] : b->columns[c][row];
        any = any || value.len;
        if (t->by_name && value.len)
            tel_strlist_add(&t->buf, t->by_name[c]->name);
        if (!t->by_name || value.len)
            tel_strlist_add(&t->buf, value);
    }
    *ret = tel_buf_span(&t->buf);
    return any;
}

/* ---- sets of strings
 * ----------------------------------------------------------------------------------- */

static tel_code update_tuples(const struct tel_stats_func *f, const struct tel_stats_batch *b,
                              struct tel_error *err)
{
    struct tuples t;
    (void)err;
    tuples_init(&t, f, b);
    for (size_t i = 0; i < b->rows; i++) {
        struct tel_strset *set = tel_stats_state(b, f, i);
        struct tel_span key;
        if (set && !is_full(f, set->len) && tuple(&t, i, &key))
            tel_strset_add(set, key);
    }
    tuples_done(&t);
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

static int by_value(const void *a, const void *b)
{
    const struct tel_order_key *x = a, *y = b;
    int c = tel_order_cmp(x, y);
    return c ? c : tel_order_natural(x->text, y->text);
}

static void result_values(const struct tel_stats_func *f, const void *state,
                          const struct tel_stage *stage, struct tel_buf *out)
{
    const struct tel_strset *set = state;
    struct tel_order_key *all = tel_malloc((set->len + 1) * sizeof *all);
    struct tel_span value;
    size_t pos = 0, n = 0;
    (void)f;
    (void)stage;
    while (n < set->len && tel_strset_next(set, &pos, &value))
        all[n++] = tel_order_key_any(value);
    qsort(all, n, sizeof *all, by_value);
    tel_buf_add_char(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            tel_buf_add_char(out, ',');
        tel_json_embed(out, all[i].text);
    }
    tel_buf_add_char(out, ']');
    free(all);
}

#define SET_OPS(fn_name, update_fn, result_fn)                                                     \
    {                                                                                              \
        .name = fn_name, .state_size = sizeof(struct tel_strset), .has_limit = true,               \
        .takes_hits = true, .update = update_fn, .save = save_set, .merge = merge_set, .result = result_fn,            \
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
    struct tuples t;
    (void)err;
    tuples_init(&t, f, b);
    for (size_t i = 0; i < b->rows; i++) {
        struct hashes *h = tel_stats_state(b, f, i);
        struct tel_span key;
        if (h && !is_full(f, h->len) && tuple(&t, i, &key))
            add_hash(h, tel_hash64(key, 2));
    }
    tuples_done(&t);
    return TEL_OK;
}

static void save_hashes(const struct tel_stats_func *f, const void *state, struct tel_buf *out)
{
    const struct hashes *h = state;
    (void)f;
    /* Not in the order of the slots, for the reason that tel_map_next has. */
    for (size_t i = 0; i < h->cap; i++) {
        size_t at = (size_t)((uint64_t)i * UINT64_C(0x9e3779b97f4a7c15)) & (h->cap - 1);
        if (h->slots[at])
            tel_buf_add_le64(out, h->slots[at]);
    }
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
                                                        .takes_hits = true,
                                                        .update = update_hashes,
                                                        .save = save_hashes,
                                                        .merge = merge_hashes,
                                                        .result = result_hashes,
                                                        .drop = drop_hashes,
                                                        .held = held_hashes};
