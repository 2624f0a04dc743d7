#include "tests/unit/plugins/tail_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "sidecar/sidecar.h"

/* Where each source was cut back to when a crash is played: text length by position. */
struct mark {
    uint64_t position;
    size_t len;
};

struct source_marks {
    struct mark *items;
    size_t len, cap;
};

static struct source_marks marks[64];

static void mark_add(size_t source, uint64_t position, size_t len)
{
    struct source_marks *m = &marks[source];
    if (m->len == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 64;
        m->items = tel_realloc_array(m->items, m->cap, sizeof(struct mark));
    }
    m->items[m->len++] = (struct mark){position, len};
}

static size_t index_of(const struct telescope_host *h, const struct host_source *s)
{
    size_t i = 0;
    while (h->sources[i] != s)
        i++;
    return i;
}

static struct telescope_host *the_host;

static struct telescope_source *source_open(struct telescope_host *h,
                                            const struct telescope_source_spec *spec,
                                            uint64_t *ret_position, struct telescope_error *err)
{
    struct host_source *s = NULL;
    (void)err;
    assert_true(spec->id.len > 0 && spec->id.len < sizeof(s->id));
    for (size_t i = 0; i < h->source_count; i++)
        if (tel_span_eq(tel_span_make(spec->id.ptr, spec->id.len),
                        tel_span_cstr(h->sources[i]->id)))
            s = h->sources[i];
    if (!s) {
        assert_true(h->source_count < TEL_ARRAY_LEN(h->sources));
        s = h->sources[h->source_count++] = TEL_NEW(struct host_source);
        memcpy(s->id, spec->id.ptr, spec->id.len);
    }
    assert_false(s->open);
    assert_false(s->forgotten); /* an id is never used again */
    s->open = true;
    s->user = spec->user;
    tel_buf_clear(&s->state);
    tel_buf_add(&s->state, spec->state.ptr, spec->state.len);
    *ret_position = s->acked;
    return (struct telescope_source *)s;
}

static enum telescope_result emit(struct telescope_source *source,
                                  const struct telescope_record *records, size_t count,
                                  size_t *ret_taken, struct telescope_error *err)
{
    struct host_source *s = (struct host_source *)source;
    struct telescope_host *h = the_host;
    (void)err;
    assert_true(s->open && count > 0);
    size_t take = count;
    if (tel_rand_below(&h->rand, 100) < h->full_percent) {
        take = (size_t)tel_rand_below(&h->rand, count);
        h->times_full++;
    }
    for (size_t i = 0; i < take; i++) {
        const struct telescope_record *r = &records[i];
        assert_true(r->position > s->position);
        s->position = r->position;
        tel_buf_add(&s->text, r->body.ptr, r->body.len);
        bool piece = r->attribute_count &&
                     memchr(r->attributes[0].value.ptr, '?', r->attributes[0].value.len);
        if (!piece)
            tel_buf_add_char(&s->text, '\n');
        mark_add(index_of(h, s), s->position, s->text.len);
    }
    *ret_taken = take;
    return take < count ? TELESCOPE_FULL : TELESCOPE_OK;
}

static void source_state(struct telescope_source *source, struct telescope_str state)
{
    struct host_source *s = (struct host_source *)source;
    tel_buf_clear(&s->state);
    tel_buf_add(&s->state, state.ptr, state.len);
}

static uint64_t source_acked(const struct telescope_source *source)
{
    return ((const struct host_source *)source)->acked;
}

static void source_close(struct telescope_source *source, bool forget)
{
    struct host_source *s = (struct host_source *)source;
    assert_true(s->open);
    s->open = false;
    s->forgotten = forget;
}

static void source_forget(struct telescope_host *h, struct telescope_str id)
{
    for (size_t i = 0; i < h->source_count; i++)
        if (tel_span_eq(tel_span_make(id.ptr, id.len), tel_span_cstr(h->sources[i]->id)))
            h->sources[i]->forgotten = true;
}

static void wake(struct telescope_host *h)
{
    (void)h;
}

static void watch_fd(struct telescope_host *h, int fd)
{
    (void)h, (void)fd;
}

static void log_line(struct telescope_host *h, enum telescope_log_level level, const char *text)
{
    (void)h, (void)level, (void)text;
}

