/* min and max of the values, numbers as numbers (order.h). An absent field is the empty value,
 * which is less than all others: min of rows without the field is empty, max passes over them. */
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/logsql/order.h"
#include "common/logsql/stats.h"

struct extreme {
    struct tel_order_key key; /* its text is ours */
    size_t cap;
    bool any;
};

static bool is_max(const struct tel_stats_func *f)
{
    return f->ops == &tel_stats_max;
}

static void offer(const struct tel_stats_func *f, struct extreme *e, struct tel_span v)
{
    struct tel_order_key key = tel_order_key_any(v);
    if (e->any) {
        int c = tel_order_cmp(&key, &e->key);
        if (c == 0) /* 1 and 1.0: the same one in whichever order they come */
            c = tel_span_cmp(v, e->key.text);
        if (is_max(f) ? c <= 0 : c >= 0)
            return;
    }
    char *text = (char *)(uintptr_t)e->key.text.ptr;
    if (v.len > e->cap) {
        e->cap = v.len + 16;
        text = tel_realloc(text, e->cap);
    }
    if (v.len)
        memcpy(text, v.ptr, v.len);
    e->key = key;
    e->key.text = tel_span_make(text, v.len);
    e->any = true;
}

static tel_code update(const struct tel_stats_func *f, const struct tel_stats_batch *b,
                       struct tel_error *err)
{
    bool wildcard = tel_stats_has_wildcard(f);
    (void)err;
    for (size_t c = 0; c < b->column_count; c++) {
        const struct tel_span *v = b->columns[c];
        void *last = NULL;
        for (size_t i = 0; i < b->rows; i++) {
            struct extreme *e = tel_stats_state(b, f, i);
            /* A value right behind itself in the same group changes nothing. */
            bool same = i > 0 && e == last && v[i].ptr == v[i - 1].ptr && v[i].len == v[i - 1].len;
            if (e && !same && !(wildcard && v[i].len == 0))
                offer(f, e, v[i]);
            last = e;
        }
    }
    return TEL_OK;
}

static void save(const struct tel_stats_func *f, const void *state, struct tel_buf *out)
{
    const struct extreme *e = state;
    (void)f;
    if (!e->any)
        return;
    tel_buf_add_char(out, 1);
    tel_buf_add_span(out, e->key.text);
}

static bool merge(const struct tel_stats_func *f, void *state, struct tel_span bytes)
{
    if (bytes.len == 0)
        return true;
    if (bytes.ptr[0] != 1)
        return false;
    offer(f, state, tel_span_slice(bytes, 1, bytes.len));
    return true;
}

static void result(const struct tel_stats_func *f, const void *state, const struct tel_stage *stage,
                   struct tel_buf *out)
{
    (void)f;
    (void)stage;
    tel_buf_add_span(out, ((const struct extreme *)state)->key.text);
}

static void drop(void *state)
{
    free((char *)(uintptr_t)((struct extreme *)state)->key.text.ptr);
}

static size_t held(const void *state)
{
    return ((const struct extreme *)state)->cap;
}

#define EXTREME_OPS(fn_name)                                                                       \
    {                                                                                              \
        .name = fn_name, .state_size = sizeof(struct extreme), .takes_hits = true,                 \
        .update = update, .save = save, .merge = merge, .result = result, .drop = drop,            \
        .held = held                                                                               \
    }

const struct tel_stats_ops tel_stats_min = EXTREME_OPS("min");
const struct tel_stats_ops tel_stats_max = EXTREME_OPS("max");
