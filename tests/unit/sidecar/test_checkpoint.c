/* The checkpoint against failing disks, lost power and damaged files. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/rand.h"
#include "common/sys/fs_fault.h"
#include "sidecar/checkpoint.h"

struct place {
    char dir[64];
    struct tel_fs_fault *fault;
    struct tel_fs *fs;
};

static void place_open(struct place *p, uint64_t seed)
{
    snprintf(p->dir, sizeof(p->dir), "/tmp/telescope-checkpoint-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    p->fault = tel_fs_fault_new(seed);
    p->fs = tel_fs_fault_fs(p->fault);
}

static void place_close(struct place *p)
{
    struct tel_error err;
    tel_fs_fault_free(p->fault);
    assert_int_equal(tel_fs_remove_all(tel_fs_system(), p->dir, &err), TEL_OK);
}

static struct checkpoint *open_ok(struct place *p)
{
    struct checkpoint *c = NULL;
    struct tel_error err;
    if (checkpoint_open(p->fs, p->dir, false, &c, &err) != TEL_OK)
        fail_msg("%s", err.text);
    return c;
}

static struct checkpoint_entry *add(struct checkpoint *c, const char *id, uint64_t position)
{
    struct checkpoint_entry *e = checkpoint_add(c, "in", tel_span_cstr(id), id, 3, TEL_SPAN("state"));
    checkpoint_move(c, e, position);
    return e;
}

static void save_ok(struct checkpoint *c)
{
    struct tel_error err;
    if (checkpoint_save(c, &err) != TEL_OK)
        fail_msg("%s", err.text);
}

static uint64_t position(struct checkpoint *c, const char *id)
{
    const struct checkpoint_entry *e = checkpoint_find(c, "in", tel_span_cstr(id));
    return e ? e->position : 0;
}

static void comes_back(void **state)
{
    struct place p;
    struct tel_error err;
    (void)state;
    place_open(&p, 1);
    struct checkpoint *c = open_ok(&p);
    struct checkpoint_entry *a = add(c, "a", 10), *b = add(c, "b", 20);
    assert_false(checkpoint_durable(c, a));
    assert_true(checkpoint_urgent(c));
    save_ok(c);
    assert_true(checkpoint_durable(c, a));
    assert_false(checkpoint_dirty(c));
    checkpoint_set_state(c, b, TEL_SPAN("other"));
    (void)add(c, "c", 30);
    checkpoint_remove(c, a);
    save_ok(c);
    checkpoint_free(c);
    c = open_ok(&p);
    assert_int_equal(checkpoint_count(c), 2);
    assert_null(checkpoint_find(c, "in", TEL_SPAN("a")));
    assert_null(checkpoint_find(c, "other", TEL_SPAN("b")));
    b = checkpoint_find(c, "in", TEL_SPAN("b"));
    assert_int_equal(b->position, 20);
    assert_int_equal(b->partition, 3);
    assert_string_equal(b->source, "b");
    assert_true(tel_span_eq(b->state, TEL_SPAN("other")));
    assert_true(checkpoint_durable(c, b));
    checkpoint_free(c);
    /* Damage at any byte is noticed, and the one before is used instead. */
    char path[96];
    snprintf(path, sizeof(path), "%s/checkpoint", p.dir);
    struct tel_buf good = {0};
    assert_int_equal(tel_fs_read_all(p.fs, path, 1 << 20, &good, &err), TEL_OK);
    for (size_t i = 0; i < good.len; i++) {
        struct tel_buf bad = {0};
        tel_buf_add(&bad, good.ptr, good.len);
        if (i % 2)
            bad.len = i;
        else
            bad.ptr[i] = (char)(bad.ptr[i] ^ 0x20);
        assert_int_equal(tel_fs_write_atomic(p.fs, path, tel_buf_span(&bad), &err), TEL_OK);
        c = open_ok(&p);
        assert_int_equal(position(c, "a"), 10); /* as it was before the last save */
        assert_int_equal(position(c, "b"), 20);
        checkpoint_free(c);
        tel_buf_free(&bad);
    }
    tel_buf_free(&good);
    place_close(&p);
}

