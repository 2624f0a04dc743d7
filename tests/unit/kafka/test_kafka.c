/* The Kafka client against a real broker that stays up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/net/kafka/kafka_consumer.h"
#include "common/net/kafka/kafka_producer.h"

enum { TIMEOUT_MS = 30000, PARTITIONS = 3 };

static void must(tel_code rc, const struct tel_error *err)
{
    if (rc != TEL_OK)
        fail_msg("%s: %s", tel_code_name(rc), err->text);
}

static int64_t now_ms(void)
{
    return tel_mono_ns(tel_clock_system()) / TEL_NS_PER_MS;
}

struct tally {
    unsigned ok, failed, retriable;
    int64_t last_offset;
    tel_code last_code;
};

static void count(void *ctx, tel_code code, int64_t offset, const struct tel_error *err)
{
    struct tally *t = ctx;
    t->last_code = code;
    if (code == TEL_OK) {
        assert_true(offset > t->last_offset);
        t->ok++;
        t->last_offset = offset;
    } else {
        t->failed++;
        t->retriable += err->retriable;
    }
}

static struct tel_kafka_producer *new_producer(uint64_t queue_bytes)
{
    struct tel_kafka_producer *p;
    struct tel_error err;
    struct tel_kafka_producer_options o = {.client = {.brokers = broker_address()}, .queue_bytes = queue_bytes};
    must(tel_kafka_producer_new(&o, &p, &err), &err);
    return p;
}

static struct tel_kafka_reader *new_reader(void)
{
    struct tel_kafka_reader *r;
    struct tel_error err;
    struct tel_kafka_reader_options o = {.client = {.brokers = broker_address()}};
    must(tel_kafka_reader_new(&o, &r, &err), &err);
    return r;
}

static void send_number(struct tel_kafka_producer *p, const char *topic, int32_t partition,
                        uint64_t n, struct tally *t)
{
    struct tel_error err;
    struct tel_span value = tel_span_make(&n, sizeof n);
    tel_code rc;
    while ((rc = tel_kafka_producer_send(p, topic, partition, TEL_SPAN("key"), value, count, t, &err)) ==
           TEL_ERR_AGAIN)
        tel_kafka_producer_poll(p, 10);
    must(rc, &err);
}

/* Reads until the number `upto` was seen. Each is the one before it plus 1, or, where `repeats` are
 * allowed, a smaller one. */
static void read_numbers(struct tel_kafka_consumer *c, uint64_t from, uint64_t upto, bool repeats)
{
    struct tel_error err;
    int64_t deadline = now_ms() + TIMEOUT_MS, gap;
    while (from <= upto) {
        const struct tel_kafka_message *m;
        size_t n = 0;
        tel_code rc = tel_kafka_consumer_poll(c, 100, 64, &m, &n, &gap, &err);
        if (rc != TEL_OK && !err.retriable)
            must(rc, &err);
        for (size_t i = 0; rc == TEL_OK && i < n; i++) {
            uint64_t got;
            assert_int_equal(m[i].value.len, sizeof got);
            memcpy(&got, m[i].value.ptr, sizeof got);
            if (!repeats || got > from)
                assert_int_equal(got, from);
            from = TEL_MAX(from, got + 1);
            assert_true(tel_span_eq_cstr(m[i].key, "key"));
            assert_true(m[i].timestamp_ns > 0);
        }
        if (now_ms() > deadline)
            fail_msg("only %llu came", (unsigned long long)from);
    }
}

static void expect_numbers(struct tel_kafka_consumer *c, uint64_t from, uint64_t upto)
{
    read_numbers(c, from, upto, false);
}

/* ---- the tests ------------------------------------------------------------------------------- */

