/*
 * Puts the parts together:
 *
 *     inputs (a thread each) ──► sink (a thread that polls the producer) ──► transport
 *         ▲   ▲  └──────────► checkpoint ◄── saver (a thread that writes it to the disk)
 *         │   └─ deliveries ──────┘ │
 *         └──── "it is saved" ◄─────┘
 *
 * Locks are leaves: a pipeline's list of deliveries, the checkpoint's map, the saver's flag, an input's
 * error text. None is taken while another is held.
 */
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/sys/fs.h"
#include "sidecar/sidecar_internal.h"

#define TEL_LOG_COMPONENT "sidecar"
#include "common/base/log.h"

#define BATCH_BYTES_DEFAULT  (252u << 10) /* a buffer of 256 KiB holds it and one more line */
#define BATCH_EVENTS_DEFAULT 10000u
#define BATCH_AGE_DEFAULT_MS 100u
#define MEMORY_DEFAULT       ((uint64_t)12 << 20)
#define SAVE_INTERVAL_MS     1000u
#define SPOOL_DEFAULT        ((uint64_t)256 << 20)
#define INPUTS_MAX           256u

void sidecar_input_tail(struct sidecar_input *input, struct sidecar_tail *space, const char *name,
                        const char *const *globs, size_t glob_count)
{
    space->settings[0] = (struct sidecar_setting){"paths", globs, glob_count};
    *input = (struct sidecar_input){
        .name = name, .plugin = "tail", .settings = space->settings, .setting_count = 1};
}

/* ---- options -------------------------------------------------------------------------------- */

static const char *copy_text(struct tel_arena *a, const char *s)
{
    return s ? tel_arena_strdup(a, s) : NULL;
}

static void copy_input(struct tel_arena *a, const struct sidecar_input *from,
                       struct sidecar_input *to)
{
    struct tel_field *labels = TEL_ARENA_ARRAY(a, struct tel_field, from->label_count);
    struct tel_span *drop = TEL_ARENA_ARRAY(a, struct tel_span, from->drop_label_count);
    for (size_t i = 0; i < from->label_count; i++)
        labels[i] = (struct tel_field){tel_arena_copy(a, from->labels[i].name),
                                       tel_arena_copy(a, from->labels[i].value)};
    for (size_t i = 0; i < from->drop_label_count; i++)
        drop[i] = tel_arena_copy(a, from->drop_labels[i]);
    /* Settings are parsed at once and not needed later. */
    *to = (struct sidecar_input){
        .name = copy_text(a, from->name),
        .plugin = copy_text(a, from->plugin),
        .labels = labels,
        .label_count = from->label_count,
        .drop_labels = drop,
        .drop_label_count = from->drop_label_count,
        .keep_timestamps = from->keep_timestamps,
    };
}

static bool name_ok(const char *name)
{
    size_t len = name ? strlen(name) : 0;
    return len > 0 && len <= 64 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == len;
}

static tel_code check_inputs(const struct sidecar_options *o, struct tel_error *err)
{
    if (o->input_count > INPUTS_MAX)
        return tel_error_set(err, TEL_ERR_LIMIT, "%zu inputs are more than %u", o->input_count,
                             INPUTS_MAX);
    for (size_t i = 0; i < o->input_count; i++) {
        if (!name_ok(o->inputs[i].name))
            return tel_error_set(err, TEL_ERR_INVALID,
                                 "input %zu: its name must be 1 to 64 of a-z A-Z 0-9 _ - .", i + 1);
        for (size_t k = 0; k < i; k++)
            if (strcmp(o->inputs[i].name, o->inputs[k].name) == 0)
                return tel_error_set(err, TEL_ERR_INVALID, "two inputs are called %s",
                                     o->inputs[i].name);
    }
    if (o->id && !name_ok(o->id))
        return tel_error_set(err, TEL_ERR_INVALID,
                             "the sidecar's id must be 1 to 64 of a-z A-Z 0-9 _ - .");
    return TEL_OK;
}

/* The id that was drawn at the first start. */
static tel_code stored_id(struct sidecar *s, struct tel_error *err)
{
    struct tel_buf path = {0}, text = {0};
    tel_buf_printf(&path, "%s/id", s->o.data_dir);
    tel_code rc = tel_fs_read_all(s->o.fs, tel_buf_cstr(&path), 256, &text, err);
    if (rc == TEL_ERR_NOTFOUND) {
        uint64_t drawn;
        tel_rand_secure(&drawn, sizeof(drawn));
        tel_buf_printf(&text, "%016llx\n", (unsigned long long)drawn);
        rc = tel_fs_write_atomic(s->o.fs, tel_buf_cstr(&path), tel_buf_span(&text), err);
    }
    if (rc == TEL_OK) {
        struct tel_span id = tel_span_trim(tel_buf_span(&text));
        s->o.id = tel_arena_copy(&s->memory, id).ptr;
        if (!name_ok(s->o.id))
            rc = tel_error_set(err, TEL_ERR_CORRUPT, "%s holds no id", tel_buf_cstr(&path));
    }
    tel_buf_free(&path);
    tel_buf_free(&text);
    return rc;
}

