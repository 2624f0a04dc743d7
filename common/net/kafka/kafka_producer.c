/*
 * The producer. Each message carries a small heap object with its callback and its share of the byte
 * budget, which comes back with the delivery report.
 *
 * librdkafka's handle sits in a counted `struct handle`, because a fatal error replaces it while other
 * threads may be inside it:
 *
 *     producer ── current ──► handle 2 ── rd_kafka_t
 *                             handle 1 ── rd_kafka_t   broken; lives until its last user left
 *
 * A broken handle is replaced only when every message of it has met its fate, so that the order
 * within a partition holds across the two.
 */
#include "common/net/kafka/kafka_producer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#define TEL_LOG_COMPONENT "kafka"
#include "common/base/log.h"
#include "common/net/kafka/kafka_internal.h"

enum { MESSAGE_OVERHEAD = 200, QUEUE_BYTES_DEFAULT = 32 << 20 };

/* What goes to a partition at once, uncompressed, unless a message alone is larger. That much does not
 * linger: who sends one large message at a time, and waits for it, would wait for the linger as well. */
#define SET_BYTES "131072"

struct handle {
    rd_kafka_t *rk;
    struct tel_kafka_producer *owner;
    unsigned refs; /* under the owner's lock */
    _Atomic bool broken;
    _Atomic bool closing;
};

struct tel_kafka_producer {
    struct tel_kafka_client client;
    char *compression;
    char linger[16], message_max[16];
    uint64_t queue_bytes;
    _Atomic uint64_t queued;
    pthread_mutex_t lock; /* current, refs, made */
    struct handle *current;
    unsigned made; /* handles so far */
};

struct letter {
    tel_kafka_delivery_cb *cb;
    void *ctx;
    uint64_t bytes;
};

/* Delivery callbacks that ran on this thread: what _poll answers. */
static _Thread_local int ran;

/* ---- callbacks of librdkafka ----------------------------------------------------------------- */

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct handle *h = opaque;
    struct letter *letter = m->_private;
    struct tel_error err;
    tel_code code = TEL_OK;
    (void)rk;
    tel_error_clear(&err);
    if (m->err == RD_KAFKA_RESP_ERR__FATAL)
        atomic_store(&h->broken, true);
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = tel_kafka_error(&err, m->err, NULL, "message to partition %d", (int)m->partition);
        if (atomic_load(&h->broken) && !atomic_load(&h->closing))
            code = tel_error_set(&err, TEL_ERR_UNAVAILABLE,
                                 "message to partition %d: the producer had to begin anew",
                                 (int)m->partition);
    }
    if (code == TEL_OK && m->offset < 0) {
        /* librdkafka takes "out of sequence" for "had it already" when a later message was acknowledged.
         * On a broker that lost its data that is wrong: a later message was the first it ever saw. */
        code = tel_error_set(&err, TEL_ERR_UNAVAILABLE,
                             "message to partition %d: acknowledged without an offset",
                             (int)m->partition);
        atomic_store(&h->broken, true);
    }
    atomic_fetch_sub(&h->owner->queued, letter->bytes);
    ran++;
    letter->cb(letter->ctx, code, code == TEL_OK ? m->offset : -1, &err);
    free(letter);
}

