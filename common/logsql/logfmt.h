/* logfmt (brandur.org/logfmt): a=b c="d e" flag. */
#ifndef TEL_LOGSQL_LOGFMT_H
#define TEL_LOGSQL_LOGFMT_H

#include "common/logsql/json.h"

/* The fields of a line; values that are quoted are unquoted into arena. A word without '=' is a
 * field with an empty value. Takes any text. */
void tel_logfmt_parse(struct tel_span text, struct tel_arena *arena, struct tel_json_fields *out);

#endif
