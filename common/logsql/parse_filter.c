/*
 * Filters: or binds loosest, then and (which may be left out), then not. A field name before ':'
 * holds for everything that follows it up to the next space, parentheses included:
 *
 *     app:(nginx or apache) -level:debug "connection refused" ip:ipv4_range("10.0.0.0/8")
 *
 * Words that name functions are functions only before '('; otherwise they are words.
 */
#include "common/logsql/parse.h"

#include <math.h>

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/vec.h"
#include "common/logsql/filter.h"
#include "common/logsql/number.h"
#include "common/logsql/pipe.h"
#include "common/logsql/print.h"

static tel_code parse_generic(struct tel_parser *p, struct tel_span field, bool named,
                              struct tel_filter **ret);

struct tel_filter *tel_parse_leaf(struct tel_parser *p, enum tel_filter_op op, size_t pos,
                                  struct tel_span field)
{
    struct tel_filter *f = TEL_ARENA_NEW(p->arena, struct tel_filter);
    f->op = op;
    f->pos = (uint32_t)pos;
    f->field = field;
    return f;
}

static struct tel_filter *branch(struct tel_parser *p, enum tel_filter_op op,
                                 struct tel_filter **kids, size_t count)
{
    struct tel_filter *f = tel_parse_leaf(p, op, kids[0]->pos, (struct tel_span){0});
    f->kids = TEL_ARENA_ARRAY(p->arena, struct tel_filter *, count);
    memcpy(f->kids, kids, count * sizeof *kids);
    f->kid_count = count;
    return f;
}

static struct tel_filter *text_leaf(struct tel_parser *p, enum tel_filter_op op, size_t pos,
                                    struct tel_span field, struct tel_span text)
{
    struct tel_filter *f = tel_parse_leaf(p, op, pos, field);
    f->text = text;
    if (op == TEL_FILTER_PREFIX && text.len == 0 && tel_span_eq_cstr(field, "_msg"))
        f->op = TEL_FILTER_ALL;
    if (op == TEL_FILTER_ICASE_PHRASE || op == TEL_FILTER_ICASE_PREFIX) {
        struct tel_buf lower = {0};
        tel_words_lower(&lower, text);
        f->phrase = tel_phrase_make(tel_arena_copy(p->arena, tel_buf_span(&lower)));
        tel_buf_free(&lower);
    } else {
        f->phrase = tel_phrase_make(text);
    }
    return f;
}

/* ---- words, phrases, names of fields ----------------------------------------------------------
 */

/* word~1 or word~2 with nothing behind: a fuzzy word. */
static bool fuzzy_suffix(struct tel_span text, struct tel_span *ret_word, unsigned *ret_edits)
{
    if (text.len < 3 || text.ptr[text.len - 2] != '~' ||
        (text.ptr[text.len - 1] != '1' && text.ptr[text.len - 1] != '2'))
        return false;
    *ret_word = tel_span_slice(text, 0, text.len - 2);
    *ret_edits = (unsigned)(text.ptr[text.len - 1] - '0');
    return tel_words_is_word(*ret_word) && !tel_print_is_reserved(*ret_word);
}

/* Behind a phrase: a '*' makes it a prefix, a ':' the name of a field. */
static tel_code parse_for_phrase(struct tel_parser *p, struct tel_span phrase, bool quoted,
                                 size_t pos, struct tel_span field, bool named,
                                 struct tel_filter **ret)
{
    struct tel_span word;
    unsigned edits;
    if (named || !tel_parse_is(p, ":")) {
        if (!p->lex.token.after_space && tel_parse_accept(p, "*")) {
            *ret = text_leaf(p, TEL_FILTER_PREFIX, pos, field, phrase);
            if (!named && tel_parse_is(p, ":"))
                return tel_parse_fail(p, pos, "a field's name cannot end with '*'");
        } else if (!quoted && fuzzy_suffix(phrase, &word, &edits)) {
            *ret = text_leaf(p, TEL_FILTER_FUZZY, pos, field, word);
            (*ret)->u.edits = edits;
        } else {
            *ret = text_leaf(p, TEL_FILTER_PHRASE, pos, field, phrase);
        }
        return TEL_OK;
    }
    tel_lexer_next(&p->lex);
    if (tel_span_eq_cstr(phrase, "_time"))
        return tel_parse_time_filter(p, pos, ret);
    if (tel_span_eq_cstr(phrase, "_stream")) {
        if (!tel_parse_is(p, "{"))
            return tel_parse_expected(p, "'{' behind _stream:");
        return tel_parse_stream_filter(p, pos, ret);
    }
    if (tel_span_eq_cstr(phrase, "_stream_id")) {
        if (tel_parse_is(p, "in"))
            return parse_generic(p, phrase, true, ret);
        struct tel_span id;
        TEL_TRY(tel_parse_phrase(p, "a stream id or in(...) behind _stream_id:", true, &id));
        *ret = text_leaf(p, TEL_FILTER_EXACT, pos, phrase, id);
        return TEL_OK;
    }
    return parse_generic(p, phrase.len ? phrase : TEL_SPAN("_msg"), true, ret);
}

