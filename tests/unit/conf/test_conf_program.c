/* A program's start as a user meets it: flags, output, exit codes, signals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/sys/thread.h"

static const char *program;

struct child {
    pid_t pid;
    int out, err; /* our ends */
    struct tel_buf out_text, err_text;
};

#define MAX_ARGS 12

static struct child start(const char *const *args, size_t count)
{
    struct child child = {0};
    int out[2], err[2];
    char *argv[MAX_ARGS + 2] = {(char *)(uintptr_t)program};
    assert_true(count <= MAX_ARGS);
    for (size_t i = 0; i < count; i++)
        argv[i + 1] = (char *)(uintptr_t)args[i];
    assert_int_equal(pipe(out), 0);
    assert_int_equal(pipe(err), 0);
    child.pid = fork();
    assert_true(child.pid >= 0);
    if (child.pid == 0) {
        dup2(out[1], 1);
        dup2(err[1], 2);
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        execv(program, argv);
        _exit(127);
    }
    close(out[1]);
    close(err[1]);
    child.out = out[0];
    child.err = err[0];
    return child;
}

/* Reads what there is; false when both streams have ended. */
static bool read_some(struct child *child, int64_t deadline_ns)
{
    struct pollfd fds[2] = {{child->out, POLLIN, 0}, {child->err, POLLIN, 0}};
    int64_t left_ms = (deadline_ns - tel_mono_ns(tel_clock_system())) / TEL_NS_PER_MS;
    if (left_ms <= 0)
        fail_msg("no answer in time; so far: %s%s", tel_buf_cstr(&child->out_text),
                 tel_buf_cstr(&child->err_text));
    poll(fds, 2, (int)left_ms);
    for (int i = 0; i < 2; i++) {
        char text[4096];
        if (!fds[i].revents)
            continue;
        ssize_t n = read(fds[i].fd, text, sizeof text);
        if (n > 0)
            tel_buf_add(i ? &child->err_text : &child->out_text, text, (size_t)n);
        else if (i == 0)
            child->out = -1;
        else
            child->err = -1;
        if (n <= 0)
            close(fds[i].fd);
    }
    return child->out >= 0 || child->err >= 0;
}

static void wait_for(struct child *child, const char *text)
{
    int64_t deadline = tel_deadline_ms(20000);
    while (!strstr(tel_buf_cstr(&child->out_text), text) &&
           !strstr(tel_buf_cstr(&child->err_text), text)) {
        if (!read_some(child, deadline))
            fail_msg("ended without %s: %s%s", text, tel_buf_cstr(&child->out_text),
                     tel_buf_cstr(&child->err_text));
    }
}

