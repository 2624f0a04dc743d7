/*
 * Pipes that make one field of one field, value by value: replace, replace_regexp, collapse_nums,
 * decolorize (in place); len, hash, json_array_len, unpack_words (into another).
 */
#include "common/base/map.h"
#include "common/logsql/filter.h"
#include "common/logsql/json.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipe_util.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"
#include "common/logsql/regex.h"
#include "common/logsql/xxh64.h"

struct update_pipe {
    struct tel_pipe base;
    struct tel_filter *condition;
    struct tel_span from, to;
    struct tel_span *args; /* of replace: what, by what */
    struct tel_regex *regex;
    uint64_t limit;
    bool flag; /* prettify, drop_duplicates */
};

/* ---- parsing
 * ---------------------------------------------------------------------------------------- */

static tel_code parse_replace(struct tel_parser *p, bool regexp, struct tel_pipe **ret)
{
    struct update_pipe *u = TEL_ARENA_NEW(p->arena, struct update_pipe);
    size_t count, at;
    u->from = TEL_SPAN("_msg");
    TEL_TRY(tel_parse_if(p, &u->condition));
    at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_args(p, &u->args, &count));
    if (count != 2)
        return tel_parse_fail(
            p, at, "expected two arguments, what to replace and by what, found %zu", count);
    if (regexp)
        TEL_TRY(tel_parse_regex(p, u->args[0], false, at, &u->regex));
    if (tel_parse_accept(p, "at"))
        TEL_TRY(tel_parse_field(p, &u->from));
    if (tel_parse_accept(p, "limit"))
        TEL_TRY(tel_parse_uint(p, "a number of replacements", &u->limit));
    u->to = u->from;
    *ret = &u->base;
    return TEL_OK;
}

static tel_code parse_replace_text(struct tel_parser *p, struct tel_pipe **ret)
{
    return parse_replace(p, false, ret);
}

static tel_code parse_replace_regexp(struct tel_parser *p, struct tel_pipe **ret)
{
    return parse_replace(p, true, ret);
}

static tel_code parse_collapse(struct tel_parser *p, struct tel_pipe **ret)
{
    struct update_pipe *u = TEL_ARENA_NEW(p->arena, struct update_pipe);
    u->from = TEL_SPAN("_msg");
    TEL_TRY(tel_parse_if(p, &u->condition));
    if (tel_parse_accept(p, "at"))
        TEL_TRY(tel_parse_field(p, &u->from));
    u->flag = tel_parse_accept(p, "prettify");
    u->to = u->from;
    *ret = &u->base;
    return TEL_OK;
}

static tel_code parse_decolorize(struct tel_parser *p, struct tel_pipe **ret)
{
    struct update_pipe *u = TEL_ARENA_NEW(p->arena, struct update_pipe);
    u->from = TEL_SPAN("_msg");
    if (!tel_parse_at_end(p))
        TEL_TRY(tel_parse_field(p, &u->from));
    u->to = u->from;
    *ret = &u->base;
    return TEL_OK;
}

/* name(field) [as] result; the parentheses may be missing. */
static tel_code parse_call(struct tel_parser *p, struct tel_pipe **ret)
{
    struct update_pipe *u = TEL_ARENA_NEW(p->arena, struct update_pipe);
    bool parens = tel_parse_accept(p, "(");
    TEL_TRY(tel_parse_field(p, &u->from));
    if (parens)
        TEL_TRY(tel_parse_expect(p, ")", "')' behind the field"));
    u->to = TEL_SPAN("_msg");
    if (tel_parse_accept(p, "as") || !tel_parse_at_end(p))
        TEL_TRY(tel_parse_field(p, &u->to));
    *ret = &u->base;
    return TEL_OK;
}

