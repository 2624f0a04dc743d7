/*
 * Filters on _time: durations back from now, points and ranges in time, hours of the day, days of
 * the week. A date says as much as is written of it: 2023-04 is all of April. Times without a zone
 * are UTC (the reference takes the zone of its host; servers have none to speak of).
 */
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/timefmt.h"
#include "common/logsql/number.h"
#include "common/logsql/parse.h"

/* ---- points in time -----------------------------------------------------------------------------
 */

static bool all_digits(struct tel_span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    return s.len > 0;
}

static int64_t subtract(int64_t a, int64_t b)
{
    int64_t r;
    if (a == INT64_MIN || a == INT64_MAX)
        return a;
    if (__builtin_sub_overflow(a, b, &r))
        return b > 0 ? INT64_MIN : INT64_MAX;
    return r;
}

/* 1700000000, with a fraction, or in milli-, micro- or nanoseconds by its size. */
static bool parse_unix(struct tel_span s, bool end, int64_t *ret)
{
    const char *dot = memchr(s.ptr, '.', s.len);
    struct tel_span whole = tel_span_slice(s, 0, dot ? (size_t)(dot - s.ptr) : s.len);
    struct tel_span frac = dot ? tel_span_slice(s, whole.len + 1, s.len) : (struct tel_span){0};
    int64_t n, unit, frac_ns = 0, step;
    if (!all_digits(whole) || (dot && !all_digits(frac)) || !tel_number_i64(whole, &n))
        return false;
    unit = n < INT64_C(1) << 33               ? TEL_NS_PER_S
           : n < (INT64_C(1) << 33) * 1000    ? TEL_NS_PER_MS
           : n < (INT64_C(1) << 33) * 1000000 ? TEL_NS_PER_US
                                              : 1;
    step = unit;
    for (size_t i = 0; i < frac.len && step > 1; i++) {
        step /= 10;
        frac_ns += (frac.ptr[i] - '0') * step;
    }
    *ret = n * unit + frac_ns + (end ? step - 1 : 0);
    return true;
}

/* Takes a zone off the end of *s. */
static bool split_zone(struct tel_span *s, int64_t *ret_offset)
{
    *ret_offset = 0;
    if (s->len > 0 && (s->ptr[s->len - 1] == 'Z' || s->ptr[s->len - 1] == 'z')) {
        s->len--;
        return true;
    }
    if (s->len > 10 || (s->len >= 10 && s->ptr[s->len - 3] == ':')) {
        /* The dash of a zone is the last one, and hh:mm follows it. */
        char sign = s->ptr[s->len - 6];
        int64_t ns;
        if (s->ptr[s->len - 3] == ':' && (sign == '-' || sign == '+') &&
            tel_number_hhmm(tel_span_slice(*s, s->len - 5, s->len), &ns)) {
            *ret_offset = sign == '-' ? -ns : ns;
            s->len -= 6;
        }
    }
    return true;
}

static bool field_at(struct tel_span s, size_t at, size_t len, char before, unsigned *ret)
{
    if (s.len < at + len || (before && s.ptr[at - 1] != before))
        return false;
    unsigned v = 0;
    for (size_t i = at; i < at + len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        v = v * 10 + (unsigned)(s.ptr[i] - '0');
    }
    *ret = v;
    return true;
}

static unsigned month_days(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap ? 1u : 0u);
}

