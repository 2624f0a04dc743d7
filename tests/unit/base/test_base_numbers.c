/* Numbers in text, varints, checksums, hashes, randomness, clocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/base/crc32c.h"
#include "common/base/hash.h"
#include "common/base/rand.h"
#include "common/base/varint.h"

static void test_integers_in_text(void **state)
{
    (void)state;
    unsigned long long u = 7;
    long long i = 7;
    assert_true(tel_span_to_u64(TEL_SPAN("18446744073709551615"), &u) && u == ULLONG_MAX);
    assert_true(tel_span_to_u64(TEL_SPAN("0"), &u) && u == 0);
    assert_true(tel_span_to_u64(TEL_SPAN("0042"), &u) && u == 42);
    assert_true(tel_span_to_i64(TEL_SPAN("-9223372036854775808"), &i) && i == LLONG_MIN);
    assert_true(tel_span_to_i64(TEL_SPAN("9223372036854775807"), &i) && i == LLONG_MAX);
    assert_true(tel_span_to_i64(TEL_SPAN("-0"), &i) && i == 0);
    static const char *const bad[] = {"", "-", "+1", " 1", "1 ", "1a", "0x1", "18446744073709551616",
                                      "99999999999999999999999", "1.0"};
    u = 7;
    i = 7;
    for (size_t k = 0; k < TEL_ARRAY_LEN(bad); k++) {
        assert_false(tel_span_to_u64(tel_span_cstr(bad[k]), &u));
        assert_false(tel_span_to_i64(tel_span_cstr(bad[k]), &i));
    }
    assert_false(tel_span_to_u64(TEL_SPAN("-1"), &u));
    assert_false(tel_span_to_i64(TEL_SPAN("9223372036854775808"), &i));
    assert_false(tel_span_to_i64(TEL_SPAN("-9223372036854775809"), &i));
    assert_true(u == 7 && i == 7);
}

static void test_doubles_in_text(void **state)
{
    (void)state;
    static const char *const good[] = {"0", "-0", "1", "-1.5", ".5", "5.", "1e3", "1E-3", "+2.25e+1", "0.1",
                                       "123456789012345", "1234567890123456789", "1.7976931348623157e308",
                                       "5e-324", "1e-400", "000000000000000000001", "3.14159265358979323846"};
    static const char *const bad[] = {"", ".", "-", "e3", "1e", "1e+", "inf", "nan", "0x1p3", " 1", "1 ",
                                      "1.2.3", "1e999", "--1", "1,5"};
    double d = 7;
    for (size_t k = 0; k < TEL_ARRAY_LEN(good); k++) {
        double want = strtod(good[k], NULL);
        assert_true(tel_span_to_double(tel_span_cstr(good[k]), &d));
        assert_memory_equal(&d, &want, sizeof d);
    }
    d = 7;
    for (size_t k = 0; k < TEL_ARRAY_LEN(bad); k++)
        assert_false(tel_span_to_double(tel_span_cstr(bad[k]), &d));
    assert_true(d == 7);
    struct tel_rand rand;
    tel_rand_init(&rand, 3);
    for (int k = 0; k < 100000; k++) {
        char text[64];
        int digits = (int)tel_rand_below(&rand, 18);
        snprintf(text, sizeof text, "%.*f", digits, (tel_rand_double(&rand) - 0.5) * 1e5);
        double want = strtod(text, NULL);
        assert_true(tel_span_to_double(tel_span_cstr(text), &d));
        assert_memory_equal(&d, &want, sizeof d);
    }
}

static void test_varint(void **state)
{
    (void)state;
    struct tel_rand rand;
    char bytes[TEL_VARINT_MAX];
    tel_rand_init(&rand, 5);
    for (int k = 0; k < 100000; k++) {
        uint64_t v = tel_rand_u64(&rand) >> tel_rand_below(&rand, 64), got = 1;
        size_t len = tel_varint_put(bytes, v);
        const char *pos = bytes;
        assert_true(tel_varint_get(&pos, bytes + len, &got));
        assert_true(got == v && pos == bytes + len);
        pos = bytes;
        assert_false(tel_varint_get(&pos, bytes + len - 1, &got));
        assert_ptr_equal(pos, bytes);
        assert_true(tel_unzigzag(tel_zigzag((int64_t)v)) == (int64_t)v);
    }
    const char eleven[] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    const char over[] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02";
    const char max[] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    uint64_t v = 7;
    const char *pos = eleven;
    assert_false(tel_varint_get(&pos, eleven + 11, &v));
    pos = over;
    assert_false(tel_varint_get(&pos, over + 10, &v));
    assert_true(v == 7);
    pos = max;
    assert_true(tel_varint_get(&pos, max + 10, &v) && v == UINT64_MAX);
    assert_int_equal(tel_zigzag(-1), 1);
    assert_int_equal(tel_zigzag(1), 2);
    assert_true(tel_unzigzag(tel_zigzag(INT64_MIN)) == INT64_MIN);
}

static void test_crc32c(void **state)
{
    (void)state;
    /* RFC 3720, B.4 */
    unsigned char bytes[48];
    memset(bytes, 0, 32);
    assert_int_equal(tel_crc32c(0, bytes, 32), 0x8a9136aau);
    memset(bytes, 0xff, 32);
    assert_int_equal(tel_crc32c(0, bytes, 32), 0x62a8ab43u);
    for (unsigned i = 0; i < 32; i++)
        bytes[i] = (unsigned char)i;
    assert_int_equal(tel_crc32c(0, bytes, 32), 0x46dd794eu);
    for (unsigned i = 0; i < 32; i++)
        bytes[i] = (unsigned char)(31 - i);
    assert_int_equal(tel_crc32c(0, bytes, 32), 0x113fdb5cu);
    assert_int_equal(tel_crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(tel_crc32c(0, NULL, 0), 0);

    /* The two agree on every length, alignment and cut. */
    enum { MAX = 10000 };
    static char data[MAX + 16];
    struct tel_rand rand;
    tel_rand_init(&rand, 9);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)tel_rand_u64(&rand);
    for (int k = 0; k < 3000; k++) {
        size_t from = (size_t)tel_rand_below(&rand, 16), len = (size_t)tel_rand_below(&rand, MAX);
        size_t cut = (size_t)tel_rand_below(&rand, len + 1);
        uint32_t start = (uint32_t)tel_rand_u64(&rand);
        uint32_t whole = tel_crc32c_portable(start, data + from, len);
        assert_int_equal(tel_crc32c(start, data + from, len), whole);
        assert_int_equal(tel_crc32c(tel_crc32c(start, data + from, cut), data + from + cut, len - cut),
                         whole);
    }
}

