/* The journal keeps the contract, and what is its own: locks, the number of partitions, budgets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/journal/journal.h"
#include "common/sys/fs.h"
#include "common/transport/transport_journal.h"
#include "tests/unit/transport/contract.h"

static char dir[64];

static struct tel_transport_journal_options options(void)
{
    return (struct tel_transport_journal_options){.dir = dir, .partitions = CONTRACT_PARTITIONS, .sync_interval_ms = 1};
}

static int open_it(void **state)
{
    (void)state;
    struct tel_error err;
    snprintf(dir, sizeof(dir), "/tmp/transport-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    struct tel_transport_journal_options o = options();
    return tel_transport_journal_new(&o, &contract_transport, &err) == TEL_OK ? 0 : -1;
}

static int close_it(void **state)
{
    (void)state;
    struct tel_error err;
    tel_transport_free(contract_transport);
    return tel_fs_remove_all(tel_fs_system(), dir, &err) == TEL_OK ? 0 : -1;
}

static void test_folder(void **state)
{
    (void)state;
    struct tel_error err;
    struct tel_transport *second = NULL;
    struct tel_transport_journal_options o = options();
    assert_int_equal(tel_transport_journal_new(&o, &second, &err), TEL_ERR_LOCKED);
    tel_transport_free(contract_transport);
    o.partitions = CONTRACT_PARTITIONS + 1;
    assert_int_equal(tel_transport_journal_new(&o, &second, &err), TEL_ERR_INVALID);
    assert_non_null(strstr(err.text, "3 partitions, which cannot become 4"));
    o.partitions = 0; /* as it is */
    assert_int_equal(tel_transport_journal_new(&o, &contract_transport, &err), TEL_OK);
    uint32_t n = 0;
    assert_int_equal(tel_transport_partitions(contract_transport, 0, &n, &err), TEL_OK);
    assert_int_equal(n, CONTRACT_PARTITIONS);
    struct tel_producer *p = NULL;
    assert_int_equal(tel_transport_producer(contract_transport, &p, &err), TEL_OK);
    assert_int_equal(tel_producer_send(p, n, TEL_SPAN("k"), TEL_SPAN("v"), NULL, NULL, &err), TEL_ERR_INVALID);
    tel_producer_free(p);
}

static void count_ok(void *ctx, tel_code code, int64_t offset, const struct tel_error *err)
{
    (void)offset, (void)err;
    *(int *)ctx += code == TEL_OK;
}

/* Full is AGAIN; releasing makes room, and what was trimmed is a gap. */
static void test_budget(void **state)
{
    (void)state;
    struct tel_error err;
    tel_transport_free(contract_transport);
    struct tel_transport_journal_options o = options();
    o.partition_bytes = 1u << 20;
    assert_int_equal(tel_transport_journal_new(&o, &contract_transport, &err), TEL_OK);
    struct tel_producer *p = NULL;
    struct tel_consumer *c = NULL;
    assert_int_equal(tel_transport_producer(contract_transport, &p, &err), TEL_OK);
    assert_int_equal(tel_transport_consumer(contract_transport, 0, 0, 0, &c, &err), TEL_OK);
    static char value[10000];
    int ok = 0, sent = 0;
    tel_code rc = TEL_OK;
    for (; sent < 1000 && rc == TEL_OK; sent += rc == TEL_OK) {
        rc = tel_producer_send(p, 0, TEL_SPAN("k"), tel_span_make(value, sizeof(value)), count_ok, &ok, &err);
        assert_int_equal(tel_producer_flush(p, 10000, &err), TEL_OK);
    }
    assert_int_equal(rc, TEL_ERR_AGAIN);
    assert_int_equal(ok, sent);
    tel_consumer_release(c, sent);
    while ((rc = tel_producer_send(p, 0, TEL_SPAN("k"), tel_span_make(value, sizeof(value)), count_ok, &ok, &err)) ==
           TEL_ERR_AGAIN)
        (void)tel_producer_poll(p, 1);
    assert_int_equal(rc, TEL_OK);
    const struct tel_message *m = NULL;
    size_t count = 0;
    int64_t gap = -1;
    assert_int_equal(tel_consumer_poll(c, 0, 10, &m, &count, &gap, &err), TEL_ERR_GAP);
    assert_true(gap > 0 && gap <= sent);
    tel_consumer_free(c);
    tel_producer_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTRACT_TESTS(open_it, close_it),
        cmocka_unit_test_setup_teardown(test_folder, open_it, close_it),
        cmocka_unit_test_setup_teardown(test_budget, open_it, close_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
