#include "sidecar/input.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "sidecar/checkpoint.h"
#include "sidecar/sidecar.h"

#define TEL_LOG_COMPONENT "input"
#include "common/base/log.h"

#define FULL_POLL_NS    (20 * TEL_NS_PER_MS) /* other inputs' deliveries free the budget, too */
#define RESTART_MIN_NS  TEL_NS_PER_S
#define RESTART_MAX_NS  (60 * TEL_NS_PER_S)

struct telescope_host {
    struct input in;
};

static struct input *input_of(struct telescope_host *host)
{
    return &host->in;
}

static struct source *source_of(struct telescope_source *source)
{
    return (struct source *)source;
}

static void pass_error(struct telescope_error *to, const struct tel_error *from)
{
    if (to)
        snprintf(to->text, sizeof(to->text), "%s", from->text);
}

/* ---- what plugins call: the input's thread, but for wake and log ------------------------------ */

static struct telescope_source *host_source_open(struct telescope_host *host,
                                                 const struct telescope_source_spec *spec,
                                                 uint64_t *ret_position,
                                                 struct telescope_error *err)
{
    struct tel_error why;
    struct source *s = pipeline_open(&input_of(host)->pipeline, spec, ret_position, &why);
    if (!s)
        pass_error(err, &why);
    return (struct telescope_source *)s;
}

static enum telescope_result host_emit(struct telescope_source *source,
                                       const struct telescope_record *records, size_t count,
                                       size_t *ret_taken, struct telescope_error *err)
{
    struct tel_error why;
    enum telescope_result rc = pipeline_take(source_of(source), records, count, ret_taken, &why);
    if (rc == TELESCOPE_FAILED)
        pass_error(err, &why);
    return rc;
}

static void host_source_state(struct telescope_source *source, struct telescope_str state)
{
    pipeline_set_state(source_of(source), tel_span_make(state.ptr, state.len));
}

static uint64_t host_source_acked(const struct telescope_source *source)
{
    return ((const struct source *)source)->acked;
}

static void host_source_close(struct telescope_source *source, bool forget)
{
    pipeline_close(source_of(source), forget);
}

static void host_source_forget(struct telescope_host *host, struct telescope_str id)
{
    pipeline_forget(&input_of(host)->pipeline, tel_span_make(id.ptr, id.len));
}

static void host_wake(struct telescope_host *host)
{
    atomic_store(&input_of(host)->plugin_wake, true);
    tel_waker_wake(&input_of(host)->waker);
}

static void host_watch_fd(struct telescope_host *host, int fd)
{
    input_of(host)->watched_fd = fd;
}

static void host_log(struct telescope_host *host, enum telescope_log_level level, const char *text)
{
    struct tel_kv name = tel_kv_str("input", input_of(host)->config->name);
    struct tel_kv what = tel_kv_str("text", text);
    switch (level) {
    case TELESCOPE_DEBUG:
        tel_log_debug("plugin", name, what);
        return;
    case TELESCOPE_INFO:
        tel_log_info("plugin", name, what);
        return;
    case TELESCOPE_WARN:
        tel_log_warn("plugin", name, what);
        return;
    case TELESCOPE_ERROR:
        break;
    }
    tel_log_error("plugin", name, what);
}

static bool metric_name_ok(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return len > 0 && len < sizeof(((struct input_metric *)0)->name) && !name[len];
}

static void host_metric(struct telescope_host *host, const char *name,
                        enum telescope_metric_kind kind, double value)
{
    struct input *in = input_of(host);
    uint32_t n = atomic_load(&in->metric_count), i = 0;
    while (i < n && strcmp(in->metrics[i].name, name) != 0)
        i++;
    if (i == n) {
        if (n == INPUT_METRICS_MAX || !metric_name_ok(name))
            return;
        strcpy(in->metrics[i].name, name);
        in->metrics[i].kind = kind;
        atomic_store(&in->metric_count, n + 1);
    }
    double before = kind == TELESCOPE_COUNTER ? atomic_load(&in->metrics[i].value) : 0;
    atomic_store(&in->metrics[i].value, before + value);
}

static int64_t host_wall_ns(struct telescope_host *host)
{
    return tel_wall_ns(input_of(host)->pipeline.o.clock);
}

static int64_t host_mono_ns(struct telescope_host *host)
{
    return tel_mono_ns(input_of(host)->pipeline.o.clock);
}

