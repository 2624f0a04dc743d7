/*
 * Consumers over librdkafka's simple consumer: no group, no rebalance, each partition started and
 * stopped by itself, all of a reader's partitions over the same broker connections.
 *
 * States of a consumer:
 *
 *     reading ── offset out of range ──► gap ── seek ──► reading
 *        │ a connection broke                ▲
 *        ├──► rereading: the last message again: is it the same? ── no: the log is another ──┘
 *        │ brokers are away, the topic is not there, ...
 *        └──► down: each poll says so, and asks for the log's bounds until a broker tells them
 *
 * librdkafka runs with auto.offset.reset=error. It then says "out of range" once and stops fetching;
 * the bounds that the caller needs are asked for in the polls that follow.
 *
 * A topic that was made anew while we were cut off, and was filled beyond our offset before we came
 * back, is not out of range: reading on would skip its beginning in silence. So after every broken
 * connection the message before the next one is read again and compared with what it was. A consumer
 * that is made with a mark begins in that state: the earlier process may have been away for long.
 */
#include "common/net/kafka/kafka_consumer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#define TEL_LOG_COMPONENT "kafka"
#include "common/base/log.h"
#include "common/net/kafka/kafka_internal.h"

enum {
    POLL_MAX = 256,
    FETCH_BYTES_DEFAULT = 16 << 20,
    FETCH_BYTES_ONCE = 2 << 20, /* of one partition in one answer */
    BOUNDS_TIMEOUT_MS = 2000,
    COMMIT_INTERVAL_S = 5
};

struct tel_kafka_reader {
    rd_kafka_t *rk;
    bool commits; /* has a group.id */
    _Atomic bool down;      /* librdkafka told of trouble, and nothing was heard from a broker since */
    _Atomic uint32_t troubles; /* connections that broke, topics that were gone */
    pthread_mutex_t lock;   /* consumers, trouble */
    struct tel_error trouble;
    TEL_VEC(struct tel_kafka_consumer *) consumers;
};

struct tel_kafka_consumer {
    struct tel_kafka_reader *reader;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *queue; /* NULL while stopped */
    int32_t partition;
    int64_t next;    /* behind the last message handed out */
    int64_t end;     /* where the end of the log was seen, -1 */
    int64_t low;     /* as last asked for, -1 */
    bool gap;
    bool replaced;   /* the gap is there because the log is another */
    bool shorter;    /* because it ended before the last message that was handed out */
    bool rereading;  /* the message `last_offset` is to come, and to be compared */
    uint32_t troubles_seen;
    int64_t last_offset; /* of the last message handed out, -1: none since the last seek */
    uint64_t last_mark;
    struct tel_error error; /* to be told by the next poll; code TEL_OK: none */
    int64_t committed_ns, probed_ns;
    rd_kafka_message_t *raw[POLL_MAX];
    size_t raw_count;
    struct tel_kafka_message messages[POLL_MAX];
};

/* ---- reader -------------------------------------------------------------------------------- */

