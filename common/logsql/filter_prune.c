/* What a filter says without looking at rows: times, fields, words that must be there. */
#include "common/logsql/filter.h"
#include "common/logsql/regex.h"

bool tel_filter_time_range(const struct tel_filter *f, int64_t *ret_min, int64_t *ret_max)
{
    int64_t min = INT64_MIN, max = INT64_MAX, a, b;
    bool some;
    switch ((int)f->op) {
    case TEL_FILTER_TIME:
        min = f->u.time.min;
        max = f->u.time.max;
        break;
    case TEL_FILTER_AND:
        for (size_t i = 0; i < f->kid_count; i++) {
            if (!tel_filter_time_range(f->kids[i], &a, &b))
                return false;
            min = TEL_MAX(min, a);
            max = TEL_MIN(max, b);
        }
        break;
    case TEL_FILTER_OR:
        min = INT64_MAX;
        max = INT64_MIN;
        some = false;
        for (size_t i = 0; i < f->kid_count; i++) {
            if (!tel_filter_time_range(f->kids[i], &a, &b))
                continue;
            some = true;
            min = TEL_MIN(min, a);
            max = TEL_MAX(max, b);
        }
        if (!some)
            return false;
        break;
    default:
        break;
    }
    if (min > max)
        return false;
    *ret_min = min;
    *ret_max = max;
    return true;
}

void tel_filter_fields(const struct tel_filter *f, struct tel_fields *fields)
{
    for (size_t i = 0; i < f->kid_count; i++)
        tel_filter_fields(f->kids[i], fields);
    if (f->kid_count || f->op == TEL_FILTER_ALL)
        return;
    tel_fields_add(fields, f->field);
    if (f->op == TEL_FILTER_EQ_FIELD || f->op == TEL_FILTER_LE_FIELD ||
        f->op == TEL_FILTER_LT_FIELD)
        tel_fields_add(fields, f->text);
}

/* Adds the words of `text`; open ends may be parts of longer words and do not count. */
static size_t add_words(struct tel_span text, bool open_start, bool open_end, struct tel_span *out)
{
    size_t n = 0, pos = 0;
    struct tel_span word;
    while (tel_words_next(text, &pos, &word)) {
        if (open_start && word.ptr == text.ptr)
            continue;
        if (open_end && word.ptr + word.len == text.ptr + text.len)
            continue;
        out[n++] = word;
    }
    return n;
}

void tel_filter_words(const struct tel_filter *leaf, struct tel_arena *arena, struct tel_span **ret,
                      size_t *ret_count)
{
    size_t cap = leaf->text.len + 1;
    for (size_t i = 0; leaf->op == TEL_FILTER_SEQUENCE || leaf->op == TEL_FILTER_CONTAINS_ALL;
         i++) {
        if (i >= leaf->value_count)
            break;
        cap += leaf->values[i].len;
    }
    struct tel_span *out = TEL_ARENA_ARRAY(arena, struct tel_span, cap);
    size_t n = 0;
    switch ((int)leaf->op) {
    case TEL_FILTER_PHRASE:
    case TEL_FILTER_EXACT:
        n = add_words(leaf->text, false, false, out);
        break;
    case TEL_FILTER_PREFIX:
    case TEL_FILTER_EXACT_PREFIX:
        n = add_words(leaf->text, false, true, out);
        break;
    case TEL_FILTER_REGEXP:
        n = add_words(tel_regex_literal(leaf->regex), true, true, out);
        break;
    case TEL_FILTER_SEQUENCE:
    case TEL_FILTER_CONTAINS_ALL:
        for (size_t i = 0; i < leaf->value_count && !leaf->subquery; i++)
            n += add_words(leaf->values[i], false, false, out + n);
        break;
    default:
        break;
    }
    *ret = out;
    *ret_count = n;
}

struct tel_span tel_filter_literal(const struct tel_filter *leaf)
{
    switch ((int)leaf->op) {
    case TEL_FILTER_PHRASE:
    case TEL_FILTER_EXACT:
    case TEL_FILTER_PREFIX:
    case TEL_FILTER_EXACT_PREFIX:
        return leaf->text;
    case TEL_FILTER_REGEXP:
        return tel_regex_literal(leaf->regex);
    default:
        return (struct tel_span){"", 0};
    }
}

bool tel_filter_matches_empty(const struct tel_filter *leaf)
{
    bool matches = true; /* when in doubt */
    if (tel_filter_is_value_leaf(leaf) &&
        tel_filter_match_value(leaf, (struct tel_span){"", 0}, &matches, NULL) != TEL_OK)
        return true;
    return matches;
}
