/*
 * Patterns of `extract` and `format`: text with <fields> in between, "ip=<ip> port=<plain:port>".
 * Text is HTML-escaped where it must (&lt;). <_> and <*> have no name.
 */
#ifndef TEL_LOGSQL_PATTERN_H
#define TEL_LOGSQL_PATTERN_H

#include "common/base/arena.h"

struct tel_pattern_step {
    struct tel_span prefix; /* the text before the field */
    struct tel_span field;  /* empty: none, or without a name */
    struct tel_span option; /* what stands before ':' in <option:field> */
    bool has_field;         /* false only for text at the end */
};

struct tel_pattern {
    struct tel_pattern_step *steps;
    size_t count;
};

/* False when a '<' has no '>'. */
bool tel_pattern_parse(struct tel_span text, struct tel_arena *arena, struct tel_pattern *ret);

/* Finds the pattern in s: ret_values[i] is what step i's field holds, empty from where s does not
 * match any more. Quoted strings are taken whole and unquoted, into arena, unless option is plain.
 */
void tel_pattern_match(const struct tel_pattern *pattern, struct tel_span s,
                       struct tel_arena *arena, struct tel_span *ret_values);

#endif
