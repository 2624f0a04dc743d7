#include "sidecar/plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/conf/value.h"
#include "sidecar/sidecar.h"

#define OPTIONS_MAX 256
#define LIST_MAX    10000

/* ---- loading ------------------------------------------------------------------------------ */

char *plugin_default_dir(void)
{
    char exe[PATH_MAX];
    struct tel_buf dir = {0};
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    for (int up = 0; n > 0 && up < 2; up++)
        while (n > 0 && exe[--n] != '/')
            continue;
    if (n >= 0) {
        tel_buf_add(&dir, exe, (size_t)n);
        TEL_BUF_ADD_LIT(&dir, "/lib/telescope/plugins");
    }
    if (dir.len == 0 || access(tel_buf_cstr(&dir), R_OK) != 0) {
        tel_buf_clear(&dir);
        tel_buf_add_span(&dir, tel_span_cstr(SIDECAR_PLUGIN_DIR));
    }
    char *ret = tel_strdup(tel_buf_cstr(&dir));
    tel_buf_free(&dir);
    return ret;
}

static bool good_name(const char *name, const char *extra, size_t max)
{
    size_t len = name ? strlen(name) : 0;
    for (size_t i = 0; i < len; i++)
        if (!(name[i] >= 'a' && name[i] <= 'z') && !(name[i] >= '0' && name[i] <= '9') &&
            !strchr(extra, name[i]))
            return false;
    return len > 0 && len <= max;
}

static tel_code check_options(const struct telescope_plugin *desc, const char *path,
                              struct tel_error *err)
{
    if (desc->option_count > OPTIONS_MAX || (desc->option_count && !desc->options))
        return tel_error_set(err, TEL_ERR_INVALID, "%s: its table of %zu options is not sound",
                             path, desc->option_count);
    for (size_t i = 0; i < desc->option_count; i++) {
        const struct telescope_option *o = &desc->options[i];
        if (!good_name(o->key, "_", 64) || !o->doc || (unsigned)o->type > TELESCOPE_DURATION)
            return tel_error_set(err, TEL_ERR_INVALID,
                                 "%s: option %zu has no good key, type or documentation", path, i);
        for (size_t k = 0; k < i; k++)
            if (strcmp(desc->options[k].key, o->key) == 0)
                return tel_error_set(err, TEL_ERR_INVALID, "%s: option %s stands there twice", path,
                                     o->key);
    }
    return TEL_OK;
}

tel_code plugin_check_descriptor(const struct telescope_plugin *desc, const char *path,
                                 struct tel_error *err)
{
    if (!desc)
        return tel_error_set(err, TEL_ERR_INVALID, "%s: its descriptor is NULL", path);
    if (desc->abi_major != TELESCOPE_INPUT_ABI_MAJOR || desc->abi_minor > TELESCOPE_INPUT_ABI_MINOR)
        return tel_error_set(err, TEL_ERR_UNSUPPORTED,
                             "%s was built for input ABI %u.%u; this sidecar has %u.%u", path,
                             desc->abi_major, desc->abi_minor, TELESCOPE_INPUT_ABI_MAJOR,
                             TELESCOPE_INPUT_ABI_MINOR);
    if (desc->plugin_size != sizeof(struct telescope_plugin) ||
        desc->record_size != sizeof(struct telescope_record) ||
        desc->option_size != sizeof(struct telescope_option) ||
        desc->value_size != sizeof(struct telescope_value))
        return tel_error_set(err, TEL_ERR_UNSUPPORTED,
                             "%s was built with structs of other sizes than input ABI %u.%u has",
                             path, TELESCOPE_INPUT_ABI_MAJOR, TELESCOPE_INPUT_ABI_MINOR);
    if (!good_name(desc->name, "_", 32) || !desc->version || !desc->doc)
        return tel_error_set(err, TEL_ERR_INVALID, "%s: it has no good name, version or doc", path);
    if (!desc->ops || !desc->ops->open || !desc->ops->work || !desc->ops->close)
        return tel_error_set(err, TEL_ERR_INVALID, "%s: open, work or close is missing", path);
    return check_options(desc, path, err);
}

