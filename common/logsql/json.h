/*
 * JSON inside log values (RFC 8259): objects flattened into fields, arrays into elements. Values
 * come out as LogsQL has them: strings without quotes and escapes, numbers and booleans as they
 * stand, arrays as compact JSON text, nested objects as dotted names, nulls left out. Nesting is
 * limited; bytes that are no UTF-8 pass through in strings.
 */
#ifndef TEL_LOGSQL_JSON_H
#define TEL_LOGSQL_JSON_H

#include <stdbool.h>

#include "common/base/arena.h"

struct tel_json_field {
    struct tel_span name, value;
};

struct tel_json_fields {
    struct tel_json_field *items;
    size_t len, cap;
};

/* text is one object; appends to out, in arena. False, with nothing appended, if it is none. Spans
 * point into text where they can. */
bool tel_json_object(struct tel_span text, struct tel_arena *arena, struct tel_json_fields *out);
/* text is one array; its elements as values (objects and arrays as compact text) in out->value. */
bool tel_json_array(struct tel_span text, struct tel_arena *arena, struct tel_json_fields *out);

/* s as a JSON string inside a value: as tel_buf_add_json, with ' and < as \u0027 and \u003c and
 * control characters as \u00xx, as LogsQL's reference has them. */
struct tel_buf;
void tel_json_embed(struct tel_buf *out, struct tel_span s);

void tel_json_add(struct tel_json_fields *out, struct tel_arena *arena, struct tel_span name,
                  struct tel_span value);

#endif
