/* The transport over Kafka. librdkafka stays behind common/net/kafka. */
#ifndef TEL_TRANSPORT_KAFKA_H
#define TEL_TRANSPORT_KAFKA_H

#include "common/transport/transport.h"

struct tel_kafka_options {
    const char *brokers; /* bootstrap list host:port,... */
    const char *topic;
    const char *compression; /* "lz4" (default when NULL), "zstd", "none" */
    uint64_t queue_bytes;    /* budget of the producer's queue; 0: 32 MiB */
    uint32_t linger_ms;      /* how long the producer may wait to fill a request */
    uint64_t fetch_bytes;    /* budget of a consumer's prefetch, per partition; 0: 16 MiB */
    uint32_t create_partitions; /* not 0: a topic that is not there is made, with so many partitions and
                                 * the brokers' own defaults, when tel_transport_partitions asks */
    const char *client_id;
    /* Further librdkafka properties (TLS, SASL), name and value in turn, NULL at the end; may be
     * NULL. Values never reach a log. */
    const char *const *properties;
};

/* Connects in the background: a broker that is absent is not an error here. */
TEL_MUST_USE tel_code tel_transport_kafka_new(const struct tel_kafka_options *options,
                                              struct tel_transport **ret, struct tel_error *err);

#endif