static tel_code load_file(struct plugin *p, const char *name, struct tel_error *err)
{
    if (access(p->path, F_OK) != 0)
        return tel_error_set(err, TEL_ERR_NOTFOUND, "there is no plugin %s", p->path);
    p->handle = dlopen(p->path, RTLD_NOW | RTLD_LOCAL);
    if (!p->handle) {
        const char *why = dlerror();
        return tel_error_set(err, TEL_ERR_INVALID, "cannot load plugin: %s", why ? why : p->path);
    }
    /* POSIX has dlsym return functions as object pointers. */
    const struct telescope_plugin *(*get)(void);
    *(void **)&get = dlsym(p->handle, TELESCOPE_INPUT_SYMBOL);
    if (!get)
        return tel_error_set(err, TEL_ERR_INVALID,
                             "%s is no input plugin: it does not export %s", p->path,
                             TELESCOPE_INPUT_SYMBOL);
    p->desc = get();
    tel_code rc = plugin_check_descriptor(p->desc, p->path, err);
    if (rc == TEL_OK && strcmp(p->desc->name, name) != 0)
        return tel_error_set(err, TEL_ERR_INVALID, "%s calls itself \"%s\"", p->path,
                             p->desc->name);
    return rc;
}

tel_code plugin_load(const char *dir, const char *name, struct plugin *ret, struct tel_error *err)
{
    struct plugin p = {0};
    struct tel_buf path = {0};
    if (!good_name(name, "_", 32))
        return tel_error_set(err, TEL_ERR_INVALID,
                             "\"%s\" is no name of a plugin (a-z, 0-9 and _, at most 32)", name);
    tel_buf_printf(&path, "%s/%s.so", dir, name);
    p.path = tel_strdup(tel_buf_cstr(&path));
    tel_buf_free(&path);
    tel_code rc = load_file(&p, name, err);
    if (rc != TEL_OK) {
        plugin_unload(&p);
        return rc;
    }
    *ret = p;
    return TEL_OK;
}

void plugin_unload(struct plugin *plugin)
{
    if (plugin->handle)
        dlclose(plugin->handle);
    free(plugin->path);
    *plugin = (struct plugin){0};
}

/* ---- values ------------------------------------------------------------------------------- */

const char *plugin_type_name(enum telescope_type type)
{
    switch (type) {
    case TELESCOPE_STRING:
        return "text";
    case TELESCOPE_STRINGS:
        return "list of texts";
    case TELESCOPE_INT:
        return "whole number";
    case TELESCOPE_BOOL:
        return "true or false";
    case TELESCOPE_SIZE:
        return "size in bytes, as in 64KiB";
    case TELESCOPE_DURATION:
        return "time, as in 500ms or 5s";
    }
    return "unknown";
}

static bool parse_bool(const char *text, int64_t *ret)
{
    bool yes = strcmp(text, "true") == 0;
    if (!yes && strcmp(text, "false") != 0)
        return false;
    *ret = yes;
    return true;
}

static bool parse_scalar(const struct telescope_option *o, const char *text, int64_t *ret)
{
    long long number;
    switch (o->type) {
    case TELESCOPE_INT:
        if (!tel_span_to_i64(tel_span_cstr(text), &number))
            return false;
        *ret = number;
        return true;
    case TELESCOPE_SIZE:
        return tel_conf_parse_size(tel_span_cstr(text), ret);
    case TELESCOPE_DURATION:
        return tel_conf_parse_duration(tel_span_cstr(text), ret);
    case TELESCOPE_BOOL:
        return parse_bool(text, ret);
    case TELESCOPE_STRING:
    case TELESCOPE_STRINGS:
        break;
    }
    return false;
}

static char *keep(struct plugin_values *v, struct tel_span text)
{
    v->texts = tel_realloc_array(v->texts, v->text_count + 1, sizeof(char *));
    return v->texts[v->text_count++] = tel_strndup(text);
}

static void set_list(struct plugin_values *v, struct telescope_value *value,
                     const struct tel_span *items, size_t count)
{
    struct telescope_str *list = tel_calloc(count, sizeof(*list));
    for (size_t i = 0; i < count; i++)
        list[i] = (struct telescope_str){keep(v, items[i]), items[i].len};
    value->list = list;
    value->list_len = count;
    value->set = true;
}

static tel_code set_text(struct plugin_values *v, const struct telescope_option *o,
                         struct telescope_value *value, const char *text, struct tel_error *err)
{
    if (o->type == TELESCOPE_STRING) {
        value->text = (struct telescope_str){keep(v, tel_span_cstr(text)), strlen(text)};
    } else if (!parse_scalar(o, text, &value->number)) {
        return tel_error_set(err, TEL_ERR_INVALID, "%s: \"%s\" is no %s", o->key,
                             o->flags & TELESCOPE_SECRET ? "..." : text, plugin_type_name(o->type));
    } else if ((o->min || o->max) && (value->number < o->min || value->number > o->max)) {
        return tel_error_set(err, TEL_ERR_INVALID, "%s: %lld is not within %lld and %lld", o->key,
                             (long long)value->number, (long long)o->min, (long long)o->max);
    }
    value->set = true;
    return TEL_OK;
}

