/*
 * The codec against itself: what is encoded is decoded, by both paths alike; nothing that is cut short
 * or flipped is taken for whole, none of it reads a byte too far (ASan), and caps hold.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/base/varint.h"
#include "common/record/codec.h"
#include "common/record/resolve.h"
#include "random_batch.h"
#include "schemas/schemas.h"

static const struct tel_record_framing single = {.frame = TEL_RECORD_SINGLE_OBJECT};
static const struct tel_record_framing confluent = {.frame = TEL_RECORD_CONFLUENT, .schema_id = 0x01020304};
enum { SINGLE_HEAD = 10 };

static uint64_t seed;

static struct tel_span avsc(void)
{
    return tel_span_make(tel_schema_log_batch_avsc, tel_schema_log_batch_avsc_len);
}

static void must(tel_code rc, const struct tel_error *err)
{
    if (rc != TEL_OK)
        fail_msg("seed %llu: %s: %s", (unsigned long long)seed, tel_code_name(rc), err->text);
}

/* A copy of exactly that size on the heap: ASan sees the first byte too far. */
static char *exact(struct tel_span s)
{
    char *p = malloc(s.len ? s.len : 1);
    assert_non_null(p);
    if (s.len)
        memcpy(p, s.ptr, s.len);
    return p;
}

static void test_fingerprint(void **state)
{
    (void)state;
    struct tel_error err;
    uint64_t fp = 0;
    /* From Avro's own test data (share/test/data/schema-tests.txt). */
    must(tel_record_schema_fingerprint(TEL_SPAN("\"int\""), &fp, &err), &err);
    assert_true(fp == UINT64_C(0x7275d51a3f395c8f));
    must(tel_record_schema_fingerprint(
             TEL_SPAN("{\"type\":\"fixed\",\"name\":\"foo\",\"size\":15}"), &fp, &err), &err);
    assert_true((int64_t)fp == INT64_C(1756455273707447556));
    must(tel_record_schema_fingerprint(avsc(), &fp, &err), &err);
    assert_true(fp == TEL_RECORD_FINGERPRINT);
    assert_int_equal(tel_record_schema_fingerprint(TEL_SPAN("{"), &fp, &err), TEL_ERR_UNSUPPORTED);
}

static tel_code give_ours(void *ctx, enum tel_record_frame frame, uint64_t id,
                          struct tel_span *ret_json, struct tel_error *err)
{
    unsigned *calls = ctx;
    ++*calls;
    if (frame != TEL_RECORD_CONFLUENT || id != confluent.schema_id)
        return tel_error_set(err, TEL_ERR_NOTFOUND, "no such schema");
    *ret_json = avsc();
    return TEL_OK;
}

static void test_round_trip_both_paths(void **state)
{
    (void)state;
    struct tel_rand r;
    tel_rand_init(&r, seed);
    struct tel_error err;
    struct tel_record_resolver *resolver;
    must(tel_record_resolver_new(avsc(), &resolver, &err), &err);
    unsigned calls = 0;
    struct tel_record_decoder *d = tel_record_decoder_new(give_ours, &calls);
    for (int round = 0; round < 300; round++) {
        struct tel_arena arena = {0};
        struct tel_batch batch, fast, slow;
        struct tel_buf buf = {0};
        random_batch(&r, &arena, round % 10 ? 20 : 500, &batch);
        const struct tel_record_framing *framing = round % 3 ? &single : &confluent;
        must(tel_record_encode(&batch, framing, &buf, &err), &err);
        char *message = exact(tel_buf_span(&buf));
        struct tel_span m = tel_span_make(message, buf.len);
        must(tel_record_decode(d, m, &arena, &fast, &err), &err);
        assert_batches_equal(&batch, &fast);
        must(tel_record_resolver_decode(resolver, m, framing == &single ? SINGLE_HEAD : 5, &arena, &slow, &err),
             &err);
        assert_batches_equal(&batch, &slow);
        free(message);
        tel_buf_free(&buf);
        tel_arena_free(&arena);
    }
    assert_int_equal(calls, 1);
    tel_record_decoder_free(d);
    tel_record_resolver_free(resolver);
}

