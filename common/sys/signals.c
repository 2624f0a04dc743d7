#include "common/sys/signals.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/sys/thread.h"

static void fill_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

void tel_signals_block(void)
{
    sigset_t set;
    fill_set(&set);
    TEL_CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    signal(SIGPIPE, SIG_IGN);
}

enum tel_signal tel_signals_wait(int64_t deadline_ns)
{
    sigset_t set;
    fill_set(&set);
    for (;;) {
        int got;
        if (deadline_ns == TEL_NO_DEADLINE) {
            got = sigwaitinfo(&set, NULL);
        } else {
            int64_t left = deadline_ns - tel_mono_ns(tel_clock_system());
            left = TEL_MAX(left, 0);
            struct timespec ts = {.tv_sec = left / TEL_NS_PER_S, .tv_nsec = left % TEL_NS_PER_S};
            got = sigtimedwait(&set, NULL, &ts);
        }
        if (got == SIGHUP)
            return TEL_SIGNAL_RELOAD;
        if (got > 0)
            return TEL_SIGNAL_STOP;
        if (errno == EAGAIN)
            return TEL_SIGNAL_NONE;
        TEL_CHECK(errno == EINTR);
    }
}

void tel_signals_run(void (*on_reload)(void *arg), void *arg)
{
    for (;;) {
        enum tel_signal got = tel_signals_wait(TEL_NO_DEADLINE);
        if (got == TEL_SIGNAL_STOP)
            return;
        if (got == TEL_SIGNAL_RELOAD && on_reload)
            on_reload(arg);
    }
}

void tel_signals_stop(void)
{
    kill(getpid(), SIGTERM);
}

void tel_signals_unblock_stop(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    TEL_CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
}
