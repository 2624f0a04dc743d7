#include "sidecar/admin.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "common/net/http/http_admin.h"
#include "common/sys/fs.h"
#include "sidecar/sidecar_internal.h"

struct sidecar_metrics {
#define METRIC TEL_METRIC_MEMBER
#include "sidecar/metrics.def"
#undef METRIC
};

#define METRIC(...) TEL_METRIC_ITEM(struct sidecar_metrics, __VA_ARGS__)
static const struct tel_metric_item metric_items[] = {
#include "sidecar/metrics.def"
};
#undef METRIC
const struct tel_metric_table sidecar_metric_table = TEL_METRIC_TABLE(metric_items);

struct admin {
    struct sidecar *sidecar;
    struct tel_metrics *metrics;
    struct sidecar_metrics m;
    struct tel_http_admin watched;
    struct tel_http_server *server;
};

#define JSON "application/json"

/* ---- metrics, health ---------------------------------------------------------------------- */

static void collect_input(struct sidecar_metrics *m, struct input *in)
{
    struct pipeline_counters *c = &in->pipeline.counters;
    const char *name[] = {in->config->name};
    const struct {
        struct tel_family *family;
        uint64_t value;
    } counters[] = {
        {&m->events_read, atomic_load(&c->events_read)},
        {&m->bytes_read, atomic_load(&c->bytes_read)},
        {&m->events_delivered, atomic_load(&c->events_delivered)},
        {&m->bytes_delivered, atomic_load(&c->bytes_delivered)},
        {&m->batches_delivered, atomic_load(&c->batches_delivered)},
        {&m->events_dropped, atomic_load(&c->events_dropped)},
        {&m->events_rejected, atomic_load(&c->events_rejected)},
        {&m->delivery_errors, atomic_load(&c->delivery_errors)},
    };
    for (size_t i = 0; i < TEL_ARRAY_LEN(counters); i++)
        tel_counter_set(tel_family_counter(counters[i].family, name), counters[i].value);
    tel_gauge_set(tel_family_gauge(&m->sources, name), (double)atomic_load(&c->sources));
    tel_gauge_set(tel_family_gauge(&m->in_flight, name), (double)atomic_load(&c->in_flight));
    tel_gauge_set(tel_family_gauge(&m->running, name), atomic_load(&in->state) == INPUT_RUNNING);
    tel_gauge_set(tel_family_gauge(&m->full, name), atomic_load(&in->full));
    uint32_t n = atomic_load(&in->metric_count);
    for (uint32_t i = 0; i < n; i++) {
        const char *labels[] = {in->config->name, in->metrics[i].name};
        double v = atomic_load(&in->metrics[i].value);
        if (in->metrics[i].kind == TELESCOPE_COUNTER)
            tel_counter_set(tel_family_counter(&m->plugin_counter, labels),
                            v > 0 ? (uint64_t)v : 0);
        else
            tel_gauge_set(tel_family_gauge(&m->plugin_gauge, labels), v);
    }
}

static bool saving_fails(struct sidecar *s)
{
    tel_mutex_lock(&s->saver_lock);
    bool failing = s->save_error.code != TEL_OK;
    tel_mutex_unlock(&s->saver_lock);
    return failing;
}

static void collect(void *arg)
{
    struct admin *a = arg;
    struct sidecar *s = a->sidecar;
    for (size_t i = 0; i < s->input_count; i++)
        collect_input(&a->m, &s->inputs[i]);
    tel_gauge_set(&a->m.held_bytes, (double)atomic_load(&s->budget.held));
    tel_gauge_set(&a->m.checkpoint_entries, (double)checkpoint_count(s->checkpoint));
    tel_gauge_set(&a->m.checkpoint_failing, saving_fails(s));
    if (s->spool) {
        struct spool_stats sp;
        spool_get_stats(s->spool, &sp);
        tel_gauge_set(&a->m.spool_bytes, (double)sp.bytes);
        tel_gauge_set(&a->m.spool_waiting, (double)sp.waiting);
        tel_counter_set(&a->m.spool_forwarded, sp.forwarded);
        tel_counter_set(&a->m.spool_dropped, sp.dropped);
        tel_counter_set(&a->m.spool_refused, sp.refused);
    }
}

