/*
 * A disk that is really full: a small tmpfs. What cannot be written stays in memory and in the queue,
 * is searched all the same, and is there once when there is room again.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/sys/fs.h"
#include "tests/unit/shard/shard_fixture.h"

#define BASE (20400 * TEL_NS_PER_DAY)

static bool mount_small(struct world *w, const char *size)
{
    assert_int_equal(mkdir(w->store, 0700), 0);
    if (mount("tmpfs", w->store, "tmpfs", 0, size) != 0) {
        print_message("cannot mount a tmpfs here (%s): not tested\n", strerror(errno));
        return false;
    }
    return true;
}

static void grow(struct world *w)
{
    assert_int_equal(mount("tmpfs", w->store, "tmpfs", MS_REMOUNT, "size=256m"), 0);
}

/* Bytes that do not compress; over two days. */
static void send_bulk(struct world *w, struct tel_rand *r, uint64_t *position, unsigned messages)
{
    static char bodies[20][10000];
    for (unsigned m = 0; m < messages; m++) {
        struct world_event events[20];
        for (unsigned i = 0; i < 20; i++) {
            uint64_t id = ++*position;
            int len = snprintf(bodies[i], 40, "bulk %llu ", (unsigned long long)id);
            for (size_t k = (size_t)len; k < sizeof(bodies[i]) - 1; k++)
                bodies[i][k] = (char)('!' + tel_rand_below(r, 90));
            events[i] = (struct world_event){
                BASE + (int64_t)(id % 2) * TEL_NS_PER_DAY + (int64_t)id, id, bodies[i]};
        }
        world_send(w, 0, "default", "bulk", events, 20);
    }
    world_sync(w);
}

static uint64_t free_bytes(const struct world *w)
{
    struct tel_fs_space space;
    struct tel_error err;
    assert_int_equal(tel_fs_space(tel_fs_system(), w->store, &space, &err), TEL_OK);
    return space.free_bytes;
}

static void nap(void)
{
    struct timespec ts = {0, 5000000};
    nanosleep(&ts, NULL);
}

static char *wait_status(struct world *w, bool (*good)(const Telescope__Shard__V1__PartitionInfo *))
{
    int64_t deadline = tel_mono_ns(tel_clock_system()) + 60 * TEL_NS_PER_S;
    for (;;) {
        Telescope__Shard__V1__StatusResponse *status = shard_status(w->server, NULL);
        bool ok = good(status->partitions[0]);
        char *error = strdup(status->partitions[0]->error);
        protobuf_c_message_free_unpacked(&status->base, NULL);
        if (ok)
            return error;
        if (tel_mono_ns(tel_clock_system()) > deadline)
            fail_msg("still: %s", error);
        free(error);
        nap();
    }
}

static bool has_error(const Telescope__Shard__V1__PartitionInfo *p)
{
    return p->error[0] != '\0';
}

static bool is_calm(const Telescope__Shard__V1__PartitionInfo *p)
{
    return p->error[0] == '\0' && p->memory_bytes == 0;
}

static void test_full(void **state)
{
    (void)state;
    struct world w;
    struct tel_rand r;
    uint64_t position = 0;
    tel_rand_init(&r, 1);
    world_begin(&w, 1);
    w.options.memory_bytes = 16 << 20;
    w.options.flush_interval_ms = w.options.flush_interval_max_ms = 50;
    if (mount_small(&w, "size=6m")) {
        world_start(&w);
        send_bulk(&w, &r, &position, 10); /* 2 MB: there is room */
        world_await(&w, "default", "bulk", position);
        send_bulk(&w, &r, &position, 30); /* 6 MB more: there is none */
        char *error = wait_status(&w, has_error);
        assert_non_null(strstr(error, "No space left"));
        free(error);
        /* More than the memory holds: the rest waits in the queue. */
        send_bulk(&w, &r, &position, 100);
        grow(&w);
        world_await(&w, "default", "bulk", position);
        free(wait_status(&w, is_calm));
        assert_int_equal(world_count(&w, "default", "bulk"), position);
        world_stop(&w, false);
        world_start(&w);
        world_await(&w, "default", "bulk", position);
        world_stop(&w, true);
        assert_int_equal(umount(w.store), 0);
    }
    world_end(&w);
}

static bool is_paused(const Telescope__Shard__V1__PartitionInfo *p)
{
    return strstr(p->error, "paused") != NULL;
}

/* With a reserve it does not come to that: nothing more is read, everything is answered. */
static void test_reserve(void **state)
{
    (void)state;
    struct world w;
    struct tel_rand r;
    uint64_t position = 0;
    tel_rand_init(&r, 2);
    world_begin(&w, 1);
    w.options.flush_interval_ms = w.options.flush_interval_max_ms = 50;
    w.options.disk_reserve_bytes = 12 << 20;
    if (mount_small(&w, "size=24m")) {
        world_start(&w);
        /* A message at a time, each stored before the next, until the disk is seen to be low. */
        int64_t deadline = tel_mono_ns(tel_clock_system()) + 60 * TEL_NS_PER_S;
        for (bool paused = false; !paused;) {
            Telescope__Shard__V1__StatusResponse *status = shard_status(w.server, NULL);
            paused = is_paused(status->partitions[0]);
            bool stored = status->partitions[0]->events == position && is_calm(status->partitions[0]);
            protobuf_c_message_free_unpacked(&status->base, NULL);
            if (!paused && stored && free_bytes(&w) > w.options.disk_reserve_bytes)
                send_bulk(&w, &r, &position, 1);
            assert_true(tel_mono_ns(tel_clock_system()) < deadline);
            nap();
        }
        send_bulk(&w, &r, &position, 2);
        uint64_t found = world_count(&w, "default", "bulk");
        assert_true(found > 0 && found < position);
        grow(&w);
        world_await(&w, "default", "bulk", position);
        world_stop(&w, true);
        assert_int_equal(umount(w.store), 0);
    }
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_full), cmocka_unit_test(test_reserve)};
    tel_log_set_level(getenv("TEST_LOG") ? TEL_LOG_DEBUG : TEL_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
