/* Plugins that do not fit, options that are wrong, and a plugin that fails while it runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/sys/fs.h"
#include "sidecar/plugin.h"
#include "tests/unit/sidecar/sidecar_fixture.h"

/* BAD_PLUGINS: the folder of the bad ones, from the build. */
static void refused(const char *dir, const char *name, tel_code code, const char *says)
{
    struct plugin plugin;
    struct tel_error err = {0};
    tel_code rc = plugin_load(dir, name, &plugin, &err);
    if (rc != code)
        fail_msg("%s: %s (%s)", name, tel_code_name(rc), err.text);
    if (!strstr(err.text, says) || !strstr(err.text, name))
        fail_msg("%s: \"%s\" does not say \"%s\" and the file", name, err.text, says);
}

static void misfits_are_refused(void **state)
{
    (void)state;
    refused(BAD_PLUGINS, "bad_symbol", TEL_ERR_INVALID, "does not export telescope_input_plugin");
    refused(BAD_PLUGINS, "bad_abi", TEL_ERR_UNSUPPORTED, "was built for input ABI 2.0");
    refused(BAD_PLUGINS, "bad_size", TEL_ERR_UNSUPPORTED, "structs of other sizes");
    refused(BAD_PLUGINS, "bad_name", TEL_ERR_INVALID, "calls itself \"somebody_else\"");
    refused(BAD_PLUGINS, "bad_ops", TEL_ERR_INVALID, "open, work or close is missing");
    refused(BAD_PLUGINS, "bad_option", TEL_ERR_INVALID, "option text stands there twice");
    refused(BAD_PLUGINS, "bad_null", TEL_ERR_INVALID, "descriptor is NULL");
    refused(BAD_PLUGINS, "nothing", TEL_ERR_NOTFOUND, "there is no plugin");
    refused(BAD_PLUGINS, "../tail", TEL_ERR_INVALID, "is no name of a plugin");
    refused(BAD_PLUGINS, "", TEL_ERR_INVALID, "is no name of a plugin");
}

static void garbage_is_refused(void **state)
{
    char dir[] = "/tmp/telescope-plugin-XXXXXX", path[64];
    struct tel_error err;
    (void)state;
    assert_non_null(mkdtemp(dir));
    static const struct tel_span contents[] = {TEL_SPAN_INIT(""), TEL_SPAN_INIT("\x7f" "ELF\2\1\1"),
                                               TEL_SPAN_INIT("#!/bin/sh\n")};
    for (size_t i = 0; i < TEL_ARRAY_LEN(contents); i++) {
        snprintf(path, sizeof(path), "%s/garbage.so", dir);
        assert_int_equal(tel_fs_write_atomic(tel_fs_system(), path, contents[i], &err), TEL_OK);
        refused(dir, "garbage", TEL_ERR_INVALID, "cannot load plugin");
    }
    assert_int_equal(tel_fs_remove_all(tel_fs_system(), dir, &err), TEL_OK);
}

