/*
 * A child appends and tells over a pipe what has been acknowledged; the parent kills it with -9 at a
 * random moment and opens the journal again: everything that was acknowledged is there, dense, in
 * order, whole. Again and again on the same folder, so that crashes pile up.
 */
#include "tests/unit/journal/journal_fixture.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/rand.h"

#define ROUNDS 25

static int report_fd;

static void report(void *ctx, tel_code code, int64_t offset, const struct tel_error *err)
{
    (void)ctx;
    (void)err;
    if (code == TEL_OK && write(report_fd, &offset, sizeof(offset)) != sizeof(offset))
        _exit(3);
}

static void child(const struct tel_journal_options *o, uint64_t seed)
{
    struct tel_journal *j = NULL;
    struct tel_error err;
    struct tel_rand rand;
    tel_rand_init(&rand, seed);
    if (tel_journal_open(o, &j, &err) != TEL_OK)
        _exit(4);
    int64_t low = 0, next = 0;
    tel_journal_watermarks(j, &low, &next);
    for (;;) {
        append_number(j, (uint64_t)next++, tel_rand_below(&rand, tel_rand_below(&rand, 50) ? 300 : 40000),
                      report, NULL);
    }
}

/* Lets the child run until it has reported `want` acknowledgements; returns the last one. */
static int64_t follow(int fd, uint64_t want)
{
    int64_t last = -1, got[512];
    while (want > 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_true(poll(&p, 1, 20000) == 1);
        ssize_t n = read(fd, got, sizeof(got));
        assert_true(n > 0 && n % (ssize_t)sizeof(int64_t) == 0);
        size_t count = (size_t)n / sizeof(int64_t);
        last = got[count - 1];
        want -= TEL_MIN(want, count);
    }
    return last;
}

static void test_kill(void **state)
{
    (void)state;
    uint64_t seed = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 10) : tel_rand_seed();
    print_message("SEED=%llu\n", (unsigned long long)seed);
    struct tel_rand rand;
    tel_rand_init(&rand, seed);
    char *dir = dir_make();
    struct tel_journal_options o = {.dir = dir, .budget_bytes = 1u << 30, .segment_bytes = 200000,
                                    .sync_interval_ms = 1};
    int64_t acked = -1, checked = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        uint64_t child_seed = tel_rand_u64(&rand);
        pid_t pid = fork();
        if (pid == 0) {
            close(fds[0]);
            report_fd = fds[1];
            child(&o, child_seed);
        }
        close(fds[1]);
        int64_t last = follow(fds[0], tel_rand_below(&rand, 3000));
        kill(pid, SIGKILL);
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        int64_t more; /* what it said before it died */
        while (read(fds[0], &more, sizeof(more)) == sizeof(more))
            last = more;
        close(fds[0]);
        acked = TEL_MAX(acked, last);

        struct tel_journal *j = journal_open_ok(&o);
        int64_t low = 0, high = 0;
        tel_journal_watermarks(j, &low, &high);
        assert_int_equal(low, 0);
        assert_true(high > acked);
        expect_numbers(j, round + 1 == ROUNDS ? 0 : checked, high, 0);
        checked = high;
        tel_journal_close(j);
    }
    print_message("%d kills, %lld records, all there\n", ROUNDS, (long long)checked);
    dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kill)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
