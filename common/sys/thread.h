/*
 * Threads, mutexes and conditions. A thread is named (as top and perf show it) and always joined.
 * Timed waits use the monotonic clock: a deadline is tel_mono_ns(tel_clock_system()) + a span.
 */
#ifndef TEL_SYS_THREAD_H
#define TEL_SYS_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

#define TEL_NO_DEADLINE INT64_MAX

/* All zero is a thread that never started. */
struct tel_thread {
    pthread_t id;
    bool started;
};

/* Runs run(arg). The name is cut at 15 bytes. */
TEL_MUST_USE tel_code tel_thread_start(struct tel_thread *thread, const char *name,
                                       void (*run)(void *arg), void *arg, struct tel_error *err);
/* Waits for its end. Fine if it never started, or was joined before. */
void tel_thread_join(struct tel_thread *thread);

struct tel_mutex {
    pthread_mutex_t raw;
};

#define TEL_MUTEX_INIT {PTHREAD_MUTEX_INITIALIZER}

void tel_mutex_init(struct tel_mutex *mutex);
void tel_mutex_done(struct tel_mutex *mutex);
void tel_mutex_lock(struct tel_mutex *mutex);
void tel_mutex_unlock(struct tel_mutex *mutex);

struct tel_cond {
    pthread_cond_t raw;
};

void tel_cond_init(struct tel_cond *cond);
void tel_cond_done(struct tel_cond *cond);
void tel_cond_signal(struct tel_cond *cond);
void tel_cond_broadcast(struct tel_cond *cond);
/* The mutex is held by the caller. May wake without cause: wait in a loop over the condition. */
void tel_cond_wait(struct tel_cond *cond, struct tel_mutex *mutex);
/* False once the deadline (monotonic; TEL_NO_DEADLINE waits on) has passed. */
bool tel_cond_wait_until(struct tel_cond *cond, struct tel_mutex *mutex, int64_t deadline_ns);

/* now + ms on the monotonic clock, for deadlines; ms < 0 gives TEL_NO_DEADLINE. */
int64_t tel_deadline_ms(int64_t ms);

#endif
