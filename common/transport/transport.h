/*
 * The queue between sidecars and shards: a topic of P partitions, each an ordered log of messages
 * with growing offsets. Two implementations stand behind this: Kafka (transport_kafka.c) and the
 * journal (transport_journal.c). Sidecar and shard know only this header.
 *
 * Threads: a producer may be used from any thread; its delivery callbacks run inside
 * tel_producer_poll or _flush, on the caller's thread. A consumer belongs to one thread, one
 * partition each.
 */
#ifndef TEL_TRANSPORT_TRANSPORT_H
#define TEL_TRANSPORT_TRANSPORT_H

#include <stdint.h>

#include "common/base/error.h"
#include "common/base/span.h"

struct tel_transport;
struct tel_producer;
struct tel_consumer;

/* ---- producing ---------------------------------------------------------------------------- */

/* Tells the fate of one message: code TEL_OK and its offset once it is durable (acknowledged by all
 * in-sync replicas, or fsynced), else an error. Called exactly once per accepted message; messages
 * of one partition are acknowledged in order. err->retriable: producing it again may succeed. */
typedef void tel_delivery_cb(void *message_ctx, tel_code code, int64_t offset,
                             const struct tel_error *err);

/* Number of partitions of the topic. Blocks up to timeout_ms for the first answer. */
TEL_MUST_USE tel_code tel_transport_partitions(struct tel_transport *t, int timeout_ms,
                                               uint32_t *ret_count, struct tel_error *err);

TEL_MUST_USE tel_code tel_transport_producer(struct tel_transport *t, struct tel_producer **ret,
                                             struct tel_error *err);

/* Copies key and value and returns at once. TEL_ERR_AGAIN: the queue is full (its budget in bytes), or
 * its topic is not there; poll and try again later; that is the back-pressure. TEL_ERR_LIMIT: the message is larger than
 * the transport takes. On any error the callback is not called. */
TEL_MUST_USE tel_code tel_producer_send(struct tel_producer *p, uint32_t partition,
                                        struct tel_span key, struct tel_span value,
                                        tel_delivery_cb *cb, void *message_ctx,
                                        struct tel_error *err);

/* Runs the callbacks that are due; waits up to timeout_ms for the first. Returns how many ran. */
int tel_producer_poll(struct tel_producer *p, int timeout_ms);
/* Waits until every message has met its fate. TEL_ERR_TIMEOUT if some have not. */
TEL_MUST_USE tel_code tel_producer_flush(struct tel_producer *p, int timeout_ms,
                                         struct tel_error *err);
/* Messages without a fate get TEL_ERR_CLOSED. NULL is fine. */
void tel_producer_free(struct tel_producer *p);

/* ---- consuming ---------------------------------------------------------------------------- */

struct tel_message {
    uint32_t partition;
    int64_t offset;
    int64_t timestamp_ns; /* when the queue took it */
    uint64_t mark; /* tells it from another message at the same offset; 0: the queue has none */
    struct tel_span key, value; /* valid until the next tel_consumer_poll of this consumer */
};

/* From offset `start` on (it need not exist: compaction and trimming leave holes, see poll). mark: of
 * the message before `start`, when that was read, perhaps by an earlier process; 0: not known. A queue
 * that has another message there is another log, and polled with TEL_ERR_GAP, though it holds `start`. */
TEL_MUST_USE tel_code tel_transport_consumer(struct tel_transport *t, uint32_t partition,
                                             int64_t start, uint64_t mark,
                                             struct tel_consumer **ret, struct tel_error *err);

/* Up to `max` messages in *ret_messages[0..*ret_count), waiting up to timeout_ms for the first.
 * TEL_OK with count 0: nothing new. TEL_ERR_GAP: the log does not hold the next offset: it was trimmed
 * past it, or is shorter than it was (it came back empty or lost its tail), or is another log.
 * *ret_gap_to is the log's first offset; when the log was not just trimmed that is below the next
 * one, or at it: what is there was perhaps never seen. The
 * caller reports the gap and calls tel_consumer_seek, nothing is skipped in silence. Retriable
 * errors: keep polling. */
TEL_MUST_USE tel_code tel_consumer_poll(struct tel_consumer *c, int timeout_ms, size_t max,
                                        const struct tel_message **ret_messages, size_t *ret_count,
                                        int64_t *ret_gap_to, struct tel_error *err);
TEL_MUST_USE tel_code tel_consumer_seek(struct tel_consumer *c, int64_t offset,
                                        struct tel_error *err);
/* The log's first offset and the one behind its last, as last heard; -1 when not known yet.
 * Does not block. high minus the next offset to be indexed is the lag in messages. */
void tel_consumer_watermarks(const struct tel_consumer *c, int64_t *ret_low, int64_t *ret_high);
/* Tells the queue that everything below `offset` is durable elsewhere, so that it may trim (the
 * journal) or report lag to other tools (Kafka: a best-effort commit). Does not block. */
void tel_consumer_release(struct tel_consumer *c, int64_t offset);
void tel_consumer_free(struct tel_consumer *c);

/* ---- making one --------------------------------------------------------------------------- */

/* Closes what is shared; producers and consumers must be freed before. NULL is fine. */
void tel_transport_free(struct tel_transport *t);

/* What an implementation provides; callers use the functions above. */
struct tel_transport_ops {
    const char *name;
    tel_code (*partitions)(struct tel_transport *, int, uint32_t *, struct tel_error *);
    tel_code (*producer)(struct tel_transport *, struct tel_producer **, struct tel_error *);
    tel_code (*send)(struct tel_producer *, uint32_t, struct tel_span, struct tel_span,
                     tel_delivery_cb *, void *, struct tel_error *);
    int (*producer_poll)(struct tel_producer *, int);
    tel_code (*flush)(struct tel_producer *, int, struct tel_error *);
    void (*producer_free)(struct tel_producer *);
    tel_code (*consumer)(struct tel_transport *, uint32_t, int64_t, uint64_t,
                         struct tel_consumer **, struct tel_error *);
    tel_code (*poll)(struct tel_consumer *, int, size_t, const struct tel_message **, size_t *,
                     int64_t *, struct tel_error *);
    tel_code (*seek)(struct tel_consumer *, int64_t, struct tel_error *);
    void (*watermarks)(const struct tel_consumer *, int64_t *, int64_t *);
    void (*release)(struct tel_consumer *, int64_t);
    void (*consumer_free)(struct tel_consumer *);
    void (*free)(struct tel_transport *);
};

/* Each implementation's structs begin with these. */
struct tel_transport {
    const struct tel_transport_ops *ops;
};
struct tel_producer {
    const struct tel_transport_ops *ops;
};
struct tel_consumer {
    const struct tel_transport_ops *ops;
};

#endif
