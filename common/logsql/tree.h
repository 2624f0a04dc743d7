/*
 * The tree of a query: options, one filter, a row of pipes. Made by the parser (parser.h), printed
 * back by print.h, evaluated by filter.h and pipe.h.
 *
 *     options(concurrency=2) error app:nginx | stats by (host) count() n | sort by (n desc)
 *     `------ options -----' `--- filter --'   `------ pipe[0] --------'   `--- pipe[1] --'
 *
 * The tree lives in the arena that it was parsed into and is immutable afterwards (but for
 * tel_query_resolve), so any number of threads may evaluate it at once. tel_query_done releases
 * what the arena cannot: compiled regular expressions.
 */
#ifndef TEL_LOGSQL_TREE_H
#define TEL_LOGSQL_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/logsql/words.h"

struct tel_regex;
struct tel_query;
struct tel_pipe;

enum tel_filter_op {
    /* branches */
    TEL_FILTER_AND,
    TEL_FILTER_OR,
    TEL_FILTER_NOT,
    /* leaves */
    TEL_FILTER_ALL,          /* * */
    TEL_FILTER_PHRASE,       /* word, "a phrase"; "" is an absent field */
    TEL_FILTER_PREFIX,       /* word*, "a phrase"*; field:* is any value */
    TEL_FILTER_ICASE_PHRASE, /* i(word) */
    TEL_FILTER_ICASE_PREFIX, /* i(word*) */
    TEL_FILTER_FUZZY,        /* word~1, word~2: our own */
    TEL_FILTER_EXACT,        /* ="text" */
    TEL_FILTER_EXACT_PREFIX, /* ="text"* */
    TEL_FILTER_IN,           /* in(a, b), in(<subquery>) */
    TEL_FILTER_CONTAINS_ALL,
    TEL_FILTER_CONTAINS_ANY,
    TEL_FILTER_SEQUENCE, /* seq("a", "b") */
    TEL_FILTER_REGEXP,   /* ~"re" */
    TEL_FILTER_RANGE,    /* range(a, b), >x, <=x */
    TEL_FILTER_IPV4_RANGE,
    TEL_FILTER_STRING_RANGE,
    TEL_FILTER_LEN_RANGE,
    TEL_FILTER_VALUE_TYPE,
    TEL_FILTER_EQ_FIELD,
    TEL_FILTER_LE_FIELD,
    TEL_FILTER_LT_FIELD,
    TEL_FILTER_TIME,
    TEL_FILTER_DAY_RANGE,
    TEL_FILTER_WEEK_RANGE,
    TEL_FILTER_STREAM, /* {app="nginx"} */
};

/* A matcher of a stream selector: label op value. */
struct tel_label_match {
    struct tel_span label;
    struct tel_span value;   /* of = and !=; the expression of =~ and !~ */
    struct tel_span *values; /* of in and not_in */
    size_t value_count;
    struct tel_regex *regex; /* anchored; NULL for the others */
    bool negative, is_list;
};

/* The selectors of {a="b" or c="d"}: any group, all matchers of it. */
struct tel_stream_group {
    struct tel_label_match *matches;
    size_t count;
};

struct tel_filter {
    enum tel_filter_op op;
    uint32_t pos; /* offset in the query's text */

    /* AND, OR: two and more; NOT: one */
    struct tel_filter **kids;
    size_t kid_count;

    /* leaves; `field` is what the filter looks at, "_msg" where none was named */
    struct tel_span field;
    struct tel_span text; /* the word, phrase, prefix, value, expression; other field of eq_field */
    struct tel_phrase phrase; /* of `text`, in lower case for ICASE */
    struct tel_span repr;     /* ranges, times, types: the argument as it is printed */
    struct tel_regex *regex;

    /* IN, CONTAINS_*, SEQUENCE */
    struct tel_span *values;
    struct tel_phrase *phrases; /* of CONTAINS_*, SEQUENCE */
    size_t value_count;
    const uint32_t
        *value_index; /* IN: open addressing over values, 1-based; cap is a power of two */
    size_t value_index_cap;
    struct tel_query *subquery; /* not resolved yet: matches nothing */
    struct tel_span subquery_field;

    union {
        struct {
            double min, max; /* inclusive */
        } range;
        struct {
            uint32_t min, max;
        } ipv4;
        struct {
            struct tel_span min, max; /* min <= value < max; max.ptr NULL: no end */
        } string;
        struct {
            uint64_t min, max; /* characters */
        } len;
        struct {
            int64_t min, max; /* TIME: ns, inclusive; DAY: ns of the day; WEEK: 0 is Sunday */
            int64_t offset;
        } time;
        struct {
            struct tel_stream_group *groups;
            size_t count;
        } stream;
        unsigned edits; /* FUZZY */
    } u;
};

/* What options(...) said. */
struct tel_query_options {
    uint64_t concurrency; /* 0: not given */
    bool has_ignore_global_time_filter, ignore_global_time_filter;
    bool has_allow_partial_response, allow_partial_response;
    int64_t time_offset_ns;
    struct tel_span time_offset_text;
    struct tel_span score_stats; /* of score.h; empty: not given */
    bool given; /* options(...) stood before this query (and not only before an outer one) */
};

struct tel_query {
    struct tel_span text;
    struct tel_query_options options;
    struct tel_filter *filter;
    struct tel_pipe **pipes;
    size_t pipe_count;
    int64_t now_ns; /* what relative times refer to */

    struct tel_score *score; /* if the pipes name _score (score.h) */
    struct tel_arena *arena;
    struct tel_query_regex *regexes; /* those of subqueries, too */
};

/* Releases what the tree holds outside its arena. NULL is fine. */
void tel_query_done(struct tel_query *query);

#endif