static tel_code parse_phrase(struct tel_parser *p, struct tel_span field, bool named,
                             struct tel_filter **ret)
{
    size_t pos = tel_lexer_offset(&p->lex);
    struct tel_token first = p->lex.token;
    struct tel_span phrase;
    TEL_TRY(tel_parse_phrase(p, "a filter", named, &phrase));
    bool quoted = first.kind == TEL_TOKEN_QUOTED && phrase.ptr == first.text.ptr;
    return parse_for_phrase(p, phrase, quoted, pos, field, named, ret);
}

/* ---- functions ---------------------------------------------------------------------------------
 */

/* name( word* ) */
static tel_code parse_maybe_prefix(struct tel_parser *p, struct tel_span field, size_t pos,
                                   enum tel_filter_op op, enum tel_filter_op prefix_op,
                                   struct tel_filter **ret)
{
    struct tel_span text = {"", 0};
    tel_lexer_next(&p->lex);
    TEL_TRY(tel_parse_expect(p, "(", "'('"));
    if (!tel_parse_is(p, "*"))
        TEL_TRY(tel_parse_until(p, "a word or phrase", TEL_PARSE_ARG_STOPS, &text));
    bool prefix = !p->lex.token.after_space && tel_parse_accept(p, "*");
    TEL_TRY(tel_parse_expect(p, ")", "')' behind the phrase"));
    *ret = text_leaf(p, prefix ? prefix_op : op, pos, field, text);
    return TEL_OK;
}

static void index_values(struct tel_parser *p, struct tel_filter *f)
{
    size_t cap = 8;
    while (cap < f->value_count * 2)
        cap *= 2;
    uint32_t *index = TEL_ARENA_ARRAY(p->arena, uint32_t, cap);
    for (size_t i = 0; i < f->value_count; i++) {
        size_t at = (size_t)tel_hash64(f->values[i], 0) & (cap - 1);
        while (index[at])
            at = (at + 1) & (cap - 1);
        index[at] = (uint32_t)i + 1;
    }
    f->value_index = index;
    f->value_index_cap = cap;
}

static void set_values(struct tel_parser *p, struct tel_filter *f, struct tel_span *values,
                       size_t count)
{
    f->values = values;
    f->value_count = count;
    if (f->op == TEL_FILTER_IN) {
        index_values(p, f);
        return;
    }
    f->phrases = TEL_ARENA_ARRAY(p->arena, struct tel_phrase, count + 1);
    for (size_t i = 0; i < count; i++)
        f->phrases[i] = tel_phrase_make(values[i]);
}

void tel_filter_set_values(struct tel_filter *filter, struct tel_span *values, size_t count,
                           struct tel_arena *arena)
{
    struct tel_parser p = {.arena = arena};
    set_values(&p, filter, values, count);
    filter->subquery = NULL;
}

/* The field whose values a subquery gives: its last pipe must say. */
static tel_code subquery_field(struct tel_parser *p, const struct tel_query *q, size_t pos,
                               struct tel_span *ret)
{
    if (q->pipe_count > 0 && tel_pipe_single_field(q->pipes[q->pipe_count - 1], ret))
        return TEL_OK;
    return tel_parse_fail(p, pos,
                          "expected values, or a query that ends with '| fields name' or "
                          "'| uniq by (name)'");
}