static void on_error(rd_kafka_t *rk, int e, const char *reason, void *opaque)
{
    struct tel_kafka_reader *r = opaque;
    (void)rk;
    pthread_mutex_lock(&r->lock);
    tel_kafka_error(&r->trouble, e, reason, "Kafka");
    r->trouble.retriable = true; /* what a broker says today, it may not say tomorrow */
    pthread_mutex_unlock(&r->lock);
    if (e == RD_KAFKA_RESP_ERR__TRANSPORT || e == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
        e == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || e == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
        atomic_fetch_add(&r->troubles, 1);
    atomic_store(&r->down, true);
    if (e == RD_KAFKA_RESP_ERR__TRANSPORT) { /* one connection; that all are gone is told apart */
        tel_log_debug("Kafka consumer", tel_kv_str("reason", reason));
        return;
    }
    tel_log_warn("Kafka consumer", tel_kv_str("error", rd_kafka_err2name(e)),
                 tel_kv_str("reason", reason));
}

tel_code tel_kafka_reader_new(const struct tel_kafka_reader_options *o,
                              struct tel_kafka_reader **ret, struct tel_error *err)
{
    char kbytes[16], once[16];
    uint64_t bytes = o->fetch_bytes ? o->fetch_bytes : FETCH_BYTES_DEFAULT;
    snprintf(kbytes, sizeof kbytes, "%llu",
             (unsigned long long)TEL_MIN(TEL_MAX(bytes >> 10, 64u), 2000000u));
    snprintf(once, sizeof once, "%llu",
             (unsigned long long)TEL_MIN(TEL_MAX(bytes, 65536u), FETCH_BYTES_ONCE));
    const char *const set[] = {
        "auto.offset.reset", "error", "enable.auto.commit", "false",
        "enable.auto.offset.store", "false", "enable.partition.eof", "true",
        "allow.auto.create.topics", "false", "check.crcs", "true",
        "topic.metadata.propagation.max.ms", "2000", /* then a topic that is not there is an error */
        "fetch.min.bytes", "1", "fetch.wait.max.ms", "100", "fetch.error.backoff.ms", "100",
        "log.connection.close", "true", /* a connection that ends is told through on_error */
        "queued.max.messages.kbytes", kbytes, "fetch.message.max.bytes", once,
        NULL};
    rd_kafka_conf_t *conf;
    tel_code rc = tel_kafka_conf(&o->client, set, &conf, err);
    if (rc != TEL_OK)
        return rc;
    struct tel_kafka_reader *r = TEL_NEW(struct tel_kafka_reader);
    r->commits = tel_kafka_property(&o->client, "group.id") != NULL;
    pthread_mutex_init(&r->lock, NULL);
    rd_kafka_conf_set_opaque(conf, r);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rc = tel_kafka_handle(RD_KAFKA_CONSUMER, conf, &r->rk, err);
    if (rc != TEL_OK) {
        pthread_mutex_destroy(&r->lock);
        free(r);
        return rc;
    }
    *ret = r;
    return TEL_OK;
}

void tel_kafka_reader_free(struct tel_kafka_reader *r)
{
    if (!r)
        return;
    TEL_CHECK(r->consumers.len == 0);
    rd_kafka_destroy(r->rk);
    tel_vec_free(&r->consumers);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

tel_code tel_kafka_reader_partitions(struct tel_kafka_reader *r, const char *topic, int timeout_ms,
                                     uint32_t *ret, struct tel_error *err)
{
    const struct rd_kafka_metadata *md;
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(r->rk, topic, NULL);
    if (!rkt)
        return tel_kafka_error(err, rd_kafka_last_error(), NULL, "topic %s", topic);
    rd_kafka_poll(r->rk, 0);
    rd_kafka_resp_err_t e = rd_kafka_metadata(r->rk, 0, rkt, &md, timeout_ms);
    rd_kafka_topic_destroy(rkt);
    if (e != RD_KAFKA_RESP_ERR_NO_ERROR)
        return tel_kafka_error(err, e, NULL, "partitions of topic %s", topic);
    rd_kafka_resp_err_t te = md->topic_cnt == 1 ? md->topics[0].err : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    uint32_t count = md->topic_cnt == 1 ? (uint32_t)md->topics[0].partition_cnt : 0;
    rd_kafka_metadata_destroy(md);
    if (te == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || te == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC) {
        tel_code rc = tel_error_set(err, TEL_ERR_NOTFOUND, "topic %s is not there", topic);
        if (err)
            err->retriable = true;
        return rc;
    }
    if (te != RD_KAFKA_RESP_ERR_NO_ERROR || count == 0)
        return tel_kafka_error(err, te ? te : RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, NULL,
                               "partitions of topic %s", topic);
    *ret = count;
    return TEL_OK;
}

tel_code tel_kafka_reader_bounds(struct tel_kafka_reader *r, const char *topic, uint32_t partition,
                                 int timeout_ms, int64_t *ret_low, int64_t *ret_high,
                                 struct tel_error *err)
{
    int64_t low, high;
    rd_kafka_resp_err_t e = rd_kafka_query_watermark_offsets(r->rk, topic, (int32_t)partition, &low,
                                                             &high, timeout_ms);
    if (e != RD_KAFKA_RESP_ERR_NO_ERROR)
        return tel_kafka_error(err, e, NULL, "bounds of %s/%u", topic, partition);
    atomic_store(&r->down, false);
    *ret_low = low;
    *ret_high = high;
    return TEL_OK;
}

/* ---- starting and stopping a partition -------------------------------------------------------- */

static const char *topic_name(const struct tel_kafka_consumer *c)
{
    return rd_kafka_topic_name(c->topic);
}

/* Lets librdkafka fetch from `offset` on. */
static tel_code fetch_from(struct tel_kafka_consumer *c, int64_t offset, struct tel_error *err)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(c->reader->rk);
    if (rd_kafka_consume_start_queue(c->topic, c->partition, offset, queue) != 0) {
        rd_kafka_resp_err_t e = rd_kafka_last_error();
        rd_kafka_queue_destroy(queue);
        return tel_kafka_error(err, e, NULL, "reading %s/%d from offset %lld", topic_name(c),
                               (int)c->partition, (long long)offset);
    }
    c->queue = queue;
    c->end = -1;
    c->gap = c->replaced = c->shorter = false;
    c->error.code = TEL_OK;
    return TEL_OK;
}

/* mark: of the message before `offset`; 0: not known. */
static tel_code start(struct tel_kafka_consumer *c, int64_t offset, uint64_t mark,
                      struct tel_error *err)
{
    c->rereading = mark != 0 && offset > 0;
    c->next = offset;
    c->last_offset = c->rereading ? offset - 1 : -1;
    c->last_mark = mark;
    c->troubles_seen = atomic_load(&c->reader->troubles);
    return fetch_from(c, c->rereading ? c->last_offset : offset, err);
}

/* Tells one message from another at the same offset: its time, its length, its key, and the ends of
 * its value. */
static uint64_t message_mark(const rd_kafka_message_t *m)
{
    rd_kafka_timestamp_type_t type;
    struct tel_span value = tel_span_make(m->payload, m->len);
    uint64_t h = tel_hash_u64((uint64_t)rd_kafka_message_timestamp(m, &type)) ^ m->len;
    h = tel_hash64(tel_span_make(m->key, m->key_len), h);
    h = tel_hash64(tel_span_slice(value, 0, 64), h);
    h = tel_hash64(tel_span_slice(value, value.len > 64 ? value.len - 64 : 0, value.len), h);
    return TEL_MAX(h, 1u);
}

static void drop_messages(struct tel_kafka_consumer *c)
{
    if (c->raw_count > 0) {
        c->last_offset = c->messages[c->raw_count - 1].offset;
        c->last_mark = c->messages[c->raw_count - 1].mark;
    }
    for (size_t i = 0; i < c->raw_count; i++)
        rd_kafka_message_destroy(c->raw[i]);
    c->raw_count = 0;
}

static void stop(struct tel_kafka_consumer *c)
{
    drop_messages(c);
    if (!c->queue)
        return;
    rd_kafka_consume_stop(c->topic, c->partition);
    rd_kafka_queue_destroy(c->queue);
    c->queue = NULL;
}

/* Takes the partition for c unless another consumer of the reader has it. */
static bool enlist(struct tel_kafka_reader *r, struct tel_kafka_consumer *c)
{
    bool is_free = true;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->consumers.len; i++)
        is_free = is_free && (r->consumers.items[i]->partition != c->partition ||
                              strcmp(topic_name(r->consumers.items[i]), topic_name(c)) != 0);
    if (is_free)
        tel_vec_push(&r->consumers, c);
    pthread_mutex_unlock(&r->lock);
    return is_free;
}

