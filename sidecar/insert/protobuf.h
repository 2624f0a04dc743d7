/*
 * Reading protobuf's wire format (protobuf.dev/programming-guides/encoding) field by field, for the few
 * messages of Loki and OpenTelemetry: no copies, no objects, every length checked against what is there.
 */
#ifndef SIDECAR_INSERT_PROTOBUF_H
#define SIDECAR_INSERT_PROTOBUF_H

#include <stdint.h>

#include "common/base/span.h"
#include "common/base/varint.h"

struct pb_field {
    uint32_t number, wire; /* 0 varint, 1 fixed 64, 2 bytes, 5 fixed 32 */
    uint64_t value;        /* of 0, 1 and 5 */
    struct tel_span bytes; /* of 2 */
};

struct pb_reader {
    const char *pos, *end;
    bool broken; /* cut short, or not the wire format */
};

static inline struct pb_reader pb_open(struct tel_span message)
{
    const char *p = message.ptr ? message.ptr : ""; /* a field of another wire type has no bytes */
    return (struct pb_reader){p, p + message.len, false};
}

/* The next field; false at the end or when it is broken. */
static inline bool pb_next(struct pb_reader *r, struct pb_field *f)
{
    uint64_t key = 0, n = 0;
    if (r->pos == r->end || r->broken)
        return false;
    r->broken = true;
    if (!tel_varint_get(&r->pos, r->end, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX)
        return false;
    *f = (struct pb_field){.number = (uint32_t)(key >> 3), .wire = (uint32_t)(key & 7)};
    switch (f->wire) {
    case 0:
        if (!tel_varint_get(&r->pos, r->end, &f->value))
            return false;
        break;
    case 1:
    case 5:
        n = f->wire == 1 ? 8 : 4;
        if ((uint64_t)(r->end - r->pos) < n)
            return false;
        for (uint64_t i = n; i-- > 0;)
            f->value = f->value << 8 | (unsigned char)r->pos[i];
        r->pos += n;
        break;
    case 2:
        if (!tel_varint_get(&r->pos, r->end, &n) || n > (uint64_t)(r->end - r->pos))
            return false;
        f->bytes = tel_span_make(r->pos, (size_t)n);
        r->pos += n;
        break;
    default: return false;
    }
    r->broken = false;
    return true;
}

#endif