static tel_code parse_words(struct tel_parser *p, struct tel_pipe **ret)
{
    struct update_pipe *u = TEL_ARENA_NEW(p->arena, struct update_pipe);
    u->from = TEL_SPAN("_msg");
    TEL_TRY(tel_parse_if(p, &u->condition));
    if (tel_parse_accept(p, "from") ||
        (!tel_parse_at_end(p) && !tel_parse_is(p, "as") && !tel_parse_is(p, "drop_duplicates")))
        TEL_TRY(tel_parse_field(p, &u->from));
    u->to = u->from;
    if (tel_parse_accept(p, "as") ||
        (!tel_parse_at_end(p) && !tel_parse_is(p, "drop_duplicates")))
        TEL_TRY(tel_parse_field(p, &u->to));
    u->flag = tel_parse_accept(p, "drop_duplicates");
    *ret = &u->base;
    return TEL_OK;
}

/* ---- printing
 * --------------------------------------------------------------------------------------- */

static void print_at(struct tel_buf *out, const struct update_pipe *u)
{
    if (tel_span_eq_cstr(u->from, "_msg"))
        return;
    TEL_BUF_ADD_LIT(out, " at ");
    tel_print_token(out, u->from);
}

static void print_replace(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct update_pipe *u = (const struct update_pipe *)pipe;
    tel_buf_printf(out, "%s", pipe->ops->name);
    tel_print_if(out, u->condition);
    TEL_BUF_ADD_LIT(out, " (");
    tel_lexer_quote(out, u->args[0]);
    TEL_BUF_ADD_LIT(out, ", ");
    tel_lexer_quote(out, u->args[1]);
    tel_buf_add_char(out, ')');
    print_at(out, u);
    if (u->limit)
        tel_buf_printf(out, " limit %llu", (unsigned long long)u->limit);
}

static void print_collapse(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct update_pipe *u = (const struct update_pipe *)pipe;
    TEL_BUF_ADD_LIT(out, "collapse_nums");
    tel_print_if(out, u->condition);
    print_at(out, u);
    if (u->flag)
        TEL_BUF_ADD_LIT(out, " prettify");
}

static void print_decolorize(const struct tel_pipe *pipe, struct tel_buf *out)
{
    TEL_BUF_ADD_LIT(out, "decolorize ");
    tel_print_token(out, ((const struct update_pipe *)pipe)->from);
}

static void print_call(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct update_pipe *u = (const struct update_pipe *)pipe;
    tel_buf_printf(out, "%s(", pipe->ops->name);
    tel_print_token(out, u->from);
    TEL_BUF_ADD_LIT(out, ") as ");
    tel_print_token(out, u->to);
}

static void print_words(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct update_pipe *u = (const struct update_pipe *)pipe;
    TEL_BUF_ADD_LIT(out, "unpack_words");
    tel_print_if(out, u->condition);
    TEL_BUF_ADD_LIT(out, " from ");
    tel_print_token(out, u->from);
    TEL_BUF_ADD_LIT(out, " as ");
    tel_print_token(out, u->to);
    if (u->flag)
        TEL_BUF_ADD_LIT(out, " drop_duplicates");
}

static void needed(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    const struct update_pipe *u = (const struct update_pipe *)pipe;
    tel_update_needed(fields, u->condition, u->from, u->to);
}

static tel_code filters(struct tel_pipe *pipe, tel_filter_visitor visit, void *ctx,
                        struct tel_error *err)
{
    struct update_pipe *u = (struct update_pipe *)pipe;
    return u->condition ? visit(ctx, &u->condition, err) : TEL_OK;
}

/* ---- replacing
 * -------------------------------------------------------------------------------------- */

static tel_code do_replace(void *ctx, struct tel_span v, struct tel_buf *out, struct tel_error *err)
{
    const struct update_pipe *u = ctx;
    struct tel_span what = u->args[0], by = u->args[1];
    size_t at = 0;
    (void)err;
    for (uint64_t n = 0; what.len && (u->limit == 0 || n < u->limit); n++) {
        size_t found = tel_words_find_bytes(v, what, at);
        if (found == SIZE_MAX)
            break;
        tel_buf_add(out, v.ptr + at, found - at);
        tel_buf_add_span(out, by);
        at = found + what.len;
    }
    tel_buf_add_span(out, tel_span_slice(v, at, v.len));
    return TEL_OK;
}

