/*
 * A filter over the rows of a block source. Bitmaps carry which rows are still in question: `and`
 * narrows them filter by filter and stops at none, `or` asks each filter only about the rows that
 * none before took.
 */
#include "common/base/timefmt.h"
#include "common/logsql/filter.h"
#include "common/logsql/number.h"

/* Calls of a leaf go by runs of equal spans: columns with few values share their bytes. */
struct last_value {
    const char *ptr;
    size_t len;
    bool result, valid;
};

static tel_code match_cached(const struct tel_filter *f, struct tel_span v, struct last_value *last,
                             struct tel_pace *pace, struct tel_error *err)
{
    if (last->valid && last->ptr == v.ptr && last->len == v.len)
        return TEL_OK;
    tel_code rc = tel_pace_step(pace, tel_filter_work(f, v.len), err);
    if (rc == TEL_OK)
        rc = tel_filter_match_value(f, v, &last->result, err);
    last->valid = rc == TEL_OK;
    last->ptr = v.ptr;
    last->len = v.len;
    return rc;
}

static bool any_set(const uint64_t *bitmap, size_t words)
{
    for (size_t i = 0; i < words; i++)
        if (bitmap[i])
            return true;
    return false;
}

/* The column of a field, _time included, as text. */
static tel_code column_of(struct tel_block_source *src, struct tel_span name,
                          const struct tel_span **ret, struct tel_error *err)
{
    if (!tel_span_eq_cstr(name, TEL_FIELD_TIME) || !src->keys)
        return src->ops->column(src, name, ret, err);
    struct tel_span *values = TEL_ARENA_ARRAY(src->arena, struct tel_span, src->rows);
    for (size_t i = 0; i < src->rows; i++) {
        char *text = tel_arena_alloc_aligned(src->arena, TEL_TIME_TEXT_MAX, 1);
        values[i] = tel_span_make(text, tel_time_format(text, src->keys[i].time_ns));
    }
    *ret = values;
    return TEL_OK;
}

static tel_code eval_values(const struct tel_filter *f, struct tel_block_source *src,
                            uint64_t *bitmap, struct tel_error *err)
{
    size_t words = TEL_BITMAP_WORDS(src->rows);
    const struct tel_span *values = NULL;
    tel_code rc = column_of(src, f->field, &values, err);
    if (rc != TEL_OK)
        return rc;
    struct last_value last = {0};
    if (!values) {
        rc = match_cached(f, (struct tel_span){"", 0}, &last, src->pace, err);
        if (rc == TEL_OK && !last.result)
            memset(bitmap, 0, words * sizeof *bitmap);
        return rc;
    }
    for (size_t w = 0; w < words; w++) {
        for (uint64_t bits = bitmap[w]; bits; bits &= bits - 1) {
            size_t row = w * 64 + (size_t)__builtin_ctzll(bits);
            rc = match_cached(f, values[row], &last, src->pace, err);
            if (rc != TEL_OK)
                return rc;
            if (!last.result)
                bitmap[w] &= ~(bits & -bits);
        }
    }
    return TEL_OK;
}

static tel_code eval_time(const struct tel_filter *f, struct tel_block_source *src,
                          uint64_t *bitmap, struct tel_error *err)
{
    size_t words = TEL_BITMAP_WORDS(src->rows);
    const struct tel_span *values = NULL;
    if (!src->keys) {
        tel_code rc = src->ops->column(src, TEL_SPAN(TEL_FIELD_TIME), &values, err);
        if (rc != TEL_OK)
            return rc;
    }
    for (size_t w = 0; w < words; w++) {
        tel_code rc = tel_pace_step(src->pace, 64 * 64, err);
        if (rc != TEL_OK)
            return rc;
        for (uint64_t bits = bitmap[w]; bits; bits &= bits - 1) {
            size_t row = w * 64 + (size_t)__builtin_ctzll(bits);
            int64_t t;
            bool known = src->keys != NULL;
            if (known)
                t = src->keys[row].time_ns;
            else
                known = values && tel_number_time(values[row], &t);
            if (!known || !tel_filter_match_time(f, t))
                bitmap[w] &= ~(bits & -bits);
        }
    }
    return TEL_OK;
}

