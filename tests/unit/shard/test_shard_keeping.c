/*
 * Keeping a shard good: merges change no answer, retention deletes what it should, damage is named,
 * searches can be stopped and are bounded, a million sources cost little.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/record/codec.h"
#include "common/sys/fs.h"
#include "shard/maintain/merge.h"
#include "shard/store/folder.h"
#include "shard/store/ldb.h"
#include "shard/verify.h"
#include "tests/unit/shard/shard_fixture.h"

#define BASE (20400 * TEL_NS_PER_DAY)

/* ---- a server that is fed by hand, flushing after every message ---------------------------------- */

static void feed_begin(struct world *w)
{
    world_begin(w, 1);
    w->options.memory_bytes = 1;
    w->options.segment_rows = 4000;
}

static void feed_open(struct world *w)
{
    struct tel_error err = {0};
    if (shard_server_new(&w->options, NULL, &w->server, &err) != TEL_OK)
        fail_msg("%s", err.text);
}

static int64_t feed_offset;

static void feed_batch(struct world *w, const struct tel_batch *batch)
{
    struct tel_record_framing framing = {.frame = TEL_RECORD_SINGLE_OBJECT};
    struct tel_buf buf = {0};
    struct tel_error err = {0};
    if (tel_record_encode(batch, &framing, &buf, &err) != TEL_OK)
        fail_msg("%s", err.text);
    struct tel_message m = {
        .offset = feed_offset++, .timestamp_ns = BASE, .value = tel_buf_span(&buf)};
    if (shard_server_feed(w->server, &m, &err) != TEL_OK)
        fail_msg("%s", err.text);
    tel_buf_free(&buf);
}

/* Events with all kinds of fields: odd attributes, names that are labels too, severities as numbers
 * and as attributes, ids, empty bodies. */
static void feed_odd(struct world *w, struct tel_rand *r, uint64_t *position, uint32_t count)
{
    static const char *const names[] = {"severity", "trace_id", "app", "span_id", "user.name", "n",
                                        "_x", "level", "a b", "\"q\"", "k=v"};
    static const char *const values[] = {"INFO", "WARN2", "checkout", "deadbeef", "", "42",
                                         "some text with words", "0017", "\xff\xfe", "{\"a\":1}"};
    struct tel_arena arena;
    tel_arena_init(&arena, 0);
    struct tel_event *events = TEL_ARENA_ARRAY(&arena, struct tel_event, count);
    for (uint32_t i = 0; i < count; i++) {
        struct tel_event *e = &events[i];
        e->timestamp_ns = BASE + (int64_t)tel_rand_below(r, 1000) * 1000;
        e->position = ++*position;
        e->severity = (uint32_t)tel_rand_below(r, 25);
        if (tel_rand_below(r, 4))
            e->body = tel_arena_printf(&arena, "event %llu of user u%llu took %llu ms",
                                       (unsigned long long)*position,
                                       (unsigned long long)tel_rand_below(r, 9),
                                       (unsigned long long)tel_rand_below(r, 10000));
        if (tel_rand_below(r, 3) == 0)
            e->trace_id = TEL_SPAN("0af7651916cd43dd8448eb211c80319c");
        uint32_t n = (uint32_t)tel_rand_below(r, 5);
        struct tel_field *fields = TEL_ARENA_ARRAY(&arena, struct tel_field, n);
        for (uint32_t f = 0; f < n; f++) {
            size_t name = (size_t)tel_rand_below(r, TEL_ARRAY_LEN(names));
            bool twice = false;
            for (uint32_t k = 0; k < e->attribute_count; k++)
                twice = twice || tel_span_eq_cstr(fields[k].name, names[name]);
            if (!twice)
                fields[e->attribute_count++] = (struct tel_field){
                    tel_span_cstr(names[name]),
                    tel_span_cstr(values[tel_rand_below(r, TEL_ARRAY_LEN(values))])};
        }
        e->attributes = fields;
    }
    struct tel_field labels[3] = {{TEL_SPAN("app"), TEL_SPAN("checkout")},
                                  {TEL_SPAN("host"), TEL_SPAN("h\"1\\")},
                                  {TEL_SPAN("zone"), TEL_SPAN("x,y{}")}};
    struct tel_batch batch = {.tenant = TEL_SPAN("default"),
                              .source = TEL_SPAN("odd"),
                              .resource = labels,
                              .resource_count = 1 + (uint32_t)tel_rand_below(r, 3),
                              .events = events,
                              .event_count = count};
    feed_batch(w, &batch);
    tel_arena_free(&arena);
}

