/* See parse.h: the shared parts of the parser, and the whole query. */
#include "common/logsql/parse.h"

#include <stdio.h>

#include "common/base/buf.h"
#include "common/base/vec.h"
#include "common/logsql/number.h"
#include "common/logsql/pipes.h"
#include "common/logsql/regex.h"
#include "common/logsql/score.h"

struct tel_query_regex {
    struct tel_regex *regex;
    struct tel_query_regex *next;
};

tel_code tel_parse_fail(struct tel_parser *p, size_t offset, const char *fmt, ...)
{
    char text[TEL_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return tel_lexer_error(p->err, p->lex.source, offset, "%s", text);
}

tel_code tel_parse_expected(struct tel_parser *p, const char *what)
{
    const struct tel_token *t = &p->lex.token;
    size_t offset = tel_lexer_offset(&p->lex);
    if (t->kind == TEL_TOKEN_END)
        return tel_parse_fail(p, offset, "expected %s, found the end of the query", what);
    if (t->kind == TEL_TOKEN_BAD)
        return tel_parse_fail(
            p, offset, "expected %s, found a string without its closing %.*s or with a bad escape",
            what, TEL_SPAN_ARG(t->raw));
    return tel_parse_fail(p, offset, "expected %s, found %.*s", what, (int)TEL_MIN(t->raw.len, 60),
                          t->raw.ptr);
}

bool tel_parse_accept(struct tel_parser *p, const char *keyword)
{
    if (!tel_lexer_is(&p->lex, keyword))
        return false;
    tel_lexer_next(&p->lex);
    return true;
}

tel_code tel_parse_expect(struct tel_parser *p, const char *keyword, const char *what)
{
    return tel_parse_accept(p, keyword) ? TEL_OK : tel_parse_expected(p, what);
}

bool tel_parse_at_end(const struct tel_parser *p)
{
    return tel_parse_is(p, "|") || tel_parse_is(p, ")") || tel_parse_is(p, "");
}

tel_code tel_parse_enter(struct tel_parser *p)
{
    if (++p->depth > TEL_QUERY_DEPTH_MAX)
        return tel_parse_fail(p, tel_lexer_offset(&p->lex), "the query is nested more than %u deep",
                              TEL_QUERY_DEPTH_MAX);
    return TEL_OK;
}

/* May the token stand in a compound? `stops` has one character each. */
static bool joins(const struct tel_parser *p, const char *stops)
{
    const struct tel_token *t = &p->lex.token;
    if (t->kind == TEL_TOKEN_END)
        return false;
    if (t->kind != TEL_TOKEN_PUNCT)
        return true;
    return t->raw.len == 1 ? !strchr(stops, t->raw.ptr[0]) : !strchr(stops, '=');
}

static tel_code compound(struct tel_parser *p, const char *what, const char *stops,
                         struct tel_span *ret)
{
    /* A quote without its match may stand inside (don't), but not first. */
    if (!joins(p, stops) || p->lex.token.kind == TEL_TOKEN_BAD)
        return tel_parse_expected(p, what);
    struct tel_span raw = p->lex.token.raw, text = p->lex.token.text;
    tel_lexer_next(&p->lex);
    bool joined = false;
    while (!p->lex.token.after_space && joins(p, stops)) {
        /* Comments cannot stand between adjacent tokens, so raw texts are adjacent, too. */
        raw.len = (size_t)(p->lex.token.raw.ptr + p->lex.token.raw.len - raw.ptr);
        joined = true;
        tel_lexer_next(&p->lex);
    }
    *ret = joined ? raw : text;
    return TEL_OK;
}

tel_code tel_parse_until(struct tel_parser *p, const char *what, const char *stops,
                         struct tel_span *ret)
{
    return compound(p, what, stops, ret);
}

tel_code tel_parse_compound(struct tel_parser *p, const char *what, struct tel_span *ret)
{
    return compound(p, what, ",()[]|", ret);
}

tel_code tel_parse_phrase(struct tel_parser *p, const char *what, bool colon, struct tel_span *ret)
{
    return compound(p, what, colon ? "*,()[]|" : "*,()[]|:", ret);
}

tel_code tel_parse_field_pattern(struct tel_parser *p, struct tel_span *ret)
{
    struct tel_span name;
    TEL_TRY(tel_parse_compound(p, "a field name", &name));
    *ret = name.len ? name : TEL_SPAN("_msg");
    return TEL_OK;
}

tel_code tel_parse_field(struct tel_parser *p, struct tel_span *ret)
{
    size_t at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_field_pattern(p, ret));
    if (tel_field_is_wildcard(*ret))
        return tel_parse_fail(p, at, "expected the name of one field, without '*'");
    return TEL_OK;
}

