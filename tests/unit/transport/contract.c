#include "tests/unit/transport/contract.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"

#define WAIT_MS 30000

struct tel_transport *contract_transport;

static void must(tel_code rc, const struct tel_error *err)
{
    if (rc != TEL_OK)
        fail_msg("%s: %s", tel_code_name(rc), err->text);
}

static struct tel_producer *producer(void)
{
    struct tel_producer *p = NULL;
    struct tel_error err;
    must(tel_transport_producer(contract_transport, &p, &err), &err);
    return p;
}

static struct tel_consumer *consumer(uint32_t partition, int64_t start)
{
    struct tel_consumer *c = NULL;
    struct tel_error err;
    must(tel_transport_consumer(contract_transport, partition, start, 0, &c, &err), &err);
    return c;
}

/* ---- messages that tell their number ------------------------------------------------------- */

/* Sizes from nothing to some 10 KB. */
static size_t size_of(uint64_t n)
{
    return n % 7 == 0 ? 0 : tel_hash_u64(n) % (n % 50 == 1 ? 10000 : 300);
}

static void fill(char *out, uint64_t n)
{
    for (size_t i = 0; i < size_of(n); i++)
        out[i] = (char)tel_hash_u64(n * 131 + i);
}

struct fates {
    uint64_t told;       /* how many callbacks have run */
    int64_t last_offset; /* of the partition */
    uint64_t next;       /* number of the next message to be told of */
};

struct flight {
    struct fates *fates;
    uint64_t n;
};

static void landed(void *ctx, tel_code code, int64_t offset, const struct tel_error *err)
{
    struct flight *f = ctx;
    if (code != TEL_OK)
        fail_msg("message %llu: %s", (unsigned long long)f->n, err ? err->text : "?");
    assert_int_equal(f->n, f->fates->next);
    assert_true(offset > f->fates->last_offset);
    f->fates->last_offset = offset;
    f->fates->next++;
    f->fates->told++;
    free(f);
}

static void send_number(struct tel_producer *p, uint32_t partition, uint64_t n, struct fates *fates)
{
    static char value[16384];
    char key[32];
    struct flight *f = malloc(sizeof(*f));
    struct tel_error err;
    *f = (struct flight){fates, n};
    fill(value, n);
    int len = snprintf(key, sizeof(key), "%llu", (unsigned long long)n);
    tel_code rc;
    while ((rc = tel_producer_send(p, partition, tel_span_make(key, (size_t)len), tel_span_make(value, size_of(n)),
                                   landed, f, &err)) == TEL_ERR_AGAIN)
        (void)tel_producer_poll(p, 100);
    must(rc, &err);
}

static void expect_number(const struct tel_message *m, uint64_t n)
{
    static char want[16384];
    char key[32];
    snprintf(key, sizeof(key), "%llu", (unsigned long long)n);
    assert_true(tel_span_eq_cstr(m->key, key));
    fill(want, n);
    assert_int_equal(m->value.len, size_of(n));
    if (m->value.len)
        assert_memory_equal(m->value.ptr, want, m->value.len);
    int64_t now = tel_wall_ns(tel_clock_system());
    assert_true(m->timestamp_ns > now - 600 * TEL_NS_PER_S && m->timestamp_ns <= now + TEL_NS_PER_S);
}

/* Reads messages [from, to) and returns the offset behind the last. */
static int64_t expect_numbers(struct tel_consumer *c, uint32_t partition, uint64_t from, uint64_t to)
{
    int64_t last = -1, deadline = tel_mono_ns(tel_clock_system()) + WAIT_MS * TEL_NS_PER_MS;
    struct tel_error err;
    while (from < to) {
        const struct tel_message *m = NULL;
        size_t count = 0;
        int64_t gap = 0;
        must(tel_consumer_poll(c, 100, 64, &m, &count, &gap, &err), &err);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(m[i].partition, partition);
            assert_true(m[i].offset > last);
            last = m[i].offset;
            expect_number(&m[i], from++);
        }
        assert_true(from <= to);
        assert_true(tel_mono_ns(tel_clock_system()) < deadline);
    }
    return last + 1;
}

/* ---- the tests ------------------------------------------------------------------------------ */

#define MANY 3000u

void contract_order_and_bytes(void **state)
{
    (void)state;
    uint32_t partitions = 0;
    struct tel_error err;
    must(tel_transport_partitions(contract_transport, WAIT_MS, &partitions, &err), &err);
    assert_int_equal(partitions, CONTRACT_PARTITIONS);
    struct tel_producer *p = producer();
    struct fates fates[CONTRACT_PARTITIONS];
    for (uint32_t i = 0; i < CONTRACT_PARTITIONS; i++)
        fates[i] = (struct fates){.last_offset = -1};
    for (uint64_t n = 0; n < MANY; n++)
        for (uint32_t i = 0; i < CONTRACT_PARTITIONS; i++)
            send_number(p, i, n, &fates[i]);
    must(tel_producer_flush(p, WAIT_MS, &err), &err);
    for (uint32_t i = 0; i < CONTRACT_PARTITIONS; i++) {
        assert_int_equal(fates[i].told, MANY);
        struct tel_consumer *c = consumer(i, 0);
        int64_t end = expect_numbers(c, i, 0, MANY), low = -1, high = -1;
        assert_int_equal(end, fates[i].last_offset + 1);
        tel_consumer_watermarks(c, &low, &high);
        assert_int_equal(low, 0);
        assert_int_equal(high, end);
        tel_consumer_release(c, end);
        tel_consumer_free(c);
    }
    tel_producer_free(p);
}

