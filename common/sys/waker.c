#include "common/sys/waker.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

tel_code tel_waker_init(struct tel_waker *waker, struct tel_error *err)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return tel_error_errno(err, errno, "cannot make an eventfd");
    waker->fd = fd;
    return TEL_OK;
}

void tel_waker_done(struct tel_waker *waker)
{
    if (waker->fd >= 0)
        close(waker->fd);
    waker->fd = -1;
}

void tel_waker_wake(struct tel_waker *waker)
{
    int saved_errno = errno;
    uint64_t one = 1;
    ssize_t n;
    do
        n = write(waker->fd, &one, sizeof one);
    while (n < 0 && errno == EINTR);
    /* EAGAIN: the counter is full, hence readable, which is all that is wanted. */
    TEL_CHECK(n == sizeof one || errno == EAGAIN);
    errno = saved_errno;
}

void tel_waker_drain(struct tel_waker *waker)
{
    uint64_t count;
    ssize_t n;
    do
        n = read(waker->fd, &count, sizeof count);
    while (n < 0 && errno == EINTR);
}