static int finish(struct child *child)
{
    int64_t deadline = tel_deadline_ms(20000);
    while (read_some(child, deadline)) {
    }
    int status;
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void drop(struct child *child)
{
    tel_buf_free(&child->out_text);
    tel_buf_free(&child->err_text);
}

/* Runs to the end and looks for the texts in stdout and stderr. */
static void expect(int code, const char *out, const char *err, size_t count,
                   const char *const *args)
{
    struct child child = start(args, count);
    int got = finish(&child);
    if (got != code || !strstr(tel_buf_cstr(&child.out_text), out) ||
        !strstr(tel_buf_cstr(&child.err_text), err))
        fail_msg("exit %d, stdout: %s\nstderr: %s", got, tel_buf_cstr(&child.out_text),
                 tel_buf_cstr(&child.err_text));
    drop(&child);
}

#define EXPECT(code, out, err, ...)                                                                \
    expect((code), (out), (err), TEL_ARRAY_LEN(((const char *const[]){__VA_ARGS__})),              \
           (const char *const[]){__VA_ARGS__})

static void test_flags(void **state)
{
    (void)state;
    EXPECT(0, "conf_program " TEL_VERSION "\n", "", "--version");
    EXPECT(0, "usage: conf_program [options]", "", "--help");
    EXPECT(0, "log.level  (debug, info, warn, error, off; default info)", "", "--help");
    EXPECT(0, "  --broker HOST:PORT         a broker (may be repeated)\n", "", "--help");
    EXPECT(0, "the configuration is right", "", "--check", "--name", "x");
    EXPECT(0, "name = \"x\";", "", "--print-config", "--name=x");
    EXPECT(0, "    brokers = [\"a:1\", \"b:2\"];", "", "--print-config", "--name=x", "--broker",
           "a:1", "--broker=b:2", "--spool");
    EXPECT(0, "        on = true;", "", "--print-config", "--name=x", "--spool");
    EXPECT(0, "level = \"debug\";", "", "--print-config", "--name=x", "--log-level", "debug");
    EXPECT(0, "# Configuration of conf_program", "", "--print-docs", "config");
    EXPECT(0, "| `log.level` |", "", "--print-docs", "config");
    EXPECT(0, "# Metrics", "", "--print-docs", "metrics");
}

static void test_wrong_usage(void **state)
{
    (void)state;
    EXPECT(2, "", "unknown option --nmae", "--nmae", "x");
    EXPECT(2, "", "a value is missing behind --config", "--config");
    EXPECT(2, "", "no value is wanted by --spool", "--spool=yes");
    EXPECT(2, "", "unknown option word", "word");
    EXPECT(2, "", "there is no page nothing", "--print-docs", "nothing");
    EXPECT(2, "", "1 mistake in the configuration", "--check");
    EXPECT(2, "", "name: must be set\n", "-o", "batch.linger=1s");
    EXPECT(2, "", "-o: batch.lingr: no such key", "-o", "batch.lingr=1s", "--name", "x");
    EXPECT(2, "", "/nowhere.conf: cannot read the configuration", "--config", "/nowhere.conf");
    EXPECT(2, "", "-o: log.level: \"loud\" is not one of", "--log-level", "loud", "--name", "x");
    EXPECT(2, "", "batch.spool.on: makes no sense", "--name", "x", "--spool", "-o",
           "batch.max_events=1");
    EXPECT(2, "", "\\x1b[31m", "\033[31m");
}

static void test_failure(void **state)
{
    (void)state;
    EXPECT(1, "", "ERROR program: failed code=IO error=\"as asked\"", "--name", "fail");
    EXPECT(1, "", "\"message\":\"failed\",\"code\":\"IO\",\"error\":\"as asked\"}", "--name",
           "fail", "--log-format", "json");
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_signals(void **state)
{
    (void)state;
    char path[] = "/tmp/tel-test-program-XXXXXX";
    close(mkstemp(path));
    write_file(path, "name = \"one\";");
    const char *const args[] = {"--config", path};
    struct child child = start(args, 2);
    wait_for(&child, "ready one 1\n");
    write_file(path, "name = \"two\"; log = { level = \"debug\"; };");
    kill(child.pid, SIGHUP);
    wait_for(&child, "reloaded two\n");
    write_file(path, "nmae = \"three\";");
    kill(child.pid, SIGHUP);
    wait_for(&child, "the configuration is wrong, the old one stays");
    wait_for(&child, "did you mean name?");
    kill(child.pid, SIGTERM);
    assert_int_equal(finish(&child), 0);
    assert_non_null(strstr(tel_buf_cstr(&child.out_text), "stopped\n"));
    drop(&child);
    unlink(path);
}

/* The second signal is not waited for. */
static void test_second_signal(void **state)
{
    (void)state;
    const char *const args[] = {"--name", "hang"};
    struct child child = start(args, 2);
    wait_for(&child, "ready hang");
    kill(child.pid, SIGINT);
    wait_for(&child, "stopped");
    kill(child.pid, SIGINT);
    int64_t deadline = tel_deadline_ms(20000);
    while (read_some(&child, deadline)) {
    }
    int status;
    assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    drop(&child);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flags),         cmocka_unit_test(test_wrong_usage),
        cmocka_unit_test(test_failure),       cmocka_unit_test(test_signals),
        cmocka_unit_test(test_second_signal),
    };
    if (argc < 2) {
        fprintf(stderr, "usage: %s PROGRAM\n", argv[0]);
        return 2;
    }
    program = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