static void same_rows(struct found *a, struct found *b)
{
    assert_int_equal(a->full.len, b->full.len);
    struct tel_map_slot *slot;
    for (size_t pos = 0; (slot = tel_map_next(&a->full, &pos));) {
        uint64_t *other = tel_map_get(&b->full, slot->key);
        if (!other || *other != slot->value)
            fail_msg("a row differs: %.*s", TEL_SPAN_ARG(slot->key));
    }
}

static void find(struct world *w, const char *query, struct found *ret)
{
    struct tel_error err = {0};
    if (world_search(w, "default", query, 0, ret, &err) != TEL_OK)
        fail_msg("%s", err.text);
}

static void test_merge(void **state)
{
    (void)state;
    uint64_t seed = tel_rand_seed() >> 32, position = 0;
    printf("[ seed     ] %llu\n", (unsigned long long)seed);
    struct tel_rand r;
    tel_rand_init(&r, seed);
    feed_offset = 0;
    struct world w;
    feed_begin(&w);
    feed_open(&w);
    for (unsigned i = 0; i < 100; i++)
        feed_odd(&w, &r, &position, 1 + (uint32_t)tel_rand_below(&r, 60));
    struct found before, after;
    find(&w, "*", &before);
    struct tel_error err;
    assert_int_equal(shard_server_settle(w.server, &err), TEL_OK);
    find(&w, "*", &after);
    assert_true(before.end->stats->segments >= 100);
    assert_true(after.end->stats->segments <= 12);
    assert_string_equal(after.end->partitions[0]->missing, "");
    same_rows(&before, &after);
    found_done(&after);
    world_stop(&w, false);
    struct shard_verify_report report = {0};
    FILE *out = fopen("/dev/null", "w");
    assert_int_equal(shard_verify(w.store, out, &report, &err), TEL_OK);
    fclose(out);
    assert_int_equal(report.damaged, 0);
    assert_int_equal(report.events, position);
    feed_open(&w);
    find(&w, "*", &after);
    same_rows(&before, &after);
    found_done(&before);
    found_done(&after);
    world_end(&w);
}

/* How often an event is rewritten on its way from tiny segments to full ones. */
static void test_merge_amplification(void **state)
{
    (void)state;
    struct tel_rand r;
    tel_rand_init(&r, 7);
    feed_offset = 0;
    uint64_t position = 0;
    struct world w;
    feed_begin(&w);
    feed_open(&w);
    for (unsigned i = 0; i < 400; i++) { /* 10 rows to 4,000: less than three factors of eight */
        feed_odd(&w, &r, &position, 10);
        if (i % 8 == 7)
            assert_int_equal(shard_server_settle(w.server, NULL), TEL_OK);
    }
    Telescope__Shard__V1__StatusResponse *status = shard_status(w.server, NULL);
    assert_int_equal(status->partitions[0]->events, 4000);
    protobuf_c_message_free_unpacked(&status->base, NULL);
    uint64_t rewritten = shard_server_merged_rows(w.server);
    printf("[ merges   ] %.2f times each event\n", (double)rewritten / 4000);
    assert_true(rewritten <= 3 * 4000);
    world_end(&w);
}

static struct store_segment make_segment(uint64_t rows)
{
    return (struct store_segment){.rows = rows, .raw_bytes = rows * 100};
}

