/* The spool: a queue behind it that is away, refuses or fails, kills, and each policy when it is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "common/sys/fs.h"
#include "sidecar/checkpoint.h"
#include "sidecar/spool.h"
#include "tests/unit/sidecar/sidecar_fixture.h"
#include "tests/unit/sidecar/unruly_transport.h"

struct bench {
    struct rig rig; /* for its folder and journal */
    struct tel_transport *unruly;
    struct checkpoint *checkpoint;
    struct spool *spool;
    struct tel_producer *producer;
    struct spool_options options;
    char dir[160];
    unsigned told, failed;
};

static void must(tel_code rc, const struct tel_error *err)
{
    if (rc != TEL_OK)
        fail_msg("%s", err->text);
}

static void start(struct bench *b)
{
    struct tel_error err;
    must(checkpoint_open(tel_fs_system(), b->rig.dir, false, &b->checkpoint, &err), &err);
    b->options.checkpoint = b->checkpoint;
    must(spool_new(&b->options, b->unruly, &b->spool, &err), &err);
    must(tel_transport_producer(spool_transport(b->spool), &b->producer, &err), &err);
}

static void stop(struct bench *b, bool save)
{
    struct tel_error err;
    tel_producer_free(b->producer);
    spool_free(b->spool);
    if (save)
        must(checkpoint_save(b->checkpoint, &err), &err);
    checkpoint_free(b->checkpoint);
}

static void bench_open(struct bench *b, struct unruly_options o, enum spool_policy policy)
{
    const char *given = getenv("TEL_TEST_SEED");
    memset(b, 0, sizeof(*b));
    o.seed = given ? strtoull(given, NULL, 10) : tel_rand_seed() % 1000000;
    print_message("seed %llu\n", (unsigned long long)o.seed);
    rig_open(&b->rig, 2);
    b->unruly = unruly_transport_new(b->rig.transport, &o);
    snprintf(b->dir, sizeof(b->dir), "%s/spool", b->rig.dir);
    b->options = (struct spool_options){
        .fs = tel_fs_system(), .dir = b->dir, .bytes = 1 << 20, .policy = policy};
    start(b);
}

static void bench_close(struct bench *b)
{
    stop(b, true);
    tel_transport_free(b->unruly);
    rig_close(&b->rig);
}

static void on_told(void *ctx, tel_code code, int64_t offset, const struct tel_error *err)
{
    struct bench *b = ctx;
    (void)offset, (void)err;
    b->told++;
    b->failed += code != TEL_OK;
}

/* One event, number n of its source. False: the spool is full. */
static bool put(struct bench *b, unsigned source, unsigned n, size_t size)
{
    struct tel_buf body = {0}, message = {0};
    struct tel_error err;
    char name[16];
    tel_buf_printf(&body, "%u %u ", source, n);
    while (body.len < size)
        tel_buf_add_char(&body, 'x');
    snprintf(name, sizeof(name), "s%u", source);
    struct tel_event e = {.timestamp_ns = 1, .position = n + 1, .body = tel_buf_span(&body)};
    struct tel_batch batch = {.tenant = TEL_SPAN("t"),
                              .source = tel_span_cstr(name),
                              .event_count = 1,
                              .events = &e};
    must(tel_record_encode(&batch, &(struct tel_record_framing){0}, &message, &err), &err);
    tel_code rc = tel_producer_send(b->producer, source % 2, batch.source, tel_buf_span(&message),
                                    on_told, b, &err);
    if (rc != TEL_OK && rc != TEL_ERR_AGAIN)
        fail_msg("%s", err.text);
    (void)tel_producer_poll(b->producer, 0);
    tel_buf_free(&body);
    tel_buf_free(&message);
    return rc == TEL_OK;
}

static void wait_told(struct bench *b, unsigned count)
{
    int64_t deadline = tel_mono_ns(tel_clock_system()) + RIG_WAIT_S * TEL_NS_PER_S;
    while (b->told < count && tel_mono_ns(tel_clock_system()) < deadline)
        (void)tel_producer_poll(b->producer, 10);
    assert_int_equal(b->told, count);
    assert_int_equal(b->failed, 0);
}

