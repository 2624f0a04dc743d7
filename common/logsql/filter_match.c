/*
 * One leaf against one value, time or stream. What is costly was done by the parser: expressions
 * are compiled, phrases know their ends, lists of values are hashed.
 */
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/timefmt.h"
#include "common/base/utf8.h"
#include "common/logsql/filter.h"
#include "common/logsql/lexer.h"
#include "common/logsql/number.h"
#include "common/logsql/regex.h"

static bool phrase_matches(const struct tel_phrase *phrase, struct tel_span value, bool prefix)
{
    if (phrase->text.len == 0)
        return prefix ? value.len > 0 : value.len == 0;
    return tel_phrase_find(phrase, value, 0, prefix) != SIZE_MAX;
}

#define LOWER_STACK 2048

static bool icase_matches(const struct tel_filter *f, struct tel_span value, bool prefix)
{
    char lower[LOWER_STACK];
    if (value.len <= LOWER_STACK && tel_words_lower_ascii(lower, value))
        return phrase_matches(&f->phrase, tel_span_make(lower, value.len), prefix);
    struct tel_buf wide = {0};
    tel_words_lower(&wide, value);
    bool found = phrase_matches(&f->phrase, tel_buf_span(&wide), prefix);
    tel_buf_free(&wide);
    return found;
}

static bool fuzzy_matches(const struct tel_filter *f, struct tel_span value)
{
    size_t pos = 0;
    struct tel_span word;
    while (tel_words_next(value, &pos, &word))
        if (tel_words_near(f->text, word, f->u.edits))
            return true;
    return false;
}

static bool in_matches(const struct tel_filter *f, struct tel_span value)
{
    if (f->value_index_cap == 0)
        return false;
    size_t at = (size_t)tel_hash64(value, 0) & (f->value_index_cap - 1);
    for (; f->value_index[at]; at = (at + 1) & (f->value_index_cap - 1))
        if (tel_span_eq(f->values[f->value_index[at] - 1], value))
            return true;
    return false;
}

/* The empty phrase is in every value, whereas alone, as a filter, it asks for the empty value. */
static bool contains_matches(const struct tel_filter *f, struct tel_span value, bool all)
{
    if (f->subquery)
        return false;
    for (size_t i = 0; i < f->value_count; i++)
        if ((f->values[i].len == 0 || phrase_matches(&f->phrases[i], value, false)) != all)
            return !all;
    return all;
}

static bool sequence_matches(const struct tel_filter *f, struct tel_span value)
{
    size_t at = 0;
    for (size_t i = 0; i < f->value_count; i++) {
        /* What is in front of the rest does not count as a neighbour. */
        struct tel_span rest = tel_span_slice(value, at, value.len);
        size_t found = tel_phrase_find(&f->phrases[i], rest, 0, false);
        if (found == SIZE_MAX)
            return false;
        at += found + f->values[i].len;
    }
    return true;
}

static bool len_matches(const struct tel_filter *f, struct tel_span value)
{
    uint64_t n = 0;
    for (size_t i = 0; i < value.len; n++) {
        uint32_t cp;
        i += (unsigned char)value.ptr[i] < 0x80
                 ? 1
                 : tel_utf8_decode(tel_span_slice(value, i, value.len), &cp);
    }
    return n >= f->u.len.min && n <= f->u.len.max;
}

static bool string_range_matches(const struct tel_filter *f, struct tel_span value)
{
    return tel_span_cmp(value, f->u.string.min) >= 0 &&
           (!f->u.string.max.ptr || tel_span_cmp(value, f->u.string.max) < 0);
}

static tel_code stream_text_matches(const struct tel_filter *f, struct tel_span value, bool *ret,
                                    struct tel_error *err)
{
    struct tel_arena arena = {0};
    struct tel_label *labels = NULL;
    size_t count = 0;
    tel_stream_labels(value, &arena, &labels, &count);
    tel_code rc = tel_filter_match_stream(f, labels, count, ret, err);
    tel_arena_free(&arena);
    return rc;
}

