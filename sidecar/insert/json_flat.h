/*
 * A JSON object as fields, as VictoriaLogs takes it: nested objects become dotted names, arrays stay
 * JSON text, numbers and booleans the text that was written, null and {} nothing. One pass, and no
 * copy but for strings with escapes and for dotted names: this is the hot path of /insert/jsonline.
 */
#ifndef SIDECAR_INSERT_JSON_FLAT_H
#define SIDECAR_INSERT_JSON_FLAT_H

#include "common/base/arena.h"
#include "common/base/vec.h"
#include "common/record/batch.h"

#define JSON_DEPTH_MAX 64

struct json_flat {
    TEL_VEC(struct tel_field) fields; /* into the text, or into the arena; a name may come twice */
    struct tel_arena *arena;
    const char *error; /* what is wrong, and at which byte, when json_flatten says false */
    size_t error_at;
};

/* text must be one object (RFC 8259) with nothing but blanks around it. */
bool json_flatten(struct json_flat *flat, struct tel_span text);

#endif
