/* What the pipeline does when deliveries fail, are refused or overtake each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "common/sys/fs_fault.h"
#include "tests/unit/sidecar/sidecar_fixture.h"
#include "tests/unit/sidecar/unruly_transport.h"

struct storm {
    struct rig rig;
    struct tel_transport *inner;
    unsigned lines, files;
};

static uint64_t storm_open(struct storm *s, struct unruly_options o)
{
    const char *given = getenv("TEL_TEST_SEED");
    o.seed = given ? strtoull(given, NULL, 10) : tel_rand_seed() % 1000000;
    print_message("seed %llu\n", (unsigned long long)o.seed);
    rig_open(&s->rig, 3);
    s->inner = s->rig.transport;
    s->rig.transport = unruly_transport_new(s->inner, &o);
    s->rig.options.batch_bytes = 2000;
    s->lines = s->files = 0;
    return o.seed;
}

static void storm_write(struct storm *s, unsigned files, unsigned lines)
{
    char name[16];
    s->files = TEL_MAX(s->files, files);
    for (unsigned f = 0; f < files; f++) {
        struct tel_buf text = {0};
        for (unsigned i = 0; i < lines; i++)
            tel_buf_printf(&text, "%08u a line of file %u\n", s->lines++, f);
        snprintf(name, sizeof(name), "%u.log", f);
        rig_append(&s->rig, name, text.ptr, text.len);
        tel_buf_free(&text);
    }
}

/* Stops; every line is there exactly once, after repeats were dropped as shards drop them, and no file
 * has ever had another name. */
static void storm_close(struct storm *s, size_t *ret_repeats)
{
    struct lines l;
    assert_true(s->lines > 0);
    rig_stop(&s->rig);
    tel_transport_free(s->rig.transport);
    s->rig.transport = s->inner;
    rig_read(&s->rig, &l);
    bool *seen = calloc(s->lines + 1, sizeof(bool));
    for (size_t i = 0; i < l.len; i++) {
        unsigned n = (unsigned)strtoul(l.items[i].body, NULL, 10);
        assert_true(n < s->lines);
        if (seen[n])
            fail_msg("line %u came twice", n);
        seen[n] = true;
    }
    for (unsigned n = 0; n < s->lines; n++)
        if (!seen[n])
            fail_msg("line %u is lost", n);
    print_message("%u lines, %zu sources, %zu repeats\n", s->lines, lines_sources(&l), l.repeats);
    assert_int_equal(lines_sources(&l), s->files);
    if (ret_repeats)
        *ret_repeats = l.repeats;
    free(seen);
    lines_free(&l);
    rig_close(&s->rig);
}

static void failures_keep_order(void **state)
{
    struct storm s;
    (void)state;
    storm_open(&s, (struct unruly_options){.fail_percent = 10, .full_percent = 30});
    storm_write(&s, 5, 400);
    rig_start(&s.rig, "*.log");
    rig_wait_delivered(&s.rig, s.lines);
    storm_close(&s, NULL);
}

/* A transport that delivers what was sent behind a failed message, as one does that had to begin anew. */
static void nothing_overtakes(void **state)
{
    struct storm s;
    (void)state;
    storm_open(&s, (struct unruly_options){.fail_percent = 15, .overtake = true});
    storm_write(&s, 2, 600);
    rig_start(&s.rig, "*.log");
    rig_wait_delivered(&s.rig, s.lines);
    storm_close(&s, NULL);
}

/* Whoever was told of a failure sends again what is there already. */
static void failures_that_were_none(void **state)
{
    struct storm s;
    size_t repeats;
    (void)state;
    storm_open(&s, (struct unruly_options){.lie_percent = 50, .overtake = true});
    s.rig.options.batch_bytes = 600; /* so many messages that one is lied about */
    storm_write(&s, 3, 400);
    rig_start(&s.rig, "*.log");
    rig_wait_delivered(&s.rig, s.lines);
    storm_close(&s, &repeats);
    assert_true(repeats > 0);
}

