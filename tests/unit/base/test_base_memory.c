/* Arenas, arrays, maps, the heap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/base/vec.h"

static void test_arena(void **state)
{
    (void)state;
    struct tel_arena arena;
    tel_arena_init(&arena, 1024);
    assert_int_equal(arena.bytes, 0);
    struct tel_rand rand;
    tel_rand_init(&rand, 7);
    struct piece {
        unsigned char *ptr;
        size_t len;
    } pieces[500];
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 500; i++) {
            size_t align = (size_t)1 << tel_rand_below(&rand, 7);
            pieces[i].len = (size_t)tel_rand_below(&rand, i % 50 ? 100 : 5000);
            pieces[i].ptr = tel_arena_alloc_aligned(&arena, pieces[i].len, align);
            assert_int_equal((uintptr_t)pieces[i].ptr % align, 0);
            memset(pieces[i].ptr, i & 0xff, pieces[i].len);
        }
        for (int i = 0; i < 500; i++) {
            for (size_t k = 0; k < pieces[i].len; k++)
                assert_int_equal(pieces[i].ptr[k], i & 0xff);
        }
        assert_true(arena.bytes > 20000);
        tel_arena_reset(&arena);
        assert_true(arena.bytes > 0 && arena.bytes < 2000); /* one block is kept */
    }
    int *zeros = TEL_ARENA_ARRAY(&arena, int, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(zeros[i], 0);
    assert_non_null(tel_arena_alloc(&arena, 0));
    tel_arena_free(&arena);
    tel_arena_free(&arena);
    assert_int_equal(arena.bytes, 0);
}

/* After the first round a loop that resets takes nothing from the heap. */
static void test_arena_settles(void **state)
{
    (void)state;
    struct tel_arena arena = {0};
    tel_arena_alloc(&arena, 1000);
    size_t bytes = arena.bytes;
    void *first = arena.head;
    for (int i = 0; i < 100; i++) {
        tel_arena_reset(&arena);
        tel_arena_alloc(&arena, 1000);
        assert_int_equal(arena.bytes, bytes);
        assert_ptr_equal(arena.head, first);
    }
    tel_arena_free(&arena);
    /* One that never held an ordinary block. */
    tel_arena_alloc(&arena, 1 << 20);
    tel_arena_reset(&arena);
    assert_int_equal(arena.bytes, 0);
    tel_arena_free(&arena);
}

static void test_arena_text(void **state)
{
    (void)state;
    struct tel_arena arena = {0};
    struct tel_span copy = tel_arena_copy(&arena, TEL_SPAN("a\0b"));
    assert_int_equal(copy.len, 3);
    assert_memory_equal(copy.ptr, "a\0b", 4);
    copy = tel_arena_copy(&arena, (struct tel_span){0});
    assert_true(copy.ptr && copy.len == 0 && *copy.ptr == '\0');
    assert_string_equal(tel_arena_strdup(&arena, "text"), "text");
    struct tel_span printed = tel_arena_printf(&arena, "%s-%d", "x", 7);
    assert_string_equal(printed.ptr, "x-7");
    assert_int_equal(printed.len, 3);
    tel_arena_free(&arena);
}

