/* Topics: made, deleted, looked at. One thread at a time; every call blocks up to its timeout. */
#ifndef TEL_NET_KAFKA_ADMIN_H
#define TEL_NET_KAFKA_ADMIN_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/net/kafka/kafka_client.h"

struct tel_kafka_admin;

struct tel_kafka_topic_spec {
    const char *name;
    uint32_t partitions;
    uint32_t replication;      /* 0: the broker's default */
    const char *const *config; /* name, value, ..., NULL; may be NULL */
};

struct tel_kafka_topic_info {
    uint32_t partitions;
    uint32_t replicas_min;  /* the fewest replicas of a partition */
    uint32_t in_sync_min;   /* the fewest that are in sync */
    uint32_t leaderless;    /* partitions without a leader */
};

TEL_MUST_USE tel_code tel_kafka_admin_new(const struct tel_kafka_client *client,
                                          struct tel_kafka_admin **ret, struct tel_error *err);
void tel_kafka_admin_free(struct tel_kafka_admin *a); /* NULL is fine */

/* TEL_ERR_EXISTS if it is there. */
TEL_MUST_USE tel_code tel_kafka_admin_create(struct tel_kafka_admin *a,
                                             const struct tel_kafka_topic_spec *spec,
                                             int timeout_ms, struct tel_error *err);
/* TEL_ERR_NOTFOUND if it is not. */
TEL_MUST_USE tel_code tel_kafka_admin_delete(struct tel_kafka_admin *a, const char *topic,
                                             int timeout_ms, struct tel_error *err);
TEL_MUST_USE tel_code tel_kafka_admin_describe(struct tel_kafka_admin *a, const char *topic,
                                               int timeout_ms, struct tel_kafka_topic_info *ret,
                                               struct tel_error *err);
/* The value of one setting of the topic, appended to *ret. TEL_ERR_NOTFOUND: no such setting. */
TEL_MUST_USE tel_code tel_kafka_admin_config(struct tel_kafka_admin *a, const char *topic,
                                             const char *name, int timeout_ms, struct tel_buf *ret,
                                             struct tel_error *err);

#endif