static void refused_for_size(bool later)
{
    struct storm s;
    size_t limit = 1200;
    storm_open(&s, later ? (struct unruly_options){.refuse_later = limit, .fail_percent = 3}
                         : (struct unruly_options){.refuse_at_send = limit, .full_percent = 10});
    storm_write(&s, 3, 300);
    rig_start(&s.rig, "*.log");
    rig_wait_delivered(&s.rig, s.lines);
    storm_close(&s, NULL);
}

static void refused_at_send_is_cut(void **state)
{
    (void)state;
    refused_for_size(false);
}

static void refused_later_is_cut(void **state)
{
    (void)state;
    refused_for_size(true);
}

static void one_event_too_large_is_cut(void **state)
{
    struct storm s;
    struct lines l;
    struct tel_buf text = {0};
    (void)state;
    storm_open(&s, (struct unruly_options){.refuse_at_send = 3000});
    for (int i = 0; i < 2000; i++)
        tel_buf_printf(&text, "%05d", i);
    TEL_BUF_ADD_LIT(&text, "\nshort\n");
    rig_append(&s.rig, "a.log", text.ptr, text.len);
    rig_start(&s.rig, "*.log");
    rig_wait_delivered(&s.rig, 5);
    rig_stop(&s.rig);
    tel_transport_free(s.rig.transport);
    s.rig.transport = s.inner;
    rig_read(&s.rig, &l);
    struct tel_buf all = {0};
    for (size_t i = 0; i < l.len; i++)
        tel_buf_add(&all, l.items[i].body, l.items[i].body_len);
    assert_int_equal(all.len, 10005);
    assert_memory_equal(all.ptr, text.ptr, 10000);
    assert_memory_equal(all.ptr + 10000, "short", 5);
    assert_string_equal(l.items[0].split, "1/2 1/2");
    tel_buf_free(&all);
    tel_buf_free(&text);
    lines_free(&l);
    rig_close(&s.rig);
}

/* Restarts in the midst of failures, each after some of what was just written: repeats may come. */
static void kills_amid_failures(void **state)
{
    struct storm s;
    struct tel_rand r;
    (void)state;
    uint64_t seed = storm_open(&s, (struct unruly_options){.fail_percent = 5, .lie_percent = 5,
                                                           .full_percent = 10, .overtake = true});
    tel_rand_init(&r, seed);
    rig_start(&s.rig, "*.log");
    for (int i = 0; i < 15; i++) {
        storm_write(&s, 3, 50);
        rig_wait_delivered(&s.rig, tel_rand_below(&r, 140));
        rig_kill(&s.rig);
        rig_start(&s.rig, "*.log");
    }
    rig_wait_idle(&s.rig);
    storm_close(&s, NULL);
}

static void waits_for_the_topic(void **state)
{
    struct storm s;
    (void)state;
    storm_open(&s, (struct unruly_options){.stuck_partitions_calls = 20});
    storm_write(&s, 2, 10);
    rig_start(&s.rig, "*.log");
    rig_wait_delivered(&s.rig, s.lines);
    storm_close(&s, NULL);
}

/* Watches how much is held until all is delivered; at the end nothing is. */
static void watch_held(struct storm *s, uint64_t most_allowed, bool *ret_full)
{
    struct sidecar_stats st;
    int64_t deadline = tel_mono_ns(tel_clock_system()) + RIG_WAIT_S * TEL_NS_PER_S;
    do {
        sidecar_get_stats(s->rig.sidecar, &st);
        if (st.held_bytes > most_allowed)
            fail_msg("%llu bytes are held", (unsigned long long)st.held_bytes);
        *ret_full |= st.full;
        usleep(500);
    } while ((st.events_delivered < s->lines || st.held_bytes) &&
             tel_mono_ns(tel_clock_system()) < deadline);
    assert_int_equal(st.held_bytes, 0);
}

