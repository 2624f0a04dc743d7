/* blocks_count: how many blocks came. block_stats: what each block holds per field. For looking at
 * the engine, not at logs. */
#include "common/base/buf.h"
#include "common/logsql/filter.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"

struct count_pipe {
    struct tel_pipe base;
    struct tel_span result;
};

static tel_code parse_count(struct tel_parser *p, struct tel_pipe **ret)
{
    struct count_pipe *c = TEL_ARENA_NEW(p->arena, struct count_pipe);
    c->result = TEL_SPAN("blocks_count");
    if (tel_parse_accept(p, "as") || !tel_parse_at_end(p))
        TEL_TRY(tel_parse_field(p, &c->result));
    *ret = &c->base;
    return TEL_OK;
}

static void print_count(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct count_pipe *c = (const struct count_pipe *)pipe;
    tel_buf_printf(out, "%s", pipe->ops->name);
    if (!tel_span_eq_cstr(c->result, "blocks_count")) {
        TEL_BUF_ADD_LIT(out, " as ");
        tel_print_token(out, c->result);
    }
}

static tel_code parse(struct tel_parser *p, struct tel_pipe **ret)
{
    *ret = TEL_ARENA_NEW(p->arena, struct tel_pipe);
    return TEL_OK;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    tel_buf_printf(out, "%s", pipe->ops->name);
}

static void needed_none(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    (void)pipe;
    tel_fields_clear(fields);
}

static void needed_all(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    (void)pipe;
    tel_fields_clear(fields);
    tel_fields_add(fields, TEL_SPAN("*"));
}

static tel_code push_count(struct tel_stage *stage, const struct tel_block *block,
                           struct tel_error *err)
{
    uint64_t *count = stage->state;
    if (!stage->importing) {
        ++*count;
        return TEL_OK;
    }
    const struct count_pipe *pipe = (const struct count_pipe *)stage->pipe;
    const struct tel_column *column = tel_block_column(block, pipe->result);
    for (size_t r = 0; r < block->rows; r++) {
        unsigned long long n;
        if (!column || !column->values || !tel_span_to_u64(column->values[r], &n))
            return tel_error_set(err, TEL_ERR_CORRUPT, "a shard sent no count of blocks");
        *count += n;
    }
    return TEL_OK;
}

static tel_code finish_count(struct tel_stage *stage, struct tel_error *err)
{
    struct tel_span value = tel_arena_printf(&stage->scratch, "%llu",
                                             (unsigned long long)*(const uint64_t *)stage->state);
    struct tel_column column = {((const struct count_pipe *)stage->pipe)->result, &value};
    struct tel_block out = {.rows = 1, .column_count = 1, .columns = &column};
    return tel_stage_emit(stage, &out, err);
}

const struct tel_pipe_ops tel_pipe_blocks_count = {.name = "blocks_count",
                                                   .parse = parse_count,
                                                   .print = print_count,
                                                   .needed = needed_none,
                                                   .state_size = sizeof(uint64_t),
                                                   .push = push_count,
                                                   .finish = finish_count};

enum {
    STAT_FIELD,
    STAT_TYPE,
    STAT_VALUES,
    STAT_BLOOM,
    STAT_DICT,
    STAT_ITEMS,
    STAT_ROWS,
    STAT_PATH,
    STATS
};

static tel_code push_stats(struct tel_stage *stage, const struct tel_block *block,
                           struct tel_error *err)
{
    static const char *const names[STATS] = {"field",       "type",       "values_bytes",
                                             "bloom_bytes", "dict_bytes", "dict_items",
                                             "rows",        "part_path"};
    struct tel_arena *arena = &stage->scratch;
    struct tel_column columns[STATS];
    struct tel_span *cells[STATS];
    for (size_t i = 0; i < STATS; i++) {
        cells[i] = TEL_ARENA_ARRAY(arena, struct tel_span, block->column_count + 1);
        columns[i] = (struct tel_column){tel_span_cstr(names[i]), cells[i]};
    }
    for (size_t c = 0; c < block->column_count; c++) {
        const struct tel_span *values = block->columns[c].values;
        size_t bytes = values ? 0 : 8 * block->rows;
        for (size_t r = 0; values && r < block->rows; r++)
            bytes += values[r].len;
        for (size_t i = 0; i < STATS; i++)
            cells[i][c] = TEL_SPAN("0");
        cells[STAT_FIELD][c] = block->columns[c].name;
        cells[STAT_TYPE][c] = tel_span_cstr(values ? tel_values_type(values, block->rows) : "time");
        cells[STAT_VALUES][c] = tel_arena_printf(arena, "%zu", bytes);
        cells[STAT_ROWS][c] = tel_arena_printf(arena, "%zu", block->rows);
        cells[STAT_PATH][c] = TEL_SPAN("");
    }
    struct tel_block out = {.rows = block->column_count, .column_count = STATS, .columns = columns};
    return tel_stage_emit(stage, &out, err);
}

const struct tel_pipe_ops tel_pipe_block_stats = {.name = "block_stats",
                                                  .parse = parse,
                                                  .print = print,
                                                  .needed = needed_all,
                                                  .push = push_stats};
