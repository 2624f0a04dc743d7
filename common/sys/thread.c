#include "common/sys/thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

struct start {
    void (*run)(void *arg);
    void *arg;
    char name[16];
};

static void *thread_main(void *arg)
{
    struct start start = *(struct start *)arg;
    free(arg);
    pthread_setname_np(pthread_self(), start.name);
    start.run(start.arg);
    return NULL;
}

tel_code tel_thread_start(struct tel_thread *thread, const char *name, void (*run)(void *arg),
                          void *arg, struct tel_error *err)
{
    TEL_CHECK(!thread->started);
    struct start *start = tel_malloc(sizeof *start);
    start->run = run;
    start->arg = arg;
    snprintf(start->name, sizeof start->name, "%s", name);
    int errnum = pthread_create(&thread->id, NULL, thread_main, start);
    if (errnum != 0) {
        free(start);
        return tel_error_errno(err, errnum, "cannot start the thread %s", name);
    }
    thread->started = true;
    return TEL_OK;
}

void tel_thread_join(struct tel_thread *thread)
{
    if (!thread || !thread->started)
        return;
    TEL_CHECK(pthread_join(thread->id, NULL) == 0);
    thread->started = false;
}

void tel_mutex_init(struct tel_mutex *mutex)
{
    TEL_CHECK(pthread_mutex_init(&mutex->raw, NULL) == 0);
}

void tel_mutex_done(struct tel_mutex *mutex)
{
    TEL_CHECK(pthread_mutex_destroy(&mutex->raw) == 0);
}

void tel_mutex_lock(struct tel_mutex *mutex)
{
    TEL_CHECK(pthread_mutex_lock(&mutex->raw) == 0);
}

void tel_mutex_unlock(struct tel_mutex *mutex)
{
    TEL_CHECK(pthread_mutex_unlock(&mutex->raw) == 0);
}

void tel_cond_init(struct tel_cond *cond)
{
    pthread_condattr_t attr;
    TEL_CHECK(pthread_condattr_init(&attr) == 0);
    TEL_CHECK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    TEL_CHECK(pthread_cond_init(&cond->raw, &attr) == 0);
    pthread_condattr_destroy(&attr);
}

void tel_cond_done(struct tel_cond *cond)
{
    TEL_CHECK(pthread_cond_destroy(&cond->raw) == 0);
}

void tel_cond_signal(struct tel_cond *cond)
{
    TEL_CHECK(pthread_cond_signal(&cond->raw) == 0);
}

void tel_cond_broadcast(struct tel_cond *cond)
{
    TEL_CHECK(pthread_cond_broadcast(&cond->raw) == 0);
}

void tel_cond_wait(struct tel_cond *cond, struct tel_mutex *mutex)
{
    TEL_CHECK(pthread_cond_wait(&cond->raw, &mutex->raw) == 0);
}

bool tel_cond_wait_until(struct tel_cond *cond, struct tel_mutex *mutex, int64_t deadline_ns)
{
    if (deadline_ns == TEL_NO_DEADLINE) {
        tel_cond_wait(cond, mutex);
        return true;
    }
    if (deadline_ns < 0)
        deadline_ns = 0;
    struct timespec ts = {.tv_sec = deadline_ns / TEL_NS_PER_S, .tv_nsec = deadline_ns % TEL_NS_PER_S};
    int rc = pthread_cond_timedwait(&cond->raw, &mutex->raw, &ts);
    TEL_CHECK(rc == 0 || rc == ETIMEDOUT);
    return rc == 0;
}

int64_t tel_deadline_ms(int64_t ms)
{
    int64_t now = tel_mono_ns(tel_clock_system());
    if (ms < 0 || ms > (INT64_MAX - now) / TEL_NS_PER_MS)
        return TEL_NO_DEADLINE;
    return now + ms * TEL_NS_PER_MS;
}