typedef TEL_VEC(struct tel_span) span_vec;

static void take_spans(struct tel_parser *p, span_vec *v, struct tel_span **ret, size_t *ret_count)
{
    *ret = TEL_ARENA_ARRAY(p->arena, struct tel_span, v->len + 1);
    if (v->len)
        memcpy(*ret, v->items, v->len * sizeof v->items[0]);
    *ret_count = v->len;
}

tel_code tel_parse_field_list(struct tel_parser *p, struct tel_span **ret, size_t *ret_count)
{
    span_vec v = {0};
    tel_code rc;
    struct tel_span name;
    do {
        rc = tel_parse_field_pattern(p, &name);
        if (rc == TEL_OK)
            tel_vec_push(&v, name);
    } while (rc == TEL_OK && tel_parse_accept(p, ","));
    if (rc == TEL_OK)
        take_spans(p, &v, ret, ret_count);
    tel_vec_free(&v);
    return rc;
}

/* ( item, item ) where an item is a field name or any string. A trailing comma is fine. */
static tel_code in_parens(struct tel_parser *p, bool fields, span_vec *v)
{
    TEL_TRY(tel_parse_expect(p, "(", "'('"));
    while (!tel_parse_is(p, ")")) {
        struct tel_span s;
        if (fields)
            TEL_TRY(tel_parse_field_pattern(p, &s));
        else
            TEL_TRY(tel_parse_until(p, "an argument", TEL_PARSE_ARG_STOPS, &s));
        tel_vec_push(v, s);
        if (!tel_parse_is(p, ")"))
            TEL_TRY(tel_parse_expect(p, ",", "',' or ')'"));
    }
    tel_lexer_next(&p->lex);
    return TEL_OK;
}

tel_code tel_parse_fields_in_parens(struct tel_parser *p, struct tel_span **ret, size_t *ret_count)
{
    span_vec v = {0};
    tel_code rc = in_parens(p, true, &v);
    if (rc == TEL_OK)
        take_spans(p, &v, ret, ret_count);
    tel_vec_free(&v);
    return rc;
}

tel_code tel_parse_args(struct tel_parser *p, struct tel_span **ret, size_t *ret_count)
{
    span_vec v = {0};
    tel_code rc = in_parens(p, false, &v);
    if (rc == TEL_OK)
        take_spans(p, &v, ret, ret_count);
    tel_vec_free(&v);
    return rc;
}

bool tel_parse_is_number(const struct tel_parser *p)
{
    return tel_number_prefix(p->lex.token.text);
}

tel_code tel_parse_uint(struct tel_parser *p, const char *what, uint64_t *ret)
{
    size_t at = tel_lexer_offset(&p->lex);
    struct tel_span s;
    TEL_TRY(tel_parse_compound(p, what, &s));
    if (!tel_number_uint_arg(s, ret))
        return tel_parse_fail(p, at, "expected %s, a non-negative integer, found %.*s", what,
                              (int)TEL_MIN(s.len, 60), s.ptr);
    return TEL_OK;
}

tel_code tel_parse_duration(struct tel_parser *p, struct tel_span *ret_text, int64_t *ret_ns)
{
    size_t at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_compound(p, "a duration", ret_text));
    if (!tel_number_duration(*ret_text, ret_ns))
        return tel_parse_fail(p, at, "expected a duration such as 5m or 1h30m, found %.*s",
                              (int)TEL_MIN(ret_text->len, 60), ret_text->ptr);
    return TEL_OK;
}

tel_code tel_parse_regex(struct tel_parser *p, struct tel_span pattern, bool anchored,
                         size_t offset, struct tel_regex **ret)
{
    struct tel_error why = {0};
    struct tel_regex *re;
    size_t at;
    TEL_TRY(tel_pace_ask(&p->pace, p->err)); /* to compile one may take milliseconds */
    tel_code rc = tel_regex_new(pattern, anchored, &re, &at, &why);
    if (rc != TEL_OK)
        return tel_parse_fail(p, offset, "%s", why.text);
    struct tel_query_regex *link = TEL_ARENA_NEW(p->arena, struct tel_query_regex);
    link->regex = re;
    link->next = p->query->regexes;
    p->query->regexes = link;
    *ret = re;
    return TEL_OK;
}