/* Ready: the topic is known, every input runs, positions can be stored. */
static bool is_ready(void *ctx, struct tel_buf *ret_why)
{
    struct sidecar *s = ((struct admin *)ctx)->sidecar;
    if (atomic_load(&s->sink.partitions) == 0)
        TEL_BUF_ADD_LIT(ret_why, "the topic's partitions are not known yet");
    else if (saving_fails(s))
        TEL_BUF_ADD_LIT(ret_why, "the checkpoint cannot be stored");
    for (size_t i = 0; i < s->input_count && ret_why->len == 0; i++)
        if (atomic_load(&s->inputs[i].state) != INPUT_RUNNING)
            tel_buf_printf(ret_why, "input %s does not run", s->inputs[i].config->name);
    return ret_why->len == 0;
}

/* ---- inputs ------------------------------------------------------------------------------- */

static void add_text(struct tel_buf *out, const char *s)
{
    tel_buf_add_json(out, tel_span_cstr(s));
}

static void add_value(struct tel_buf *out, const struct telescope_option *o,
                      const struct telescope_value *v)
{
    if (!v->set) {
        TEL_BUF_ADD_LIT(out, "null");
        return;
    }
    if (o->flags & TELESCOPE_SECRET) {
        add_text(out, "***");
        return;
    }
    switch (o->type) {
    case TELESCOPE_STRING:
        tel_buf_add_json(out, tel_span_make(v->text.ptr, v->text.len));
        return;
    case TELESCOPE_BOOL:
        tel_buf_add_span(out, v->number ? TEL_SPAN("true") : TEL_SPAN("false"));
        return;
    case TELESCOPE_INT:
    case TELESCOPE_SIZE:
    case TELESCOPE_DURATION:
        tel_buf_add_i64(out, v->number);
        return;
    case TELESCOPE_STRINGS:
        break;
    }
    tel_buf_add_char(out, '[');
    for (size_t i = 0; i < v->list_len; i++) {
        if (i)
            tel_buf_add_char(out, ',');
        tel_buf_add_json(out, tel_span_make(v->list[i].ptr, v->list[i].len));
    }
    tel_buf_add_char(out, ']');
}

static void add_config(struct tel_buf *out, const struct input *in)
{
    const struct telescope_plugin *desc = in->plugin.desc;
    TEL_BUF_ADD_LIT(out, "{\"name\":");
    add_text(out, in->config->name);
    TEL_BUF_ADD_LIT(out, ",\"type\":\"source\",\"tasks\":[],\"config\":{\"plugin\":");
    add_text(out, desc->name);
    for (size_t i = 0; i < desc->option_count; i++) {
        tel_buf_add_char(out, ',');
        add_text(out, desc->options[i].key);
        tel_buf_add_char(out, ':');
        add_value(out, &desc->options[i], &in->values.values[i]);
    }
    TEL_BUF_ADD_LIT(out, "}}\n");
}

static const char *state_name(const struct input *in)
{
    switch ((enum input_state)atomic_load(&in->state)) {
    case INPUT_STARTING:
        return "UNASSIGNED";
    case INPUT_RUNNING:
        return "RUNNING";
    case INPUT_FAILED:
        return "FAILED";
    case INPUT_STOPPED:
        return "STOPPED";
    }
    return "UNKNOWN";
}

static void add_status(struct tel_buf *out, struct input *in)
{
    struct pipeline_counters *c = &in->pipeline.counters;
    TEL_BUF_ADD_LIT(out, "{\"name\":");
    add_text(out, in->config->name);
    tel_buf_printf(out, ",\"connector\":{\"state\":\"%s\",\"worker_id\":", state_name(in));
    add_text(out, in->pipeline.o.sidecar_id);
    if (atomic_load(&in->state) == INPUT_FAILED) {
        TEL_BUF_ADD_LIT(out, ",\"trace\":");
        tel_mutex_lock(&in->lock);
        add_text(out, in->error.text);
        tel_mutex_unlock(&in->lock);
    }
    tel_buf_printf(out,
                   "},\"tasks\":[],\"type\":\"source\",\"full\":%s,\"sources\":%llu,"
                   "\"events_read\":%llu,\"events_delivered\":%llu,\"events_rejected\":%llu,"
                   "\"delivery_errors\":%llu}\n",
                   atomic_load(&in->full) ? "true" : "false",
                   (unsigned long long)atomic_load(&c->sources),
                   (unsigned long long)atomic_load(&c->events_read),
                   (unsigned long long)atomic_load(&c->events_delivered),
                   (unsigned long long)atomic_load(&c->events_rejected),
                   (unsigned long long)atomic_load(&c->delivery_errors));
}

