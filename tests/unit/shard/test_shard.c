/* A shard server from the queue to the answer: visible soon, once, in order, and told what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "tests/unit/shard/shard_fixture.h"

#define DAY  TEL_NS_PER_DAY
#define BASE (20400 * DAY + 3600 * TEL_NS_PER_S)

static void send_numbered(struct world *w, uint32_t partition, const char *source, uint64_t from,
                          uint32_t count, int64_t step_ns)
{
    struct world_event *events = calloc(count, sizeof(*events));
    char(*bodies)[64] = calloc(count, sizeof(*bodies));
    for (uint32_t i = 0; i < count; i++) {
        snprintf(bodies[i], sizeof(bodies[i]), "%s event number %llu end", source,
                 (unsigned long long)(from + i));
        events[i] = (struct world_event){BASE + (int64_t)(from + i) * step_ns, from + i, bodies[i]};
    }
    world_send(w, partition, "default", source, events, count);
    free(events);
    free(bodies);
}

static void test_visible_soon(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, 2);
    world_start(&w);
    send_numbered(&w, 0, "a", 1, 100, 1000);
    send_numbered(&w, 1, "b", 1, 50, 1000);
    world_sync(&w);
    int64_t began = tel_mono_ns(tel_clock_system());
    world_await(&w, "default", "*", 150);
    assert_true(tel_mono_ns(tel_clock_system()) - began < TEL_NS_PER_S);
    assert_int_equal(world_count(&w, "other", "*"), 0);
    assert_int_equal(world_count(&w, "default", "number"), 150);
    assert_int_equal(world_count(&w, "default", "host:a"), 100);
    /* The same from segments, after a restart. */
    world_stop(&w, true);
    world_start(&w);
    assert_int_equal(world_count(&w, "default", "*"), 150);
    assert_int_equal(world_count(&w, "default", "host:a"), 100);
    world_await(&w, "default", "*", 150);
    world_end(&w);
}

static void test_newest_first(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, 2);
    w.options.segment_rows = 40;
    world_start(&w);
    /* Days apart, so that there are several days, segments and chunks. */
    for (uint64_t i = 0; i < 20; i++)
        send_numbered(&w, (uint32_t)(i & 1), "a", i * 10 + 1, 10, DAY / 40);
    world_sync(&w);
    world_await(&w, "default", "*", 200);
    for (int again = 0; again < 2; again++) {
        for (uint64_t max = 1; max < 300; max = max * 3 + 1) {
            struct found found;
            struct tel_error err = {0};
            if (world_search(&w, "default", "event", max, &found, &err) != TEL_OK)
                fail_msg("%s", err.text);
            assert_int_equal(found.rows.len, max < 200 ? max : 200);
            for (size_t i = 0; i < found.rows.len; i++) {
                char want[64];
                snprintf(want, sizeof(want), "a event number %zu end", 200 - i);
                assert_string_equal(found.rows.items[i], want);
            }
            found_done(&found);
        }
        world_stop(&w, true);
        world_start(&w);
    }
    world_end(&w);
}

static void test_repeats(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, 1);
    world_start(&w);
    send_numbered(&w, 0, "a", 1, 10, 1000);
    send_numbered(&w, 0, "a", 5, 10, 1000); /* 5 to 10 are repeats */
    world_sync(&w);
    world_await(&w, "default", "*", 14);
    world_stop(&w, true);
    world_start(&w);
    send_numbered(&w, 0, "a", 1, 14, 1000); /* all of it again, across the restart */
    send_numbered(&w, 0, "b", 1, 1, 1000);
    world_sync(&w);
    world_await(&w, "default", "host:b", 1);
    assert_int_equal(world_count(&w, "default", "*"), 15);
    world_stop(&w, false); /* not flushed: read again */
    world_start(&w);
    world_await(&w, "default", "host:b", 1);
    assert_int_equal(world_count(&w, "default", "*"), 15);
    Telescope__Shard__V1__StatusResponse *status = shard_status(w.server, NULL);
    assert_int_equal(status->n_partitions, 1);
    assert_int_equal(status->partitions[0]->repeats_dropped, 6 + 14);
    protobuf_c_message_free_unpacked(&status->base, NULL);
    world_end(&w);
}

