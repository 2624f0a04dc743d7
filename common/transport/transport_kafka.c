/*
 * The transport over Kafka: a thin layer over common/net/kafka. One reader (one set of connections)
 * serves all consumers of a transport; it is made with the first of them, or for the first question
 * about partitions, so that a sidecar's transport that only produces has one client after it knows
 * the partitions' number.
 */
#include "common/transport/transport_kafka.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/net/kafka/kafka_admin.h"
#include "common/net/kafka/kafka_consumer.h"
#include "common/net/kafka/kafka_producer.h"

struct kafka_transport {
    struct tel_transport base;
    struct tel_kafka_options options;
    struct tel_kafka_client client;
    pthread_mutex_t lock; /* reader */
    struct tel_kafka_reader *reader;
};

struct kafka_producer {
    struct tel_producer base;
    struct kafka_transport *transport;
    struct tel_kafka_producer *producer;
};

struct kafka_consumer {
    struct tel_consumer base;
    struct tel_kafka_consumer *consumer;
    uint32_t partition;
    struct tel_message *messages;
    size_t cap;
};

static const struct tel_transport_ops kafka_ops;

static char *copy(const char *s)
{
    return s ? tel_strdup(s) : NULL;
}

static void drop(const char *s)
{
    free((char *)(uintptr_t)s);
}

static tel_code kafka_reader(struct kafka_transport *t, struct tel_kafka_reader **ret,
                             struct tel_error *err)
{
    tel_code rc = TEL_OK;
    pthread_mutex_lock(&t->lock);
    if (!t->reader) {
        struct tel_kafka_reader_options o = {.client = t->client, .fetch_bytes = t->options.fetch_bytes};
        rc = tel_kafka_reader_new(&o, &t->reader, err);
    }
    if (rc == TEL_OK)
        *ret = t->reader;
    pthread_mutex_unlock(&t->lock);
    return rc;
}

static tel_code create_topic(struct kafka_transport *t, int timeout_ms, struct tel_error *err)
{
    struct tel_kafka_admin *admin;
    struct tel_kafka_topic_spec spec = {.name = t->options.topic,
                                        .partitions = t->options.create_partitions};
    tel_code rc = tel_kafka_admin_new(&t->client, &admin, err);
    if (rc != TEL_OK)
        return rc;
    rc = tel_kafka_admin_create(admin, &spec, timeout_ms, err);
    tel_kafka_admin_free(admin);
    return rc == TEL_ERR_EXISTS ? TEL_OK : rc; /* another program was faster */
}

static tel_code kafka_partitions(struct tel_transport *base, int timeout_ms, uint32_t *ret_count,
                                 struct tel_error *err)
{
    struct kafka_transport *t = TEL_CONTAINER_OF(base, struct kafka_transport, base);
    struct tel_kafka_reader *reader = NULL;
    tel_code rc = kafka_reader(t, &reader, err);
    if (rc != TEL_OK)
        return rc;
    rc = tel_kafka_reader_partitions(reader, t->options.topic, timeout_ms, ret_count, err);
    if (rc != TEL_ERR_NOTFOUND || t->options.create_partitions == 0)
        return rc;
    rc = create_topic(t, timeout_ms, err);
    if (rc != TEL_OK)
        return rc;
    return tel_kafka_reader_partitions(reader, t->options.topic, timeout_ms, ret_count, err);
}

/* ---- producing ------------------------------------------------------------------------------ */

static tel_code kafka_producer(struct tel_transport *base, struct tel_producer **ret,
                               struct tel_error *err)
{
    struct kafka_transport *t = TEL_CONTAINER_OF(base, struct kafka_transport, base);
    struct tel_kafka_producer_options o = {.client = t->client,
                                           .compression = t->options.compression,
                                           .queue_bytes = t->options.queue_bytes,
                                           .linger_ms = t->options.linger_ms};
    struct tel_kafka_producer *producer = NULL;
    tel_code rc = tel_kafka_producer_new(&o, &producer, err);
    if (rc != TEL_OK)
        return rc;
    struct kafka_producer *p = TEL_NEW(struct kafka_producer);
    p->base.ops = &kafka_ops;
    p->transport = t;
    p->producer = producer;
    *ret = &p->base;
    return TEL_OK;
}