static const struct telescope_host_api host_api = {
    .abi_major = TELESCOPE_INPUT_ABI_MAJOR,
    .abi_minor = TELESCOPE_INPUT_ABI_MINOR,
    .size = sizeof(struct telescope_host_api),
    .source_open = host_source_open,
    .emit = host_emit,
    .source_state = host_source_state,
    .source_acked = host_source_acked,
    .source_close = host_source_close,
    .source_forget = host_source_forget,
    .wake = host_wake,
    .watch_fd = host_watch_fd,
    .log = host_log,
    .metric = host_metric,
    .wall_ns = host_wall_ns,
    .mono_ns = host_mono_ns,
};

/* ---- an instance's life ----------------------------------------------------------------------- */

static struct telescope_host *host_of(struct input *in)
{
    return TEL_CONTAINER_OF(in, struct telescope_host, in);
}

static void failed(struct input *in, const struct telescope_error *why)
{
    int64_t pause = RESTART_MIN_NS << TEL_MIN(in->failures, 6u);
    in->failures++;
    tel_mutex_lock(&in->lock);
    (void)tel_error_set(&in->error, TEL_ERR_UNAVAILABLE, "%.400s", why->text);
    tel_mutex_unlock(&in->lock);
    tel_log_error("input failed and is started again later", tel_kv_str("input", in->config->name),
                  tel_kv_str("error", in->error.text),
                  tel_kv_i64("pause_ms", TEL_MIN(pause, RESTART_MAX_NS) / TEL_NS_PER_MS));
    atomic_store(&in->state, INPUT_FAILED);
    in->restart_ns = host_mono_ns(host_of(in)) + TEL_MIN(pause, RESTART_MAX_NS);
}

static void close_instance(struct input *in)
{
    if (!in->instance)
        return;
    in->plugin.desc->ops->close(in->instance);
    in->instance = NULL;
    in->watched_fd = -1;
    pipeline_close_all(&in->pipeline);
}

typedef TEL_VEC(const struct checkpoint_entry *) entry_list;

static void collect_entry(void *ctx, const struct checkpoint_entry *e)
{
    entry_list *list = ctx;
    tel_vec_push(list, e);
}

static void restore(struct input *in)
{
    entry_list list = {0};
    const struct telescope_plugin_ops *ops = in->plugin.desc->ops;
    if (!ops->restore)
        return;
    /* Collected first: the plugin may forget some of them while it is told. */
    checkpoint_each(in->pipeline.o.checkpoint, in->config->name, collect_entry, &list);
    for (size_t i = 0; i < list.len; i++) {
        const struct checkpoint_entry *e = list.items[i];
        ops->restore(in->instance, (struct telescope_str){e->id, strlen(e->id)}, e->position,
                     (struct telescope_str){e->state.ptr, e->state.len});
    }
    tel_vec_free(&list);
}

static void open_instance(struct input *in)
{
    const struct telescope_plugin_ops *ops = in->plugin.desc->ops;
    struct telescope_error why = {{0}};
    enum telescope_result rc =
        ops->open(host_of(in), &host_api, in->values.values, &in->instance, &why);
    if (rc != TELESCOPE_OK) {
        in->instance = NULL;
        pipeline_close_all(&in->pipeline);
        failed(in, &why);
        return;
    }
    restore(in);
    if (ops->start && ops->start(in->instance, &why) != TELESCOPE_OK) {
        close_instance(in);
        failed(in, &why);
        return;
    }
    in->not_before_ns = in->due_ns = 0;
    atomic_store(&in->state, INPUT_RUNNING);
}

static void work(struct input *in, int64_t now)
{
    struct telescope_wait wait = {0, -1};
    struct telescope_error why = {{0}};
    enum telescope_result rc = in->plugin.desc->ops->work(in->instance, &wait, &why);
    if (rc == TELESCOPE_FAILED) {
        close_instance(in);
        failed(in, &why);
        return;
    }
    in->failures = 0;
    in->not_before_ns = now + wait.at_least_ms * TEL_NS_PER_MS;
    in->due_ns = wait.at_most_ms < 0 ? TEL_NO_DEADLINE : now + wait.at_most_ms * TEL_NS_PER_MS;
}

/* ---- the thread ------------------------------------------------------------------------------- */