static void on_error(rd_kafka_t *rk, int e, const char *reason, void *opaque)
{
    struct handle *h = opaque;
    char text[256];
    if (e != RD_KAFKA_RESP_ERR__FATAL) {
        tel_log_warn("Kafka producer", tel_kv_str("error", rd_kafka_err2name(e)),
                     tel_kv_str("reason", reason));
        return;
    }
    rd_kafka_resp_err_t first = rd_kafka_fatal_error(rk, text, sizeof text);
    tel_log_error("Kafka producer: fatal error, it begins anew",
                  tel_kv_str("error", rd_kafka_err2name(first)), tel_kv_str("reason", text));
    atomic_store(&h->broken, true);
    rd_kafka_purge(rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
}

/* ---- handles ------------------------------------------------------------------------------- */

static tel_code make_handle(struct tel_kafka_producer *p, struct handle **ret, struct tel_error *err)
{
    const char *set_bytes = tel_kafka_property(&p->client, "batch.size");
    const char *const set[] = {
        "batch.size", set_bytes ? set_bytes : SET_BYTES, "acks", "all", "enable.idempotence", "true", "enable.gapless.guarantee", "false",
        "message.timeout.ms", "0", /* retried for ever */
        "message.send.max.retries", "2147483647",
        "retry.backoff.ms", "100",
        "compression.codec", p->compression,
        "linger.ms", p->linger,
        "message.max.bytes", p->message_max,
        "queue.buffering.max.messages", "10000000", /* the budget is ours, in bytes */
        "queue.buffering.max.kbytes", "2147483647",
        "delivery.report.only.error", "false",
        NULL};
    rd_kafka_conf_t *conf;
    tel_code rc = tel_kafka_conf(&p->client, set, &conf, err);
    if (rc != TEL_OK)
        return rc;
    struct handle *h = TEL_NEW(struct handle);
    h->owner = p;
    h->refs = 1;
    rd_kafka_conf_set_opaque(conf, h);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rc = tel_kafka_handle(RD_KAFKA_PRODUCER, conf, &h->rk, err);
    if (rc != TEL_OK) {
        free(h);
        return rc;
    }
    *ret = h;
    return TEL_OK;
}

static struct handle *acquire(struct tel_kafka_producer *p)
{
    pthread_mutex_lock(&p->lock);
    struct handle *h = p->current;
    h->refs++;
    pthread_mutex_unlock(&p->lock);
    return h;
}

static void release(struct tel_kafka_producer *p, struct handle *h)
{
    pthread_mutex_lock(&p->lock);
    bool last = --h->refs == 0;
    pthread_mutex_unlock(&p->lock);
    if (!last)
        return;
    rd_kafka_destroy(h->rk);
    free(h);
}

/* Puts a new handle in the place of a broken one, once nothing of it is without a fate. */
static tel_code replace(struct tel_kafka_producer *p, struct handle *broken, struct tel_error *err)
{
    struct handle *fresh;
    pthread_mutex_lock(&p->lock);
    if (p->current != broken) { /* another thread did */
        pthread_mutex_unlock(&p->lock);
        return TEL_OK;
    }
    if (rd_kafka_outq_len(broken->rk) > 0) {
        pthread_mutex_unlock(&p->lock);
        return tel_error_set(err, TEL_ERR_AGAIN, "the producer begins anew; poll");
    }
    tel_code rc = make_handle(p, &fresh, err);
    if (rc == TEL_OK) {
        p->current = fresh;
        p->made++;
    }
    pthread_mutex_unlock(&p->lock);
    if (rc == TEL_OK)
        release(p, broken); /* the producer's own reference */
    return rc;
}

/* ---- the interface ------------------------------------------------------------------------- */

static void free_client(struct tel_kafka_client *client)
{
    free((char *)(uintptr_t)client->brokers);
    free((char *)(uintptr_t)client->client_id);
    if (client->properties) {
        for (const char *const *p = client->properties; *p; p++)
            free((char *)(uintptr_t)*p);
        free((void *)(uintptr_t)client->properties);
    }
}

static void copy_client(const struct tel_kafka_client *from, struct tel_kafka_client *to)
{
    size_t n = 0;
    while (from->properties && from->properties[n])
        n++;
    char **properties = tel_calloc(n + 1, sizeof *properties);
    for (size_t i = 0; i < n; i++)
        properties[i] = tel_strdup(from->properties[i]);
    to->properties = (const char *const *)properties;
    to->brokers = tel_strdup(from->brokers ? from->brokers : "");
    to->client_id = tel_strdup(from->client_id ? from->client_id : "telescope");
}

tel_code tel_kafka_producer_new(const struct tel_kafka_producer_options *o,
                                struct tel_kafka_producer **ret, struct tel_error *err)
{
    struct tel_kafka_producer *p = TEL_NEW(struct tel_kafka_producer);
    copy_client(&o->client, &p->client); /* for handles to come */
    p->compression = tel_strdup(o->compression ? o->compression : "lz4");
    snprintf(p->linger, sizeof p->linger, "%u", o->linger_ms);
    snprintf(p->message_max, sizeof p->message_max, "%u",
             o->message_bytes_max ? o->message_bytes_max : TEL_KAFKA_MESSAGE_BYTES_MAX);
    p->queue_bytes = o->queue_bytes ? o->queue_bytes : QUEUE_BYTES_DEFAULT;
    pthread_mutex_init(&p->lock, NULL);
    tel_code rc = make_handle(p, &p->current, err);
    if (rc != TEL_OK) {
        tel_kafka_producer_free(p);
        return rc;
    }
    p->made = 1;
    *ret = p;
    return TEL_OK;
}

/* Room in the budget; a message larger than all of it passes when it is alone. */
static bool take_room(struct tel_kafka_producer *p, uint64_t bytes)
{
    uint64_t queued = atomic_load(&p->queued);
    do {
        if (queued > 0 && queued + bytes > p->queue_bytes)
            return false;
    } while (!atomic_compare_exchange_weak(&p->queued, &queued, queued + bytes));
    return true;
}

static tel_code send_on(struct handle *h, const char *topic, int32_t partition, struct tel_span key,
                        struct tel_span value, struct letter *letter, struct tel_error *err)
{
    rd_kafka_resp_err_t e = rd_kafka_producev(
        h->rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY((void *)(uintptr_t)(key.len ? key.ptr : NULL), key.len),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)(value.ptr ? value.ptr : ""), value.len),
        RD_KAFKA_V_OPAQUE(letter), RD_KAFKA_V_END);
    if (e == RD_KAFKA_RESP_ERR_NO_ERROR)
        return TEL_OK;
    if (e == RD_KAFKA_RESP_ERR__FATAL) {
        atomic_store(&h->broken, true);
        return tel_error_set(err, TEL_ERR_AGAIN, "the producer begins anew; poll");
    }
    tel_code rc = tel_kafka_error(err, e, NULL, "message of %zu bytes to %s/%d", value.len, topic,
                                  (int)partition);
    if (rc == TEL_ERR_UNAVAILABLE) { /* a topic or partition that is not there (yet, or for a while) */
        rc = TEL_ERR_AGAIN;
        if (err)
            err->code = rc;
    }
    return rc;
}