bool tel_filter_is_value_leaf(const struct tel_filter *leaf)
{
    switch ((int)leaf->op) {
    case TEL_FILTER_AND:
    case TEL_FILTER_OR:
    case TEL_FILTER_NOT:
    case TEL_FILTER_TIME:
    case TEL_FILTER_DAY_RANGE:
    case TEL_FILTER_WEEK_RANGE:
    case TEL_FILTER_VALUE_TYPE:
    case TEL_FILTER_EQ_FIELD:
    case TEL_FILTER_LE_FIELD:
    case TEL_FILTER_LT_FIELD:
        return false;
    default:
        return true;
    }
}

/* An expression may go back and forth over a value for milliseconds before it is given up. */
#define REGEX_WORK (TEL_PACE_WORK / 4)

uint64_t tel_filter_work(const struct tel_filter *f, size_t value_len)
{
    uint64_t once = 64 + value_len;
    switch ((int)f->op) {
    case TEL_FILTER_REGEXP:
        return tel_regex_is_literal(f->regex) ? once : REGEX_WORK;
    case TEL_FILTER_CONTAINS_ALL:
    case TEL_FILTER_CONTAINS_ANY:
    case TEL_FILTER_SEQUENCE:
        return once * (1 + f->value_count);
    case TEL_FILTER_STREAM:
    case TEL_FILTER_FUZZY:
        return once * 64;
    default:
        return once;
    }
}

tel_code tel_filter_match_value(const struct tel_filter *f, struct tel_span value, bool *ret,
                                struct tel_error *err)
{
    double number;
    uint32_t ip;
    bool ok = false;
    switch ((int)f->op) {
    case TEL_FILTER_ALL:
        ok = true;
        break;
    case TEL_FILTER_PHRASE:
        ok = phrase_matches(&f->phrase, value, false);
        break;
    case TEL_FILTER_PREFIX:
        ok = phrase_matches(&f->phrase, value, true);
        break;
    case TEL_FILTER_ICASE_PHRASE:
        ok = icase_matches(f, value, false);
        break;
    case TEL_FILTER_ICASE_PREFIX:
        ok = icase_matches(f, value, true);
        break;
    case TEL_FILTER_FUZZY:
        ok = fuzzy_matches(f, value);
        break;
    case TEL_FILTER_EXACT:
        ok = tel_span_eq(f->text, value);
        break;
    case TEL_FILTER_EXACT_PREFIX:
        ok = tel_span_starts(value, f->text);
        break;
    case TEL_FILTER_IN:
        ok = in_matches(f, value);
        break;
    case TEL_FILTER_CONTAINS_ALL:
        ok = contains_matches(f, value, true);
        break;
    case TEL_FILTER_CONTAINS_ANY:
        ok = contains_matches(f, value, false);
        break;
    case TEL_FILTER_SEQUENCE:
        ok = sequence_matches(f, value);
        break;
    case TEL_FILTER_REGEXP:
        return tel_regex_match(f->regex, value, ret, err);
    case TEL_FILTER_RANGE:
        ok = tel_number_parse_any(value, &number) && number >= f->u.range.min &&
             number <= f->u.range.max;
        break;
    case TEL_FILTER_IPV4_RANGE:
        ok = tel_number_ipv4(value, &ip) && ip >= f->u.ipv4.min && ip <= f->u.ipv4.max;
        break;
    case TEL_FILTER_STRING_RANGE:
        ok = string_range_matches(f, value);
        break;
    case TEL_FILTER_LEN_RANGE:
        ok = len_matches(f, value);
        break;
    case TEL_FILTER_STREAM:
        return stream_text_matches(f, value, ret, err);
    default:
        TEL_UNREACHABLE();
    }
    *ret = ok;
    return TEL_OK;
}

