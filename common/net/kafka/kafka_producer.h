/*
 * An idempotent producer: acks=all, and a message is retried until Kafka has it, for as long as that
 * takes. Any thread may call; delivery callbacks run inside _poll, _flush and _free on the caller's
 * thread.
 *
 * The queue is bounded in bytes: beyond the budget _send says TEL_ERR_AGAIN. When librdkafka meets an
 * error that it calls fatal (its sequence numbers and the broker's no longer fit, as after a cluster
 * lost its data), every message without a fate gets a retriable error, and the producer goes on as a
 * new one. So messages fail as a suffix of what was sent to a partition, not in the middle, but for a
 * message that the broker finds too large, and on a cluster that lost its data: there a message can fail
 * though a later one was acknowledged. Whoever sends it again must reckon with repeats and disorder.
 */
#ifndef TEL_NET_KAFKA_PRODUCER_H
#define TEL_NET_KAFKA_PRODUCER_H

#include <stdint.h>

#include "common/base/span.h"
#include "common/net/kafka/kafka_client.h"

struct tel_kafka_producer_options {
    struct tel_kafka_client client;
    const char *compression;    /* "lz4" (when NULL), "zstd", "none" and what else librdkafka has */
    uint64_t queue_bytes;       /* 0: 32 MiB */
    uint32_t linger_ms;         /* how long a message may wait for others to join its request, unless
                                 * the partition has 128 KiB (or the property batch.size) already */
    uint32_t message_bytes_max; /* 0: TEL_KAFKA_MESSAGE_BYTES_MAX */
};

/* A batch of the record format fits, with Kafka's own heads. The topic's max.message.bytes must allow
 * what is really sent (Kafka's default is 1 MiB). */
#define TEL_KAFKA_MESSAGE_BYTES_MAX (17u << 20)

struct tel_kafka_producer;

/* Exactly once per accepted message: TEL_OK and the offset, or an error (err->retriable: sending it
 * again may succeed). */
typedef void tel_kafka_delivery_cb(void *message_ctx, tel_code code, int64_t offset,
                                   const struct tel_error *err);

/* Connects in the background. TEL_ERR_INVALID: a property is unknown or has no such value. */
TEL_MUST_USE tel_code tel_kafka_producer_new(const struct tel_kafka_producer_options *options,
                                             struct tel_kafka_producer **ret,
                                             struct tel_error *err);

/* Copies key and value. TEL_ERR_AGAIN: the queue is full or the topic is not there, poll first. TEL_ERR_LIMIT: too large. No
 * callback on an error. Partition -1: by the key's hash. */
TEL_MUST_USE tel_code tel_kafka_producer_send(struct tel_kafka_producer *p, const char *topic,
                                              int32_t partition, struct tel_span key,
                                              struct tel_span value, tel_kafka_delivery_cb *cb,
                                              void *message_ctx, struct tel_error *err);

/* Runs the callbacks that are due; waits up to timeout_ms for the first. Returns how many ran. */
int tel_kafka_producer_poll(struct tel_kafka_producer *p, int timeout_ms);
/* TEL_ERR_TIMEOUT if some message is still without its fate. */
TEL_MUST_USE tel_code tel_kafka_producer_flush(struct tel_kafka_producer *p, int timeout_ms,
                                               struct tel_error *err);
/* Bytes that wait for their fate. */
uint64_t tel_kafka_producer_queued_bytes(const struct tel_kafka_producer *p);
/* Messages without a fate get TEL_ERR_CLOSED. NULL is fine. */
void tel_kafka_producer_free(struct tel_kafka_producer *p);

/* Behaves as if librdkafka had met a fatal error: for tests. */
void tel_kafka_producer_break(struct tel_kafka_producer *p, const char *reason);

#endif