/* Does a '[' stand between the two places, outside quotes? */
static bool has_bracket(struct tel_lexer from, const struct tel_lexer *to)
{
    for (; tel_lexer_offset(&from) < tel_lexer_offset(to); tel_lexer_next(&from))
        if (tel_lexer_is(&from, "["))
            return true;
    return false;
}

/* in(a, b), in(*), in(<subquery>) and the same for contains_all and contains_any. */
static tel_code parse_in(struct tel_parser *p, struct tel_span field, size_t pos,
                         enum tel_filter_op op, struct tel_filter **ret)
{
    tel_lexer_next(&p->lex);
    struct tel_lexer open = p->lex;
    struct tel_error *err = p->err;
    struct tel_span *values;
    size_t count;
    *ret = tel_parse_leaf(p, op, pos, field);

    tel_lexer_next(&p->lex);
    if (tel_parse_accept(p, "*") && tel_parse_accept(p, ")")) {
        (*ret)->op = TEL_FILTER_ALL;
        return TEL_OK;
    }
    p->lex = open;
    struct tel_error values_err = {0};
    p->err = &values_err;
    tel_code rc = tel_parse_args(p, &values, &count);
    p->err = err;
    struct tel_lexer behind = p->lex;
    bool list = rc == TEL_OK;
    if (list && !has_bracket(open, &behind)) {
        set_values(p, *ret, values, count);
        return TEL_OK;
    }
    p->lex = open;
    struct tel_query *q;
    struct tel_span name;
    if (list) { /* in(_time:[a, b) | fields x) begins as a list of two values does */
        unsigned depth = p->depth;
        p->err = &values_err;
        rc = tel_parse_subquery(p, &q);
        if (rc == TEL_OK)
            rc = subquery_field(p, q, tel_lexer_offset(&open), &name);
        p->err = err;
        if (rc != TEL_OK) {
            p->depth = depth;
            p->lex = behind;
            set_values(p, *ret, values, count);
            return TEL_OK;
        }
        (*ret)->subquery = q;
        (*ret)->subquery_field = name;
        return TEL_OK;
    }
    rc = tel_parse_subquery(p, &q);
    if (rc == TEL_OK && q->pipe_count == 0 && q->filter->op == TEL_FILTER_ALL) {
        (*ret)->op = TEL_FILTER_ALL;
        return TEL_OK;
    }
    if (rc == TEL_OK)
        rc = subquery_field(p, q, tel_lexer_offset(&open), &name);
    if (rc != TEL_OK) {
        /* Whichever reading got further is the one that was meant. */
        bool meant =
            tel_lexer_offset(&p->lex) <= tel_lexer_offset(&behind) && !tel_lexer_is(&behind, "|");
        if (meant && err)
            *err = values_err;
        return rc;
    }
    (*ret)->subquery = q;
    (*ret)->subquery_field = name;
    return TEL_OK;
}

static tel_code parse_number(struct tel_parser *p, double *ret, struct tel_span *ret_text)
{
    size_t at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_compound(p, "a number", ret_text));
    if (tel_number_parse_any(*ret_text, ret))
        return TEL_OK;
    if (ret_text->len == 3 && (ret_text->ptr[0] | 0x20) == 'n' &&
        (ret_text->ptr[1] | 0x20) == 'a') {
        *ret = NAN;
        return TEL_OK;
    }
    return tel_parse_fail(
        p, at, "expected a number, a duration, a size, a time or an IPv4 address, found %.*s",
        (int)TEL_MIN(ret_text->len, 60), ret_text->ptr);
}

static double next_above(double f)
{
    return isinf(f) ? f : nextafter(f, INFINITY);
}

static double next_below(double f)
{
    return isinf(f) ? f : nextafter(f, -INFINITY);
}

/* What is printed between brackets and commas must not depend on how it was quoted. */
static void quote_if_needed(struct tel_buf *out, struct tel_span s)
{
    bool plain = s.len > 0 && tel_number_prefix(s);
    for (size_t i = 0; i < s.len && plain; i++) {
        char c = s.ptr[i];
        plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                c == '.' || c == '-' || c == '+' || c == '_' || (c == ':' && i > 0);
    }
    if (plain)
        tel_buf_add_span(out, s);
    else
        tel_lexer_quote(out, s);
}

