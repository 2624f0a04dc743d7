/*
 * A line is built in one buffer and written by one write(2), so that lines of several threads (and
 * of several processes on one pipe, up to PIPE_BUF) do not mix.
 *
 * Limiting: each call site counts its lines within a window. The thread that opens the next window
 * finds how many were left out and says so on its line. Sites that ever left something out are kept
 * in a list, so that tel_log_flush can report what is still owed when a program ends.
 */
#include "common/base/log.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/timefmt.h"

#define WINDOW_NS     (10 * TEL_NS_PER_S)
#define WINDOW_LINES  10u
#define VALUE_TEXT_MAX 4096

static _Atomic int min_level = TEL_LOG_INFO;
static _Atomic int line_format = TEL_LOG_TEXT;
static _Atomic int out_fd = STDERR_FILENO;

static pthread_mutex_t silenced_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tel_log_site *silenced; /* under silenced_lock */

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

void tel_log_set_level(enum tel_log_level level)
{
    atomic_store_explicit(&min_level, (int)level, memory_order_relaxed);
}

void tel_log_set_format(enum tel_log_format format)
{
    atomic_store_explicit(&line_format, (int)format, memory_order_relaxed);
}

void tel_log_set_fd(int fd)
{
    atomic_store_explicit(&out_fd, fd, memory_order_relaxed);
}

bool tel_log_level_parse(struct tel_span name, enum tel_log_level *ret)
{
    for (unsigned i = 0; i < TEL_ARRAY_LEN(level_names); i++) {
        if (tel_span_eq_cstr(name, level_names[i])) {
            *ret = (enum tel_log_level)i;
            return true;
        }
    }
    return false;
}

bool tel_log_enabled(enum tel_log_level level)
{
    return (int)level >= atomic_load_explicit(&min_level, memory_order_relaxed);
}

static void add_number(struct tel_buf *line, const struct tel_kv *kv, bool json)
{
    switch (kv->kind) {
    case TEL_KV_I64:
        tel_buf_add_i64(line, kv->v.i64);
        break;
    case TEL_KV_U64:
        tel_buf_add_u64(line, kv->v.u64);
        break;
    case TEL_KV_DOUBLE:
        if (json && !isfinite(kv->v.dbl))
            TEL_BUF_ADD_LIT(line, "null");
        else
            tel_buf_printf(line, "%.6g", kv->v.dbl);
        break;
    case TEL_KV_BOOL:
        tel_buf_add_span(line, kv->v.flag ? TEL_SPAN("true") : TEL_SPAN("false"));
        break;
    case TEL_KV_END:
    case TEL_KV_SPAN:
        break;
    }
}

/* A bare word, or a quoted string in which quotes and backslashes are escaped too, so that a value
 * cannot look like the next key. */
static void add_text_value(struct tel_buf *line, struct tel_span s)
{
    struct tel_buf clean = {0};
    bool bare = s.len > 0;
    tel_buf_add_escaped(&clean, s, VALUE_TEXT_MAX);
    for (size_t i = 0; i < clean.len && bare; i++)
        bare = clean.ptr[i] != ' ' && clean.ptr[i] != '"' && clean.ptr[i] != '=';
    if (bare) {
        tel_buf_add(line, clean.ptr, clean.len);
    } else {
        tel_buf_add_char(line, '"');
        for (size_t i = 0; i < clean.len; i++) {
            if (clean.ptr[i] == '"')
                tel_buf_add_char(line, '\\');
            tel_buf_add_char(line, clean.ptr[i]);
        }
        tel_buf_add_char(line, '"');
    }
    tel_buf_free(&clean);
}

static void add_json_value(struct tel_buf *line, struct tel_span s)
{
    if (s.len <= VALUE_TEXT_MAX) {
        tel_buf_add_json(line, s);
        return;
    }
    struct tel_buf cut = {0};
    tel_buf_add_span(&cut, tel_span_slice(s, 0, VALUE_TEXT_MAX));
    TEL_BUF_ADD_LIT(&cut, "...");
    tel_buf_add_json(line, tel_buf_span(&cut));
    tel_buf_free(&cut);
}

