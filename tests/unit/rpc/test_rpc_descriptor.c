/* Descriptor sets: what is right is read, what is damaged at any byte is told and never followed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "common/base/rand.h"
#include "common/net/rpc/descriptor.h"
#include "tests/unit/rpc/echo_server.h"

static void test_kinds(void **state)
{
    (void)state;
    enum tel_rpc_kind kinds[3];
    struct tel_error err;
    assert_int_equal(
        tel_rpc_kinds(echo_descriptor_set(), &telescope__test__v1__echo__descriptor, kinds, &err),
        TEL_OK);
    assert_int_equal(kinds[0], TEL_RPC_UNARY);
    assert_int_equal(kinds[1], TEL_RPC_SERVER_STREAM);
    assert_int_equal(kinds[2], TEL_RPC_BIDI);
}

static void test_wrong_service(void **state)
{
    (void)state;
    ProtobufCServiceDescriptor other = telescope__test__v1__echo__descriptor;
    enum tel_rpc_kind kinds[3];
    struct tel_error err;
    other.name = "telescope.test.v1.Other";
    assert_int_equal(tel_rpc_kinds(echo_descriptor_set(), &other, kinds, &err), TEL_ERR_INVALID);
    other = telescope__test__v1__echo__descriptor;
    other.n_methods = 2;
    assert_int_equal(tel_rpc_kinds(echo_descriptor_set(), &other, kinds, &err), TEL_ERR_INVALID);
}

/* Cut at every byte: never a crash, and never taken for whole unless nothing but whole files are
 * left. */
static void test_truncated(void **state)
{
    (void)state;
    struct tel_span set = echo_descriptor_set();
    for (size_t cut = 0; cut < set.len; cut++) {
        char *copy = malloc(cut + 1);
        memcpy(copy, set.ptr, cut);
        enum tel_rpc_kind kinds[3];
        struct tel_error err;
        assert_int_not_equal(tel_rpc_kinds(tel_span_make(copy, cut),
                                           &telescope__test__v1__echo__descriptor, kinds, &err),
                             TEL_OK);
        free(copy);
    }
}

static bool any_symbol(void *ctx, struct tel_span name, struct tel_span message)
{
    (void)message;
    *(size_t *)ctx += name.len;
    return true;
}

static bool any_file(void *ctx, struct tel_span file)
{
    return rpc_descriptor_symbols(file, any_symbol, ctx);
}

static void test_random_damage(void **state)
{
    (void)state;
    uint64_t seed = tel_rand_seed();
    print_message("seed %llu\n", (unsigned long long)seed);
    struct tel_rand r;
    tel_rand_init(&r, seed);
    struct tel_span set = echo_descriptor_set();
    for (int i = 0; i < 20000; i++) {
        char *copy = malloc(set.len);
        memcpy(copy, set.ptr, set.len);
        for (uint64_t n = 1 + tel_rand_below(&r, 4); n > 0; n--)
            copy[tel_rand_below(&r, set.len)] = (char)tel_rand_u64(&r);
        size_t seen = 0;
        rpc_descriptor_files(tel_span_make(copy, set.len), any_file, &seen);
        free(copy);
    }
}

static void test_statuses(void **state)
{
    (void)state;
    for (unsigned s = 0; s < TEL_RPC_STATUS_COUNT; s++) {
        tel_code code = tel_rpc_status_to_code((enum tel_rpc_status)s);
        assert_int_equal(code == TEL_OK, s == TEL_RPC_OK);
        assert_non_null(tel_rpc_status_name((enum tel_rpc_status)s));
    }
    for (unsigned c = 0; c < TEL_CODE_COUNT; c++)
        assert_int_equal(tel_rpc_status_from_code((tel_code)c) == TEL_RPC_OK, c == TEL_OK);
    assert_string_equal(tel_rpc_status_name((enum tel_rpc_status)99), "UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),     cmocka_unit_test(test_wrong_service),
        cmocka_unit_test(test_truncated), cmocka_unit_test(test_random_damage),
        cmocka_unit_test(test_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
