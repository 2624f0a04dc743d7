#include "common/conf/value.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/sys/fs.h"

#define FILE_VALUE_MAX (64 * 1024)
#define EXACT_MAX      9007199254740992.0 /* 2^53: doubles are exact up to here */

struct unit {
    const char *name;
    int64_t factor;
};

/* Largest first, so that the first exact one is the shortest text. */
static const struct unit sizes[] = {
    {"TiB", INT64_C(1) << 40}, {"TB", 1000000000000}, {"GiB", 1 << 30}, {"GB", 1000000000},
    {"MiB", 1 << 20},          {"MB", 1000000},       {"KiB", 1 << 10}, {"KB", 1000},
    {"B", 1},
};
static const struct unit durations[] = {
    {"w", 604800000}, {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};

/* A number and the letters behind it, taken from the front of *s. */
static bool take_amount(struct tel_span *s, const struct unit *units, size_t count, int64_t bare,
                        double *ret)
{
    size_t digits = 0, letters;
    while (digits < s->len && (isdigit((unsigned char)s->ptr[digits]) || s->ptr[digits] == '.'))
        digits++;
    letters = digits;
    while (letters < s->len && isalpha((unsigned char)s->ptr[letters]))
        letters++;
    double number;
    if (!tel_span_to_double(tel_span_slice(*s, 0, digits), &number))
        return false;
    struct tel_span name = tel_span_slice(*s, digits, letters);
    int64_t factor = name.len == 0 ? bare : 0;
    for (size_t i = 0; i < count; i++) {
        if (tel_span_eq_cstr(name, units[i].name))
            factor = units[i].factor;
    }
    if (factor == 0 && number != 0)
        return false;
    *s = tel_span_slice(*s, letters, s->len);
    *ret = number * (double)factor;
    return true;
}

static bool to_whole(double v, int64_t *ret)
{
    if (v > EXACT_MAX || v != floor(v))
        return false;
    *ret = (int64_t)v;
    return true;
}

bool tel_conf_parse_size(struct tel_span s, int64_t *ret_bytes)
{
    double v;
    return take_amount(&s, sizes, TEL_ARRAY_LEN(sizes), 1, &v) && s.len == 0 &&
           to_whole(v, ret_bytes);
}

bool tel_conf_parse_duration(struct tel_span s, int64_t *ret_ms)
{
    double sum = 0, v;
    do {
        if (!take_amount(&s, durations, TEL_ARRAY_LEN(durations), 0, &v))
            return false;
        sum += v;
    } while (s.len);
    /* 0.0015s is no whole number of milliseconds; 0.1s must be one in spite of binary fractions. */
    double whole = round(sum);
    return fabs(sum - whole) < 1e-6 && to_whole(whole, ret_ms);
}

static void format_unit(struct tel_buf *out, int64_t v, const struct unit *units, size_t count)
{
    if (v == 0) {
        TEL_BUF_ADD_LIT(out, "0");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (v % units[i].factor == 0) {
            tel_buf_add_i64(out, v / units[i].factor);
            tel_buf_add_span(out, tel_span_cstr(units[i].name));
            return;
        }
    }
}

void tel_conf_format_size(struct tel_buf *out, int64_t bytes)
{
    format_unit(out, bytes, sizes, TEL_ARRAY_LEN(sizes));
}

void tel_conf_format_duration(struct tel_buf *out, int64_t ms)
{
    format_unit(out, ms, durations, TEL_ARRAY_LEN(durations));
}

bool tel_conf_is_host_port(struct tel_span s)
{
    const char *colon = s.len ? memrchr(s.ptr, ':', s.len) : NULL;
    if (!colon)
        return false;
    struct tel_span host = tel_span_make(s.ptr, (size_t)(colon - s.ptr));
    struct tel_span port = tel_span_slice(s, host.len + 1, s.len);
    unsigned long long number;
    if (!tel_span_to_u64(port, &number) || number > 65535)
        return false;
    if (host.len && host.ptr[0] == '[')
        return host.len > 2 && host.ptr[host.len - 1] == ']';
    for (size_t i = 0; i < host.len; i++) {
        if (!isalnum((unsigned char)host.ptr[i]) && !strchr(".-_*", host.ptr[i]))
            return false;
    }
    return true;
}

bool tel_conf_has_reference(struct tel_span s)
{
    return tel_span_find(s, TEL_SPAN("${")) != SIZE_MAX;
}

static tel_code add_reference(struct tel_span name, struct tel_buf *out, struct tel_error *err)
{
    char *text = tel_strndup(name);
    tel_code rc = TEL_OK;
    if (tel_span_starts(name, TEL_SPAN("env:"))) {
        const char *value = getenv(text + 4);
        if (value)
            tel_buf_add_span(out, tel_span_cstr(value));
        else
            rc = tel_error_set(err, TEL_ERR_NOTFOUND, "the environment has no %s", text + 4);
    } else if (tel_span_starts(name, TEL_SPAN("file:"))) {
        rc = tel_fs_read_all(tel_fs_system(), text + 5, FILE_VALUE_MAX, out, err);
        if (rc == TEL_OK && out->len && out->ptr[out->len - 1] == '\n')
            out->len--;
        if (rc == TEL_OK && out->len && out->ptr[out->len - 1] == '\r')
            out->len--;
    } else {
        rc = tel_error_set(err, TEL_ERR_INVALID, "${%s}: write ${env:NAME} or ${file:/path}", text);
    }
    free(text);
    return rc;
}

tel_code tel_conf_expand(struct tel_span s, struct tel_buf *out, struct tel_error *err)
{
    size_t before = out->len;
    tel_code rc = TEL_OK;
    while (s.len && rc == TEL_OK) {
        size_t at = tel_span_find(s, TEL_SPAN("${"));
        if (at == SIZE_MAX) {
            tel_buf_add_span(out, s);
            break;
        }
        if (at > 0 && s.ptr[at - 1] == '$') {
            tel_buf_add(out, s.ptr, at - 1);
            TEL_BUF_ADD_LIT(out, "${");
            s = tel_span_slice(s, at + 2, s.len);
            continue;
        }
        tel_buf_add(out, s.ptr, at);
        s = tel_span_slice(s, at + 2, s.len);
        size_t end = tel_span_find(s, TEL_SPAN("}"));
        if (end == SIZE_MAX) {
            rc = tel_error_set(err, TEL_ERR_PARSE, "a ${ without its }");
            break;
        }
        rc = add_reference(tel_span_slice(s, 0, end), out, err);
        s = tel_span_slice(s, end + 1, s.len);
    }
    if (rc == TEL_OK && out->len > before && memchr(out->ptr + before, '\0', out->len - before))
        rc = tel_error_set(err, TEL_ERR_INVALID, "the value holds a NUL byte");
    if (rc != TEL_OK)
        out->len = before;
    return rc;
}
