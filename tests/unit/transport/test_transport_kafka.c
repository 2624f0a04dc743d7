/*
 * The transport over a Kafka that is not always there: absent at the start, killed in the middle, and
 * come back without its data. The broker is the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/transport/transport_kafka.h"
#include "tests/unit/kafka/broker.h"

enum { TIMEOUT_MS = 60000, BEFORE = 100, MANY = 20000 };

static char folder[256], address[256];
static const char topic[] = "logs";

static void must(tel_code rc, const struct tel_error *err)
{
    if (rc != TEL_OK)
        fail_msg("%s: %s", tel_code_name(rc), err->text);
}

static int64_t now_ms(void)
{
    return tel_mono_ns(tel_clock_system()) / TEL_NS_PER_MS;
}

static void make_topic(void)
{
    struct tel_kafka_client client = {.brokers = address};
    struct tel_kafka_topic_spec spec = {.name = topic, .partitions = 1};
    struct tel_kafka_admin *a;
    struct tel_error err;
    must(tel_kafka_admin_new(&client, &a, &err), &err);
    must(tel_kafka_admin_create(a, &spec, TIMEOUT_MS, &err), &err);
    tel_kafka_admin_free(a);
}

static int start_cluster(void **state)
{
    char path[300];
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/tel-transport-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    broker_command("start --dir %s --heap 256", folder);
    snprintf(path, sizeof path, "%s/bootstrap", folder);
    broker_read_line(path, address, sizeof address);
    make_topic();
    broker_command("kill --dir %s", folder);
    return 0;
}

static int stop_cluster(void **state)
{
    (void)state;
    broker_command("stop --dir %s", folder);
    return 0;
}

/* ---- a sender that does what the sidecar does: in order, and again what failed ---------------- */

struct sender {
    struct tel_producer *p;
    uint64_t next;   /* to be sent */
    uint64_t acked;  /* all below are acknowledged */
    bool failed;     /* something from `acked` on failed: go back to it when all fates are known */
    bool lost_data;  /* the cluster did: a message may fail though a later one was acknowledged */
    uint64_t flying;
};

struct flight {
    struct sender *s;
    uint64_t n;
};

static void landed(void *ctx, tel_code code, int64_t offset, const struct tel_error *err)
{
    struct flight *f = ctx;
    struct sender *s = f->s;
    s->flying--;
    if (code == TEL_OK) {
        assert_true(offset >= 0);
        if (!s->lost_data) {
            assert_false(s->failed); /* what fails is a suffix */
            assert_int_equal(f->n, s->acked);
        }
        if (!s->failed && f->n == s->acked)
            s->acked++;
        else
            s->failed = true;
    } else {
        assert_true(err->retriable);
        s->failed = true;
    }
    free(f);
}

/* One step; false when the queue was full. */
static bool step(struct sender *s)
{
    struct tel_error err;
    tel_producer_poll(s->p, 0);
    if (s->failed) {
        if (s->flying > 0)
            return false;
        s->next = s->acked;
        s->failed = false;
    }
    struct flight *f = malloc(sizeof *f);
    assert_non_null(f);
    *f = (struct flight){s, s->next};
    tel_code rc = tel_producer_send(s->p, 0, TEL_SPAN("source"), tel_span_make(&s->next, sizeof s->next), landed, f, &err);
    if (rc == TEL_ERR_AGAIN) {
        free(f);
        return false;
    }
    must(rc, &err);
    s->next++;
    s->flying++;
    return true;
}

static void finish(struct sender *s, uint64_t upto)
{
    int64_t deadline = now_ms() + TIMEOUT_MS;
    while (s->acked < upto) {
        if (s->next < upto || s->failed)
            step(s);
        tel_producer_poll(s->p, 20);
        if (now_ms() > deadline)
            fail_msg("%llu of %llu are acknowledged", (unsigned long long)s->acked, (unsigned long long)upto);
    }
}

/* Reads numbers from..upto, each once and in order. */
static void expect(struct tel_consumer *c, uint64_t from, uint64_t upto)
{
    struct tel_error err;
    int64_t gap, deadline = now_ms() + TIMEOUT_MS;
    while (from < upto) {
        const struct tel_message *m;
        size_t n = 0;
        tel_code rc = tel_consumer_poll(c, 100, 100, &m, &n, &gap, &err);
        if (rc != TEL_OK && !err.retriable)
            must(rc, &err);
        for (size_t i = 0; rc == TEL_OK && i < n; i++, from++) {
            uint64_t got;
            assert_int_equal(m[i].value.len, sizeof got);
            memcpy(&got, m[i].value.ptr, sizeof got);
            assert_int_equal(got, from);
            assert_int_equal(m[i].partition, 0);
        }
        if (now_ms() > deadline)
            fail_msg("nothing behind %llu", (unsigned long long)from);
    }
}

