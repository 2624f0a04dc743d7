/*
 * Inside the parser: what the parsers of filters, pipes and stats functions share. Each function
 * looks at the current token, moves behind what it takes, and returns TEL_ERR_PARSE with the text
 * already in place when it cannot.
 */
#ifndef TEL_LOGSQL_PARSE_H
#define TEL_LOGSQL_PARSE_H

#include "common/base/pace.h"
#include "common/logsql/lexer.h"
#include "common/logsql/parser.h"

struct tel_parser {
    struct tel_lexer lex;
    struct tel_arena *arena;
    struct tel_query *query; /* the outermost: owns regular expressions */
    int64_t now_ns;
    unsigned depth;
    const struct tel_query_options *options; /* of the query around */
    struct tel_pace pace;
    struct tel_error *err;
};

#define TEL_TRY(expr)                                                                              \
    do {                                                                                           \
        tel_code try_code_ = (expr);                                                               \
        if (try_code_ != TEL_OK)                                                                   \
            return try_code_;                                                                      \
    } while (0)

/* "expected <what>, found <token>" at the current token. */
tel_code tel_parse_expected(struct tel_parser *p, const char *what);
tel_code tel_parse_fail(struct tel_parser *p, size_t offset, const char *fmt, ...) TEL_PRINTF(3, 4);

static inline bool tel_parse_is(const struct tel_parser *p, const char *keyword)
{
    return tel_lexer_is(&p->lex, keyword);
}
/* Moves behind the keyword if it stands here. */
bool tel_parse_accept(struct tel_parser *p, const char *keyword);
/* what: "')' behind the fields" */
tel_code tel_parse_expect(struct tel_parser *p, const char *keyword, const char *what);
/* Does the current part of the query end here: '|', ')', or the end? */
bool tel_parse_at_end(const struct tel_parser *p);

/* A token as people type it: adjacent words and punctuation (10.0.0.1, a/b-c, 2023-01-01T00:00Z) up
 * to space or one of , ( ) [ ] |, or one quoted string. */
tel_code tel_parse_compound(struct tel_parser *p, const char *what, struct tel_span *ret);
/* The same, ending before '*' too, and before ':' unless colon. */
tel_code tel_parse_phrase(struct tel_parser *p, const char *what, bool colon, struct tel_span *ret);

/* What ends an argument of a function, and the value behind '='. */
#define TEL_PARSE_ARG_STOPS "*,()|"
/* The same, ending before any of the characters of `stops`; with '=' among them before "!=" too. */
tel_code tel_parse_until(struct tel_parser *p, const char *what, const char *stops,
                         struct tel_span *ret);

/* The name of one field; "" becomes _msg. A name may not end with '*', a pattern may. */
tel_code tel_parse_field(struct tel_parser *p, struct tel_span *ret);
tel_code tel_parse_field_pattern(struct tel_parser *p, struct tel_span *ret);
/* a, b, c* without parentheses. */
tel_code tel_parse_field_list(struct tel_parser *p, struct tel_span **ret, size_t *ret_count);
/* (a, b, c*); may be empty. */
tel_code tel_parse_fields_in_parens(struct tel_parser *p, struct tel_span **ret, size_t *ret_count);
/* ("a", b, ...) of any strings, after the function's name. */
tel_code tel_parse_args(struct tel_parser *p, struct tel_span **ret, size_t *ret_count);
/* Does a number stand here? */
bool tel_parse_is_number(const struct tel_parser *p);
tel_code tel_parse_uint(struct tel_parser *p, const char *what, uint64_t *ret);
tel_code tel_parse_duration(struct tel_parser *p, struct tel_span *ret_text, int64_t *ret_ns);

tel_code tel_parse_filter(struct tel_parser *p, struct tel_filter **ret);
/* `if (<filter>)` if it stands here; *ret NULL otherwise. */
tel_code tel_parse_if(struct tel_parser *p, struct tel_filter **ret);
tel_code tel_parse_pipe(struct tel_parser *p, struct tel_pipe **ret);
tel_code tel_parse_subquery(struct tel_parser *p, struct tel_query **ret); /* ( query ) */

tel_code tel_parse_regex(struct tel_parser *p, struct tel_span pattern, bool anchored,
                         size_t offset, struct tel_regex **ret);
/* Depth of recursion: enter fails beyond the limit. */
tel_code tel_parse_enter(struct tel_parser *p);
static inline void tel_parse_leave(struct tel_parser *p)
{
    p->depth--;
}

/* _time:... behind the colon (parse_time.c). */
tel_code tel_parse_time_filter(struct tel_parser *p, size_t pos, struct tel_filter **ret);
/* A point in time as filters and the HTTP arguments start and end take it: partial dates, Unix
 * seconds to nanoseconds, now, now-5m, -5m. end: the last nanosecond of what is named. */
bool tel_parse_time(struct tel_span s, int64_t now_ns, bool end, int64_t *ret_ns);
/* {a="b",...} (parse_filter_stream.c). */
tel_code tel_parse_stream_filter(struct tel_parser *p, size_t pos, struct tel_filter **ret);

struct tel_filter *tel_parse_leaf(struct tel_parser *p, enum tel_filter_op op, size_t pos,
                                  struct tel_span field);

#endif
