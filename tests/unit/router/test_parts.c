/* The router's small parts: shard maps, batches from shards that lie, JSON, turns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "router/admission.h"
#include "router/json.h"
#include "router/rows.h"
#include "router/shard_map.h"

/* ---- shard maps
 * ---------------------------------------------------------------------------------- */

static void test_map(void **state)
{
    (void)state;
    struct tel_error err;
    struct shard_map *map = shard_map_new(7);
    assert_int_equal(shard_map_add_ranges(map, "0-2, 7", "a:1", &err), TEL_OK);
    assert_int_equal(shard_map_add_ranges(map, "2", "b:1", &err), TEL_OK);
    size_t count;
    const struct shard_replicas *r = shard_map_partitions(map, &count);
    assert_int_equal(count, 4);
    assert_int_equal(r[2].partition, 2);
    assert_int_equal(r[2].count, 2);
    assert_string_equal(r[2].addresses[1], "b:1");
    assert_ptr_equal(r[0].addresses[0], r[3].addresses[0]);
    shard_map_addresses(map, &count);
    assert_int_equal(count, 2);
    assert_int_equal(shard_map_version(map), 7);
    static const char *const bad[] = {"",   "x",           "3-1",   "-1",  "1-",
                                      "0,", "99999999999", "65536", "1--2"};
    for (size_t i = 0; i < TEL_ARRAY_LEN(bad); i++)
        assert_int_equal(shard_map_add_ranges(map, bad[i], "c:1", &err), TEL_ERR_INVALID);
    assert_int_equal(shard_map_add_ranges(map, "0", "a:1", &err), TEL_ERR_EXISTS);
    shard_map_unref(map);
}

/* ---- batches
 * ------------------------------------------------------------------------------------- */

static Telescope__Shard__V1__RowBatch *batch_new(uint32_t rows, size_t keys, size_t lengths,
                                                 const uint32_t *length, const char *data)
{
    Telescope__Shard__V1__RowBatch *b = tel_malloc(sizeof(*b));
    telescope__shard__v1__row_batch__init(b);
    b->rows = rows;
    b->n_times_ns = b->n_partitions = b->n_offsets = b->n_indexes = keys;
    b->times_ns = tel_calloc(keys, sizeof(int64_t));
    b->partitions = tel_calloc(keys, sizeof(uint32_t));
    b->offsets = tel_calloc(keys, sizeof(int64_t));
    b->indexes = tel_calloc(keys, sizeof(uint32_t));
    b->n_columns = 1;
    b->columns = tel_calloc(1, sizeof(*b->columns));
    Telescope__Shard__V1__Column *c = tel_malloc(sizeof(*c));
    telescope__shard__v1__column__init(c);
    c->name = tel_strdup("_msg");
    c->n_lengths = lengths;
    c->lengths = tel_calloc(lengths, sizeof(uint32_t));
    if (lengths)
        memcpy(c->lengths, length, lengths * sizeof(uint32_t));
    c->data.len = strlen(data);
    c->data.data = (uint8_t *)tel_strdup(data);
    b->columns[0] = c;
    return b;
}

static tel_code open_batch(uint32_t rows, size_t keys, size_t lengths, const uint32_t *length,
                           const char *data)
{
    struct rows *r = NULL;
    struct tel_error err;
    tel_code rc = rows_open(batch_new(rows, keys, lengths, length, data), &r, &err);
    rows_free(r);
    return rc;
}

static void test_batches(void **state)
{
    (void)state;
    static const uint32_t fits[] = {2, 0, 3}, longer[] = {2, 0, 4}, shorter[] = {2, 0, 2};
    static const uint32_t huge[] = {UINT32_MAX, UINT32_MAX, 7};
    assert_int_equal(open_batch(3, 3, 3, fits, "abcde"), TEL_OK);
    assert_int_equal(open_batch(3, 0, 3, fits, "abcde"), TEL_OK);
    assert_int_equal(open_batch(3, 3, 3, longer, "abcde"), TEL_ERR_CORRUPT);
    assert_int_equal(open_batch(3, 3, 3, shorter, "abcde"), TEL_ERR_CORRUPT);
    assert_int_equal(open_batch(3, 3, 3, huge, "abcde"), TEL_ERR_CORRUPT);
    assert_int_equal(open_batch(3, 2, 3, fits, "abcde"), TEL_ERR_CORRUPT);
    assert_int_equal(open_batch(3, 3, 2, fits, "ab"), TEL_ERR_CORRUPT);
    assert_int_equal(open_batch(4, 4, 3, fits, "abcde"), TEL_ERR_CORRUPT);
    assert_int_equal(open_batch(UINT32_MAX, 0, 0, NULL, ""), TEL_ERR_CORRUPT);
    /* only _time may be without values, and only with keys */
    assert_int_equal(open_batch(3, 3, 0, NULL, ""), TEL_ERR_CORRUPT);
}

/* Messages of random bytes, and a good one with bytes changed: opened or refused, never followed.
 */