tel_code tel_parse_if(struct tel_parser *p, struct tel_filter **ret)
{
    *ret = NULL;
    if (!tel_parse_is(p, "if"))
        return TEL_OK;
    tel_lexer_next(&p->lex);
    TEL_TRY(tel_parse_expect(p, "(", "'(' behind 'if'"));
    if (tel_parse_accept(p, ")")) { /* if () holds for every row */
        *ret = tel_parse_leaf(p, TEL_FILTER_ALL, tel_lexer_offset(&p->lex), TEL_SPAN("_msg"));
        return TEL_OK;
    }
    TEL_TRY(tel_parse_filter(p, ret));
    return tel_parse_expect(p, ")", "')' behind the condition of 'if'");
}

/* ---- options, pipes, the query ----------------------------------------------------------------
 */

static bool parse_bool(struct tel_span s, bool *ret)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < TEL_ARRAY_LEN(yes); i++) {
        if (tel_span_eq_cstr(s, yes[i]) || tel_span_eq_cstr(s, no[i])) {
            *ret = tel_span_eq_cstr(s, yes[i]);
            return true;
        }
    }
    return false;
}

static tel_code parse_option(struct tel_parser *p, struct tel_query_options *o)
{
    struct tel_span name, value;
    size_t at = tel_lexer_offset(&p->lex);
    TEL_TRY(compound(p, "an option's name", ",()[]|!=", &name));
    TEL_TRY(tel_parse_expect(p, "=", "'=' behind the option's name"));
    size_t value_at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_compound(p, "the option's value", &value));
    bool ok;
    if (tel_span_eq_cstr(name, "concurrency")) {
        ok = tel_number_u64(value, &o->concurrency);
    } else if (tel_span_eq_cstr(name, "ignore_global_time_filter")) {
        ok = o->has_ignore_global_time_filter = parse_bool(value, &o->ignore_global_time_filter);
    } else if (tel_span_eq_cstr(name, "allow_partial_response")) {
        ok = o->has_allow_partial_response = parse_bool(value, &o->allow_partial_response);
    } else if (tel_span_eq_cstr(name, "score_stats")) {
        ok = true; /* read when it is known what they are of */
        o->score_stats = value;
    } else if (tel_span_eq_cstr(name, "time_offset")) {
        ok = tel_number_duration(value, &o->time_offset_ns);
        o->time_offset_text = value;
    } else {
        return tel_parse_fail(
            p, at,
            "no such option: %.*s; there are concurrency, ignore_global_time_filter, "
            "allow_partial_response and time_offset",
            (int)TEL_MIN(name.len, 60), name.ptr);
    }
    if (!ok)
        return tel_parse_fail(p, value_at, "bad value of the option %.*s: %.*s", TEL_SPAN_ARG(name),
                              (int)TEL_MIN(value.len, 60), value.ptr);
    return TEL_OK;
}

static tel_code parse_options(struct tel_parser *p, struct tel_query_options *o)
{
    if (p->options)
        *o = *p->options;
    o->given = false;
    o->score_stats = (struct tel_span){0};
    if (!tel_parse_is(p, "options"))
        return TEL_OK;
    struct tel_lexer ahead = p->lex;
    tel_lexer_next(&ahead);
    if (!tel_lexer_is(&ahead, "("))
        return TEL_OK; /* the word "options" */
    p->lex = ahead;
    tel_lexer_next(&p->lex);
    o->given = true;
    while (!tel_parse_is(p, ")")) {
        TEL_TRY(parse_option(p, o));
        if (!tel_parse_is(p, ")"))
            TEL_TRY(tel_parse_expect(p, ",", "',' or ')' behind the option"));
    }
    tel_lexer_next(&p->lex);
    return TEL_OK;
}

/* Moves every time filter of the tree back by the query's time_offset. */
static void shift_times(struct tel_filter *f, int64_t offset)
{
    for (size_t i = 0; i < f->kid_count; i++)
        shift_times(f->kids[i], offset);
    if (f->op != TEL_FILTER_TIME)
        return;
    if (f->u.time.min != INT64_MIN && __builtin_sub_overflow(f->u.time.min, offset, &f->u.time.min))
        f->u.time.min = INT64_MIN;
    if (f->u.time.max != INT64_MAX && __builtin_sub_overflow(f->u.time.max, offset, &f->u.time.max))
        f->u.time.max = INT64_MAX;
}