static void test_choose(void **state)
{
    (void)state;
    struct store_segment s[40];
    struct store_segment *list[40];
    for (size_t i = 0; i < 40; i++) {
        s[i] = make_segment(100);
        list[i] = &s[i];
    }
    size_t first;
    assert_int_equal(merge_choose(list, 7, 100000, false, &first), 0);
    assert_int_equal(merge_choose(list, 7, 100000, true, &first), 7);
    assert_int_equal(merge_choose(list, 40, 100000, false, &first), 40);
    assert_int_equal(merge_choose(list, 1, 100000, true, &first), 0);
    s[3].rows = 90000; /* a full one stands between */
    assert_int_equal(merge_choose(list, 12, 100000, false, &first), 8);
    assert_int_equal(first, 4);
    /* Three that fill one go together at once. */
    for (size_t i = 0; i < 3; i++)
        s[i].rows = 40000;
    assert_int_equal(merge_choose(list, 3, 100000, false, &first), 3);
    assert_int_equal(merge_choose(list, 2, 100000, false, &first), 2);
    s[0].damaged = true;
    assert_int_equal(merge_choose(list, 2, 100000, true, &first), 0);
}

static void test_retention_bytes(void **state)
{
    (void)state;
    feed_offset = 0;
    uint64_t position = 0;
    struct world w;
    feed_begin(&w);
    w.options.segment_rows = 30; /* nothing merges */
    w.options.retention.bytes = 20000;
    feed_open(&w);
    struct tel_rand r;
    tel_rand_init(&r, 3);
    for (unsigned i = 0; i < 100; i++)
        feed_odd(&w, &r, &position, 30);
    assert_int_equal(shard_server_settle(w.server, NULL), TEL_OK);
    Telescope__Shard__V1__StatusResponse *status = shard_status(w.server, NULL);
    assert_true(status->partitions[0]->stored_bytes <= 20000);
    assert_true(status->partitions[0]->stored_bytes > 10000);
    uint64_t left = status->partitions[0]->events;
    protobuf_c_message_free_unpacked(&status->base, NULL);
    world_stop(&w, false);
    feed_open(&w); /* what was deleted stays deleted */
    assert_int_equal(world_count(&w, "default", "*"), left);
    world_end(&w);
}

static void test_retention_days(void **state)
{
    (void)state;
    struct tel_clock_manual clock;
    tel_clock_manual_init(&clock, BASE + TEL_NS_PER_DAY / 2);
    feed_offset = 0;
    struct world w;
    feed_begin(&w);
    w.options.clock = &clock.clock;
    w.options.retention.days = 3;
    feed_open(&w);
    for (int day = -5; day <= 0; day++) {
        struct tel_event e = {.timestamp_ns = BASE + day * TEL_NS_PER_DAY,
                              .position = (uint64_t)(day + 6),
                              .body = TEL_SPAN("x")};
        struct tel_batch batch = {.tenant = TEL_SPAN("default"),
                                  .source = TEL_SPAN("s"),
                                  .events = &e,
                                  .event_count = 1};
        feed_batch(&w, &batch);
    }
    assert_int_equal(world_count(&w, "default", "*"), 4); /* two were too old already */
    tel_clock_manual_advance(&clock, 2 * TEL_NS_PER_DAY);
    assert_int_equal(shard_server_settle(w.server, NULL), TEL_OK);
    assert_int_equal(world_count(&w, "default", "*"), 2);
    clock.wall -= 4 * TEL_NS_PER_DAY; /* a clock that jumps back */
    assert_int_equal(shard_server_settle(w.server, NULL), TEL_OK);
    assert_int_equal(world_count(&w, "default", "*"), 2);
    world_end(&w);
}