static void delist(struct tel_kafka_reader *r, const struct tel_kafka_consumer *c)
{
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->consumers.len; i++) {
        if (r->consumers.items[i] == c) {
            r->consumers.items[i] = r->consumers.items[--r->consumers.len];
            break;
        }
    }
    pthread_mutex_unlock(&r->lock);
}

tel_code tel_kafka_consumer_new(struct tel_kafka_reader *r, const char *topic, uint32_t partition,
                                int64_t offset, uint64_t mark,
                                struct tel_kafka_consumer **ret, struct tel_error *err)
{
    if (offset < 0 || partition > INT32_MAX)
        return tel_error_set(err, TEL_ERR_INVALID, "reading %s/%u from offset %lld", topic, partition,
                             (long long)offset);
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(r->rk, topic, NULL);
    if (!rkt)
        return tel_kafka_error(err, rd_kafka_last_error(), NULL, "topic %s", topic);
    struct tel_kafka_consumer *c = TEL_NEW(struct tel_kafka_consumer);
    c->reader = r;
    c->topic = rkt;
    c->partition = (int32_t)partition;
    c->low = -1;
    tel_code rc;
    if (!enlist(r, c)) {
        rd_kafka_topic_destroy(rkt);
        free(c);
        return tel_error_set(err, TEL_ERR_EXISTS, "%s/%u has a consumer already", topic, partition);
    }
    rc = start(c, offset, mark, err);
    if (rc != TEL_OK) {
        tel_kafka_consumer_free(c);
        return rc;
    }
    *ret = c;
    return TEL_OK;
}

