#include "tests/unit/sidecar/sidecar_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/sys/fs.h"
#include "common/transport/transport_journal.h"
#include "sidecar/plugin.h"

static void must(tel_code rc, const struct tel_error *err)
{
    if (rc != TEL_OK)
        fail_msg("%s: %s", tel_code_name(rc), err->text);
}

void rig_open(struct rig *r, uint32_t partitions)
{
    struct tel_error err;
    char queue[160];
    memset(r, 0, sizeof(*r));
    snprintf(r->dir, sizeof(r->dir), "/tmp/telescope-sidecar-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    snprintf(queue, sizeof(queue), "%s/queue", r->dir);
    snprintf(r->data_dir, sizeof(r->data_dir), "%s/data", r->dir);
    struct tel_transport_journal_options o = {
        .fs = tel_fs_system(), .dir = queue, .partitions = partitions};
    must(tel_transport_journal_new(&o, &r->transport, &err), &err);
    char *plugins = plugin_default_dir();
    snprintf(r->plugin_dir, sizeof(r->plugin_dir), "%s", plugins);
    free(plugins);
    r->options = (struct sidecar_options){.data_dir = r->data_dir,
                                          .plugin_dir = r->plugin_dir,
                                          .host = "testhost",
                                          .batch_age_ms = 5,
                                          .checkpoint_interval_ms = 20};
    r->input = (struct sidecar_input){.name = "files", .plugin = "tail", .settings = r->settings};
    rig_set(r, "scan_interval", "20ms");
    rig_set(r, "read_delay", "1ms");
    rig_set(r, "rotate_grace", "100ms");
}

void rig_close(struct rig *r)
{
    struct tel_error err;
    sidecar_free(r->sidecar);
    tel_transport_free(r->transport);
    must(tel_fs_remove_all(tel_fs_system(), r->dir, &err), &err);
}

void rig_set(struct rig *r, const char *key, const char *value)
{
    size_t i = 0;
    while (i < r->input.setting_count && strcmp(r->settings[i].key, key) != 0)
        i++;
    assert_true(i < TEL_ARRAY_LEN(r->settings));
    r->values[i] = value;
    r->settings[i] = (struct sidecar_setting){key, &r->values[i], 1};
    if (i == r->input.setting_count)
        r->input.setting_count++;
}

void rig_start(struct rig *r, const char *glob)
{
    struct tel_error err;
    snprintf(r->globs[0], sizeof(r->globs[0]), "%s/%s", r->dir, glob);
    rig_set(r, "paths", r->globs[0]);
    r->options.inputs = &r->input;
    r->options.input_count = 1;
    must(sidecar_new(&r->options, r->transport, &r->sidecar, &err), &err);
    must(sidecar_start(r->sidecar, &err), &err);
}

void rig_stop(struct rig *r)
{
    struct tel_error err;
    must(sidecar_stop(r->sidecar, RIG_WAIT_S * 1000, &err), &err);
    sidecar_free(r->sidecar);
    r->sidecar = NULL;
}

void rig_kill(struct rig *r)
{
    sidecar_free(r->sidecar);
    r->sidecar = NULL;
}

void rig_path(const struct rig *r, const char *name, char out[256])
{
    snprintf(out, 256, "%s/%s", r->dir, name);
}

void rig_append(struct rig *r, const char *name, const char *text, size_t len)
{
    char path[256];
    rig_path(r, name, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    while (len) {
        ssize_t n = write(fd, text, len);
        assert_true(n > 0);
        text += n;
        len -= (size_t)n;
    }
    close(fd);
}

void rig_puts(struct rig *r, const char *name, const char *text)
{
    rig_append(r, name, text, strlen(text));
}

void rig_rename(struct rig *r, const char *from, const char *to)
{
    char a[256], b[256];
    rig_path(r, from, a);
    rig_path(r, to, b);
    assert_int_equal(rename(a, b), 0);
}

void rig_mkdir(struct rig *r, const char *name)
{
    char path[256];
    struct tel_error err;
    rig_path(r, name, path);
    must(tel_fs_mkdir_all(tel_fs_system(), path, &err), &err);
}

void rig_truncate(struct rig *r, const char *name)
{
    char path[256];
    rig_path(r, name, path);
    assert_int_equal(truncate(path, 0), 0);
}

void rig_unlink(struct rig *r, const char *name)
{
    char path[256];
    rig_path(r, name, path);
    assert_int_equal(unlink(path), 0);
}

void rig_wait_delivered(struct rig *r, uint64_t events)
{
    struct sidecar_stats st;
    const struct tel_clock *clock = tel_clock_system();
    int64_t deadline = tel_mono_ns(clock) + RIG_WAIT_S * TEL_NS_PER_S;
    do {
        sidecar_get_stats(r->sidecar, &st);
        if (st.events_delivered >= events)
            return;
        usleep(1000);
    } while (tel_mono_ns(clock) < deadline);
    fail_msg("%llu of %llu events were delivered (%llu read)",
             (unsigned long long)st.events_delivered, (unsigned long long)events,
             (unsigned long long)st.events_read);
}

void rig_wait_idle(struct rig *r)
{
    const struct tel_clock *clock = tel_clock_system();
    int64_t deadline = tel_mono_ns(clock) + RIG_WAIT_S * TEL_NS_PER_S;
    while (!sidecar_idle(r->sidecar)) {
        if (tel_mono_ns(clock) > deadline)
            fail_msg("the sidecar is still busy");
        usleep(1000);
    }
}

void rig_wait_sources(struct rig *r, uint32_t sources)
{
    struct sidecar_stats st;
    const struct tel_clock *clock = tel_clock_system();
    int64_t deadline = tel_mono_ns(clock) + RIG_WAIT_S * TEL_NS_PER_S;
    do {
        sidecar_get_stats(r->sidecar, &st);
        if (st.sources == sources)
            return;
        usleep(1000);
    } while (tel_mono_ns(clock) < deadline);
    fail_msg("%u sources are open, not %u", st.sources, sources);
}

static struct tel_span label(const struct tel_batch *b, const char *name)
{
    for (uint32_t i = 0; i < b->resource_count; i++)
        if (tel_span_eq_cstr(b->resource[i].name, name))
            return b->resource[i].value;
    return TEL_SPAN("");
}

static void keep(struct lines *ret, const struct tel_batch *b, struct tel_map *last)
{
    for (uint32_t i = 0; i < b->event_count; i++) {
        const struct tel_event *e = &b->events[i];
        uint64_t *position = tel_map_put(last, b->source, NULL);
        if (e->position <= *position) {
            ret->repeats++;
            continue;
        }
        *position = e->position;
        struct line l = {.source = tel_strndup(b->source),
                         .body = tel_strndup(e->body),
                         .file = tel_strndup(label(b, "file")),
                         .body_len = e->body.len,
                         .position = e->position,
                         .timestamp_ns = e->timestamp_ns};
        for (uint32_t a = 0; a < e->attribute_count; a++)
            if (tel_span_eq_cstr(e->attributes[a].name, "telescope.split"))
                l.split = tel_strndup(e->attributes[a].value);
        tel_vec_push(ret, l);
    }
}

static void read_partition(struct rig *r, uint32_t partition, struct lines *ret,
                           struct tel_map *home, struct tel_map *last)
{
    struct tel_consumer *c;
    struct tel_error err;
    struct tel_arena arena;
    tel_arena_init(&arena, 0);
    must(tel_transport_consumer(r->transport, partition, 0, 0, &c, &err), &err);
    for (;;) {
        const struct tel_message *messages;
        size_t count;
        int64_t gap;
        must(tel_consumer_poll(c, 0, 100, &messages, &count, &gap, &err), &err);
        if (count == 0)
            break;
        for (size_t i = 0; i < count; i++) {
            struct tel_batch b;
            bool fresh;
            must(tel_record_decode(NULL, messages[i].value, &arena, &b, &err), &err);
            assert_true(tel_span_eq(messages[i].key, b.source));
            uint64_t *where = tel_map_put(home, b.source, &fresh);
            assert_true(fresh || *where == partition);
            *where = partition;
            keep(ret, &b, last);
            tel_arena_reset(&arena);
        }
    }
    tel_consumer_free(c);
    tel_arena_free(&arena);
}

void rig_read(struct rig *r, struct lines *ret)
{
    uint32_t partitions;
    struct tel_error err;
    struct tel_map home, last;
    tel_map_init(&home);
    tel_map_init(&last);
    memset(ret, 0, sizeof(*ret));
    must(tel_transport_partitions(r->transport, RIG_WAIT_S * 1000, &partitions, &err), &err);
    for (uint32_t p = 0; p < partitions; p++)
        read_partition(r, p, ret, &home, &last);
    tel_map_free(&home);
    tel_map_free(&last);
}

void lines_free(struct lines *l)
{
    for (size_t i = 0; i < l->len; i++) {
        free(l->items[i].source);
        free(l->items[i].body);
        free(l->items[i].file);
        free(l->items[i].split);
    }
    tel_vec_free(l);
}

static bool of_file(const struct line *l, const char *file)
{
    return tel_span_ends(tel_span_cstr(l->file), tel_span_cstr(file));
}

void lines_check_file(const struct lines *l, const char *file, const char *text, size_t len)
{
    size_t at = 0;
    for (size_t i = 0; i < l->len; i++) {
        const struct line *line = &l->items[i];
        if (!of_file(line, file))
            continue;
        if (at + line->body_len > len || memcmp(text + at, line->body, line->body_len) != 0)
            fail_msg("%s differs at byte %zu, in a line of %zu bytes at position %llu", file, at,
                     line->body_len, (unsigned long long)line->position);
        at += line->body_len;
        bool whole = !line->split || !strchr(line->split, '?');
        if (whole && at < len && text[at] == '\n')
            at++;
    }
    if (at != len)
        fail_msg("%s has %zu of %zu bytes", file, at, len);
}

size_t lines_sources(const struct lines *l)
{
    struct tel_map seen;
    tel_map_init(&seen);
    for (size_t i = 0; i < l->len; i++)
        (void)tel_map_put(&seen, tel_span_cstr(l->items[i].source), NULL);
    size_t n = seen.len;
    tel_map_free(&seen);
    return n;
}

/* The text of the source of l->items[first], which is its first line. */
static void source_text(const struct lines *l, size_t first, struct tel_buf *out)
{
    for (size_t i = first; i < l->len; i++) {
        const struct line *line = &l->items[i];
        if (strcmp(line->source, l->items[first].source) != 0)
            continue;
        tel_buf_add(out, line->body, line->body_len);
        if (!line->split || !strchr(line->split, '?'))
            tel_buf_add_char(out, '\n');
    }
}

void lines_check_sources(const struct lines *l, const char *const *expected, size_t count)
{
    struct tel_map seen;
    struct tel_buf text = {0};
    bool found[16] = {false};
    assert_true(count <= TEL_ARRAY_LEN(found));
    tel_map_init(&seen);
    for (size_t i = 0; i < l->len; i++) {
        bool fresh;
        (void)tel_map_put(&seen, tel_span_cstr(l->items[i].source), &fresh);
        if (!fresh)
            continue;
        tel_buf_clear(&text);
        source_text(l, i, &text);
        size_t k = 0;
        while (k < count && (found[k] || !tel_span_eq_cstr(tel_buf_span(&text), expected[k])))
            k++;
        if (k == count)
            fail_msg("a source holds \"%.300s\", which is not expected", tel_buf_cstr(&text));
        found[k] = true;
    }
    for (size_t k = 0; k < count; k++)
        if (!found[k])
            fail_msg("no source holds \"%.300s\"", expected[k]);
    tel_map_free(&seen);
    tel_buf_free(&text);
}
