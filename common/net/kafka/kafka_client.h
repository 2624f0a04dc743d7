/*
 * What producers, consumers and the admin client of Kafka have in common: how to reach the cluster.
 * librdkafka stays behind this folder. Its log lines go to tel_log under the component "kafka"; the
 * values of properties never do.
 */
#ifndef TEL_NET_KAFKA_CLIENT_H
#define TEL_NET_KAFKA_CLIENT_H

#include "common/base/error.h"

struct tel_kafka_client {
    const char *brokers;   /* bootstrap list host:port,... */
    const char *client_id; /* NULL: "telescope" */
    /* Further librdkafka properties (TLS, SASL, group.id), name and value in turn, NULL at the end;
     * may be NULL. Those that the guarantees rest on (acks, idempotence, offset reset, ...) are set
     * after them and win. */
    const char *const *properties;
};

#endif