/* Old days are coded anew, and say the same. */
static void test_cold(void **state)
{
    (void)state;
    struct tel_rand r;
    tel_rand_init(&r, 13);
    feed_offset = 0;
    uint64_t position = 0;
    struct tel_clock_manual clock;
    tel_clock_manual_init(&clock, BASE);
    struct world w;
    feed_begin(&w);
    w.options.clock = &clock.clock;
    w.options.cold_after_days = 7;
    w.options.quiet_after_ms = UINT32_MAX;
    feed_open(&w);
    for (unsigned i = 0; i < 20; i++)
        feed_odd(&w, &r, &position, 2000);
    assert_int_equal(shard_server_settle(w.server, NULL), TEL_OK);
    struct found before, after;
    find(&w, "*", &before);
    Telescope__Shard__V1__StatusResponse *hot = shard_status(w.server, NULL);
    world_stop(&w, false);
    w.options.quiet_after_ms = 1;
    clock.wall += 8 * TEL_NS_PER_DAY;
    feed_open(&w);
    assert_int_equal(shard_server_settle(w.server, NULL), TEL_OK);
    find(&w, "*", &after);
    same_rows(&before, &after);
    Telescope__Shard__V1__StatusResponse *cold = shard_status(w.server, NULL);
    printf("[ cold     ] %llu -> %llu bytes\n",
           (unsigned long long)hot->partitions[0]->stored_bytes,
           (unsigned long long)cold->partitions[0]->stored_bytes);
    assert_true(cold->partitions[0]->stored_bytes < hot->partitions[0]->stored_bytes);
    protobuf_c_message_free_unpacked(&hot->base, NULL);
    protobuf_c_message_free_unpacked(&cold->base, NULL);
    found_done(&before);
    found_done(&after);
    world_end(&w);
}

/* Results that are kept per segment: the second answer is the first, and no time is mistaken. */
static void test_results(void **state)
{
    (void)state;
    static const char *const queries[] = {
        "* | stats by (app) count() n",
        "event | stats by (_time:1h) count() n, count_uniq(user.name) u",
        "* | top 5 by (level)",
        "* | uniq by (user.name, n)",
        "took | stats count() n, max(n) m, quantile(0.5, n) q",
        "* | stats by (_msg) count() n", /* too large to keep */
        "nothing-of-this | stats count() n",
    };
    struct tel_rand r;
    tel_rand_init(&r, 11);
    feed_offset = 0;
    uint64_t position = 0;
    struct world w;
    feed_begin(&w);
    w.options.workers = 1;
    feed_open(&w);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 10; i++)
            feed_odd(&w, &r, &position, 300);
        for (size_t q = 0; q < TEL_ARRAY_LEN(queries); q++) {
            struct found first, second;
            find(&w, queries[q], &first);
            find(&w, queries[q], &second);
            assert_int_equal(first.end->stats->rows_matched, second.end->stats->rows_matched);
            if (q != 5) /* its pieces are put together differently */
                same_rows(&first, &second);
            found_done(&first);
            found_done(&second);
            assert_int_equal(world_count(&w, "default", "*"), position);
        }
        if (round == 1)
            assert_int_equal(shard_server_settle(w.server, NULL), TEL_OK);
    }
    /* The same words at another time ask something else. Events lie in the first millisecond. */
    static const char *const timed[] = {"_time:1h", "_time:1h or nothing-of-this", "!_time:1h"};
    for (size_t q = 0; q < TEL_ARRAY_LEN(timed); q++) {
        w.now_ns = BASE + TEL_NS_PER_S;
        uint64_t all = world_count(&w, "default", timed[q]);
        assert_int_equal(all, q == 2 ? 0 : position);
        w.now_ns = BASE + 10 * TEL_NS_PER_DAY;
        assert_int_equal(world_count(&w, "default", timed[q]), position - all);
        w.now_ns = BASE + 3600 * TEL_NS_PER_S + 500000;
        uint64_t half = world_count(&w, "default", timed[q]);
        assert_true(half > 0 && half < position);
    }
    world_end(&w);
}

/* ---- damage -------------------------------------------------------------------------------------- */

static void flip(const char *path, double where)
{
    struct tel_fs_stat st;
    assert_int_equal(tel_fs_stat(tel_fs_system(), path, &st, NULL), TEL_OK);
    FILE *file = fopen(path, "r+b");
    long at = (long)((double)st.size * where);
    fseek(file, at, SEEK_SET);
    int c = fgetc(file);
    fseek(file, at, SEEK_SET);
    fputc(c ^ 0x55, file);
    fclose(file);
}