static void fill_options(struct sidecar *s, const struct sidecar_options *o)
{
    char host[256] = "";
    s->o = *o;
    s->o.data_dir = copy_text(&s->memory, o->data_dir);
    s->o.id = copy_text(&s->memory, o->id);
    s->o.tenant = copy_text(&s->memory, o->tenant ? o->tenant : "default");
    if (!o->host)
        (void)gethostname(host, sizeof(host) - 1);
    s->o.host = copy_text(&s->memory, o->host ? o->host : host);
    char *dir = o->plugin_dir ? tel_strdup(o->plugin_dir) : plugin_default_dir();
    s->o.plugin_dir = copy_text(&s->memory, dir);
    free(dir);
    s->o.fs = o->fs ? o->fs : tel_fs_system();
    s->o.batch_bytes = o->batch_bytes ? o->batch_bytes : BATCH_BYTES_DEFAULT;
    s->o.batch_events = o->batch_events ? o->batch_events : BATCH_EVENTS_DEFAULT;
    s->o.batch_age_ms = o->batch_age_ms ? o->batch_age_ms : BATCH_AGE_DEFAULT_MS;
    s->o.memory_bytes = o->memory_bytes ? o->memory_bytes : MEMORY_DEFAULT;
    s->o.spool_bytes = o->spool_bytes ? o->spool_bytes : SPOOL_DEFAULT;
    s->o.checkpoint_interval_ms =
        o->checkpoint_interval_ms ? o->checkpoint_interval_ms : SAVE_INTERVAL_MS;
    struct sidecar_input *inputs =
        TEL_ARENA_ARRAY(&s->memory, struct sidecar_input, o->input_count);
    for (size_t i = 0; i < o->input_count; i++)
        copy_input(&s->memory, &o->inputs[i], &inputs[i]);
    s->o.inputs = inputs;
}

/* ---- the saver ------------------------------------------------------------------------------ */

static void on_urgent(void *ctx)
{
    struct sidecar *s = ctx;
    tel_mutex_lock(&s->saver_lock);
    s->urgent = true;
    tel_cond_signal(&s->saver_wakes);
    tel_mutex_unlock(&s->saver_lock);
}

static void wake_inputs(void *ctx)
{
    struct sidecar *s = ctx;
    for (size_t i = 0; i < s->input_count; i++)
        input_wake(&s->inputs[i]);
}

/* The topic's number of partitions is kept, so that new sources find their place after a restart while
 * the queue is away: what the spool is for. On the sink's thread. */
static void on_partitions(void *ctx)
{
    struct sidecar *s = ctx;
    uint32_t count = atomic_load(&s->sink.partitions);
    struct checkpoint_entry *e = checkpoint_find(s->checkpoint, "", TEL_SPAN("topic"));
    if (e)
        checkpoint_set_partition(s->checkpoint, e, count);
    else
        (void)checkpoint_add(s->checkpoint, "", TEL_SPAN("topic"), "topic", count, TEL_SPAN(""));
    wake_inputs(s);
}

static void recall_partitions(struct sidecar *s)
{
    const struct checkpoint_entry *e = checkpoint_find(s->checkpoint, "", TEL_SPAN("topic"));
    if (!e)
        return;
    s->sink.recalled = s->spool_sink.recalled = e->partition;
}

static void save(struct sidecar *s)
{
    struct tel_error err = {0};
    bool urgent = checkpoint_urgent(s->checkpoint);
    if (checkpoint_save(s->checkpoint, &err) != TEL_OK)
        tel_log_error("checkpoint is not stored; new sources wait", tel_kv_error(&err));
    else if (urgent)
        wake_inputs(s);
    tel_mutex_lock(&s->saver_lock);
    s->save_error = err;
    tel_mutex_unlock(&s->saver_lock);
}

/* After a burst the heap keeps what its batches took: give it back once all of it is acknowledged. */
static void give_back_memory(struct sidecar *s, bool *burst)
{
    int64_t held = atomic_load(&s->budget.held);
    if (*burst && held == 0)
        (void)malloc_trim(0);
    *burst = held > s->budget.limit / 4 || (*burst && held > 0);
}

