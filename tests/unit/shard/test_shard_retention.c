/*
 * Retention: by age and by size, of all and of single tenants, for what is stored and what arrives;
 * rules that change; a clock that jumps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/metrics/registry.h"
#include "common/record/codec.h"
#include "common/sys/fs.h"
#include "shard/maintain/clock.h"
#include "shard/store/folder.h"
#include "shard/verify.h"
#include "tests/unit/shard/shard_fixture.h"

#define TODAY 20400
#define BASE  (TODAY * TEL_NS_PER_DAY)
#define HOUR  (3600 * TEL_NS_PER_S)

/* ---- the clock ---------------------------------------------------------------------------------- */

static void test_clock(void **state)
{
    (void)state;
    struct retention_clock c;
    const int64_t year = 365 * TEL_NS_PER_DAY;
    retention_clock_begin(&c, BASE, 0, INT64_MIN, 24 * HOUR);
    assert_false(retention_clock_tick(&c, BASE, 0));
    assert_int_equal(c.now_ns, BASE);
    /* It follows, and small steps either way. */
    assert_false(retention_clock_tick(&c, BASE + 30 * HOUR, 10 * HOUR));
    assert_int_equal(c.now_ns, BASE + 30 * HOUR);
    assert_false(retention_clock_tick(&c, BASE + 20 * HOUR, 11 * HOUR));
    assert_int_equal(c.now_ns, BASE + 20 * HOUR);
    /* A long sleep that the monotonic clock saw, too. */
    assert_false(retention_clock_tick(&c, BASE + 50 * HOUR, 41 * HOUR));
    assert_int_equal(c.now_ns, BASE + 50 * HOUR);
    /* A jump ahead is not believed, and is undone. */
    assert_true(retention_clock_tick(&c, BASE + 51 * HOUR + year, 42 * HOUR));
    assert_int_equal(c.now_ns, BASE + 51 * HOUR);
    assert_false(retention_clock_tick(&c, BASE + 60 * HOUR + year, 51 * HOUR));
    assert_int_equal(c.now_ns, BASE + 60 * HOUR);
    assert_true(retention_clock_tick(&c, BASE + 61 * HOUR, 52 * HOUR));
    assert_int_equal(c.now_ns, BASE + 61 * HOUR);
    assert_int_equal(c.held_ns, 0);
    /* One that lasts is believed. */
    assert_true(retention_clock_tick(&c, BASE + 61 * HOUR + year, 52 * HOUR));
    assert_false(retention_clock_tick(&c, BASE + 84 * HOUR + year, 75 * HOUR));
    assert_int_equal(c.now_ns, BASE + 84 * HOUR);
    assert_true(retention_clock_tick(&c, BASE + 86 * HOUR + year, 77 * HOUR));
    assert_int_equal(c.now_ns, BASE + 86 * HOUR + year);
    /* A jump back is followed at once; the way forward again is a jump. */
    assert_false(retention_clock_tick(&c, BASE, 78 * HOUR));
    assert_int_equal(c.now_ns, BASE);
    assert_true(retention_clock_tick(&c, BASE + year, 78 * HOUR));
    assert_int_equal(c.now_ns, BASE);
    /* The ends of time. */
    assert_false(retention_clock_tick(&c, INT64_MAX, 79 * HOUR));
    assert_false(retention_clock_tick(&c, INT64_MIN, 79 * HOUR) && c.now_ns != INT64_MIN);
}