/* Numbers as numbers if both are, else by bytes. */
static bool less(struct tel_span a, struct tel_span b, bool or_equal)
{
    double x, y;
    if (tel_number_parse_any(a, &x) && tel_number_parse_any(b, &y))
        return or_equal ? x <= y : x < y;
    int c = tel_span_cmp(a, b);
    return or_equal ? c <= 0 : c < 0;
}

static tel_code eval_two_fields(const struct tel_filter *f, struct tel_block_source *src,
                                uint64_t *bitmap, struct tel_error *err)
{
    const struct tel_span *a = NULL, *b = NULL, empty = {"", 0};
    tel_code rc = column_of(src, f->field, &a, err);
    if (rc == TEL_OK)
        rc = column_of(src, f->text, &b, err);
    if (rc != TEL_OK)
        return rc;
    for (size_t w = 0; w < TEL_BITMAP_WORDS(src->rows); w++) {
        for (uint64_t bits = bitmap[w]; bits; bits &= bits - 1) {
            size_t row = w * 64 + (size_t)__builtin_ctzll(bits);
            rc = tel_pace_step(src->pace, 256, err);
            if (rc != TEL_OK)
                return rc;
            struct tel_span x = a ? a[row] : empty, y = b ? b[row] : empty;
            bool ok = f->op == TEL_FILTER_EQ_FIELD ? tel_span_eq(x, y)
                                                   : less(x, y, f->op == TEL_FILTER_LE_FIELD);
            if (!ok)
                bitmap[w] &= ~(bits & -bits);
        }
    }
    return TEL_OK;
}

static tel_code eval_type(const struct tel_filter *f, struct tel_block_source *src,
                          uint64_t *bitmap, struct tel_error *err)
{
    const struct tel_span *values = NULL;
    tel_code rc = column_of(src, f->field, &values, err);
    if (rc == TEL_OK && !(values && tel_span_eq_cstr(f->text, tel_values_type(values, src->rows))))
        memset(bitmap, 0, TEL_BITMAP_WORDS(src->rows) * sizeof *bitmap);
    return rc;
}

static tel_code eval_or(const struct tel_filter *f, struct tel_block_source *src, uint64_t *bitmap,
                        struct tel_error *err)
{
    size_t words = TEL_BITMAP_WORDS(src->rows);
    uint64_t *taken = TEL_ARENA_ARRAY(src->arena, uint64_t, words);
    uint64_t *rest = TEL_ARENA_ARRAY(src->arena, uint64_t, words);
    for (size_t k = 0; k < f->kid_count; k++) {
        for (size_t i = 0; i < words; i++)
            rest[i] = bitmap[i] & ~taken[i];
        if (!any_set(rest, words))
            break;
        tel_code rc = tel_filter_eval(f->kids[k], src, rest, err);
        if (rc != TEL_OK)
            return rc;
        for (size_t i = 0; i < words; i++)
            taken[i] |= rest[i];
    }
    memcpy(bitmap, taken, words * sizeof *bitmap);
    return TEL_OK;
}

static tel_code eval_not(const struct tel_filter *f, struct tel_block_source *src, uint64_t *bitmap,
                         struct tel_error *err)
{
    size_t words = TEL_BITMAP_WORDS(src->rows);
    uint64_t *hit = TEL_ARENA_ARRAY(src->arena, uint64_t, words);
    memcpy(hit, bitmap, words * sizeof *hit);
    tel_code rc = tel_filter_eval(f->kids[0], src, hit, err);
    for (size_t i = 0; i < words; i++)
        bitmap[i] &= ~hit[i];
    return rc;
}