static void small_message(struct tel_arena *arena, struct tel_rand *r, struct tel_buf *buf)
{
    struct tel_batch batch;
    struct tel_error err;
    do
        random_batch(r, arena, 3, &batch);
    while (batch.event_count < 2 || batch.resource_count < 2);
    must(tel_record_encode(&batch, &single, buf, &err), &err);
}

static void test_truncation_at_every_byte(void **state)
{
    (void)state;
    struct tel_rand r;
    tel_rand_init(&r, seed);
    struct tel_arena arena = {0};
    struct tel_buf buf = {0};
    struct tel_error err;
    struct tel_record_resolver *resolver;
    must(tel_record_resolver_new(avsc(), &resolver, &err), &err);
    small_message(&arena, &r, &buf);
    for (size_t cut = 0; cut < buf.len; cut++) {
        char *message = exact(tel_span_make(buf.ptr, cut));
        struct tel_span m = tel_span_make(message, cut);
        struct tel_batch got = {.event_count = 77};
        tel_code rc = tel_record_decode(NULL, m, &arena, &got, &err);
        assert_int_equal(rc, TEL_ERR_TRUNCATED);
        assert_non_null(strstr(err.text, "byte "));
        assert_int_equal(got.event_count, 77); /* untouched */
        if (cut >= SINGLE_HEAD)
            assert_int_equal(tel_record_resolver_decode(resolver, m, SINGLE_HEAD, &arena, &got, &err),
                             TEL_ERR_TRUNCATED);
        free(message);
    }
    tel_buf_add_char(&buf, 0);
    struct tel_batch got;
    assert_int_equal(tel_record_decode(NULL, tel_buf_span(&buf), &arena, &got, &err), TEL_ERR_CORRUPT);
    assert_non_null(strstr(err.text, "left over"));
    tel_record_resolver_free(resolver);
    tel_buf_free(&buf);
    tel_arena_free(&arena);
}

/* Both paths agree on every message with one bit or one byte wrong. The one difference allowed: a name
 * that is in a map twice is refused by the fast path, while avro-c keeps the last. */
static void test_flips_agree(void **state)
{
    (void)state;
    struct tel_rand r;
    tel_rand_init(&r, seed);
    struct tel_arena keep = {0}, arena = {0};
    struct tel_buf buf = {0};
    struct tel_error err, err2;
    struct tel_record_resolver *resolver;
    must(tel_record_resolver_new(avsc(), &resolver, &err), &err);
    small_message(&keep, &r, &buf);
    unsigned fine = 0, refused = 0;
    size_t flips = TEL_MIN(buf.len * 8, 40000u);
    for (size_t i = 0; i < flips; i++) {
        char *message = exact(tel_buf_span(&buf));
        size_t bit = buf.len * 8 <= 40000 ? i : tel_rand_below(&r, buf.len * 8);
        message[bit / 8] = (char)(message[bit / 8] ^ (1 << (bit & 7)));
        if (i % 5 == 0)
            message[tel_rand_below(&r, buf.len)] = (char)tel_rand_u64(&r);
        struct tel_span m = tel_span_make(message, buf.len);
        struct tel_batch fast, slow;
        tel_code a = TEL_ERR_CORRUPT;
        if (memcmp(message, buf.ptr, SINGLE_HEAD) == 0) {
            a = tel_record_decode(NULL, m, &arena, &fast, &err);
            tel_code b = tel_record_resolver_decode(resolver, m, SINGLE_HEAD, &arena, &slow, &err2);
            if (a == TEL_OK) {
                must(b, &err2);
                assert_batches_equal(&fast, &slow);
            } else if (b == TEL_OK) {
                assert_non_null(strstr(err.text, "there twice"));
            }
        } else {
            assert_int_not_equal(tel_record_decode(NULL, m, &arena, &fast, &err), TEL_OK);
        }
        fine += a == TEL_OK;
        refused += a != TEL_OK;
        free(message);
        tel_arena_reset(&arena);
    }
    print_message("%u flips decode to another batch, %u are refused\n", fine, refused);
    assert_true(refused > 0);
    tel_record_resolver_free(resolver);
    tel_buf_free(&buf);
    tel_arena_free(&arena);
    tel_arena_free(&keep);
}

/* ---- handmade messages --------------------------------------------------------------------- */