void contract_start_anywhere(void **state)
{
    (void)state;
    struct tel_producer *p = producer();
    struct fates fates = {.last_offset = -1};
    struct tel_error err;
    for (uint64_t n = 0; n < 500; n++)
        send_number(p, 1, n, &fates);
    must(tel_producer_flush(p, WAIT_MS, &err), &err);
    struct tel_consumer *c = consumer(1, 250);
    expect_numbers(c, 1, 250, 500);
    must(tel_consumer_seek(c, 10, &err), &err); /* back */
    expect_numbers(c, 1, 10, 500);
    must(tel_consumer_seek(c, 490, &err), &err);
    expect_numbers(c, 1, 490, 500);
    tel_consumer_free(c);
    c = consumer(1, 499); /* a successor */
    expect_numbers(c, 1, 499, 500);
    tel_consumer_free(c);
    tel_producer_free(p);
}

static void *send_later(void *arg)
{
    struct tel_producer *p = arg;
    struct fates fates = {.last_offset = -1};
    struct tel_error err;
    for (uint64_t n = 0; n < 50; n++) {
        send_number(p, 2, n, &fates);
        must(tel_producer_flush(p, WAIT_MS, &err), &err);
    }
    return NULL;
}

/* A consumer that is at the end gets what comes. */
void contract_follow(void **state)
{
    (void)state;
    struct tel_producer *p = producer();
    struct tel_consumer *c = consumer(2, 0);
    const struct tel_message *m = NULL;
    size_t count = 1;
    int64_t gap = 0;
    struct tel_error err;
    must(tel_consumer_poll(c, 0, 10, &m, &count, &gap, &err), &err);
    assert_int_equal(count, 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, send_later, p), 0);
    expect_numbers(c, 2, 0, 50);
    pthread_join(thread, NULL);
    tel_consumer_free(c);
    tel_producer_free(p);
}

void contract_gap_beyond_the_end(void **state)
{
    (void)state;
    struct tel_producer *p = producer();
    struct fates fates = {.last_offset = -1};
    struct tel_error err;
    for (uint64_t n = 0; n < 5; n++)
        send_number(p, 0, n, &fates);
    must(tel_producer_flush(p, WAIT_MS, &err), &err);
    struct tel_consumer *c = consumer(0, 1000);
    int64_t gap = -1, deadline = tel_mono_ns(tel_clock_system()) + WAIT_MS * TEL_NS_PER_MS;
    tel_code rc = TEL_OK;
    while (rc == TEL_OK) { /* Kafka has to be asked first */
        const struct tel_message *m = NULL;
        size_t count = 0;
        rc = tel_consumer_poll(c, 100, 10, &m, &count, &gap, &err);
        assert_int_equal(count, 0);
        assert_true(tel_mono_ns(tel_clock_system()) < deadline);
    }
    assert_int_equal(rc, TEL_ERR_GAP);
    assert_int_equal(gap, 0); /* a log that ends so early was made anew: all of it is to be read */
    must(tel_consumer_seek(c, gap, &err), &err);
    send_number(p, 0, 5, &fates);
    must(tel_producer_flush(p, WAIT_MS, &err), &err);
    expect_numbers(c, 0, 0, 6);
    tel_consumer_free(c);
    tel_producer_free(p);
}

static void never(void *ctx, tel_code code, int64_t offset, const struct tel_error *err)
{
    (void)ctx, (void)code, (void)offset, (void)err;
    fail_msg("a message that was refused has met a fate");
}

void contract_too_large(void **state)
{
    (void)state;
    struct tel_producer *p = producer();
    struct tel_error err;
    size_t size = 64u << 20;
    char *value = calloc(1, size);
    assert_int_equal(tel_producer_send(p, 0, TEL_SPAN("k"), tel_span_make(value, size), never, NULL, &err),
                     TEL_ERR_LIMIT);
    free(value);
    struct fates fates = {.last_offset = -1};
    send_number(p, 0, 0, &fates); /* nothing else is hurt */
    must(tel_producer_flush(p, WAIT_MS, &err), &err);
    assert_int_equal(fates.told, 1);
    tel_producer_free(p);
}

static void count_any(void *ctx, tel_code code, int64_t offset, const struct tel_error *err)
{
    (void)code, (void)offset, (void)err;
    ++*(uint64_t *)ctx;
}

/* Freed without polling: each message still meets exactly one fate. */
void contract_free_settles_all(void **state)
{
    (void)state;
    struct tel_producer *p = producer();
    uint64_t told = 0, sent = 0;
    struct tel_error err;
    for (int i = 0; i < 200; i++)
        sent += tel_producer_send(p, 0, TEL_SPAN("k"), TEL_SPAN("v"), count_any, &told, &err) == TEL_OK;
    tel_producer_free(p);
    assert_true(sent > 0);
    assert_int_equal(told, sent);
}