static tel_code kafka_send(struct tel_producer *base, uint32_t partition, struct tel_span key,
                           struct tel_span value, tel_delivery_cb *cb, void *message_ctx,
                           struct tel_error *err)
{
    struct kafka_producer *p = TEL_CONTAINER_OF(base, struct kafka_producer, base);
    if (partition > INT32_MAX)
        return tel_error_set(err, TEL_ERR_INVALID, "partition %u", partition);
    return tel_kafka_producer_send(p->producer, p->transport->options.topic, (int32_t)partition, key,
                                   value, cb, message_ctx, err);
}

static int kafka_producer_poll(struct tel_producer *base, int timeout_ms)
{
    struct kafka_producer *p = TEL_CONTAINER_OF(base, struct kafka_producer, base);
    return tel_kafka_producer_poll(p->producer, timeout_ms);
}

static tel_code kafka_flush(struct tel_producer *base, int timeout_ms, struct tel_error *err)
{
    struct kafka_producer *p = TEL_CONTAINER_OF(base, struct kafka_producer, base);
    return tel_kafka_producer_flush(p->producer, timeout_ms, err);
}

static void kafka_producer_free(struct tel_producer *base)
{
    struct kafka_producer *p = TEL_CONTAINER_OF(base, struct kafka_producer, base);
    tel_kafka_producer_free(p->producer);
    free(p);
}

/* ---- consuming ------------------------------------------------------------------------------ */

static tel_code kafka_consumer(struct tel_transport *base, uint32_t partition, int64_t start,
                               uint64_t mark, struct tel_consumer **ret, struct tel_error *err)
{
    struct kafka_transport *t = TEL_CONTAINER_OF(base, struct kafka_transport, base);
    struct tel_kafka_reader *reader = NULL;
    struct tel_kafka_consumer *consumer = NULL;
    tel_code rc = kafka_reader(t, &reader, err);
    if (rc == TEL_OK)
        rc = tel_kafka_consumer_new(reader, t->options.topic, partition, start, mark, &consumer,
                                    err);
    if (rc != TEL_OK)
        return rc;
    struct kafka_consumer *c = TEL_NEW(struct kafka_consumer);
    c->base.ops = &kafka_ops;
    c->consumer = consumer;
    c->partition = partition;
    *ret = &c->base;
    return TEL_OK;
}

static tel_code kafka_poll(struct tel_consumer *base, int timeout_ms, size_t max,
                           const struct tel_message **ret_messages, size_t *ret_count,
                           int64_t *ret_gap_to, struct tel_error *err)
{
    struct kafka_consumer *c = TEL_CONTAINER_OF(base, struct kafka_consumer, base);
    const struct tel_kafka_message *got = NULL;
    size_t count = 0;
    tel_code rc = tel_kafka_consumer_poll(c->consumer, timeout_ms, max, &got, &count, ret_gap_to, err);
    if (rc != TEL_OK)
        return rc;
    if (count > c->cap) {
        c->cap = count;
        c->messages = tel_realloc_array(c->messages, c->cap, sizeof *c->messages);
    }
    for (size_t i = 0; i < count; i++)
        c->messages[i] = (struct tel_message){.partition = c->partition,
                                              .offset = got[i].offset,
                                              .timestamp_ns = got[i].timestamp_ns,
                                              .mark = got[i].mark,
                                              .key = got[i].key,
                                              .value = got[i].value};
    *ret_messages = c->messages;
    *ret_count = count;
    return TEL_OK;
}

static tel_code kafka_seek(struct tel_consumer *base, int64_t offset, struct tel_error *err)
{
    struct kafka_consumer *c = TEL_CONTAINER_OF(base, struct kafka_consumer, base);
    return tel_kafka_consumer_seek(c->consumer, offset, err);
}