static void run_saver(void *arg)
{
    struct sidecar *s = arg;
    bool stop = false, burst = false;
    while (!stop) {
        int64_t deadline = tel_deadline_ms(s->o.checkpoint_interval_ms);
        tel_mutex_lock(&s->saver_lock);
        while (!s->urgent && !s->saver_stop)
            if (!tel_cond_wait_until(&s->saver_wakes, &s->saver_lock, deadline))
                break;
        bool failing = s->save_error.code != TEL_OK;
        s->urgent = false;
        stop = s->saver_stop;
        tel_mutex_unlock(&s->saver_lock);
        if (failing && !stop) { /* a disk that is full is not asked a hundred times a second */
            tel_mutex_lock(&s->saver_lock);
            while (!s->saver_stop &&
                   tel_cond_wait_until(&s->saver_wakes, &s->saver_lock, deadline))
                continue;
            tel_mutex_unlock(&s->saver_lock);
        }
        if (checkpoint_dirty(s->checkpoint))
            save(s);
        give_back_memory(s, &burst);
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static tel_code open_data(struct sidecar *s, struct tel_error *err)
{
    struct tel_buf path = {0};
    if (!s->o.data_dir || !*s->o.data_dir)
        return tel_error_set(err, TEL_ERR_INVALID, "no data folder is given");
    tel_code rc = tel_fs_mkdir_all(s->o.fs, s->o.data_dir, err);
    if (rc == TEL_OK) {
        tel_buf_printf(&path, "%s/lock", s->o.data_dir);
        rc = tel_fs_lock(tel_buf_cstr(&path), &s->lock, err);
        tel_buf_free(&path);
    }
    if (rc == TEL_OK && !s->o.id)
        rc = stored_id(s, err);
    if (rc == TEL_OK)
        rc = checkpoint_open(s->o.fs, s->o.data_dir, s->o.restart_if_corrupt, &s->checkpoint, err);
    return rc;
}

/* The sink of inputs that cannot be read again, made for the first of them. */
static tel_code need_spool(struct sidecar *s, struct tel_error *err)
{
    struct tel_buf dir = {0};
    if (s->spool)
        return TEL_OK;
    tel_buf_printf(&dir, "%s/spool", s->o.data_dir);
    struct spool_options o = {.fs = s->o.fs,
                              .dir = tel_buf_cstr(&dir),
                              .bytes = s->o.spool_bytes,
                              .policy = (enum spool_policy)s->o.spool_policy,
                              .checkpoint = s->checkpoint};
    tel_code rc = spool_new(&o, s->transport, &s->spool, err);
    tel_buf_free(&dir);
    return rc;
}

static tel_code add_input(struct sidecar *s, size_t i, const struct sidecar_input *given,
                          struct tel_error *err)
{
    struct input *in = &s->inputs[i];
    struct pipeline_options o = {
        .sidecar_id = s->o.id,
        .tenant = s->o.tenant,
        .host = s->o.host,
        .checkpoint = s->checkpoint,
        .sink = &s->sink,
        .budget = &s->budget,
        .clock = tel_clock_system(),
        .framing = s->o.framing,
        .batch_bytes = s->o.batch_bytes,
        .batch_events = s->o.batch_events,
        .batch_age_ns = s->o.batch_age_ms * TEL_NS_PER_MS,
        .urgent = on_urgent,
        .urgent_ctx = s,
    };
    in->config = &s->o.inputs[i];
    s->input_count = i + 1;
    tel_code rc = plugin_load(s->o.plugin_dir, given->plugin, &in->plugin, err);
    if (rc == TEL_OK)
        rc = plugin_values_init(&in->values, in->plugin.desc, given->settings,
                                given->setting_count, NULL, err);
    if (rc == TEL_OK && !(in->plugin.desc->flags & TELESCOPE_REREADABLE)) {
        o.sink = &s->spool_sink;
        rc = need_spool(s, err);
    }
    if (rc == TEL_OK)
        rc = input_init(in, &o, err);
    return rc == TEL_OK ? rc : tel_error_wrap(err, rc, "input %s", given->name);
}

tel_code sidecar_new(const struct sidecar_options *options, struct tel_transport *transport,
                     struct sidecar **ret, struct tel_error *err)
{
    tel_code rc = check_inputs(options, err);
    if (rc != TEL_OK)
        return rc;
    struct sidecar *s = TEL_NEW(struct sidecar);
    tel_arena_init(&s->memory, 4096);
    tel_mutex_init(&s->saver_lock);
    tel_cond_init(&s->saver_wakes);
    s->transport = transport;
    fill_options(s, options);
    s->budget.limit = (int64_t)s->o.memory_bytes;
    s->inputs = tel_calloc(options->input_count, sizeof(*s->inputs));
    rc = open_data(s, err);
    for (size_t i = 0; rc == TEL_OK && i < options->input_count; i++)
        rc = add_input(s, i, &options->inputs[i], err);
    if (rc != TEL_OK) {
        sidecar_free(s);
        return rc;
    }
    *ret = s;
    return TEL_OK;
}

tel_code sidecar_start(struct sidecar *s, struct tel_error *err)
{
    recall_partitions(s);
    tel_code rc = sink_start(&s->sink, s->transport, on_partitions, s, err);
    s->started = true;
    if (rc == TEL_OK && s->spool)
        rc = sink_start(&s->spool_sink, spool_transport(s->spool), wake_inputs, s, err);
    if (rc == TEL_OK)
        rc = tel_thread_start(&s->saver, "checkpoint", run_saver, s, err);
    for (size_t i = 0; rc == TEL_OK && i < s->input_count; i++)
        rc = input_start(&s->inputs[i], err);
    return rc;
}

static bool inputs_ended(const struct sidecar *s)
{
    for (size_t i = 0; i < s->input_count; i++)
        if (s->inputs[i].thread.started && atomic_load(&s->inputs[i].state) != INPUT_STOPPED)
            return false;
    return true;
}

tel_code sidecar_stop(struct sidecar *s, int grace_ms, struct tel_error *err)
{
    if (!s->started || s->stopped)
        return TEL_OK;
    int64_t deadline = tel_deadline_ms(grace_ms);
    for (size_t i = 0; i < s->input_count; i++)
        input_stop(&s->inputs[i]);
    while (!inputs_ended(s) && tel_mono_ns(tel_clock_system()) < deadline)
        usleep(2000);
    bool in_time = inputs_ended(s);
    for (size_t i = 0; i < s->input_count; i++) {
        input_abandon(&s->inputs[i]);
        tel_thread_join(&s->inputs[i].thread);
    }
    sink_stop(&s->spool_sink);
    sink_stop(&s->sink);
    if (s->spool) {
        int64_t left = (deadline - tel_mono_ns(tel_clock_system())) / TEL_NS_PER_MS;
        (void)spool_drain(s->spool, left > 0 ? (int)left : 0); /* what is left is on the disk */
    }
    tel_mutex_lock(&s->saver_lock);
    s->saver_stop = true;
    tel_cond_signal(&s->saver_wakes);
    tel_mutex_unlock(&s->saver_lock);
    tel_thread_join(&s->saver);
    s->stopped = true;
    if (s->save_error.code != TEL_OK)
        return tel_error_set(err, s->save_error.code, "%s", s->save_error.text);
    return in_time ? TEL_OK
                   : tel_error_set(err, TEL_ERR_TIMEOUT,
                                   "not everything that was read is acknowledged; it will be read "
                                   "again");
}

void sidecar_free(struct sidecar *s)
{
    struct tel_error err;
    if (!s)
        return;
    if (sidecar_stop(s, 0, &err) != TEL_OK)
        tel_log_debug("stopped without grace", tel_kv_error(&err));
    for (size_t i = 0; i < s->input_count; i++) {
        input_done(&s->inputs[i]);
        plugin_values_done(&s->inputs[i].values);
        plugin_unload(&s->inputs[i].plugin);
    }
    free(s->inputs);
    spool_free(s->spool);
    checkpoint_free(s->checkpoint);
    tel_fs_unlock(s->lock);
    tel_cond_done(&s->saver_wakes);
    tel_mutex_done(&s->saver_lock);
    tel_arena_free(&s->memory);
    free(s);
}

/* ---- questions ------------------------------------------------------------------------------ */

void sidecar_get_stats(struct sidecar *s, struct sidecar_stats *ret)
{
    struct sidecar_stats st = {0};
    for (size_t i = 0; i < s->input_count; i++) {
        struct input *in = &s->inputs[i];
        struct pipeline_counters *c = &in->pipeline.counters;
        st.events_read += atomic_load(&c->events_read);
        st.events_delivered += atomic_load(&c->events_delivered);
        st.events_dropped += atomic_load(&c->events_dropped);
        st.events_rejected += atomic_load(&c->events_rejected);
        st.bytes_read += atomic_load(&c->bytes_read);
        st.batches_delivered += atomic_load(&c->batches_delivered);
        st.bytes_delivered += atomic_load(&c->bytes_delivered);
        st.delivery_errors += atomic_load(&c->delivery_errors);
        st.sources += (uint32_t)atomic_load(&c->sources);
        st.inputs_running += atomic_load(&in->state) == INPUT_RUNNING;
        st.full |= atomic_load(&in->full);
    }
    if (s->spool) {
        struct spool_stats sp;
        spool_get_stats(s->spool, &sp);
        st.spool_waiting = sp.waiting;
        st.spool_dropped = sp.dropped + sp.refused;
    }
    st.held_bytes = (uint64_t)atomic_load(&s->budget.held);
    *ret = st;
}

bool sidecar_idle(struct sidecar *s)
{
    for (size_t i = 0; i < s->input_count; i++)
        if (!atomic_load(&s->inputs[i].idle))
            return false;
    return true;
}