void tel_kafka_consumer_free(struct tel_kafka_consumer *c)
{
    if (!c)
        return;
    stop(c);
    delist(c->reader, c);
    rd_kafka_topic_destroy(c->topic);
    free(c);
}

tel_code tel_kafka_consumer_seek(struct tel_kafka_consumer *c, int64_t offset, struct tel_error *err)
{
    if (offset < 0)
        return tel_error_set(err, TEL_ERR_INVALID, "offset %lld", (long long)offset);
    stop(c);
    return start(c, offset, 0, err);
}

/* ---- polling ------------------------------------------------------------------------------- */

static tel_code ask_bounds(struct tel_kafka_consumer *c, int timeout_ms, int64_t *ret_high,
                           struct tel_error *err)
{
    int64_t low;
    tel_code rc = tel_kafka_reader_bounds(c->reader, topic_name(c), (uint32_t)c->partition,
                                          timeout_ms, &low, ret_high, err);
    if (rc == TEL_OK)
        c->low = low;
    return rc;
}

static tel_code tell_gap(struct tel_kafka_consumer *c, int timeout_ms, int64_t *ret_gap_to,
                         struct tel_error *err)
{
    int64_t high;
    tel_code rc = ask_bounds(c, TEL_MAX(timeout_ms, BOUNDS_TIMEOUT_MS), &high, err);
    if (rc != TEL_OK)
        return tel_error_wrap(err, rc, "offset %lld is out of range", (long long)c->next);
    *ret_gap_to = c->low;
    if (c->replaced)
        return tel_error_set(err, TEL_ERR_GAP,
                             "%s/%d is another log than before: the message at offset %lld changed; "
                             "it has [%lld, %lld)",
                             topic_name(c), (int)c->partition, (long long)c->last_offset,
                             (long long)c->low, (long long)high);
    if (c->next >= c->low && c->next <= high) {
        /* The last message was trimmed, or a broker was behind its peers: then look again. */
        c->rereading = c->shorter;
        stop(c);
        return fetch_from(c, c->rereading ? c->last_offset : c->next, err);
    }
    return tel_error_set(err, TEL_ERR_GAP,
                         "offset %lld of %s/%d is not in the log, which has [%lld, %lld)",
                         (long long)c->next, topic_name(c), (int)c->partition, (long long)c->low,
                         (long long)high);
}

/* The first message after a broken connection should be the last one before it. */
static void compare_last(struct tel_kafka_consumer *c, const rd_kafka_message_t *m)
{
    if (m->offset < c->last_offset)
        return;
    c->rereading = false;
    if (m->offset == c->last_offset && message_mark(m) != c->last_mark)
        c->gap = c->replaced = true;
}

/* Sorts one thing from the queue: a message, the end of the log, or an error. */
static void sort_out(struct tel_kafka_consumer *c, rd_kafka_message_t *m)
{
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR && c->rereading)
        compare_last(c, m);
    if (c->gap) {
        rd_kafka_message_destroy(m);
        return;
    }
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR && m->offset >= c->next) {
        rd_kafka_timestamp_type_t type;
        int64_t ms = rd_kafka_message_timestamp(m, &type);
        c->messages[c->raw_count] = (struct tel_kafka_message){
            .offset = m->offset,
            .timestamp_ns = ms < 0 ? 0 : ms * TEL_NS_PER_MS,
            .mark = message_mark(m),
            .key = tel_span_make(m->key, m->key_len),
            .value = tel_span_make(m->payload, m->len)};
        c->raw[c->raw_count++] = m;
        c->next = m->offset + 1;
        return;
    }
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        c->end = m->offset;
        if (c->rereading && m->offset <= c->last_offset)
            c->gap = c->shorter = true;
    } else if (tel_kafka_code(m->err) == TEL_ERR_GAP) {
        c->gap = true;
    } else if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR && c->error.code == TEL_OK) {
        tel_kafka_error(&c->error, m->err, NULL, "reading %s/%d at offset %lld", topic_name(c),
                        (int)c->partition, (long long)c->next);
        /* Whatever the broker says of a partition, it may say otherwise when it was mended. */
        c->error.retriable = true;
    }
    rd_kafka_message_destroy(m);
}