static void test_topics(void **state)
{
    (void)state;
    struct tel_kafka_client client = {.brokers = broker_address()};
    const char *const config[] = {"retention.ms", "123456", NULL};
    char name[64];
    struct tel_kafka_admin *a;
    struct tel_kafka_topic_info info;
    struct tel_error err;
    struct tel_buf value = {0};
    snprintf(name, sizeof name, "%s", broker_new_topic(broker_address(), PARTITIONS, config));
    must(tel_kafka_admin_new(&client, &a, &err), &err);
    struct tel_kafka_topic_spec again = {.name = name, .partitions = 1};
    assert_int_equal(tel_kafka_admin_create(a, &again, TIMEOUT_MS, &err), TEL_ERR_EXISTS);
    struct tel_kafka_topic_spec bad = {.name = "no spaces", .partitions = 1};
    assert_int_equal(tel_kafka_admin_create(a, &bad, TIMEOUT_MS, &err), TEL_ERR_INVALID);
    must(tel_kafka_admin_describe(a, name, TIMEOUT_MS, &info, &err), &err);
    assert_int_equal(info.partitions, PARTITIONS);
    assert_int_equal(info.replicas_min, 1);
    assert_int_equal(info.in_sync_min, 1);
    assert_int_equal(info.leaderless, 0);
    must(tel_kafka_admin_config(a, name, "retention.ms", TIMEOUT_MS, &value, &err), &err);
    assert_true(tel_span_eq_cstr(tel_buf_span(&value), "123456"));
    assert_int_equal(tel_kafka_admin_config(a, name, "no.such", TIMEOUT_MS, &value, &err), TEL_ERR_NOTFOUND);
    must(tel_kafka_admin_delete(a, name, TIMEOUT_MS, &err), &err);
    assert_int_equal(tel_kafka_admin_delete(a, name, TIMEOUT_MS, &err), TEL_ERR_NOTFOUND);
    /* The controller has deleted it; what the broker says of it follows. */
    int64_t deadline = tel_mono_ns(tel_clock_system()) + 20 * TEL_NS_PER_S;
    while (tel_kafka_admin_describe(a, name, TIMEOUT_MS, &info, &err) == TEL_OK &&
           tel_mono_ns(tel_clock_system()) < deadline)
        continue;
    assert_int_equal(tel_kafka_admin_describe(a, name, TIMEOUT_MS, &info, &err), TEL_ERR_NOTFOUND);
    tel_buf_free(&value);
    tel_kafka_admin_free(a);
}

static void test_order_in_each_partition(void **state)
{
    (void)state;
    enum { N = 3000 };
    const char *topic = broker_new_topic(broker_address(), PARTITIONS, NULL);
    struct tel_kafka_producer *p = new_producer(0);
    struct tel_kafka_reader *r = new_reader();
    struct tally t[PARTITIONS];
    struct tel_error err;
    for (int i = 0; i < PARTITIONS; i++)
        t[i] = (struct tally){.last_offset = -1};
    for (uint64_t n = 0; n < N; n++)
        for (int32_t i = 0; i < PARTITIONS; i++)
            send_number(p, topic, i, n, &t[i]);
    must(tel_kafka_producer_flush(p, TIMEOUT_MS, &err), &err);
    assert_int_equal(tel_kafka_producer_queued_bytes(p), 0);
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        assert_int_equal(t[i].ok, N);
        assert_int_equal(t[i].last_offset, N - 1);
        struct tel_kafka_consumer *c, *other;
        must(tel_kafka_consumer_new(r, topic, i, 0, 0, &c, &err), &err);
        assert_int_equal(tel_kafka_consumer_new(r, topic, i, 0, 0, &other, &err), TEL_ERR_EXISTS);
        expect_numbers(c, 0, N - 1);
        int64_t low, high;
        tel_kafka_consumer_watermarks(c, &low, &high);
        assert_int_equal(high, N);
        must(tel_kafka_consumer_seek(c, N / 2, &err), &err); /* back */
        expect_numbers(c, N / 2, N - 1);
        tel_kafka_consumer_free(c);
        must(tel_kafka_consumer_new(r, topic, i, N - 1, 0, &c, &err), &err); /* free again */
        expect_numbers(c, N - 1, N - 1);
        tel_kafka_consumer_free(c);
    }
    tel_kafka_reader_free(r);
    tel_kafka_producer_free(p);
}

static void test_full_queue_pushes_back(void **state)
{
    (void)state;
    const char *topic = broker_new_topic(broker_address(), 1, NULL);
    struct tel_kafka_producer *p = new_producer(100000);
    struct tel_error err;
    struct tally t = {.last_offset = -1};
    char *body = tel_calloc(1, 30000);
    unsigned accepted = 0, refused = 0;
    while (accepted < 50) {
        tel_code rc = tel_kafka_producer_send(p, topic, 0, TEL_SPAN(""), tel_span_make(body, 30000), count, &t, &err);
        assert_true(tel_kafka_producer_queued_bytes(p) <= 100000);
        if (rc == TEL_OK) {
            accepted++;
            continue;
        }
        assert_int_equal(rc, TEL_ERR_AGAIN);
        assert_true(err.retriable);
        refused++;
        tel_kafka_producer_poll(p, 100);
    }
    must(tel_kafka_producer_flush(p, TIMEOUT_MS, &err), &err);
    assert_int_equal(t.ok, 50);
    assert_true(refused > 0);
    free(body);
    tel_kafka_producer_free(p);
}

