/*
 * join by (a) (query) [inner] [prefix "p"]: extends rows by those of another query that have the
 * same values. union (query): that query's rows behind these. Both run the other query through
 * exec->run.
 */
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipe_util.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"

struct join_pipe {
    struct tel_pipe base;
    struct tel_span *by;
    size_t by_count;
    struct tel_query *query;
    struct tel_span prefix;
    bool inner;
};

/* Rows of the other query with the same key form a list. */
struct join_row {
    struct tel_row row;
    struct join_row *next;
};

struct join_state {
    struct tel_rowset set;
    struct tel_map index; /* key -> struct join_row *, the first */
    struct tel_map tails; /* key -> the last */
    struct tel_buf key;
};

static tel_code parse_join(struct tel_parser *p, struct tel_pipe **ret)
{
    struct join_pipe *j = TEL_ARENA_NEW(p->arena, struct join_pipe);
    if (!tel_parse_accept(p, "by"))
        tel_parse_accept(p, "on");
    size_t at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_fields_in_parens(p, &j->by, &j->by_count));
    if (j->by_count == 0)
        return tel_parse_fail(p, at, "expected at least one field to join by");
    for (size_t i = 0; i < j->by_count; i++)
        if (tel_field_is_wildcard(j->by[i]))
            return tel_parse_fail(p, at, "expected names of fields without '*'");
    TEL_TRY(tel_parse_subquery(p, &j->query));
    while (!tel_parse_at_end(p)) {
        if (tel_parse_accept(p, "inner"))
            j->inner = true;
        else if (tel_parse_accept(p, "prefix"))
            TEL_TRY(tel_parse_compound(p, "a prefix", &j->prefix));
        else
            return tel_parse_expected(p, "inner, prefix or '|'");
    }
    *ret = &j->base;
    return TEL_OK;
}

static tel_code parse_union(struct tel_parser *p, struct tel_pipe **ret)
{
    struct join_pipe *j = TEL_ARENA_NEW(p->arena, struct join_pipe);
    TEL_TRY(tel_parse_subquery(p, &j->query));
    *ret = &j->base;
    return TEL_OK;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct join_pipe *j = (const struct join_pipe *)pipe;
    tel_buf_printf(out, "%s ", pipe->ops->name);
    if (j->by_count) {
        TEL_BUF_ADD_LIT(out, "by (");
        tel_print_fields(out, j->by, j->by_count);
        TEL_BUF_ADD_LIT(out, ") ");
    }
    tel_buf_add_char(out, '(');
    tel_query_print(out, j->query);
    tel_buf_add_char(out, ')');
    if (j->inner)
        TEL_BUF_ADD_LIT(out, " inner");
    if (j->prefix.len) {
        TEL_BUF_ADD_LIT(out, " prefix ");
        tel_print_token(out, j->prefix);
    }
}

static void needed(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    const struct join_pipe *j = (const struct join_pipe *)pipe;
    tel_fields_add_all(fields, j->by, j->by_count);
}

static tel_code run_query(struct tel_stage *stage, tel_sink_fn sink, struct tel_error *err)
{
    const struct join_pipe *j = (const struct join_pipe *)stage->pipe;
    if (!stage->exec->run)
        return tel_error_set(err, TEL_ERR_UNSUPPORTED, "the pipe %s cannot run its query here",
                             stage->pipe->ops->name);
    return stage->exec->run(stage->exec->run_ctx, j->query, sink, stage, err);
}

/* ---- join
 * --------------------------------------------------------------------------------------------- */

static struct tel_span key_of(struct tel_stage *stage, const struct tel_span *const *by, size_t row)
{
    const struct join_pipe *j = (const struct join_pipe *)stage->pipe;
    struct join_state *st = stage->state;
    tel_buf_clear(&st->key);
    for (size_t i = 0; i < j->by_count; i++) {
        struct tel_span v = by[i] ? by[i][row] : (struct tel_span){"", 0};
        tel_buf_add_le32(&st->key, (uint32_t)v.len);
        tel_buf_add_span(&st->key, v);
    }
    return tel_buf_span(&st->key);
}