static void test_vec(void **state)
{
    (void)state;
    TEL_VEC(int) v = {0};
    for (int i = 0; i < 1000; i++)
        tel_vec_push(&v, i * 3);
    assert_int_equal(v.len, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(v.items[i], i * 3);
    assert_true(v.cap >= 1000 && v.cap <= 1024);
    tel_vec_clear(&v);
    tel_vec_reserve(&v, 5000);
    assert_true(v.cap >= 5000 && v.len == 0);
    tel_vec_free(&v);
    assert_true(!v.items && !v.cap);
}

static void test_map(void **state)
{
    (void)state;
    struct tel_map map = {0};
    bool fresh;
    assert_null(tel_map_get(&map, TEL_SPAN("x")));
    assert_false(tel_map_remove(&map, TEL_SPAN("x")));
    *tel_map_put(&map, TEL_SPAN(""), &fresh) = 1;
    assert_true(fresh);
    *tel_map_put(&map, (struct tel_span){0}, &fresh) += 1; /* empty is empty */
    assert_false(fresh);
    assert_int_equal(*tel_map_get(&map, TEL_SPAN("")), 2);
    char key[] = "mutable";
    *tel_map_put(&map, tel_span_cstr(key), NULL) = 3;
    key[0] = 'M'; /* keys are copied */
    assert_int_equal(*tel_map_get(&map, TEL_SPAN("mutable")), 3);
    assert_int_equal(map.len, 2);
    tel_map_clear(&map);
    assert_int_equal(map.len, 0);
    assert_null(tel_map_get(&map, TEL_SPAN("mutable")));
    tel_map_free(&map);
    tel_map_free(&map);
    tel_map_free(NULL);
}

/* Against an array that cannot be wrong, through many insertions and removals. */
static void test_map_random(void **state)
{
    (void)state;
    enum { KEYS = 2000 };
    uint64_t want[KEYS] = {0}, seed = tel_rand_seed(); /* 0: absent */
    struct tel_map map;
    struct tel_rand rand;
    size_t live = 0;
    tel_map_init(&map);
    tel_rand_init(&rand, seed);
    printf("seed %llu\n", (unsigned long long)seed);
    for (int step = 0; step < 300000; step++) {
        size_t k = (size_t)tel_rand_below(&rand, KEYS);
        char text[32];
        struct tel_span key = tel_span_make(text, (size_t)snprintf(text, sizeof text, "key-%zu", k * k));
        if (tel_rand_below(&rand, 3) == 0) {
            assert_true(tel_map_remove(&map, key) == (want[k] != 0));
            live -= want[k] != 0;
            want[k] = 0;
        } else {
            bool fresh;
            uint64_t *value = tel_map_put(&map, key, &fresh);
            assert_true(fresh == (want[k] == 0));
            assert_int_equal(*value, want[k]);
            live += want[k] == 0;
            *value = want[k] = (uint64_t)step + 1;
        }
        assert_int_equal(map.len, live);
    }
    size_t pos = 0, seen = 0;
    for (struct tel_map_slot *slot; (slot = tel_map_next(&map, &pos)); seen++)
        assert_int_equal(*tel_map_get(&map, slot->key), slot->value);
    assert_int_equal(seen, live);
    /* Keys that came and went have not piled up. */
    assert_true(map.cap <= 8192 && map.keys.bytes < 400000);
    tel_map_free(&map);
}

static void put_number(struct tel_map *map, size_t n)
{
    char text[32];
    *tel_map_put(map, tel_span_make(text, (size_t)snprintf(text, sizeof text, "key-%zu", n)), NULL) += 1;
}

/* What comes out of maps goes into another as fast as it came in: in the order of its slots the
 * second map would pile up at one end of the third, and this would take minutes. */
static void test_map_merge(void **state)
{
    (void)state;
    enum { KEYS = 600000 };
    struct tel_map parts[2], all;
    tel_map_init(&all);
    clock_t start = clock();
    for (size_t p = 0; p < 2; p++) {
        tel_map_init(&parts[p]);
        for (size_t i = 0; i < KEYS; i++)
            put_number(&parts[p], p * KEYS + i);
    }
    clock_t made = clock() - start;
    start = clock();
    for (size_t p = 0; p < 2; p++)
        for (size_t pos = 0; parts[p].len && pos < parts[p].cap;) {
            struct tel_map_slot *slot = tel_map_next(&parts[p], &pos);
            if (slot)
                *tel_map_put(&all, slot->key, NULL) += slot->value;
        }
    clock_t merged = clock() - start;
    assert_int_equal(all.len, 2 * KEYS);
    assert_true(merged < 8 * made + CLOCKS_PER_SEC / 10);
    for (size_t p = 0; p < 2; p++)
        tel_map_free(&parts[p]);
    tel_map_free(&all);
}

static void test_heap(void **state)
{
    (void)state;
    free(tel_malloc(0));
    char *s = tel_strndup(TEL_SPAN("abc"));
    assert_string_equal(s, "abc");
    s = tel_realloc(s, 100);
    assert_string_equal(s, "abc");
    free(s);
    s = tel_strdup("x");
    assert_string_equal(s, "x");
    free(s);
    int *ints = tel_calloc(10, sizeof *ints);
    assert_int_equal(ints[9], 0);
    ints = tel_realloc_array(ints, 20, sizeof *ints);
    free(ints);
}

/* What must not be survived ends the process, with a message. */
static void dies(void (*what)(void), const char *message)
{
    int ends[2], status;
    char text[256] = "";
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], 2);
        signal(SIGABRT, SIG_DFL);
        what();
        _exit(0);
    }
    close(ends[1]);
    size_t len = 0;
    for (ssize_t n; len < sizeof text - 1 && (n = read(ends[0], text + len, sizeof text - 1 - len)) > 0;)
        len += (size_t)n;
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, message));
}

static void overflow_product(void)
{
    volatile size_t huge = SIZE_MAX / 2;
    free(tel_calloc(huge, 3));
}

static void fail_check(void)
{
    TEL_CHECK(1 + 1 == 3);
}

static void overflow_arena(void)
{
    struct tel_arena arena = {0};
    volatile size_t huge = SIZE_MAX / 2;
    tel_arena_calloc(&arena, huge, 4);
}

static void test_ends(void **state)
{
    (void)state;
    dies(overflow_product, "out of memory");
    dies(fail_check, "test_base_memory.c:");
    dies(overflow_arena, "check failed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena), cmocka_unit_test(test_arena_settles),
        cmocka_unit_test(test_arena_text), cmocka_unit_test(test_vec),
        cmocka_unit_test(test_map),   cmocka_unit_test(test_map_random),
        cmocka_unit_test(test_map_merge), cmocka_unit_test(test_heap),  cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
