/* pack_json and pack_logfmt: fields into one. */
#include "common/logsql/lexer.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipe_util.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"

struct pack_pipe {
    struct tel_pipe base;
    struct tel_span *names;
    size_t count; /* 0: all fields */
    struct tel_span result;
};

static tel_code parse(struct tel_parser *p, struct tel_pipe **ret)
{
    struct pack_pipe *k = TEL_ARENA_NEW(p->arena, struct pack_pipe);
    k->result = TEL_SPAN("_msg");
    if (tel_parse_accept(p, "fields"))
        TEL_TRY(tel_parse_fields_in_parens(p, &k->names, &k->count));
    if (tel_parse_accept(p, "as") || !tel_parse_at_end(p))
        TEL_TRY(tel_parse_field(p, &k->result));
    *ret = &k->base;
    return TEL_OK;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct pack_pipe *k = (const struct pack_pipe *)pipe;
    tel_buf_printf(out, "%s", pipe->ops->name);
    if (k->count) {
        TEL_BUF_ADD_LIT(out, " fields (");
        tel_print_fields(out, k->names, k->count);
        tel_buf_add_char(out, ')');
    }
    if (!tel_span_eq_cstr(k->result, "_msg")) {
        TEL_BUF_ADD_LIT(out, " as ");
        tel_print_token(out, k->result);
    }
}

static void needed(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    const struct pack_pipe *k = (const struct pack_pipe *)pipe;
    if (!tel_fields_has(fields, k->result))
        return;
    tel_fields_remove(fields, k->result);
    if (k->count)
        tel_fields_add_all(fields, k->names, k->count);
    else
        tel_fields_add(fields, TEL_SPAN("*"));
}

static void add_logfmt(struct tel_buf *out, struct tel_span name, struct tel_span value)
{
    bool plain = true;
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        plain = plain && c > ' ' && c != '"' && c != '\\';
    }
    if (out->len)
        tel_buf_add_char(out, ' ');
    tel_buf_add_span(out, name);
    tel_buf_add_char(out, '=');
    if (plain)
        tel_buf_add_span(out, value);
    else
        tel_lexer_quote(out, value);
}

static bool has_wildcard(const struct pack_pipe *k)
{
    for (size_t i = 0; i < k->count; i++)
        if (tel_field_is_wildcard(k->names[i]))
            return true;
    return false;
}

/* The fields that were named and are there, in the order of their names in the query. */
static size_t named_columns(const struct pack_pipe *k, const struct tel_block *block,
                            struct tel_column *columns)
{
    size_t n = 0;
    for (size_t i = 0; i < k->count; i++) {
        const struct tel_column *c = tel_block_column(block, k->names[i]);
        if (c)
            columns[n++] = *c;
    }
    return n;
}

static tel_code push(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    const struct pack_pipe *k = (const struct pack_pipe *)stage->pipe;
    bool by_name = k->count && !has_wildcard(k);
    struct tel_block some = *block;
    struct tel_column *columns =
        TEL_ARENA_ARRAY(&stage->scratch, struct tel_column, block->column_count + k->count + 1);
    some.columns = columns;
    some.column_count = by_name ? named_columns(k, block, columns) : 0;
    for (size_t i = 0; !by_name && i < block->column_count; i++)
        if (!k->count || tel_field_matches_any(k->names, k->count, block->columns[i].name))
            columns[some.column_count++] = block->columns[i];
    struct tel_span *out = TEL_ARENA_ARRAY(&stage->scratch, struct tel_span, block->rows + 1);
    struct tel_buf text = {0};
    char time[TEL_TIME_TEXT_MAX];
    for (size_t r = 0; r < block->rows; r++) {
        if (stage->pipe->ops == &tel_pipe_pack_json) {
            if (!tel_block_embed_row(&text, &some, r))
                TEL_BUF_ADD_LIT(&text, "{}");
        } else {
            for (size_t i = 0; i < some.column_count; i++) {
                struct tel_span v = tel_column_value(&some, &columns[i], r, time);
                if (v.len)
                    add_logfmt(&text, columns[i].name, v);
            }
        }
        out[r] = tel_text_take(&stage->scratch, &text);
    }
    tel_buf_free(&text);
    struct tel_block_edit edit;
    tel_block_edit_init(&edit, block, &stage->scratch);
    tel_block_edit_set(&edit, k->result, out);
    return tel_stage_emit(stage, &edit.block, err);
}

const struct tel_pipe_ops tel_pipe_pack_json = {
    .name = "pack_json", .parse = parse, .print = print, .needed = needed, .push = push};
const struct tel_pipe_ops tel_pipe_pack_logfmt = {
    .name = "pack_logfmt", .parse = parse, .print = print, .needed = needed, .push = push};