static void test_too_large(void **state)
{
    (void)state;
    const char *const config[] = {"max.message.bytes", "50000", NULL};
    const char *topic = broker_new_topic(broker_address(), 1, config);
    struct tel_kafka_producer *p = new_producer(64 << 20);
    struct tel_error err;
    struct tally t = {.last_offset = -1}, large = {.last_offset = -1};
    size_t size = (18u << 20);
    char *noise = tel_malloc(size);
    struct tel_rand r;
    tel_rand_init(&r, 1);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t v = tel_rand_u64(&r);
        memcpy(noise + i, &v, 8);
    }
    assert_int_equal(tel_kafka_producer_send(p, topic, 0, TEL_SPAN(""), tel_span_make(noise, size), count, &large, &err),
                     TEL_ERR_LIMIT); /* larger than the client takes */
    assert_int_equal(tel_kafka_producer_queued_bytes(p), 0);
    send_number(p, topic, 0, 0, &t);
    must(tel_kafka_producer_flush(p, TIMEOUT_MS, &err), &err);
    must(tel_kafka_producer_send(p, topic, 0, TEL_SPAN(""), tel_span_make(noise, 100000), count, &large, &err), &err);
    must(tel_kafka_producer_flush(p, TIMEOUT_MS, &err), &err);
    send_number(p, topic, 0, 1, &t);
    must(tel_kafka_producer_flush(p, TIMEOUT_MS, &err), &err);
    assert_int_equal(large.failed, 1); /* larger than the topic takes */
    assert_int_equal(large.retriable, 0);
    assert_int_equal(large.last_code, TEL_ERR_LIMIT);
    assert_int_equal(t.ok, 2); /* its neighbours are there */
    free(noise);
    tel_kafka_producer_free(p);
}

static void test_a_fatal_error_begins_anew(void **state)
{
    (void)state;
    const char *topic = broker_new_topic(broker_address(), 1, NULL);
    struct tel_kafka_producer *p = new_producer(0);
    struct tel_error err;
    struct tally t = {.last_offset = -1};
    uint64_t n = 0;
    for (; n < 100; n++)
        send_number(p, topic, 0, n, &t);
    must(tel_kafka_producer_flush(p, TIMEOUT_MS, &err), &err);
    assert_int_equal(t.ok, 100);
    struct tally after = {.last_offset = -1};
    for (uint64_t i = 0; i < 50; i++)
        send_number(p, topic, 0, n + i, &after); /* these may or may not make it */
    tel_kafka_producer_break(p, "a test wants it so");
    int64_t deadline = now_ms() + TIMEOUT_MS;
    while (after.ok + after.failed < 50 && now_ms() < deadline)
        tel_kafka_producer_poll(p, 50);
    assert_int_equal(after.ok + after.failed, 50);
    assert_int_equal(after.failed, after.retriable);
    /* What failed is sent again, as the sidecar does, and all is there once or more, in order. */
    for (uint64_t i = after.ok; i < 50; i++)
        send_number(p, topic, 0, n + i, &t);
    must(tel_kafka_producer_flush(p, TIMEOUT_MS, &err), &err);
    assert_int_equal(t.ok, 100 + 50 - after.ok);
    struct tel_kafka_reader *r = new_reader();
    struct tel_kafka_consumer *c;
    must(tel_kafka_consumer_new(r, topic, 0, 0, 0, &c, &err), &err);
    read_numbers(c, 0, 149, true); /* some had arrived, though the producer could not know */
    tel_kafka_consumer_free(c);
    tel_kafka_reader_free(r);
    tel_kafka_producer_free(p);
}

