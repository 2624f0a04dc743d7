/* See excerpt.h. */
#include "shard/segment/excerpt.h"

#include "common/logsql/pattern.h"
#include "shard/segment/marks.h"
#include "shard/segment/reach.h"

/* Where a text of the pattern stands first in every row, from `from` on: *ret_at, SIZE_MAX if it stands
 * nowhere. *ret_known false: that depends on the row. */
static tel_code find_text(struct view *v, uint32_t number, struct tel_span text, size_t from,
                          bool *ret_known, size_t *ret_at, struct tel_error *err)
{
    struct tel_span skeleton = v->reader->templates[number].skeleton;
    bool reaches = false;
    *ret_known = text.len == 0;
    *ret_at = from;
    if (text.len == 0 || memchr(text.ptr, 0, text.len))
        return TEL_OK;
    tel_code rc = reach_any(v, number, text, &reaches, err);
    *ret_known = !reaches;
    size_t at = tel_span_find(tel_span_slice(skeleton, from, skeleton.len), text);
    *ret_at = at == SIZE_MAX ? SIZE_MAX : from + at;
    return rc;
}

/* May a value that begins here begin with a quote? It is taken in another way then. */
static bool may_be_quoted(const struct read_template *t, size_t at)
{
    uint32_t hole = 0, quotes = marks_of(TEL_SPAN("\"`"));
    for (size_t i = 0; i < at; i++)
        hole += t->skeleton.ptr[i] == 0;
    for (; at < t->skeleton.len && t->skeleton.ptr[at] == 0; at++, hole++) {
        if (t->holes[hole].marks & quotes)
            return true;
    }
    return at < t->skeleton.len && (t->skeleton.ptr[at] == '"' || t->skeleton.ptr[at] == '`');
}

tel_code excerpt_find(struct view *v, uint32_t number, const struct tel_pattern *pattern,
                      struct plan_window *ret, struct tel_error *err)
{
    const struct read_template *t = &v->reader->templates[number];
    const struct plan_window whole = {0, (uint32_t)t->skeleton.len, 0};
    size_t from = 0, at = 0;
    *ret = whole;
    if (t->rest)
        return TEL_OK;
    for (size_t i = 0; i < pattern->count; i++) {
        const struct tel_pattern_step *step = &pattern->steps[i];
        size_t found;
        bool known, plain = tel_span_eq_cstr(step->option, "plain");
        tel_code rc = find_text(v, number, step->prefix, at, &known, &found, err);
        if (rc != TEL_OK || !known)
            return rc;
        if (found == SIZE_MAX) /* what was found of the pattern, and no more */
            break;
        from = i ? from : found;
        at = found + step->prefix.len;
        if (step->has_field && !plain && may_be_quoted(t, at))
            return TEL_OK;
        if (step->has_field && i + 1 == pattern->count)
            at = t->skeleton.len;
    }
    *ret = (struct plan_window){(uint32_t)from, (uint32_t)at, 0};
    for (size_t i = 0; i < from; i++)
        ret->first_hole += t->skeleton.ptr[i] == 0;
    return TEL_OK;
}
