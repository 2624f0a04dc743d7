/* Dead letters over the journal: what is buried can be read, also large things and odd bytes. That Avro's
 * own readers agree is tested in tests/integration/record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/record/codec.h"
#include "common/sys/fs.h"
#include "common/transport/dead_letter.h"
#include "common/transport/transport_journal.h"
#include "schemas/schemas.h"

static void must(tel_code rc, const struct tel_error *err)
{
    if (rc != TEL_OK)
        fail_msg("%s: %s", tel_code_name(rc), err->text);
}

static void test_fingerprint(void **state)
{
    (void)state;
    struct tel_error err;
    uint64_t fp = 0;
    must(tel_record_schema_fingerprint(
             tel_span_make(tel_schema_dead_letter_avsc, tel_schema_dead_letter_avsc_len), &fp, &err), &err);
    assert_true(fp == TEL_DEAD_LETTER_FINGERPRINT);
}

static void test_letters_are_durable_and_whole(void **state)
{
    (void)state;
    char dir[] = "/tmp/tel-dead-XXXXXX";
    struct tel_error err, why;
    struct tel_transport *t;
    struct tel_dead_letters *d;
    struct tel_consumer *c;
    assert_non_null(mkdtemp(dir));
    struct tel_transport_journal_options o = {.fs = tel_fs_system(), .dir = dir, .partitions = 2};
    must(tel_transport_journal_new(&o, &t, &err), &err);
    d = tel_dead_letters_new(t, "logs");
    size_t size = TEL_DEAD_LETTER_VALUE_MAX + 5;
    char *large = tel_calloc(1, size);
    struct tel_message m = {.partition = 3, .offset = 42, .timestamp_ns = 7, .key = TEL_SPAN("k"),
                            .value = tel_span_make(large, size)};
    (void)tel_error_set(&why, TEL_ERR_CORRUPT, "byte 9: odd \xff");
    must(tel_dead_letters_bury(d, &m, &why, &err), &err);
    struct tel_buf expected = {0};
    tel_dead_letter_encode("logs", &m, &why, &expected);
    assert_true(expected.len < TEL_DEAD_LETTER_VALUE_MAX + 200);
    assert_non_null(memmem(expected.ptr, expected.len, "CORRUPT", 7));

    const struct tel_message *got;
    size_t n = 0;
    int64_t gap;
    must(tel_transport_consumer(t, 1, 0, 0, &c, &err), &err); /* 3 modulo 2 */
    must(tel_consumer_poll(c, 5000, 10, &got, &n, &gap, &err), &err);
    assert_int_equal(n, 1);
    assert_int_equal(got[0].value.len, expected.len);
    assert_memory_equal(got[0].value.ptr, expected.ptr, expected.len);
    tel_consumer_free(c);
    tel_dead_letters_free(d);
    tel_transport_free(t);
    tel_buf_free(&expected);
    free(large);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fingerprint),
        cmocka_unit_test(test_letters_are_durable_and_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
