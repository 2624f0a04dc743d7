/* See order.h. */
#include "common/logsql/order.h"

#include "common/logsql/number.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Compares the runs of digits at a[*i] and b[*j] by value, then by length (1 before 01), and moves
 * behind them. */
static int digits_cmp(struct tel_span a, size_t *i, struct tel_span b, size_t *j)
{
    size_t p = *i, q = *j;
    while (p < a.len && a.ptr[p] == '0')
        p++;
    while (q < b.len && b.ptr[q] == '0')
        q++;
    size_t p0 = p, q0 = q, from_a = *i, from_b = *j;
    while (p < a.len && is_digit(a.ptr[p]))
        p++;
    while (q < b.len && is_digit(b.ptr[q]))
        q++;
    *i = p;
    *j = q;
    if (p - p0 != q - q0)
        return p - p0 < q - q0 ? -1 : 1;
    int c = p > p0 ? memcmp(a.ptr + p0, b.ptr + q0, p - p0) : 0;
    return c ? c : (p - from_a > q - from_b) - (p - from_a < q - from_b);
}

int tel_order_natural(struct tel_span a, struct tel_span b)
{
    size_t i = 0, j = 0;
    while (i < a.len && j < b.len) {
        if (is_digit(a.ptr[i]) && is_digit(b.ptr[j])) {
            int c = digits_cmp(a, &i, b, &j);
            if (c)
                return c;
            continue;
        }
        if (is_digit(a.ptr[i]) != is_digit(b.ptr[j]))
            return is_digit(a.ptr[i]) ? -1 : 1;
        if (a.ptr[i] != b.ptr[j])
            return (unsigned char)a.ptr[i] < (unsigned char)b.ptr[j] ? -1 : 1;
        i++;
        j++;
    }
    if (i < a.len || j < b.len)
        return i < a.len ? 1 : -1;
    return tel_span_cmp(a, b);
}

static struct tel_order_key key_of(struct tel_span value, bool any)
{
    struct tel_order_key key = {.text = value, .cls = TEL_ORDER_TEXT};
    if (value.len == 0) {
        key.cls = TEL_ORDER_EMPTY;
        return key;
    }
    uint32_t ip;
    if (tel_number_i64(value, &key.integer)) {
        key.cls = TEL_ORDER_NUMBER;
        key.is_integer = true;
        key.number = (double)key.integer;
    } else if (any && tel_number_time(value, &key.integer)) { /* a double has no nanoseconds */
        key.cls = TEL_ORDER_NUMBER;
        key.is_integer = true;
        key.number = (double)key.integer;
    } else if (any ? tel_number_parse_any(value, &key.number)
                   : tel_number_decimal(value, &key.number)) {
        key.cls = TEL_ORDER_NUMBER;
    } else if (!any && tel_number_ipv4(value, &ip)) {
        key.cls = TEL_ORDER_NUMBER;
        key.number = ip;
    }
    if (key.number != key.number) { /* NaN has no place among numbers */
        key.cls = TEL_ORDER_TEXT;
        key.number = 0;
    }
    return key;
}

struct tel_order_key tel_order_key_sort(struct tel_span value)
{
    return key_of(value, false);
}

struct tel_order_key tel_order_key_any(struct tel_span value)
{
    return key_of(value, true);
}

int tel_order_cmp(const struct tel_order_key *a, const struct tel_order_key *b)
{
    if (a->cls != b->cls)
        return a->cls < b->cls ? -1 : 1;
    if (a->cls == TEL_ORDER_EMPTY)
        return 0;
    if (a->cls == TEL_ORDER_TEXT)
        return tel_order_natural(a->text, b->text);
    if (a->is_integer && b->is_integer)
        return a->integer < b->integer ? -1 : a->integer > b->integer;
    return a->number < b->number ? -1 : a->number > b->number;
}

bool tel_order_less(struct tel_span a, struct tel_span b)
{
    if (tel_span_eq(a, b))
        return false;
    struct tel_order_key x = tel_order_key_any(a), y = tel_order_key_any(b);
    return tel_order_cmp(&x, &y) < 0;
}