static void option_values(void **state)
{
    static const struct telescope_option options[] = {
        {"list", TELESCOPE_STRINGS, TELESCOPE_REQUIRED, NULL, 0, 0, "A list."},
        {"size", TELESCOPE_SIZE, 0, "64KiB", 1024, 1 << 20, "A size."},
        {"wait", TELESCOPE_DURATION, 0, "1s", 0, 0, "A time."},
        {"flag", TELESCOPE_BOOL, 0, "true", 0, 0, "A flag."},
        {"secret", TELESCOPE_INT, TELESCOPE_SECRET, NULL, 0, 0, "A secret number."},
        {"tags", TELESCOPE_STRINGS, 0, "a,b", 0, 0, "A list with a default."},
    };
    const struct telescope_plugin desc = {.name = "t",
                                          .options = options,
                                          .option_count = TEL_ARRAY_LEN(options),
                                          .ops = &(struct telescope_plugin_ops){0}};
    const char *list[] = {"x", "y"}, *one[] = {"512KiB"}, *wait[] = {"2m"}, *no[] = {"false"};
    const struct sidecar_setting good[] = {
        {"list", list, 2}, {"size", one, 1}, {"wait", wait, 1}, {"flag", no, 1}};
    struct plugin_values v;
    struct tel_error err;
    (void)state;
    assert_int_equal(plugin_values_init(&v, &desc, good, 4, NULL, &err), TEL_OK);
    assert_int_equal(v.values[0].list_len, 2);
    assert_string_equal(v.values[0].list[1].ptr, "y");
    assert_int_equal(v.values[1].number, 512 << 10);
    assert_int_equal(v.values[2].number, 120000);
    assert_int_equal(v.values[3].number, 0);
    assert_false(v.values[4].set);
    assert_int_equal(v.values[5].list_len, 2);
    assert_string_equal(v.values[5].list[1].ptr, "b");
    plugin_values_done(&v);

    const char *huge[] = {"2GiB"}, *maybe[] = {"maybe"}, *word[] = {"hunter2"};
    const struct sidecar_setting bad[] = {{"size", huge, 1},   {"flag", maybe, 1}, {"secret", word, 1},
                                          {"wait", list, 2},   {"none", list, 1},  {"flag", no, 1}};
    struct tel_buf all = {0};
    assert_int_equal(plugin_values_init(&v, &desc, bad, 6, &all, &err), TEL_ERR_INVALID);
    const char *text = tel_buf_cstr(&all);
    static const char *const says[] = {"size: 2147483648 is not within", "flag: \"maybe\"",
                                       "secret: \"...\"",                "wait is a list",
                                       "none is no option of plugin t",  "list is missing",
                                       "flag is given twice"};
    for (size_t i = 0; i < TEL_ARRAY_LEN(says); i++)
        if (!strstr(text, says[i]))
            fail_msg("\"%s\" is not in:\n%s", says[i], text);
    assert_null(strstr(text, "hunter2"));
    tel_buf_free(&all);
}

static void a_failing_plugin_does_not_end_the_sidecar(void **state)
{
    struct rig r;
    struct tel_error err;
    struct sidecar_stats st;
    (void)state;
    rig_open(&r, 1);
    struct sidecar_input in = {.name = "bad", .plugin = "bad_open"};
    r.options.inputs = &in;
    r.options.input_count = 1;
    r.options.plugin_dir = BAD_PLUGINS;
    assert_int_equal(sidecar_new(&r.options, r.transport, &r.sidecar, &err), TEL_OK);
    assert_int_equal(sidecar_start(r.sidecar, &err), TEL_OK);
    sidecar_get_stats(r.sidecar, &st);
    assert_int_equal(st.inputs_running, 0);
    rig_stop(&r);
    rig_close(&r);
}

static void the_example_counts(void **state)
{
    struct rig r;
    struct lines l;
    struct tel_error err;
    (void)state;
    rig_open(&r, 1);
    const char *every[] = {"1ms"}, *text[] = {"tock"};
    const struct sidecar_setting settings[] = {{"interval", every, 1}, {"text", text, 1}};
    struct sidecar_input in = {
        .name = "ex", .plugin = "example", .settings = settings, .setting_count = 2};
    r.options.inputs = &in;
    r.options.input_count = 1;
    for (int life = 0; life < 2; life++) {
        assert_int_equal(sidecar_new(&r.options, r.transport, &r.sidecar, &err), TEL_OK);
        assert_int_equal(sidecar_start(r.sidecar, &err), TEL_OK);
        rig_wait_delivered(&r, 20);
        rig_stop(&r);
    }
    rig_read(&r, &l);
    assert_int_equal(l.repeats, 0);
    assert_true(l.len >= 40);
    for (size_t i = 0; i < l.len; i++) {
        char want[32];
        snprintf(want, sizeof(want), "tock %zu", i + 1);
        assert_string_equal(l.items[i].body, want);
    }
    lines_free(&l);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misfits_are_refused),
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(option_values),
        cmocka_unit_test(a_failing_plugin_does_not_end_the_sidecar),
        cmocka_unit_test(the_example_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
