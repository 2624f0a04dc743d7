/* Wakes a thread that sleeps in poll: a file descriptor that any thread can make readable (eventfd). */
#ifndef TEL_SYS_WAKER_H
#define TEL_SYS_WAKER_H

#include "common/base/error.h"

struct tel_waker {
    int fd; /* for POLLIN */
};

TEL_MUST_USE tel_code tel_waker_init(struct tel_waker *waker, struct tel_error *err);
void tel_waker_done(struct tel_waker *waker);
/* Any thread, any number of times; also from a signal handler. */
void tel_waker_wake(struct tel_waker *waker);
/* The owner, when fd is readable: makes it unreadable again. */
void tel_waker_drain(struct tel_waker *waker);

#endif
