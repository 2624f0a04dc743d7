/* The embedded schemas are there, whole, and what they say they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "schemas/router.pb-c.h"
#include "schemas/schemas.h"
#include "schemas/shard.pb-c.h"

static void test_avsc_is_json_text(void **state)
{
    (void)state;
    const char *text = (const char *)tel_schema_log_batch_avsc;
    assert_int_equal(strlen(text), tel_schema_log_batch_avsc_len);
    assert_int_equal(text[0], '{');
    assert_non_null(strstr(text, "\"LogBatch\""));
}

/* The set holds the file's name and its service; reflection hands it out as it is. */
static int holds(const unsigned char *set, size_t len, const char *word)
{
    return memmem(set, len, word, strlen(word)) != NULL;
}

static void test_descriptor_sets_hold_their_services(void **state)
{
    (void)state;
    assert_int_equal(tel_schema_shard_pb[0], 0x0a); /* field 1, a message: FileDescriptorProto */
    assert_true(holds(tel_schema_shard_pb, tel_schema_shard_pb_len, "shard.proto"));
    assert_true(holds(tel_schema_shard_pb, tel_schema_shard_pb_len, "SearchRequest"));
    assert_int_equal(tel_schema_router_pb[0], 0x0a);
    assert_true(holds(tel_schema_router_pb, tel_schema_router_pb_len, "router.proto"));
    assert_int_equal(tel_schema_router_pb[tel_schema_router_pb_len], 0);
}

static void test_generated_messages_round_trip(void **state)
{
    (void)state;
    Telescope__Shard__V1__SearchRequest req = TELESCOPE__SHARD__V1__SEARCH_REQUEST__INIT;
    uint32_t partitions[] = {0, 3};
    req.tenant = (char *)"default";
    req.query = (char *)"error";
    req.n_partitions = 2;
    req.partitions = partitions;
    req.start_ns = -5;
    uint8_t bytes[128];
    size_t n = telescope__shard__v1__search_request__pack(&req, bytes);
    assert_true(n > 0 && n <= sizeof bytes);
    Telescope__Shard__V1__SearchRequest *got =
        telescope__shard__v1__search_request__unpack(NULL, n, bytes);
    assert_non_null(got);
    assert_string_equal(got->query, "error");
    assert_int_equal(got->n_partitions, 2);
    assert_int_equal(got->partitions[1], 3);
    assert_int_equal(got->start_ns, -5);
    telescope__shard__v1__search_request__free_unpacked(got, NULL);
    assert_string_equal(telescope__router__v1__query__descriptor.name, "telescope.router.v1.Query");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_avsc_is_json_text),
        cmocka_unit_test(test_descriptor_sets_hold_their_services),
        cmocka_unit_test(test_generated_messages_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