static void put(struct tel_buf *b, int64_t v)
{
    char out[TEL_VARINT_MAX];
    tel_buf_add(b, out, tel_varint_put(out, tel_zigzag(v)));
}

static void put_text(struct tel_buf *b, const char *s)
{
    put(b, (int64_t)strlen(s));
    tel_buf_add(b, s, strlen(s));
}

static void begin_message(struct tel_buf *b)
{
    tel_buf_clear(b);
    TEL_BUF_ADD_LIT(b, "\xc3\x01");
    tel_buf_add_le64(b, TEL_RECORD_FINGERPRINT);
}

static void begin_events(struct tel_buf *b)
{
    begin_message(b);
    put_text(b, "default");
    put(b, 0);
    put_text(b, "source");
}

static void put_event(struct tel_buf *b, int64_t position)
{
    put(b, 1700000000000000000);
    put(b, position);
    put(b, 9);
    put_text(b, "hello");
    put(b, 0);
    put(b, 0);
    put(b, 0);
}

static void refused(struct tel_buf *b, tel_code code, const char *word)
{
    struct tel_arena arena = {0};
    struct tel_batch got;
    struct tel_error err;
    char *message = exact(tel_buf_span(b));
    tel_code rc = tel_record_decode(NULL, tel_span_make(message, b->len), &arena, &got, &err);
    if (rc == TEL_OK || rc != code || !strstr(err.text, word))
        fail_msg("%s: %s, expected %s: %s", tel_code_name(rc), rc ? err.text : "", tel_code_name(code), word);
    assert_true(arena.bytes < (1u << 20)); /* nothing was taken on the message's word */
    /* the other path, on the same bytes */
    struct tel_record_resolver *resolver;
    must(tel_record_resolver_new(avsc(), &resolver, &err), &err);
    rc = tel_record_resolver_decode(resolver, tel_span_make(message, b->len), SINGLE_HEAD, &arena, &got, &err);
    assert_int_not_equal(rc, TEL_OK);
    tel_record_resolver_free(resolver);
    free(message);
    tel_arena_free(&arena);
}

