/* format "request from <ip>:<port>" as field: a text made of fields. */
#include "common/base/timefmt.h"
#include "common/base/utf8.h"
#include "common/logsql/filter.h"
#include "common/logsql/json.h"
#include "common/logsql/number.h"
#include "common/logsql/parse.h"
#include "common/logsql/pattern.h"
#include "common/logsql/pipe_util.h"
#include "common/logsql/pipes.h"
#include "common/logsql/print.h"

typedef void (*convert_fn)(struct tel_span v, struct tel_buf *out);

struct format_pipe {
    struct tel_pipe base;
    struct tel_filter *condition;
    struct tel_span text, result;
    struct tel_pattern pattern;
    convert_fn *convert; /* per step; NULL: as it is */
    bool keep_original, skip_empty;
};

/* ---- conversions
 * ------------------------------------------------------------------------------------- */

static void to_duration_seconds(struct tel_span v, struct tel_buf *out)
{
    int64_t ns;
    if (tel_number_duration(v, &ns))
        tel_number_print(out, (double)ns / 1e9);
    else
        tel_buf_add_span(out, v);
}

static void to_json(struct tel_span v, struct tel_buf *out)
{
    tel_json_embed(out, v);
}

static void to_upper(struct tel_span v, struct tel_buf *out)
{
    for (size_t i = 0; i < v.len;) {
        uint32_t cp;
        char text[4];
        size_t n = tel_utf8_decode(tel_span_slice(v, i, v.len), &cp);
        uint32_t up = cp;
        /* The tables fold to lower case; the upper case of a letter is the one that folds to it,
         * which for the scripts that have cases lies 32, 1, 80, 48 or 63 code points below. */
        static const uint32_t steps[] = {32, 1, 80, 48, 63, 37, 38, 64, 8};
        for (size_t k = 0; cp != UINT32_MAX && up == cp && k < TEL_ARRAY_LEN(steps); k++)
            if (cp > steps[k] && tel_utf8_lower(cp - steps[k]) == cp)
                up = cp - steps[k];
        if (cp == UINT32_MAX)
            tel_buf_add(out, v.ptr + i, n);
        else
            tel_buf_add(out, text, tel_utf8_encode(up, text));
        i += n;
    }
}

static void to_lower(struct tel_span v, struct tel_buf *out)
{
    struct tel_buf lower = {0};
    tel_words_lower(&lower, v);
    tel_buf_add_span(out, tel_buf_span(&lower));
    tel_buf_free(&lower);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char hex_upper[] = "0123456789ABCDEF";

static void add_hex(struct tel_buf *out, unsigned char c)
{
    tel_buf_add_char(out, hex_upper[c >> 4]);
    tel_buf_add_char(out, hex_upper[c & 15]);
}

static void to_url(struct tel_span v, struct tel_buf *out)
{
    for (size_t i = 0; i < v.len; i++) {
        char c = v.ptr[i];
        if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' ||
            c == '.' || c == '_') {
            tel_buf_add_char(out, c);
        } else if (c == ' ') {
            tel_buf_add_char(out, '+');
        } else {
            tel_buf_add_char(out, '%');
            add_hex(out, (unsigned char)c);
        }
    }
}

static void from_url(struct tel_span v, struct tel_buf *out)
{
    for (size_t i = 0; i < v.len; i++) {
        int hi = -1, lo = -1;
        if (v.ptr[i] == '%' && i + 2 < v.len) {
            hi = hex_value(v.ptr[i + 1]);
            lo = hex_value(v.ptr[i + 2]);
        }
        if (hi >= 0 && lo >= 0) {
            tel_buf_add_char(out, (char)(hi << 4 | lo));
            i += 2;
        } else {
            tel_buf_add_char(out, v.ptr[i] == '+' ? ' ' : v.ptr[i]);
        }
    }
}

static void to_hex(struct tel_span v, struct tel_buf *out)
{
    for (size_t i = 0; i < v.len; i++)
        add_hex(out, (unsigned char)v.ptr[i]);
}

