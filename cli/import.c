/*
 * telescope import: files into a server's /insert/jsonline, in pieces of whole lines, each remembered
 * once the server has it durable, so that a second run goes on where the first one was stopped.
 *
 * What is remembered, per server (its own id, not its address: one that was set up anew has nothing
 * yet) and file, in $XDG_STATE_HOME/telescope/import/<hash>:
 *     "<offset> <bytes of head> <hash of head>\n"
 * under the file's device and inode. A file that was replaced or truncated has another inode, another
 * head, or fewer bytes than the offset, and is imported from its start.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/timefmt.h"
#include "common/sys/fs.h"

#define PIECE_BYTES    (4u << 20)
#define TEXT_BYTES_MAX (1u << 20) /* of a plain line in one event */
#define HEAD_BYTES     1024u
#define TRIES          8

static const char usage[] =
    "usage: telescope import [OPTION]... FILE... | -\n"
    "Sends JSON lines or plain text to a server; run again, it goes on where it was.\n"
    "\n"
    "      --stream-fields A,B  fields that make the stream (plain text: host and file)\n"
    "      --time-field F       default _time (plain text: a time at the start of the line, else now)\n"
    "      --msg-field F        default _msg\n"
    "      --extra-fields A=B   added to every event\n"
    "      --format FORMAT      auto (default: by the first byte), json, text\n"
    "      --restart            from the start, whatever was imported before\n"
    "      --quiet              no progress\n"
    "      --url, --tenant, --ca   as of telescope search\n";

enum import_format { IMPORT_AUTO, IMPORT_JSON, IMPORT_TEXT };

struct import {
    struct cli_server server;
    char server_id[64]; /* what the server calls itself; empty until it was asked */
    const char *stream_fields, *time_field, *msg_field, *extra_fields;
    enum import_format format;
    bool restart, quiet, bar;
    char host[256];
    uint64_t accepted, rejected;
};

/* One file on its way. */
struct source {
    const char *name;
    int fd;
    uint64_t size;           /* 0: not known */
    uint64_t offset;         /* sent and confirmed */
    char *state_path;        /* NULL: nothing is remembered */
    char state_tail[64];     /* what stands behind the offset in it */
    bool json;
    unsigned pieces;         /* sent of a plain line whose end was not seen yet */
    bool has_time;           /* that line begins with a time: */
    int64_t line_ns;
    int64_t started_ns, shown_ns;
    uint64_t started_at;
};

/* ---- remembering -------------------------------------------------------------------------- */

static char *state_dir(void)
{
    const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    struct tel_buf b = {0};
    if (xdg && xdg[0])
        tel_buf_printf(&b, "%s/telescope/import", xdg);
    else
        tel_buf_printf(&b, "%s/.local/state/telescope/import", home && home[0] ? home : "/tmp");
    char *dir = tel_strdup(tel_buf_cstr(&b));
    tel_buf_free(&b);
    return dir;
}

/* Asks the server who it is. One that is not there yet will be met by sending; one that has no name is
 * known by its URL. */
static void ask_server_id(struct import *im)
{
    struct tel_http_call call = {.method = "GET", .timeout_ms = 5000};
    struct tel_buf text = {0};
    unsigned status = 0;
    if (im->server_id[0] == '\0' &&
        cli_server_call(&im->server, "/insert/id", &call, &status, &text, NULL) == TEL_OK && status == 200)
        snprintf(im->server_id, sizeof(im->server_id), "%s", tel_buf_cstr(&text));
    tel_buf_free(&text);
}