static void test_clock_file(void **state)
{
    (void)state;
    char dir[] = "/tmp/tel-clock-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct retention_clock c, again;
    struct tel_error err;
    const int64_t year = 365 * TEL_NS_PER_DAY;
    /* Without a file, the newest event says when the server last ran. */
    retention_clock_begin(&c, BASE + year, 0, BASE, 24 * HOUR);
    assert_int_equal(retention_clock_load(&c, dir, BASE + year, &err), TEL_ERR_NOTFOUND);
    assert_true(retention_clock_tick(&c, BASE + year, 0));
    assert_int_equal(c.now_ns, BASE);
    assert_false(retention_clock_tick(&c, BASE + year + 20 * HOUR, 20 * HOUR));
    assert_int_equal(retention_clock_save(&c, dir, true, &err), TEL_OK);
    /* How long the jump has lasted is kept, whatever the events say. */
    retention_clock_begin(&again, BASE + year + 20 * HOUR, 5, BASE + 2 * year, 24 * HOUR);
    assert_int_equal(retention_clock_load(&again, dir, BASE + year + 20 * HOUR, &err), TEL_OK);
    assert_false(retention_clock_tick(&again, BASE + year + 20 * HOUR, 5));
    assert_int_equal(again.now_ns, BASE + 20 * HOUR);
    assert_true(retention_clock_tick(&again, BASE + year + 25 * HOUR, 5 * HOUR));
    assert_int_equal(again.now_ns, BASE + year + 25 * HOUR);
    /* It is written once an hour. */
    assert_int_equal(retention_clock_save(&again, dir, false, &err), TEL_OK);
    int64_t saved = again.saved_ns;
    assert_false(retention_clock_tick(&again, BASE + year + 25 * HOUR + HOUR / 2, 5 * HOUR + HOUR / 2));
    assert_int_equal(retention_clock_save(&again, dir, false, &err), TEL_OK);
    assert_int_equal(again.saved_ns, saved);
    /* What is no such file changes nothing. */
    char *path = folder_path(dir, "CLOCK");
    static const char *const bad[] = {"", "x", "12", "12 x", "12 13 14", "-1 2",
                                      "99999999999999999999 1", "1 2 3\n4"};
    for (size_t i = 0; i < TEL_ARRAY_LEN(bad); i++) {
        assert_int_equal(tel_fs_write_atomic(tel_fs_system(), path, tel_span_cstr(bad[i]), &err),
                         TEL_OK);
        retention_clock_begin(&c, BASE, 0, BASE - 7, 24 * HOUR);
        assert_int_equal(retention_clock_load(&c, dir, BASE, &err), TEL_ERR_CORRUPT);
        assert_int_equal(c.now_ns, BASE - 7);
    }
    free(path);
    assert_int_equal(tel_fs_remove_all(tel_fs_system(), dir, NULL), TEL_OK);
}

/* ---- a server that is fed by hand, flushing after every message ---------------------------------- */

struct fed {
    struct world w;
    struct tel_clock_manual clock;
    struct tel_metrics *metrics;
    int64_t offset;
    uint64_t position;
    struct tel_rand rand;
};

static void fed_open(struct fed *f)
{
    struct tel_error err = {0};
    if (shard_server_new(&f->w.options, NULL, &f->w.server, &err) != TEL_OK)
        fail_msg("%s", err.text);
}

static void fed_begin(struct fed *f)
{
    memset(f, 0, sizeof(*f));
    world_begin(&f->w, 1);
    tel_rand_init(&f->rand, 11);
    tel_clock_manual_init(&f->clock, BASE + 12 * HOUR);
    f->metrics = tel_metrics_new();
    f->w.options.clock = &f->clock.clock;
    f->w.options.metrics = f->metrics;
    f->w.options.memory_bytes = 1;
    f->w.options.segment_rows = 30; /* nothing merges */
    f->w.options.quiet_after_ms = UINT32_MAX;
}

static void fed_end(struct fed *f)
{
    world_stop(&f->w, false);
    tel_metrics_free(f->metrics);
    world_end(&f->w);
}