static tel_code parse_query(struct tel_parser *p, struct tel_query *q)
{
    q->now_ns = p->now_ns;
    q->arena = p->arena;
    size_t start = tel_lexer_offset(&p->lex);
    TEL_TRY(parse_options(p, &q->options));
    const struct tel_query_options *outer = p->options;
    p->options = &q->options;
    if (tel_parse_at_end(p))
        return tel_parse_expected(p, "a filter (* selects everything)");
    TEL_TRY(tel_parse_filter(p, &q->filter));
    if (q->options.time_offset_ns)
        shift_times(q->filter, q->options.time_offset_ns);
    TEL_VEC(struct tel_pipe *) pipes = {0};
    tel_code rc = TEL_OK;
    while (rc == TEL_OK && tel_parse_accept(p, "|")) {
        struct tel_pipe *pipe;
        rc = tel_parse_pipe(p, &pipe);
        if (rc == TEL_OK && !(pipes.len && tel_pipe_sort_take(pipes.items[pipes.len - 1], pipe)))
            tel_vec_push(&pipes, pipe);
        if (rc == TEL_OK && !tel_parse_at_end(p))
            rc = tel_parse_expected(p, "'|' or the end behind the pipe");
    }
    if (rc == TEL_OK) {
        q->pipes = TEL_ARENA_ARRAY(p->arena, struct tel_pipe *, pipes.len + 1);
        if (pipes.len)
            memcpy(q->pipes, pipes.items, pipes.len * sizeof pipes.items[0]);
        q->pipe_count = pipes.len;
        q->score = tel_score_new(q, p->arena);
        if (q->options.score_stats.len &&
            (!q->score || !tel_score_parse(q->score, q->options.score_stats)))
            rc = tel_parse_fail(p, start, "the option score_stats does not fit the query");
    }
    tel_vec_free(&pipes);
    p->options = outer;
    return rc;
}

tel_code tel_parse_subquery(struct tel_parser *p, struct tel_query **ret)
{
    TEL_TRY(tel_parse_expect(p, "(", "'(' before a query"));
    TEL_TRY(tel_parse_enter(p));
    struct tel_query *q = TEL_ARENA_NEW(p->arena, struct tel_query);
    size_t start = tel_lexer_offset(&p->lex);
    TEL_TRY(parse_query(p, q));
    q->text = tel_span_slice(p->lex.source, start, tel_lexer_offset(&p->lex));
    TEL_TRY(tel_parse_expect(p, ")", "')' behind the query"));
    tel_parse_leave(p);
    *ret = q;
    return TEL_OK;
}

tel_code tel_query_parse(struct tel_span text, int64_t now_ns,
                         const struct tel_parse_options *options, struct tel_arena *arena,
                         struct tel_query **ret, struct tel_error *err)
{
    if (text.len > TEL_QUERY_BYTES_MAX)
        return tel_error_set(err, TEL_ERR_LIMIT, "the query has %zu bytes, at most %u are taken",
                             text.len, TEL_QUERY_BYTES_MAX);
    struct tel_query *q = TEL_ARENA_NEW(arena, struct tel_query);
    q->text = tel_arena_copy(arena, text);
    struct tel_parser p = {.arena = arena, .query = q, .now_ns = now_ns, .err = err};
    if (options)
        p.pace = (struct tel_pace){options->stop, options->stop_ctx, 0};
    tel_lexer_init(&p.lex, q->text, arena);
    tel_code rc = parse_query(&p, q);
    if (rc == TEL_OK && !tel_parse_is(&p, ""))
        rc = tel_parse_expected(&p, "the end of the query");
    if (rc == TEL_OK && options && options->filter_only && q->pipe_count)
        rc = tel_lexer_error(err, q->text, 0, "expected a filter without pipes");
    if (rc != TEL_OK) {
        tel_query_done(q);
        return rc;
    }
    *ret = q;
    return TEL_OK;
}

void tel_query_done(struct tel_query *query)
{
    if (!query)
        return;
    for (struct tel_query_regex *r = query->regexes; r; r = r->next)
        tel_regex_free(r->regex);
    query->regexes = NULL;
}
