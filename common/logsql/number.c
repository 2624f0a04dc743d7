/*
 * See number.h. The accepted forms follow the numeric values, short numeric values and duration
 * values of the LogsQL documentation, and what VictoriaLogs 1.26 answers where that is silent.
 */
#include "common/logsql/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/timefmt.h"

#define DECIMAL_LEN_MAX 27 /* "-18_446_744_073_709_551_615" */
#define NS_PER_MIN      (60 * TEL_NS_PER_S)
#define NS_PER_HOUR     (3600 * TEL_NS_PER_S)

bool tel_number_u64(struct tel_span s, uint64_t *ret)
{
    if (s.len == 0 || s.len > DECIMAL_LEN_MAX - 1 || (s.len > 1 && s.ptr[0] == '0'))
        return false;
    uint64_t n = 0;
    bool digit = false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '_')
            continue;
        unsigned d = (unsigned)(unsigned char)s.ptr[i] - '0';
        if (d > 9 || n > (UINT64_MAX - d) / 10)
            return false;
        n = n * 10 + d;
        digit = true;
    }
    if (!digit)
        return false;
    *ret = n;
    return true;
}

bool tel_number_i64(struct tel_span s, int64_t *ret)
{
    bool minus = s.len > 0 && s.ptr[0] == '-';
    uint64_t n;
    if (!tel_number_u64(tel_span_slice(s, minus, s.len), &n) || n > (uint64_t)INT64_MAX + minus)
        return false;
    *ret = minus ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

static const double pow10_table[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                     1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                     1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* The digits behind the point, correctly rounded by strtod when the exact path cannot be. */
static bool decimal_with_point(struct tel_span s, size_t dot, bool minus, double *ret)
{
    struct tel_span whole = tel_span_slice(s, 0, dot), frac = tel_span_slice(s, dot + 1, s.len);
    uint64_t n;
    if (whole.len == 0 || frac.len == 0 || !tel_number_u64(whole, &n))
        return false;
    char text[64];
    size_t len = 0, frac_digits = 0;
    uint64_t mantissa = n;
    bool exact = true;
    for (size_t i = 0; i < whole.len; i++)
        if (whole.ptr[i] != '_')
            text[len++] = whole.ptr[i];
    text[len++] = '.';
    for (size_t i = 0; i < frac.len; i++) {
        if (frac.ptr[i] == '_')
            continue;
        unsigned d = (unsigned)(unsigned char)frac.ptr[i] - '0';
        if (d > 9)
            return false;
        text[len++] = frac.ptr[i];
        frac_digits++;
        if (mantissa > (UINT64_C(1) << 53) / 10 - 1)
            exact = false;
        else
            mantissa = mantissa * 10 + d;
    }
    if (frac_digits == 0)
        return false;
    text[len] = 0;
    /* Clinger's fast path: both are exact doubles, so one division rounds once. */
    double f = exact && frac_digits <= 22 ? (double)mantissa / pow10_table[frac_digits]
                                          : strtod(text, NULL);
    *ret = minus ? -f : f;
    return true;
}

bool tel_number_decimal(struct tel_span s, double *ret)
{
    if (s.len == 0 || s.len > DECIMAL_LEN_MAX)
        return false;
    bool minus = s.ptr[0] == '-';
    if (minus)
        s = tel_span_slice(s, 1, s.len);
    if (s.len == 0 || (unsigned)(unsigned char)s.ptr[0] - '0' > 9)
        return false;
    const char *dot = memchr(s.ptr, '.', s.len);
    if (dot)
        return decimal_with_point(s, (size_t)(dot - s.ptr), minus, ret);
    uint64_t n;
    if (!tel_number_u64(s, &n))
        return false;
    *ret = minus ? -(double)n : (double)n;
    return true;
}

/* The number at the start of *s, which is moved behind it. */
static bool decimal_prefix(struct tel_span *s, double *ret)
{
    size_t i = 0;
    while (i < s->len &&
           ((s->ptr[i] >= '0' && s->ptr[i] <= '9') || s->ptr[i] == '.' || s->ptr[i] == '_'))
        i++;
    if (i == 0 || !tel_number_decimal(tel_span_slice(*s, 0, i), ret))
        return false;
    *s = tel_span_slice(*s, i, s->len);
    return true;
}

static int64_t add_saturated(int64_t n, double f)
{
    if (f >= 9.2233720368547748e18)
        return INT64_MAX;
    int64_t x = (int64_t)f;
    return x > INT64_MAX - n ? INT64_MAX : n + x;
}

struct unit {
    const char *name;
    double factor;
};

/* Longer names first where one is a prefix of another. */
static const struct unit duration_units[] = {
    {"\xc2\xb5s", 1e3}, {"\xce\xbcs", 1e3}, {"ms", 1e6},     {"ns", 1},
    {"us", 1e3},        {"y", 31536e12},    {"w", 604800e9}, {"d", 86400e9},
    {"h", 3600e9},      {"m", 60e9},        {"s", 1e9},
};
static const struct unit byte_units[] = {
    {"KiB", 1024.0},
    {"MiB", 1048576.0},
    {"GiB", 1073741824.0},
    {"TiB", 1099511627776.0},
    {"Ki", 1024.0},
    {"Mi", 1048576.0},
    {"Gi", 1073741824.0},
    {"Ti", 1099511627776.0},
    {"KB", 1e3},
    {"MB", 1e6},
    {"GB", 1e9},
    {"TB", 1e12},
    {"B", 1},
    {"K", 1e3},
    {"M", 1e6},
    {"G", 1e9},
    {"T", 1e12},
};

static const struct unit *unit_prefix(const struct unit *units, size_t count, struct tel_span s)
{
    for (size_t i = 0; i < count; i++)
        if (tel_span_starts(s, tel_span_cstr(units[i].name)))
            return &units[i];
    return NULL;
}

static bool with_units(struct tel_span s, const struct unit *units, size_t count, bool bare,
                       int64_t *ret)
{
    if (s.len == 0)
        return false;
    bool minus = s.ptr[0] == '-';
    s = tel_span_slice(s, minus, s.len);
    if (s.len == 0)
        return false;
    int64_t n = 0;
    while (s.len > 0) {
        double f;
        if (!decimal_prefix(&s, &f))
            return false;
        const struct unit *unit = unit_prefix(units, count, s);
        if (unit) {
            n = add_saturated(n, f * unit->factor);
            s = tel_span_slice(s, strlen(unit->name), s.len);
        } else if (bare && s.len == 0 && f == floor(f)) {
            n = add_saturated(n, f);
        } else {
            return false;
        }
    }
    *ret = minus ? -n : n;
    return true;
}

bool tel_number_duration(struct tel_span s, int64_t *ret)
{
    return with_units(s, duration_units, TEL_ARRAY_LEN(duration_units), false, ret);
}

bool tel_number_bytes(struct tel_span s, int64_t *ret)
{
    return with_units(s, byte_units, TEL_ARRAY_LEN(byte_units), true, ret);
}

/* Up to three digits before `end` or a point; false if there are none. */
static bool octet(const char **pos, const char *end, uint32_t *ret)
{
    uint32_t v = 0;
    const char *p = *pos;
    while (p < end && *p >= '0' && *p <= '9' && p - *pos < 4)
        v = v * 10 + (uint32_t)(*p++ - '0');
    if (p == *pos || p - *pos > 3 || v > 255)
        return false;
    *pos = p;
    *ret = v;
    return true;
}

bool tel_number_ipv4(struct tel_span s, uint32_t *ret)
{
    if (s.len < 7 || s.len > 15)
        return false;
    const char *p = s.ptr, *end = s.ptr + s.len;
    uint32_t ip = 0, v;
    for (int i = 0; i < 4; i++) {
        if (!octet(&p, end, &v))
            return false;
        ip = ip << 8 | v;
        if (i < 3 && (p == end || *p++ != '.'))
            return false;
    }
    if (p != end)
        return false;
    *ret = ip;
    return true;
}

bool tel_number_cidr(struct tel_span s, uint32_t *ret_min, uint32_t *ret_max)
{
    uint32_t ip;
    uint64_t bits = 32;
    const char *slash = s.len ? memchr(s.ptr, '/', s.len) : NULL;
    size_t n = slash ? (size_t)(slash - s.ptr) : s.len;
    if (!tel_number_ipv4(tel_span_slice(s, 0, n), &ip))
        return false;
    if (slash && (!tel_number_u64(tel_span_slice(s, n + 1, s.len), &bits) || bits > 32))
        return false;
    uint32_t mask = bits == 0 ? UINT32_MAX : (uint32_t)((UINT64_C(1) << (32 - bits)) - 1);
    *ret_min = ip & ~mask;
    *ret_max = ip | mask;
    return true;
}

static bool two_digits(const char *p, int64_t max, int64_t *ret)
{
    if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9')
        return false;
    *ret = (p[0] - '0') * 10 + (p[1] - '0');
    return *ret <= max;
}

bool tel_number_hhmm(struct tel_span s, int64_t *ret)
{
    int64_t h, m;
    bool colon = s.len == 5 && s.ptr[2] == ':';
    if (!colon && s.len != 4)
        return false;
    if (!two_digits(s.ptr, 24, &h) || !two_digits(s.ptr + (colon ? 3 : 2), 60, &m))
        return false;
    *ret = h * NS_PER_HOUR + m * NS_PER_MIN;
    return true;
}

/* 0x1f, 0o17, 0b101 with '_' between digits. */
static bool based_integer(struct tel_span s, uint64_t *ret)
{
    if (s.len < 3 || s.ptr[0] != '0')
        return false;
    char c = (char)(s.ptr[1] | 0x20);
    unsigned base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
    if (base == 0)
        return false;
    uint64_t n = 0;
    for (size_t i = 2; i < s.len; i++) {
        char d = s.ptr[i];
        if (d == '_')
            continue;
        unsigned v = d >= '0' && d <= '9'                     ? (unsigned)(d - '0')
                     : (d | 0x20) >= 'a' && (d | 0x20) <= 'f' ? (unsigned)((d | 0x20) - 'a') + 10
                                                              : 99;
        if (v >= base || n > (UINT64_MAX - v) / base)
            return false;
        n = n * base + v;
    }
    *ret = n;
    return true;
}

static bool is_inf(struct tel_span s)
{
    if (s.len > 0 && s.ptr[0] == '+')
        s = tel_span_slice(s, 1, s.len);
    return s.len == 3 && (s.ptr[0] | 0x20) == 'i' && (s.ptr[1] | 0x20) == 'n' &&
           (s.ptr[2] | 0x20) == 'f';
}

bool tel_number_uint_arg(struct tel_span s, uint64_t *ret)
{
    int64_t n;
    if (is_inf(s)) {
        *ret = UINT64_MAX;
        return true;
    }
    if (tel_number_u64(s, ret) || based_integer(s, ret))
        return true;
    if ((!tel_number_bytes(s, &n) && !tel_number_duration(s, &n)) || n < 0)
        return false;
    *ret = (uint64_t)n;
    return true;
}

bool tel_number_time(struct tel_span s, int64_t *ret_ns)
{
    return s.len >= 19 && s.ptr[4] == '-' && s.ptr[7] == '-' && s.ptr[13] == ':' &&
           tel_time_parse(s, ret_ns);
}

bool tel_number_prefix(struct tel_span s)
{
    if (s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+'))
        s = tel_span_slice(s, 1, s.len);
    if (s.len == 3 && is_inf(s))
        return true;
    if (s.len > 0 && s.ptr[0] == '.')
        s = tel_span_slice(s, 1, s.len);
    return s.len > 0 && s.ptr[0] >= '0' && s.ptr[0] <= '9';
}

/* 1e5, .5, inf, 0x10: rarer forms, by strtod. Times and addresses are sorted out first. */
static bool parse_general(struct tel_span s, double *ret)
{
    char text[64];
    size_t dots = 0, dashes = 0;
    if (s.len >= sizeof text || !tel_number_prefix(s))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        dots += s.ptr[i] == '.';
        dashes += s.ptr[i] == '-';
        if (s.ptr[i] == ':' || s.ptr[i] == 0 || s.ptr[i] == ' ')
            return false;
    }
    if (dots > 1 || dashes > 2)
        return false;
    bool minus = s.ptr[0] == '-';
    uint64_t n;
    if (based_integer(tel_span_slice(s, minus, s.len), &n)) {
        *ret = minus ? -(double)n : (double)n;
        return true;
    }
    memcpy(text, s.ptr, s.len);
    text[s.len] = 0;
    char *end;
    double f = strtod(text, &end);
    if (*end)
        return false;
    *ret = f;
    return true;
}

bool tel_number_parse(struct tel_span s, double *ret)
{
    if (s.len == 0)
        return false;
    /* Most values that are no numbers say so in their first byte. */
    unsigned char c = (unsigned char)s.ptr[0];
    if ((unsigned)c - '0' > 9 && c != '-' && c != '+' && c != '.' && (c | 0x20) != 'i')
        return false;
    if (tel_number_decimal(s, ret))
        return true;
    int64_t n;
    if (tel_number_duration(s, &n) || tel_number_bytes(s, &n)) {
        *ret = (double)n;
        return true;
    }
    return parse_general(s, ret);
}

bool tel_number_parse_any(struct tel_span s, double *ret)
{
    if (tel_number_parse(s, ret))
        return true;
    int64_t ns;
    uint32_t ip;
    if (tel_number_time(s, &ns)) {
        *ret = (double)ns;
        return true;
    }
    if (tel_number_ipv4(s, &ip)) {
        *ret = ip;
        return true;
    }
    return false;
}

/* "d.ddde+XX" with the fewest digits that read back as f. */
static int shortest(double f, char out[40])
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, 40, "%.*e", digits - 1, f);
        if (digits == 17 || strtod(out, NULL) == f)
            return digits;
    }
    return 17;
}

