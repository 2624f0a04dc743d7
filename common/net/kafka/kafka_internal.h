/* Shared by the files of common/net/kafka; the one header that lets librdkafka in. */
#ifndef TEL_NET_KAFKA_INTERNAL_H
#define TEL_NET_KAFKA_INTERNAL_H

#include <librdkafka/rdkafka.h>

#include "common/net/kafka/kafka_client.h"

/* Our code for one of librdkafka's. */
tel_code tel_kafka_code(rd_kafka_resp_err_t e);

/* "<formatted>: <what librdkafka says>", code and retriable from e. detail may be NULL. */
tel_code tel_kafka_error(struct tel_error *err, rd_kafka_resp_err_t e, const char *detail,
                         const char *fmt, ...) TEL_PRINTF(4, 5);

/* A configuration: the client's properties, then `set` (name, value, ..., NULL), which wins. */
TEL_MUST_USE tel_code tel_kafka_conf(const struct tel_kafka_client *client, const char *const *set,
                                     rd_kafka_conf_t **ret, struct tel_error *err);

/* Makes the handle; conf is taken over in any case. */
TEL_MUST_USE tel_code tel_kafka_handle(rd_kafka_type_t type, rd_kafka_conf_t *conf,
                                       rd_kafka_t **ret, struct tel_error *err);

/* The value of a property the user gave, or NULL. */
const char *tel_kafka_property(const struct tel_kafka_client *client, const char *name);

#endif