static void test_damaged_batches(void **state)
{
    (void)state;
    uint64_t seed = tel_rand_seed();
    print_message("seed %llu\n", (unsigned long long)seed);
    struct tel_rand rand;
    tel_rand_init(&rand, seed);
    static const uint32_t fits[] = {2, 0, 3};
    Telescope__Shard__V1__RowBatch *good = batch_new(3, 3, 3, fits, "abcde");
    uint8_t bytes[512];
    size_t len = telescope__shard__v1__row_batch__pack(good, bytes);
    protobuf_c_message_free_unpacked(&good->base, NULL);
    for (int i = 0; i < 50000; i++) {
        uint8_t copy[512];
        memcpy(copy, bytes, len);
        for (uint64_t n = 1 + tel_rand_below(&rand, 3); n > 0; n--)
            copy[tel_rand_below(&rand, len)] = (uint8_t)tel_rand_u64(&rand);
        Telescope__Shard__V1__RowBatch *b =
            telescope__shard__v1__row_batch__unpack(NULL, len, copy);
        struct rows *r;
        struct tel_error err;
        if (b && rows_open(b, &r, &err) == TEL_OK) {
            struct tel_buf out = {0};
            if (r->block.rows < 1000)
                json_add_block(&out, &r->block);
            tel_buf_free(&out);
            rows_free(r);
        }
    }
}

/* ---- JSON
 * ---------------------------------------------------------------------------------------- */

/* Against the plain printer of blocks, with bytes of every kind at every length. */
static void test_json(void **state)
{
    (void)state;
    uint64_t seed = tel_rand_seed();
    print_message("seed %llu\n", (unsigned long long)seed);
    struct tel_rand rand;
    tel_rand_init(&rand, seed);
    char bytes[3][64];
    for (int i = 0; i < 20000; i++) {
        struct tel_span values[3];
        for (size_t v = 0; v < 3; v++) {
            size_t len = tel_rand_below(&rand, 40);
            for (size_t k = 0; k < len; k++)
                bytes[v][k] = tel_rand_below(&rand, 12) ? (char)('a' + tel_rand_below(&rand, 26))
                                                        : (char)tel_rand_u64(&rand);
            values[v] = tel_span_make(bytes[v], len);
        }
        struct tel_row_key key = {.time_ns = (int64_t)(tel_rand_u64(&rand) >> 2)};
        struct tel_column columns[] = {
            {TEL_SPAN("_time"), NULL}, {TEL_SPAN("_msg"), &values[0]}, {values[2], &values[1]}};
        size_t count = i % 3 ? 3 : 2;
        struct tel_block block = {.rows = 1,
                                  .keys = &key,
                                  .column_count = i % 2 ? count : count - 1,
                                  .columns = i % 2 ? columns : columns + 1};
        struct tel_buf ours = {0}, plain = {0};
        size_t shown = json_add_block(&ours, &block);
        bool any = tel_block_print_row(&plain, &block, 0);
        if (any)
            tel_buf_add_char(&plain, '\n');
        assert_int_equal(shown, any);
        assert_true(tel_span_eq(tel_buf_span(&ours), tel_buf_span(&plain)));
        tel_buf_free(&ours);
        tel_buf_free(&plain);
    }
}

/* ---- turns
 * --------------------------------------------------------------------------------------- */

struct waiting {
    struct admission *a;
    struct tel_span tenant;
    _Atomic int *order;
    int turn;
    tel_code rc;
};

static void *wait_turn(void *arg)
{
    struct waiting *w = arg;
    struct tel_error err;
    w->rc = admission_enter(w->a, w->tenant, 10000, &err);
    w->turn = atomic_fetch_add(w->order, 1);
    if (w->rc == TEL_OK)
        admission_leave(w->a, w->tenant);
    return NULL;
}

static void wait_for(struct admission *a, unsigned waiting)
{
    int64_t until = tel_mono_ns(tel_clock_system()) + 10 * TEL_NS_PER_S;
    unsigned running, now;
    do {
        admission_counts(a, &running, &now);
        nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    } while (now != waiting && tel_mono_ns(tel_clock_system()) < until);
    assert_int_equal(now, waiting);
}

/* Tenant a has all places and a queue of its own; b, which came last, is next. */
static void test_turns(void **state)
{
    (void)state;
    struct admission *a = admission_new(2, 4);
    struct tel_error err;
    assert_int_equal(admission_enter(a, TEL_SPAN("a"), 0, &err), TEL_OK);
    assert_int_equal(admission_enter(a, TEL_SPAN("a"), 0, &err), TEL_OK);
    assert_int_equal(admission_enter(a, TEL_SPAN("b"), 10, &err), TEL_ERR_AGAIN);
    _Atomic int order = 0;
    struct waiting w[4];
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++) {
        w[i] = (struct waiting){
            .a = a, .tenant = i == 3 ? TEL_SPAN("b") : TEL_SPAN("a"), .order = &order};
        assert_int_equal(pthread_create(&threads[i], NULL, wait_turn, &w[i]), 0);
        wait_for(a, i + 1);
    }
    assert_int_equal(admission_enter(a, TEL_SPAN("c"), 10000, &err), TEL_ERR_AGAIN); /* too many */
    admission_leave(a, TEL_SPAN("a"));
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(w[i].rc, TEL_OK);
    }
    assert_int_equal(w[3].turn, 0);
    assert_true(w[0].turn < w[1].turn && w[1].turn < w[2].turn);
    admission_leave(a, TEL_SPAN("a"));
    unsigned running, waiting;
    admission_counts(a, &running, &waiting);
    assert_int_equal(running, 0);
    admission_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_damaged_batches),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