void tel_number_print(struct tel_buf *out, double f)
{
    if (isnan(f)) {
        TEL_BUF_ADD_LIT(out, "NaN");
        return;
    }
    if (isinf(f)) {
        tel_buf_add(out, f < 0 ? "-Inf" : "+Inf", 4);
        return;
    }
    if (f == floor(f) && fabs(f) < 9e15) {
        if (f == 0 && signbit(f))
            TEL_BUF_ADD_LIT(out, "-0");
        else
            tel_buf_add_i64(out, (int64_t)f);
        return;
    }
    char e[40], digits[24];
    shortest(f, e);
    if (f < 0)
        tel_buf_add_char(out, '-');
    size_t n = 0;
    const char *p = e + (f < 0);
    for (; *p && *p != 'e'; p++)
        if (*p != '.')
            digits[n++] = *p;
    long exp = strtol(p + 1, NULL, 10);
    while (n > 1 && digits[n - 1] == '0')
        n--;
    if (exp < 0) {
        TEL_BUF_ADD_LIT(out, "0.");
        for (long i = -1; i > exp; i--)
            tel_buf_add_char(out, '0');
        tel_buf_add(out, digits, n);
        return;
    }
    for (size_t i = 0; i < n || i <= (size_t)exp; i++) {
        if (i == (size_t)exp + 1)
            tel_buf_add_char(out, '.');
        tel_buf_add_char(out, i < n ? digits[i] : '0');
    }
}

