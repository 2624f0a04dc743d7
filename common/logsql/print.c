/* See print.h. */
#include "common/logsql/print.h"

#include <strings.h>

#include "common/logsql/filter.h"
#include "common/logsql/lexer.h"
#include "common/logsql/number.h"
#include "common/logsql/pipe.h"
#include "common/logsql/score.h"

bool tel_print_is_reserved(struct tel_span word)
{
    static const char *const words[] = {"and", "or", "not", "offset", "options", "now", "if", "by"};
    char lower[32];
    if (word.len >= sizeof lower)
        return false;
    for (size_t i = 0; i < word.len; i++)
        lower[i] = (char)(word.ptr[i] | ((unsigned)(word.ptr[i] - 'A') < 26 ? 0x20 : 0));
    struct tel_span s = tel_span_make(lower, word.len);
    for (size_t i = 0; i < TEL_ARRAY_LEN(words); i++)
        if (tel_span_eq_cstr(s, words[i]))
            return true;
    return tel_filter_is_function(s) || tel_pipe_is_name(s);
}

/* A word with dots in it needs no quotes: http.status, 10.0.0.1. */
static bool is_plain(struct tel_span s)
{
    size_t start = 0;
    for (size_t i = 0; i <= s.len; i++) {
        if (i < s.len && s.ptr[i] != '.')
            continue;
        if (i > start && !tel_words_is_word(tel_span_slice(s, start, i)))
            return false;
        start = i + 1;
    }
    return s.len > 0;
}

void tel_print_token(struct tel_buf *out, struct tel_span s)
{
    if (is_plain(s) && !tel_print_is_reserved(s))
        tel_buf_add_span(out, s);
    else
        tel_lexer_quote(out, s);
}

void tel_print_field(struct tel_buf *out, struct tel_span s)
{
    struct tel_span stem = tel_span_slice(s, 0, s.len - (s.len > 0));
    if (tel_span_ends(s, TEL_SPAN("*")) && (stem.len == 0 || is_plain(stem)))
        tel_buf_add_span(out, s);
    else
        tel_print_token(out, s);
}

void tel_print_fields(struct tel_buf *out, const struct tel_span *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i)
            TEL_BUF_ADD_LIT(out, ", ");
        tel_print_field(out, names[i]);
    }
}

static void print_values(struct tel_buf *out, const char *name, const struct tel_span *values,
                         size_t count, const char *comma)
{
    tel_buf_printf(out, "%s(", name);
    for (size_t i = 0; i < count; i++) {
        if (i)
            tel_buf_add_span(out, tel_span_cstr(comma));
        tel_print_token(out, values[i]);
    }
    tel_buf_add_char(out, ')');
}

static void print_in(struct tel_buf *out, const char *name, const struct tel_filter *f)
{
    if (!f->subquery) {
        print_values(out, name, f->values, f->value_count, ",");
        return;
    }
    tel_buf_printf(out, "%s(", name);
    tel_query_print(out, f->subquery);
    tel_buf_add_char(out, ')');
}

static void print_stream(struct tel_buf *out, const struct tel_filter *f)
{
    tel_buf_add_char(out, '{');
    for (size_t g = 0; g < f->u.stream.count; g++) {
        const struct tel_stream_group *group = &f->u.stream.groups[g];
        if (g)
            TEL_BUF_ADD_LIT(out, " or ");
        for (size_t i = 0; i < group->count; i++) {
            const struct tel_label_match *m = &group->matches[i];
            if (i)
                tel_buf_add_char(out, ',');
            tel_print_token(out, m->label);
            if (m->is_list) {
                print_values(out, m->negative ? " not_in " : " in ", m->values, m->value_count,
                             ",");
                continue;
            }
            tel_buf_add_span(out, m->regex ? (m->negative ? TEL_SPAN("!~") : TEL_SPAN("=~"))
                                           : (m->negative ? TEL_SPAN("!=") : TEL_SPAN("=")));
            tel_lexer_quote(out, m->value);
        }
    }
    tel_buf_add_char(out, '}');
}

static void print_wrapped(struct tel_buf *out, const struct tel_filter *f, const char *before,
                          const char *after)
{
    tel_buf_add_span(out, tel_span_cstr(before));
    tel_print_token(out, f->text);
    tel_buf_add_span(out, tel_span_cstr(after));
}

