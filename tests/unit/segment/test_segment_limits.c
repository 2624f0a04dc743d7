/* What is unusual in number or size: many streams, many attributes, long and binary lines, one row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/rand.h"
#include "shard/segment/segment.h"

struct world {
    struct segment_learnt *learnt;
    struct segment_builder *builder;
    struct tel_arena arena;
    struct segment_image image;
    struct segment_reader *reader;
    struct tel_block_source *rows;
    struct segment_counters counters;
};

static tel_code read_section(void *ctx, uint32_t section, struct tel_span *ret,
                             struct tel_error *err)
{
    const struct segment_image *image = ctx;
    for (size_t i = 0; i < image->section_count; i++) {
        if (image->sections[i].id == section) {
            *ret = image->sections[i].bytes;
            return TEL_OK;
        }
    }
    return tel_error_set(err, TEL_ERR_NOTFOUND, "section %u", section);
}

static void begin(struct world *w)
{
    w->learnt = segment_learnt_new();
    w->builder = segment_builder_new(w->learnt);
    tel_arena_init(&w->arena, 0);
}

/* Finishes, opens, and selects all rows. */
static void turn(struct world *w)
{
    struct tel_error err;
    struct segment_query all = {.start_ns = INT64_MIN, .end_ns = INT64_MAX};
    w->counters = (struct segment_counters){0};
    assert_int_equal(segment_builder_finish(w->builder, 1, &w->image, &err), TEL_OK);
    struct segment_io io = {&w->image, read_section};
    assert_int_equal(segment_reader_open(&io, &w->reader, &err), TEL_OK);
    assert_int_equal(segment_select(w->reader, &all, &w->arena, &w->rows, &w->counters, &err), TEL_OK);
    assert_int_equal(w->rows->rows, w->image.rows);
}

static const struct tel_span *column(struct world *w, struct tel_span name)
{
    struct tel_error err;
    const struct tel_span *values;
    assert_int_equal(w->rows->ops->column(w->rows, name, &values, &err), TEL_OK);
    return values;
}

static void end(struct world *w)
{
    segment_reader_close(w->reader);
    segment_builder_free(w->builder);
    segment_learnt_free(w->learnt);
    tel_arena_free(&w->arena);
}

static void add(struct world *w, uint32_t stream, int64_t i, struct tel_event *e)
{
    struct tel_row_key key = {i, 0, 0, i};
    e->timestamp_ns = i;
    segment_builder_add(w->builder, &key, stream, e);
}

/* Every stream is a family of its own, of one or two rows: more families than are told apart. */
static void test_streams(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    for (int64_t i = 0; i < 9000; i++) {
        struct tel_field label = {TEL_SPAN("file"),
                                  tel_arena_printf(&w.arena, "/var/log/%d", (int)(i % 6000))};
        struct tel_event e = {.body = tel_arena_printf(&w.arena, "line %d of 0x%x", (int)i, (int)i)};
        add(&w, segment_builder_stream(w.builder, &label, 1), i, &e);
    }
    turn(&w);
    const struct tel_span *files = column(&w, TEL_SPAN("file"));
    const struct tel_span *bodies = column(&w, TEL_SPAN("_msg"));
    for (size_t i = 0; i < w.rows->rows; i++) {
        assert_true(tel_span_eq(
            files[i], tel_arena_printf(&w.arena, "/var/log/%d", (int)(i % 6000))));
        assert_true(tel_span_eq(
            bodies[i], tel_arena_printf(&w.arena, "line %d of 0x%x", (int)i, (int)i)));
    }
    end(&w);
}

/* A thousand attributes an event, hardly a key twice: no more than what they weigh. */
static void test_attributes(void **state)
{
    (void)state;
    enum { EVENTS = 40, EACH = 1000 };
    struct world w;
    struct tel_field label = {TEL_SPAN("app"), TEL_SPAN("a")};
    begin(&w);
    uint32_t stream = segment_builder_stream(w.builder, &label, 1);
    size_t bytes = 0;
    for (int64_t i = 0; i < EVENTS; i++) {
        struct tel_field *a = TEL_ARENA_ARRAY(&w.arena, struct tel_field, EACH);
        for (size_t k = 0; k < EACH; k++) {
            a[k].name = tel_arena_printf(&w.arena, "key.%d.%zu", (int)(k % 10 ? i : 0), k);
            a[k].value = tel_arena_printf(&w.arena, "value %d of %zu", (int)i, k);
            bytes += a[k].name.len + a[k].value.len;
        }
        struct tel_event e = {.attributes = a, .attribute_count = EACH};
        add(&w, stream, i, &e);
    }
    turn(&w);
    assert_true(w.image.stored_bytes < bytes * 3 / 2);
    for (size_t k = 0; k < EACH; k += 37) {
        const struct tel_span *v =
            column(&w, tel_arena_printf(&w.arena, "key.%d.%zu", k % 10 ? 7 : 0, k));
        for (int i = 0; i < EVENTS; i++) {
            struct tel_span want = k % 10 && i != 7
                                       ? tel_span_make(NULL, 0)
                                       : tel_arena_printf(&w.arena, "value %d of %zu", i, k);
            assert_true(tel_span_eq(v[i], want));
        }
    }
    assert_null(column(&w, TEL_SPAN("_msg")));
    end(&w);
}