static void test_huge_counts(void **state)
{
    (void)state;
    struct tel_buf b = {0};
    int64_t counts[] = {INT64_C(1) << 40, INT64_MAX, TEL_BATCH_EVENTS_MAX + 1};
    for (size_t i = 0; i < TEL_ARRAY_LEN(counts); i++) {
        begin_events(&b);
        put(&b, counts[i]);
        refused(&b, TEL_ERR_LIMIT, "limit");
        begin_events(&b);
        put(&b, -counts[i]);
        put(&b, 0);
        refused(&b, TEL_ERR_LIMIT, "limit");
    }
    begin_events(&b);
    put(&b, INT64_MIN);
    put(&b, 0);
    refused(&b, TEL_ERR_CORRUPT, "out of range");
    begin_events(&b);
    put(&b, 50000); /* within the cap, but there are no bytes for them */
    put_event(&b, 1);
    refused(&b, TEL_ERR_TRUNCATED, "bytes are left");
    begin_message(&b);
    put(&b, INT64_C(1) << 40); /* a tenant of a terabyte */
    refused(&b, TEL_ERR_LIMIT, "limit");
    begin_message(&b);
    put(&b, -5);
    refused(&b, TEL_ERR_CORRUPT, "negative");
    begin_message(&b);
    put_text(&b, "default");
    put(&b, 1000000); /* labels */
    refused(&b, TEL_ERR_LIMIT, "limit");
    begin_message(&b);
    TEL_BUF_ADD_LIT(&b, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f");
    refused(&b, TEL_ERR_CORRUPT, "64 bits");
    tel_buf_free(&b);
}

static void test_blocks(void **state)
{
    (void)state;
    struct tel_buf b = {0}, block = {0};
    struct tel_arena arena = {0};
    struct tel_batch got;
    struct tel_error err;
    begin_events(&b);
    for (int64_t i = 0; i < 100; i++) { /* with and without sizes, one event each */
        tel_buf_clear(&block);
        put_event(&block, i);
        put(&b, i % 2 ? 1 : -1);
        if (i % 2 == 0)
            put(&b, (int64_t)block.len);
        tel_buf_add_span(&b, tel_buf_span(&block));
    }
    put(&b, 0);
    must(tel_record_decode(NULL, tel_buf_span(&b), &arena, &got, &err), &err);
    assert_int_equal(got.event_count, 100);
    assert_int_equal(got.events[99].position, 99);

    begin_events(&b);
    put(&b, -1);
    put(&b, (int64_t)block.len + 1); /* a size that is not true */
    tel_buf_add_span(&b, tel_buf_span(&block));
    put(&b, 0);
    refused(&b, TEL_ERR_CORRUPT, "does not end where");
    begin_events(&b);
    put(&b, -1);
    put(&b, -3);
    refused(&b, TEL_ERR_CORRUPT, "size");
    tel_arena_free(&arena);
    tel_buf_free(&b);
    tel_buf_free(&block);
}

static void test_invalid_batches(void **state)
{
    (void)state;
    struct tel_buf b = {0};
    begin_events(&b);
    put(&b, 2);
    put_event(&b, 7);
    put_event(&b, 7);
    put(&b, 0);
    refused(&b, TEL_ERR_INVALID, "does not grow");
    begin_events(&b);
    put(&b, 1);
    put_event(&b, -1);
    put(&b, 0);
    refused(&b, TEL_ERR_INVALID, "negative");
    begin_message(&b);
    put_text(&b, "no/slashes");
    put(&b, 0);
    put_text(&b, "source");
    put(&b, 0);
    refused(&b, TEL_ERR_INVALID, "tenant");
    begin_message(&b);
    put_text(&b, "default");
    put(&b, 0);
    put_text(&b, "");
    put(&b, 0);
    refused(&b, TEL_ERR_INVALID, "source");
    tel_buf_free(&b);
}

static void test_labels_are_sorted(void **state)
{
    (void)state;
    struct tel_buf b = {0};
    struct tel_arena arena = {0};
    struct tel_batch got;
    struct tel_error err;
    begin_message(&b);
    put_text(&b, "default");
    put(&b, 2);
    put_text(&b, "pod");
    put_text(&b, "p1");
    put_text(&b, "app");
    put_text(&b, "a1");
    put(&b, 0);
    put_text(&b, "source");
    put(&b, 0);
    must(tel_record_decode(NULL, tel_buf_span(&b), &arena, &got, &err), &err);
    assert_true(tel_span_eq_cstr(got.resource[0].name, "app"));
    assert_true(tel_span_eq_cstr(got.resource[1].value, "p1"));
    assert_int_equal(got.event_count, 0);
    tel_arena_free(&arena);
    tel_buf_free(&b);
}

/* ---- the writer ---------------------------------------------------------------------------- */

static void test_writer_refuses_and_goes_on(void **state)
{
    (void)state;
    struct tel_record_writer w = {0};
    struct tel_error err;
    struct tel_arena arena = {0};
    struct tel_field labels[] = {{TEL_SPAN_INIT("b"), TEL_SPAN_INIT("x\xff")},
                                 {TEL_SPAN_INIT("a"), TEL_SPAN_INIT("1")}};
    struct tel_batch head = {.tenant = TEL_SPAN("t"), .source = TEL_SPAN("s"), .resource = labels, .resource_count = 2};
    struct tel_field twice[] = {{TEL_SPAN_INIT("k"), TEL_SPAN_INIT("1")}, {TEL_SPAN_INIT("k"), TEL_SPAN_INIT("2")}};
    struct tel_field unnamed[] = {{TEL_SPAN_INIT(""), TEL_SPAN_INIT("1")}};
    must(tel_record_writer_begin(&w, &single, &head, &err), &err);
    struct tel_event e = {.position = 5, .body = TEL_SPAN("one")};
    must(tel_record_writer_add(&w, &e, &err), &err);
    assert_int_equal(tel_record_writer_add(&w, &e, &err), TEL_ERR_INVALID);
    e.position = 6;
    e.severity = 25;
    assert_int_equal(tel_record_writer_add(&w, &e, &err), TEL_ERR_INVALID);
    e.severity = 24;
    e.attributes = twice;
    e.attribute_count = 2;
    assert_int_equal(tel_record_writer_add(&w, &e, &err), TEL_ERR_INVALID);
    e.attributes = unnamed;
    e.attribute_count = 1;
    assert_int_equal(tel_record_writer_add(&w, &e, &err), TEL_ERR_INVALID);
    e.attribute_count = 0;
    e.trace_id = TEL_SPAN("XYZ");
    assert_int_equal(tel_record_writer_add(&w, &e, &err), TEL_ERR_INVALID);
    e.trace_id = TEL_SPAN("");
    char *big = tel_calloc(1, TEL_BODY_BYTES_MAX + 1);
    e.body = tel_span_make(big, TEL_BODY_BYTES_MAX + 1);
    assert_int_equal(tel_record_writer_add(&w, &e, &err), TEL_ERR_LIMIT);
    e.body.len--;
    must(tel_record_writer_add(&w, &e, &err), &err);
    free(big);
    size_t size = tel_record_writer_size(&w);
    struct tel_span m = tel_record_writer_finish(&w);
    assert_true(m.len <= size && m.len + 2 >= size);
    struct tel_batch got;
    must(tel_record_decode(NULL, m, &arena, &got, &err), &err);
    assert_int_equal(got.event_count, 2);
    assert_int_equal(got.events[1].body.len, TEL_BODY_BYTES_MAX);
    assert_true(tel_span_eq_cstr(got.resource[0].name, "a"));
    assert_true(tel_span_eq_cstr(got.resource[1].value, "x\xef\xbf\xbd"));

    head.resource_count = 0;
    must(tel_record_writer_begin(&w, &single, &head, &err), &err); /* a batch of no events */
    m = tel_record_writer_finish(&w);
    must(tel_record_decode(NULL, m, &arena, &got, &err), &err);
    assert_int_equal(got.event_count, 0);
    tel_record_writer_free(&w);
    tel_arena_free(&arena);
}

static void test_writer_fills_up(void **state)
{
    (void)state;
    struct tel_record_writer w = {0};
    struct tel_error err;
    struct tel_arena arena = {0};
    struct tel_batch head = {.tenant = TEL_SPAN("t"), .source = TEL_SPAN("s")}, got;
    must(tel_record_writer_begin(&w, &single, &head, &err), &err);
    uint32_t n = 0;
    tel_code rc;
    struct tel_event e = {.body = TEL_SPAN("x")};
    while ((rc = tel_record_writer_add(&w, &e, &err)) == TEL_OK)
        e.position++, n++;
    assert_int_equal(rc, TEL_ERR_AGAIN);
    assert_int_equal(n, TEL_BATCH_EVENTS_MAX);
    must(tel_record_decode(NULL, tel_record_writer_finish(&w), &arena, &got, &err), &err);
    assert_int_equal(got.event_count, n);

    char *big = tel_calloc(1, TEL_BODY_BYTES_MAX);
    e.body = tel_span_make(big, TEL_BODY_BYTES_MAX);
    must(tel_record_writer_begin(&w, &single, &head, &err), &err);
    n = 0;
    while ((rc = tel_record_writer_add(&w, &e, &err)) == TEL_OK)
        e.position++, n++;
    assert_int_equal(rc, TEL_ERR_AGAIN);
    assert_int_equal(n, TEL_BATCH_BYTES_MAX / TEL_BODY_BYTES_MAX - 1);
    struct tel_span m = tel_record_writer_finish(&w);
    assert_true(m.len <= TEL_BATCH_BYTES_MAX);
    must(tel_record_decode(NULL, m, &arena, &got, &err), &err);
    free(big);
    tel_record_writer_free(&w);
    tel_arena_free(&arena);
}

int main(void)
{
    const char *given = getenv("TEL_SEED");
    seed = given ? strtoull(given, NULL, 10) : tel_rand_seed();
    printf("TEL_SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fingerprint),
        cmocka_unit_test(test_round_trip_both_paths),
        cmocka_unit_test(test_truncation_at_every_byte),
        cmocka_unit_test(test_flips_agree),
        cmocka_unit_test(test_huge_counts),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_invalid_batches),
        cmocka_unit_test(test_labels_are_sorted),
        cmocka_unit_test(test_writer_refuses_and_goes_on),
        cmocka_unit_test(test_writer_fills_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