static void metric(struct telescope_host *h, const char *name, enum telescope_metric_kind kind,
                   double value)
{
    (void)h, (void)name, (void)kind, (void)value;
}

static int64_t wall_ns(struct telescope_host *h)
{
    (void)h;
    return tel_wall_ns(tel_clock_system());
}

static int64_t mono_ns(struct telescope_host *h)
{
    (void)h;
    return tel_mono_ns(tel_clock_system());
}

static const struct telescope_host_api api = {
    .abi_major = TELESCOPE_INPUT_ABI_MAJOR,
    .abi_minor = TELESCOPE_INPUT_ABI_MINOR,
    .size = sizeof(api),
    .source_open = source_open,
    .emit = emit,
    .source_state = source_state,
    .source_acked = source_acked,
    .source_close = source_close,
    .source_forget = source_forget,
    .wake = wake,
    .watch_fd = watch_fd,
    .log = log_line,
    .metric = metric,
    .wall_ns = wall_ns,
    .mono_ns = mono_ns,
};

void host_open(struct telescope_host *h, uint64_t seed, const char *const *settings)
{
    struct tel_error err;
    struct sidecar_setting list[16];
    size_t count = 0;
    memset(h, 0, sizeof(*h));
    tel_rand_init(&h->rand, seed);
    the_host = h;
    for (; settings[2 * count]; count++)
        list[count] = (struct sidecar_setting){settings[2 * count], &settings[2 * count + 1], 1};
    char *dir = plugin_default_dir();
    if (plugin_load(dir, "tail", &h->plugin, &err) != TEL_OK ||
        plugin_values_init(&h->values, h->plugin.desc, list, count, NULL, &err) != TEL_OK)
        fail_msg("%s", err.text);
    free(dir);
}

void host_begin(struct telescope_host *h)
{
    struct telescope_error err;
    const struct telescope_plugin_ops *ops = h->plugin.desc->ops;
    assert_int_equal(ops->open(h, &api, h->values.values, &h->instance, &err), TELESCOPE_OK);
    for (size_t i = 0; i < h->source_count; i++) {
        struct host_source *s = h->sources[i];
        if (s->forgotten)
            continue;
        size_t len = 0, kept = 0;
        for (size_t k = 0; k < marks[i].len && marks[i].items[k].position <= s->acked; k++) {
            len = marks[i].items[k].len;
            kept = k + 1;
        }
        marks[i].len = kept;
        s->text.len = len;
        s->position = s->acked;
        ops->restore(h->instance, (struct telescope_str){s->id, strlen(s->id)}, s->acked,
                     (struct telescope_str){s->state.ptr, s->state.len});
    }
    if (ops->start)
        assert_int_equal(ops->start(h->instance, &err), TELESCOPE_OK);
}

void host_work(struct telescope_host *h)
{
    struct telescope_wait wait;
    struct telescope_error err;
    assert_int_equal(h->plugin.desc->ops->work(h->instance, &wait, &err), TELESCOPE_OK);
    assert_true(wait.at_least_ms >= 0);
}

void host_ack(struct telescope_host *h)
{
    for (size_t i = 0; i < h->source_count; i++) {
        struct host_source *s = h->sources[i];
        /* To the end of some record; when it was closed for good, all of it in the end. */
        size_t first = 0;
        while (first < marks[i].len && marks[i].items[first].position <= s->acked)
            first++;
        if (first < marks[i].len)
            s->acked = marks[i].items[first + tel_rand_below(&h->rand, marks[i].len - first)].position;
        if (s->forgotten && marks[i].len)
            s->acked = marks[i].items[marks[i].len - 1].position;
        if (s->open && h->plugin.desc->ops->acked)
            h->plugin.desc->ops->acked(h->instance, s->user, s->acked);
    }
}

void host_end(struct telescope_host *h)
{
    h->plugin.desc->ops->close(h->instance);
    for (size_t i = 0; i < h->source_count; i++)
        assert_false(h->sources[i]->open);
}

void host_done(struct telescope_host *h)
{
    for (size_t i = 0; i < h->source_count; i++) {
        tel_buf_free(&h->sources[i]->text);
        tel_buf_free(&h->sources[i]->state);
        free(h->sources[i]);
        free(marks[i].items);
        marks[i] = (struct source_marks){NULL, 0, 0};
    }
    plugin_values_done(&h->values);
    plugin_unload(&h->plugin);
}