static void serve_connectors(void *ctx, struct tel_http_request *req)
{
    struct sidecar *s = ((struct admin *)ctx)->sidecar;
    struct tel_buf out = {0};
    for (size_t i = 0; i < s->input_count; i++) {
        tel_buf_add_char(&out, i ? ',' : '[');
        add_text(&out, s->inputs[i].config->name);
    }
    tel_buf_add_span(&out, out.len ? TEL_SPAN("]\n") : TEL_SPAN("[]\n"));
    tel_http_reply(req, 200, JSON, tel_buf_span(&out));
    tel_buf_free(&out);
}

static void serve_connector(void *ctx, struct tel_http_request *req)
{
    struct sidecar *s = ((struct admin *)ctx)->sidecar;
    struct tel_span rest = tel_http_path_rest(req);
    struct tel_span name = tel_span_split(&rest, '/');
    struct tel_buf out = {0};
    size_t i = 0;
    while (i < s->input_count && !tel_span_eq_cstr(name, s->inputs[i].config->name))
        i++;
    if (i < s->input_count && rest.len == 0)
        add_config(&out, &s->inputs[i]);
    else if (i < s->input_count && tel_span_eq(rest, TEL_SPAN("status")))
        add_status(&out, &s->inputs[i]);
    if (out.len)
        tel_http_reply(req, 200, JSON, tel_buf_span(&out));
    else
        tel_http_reply_error(req, 404, "there is no such connector or page");
    tel_buf_free(&out);
}

/* ---- plugins ------------------------------------------------------------------------------ */

static void add_plugin(struct tel_buf *out, const struct telescope_plugin *desc)
{
    TEL_BUF_ADD_LIT(out, "{\"class\":");
    add_text(out, desc->name);
    TEL_BUF_ADD_LIT(out, ",\"type\":\"source\",\"version\":");
    add_text(out, desc->version);
    TEL_BUF_ADD_LIT(out, ",\"doc\":");
    add_text(out, desc->doc);
    TEL_BUF_ADD_LIT(out, ",\"options\":[");
    for (size_t i = 0; i < desc->option_count; i++) {
        const struct telescope_option *o = &desc->options[i];
        tel_buf_printf(out, "%s{\"name\":", i ? "," : "");
        add_text(out, o->key);
        TEL_BUF_ADD_LIT(out, ",\"type\":");
        add_text(out, plugin_type_name(o->type));
        tel_buf_printf(out, ",\"required\":%s,\"default\":",
                       o->flags & TELESCOPE_REQUIRED ? "true" : "false");
        if (o->default_text)
            add_text(out, o->default_text);
        else
            TEL_BUF_ADD_LIT(out, "null");
        TEL_BUF_ADD_LIT(out, ",\"doc\":");
        add_text(out, o->doc);
        tel_buf_add_char(out, '}');
    }
    TEL_BUF_ADD_LIT(out, "]}");
}

static void serve_plugins(void *ctx, struct tel_http_request *req)
{
    struct sidecar *s = ((struct admin *)ctx)->sidecar;
    struct tel_fs_names names = {0};
    struct tel_buf out = {0};
    struct tel_error err;
    if (tel_fs_list(tel_fs_system(), s->o.plugin_dir, &names, &err) != TEL_OK) {
        tel_http_reply_error(req, 500, "%s", err.text);
        return;
    }
    tel_buf_add_char(&out, '[');
    for (size_t i = 0; i < names.len; i++) {
        struct tel_span name = tel_span_cstr(names.items[i]);
        struct plugin plugin;
        if (!tel_span_ends(name, TEL_SPAN(".so")))
            continue;
        names.items[i][name.len - 3] = '\0';
        if (plugin_load(s->o.plugin_dir, names.items[i], &plugin, &err) != TEL_OK)
            continue;
        if (out.len > 1)
            tel_buf_add_char(&out, ',');
        add_plugin(&out, plugin.desc);
        plugin_unload(&plugin);
    }
    TEL_BUF_ADD_LIT(&out, "]\n");
    tel_fs_names_free(&names);
    tel_http_reply(req, 200, JSON, tel_buf_span(&out));
    tel_buf_free(&out);
}

