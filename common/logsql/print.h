/*
 * A tree as text again: canonical LogsQL that parses to an equal tree (and prints as itself).
 * Relative times stay relative: they need the same `now` when parsed again.
 */
#ifndef TEL_LOGSQL_PRINT_H
#define TEL_LOGSQL_PRINT_H

#include "common/base/buf.h"
#include "common/logsql/tree.h"

void tel_query_print(struct tel_buf *out, const struct tel_query *query);
void tel_filter_print(struct tel_buf *out, const struct tel_filter *filter);

/* A word, a field's name or a value, quoted where it must be. */
void tel_print_token(struct tel_buf *out, struct tel_span s);
/* The same for names that may end with '*'. */
void tel_print_field(struct tel_buf *out, struct tel_span s);
void tel_print_fields(struct tel_buf *out, const struct tel_span *names, size_t count);
/* Is it a word of the language, so that it must be quoted to mean itself? */
bool tel_print_is_reserved(struct tel_span word);

#endif