static void test_damage(void **state)
{
    (void)state;
    feed_offset = 0;
    uint64_t position = 0;
    struct tel_rand r;
    tel_rand_init(&r, 5);
    struct world w;
    feed_begin(&w);
    feed_open(&w);
    for (unsigned i = 0; i < 60; i++)
        feed_odd(&w, &r, &position, 300);
    world_stop(&w, false);
    feed_open(&w); /* makes a table of LevelDB's log */
    assert_int_equal(world_count(&w, "default", "*"), position);
    world_stop(&w, false);
    char *day = folder_path(w.store, "p0/2025-11-08.0");
    struct tel_fs_names names = {0};
    assert_int_equal(tel_fs_list(tel_fs_system(), day, &names, NULL), TEL_OK);
    for (size_t i = 0; i < names.len; i++) {
        char *path = folder_path(day, names.items[i]);
        if (tel_span_ends(tel_span_cstr(path), TEL_SPAN(".ldb")))
            flip(path, 0.3);
        free(path);
    }
    tel_fs_names_free(&names);
    free(day);
    feed_open(&w);
    struct found found;
    find(&w, "*", &found);
    /* Some of it is gone and named; the rest is there. */
    assert_true(strstr(found.end->partitions[0]->missing, "2025-11-08.0") != NULL);
    uint64_t rows = 0;
    struct tel_map_slot *slot;
    for (size_t pos = 0; (slot = tel_map_next(&found.full, &pos));)
        rows += slot->value;
    if (rows == 0 || rows >= position)
        fail_msg("%llu of %llu rows; missing: %s", (unsigned long long)rows,
                 (unsigned long long)position, found.end->partitions[0]->missing);
    found_done(&found);
    world_stop(&w, false);
    struct shard_verify_report report = {0};
    FILE *out = fopen("/dev/null", "w");
    assert_int_equal(shard_verify(w.store, out, &report, NULL), TEL_OK);
    fclose(out);
    assert_true(report.damaged > 0);
    world_end(&w);
}

/* ---- bounds -------------------------------------------------------------------------------------- */

struct stopper {
    _Atomic int64_t stop_at, stopped_at;
};

static tel_code stop_soon(void *ctx)
{
    struct stopper *s = ctx;
    return tel_mono_ns(tel_clock_system()) >= s->stop_at ? TEL_ERR_CANCELLED : TEL_OK;
}

static tel_code drop_rows(void *ctx, Telescope__Shard__V1__RowBatch *batch, struct tel_error *err)
{
    (void)ctx;
    (void)err;
    protobuf_c_message_free_unpacked(&batch->base, NULL);
    return TEL_OK;
}

static void test_cancel(void **state)
{
    (void)state;
    feed_offset = 0;
    uint64_t position = 0;
    struct tel_rand r;
    tel_rand_init(&r, 5);
    struct world w;
    feed_begin(&w);
    w.options.memory_bytes = 512 << 20;
    w.options.segment_rows = 100000;
    feed_open(&w);
    for (unsigned i = 0; i < 60; i++)
        feed_odd(&w, &r, &position, 5000);
    Telescope__Shard__V1__SearchRequest request = TELESCOPE__SHARD__V1__SEARCH_REQUEST__INIT;
    request.tenant = (char *)(uintptr_t) "default";
    request.partitions = w.partitions;
    request.n_partitions = 1;
    request.query = (char *)(uintptr_t) "~\"(a|e|i)+.*[0-9]{4}.*(x|y)$\"";
    int64_t worst = 0;
    for (int after_ms = 1; after_ms < 200; after_ms *= 2) {
        struct stopper s = {.stop_at = tel_mono_ns(tel_clock_system()) + after_ms * TEL_NS_PER_MS};
        struct shard_sink sink = {&s, drop_rows, stop_soon};
        Telescope__Shard__V1__SearchEnd *end;
        struct tel_error err;
        tel_code rc = shard_search(w.server, &request, &sink, &end, &err);
        int64_t late = tel_mono_ns(tel_clock_system()) - s.stop_at;
        if (rc == TEL_OK) {
            protobuf_c_message_free_unpacked(&end->base, NULL);
            break; /* it was faster */
        }
        assert_int_equal(rc, TEL_ERR_CANCELLED);
        worst = TEL_MAX(worst, late);
    }
    printf("[ stopped  ] within %lld ms\n", (long long)(worst / TEL_NS_PER_MS));
    assert_true(worst < 2000 * TEL_NS_PER_MS); /* a busy machine; alone it is under 50 */
    /* A search that needs too much says so, and the server lives on. */
    request.query = (char *)(uintptr_t) "*";
    request.max_rows = 250000;
    request.memory_limit_bytes = 4 << 20;
    struct shard_sink sink = {NULL, drop_rows, NULL};
    Telescope__Shard__V1__SearchEnd *end;
    struct tel_error err;
    assert_int_equal(shard_search(w.server, &request, &sink, &end, &err), TEL_ERR_LIMIT);
    assert_int_equal(world_count(&w, "default", "*"), position);
    world_end(&w);
}