/* YYYY[-MM[-DD[Thh[:mm[:ss[.fraction]]]]]]: its first nanosecond and how long it lasts. */
static bool parse_date(struct tel_span s, int64_t *ret, int64_t *ret_len)
{
    unsigned year, month = 1, day = 1, h = 0, m = 0, sec = 0;
    int64_t frac = 0, len;
    if (!field_at(s, 0, 4, 0, &year) || year < 1678 || year > 2261)
        return false;
    if (s.len > 4 && (!field_at(s, 5, 2, '-', &month) || month < 1 || month > 12))
        return false;
    if (s.len > 7 && (!field_at(s, 8, 2, '-', &day) || day < 1 || day > month_days(year, month)))
        return false;
    if (s.len > 10 && ((s.ptr[10] != 'T' && s.ptr[10] != 't' && s.ptr[10] != ' ') ||
                       !field_at(s, 11, 2, 0, &h) || h > 24))
        return false;
    if (s.len > 13 && (!field_at(s, 14, 2, ':', &m) || m > 59))
        return false;
    if (s.len > 16 && (!field_at(s, 17, 2, ':', &sec) || sec > 60))
        return false;
    if (s.len > 19) {
        struct tel_span digits = tel_span_slice(s, 20, s.len);
        if ((s.ptr[19] != '.' && s.ptr[19] != ',') || !all_digits(digits) || digits.len > 9)
            return false;
        len = TEL_NS_PER_S;
        for (size_t i = 0; i < digits.len; i++) {
            len /= 10;
            frac += (digits.ptr[i] - '0') * len;
        }
        if (digits.len != 3)
            len = 1;
    } else if (s.len == 19) {
        len = TEL_NS_PER_S;
    } else if (s.len == 16) {
        len = 60 * TEL_NS_PER_S;
    } else if (s.len == 13) {
        len = 3600 * TEL_NS_PER_S;
    } else if (s.len == 10) {
        len = TEL_NS_PER_DAY;
    } else if (s.len == 7) {
        len = month_days(year, month) * TEL_NS_PER_DAY;
    } else if (s.len == 4) {
        len = (365 + (month_days(year, 2) == 29)) * TEL_NS_PER_DAY;
    } else {
        return false;
    }
    int64_t seconds = ((tel_days_from_civil(year, month, day) * 24 + h) * 60 + m) * 60 + sec;
    *ret = seconds * TEL_NS_PER_S + frac;
    *ret_len = len;
    return true;
}

bool tel_parse_time(struct tel_span s, int64_t now_ns, bool end, int64_t *ret_ns)
{
    int64_t offset, at, len;
    if (s.len == 0)
        return false;
    if (tel_span_starts(s, TEL_SPAN("now")) || s.ptr[0] == '-' ||
        (s.ptr[s.len - 1] > '9' && s.ptr[s.len - 1] != 'Z' && s.ptr[s.len - 1] != 'z')) {
        struct tel_span d = tel_span_starts(s, TEL_SPAN("now")) ? tel_span_slice(s, 3, s.len) : s;
        int64_t ns = 0;
        if (d.len > 0 && d.ptr[0] == '+')
            d = tel_span_slice(d, 1, d.len);
        if (d.len > 0 && !tel_number_duration(d, &ns))
            return false;
        *ret_ns = subtract(now_ns, ns < 0 ? -ns : ns);
        return true;
    }
    struct tel_span date = s;
    split_zone(&date, &offset);
    if (parse_date(date, &at, &len)) {
        *ret_ns = subtract(at, offset) + (end ? len - 1 : 0);
        return true;
    }
    return parse_unix(s, end, ret_ns);
}

/* ---- filters ------------------------------------------------------------------------------------
 */

static bool likely_time(const struct tel_parser *p)
{
    struct tel_span s = p->lex.token.text;
    if (tel_parse_is(p, "now"))
        return true;
    if (s.len < 4 || !all_digits(tel_span_slice(s, 0, 4)))
        return false;
    if (s.len > 4)
        return s.ptr[4] == '-' || s.ptr[4] == '+' || s.ptr[4] == 'Z' || s.ptr[4] == 'z';
    return true;
}

/* The last nanosecond of what is written; a number of seconds or less is that very moment. */
static bool parse_end(struct tel_span s, int64_t now_ns, int64_t *ret)
{
    bool number = s.len > 4 && parse_unix(s, false, ret); /* four digits are a year */
    return tel_parse_time(s, now_ns, !number, ret);
}

static tel_code parse_point(struct tel_parser *p, struct tel_span *ret_text, int64_t *ret)
{
    size_t at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_compound(p, "a time", ret_text));
    if (!tel_parse_time(*ret_text, p->now_ns, false, ret))
        return tel_parse_fail(p, at,
                              "expected a time such as 2023-04-25T22:45:59Z or now-1h, found %.*s",
                              (int)TEL_MIN(ret_text->len, 60), ret_text->ptr);
    return TEL_OK;
}

/* Points and durations are words of digits, letters and -+:. unless somebody quoted a space. */
static void add_text(struct tel_buf *out, struct tel_span s)
{
    bool plain = s.len > 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        plain =
            plain && ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      c == '-' || c == '+' || c == ':' || c == '.' || c >= 0x80);
    }
    if (plain)
        tel_buf_add_span(out, s);
    else
        tel_lexer_quote(out, s);
}

