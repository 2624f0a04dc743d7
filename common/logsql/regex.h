/*
 * Regular expressions: PCRE2, wrapped here and nowhere else. Patterns are RE2's syntax as LogsQL
 * has it (PCRE2 takes that and more); text is UTF-8, and bytes that are none match nothing but
 * themselves' absence. A compiled expression is immutable: any thread may match with it; scratch
 * memory is per thread. Backtracking is limited: beyond the limit a match is TEL_ERR_LIMIT, never
 * a hang.
 */
#ifndef TEL_LOGSQL_REGEX_H
#define TEL_LOGSQL_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/base/span.h"

#define TEL_REGEX_GROUPS_MAX 64

struct tel_regex;

/* anchored: must match the whole text, as stream selectors do. *ret_offset (may be NULL): where in
 * the pattern a mistake was found. */
TEL_MUST_USE tel_code tel_regex_new(struct tel_span pattern, bool anchored, struct tel_regex **ret,
                                    size_t *ret_offset, struct tel_error *err);
void tel_regex_free(struct tel_regex *re);

TEL_MUST_USE tel_code tel_regex_match(const struct tel_regex *re, struct tel_span text, bool *ret,
                                      struct tel_error *err);

/* The first match at or behind `from`: ret_spans[0] is the match, [1..] its groups (ptr NULL where
 * a group took no part), of which there are *ret_count, 0 when nothing matches. */
TEL_MUST_USE tel_code tel_regex_exec(const struct tel_regex *re, struct tel_span text, size_t from,
                                     struct tel_span ret_spans[TEL_REGEX_GROUPS_MAX],
                                     size_t *ret_count, struct tel_error *err);

/* Groups, without the whole match; names are empty where a group has none. */
size_t tel_regex_group_count(const struct tel_regex *re);
struct tel_span tel_regex_group_name(const struct tel_regex *re, size_t group);

/* Bytes that every matching text holds (possibly none), for skipping and for segment filters. */
struct tel_span tel_regex_literal(const struct tel_regex *re);
/* How many bytes a match has at most in front of and behind some occurrence of the literal. False if no
 * bound is known, or if what stands around a match matters to it (anchors, word boundaries). */
bool tel_regex_reach(const struct tel_regex *re, size_t *ret_before, size_t *ret_after);
/* Is the expression nothing but that literal? Then it is a substring search. */
bool tel_regex_is_literal(const struct tel_regex *re);

#endif