tel_code tel_filter_eval(const struct tel_filter *f, struct tel_block_source *src, uint64_t *bitmap,
                         struct tel_error *err)
{
    size_t words = TEL_BITMAP_WORDS(src->rows);
    tel_code rc = tel_pace_step(src->pace, 16 * words, err);
    if (rc != TEL_OK)
        return rc;
    switch ((int)f->op) {
    case TEL_FILTER_ALL:
        return TEL_OK;
    case TEL_FILTER_AND:
        for (size_t i = 0; i < f->kid_count && rc == TEL_OK && any_set(bitmap, words); i++)
            rc = tel_filter_eval(f->kids[i], src, bitmap, err);
        return rc;
    case TEL_FILTER_OR:
        return eval_or(f, src, bitmap, err);
    case TEL_FILTER_NOT:
        return eval_not(f, src, bitmap, err);
    case TEL_FILTER_TIME:
    case TEL_FILTER_DAY_RANGE:
    case TEL_FILTER_WEEK_RANGE:
        return eval_time(f, src, bitmap, err);
    case TEL_FILTER_EQ_FIELD:
    case TEL_FILTER_LE_FIELD:
    case TEL_FILTER_LT_FIELD:
        return eval_two_fields(f, src, bitmap, err);
    case TEL_FILTER_VALUE_TYPE:
        return eval_type(f, src, bitmap, err);
    default:
        return eval_values(f, src, bitmap, err);
    }
}

/* ---- types of columns
 * ---------------------------------------------------------------------------- */

#define DICT_VALUES_MAX 8
#define DICT_BYTES_MAX  256

static bool is_dict(const struct tel_span *values, size_t rows)
{
    struct tel_span seen[DICT_VALUES_MAX];
    size_t n = 0, bytes = 0;
    for (size_t i = 0; i < rows; i++) {
        size_t j = 0;
        while (j < n && !tel_span_eq(seen[j], values[i]))
            j++;
        if (j < n)
            continue;
        bytes += values[i].len;
        if (n == DICT_VALUES_MAX || bytes > DICT_BYTES_MAX)
            return false;
        seen[n++] = values[i];
    }
    return true;
}

/* The narrowest type that holds all values, or NULL. */
static const char *integer_type(const struct tel_span *values, size_t rows)
{
    uint64_t max = 0, v;
    bool negative = false;
    for (size_t i = 0; i < rows; i++) {
        int64_t s;
        if (!negative && tel_number_u64(values[i], &v) &&
            !memchr(values[i].ptr, '_', values[i].len)) {
            max = TEL_MAX(max, v);
            continue;
        }
        if (!tel_number_i64(values[i], &s))
            return NULL;
        negative = true;
    }
    if (negative)
        return max > INT64_MAX ? NULL : "int64";
    return max < 256 ? "uint8" : max < 65536 ? "uint16" : max <= UINT32_MAX ? "uint32" : "uint64";
}

static bool is_iso8601(struct tel_span s)
{
    int64_t t;
    return s.len == 24 && s.ptr[10] == 'T' && s.ptr[19] == '.' && s.ptr[23] == 'Z' &&
           tel_number_time(s, &t);
}

const char *tel_values_type(const struct tel_span *values, size_t rows)
{
    bool same = true, decimal = true, ipv4 = true, iso = true;
    double d;
    uint32_t ip;
    for (size_t i = 1; i < rows && same; i++)
        same = tel_span_eq(values[i], values[0]);
    if (same)
        return "const";
    if (is_dict(values, rows))
        return "dict";
    const char *integer = integer_type(values, rows);
    if (integer)
        return integer;
    for (size_t i = 0; i < rows && (decimal || ipv4 || iso); i++) {
        decimal = decimal && tel_number_decimal(values[i], &d);
        ipv4 = ipv4 && tel_number_ipv4(values[i], &ip);
        iso = iso && is_iso8601(values[i]);
    }
    return decimal ? "float64" : ipv4 ? "ipv4" : iso ? "iso8601" : "string";
}