/* One message of 30 events of the day, whose bytes do not compress. */
static void feed(struct fed *f, const char *tenant, int64_t day)
{
    struct tel_event events[30] = {{0}};
    char bodies[30][80];
    for (size_t i = 0; i < 30; i++) {
        for (size_t k = 0; k < sizeof(bodies[i]); k++)
            bodies[i][k] = (char)('!' + tel_rand_below(&f->rand, 90));
        events[i].timestamp_ns = day * TEL_NS_PER_DAY + (int64_t)f->position * 1000;
        events[i].position = ++f->position;
        events[i].body = tel_span_make(bodies[i], sizeof(bodies[i]));
    }
    struct tel_batch batch = {.tenant = tel_span_cstr(tenant),
                              .source = TEL_SPAN("s"),
                              .events = events,
                              .event_count = 30};
    struct tel_record_framing framing = {.frame = TEL_RECORD_SINGLE_OBJECT};
    struct tel_buf buf = {0};
    struct tel_error err = {0};
    assert_int_equal(tel_record_encode(&batch, &framing, &buf, &err), TEL_OK);
    struct tel_message m = {.offset = f->offset++,
                            .timestamp_ns = tel_wall_ns(&f->clock.clock),
                            .value = tel_buf_span(&buf)};
    if (shard_server_feed(f->w.server, &m, &err) != TEL_OK)
        fail_msg("%s", err.text);
    tel_buf_free(&buf);
}

static void settle(struct fed *f)
{
    struct tel_error err = {0};
    if (shard_server_settle(f->w.server, &err) != TEL_OK)
        fail_msg("%s", err.text);
}

static void counts(struct fed *f, const char *tenant, uint64_t rows)
{
    assert_int_equal(world_count(&f->w, tenant, "*"), rows);
}

static uint64_t stored(struct fed *f)
{
    Telescope__Shard__V1__StatusResponse *status = shard_status(f->w.server, NULL);
    uint64_t bytes = status->partitions[0]->stored_bytes;
    protobuf_c_message_free_unpacked(&status->base, NULL);
    return bytes;
}

static void assert_metric(struct fed *f, const char *line)
{
    struct tel_buf out = {0};
    tel_metrics_expose(f->metrics, &out);
    tel_buf_add(&out, "", 1);
    if (!strstr(out.ptr, line))
        fail_msg("no [%s] in\n%s", line, out.ptr);
    tel_buf_free(&out);
}

static bool has_folder(struct fed *f, const char *name)
{
    char path[256];
    struct tel_fs_stat st;
    snprintf(path, sizeof(path), "%s/p0/%s", f->w.store, name);
    return tel_fs_stat(tel_fs_system(), path, &st, NULL) == TEL_OK;
}

static void verify(struct fed *f)
{
    struct shard_verify_report report = {0};
    struct tel_error err = {0};
    if (shard_verify(f->w.store, stderr, &report, &err) != TEL_OK || report.damaged)
        fail_msg("%llu damaged; %s", report.damaged, err.text);
}

/* ---- by age ------------------------------------------------------------------------------------- */

static const struct retention_tenant by_days[] = {
    {"short", 2, 0}, {"long", 0, 0}, {"general", RETENTION_DAYS_GENERAL, 0}};

static void test_tenant_days(void **state)
{
    (void)state;
    struct fed f;
    fed_begin(&f);
    fed_open(&f);
    static const char *const tenants[] = {"short", "long", "general", "other"};
    for (int64_t day = TODAY - 9; day <= TODAY; day++)
        for (size_t t = 0; t < 4; t++)
            feed(&f, tenants[t], day);
    settle(&f);
    for (size_t t = 0; t < 4; t++)
        counts(&f, tenants[t], 300);
    struct retention_rules rules = {.days = 4, .tenants = by_days, .tenant_count = 3};
    shard_server_set_retention(f.w.server, &rules);
    settle(&f);
    counts(&f, "short", 3 * 30); /* today and two days */
    counts(&f, "long", 300);
    counts(&f, "general", 5 * 30);
    counts(&f, "other", 5 * 30);
    assert_metric(&f, "telescope_shard_retention_segments_total{reason=\"tenant_age\"} 7");
    assert_metric(&f, "telescope_shard_retention_events_total{reason=\"age\"} 300");
    /* A restart does not bring them back. */
    world_stop(&f.w, false);
    verify(&f);
    f.w.options.retention = rules;
    fed_open(&f);
    counts(&f, "short", 3 * 30);
    counts(&f, "long", 300);
    counts(&f, "other", 5 * 30);
    /* The rule for the tenant that kept the old days goes: the days go as folders. */
    assert_true(has_folder(&f, "2025-10-30.0"));
    rules.tenant_count = 1;
    shard_server_set_retention(f.w.server, &rules);
    settle(&f);
    counts(&f, "long", 5 * 30);
    assert_metric(&f, "telescope_shard_retention_days_total{reason=\"age\"} 5");
    assert_false(has_folder(&f, "2025-10-30.0"));
    fed_end(&f);
}