static void take(struct tel_kafka_consumer *c, int timeout_ms, size_t max)
{
    rd_kafka_message_t *got[POLL_MAX];
    /* librdkafka waits until it has all that it was asked for: ask for one, then for what is there. */
    ssize_t n = rd_kafka_consume_batch_queue(c->queue, timeout_ms, got, 1);
    if (n == 1 && max > 1) {
        ssize_t more = rd_kafka_consume_batch_queue(c->queue, 0, got + 1, max - 1);
        n += more > 0 ? more : 0;
    }
    for (ssize_t i = 0; i < n; i++)
        sort_out(c, got[i]);
}

/* Nothing came, and there was trouble: says so, and finds out once a second whether it is over. */
static tel_code tell_down(struct tel_kafka_consumer *c, struct tel_error *err)
{
    int64_t now = tel_mono_ns(tel_clock_system()), high;
    if (now - c->probed_ns > TEL_NS_PER_S) {
        c->probed_ns = now;
        if (ask_bounds(c, 100, &high, NULL) == TEL_OK)
            return TEL_OK;
    }
    pthread_mutex_lock(&c->reader->lock);
    struct tel_error trouble = c->reader->trouble;
    pthread_mutex_unlock(&c->reader->lock);
    if (err)
        *err = trouble;
    return tel_error_wrap(err, trouble.code, "reading %s/%d", topic_name(c), (int)c->partition);
}

/* After trouble: back to the last message, to see whether it is still the same. */
static tel_code reread(struct tel_kafka_consumer *c, struct tel_error *err)
{
    c->troubles_seen = atomic_load(&c->reader->troubles);
    if (c->queue && (c->gap || c->last_offset < 0))
        return TEL_OK;
    stop(c);
    c->rereading = c->last_offset >= 0;
    return fetch_from(c, c->rereading ? c->last_offset : c->next, err);
}

static bool in_trouble(struct tel_kafka_consumer *c)
{
    rd_kafka_poll(c->reader->rk, 0); /* runs on_error */
    return c->troubles_seen != atomic_load(&c->reader->troubles);
}

/* Drops what was fetched and not handed out: it may be from another log. */
static void take_back(struct tel_kafka_consumer *c, int64_t next)
{
    for (size_t i = 0; i < c->raw_count; i++)
        rd_kafka_message_destroy(c->raw[i]);
    c->raw_count = 0;
    c->next = next;
}

tel_code tel_kafka_consumer_poll(struct tel_kafka_consumer *c, int timeout_ms, size_t max,
                                 const struct tel_kafka_message **ret, size_t *ret_count,
                                 int64_t *ret_gap_to, struct tel_error *err)
{
    int64_t next = c->next;
    tel_code rc = TEL_OK;
    drop_messages(c);
    if (in_trouble(c) || !c->queue)
        rc = reread(c, err);
    if (rc != TEL_OK)
        return rc;
    if (!c->gap && c->error.code == TEL_OK)
        take(c, timeout_ms, TEL_MAX(TEL_MIN(max, (size_t)POLL_MAX), 1u));
    if (c->raw_count > 0 && in_trouble(c))
        take_back(c, next);
    if (c->raw_count > 0) {
        atomic_store(&c->reader->down, false);
    } else if (c->gap) {
        rc = tell_gap(c, timeout_ms, ret_gap_to, err);
    } else if (c->error.code != TEL_OK) {
        rc = c->error.code;
        if (err)
            *err = c->error;
        c->error.code = TEL_OK;
    } else if (atomic_load(&c->reader->down)) {
        rc = tell_down(c, err);
    }
    if (rc != TEL_OK)
        return rc;
    *ret = c->messages;
    *ret_count = c->raw_count;
    return TEL_OK;
}

void tel_kafka_consumer_watermarks(const struct tel_kafka_consumer *c, int64_t *ret_low,
                                   int64_t *ret_high)
{
    int64_t low = -1, high = -1;
    rd_kafka_get_watermark_offsets(c->reader->rk, topic_name(c), c->partition, &low, &high);
    *ret_low = TEL_MAX(low, c->low);
    *ret_high = high < 0 ? -1 : high;
    if (high >= 0 && c->end == high && c->next <= high)
        *ret_high = c->next;
}

void tel_kafka_consumer_release(struct tel_kafka_consumer *c, int64_t offset)
{
    int64_t now = tel_mono_ns(tel_clock_system());
    if (!c->reader->commits || now - c->committed_ns < COMMIT_INTERVAL_S * TEL_NS_PER_S)
        return;
    c->committed_ns = now;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic_name(c), c->partition)->offset = offset;
    rd_kafka_commit(c->reader->rk, list, 1);
    rd_kafka_topic_partition_list_destroy(list);
}