static const struct tel_span **by_columns(const struct join_pipe *j, const struct tel_block *block,
                                          struct tel_arena *arena)
{
    const struct tel_span **by = TEL_ARENA_ARRAY(arena, const struct tel_span *, j->by_count + 1);
    for (size_t i = 0; i < j->by_count; i++)
        by[i] = tel_block_values(block, j->by[i], arena);
    return by;
}

static tel_code keep_block(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    struct tel_stage *stage = ctx;
    struct join_state *st = stage->state;
    const struct join_pipe *j = (const struct join_pipe *)stage->pipe;
    const struct tel_row_schema *schema = tel_rowset_schema(&st->set, block);
    struct tel_arena temporary = {0};
    const struct tel_span **by = by_columns(j, block, &temporary);
    tel_code rc = TEL_OK;
    for (size_t r = 0; r < block->rows && rc == TEL_OK; r++) {
        struct join_row *row = TEL_ARENA_NEW(&st->set.arena, struct join_row);
        size_t bytes;
        bool is_new;
        tel_row_copy(&row->row, schema, block, r, &st->set.arena, &bytes);
        struct tel_span key = key_of(stage, by, r);
        uint64_t *head = tel_map_put(&st->index, key, &is_new);
        if (is_new)
            *head = (uintptr_t)row;
        uint64_t *tail = tel_map_put(&st->tails, key, NULL);
        if (!is_new)
            ((struct join_row *)(uintptr_t)*tail)->next = row;
        *tail = (uintptr_t)row;
        rc = tel_stage_charge(stage, bytes + sizeof *row + 2 * key.len + 96, err);
    }
    tel_arena_free(&temporary);
    return rc;
}

static tel_code join_open(struct tel_stage *stage, struct tel_error *err)
{
    return run_query(stage, keep_block, err);
}

struct join_output {
    struct tel_block_edit edit;
    struct tel_span *names; /* of columns added so far, with their values in cells */
    struct tel_span **cells;
    size_t count, cap;
    size_t rows;
};

/* The values of a result column to be written, made when first asked for. */
static struct tel_span *cells_of(struct join_output *out, struct tel_span name)
{
    for (size_t i = 0; i < out->count; i++)
        if (tel_span_eq(out->names[i], name))
            return out->cells[i];
    struct tel_arena *arena = out->edit.arena;
    if (out->count == out->cap) {
        size_t cap = out->cap ? out->cap * 2 : 16;
        struct tel_span *names = TEL_ARENA_ARRAY(arena, struct tel_span, cap);
        struct tel_span **cells = TEL_ARENA_ARRAY(arena, struct tel_span *, cap);
        if (out->count) {
            memcpy(names, out->names, out->count * sizeof *names);
            memcpy(cells, out->cells, out->count * sizeof *cells);
        }
        out->names = names;
        out->cells = cells;
        out->cap = cap;
    }
    out->names[out->count] = name;
    out->cells[out->count] = tel_block_edit_values(&out->edit, name);
    return out->cells[out->count++];
}

static bool is_by(const struct join_pipe *j, struct tel_span name)
{
    for (size_t i = 0; i < j->by_count; i++)
        if (tel_span_eq(j->by[i], name))
            return true;
    return false;
}

static void extend(const struct join_pipe *j, struct join_output *out, size_t at,
                   const struct tel_row *row)
{
    char text[TEL_TIME_TEXT_MAX];
    for (size_t i = 0; i < row->schema->count; i++) {
        struct tel_span name = row->schema->names[i];
        if (is_by(j, name))
            continue;
        struct tel_span v = row->values[i];
        if (row->schema->from_keys[i])
            v = tel_arena_copy(out->edit.arena, tel_row_value(row, name, text));
        if (j->prefix.len)
            name = tel_arena_printf(out->edit.arena, "%.*s%.*s", TEL_SPAN_ARG(j->prefix),
                                    TEL_SPAN_ARG(name));
        struct tel_span *cells = cells_of(out, name);
        if (cells[at].len == 0)
            cells[at] = v;
    }
}

/* Rows of the output: a source row each, with the row that it is joined to, if any. */
struct pairs {
    TEL_VEC(size_t) source;
    TEL_VEC(const struct tel_row *) other;
};

