#include "sidecar/config.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/vec.h"
#include "common/conf/value.h"
#include "common/sys/fs.h"
#include "sidecar/plugin.h"

#define CONF(...) TEL_CONF_ITEM(struct sidecar_config, __VA_ARGS__)
static const struct tel_conf_item items[] = {
#include "sidecar/config.def"
};
#undef CONF
const struct tel_conf_table sidecar_conf_table = TEL_CONF_TABLE(items, struct sidecar_config);

struct reader {
    struct tel_conf *conf;
    struct tel_conf_mistakes *mistakes;
};

/* A plain value as text; NULL, with a mistake, for anything else. */
static const char *text_of(struct reader *r, const struct tel_conf_node *node)
{
    struct tel_arena *a = &r->conf->arena;
    struct tel_buf out = {0};
    struct tel_error err;
    const char *ret = NULL;
    switch (node->kind) {
    case TEL_NODE_BOOL:
        return node->v.flag ? "true" : "false";
    case TEL_NODE_INT:
        return tel_arena_printf(a, "%lld", (long long)node->v.i64).ptr;
    case TEL_NODE_DOUBLE:
        return tel_arena_printf(a, "%.17g", node->v.dbl).ptr;
    case TEL_NODE_STRING:
    case TEL_NODE_TEXT:
        if (tel_conf_expand(node->v.text, &out, &err) == TEL_OK)
            ret = tel_arena_copy(a, tel_buf_span(&out)).ptr;
        else
            tel_conf_mistake(r->mistakes, node, NULL, "%s", err.text);
        tel_buf_free(&out);
        return ret;
    case TEL_NODE_GROUP:
    case TEL_NODE_LIST:
        break;
    }
    tel_conf_mistake(r->mistakes, node, NULL, "must be a plain value, not %s",
                     tel_conf_kind_name(node->kind));
    return NULL;
}

/* The values of a list, or the one of a plain value. */
static const char *const *texts_of(struct reader *r, const struct tel_conf_node *node,
                                   size_t *ret_count)
{
    bool list = node->kind == TEL_NODE_LIST;
    const char **values =
        TEL_ARENA_ARRAY(&r->conf->arena, const char *, list ? node->count + 1 : 1);
    size_t n = 0;
    if (!list) {
        values[n] = text_of(r, node);
        n += values[n] != NULL;
    }
    for (const struct tel_conf_node *c = list ? node->first : NULL; c; c = c->next) {
        values[n] = text_of(r, c);
        n += values[n] != NULL;
    }
    *ret_count = n;
    return values;
}

static void read_labels(struct reader *r, const struct tel_conf_node *node, struct sidecar_input *in)
{
    if (node->kind != TEL_NODE_GROUP) {
        tel_conf_mistake(r->mistakes, node, NULL, "must be a group { name = \"value\"; }");
        return;
    }
    struct tel_field *labels = TEL_ARENA_ARRAY(&r->conf->arena, struct tel_field, node->count);
    for (const struct tel_conf_node *c = node->first; c; c = c->next) {
        const char *value = text_of(r, c);
        if (value)
            labels[in->label_count++] =
                (struct tel_field){tel_span_cstr(c->key), tel_span_cstr(value)};
    }
    in->labels = labels;
}

static void read_key(struct reader *r, const struct tel_conf_node *node, struct sidecar_input *in,
                     struct sidecar_setting *settings)
{
    size_t count;
    if (strcmp(node->key, "plugin") == 0) {
        in->plugin = text_of(r, node);
    } else if (strcmp(node->key, "name") == 0) {
        in->name = text_of(r, node);
    } else if (strcmp(node->key, "labels") == 0) {
        read_labels(r, node, in);
    } else if (strcmp(node->key, "drop_labels") == 0) {
        const char *const *names = texts_of(r, node, &count);
        struct tel_span *spans = TEL_ARENA_ARRAY(&r->conf->arena, struct tel_span, count);
        for (size_t i = 0; i < count; i++)
            spans[i] = tel_span_cstr(names[i]);
        in->drop_labels = spans;
        in->drop_label_count = count;
    } else if (strcmp(node->key, "timestamps") == 0) {
        const char *value = text_of(r, node);
        in->keep_timestamps = value && strcmp(value, "false") == 0;
        if (value && !in->keep_timestamps && strcmp(value, "true") != 0)
            tel_conf_mistake(r->mistakes, node, NULL, "must be true or false");
    } else {
        const char *const *values = texts_of(r, node, &count);
        settings[in->setting_count++] = (struct sidecar_setting){node->key, values, count};
    }
}

void config_inputs(const struct sidecar_config *config, struct tel_conf *conf,
                   struct tel_conf_mistakes *mistakes, const struct sidecar_input **ret,
                   size_t *ret_count)
{
    struct reader r = {conf, mistakes};
    struct tel_arena *a = &conf->arena;
    struct sidecar_input *inputs = TEL_ARENA_ARRAY(a, struct sidecar_input, config->inputs.len);
    size_t n = 0;
    for (size_t i = 0; i < config->inputs.len; i++) {
        const struct tel_conf_node *group = config->inputs.nodes[i];
        struct sidecar_input in = {0};
        struct sidecar_setting *settings = TEL_ARENA_ARRAY(a, struct sidecar_setting, group->count);
        for (const struct tel_conf_node *c = group->first; c; c = c->next)
            read_key(&r, c, &in, settings);
        in.settings = settings;
        if (!in.plugin)
            tel_conf_mistake(mistakes, group, "plugin", "is missing: the name of a plugin");
        if (!in.name)
            in.name = in.plugin;
        inputs[n++] = in;
    }
    *ret = inputs;
    *ret_count = n;
}

