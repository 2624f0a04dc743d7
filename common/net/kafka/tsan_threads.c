/*
 * For ThreadSanitizer builds only. librdkafka starts its threads and takes its locks through C11's
 * <threads.h>, which gcc 12's ThreadSanitizer does not know: a thread it did not see being made
 * crashes in the first malloc, and locks that it does not see are races. In glibc C11 threads are
 * POSIX threads under another name (ISO C11 7.26; thrd_t is pthread_t, mtx_t and cnd_t have the layout
 * of pthread_mutex_t and pthread_cond_t), so these definitions, which the dynamic linker prefers to
 * libc's, lead to functions that it does know.
 */
#include "common/net/kafka/tsan_threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

#include "common/base/check.h"

#define EXPORT __attribute__((visibility("default")))

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "mtx_t is a pthread_mutex_t");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "cnd_t is a pthread_cond_t");

struct start {
    thrd_start_t run;
    void *arg;
};

static void *run_start(void *arg)
{
    struct start s = *(struct start *)arg;
    free(arg);
    return (void *)(intptr_t)s.run(s.arg);
}

static int code(int e)
{
    return e == 0           ? thrd_success
           : e == ENOMEM    ? thrd_nomem
           : e == ETIMEDOUT ? thrd_timedout
           : e == EBUSY     ? thrd_busy
                            : thrd_error;
}

EXPORT int thrd_create(thrd_t *t, thrd_start_t run, void *arg)
{
    struct start *s = malloc(sizeof *s);
    if (!s)
        return thrd_nomem;
    *s = (struct start){run, arg};
    int e = pthread_create(t, NULL, run_start, s);
    if (e != 0)
        free(s);
    return code(e);
}

EXPORT int thrd_join(thrd_t t, int *ret)
{
    void *result = NULL;
    int e = pthread_join(t, &result);
    if (ret)
        *ret = (int)(intptr_t)result;
    return code(e);
}

EXPORT int thrd_detach(thrd_t t)
{
    return code(pthread_detach(t));
}

EXPORT int mtx_init(mtx_t *m, int type)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, type & mtx_recursive ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
    int e = pthread_mutex_init((pthread_mutex_t *)m, &attr);
    pthread_mutexattr_destroy(&attr);
    return code(e);
}

EXPORT int mtx_lock(mtx_t *m)
{
    return code(pthread_mutex_lock((pthread_mutex_t *)m));
}

EXPORT int mtx_trylock(mtx_t *m)
{
    return code(pthread_mutex_trylock((pthread_mutex_t *)m));
}

EXPORT int mtx_unlock(mtx_t *m)
{
    return code(pthread_mutex_unlock((pthread_mutex_t *)m));
}

EXPORT void mtx_destroy(mtx_t *m)
{
    pthread_mutex_destroy((pthread_mutex_t *)m);
}

EXPORT int cnd_init(cnd_t *c)
{
    return code(pthread_cond_init((pthread_cond_t *)c, NULL));
}

EXPORT int cnd_signal(cnd_t *c)
{
    return code(pthread_cond_signal((pthread_cond_t *)c));
}

EXPORT int cnd_broadcast(cnd_t *c)
{
    return code(pthread_cond_broadcast((pthread_cond_t *)c));
}

EXPORT int cnd_wait(cnd_t *c, mtx_t *m)
{
    return code(pthread_cond_wait((pthread_cond_t *)c, (pthread_mutex_t *)m));
}

EXPORT int cnd_timedwait(cnd_t *c, mtx_t *m, const struct timespec *until)
{
    return code(pthread_cond_timedwait((pthread_cond_t *)c, (pthread_mutex_t *)m, until));
}

EXPORT void cnd_destroy(cnd_t *c)
{
    pthread_cond_destroy((pthread_cond_t *)c);
}

/* librdkafka's own atomics stay unseen: its reference counts look like races when it frees. Weak: a
 * program that also speaks gRPC has the list in common/net/rpc/core.c. */
const char *__tsan_default_suppressions(void);
EXPORT __attribute__((weak)) const char *__tsan_default_suppressions(void)
{
    return "race:librdkafka.so\n";
}

void tel_kafka_tsan_threads(void)
{
}
