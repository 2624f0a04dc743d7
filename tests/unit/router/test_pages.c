/* Pages: cursors as texts, and that pages one behind the other give every row once, in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/crc32c.h"
#include "common/base/rand.h"
#include "common/base/vec.h"
#include "router/query.h"
#include "tests/unit/router/memory_shard.h"

#define EVENTS 2000u

static struct memory_event *events;

/* ---- cursors as texts --------------------------------------------------------------------------- */

static struct cursor sample_cursor(const struct cursor_mark *marks, size_t count)
{
    return (struct cursor){.now_ns = 5,
                           .start_ns = INT64_MIN,
                           .end_ns = INT64_MAX,
                           .key = {-7, UINT32_MAX, 9, INT64_MAX},
                           .marks = marks,
                           .mark_count = count};
}

static void test_cursor_and_back(void **state)
{
    (void)state;
    const struct cursor_mark marks[] = {{0, 0}, {3, -1}, {UINT32_MAX, INT64_MAX}};
    for (size_t n = 0; n <= TEL_ARRAY_LEN(marks); n++) {
        struct cursor c = sample_cursor(marks, n), back;
        struct tel_buf text = {0};
        struct tel_arena arena = {0};
        struct tel_error err;
        cursor_print(&c, 42, &text);
        assert_int_equal(cursor_parse(tel_buf_span(&text), 42, &arena, &back, &err), TEL_OK);
        assert_int_equal(back.now_ns, c.now_ns);
        assert_int_equal(back.start_ns, c.start_ns);
        assert_int_equal(back.end_ns, c.end_ns);
        assert_int_equal(tel_row_key_cmp(&back.key, &c.key), 0);
        assert_int_equal(back.mark_count, n);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(back.marks[i].partition, marks[i].partition);
            assert_int_equal(back.marks[i].offset, marks[i].offset);
        }
        tel_arena_free(&arena);
        tel_buf_free(&text);
    }
}

static void expect_bad(struct tel_span text, uint64_t binding, const char *why)
{
    struct cursor c;
    struct tel_arena arena = {0};
    struct tel_error err;
    assert_int_equal(cursor_parse(text, binding, &arena, &c, &err), TEL_ERR_INVALID);
    if (!strstr(err.text, why))
        fail_msg("expected \"%s\" in: %s", why, err.text);
    tel_arena_free(&arena);
}

static void test_bad_cursors(void **state)
{
    (void)state;
    const struct cursor_mark marks[] = {{1, 1000}, {2, 2000}};
    struct cursor c = sample_cursor(marks, 2);
    struct tel_buf text = {0};
    cursor_print(&c, 42, &text);
    expect_bad(tel_buf_span(&text), 43, "another query");
    expect_bad(TEL_SPAN("x"), 42, "not one that was given out");
    expect_bad(TEL_SPAN("AAAA"), 42, "cut short");
    expect_bad(TEL_SPAN("no+base64url/"), 42, "not one that was given out");
    /* Each character changed, each length cut: never taken. */
    for (size_t i = 0; i < text.len; i++) {
        char was = text.ptr[i];
        text.ptr[i] = was == 'B' ? 'C' : 'B';
        expect_bad(tel_buf_span(&text), 42, "cursor: ");
        text.ptr[i] = was;
        expect_bad(tel_span_slice(tel_buf_span(&text), 0, i), 42, "cursor: ");
    }
    tel_buf_free(&text);
}

static void test_binding(void **state)
{
    (void)state;
    const struct tel_span a[] = {TEL_SPAN("ab"), TEL_SPAN("c")};
    const struct tel_span b[] = {TEL_SPAN("a"), TEL_SPAN("bc")};
    const struct tel_span d[] = {TEL_SPAN("ab"), TEL_SPAN("c"), TEL_SPAN("")};
    assert_true(cursor_binding(a, 2) == cursor_binding(a, 2));
    assert_true(cursor_binding(a, 2) != cursor_binding(b, 2));
    assert_true(cursor_binding(a, 2) != cursor_binding(d, 3));
}

/* ---- pages -------------------------------------------------------------------------------------- */

