/*
 * The parser: LogsQL text into a tree (tree.h). By recursive descent, nested at most
 * TEL_QUERY_DEPTH_MAX deep. A mistake is a TEL_ERR_PARSE whose text names line and column, what was
 * expected, and shows the place:
 *
 *     line 1, column 24: expected ')' behind the fields, found "|"
 *       error | stats by (host | count()
 *                              ^
 */
#ifndef TEL_LOGSQL_PARSER_H
#define TEL_LOGSQL_PARSER_H

#include "common/base/error.h"
#include "common/logsql/tree.h"

#define TEL_QUERY_BYTES_MAX (1u << 20)
#define TEL_QUERY_DEPTH_MAX 100u

struct tel_parse_options {
    bool filter_only; /* a filter without pipes */
    /* Asked between expressions, each of which takes its time to compile; NULL: never. */
    tel_code (*stop)(void *ctx);
    void *stop_ctx;
};

/* options may be NULL. *ret lives in arena (the text is copied there); tel_query_done when done
 * with it, before the arena goes. */
TEL_MUST_USE tel_code tel_query_parse(struct tel_span text, int64_t now_ns,
                                      const struct tel_parse_options *options,
                                      struct tel_arena *arena, struct tel_query **ret,
                                      struct tel_error *err);

#endif