static void test_gaps(void **state)
{
    (void)state;
    const char *topic = broker_new_topic(broker_address(), 1, NULL);
    struct tel_kafka_producer *p = new_producer(0);
    struct tel_kafka_reader *r = new_reader();
    struct tel_kafka_consumer *c;
    struct tel_error err;
    struct tally t = {.last_offset = -1};
    for (uint64_t n = 0; n < 100; n++)
        send_number(p, topic, 0, n, &t);
    must(tel_kafka_producer_flush(p, TIMEOUT_MS, &err), &err);
    broker_command("trim %s --dir %s --partition 0 --offset 40", topic, broker_folder());

    const struct tel_kafka_message *m;
    size_t n;
    static const struct { int64_t start; const char *what; } cases[] = {{10, "trimmed"}, {1000, "not yet"}};
    for (size_t i = 0; i < TEL_ARRAY_LEN(cases); i++) {
        int64_t gap_to = -7, deadline = now_ms() + TIMEOUT_MS;
        must(tel_kafka_consumer_new(r, topic, 0, cases[i].start, 0, &c, &err), &err);
        tel_code rc;
        do
            rc = tel_kafka_consumer_poll(c, 100, 10, &m, &n, &gap_to, &err);
        while ((rc == TEL_OK || err.retriable) && now_ms() < deadline);
        assert_int_equal(rc, TEL_ERR_GAP);
        assert_int_equal(gap_to, 40);
        assert_non_null(strstr(err.text, "[40, 100)"));
        /* it says so until the caller moves */
        assert_int_equal(tel_kafka_consumer_poll(c, 100, 10, &m, &n, &gap_to, &err), TEL_ERR_GAP);
        must(tel_kafka_consumer_seek(c, gap_to, &err), &err);
        expect_numbers(c, 40, 99);
        int64_t low, high;
        tel_kafka_consumer_watermarks(c, &low, &high);
        assert_int_equal(high, 100);
        tel_kafka_consumer_free(c);
    }
    tel_kafka_reader_free(r);
    tel_kafka_producer_free(p);
}

static void test_topic_that_comes_later(void **state)
{
    (void)state;
    struct tel_kafka_client client = {.brokers = broker_address()};
    struct tel_kafka_reader *r = new_reader();
    struct tel_kafka_consumer *c;
    struct tel_kafka_admin *a;
    struct tel_error err;
    uint32_t partitions = 77;
    char name[64];
    snprintf(name, sizeof name, "later.%016llx", (unsigned long long)tel_rand_seed());
    assert_int_equal(tel_kafka_reader_partitions(r, name, TIMEOUT_MS, &partitions, &err), TEL_ERR_NOTFOUND);
    assert_true(err.retriable);
    assert_int_equal(partitions, 77);
    must(tel_kafka_consumer_new(r, name, 0, 0, 0, &c, &err), &err);
    const struct tel_kafka_message *m;
    size_t n;
    int64_t gap, deadline = now_ms() + 15000;
    bool told = false;
    while (now_ms() < deadline && !told) {
        tel_code rc = tel_kafka_consumer_poll(c, 100, 10, &m, &n, &gap, &err);
        assert_true(rc == TEL_OK || err.retriable);
        told = rc != TEL_OK;
    }
    assert_true(told); /* that the topic is not there is said, not kept */
    must(tel_kafka_admin_new(&client, &a, &err), &err);
    struct tel_kafka_topic_spec spec = {.name = name, .partitions = 1};
    must(tel_kafka_admin_create(a, &spec, TIMEOUT_MS, &err), &err);
    struct tel_kafka_producer *p = new_producer(0);
    struct tally t = {.last_offset = -1};
    send_number(p, name, 0, 0, &t);
    must(tel_kafka_producer_flush(p, TIMEOUT_MS, &err), &err);
    expect_numbers(c, 0, 0);
    must(tel_kafka_reader_partitions(r, name, TIMEOUT_MS, &partitions, &err), &err);
    assert_int_equal(partitions, 1);
    tel_kafka_consumer_free(c);
    tel_kafka_reader_free(r);
    tel_kafka_producer_free(p);
    tel_kafka_admin_free(a);
}

/* A message is with the consumer milliseconds after it is acknowledged, also when it waited long. */
static void test_latency(void **state)
{
    (void)state;
    enum { ROUNDS = 40 };
    const char *topic = broker_new_topic(broker_address(), 1, NULL);
    struct tel_kafka_producer *p = new_producer(0);
    struct tel_kafka_reader *r = new_reader();
    struct tel_kafka_consumer *c;
    struct tel_error err;
    struct tally t = {.last_offset = -1};
    int64_t sum = 0, worst = 0;
    must(tel_kafka_consumer_new(r, topic, 0, 0, 0, &c, &err), &err);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        int64_t begin = tel_mono_ns(tel_clock_system());
        send_number(p, topic, 0, i, &t);
        expect_numbers(c, i, i);
        int64_t took = tel_mono_ns(tel_clock_system()) - begin;
        if (i == 0)
            continue; /* connects */
        sum += took;
        worst = TEL_MAX(worst, took);
    }
    print_message("send to receive: mean %.1f ms, worst %.1f ms\n", (double)sum / (ROUNDS - 1) / 1e6, (double)worst / 1e6);
    assert_true(sum / (ROUNDS - 1) < 200 * TEL_NS_PER_MS);
    tel_kafka_consumer_free(c);
    tel_kafka_reader_free(r);
    must(tel_kafka_producer_flush(p, TIMEOUT_MS, &err), &err);
    tel_kafka_producer_free(p);
}