static void from_hex(struct tel_span v, struct tel_buf *out)
{
    size_t i = 0;
    for (; i + 1 < v.len; i += 2) {
        int hi = hex_value(v.ptr[i]), lo = hex_value(v.ptr[i + 1]);
        if (hi < 0 || lo < 0)
            tel_buf_add(out, v.ptr + i, 2);
        else
            tel_buf_add_char(out, (char)(hi << 4 | lo));
    }
    tel_buf_add_span(out, tel_span_slice(v, i, v.len));
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void to_base64(struct tel_span v, struct tel_buf *out)
{
    for (size_t i = 0; i < v.len; i += 3) {
        uint32_t n = 0;
        size_t have = TEL_MIN(v.len - i, (size_t)3);
        for (size_t k = 0; k < 3; k++)
            n = n << 8 | (k < have ? (unsigned char)v.ptr[i + k] : 0u);
        for (size_t k = 0; k < 4; k++)
            tel_buf_add_char(out, k <= have ? base64_digits[n >> (18 - 6 * k) & 63] : '=');
    }
}

static void from_base64(struct tel_span v, struct tel_buf *out)
{
    size_t start = out->len, len = v.len;
    uint32_t n = 0;
    unsigned bits = 0;
    while (len > 0 && v.ptr[len - 1] == '=')
        len--;
    for (size_t i = 0; i < len; i++) {
        const char *at = v.ptr[i] ? strchr(base64_digits, v.ptr[i]) : NULL;
        if (!at || v.len % 4) { /* no base64: stays as it is */
            out->len = start;
            tel_buf_add_span(out, v);
            return;
        }
        n = n << 6 | (uint32_t)(at - base64_digits);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            tel_buf_add_char(out, (char)(n >> bits));
        }
    }
}

static void to_hexnum(struct tel_span v, struct tel_buf *out)
{
    uint64_t n;
    if (tel_number_u64(v, &n))
        for (int shift = 56; shift >= 0; shift -= 8)
            add_hex(out, (unsigned char)(n >> shift));
    else
        tel_buf_add_span(out, v);
}

static void from_hexnum(struct tel_span v, struct tel_buf *out)
{
    uint64_t n = 0;
    bool ok = v.len <= 16;
    for (size_t i = 0; i < v.len && ok; i++) {
        int d = hex_value(v.ptr[i]);
        ok = d >= 0;
        n = n << 4 | (uint64_t)(ok ? d : 0);
    }
    if (ok)
        tel_buf_add_u64(out, n);
    else
        tel_buf_add_span(out, v);
}

static void to_time(struct tel_span v, struct tel_buf *out)
{
    int64_t t;
    char text[TEL_TIME_TEXT_MAX];
    double f;
    if (tel_number_decimal(v, &f) && tel_parse_time(v, 0, false, &t))
        tel_buf_add(out, text, tel_time_format(text, t));
    else
        tel_buf_add_span(out, v);
}

static void to_duration(struct tel_span v, struct tel_buf *out)
{
    int64_t ns;
    if (tel_number_i64(v, &ns))
        tel_number_print_duration(out, ns);
    else
        tel_buf_add_span(out, v);
}

static void to_ipv4(struct tel_span v, struct tel_buf *out)
{
    uint64_t n;
    if (tel_number_u64(v, &n) && n <= UINT32_MAX)
        tel_number_print_ipv4(out, (uint32_t)n);
    else
        tel_buf_add_span(out, v);
}

static const struct {
    const char *name;
    convert_fn fn;
} conversions[] = {
    {"base64decode", from_base64},
    {"base64encode", to_base64},
    {"duration", to_duration},
    {"duration_seconds", to_duration_seconds},
    {"hexdecode", from_hex},
    {"hexencode", to_hex},
    {"hexnumdecode", from_hexnum},
    {"hexnumencode", to_hexnum},
    {"ipv4", to_ipv4},
    {"lc", to_lower},
    {"q", to_json},
    {"time", to_time},
    {"uc", to_upper},
    {"urldecode", from_url},
    {"urlencode", to_url},
};

/* ---- the pipe
 * ---------------------------------------------------------------------------------------- */

static tel_code parse(struct tel_parser *p, struct tel_pipe **ret)
{
    struct format_pipe *f = TEL_ARENA_NEW(p->arena, struct format_pipe);
    f->result = TEL_SPAN("_msg");
    TEL_TRY(tel_parse_if(p, &f->condition));
    size_t at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_compound(p, "a format", &f->text));
    if (!tel_pattern_parse(f->text, p->arena, &f->pattern))
        return tel_parse_fail(p, at, "expected '>' behind each '<' of the format");
    f->convert = TEL_ARENA_ARRAY(p->arena, convert_fn, f->pattern.count + 1);
    for (size_t i = 0; i < f->pattern.count; i++) {
        const struct tel_pattern_step *s = &f->pattern.steps[i];
        if (tel_field_is_wildcard(s->field))
            return tel_parse_fail(p, at, "a field of the format cannot end with '*'");
        for (size_t k = 0; k < TEL_ARRAY_LEN(conversions); k++)
            if (tel_span_eq_cstr(s->option, conversions[k].name))
                f->convert[i] = conversions[k].fn;
    }
    if (tel_parse_accept(p, "as"))
        TEL_TRY(tel_parse_field(p, &f->result));
    f->keep_original = tel_parse_accept(p, "keep_original_fields");
    f->skip_empty = tel_parse_accept(p, "skip_empty_results");
    *ret = &f->base;
    return TEL_OK;
}

