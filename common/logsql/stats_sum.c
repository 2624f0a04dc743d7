/*
 * sum, avg, rate_sum over the values that are numbers, and sum_len over the bytes of all. Sums are
 * compensated (Neumaier 1974), so that they hardly depend on the order in which shards answer.
 */
#include <math.h>

#include "common/base/buf.h"
#include "common/base/varint.h"
#include "common/logsql/number.h"
#include "common/logsql/stats.h"

struct sum_state {
    double sum, rest;
    uint64_t count;
};

static void add(struct sum_state *s, double v)
{
    double t = s->sum + v;
    if (fabs(s->sum) >= fabs(v))
        s->rest += s->sum - t + v;
    else
        s->rest += v - t + s->sum;
    s->sum = t;
}

static double total(const struct sum_state *s)
{
    return isfinite(s->rest) ? s->sum + s->rest : s->sum;
}

static tel_code update(const struct tel_stats_func *f, const struct tel_stats_batch *b,
                       struct tel_error *err)
{
    (void)err;
    for (size_t c = 0; c < b->column_count; c++) {
        const struct tel_span *values = b->columns[c];
        double v = 0;
        bool number = false;
        for (size_t i = 0; i < b->rows; i++) {
            struct sum_state *s = tel_stats_state(b, f, i);
            if (!s)
                continue;
            if (i == 0 || values[i].ptr != values[i - 1].ptr ||
                values[i].len != values[i - 1].len || !tel_stats_state(b, f, i - 1))
                number = tel_number_parse(values[i], &v);
            if (number) {
                add(s, v);
                s->count++;
            }
        }
    }
    return TEL_OK;
}

static void save(const struct tel_stats_func *f, const void *state, struct tel_buf *out)
{
    const struct sum_state *s = state;
    uint64_t bits[2];
    (void)f;
    memcpy(&bits[0], &s->sum, 8);
    memcpy(&bits[1], &s->rest, 8);
    tel_buf_add_le64(out, bits[0]);
    tel_buf_add_le64(out, bits[1]);
    tel_buf_add_le64(out, s->count);
}

static uint64_t read_le64(const char *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v |= (uint64_t)(unsigned char)p[i] << 8 * i;
    return v;
}

static bool merge(const struct tel_stats_func *f, void *state, struct tel_span bytes)
{
    struct sum_state *s = state, other;
    (void)f;
    if (bytes.len != 24)
        return false;
    uint64_t bits[3] = {read_le64(bytes.ptr), read_le64(bytes.ptr + 8), read_le64(bytes.ptr + 16)};
    memcpy(&other.sum, &bits[0], 8);
    memcpy(&other.rest, &bits[1], 8);
    add(s, other.sum);
    s->rest += other.rest;
    s->count += bits[2];
    return true;
}

static void result_sum(const struct tel_stats_func *f, const void *state,
                       const struct tel_stage *stage, struct tel_buf *out)
{
    const struct sum_state *s = state;
    (void)f;
    (void)stage;
    tel_number_print(out, s->count ? total(s) : NAN);
}

static void result_avg(const struct tel_stats_func *f, const void *state,
                       const struct tel_stage *stage, struct tel_buf *out)
{
    const struct sum_state *s = state;
    (void)f;
    (void)stage;
    tel_number_print(out, s->count ? total(s) / (double)s->count : NAN);
}

static void result_rate(const struct tel_stats_func *f, const void *state,
                        const struct tel_stage *stage, struct tel_buf *out)
{
    const struct sum_state *s = state;
    double seconds = tel_stats_rate_seconds(stage), sum = s->count ? total(s) : NAN;
    (void)f;
    tel_number_print(out, seconds > 0 ? sum / seconds : sum);
}

#define SUM_OPS(fn_name, result_fn)                                                                \
    {                                                                                              \
        .name = fn_name, .state_size = sizeof(struct sum_state), .any_order = true,                \
        .update = update, .save = save, .merge = merge, .result = result_fn                        \
    }

const struct tel_stats_ops tel_stats_sum = SUM_OPS("sum", result_sum);
const struct tel_stats_ops tel_stats_avg = SUM_OPS("avg", result_avg);
const struct tel_stats_ops tel_stats_rate_sum = SUM_OPS("rate_sum", result_rate);

/* ---- sum_len, and sum_words: our own, for _score
 * ------------------------------------------------------------------------------------------ */

static tel_code update_len(const struct tel_stats_func *f, const struct tel_stats_batch *b,
                           struct tel_error *err)
{
    (void)err;
    for (size_t c = 0; c < b->column_count; c++) {
        for (size_t i = 0; i < b->rows; i++) {
            uint64_t *state = tel_stats_state(b, f, i);
            if (state)
                *state += b->columns[c][i].len * tel_block_hits(b->block, i);
        }
    }
    return TEL_OK;
}

static void save_len(const struct tel_stats_func *f, const void *state, struct tel_buf *out)
{
    (void)f;
    tel_buf_add_le64(out, *(const uint64_t *)state);
}

static bool merge_len(const struct tel_stats_func *f, void *state, struct tel_span bytes)
{
    (void)f;
    if (bytes.len != 8)
        return false;
    *(uint64_t *)state += read_le64(bytes.ptr);
    return true;
}

static void result_len(const struct tel_stats_func *f, const void *state,
                       const struct tel_stage *stage, struct tel_buf *out)
{
    (void)f;
    (void)stage;
    tel_buf_add_u64(out, *(const uint64_t *)state);
}

static tel_code update_words(const struct tel_stats_func *f, const struct tel_stats_batch *b,
                             struct tel_error *err)
{
    (void)err;
    for (size_t c = 0; c < b->column_count; c++) {
        for (size_t i = 0; i < b->rows; i++) {
            uint64_t *state = tel_stats_state(b, f, i);
            struct tel_span word;
            size_t pos = 0;
            while (state && tel_words_next(b->columns[c][i], &pos, &word))
                ++*state;
        }
    }
    return TEL_OK;
}

const struct tel_stats_ops tel_stats_sum_words = {.name = "sum_words",
                                                  .state_size = sizeof(uint64_t),
                                                  .any_order = true,
                                                  .update = update_words,
                                                  .save = save_len,
                                                  .merge = merge_len,
                                                  .result = result_len};
const struct tel_stats_ops tel_stats_sum_len = {.name = "sum_len",
                                                .state_size = sizeof(uint64_t),
                                                .takes_hits = true,
                                                .update = update_len,
                                                .save = save_len,
                                                .merge = merge_len,
                                                .result = result_len};
