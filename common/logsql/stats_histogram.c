/*
 * histogram(field): how many values fall into each of VictoriaMetrics' buckets: 18 per power of ten
 * from 1e-9 to 1e18, and one below and one above. A value on a border belongs to the bucket below
 * it. (https://pkg.go.dev/github.com/VictoriaMetrics/metrics#Histogram)
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/varint.h"
#include "common/logsql/number.h"
#include "common/logsql/parse.h"
#include "common/logsql/stats.h"

#define MIN_EXP    (-9)
#define MAX_EXP    18
#define PER_DECADE 18
#define BUCKETS    ((MAX_EXP - MIN_EXP) * PER_DECADE)
#define LOWER      BUCKETS
#define UPPER      (BUCKETS + 1)

struct histogram {
    uint64_t *hits; /* BUCKETS + 2 */
};

static void add(struct histogram *h, double v)
{
    if (isnan(v) || v < 0)
        return;
    if (!h->hits)
        h->hits = tel_calloc(BUCKETS + 2, sizeof *h->hits);
    double at = (log10(v) - MIN_EXP) * PER_DECADE;
    if (at < 0) {
        h->hits[LOWER]++;
    } else if (at >= BUCKETS) {
        h->hits[UPPER]++;
    } else {
        size_t i = (size_t)at;
        if ((double)i == at && i > 0)
            i--;
        h->hits[i]++;
    }
}

static tel_code update(const struct tel_stats_func *f, const struct tel_stats_batch *b,
                       struct tel_error *err)
{
    double v;
    (void)err;
    for (size_t c = 0; c < b->column_count; c++) {
        for (size_t i = 0; i < b->rows; i++) {
            struct histogram *h = tel_stats_state(b, f, i);
            if (h && tel_number_parse(b->columns[c][i], &v))
                add(h, v);
        }
    }
    return TEL_OK;
}

static void save(const struct tel_stats_func *f, const void *state, struct tel_buf *out)
{
    const struct histogram *h = state;
    char text[TEL_VARINT_MAX];
    (void)f;
    for (size_t i = 0; h->hits && i < BUCKETS + 2; i++) {
        if (!h->hits[i])
            continue;
        tel_buf_add(out, text, tel_varint_put(text, i));
        tel_buf_add(out, text, tel_varint_put(text, h->hits[i]));
    }
}

static bool merge(const struct tel_stats_func *f, void *state, struct tel_span bytes)
{
    struct histogram *h = state;
    const char *p = bytes.ptr, *end = bytes.ptr + bytes.len;
    uint64_t i, n;
    (void)f;
    while (p < end) {
        if (!tel_varint_get(&p, end, &i) || !tel_varint_get(&p, end, &n) || i >= BUCKETS + 2)
            return false;
        if (!h->hits)
            h->hits = tel_calloc(BUCKETS + 2, sizeof *h->hits);
        h->hits[i] += n;
    }
    return true;
}

static void add_bucket(struct tel_buf *out, size_t start, const char *from, const char *to,
                       uint64_t hits)
{
    if (out->len > start + 1)
        tel_buf_add_char(out, ',');
    tel_buf_printf(out, "{\"vmrange\":\"%s...%s\",\"hits\":%llu}", from, to,
                   (unsigned long long)hits);
}

static void result(const struct tel_stats_func *f, const void *state, const struct tel_stage *stage,
                   struct tel_buf *out)
{
    const struct histogram *h = state;
    size_t start = out->len;
    char from[32], to[32];
    double v = pow(10, MIN_EXP), factor = pow(10, 1.0 / PER_DECADE);
    (void)f;
    (void)stage;
    tel_buf_add_char(out, '[');
    if (h->hits && h->hits[LOWER])
        add_bucket(out, start, "0", "1.000e-09", h->hits[LOWER]);
    snprintf(from, sizeof from, "%.3e", v);
    for (size_t i = 0; h->hits && i < BUCKETS; i++) {
        v *= factor;
        snprintf(to, sizeof to, "%.3e", v);
        if (h->hits[i])
            add_bucket(out, start, from, to, h->hits[i]);
        memcpy(from, to, sizeof from);
    }
    if (h->hits && h->hits[UPPER])
        add_bucket(out, start, "1.000e+18", "+Inf", h->hits[UPPER]);
    tel_buf_add_char(out, ']');
}

static void drop(void *state)
{
    free(((struct histogram *)state)->hits);
}

static size_t held(const void *state)
{
    return ((const struct histogram *)state)->hits ? (BUCKETS + 2) * sizeof(uint64_t) : 0;
}

static tel_code parse(struct tel_parser *p, struct tel_stats_func *f)
{
    size_t at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_fields_in_parens(p, &f->fields, &f->field_count));
    if (f->field_count != 1 || tel_field_is_wildcard(f->fields[0]))
        return tel_parse_fail(p, at, "histogram takes the name of one field");
    return TEL_OK;
}

const struct tel_stats_ops tel_stats_histogram = {.name = "histogram",
                                                  .parse = parse,
                                                  .state_size = sizeof(struct histogram),
                                                  .update = update,
                                                  .save = save,
                                                  .merge = merge,
                                                  .result = result,
                                                  .drop = drop,
                                                  .held = held};
