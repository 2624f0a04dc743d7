/* A plugin with one thing wrong with it; which one, the build says (BAD_...). */
#include <stdio.h>

#include "plugins/telescope_input.h"

/* The descriptor's head is filled first, and then spoilt. */
#ifdef __clang__
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#else
#pragma GCC diagnostic ignored "-Woverride-init"
#endif

static enum telescope_result bad_open(struct telescope_host *host,
                                      const struct telescope_host_api *api,
                                      const struct telescope_value *values, void **ret_instance,
                                      struct telescope_error *err)
{
    (void)host, (void)api, (void)values;
    *ret_instance = NULL;
    snprintf(err->text, sizeof(err->text), "it never opens");
    return TELESCOPE_FAILED;
}

#ifndef BAD_OPS
static enum telescope_result bad_work(void *instance, struct telescope_wait *ret_wait,
                                      struct telescope_error *err)
{
    (void)instance, (void)ret_wait, (void)err;
    return TELESCOPE_OK;
}
#endif

static void bad_close(void *instance)
{
    (void)instance;
}

static const struct telescope_plugin_ops ops = {
    .open = bad_open,
#ifndef BAD_OPS
    .work = bad_work,
#endif
    .close = bad_close,
};

static const struct telescope_option options[] = {
    {"text", TELESCOPE_STRING, 0, "", 0, 0, "Some text."},
#ifdef BAD_OPTION
    {"text", TELESCOPE_INT, 0, "", 0, 0, "The same again."},
#else
    {"number", TELESCOPE_INT, 0, "1", 0, 9, "A number."},
#endif
};

static const struct telescope_plugin plugin = {
    TELESCOPE_PLUGIN_ABI,
#ifdef BAD_ABI
    .abi_major = TELESCOPE_INPUT_ABI_MAJOR + 1,
#endif
#ifdef BAD_SIZE
    .record_size = sizeof(struct telescope_record) - 8,
#endif
#ifdef BAD_NAME
    .name = "somebody_else",
#else
    .name = BAD_FILE,
#endif
    .version = "1",
    .doc = "Fails.",
    .options = options,
    .option_count = 2,
    .ops = &ops,
};

#ifdef BAD_SYMBOL
TELESCOPE_EXPORT const struct telescope_plugin *another_symbol(void);
const struct telescope_plugin *another_symbol(void)
#else
const struct telescope_plugin *telescope_input_plugin(void)
#endif
{
#ifdef BAD_NULL
    return plugin.name ? NULL : &plugin;
#else
    return &plugin;
#endif
}