static void test_many_days_and_late(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, 1);
    world_start(&w);
    struct world_event events[60];
    for (uint64_t i = 0; i < 60; i++)
        events[i] = (struct world_event){(int64_t)((i * 37) % 60) * DAY + 5, i + 1, "spread"};
    world_send(&w, 0, "default", "a", events, 60);
    world_sync(&w);
    world_await(&w, "default", "spread", 60);
    world_stop(&w, true);
    world_start(&w);
    assert_int_equal(world_count(&w, "default", "spread"), 60);
    struct world_event late = {3 * DAY + 7, 100, "late"};
    world_send(&w, 0, "default", "a", &late, 1);
    world_sync(&w);
    world_await(&w, "default", "late", 1);
    assert_int_equal(world_count(&w, "default", "_time:1970-01-04Z"), 2);
    world_end(&w);
}

static void test_future_and_dead_letters(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, 1);
    w.options.future_policy = SHARD_CLAMP;
    world_start(&w);
    world_send_bytes(&w, 0, TEL_SPAN("this is no batch"));
    struct world_event events[3] = {{BASE, 1, "now"},
                                    {INT64_MAX - 5, 2, "far"},
                                    {INT64_MIN, 3, "ancient"}};
    world_send(&w, 0, "default", "a", events, 3);
    world_sync(&w);
    world_await(&w, "default", "*", 3);
    assert_int_equal(world_count(&w, "default", "original_time:*"), 1);
    assert_int_equal(world_count(&w, "default", "far original_time:2262*"), 1);
    Telescope__Shard__V1__StatusResponse *status = shard_status(w.server, NULL);
    assert_int_equal(status->partitions[0]->dead_letters, 1);
    assert_int_equal(status->partitions[0]->state->watermark, 2);
    protobuf_c_message_free_unpacked(&status->base, NULL);
    world_stop(&w, true);
    world_start(&w);
    assert_int_equal(world_count(&w, "default", "*"), 3);
    world_end(&w);
}

static void test_bad_searches(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, 1);
    world_start(&w);
    struct found found;
    struct tel_error err = {0};
    assert_int_equal(world_search(&w, "default", "foo | stats by (", 0, &found, &err),
                     TEL_ERR_PARSE);
    found_done(&found);
    /* A partition that is not held is named, not an error. */
    w.options.partition_count = 2;
    w.partitions[1] = 7;
    assert_int_equal(world_search(&w, "default", "foo", 0, &found, &err), TEL_OK);
    assert_int_equal(found.end->n_partitions, 2);
    assert_string_equal(found.end->partitions[0]->missing, "");
    assert_string_equal(found.end->partitions[1]->missing, "partition 7 is not held by this server");
    found_done(&found);
    world_end(&w);
}

static void test_one_process(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, 1);
    world_start(&w);
    struct shard_server *second;
    struct tel_error err = {0};
    assert_int_equal(shard_server_new(&w.options, w.transport, &second, &err), TEL_ERR_LOCKED);
    world_end(&w);
}

/* Ten thousand tenants with a few events each, within a budget that forces several flushes. */
static void test_many_tenants(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, 1);
    w.options.memory_bytes = 4 << 20;
    world_start(&w);
    const unsigned tenants = 10000;
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < tenants; i++) {
            char tenant[16];
            snprintf(tenant, sizeof(tenant), "t%u", i);
            struct world_event event = {BASE + round, round + 1, "a line of a small tenant"};
            world_send(&w, 0, tenant, tenant, &event, 1);
        }
    world_sync(&w);
    world_await(&w, "t9999", "*", 2);
    for (unsigned i = 0; i < tenants; i += 997) {
        char tenant[16];
        snprintf(tenant, sizeof(tenant), "t%u", i);
        assert_int_equal(world_count(&w, tenant, "*"), 2);
    }
    Telescope__Shard__V1__StatusResponse *status = shard_status(w.server, NULL);
    assert_int_equal(status->partitions[0]->events, 2 * tenants);
    assert_true(status->partitions[0]->memory_bytes <= (5 << 20));
    protobuf_c_message_free_unpacked(&status->base, NULL);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_visible_soon),
        cmocka_unit_test(test_newest_first),
        cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_many_days_and_late),
        cmocka_unit_test(test_future_and_dead_letters),
        cmocka_unit_test(test_bad_searches),
        cmocka_unit_test(test_one_process),
        cmocka_unit_test(test_many_tenants),
    };
    tel_log_set_level(TEL_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