struct keys {
    TEL_VEC(struct tel_row_key) items;
};

static tel_code sink(void *ctx, const struct tel_block *b, struct tel_error *err)
{
    struct keys *k = ctx;
    (void)err;
    for (size_t i = 0; i < b->rows; i++)
        tel_vec_push(&k->items, b->keys[i]);
    return TEL_OK;
}

/* One page behind cursor `text`, whose place the next one's takes; false at the end. */
static bool page(struct memory_cluster *c, const char *query, uint64_t limit, struct tel_buf *text,
                 struct keys *keys)
{
    struct query_params p = {.text = tel_span_cstr(query),
                             .tenant = TEL_SPAN("default"),
                             .limit = limit,
                             .timeout_ms = 20000,
                             .page = true,
                             .refuse_partial = true,
                             .now_ns = 1};
    struct cursor cursor, next;
    struct tel_arena arena = {0};
    struct tel_error err;
    struct query *q;
    if (text->len > 0) {
        assert_int_equal(cursor_parse(tel_buf_span(text), 1, &arena, &cursor, &err), TEL_OK);
        p.cursor = &cursor;
    }
    size_t before = keys->items.len;
    if (query_open(c->router, &p, sink, keys, &q, &err) != TEL_OK || query_run(q, &err) != TEL_OK)
        fail_msg("%s", err.text);
    assert_true(keys->items.len - before <= limit);
    bool more = query_next_page(q, &next);
    tel_buf_clear(text);
    if (more)
        cursor_print(&next, 1, text);
    query_close(q);
    tel_arena_free(&arena);
    return more;
}

static int newest_first(const void *a, const void *b)
{
    return -tel_row_key_cmp(a, b);
}

static size_t expected(const char *word, size_t count, struct tel_row_key *out)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (!word || strstr(events[i].msg, word))
            out[n++] = events[i].key;
    qsort(out, n, sizeof(*out), newest_first);
    return n;
}

static void check_pages(const char *query, const char *word, uint64_t limit, size_t batch_rows)
{
    struct memory_cluster c;
    const char *holdings[] = {"0,1", "2", "3,4", "5,6,7", NULL};
    memory_cluster_start(&c, events, EVENTS, holdings, NULL);
    for (size_t i = 0; i < c.shard_count; i++)
        c.shards[i].batch_rows = batch_rows;
    static struct tel_row_key want[EVENTS];
    size_t n = expected(word, EVENTS, want);
    struct keys keys = {0};
    struct tel_buf text = {0};
    while (page(&c, query, limit, &text, &keys))
        assert_true(keys.items.len <= n);
    assert_int_equal(keys.items.len, n);
    assert_memory_equal(keys.items.items, want, n * sizeof(*want));
    tel_vec_free(&keys.items);
    tel_buf_free(&text);
    memory_cluster_stop(&c);
}

static void test_pages_are_the_answer(void **state)
{
    (void)state;
    check_pages("*", NULL, 7, 3);
    check_pages("*", NULL, 500, 100);
    check_pages("*", NULL, EVENTS, 100); /* full and at the end: one more page, empty */
    check_pages("*", NULL, EVENTS + 1, 0);
    check_pages("error | fields app", "error", 41, 10);
    check_pages("nosuchword", "nosuchword", 10, 10);
}

/* Events come while somebody pages: those that were there are seen once, whatever comes. */
static void test_pages_while_events_come(void **state)
{
    (void)state;
    struct memory_cluster c;
    const char *holdings[] = {"0,1,2,3", "4,5,6,7", NULL};
    memory_cluster_start(&c, events, EVENTS, holdings, NULL);
    for (size_t i = 0; i < c.shard_count; i++)
        c.shards[i].event_count = EVENTS / 2;
    static struct tel_row_key want[EVENTS];
    size_t n = expected(NULL, EVENTS / 2, want), found = 0;
    struct keys keys = {0};
    struct tel_buf text = {0};
    while (page(&c, "*", 13, &text, &keys))
        for (size_t i = 0; i < c.shard_count; i++)
            if (c.shards[i].event_count < EVENTS)
                c.shards[i].event_count += 10;
    for (size_t i = 0; i < keys.items.len; i++) {
        if (i > 0)
            assert_true(tel_row_key_cmp(&keys.items.items[i], &keys.items.items[i - 1]) < 0);
        found += found < n && tel_row_key_cmp(&keys.items.items[i], &want[found]) == 0;
    }
    assert_int_equal(found, n);
    assert_true(keys.items.len > n); /* and some of what came */
    tel_vec_free(&keys.items);
    tel_buf_free(&text);
    memory_cluster_stop(&c);
}