static void print_leaf(struct tel_buf *out, const struct tel_filter *f)
{
    if (f->op == TEL_FILTER_ALL) {
        tel_buf_add_char(out, '*');
        return;
    }
    if (f->op == TEL_FILTER_STREAM) {
        print_stream(out, f);
        return;
    }
    if (!tel_span_eq_cstr(f->field, "_msg")) {
        if (tel_span_eq_cstr(f->field, "_time"))
            TEL_BUF_ADD_LIT(out, "_time");
        else
            tel_print_token(out, f->field);
        tel_buf_add_char(out, ':');
    }
    switch (f->op) {
    case TEL_FILTER_PHRASE:
        tel_print_token(out, f->text);
        break;
    case TEL_FILTER_PREFIX:
        if (f->text.len)
            tel_print_token(out, f->text);
        tel_buf_add_char(out, '*');
        break;
    case TEL_FILTER_ICASE_PHRASE:
        print_wrapped(out, f, "i(", ")");
        break;
    case TEL_FILTER_ICASE_PREFIX:
        if (f->text.len)
            print_wrapped(out, f, "i(", "*)");
        else
            TEL_BUF_ADD_LIT(out, "i(*)");
        break;
    case TEL_FILTER_FUZZY:
        tel_buf_printf(out, "%.*s~%u", TEL_SPAN_ARG(f->text), f->u.edits);
        break;
    case TEL_FILTER_EXACT:
        print_wrapped(out, f, tel_span_eq_cstr(f->field, "_stream_id") ? "" : "=", "");
        break;
    case TEL_FILTER_EXACT_PREFIX:
        print_wrapped(out, f, "=", "*");
        break;
    case TEL_FILTER_IN:
        print_in(out, "in", f);
        break;
    case TEL_FILTER_CONTAINS_ALL:
        print_in(out, "contains_all", f);
        break;
    case TEL_FILTER_CONTAINS_ANY:
        print_in(out, "contains_any", f);
        break;
    case TEL_FILTER_SEQUENCE:
        print_values(out, "seq", f->values, f->value_count, ",");
        break;
    case TEL_FILTER_REGEXP:
        print_wrapped(out, f, "~", "");
        break;
    case TEL_FILTER_RANGE:
    case TEL_FILTER_TIME:
    case TEL_FILTER_DAY_RANGE:
    case TEL_FILTER_WEEK_RANGE:
        tel_buf_add_span(out, f->repr);
        break;
    case TEL_FILTER_STRING_RANGE:
        if (f->repr.len)
            tel_buf_add_span(out, f->repr);
        else
            print_values(out, "string_range", f->values, f->value_count, ", ");
        break;
    case TEL_FILTER_IPV4_RANGE:
        TEL_BUF_ADD_LIT(out, "ipv4_range(");
        tel_number_print_ipv4(out, f->u.ipv4.min);
        TEL_BUF_ADD_LIT(out, ", ");
        tel_number_print_ipv4(out, f->u.ipv4.max);
        tel_buf_add_char(out, ')');
        break;
    case TEL_FILTER_LEN_RANGE:
        /* Both are numbers, which need no quotes. */
        tel_buf_printf(out, "len_range(%.*s, %.*s)", TEL_SPAN_ARG(f->values[0]),
                       TEL_SPAN_ARG(f->values[1]));
        break;
    case TEL_FILTER_VALUE_TYPE:
        print_wrapped(out, f, "value_type(", ")");
        break;
    case TEL_FILTER_EQ_FIELD:
        print_wrapped(out, f, "eq_field(", ")");
        break;
    case TEL_FILTER_LE_FIELD:
        print_wrapped(out, f, "le_field(", ")");
        break;
    case TEL_FILTER_LT_FIELD:
        print_wrapped(out, f, "lt_field(", ")");
        break;
    case TEL_FILTER_AND:
    case TEL_FILTER_OR:
    case TEL_FILTER_NOT:
    case TEL_FILTER_ALL:
    case TEL_FILTER_STREAM:
        TEL_UNREACHABLE();
    }
}

static void print_kid(struct tel_buf *out, const struct tel_filter *f, bool parens)
{
    if (parens)
        tel_buf_add_char(out, '(');
    tel_filter_print(out, f);
    if (parens)
        tel_buf_add_char(out, ')');
}

void tel_filter_print(struct tel_buf *out, const struct tel_filter *f)
{
    switch ((int)f->op) {
    case TEL_FILTER_AND:
    case TEL_FILTER_OR:
        for (size_t i = 0; i < f->kid_count; i++) {
            if (i)
                tel_buf_add_span(out, f->op == TEL_FILTER_OR ? TEL_SPAN(" or ") : TEL_SPAN(" "));
            /* Nested branches of the same kind keep their parentheses: the tree stays equal. */
            int op = (int)f->kids[i]->op;
            print_kid(out, f->kids[i],
                      op == TEL_FILTER_OR || (op == TEL_FILTER_AND && f->op == TEL_FILTER_AND));
        }
        break;
    case TEL_FILTER_NOT:
        tel_buf_add_char(out, '!');
        print_kid(out, f->kids[0],
                  f->kids[0]->op == TEL_FILTER_AND || f->kids[0]->op == TEL_FILTER_OR);
        break;
    default:
        print_leaf(out, f);
    }
}

static void print_options(struct tel_buf *out, const struct tel_query *q)
{
    const struct tel_query_options *o = &q->options;
    const char *sep = "";
    if (!o->given)
        return;
    TEL_BUF_ADD_LIT(out, "options(");
    if (o->concurrency) {
        tel_buf_printf(out, "concurrency=%llu", (unsigned long long)o->concurrency);
        sep = ", ";
    }
    if (o->has_ignore_global_time_filter) {
        tel_buf_printf(out, "%signore_global_time_filter=%s", sep,
                       o->ignore_global_time_filter ? "true" : "false");
        sep = ", ";
    }
    if (o->has_allow_partial_response) {
        tel_buf_printf(out, "%sallow_partial_response=%s", sep,
                       o->allow_partial_response ? "true" : "false");
        sep = ", ";
    }
    if (o->time_offset_text.len) {
        tel_buf_printf(out, "%stime_offset=%.*s", sep, TEL_SPAN_ARG(o->time_offset_text));
        sep = ", ";
    }
    if (q->score && q->score->known && q->score->term_count) {
        tel_buf_printf(out, "%sscore_stats=\"", sep);
        tel_score_print(q->score, out);
        tel_buf_add_char(out, '"');
    }
    TEL_BUF_ADD_LIT(out, ") ");
}

void tel_query_print(struct tel_buf *out, const struct tel_query *q)
{
    print_options(out, q);
    tel_filter_print(out, q->filter);
    for (size_t i = 0; i < q->pipe_count; i++) {
        TEL_BUF_ADD_LIT(out, " | ");
        tel_pipe_print(out, q->pipes[i]);
    }
}