static uint64_t folder_bytes(const char *dir)
{
    struct tel_fs_names names = {0};
    uint64_t bytes = 0;
    assert_int_equal(tel_fs_list(tel_fs_system(), dir, &names, NULL), TEL_OK);
    for (size_t i = 0; i < names.len; i++) {
        char *path = folder_path(dir, names.items[i]);
        struct tel_fs_stat st;
        if (tel_fs_stat(tel_fs_system(), path, &st, NULL) == TEL_OK && st.is_file)
            bytes += st.size;
        free(path);
    }
    tel_fs_names_free(&names);
    return bytes;
}

static void test_million_sources(void **state)
{
    (void)state;
    char dir[] = "/tmp/tel-sources-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct ldb_shared *shared = ldb_shared_new(8 << 20);
    struct store_options options = {.dir = dir, .shared = shared};
    struct store *store;
    struct tel_error err = {0};
    assert_int_equal(store_open(&options, &store, &err), TEL_OK);
    const unsigned count = 1000000, step = 50000;
    struct store_source *sources = tel_calloc(step, sizeof(*sources));
    for (unsigned i = 0; i < count; i += step) {
        for (unsigned k = 0; k < step; k++) {
            unsigned id = i + k;
            sources[k] = (struct store_source){
                store_source_id(store, tel_span_make(&id, sizeof(id))), id + 1000000000u, BASE};
        }
        struct store_commit commit = {.resume = {.position = {0, i}},
                                      .sources = sources,
                                      .source_count = step,
                                      .expire_before_ns = INT64_MIN};
        assert_int_equal(store_commit(store, &commit, &err), TEL_OK);
    }
    free(sources);
    int64_t began = tel_mono_ns(tel_clock_system());
    for (unsigned i = 0; i < 10000; i++) {
        unsigned id = (i * 7919u) % count;
        struct store_source got;
        assert_int_equal(store_source_get(store, store_source_id(store, tel_span_make(&id, 4)),
                                          &got, &err),
                         TEL_OK);
        assert_int_equal(got.position, id + 1000000000u);
    }
    int64_t each = (tel_mono_ns(tel_clock_system()) - began) / 10000;
    store_close(store);
    char *meta = folder_path(dir, "meta");
    uint64_t bytes = folder_bytes(meta);
    printf("[ sources  ] a million: %.1f MB, %.1f us a look-up\n", (double)bytes / 1e6,
           (double)each / 1000);
    assert_true(bytes < 100000000);
    free(meta);
    ldb_shared_free(shared);
    assert_int_equal(tel_fs_remove_all(tel_fs_system(), dir, NULL), TEL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choose),          cmocka_unit_test(test_merge),
        cmocka_unit_test(test_merge_amplification), cmocka_unit_test(test_retention_bytes),
        cmocka_unit_test(test_retention_days),  cmocka_unit_test(test_cold),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_cancel),          cmocka_unit_test(test_million_sources),
    };
    tel_log_set_level(getenv("TEST_LOG") ? TEL_LOG_DEBUG : TEL_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
