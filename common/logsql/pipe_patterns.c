/*
 * patterns [N]: the templates of the messages with how often each came, when first and last, and an
 * example; most frequent first. Stores that know templates give them as the column _pattern; for
 * rows without one, the message with its numbers replaced stands in.
 */
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/logsql/number.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipe_util.h"
#include "common/logsql/pipes.h"

struct patterns_pipe {
    struct tel_pipe base;
    uint64_t limit; /* 0: all */
};

struct pattern_entry {
    struct tel_span text, example;
    uint64_t count;
    int64_t first_ns, last_ns;
};

struct patterns_state {
    struct tel_map index;
    TEL_VEC(struct pattern_entry *) list;
    struct tel_arena arena;
};

static tel_code parse(struct tel_parser *p, struct tel_pipe **ret)
{
    struct patterns_pipe *k = TEL_ARENA_NEW(p->arena, struct patterns_pipe);
    if (!tel_parse_at_end(p))
        TEL_TRY(tel_parse_uint(p, "a number of patterns", &k->limit));
    *ret = &k->base;
    return TEL_OK;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct patterns_pipe *k = (const struct patterns_pipe *)pipe;
    TEL_BUF_ADD_LIT(out, "patterns");
    if (k->limit)
        tel_buf_printf(out, " %llu", (unsigned long long)k->limit);
}

static void needed(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    (void)pipe;
    tel_fields_clear(fields);
    tel_fields_add(fields, TEL_SPAN("_pattern"));
    tel_fields_add(fields, TEL_SPAN(TEL_FIELD_MSG));
    tel_fields_add(fields, TEL_SPAN(TEL_FIELD_TIME));
}

static tel_code add(struct tel_stage *stage, const struct pattern_entry *row, struct tel_error *err)
{
    struct patterns_state *st = stage->state;
    bool is_new;
    uint64_t *at = tel_map_put(&st->index, row->text, &is_new);
    if (is_new) {
        struct pattern_entry *e = TEL_ARENA_NEW(&st->arena, struct pattern_entry);
        *e = *row;
        e->text = tel_arena_copy(&st->arena, row->text);
        e->example = tel_arena_copy(&st->arena, row->example);
        tel_vec_push(&st->list, e);
        *at = st->list.len;
        return tel_stage_charge(stage, 2 * row->text.len + row->example.len + 160, err);
    }
    struct pattern_entry *e = st->list.items[*at - 1];
    e->count += row->count;
    e->first_ns = TEL_MIN(e->first_ns, row->first_ns);
    e->last_ns = TEL_MAX(e->last_ns, row->last_ns);
    return TEL_OK;
}

static const char *const names[] = {"pattern", "count", "first_seen", "last_seen", "example"};

static tel_code import(struct tel_stage *stage, const struct tel_block *block,
                       struct tel_error *err)
{
    const struct tel_span *columns[5];
    tel_code rc = TEL_OK;
    for (size_t i = 0; i < 5; i++)
        columns[i] = tel_block_values(block, tel_span_cstr(names[i]), &stage->scratch);
    for (size_t r = 0; r < block->rows && rc == TEL_OK; r++) {
        struct pattern_entry row = {0};
        /* Columns whose values are all empty do not travel. */
        if (!columns[1] || !columns[2] || !columns[3] ||
            !tel_number_u64(columns[1][r], &row.count) ||
            !tel_number_time(columns[2][r], &row.first_ns) ||
            !tel_number_time(columns[3][r], &row.last_ns))
            return tel_error_set(err, TEL_ERR_CORRUPT, "a shard sent no valid patterns");
        row.text = columns[0] ? columns[0][r] : TEL_SPAN("");
        row.example = columns[4] ? columns[4][r] : TEL_SPAN("");
        rc = add(stage, &row, err);
    }
    return rc;
}

static tel_code push(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    if (stage->importing)
        return import(stage, block, err);
    const struct tel_span *patterns =
        tel_block_values(block, TEL_SPAN("_pattern"), &stage->scratch);
    const struct tel_span *msgs = tel_block_values(block, TEL_SPAN(TEL_FIELD_MSG), &stage->scratch);
    struct tel_buf text = {0};
    tel_code rc = TEL_OK;
    for (size_t r = 0; r < block->rows && rc == TEL_OK; r++) {
        struct pattern_entry row = {.count = 1};
        row.example = msgs ? msgs[r] : (struct tel_span){"", 0};
        row.first_ns = row.last_ns = block->keys ? block->keys[r].time_ns : 0;
        if (patterns && patterns[r].len) {
            row.text = patterns[r];
        } else {
            tel_buf_clear(&text);
            tel_collapse_nums(row.example, &text);
            row.text = tel_buf_span(&text);
        }
        rc = add(stage, &row, err);
    }
    tel_buf_free(&text);
    return rc;
}

static int by_count(const void *a, const void *b)
{
    const struct pattern_entry *x = *(struct pattern_entry *const *)a,
                               *y = *(struct pattern_entry *const *)b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return tel_span_cmp(x->text, y->text);
}

#define EMIT_ROWS 1024

static tel_code emit(struct tel_stage *stage, size_t from, size_t to, struct tel_error *err)
{
    struct patterns_state *st = stage->state;
    struct tel_arena *arena = &stage->scratch;
    struct tel_column columns[5];
    struct tel_span *cells[5];
    tel_arena_reset(arena);
    for (size_t i = 0; i < 5; i++) {
        cells[i] = TEL_ARENA_ARRAY(arena, struct tel_span, to - from);
        columns[i] = (struct tel_column){tel_span_cstr(names[i]), cells[i]};
    }
    for (size_t i = from; i < to; i++) {
        const struct pattern_entry *e = st->list.items[i];
        char text[TEL_TIME_TEXT_MAX];
        cells[0][i - from] = e->text;
        cells[1][i - from] = tel_arena_printf(arena, "%llu", (unsigned long long)e->count);
        cells[2][i - from] =
            tel_arena_copy(arena, tel_span_make(text, tel_time_format(text, e->first_ns)));
        cells[3][i - from] =
            tel_arena_copy(arena, tel_span_make(text, tel_time_format(text, e->last_ns)));
        cells[4][i - from] = e->example;
    }
    struct tel_block out = {.rows = to - from, .column_count = 5, .columns = columns};
    return tel_stage_emit(stage, &out, err);
}

static tel_code finish(struct tel_stage *stage, struct tel_error *err)
{
    const struct patterns_pipe *k = (const struct patterns_pipe *)stage->pipe;
    struct patterns_state *st = stage->state;
    size_t n = st->list.len;
    if (n)
        qsort(st->list.items, n, sizeof *st->list.items, by_count);
    if (k->limit && !stage->exporting)
        n = (size_t)TEL_MIN((uint64_t)n, k->limit);
    tel_code rc = TEL_OK;
    for (size_t i = 0; i < n && rc == TEL_OK; i += EMIT_ROWS)
        rc = emit(stage, i, TEL_MIN(i + EMIT_ROWS, n), err);
    return rc;
}

static void patterns_close(struct tel_stage *stage)
{
    struct patterns_state *st = stage->state;
    tel_map_free(&st->index);
    tel_vec_free(&st->list);
    tel_arena_free(&st->arena);
}

const struct tel_pipe_ops tel_pipe_patterns = {.name = "patterns",
                                               .parse = parse,
                                               .print = print,
                                               .needed = needed,
                                               .state_size = sizeof(struct patterns_state),
                                               .push = push,
                                               .finish = finish,
                                               .close = patterns_close};