static void kafka_watermarks(const struct tel_consumer *base, int64_t *ret_low, int64_t *ret_high)
{
    const struct kafka_consumer *c = TEL_CONTAINER_OF(base, struct kafka_consumer, base);
    tel_kafka_consumer_watermarks(c->consumer, ret_low, ret_high);
}

static void kafka_release(struct tel_consumer *base, int64_t offset)
{
    struct kafka_consumer *c = TEL_CONTAINER_OF(base, struct kafka_consumer, base);
    tel_kafka_consumer_release(c->consumer, offset);
}

static void kafka_consumer_free(struct tel_consumer *base)
{
    struct kafka_consumer *c = TEL_CONTAINER_OF(base, struct kafka_consumer, base);
    tel_kafka_consumer_free(c->consumer);
    free(c->messages);
    free(c);
}

/* ---- making one ----------------------------------------------------------------------------- */

static void kafka_free(struct tel_transport *base)
{
    struct kafka_transport *t = TEL_CONTAINER_OF(base, struct kafka_transport, base);
    tel_kafka_reader_free(t->reader);
    pthread_mutex_destroy(&t->lock);
    for (const char *const *p = t->options.properties; p && *p; p++)
        drop(*p);
    free((void *)(uintptr_t)t->options.properties);
    drop(t->options.brokers);
    drop(t->options.topic);
    drop(t->options.compression);
    drop(t->options.client_id);
    free(t);
}

static const struct tel_transport_ops kafka_ops = {
    .name = "kafka",
    .partitions = kafka_partitions,
    .producer = kafka_producer,
    .send = kafka_send,
    .producer_poll = kafka_producer_poll,
    .flush = kafka_flush,
    .producer_free = kafka_producer_free,
    .consumer = kafka_consumer,
    .poll = kafka_poll,
    .seek = kafka_seek,
    .watermarks = kafka_watermarks,
    .release = kafka_release,
    .consumer_free = kafka_consumer_free,
    .free = kafka_free,
};

tel_code tel_transport_kafka_new(const struct tel_kafka_options *o, struct tel_transport **ret,
                                 struct tel_error *err)
{
    if (!o->brokers || !*o->brokers)
        return tel_error_set(err, TEL_ERR_INVALID, "Kafka: no brokers are given");
    if (!o->topic || !*o->topic)
        return tel_error_set(err, TEL_ERR_INVALID, "Kafka: no topic is given");
    struct kafka_transport *t = TEL_NEW(struct kafka_transport);
    size_t n = 0;
    while (o->properties && o->properties[n])
        n++;
    char **properties = tel_calloc(n + 1, sizeof *properties);
    for (size_t i = 0; i < n; i++)
        properties[i] = tel_strdup(o->properties[i]);
    t->base.ops = &kafka_ops;
    t->options = *o;
    t->options.brokers = copy(o->brokers);
    t->options.topic = copy(o->topic);
    t->options.compression = copy(o->compression);
    t->options.client_id = copy(o->client_id);
    t->options.properties = (const char *const *)properties;
    t->client = (struct tel_kafka_client){.brokers = t->options.brokers,
                                          .client_id = t->options.client_id,
                                          .properties = t->options.properties};
    pthread_mutex_init(&t->lock, NULL);
    /* A wrong property is told here, not when the first message is sent. */
    struct tel_kafka_producer *trial = NULL;
    struct tel_kafka_producer_options trial_options = {.client = t->client,
                                                       .compression = o->compression,
                                                       .queue_bytes = o->queue_bytes,
                                                       .linger_ms = o->linger_ms};
    tel_code rc = tel_kafka_producer_new(&trial_options, &trial, err);
    tel_kafka_producer_free(trial);
    if (rc != TEL_OK) {
        kafka_free(&t->base);
        return rc;
    }
    *ret = &t->base;
    return TEL_OK;
}
