/* See bucket.h. Weeks begin on Monday when they are asked for as `week`; `1w` counts from the
 * epoch, as every other duration does. */
#include "common/logsql/bucket.h"

#include <math.h>

#include "common/base/clock.h"
#include "common/base/timefmt.h"
#include "common/logsql/number.h"

static const struct calendar {
    const char *name;
    int64_t ns;
    enum tel_bucket_unit unit;
} calendar[] = {
    {"nanosecond", 1, TEL_BUCKET_STEP},
    {"microsecond", TEL_NS_PER_US, TEL_BUCKET_STEP},
    {"millisecond", TEL_NS_PER_MS, TEL_BUCKET_STEP},
    {"second", TEL_NS_PER_S, TEL_BUCKET_STEP},
    {"minute", 60 * TEL_NS_PER_S, TEL_BUCKET_STEP},
    {"hour", 3600 * TEL_NS_PER_S, TEL_BUCKET_STEP},
    {"day", TEL_NS_PER_DAY, TEL_BUCKET_STEP},
    {"week", 7 * TEL_NS_PER_DAY, TEL_BUCKET_WEEK},
    {"month", 30 * TEL_NS_PER_DAY, TEL_BUCKET_MONTH},
    {"year", 365 * TEL_NS_PER_DAY, TEL_BUCKET_YEAR},
};

bool tel_bucket_set_step(struct tel_bucket *b, struct tel_span text)
{
    double number;
    uint64_t bits;
    b->given = true;
    b->text = text;
    b->unit = TEL_BUCKET_STEP;
    for (size_t i = 0; i < TEL_ARRAY_LEN(calendar); i++) {
        if (tel_span_eq_cstr(text, calendar[i].name)) {
            b->unit = calendar[i].unit;
            b->step_ns = calendar[i].ns;
            b->step = (double)b->step_ns;
            return true;
        }
    }
    if (text.len > 1 && text.ptr[0] == '/') {
        if (!tel_number_u64(tel_span_slice(text, 1, text.len), &bits) || bits > 32)
            return false;
        b->step_ns = INT64_C(1) << (32 - bits);
        b->step = (double)b->step_ns;
        return true;
    }
    if (!tel_number_parse(text, &number) || !(number > 0) || number > 9e18)
        return false;
    b->step = number;
    b->step_ns = TEL_MAX((int64_t)number, 1);
    return true;
}

bool tel_bucket_set_offset(struct tel_bucket *b, struct tel_span text)
{
    double number;
    if (!tel_number_parse(text, &number) || !(fabs(number) <= 9e18))
        return false;
    b->offset = number;
    b->offset_ns = (int64_t)number;
    b->offset_text = text;
    return true;
}

static int64_t floor_to(int64_t v, int64_t step)
{
    int64_t r = v % step;
    return v - (r < 0 ? r + step : r);
}

int64_t tel_bucket_time(const struct tel_bucket *b, int64_t t)
{
    int64_t offset = b->offset_ns, v;
    if (b->unit == TEL_BUCKET_WEEK)
        offset += 4 * TEL_NS_PER_DAY; /* the epoch is a Thursday */
    if (__builtin_sub_overflow(t, offset, &v))
        return t;
    if (b->unit == TEL_BUCKET_MONTH || b->unit == TEL_BUCKET_YEAR) {
        int64_t year;
        unsigned month, day;
        tel_civil_from_days(tel_day_of(v), &year, &month, &day);
        v = tel_days_from_civil(year, b->unit == TEL_BUCKET_YEAR ? 1 : month, 1) * TEL_NS_PER_DAY;
    } else {
        v = floor_to(v, b->step_ns);
    }
    return v + offset;
}

/* The bucket of a decimal, free of the noise that binary fractions bring: 0.3 by 0.1 is 0.3. */
static double floor_number(const struct tel_bucket *b, double f)
{
    double scale = 1, step = b->step;
    while (step * scale != floor(step * scale) && scale < 1e15)
        scale *= 10;
    double v = (f - b->offset) * scale, s = step * scale;
    double r = fmod(floor(v + 1e-9 * fabs(v) / (fabs(v) + 1)), s);
    v = floor(v + 1e-9) - (r < 0 ? r + s : r);
    return v / scale + b->offset;
}

void tel_bucket_value(const struct tel_bucket *b, struct tel_span value, struct tel_buf *out)
{
    double number;
    int64_t n;
    uint32_t ip;
    char text[TEL_TIME_TEXT_MAX];
    if (value.len == 0 || (value.ptr[0] != '-' && (value.ptr[0] < '0' || value.ptr[0] > '9'))) {
        tel_buf_add_span(out, value);
    } else if (tel_number_decimal(value, &number)) {
        tel_number_print(out, floor_number(b, number));
    } else if (tel_number_time(value, &n)) {
        tel_buf_add(out, text, tel_time_format(text, tel_bucket_time(b, n)));
    } else if (tel_number_ipv4(value, &ip)) {
        int64_t low = floor_to((int64_t)ip - b->offset_ns, b->step_ns) + b->offset_ns;
        tel_number_print_ipv4(out, (uint32_t)TEL_MAX(low, 0));
    } else if (tel_number_duration(value, &n)) {
        tel_number_print_duration(out, floor_to(n - b->offset_ns, b->step_ns) + b->offset_ns);
    } else {
        tel_buf_add_span(out, value);
    }
}