/* A replica that has not searched what the first page's had is not asked for the next page. */
static void test_replica_behind(void **state)
{
    (void)state;
    struct memory_cluster c;
    const char *holdings[] = {"0,1,2,3,4,5,6,7", "0,1,2,3,4,5,6,7", NULL};
    memory_cluster_start(&c, events, EVENTS, holdings, NULL);
    static struct tel_row_key want[EVENTS];
    size_t n = expected(NULL, EVENTS, want);
    struct keys keys = {0};
    struct tel_buf text = {0};
    assert_true(page(&c, "*", 100, &text, &keys));
    c.shards[0].watermark = c.shards[1].watermark = 900;
    struct query_params p = {.text = TEL_SPAN("*"), .tenant = TEL_SPAN("default"), .limit = 100,
                             .page = true, .refuse_partial = true};
    struct cursor cursor;
    struct tel_arena arena = {0};
    struct tel_error err;
    struct query *q;
    assert_int_equal(cursor_parse(tel_buf_span(&text), 1, &arena, &cursor, &err), TEL_OK);
    assert_int_equal(cursor.mark_count, 8);
    p.cursor = &cursor;
    struct keys none = {0};
    assert_int_equal(query_open(c.router, &p, sink, &none, &q, &err), TEL_OK);
    assert_int_equal(query_run(q, &err), TEL_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "behind"));
    query_close(q);
    tel_arena_free(&arena);
    c.shards[1].watermark = 1000; /* has caught up */
    while (page(&c, "*", 100, &text, &keys))
        ;
    assert_int_equal(keys.items.len, n);
    assert_memory_equal(keys.items.items, want, n * sizeof(*want));
    tel_vec_free(&keys.items);
    tel_vec_free(&none.items);
    tel_buf_free(&text);
    memory_cluster_stop(&c);
}

static void test_page_mistakes(void **state)
{
    (void)state;
    struct memory_cluster c;
    const char *holdings[] = {"0,1,2,3,4,5,6,7", NULL};
    memory_cluster_start(&c, events, EVENTS, holdings, NULL);
    const struct query_params bad[] = {
        {.text = TEL_SPAN("* | stats count()"), .limit = 5, .page = true},
        {.text = TEL_SPAN("* | sort by (_time)"), .limit = 5, .page = true},
        {.text = TEL_SPAN("* | limit 3"), .limit = 5, .page = true},
        {.text = TEL_SPAN("*"), .page = true},
        {.text = TEL_SPAN("*"), .limit = 5, .offset = 1, .page = true},
    };
    for (size_t i = 0; i < TEL_ARRAY_LEN(bad); i++) {
        struct query_params p = bad[i];
        struct tel_error err;
        struct query *q;
        p.tenant = TEL_SPAN("default");
        assert_int_equal(query_open(c.router, &p, sink, NULL, &q, &err), TEL_ERR_INVALID);
    }
    memory_cluster_stop(&c);
}

static int make_events(void **state)
{
    (void)state;
    events = memory_events(EVENTS, 8, 42);
    return 0;
}

static int free_events(void **state)
{
    (void)state;
    free(events);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cursor_and_back),
        cmocka_unit_test(test_bad_cursors),
        cmocka_unit_test(test_binding),
        cmocka_unit_test(test_pages_are_the_answer),
        cmocka_unit_test(test_pages_while_events_come),
        cmocka_unit_test(test_replica_behind),
        cmocka_unit_test(test_page_mistakes),
    };
    return cmocka_run_group_tests(tests, make_events, free_events);
}