/* Reads until each of the numbers was seen, in any order and as often as it likes. */
static void expect_all(struct tel_consumer *c, uint64_t from, uint64_t upto)
{
    struct tel_error err;
    int64_t gap, deadline = now_ms() + TIMEOUT_MS;
    bool *seen = calloc(upto - from, 1);
    uint64_t left = upto - from;
    assert_non_null(seen);
    while (left > 0) {
        const struct tel_message *m;
        size_t n = 0;
        tel_code rc = tel_consumer_poll(c, 100, 100, &m, &n, &gap, &err);
        if (rc != TEL_OK && !err.retriable)
            must(rc, &err);
        for (size_t i = 0; rc == TEL_OK && i < n; i++) {
            uint64_t got;
            memcpy(&got, m[i].value.ptr, sizeof got);
            assert_true(got >= from && got < upto);
            left -= !seen[got - from];
            seen[got - from] = true;
        }
        if (now_ms() > deadline)
            fail_msg("%llu are missing", (unsigned long long)left);
    }
    free(seen);
}

static tel_code poll_until_error(struct tel_consumer *c, tel_code wanted, int64_t *ret_gap, struct tel_error *err)
{
    const struct tel_message *m;
    size_t n;
    int64_t deadline = now_ms() + TIMEOUT_MS;
    tel_code rc;
    do
        rc = tel_consumer_poll(c, 100, 10, &m, &n, ret_gap, err);
    while (rc != wanted && (rc == TEL_OK || err->retriable) && now_ms() < deadline);
    return rc;
}

/* Puts so many messages into the topic, by a producer that did not see the old one. */
static void fill(const struct tel_kafka_options *o, uint64_t count)
{
    struct tel_transport *t;
    struct tel_error err;
    struct sender s = {0};
    must(tel_transport_kafka_new(o, &t, &err), &err);
    must(tel_transport_producer(t, &s.p, &err), &err);
    finish(&s, count);
    assert_int_equal(s.next, count);
    tel_producer_free(s.p);
    tel_transport_free(t);
}

/* The mark of the message at `offset`. */
static uint64_t mark_of(struct tel_transport *t, int64_t offset)
{
    struct tel_consumer *c;
    struct tel_error err;
    const struct tel_message *m;
    size_t n = 0;
    int64_t gap, deadline = now_ms() + TIMEOUT_MS;
    must(tel_transport_consumer(t, 0, offset, 0, &c, &err), &err);
    while (n == 0 && now_ms() < deadline)
        if (tel_consumer_poll(c, 100, 1, &m, &n, &gap, &err) != TEL_OK)
            n = 0;
    assert_int_equal(n, 1);
    assert_int_equal(m[0].offset, offset);
    uint64_t mark = m[0].mark;
    assert_true(mark != 0);
    tel_consumer_free(c);
    return mark;
}

/* A process reads on where an earlier one was, in a log of the numbers below `upto`. */
static void come_back(struct tel_transport *t, uint64_t upto)
{
    struct tel_consumer *c;
    struct tel_error err;
    int64_t gap = -1, half = (int64_t)(upto / 2);
    uint64_t mark = mark_of(t, half - 1);
    assert_true(mark == mark_of(t, half - 1));
    must(tel_transport_consumer(t, 0, half, mark, &c, &err), &err);
    expect(c, (uint64_t)half, upto); /* the same log: no gap, and not the message before again */
    tel_consumer_free(c);
    must(tel_transport_consumer(t, 0, half, mark + 1, &c, &err), &err);
    assert_int_equal(poll_until_error(c, TEL_ERR_GAP, &gap, &err), TEL_ERR_GAP);
    assert_int_equal(gap, 0);
    assert_non_null(strstr(err.text, "another log"));
    must(tel_consumer_seek(c, gap, &err), &err);
    expect(c, 0, upto);
    tel_consumer_free(c);
    /* A log that ends before that message. */
    must(tel_transport_consumer(t, 0, (int64_t)upto + 1, mark, &c, &err), &err);
    assert_int_equal(poll_until_error(c, TEL_ERR_GAP, &gap, &err), TEL_ERR_GAP);
    assert_int_equal(gap, 0);
    tel_consumer_free(c);
}

