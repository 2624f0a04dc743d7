/*
 * inotify tells when to look, so that a line is read milliseconds after it was written and an idle
 * node costs nothing. Everything here may fail or miss something (no watches left, a network file
 * system, an overflow): the scan's regular looks find the same, only later.
 */
#include "plugins/tail/tail.h"

#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/tail/memory.h"

struct folder_watch {
    int watch;
    uint64_t dev, ino;
};

void watch_open(struct tail *t)
{
    t->inotify_fd = -1;
    if (!t->config.inotify)
        return;
    t->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (t->inotify_fd < 0)
        file_log(t, TELESCOPE_WARN, "no inotify, looking regularly instead", "inotify_init1", errno);
    else
        t->api->watch_fd(t->host, t->inotify_fd);
}

void watch_close(struct tail *t)
{
    if (t->inotify_fd >= 0) {
        t->api->watch_fd(t->host, -1);
        close(t->inotify_fd);
        t->inotify_fd = -1;
    }
    for (size_t i = 0; i < t->folders.cap; i++)
        free(t->folders.slots[i].value);
    table_free(&t->folders);
    table_free(&t->folder_by_watch);
    table_free(&t->by_watch);
}

void watch_folder(struct tail *t, const char *path)
{
    struct stat st;
    if (t->inotify_fd < 0 || stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return;
    if (table_get(&t->folders, st.st_dev, st.st_ino))
        return;
    int watch = inotify_add_watch(t->inotify_fd, path,
                                  IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
                                      IN_ONLYDIR);
    if (watch < 0)
        return;
    struct folder_watch *folder = tail_alloc(sizeof(*folder));
    *folder = (struct folder_watch){watch, st.st_dev, st.st_ino};
    table_put(&t->folders, folder->dev, folder->ino, folder);
    table_put(&t->folder_by_watch, (uint64_t)watch, 0, folder);
}

void watch_file(struct tail_file *f)
{
    struct tail *t = f->tail;
    char path[32];
    if (t->inotify_fd < 0)
        return;
    /* Through the descriptor, not the path, which may lead elsewhere by now. */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
    f->watch = inotify_add_watch(t->inotify_fd, path, IN_MODIFY);
    if (f->watch >= 0)
        table_put(&t->by_watch, (uint64_t)f->watch, 0, f);
}

void unwatch_file(struct tail_file *f)
{
    struct tail *t = f->tail;
    if (f->watch < 0)
        return;
    inotify_rm_watch(t->inotify_fd, f->watch);
    if (table_get(&t->by_watch, (uint64_t)f->watch, 0) == f)
        table_remove(&t->by_watch, (uint64_t)f->watch, 0);
    f->watch = -1;
}

static void handle(struct tail *t, const struct inotify_event *event)
{
    if (event->mask & IN_Q_OVERFLOW) {
        t->scan_wanted = true;
        return;
    }
    uint64_t watch = (uint64_t)event->wd;
    struct tail_file *f = table_get(&t->by_watch, watch, 0);
    if (f && (event->mask & IN_MODIFY)) {
        file_make_ready(f);
        return;
    }
    struct folder_watch *folder = table_get(&t->folder_by_watch, watch, 0);
    if (!folder)
        return;
    t->scan_wanted = true;
    if (event->mask & IN_IGNORED) { /* the folder is gone, and the watch with it */
        table_remove(&t->folder_by_watch, watch, 0);
        table_remove(&t->folders, folder->dev, folder->ino);
        free(folder);
    }
}

void watch_drain(struct tail *t)
{
    _Alignas(struct inotify_event) char buf[16384];
    if (t->inotify_fd < 0)
        return;
    /* A bounded number of reads: whoever writes fast must not keep us here. */
    for (int i = 0; i < 16; i++) {
        ssize_t n = read(t->inotify_fd, buf, sizeof(buf));
        if (n <= 0)
            return;
        for (const char *p = buf; p < buf + n;) {
            const struct inotify_event *event = (const void *)p;
            handle(t, event);
            p += sizeof(*event) + event->len;
        }
    }
}