static tel_code set_default(struct plugin_values *v, const struct telescope_option *o,
                            struct telescope_value *value, struct tel_error *err)
{
    if (o->flags & TELESCOPE_REQUIRED)
        return tel_error_set(err, TEL_ERR_INVALID, "%s is missing: %s", o->key, o->doc);
    if (!o->default_text)
        return TEL_OK;
    if (o->type != TELESCOPE_STRINGS)
        return set_text(v, o, value, o->default_text, err);
    struct tel_span items[64], rest = tel_span_cstr(o->default_text);
    size_t count = 0;
    while (rest.len && count < TEL_ARRAY_LEN(items))
        items[count++] = tel_span_split(&rest, ',');
    set_list(v, value, items, count);
    return TEL_OK;
}

static tel_code set_value(struct plugin_values *v, const struct telescope_option *o,
                          struct telescope_value *value, const struct sidecar_setting *setting,
                          struct tel_error *err)
{
    if (value->set)
        return tel_error_set(err, TEL_ERR_INVALID, "%s is given twice", o->key);
    if (o->type != TELESCOPE_STRINGS) {
        if (setting->value_count != 1)
            return tel_error_set(err, TEL_ERR_INVALID, "%s is a list where one %s is wanted",
                                 o->key, plugin_type_name(o->type));
        return set_text(v, o, value, setting->values[0], err);
    }
    if (setting->value_count > LIST_MAX)
        return tel_error_set(err, TEL_ERR_LIMIT, "%s has more than %d values", o->key, LIST_MAX);
    struct tel_span *items = tel_calloc(setting->value_count, sizeof(*items));
    for (size_t i = 0; i < setting->value_count; i++)
        items[i] = tel_span_cstr(setting->values[i]);
    set_list(v, value, items, setting->value_count);
    free(items);
    return TEL_OK;
}

/* The first mistake into err, every mistake into all. */
struct mistakes {
    tel_code code;
    struct tel_error *err;
    struct tel_buf *all;
};

static void mistake(struct mistakes *m, const struct tel_error *err)
{
    if (m->code == TEL_OK) {
        m->code = err->code;
        if (m->err)
            *m->err = *err;
    }
    if (m->all)
        tel_buf_printf(m->all, "%s\n", err->text);
}

static const struct telescope_option *find_option(const struct telescope_plugin *desc,
                                                  const char *key)
{
    for (size_t i = 0; i < desc->option_count; i++)
        if (strcmp(desc->options[i].key, key) == 0)
            return &desc->options[i];
    return NULL;
}

tel_code plugin_values_init(struct plugin_values *v, const struct telescope_plugin *desc,
                            const struct sidecar_setting *settings, size_t count,
                            struct tel_buf *all, struct tel_error *err)
{
    struct mistakes m = {TEL_OK, err, all};
    struct tel_error one;
    struct telescope_error answer = {{0}};
    *v = (struct plugin_values){.count = desc->option_count};
    v->values = tel_calloc(desc->option_count, sizeof(*v->values));
    for (size_t i = 0; i < count; i++) {
        const struct telescope_option *o = find_option(desc, settings[i].key);
        if (!o)
            (void)tel_error_set(&one, TEL_ERR_INVALID, "%s is no option of plugin %s",
                                settings[i].key, desc->name);
        if (o && set_value(v, o, &v->values[o - desc->options], &settings[i], &one) == TEL_OK)
            continue;
        mistake(&m, &one);
        if (o)
            v->values[o - desc->options].set = true; /* given, so not missing as well */
    }
    for (size_t i = 0; i < desc->option_count; i++)
        if (!v->values[i].set &&
            set_default(v, &desc->options[i], &v->values[i], &one) != TEL_OK)
            mistake(&m, &one);
    if (m.code == TEL_OK && desc->ops->check &&
        desc->ops->check(v->values, &answer) != TELESCOPE_OK) {
        answer.text[sizeof(answer.text) - 1] = '\0';
        (void)tel_error_set(&one, TEL_ERR_INVALID, "%s", answer.text);
        mistake(&m, &one);
    }
    if (m.code != TEL_OK)
        plugin_values_done(v);
    return m.code;
}

void plugin_values_done(struct plugin_values *v)
{
    for (size_t i = 0; i < v->count; i++)
        free((struct telescope_str *)(uintptr_t)v->values[i].list);
    for (size_t i = 0; i < v->text_count; i++)
        free(v->texts[i]);
    free(v->texts);
    free(v->values);
    *v = (struct plugin_values){0};
}
