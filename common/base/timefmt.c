#include "common/base/timefmt.h"

#define NS_PER_S INT64_C(1000000000)

int64_t tel_days_from_civil(int64_t year, unsigned month, unsigned day)
{
    /* Years begin in March, so that the leap day is a year's last; an era has 400 of them. */
    int64_t y = year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

void tel_civil_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned doe = (unsigned)(days - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    *day = doy - (153 * mp + 2) / 5 + 1;
    *month = mp < 10 ? mp + 3 : mp - 9;
    *year = (int64_t)yoe + era * 400 + (*month <= 2);
}

static char *put2(char *out, unsigned v)
{
    out[0] = (char)('0' + v / 10);
    out[1] = (char)('0' + v % 10);
    return out + 2;
}

static char *put_fraction(char *out, unsigned ns)
{
    if (ns == 0)
        return out;
    char digits[9];
    for (int i = 8; i >= 0; i--) {
        digits[i] = (char)('0' + ns % 10);
        ns /= 10;
    }
    size_t len = 9;
    while (digits[len - 1] == '0')
        len--;
    *out++ = '.';
    memcpy(out, digits, len);
    return out + len;
}

size_t tel_time_format(char *out, int64_t time_ns)
{
    int64_t days = tel_day_of(time_ns);
    uint64_t in_day = (uint64_t)time_ns - (uint64_t)days * 86400u * (uint64_t)NS_PER_S;
    unsigned seconds = (unsigned)(in_day / (uint64_t)NS_PER_S);
    int64_t year;
    unsigned month, day;
    tel_civil_from_days(days, &year, &month, &day);
    char *p = put2(out, (unsigned)(year / 100));
    p = put2(p, (unsigned)(year % 100));
    *p++ = '-';
    p = put2(p, month);
    *p++ = '-';
    p = put2(p, day);
    *p++ = 'T';
    p = put2(p, seconds / 3600);
    *p++ = ':';
    p = put2(p, seconds / 60 % 60);
    *p++ = ':';
    p = put2(p, seconds % 60);
    p = put_fraction(p, (unsigned)(in_day % (uint64_t)NS_PER_S));
    *p++ = 'Z';
    *p = '\0';
    return (size_t)(p - out);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Exactly `count` digits at *pos. */
static bool take_digits(struct tel_span s, size_t *pos, size_t count, unsigned *ret)
{
    if (s.len - *pos < count)
        return false;
    unsigned v = 0;
    for (size_t i = 0; i < count; i++) {
        char c = s.ptr[*pos + i];
        if (!is_digit(c))
            return false;
        v = v * 10 + (unsigned)(c - '0');
    }
    *pos += count;
    *ret = v;
    return true;
}

static bool take_char(struct tel_span s, size_t *pos, char c)
{
    if (*pos >= s.len || s.ptr[*pos] != c)
        return false;
    ++*pos;
    return true;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap ? 1u : 0u);
}

static bool take_date(struct tel_span s, size_t *pos, int64_t *ret_days)
{
    unsigned year, month, day;
    if (!take_digits(s, pos, 4, &year) || !take_char(s, pos, '-') ||
        !take_digits(s, pos, 2, &month) || !take_char(s, pos, '-') ||
        !take_digits(s, pos, 2, &day))
        return false;
    if (year < 1678 || year > 2261 || month < 1 || month > 12 || day < 1 ||
        day > days_in_month(year, month))
        return false;
    *ret_days = tel_days_from_civil(year, month, day);
    return true;
}

/* [.,]digits, if it is there; digits beyond nine are read and not used. */
static int64_t take_fraction(struct tel_span s, size_t *pos)
{
    size_t p = *pos;
    if (p + 1 >= s.len || (s.ptr[p] != '.' && s.ptr[p] != ',') || !is_digit(s.ptr[p + 1]))
        return 0;
    int64_t ns = 0;
    int digits = 0;
    for (p++; p < s.len && is_digit(s.ptr[p]); p++) {
        if (digits < 9) {
            ns = ns * 10 + (s.ptr[p] - '0');
            digits++;
        }
    }
    for (; digits < 9; digits++)
        ns *= 10;
    *pos = p;
    return ns;
}

enum take_result { TAKE_NONE, TAKE_OK, TAKE_BAD };

/* Z, +hh:mm, +hhmm. What does not look like one is left alone; one out of range is bad. */
static enum take_result take_zone(struct tel_span s, size_t *pos, int64_t *ret_seconds)
{
    size_t p = *pos;
    *ret_seconds = 0;
    if (take_char(s, pos, 'Z') || take_char(s, pos, 'z'))
        return TAKE_OK;
    bool negative = take_char(s, &p, '-');
    if (!negative && !take_char(s, &p, '+'))
        return TAKE_NONE;
    unsigned hours, minutes;
    if (!take_digits(s, &p, 2, &hours))
        return TAKE_NONE;
    take_char(s, &p, ':');
    if (!take_digits(s, &p, 2, &minutes))
        return TAKE_NONE;
    if (hours > 23 || minutes > 59)
        return TAKE_BAD;
    int64_t offset = (int64_t)hours * 3600 + (int64_t)minutes * 60;
    *ret_seconds = negative ? -offset : offset;
    *pos = p;
    return TAKE_OK;
}

/* 'T' or a space, hh:mm, and what may follow. */
static enum take_result take_clock(struct tel_span s, size_t *pos, int64_t *ret_ns)
{
    size_t p = *pos;
    unsigned hour, minute, second = 0;
    if (!take_char(s, &p, 'T') && !take_char(s, &p, 't') && !take_char(s, &p, ' '))
        return TAKE_NONE;
    if (!take_digits(s, &p, 2, &hour) || !take_char(s, &p, ':') || !take_digits(s, &p, 2, &minute))
        return TAKE_NONE;
    int64_t fraction = 0, zone;
    size_t behind_minute = p;
    if (take_char(s, &p, ':')) {
        if (take_digits(s, &p, 2, &second))
            fraction = take_fraction(s, &p);
        else
            p = behind_minute;
    }
    /* A leap second is the second after (RFC 3339, section 5.6). */
    if (hour > 23 || minute > 59 || second > (minute == 59 ? 60u : 59u))
        return TAKE_BAD;
    if (take_zone(s, &p, &zone) == TAKE_BAD)
        return TAKE_BAD;
    int64_t seconds = (int64_t)hour * 3600 + (int64_t)minute * 60 + second - zone;
    *ret_ns = seconds * NS_PER_S + fraction;
    *pos = p;
    return TAKE_OK;
}

bool tel_time_parse_prefix(struct tel_span s, int64_t *ret_ns, size_t *ret_len)
{
    size_t pos = 0;
    int64_t days, ns = 0;
    if (!take_date(s, &pos, &days) || take_clock(s, &pos, &ns) == TAKE_BAD)
        return false;
    *ret_ns = days * 86400 * NS_PER_S + ns;
    *ret_len = pos;
    return true;
}

bool tel_time_parse(struct tel_span s, int64_t *ret_ns)
{
    int64_t ns;
    size_t len;
    if (!tel_time_parse_prefix(s, &ns, &len) || len != s.len)
        return false;
    *ret_ns = ns;
    return true;
}