static void build_text(struct tel_buf *line, const struct tel_log_site *site, const char *when,
                       const char *msg, const struct tel_kv *kvs)
{
    static const char *const marks[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
    tel_buf_printf(line, "%s %s %s: %s", when, marks[site->level], site->component, msg);
    for (; kvs->kind != TEL_KV_END; kvs++) {
        tel_buf_add_char(line, ' ');
        tel_buf_add_span(line, tel_span_cstr(kvs->key));
        tel_buf_add_char(line, '=');
        if (kvs->kind == TEL_KV_SPAN)
            add_text_value(line, kvs->v.span);
        else
            add_number(line, kvs, false);
    }
}

static void build_json(struct tel_buf *line, const struct tel_log_site *site, const char *when,
                       const char *msg, const struct tel_kv *kvs)
{
    tel_buf_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"component\":", when,
                   level_names[site->level]);
    tel_buf_add_json(line, tel_span_cstr(site->component));
    TEL_BUF_ADD_LIT(line, ",\"message\":");
    tel_buf_add_json(line, tel_span_cstr(msg));
    for (; kvs->kind != TEL_KV_END; kvs++) {
        tel_buf_add_char(line, ',');
        tel_buf_add_json(line, tel_span_cstr(kvs->key));
        tel_buf_add_char(line, ':');
        if (kvs->kind == TEL_KV_SPAN)
            add_json_value(line, kvs->v.span);
        else
            add_number(line, kvs, true);
    }
    tel_buf_add_char(line, '}');
}

static void write_line(const struct tel_buf *line)
{
    int fd = atomic_load_explicit(&out_fd, memory_order_relaxed);
    for (size_t pos = 0; pos < line->len;) {
        ssize_t n = write(fd, line->ptr + pos, line->len - pos);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* there is nowhere left to complain */
        pos += (size_t)n;
    }
}

static void emit(const struct tel_log_site *site, const char *msg, const struct tel_kv *kvs)
{
    int saved_errno = errno;
    struct tel_buf line = {0};
    char when[TEL_TIME_TEXT_MAX];
    int64_t now = tel_wall_ns(tel_clock_system());
    tel_time_format(when, now - now % TEL_NS_PER_US);
    if (atomic_load_explicit(&line_format, memory_order_relaxed) == TEL_LOG_JSON)
        build_json(&line, site, when, msg, kvs);
    else
        build_text(&line, site, when, msg, kvs);
    tel_buf_add_char(&line, '\n');
    write_line(&line);
    tel_buf_free(&line);
    errno = saved_errno;
}

static void report_left_out(const struct tel_log_site *site, uint32_t lines)
{
    struct tel_kv kvs[] = {tel_kv_u64("lines", lines), {TEL_KV_END, NULL, {.u64 = 0}}};
    emit(site, "repeated lines were left out", kvs);
}

static void remember_silenced(struct tel_log_site *site)
{
    if (atomic_exchange(&site->listed, true))
        return;
    pthread_mutex_lock(&silenced_lock);
    site->next = silenced;
    silenced = site;
    pthread_mutex_unlock(&silenced_lock);
}

/* Whether a line of this site may be written now; what an ended window left out is reported. */
static bool admit(struct tel_log_site *site)
{
    int64_t now = tel_mono_ns(tel_clock_system());
    int64_t start = atomic_load(&site->window_start_ns);
    if ((start == 0 || now - start >= WINDOW_NS) &&
        atomic_compare_exchange_strong(&site->window_start_ns, &start, now)) {
        uint32_t count = atomic_exchange(&site->count, 1);
        if (count > WINDOW_LINES)
            report_left_out(site, count - WINDOW_LINES);
        return true;
    }
    if (atomic_fetch_add(&site->count, 1) < WINDOW_LINES)
        return true;
    remember_silenced(site);
    return false;
}

void tel_log_write(struct tel_log_site *site, const char *msg, const struct tel_kv *kvs)
{
    TEL_CHECK(site->level < TEL_LOG_OFF);
    if (site->level == TEL_LOG_DEBUG || admit(site))
        emit(site, msg, kvs);
}

void tel_log_flush(void)
{
    pthread_mutex_lock(&silenced_lock);
    for (struct tel_log_site *site = silenced; site; site = site->next) {
        uint32_t count = atomic_load(&site->count);
        while (count > WINDOW_LINES &&
               !atomic_compare_exchange_weak(&site->count, &count, WINDOW_LINES)) {
        }
        if (count > WINDOW_LINES)
            report_left_out(site, count - WINDOW_LINES);
    }
    pthread_mutex_unlock(&silenced_lock);
}
