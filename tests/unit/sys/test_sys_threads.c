/* Threads, mailboxes, wakers, signals and limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/sys/limits.h"
#include "common/sys/mailbox.h"
#include "common/sys/signals.h"
#include "common/sys/waker.h"

#define SENDERS    4
#define PER_SENDER 20000

static int64_t now_ns(void)
{
    return tel_mono_ns(tel_clock_system());
}

struct sender {
    struct tel_mailbox *box;
    struct tel_thread thread;
    uintptr_t base;
};

static void send_all(void *arg)
{
    struct sender *self = arg;
    for (uintptr_t i = 0; i < PER_SENDER; i++) {
        tel_code rc = tel_mailbox_send(self->box, (void *)(self->base + i + 1), 10, TEL_NO_DEADLINE);
        TEL_CHECK(rc == TEL_OK);
    }
}

/* Every message arrives once, in order within its sender, and the bounds hold all the while. */
static void test_many_senders(void **state)
{
    (void)state;
    struct tel_mailbox box;
    struct sender senders[SENDERS] = {0};
    uintptr_t next[SENDERS] = {0};
    tel_mailbox_init(&box, 16, 100);
    for (uintptr_t i = 0; i < SENDERS; i++) {
        senders[i].box = &box;
        senders[i].base = i * PER_SENDER;
        assert_int_equal(tel_thread_start(&senders[i].thread, "sender", send_all, &senders[i], NULL),
                         TEL_OK);
    }
    size_t received = 0;
    while (received < SENDERS * PER_SENDER) {
        void *msgs[7];
        size_t count;
        assert_true(tel_mailbox_bytes(&box) <= 100);
        assert_int_equal(tel_mailbox_recv_many(&box, tel_deadline_ms(10000), msgs, 7, &count), TEL_OK);
        for (size_t i = 0; i < count; i++) {
            uintptr_t v = (uintptr_t)msgs[i] - 1, who = v / PER_SENDER;
            assert_int_equal(v % PER_SENDER, next[who]);
            next[who]++;
        }
        received += count;
    }
    for (size_t i = 0; i < SENDERS; i++)
        tel_thread_join(&senders[i].thread);
    assert_int_equal(tel_mailbox_count(&box), 0);
    tel_mailbox_done(&box);
}

static void test_mailbox_bounds(void **state)
{
    (void)state;
    struct tel_mailbox box;
    int a, b, c;
    void *msg;
    tel_mailbox_init(&box, 2, 100);
    /* Heavier than the whole mailbox: only when it is empty. */
    assert_int_equal(tel_mailbox_try_send(&box, &a, 500), TEL_OK);
    assert_int_equal(tel_mailbox_try_send(&box, &b, 1), TEL_ERR_AGAIN);
    assert_int_equal(tel_mailbox_recv(&box, 0, &msg), TEL_OK);
    assert_ptr_equal(msg, &a);
    assert_int_equal(tel_mailbox_recv(&box, 0, &msg), TEL_ERR_TIMEOUT);
    assert_int_equal(tel_mailbox_try_send(&box, &a, 60), TEL_OK);
    assert_int_equal(tel_mailbox_try_send(&box, &b, 41), TEL_ERR_AGAIN);
    assert_int_equal(tel_mailbox_try_send(&box, &b, 40), TEL_OK);
    assert_int_equal(tel_mailbox_try_send(&box, &c, 0), TEL_ERR_AGAIN);
    int64_t before = now_ns();
    assert_int_equal(tel_mailbox_send(&box, &c, 0, before + 20 * TEL_NS_PER_MS), TEL_ERR_TIMEOUT);
    assert_true(now_ns() - before >= 20 * TEL_NS_PER_MS);

    tel_mailbox_close(&box);
    assert_int_equal(tel_mailbox_try_send(&box, &c, 0), TEL_ERR_CLOSED);
    assert_int_equal(tel_mailbox_send(&box, &c, 0, TEL_NO_DEADLINE), TEL_ERR_CLOSED);
    assert_int_equal(tel_mailbox_recv(&box, TEL_NO_DEADLINE, &msg), TEL_OK);
    assert_ptr_equal(msg, &a);
    assert_int_equal(tel_mailbox_recv(&box, TEL_NO_DEADLINE, &msg), TEL_OK);
    assert_ptr_equal(msg, &b);
    assert_int_equal(tel_mailbox_recv(&box, TEL_NO_DEADLINE, &msg), TEL_ERR_CLOSED);
    tel_mailbox_done(&box);
}

static void close_box(void *arg)
{
    tel_mailbox_close(arg);
}