void tel_number_print_duration(struct tel_buf *out, int64_t ns)
{
    static const struct {
        int64_t ns;
        char unit;
    } big[] = {
        {7 * TEL_NS_PER_DAY, 'w'}, {TEL_NS_PER_DAY, 'd'}, {NS_PER_HOUR, 'h'}, {NS_PER_MIN, 'm'}};
    if (ns == 0) {
        tel_buf_add_char(out, '0');
        return;
    }
    if (ns < 0)
        tel_buf_add_char(out, '-');
    uint64_t n = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    bool seconds = n >= (uint64_t)TEL_NS_PER_S;
    for (size_t i = 0; i < TEL_ARRAY_LEN(big); i++) {
        uint64_t unit = (uint64_t)big[i].ns;
        if (n < unit)
            continue;
        tel_buf_add_u64(out, n / unit);
        tel_buf_add_char(out, big[i].unit);
        n %= unit;
    }
    if (seconds && n >= (uint64_t)TEL_NS_PER_S) {
        tel_number_print(out, (double)n / 1e9);
        tel_buf_add_char(out, 's');
        return;
    }
    static const struct {
        uint64_t ns;
        const char *unit;
    } small[] = {{1000000, "ms"}, {1000, "\xc2\xb5s"}, {1, "ns"}};
    for (size_t i = 0; i < TEL_ARRAY_LEN(small); i++) {
        if (n < small[i].ns)
            continue;
        tel_buf_add_u64(out, n / small[i].ns);
        tel_buf_add_span(out, tel_span_cstr(small[i].unit));
        n %= small[i].ns;
    }
}

void tel_number_print_ipv4(struct tel_buf *out, uint32_t ip)
{
    tel_buf_printf(out, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
}
