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

struct range {
    char text[72]; /* "8.799e-01...1.000e+00" */
    uint64_t hits;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(((const struct range *)a)->text, ((const struct range *)b)->text);
}

static size_t add_range(struct range *ranges, size_t n, const char *from, const char *to,
                        uint64_t hits)
{
    if (!hits)
        return n;
    snprintf(ranges[n].text, sizeof ranges[n].text, "%s...%s", from, to);
    ranges[n].hits = hits;
    return n + 1;
}

/* In the order of the ranges' text: who compares the array as text must find VictoriaLogs' own. */
static void result(const struct tel_stats_func *f, const void *state, const struct tel_stage *stage,
                   struct tel_buf *out)
{
    const struct histogram *h = state;
    (void)f;
    (void)stage;
    if (!h->hits) {
        TEL_BUF_ADD_LIT(out, "[]");
        return;
    }
    struct range *ranges = tel_malloc((BUCKETS + 2) * sizeof *ranges);
    char from[32], to[32];
    double v = pow(10, MIN_EXP), factor = pow(10, 1.0 / PER_DECADE);
    size_t n = add_range(ranges, 0, "0", "1.000e-09", h->hits[LOWER]);
    snprintf(from, sizeof from, "%.3e", v);
    for (size_t i = 0; i < BUCKETS; i++) {
        v *= factor;
        snprintf(to, sizeof to, "%.3e", v);
        n = add_range(ranges, n, from, to, h->hits[i]);
        memcpy(from, to, sizeof from);
    }
    n = add_range(ranges, n, "1.000e+18", "+Inf", h->hits[UPPER]);
    qsort(ranges, n, sizeof *ranges, by_text);
    for (size_t i = 0; i < n; i++)
        tel_buf_printf(out, "%c{\"vmrange\":\"%s\",\"hits\":%llu}", i ? ',' : '[', ranges[i].text,
                       (unsigned long long)ranges[i].hits);
    TEL_BUF_ADD_LIT(out, "]");
    free(ranges);
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
