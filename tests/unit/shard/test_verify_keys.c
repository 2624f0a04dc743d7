/* What verify says of keys: rows that do not belong into their segment, and rows that stand twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "shard/verify_keys.h"
#include "tests/unit/shard/store_fixture.h"

#define DAY 20001

/* Segments of a real store, whose ranges and rows the tests set: segment i has the rows of offsets[i],
 * which end with -1. */
#define SEGMENTS 3
static const int64_t *offsets[SEGMENTS];
static const struct store_segment *order[SEGMENTS];

static struct tel_row_key key_at(int64_t offset)
{
    return (struct tel_row_key){DAY * TEL_NS_PER_DAY + offset, 0, 0, offset};
}

static tel_code read_keys(struct store_segment *segment, struct tel_row_key **ret, size_t *ret_rows,
                          struct tel_error *err)
{
    size_t i = 0, rows = 0;
    while (order[i] != segment)
        i++;
    if (!offsets[i])
        return tel_error_set(err, TEL_ERR_CORRUPT, "cannot be read");
    struct tel_row_key *keys = tel_calloc(16, sizeof(*keys));
    for (; offsets[i][rows] >= 0; rows++)
        keys[rows] = key_at(offsets[i][rows]);
    *ret = keys;
    *ret_rows = rows;
    return TEL_OK;
}

struct made {
    struct fixture f;
    struct store_view view;
    struct tel_buf missing;
};

/* Three segments with these tenants and a row for each 10 offsets, one behind the other. */
static void make(struct made *m, const char *const tenants[SEGMENTS])
{
    memset(m, 0, sizeof(*m));
    fixture_begin(&m->f);
    fixture_open(&m->f);
    for (int i = 0; i < SEGMENTS; i++)
        assert_int_equal(fixture_round(&m->f, tenants[i], DAY, 10 * i, 10 * i + 10), TEL_OK);
    store_select(m->f.store, NULL, INT64_MIN, INT64_MAX, &m->view, &m->missing);
    assert_int_equal(m->view.segments.len, SEGMENTS);
    for (size_t i = 0; i < SEGMENTS; i++)
        order[m->view.segments.items[i]->first_offset / 10] = m->view.segments.items[i];
}

static void unmake(struct made *m)
{
    store_view_done(&m->view);
    tel_buf_free(&m->missing);
    fixture_close(&m->f);
    fixture_end(&m->f);
}

/* How many rows are too many when the segments reach over all offsets; *ret_lines: what was said. */
static uint64_t doubles(struct made *m, const int64_t *a, const int64_t *b, const int64_t *c, char **ret_lines)
{
    size_t size;
    FILE *out = open_memstream(ret_lines, &size);
    offsets[0] = a, offsets[1] = b, offsets[2] = c;
    for (size_t i = 0; i < SEGMENTS; i++) {
        m->view.segments.items[i]->first_offset = 0;
        m->view.segments.items[i]->last_offset = 30;
    }
    uint64_t n = verify_doubles(&m->view.segments, 0, read_keys, out);
    fclose(out);
    return n;
}

#define OFFSETS(...) ((const int64_t[]){__VA_ARGS__, -1})

static void test_doubles(void **state)
{
    (void)state;
    struct made m;
    char *said;
    make(&m, (const char *const[]){"a", "a", "b"});
    assert_int_equal(doubles(&m, OFFSETS(1, 7, 9), OFFSETS(2, 8, 20), OFFSETS(7, 8), &said), 0);
    assert_string_equal(said, ""); /* offset 7 has events of two tenants */
    free(said);
    assert_int_equal(doubles(&m, OFFSETS(1, 7, 9), OFFSETS(2, 7, 20), OFFSETS(7), &said), 1);
    assert_non_null(strstr(said, "the row of offset 7, index 0 is in "));
    free(said);
    assert_int_equal(doubles(&m, OFFSETS(1, 7, 9), OFFSETS(1, 7, 9), OFFSETS(7), &said), 3);
    assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1); /* a line for the pair */
    free(said);
    assert_int_equal(doubles(&m, NULL, OFFSETS(1, 7, 9), OFFSETS(7), &said), 0);
    free(said);
    unmake(&m);
}

static void expect_wrong(const struct store_segment *s, struct tel_row_key key, const char *what)
{
    struct tel_error err;
    assert_int_equal(verify_keys_of(s, 0, &key, 1, &err), TEL_ERR_CORRUPT);
    assert_non_null(strstr(err.text, what));
}

static void test_keys_of_a_segment(void **state)
{
    (void)state;
    struct made m;
    struct tel_error err;
    make(&m, (const char *const[]){"a", "a", "a"});
    struct store_segment *s = m.view.segments.items[0];
    s->first_offset = 2, s->last_offset = 9, s->upto.offset = 8;
    s->min_time_ns = key_at(2).time_ns, s->max_time_ns = key_at(9).time_ns;
    const struct tel_row_key good[] = {key_at(2), key_at(7)};
    assert_int_equal(verify_keys_of(s, 0, good, 2, &err), TEL_OK);
    assert_int_equal(verify_keys_of(s, 1, good, 2, &err), TEL_ERR_CORRUPT);
    struct tel_row_key key = key_at(3);
    key.time_ns += TEL_NS_PER_DAY;
    expect_wrong(s, key, "another day");
    key.time_ns = key_at(1).time_ns;
    expect_wrong(s, key, "segment's times");
    key = key_at(3);
    key.offset = 10;
    expect_wrong(s, key, "segment's offsets");
    expect_wrong(s, key_at(8), "above the position");
    unmake(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_doubles),
                                       cmocka_unit_test(test_keys_of_a_segment)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