/* Sleeps until the deadline, or is woken. With the plugin's descriptor only while it may be heard. */
static void sleep_until(struct input *in, int64_t deadline, int64_t now)
{
    bool listen = in->instance && in->watched_fd >= 0 && in->not_before_ns <= now &&
                  !atomic_load(&in->full);
    struct pollfd fds[2] = {{in->waker.fd, POLLIN, 0}, {in->watched_fd, POLLIN, 0}};
    int64_t ms = deadline == TEL_NO_DEADLINE ? 60000 : (deadline - now) / TEL_NS_PER_MS + 1;
    int n = poll(fds, listen ? 2 : 1, ms < 0 ? 0 : (int)TEL_MIN(ms, 60000));
    if (n <= 0)
        return;
    if (fds[0].revents)
        tel_waker_drain(&in->waker);
    if (listen && fds[1].revents)
        in->due_ns = 0;
}

/* One round; returns when the next is due. */
static int64_t round_once(struct input *in, bool stopping)
{
    struct pipeline *p = &in->pipeline;
    int64_t now = tel_mono_ns(p->o.clock);
    if (!in->instance && !stopping && now >= in->restart_ns && !pipeline_busy(p))
        open_instance(in);
    if (atomic_exchange(&in->plugin_wake, false))
        in->due_ns = 0;
    bool full = pipeline_full(p);
    atomic_store_explicit(&in->full, full, memory_order_relaxed);
    bool may_work = in->instance && !full && !in->drained;
    if (may_work && now >= in->not_before_ns && now >= in->due_ns)
        work(in, now);
    int64_t next = pipeline_step(p, stopping);
    if (in->instance && !in->drained) {
        int64_t at = full ? now + FULL_POLL_NS : TEL_MAX(in->not_before_ns, in->due_ns);
        /* Something may become readable before it is due, but not before it may be heard. */
        if (!full && in->watched_fd >= 0 && in->not_before_ns > now)
            at = in->not_before_ns;
        next = TEL_MIN(next, at);
    } else if (!in->instance && !stopping) {
        next = TEL_MIN(next, in->restart_ns);
    }
    return next;
}

static void begin_stop(struct input *in)
{
    const struct telescope_plugin_ops *ops = in->plugin.desc->ops;
    if (in->instance && ops->stop)
        ops->stop(in->instance);
    else
        in->drained = true;
}

static void run(void *arg)
{
    struct input *in = arg;
    bool stopping = false;
    while (!atomic_load(&in->abandon)) {
        if (!stopping && atomic_load(&in->stopping)) {
            stopping = true;
            begin_stop(in);
        }
        int64_t next = round_once(in, stopping);
        int64_t now = tel_mono_ns(in->pipeline.o.clock);
        bool busy = pipeline_busy(&in->pipeline);
        /* With stop(), work() went on until the plugin had no more to say at once. */
        if (stopping && !busy && (in->drained || !in->instance || in->due_ns > now))
            break;
        if (next <= now)
            continue;
        atomic_store(&in->idle, !busy && in->instance && !atomic_load(&in->full));
        sleep_until(in, next, now);
        atomic_store(&in->idle, false);
    }
    close_instance(in);
    (void)pipeline_step(&in->pipeline, true);
    atomic_store(&in->state, INPUT_STOPPED);
}

static void on_acked(void *ctx, void *user, uint64_t position)
{
    struct input *in = ctx;
    if (in->instance && in->plugin.desc->ops->acked)
        in->plugin.desc->ops->acked(in->instance, user, position);
}

tel_code input_init(struct input *in, const struct pipeline_options *options, struct tel_error *err)
{
    struct pipeline_options o = *options;
    tel_mutex_init(&in->lock);
    in->watched_fd = in->waker.fd = -1;
    o.waker = &in->waker;
    o.acked = on_acked;
    o.acked_ctx = in;
    o.input = in->config;
    pipeline_init(&in->pipeline, &o);
    return tel_waker_init(&in->waker, err);
}

void input_done(struct input *in)
{
    if (!in->pipeline.o.input)
        return;
    pipeline_done(&in->pipeline);
    tel_waker_done(&in->waker);
    tel_mutex_done(&in->lock);
}

tel_code input_start(struct input *in, struct tel_error *err)
{
    char name[16];
    snprintf(name, sizeof(name), "in-%.12s", in->config->name);
    return tel_thread_start(&in->thread, name, run, in, err);
}

void input_stop(struct input *in)
{
    atomic_store(&in->stopping, true);
    tel_waker_wake(&in->waker);
}

void input_abandon(struct input *in)
{
    atomic_store(&in->abandon, true);
    tel_waker_wake(&in->waker);
}

void input_wake(struct input *in)
{
    tel_waker_wake(&in->waker);
}
