/* Names are compared pair by pair while they are few, as they nearly always are; beyond that through
 * a hash table, so that 4096 attributes cost in proportion. */
#include "common/record/check.h"

#include <stdlib.h>

#include "common/base/hash.h"
#include "common/base/utf8.h"

enum { FEW_NAMES = 12, NAME_SLOTS = 8192 };

_Static_assert(NAME_SLOTS >= 2 * TEL_ATTRIBUTES_MAX, "the table of names must stay half empty");

static bool is_ascii(struct tel_span s)
{
    unsigned char bits = 0;
    for (size_t i = 0; i < s.len; i++)
        bits |= (unsigned char)s.ptr[i];
    return bits < 0x80;
}

static bool is_text(struct tel_span s)
{
    return is_ascii(s) || tel_utf8_valid(s);
}

static struct tel_record_verdict check_name(struct tel_span name)
{
    if (name.len == 0)
        return tel_record_bad(TEL_ERR_INVALID, "a name is empty");
    if (name.len > TEL_NAME_BYTES_MAX)
        return tel_record_bad(TEL_ERR_LIMIT, "a name is too long");
    if (!is_text(name) || memchr(name.ptr, 0, name.len))
        return tel_record_bad(TEL_ERR_INVALID, "a name is not UTF-8 or holds a NUL byte");
    return TEL_RECORD_FINE;
}

static bool few_unique(const struct tel_field *fields, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (tel_span_eq(fields[i].name, fields[j].name))
                return false;
    return true;
}

static bool many_unique(const struct tel_field *fields, uint32_t count,
                        struct tel_record_names *names)
{
    if (!names->slots)
        names->slots = tel_arena_alloc(names->arena, NAME_SLOTS * sizeof *names->slots);
    size_t mask = 1;
    while (mask < 2 * (size_t)count)
        mask <<= 1;
    memset(names->slots, 0, mask * sizeof *names->slots);
    mask--;
    for (uint32_t i = 0; i < count; i++) {
        /* The seed is the table's address: names chosen to collide elsewhere do not collide here. */
        size_t at = tel_hash64(fields[i].name, (uint64_t)(uintptr_t)names->slots);
        for (at &= mask; names->slots[at]; at = (at + 1) & mask)
            if (tel_span_eq(fields[names->slots[at] - 1].name, fields[i].name))
                return false;
        names->slots[at] = i + 1;
    }
    return true;
}

/* An identifier of trace or span: hexadecimal, lower case, or nothing. */
static bool is_hex_id(struct tel_span s)
{
    if (s.len > 64)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return true;
}

static bool is_tenant(struct tel_span s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    c == '.' || c == '_' || c == ':' || c == '-';
        if (!fine)
            return false;
    }
    return s.len > 0;
}

static int by_name(const void *a, const void *b)
{
    return tel_span_cmp(((const struct tel_field *)a)->name, ((const struct tel_field *)b)->name);
}

struct tel_record_verdict tel_record_check_head(struct tel_span tenant, struct tel_span source,
                                                struct tel_field *labels, uint32_t count)
{
    if (tenant.len > TEL_TENANT_BYTES_MAX)
        return tel_record_bad(TEL_ERR_LIMIT, "the tenant is too long");
    if (!is_tenant(tenant))
        return tel_record_bad(TEL_ERR_INVALID, "the tenant is not made of letters, digits and -_.:");
    if (source.len > TEL_SOURCE_BYTES_MAX)
        return tel_record_bad(TEL_ERR_LIMIT, "the source is too long");
    if (source.len == 0 || !is_text(source))
        return tel_record_bad(TEL_ERR_INVALID, "the source is empty or not UTF-8");
    if (count > TEL_RESOURCE_LABELS_MAX)
        return tel_record_bad(TEL_ERR_LIMIT, "too many labels");
    bool sorted = true;
    for (uint32_t i = 0; i < count; i++) {
        struct tel_record_verdict v = check_name(labels[i].name);
        if (v.code != TEL_OK)
            return v;
        if (!is_text(labels[i].value))
            return tel_record_bad(TEL_ERR_INVALID, "a label's value is not UTF-8");
        sorted = sorted && (i == 0 || tel_span_cmp(labels[i - 1].name, labels[i].name) < 0);
    }
    if (!sorted)
        qsort(labels, count, sizeof *labels, by_name);
    for (uint32_t i = 1; i < count && !sorted; i++)
        if (tel_span_eq(labels[i - 1].name, labels[i].name))
            return tel_record_bad(TEL_ERR_INVALID, "a label is there twice");
    return TEL_RECORD_FINE;
}

struct tel_record_verdict tel_record_check_event(const struct tel_event *event,
                                                 const uint64_t *previous,
                                                 struct tel_record_names *names)
{
    if (event->position > INT64_MAX)
        return tel_record_bad(TEL_ERR_INVALID, "a position is negative");
    if (previous && event->position <= *previous)
        return tel_record_bad(TEL_ERR_INVALID, "a position does not grow");
    if (event->severity > TEL_SEVERITY_MAX)
        return tel_record_bad(TEL_ERR_INVALID, "a severity is out of range");
    if (event->body.len > TEL_BODY_BYTES_MAX)
        return tel_record_bad(TEL_ERR_LIMIT, "a body is too long");
    if (!is_hex_id(event->trace_id) || !is_hex_id(event->span_id))
        return tel_record_bad(TEL_ERR_INVALID, "a trace or span id is not lower-case hexadecimal");
    uint32_t count = event->attribute_count;
    if (count > TEL_ATTRIBUTES_MAX)
        return tel_record_bad(TEL_ERR_LIMIT, "too many attributes");
    for (uint32_t i = 0; i < count; i++) {
        struct tel_record_verdict v = check_name(event->attributes[i].name);
        if (v.code != TEL_OK)
            return v;
    }
    bool unique = count <= FEW_NAMES ? few_unique(event->attributes, count)
                                     : many_unique(event->attributes, count, names);
    return unique ? TEL_RECORD_FINE : tel_record_bad(TEL_ERR_INVALID, "an attribute is there twice");
}
