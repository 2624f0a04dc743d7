#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/timefmt.h"
#include "common/conf/value.h"
#include "common/net/http/http_encoding.h"

void cli_server_init(struct cli_server *server)
{
    *server = (struct cli_server){
        .url = getenv("TELESCOPE_URL"),
        .tenant = getenv("TELESCOPE_TENANT"),
        .ca_file = getenv("TELESCOPE_CA"),
    };
    if (!server->url || !server->url[0])
        server->url = CLI_DEFAULT_URL;
}

bool cli_server_flag(struct cli_server *server, int argc, char **argv, int *at)
{
    const char *v;
    if ((v = cli_flag(argc, argv, at, "--url")))
        server->url = v;
    else if ((v = cli_flag(argc, argv, at, "--tenant")))
        server->tenant = v;
    else if ((v = cli_flag(argc, argv, at, "--ca")))
        server->ca_file = v;
    else
        return false;
    return true;
}

void cli_server_open(struct cli_server *server)
{
    /* A token is a secret: from a file or the environment, never from a flag. */
    struct tel_http_client_options o = {.ca_file = server->ca_file, .bearer = getenv("TELESCOPE_TOKEN")};
    server->client = tel_http_client_new(&o);
    if (server->tenant && server->tenant[0])
        tel_buf_printf(&server->tenant_header, "X-Scope-OrgID: %s", server->tenant);
}

void cli_server_close(struct cli_server *server)
{
    tel_http_client_free(server->client);
    tel_buf_free(&server->tenant_header);
}

tel_code cli_server_call(struct cli_server *server, const char *path, struct tel_http_call *call,
                         unsigned *ret_status, struct tel_buf *ret_text, struct tel_error *err)
{
    struct tel_buf url = {0};
    struct tel_span base = tel_span_cstr(server->url);
    while (base.len > 0 && base.ptr[base.len - 1] == '/')
        base.len--;
    if (!memmem(base.ptr, base.len, "://", 3))
        TEL_BUF_ADD_LIT(&url, "http://");
    tel_buf_add_span(&url, base);
    tel_buf_add_span(&url, tel_span_cstr(path));
    const char *headers[] = {
        server->tenant_header.len ? tel_buf_cstr(&server->tenant_header) : NULL, NULL};
    call->url = tel_buf_cstr(&url);
    call->headers = headers;
    tel_code rc = tel_http_client_call(server->client, call, ret_status, ret_text, err);
    call->headers = NULL;
    tel_buf_free(&url);
    return rc;
}

const char *cli_flag(int argc, char **argv, int *at, const char *flag)
{
    const char *arg = argv[*at];
    size_t n = strlen(flag);
    if (strncmp(arg, flag, n) != 0)
        return NULL;
    if (arg[n] == '\0') {
        if (*at + 1 >= argc) {
            cli_complain("%s needs a value", flag);
            exit(CLI_ERROR);
        }
        return argv[++*at];
    }
    if (flag[1] != '-')
        return arg + n;
    return arg[n] == '=' ? arg + n + 1 : NULL;
}

void cli_complain(const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    struct tel_span s = tel_span_trim(tel_span_cstr(text));
    fprintf(stderr, "telescope: %.*s\n", (int)s.len, s.ptr);
}

bool cli_time(const char *text, struct tel_buf *out)
{
    int64_t ms = 0, ns = 0;
    struct tel_span s = tel_span_cstr(text);
    unsigned long long number = 0;
    if (tel_span_eq_cstr(s, "now"))
        ns = tel_wall_ns(tel_clock_system());
    else if (!tel_span_to_u64(s, &number) && tel_conf_parse_duration(s, &ms))
        ns = tel_wall_ns(tel_clock_system()) - ms * TEL_NS_PER_MS;
    else {
        double d = 0;
        tel_buf_add_span(out, s); /* the server knows more ways to write a time */
        return tel_time_parse(s, &ns) || tel_span_to_double(s, &d);
    }
    char buf[TEL_TIME_TEXT_MAX];
    tel_buf_add(out, buf, tel_time_format(buf, ns));
    return true;
}

void cli_form_add(struct tel_buf *form, const char *name, struct tel_span value)
{
    if (form->len > 0)
        tel_buf_add_char(form, '&');
    tel_buf_add_span(form, tel_span_cstr(name));
    tel_buf_add_char(form, '=');
    tel_http_percent_encode(value, form);
}

void cli_size_text(char out[32], uint64_t bytes)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB", "PB"};
    double v = (double)bytes;
    size_t u = 0;
    while (v >= 1000 && u + 1 < TEL_ARRAY_LEN(units)) {
        v /= 1000;
        u++;
    }
    snprintf(out, 32, u == 0 ? "%.0f %s" : "%.1f %s", v, units[u]);
}

bool cli_lines_feed(struct cli_lines *l, struct tel_span piece)
{
    while (piece.len > 0) {
        const char *end = memchr(piece.ptr, '\n', piece.len);
        size_t n = end ? (size_t)(end - piece.ptr) : piece.len;
        if (!end) {
            tel_buf_add(&l->rest, piece.ptr, n);
            return true;
        }
        bool more;
        if (l->rest.len > 0) {
            tel_buf_add(&l->rest, piece.ptr, n);
            more = l->line(l->ctx, tel_buf_span(&l->rest));
            tel_buf_clear(&l->rest);
        } else {
            more = l->line(l->ctx, tel_span_make(piece.ptr, n));
        }
        if (!more)
            return false;
        piece = tel_span_slice(piece, n + 1, piece.len);
    }
    return true;
}

bool cli_lines_end(struct cli_lines *l)
{
    bool more = l->rest.len == 0 || l->line(l->ctx, tel_buf_span(&l->rest));
    tel_buf_free(&l->rest);
    return more;
}
