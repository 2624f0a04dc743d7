/* The tail plugin alone, in a host that takes little, stops it anywhere and remembers only what it has
 * acknowledged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/sys/fs.h"
#include "tests/unit/plugins/tail_host.h"

static char dir[64];

static void path_of(const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", dir, name);
}

static void append(const char *name, const struct tel_buf *text)
{
    char path[128];
    path_of(name, path);
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    assert_int_equal(fwrite(text->ptr, 1, text->len, f), text->len);
    assert_int_equal(fclose(f), 0);
}

/* Short lines, long lines, empty lines, and pieces of lines. */
static void random_text(struct tel_rand *r, struct tel_buf *out)
{
    uint64_t lines = tel_rand_below(r, 40);
    for (uint64_t i = 0; i < lines; i++) {
        uint64_t len = tel_rand_below(r, 10) ? tel_rand_below(r, 90) : tel_rand_below(r, 3000);
        for (uint64_t k = 0; k < len; k++)
            tel_buf_add_char(out, (char)('a' + tel_rand_below(r, 26)));
        if (tel_rand_below(r, 10))
            tel_buf_add_char(out, '\n');
    }
}

static void work_until_quiet(struct telescope_host *h, size_t want)
{
    int64_t deadline = tel_mono_ns(tel_clock_system()) + 120 * TEL_NS_PER_S;
    for (;;) {
        size_t have = 0;
        for (size_t i = 0; i < h->source_count; i++)
            have += h->sources[i]->text.len;
        if (have >= want)
            return;
        if (tel_mono_ns(tel_clock_system()) > deadline)
            fail_msg("%zu of %zu bytes came", have, want);
        host_work(h);
        usleep(100);
    }
}

static void restarted_at_every_point(uint64_t seed)
{
    struct telescope_host h;
    struct tel_rand r;
    char pattern[128];
    struct tel_buf written[8] = {{0}};
    print_message("seed %llu\n", (unsigned long long)seed);
    snprintf(dir, sizeof(dir), "/tmp/telescope-tail-XXXXXX");
    assert_non_null(mkdtemp(dir));
    path_of("*.log", pattern);
    const char *settings[] = {"paths",          pattern, "max_line_bytes", "500", "scan_interval", "10ms",
                              "max_open_files", "3",     NULL};
    tel_rand_init(&r, seed);
    host_open(&h, seed, settings);
    h.full_percent = 60;
    host_begin(&h);
    for (int step = 0; step < 400; step++) {
        struct tel_buf text = {0};
        unsigned file = (unsigned)tel_rand_below(&r, TEL_ARRAY_LEN(written));
        char name[16];
        snprintf(name, sizeof(name), "%u.log", file);
        random_text(&r, &text);
        if (text.len)
            append(name, &text);
        tel_buf_add(&written[file], text.ptr, text.len);
        tel_buf_free(&text);
        for (uint64_t n = tel_rand_below(&r, 4); n > 0; n--)
            host_work(&h);
        if (tel_rand_below(&r, 3) == 0)
            host_ack(&h);
        if (tel_rand_below(&r, 8) == 0) {
            host_end(&h);
            host_begin(&h);
        }
    }
    size_t want = 0;
    struct tel_buf end = {0};
    tel_buf_add_char(&end, '\n');
    for (size_t i = 0; i < TEL_ARRAY_LEN(written); i++) {
        char name[16];
        snprintf(name, sizeof(name), "%zu.log", i);
        append(name, &end);
        tel_buf_add_char(&written[i], '\n');
        want += written[i].len;
    }
    tel_buf_free(&end);
    work_until_quiet(&h, want);
    assert_true(h.times_full > 50);
    assert_int_equal(h.source_count, TEL_ARRAY_LEN(written));
    for (size_t i = 0; i < TEL_ARRAY_LEN(written); i++) {
        size_t k = 0;
        while (k < h.source_count && !tel_span_eq(tel_buf_span(&h.sources[k]->text),
                                                  tel_buf_span(&written[i])))
            k++;
        if (k == h.source_count)
            fail_msg("no source holds what was written to %zu.log", i);
        tel_buf_free(&written[i]);
    }
    host_end(&h);
    host_done(&h);
    struct tel_error err;
    assert_int_equal(tel_fs_remove_all(tel_fs_system(), dir, &err), TEL_OK);
}

static void restarts(void **state)
{
    const char *given = getenv("TEL_TEST_SEED");
    (void)state;
    for (int i = 0; i < (given ? 1 : 5); i++)
        restarted_at_every_point(given ? strtoull(given, NULL, 10) : tel_rand_seed() % 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(restarts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
