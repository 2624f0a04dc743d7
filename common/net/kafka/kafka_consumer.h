/*
 * Reading partitions by manual assignment. A reader is one connection to the cluster, shared by its
 * consumers; a consumer is one partition with a queue of its own. A reader may be used from any
 * thread; a consumer belongs to one thread. Offsets are kept by the caller.
 *
 * An offset that the log does not hold is TEL_ERR_GAP, never a silent jump: the log was trimmed past
 * it, or is shorter than it was (a topic that came back empty, or lost its tail), or is another log
 * than the one that was read before: by this consumer before a connection broke, or by an earlier one
 * that left its last message's mark.
 */
#ifndef TEL_NET_KAFKA_CONSUMER_H
#define TEL_NET_KAFKA_CONSUMER_H

#include <stdint.h>

#include "common/base/span.h"
#include "common/net/kafka/kafka_client.h"

struct tel_kafka_reader_options {
    struct tel_kafka_client client;
    uint64_t fetch_bytes; /* prefetched per partition; 0: 16 MiB */
};

struct tel_kafka_reader;
struct tel_kafka_consumer;

struct tel_kafka_message {
    int64_t offset, timestamp_ns;
    uint64_t mark; /* of its time, length, key and the ends of its value; never 0 */
    struct tel_span key, value;
};

/* ---- reader -------------------------------------------------------------------------------- */

TEL_MUST_USE tel_code tel_kafka_reader_new(const struct tel_kafka_reader_options *options,
                                           struct tel_kafka_reader **ret, struct tel_error *err);
/* Its consumers must be freed before. NULL is fine. */
void tel_kafka_reader_free(struct tel_kafka_reader *r);

/* Number of partitions. TEL_ERR_NOTFOUND (retriable): no such topic yet. Blocks. */
TEL_MUST_USE tel_code tel_kafka_reader_partitions(struct tel_kafka_reader *r, const char *topic,
                                                  int timeout_ms, uint32_t *ret,
                                                  struct tel_error *err);
/* The log's first offset and the one behind its last, asked from the broker. Blocks. */
TEL_MUST_USE tel_code tel_kafka_reader_bounds(struct tel_kafka_reader *r, const char *topic,
                                              uint32_t partition, int timeout_ms, int64_t *ret_low,
                                              int64_t *ret_high, struct tel_error *err);

/* ---- consumer ------------------------------------------------------------------------------ */

/* Reads from `start` on; mark: of the message before it, or 0. A log that holds another message there is
 * another log: TEL_ERR_GAP. Neither broker nor topic need be there yet. TEL_ERR_EXISTS: this reader has
 * a consumer of that partition already. */
TEL_MUST_USE tel_code tel_kafka_consumer_new(struct tel_kafka_reader *r, const char *topic,
                                             uint32_t partition, int64_t start, uint64_t mark,
                                             struct tel_kafka_consumer **ret,
                                             struct tel_error *err);

/* Up to max messages (256 at most), waiting up to timeout_ms for the first; they are valid until the
 * next poll, seek or free. TEL_OK and none: nothing new. TEL_ERR_GAP: *ret_gap_to is the log's first
 * offset; nothing comes until tel_kafka_consumer_seek. Retriable errors: poll again. */
TEL_MUST_USE tel_code tel_kafka_consumer_poll(struct tel_kafka_consumer *c, int timeout_ms,
                                              size_t max, const struct tel_kafka_message **ret,
                                              size_t *ret_count, int64_t *ret_gap_to,
                                              struct tel_error *err);
TEL_MUST_USE tel_code tel_kafka_consumer_seek(struct tel_kafka_consumer *c, int64_t offset,
                                              struct tel_error *err);
/* As last heard, -1 when not known; does not block. When the end of the log was reached, high is the
 * next offset, even if markers that are no messages lie between. */
void tel_kafka_consumer_watermarks(const struct tel_kafka_consumer *c, int64_t *ret_low,
                                   int64_t *ret_high);
/* Commits the offset in the background, at most every few seconds, when the client's properties have a
 * group.id: for other tools to show the lag. Else does nothing. */
void tel_kafka_consumer_release(struct tel_kafka_consumer *c, int64_t offset);
void tel_kafka_consumer_free(struct tel_kafka_consumer *c); /* NULL is fine */

#endif
