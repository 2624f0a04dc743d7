#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/crc32c.h"
#include "common/base/hash.h"
#include "common/base/map.h"
#include "common/base/timefmt.h"
#include "common/base/utf8.h"

static void test_first_values(void **state)
{
    (void)state;
    assert_int_equal(tel_crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(tel_crc32c_portable(0, "123456789", 9), 0xe3069283u);
    char text[TEL_TIME_TEXT_MAX];
    tel_time_format(text, INT64_C(1767323045000000006));
    assert_string_equal(text, "2026-01-02T03:04:05.000000006Z");
    int64_t ns;
    assert_true(tel_time_parse(tel_span_cstr(text), &ns));
    assert_int_equal(ns, INT64_C(1767323045000000006));
    assert_int_equal(tel_utf8_lower(0x416), 0x436);
    struct tel_map map = {0};
    *tel_map_put(&map, TEL_SPAN("a"), NULL) = 7;
    assert_int_equal(*tel_map_get(&map, TEL_SPAN("a")), 7);
    tel_map_free(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_first_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