bool tel_filter_match_time(const struct tel_filter *f, int64_t t)
{
    int64_t v = t;
    if (f->op == TEL_FILTER_TIME)
        return t >= f->u.time.min && t <= f->u.time.max;
    if (__builtin_add_overflow(t, f->u.time.offset, &v))
        v = t;
    int64_t day = tel_day_of(v);
    if (f->op == TEL_FILTER_DAY_RANGE)
        v -= day * TEL_NS_PER_DAY;
    else
        v = ((day + 4) % 7 + 7) % 7; /* 1970-01-01 was a Thursday */
    return v >= f->u.time.min && v <= f->u.time.max;
}

/* ---- streams ------------------------------------------------------------------------------------
 */

static tel_code label_matches(const struct tel_label_match *m, struct tel_span value, bool *ret,
                              struct tel_error *err)
{
    bool hit = false;
    if (m->is_list) {
        for (size_t i = 0; i < m->value_count && !hit; i++)
            hit = tel_span_eq(m->values[i], value);
    } else if (m->regex) {
        tel_code rc = tel_regex_match(m->regex, value, &hit, err);
        if (rc != TEL_OK)
            return rc;
    } else {
        hit = tel_span_eq(m->value, value);
    }
    *ret = hit != m->negative;
    return TEL_OK;
}

tel_code tel_filter_match_stream(const struct tel_filter *leaf, const struct tel_label *labels,
                                 size_t count, bool *ret, struct tel_error *err)
{
    for (size_t g = 0; g < leaf->u.stream.count; g++) {
        const struct tel_stream_group *group = &leaf->u.stream.groups[g];
        bool all = true;
        for (size_t i = 0; i < group->count && all; i++) {
            struct tel_span value = {"", 0};
            for (size_t j = 0; j < count; j++)
                if (tel_span_eq(labels[j].name, group->matches[i].label))
                    value = labels[j].value;
            tel_code rc = label_matches(&group->matches[i], value, &all, err);
            if (rc != TEL_OK)
                return rc;
        }
        if (all) {
            *ret = true;
            return TEL_OK;
        }
    }
    *ret = false;
    return TEL_OK;
}

bool tel_stream_labels(struct tel_span text, struct tel_arena *arena, struct tel_label **ret,
                       size_t *ret_count)
{
    size_t cap = 1, n = 0;
    *ret = NULL;
    *ret_count = 0;
    if (text.len < 2 || text.ptr[0] != '{' || text.ptr[text.len - 1] != '}')
        return false;
    for (size_t i = 0; i < text.len; i++)
        cap += text.ptr[i] == '=';
    struct tel_label *labels = TEL_ARENA_ARRAY(arena, struct tel_label, cap);
    size_t i = 1, end = text.len - 1;
    while (i < end) {
        const char *eq = memchr(text.ptr + i, '=', end - i);
        if (!eq || n == cap)
            return false;
        labels[n].name = tel_span_slice(text, i, (size_t)(eq - text.ptr));
        struct tel_lexer lex;
        tel_lexer_init(&lex, tel_span_make(eq + 1, (size_t)(text.ptr + end - eq - 1)), arena);
        if (lex.token.kind != TEL_TOKEN_QUOTED)
            return false;
        labels[n++].value = lex.token.text;
        i = (size_t)(lex.token.raw.ptr - text.ptr) + lex.token.raw.len;
        if (i < end && text.ptr[i++] != ',')
            return false;
    }
    *ret = labels;
    *ret_count = n;
    return true;
}

void tel_stream_print(struct tel_buf *out, const struct tel_label *labels, size_t count)
{
    tel_buf_add_char(out, '{');
    for (size_t i = 0; i < count; i++) {
        if (i)
            tel_buf_add_char(out, ',');
        tel_buf_add_span(out, labels[i].name);
        tel_buf_add_char(out, '=');
        tel_lexer_quote(out, labels[i].value);
    }
    tel_buf_add_char(out, '}');
}
