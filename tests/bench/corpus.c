/* See corpus.h. */
#include "tests/bench/corpus.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/map.h"
#include "common/base/timefmt.h"
#include "common/base/utf8.h"
#include "shard/segment/compress.h"

#define WINDOW 16384u /* events between two rounds of the sources */

double corpus_cpu_seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static unsigned hex4(const char *p)
{
    char digits[5] = {p[0], p[1], p[2], p[3], 0};
    return (unsigned)strtoul(digits, NULL, 16);
}

/* A string that begins behind its quote at *pos, unescaped in place; *pos moves behind its end. */
static struct tel_span unescape(char **pos)
{
    char *in = *pos, *out = in, *start = in;
    while (*in && *in != '"') {
        if (*in != '\\') {
            *out++ = *in++;
            continue;
        }
        in++;
        switch (*in) {
        case 'n':
            *out++ = '\n';
            in++;
            break;
        case 't':
            *out++ = '\t';
            in++;
            break;
        case 'r':
            *out++ = '\r';
            in++;
            break;
        case 'u': {
            uint32_t cp = hex4(in + 1);
            in += 5;
            if (cp >= 0xd800 && cp < 0xdc00 && in[0] == '\\' && in[1] == 'u') {
                cp = 0x10000 + ((cp - 0xd800) << 10) + (hex4(in + 2) - 0xdc00);
                in += 6;
            }
            out += tel_utf8_encode(cp, out);
            break;
        }
        default:
            *out++ = *in++;
        }
    }
    *pos = *in ? in + 1 : in;
    return tel_span_make(start, (size_t)(out - start));
}

static uint32_t severity_of(struct tel_span level)
{
    static const char *const names[] = {"trace", "debug", "info", "warn", "error", "fatal"};
    for (uint32_t i = 0; i < TEL_ARRAY_LEN(names); i++) {
        if (tel_span_eq_cstr(level, names[i]))
            return 1 + 4 * i;
    }
    return 0;
}

static struct tel_span keep(struct tel_span s)
{
    char *copy = tel_malloc(s.len + 1);
    memcpy(copy, s.ptr, s.len);
    return tel_span_make(copy, s.len);
}

static void add_line(struct corpus *c, struct tel_map *sources, char *line)
{
    struct tel_span time = {"", 0}, host = {"", 0}, app = {"", 0}, level = {"", 0}, body = {"", 0};
    char *p = strchr(line, '{');
    for (p = p ? p + 1 : line; *p == '"' || *p == ',';) {
        if (*p++ == ',')
            continue;
        struct tel_span name = unescape(&p);
        while (*p == ':' || *p == ' ')
            p++;
        if (*p++ != '"')
            break;
        struct tel_span value = unescape(&p);
        struct tel_span *to = tel_span_eq_cstr(name, "_time")    ? &time
                              : tel_span_eq_cstr(name, "host")  ? &host
                              : tel_span_eq_cstr(name, "app")   ? &app
                              : tel_span_eq_cstr(name, "level") ? &level
                              : tel_span_eq_cstr(name, "_msg")  ? &body
                                                                : NULL;
        if (to)
            *to = value;
    }
    struct corpus_event e = {.severity = severity_of(level),
                             .len = (uint32_t)body.len,
                             .body = c->text.len};
    if (!tel_time_parse(time, &e.time_ns))
        return;
    char key[512];
    int n = snprintf(key, sizeof(key), "%.*s/%.*s", TEL_SPAN_ARG(app), TEL_SPAN_ARG(host));
    bool fresh;
    uint64_t *number = tel_map_put(sources, tel_span_make(key, (size_t)n), &fresh);
    if (fresh) {
        *number = c->sources.len;
        tel_vec_push(&c->sources,
                     ((struct corpus_source){{{TEL_SPAN("app"), keep(app)},
                                              {TEL_SPAN("host"), keep(host)}}}));
    }
    e.source = (uint32_t)*number;
    if (c->text.cap - c->text.len < body.len) {
        c->text.cap = (c->text.cap + body.len) * 2;
        c->text.ptr = tel_realloc(c->text.ptr, c->text.cap);
    }
    memcpy(c->text.ptr + c->text.len, body.ptr, body.len);
    c->text.len += body.len;
    c->raw_bytes += time.len + host.len + app.len + body.len + 5;
    tel_vec_push(&c->events, e);
}

/* Events [from, to) as messages of at most message_events of one source. */
static void make_messages(struct corpus *c, size_t from, size_t to, size_t message_events)
{
    uint32_t *counts = tel_calloc(c->sources.len + 1, sizeof(*counts));
    size_t base = c->ordered.len;
    for (size_t i = from; i < to; i++)
        counts[c->events.items[i].source + 1]++;
    for (size_t s = 0; s < c->sources.len; s++) {
        uint32_t n = counts[s + 1];
        for (size_t done = 0; done < n; done += message_events) {
            struct corpus_message m = {(uint32_t)s, (uint32_t)TEL_MIN(message_events, n - done),
                                       base + counts[s] + done};
            tel_vec_push(&c->messages, m);
        }
        counts[s + 1] += counts[s];
    }
    tel_vec_reserve(&c->ordered, base + (to - from));
    for (size_t i = from; i < to; i++)
        c->ordered.items[base + counts[c->events.items[i].source]++] = (uint32_t)i;
    c->ordered.len += to - from;
    free(counts);
}

void corpus_load(struct corpus *c, const char *path, uint64_t max, size_t message_events)
{
    FILE *in = fopen(path, "r");
    if (!in) {
        perror(path);
        exit(1);
    }
    memset(c, 0, sizeof(*c));
    struct tel_map sources;
    tel_map_init(&sources);
    char *line = NULL;
    size_t cap = 0;
    while ((max == 0 || c->events.len < max) && getline(&line, &cap, in) > 0)
        add_line(c, &sources, line);
    free(line);
    fclose(in);
    tel_map_free(&sources);
    for (size_t i = 0; i < c->events.len; i += WINDOW)
        make_messages(c, i, TEL_MIN(i + WINDOW, c->events.len), message_events);
}

double corpus_zstd1(const struct corpus *c, uint64_t *ret_bytes)
{
    const size_t room = 256 << 10;
    char *text = tel_malloc(room + (4 << 20));
    struct compressor *ctx = compressor_new();
    struct tel_buf out = {0};
    size_t len = 0;
    double cpu = 0;
    *ret_bytes = 0;
    for (size_t i = 0; i < c->events.len; i++) {
        const struct corpus_event *e = &c->events.items[i];
        const struct corpus_source *s = &c->sources.items[e->source];
        len += tel_time_format(text + len, e->time_ns);
        len += (size_t)sprintf(text + len, " %.*s %.*s: ", TEL_SPAN_ARG(s->labels[1].value),
                               TEL_SPAN_ARG(s->labels[0].value));
        memcpy(text + len, c->text.ptr + e->body, e->len);
        len += e->len;
        text[len++] = '\n';
        if (len < room && i + 1 < c->events.len)
            continue;
        double start = corpus_cpu_seconds();
        tel_buf_clear(&out);
        compressor_add(ctx, 1, tel_span_make(text, len), &out);
        cpu += corpus_cpu_seconds() - start;
        *ret_bytes += out.len;
        len = 0;
    }
    compressor_free(ctx);
    tel_buf_free(&out);
    free(text);
    return cpu;
}
