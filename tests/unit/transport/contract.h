/* What transport.h promises, as tests that every implementation must pass. */
#ifndef TESTS_UNIT_TRANSPORT_CONTRACT_H
#define TESTS_UNIT_TRANSPORT_CONTRACT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/transport/transport.h"

/* The transport under test, on a new and empty topic of CONTRACT_PARTITIONS. Set by a test's setup. */
#define CONTRACT_PARTITIONS 3u
extern struct tel_transport *contract_transport;

void contract_order_and_bytes(void **state);
void contract_start_anywhere(void **state);
void contract_follow(void **state);
void contract_gap_beyond_the_end(void **state);
void contract_too_large(void **state);
void contract_free_settles_all(void **state);

#define CONTRACT_TESTS(setup, teardown)                                                            \
    cmocka_unit_test_setup_teardown(contract_order_and_bytes, setup, teardown),                    \
        cmocka_unit_test_setup_teardown(contract_start_anywhere, setup, teardown),                 \
        cmocka_unit_test_setup_teardown(contract_follow, setup, teardown),                         \
        cmocka_unit_test_setup_teardown(contract_gap_beyond_the_end, setup, teardown),                 \
        cmocka_unit_test_setup_teardown(contract_too_large, setup, teardown),                      \
        cmocka_unit_test_setup_teardown(contract_free_settles_all, setup, teardown)

#endif
