/* What is learnt, over restarts: kept, bounded, forgotten when it is not used, and never trusted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/crc32c.h"
#include "common/base/rand.h"
#include "shard/segment/learn.h"

#define DAY_NS (INT64_C(86400) * TEL_NS_PER_S)
#define NOW_NS (20400 * DAY_NS)

static const char *const words[] = {"root", "bob", "eve", "mallory", "trent", "zoe",
                                    "max",  "quentin", "uma", "wendy"};
enum { WORDS = TEL_ARRAY_LEN(words), KINDS = 5 };

/* A line of a kind, whose words vary; each kind has words that do not. */
static void make_line(char *out, size_t size, unsigned kind, unsigned i)
{
    const char *w = words[i % WORDS], *v = words[i / WORDS % WORDS];
    switch (kind) {
    case 0:
        snprintf(out, size, "session opened for user %s by (uid=%u)", w, i);
        break;
    case 1:
        snprintf(out, size, "worker %s of pool %s is idle since %u ms", w, v, i);
        break;
    case 2:
        snprintf(out, size, "cannot reach host %s on the first try", w);
        break;
    case 3:
        snprintf(out, size, "cache %s: evicted %u of the oldest entries for %s", w, i, v);
        break;
    default:
        snprintf(out, size, "module %s took over from the module before it", w);
    }
}

static uint32_t match(struct segment_learnt *l, uint32_t family, const char *text)
{
    static struct splitter sp;
    static char line[1000];
    size_t len = strlen(text);
    assert_true(len + SPLIT_SLACK < sizeof(line));
    memset(line, 0, sizeof(line));
    memcpy(line, text, len);
    assert_true(splitter_run(&sp, tel_span_make(line, len)));
    return learnt_match(l, family, &sp, tel_span_make(line, len));
}

static uint32_t family(struct segment_learnt *l, const char *app)
{
    struct tel_field label = {TEL_SPAN("app"), tel_span_cstr(app)};
    return learnt_family(l, &label, 1);
}

static void teach(struct segment_learnt *l, const char *app, unsigned lines)
{
    char line[200];
    uint32_t f = family(l, app);
    for (unsigned i = 0; i < lines; i++) {
        make_line(line, sizeof(line), i % KINDS, i / KINDS);
        match(l, f, line);
    }
}

/* Does the text of this line's template have no word of ours: have all become holes? */
static bool knows(struct segment_learnt *l, const char *app, unsigned kind)
{
    char line[200];
    make_line(line, sizeof(line), kind, 7);
    uint32_t number = match(l, family(l, app), line);
    if (number == LEARNT_NONE)
        return false;
    struct tel_span text = learnt_template(l, number)->skeleton;
    for (size_t i = 0; i < WORDS; i++) {
        if (tel_span_find(text, tel_span_cstr(words[i])) != (size_t)-1)
            return false;
    }
    return true;
}

static struct segment_learnt *turn(struct segment_learnt *l)
{
    struct tel_buf bytes = {0};
    struct tel_error err;
    segment_learnt_save(l, &bytes);
    segment_learnt_free(l);
    l = segment_learnt_new();
    assert_true(bytes.len <= SEGMENT_LEARNT_BYTES);
    assert_int_equal(segment_learnt_load(l, tel_buf_span(&bytes), &err), TEL_OK);
    assert_int_equal(segment_learnt_changes(l), 0);
    tel_buf_free(&bytes);
    return l;
}

/* The first line of each kind has the very template that it would have had without the restart. */
static void test_restart(void **state)
{
    (void)state;
    struct segment_learnt *stays = segment_learnt_new(), *l = segment_learnt_new();
    segment_learnt_age(l, NOW_NS);
    teach(stays, "a", 500);
    teach(l, "a", 500);
    assert_true(segment_learnt_changes(l) > 0);
    l = turn(l);
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char line[200];
        make_line(line, sizeof(line), kind, 7);
        uint32_t x = match(stays, family(stays, "a"), line), y = match(l, family(l, "a"), line);
        assert_true(tel_span_eq(learnt_template(stays, x)->skeleton,
                                learnt_template(l, y)->skeleton));
        assert_true(knows(l, "a", kind));
        assert_false(knows(l, "b", kind)); /* another application learns for itself */
    }
    segment_learnt_free(stays);
    segment_learnt_free(l);
}

/* The share of rows with a template in a first, small segment. */
static uint64_t first_segment(struct segment_learnt *l, const char *app)
{
    struct segment_builder *b = segment_builder_new(l);
    struct tel_field label = {TEL_SPAN("app"), tel_span_cstr(app)};
    uint32_t stream = segment_builder_stream(b, &label, 1);
    for (unsigned i = 0; i < 3 * KINDS; i++) {
        char line[200];
        make_line(line, sizeof(line), i % KINDS, i / KINDS);
        struct tel_row_key key = {NOW_NS + i, 0, 0, i};
        struct tel_event e = {.timestamp_ns = key.time_ns, .body = tel_span_cstr(line)};
        segment_builder_add(b, &key, stream, &e);
    }
    struct segment_image image;
    struct tel_error err;
    assert_int_equal(segment_builder_finish(b, 1, &image, &err), TEL_OK);
    uint64_t rows = image.template_rows;
    segment_builder_free(b);
    return rows;
}