/* $1, ${1}, ${name}, $name, $$ (as Go's regexp.Expand has them). */
static void expand(const struct tel_regex *re, struct tel_span by, const struct tel_span *groups,
                   size_t count, struct tel_buf *out)
{
    for (size_t i = 0; i < by.len; i++) {
        if (by.ptr[i] != '$' || i + 1 == by.len) {
            tel_buf_add_char(out, by.ptr[i]);
            continue;
        }
        if (by.ptr[i + 1] == '$') {
            tel_buf_add_char(out, '$');
            i++;
            continue;
        }
        bool brace = by.ptr[i + 1] == '{';
        size_t start = i + 1 + brace, end = start;
        while (end < by.len && ((by.ptr[end] >= '0' && by.ptr[end] <= '9') || by.ptr[end] == '_' ||
                                ((by.ptr[end] | 0x20) >= 'a' && (by.ptr[end] | 0x20) <= 'z')))
            end++;
        if (end == start || (brace && (end == by.len || by.ptr[end] != '}'))) {
            tel_buf_add_char(out, '$');
            continue;
        }
        struct tel_span name = tel_span_slice(by, start, end);
        unsigned long long number = SIZE_MAX;
        if (!tel_span_to_u64(name, &number))
            for (size_t g = 1; g < count; g++)
                if (tel_span_eq(tel_regex_group_name(re, g), name))
                    number = g;
        if (number < count)
            tel_buf_add_span(out, groups[number]);
        i = end - 1 + brace;
    }
}

static tel_code do_replace_regexp(void *ctx, struct tel_span v, struct tel_buf *out,
                                  struct tel_error *err)
{
    const struct update_pipe *u = ctx;
    struct tel_span groups[TEL_REGEX_GROUPS_MAX];
    size_t at = 0, count, copied = 0, last_end = SIZE_MAX;
    if (v.len == 0) /* a field that is not there stays so, whatever matches nothing */
        return TEL_OK;
    for (uint64_t n = 0; at <= v.len && (u->limit == 0 || n < u->limit);) {
        tel_code rc = tel_regex_exec(u->regex, v, at, groups, &count, err);
        if (rc != TEL_OK)
            return rc;
        if (count == 0)
            break;
        size_t start = groups[0].len || groups[0].ptr ? (size_t)(groups[0].ptr - v.ptr) : at;
        size_t end = start + groups[0].len;
        if (end > start || start != last_end) { /* an empty match right behind another is none */
            tel_buf_add(out, v.ptr + copied, start - copied);
            expand(u->regex, u->args[1], groups, count, out);
            copied = last_end = end;
            n++;
        }
        at = end;
        if (groups[0].len == 0) { /* an empty match: go on behind the next character */
            do {
                at++;
            } while (at < v.len && ((unsigned char)v.ptr[at] & 0xc0) == 0x80);
        }
    }
    tel_buf_add_span(out, tel_span_slice(v, copied, v.len));
    return TEL_OK;
}

/* ---- collapse_nums
 * ---------------------------------------------------------------------------------- */