static tel_code parse_range(struct tel_parser *p, struct tel_span field, size_t pos,
                            struct tel_filter **ret)
{
    double min, max;
    struct tel_span min_text, max_text;
    tel_lexer_next(&p->lex);
    bool from = tel_parse_is(p, "[");
    tel_lexer_next(&p->lex);
    TEL_TRY(parse_number(p, &min, &min_text));
    TEL_TRY(tel_parse_expect(p, ",", "',' between the bounds of range"));
    TEL_TRY(parse_number(p, &max, &max_text));
    bool to = tel_parse_is(p, "]");
    if (!to && !tel_parse_is(p, ")"))
        return tel_parse_expected(p, "')' or ']' behind the bounds of range");
    tel_lexer_next(&p->lex);
    struct tel_filter *f = tel_parse_leaf(p, TEL_FILTER_RANGE, pos, field);
    f->u.range.min = from ? min : next_above(min);
    f->u.range.max = to ? max : next_below(max);
    struct tel_buf repr = {0};
    tel_buf_printf(&repr, "range%c", from ? '[' : '(');
    quote_if_needed(&repr, min_text);
    TEL_BUF_ADD_LIT(&repr, ", ");
    quote_if_needed(&repr, max_text);
    tel_buf_add_char(&repr, to ? ']' : ')');
    f->repr = tel_arena_copy(p->arena, tel_buf_span(&repr));
    tel_buf_free(&repr);
    *ret = f;
    return TEL_OK;
}

/* >x >=x <x <=x: by number if x is one, by bytes otherwise. */
static tel_code parse_compare(struct tel_parser *p, struct tel_span field, size_t pos, bool greater,
                              struct tel_filter **ret)
{
    tel_lexer_next(&p->lex);
    bool equal = !p->lex.token.after_space && tel_parse_accept(p, "=");
    double x;
    struct tel_span text;
    bool quoted = p->lex.token.kind == TEL_TOKEN_QUOTED;
    TEL_TRY(tel_parse_compound(p, "a value to compare with", &text));
    struct tel_buf repr = {0};
    tel_buf_printf(&repr, "%c%s", greater ? '>' : '<', equal ? "=" : "");
    struct tel_filter *f;
    (void)quoted;
    if (tel_number_parse_any(text, &x)) {
        f = tel_parse_leaf(p, TEL_FILTER_RANGE, pos, field);
        f->u.range.min = greater ? (equal ? x : next_above(x)) : -INFINITY;
        f->u.range.max = greater ? INFINITY : (equal ? x : next_below(x));
        quote_if_needed(&repr, text);
    } else {
        f = tel_parse_leaf(p, TEL_FILTER_STRING_RANGE, pos, field);
        /* The least text above x is x and a zero byte (tel_arena_copy ends with one). */
        struct tel_span copy = tel_arena_copy(p->arena, text);
        struct tel_span above = {copy.ptr, copy.len + 1};
        f->u.string.min = greater ? (equal ? copy : above) : TEL_SPAN("");
        f->u.string.max = greater ? (struct tel_span){0} : (equal ? above : copy);
        tel_lexer_quote(&repr, text);
    }
    f->repr = tel_arena_copy(p->arena, tel_buf_span(&repr));
    tel_buf_free(&repr);
    *ret = f;
    return TEL_OK;
}