/* Days of which only a tenant's events were left do not stay behind as empty folders. */
static void test_empty_days(void **state)
{
    (void)state;
    struct fed f;
    static const struct retention_tenant rule[] = {{"short", 1, 0}};
    fed_begin(&f);
    f.w.options.retention = (struct retention_rules){.tenants = rule, .tenant_count = 1};
    fed_open(&f);
    feed(&f, "short", TODAY);
    feed(&f, "short", TODAY - 1);
    feed(&f, "other", TODAY - 1);
    settle(&f);
    counts(&f, "short", 60);
    tel_clock_manual_advance(&f.clock, 2 * TEL_NS_PER_DAY);
    for (unsigned i = 0; i < 3; i++)
        settle(&f);
    counts(&f, "short", 0);
    counts(&f, "other", 30);
    assert_false(has_folder(&f, "2025-11-08.0"));
    assert_true(has_folder(&f, "2025-11-07.0"));
    /* Its watermark went with it: what comes now is new, and the day begins anew. */
    feed(&f, "other", TODAY);
    counts(&f, "other", 60);
    world_stop(&f.w, false);
    verify(&f);
    fed_open(&f);
    counts(&f, "other", 60);
    fed_end(&f);
}

static void test_arrivals(void **state)
{
    (void)state;
    struct fed f;
    fed_begin(&f);
    f.w.options.retention =
        (struct retention_rules){.days = 4, .tenants = by_days, .tenant_count = 3};
    fed_open(&f);
    static const char *const tenants[] = {"short", "long", "general", "other"};
    for (size_t t = 0; t < 4; t++) {
        feed(&f, tenants[t], TODAY - 3);
        feed(&f, tenants[t], TODAY - 8);
    }
    counts(&f, "short", 0);
    counts(&f, "long", 60);
    counts(&f, "general", 30);
    counts(&f, "other", 30);
    assert_metric(&f, "telescope_shard_expired_events_total{tenant=\"short\"} 60");
    assert_metric(&f, "telescope_shard_expired_events_total{tenant=\"general\"} 30");
    assert_metric(&f, "telescope_shard_expired_events_total{tenant=\"\"} 30");
    assert_metric(&f, "telescope_shard_expired_events_total{tenant=\"long\"} 0");
    settle(&f);
    counts(&f, "long", 60);
    fed_end(&f);
}

/* ---- by size ------------------------------------------------------------------------------------ */

static void test_tenant_bytes(void **state)
{
    (void)state;
    struct fed f;
    fed_begin(&f);
    fed_open(&f);
    feed(&f, "x", TODAY - 3);
    uint64_t one = stored(&f);
    for (int64_t day = TODAY - 2; day <= TODAY; day++)
        for (unsigned i = 0; i < 4; i++) {
            feed(&f, "big", day);
            feed(&f, "other", day);
        }
    const struct retention_tenant rule[] = {{"big", RETENTION_DAYS_GENERAL, one * 5}};
    struct retention_rules rules = {.tenants = rule, .tenant_count = 1};
    shard_server_set_retention(f.w.server, &rules);
    settle(&f);
    uint64_t left = world_count(&f.w, "big", "*");
    assert_true(left >= 4 * 30 && left <= 5 * 30);
    counts(&f, "other", 12 * 30);
    counts(&f, "x", 30);
    /* The newest are left. */
    f.w.now_ns = BASE + TEL_NS_PER_DAY;
    assert_int_equal(world_count(&f.w, "big", "_time:1d"), 4 * 30);
    world_stop(&f.w, false);
    verify(&f);
    fed_open(&f);
    counts(&f, "big", left);
    counts(&f, "other", 12 * 30);
    fed_end(&f);
}

