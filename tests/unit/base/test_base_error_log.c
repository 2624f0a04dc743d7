/* Errors and logging. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define TEL_LOG_COMPONENT "test"
#include "common/base/buf.h"
#include "common/base/log.h"

static void test_codes(void **state)
{
    (void)state;
    assert_string_equal(tel_code_name(TEL_OK), "OK");
    assert_string_equal(tel_code_name(TEL_ERR_NOTFOUND), "NOTFOUND");
    assert_string_equal(tel_code_text(TEL_ERR_GAP), "offset out of range: records are missing");
    assert_true(tel_code_retriable(TEL_ERR_IO) && !tel_code_retriable(TEL_ERR_CORRUPT));
    for (int code = 0; code < TEL_CODE_COUNT; code++)
        assert_true(tel_code_name((tel_code)code) && *tel_code_text((tel_code)code));
    assert_int_equal(tel_code_from_errno(0), TEL_OK);
    assert_int_equal(tel_code_from_errno(ENOENT), TEL_ERR_NOTFOUND);
    assert_int_equal(tel_code_from_errno(ENOSPC), TEL_ERR_NOSPACE);
    assert_int_equal(tel_code_from_errno(EACCES), TEL_ERR_DENIED);
    assert_int_equal(tel_code_from_errno(EADDRINUSE), TEL_ERR_LOCKED);
    assert_int_equal(tel_code_from_errno(ECONNREFUSED), TEL_ERR_UNAVAILABLE);
    assert_int_equal(tel_code_from_errno(12345), TEL_ERR_IO);
}

static void test_error_texts(void **state)
{
    (void)state;
    struct tel_error err = {0};
    assert_int_equal(tel_error_set(NULL, TEL_ERR_INVALID, "x"), TEL_ERR_INVALID);
    assert_int_equal(tel_error_set(&err, TEL_ERR_IO, "got \"%s\"", "a\nb\x1b\xff\xc3\xa9"), TEL_ERR_IO);
    assert_string_equal(err.text, "got \"a\\x0ab\\x1b\\xff\xc3\xa9\"");
    assert_true(err.retriable && err.code == TEL_ERR_IO);
    assert_int_equal(tel_error_errno(&err, ENOENT, "cannot open %s", "/x"), TEL_ERR_NOTFOUND);
    assert_string_equal(err.text, "cannot open /x: No such file or directory");
    assert_false(err.retriable);
    err.retriable = true;
    assert_int_equal(tel_error_wrap(&err, TEL_ERR_NOTFOUND, "checkpoint of %s", "s"), TEL_ERR_NOTFOUND);
    assert_string_equal(err.text, "checkpoint of s: cannot open /x: No such file or directory");
    assert_true(err.retriable);
    tel_error_wrap(&err, TEL_ERR_INTERNAL, "%s", err.text);
    assert_false(err.retriable);
    tel_error_clear(&err);
    tel_error_wrap(&err, TEL_ERR_TIMEOUT, "query");
    assert_string_equal(err.text, "query: deadline exceeded");
    tel_error_clear(&err);
    assert_int_equal(err.code, TEL_OK);
    assert_string_equal(err.text, "");
    tel_error_clear(NULL);

    /* Long texts are cut, at a whole character, and the reason is kept. */
    char path[2000];
    for (size_t i = 0; i + 2 < sizeof path; i += 2)
        memcpy(path + i, "\xc3\xa9", 2);
    path[sizeof path - 2] = '\0';
    tel_error_errno(&err, ENOSPC, "x%s", path);
    assert_true(strlen(err.text) < TEL_ERROR_TEXT_MAX);
    assert_non_null(strstr(err.text, "\xc3\xa9: No space left on device"));
    assert_null(strstr(err.text, "\\x"));
    tel_error_set(&err, TEL_ERR_INVALID, "%s", path);
    assert_true(strlen(err.text) <= TEL_ERROR_TEXT_MAX - 1 && strlen(err.text) > 500);
    assert_null(strstr(err.text, "\\x"));
    for (int i = 0; i < 10; i++)
        tel_error_wrap(&err, TEL_ERR_INVALID, "deeper %s", path);
    assert_true(strlen(err.text) < TEL_ERROR_TEXT_MAX);
}

static int log_pipe[2];

static int catch_log(void **state)
{
    (void)state;
    if (pipe(log_pipe) != 0)
        return -1;
    tel_log_set_fd(log_pipe[1]);
    return 0;
}

static int release_log(void **state)
{
    (void)state;
    tel_log_set_fd(2);
    tel_log_set_level(TEL_LOG_INFO);
    tel_log_set_format(TEL_LOG_TEXT);
    close(log_pipe[0]);
    close(log_pipe[1]);
    return 0;
}

/* What was logged since; lines are written by the time the call returns. */
static const char *logged(void)
{
    static char text[65536];
    TEL_CHECK(write(log_pipe[1], "", 1) == 1); /* an end to read up to */
    size_t len = 0;
    do {
        ssize_t n = read(log_pipe[0], text + len, sizeof text - 1 - len);
        TEL_CHECK(n > 0);
        len += (size_t)n;
    } while (text[len - 1] != '\0');
    return text;
}

