/* See strset.h. */
#include "common/logsql/strset.h"

#include <stdlib.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/varint.h"

void tel_strlist_add(struct tel_buf *list, struct tel_span s)
{
    char len[TEL_VARINT_MAX];
    tel_buf_add(list, len, tel_varint_put(len, s.len));
    tel_buf_add_span(list, s);
}

bool tel_strlist_next(struct tel_span list, size_t *pos, struct tel_span *ret)
{
    if (*pos >= list.len)
        return false;
    const char *p = list.ptr + *pos, *end = list.ptr + list.len;
    uint64_t len;
    if (!tel_varint_get(&p, end, &len) || len > (uint64_t)(end - p))
        return false;
    *ret = tel_span_make(p, (size_t)len);
    *pos = (size_t)(p - list.ptr) + (size_t)len;
    return true;
}

bool tel_strlist_valid(struct tel_span list, size_t *ret_count)
{
    size_t pos = 0, n = 0;
    struct tel_span s;
    while (tel_strlist_next(list, &pos, &s))
        n++;
    *ret_count = n;
    return pos == list.len;
}

void tel_strset_free(struct tel_strset *set)
{
    tel_buf_free(&set->bytes);
    free(set->slots);
    set->slots = NULL;
    set->cap = set->len = 0;
}

static void grow(struct tel_strset *set)
{
    size_t cap = set->cap ? set->cap * 2 : 8, pos = 0, at = 0;
    uint32_t *slots = tel_calloc(cap, sizeof *slots);
    struct tel_span s;
    while (at = pos, tel_strset_next(set, &pos, &s)) {
        size_t i = (size_t)tel_hash64(s, 1) & (cap - 1);
        while (slots[i])
            i = (i + 1) & (cap - 1);
        slots[i] = (uint32_t)at + 1;
    }
    free(set->slots);
    set->slots = slots;
    set->cap = cap;
}

bool tel_strset_add(struct tel_strset *set, struct tel_span s)
{
    if ((set->len + 1) * 4 > set->cap * 3)
        grow(set);
    size_t i = (size_t)tel_hash64(s, 1) & (set->cap - 1);
    for (; set->slots[i]; i = (i + 1) & (set->cap - 1)) {
        size_t pos = set->slots[i] - 1;
        struct tel_span have;
        if (tel_strset_next(set, &pos, &have) && tel_span_eq(have, s))
            return false;
    }
    if (set->bytes.len + s.len > UINT32_MAX - 16)
        return false;
    set->slots[i] = (uint32_t)set->bytes.len + 1;
    tel_strlist_add(&set->bytes, s);
    set->len++;
    return true;
}

bool tel_strset_next(const struct tel_strset *set, size_t *pos, struct tel_span *ret)
{
    return tel_strlist_next(tel_buf_span(&set->bytes), pos, ret);
}

size_t tel_strset_held(const struct tel_strset *set)
{
    return set->bytes.cap + set->cap * sizeof *set->slots;
}