static tel_code emit_pairs(struct tel_stage *stage, const struct tel_block *block,
                           struct pairs *pairs, struct tel_error *err)
{
    const struct join_pipe *j = (const struct join_pipe *)stage->pipe;
    struct tel_arena *arena = &stage->scratch;
    size_t rows = pairs->source.len;
    struct tel_column *columns = TEL_ARENA_ARRAY(arena, struct tel_column, block->column_count + 1);
    for (size_t c = 0; c < block->column_count; c++) {
        columns[c].name = block->columns[c].name;
        if (!block->columns[c].values)
            continue;
        struct tel_span *values = TEL_ARENA_ARRAY(arena, struct tel_span, rows + 1);
        for (size_t i = 0; i < rows; i++)
            values[i] = block->columns[c].values[pairs->source.items[i]];
        columns[c].values = values;
    }
    struct tel_row_key *keys = NULL;
    if (block->keys) {
        keys = TEL_ARENA_ARRAY(arena, struct tel_row_key, rows + 1);
        for (size_t i = 0; i < rows; i++)
            keys[i] = block->keys[pairs->source.items[i]];
    }
    struct tel_block all = {
        .rows = rows, .keys = keys, .column_count = block->column_count, .columns = columns};
    struct join_output out = {.rows = rows};
    tel_block_edit_init(&out.edit, &all, arena);
    for (size_t i = 0; i < rows; i++)
        if (pairs->other.items[i])
            extend(j, &out, i, pairs->other.items[i]);
    for (size_t i = 0; i < out.count; i++)
        tel_block_edit_set(&out.edit, out.names[i], out.cells[i]);
    tel_vec_clear(&pairs->source);
    tel_vec_clear(&pairs->other);
    return tel_stage_emit(stage, &out.edit.block, err);
}

#define PAIRS_MAX 16384

static tel_code join_push(struct tel_stage *stage, const struct tel_block *block,
                          struct tel_error *err)
{
    const struct join_pipe *j = (const struct join_pipe *)stage->pipe;
    struct join_state *st = stage->state;
    const struct tel_span **by = by_columns(j, block, &stage->scratch);
    struct pairs pairs = {0};
    tel_code rc = TEL_OK;
    for (size_t r = 0; r < block->rows && rc == TEL_OK; r++) {
        uint64_t *head = tel_map_get(&st->index, key_of(stage, by, r));
        struct join_row *row = head ? (struct join_row *)(uintptr_t)*head : NULL;
        if (!row && !j->inner) {
            tel_vec_push(&pairs.source, r);
            tel_vec_push(&pairs.other, NULL);
        }
        for (; row && rc == TEL_OK; row = row->next) {
            tel_vec_push(&pairs.source, r);
            tel_vec_push(&pairs.other, &row->row);
            if (pairs.source.len == PAIRS_MAX)
                rc = emit_pairs(stage, block, &pairs, err);
        }
    }
    if (rc == TEL_OK)
        rc = emit_pairs(stage, block, &pairs, err);
    tel_vec_free(&pairs.source);
    tel_vec_free(&pairs.other);
    return rc;
}

static void join_close(struct tel_stage *stage)
{
    struct join_state *st = stage->state;
    tel_map_free(&st->index);
    tel_map_free(&st->tails);
    tel_buf_free(&st->key);
    tel_rowset_done(&st->set);
}

const struct tel_pipe_ops tel_pipe_join = {.name = "join",
                                           .parse = parse_join,
                                           .print = print,
                                           .needed = needed,
                                           .state_size = sizeof(struct join_state),
                                           .open = join_open,
                                           .push = join_push,
                                           .close = join_close};

/* ---- union
 * -------------------------------------------------------------------------------------------- */

static tel_code pass(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    return tel_stage_emit(stage, block, err);
}

static tel_code pass_other(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    return tel_stage_emit(ctx, block, err);
}

static tel_code union_finish(struct tel_stage *stage, struct tel_error *err)
{
    return run_query(stage, pass_other, err);
}

const struct tel_pipe_ops tel_pipe_union = {
    .name = "union", .parse = parse_union, .print = print, .push = pass, .finish = union_finish};

/* ---- subqueries of the other query
 * -------------------------------------------------------------------- */

struct tel_query *tel_pipe_subquery(const struct tel_pipe *pipe)
{
    if (pipe->ops != &tel_pipe_join && pipe->ops != &tel_pipe_union)
        return NULL;
    return ((const struct join_pipe *)pipe)->query;
}