static void sends_on_in_order(void **state)
{
    struct bench b;
    struct lines l;
    (void)state;
    bench_open(&b, (struct unruly_options){.fail_percent = 1, .full_percent = 20}, SPOOL_REFUSE);
    for (unsigned n = 0; n < 60; n++)
        for (unsigned s = 0; s < 20; s++)
            assert_true(put(&b, s, n, 20));
    wait_told(&b, 1200);
    assert_true(spool_drain(b.spool, 20000));
    rig_read(&b.rig, &l);
    assert_int_equal(l.len, 1200);
    lines_free(&l);
    bench_close(&b);
}

static void survives_kills(void **state)
{
    struct bench b;
    struct lines l;
    unsigned n = 0;
    (void)state;
    bench_open(&b, (struct unruly_options){.fail_percent = 2}, SPOOL_REFUSE);
    for (int life = 0; life < 10; life++) {
        for (unsigned i = 0; i < 30; i++, n++)
            assert_true(put(&b, 0, n, 20) && put(&b, 1, n, 20));
        wait_told(&b, 2 * n);
        stop(&b, life % 2); /* every other time without what was forwarded being stored */
        start(&b);
    }
    assert_true(spool_drain(b.spool, 20000));
    rig_read(&b.rig, &l);
    assert_int_equal(l.len, 2 * n);
    lines_free(&l);
    bench_close(&b);
}

/* Nothing gets through; the spool fills up. */
static unsigned fill(struct bench *b, unsigned most)
{
    unsigned n = 0;
    int64_t deadline = tel_mono_ns(tel_clock_system()) + RIG_WAIT_S * TEL_NS_PER_S;
    for (; n < most; n++)
        while (!put(b, 0, n, 8000)) {
            if (b->options.policy == SPOOL_REFUSE && b->told == n)
                return n; /* all durable, and still no room: it is full */
            if (tel_mono_ns(tel_clock_system()) > deadline)
                fail_msg("no room was made behind %u messages", n);
            (void)tel_producer_poll(b->producer, 5);
        }
    return n;
}

static void full_refuses(void **state)
{
    struct bench b;
    struct spool_stats st;
    (void)state;
    bench_open(&b, (struct unruly_options){.full_percent = 100}, SPOOL_REFUSE);
    unsigned n = fill(&b, 10000);
    assert_true(n > 50 && n < 140); /* 1 MiB of 8 kB */
    wait_told(&b, n);
    spool_get_stats(b.spool, &st);
    assert_int_equal(st.dropped, 0);
    assert_int_equal(st.waiting, n);
    bench_close(&b);
}

static void full_drops_the_newest(void **state)
{
    struct bench b;
    struct spool_stats st;
    (void)state;
    bench_open(&b, (struct unruly_options){.full_percent = 100}, SPOOL_DROP_NEWEST);
    assert_int_equal(fill(&b, 500), 500);
    wait_told(&b, 500);
    /* The spool's thread counts what it drops before it lets go of it. */
    int64_t deadline = tel_mono_ns(tel_clock_system()) + RIG_WAIT_S * TEL_NS_PER_S;
    do
        spool_get_stats(b.spool, &st);
    while (st.waiting != 500 - st.dropped && tel_mono_ns(tel_clock_system()) < deadline);
    assert_true(st.dropped > 300);
    assert_int_equal(st.waiting, 500 - st.dropped);
    bench_close(&b);
}

static void full_drops_the_oldest(void **state)
{
    struct bench b;
    struct spool_stats st;
    (void)state;
    bench_open(&b, (struct unruly_options){.full_percent = 100}, SPOOL_DROP_OLDEST);
    assert_int_equal(fill(&b, 500), 500);
    wait_told(&b, 500);
    /* The spool's thread counts what it drops before it lets go of it. */
    int64_t deadline = tel_mono_ns(tel_clock_system()) + RIG_WAIT_S * TEL_NS_PER_S;
    do
        spool_get_stats(b.spool, &st);
    while (st.waiting != 500 - st.dropped && tel_mono_ns(tel_clock_system()) < deadline);
    assert_true(st.dropped > 300);
    assert_int_equal(st.waiting, 500 - st.dropped);
    assert_true(st.bytes <= st.budget_bytes);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sends_on_in_order),      cmocka_unit_test(survives_kills),
        cmocka_unit_test(full_refuses),           cmocka_unit_test(full_drops_the_newest),
        cmocka_unit_test(full_drops_the_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