static void print(const struct tel_pipe *pipe, struct tel_buf *out)
{
    const struct format_pipe *f = (const struct format_pipe *)pipe;
    TEL_BUF_ADD_LIT(out, "format");
    tel_print_if(out, f->condition);
    tel_buf_add_char(out, ' ');
    tel_lexer_quote(out, f->text);
    if (!tel_span_eq_cstr(f->result, "_msg")) {
        TEL_BUF_ADD_LIT(out, " as ");
        tel_print_token(out, f->result);
    }
    if (f->keep_original)
        TEL_BUF_ADD_LIT(out, " keep_original_fields");
    if (f->skip_empty)
        TEL_BUF_ADD_LIT(out, " skip_empty_results");
}

static void needed(const struct tel_pipe *pipe, struct tel_fields *fields)
{
    const struct format_pipe *f = (const struct format_pipe *)pipe;
    if (!tel_fields_has(fields, f->result))
        return;
    if (!f->condition && !f->keep_original && !f->skip_empty)
        tel_fields_remove(fields, f->result);
    if (f->condition)
        tel_filter_fields(f->condition, fields);
    for (size_t i = 0; i < f->pattern.count; i++)
        if (f->pattern.steps[i].field.len)
            tel_fields_add(fields, f->pattern.steps[i].field);
}

static tel_code filters(struct tel_pipe *pipe, tel_filter_visitor visit, void *ctx,
                        struct tel_error *err)
{
    struct format_pipe *f = (struct format_pipe *)pipe;
    return f->condition ? visit(ctx, &f->condition, err) : TEL_OK;
}

static tel_code push(struct tel_stage *stage, const struct tel_block *block, struct tel_error *err)
{
    const struct format_pipe *f = (const struct format_pipe *)stage->pipe;
    struct tel_arena *arena = &stage->scratch;
    uint64_t *bitmap;
    tel_code rc = tel_pipe_matching(stage, f->condition, block, &bitmap, err);
    if (rc != TEL_OK)
        return rc;
    size_t n = f->pattern.count;
    const struct tel_span **columns = TEL_ARENA_ARRAY(arena, const struct tel_span *, n + 1);
    for (size_t i = 0; i < n; i++)
        if (f->pattern.steps[i].field.len)
            columns[i] = tel_block_values(block, f->pattern.steps[i].field, arena);
    struct tel_block_edit edit;
    tel_block_edit_init(&edit, block, arena);
    struct tel_span *out = tel_block_edit_values(&edit, f->result);
    struct tel_buf text = {0};
    for (size_t r = 0; r < block->rows; r++) {
        if (!tel_bitmap_get(bitmap, r) || (f->keep_original && out[r].len))
            continue;
        for (size_t i = 0; i < n; i++) {
            tel_buf_add_span(&text, f->pattern.steps[i].prefix);
            struct tel_span v = columns[i] ? columns[i][r] : (struct tel_span){"", 0};
            if (f->convert[i])
                f->convert[i](v, &text);
            else
                tel_buf_add_span(&text, v);
        }
        if (text.len || !f->skip_empty)
            out[r] = tel_text_take(arena, &text);
    }
    tel_buf_free(&text);
    tel_block_edit_set(&edit, f->result, out);
    return tel_stage_emit(stage, &edit.block, err);
}

const struct tel_pipe_ops tel_pipe_format = {.name = "format",
                                             .parse = parse,
                                             .print = print,
                                             .needed = needed,
                                             .filters = filters,
                                             .push = push};

bool tel_format_result(const struct tel_pipe *pipe, struct tel_span *ret)
{
    if (pipe->ops != &tel_pipe_format)
        return false;
    *ret = ((const struct format_pipe *)pipe)->result;
    return true;
}