static void recall(struct import *im, struct source *src, const struct stat *st)
{
    char head[HEAD_BYTES], want[64];
    struct tel_buf id = {0}, text = {0};
    struct tel_error err;
    ask_server_id(im);
    tel_buf_printf(&id, "%s|%s|%llu:%llu", im->server_id[0] ? im->server_id : im->server.url, im->server.tenant ? im->server.tenant : "",
                   (unsigned long long)st->st_dev, (unsigned long long)st->st_ino);
    char *dir = state_dir();
    struct tel_buf path = {0};
    tel_buf_printf(&path, "%s/%016llx", dir, (unsigned long long)tel_hash64(tel_buf_span(&id), 0));
    if (tel_fs_mkdir_all(tel_fs_system(), dir, &err) == TEL_OK)
        src->state_path = tel_strdup(tel_buf_cstr(&path));
    else
        cli_complain("a second run will not know of this one: %s", err.text);

    uint64_t offset = 0, head_len = 0;
    bool known = !im->restart && src->state_path &&
                 tel_fs_read_all(tel_fs_system(), src->state_path, 256, &text, &err) == TEL_OK;
    if (known) {
        struct tel_span rest = tel_span_trim(tel_buf_span(&text));
        struct tel_span tail = rest;
        unsigned long long a = 0, b = 0;
        known = tel_span_to_u64(tel_span_split(&tail, ' '), &a);
        rest = tail;
        known = known && tel_span_to_u64(tel_span_split(&rest, ' '), &b) && b <= HEAD_BYTES;
        offset = a;
        head_len = b;
        snprintf(want, sizeof(want), "%.*s", TEL_SPAN_ARG(tail));
    }
    if (!known)
        head_len = TEL_MIN((uint64_t)st->st_size, HEAD_BYTES);
    ssize_t n = pread(src->fd, head, head_len, 0);
    snprintf(src->state_tail, sizeof(src->state_tail), "%llu %016llx", (unsigned long long)head_len,
             (unsigned long long)tel_hash64(tel_span_make(head, n > 0 ? (size_t)n : 0), 0));
    if (known && offset <= (uint64_t)st->st_size && strcmp(want, src->state_tail) == 0)
        src->offset = offset;
    free(dir);
    tel_buf_free(&id);
    tel_buf_free(&text);
    tel_buf_free(&path);
}

static void remember(struct source *src)
{
    if (!src->state_path)
        return;
    struct tel_buf text = {0};
    struct tel_error err;
    tel_buf_printf(&text, "%llu %s\n", (unsigned long long)src->offset, src->state_tail);
    if (tel_fs_write_atomic(tel_fs_system(), src->state_path, tel_buf_span(&text), &err) != TEL_OK) {
        cli_complain("a second run will not know of this one: %s", err.text);
        free(src->state_path);
        src->state_path = NULL;
    }
    tel_buf_free(&text);
}

/* ---- progress ----------------------------------------------------------------------------- */

static void show_progress(const struct import *im, struct source *src, bool last)
{
    int64_t now = tel_mono_ns(tel_clock_system());
    if (!im->bar || (!last && now - src->shown_ns < 100 * TEL_NS_PER_MS))
        return;
    src->shown_ns = now;
    char done[32], size[32], rate[32], bar[25];
    double seconds = (double)(now - src->started_ns) / 1e9;
    cli_size_text(done, src->offset);
    cli_size_text(size, src->size);
    cli_size_text(rate, (uint64_t)((double)(src->offset - src->started_at) / (seconds > 0.05 ? seconds : 0.05)));
    if (src->size > 0) {
        size_t full = (size_t)(src->offset * 24 / src->size);
        memset(bar, '.', 24);
        memset(bar, '#', TEL_MIN(full, (size_t)24));
        bar[24] = '\0';
        fprintf(stderr, "\r\033[K%s [%s] %s of %s, %s/s%s", src->name, bar, done, size, rate, last ? "\n" : "");
    } else {
        fprintf(stderr, "\r\033[K%s %s, %s/s%s", src->name, done, rate, last ? "\n" : "");
    }
}

/* ---- sending ------------------------------------------------------------------------------ */

/* As a JSON string, but with the bytes that are no UTF-8 as they are: a message is any bytes, and the
 * server takes them so. */