static void test_long_lines(void **state)
{
    (void)state;
    struct world w;
    struct tel_rand r;
    struct tel_field label = {TEL_SPAN("app"), TEL_SPAN("a")};
    static const size_t lens[] = {59990, 60000, 60001, 1u << 20, TEL_BODY_BYTES_MAX};
    struct tel_span bodies[4 * TEL_ARRAY_LEN(lens)];
    size_t n = 0;
    begin(&w);
    tel_rand_init(&r, 5);
    uint32_t stream = segment_builder_stream(w.builder, &label, 1);
    for (unsigned kind = 0; kind < 4; kind++) {
        for (size_t l = 0; l < TEL_ARRAY_LEN(lens); l++) {
            char *s = tel_arena_alloc(&w.arena, lens[l]);
            for (size_t i = 0; i < lens[l]; i++)
                s[i] = kind == 0   ? (char)tel_rand_u64(&r)
                       : kind == 1 ? "ab 12,\"="[i % 8]
                       : kind == 2 ? "\\\""[i % 2]
                                   : (char)(i % 100 ? '7' : ' ');
            bodies[n] = tel_span_make(s, lens[l]);
            struct tel_event e = {.body = bodies[n]};
            add(&w, stream, (int64_t)n++, &e);
        }
    }
    turn(&w);
    const struct tel_span *back = column(&w, TEL_SPAN("_msg"));
    for (size_t i = 0; i < n; i++)
        assert_true(tel_span_eq(back[i], bodies[i]));
    end(&w);
}

static void test_one_row(void **state)
{
    (void)state;
    struct world w;
    struct tel_event e = {.severity = 24};
    begin(&w);
    add(&w, segment_builder_stream(w.builder, NULL, 0), INT64_MIN, &e);
    e.severity = 0;
    add(&w, segment_builder_stream(w.builder, NULL, 0), INT64_MAX - 1, &e);
    turn(&w);
    assert_int_equal(w.rows->keys[0].time_ns, INT64_MIN);
    assert_int_equal(w.rows->keys[1].time_ns, INT64_MAX - 1);
    assert_true(tel_span_eq_cstr(column(&w, TEL_SPAN("severity"))[0], "FATAL4"));
    assert_true(tel_span_eq_cstr(column(&w, TEL_SPAN("_stream"))[0], "{}"));
    end(&w);
}

static void test_no_rows(void **state)
{
    (void)state;
    struct world w;
    struct tel_error err;
    begin(&w);
    assert_int_equal(segment_builder_finish(w.builder, 1, &w.image, &err), TEL_ERR_INVALID);
    w.reader = NULL;
    end(&w);
}

/* Rows come in the order of their keys, whatever the spread of their times: all at once, a few
 * nanoseconds, a day, all of 64 bits. */
static void test_order(void **state)
{
    (void)state;
    enum { ROWS = 5000 };
    static const uint64_t spreads[] = {1, 2, 100, 86400000000000, UINT64_C(1) << 60, UINT64_MAX};
    uint64_t seed = tel_rand_seed();
    struct tel_rand r;
    tel_rand_init(&r, seed);
    print_message("seed %llu\n", (unsigned long long)seed);
    for (size_t k = 0; k < TEL_ARRAY_LEN(spreads); k++) {
        struct world w;
        struct tel_field label = {TEL_SPAN("app"), TEL_SPAN("a")};
        begin(&w);
        uint32_t stream = segment_builder_stream(w.builder, &label, 1);
        for (uint32_t i = 0; i < ROWS; i++) {
            int64_t time_ns =
                (int64_t)((uint64_t)INT64_MIN + tel_rand_below(&r, spreads[k]));
            struct tel_row_key key = {time_ns, 7, i % 10, (ROWS - i) / 10};
            if (spreads[k] == UINT64_MAX)
                key.time_ns = i % 2 ? INT64_MIN + (i % 9) : INT64_MAX - 1 - (i % 11);
            struct tel_event e = {.timestamp_ns = key.time_ns,
                                  .severity = i % 25,
                                  .body = tel_arena_printf(&w.arena, "%d of %d at %lld", (int)i,
                                                           (int)key.offset,
                                                           (long long)key.time_ns)};
            segment_builder_add(w.builder, &key, stream, &e);
        }
        turn(&w);
        const struct tel_span *bodies = column(&w, TEL_SPAN("_msg"));
        for (size_t i = 0; i < ROWS; i++) {
            const struct tel_row_key *key = &w.rows->keys[i];
            assert_true(i == 0 || tel_row_key_cmp(key - 1, key) < 0);
            char end_of_body[64];
            snprintf(end_of_body, sizeof(end_of_body), " of %d at %lld", (int)key->offset,
                     (long long)key->time_ns);
            assert_true(tel_span_ends(bodies[i], tel_span_cstr(end_of_body)));
        }
        end(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams), cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_long_lines), cmocka_unit_test(test_one_row),
        cmocka_unit_test(test_no_rows),   cmocka_unit_test(test_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
