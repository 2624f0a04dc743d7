/*
 * Functions that keep values: values and json_values give them as a JSON array, quantile and median
 * pick one. All are exact; what they keep counts against the query's memory.
 */
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/varint.h"
#include "common/logsql/json.h"
#include "common/logsql/number.h"
#include "common/logsql/order.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipe_util.h"
#include "common/logsql/stats.h"
#include "common/logsql/strset.h"

struct kept {
    struct tel_buf list;
    size_t len;
};

static tel_code update(const struct tel_stats_func *f, const struct tel_stats_batch *b,
                       struct tel_error *err)
{
    bool wildcard = tel_stats_has_wildcard(f);
    (void)err;
    for (size_t i = 0; i < b->rows; i++) {
        struct kept *k = tel_stats_state(b, f, i);
        for (size_t c = 0; k && c < b->column_count; c++) {
            if (f->limit && k->len >= f->limit)
                break;
            if (wildcard && b->columns[c][i].len == 0)
                continue;
            tel_strlist_add(&k->list, b->columns[c][i]);
            k->len++;
        }
    }
    return TEL_OK;
}

/* A row's fields as a JSON object. */
void tel_stats_print_row(const struct tel_stats_batch *b, size_t row, struct tel_buf *out)
{
    size_t start = out->len;
    for (size_t c = 0; c < b->column_count; c++) {
        if (b->columns[c][row].len == 0)
            continue;
        tel_buf_add_char(out, out->len == start ? '{' : ',');
        tel_json_embed(out, b->names[c]);
        tel_buf_add_char(out, ':');
        tel_json_embed(out, b->columns[c][row]);
    }
    if (out->len == start)
        tel_buf_add_char(out, '{');
    tel_buf_add_char(out, '}');
}

static tel_code update_rows(const struct tel_stats_func *f, const struct tel_stats_batch *b,
                            struct tel_error *err)
{
    struct tel_buf row = {0};
    (void)err;
    for (size_t i = 0; i < b->rows; i++) {
        struct kept *k = tel_stats_state(b, f, i);
        if (!k || (f->limit && k->len >= f->limit))
            continue;
        tel_buf_clear(&row);
        tel_stats_print_row(b, i, &row);
        tel_strlist_add(&k->list, tel_buf_span(&row));
        k->len++;
    }
    tel_buf_free(&row);
    return TEL_OK;
}

static void save(const struct tel_stats_func *f, const void *state, struct tel_buf *out)
{
    (void)f;
    tel_buf_add_span(out, tel_buf_span(&((const struct kept *)state)->list));
}

static bool merge(const struct tel_stats_func *f, void *state, struct tel_span bytes)
{
    struct kept *k = state;
    struct tel_span s;
    size_t pos = 0, count;
    if (!tel_strlist_valid(bytes, &count))
        return false;
    while ((!f->limit || k->len < f->limit) && tel_strlist_next(bytes, &pos, &s)) {
        tel_strlist_add(&k->list, s);
        k->len++;
    }
    return true;
}

static void drop(void *state)
{
    tel_buf_free(&((struct kept *)state)->list);
}

static size_t held(const void *state)
{
    return ((const struct kept *)state)->list.cap;
}

static void array(const struct kept *k, bool json, struct tel_buf *out)
{
    struct tel_span s;
    size_t pos = 0;
    tel_buf_add_char(out, '[');
    for (size_t i = 0; tel_strlist_next(tel_buf_span(&k->list), &pos, &s); i++) {
        if (i)
            tel_buf_add_char(out, ',');
        if (json)
            tel_buf_add_span(out, s);
        else
            tel_json_embed(out, s);
    }
    tel_buf_add_char(out, ']');
}

static void result_values(const struct tel_stats_func *f, const void *state,
                          const struct tel_stage *stage, struct tel_buf *out)
{
    (void)f;
    (void)stage;
    array(state, false, out);
}

static void result_rows(const struct tel_stats_func *f, const void *state,
                        const struct tel_stage *stage, struct tel_buf *out)
{
    (void)f;
    (void)stage;
    array(state, true, out);
}

#define KEPT_OPS(fn_name, limits, sorts, update_fn, result_fn, parse_fn, held_fn)                  \
    {                                                                                              \
        .name = fn_name, .state_size = sizeof(struct kept), .has_limit = limits,                   \
        .any_order = sorts,                                                                        \
        .parse = parse_fn, .update = update_fn, .save = save, .merge = merge, .result = result_fn, \
        .drop = drop, .held = held_fn                                                              \
    }

const struct tel_stats_ops tel_stats_values =
    KEPT_OPS("values", true, false, update, result_values, NULL, held);