static tel_code parse_args_leaf(struct tel_parser *p, struct tel_span field, size_t pos,
                                enum tel_filter_op op, struct tel_filter **ret)
{
    struct tel_span name = p->lex.token.text, *args;
    size_t count, args_at;
    tel_lexer_next(&p->lex);
    args_at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_args(p, &args, &count));
    struct tel_filter *f = tel_parse_leaf(p, op, pos, field);
    *ret = f;
    if (op == TEL_FILTER_SEQUENCE) {
        size_t n = 0; /* empty phrases say nothing */
        for (size_t i = 0; i < count; i++)
            if (args[i].len)
                args[n++] = args[i];
        set_values(p, f, args, n);
        return TEL_OK;
    }
    size_t want = op == TEL_FILTER_STRING_RANGE || op == TEL_FILTER_LEN_RANGE ? 2 : 1;
    if (count != want && !(op == TEL_FILTER_IPV4_RANGE && count == 2))
        return tel_parse_fail(p, args_at, "expected %zu argument%s of %.*s, found %zu", want,
                              want == 1 ? "" : "s", TEL_SPAN_ARG(name), count);
    f->text = args[0];
    f->values = args;
    f->value_count = count;
    if (op == TEL_FILTER_STRING_RANGE) {
        f->u.string.min = args[0];
        f->u.string.max = args[1];
        if (!args[1].len)
            f->u.string.max = TEL_SPAN("");
    } else if (op == TEL_FILTER_LEN_RANGE) {
        if (!tel_number_uint_arg(args[0], &f->u.len.min) ||
            !tel_number_uint_arg(args[1], &f->u.len.max))
            return tel_parse_fail(p, args_at, "expected two lengths, non-negative integers or inf");
    } else if (op == TEL_FILTER_IPV4_RANGE) {
        bool ok = count == 1 ? tel_number_cidr(args[0], &f->u.ipv4.min, &f->u.ipv4.max)
                             : tel_number_ipv4(args[0], &f->u.ipv4.min) &&
                                   tel_number_ipv4(args[1], &f->u.ipv4.max);
        if (!ok)
            return tel_parse_fail(
                p, args_at, "expected one or two IPv4 addresses, or a network such as 10.0.0.0/8");
    }
    return TEL_OK;
}

static tel_code regexp_leaf(struct tel_parser *p, struct tel_span field, size_t pos, size_t at,
                            struct tel_span pattern, struct tel_filter **ret)
{
    struct tel_filter *f = tel_parse_leaf(p, TEL_FILTER_REGEXP, pos, field);
    f->text = pattern;
    TEL_TRY(tel_parse_regex(p, pattern, false, at, &f->regex));
    *ret = f;
    return TEL_OK;
}

/* ~"re" and re("re") */
static tel_code parse_regexp(struct tel_parser *p, struct tel_span field, size_t pos, bool call,
                             struct tel_filter **ret)
{
    struct tel_span pattern, *args;
    size_t count;
    tel_lexer_next(&p->lex);
    size_t at = tel_lexer_offset(&p->lex);
    if (call) {
        TEL_TRY(tel_parse_args(p, &args, &count));
        if (count != 1)
            return tel_parse_fail(p, at, "expected one argument of re, found %zu", count);
        pattern = args[0];
    } else {
        TEL_TRY(tel_parse_compound(p, "a regular expression", &pattern));
    }
    return regexp_leaf(p, field, pos, at, pattern, ret);
}

/* ="text" and ="text"* */
static tel_code parse_exact(struct tel_parser *p, struct tel_span field, size_t pos,
                            struct tel_filter **ret)
{
    struct tel_span text = {"", 0};
    tel_lexer_next(&p->lex);
    if (!tel_parse_is(p, "*"))
        TEL_TRY(tel_parse_until(p, "a value behind '='", TEL_PARSE_ARG_STOPS, &text));
    bool prefix = !p->lex.token.after_space && tel_parse_accept(p, "*");
    *ret = text_leaf(p, prefix ? TEL_FILTER_EXACT_PREFIX : TEL_FILTER_EXACT, pos, field, text);
    return TEL_OK;
}

/* ---- the table of functions ---------------------------------------------------------------------
 */

enum shape { SHAPE_ARGS, SHAPE_IN, SHAPE_PREFIX, SHAPE_RANGE, SHAPE_REGEXP };