/* Parameters and form fields as settings; a list is a field given several times. */
static size_t settings_of(struct tel_http_request *req, const struct sidecar_setting **ret)
{
    struct tel_arena *arena = tel_http_arena(req);
    size_t count, used = 0;
    const struct tel_http_pair *pairs = tel_http_params(req, &count);
    struct sidecar_setting *settings = TEL_ARENA_ARRAY(arena, struct sidecar_setting, count);
    for (size_t i = 0; i < count; i++) {
        size_t k = 0, n = 0;
        while (k < used && !tel_span_eq_cstr(pairs[i].name, settings[k].key))
            k++;
        if (k < used)
            continue; /* taken with the first of its name */
        const char **values = TEL_ARENA_ARRAY(arena, const char *, count - i);
        for (size_t j = i; j < count; j++)
            if (tel_span_eq(pairs[j].name, pairs[i].name))
                values[n++] = tel_arena_copy(arena, pairs[j].value).ptr;
        settings[used++] =
            (struct sidecar_setting){tel_arena_copy(arena, pairs[i].name).ptr, values, n};
    }
    *ret = settings;
    return used;
}

static void validate(struct tel_http_request *req, const struct telescope_plugin *desc)
{
    const struct sidecar_setting *settings;
    size_t count = settings_of(req, &settings);
    struct plugin_values values;
    struct tel_buf mistakes = {0}, out = {0};
    bool valid = plugin_values_init(&values, desc, settings, count, &mistakes, NULL) == TEL_OK;
    if (valid)
        plugin_values_done(&values);
    TEL_BUF_ADD_LIT(&out, "{\"name\":");
    add_text(&out, desc->name);
    TEL_BUF_ADD_LIT(&out, ",\"mistakes\":[");
    struct tel_span left = tel_buf_span(&mistakes);
    for (size_t i = 0; left.len; i++) {
        if (i)
            tel_buf_add_char(&out, ',');
        tel_buf_add_json(&out, tel_span_split(&left, '\n'));
    }
    tel_buf_printf(&out, "],\"valid\":%s}\n", valid ? "true" : "false");
    tel_http_reply(req, 200, JSON, tel_buf_span(&out));
    tel_buf_free(&mistakes);
    tel_buf_free(&out);
}

static void serve_validate(void *ctx, struct tel_http_request *req)
{
    struct sidecar *s = ((struct admin *)ctx)->sidecar;
    struct tel_span rest = tel_http_path_rest(req), name = tel_span_split(&rest, '/');
    struct plugin plugin;
    struct tel_error err;
    if (!tel_span_eq(rest, TEL_SPAN("config/validate"))) {
        tel_http_reply_error(req, 404, "there is no such page");
        return;
    }
    if (plugin_load(s->o.plugin_dir, tel_arena_copy(tel_http_arena(req), name).ptr, &plugin,
                    &err) != TEL_OK) {
        tel_http_reply_error(req, 404, "%s", err.text);
        return;
    }
    validate(req, plugin.desc);
    plugin_unload(&plugin);
}

/* ---- life --------------------------------------------------------------------------------- */

tel_code admin_new(struct sidecar *sidecar, const char *address, struct admin **ret,
                   struct tel_error *err)
{
    struct tel_http_server_options o = {.address = address, .connections_max = 64};
    struct tel_http_server *server;
    tel_code rc = tel_http_server_new(&o, &server, err);
    if (rc != TEL_OK)
        return tel_error_wrap(err, rc, "admin.listen");
    struct admin *a = TEL_NEW(struct admin);
    a->sidecar = sidecar;
    a->server = server;
    a->metrics = tel_metrics_new();
    tel_metrics_register(a->metrics, &sidecar_metric_table, &a->m, NULL, NULL);
    tel_metrics_on_collect(a->metrics, collect, a);
    a->watched = (struct tel_http_admin){a->metrics, is_ready, a};
    tel_http_admin_routes(&a->watched, server);
    const struct tel_http_route routes[] = {
        {.methods = "GET", .path = "/connectors", .handler = serve_connectors, .ctx = a},
        {.methods = "GET", .path = "/connectors/*", .handler = serve_connector, .ctx = a},
        {.methods = "GET", .path = "/connector-plugins", .handler = serve_plugins, .ctx = a},
        {.methods = "PUT POST", .path = "/connector-plugins/*", .handler = serve_validate, .ctx = a},
    };
    for (size_t i = 0; i < TEL_ARRAY_LEN(routes); i++)
        tel_http_server_route(server, &routes[i]);
    rc = tel_http_server_start(server, err);
    if (rc != TEL_OK) {
        admin_free(a);
        return rc;
    }
    *ret = a;
    return TEL_OK;
}

const char *admin_address(const struct admin *admin)
{
    return tel_http_server_address(admin->server);
}

void admin_free(struct admin *admin)
{
    if (!admin)
        return;
    tel_http_server_free(admin->server);
    tel_metrics_unregister(admin->metrics, &admin->m);
    tel_metrics_free(admin->metrics);
    free(admin);
}