/* A little too much takes a little of the oldest day, and much takes days. */
static void test_total_bytes(void **state)
{
    (void)state;
    struct fed f;
    fed_begin(&f);
    fed_open(&f);
    for (int64_t day = TODAY - 2; day <= TODAY; day++)
        for (unsigned i = 0; i < 10; i++)
            feed(&f, "default", day);
    uint64_t all = stored(&f), left = 30 * 30;
    struct retention_rules rules = {.bytes = all - all / 60};
    shard_server_set_retention(f.w.server, &rules);
    settle(&f);
    counts(&f, "default", left -= 30);
    f.w.now_ns = BASE + TEL_NS_PER_DAY;
    assert_int_equal(world_count(&f.w, "default", "_time:2d"), 600);
    assert_metric(&f, "telescope_shard_retention_segments_total{reason=\"size\"} 1");
    rules.bytes = all / 2;
    shard_server_set_retention(f.w.server, &rules);
    settle(&f);
    uint64_t now = world_count(&f.w, "default", "*");
    assert_true(now >= 14 * 30 && now <= 15 * 30);
    assert_metric(&f, "telescope_shard_retention_days_total{reason=\"size\"} 1");
    assert_int_equal(world_count(&f.w, "default", "_time:1d"), 300);
    assert_true(stored(&f) <= all / 2);
    world_stop(&f.w, false);
    verify(&f);
    fed_open(&f);
    counts(&f, "default", now);
    fed_end(&f);
}

/* ---- a clock that jumps ------------------------------------------------------------------------- */

static void test_jump(void **state)
{
    (void)state;
    struct fed f;
    fed_begin(&f);
    f.w.options.retention.days = 30;
    f.w.options.clock_confirm_s = 3600;
    fed_open(&f);
    for (int64_t day = TODAY - 9; day <= TODAY; day++)
        feed(&f, "default", day);
    settle(&f);
    f.clock.wall += 1000 * TEL_NS_PER_DAY;
    settle(&f);
    counts(&f, "default", 300);
    assert_metric(&f, "telescope_shard_retention_clock_ahead_seconds 86400000");
    /* Neither are events dropped at their arrival, nor repeats forgotten. */
    feed(&f, "default", TODAY);
    counts(&f, "default", 330);
    f.position -= 30;
    feed(&f, "default", TODAY);
    counts(&f, "default", 330);
    /* A restart does not take it for the truth, though there are events of that time now. */
    feed(&f, "default", TODAY + 1000);
    world_stop(&f.w, false);
    fed_open(&f);
    settle(&f);
    counts(&f, "default", 360);
    /* It was right after all. */
    tel_clock_manual_advance(&f.clock, 2 * HOUR);
    settle(&f);
    counts(&f, "default", 30);
    assert_metric(&f, "telescope_shard_retention_clock_ahead_seconds 0");
    fed_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock),       cmocka_unit_test(test_clock_file),
        cmocka_unit_test(test_tenant_days), cmocka_unit_test(test_empty_days),
        cmocka_unit_test(test_arrivals),    cmocka_unit_test(test_tenant_bytes),
        cmocka_unit_test(test_total_bytes), cmocka_unit_test(test_jump),
    };
    tel_log_set_level(getenv("TEST_LOG") ? TEL_LOG_DEBUG : TEL_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
