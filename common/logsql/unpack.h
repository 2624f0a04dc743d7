/*
 * What extract, extract_regexp and the unpack_* pipes share: from one field's value come several
 * named values, which become columns. Options say which rows, which names, and what happens to
 * values that are there already.
 */
#ifndef TEL_LOGSQL_UNPACK_H
#define TEL_LOGSQL_UNPACK_H

#include "common/logsql/pipe_util.h"

struct tel_parser;

struct tel_unpack {
    struct tel_filter *condition;
    struct tel_span from;
    struct tel_span *names; /* fields (...): only these; wildcards */
    size_t name_count;
    bool has_names;
    struct tel_span prefix; /* of the results' names */
    bool keep_original, skip_empty;
};

struct tel_unpacker;
/* Makes the values of one row; calls tel_unpack_add. */
typedef tel_code (*tel_unpack_fn)(void *ctx, struct tel_span value, struct tel_unpacker *u,
                                  struct tel_error *err);

/* value must live as long as the stage's scratch memory (tel_unpack_arena). */
void tel_unpack_add(struct tel_unpacker *u, struct tel_span name, struct tel_span value);
struct tel_arena *tel_unpack_arena(struct tel_unpacker *u);

TEL_MUST_USE tel_code tel_unpack_run(struct tel_stage *stage, const struct tel_unpack *options,
                                     const struct tel_block *block, tel_unpack_fn fn, void *ctx,
                                     struct tel_error *err);

/* `if (...)`; then by the pipe; then any of `from f`, `fields (...)`, `result_prefix "p"`,
 * `keep_original_fields`, `skip_empty_results`. */
TEL_MUST_USE tel_code tel_unpack_parse_rest(struct tel_parser *p, struct tel_unpack *u, bool names,
                                            bool prefix);
void tel_unpack_print_rest(struct tel_buf *out, const struct tel_unpack *u);
/* results: the names that come out, if they are known. */
void tel_unpack_needed(struct tel_fields *fields, const struct tel_unpack *u,
                       const struct tel_span *results, size_t result_count);

#endif