static bool is_hex(char c)
{
    return (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_token(char c)
{
    return is_digit(c) || c == '_' || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* Numbers may follow these letters (x in 0x1f, T in dates) and be followed by those (units). */
static bool one_of(char c, const char *set)
{
    return c && strchr(set, c);
}

static void collapse(struct tel_span v, struct tel_buf *out)
{
    size_t i = 0;
    while (i < v.len) {
        char c = v.ptr[i];
        bool starts = (is_digit(c) || is_hex(c)) &&
                      (i == 0 || !is_token(v.ptr[i - 1]) || one_of(v.ptr[i - 1], "_TXxvshm"));
        if (!starts) {
            tel_buf_add_char(out, c);
            i++;
            continue;
        }
        size_t end = i;
        bool hex = false;
        while (end < v.len && (is_digit(v.ptr[end]) || is_hex(v.ptr[end])))
            hex |= is_hex(v.ptr[end++]);
        bool number = end == v.len || !is_token(v.ptr[end]) || one_of(v.ptr[end], "_TZsmhun");
        /* Hexadecimal numbers have four digits and more, and an even number: "be" and "abc" do not.
         */
        if (hex && (end - i < 4 || (end - i) % 2))
            number = false;
        if (number)
            TEL_BUF_ADD_LIT(out, "<N>");
        else
            tel_buf_add(out, v.ptr + i, end - i);
        i = end;
    }
}

static size_t skip_none(struct tel_span rest)
{
    (void)rest;
    return 0;
}

static size_t skip_fraction(struct tel_span rest)
{
    return tel_span_starts(rest, TEL_SPAN(".<N>")) || tel_span_starts(rest, TEL_SPAN(",<N>")) ? 4
                                                                                              : 0;
}

static size_t skip_zone(struct tel_span rest)
{
    if (tel_span_starts(rest, TEL_SPAN("Z")))
        return 1;
    return tel_span_starts(rest, TEL_SPAN("-<N>:<N>")) ||
                   tel_span_starts(rest, TEL_SPAN("+<N>:<N>"))
               ? 8
               : 0;
}

static void prettify(struct tel_buf *text)
{
    static const struct {
        const char *what, *by;
        size_t (*skip)(struct tel_span rest);
    } steps[] = {
        {"<N>-<N>-<N>-<N>-<N>", "<UUID>", skip_none}, {"<N>.<N>.<N>.<N>", "<IP4>", skip_none},
        {"<N>:<N>:<N>", "<TIME>", skip_fraction},     {"<N>-<N>-<N>", "<DATE>", skip_none},
        {"<N>/<N>/<N>", "<DATE>", skip_none},         {"<DATE>T<TIME>", "<DATETIME>", skip_zone},
        {"<DATE> <TIME>", "<DATETIME>", skip_zone},
    };
    struct tel_buf next = {0};
    for (size_t s = 0; s < TEL_ARRAY_LEN(steps); s++) {
        struct tel_span v = tel_buf_span(text), what = tel_span_cstr(steps[s].what);
        size_t at = 0, found;
        tel_buf_clear(&next);
        while ((found = tel_words_find_bytes(v, what, at)) != SIZE_MAX) {
            tel_buf_add(&next, v.ptr + at, found - at);
            tel_buf_add_span(&next, tel_span_cstr(steps[s].by));
            at = found + what.len;
            at += steps[s].skip(tel_span_slice(v, at, v.len));
        }
        tel_buf_add_span(&next, tel_span_slice(v, at, v.len));
        struct tel_buf swap = *text;
        *text = next;
        next = swap;
    }
    tel_buf_free(&next);
}

void tel_collapse_nums(struct tel_span text, struct tel_buf *out)
{
    collapse(text, out);
    prettify(out);
}

static tel_code do_collapse(void *ctx, struct tel_span v, struct tel_buf *out,
                            struct tel_error *err)
{
    (void)err;
    collapse(v, out);
    if (((const struct update_pipe *)ctx)->flag)
        prettify(out);
    return TEL_OK;
}

/* ---- the others
 * ------------------------------------------------------------------------------------- */

/* Drops ESC [ parameters letter (ECMA-48's control sequences). */
static tel_code do_decolorize(void *ctx, struct tel_span v, struct tel_buf *out,
                              struct tel_error *err)
{
    (void)ctx;
    (void)err;
    for (size_t i = 0; i < v.len; i++) {
        size_t end = i + 2;
        if (v.ptr[i] != '\x1b' || i + 1 >= v.len || v.ptr[i + 1] != '[') {
            tel_buf_add_char(out, v.ptr[i]);
            continue;
        }
        while (end < v.len && v.ptr[end] >= 0x20 && v.ptr[end] < 0x40)
            end++;
        if (end < v.len && v.ptr[end] >= 0x40 && v.ptr[end] < 0x7f)
            i = end;
        else
            tel_buf_add_char(out, v.ptr[i]);
    }
    return TEL_OK;
}

static tel_code do_len(void *ctx, struct tel_span v, struct tel_buf *out, struct tel_error *err)
{
    (void)ctx;
    (void)err;
    tel_buf_add_u64(out, v.len);
    return TEL_OK;
}

/* 53 bits, which every reader of JSON numbers keeps, as VictoriaLogs cuts them. */
static tel_code do_hash(void *ctx, struct tel_span v, struct tel_buf *out, struct tel_error *err)
{
    (void)ctx;
    (void)err;
    tel_buf_add_u64(out, tel_xxh64(v) & ((1ULL << 53) - 1));
    return TEL_OK;
}

static tel_code do_array_len(void *ctx, struct tel_span v, struct tel_buf *out,
                             struct tel_error *err)
{
    struct tel_arena arena = {0};
    struct tel_json_fields items = {0};
    (void)ctx;
    (void)err;
    tel_json_array(v, &arena, &items);
    tel_buf_add_u64(out, items.len);
    tel_arena_free(&arena);
    return TEL_OK;
}

static tel_code do_words(void *ctx, struct tel_span v, struct tel_buf *out, struct tel_error *err)
{
    const struct update_pipe *u = ctx;
    struct tel_map seen = {0};
    struct tel_span word;
    size_t pos = 0;
    (void)err;
    tel_buf_add_char(out, '[');
    while (tel_words_next(v, &pos, &word)) {
        bool is_new = true;
        if (u->flag)
            tel_map_put(&seen, word, &is_new);
        if (!is_new)
            continue;
        if (out->len > 1)
            tel_buf_add_char(out, ',');
        tel_json_embed(out, word);
    }
    tel_buf_add_char(out, ']');
    tel_map_free(&seen);
    return TEL_OK;
}

static tel_code push(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    const struct update_pipe *u = (const struct update_pipe *)stage->pipe;
    const struct tel_pipe_ops *ops = stage->pipe->ops;
    static const struct {
        const struct tel_pipe_ops *ops;
        tel_update_fn fn;
    } table[] = {
        {&tel_pipe_replace, do_replace},
        {&tel_pipe_replace_regexp, do_replace_regexp},
        {&tel_pipe_collapse_nums, do_collapse},
        {&tel_pipe_decolorize, do_decolorize},
        {&tel_pipe_len, do_len},
        {&tel_pipe_hash, do_hash},
        {&tel_pipe_json_array_len, do_array_len},
        {&tel_pipe_unpack_words, do_words},
    };
    for (size_t i = 0; i < TEL_ARRAY_LEN(table); i++)
        if (table[i].ops == ops)
            return tel_pipe_update(stage, block, u->condition, u->from, u->to, table[i].fn,
                                   (void *)(uintptr_t)u, err);
    TEL_UNREACHABLE();
}

#define UPDATE_OPS(pipe_name, parse_fn, print_fn)                                                  \
    {                                                                                              \
        .name = pipe_name, .parse = parse_fn, .print = print_fn, .needed = needed,                 \
        .filters = filters, .push = push                                                           \
    }

const struct tel_pipe_ops tel_pipe_replace =
    UPDATE_OPS("replace", parse_replace_text, print_replace);
const struct tel_pipe_ops tel_pipe_replace_regexp =
    UPDATE_OPS("replace_regexp", parse_replace_regexp, print_replace);
const struct tel_pipe_ops tel_pipe_collapse_nums =
    UPDATE_OPS("collapse_nums", parse_collapse, print_collapse);
const struct tel_pipe_ops tel_pipe_decolorize =
    UPDATE_OPS("decolorize", parse_decolorize, print_decolorize);
const struct tel_pipe_ops tel_pipe_len = UPDATE_OPS("len", parse_call, print_call);
const struct tel_pipe_ops tel_pipe_hash = UPDATE_OPS("hash", parse_call, print_call);
const struct tel_pipe_ops tel_pipe_json_array_len =
    UPDATE_OPS("json_array_len", parse_call, print_call);
const struct tel_pipe_ops tel_pipe_unpack_words =
    UPDATE_OPS("unpack_words", parse_words, print_words);