static char *plugin_dir(const struct sidecar_config *config)
{
    return *config->plugins_dir ? tel_strdup(config->plugins_dir) : plugin_default_dir();
}

/* A mistake "key ..." of a plugin at the place of that key. */
static void place_mistake(struct tel_conf_mistakes *mistakes, const struct tel_conf_node *group,
                          struct tel_span text)
{
    size_t end = 0;
    while (end < text.len && text.ptr[end] != ':' && text.ptr[end] != ' ')
        end++;
    const struct tel_conf_node *node = tel_conf_node_get(group, tel_span_slice(text, 0, end));
    tel_conf_mistake(mistakes, node ? node : group, NULL, "%.*s", TEL_SPAN_ARG(text));
}

static void check_input(struct tel_conf_mistakes *mistakes, const char *dir,
                        const struct tel_conf_node *group, const struct sidecar_input *in)
{
    struct plugin plugin;
    struct plugin_values values;
    struct tel_error err;
    struct tel_buf all = {0};
    if (plugin_load(dir, in->plugin, &plugin, &err) != TEL_OK) {
        tel_conf_mistake(mistakes, group, "plugin", "%s", err.text);
        return;
    }
    if (plugin_values_init(&values, plugin.desc, in->settings, in->setting_count, &all, &err) ==
        TEL_OK)
        plugin_values_done(&values);
    for (struct tel_span left = tel_buf_span(&all); left.len;)
        place_mistake(mistakes, group, tel_span_split(&left, '\n'));
    tel_buf_free(&all);
    plugin_unload(&plugin);
}

void config_check(const void *config, struct tel_conf *conf, struct tel_conf_mistakes *mistakes)
{
    const struct sidecar_config *c = config;
    const struct sidecar_input *inputs;
    size_t count;
    config_inputs(c, conf, mistakes, &inputs, &count);
    if (c->queue == 1 && !*c->journal_dir)
        tel_conf_mistake(mistakes, tel_conf_node_get(conf->root, TEL_SPAN("queue")), NULL,
                         "needs journal.dir");
    char *dir = plugin_dir(c);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < i; k++)
            if (inputs[i].name && inputs[k].name && strcmp(inputs[i].name, inputs[k].name) == 0)
                tel_conf_mistake(mistakes, c->inputs.nodes[i], "name",
                                 "two inputs are called %s", inputs[i].name);
        if (inputs[i].plugin)
            check_input(mistakes, dir, c->inputs.nodes[i], &inputs[i]);
    }
    free(dir);
}

void config_options(const struct sidecar_config *config, struct sidecar_options *ret)
{
    *ret = (struct sidecar_options){
        .data_dir = config->data_dir,
        .plugin_dir = *config->plugins_dir ? config->plugins_dir : NULL,
        .id = *config->id ? config->id : NULL,
        .tenant = config->tenant,
        .host = *config->host ? config->host : NULL,
        .framing = {config->record_schema_id ? TEL_RECORD_CONFLUENT : TEL_RECORD_SINGLE_OBJECT,
                    (uint32_t)config->record_schema_id},
        .batch_bytes = (uint32_t)config->batch_max_bytes,
        .batch_events = (uint32_t)config->batch_max_events,
        .batch_age_ms = (uint32_t)config->batch_max_age,
        .memory_bytes = (uint64_t)config->memory_max_bytes,
        .checkpoint_interval_ms = (uint32_t)config->checkpoint_interval,
        .spool_bytes = (uint64_t)config->spool_max_bytes,
        .spool_policy = config->spool_policy,
        .restart_if_corrupt = config->restart_if_corrupt,
    };
}

void config_doc_plugins(struct tel_buf *out)
{
    char *dir = plugin_default_dir();
    struct tel_fs_names names = {0};
    struct tel_error err;
    if (tel_fs_list(tel_fs_system(), dir, &names, &err) != TEL_OK)
        tel_buf_printf(out, "%s\n", err.text);
    for (size_t i = 0; i < names.len; i++) {
        struct plugin plugin;
        struct tel_span name = tel_span_cstr(names.items[i]);
        if (!tel_span_ends(name, TEL_SPAN(".so")))
            continue;
        names.items[i][name.len - 3] = '\0';
        if (plugin_load(dir, names.items[i], &plugin, &err) != TEL_OK)
            continue;
        tel_buf_printf(out, "## %s\n\n%s\n\n| Option | Type | Default | |\n|---|---|---|---|\n",
                       plugin.desc->name, plugin.desc->doc);
        for (size_t k = 0; k < plugin.desc->option_count; k++) {
            const struct telescope_option *o = &plugin.desc->options[k];
            tel_buf_printf(out, "| `%s` | %s | %s%s%s | %s |\n", o->key, plugin_type_name(o->type),
                           o->default_text && *o->default_text ? "`" : "",
                           o->flags & TELESCOPE_REQUIRED ? "required"
                           : o->default_text             ? o->default_text
                                                         : "",
                           o->default_text && *o->default_text ? "`" : "", o->doc);
        }
        tel_buf_add_char(out, '\n');
        plugin_unload(&plugin);
    }
    tel_fs_names_free(&names);
    free(dir);
}