static const struct function {
    const char *name;
    enum shape shape;
    enum tel_filter_op op, prefix_op;
} functions[] = {
    {"contains_all", SHAPE_IN, TEL_FILTER_CONTAINS_ALL, TEL_FILTER_ALL},
    {"contains_any", SHAPE_IN, TEL_FILTER_CONTAINS_ANY, TEL_FILTER_ALL},
    {"eq_field", SHAPE_ARGS, TEL_FILTER_EQ_FIELD, TEL_FILTER_ALL},
    {"exact", SHAPE_PREFIX, TEL_FILTER_EXACT, TEL_FILTER_EXACT_PREFIX},
    {"i", SHAPE_PREFIX, TEL_FILTER_ICASE_PHRASE, TEL_FILTER_ICASE_PREFIX},
    {"in", SHAPE_IN, TEL_FILTER_IN, TEL_FILTER_ALL},
    {"ipv4_range", SHAPE_ARGS, TEL_FILTER_IPV4_RANGE, TEL_FILTER_ALL},
    {"le_field", SHAPE_ARGS, TEL_FILTER_LE_FIELD, TEL_FILTER_ALL},
    {"len_range", SHAPE_ARGS, TEL_FILTER_LEN_RANGE, TEL_FILTER_ALL},
    {"lt_field", SHAPE_ARGS, TEL_FILTER_LT_FIELD, TEL_FILTER_ALL},
    {"range", SHAPE_RANGE, TEL_FILTER_RANGE, TEL_FILTER_ALL},
    {"re", SHAPE_REGEXP, TEL_FILTER_REGEXP, TEL_FILTER_ALL},
    {"seq", SHAPE_ARGS, TEL_FILTER_SEQUENCE, TEL_FILTER_ALL},
    {"string_range", SHAPE_ARGS, TEL_FILTER_STRING_RANGE, TEL_FILTER_ALL},
    {"value_type", SHAPE_ARGS, TEL_FILTER_VALUE_TYPE, TEL_FILTER_ALL},
};

bool tel_filter_is_function(struct tel_span word)
{
    for (size_t i = 0; i < TEL_ARRAY_LEN(functions); i++)
        if (tel_span_eq_cstr(word, functions[i].name))
            return true;
    return false;
}

/* The function whose call starts here, or NULL. */
static const struct function *function_call(const struct tel_parser *p)
{
    if (p->lex.token.kind != TEL_TOKEN_WORD)
        return NULL;
    for (size_t i = 0; i < TEL_ARRAY_LEN(functions); i++) {
        if (!tel_parse_is(p, functions[i].name))
            continue;
        struct tel_lexer ahead = p->lex;
        tel_lexer_next(&ahead);
        bool call = tel_lexer_is(&ahead, "(") ||
                    (functions[i].shape == SHAPE_RANGE && tel_lexer_is(&ahead, "["));
        return call ? &functions[i] : NULL;
    }
    return NULL;
}

static tel_code parse_call(struct tel_parser *p, const struct function *fn, struct tel_span field,
                           size_t pos, struct tel_filter **ret)
{
    switch (fn->shape) {
    case SHAPE_ARGS:
        return parse_args_leaf(p, field, pos, fn->op, ret);
    case SHAPE_IN:
        return parse_in(p, field, pos, fn->op, ret);
    case SHAPE_PREFIX:
        return parse_maybe_prefix(p, field, pos, fn->op, fn->prefix_op, ret);
    case SHAPE_RANGE:
        return parse_range(p, field, pos, ret);
    case SHAPE_REGEXP:
        return parse_regexp(p, field, pos, true, ret);
    }
    TEL_UNREACHABLE();
}

/* ---- not, and, or ------------------------------------------------------------------------------
 */

static struct tel_filter *negate(struct tel_parser *p, struct tel_filter *f, size_t pos)
{
    if (f->op == TEL_FILTER_NOT)
        return f->kids[0];
    f = branch(p, TEL_FILTER_NOT, &f, 1);
    f->pos = (uint32_t)pos;
    return f;
}

static tel_code parse_or(struct tel_parser *p, struct tel_span field, bool named,
                         struct tel_filter **ret);

static tel_code parse_operator(struct tel_parser *p, struct tel_span field, bool named, size_t pos,
                               struct tel_filter **ret)
{
    if (tel_parse_is(p, "!=") || tel_parse_is(p, "!~")) {
        struct tel_filter *f;
        TEL_TRY(tel_parse_is(p, "!=") ? parse_exact(p, field, pos, &f)
                                      : parse_regexp(p, field, pos, false, &f));
        *ret = negate(p, f, pos);
        return TEL_OK;
    }
    if (tel_parse_is(p, "="))
        return parse_exact(p, field, pos, ret);
    if (tel_parse_is(p, "~"))
        return parse_regexp(p, field, pos, false, ret);
    if (tel_parse_is(p, ">") || tel_parse_is(p, "<"))
        return parse_compare(p, field, pos, tel_parse_is(p, ">"), ret);
    if (tel_parse_is(p, "{")) {
        if (named)
            return tel_parse_fail(p, pos, "a stream selector {...} cannot follow a field's name");
        return tel_parse_stream_filter(p, pos, ret);
    }
    if (tel_parse_accept(p, ":"))
        return parse_generic(p, field, named, ret);
    return tel_parse_expected(p, "a filter");
}

