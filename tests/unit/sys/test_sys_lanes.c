/* CPU lanes: how many run at once, who is next, and stepping out of one for a wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>

#include "common/base/clock.h"
#include "common/sys/lanes.h"
#include "common/sys/thread.h"

#define WAIT_NS (20 * TEL_NS_PER_S)

static struct tel_lanes *lanes;
static _Atomic int inside, most, waiting, order;

struct runner {
    struct tel_thread thread;
    struct tel_span group;
    unsigned rounds;
    int place; /* in the order of getting in */
};

static void await(_Atomic int *what, int value)
{
    int64_t until = tel_mono_ns(tel_clock_system()) + WAIT_NS;
    while (atomic_load(what) < value)
        assert_true(tel_mono_ns(tel_clock_system()) < until);
}

static void run(void *arg)
{
    struct runner *r = arg;
    for (unsigned i = 0; i < r->rounds; i++) {
        assert_true(tel_lanes_enter(lanes, r->group, NULL, NULL));
        int now = atomic_fetch_add(&inside, 1) + 1, was = atomic_load(&most);
        while (now > was && !atomic_compare_exchange_weak(&most, &was, now))
            ;
        atomic_fetch_sub(&inside, 1);
        tel_lanes_leave(lanes);
    }
}

static void test_never_too_many(void **state)
{
    (void)state;
    struct runner r[8] = {{.rounds = 0}};
    lanes = tel_lanes_new(2);
    atomic_store(&most, 0);
    for (size_t i = 0; i < 8; i++) {
        r[i] = (struct runner){.rounds = 3000, .group = i % 2 ? TEL_SPAN("a") : TEL_SPAN("b")};
        assert_int_equal(tel_thread_start(&r[i].thread, "run", run, &r[i], NULL), TEL_OK);
    }
    for (size_t i = 0; i < 8; i++)
        tel_thread_join(&r[i].thread);
    assert_in_range(atomic_load(&most), 1, 2);
    assert_int_equal(atomic_load(&inside), 0);
    tel_lanes_free(lanes);
}

static void queue_up(void *arg)
{
    struct runner *r = arg;
    atomic_fetch_add(&waiting, 1);
    assert_true(tel_lanes_enter(lanes, r->group, NULL, NULL));
    r->place = atomic_fetch_add(&order, 1);
    tel_lanes_leave(lanes);
}

static void hold(void *arg)
{
    struct runner *r = arg;
    assert_true(tel_lanes_enter(lanes, r->group, NULL, NULL));
    atomic_fetch_add(&inside, 1);
    await(&order, 1); /* until somebody else was let in */
    tel_lanes_leave(lanes);
    atomic_fetch_sub(&inside, 1);
}

/* Two lanes, both of group a. One becomes free: of those that wait, b comes before the others of a,
 * though they came first. */
static void test_the_group_with_fewest(void **state)
{
    (void)state;
    struct runner holder = {.group = TEL_SPAN("a")};
    struct runner r[3] = {{.group = TEL_SPAN("a")}, {.group = TEL_SPAN("a")}, {.group = TEL_SPAN("b")}};
    lanes = tel_lanes_new(2);
    atomic_store(&order, 0);
    atomic_store(&waiting, 0);
    assert_true(tel_lanes_enter(lanes, TEL_SPAN("a"), NULL, NULL));
    assert_int_equal(tel_thread_start(&holder.thread, "hold", hold, &holder, NULL), TEL_OK);
    await(&inside, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(tel_thread_start(&r[i].thread, "wait", queue_up, &r[i], NULL), TEL_OK);
        await(&waiting, i + 1);
        int64_t until = tel_mono_ns(tel_clock_system()) + WAIT_NS;
        while (tel_lanes_waiting(lanes) != (unsigned)i + 1)
            assert_true(tel_mono_ns(tel_clock_system()) < until);
    }
    tel_lanes_step_out(); /* one lane is free, the other is a's: all pass, b first */
    for (int i = 0; i < 3; i++)
        tel_thread_join(&r[i].thread);
    tel_thread_join(&holder.thread);
    assert_int_equal(r[2].place, 0);
    assert_int_equal(atomic_load(&order), 3);
    tel_lanes_step_in();
    tel_lanes_leave(lanes);
    tel_lanes_free(lanes);
}

static bool is_gone(void *ctx)
{
    return ++*(int *)ctx >= 2;
}

struct giver {
    struct tel_thread thread;
    bool got;
};

static void try_enter(void *arg)
{
    struct giver *g = arg;
    int asked = 0;
    g->got = tel_lanes_enter(lanes, TEL_SPAN("b"), is_gone, &asked);
    if (g->got)
        tel_lanes_leave(lanes);
}

static void test_not_wanted(void **state)
{
    (void)state;
    struct giver g = {.got = true};
    lanes = tel_lanes_new(1);
    assert_true(tel_lanes_enter(lanes, TEL_SPAN("a"), NULL, NULL));
    assert_int_equal(tel_thread_start(&g.thread, "wait", try_enter, &g, NULL), TEL_OK);
    tel_thread_join(&g.thread);
    assert_false(g.got);
    tel_lanes_leave(lanes);
    tel_lanes_step_out(); /* nothing to step out of */
    tel_lanes_step_in();
    tel_lanes_free(lanes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_never_too_many),
        cmocka_unit_test(test_the_group_with_fewest),
        cmocka_unit_test(test_not_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