/* A second start while nobody tells the topic's partitions: they are remembered. */
static void remembers_the_topic(void **state)
{
    struct storm s;
    (void)state;
    storm_open(&s, (struct unruly_options){0});
    storm_write(&s, 2, 10);
    rig_start(&s.rig, "*.log");
    rig_wait_delivered(&s.rig, s.lines);
    rig_stop(&s.rig);
    tel_transport_free(s.rig.transport);
    s.rig.transport =
        unruly_transport_new(s.inner, &(struct unruly_options){.stuck_partitions_calls = 1000000});
    rig_puts(&s.rig, "new.log", "00000020 of a new file\n");
    s.lines++;
    s.files++;
    rig_start(&s.rig, "*.log");
    rig_wait_delivered(&s.rig, 1);
    storm_close(&s, NULL);
}

/* With the disk full no position can be stored: what is known goes on, what is new waits. */
static void a_full_disk_holds_new_sources(void **state)
{
    struct storm s;
    struct sidecar_stats st;
    struct tel_fs_fault *fault = tel_fs_fault_new(1);
    (void)state;
    storm_open(&s, (struct unruly_options){0});
    s.rig.options.fs = tel_fs_fault_fs(fault);
    storm_write(&s, 1, 10);
    rig_start(&s.rig, "*.log");
    rig_wait_delivered(&s.rig, 10);
    tel_fs_fault_space_left(fault, 0);
    rig_puts(&s.rig, "new.log", "00000010 waits\n");
    rig_wait_sources(&s.rig, 2); /* it is seen, and its batch is held */
    rig_puts(&s.rig, "0.log", "00000011 goes on\n");
    rig_wait_delivered(&s.rig, 11);
    rig_puts(&s.rig, "0.log", "00000012 goes on\n");
    rig_wait_delivered(&s.rig, 12);
    sidecar_get_stats(s.rig.sidecar, &st);
    assert_int_equal(st.events_delivered, 12);
    assert_int_equal(st.events_read, 13);
    tel_fs_fault_space_left(fault, UINT64_MAX);
    rig_wait_delivered(&s.rig, 13);
    s.lines = 13;
    s.files = 2;
    storm_close(&s, NULL);
    tel_fs_fault_free(fault);
}

static void back_pressure_bounds_memory(void **state)
{
    struct storm s;
    bool full = false;
    (void)state;
    storm_open(&s, (struct unruly_options){.full_percent = 95});
    s.rig.options.memory_bytes = 64 << 10;
    s.rig.options.batch_bytes = 8 << 10;
    storm_write(&s, 4, 3000);
    rig_start(&s.rig, "*.log");
    watch_held(&s, (64 << 10) + (160 << 10), &full); /* the budget, and a chunk of records more */
    assert_true(full);
    storm_close(&s, NULL);
}

/* Open batches count as well: many sources with a little each. */
static void many_sources_share_the_budget(void **state)
{
    struct storm s;
    bool full = false;
    (void)state;
    storm_open(&s, (struct unruly_options){.fail_percent = 1});
    s.rig.options.memory_bytes = 128 << 10;
    s.rig.options.batch_bytes = 64 << 10;
    s.rig.options.batch_age_ms = 500; /* the budget closes most batches */
    storm_write(&s, 100, 100);
    rig_start(&s.rig, "*.log");
    watch_held(&s, (128 << 10) + (160 << 10), &full);
    storm_close(&s, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_keep_order),
        cmocka_unit_test(nothing_overtakes),
        cmocka_unit_test(failures_that_were_none),
        cmocka_unit_test(refused_at_send_is_cut),
        cmocka_unit_test(refused_later_is_cut),
        cmocka_unit_test(one_event_too_large_is_cut),
        cmocka_unit_test(kills_amid_failures),
        cmocka_unit_test(waits_for_the_topic),
        cmocka_unit_test(remembers_the_topic),
        cmocka_unit_test(a_full_disk_holds_new_sources),
        cmocka_unit_test(back_pressure_bounds_memory),
        cmocka_unit_test(many_sources_share_the_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