static void test_first_segment(void **state)
{
    (void)state;
    struct segment_learnt *fresh = segment_learnt_new(), *l = segment_learnt_new();
    teach(l, "a", 500);
    l = turn(l);
    assert_int_equal(first_segment(l, "a"), 3 * KINDS);
    assert_true(first_segment(fresh, "a") < 3 * KINDS);
    segment_learnt_free(fresh);
    segment_learnt_free(l);
}

static void test_forgetting(void **state)
{
    (void)state;
    struct segment_learnt *l = segment_learnt_new();
    segment_learnt_age(l, NOW_NS);
    teach(l, "used", 500);
    teach(l, "unused", 500);
    for (unsigned day = 1; day <= 20; day++) {
        segment_learnt_age(l, NOW_NS + day * DAY_NS);
        teach(l, "used", KINDS);
        l = day == 10 ? turn(l) : l; /* a restart makes nothing younger */
    }
    for (unsigned kind = 0; kind < KINDS; kind++) {
        assert_true(knows(l, "used", kind));
        assert_false(knows(l, "unused", kind));
    }
    segment_learnt_free(l);
}

/* Families and kinds of lines without end: bounded, and what was used last is what is kept. */
static void test_bounds(void **state)
{
    (void)state;
    struct segment_learnt *l = segment_learnt_new();
    segment_learnt_age(l, NOW_NS);
    for (unsigned i = 0; i < 60000; i++) {
        char app[40], line[200];
        snprintf(app, sizeof(app), "app-%u", i % 6000);
        int n = snprintf(line, sizeof(line), "plain words and then some");
        for (unsigned k = 0; k < 12; k++) /* a coarse key of its own */
            n += snprintf(line + n, sizeof(line) - (size_t)n, "%s", i >> k & 1 ? ";x" : ",y");
        match(l, family(l, app), line);
    }
    segment_learnt_age(l, NOW_NS + TEL_NS_PER_S);
    teach(l, "last", 500);
    l = turn(l);
    for (unsigned kind = 0; kind < KINDS; kind++)
        assert_true(knows(l, "last", kind));
    segment_learnt_free(l);
}

static void put_crc(struct tel_buf *bytes)
{
    uint32_t crc = tel_crc32c(0, bytes->ptr, bytes->len - 4);
    memcpy(bytes->ptr + bytes->len - 4, &crc, 4);
}

/* Every byte cut off or changed is noticed; with a checksum that was made to fit, whatever comes of it
 * is something to go on from. */
static void test_damage(void **state)
{
    (void)state;
    uint64_t seed = tel_rand_seed();
    struct tel_rand r;
    struct tel_buf good = {0};
    struct tel_error err;
    struct segment_learnt *l = segment_learnt_new();
    print_message("seed %llu\n", (unsigned long long)seed);
    tel_rand_init(&r, seed);
    teach(l, "a", 200);
    segment_learnt_save(l, &good);
    for (size_t i = 0; i < good.len; i++) {
        assert_int_equal(segment_learnt_load(l, tel_span_make(good.ptr, i), &err), TEL_ERR_CORRUPT);
        good.ptr[i] ^= 4;
        assert_int_equal(segment_learnt_load(l, tel_buf_span(&good), &err), TEL_ERR_CORRUPT);
        good.ptr[i] ^= 4;
    }
    assert_false(knows(l, "a", 0));
    for (unsigned round = 0; round < 3000; round++) {
        struct tel_buf bad = {0}, again = {0};
        tel_buf_add_span(&bad, tel_buf_span(&good));
        for (unsigned k = 0; k < 1 + round % 3; k++)
            bad.ptr[tel_rand_below(&r, bad.len)] = (char)tel_rand_u64(&r);
        put_crc(&bad);
        (void)!segment_learnt_load(l, tel_buf_span(&bad), &err);
        teach(l, "a", 50);
        segment_learnt_save(l, &again);
        assert_int_equal(segment_learnt_load(l, tel_buf_span(&again), &err), TEL_OK);
        tel_buf_free(&bad);
        tel_buf_free(&again);
    }
    good.ptr[0] = 2;
    put_crc(&good);
    assert_int_equal(segment_learnt_load(l, tel_buf_span(&good), &err), TEL_ERR_UNSUPPORTED);
    tel_buf_free(&good);
    segment_learnt_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restart), cmocka_unit_test(test_first_segment),
        cmocka_unit_test(test_forgetting), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_damage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