tel_code tel_kafka_producer_send(struct tel_kafka_producer *p, const char *topic, int32_t partition,
                                 struct tel_span key, struct tel_span value,
                                 tel_kafka_delivery_cb *cb, void *message_ctx,
                                 struct tel_error *err)
{
    struct handle *h = acquire(p);
    tel_code rc = TEL_OK;
    if (TEL_UNLIKELY(atomic_load(&h->broken))) {
        rc = replace(p, h, err);
        release(p, h);
        if (rc != TEL_OK)
            return rc;
        h = acquire(p);
    }
    uint64_t bytes = key.len + value.len + MESSAGE_OVERHEAD;
    if (!take_room(p, bytes)) {
        release(p, h);
        return tel_error_set(err, TEL_ERR_AGAIN, "the producer's queue is full");
    }
    struct letter *letter = TEL_NEW(struct letter);
    *letter = (struct letter){.cb = cb, .ctx = message_ctx, .bytes = bytes};
    rc = send_on(h, topic, partition, key, value, letter, err);
    if (rc != TEL_OK) {
        atomic_fetch_sub(&p->queued, bytes);
        free(letter);
    }
    release(p, h);
    return rc;
}

int tel_kafka_producer_poll(struct tel_kafka_producer *p, int timeout_ms)
{
    struct handle *h = acquire(p);
    int before = ran;
    rd_kafka_poll(h->rk, timeout_ms);
    int after = ran;
    release(p, h);
    return after - before;
}

tel_code tel_kafka_producer_flush(struct tel_kafka_producer *p, int timeout_ms,
                                  struct tel_error *err)
{
    struct handle *h = acquire(p);
    rd_kafka_flush(h->rk, timeout_ms);
    rd_kafka_poll(h->rk, 0);
    int left = rd_kafka_outq_len(h->rk);
    release(p, h);
    if (left > 0 && atomic_load(&p->queued) > 0)
        return tel_error_set(err, TEL_ERR_TIMEOUT, "%d messages are not acknowledged yet", left);
    return TEL_OK;
}

uint64_t tel_kafka_producer_queued_bytes(const struct tel_kafka_producer *p)
{
    return atomic_load(&p->queued);
}

void tel_kafka_producer_free(struct tel_kafka_producer *p)
{
    if (!p)
        return;
    if (p->current) {
        struct handle *h = p->current;
        atomic_store(&h->closing, true);
        rd_kafka_purge(h->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        while (rd_kafka_outq_len(h->rk) > 0)
            rd_kafka_poll(h->rk, 100);
        release(p, h);
    }
    pthread_mutex_destroy(&p->lock);
    free_client(&p->client);
    free(p->compression);
    free(p);
}

void tel_kafka_producer_break(struct tel_kafka_producer *p, const char *reason)
{
    struct handle *h = acquire(p);
    rd_kafka_test_fatal_error(h->rk, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, reason);
    release(p, h);
}