static tel_code parse_generic(struct tel_parser *p, struct tel_span field, bool named,
                              struct tel_filter **ret)
{
    size_t pos = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_enter(p));
    tel_code rc;
    const struct function *fn = function_call(p);
    if (fn) {
        rc = parse_call(p, fn, field, pos, ret);
    } else if (tel_parse_is(p, "(")) {
        tel_lexer_next(&p->lex);
        rc = parse_or(p, field, named, ret);
        if (rc == TEL_OK)
            rc = tel_parse_expect(p, ")", "')'");
    } else if (tel_parse_is(p, "not") || tel_parse_is(p, "!") || tel_parse_is(p, "-")) {
        tel_lexer_next(&p->lex);
        rc = parse_generic(p, field, named, ret);
        if (rc == TEL_OK)
            *ret = negate(p, *ret, pos);
    } else if (tel_parse_accept(p, "*")) {
        *ret = text_leaf(p, TEL_FILTER_PREFIX, pos, field, TEL_SPAN(""));
        if (!named && tel_parse_is(p, ":"))
            rc = tel_parse_fail(p, pos, "a field's name cannot be '*'");
        else
            rc = TEL_OK;
    } else if (p->lex.token.kind == TEL_TOKEN_PUNCT && p->lex.token.raw.len &&
               strchr("=!~<>{:", p->lex.token.raw.ptr[0])) {
        rc = parse_operator(p, field, named, pos, ret);
    } else {
        rc = parse_phrase(p, field, named, ret);
    }
    tel_parse_leave(p);
    return rc;
}

typedef TEL_VEC(struct tel_filter *) filter_vec;

/* A branch in a branch of the same kind is one branch. */
static void add_kid(filter_vec *v, struct tel_filter *f, enum tel_filter_op op)
{
    if (f->op != op) {
        tel_vec_push(v, f);
        return;
    }
    for (size_t i = 0; i < f->kid_count; i++)
        tel_vec_push(v, f->kids[i]);
}

static tel_code parse_and(struct tel_parser *p, struct tel_span field, bool named,
                          struct tel_filter **ret)
{
    filter_vec v = {0};
    tel_code rc;
    do {
        struct tel_filter *f;
        rc = parse_generic(p, field, named, &f);
        if (rc != TEL_OK)
            break;
        add_kid(&v, f, TEL_FILTER_AND);
        if (tel_parse_is(p, "or") || tel_parse_at_end(p))
            break;
        if (tel_parse_is(p, "(") && !p->lex.token.after_space)
            rc = tel_parse_expected(p, "a space before the next filter");
        tel_parse_accept(p, "and");
    } while (rc == TEL_OK);
    if (rc == TEL_OK)
        *ret = v.len == 1 ? v.items[0] : branch(p, TEL_FILTER_AND, v.items, v.len);
    tel_vec_free(&v);
    return rc;
}

static tel_code parse_or(struct tel_parser *p, struct tel_span field, bool named,
                         struct tel_filter **ret)
{
    filter_vec v = {0};
    tel_code rc;
    do {
        struct tel_filter *f;
        rc = parse_and(p, field, named, &f);
        if (rc != TEL_OK)
            break;
        add_kid(&v, f, TEL_FILTER_OR);
    } while (tel_parse_accept(p, "or"));
    if (rc == TEL_OK)
        *ret = v.len == 1 ? v.items[0] : branch(p, TEL_FILTER_OR, v.items, v.len);
    tel_vec_free(&v);
    return rc;
}

tel_code tel_parse_filter(struct tel_parser *p, struct tel_filter **ret)
{
    const struct tel_token *first = &p->lex.token;
    if (first->kind == TEL_TOKEN_WORD &&
        (tel_parse_is(p, "by") || tel_pipe_is_reserved(first->text)))
        return tel_parse_fail(p, tel_lexer_offset(&p->lex),
                              "%.*s is the name of a pipe or function; quote it to search for the "
                              "word",
                              (int)TEL_MIN(first->text.len, 60), first->text.ptr);
    return parse_or(p, TEL_SPAN("_msg"), false, ret);
}