const struct tel_stats_ops tel_stats_json_values =
    KEPT_OPS("json_values", true, false, update_rows, result_rows, NULL, held);

/* ---- quantile and median
 * ------------------------------------------------------------------------------ */

static tel_code parse_quantile(struct tel_parser *p, struct tel_stats_func *f)
{
    struct tel_span *args;
    size_t count, at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_fields_in_parens(p, &args, &count));
    if (count == 0 || !tel_number_decimal(args[0], &f->phi) || f->phi < 0 || f->phi > 1)
        return tel_parse_fail(
            p, at, "expected a number between 0 and 1 as the first argument of quantile");
    f->phi_text = args[0];
    f->fields = args + 1;
    f->field_count = count - 1;
    return TEL_OK;
}

struct ranked {
    double number;
    size_t offset; /* of the value in the list */
};

static int by_number(const void *a, const void *b)
{
    double x = ((const struct ranked *)a)->number, y = ((const struct ranked *)b)->number;
    return x < y ? -1 : x > y;
}

static int by_nature(const void *a, const void *b)
{
    return tel_order_natural(*(const struct tel_span *)a, *(const struct tel_span *)b);
}

/* The k-th smallest of v[0..n), by Hoare's selection; sorts what is left when it does not converge.
 */
static size_t select_number(struct ranked *v, size_t n, size_t k)
{
    size_t lo = 0, hi = n;
    for (int rounds = 0; hi - lo > 32 && rounds < 128; rounds++) {
        double a = v[lo].number, b = v[lo + (hi - lo) / 2].number, c = v[hi - 1].number;
        double pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
        size_t i = lo, j = hi - 1;
        for (;;) {
            while (v[i].number < pivot)
                i++;
            while (v[j].number > pivot)
                j--;
            if (i >= j)
                break;
            struct ranked t = v[i];
            v[i++] = v[j];
            v[j--] = t;
        }
        /* All of [lo, i) are at most the pivot, all of (j, hi) at least it. */
        size_t split = v[i].number < pivot ? i + 1 : i;
        if (split == lo || split == hi)
            break;
        if (k < split)
            hi = split;
        else
            lo = split;
    }
    qsort(v + lo, hi - lo, sizeof *v, by_number);
    return v[k].offset;
}

static struct tel_span value_at(const struct kept *k, size_t offset)
{
    struct tel_span s = {"", 0};
    tel_strlist_next(tel_buf_span(&k->list), &offset, &s);
    return s;
}

/* Empty values come first, then numbers, then other text: only the kind that holds the rank is
 * looked through. */
static void result_quantile(const struct tel_stats_func *f, const void *state,
                            const struct tel_stage *stage, struct tel_buf *out)
{
    const struct kept *k = state;
    double phi = f->ops == &tel_stats_median ? 0.5 : f->phi;
    size_t pos = 0, numbers = 0, texts = 0, at;
    struct tel_span s;
    (void)stage;
    if (k->len == 0)
        return;
    struct ranked *ranked = tel_malloc((k->len + 1) * sizeof *ranked);
    while (at = pos, tel_strlist_next(tel_buf_span(&k->list), &pos, &s)) {
        struct tel_order_key key = tel_order_key_any(s);
        if (key.cls == TEL_ORDER_NUMBER)
            ranked[numbers++] = (struct ranked){key.number, at};
        texts += key.cls == TEL_ORDER_TEXT;
    }
    size_t empty = k->len - numbers - texts;
    size_t rank = TEL_MIN((size_t)(phi * (double)k->len), k->len - 1);
    if (rank >= empty + numbers) {
        struct tel_span *text = tel_malloc((texts + 1) * sizeof *text);
        for (pos = 0, at = 0; tel_strlist_next(tel_buf_span(&k->list), &pos, &s);)
            if (tel_order_key_any(s).cls == TEL_ORDER_TEXT)
                text[at++] = s;
        qsort(text, texts, sizeof *text, by_nature);
        tel_buf_add_span(out, text[rank - empty - numbers]);
        free(text);
    } else if (rank >= empty) {
        tel_buf_add_span(out, value_at(k, select_number(ranked, numbers, rank - empty)));
    }
    free(ranked);
}

/* The result needs a table beside the values. */
static size_t held_ranked(const void *state)
{
    const struct kept *k = state;
    return k->list.cap + k->len * sizeof(struct ranked);
}

const struct tel_stats_ops tel_stats_quantile =
    KEPT_OPS("quantile", false, true, update, result_quantile, parse_quantile, held_ranked);
const struct tel_stats_ops tel_stats_median =
    KEPT_OPS("median", false, true, update, result_quantile, NULL, held_ranked);
