/* count(): rows; count(a, b): rows in which one of the fields is not empty; count_empty(a, b): rows
 * in which all of them are. */
#include "common/base/buf.h"
#include "common/base/varint.h"
#include "common/logsql/number.h"
#include "common/logsql/stats.h"

static tel_code update(const struct tel_stats_func *f, const struct tel_stats_batch *b,
                       struct tel_error *err)
{
    (void)err;
    if (f->all_fields) {
        if (b->single && !b->block->hits) {
            *(uint64_t *)(void *)(b->single + f->offset) += b->rows;
            return TEL_OK;
        }
        for (size_t i = 0; i < b->rows; i++) {
            uint64_t *state = tel_stats_state(b, f, i);
            if (state)
                *state += tel_block_hits(b->block, i);
        }
        return TEL_OK;
    }
    for (size_t i = 0; i < b->rows; i++) {
        uint64_t *state = tel_stats_state(b, f, i);
        for (size_t c = 0; state && c < b->column_count; c++) {
            if (b->columns[c][i].len) {
                *state += tel_block_hits(b->block, i);
                break;
            }
        }
    }
    return TEL_OK;
}

static tel_code update_empty(const struct tel_stats_func *f, const struct tel_stats_batch *b,
                             struct tel_error *err)
{
    (void)err;
    for (size_t i = 0; i < b->rows; i++) {
        uint64_t *state = tel_stats_state(b, f, i);
        bool empty = true;
        for (size_t c = 0; state && c < b->column_count && empty; c++)
            empty = b->columns[c][i].len == 0;
        if (state && empty)
            *state += tel_block_hits(b->block, i);
    }
    return TEL_OK;
}

static void save(const struct tel_stats_func *f, const void *state, struct tel_buf *out)
{
    char text[TEL_VARINT_MAX];
    (void)f;
    tel_buf_add(out, text, tel_varint_put(text, *(const uint64_t *)state));
}

static bool merge(const struct tel_stats_func *f, void *state, struct tel_span bytes)
{
    const char *p = bytes.ptr;
    uint64_t n;
    (void)f;
    if (!tel_varint_get(&p, bytes.ptr + bytes.len, &n) || p != bytes.ptr + bytes.len)
        return false;
    *(uint64_t *)state += n;
    return true;
}

static void result(const struct tel_stats_func *f, const void *state, const struct tel_stage *stage,
                   struct tel_buf *out)
{
    (void)f;
    (void)stage;
    tel_buf_add_u64(out, *(const uint64_t *)state);
}

const struct tel_stats_ops tel_stats_count = {.name = "count",
                                              .state_size = sizeof(uint64_t),
                                              .needs_nothing = true,
                                              .takes_hits = true,
                                              .update = update,
                                              .save = save,
                                              .merge = merge,
                                              .result = result};
const struct tel_stats_ops tel_stats_count_empty = {.name = "count_empty",
                                                    .state_size = sizeof(uint64_t),
                                                    .takes_hits = true,
                                                    .update = update_empty,
                                                    .save = save,
                                                    .merge = merge,
                                                    .result = result};

/* ---- rate(): rows per second
 * ------------------------------------------------------------------------- */

static void result_rate(const struct tel_stats_func *f, const void *state,
                        const struct tel_stage *stage, struct tel_buf *out)
{
    double seconds = tel_stats_rate_seconds(stage), n = (double)*(const uint64_t *)state;
    (void)f;
    tel_number_print(out, seconds > 0 ? n / seconds : n);
}

const struct tel_stats_ops tel_stats_rate = {.name = "rate",
                                             .state_size = sizeof(uint64_t),
                                             .needs_nothing = true,
                                             .takes_hits = true,
                                             .no_args = true,
                                             .update = update,
                                             .save = save,
                                             .merge = merge,
                                             .result = result_rate};