static void add_bytes(struct tel_buf *out, struct tel_span s)
{
    static const char hex[] = "0123456789abcdef";
    tel_buf_add_char(out, '"');
    for (size_t i = 0, from = 0; i <= s.len; i++) {
        unsigned char c = i < s.len ? (unsigned char)s.ptr[i] : '"';
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        tel_buf_add_span(out, tel_span_slice(s, from, i));
        from = i + 1;
        if (i == s.len)
            break;
        char escape[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        tel_buf_add(out, escape, sizeof(escape));
    }
    tel_buf_add_char(out, '"');
}

/* How much of a line that is too long goes into one event: not half a UTF-8 character. */
static size_t cut_at(struct tel_span line)
{
    for (size_t cut = TEXT_BYTES_MAX; cut + 4 > TEXT_BYTES_MAX; cut--)
        if (((unsigned char)line.ptr[cut] & 0xc0) != 0x80)
            return cut;
    return TEXT_BYTES_MAX;
}

/* piece 0: the line is whole. */
static void text_event(const struct import *im, const struct source *src, struct tel_span text, unsigned piece,
                       bool last, struct tel_buf *out)
{
    TEL_BUF_ADD_LIT(out, "{\"_msg\":");
    add_bytes(out, text);
    if (src->has_time) {
        char time[TEL_TIME_TEXT_MAX];
        TEL_BUF_ADD_LIT(out, ",\"_time\":\"");
        tel_buf_add(out, time, tel_time_format(time, src->line_ns));
        tel_buf_add_char(out, '"');
    }
    if (piece > 0 && last)
        tel_buf_printf(out, ",\"telescope.split\":\"%u/%u\"", piece, piece);
    else if (piece > 0)
        tel_buf_printf(out, ",\"telescope.split\":\"%u/?\"", piece);
    TEL_BUF_ADD_LIT(out, ",\"host\":");
    tel_buf_add_json(out, tel_span_cstr(im->host));
    TEL_BUF_ADD_LIT(out, ",\"file\":");
    add_bytes(out, tel_span_cstr(src->name));
    TEL_BUF_ADD_LIT(out, "}\n");
}

/* A plain line as JSON: a time at its start becomes _time; the line stays whole, or is split and its
 * pieces marked, as the tail plugin does. `ended`: the line's end was seen; what comes next is of the
 * same line otherwise. */
static void text_line(const struct import *im, struct source *src, struct tel_span line, bool ended,
                      struct tel_buf *out)
{
    size_t used = 0;
    if (ended && line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    if (line.len == 0 && src->pieces == 0)
        return;
    if (src->pieces == 0)
        src->has_time = line.len >= 19 && tel_time_parse_prefix(line, &src->line_ns, &used) && used >= 19;
    bool split = src->pieces > 0 || !ended || line.len > TEXT_BYTES_MAX;
    for (bool last = false; !last && (line.len > 0 || ended);) {
        size_t n = line.len > TEXT_BYTES_MAX ? cut_at(line) : line.len;
        last = ended && n == line.len;
        text_event(im, src, tel_span_slice(line, 0, n), split ? ++src->pieces : 0, last, out);
        line = tel_span_slice(line, n, line.len);
    }
    if (ended)
        src->pieces = 0;
}

static void make_path(const struct import *im, const struct source *src, struct tel_buf *out)
{
    struct tel_buf form = {0};
    const char *streams = im->stream_fields ? im->stream_fields : src->json ? NULL : "host,file";
    if (streams)
        cli_form_add(&form, "_stream_fields", tel_span_cstr(streams));
    if (im->time_field)
        cli_form_add(&form, "_time_field", tel_span_cstr(im->time_field));
    if (im->msg_field)
        cli_form_add(&form, "_msg_field", tel_span_cstr(im->msg_field));
    if (im->extra_fields)
        cli_form_add(&form, "extra_fields", tel_span_cstr(im->extra_fields));
    tel_buf_printf(out, "/insert/jsonline?%.*s", (int)form.len, form.len ? form.ptr : "");
    tel_buf_free(&form);
}

static uint64_t number_in(struct tel_buf *text, const char *name)
{
    const char *p = strstr(tel_buf_cstr(text), name);
    return p ? strtoull(p + strlen(name), NULL, 10) : 0;
}

/* Sends body until the server has it, with growing pauses while it is busy. */
static bool send_body(struct import *im, const char *path, struct tel_span body)
{
    for (int attempt = 1;; attempt++) {
        struct tel_http_call call = {.method = "POST", .body = body, .content_type = "application/stream+json"};
        struct tel_buf text = {0};
        struct tel_error err;
        unsigned status = 0;
        tel_code rc = cli_server_call(&im->server, path, &call, &status, &text, &err);
        bool counted = rc == TEL_OK && text.len > 0 && text.ptr[0] == '{';
        if (counted && (status == 200 || status == 400)) { /* 400: every line of it is bad, and kept there */
            uint64_t bad = number_in(&text, "\"rejected\":");
            im->accepted += number_in(&text, "\"accepted\":");
            im->rejected += bad;
            if (bad > 0)
                cli_complain("lines that were not taken: %s", tel_buf_cstr(&text));
            tel_buf_free(&text);
            return true;
        }
        bool again = rc == TEL_OK ? status == 429 || status == 503 : rc == TEL_ERR_UNAVAILABLE || rc == TEL_ERR_TRUNCATED;
        if (!again || attempt == TRIES) {
            if (rc == TEL_OK)
                cli_complain("%u: %s", status, tel_buf_cstr(&text));
            else
                cli_complain("%s", err.text);
            tel_buf_free(&text);
            return false;
        }
        tel_buf_free(&text);
        struct timespec pause = {attempt / 4, (long)(100 * TEL_NS_PER_MS) * (attempt % 4)};
        (void)nanosleep(&pause, NULL);
    }
}

/* How much of buf is whole lines; at the end of the file all of it. A line that does not fit counts as
 * whole: the server says what it thinks of it. */
static size_t whole_lines(const struct tel_buf *buf, bool end)
{
    if (end)
        return buf->len;
    const char *last = buf->len ? memrchr(buf->ptr, '\n', buf->len) : NULL;
    return last ? (size_t)(last - buf->ptr) + 1 : buf->len >= PIECE_BYTES ? buf->len : 0;
}

static bool read_piece(struct source *src, struct tel_buf *buf, bool *ret_end)
{
    *ret_end = false;
    while (buf->len < PIECE_BYTES) {
        tel_buf_reserve(buf, PIECE_BYTES - buf->len);
        ssize_t n = read(src->fd, buf->ptr + buf->len, PIECE_BYTES - buf->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            cli_complain("%s: %s", src->name, strerror(errno));
            return false;
        }
        if (n == 0) {
            *ret_end = true;
            return true;
        }
        buf->len += (size_t)n;
    }
    return true;
}

static bool looks_like_json(const struct tel_buf *buf)
{
    for (size_t i = 0; i < buf->len; i++)
        if (!strchr(" \t\r\n", buf->ptr[i]))
            return buf->ptr[i] == '{';
    return true;
}

static bool import_source(struct import *im, struct source *src)
{
    struct tel_buf in = {0}, out = {0}, path = {0};
    bool end = false, good = true, known = im->format != IMPORT_AUTO;
    src->json = im->format == IMPORT_JSON;
    src->started_ns = tel_mono_ns(tel_clock_system());
    src->started_at = src->offset;
    while (good && !end) {
        good = read_piece(src, &in, &end);
        if (!good || in.len == 0)
            break;
        if (!known) {
            src->json = looks_like_json(&in);
            known = true;
        }
        if (path.len == 0)
            make_path(im, src, &path);
        size_t n = whole_lines(&in, end);
        struct tel_span lines = {in.ptr, n};
        if (!src->json) {
            tel_buf_clear(&out);
            bool ended = end || in.ptr[n - 1] == '\n';
            while (lines.len > 0) {
                struct tel_span line = tel_span_split(&lines, '\n');
                text_line(im, src, line, lines.len > 0 || ended, &out);
            }
            lines = tel_buf_span(&out);
        }
        good = lines.len == 0 || send_body(im, tel_buf_cstr(&path), lines);
        if (!good)
            break;
        src->offset += n;
        remember(src);
        show_progress(im, src, false);
        in.len -= n;
        memmove(in.ptr, in.ptr + n, in.len);
    }
    show_progress(im, src, true);
    tel_buf_free(&in);
    tel_buf_free(&out);
    tel_buf_free(&path);
    return good;
}

static bool import_file(struct import *im, const char *name)
{
    struct source src = {.name = name};
    struct stat st = {0};
    bool is_stdin = strcmp(name, "-") == 0;
    src.fd = is_stdin ? dup(STDIN_FILENO) : open(name, O_RDONLY | O_CLOEXEC);
    if (src.fd < 0 || fstat(src.fd, &st) != 0) {
        cli_complain("%s: %s", name, strerror(errno));
        return false;
    }
    bool good = true;
    if (S_ISDIR(st.st_mode)) {
        cli_complain("%s: is a folder", name);
        good = false;
    } else if (S_ISREG(st.st_mode) && !is_stdin) {
        src.size = (uint64_t)st.st_size;
        recall(im, &src, &st);
        if (src.offset > 0 && !im->quiet)
            cli_complain("%s: going on at byte %llu", name, (unsigned long long)src.offset);
        good = lseek(src.fd, (off_t)src.offset, SEEK_SET) >= 0;
    }
    good = good && import_source(im, &src);
    close(src.fd);
    free(src.state_path);
    return good;
}

/* ---- the command -------------------------------------------------------------------------- */

static bool take_format(struct import *im, const char *v)
{
    static const char *const names[] = {"auto", "json", "text"};
    for (size_t i = 0; i < TEL_ARRAY_LEN(names); i++)
        if (strcmp(v, names[i]) == 0) {
            im->format = (enum import_format)i;
            return true;
        }
    cli_complain("--format: auto, json or text");
    return false;
}

/* Files stay in argv[1..*ret_files]. 0: go on; else the exit code + 1. */
static int parse(struct import *im, int argc, char **argv, int *ret_files)
{
    int files = 0;
    for (int i = 1; i < argc; i++) {
        const char *v;
        if (argv[i][0] != '-' || strcmp(argv[i], "-") == 0)
            argv[++files] = argv[i];
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return fputs(usage, stdout), CLI_MATCH + 1;
        else if (strcmp(argv[i], "--restart") == 0)
            im->restart = true;
        else if (strcmp(argv[i], "--quiet") == 0)
            im->quiet = true;
        else if ((v = cli_flag(argc, argv, &i, "--stream-fields")))
            im->stream_fields = v;
        else if ((v = cli_flag(argc, argv, &i, "--time-field")))
            im->time_field = v;
        else if ((v = cli_flag(argc, argv, &i, "--msg-field")))
            im->msg_field = v;
        else if ((v = cli_flag(argc, argv, &i, "--extra-fields")))
            im->extra_fields = v;
        else if ((v = cli_flag(argc, argv, &i, "--format"))) {
            if (!take_format(im, v))
                return CLI_ERROR + 1;
        } else if (!cli_server_flag(&im->server, argc, argv, &i)) {
            cli_complain("unknown option %s", argv[i]);
            fputs(usage, stderr);
            return CLI_ERROR + 1;
        }
    }
    if (files == 0) {
        fputs(usage, stderr);
        return CLI_ERROR + 1;
    }
    *ret_files = files;
    return 0;
}

int cli_import(int argc, char **argv)
{
    struct import im = {0};
    int files = 0;
    signal(SIGPIPE, SIG_IGN);
    cli_server_init(&im.server);
    int code = parse(&im, argc, argv, &files) - 1;
    if (code >= 0)
        return code;
    im.bar = !im.quiet && isatty(STDERR_FILENO);
    if (gethostname(im.host, sizeof(im.host) - 1) != 0)
        snprintf(im.host, sizeof(im.host), "unknown");
    cli_server_open(&im.server);
    bool good = true;
    for (int i = 1; i <= files; i++)
        good = import_file(&im, argv[i]) && good;
    cli_server_close(&im.server);
    if (!im.quiet)
        fprintf(stderr, "%llu event%s imported, %llu line%s not taken\n", (unsigned long long)im.accepted,
                im.accepted == 1 ? "" : "s", (unsigned long long)im.rejected, im.rejected == 1 ? "" : "s");
    return good ? 0 : CLI_ERROR;
}
