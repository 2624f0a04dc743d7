#include "sidecar/insert/insert_time.h"

#include "common/base/timefmt.h"

/* "1700000000", "1700000000.25", "-1": exact to the nanosecond, which a double would not be. */
static bool parse_unix(struct tel_span text, int64_t *ret_ns)
{
    struct tel_span rest = text;
    bool negative = rest.len > 0 && rest.ptr[0] == '-';
    if (negative)
        rest = tel_span_slice(rest, 1, rest.len);
    struct tel_span whole = tel_span_split(&rest, '.');
    unsigned long long n = 0;
    if (!tel_span_to_u64(whole, &n) || n > INT64_MAX)
        return false;
    unsigned __int128 unit = 1; /* nanoseconds */
    if (n < (UINT64_C(1) << 32))
        unit = 1000000000;
    else if (n < (UINT64_C(1000) << 32))
        unit = 1000000;
    else if (n < (UINT64_C(1000000) << 32))
        unit = 1000;
    unsigned __int128 ns = n * unit;
    for (size_t i = 0; i < rest.len; i++) {
        if (rest.ptr[i] < '0' || rest.ptr[i] > '9')
            return false;
        unit /= 10;
        ns += unit * (unsigned)(rest.ptr[i] - '0');
    }
    if (ns > INT64_MAX)
        return false;
    *ret_ns = negative ? -(int64_t)ns : (int64_t)ns;
    return true;
}

bool insert_time_parse(struct tel_span text, int64_t now_ns, int64_t *ret_ns)
{
    text = tel_span_trim(text);
    if (text.len == 0 || (text.len == 1 && text.ptr[0] == '0')) {
        *ret_ns = now_ns;
        return true;
    }
    return (text.len >= 10 && tel_time_parse(text, ret_ns)) || parse_unix(text, ret_ns);
}
