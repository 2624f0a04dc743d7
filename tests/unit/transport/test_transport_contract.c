/* Kafka keeps the same contract: the shared cluster, a new topic for each test. */
#include "common/transport/transport_kafka.h"
#include "tests/unit/kafka/broker.h"
#include "tests/unit/transport/contract.h"

static int open_it(void **state)
{
    (void)state;
    struct tel_error err;
    struct tel_kafka_options o = {.brokers = broker_address()};
    o.topic = broker_new_topic(o.brokers, CONTRACT_PARTITIONS, NULL);
    return tel_transport_kafka_new(&o, &contract_transport, &err) == TEL_OK ? 0 : -1;
}

static int close_it(void **state)
{
    (void)state;
    tel_transport_free(contract_transport);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {CONTRACT_TESTS(open_it, close_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
