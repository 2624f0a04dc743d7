#include "random_batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct tel_span random_bytes(struct tel_rand *r, struct tel_arena *arena, size_t max)
{
    size_t len = (size_t)tel_rand_below(r, max + 1);
    char *p = tel_arena_alloc(arena, len + 1);
    for (size_t i = 0; i < len; i++)
        p[i] = (char)tel_rand_u64(r);
    return tel_span_make(p, len);
}

static struct tel_span random_word(struct tel_rand *r, struct tel_arena *arena, size_t max)
{
    size_t len = 1 + (size_t)tel_rand_below(r, max);
    char *p = tel_arena_alloc(arena, len + 2);
    for (size_t i = 0; i < len; i++)
        p[i] = "abcdefghijklmnopqrstuvwxyz0123456789._-"[tel_rand_below(r, 39)];
    if (len >= 2 && tel_rand_below(r, 8) == 0)
        memcpy(p, "\xc3\xa9", 2); /* é */
    return tel_span_make(p, len);
}

static struct tel_span random_hex(struct tel_rand *r, struct tel_arena *arena, size_t len)
{
    char *p = tel_arena_alloc(arena, len);
    for (size_t i = 0; i < len; i++)
        p[i] = "0123456789abcdef"[tel_rand_below(r, 16)];
    return tel_span_make(p, tel_rand_below(r, 3) ? 0 : len);
}

static uint32_t random_fields(struct tel_rand *r, struct tel_arena *arena, uint32_t max, bool text,
                              struct tel_field **ret)
{
    uint32_t n = (uint32_t)tel_rand_below(r, max + 1);
    struct tel_field *f = TEL_ARENA_ARRAY(arena, struct tel_field, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        /* the index in front makes them unique and sorted */
        struct tel_span word = random_word(r, arena, 20);
        f[i].name = tel_arena_printf(arena, "k%05u.%.*s", i, TEL_SPAN_ARG(word));
        f[i].value = text ? random_word(r, arena, 40) : random_bytes(r, arena, 60);
    }
    *ret = f;
    return n;
}

static int64_t random_long(struct tel_rand *r)
{
    uint64_t v = tel_rand_u64(r) >> tel_rand_below(r, 64);
    return (int64_t)v;
}

void random_batch(struct tel_rand *r, struct tel_arena *arena, uint32_t events,
                  struct tel_batch *ret)
{
    struct tel_field *labels, *attributes;
    memset(ret, 0, sizeof *ret);
    ret->tenant = TEL_SPAN("team-a_1.x:y");
    ret->source = random_word(r, arena, 200);
    ret->resource_count = random_fields(r, arena, 12, true, &labels);
    ret->resource = labels;
    ret->event_count = (uint32_t)tel_rand_below(r, (uint64_t)events + 1);
    struct tel_event *e = TEL_ARENA_ARRAY(arena, struct tel_event, ret->event_count + 1);
    uint64_t position = tel_rand_u64(r) >> (2 + tel_rand_below(r, 60));
    for (uint32_t i = 0; i < ret->event_count; i++) {
        e[i].timestamp_ns = random_long(r);
        e[i].position = position;
        position += 1 + tel_rand_below(r, 1000);
        e[i].severity = (uint32_t)tel_rand_below(r, TEL_SEVERITY_MAX + 1);
        e[i].body = random_bytes(r, arena, tel_rand_below(r, 50) ? 150 : 20000);
        bool many = tel_rand_below(r, 100) == 0;
        e[i].attribute_count = random_fields(r, arena, many ? 300 : 5, false, &attributes);
        e[i].attributes = attributes;
        e[i].trace_id = random_hex(r, arena, 32);
        e[i].span_id = random_hex(r, arena, 16);
    }
    ret->events = e;
}

static void assert_spans_equal(struct tel_span a, struct tel_span b)
{
    assert_int_equal(a.len, b.len);
    if (a.len > 0)
        assert_memory_equal(a.ptr, b.ptr, a.len);
}

static int by_name(const void *a, const void *b)
{
    return tel_span_cmp(((const struct tel_field *)a)->name, ((const struct tel_field *)b)->name);
}

/* As sets: avro-c's maps need not keep an order. */
static void assert_fields_equal(const struct tel_field *a, const struct tel_field *b, uint32_t n)
{
    struct tel_field *sa = calloc(n + 1, sizeof *sa), *sb = calloc(n + 1, sizeof *sb);
    assert_true(sa && sb);
    if (n > 0) {
        memcpy(sa, a, n * sizeof *sa);
        memcpy(sb, b, n * sizeof *sb);
    }
    qsort(sa, n, sizeof *sa, by_name);
    qsort(sb, n, sizeof *sb, by_name);
    for (uint32_t i = 0; i < n; i++) {
        assert_spans_equal(sa[i].name, sb[i].name);
        assert_spans_equal(sa[i].value, sb[i].value);
    }
    free(sa);
    free(sb);
}

void assert_batches_equal(const struct tel_batch *a, const struct tel_batch *b)
{
    assert_spans_equal(a->tenant, b->tenant);
    assert_spans_equal(a->source, b->source);
    assert_int_equal(a->resource_count, b->resource_count);
    assert_fields_equal(a->resource, b->resource, a->resource_count);
    assert_int_equal(a->event_count, b->event_count);
    for (uint32_t i = 0; i < a->event_count; i++) {
        const struct tel_event *x = &a->events[i], *y = &b->events[i];
        assert_int_equal(x->timestamp_ns, y->timestamp_ns);
        assert_int_equal(x->position, y->position);
        assert_int_equal(x->severity, y->severity);
        assert_spans_equal(x->body, y->body);
        assert_int_equal(x->attribute_count, y->attribute_count);
        assert_fields_equal(x->attributes, y->attributes, x->attribute_count);
        assert_spans_equal(x->trace_id, y->trace_id);
        assert_spans_equal(x->span_id, y->span_id);
    }
}