static void test_kafka_absent_killed_and_empty(void **state)
{
    (void)state;
    struct tel_kafka_options o = {.brokers = address, .topic = topic, .linger_ms = 1, .queue_bytes = 1 << 20};
    struct tel_transport *t;
    struct tel_consumer *c;
    struct tel_error err;
    struct sender s = {0};
    uint32_t partitions = 99;
    int64_t gap = -1;

    print_message("absent at the start\n");
    must(tel_transport_kafka_new(&o, &t, &err), &err);
    tel_code rc = tel_transport_partitions(t, 500, &partitions, &err);
    assert_int_not_equal(rc, TEL_OK);
    assert_true(err.retriable);
    must(tel_transport_producer(t, &s.p, &err), &err);
    must(tel_transport_consumer(t, 0, 0, 0, &c, &err), &err);
    while (s.next < BEFORE)
        assert_true(step(&s));
    assert_int_equal(tel_producer_flush(s.p, 200, &err), TEL_ERR_TIMEOUT);
    rc = poll_until_error(c, TEL_ERR_UNAVAILABLE, &gap, &err);
    assert_int_equal(rc, TEL_ERR_UNAVAILABLE);
    assert_true(err.retriable);
    while (step(&s)) /* the queue fills up, and then says so */
        assert_true(s.next < 100000);
    assert_int_equal(s.acked, 0);
    broker_command("restart --dir %s", folder);
    uint64_t total = s.next;
    finish(&s, total);
    must(tel_transport_partitions(t, 10000, &partitions, &err), &err);
    assert_int_equal(partitions, 1);
    expect(c, 0, total);

    print_message("killed in the middle\n");
    uint64_t until = total + MANY;
    while (s.next < until) {
        if (s.next == total + MANY / 4)
            broker_command("kill --dir %s", folder);
        if (s.next == total + MANY / 4 + 2000)
            broker_command("restart --dir %s", folder);
        if (!step(&s))
            tel_producer_poll(s.p, 20);
    }
    finish(&s, until);
    expect(c, total, until);
    int64_t low, high;
    tel_consumer_watermarks(c, &low, &high);
    assert_int_equal(high, until);

    print_message("back without its data\n");
    broker_command("kill --dir %s", folder);
    broker_command("wipe --dir %s", folder);
    broker_command("restart --dir %s", folder);
    make_topic();
    rc = poll_until_error(c, TEL_ERR_GAP, &gap, &err);
    assert_int_equal(rc, TEL_ERR_GAP);
    assert_int_equal(gap, 0);
    assert_non_null(strstr(err.text, "is not in the log"));
    must(tel_consumer_seek(c, gap, &err), &err);
    s.lost_data = true;
    finish(&s, until + 10); /* the producer finds its way too */
    expect_all(c, until, until + 10);
    s.lost_data = false;
    print_message("killed in a quiet moment: the same log is no gap\n");
    broker_command("kill --dir %s", folder);
    broker_command("restart --dir %s", folder);
    finish(&s, until + 20);
    expect(c, until + 10, until + 20);

    print_message("back without its data, and filled again before we look\n");
    broker_command("kill --dir %s", folder);
    broker_command("wipe --dir %s", folder);
    broker_command("restart --dir %s", folder);
    make_topic();
    total = until + 20 + 100; /* the next offset is 20 or some more */
    s.lost_data = true;
    finish(&s, total);
    rc = poll_until_error(c, TEL_ERR_GAP, &gap, &err);
    assert_int_equal(rc, TEL_ERR_GAP);
    assert_int_equal(gap, 0);
    assert_non_null(strstr(err.text, "another log"));
    must(tel_consumer_seek(c, gap, &err), &err);
    expect_all(c, until + 20, total);

    print_message("back without its data, and filled to just before where we are\n");
    tel_consumer_watermarks(c, &low, &high);
    broker_command("kill --dir %s", folder);
    broker_command("wipe --dir %s", folder);
    broker_command("restart --dir %s", folder);
    make_topic();
    fill(&o, (uint64_t)high - 1);
    rc = poll_until_error(c, TEL_ERR_GAP, &gap, &err);
    assert_int_equal(rc, TEL_ERR_GAP);
    assert_int_equal(gap, 0);
    must(tel_consumer_seek(c, gap, &err), &err);
    tel_consumer_free(c);

    print_message("read by a later process\n");
    come_back(t, (uint64_t)high - 1);
    tel_producer_free(s.p);
    tel_transport_free(t);
}

static void test_options_are_checked(void **state)
{
    (void)state;
    struct tel_transport *t;
    struct tel_error err;
    struct tel_kafka_options none = {.topic = topic};
    assert_int_equal(tel_transport_kafka_new(&none, &t, &err), TEL_ERR_INVALID);
    struct tel_kafka_options no_topic = {.brokers = "127.0.0.1:1"};
    assert_int_equal(tel_transport_kafka_new(&no_topic, &t, &err), TEL_ERR_INVALID);
    static const char *const secret[] = {"security.protocol", "SASL_PLAINTEXT", "sasl.username", "me", "sasl.password", "hunter2", "sasl.mechanism", "NONESUCH", NULL};
    struct tel_kafka_options bad = {.brokers = "127.0.0.1:1", .topic = topic, .properties = secret};
    assert_int_equal(tel_transport_kafka_new(&bad, &t, &err), TEL_ERR_INVALID);
    assert_null(strstr(err.text, "hunter2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_are_checked),
        cmocka_unit_test_setup_teardown(test_kafka_absent_killed_and_empty, start_cluster, stop_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