/* Small messages wait for company; a large one leaves as it comes. */
static void test_a_large_message_does_not_linger(void **state)
{
    (void)state;
    enum { LARGE = 200000, LINGER_MS = 600000 };
    const char *topic = broker_new_topic(broker_address(), 1, NULL);
    struct tel_kafka_producer *p;
    struct tel_kafka_producer_options o = {.client = {.brokers = broker_address()}, .linger_ms = LINGER_MS};
    struct tel_error err;
    struct tally large = {.last_offset = -1}, small = {.last_offset = -1};
    char *body = tel_calloc(1, LARGE);
    must(tel_kafka_producer_new(&o, &p, &err), &err);
    int64_t deadline = now_ms() + TIMEOUT_MS;
    for (unsigned i = 1; i <= 3; i++) {
        must(tel_kafka_producer_send(p, topic, 0, TEL_SPAN(""), tel_span_make(body, LARGE), count, &large, &err), &err);
        while (large.ok < i) {
            tel_kafka_producer_poll(p, 10);
            if (now_ms() > deadline)
                fail_msg("%u of %u large messages were acknowledged", large.ok, i);
        }
    }
    send_number(p, topic, 0, 1, &small);
    tel_kafka_producer_poll(p, 300);
    assert_int_equal(small.ok, 0);
    must(tel_kafka_producer_flush(p, TIMEOUT_MS, &err), &err);
    assert_int_equal(small.ok, 1);
    free(body);
    tel_kafka_producer_free(p);
}

static void test_closing_tells_every_message(void **state)
{
    (void)state;
    struct tel_kafka_producer *p;
    struct tel_error err;
    struct tel_kafka_producer_options o = {.client = {.brokers = "127.0.0.1:1"}}; /* nobody there */
    struct tally t = {.last_offset = -1};
    must(tel_kafka_producer_new(&o, &p, &err), &err);
    for (uint64_t n = 0; n < 10; n++)
        send_number(p, "any", 0, n, &t);
    assert_int_equal(tel_kafka_producer_flush(p, 100, &err), TEL_ERR_TIMEOUT);
    assert_int_equal(t.ok + t.failed, 0);
    tel_kafka_producer_free(p);
    assert_int_equal(t.failed, 10);
    assert_int_equal(t.last_code, TEL_ERR_CLOSED);
}

static void test_properties_are_checked_and_kept_secret(void **state)
{
    (void)state;
    struct tel_kafka_producer *p;
    struct tel_error err;
    static const char *const wrong[][3] = {
        {"no.such.property", "hunter2", NULL},
        {"security.protocol", "hunter2", NULL},
        {"transactional.id", "hunter2", NULL},
        {"ssl.key.location", "/nonexistent/hunter2", NULL}, /* needs ssl below */
    };
    for (size_t i = 0; i < 3; i++) {
        struct tel_kafka_producer_options o = {.client = {.brokers = "127.0.0.1:1", .properties = wrong[i]}};
        assert_int_equal(tel_kafka_producer_new(&o, &p, &err), TEL_ERR_INVALID);
        assert_non_null(strstr(err.text, wrong[i][0]));
        assert_null(strstr(err.text, "hunter2"));
    }
    /* What the guarantees rest on cannot be changed. */
    static const char *const loose[] = {"acks", "0", "enable.idempotence", "false", NULL};
    struct tel_kafka_producer_options o = {.client = {.brokers = "127.0.0.1:1", .properties = loose}};
    must(tel_kafka_producer_new(&o, &p, &err), &err); /* acks=0 with idempotence would be refused */
    tel_kafka_producer_free(p);
    o = (struct tel_kafka_producer_options){.client = {.brokers = "127.0.0.1:1"}, .compression = "squeeze"};
    assert_int_equal(tel_kafka_producer_new(&o, &p, &err), TEL_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_topics),
        cmocka_unit_test(test_order_in_each_partition),
        cmocka_unit_test(test_full_queue_pushes_back),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_a_fatal_error_begins_anew),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_topic_that_comes_later),
        cmocka_unit_test(test_latency),
        cmocka_unit_test(test_a_large_message_does_not_linger),
        cmocka_unit_test(test_closing_tells_every_message),
        cmocka_unit_test(test_properties_are_checked_and_kept_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