static void test_text_lines(void **state)
{
    (void)state;
    struct tel_error err = {.text = "cannot"};
    tel_log_warn("hello", tel_kv_str("bare", "x"), tel_kv_str("spaced", "a b"), tel_kv_i64("n", -5),
                 tel_kv_u64("u", 7), tel_kv_double("d", 0.5), tel_kv_bool("ok", true),
                 tel_kv_str("nl", "a\nlevel=ERROR \"q\""), tel_kv_str("none", NULL), tel_kv_error(&err));
    const char *line = logged();
    assert_int_equal(line[4], '-');
    assert_int_equal(line[10], 'T');
    assert_non_null(strstr(line, "Z WARN  test: hello bare=x spaced=\"a b\" n=-5 u=7 d=0.5 ok=true "
                                 "nl=\"a\\x0alevel=ERROR \\\"q\\\"\" none=\"\" error=cannot\n"));
    tel_log_debug("not shown");
    assert_string_equal(logged(), "");
    tel_log_set_level(TEL_LOG_DEBUG);
    tel_log_debug("shown");
    assert_non_null(strstr(logged(), "DEBUG test: shown\n"));
    tel_log_set_level(TEL_LOG_OFF);
    tel_log_error("nothing");
    assert_string_equal(logged(), "");
}

static void test_json_lines(void **state)
{
    (void)state;
    tel_log_set_format(TEL_LOG_JSON);
    char big[5000];
    memset(big, 'x', sizeof big);
    tel_log_error("hello", tel_kv_str("path", "a\"b\n"), tel_kv_i64("n", -5),
                  tel_kv_double("nan", 0.0 / 0.0), tel_kv_bool("ok", false),
                  tel_kv_span("big", tel_span_make(big, sizeof big)));
    const char *line = logged();
    assert_memory_equal(line, "{\"time\":\"20", 11);
    assert_non_null(strstr(line, "\"level\":\"error\",\"component\":\"test\",\"message\":\"hello\","
                                 "\"path\":\"a\\\"b\\n\",\"n\":-5,\"nan\":null,\"ok\":false,\"big\":\"xxx"));
    assert_non_null(strstr(line, "xxx...\"}\n"));
    assert_true(strlen(line) < 4500);
}

static void test_levels(void **state)
{
    (void)state;
    enum tel_log_level level = TEL_LOG_OFF;
    assert_true(tel_log_level_parse(TEL_SPAN("debug"), &level) && level == TEL_LOG_DEBUG);
    assert_true(tel_log_level_parse(TEL_SPAN("off"), &level) && level == TEL_LOG_OFF);
    assert_false(tel_log_level_parse(TEL_SPAN("loud"), &level));
    assert_true(level == TEL_LOG_OFF);
}

static int count_of(const char *text, const char *what)
{
    int count = 0;
    for (; (text = strstr(text, what)); text++)
        count++;
    return count;
}

static void test_repeats(void **state)
{
    (void)state;
    for (int i = 0; i < 35; i++)
        tel_log_info("again");
    const char *text = logged();
    assert_int_equal(count_of(text, "test: again"), 10);
    tel_log_flush();
    assert_non_null(strstr(logged(), "INFO  test: repeated lines were left out lines=25\n"));
    tel_log_flush();
    assert_string_equal(logged(), "");

    /* When the window has passed, the next line says what was left out. */
    static struct tel_log_site site = {"test", TEL_LOG_WARN, 0, 0, 0, NULL};
    const struct tel_kv none[] = {{TEL_KV_END, NULL, {.u64 = 0}}};
    for (int i = 0; i < 12; i++)
        tel_log_write(&site, "mine", none);
    assert_int_equal(count_of(logged(), "test: mine"), 10);
    atomic_fetch_sub(&site.window_start_ns, INT64_C(11000000000));
    tel_log_write(&site, "mine", none);
    text = logged();
    assert_non_null(strstr(text, "test: repeated lines were left out lines=2\n"));
    assert_int_equal(count_of(text, "test: mine"), 1);
    tel_log_set_level(TEL_LOG_DEBUG);
    for (int i = 0; i < 30; i++)
        tel_log_debug("free");
    assert_int_equal(count_of(logged(), "test: free"), 30);
}

static void *log_much(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++)
        tel_log_info("from a thread", tel_kv_i64("i", i));
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_much, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    const char *text = logged();
    int lines = count_of(text, "\n");
    assert_int_equal(count_of(text, "test: from a thread i="), lines);
    assert_true(lines >= 10 && lines <= 14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_error_texts),
        cmocka_unit_test(test_levels),
        cmocka_unit_test_setup_teardown(test_text_lines, catch_log, release_log),
        cmocka_unit_test_setup_teardown(test_json_lines, catch_log, release_log),
        cmocka_unit_test_setup_teardown(test_repeats, catch_log, release_log),
        cmocka_unit_test_setup_teardown(test_threads, catch_log, release_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
