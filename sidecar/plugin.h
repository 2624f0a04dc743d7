/*
 * Plugins: shared objects behind plugins/telescope_input.h. Loading checks everything that can be
 * checked before any of the plugin's code is trusted with work, and every complaint names the file.
 * A plugin stays loaded until the process ends or plugin_unload; one thread loads and unloads.
 */
#ifndef SIDECAR_PLUGIN_H
#define SIDECAR_PLUGIN_H

#include "common/base/buf.h"
#include "common/base/error.h"
#include "plugins/telescope_input.h"

struct sidecar_setting;

struct plugin {
    const struct telescope_plugin *desc;
    char *path;
    void *handle;
};

/* The folder of plugins that belongs to this program: beside it, or where it was installed. For the
 * caller to free. */
char *plugin_default_dir(void);

/* Loads <dir>/<name>.so. TEL_ERR_NOTFOUND, or TEL_ERR_INVALID with the reason. */
TEL_MUST_USE tel_code plugin_load(const char *dir, const char *name, struct plugin *ret,
                                  struct tel_error *err);
void plugin_unload(struct plugin *plugin); /* all zero is fine */

/* A descriptor that was not loaded from a file; for plugin_load and for tests. */
TEL_MUST_USE tel_code plugin_check_descriptor(const struct telescope_plugin *desc, const char *path,
                                              struct tel_error *err);

/* Values for a plugin's table of options, and the memory behind them. All zero is empty. */
struct plugin_values {
    struct telescope_value *values; /* option_count of them */
    size_t count;
    char **texts; /* owned */
    size_t text_count;
};

/* Parses settings by the plugin's table, fills in defaults, and asks the plugin whether it likes
 * them. On failure err tells the first mistake; with `all` (may be NULL) each mistake is appended to
 * it as a line. */
TEL_MUST_USE tel_code plugin_values_init(struct plugin_values *v, const struct telescope_plugin *desc,
                                         const struct sidecar_setting *settings, size_t count,
                                         struct tel_buf *all, struct tel_error *err);
void plugin_values_done(struct plugin_values *v);

const char *plugin_type_name(enum telescope_type type);

#endif
