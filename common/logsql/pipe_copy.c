/* copy a as b, c* as d* and rename: columns under other names. */
#include "common/base/vec.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipe_util.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"

struct copy_pair {
    struct tel_span from, to;
};

struct copy_pipe {
    struct tel_pipe base;
    struct copy_pair *pairs;
    size_t count;
};

static tel_code parse(struct tel_parser *p, struct tel_pipe **ret)
{
    TEL_VEC(struct copy_pair) v = {0};
    tel_code rc;
    do {
        struct copy_pair pair;
        size_t at = tel_lexer_offset(&p->lex);
        rc = tel_parse_field_pattern(p, &pair.from);
        if (rc == TEL_OK) {
            tel_parse_accept(p, "as");
            rc = tel_parse_field_pattern(p, &pair.to);
        }
        if (rc == TEL_OK && tel_field_is_wildcard(pair.from) != tel_field_is_wildcard(pair.to))
            rc = tel_parse_fail(p, at, "expected '*' behind both names or behind none");
        if (rc == TEL_OK)
            tel_vec_push(&v, pair);
    } while (rc == TEL_OK && tel_parse_accept(p, ","));
    if (rc == TEL_OK) {
        struct copy_pipe *c = TEL_ARENA_NEW(p->arena, struct copy_pipe);
        c->pairs = TEL_ARENA_ARRAY(p->arena, struct copy_pair, v.len);
        memcpy(c->pairs, v.items, v.len * sizeof v.items[0]);
        c->count = v.len;
        *ret = &c->base;
    }
    tel_vec_free(&v);
    return rc;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct copy_pipe *c = (const struct copy_pipe *)pipe;
    tel_buf_printf(out, "%s ", pipe->ops->name);
    for (size_t i = 0; i < c->count; i++) {
        if (i)
            TEL_BUF_ADD_LIT(out, ", ");
        tel_print_field(out, c->pairs[i].from);
        TEL_BUF_ADD_LIT(out, " as ");
        tel_print_field(out, c->pairs[i].to);
    }
}

static void needed(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    const struct copy_pipe *c = (const struct copy_pipe *)pipe;
    for (size_t i = c->count; i-- > 0;) {
        struct tel_span from = c->pairs[i].from, to = c->pairs[i].to;
        bool wanted = tel_fields_has_any(fields, to);
        if (!tel_field_is_wildcard(to))
            tel_fields_remove(fields, to);
        if (wanted)
            tel_fields_add(fields, from);
        else if (pipe->ops == &tel_pipe_rename && !tel_field_is_wildcard(from))
            tel_fields_remove(fields, from);
    }
}

/* The name that `name` gets by from* as to*. */
static struct tel_span renamed(struct tel_arena *arena, const struct copy_pair *pair,
                               struct tel_span name)
{
    if (!tel_field_is_wildcard(pair->from))
        return pair->to;
    struct tel_span tail = tel_span_slice(name, pair->from.len - 1, name.len);
    return tel_arena_printf(arena, "%.*s%.*s", (int)pair->to.len - 1, pair->to.ptr,
                            TEL_SPAN_ARG(tail));
}

/* Which fields a wildcard stands for is a matter of the row: one that a row lacks changes nothing in
 * it, whatever its neighbours in the block have. */
static void fill(struct tel_block_edit *edit, struct tel_span name, const struct tel_span *values)
{
    struct tel_span *to = tel_block_edit_values(edit, name);
    for (size_t r = 0; r < edit->block.rows; r++)
        if (values[r].len)
            to[r] = values[r];
    tel_block_edit_set(edit, name, to);
}

static void apply(struct tel_stage *stage, const struct copy_pair *pair,
                  struct tel_block_edit *edit, bool rename)
{
    struct tel_arena *arena = &stage->scratch;
    size_t count = edit->block.column_count;
    struct tel_column *found = TEL_ARENA_ARRAY(arena, struct tel_column, count + 1);
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (tel_field_matches(pair->from, edit->columns[i].name))
            found[n++] = edit->columns[i];
    for (size_t i = 0; i < n; i++)
        if (!found[i].values)
            found[i].values = tel_block_values(&edit->block, found[i].name, arena);
    for (size_t i = 0; i < n && rename; i++)
        tel_block_edit_drop(edit, found[i].name);
    if (n == 0 && !tel_field_is_wildcard(pair->from) && !tel_span_eq(pair->from, pair->to))
        tel_block_edit_drop(edit, pair->to); /* an absent field makes the other absent */
    for (size_t i = 0; i < n; i++) {
        struct tel_span name = renamed(arena, pair, found[i].name);
        if (tel_field_is_wildcard(pair->from))
            fill(edit, name, found[i].values);
        else
            tel_block_edit_set(edit, name, found[i].values);
    }
}

static tel_code push(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    const struct copy_pipe *c = (const struct copy_pipe *)stage->pipe;
    struct tel_block_edit edit;
    tel_block_edit_init(&edit, block, &stage->scratch);
    for (size_t i = 0; i < c->count; i++)
        apply(stage, &c->pairs[i], &edit, stage->pipe->ops == &tel_pipe_rename);
    return tel_stage_emit(stage, &edit.block, err);
}

const struct tel_pipe_ops tel_pipe_copy = {
    .name = "copy", .parse = parse, .print = print, .needed = needed, .push = push};
const struct tel_pipe_ops tel_pipe_rename = {
    .name = "rename", .parse = parse, .print = print, .needed = needed, .push = push};
