/* See unpack.h. */
#include "common/logsql/unpack.h"

#include "common/logsql/filter.h"
#include "common/logsql/parse.h"
#include "common/logsql/print.h"

#define UNPACK_WORK (TEL_PACE_WORK / 16) /* of a row: an expression may be long about it */

struct unpack_column {
    struct tel_span name;
    struct tel_span *values;
};

struct tel_unpacker {
    const struct tel_unpack *options;
    struct tel_stage *stage;
    struct tel_block_edit edit;
    struct unpack_column *columns;
    size_t count, cap, hint; /* hint: where the next name was found in the row before */
    size_t row;
};

struct tel_arena *tel_unpack_arena(struct tel_unpacker *u)
{
    return &u->stage->scratch;
}

static struct unpack_column *column_of(struct tel_unpacker *u, struct tel_span name)
{
    struct tel_arena *arena = &u->stage->scratch;
    if (u->hint < u->count && tel_span_eq(u->columns[u->hint].name, name))
        return &u->columns[u->hint++];
    for (size_t i = 0; i < u->count; i++) {
        if (tel_span_eq(u->columns[i].name, name)) {
            u->hint = i + 1;
            return &u->columns[i];
        }
    }
    if (u->count == u->cap) {
        u->cap = u->cap ? u->cap * 2 : 16;
        struct unpack_column *bigger = TEL_ARENA_ARRAY(arena, struct unpack_column, u->cap);
        if (u->count)
            memcpy(bigger, u->columns, u->count * sizeof *bigger);
        u->columns = bigger;
    }
    struct unpack_column *c = &u->columns[u->count++];
    c->name = tel_arena_copy(arena, name);
    c->values = tel_block_edit_values(&u->edit, name);
    u->hint = u->count;
    return c;
}

void tel_unpack_add(struct tel_unpacker *u, struct tel_span name, struct tel_span value)
{
    const struct tel_unpack *o = u->options;
    char joined[512];
    if (name.len == 0)
        name = TEL_SPAN("_msg");
    if (o->prefix.len && o->prefix.len + name.len <= sizeof joined) {
        memcpy(joined, o->prefix.ptr, o->prefix.len);
        memcpy(joined + o->prefix.len, name.ptr, name.len);
        name = tel_span_make(joined, o->prefix.len + name.len);
    } else if (o->prefix.len) {
        name = tel_arena_printf(&u->stage->scratch, "%.*s%.*s", TEL_SPAN_ARG(o->prefix),
                                TEL_SPAN_ARG(name));
    }
    struct unpack_column *c = column_of(u, name);
    if ((o->keep_original && c->values[u->row].len) || (o->skip_empty && value.len == 0))
        return;
    c->values[u->row] = value;
}

tel_code tel_unpack_run(struct tel_stage *stage, const struct tel_unpack *options,
                        const struct tel_block *block, tel_unpack_fn fn, void *ctx,
                        struct tel_error *err)
{
    uint64_t *bitmap;
    tel_code rc = tel_pipe_matching(stage, options->condition, block, &bitmap, err);
    if (rc != TEL_OK)
        return rc;
    struct tel_pace pace = tel_stage_pace(stage);
    struct tel_unpacker u = {.options = options, .stage = stage};
    tel_block_edit_init(&u.edit, block, &stage->scratch);
    const struct tel_span *from = tel_block_values(block, options->from, &stage->scratch);
    for (u.row = 0; u.row < block->rows && rc == TEL_OK; u.row++) {
        u.hint = 0;
        rc = tel_pace_step(&pace, UNPACK_WORK, err);
        if (rc == TEL_OK && tel_bitmap_get(bitmap, u.row))
            rc = fn(ctx, from ? from[u.row] : (struct tel_span){"", 0}, &u, err);
    }
    if (rc != TEL_OK)
        return rc;
    for (size_t i = 0; i < u.count; i++)
        tel_block_edit_set(&u.edit, u.columns[i].name, u.columns[i].values);
    return tel_stage_emit(stage, &u.edit.block, err);
}

tel_code tel_unpack_parse_rest(struct tel_parser *p, struct tel_unpack *u, bool names, bool prefix)
{
    if (!u->from.len)
        u->from = TEL_SPAN("_msg");
    while (!tel_parse_at_end(p)) {
        if (tel_parse_accept(p, "from")) {
            TEL_TRY(tel_parse_field(p, &u->from));
        } else if (names && tel_parse_accept(p, "fields")) {
            TEL_TRY(tel_parse_fields_in_parens(p, &u->names, &u->name_count));
            u->has_names = true;
            for (size_t i = 0; i < u->name_count; i++)
                u->has_names = u->has_names && !tel_span_eq_cstr(u->names[i], "*");
        } else if (prefix && tel_parse_accept(p, "result_prefix")) {
            TEL_TRY(tel_parse_compound(p, "a prefix", &u->prefix));
        } else if (tel_parse_accept(p, "keep_original_fields")) {
            u->keep_original = true;
        } else if (tel_parse_accept(p, "skip_empty_results")) {
            u->skip_empty = true;
        } else {
            return tel_parse_expected(p, "from, keep_original_fields, skip_empty_results or '|'");
        }
    }
    return TEL_OK;
}

void tel_unpack_print_rest(struct tel_buf *out, const struct tel_unpack *u)
{
    if (!tel_span_eq_cstr(u->from, "_msg")) {
        TEL_BUF_ADD_LIT(out, " from ");
        tel_print_token(out, u->from);
    }
    if (u->has_names) {
        TEL_BUF_ADD_LIT(out, " fields (");
        tel_print_fields(out, u->names, u->name_count);
        tel_buf_add_char(out, ')');
    }
    if (u->prefix.len) {
        TEL_BUF_ADD_LIT(out, " result_prefix ");
        tel_print_token(out, u->prefix);
    }
    if (u->keep_original)
        TEL_BUF_ADD_LIT(out, " keep_original_fields");
    if (u->skip_empty)
        TEL_BUF_ADD_LIT(out, " skip_empty_results");
}

void tel_unpack_needed(struct tel_fields *fields, const struct tel_unpack *u,
                       const struct tel_span *results, size_t result_count)
{
    bool replaces = !u->condition && !u->keep_original && !u->skip_empty;
    bool wanted = results ? false : !tel_fields_empty(fields);
    for (size_t i = 0; i < result_count; i++)
        wanted = wanted || tel_fields_has(fields, results[i]);
    if (!wanted)
        return;
    for (size_t i = 0; i < result_count && replaces; i++)
        tel_fields_remove(fields, results[i]);
    tel_fields_add(fields, u->from);
    if (u->condition)
        tel_filter_fields(u->condition, fields);
}