/* Closing wakes a receiver that waits for ever. */
static void test_close_wakes(void **state)
{
    (void)state;
    struct tel_mailbox box;
    struct tel_thread closer = {0};
    void *msg;
    tel_mailbox_init(&box, 1, 0);
    assert_int_equal(tel_thread_start(&closer, "closer", close_box, &box, NULL), TEL_OK);
    assert_int_equal(tel_mailbox_recv(&box, TEL_NO_DEADLINE, &msg), TEL_ERR_CLOSED);
    tel_thread_join(&closer);
    tel_thread_join(&closer);
    tel_mailbox_done(&box);
}

static void note_name(void *arg)
{
    pthread_getname_np(pthread_self(), arg, 16);
}

static void test_thread_name_and_timed_wait(void **state)
{
    (void)state;
    struct tel_thread thread = {0};
    char name[16] = "";
    tel_thread_join(&thread);
    assert_int_equal(tel_thread_start(&thread, "a-name-that-is-too-long", note_name, name, NULL),
                     TEL_OK);
    tel_thread_join(&thread);
    assert_string_equal(name, "a-name-that-is-");

    struct tel_mutex mutex = TEL_MUTEX_INIT;
    struct tel_cond cond;
    tel_cond_init(&cond);
    tel_mutex_lock(&mutex);
    int64_t deadline = tel_deadline_ms(15);
    while (tel_cond_wait_until(&cond, &mutex, deadline)) {
    }
    assert_true(now_ns() >= deadline);
    assert_false(tel_cond_wait_until(&cond, &mutex, -5));
    tel_mutex_unlock(&mutex);
    tel_cond_done(&cond);
    tel_mutex_done(&mutex);
    assert_true(tel_deadline_ms(-1) == TEL_NO_DEADLINE);
    assert_true(tel_deadline_ms(INT64_MAX) == TEL_NO_DEADLINE);
}

static void wake(void *arg)
{
    tel_waker_wake(arg);
    tel_waker_wake(arg);
}

static void test_waker(void **state)
{
    (void)state;
    struct tel_waker waker;
    struct tel_thread thread = {0};
    assert_int_equal(tel_waker_init(&waker, NULL), TEL_OK);
    struct pollfd p = {.fd = waker.fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_int_equal(tel_thread_start(&thread, "waker", wake, &waker, NULL), TEL_OK);
    assert_int_equal(poll(&p, 1, 10000), 1);
    tel_thread_join(&thread);
    tel_waker_drain(&waker);
    assert_int_equal(poll(&p, 1, 0), 0);
    tel_waker_drain(&waker);
    tel_waker_done(&waker);
}

static void count_reload(void *arg)
{
    atomic_fetch_add((_Atomic int *)arg, 1);
    tel_signals_stop();
}

static void test_signals(void **state)
{
    (void)state;
    _Atomic int reloads = 0;
    tel_signals_block();
    assert_int_equal(tel_signals_wait(0), TEL_SIGNAL_NONE);
    kill(getpid(), SIGINT);
    assert_int_equal(tel_signals_wait(tel_deadline_ms(10000)), TEL_SIGNAL_STOP);
    kill(getpid(), SIGHUP);
    tel_signals_run(count_reload, &reloads);
    assert_int_equal(reloads, 1);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    assert_int_equal(write(ends[1], "x", 1), -1); /* and the process lives */
    close(ends[1]);
}

static void test_limits(void **state)
{
    (void)state;
    assert_true(tel_limits_cpus() >= 1);
    assert_true(tel_limits_memory_bytes() > 16 << 20);
    uint64_t files = tel_limits_raise_open_files(256);
    assert_true(files >= 64);
    assert_true(tel_limits_raise_open_files(1) == files);
    assert_true(tel_process_rss_bytes() > 1 << 19);
    assert_true(tel_process_peak_rss_bytes() >= tel_process_rss_bytes() / 2);
    assert_true(tel_process_virtual_bytes() >= tel_process_rss_bytes());
    assert_true(tel_process_cpu_ns() > 0);
    uint64_t before = tel_process_open_files();
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(tel_process_open_files(), before + 2);
    close(ends[0]);
    close(ends[1]);
    int64_t age = tel_wall_ns(tel_clock_system()) - tel_process_start_ns();
    assert_true(age > -TEL_NS_PER_S && age < 600 * TEL_NS_PER_S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_senders),
        cmocka_unit_test(test_mailbox_bounds),
        cmocka_unit_test(test_close_wakes),
        cmocka_unit_test(test_thread_name_and_timed_wait),
        cmocka_unit_test(test_waker),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