static tel_code parse_interval(struct tel_parser *p, struct tel_filter *f, struct tel_buf *repr)
{
    struct tel_span text;
    int64_t from, to;
    bool open = tel_parse_is(p, "(");
    tel_buf_add_char(repr, open ? '(' : '[');
    tel_lexer_next(&p->lex);
    TEL_TRY(parse_point(p, &text, &from));
    add_text(repr, text);
    TEL_TRY(tel_parse_expect(p, ",", "',' between the two times"));
    tel_buf_add_char(repr, ',');
    size_t end_at = tel_lexer_offset(&p->lex);
    TEL_TRY(parse_point(p, &text, &to));
    add_text(repr, text);
    bool closed = tel_parse_is(p, "]");
    if (!closed && !tel_parse_is(p, ")"))
        return tel_parse_expected(p, "']' or ')' behind the two times");
    if (closed && !parse_end(text, p->now_ns, &to))
        return tel_parse_fail(p, end_at, "expected a time");
    tel_buf_add_char(repr, closed ? ']' : ')');
    tel_lexer_next(&p->lex);
    f->u.time.min = open ? from + (from < INT64_MAX) : from;
    f->u.time.max = closed ? to : to - (to > INT64_MIN);
    return TEL_OK;
}

static tel_code parse_bound(struct tel_parser *p, struct tel_filter *f, struct tel_buf *repr)
{
    bool greater = tel_parse_is(p, ">");
    tel_lexer_next(&p->lex);
    bool equal = tel_parse_accept(p, "=");
    tel_buf_printf(repr, "%c%s", greater ? '>' : '<', equal ? "=" : "");
    struct tel_span text;
    int64_t t;
    f->u.time.min = INT64_MIN;
    f->u.time.max = INT64_MAX;
    if (likely_time(p)) {
        TEL_TRY(parse_point(p, &text, &t));
        if (!greater && equal && !parse_end(text, p->now_ns, &t))
            return tel_parse_expected(p, "a time");
        if (greater)
            f->u.time.min = equal ? t : t + 1;
        else
            f->u.time.max = equal ? t : t - 1;
    } else { /* by age: > is older */
        TEL_TRY(tel_parse_duration(p, &text, &t));
        t = t < 0 ? -t : t;
        if (greater) {
            f->u.time.max = subtract(p->now_ns, equal ? t : t + 1);
        } else {
            f->u.time.min = subtract(p->now_ns, equal ? t : t - 1);
            f->u.time.max = p->now_ns;
        }
    }
    add_text(repr, text);
    return TEL_OK;
}

static tel_code parse_equal(struct tel_parser *p, struct tel_filter *f, struct tel_buf *repr)
{
    if (tel_parse_accept(p, "="))
        tel_buf_add_char(repr, '=');
    struct tel_span text;
    if (likely_time(p)) {
        size_t at = tel_lexer_offset(&p->lex);
        TEL_TRY(parse_point(p, &text, &f->u.time.min));
        if (!parse_end(text, p->now_ns, &f->u.time.max))
            return tel_parse_fail(p, at, "expected a time");
    } else {
        int64_t d;
        TEL_TRY(tel_parse_duration(p, &text, &d));
        f->u.time.min = subtract(p->now_ns, d < 0 ? -d : d);
        f->u.time.max = p->now_ns;
    }
    add_text(repr, text);
    return TEL_OK;
}

/* `offset 1h` behind a filter. */
static tel_code parse_offset(struct tel_parser *p, struct tel_buf *repr, int64_t *ret)
{
    *ret = 0;
    if (!tel_parse_accept(p, "offset"))
        return TEL_OK;
    struct tel_span text;
    TEL_TRY(tel_parse_duration(p, &text, ret));
    if (repr->len)
        tel_buf_add_char(repr, ' ');
    TEL_BUF_ADD_LIT(repr, "offset ");
    add_text(repr, text);
    return TEL_OK;
}

static tel_code parse_day_bound(struct tel_parser *p, struct tel_buf *repr, int64_t *ret)
{
    struct tel_span text;
    size_t at = tel_lexer_offset(&p->lex);
    TEL_TRY(tel_parse_compound(p, "a time of the day", &text));
    if (!tel_number_hhmm(text, ret))
        return tel_parse_fail(p, at, "expected a time of the day as hh:mm, found %.*s",
                              (int)TEL_MIN(text.len, 60), text.ptr);
    *ret = TEL_MIN(*ret, TEL_NS_PER_DAY - 1);
    add_text(repr, text);
    return TEL_OK;
}

