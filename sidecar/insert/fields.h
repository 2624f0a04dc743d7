/* A growing list of fields in an arena's memory, as the formats with typed values make them. */
#ifndef SIDECAR_INSERT_FIELDS_H
#define SIDECAR_INSERT_FIELDS_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/vec.h"
#include "common/record/batch.h"

typedef TEL_VEC(struct tel_field) field_list;

static inline void field_add(field_list *list, struct tel_span name, struct tel_span value)
{
    struct tel_field f = {name, value};
    if (list->len < TEL_ATTRIBUTES_MAX && name.len > 0 && value.len > 0)
        tel_vec_push(list, f);
}

/* "prefix.name" */
static inline struct tel_span field_join(struct tel_arena *arena, struct tel_span prefix,
                                         struct tel_span name)
{
    return prefix.len == 0 ? name
                           : tel_arena_printf(arena, "%.*s.%.*s", TEL_SPAN_ARG(prefix), TEL_SPAN_ARG(name));
}

/* Lower-case hexadecimal. */
static inline struct tel_span field_hex(struct tel_arena *arena, struct tel_span bytes)
{
    static const char digits[] = "0123456789abcdef";
    char *out = tel_arena_alloc_aligned(arena, 2 * bytes.len + 1, 1);
    for (size_t i = 0; i < bytes.len; i++) {
        out[2 * i] = digits[(unsigned char)bytes.ptr[i] >> 4];
        out[2 * i + 1] = digits[(unsigned char)bytes.ptr[i] & 15];
    }
    return tel_span_make(out, 2 * bytes.len);
}

#define FIELD_DOUBLE_MAX 40

/* The shortest text that reads back as the same number; returns its length. */
static inline size_t field_double(char out[FIELD_DOUBLE_MAX], double d)
{
    int n = 0;
    for (int digits = 15; digits <= 17; digits++) {
        n = snprintf(out, FIELD_DOUBLE_MAX, "%.*g", digits, d);
        if (strtod(out, NULL) == d)
            break;
    }
    return (size_t)n;
}

/* The text of a JSON string, or of any other value as JSON, in the arena. */
static inline struct tel_span field_json_text(struct tel_arena *arena, const json_t *v)
{
    if (json_is_string(v))
        return tel_arena_copy(arena, tel_span_make(json_string_value(v), json_string_length(v)));
    if (json_is_real(v)) {
        char text[FIELD_DOUBLE_MAX];
        return tel_arena_copy(arena, tel_span_make(text, field_double(text, json_real_value(v))));
    }
    char *text = v && !json_is_null(v) ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    struct tel_span s = tel_arena_copy(arena, tel_span_cstr(text));
    free(text);
    return s;
}

#endif