/* These values are on disks: they must never change. */
static void test_hash_is_stable(void **state)
{
    (void)state;
    assert_true(tel_hash64((struct tel_span){0}, 0) == UINT64_C(0x2d06800538d394c2));
    assert_true(tel_hash64(TEL_SPAN(""), 0) == tel_hash64((struct tel_span){0}, 0));
    struct tel_hash128 h = tel_hash128(TEL_SPAN(""), 0);
    assert_true(h.hi == UINT64_C(0x99aa06d3014798d8) && h.lo == UINT64_C(0x6001c324468d497f));
    assert_true(tel_hash64(TEL_SPAN("abc"), 0) != tel_hash64(TEL_SPAN("abc"), 1));
    assert_true(tel_hash_u64(1) != tel_hash_u64(2));
}

static void test_rand(void **state)
{
    (void)state;
    struct tel_rand a, b;
    tel_rand_init(&a, 42);
    tel_rand_init(&b, 42);
    for (int i = 0; i < 100; i++)
        assert_true(tel_rand_u64(&a) == tel_rand_u64(&b));
    tel_rand_init(&b, 43);
    assert_true(tel_rand_u64(&a) != tel_rand_u64(&b));
    unsigned counts[7] = {0};
    for (int i = 0; i < 70000; i++)
        counts[tel_rand_below(&a, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_true(counts[i] > 9500 && counts[i] < 10500);
    assert_int_equal(tel_rand_below(&a, 1), 0);
    double sum = 0;
    for (int i = 0; i < 10000; i++) {
        double d = tel_rand_double(&a);
        assert_true(d >= 0 && d < 1);
        sum += d;
    }
    assert_true(sum > 4800 && sum < 5200);
    assert_true(tel_rand_seed() != tel_rand_seed());
    char bytes[64] = {0}, zeros[64] = {0};
    tel_rand_secure(bytes, sizeof bytes);
    assert_memory_not_equal(bytes, zeros, sizeof bytes);
}

static void test_clock(void **state)
{
    (void)state;
    const struct tel_clock *clock = tel_clock_system();
    int64_t mono = tel_mono_ns(clock);
    assert_true(tel_mono_ns(clock) >= mono);
    assert_true(tel_wall_ns(clock) > INT64_C(1700000000) * TEL_NS_PER_S);
    struct tel_clock_manual manual;
    tel_clock_manual_init(&manual, 1000);
    assert_int_equal(tel_wall_ns(&manual.clock), 1000);
    mono = tel_mono_ns(&manual.clock);
    tel_clock_manual_advance(&manual, 5);
    assert_int_equal(tel_wall_ns(&manual.clock), 1005);
    assert_int_equal(tel_mono_ns(&manual.clock), mono + 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers_in_text), cmocka_unit_test(test_doubles_in_text),
        cmocka_unit_test(test_varint),           cmocka_unit_test(test_crc32c),
        cmocka_unit_test(test_hash_is_stable),   cmocka_unit_test(test_rand),
        cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