static tel_code parse_week_bound(struct tel_parser *p, struct tel_buf *repr, int64_t *ret)
{
    static const char *const days[] = {"sunday",   "monday", "tuesday", "wednesday",
                                       "thursday", "friday", "saturday"};
    struct tel_span text;
    TEL_TRY(tel_parse_compound(p, "a day of the week", &text));
    /* The reference takes anything here; a word that is no day counts as Sunday. */
    *ret = 0;
    for (int i = 0; i < 7; i++) {
        bool same = text.len == 3 || text.len == strlen(days[i]);
        for (size_t j = 0; j < text.len && same; j++)
            same = (text.ptr[j] | 0x20) == days[i][j];
        if (same)
            *ret = i;
    }
    add_text(repr, text);
    return TEL_OK;
}

/* day_range[08:00, 18:00) and week_range[Mon, Fri] */
static tel_code parse_cycle(struct tel_parser *p, struct tel_filter *f, struct tel_buf *repr)
{
    bool week = f->op == TEL_FILTER_WEEK_RANGE;
    int64_t last = week ? 6 : TEL_NS_PER_DAY - 1;
    tel_lexer_next(&p->lex);
    tel_buf_add_span(repr, week ? TEL_SPAN("week_range") : TEL_SPAN("day_range"));
    bool open = tel_parse_is(p, "(");
    if (!open && !tel_parse_is(p, "["))
        return tel_parse_expected(p, "'[' or '(' behind the range's name");
    tel_buf_add_char(repr, open ? '(' : '[');
    tel_lexer_next(&p->lex);
    tel_code (*bound)(struct tel_parser *, struct tel_buf *, int64_t *) =
        week ? parse_week_bound : parse_day_bound;
    TEL_TRY(bound(p, repr, &f->u.time.min));
    TEL_TRY(tel_parse_expect(p, ",", "',' between the bounds"));
    TEL_BUF_ADD_LIT(repr, ", ");
    TEL_TRY(bound(p, repr, &f->u.time.max));
    bool closed = tel_parse_is(p, "]");
    if (!closed && !tel_parse_is(p, ")"))
        return tel_parse_expected(p, "']' or ')' behind the bounds");
    tel_buf_add_char(repr, closed ? ']' : ')');
    tel_lexer_next(&p->lex);
    if (open)
        f->u.time.min = f->u.time.min == last ? 0 : f->u.time.min + 1;
    if (!closed)
        f->u.time.max = f->u.time.max == 0 ? last : f->u.time.max - 1;
    return parse_offset(p, repr, &f->u.time.offset);
}

static tel_code parse_time_into(struct tel_parser *p, struct tel_filter *f, struct tel_buf *repr)
{
    if (tel_parse_is(p, "day_range") || tel_parse_is(p, "week_range")) {
        f->op = tel_parse_is(p, "day_range") ? TEL_FILTER_DAY_RANGE : TEL_FILTER_WEEK_RANGE;
        return parse_cycle(p, f, repr);
    }
    if (tel_parse_is(p, "offset")) {
        f->u.time.min = INT64_MIN;
        f->u.time.max = p->now_ns;
    } else if (tel_parse_is(p, "[") || tel_parse_is(p, "(")) {
        TEL_TRY(parse_interval(p, f, repr));
    } else if (tel_parse_is(p, ">") || tel_parse_is(p, "<")) {
        TEL_TRY(parse_bound(p, f, repr));
    } else {
        TEL_TRY(parse_equal(p, f, repr));
    }
    TEL_TRY(parse_offset(p, repr, &f->u.time.offset));
    f->u.time.min = subtract(f->u.time.min, f->u.time.offset);
    f->u.time.max = subtract(f->u.time.max, f->u.time.offset);
    return TEL_OK;
}

tel_code tel_parse_time_filter(struct tel_parser *p, size_t pos, struct tel_filter **ret)
{
    struct tel_filter *f = tel_parse_leaf(p, TEL_FILTER_TIME, pos, TEL_SPAN("_time"));
    struct tel_buf repr = {0};
    tel_code rc = parse_time_into(p, f, &repr);
    f->repr = tel_arena_copy(p->arena, tel_buf_span(&repr));
    tel_buf_free(&repr);
    *ret = f;
    return rc;
}
