/* What a search does not read: that some queries answer without a byte of a column. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/logsql/filter.h"
#include "common/logsql/parser.h"
#include "shard/segment/events.h"
#include "shard/segment/segment.h"

#define ROWS 3000u

struct fixture {
    struct segment_learnt *learnt;
    struct segment_builder *builder;
    struct segment_image image;
    struct segment_reader *reader;
    struct tel_arena arena;
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

/* Rows of an application whose level is often a word that no body has, and some of another. */
static void add_rows(struct fixture *x)
{
    const struct tel_field shop[] = {{TEL_SPAN("app"), TEL_SPAN("shop")}};
    const struct tel_field mail[] = {{TEL_SPAN("app"), TEL_SPAN("mail")}};
    uint32_t streams[] = {segment_builder_stream(x->builder, shop, 1),
                          segment_builder_stream(x->builder, mail, 1)};
    for (uint32_t i = 0; i < ROWS; i++) {
        struct tel_field level = {TEL_SPAN("level"), i % 3 ? TEL_SPAN("fatal") : TEL_SPAN("info")};
        struct tel_event event = {
            .timestamp_ns = INT64_C(1767225600000000000) + i * 1000,
            .severity = 9,
            .body = tel_arena_printf(&x->arena, "user %c%c took item %u of cart", 'a' + (int)(i % 26),
                                     'a' + (int)(i / 26 % 26), i * 7919),
            .trace_id = tel_arena_printf(&x->arena, "%032x", i * 2654435761u),
            .attributes = &level,
            .attribute_count = 1,
        };
        segment_builder_add(x->builder, &(struct tel_row_key){event.timestamp_ns, 0, 0, i},
                            streams[i % 5 == 0], &event);
    }
}

static int set_up(void **state)
{
    static struct fixture x;
    struct tel_error err;
    x = (struct fixture){.learnt = segment_learnt_new()};
    x.builder = segment_builder_new(x.learnt);
    tel_arena_init(&x.arena, 0);
    add_rows(&x);
    assert_int_equal(segment_builder_finish(x.builder, 1, &x.image, &err), TEL_OK);
    assert_int_equal(segment_reader_open(&(struct segment_io){&x.image, read_section}, &x.reader, &err),
                     TEL_OK);
    *state = &x;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *x = *state;
    segment_reader_close(x->reader);
    segment_builder_free(x->builder);
    segment_learnt_free(x->learnt);
    tel_arena_free(&x->arena);
    return 0;
}

/* How many rows match; *ret_bytes: what was unpacked for that. */
static uint64_t count(struct fixture *x, const char *text, uint64_t *ret_bytes)
{
    struct tel_arena arena;
    struct tel_query *tree;
    struct tel_error err;
    struct segment_counters counters = {0};
    struct tel_parse_options options = {.filter_only = true};
    uint64_t rows;
    tel_arena_init(&arena, 0);
    assert_int_equal(tel_query_parse(tel_span_cstr(text), 0, &options, &arena, &tree, &err), TEL_OK);
    struct segment_query query = {.filter = tree->filter, .start_ns = INT64_MIN, .end_ns = INT64_MAX};
    assert_int_equal(segment_count(x->reader, &query, &rows, &counters, &err), TEL_OK);
    *ret_bytes = counters.bytes_read + counters.bytes_unpacked;
    tel_query_done(tree);
    tel_arena_free(&arena);
    return rows;
}

static void nothing_read(struct fixture *x, const char *text)
{
    uint64_t bytes, rows = count(x, text, &bytes);
    if (rows || bytes)
        fail_msg("%s: %llu rows, %llu bytes", text, (unsigned long long)rows, (unsigned long long)bytes);
}

static void test_words_of_attributes(void **state)
{
    uint64_t bytes;
    nothing_read(*state, "fatal"); /* it is the level of many rows and in the body of none */
    nothing_read(*state, "level:cart");
    nothing_read(*state, "level:item or level:user");
    nothing_read(*state, "trace_id:00000000000000000000000012345678");
    nothing_read(*state, "severity:cart");
    assert_int_equal(count(*state, "level:fatal", &bytes), ROWS - ROWS / 3);
    assert_int_equal(count(*state, "!level:cart", &bytes), ROWS);
    assert_int_equal(bytes, 0);
    assert_int_equal(count(*state, "trace_id:0000000000000000000000009e3779b1", &bytes), 1);
    assert_int_equal(count(*state, "severity:INFO", &bytes), ROWS);
    assert_int_equal(count(*state, "app:mail", &bytes), ROWS / 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_words_of_attributes)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