static void both_unreadable(void **state)
{
    struct place p;
    struct tel_error err;
    struct checkpoint *c = NULL;
    char path[96];
    (void)state;
    place_open(&p, 1);
    const char *const names[] = {"checkpoint", "checkpoint.prev"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", p.dir, names[i]);
        assert_int_equal(tel_fs_write_atomic(p.fs, path, TEL_SPAN("TELCKPT1 nonsense"), &err),
                         TEL_OK);
    }
    assert_int_equal(checkpoint_open(p.fs, p.dir, false, &c, &err), TEL_ERR_CORRUPT);
    assert_non_null(strstr(err.text, "restart_if_corrupt"));
    assert_int_equal(checkpoint_open(p.fs, p.dir, true, &c, &err), TEL_OK);
    assert_int_equal(checkpoint_count(c), 0);
    (void)add(c, "a", 1);
    save_ok(c);
    checkpoint_free(c);
    c = open_ok(&p);
    assert_int_equal(position(c, "a"), 1);
    checkpoint_free(c);
    place_close(&p);
}

/* Every operation of a save fails in turn: the old state stays, and the next save goes through. */
static void every_operation_fails(void **state)
{
    struct place p;
    struct tel_error err;
    (void)state;
    place_open(&p, 1);
    struct checkpoint *c = open_ok(&p);
    struct checkpoint_entry *a = add(c, "a", 1);
    save_ok(c);
    uint64_t before = tel_fs_fault_count(p.fault, TEL_FAULT_CHANGES);
    checkpoint_move(c, a, 2);
    save_ok(c);
    uint64_t steps = tel_fs_fault_count(p.fault, TEL_FAULT_CHANGES) - before;
    assert_true(steps >= 5);
    uint64_t now = 2;
    for (uint64_t n = 1; n <= steps; n++) {
        char id[16];
        snprintf(id, sizeof(id), "new%u", (unsigned)n);
        struct checkpoint_entry *e = add(c, id, 5);
        checkpoint_move(c, a, ++now);
        tel_fs_fault_at(p.fault, TEL_FAULT_CHANGES, NULL, n, false, n % 2 ? EIO : ENOSPC);
        assert_int_not_equal(checkpoint_save(c, &err), TEL_OK);
        tel_fs_fault_clear(p.fault);
        assert_false(checkpoint_durable(c, e));
        assert_true(checkpoint_dirty(c) && checkpoint_urgent(c));
        struct checkpoint *seen = open_ok(&p);
        assert_true(position(seen, "a") >= now - 1);
        checkpoint_free(seen);
        save_ok(c);
        assert_true(checkpoint_durable(c, e));
    }
    checkpoint_free(c);
    place_close(&p);
}

/* The power fails at any moment: what was said to be durable is there. */
static void power_fails(void **state)
{
    uint64_t seed = tel_rand_seed() % 1000000;
    const char *given = getenv("TEL_TEST_SEED");
    struct tel_rand r;
    (void)state;
    seed = given ? strtoull(given, NULL, 10) : seed;
    print_message("seed %llu\n", (unsigned long long)seed);
    tel_rand_init(&r, seed);
    struct place p;
    place_open(&p, seed);
    for (unsigned life = 0; life < 200; life++) {
        struct tel_error err;
        struct checkpoint *c = open_ok(&p);
        struct checkpoint_entry *a = checkpoint_find(c, "in", TEL_SPAN("a"));
        if (!a)
            a = add(c, "a", 0);
        uint64_t saved = a->position, next = saved;
        tel_fs_fault_power_off_at(p.fault, 1 + tel_rand_below(&r, 24), tel_rand_u64(&r));
        while (!tel_fs_fault_is_off(p.fault)) {
            checkpoint_move(c, a, ++next);
            if (checkpoint_save(c, &err) == TEL_OK)
                saved = next;
        }
        checkpoint_free(c);
        tel_fs_fault_power_on(p.fault);
        c = open_ok(&p);
        if (position(c, "a") < saved)
            fail_msg("life %u: position %llu was durable, %llu is there", life,
                     (unsigned long long)saved, (unsigned long long)position(c, "a"));
        assert_true(position(c, "a") <= next);
        checkpoint_free(c);
    }
    place_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),
        cmocka_unit_test(both_unreadable),
        cmocka_unit_test(every_operation_fails),
        cmocka_unit_test(power_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
