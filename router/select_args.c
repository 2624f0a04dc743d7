/* Arguments of the HTTP face, from the query string, a form, and headers. */
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/logsql/number.h"
#include "common/logsql/parse.h"
#include "common/logsql/parser.h"
#include "common/logsql/print.h"
#include "router/select_internal.h"
#include "router/tenant.h"

static bool read_tenant(struct tel_http_request *req, struct tel_span *ret)
{
    struct tel_error err;
    if (tenant_read(req, ret, &err) == TEL_OK)
        return true;
    tel_http_reply_error(req, 400, "%s", err.text);
    return false;
}

bool select_arg_required(struct tel_http_request *req, const char *name, struct tel_span *ret)
{
    if (tel_http_param(req, name, ret) && ret->len > 0)
        return true;
    tel_http_reply_error(req, 400, "the argument \"%s\" is missing", name);
    return false;
}

static void reply_bad(struct tel_http_request *req, const char *name, struct tel_span value,
                      const char *want)
{
    struct tel_buf text = {0};
    tel_buf_add_escaped(&text, value, 80);
    tel_http_reply_error(req, 400, "%s=%.*s: %s", name, (int)text.len, text.ptr ? text.ptr : "",
                         want);
    tel_buf_free(&text);
}

bool select_arg_uint(struct tel_http_request *req, const char *name, uint64_t def, uint64_t *ret)
{
    struct tel_span value;
    uint64_t n;
    int64_t negative;
    *ret = def;
    if (!tel_http_param(req, name, &value) || value.len == 0)
        return true;
    if (tel_number_i64(value, &negative) && negative < 0) /* none, as the reference has it */
        return true;
    if (!tel_number_u64(value, &n)) {
        reply_bad(req, name, value, "expected a number");
        return false;
    }
    *ret = n;
    return true;
}

/* 1.5, 1e3, -1 */
static bool read_float(struct tel_span s, double *ret)
{
    bool digits = false;
    for (size_t i = 0; i < s.len; i++) {
        if (!s.ptr[i] || !strchr("0123456789.eE+-", s.ptr[i]))
            return false;
        digits = digits || (s.ptr[i] >= '0' && s.ptr[i] <= '9');
    }
    return digits && tel_number_parse(s, ret);
}

bool select_arg_duration(struct tel_http_request *req, const char *name, int64_t def_ns,
                         int64_t *ret_ns)
{
    struct tel_span value;
    int64_t ns;
    double seconds;
    *ret_ns = def_ns;
    if (!tel_http_param(req, name, &value) || value.len == 0)
        return true;
    if (!tel_number_duration(value, &ns)) {
        /* a bare number is in seconds, as Prometheus has it */
        if (!read_float(value, &seconds) || seconds < -9e9 || seconds > 9e9) {
            reply_bad(req, name, value, "expected a duration such as 10s, 5m or 1h30m");
            return false;
        }
        ns = (int64_t)(seconds * 1e9);
    }
    *ret_ns = ns;
    return true;
}

/* Leaves *ret_ns as it is if there is none. */
static bool read_time(struct tel_http_request *req, const char *name, int64_t now_ns,
                      int64_t *ret_ns)
{
    struct tel_span value;
    if (!tel_http_param(req, name, &value) || value.len == 0)
        return true;
    double seconds;
    if (tel_parse_time(value, now_ns, false, ret_ns))
        return true;
    if (read_float(value, &seconds) && fabs(seconds) < 9e9) { /* below 0: back from now */
        *ret_ns = (int64_t)(seconds * 1e9) + (seconds < 0 ? now_ns : 0);
        return true;
    }
    reply_bad(req, name, value,
              "expected a time such as 2026-01-31T10:00:00Z, Unix seconds, now or -5m");
    return false;
}

bool select_arg_at(struct tel_http_request *req, const char *name, int64_t *ret_ns)
{
    return read_time(req, name, *ret_ns, ret_ns);
}

bool select_arg_time(struct tel_http_request *req, const char *name, int64_t now_ns,
                     int64_t *ret_ns)
{
    *ret_ns = now_ns;
    return read_time(req, name, now_ns, ret_ns);
}

/* end=, as the bound that is not asked for any more. As in VictoriaLogs 1.26 what is at `end` belongs
 * to it: all of the second if it is a whole one, all of the millisecond if it is that. */
static bool read_end(struct tel_http_request *req, int64_t now_ns, int64_t *ret_ns)
{
    int64_t at = INT64_MAX;
    if (!read_time(req, "end", now_ns, &at))
        return false;
    int64_t unit = at % TEL_NS_PER_S == 0 ? TEL_NS_PER_S : at % TEL_NS_PER_MS == 0 ? TEL_NS_PER_MS : 1;
    if (at == INT64_MAX || __builtin_add_overflow(at, unit, ret_ns))
        *ret_ns = INT64_MAX;
    return true;
}

/* timeout=x is taken for none, as the reference does. */
static void read_timeout(struct tel_http_request *req, int64_t *ret_ms)
{
    struct tel_span value;
    int64_t ns;
    double seconds;
    if (!tel_http_param(req, "timeout", &value))
        return;
    if (!tel_number_duration(value, &ns)) {
        if (!tel_number_decimal(value, &seconds) || seconds > 1e9)
            return;
        ns = (int64_t)(seconds * 1e9);
    }
    if (ns > 0)
        *ret_ms = TEL_MAX(ns / TEL_NS_PER_MS, 1);
}

static bool is_false(struct tel_span s)
{
    return tel_span_eq_cstr(s, "0") || tel_span_eq_cstr(s, "false") || tel_span_eq_cstr(s, "no");
}

bool select_arg_flag(struct tel_http_request *req, const char *name)
{
    struct tel_span value;
    return tel_http_param(req, name, &value) && value.len > 0 && !is_false(value);
}

static bool read_explain(struct tel_http_request *req, enum query_explain *ret)
{
    struct tel_span value;
    if (!tel_http_param(req, "explain", &value) || value.len == 0 || is_false(value))
        return true;
    if (tel_span_eq_cstr(value, "text")) {
        *ret = QUERY_EXPLAIN_TEXT;
        return true;
    }
    if (tel_span_eq_cstr(value, "1") || tel_span_eq_cstr(value, "true") ||
        tel_span_eq_cstr(value, "json")) {
        *ret = QUERY_EXPLAIN_JSON;
        return true;
    }
    reply_bad(req, "explain", value, "expected 0, 1 or text");
    return false;
}

static bool read_cache(struct tel_http_request *req, bool *ret_off)
{
    struct tel_span value;
    if (!tel_http_param(req, "cache", &value) || value.len == 0)
        return true;
    *ret_off = is_false(value) || tel_span_eq_cstr(value, "off");
    if (*ret_off || tel_span_eq_cstr(value, "on") || tel_span_eq_cstr(value, "1") ||
        tel_span_eq_cstr(value, "true"))
        return true;
    reply_bad(req, "cache", value, "expected on or off");
    return false;
}

static bool request_gone(void *ctx)
{
    return tel_http_gone(ctx);
}

bool select_args_read(struct select *s, struct tel_http_request *req, bool paging,
                      struct select_args *ret)
{
    *ret = (struct select_args){0};
    struct query_params *p = &ret->params;
    p->now_ns = tel_wall_ns(s->clock);
    p->gone = request_gone;
    p->gone_ctx = req;
    int64_t start = INT64_MIN, end = INT64_MAX;
    if (!read_tenant(req, &p->tenant) || !select_arg_required(req, "query", &p->text) ||
        !read_time(req, "start", p->now_ns, &start) || !read_end(req, p->now_ns, &end))
        return false;
    if (start != INT64_MIN || end != INT64_MAX) {
        p->start_ns = start;
        p->end_ns = end;
    }
    if (paging && (!select_arg_uint(req, "limit", 0, &p->limit) ||
                   !select_arg_uint(req, "offset", 0, &p->offset)))
        return false;
    if (!select_extra_read(req, p))
        return false;
    if (!read_explain(req, &p->explain) || !read_cache(req, &p->no_cache))
        return false;
    read_timeout(req, &p->timeout_ms);
    struct tel_span partial;
    p->refuse_partial =
        tel_http_param(req, "allow_partial_response", &partial) && is_false(partial);
    struct tel_error err;
    if (tel_query_parse(p->text, p->now_ns, NULL, tel_http_arena(req), &ret->tree, &err) !=
        TEL_OK) {
        tel_http_reply_error(req, 400, "%s", err.text);
        return false;
    }
    return true;
}

/* The bounds as they were written: "-1h" is another moment in every request, and the same bound. */
static uint64_t page_binding(struct tel_http_request *req, const struct query_params *p)
{
    struct tel_span start = TEL_SPAN(""), end = TEL_SPAN("");
    tel_http_param(req, "start", &start);
    tel_http_param(req, "end", &end);
    const struct tel_span parts[] = {p->tenant, p->text, p->extra_filter, start, end};
    return cursor_binding(parts, TEL_ARRAY_LEN(parts));
}

bool select_args_page(struct tel_http_request *req, struct select_args *args)
{
    struct query_params *p = &args->params;
    struct tel_span text, partial;
    struct tel_error err;
    if (!tel_http_param(req, "cursor", &text))
        return true;
    p->page = true;
    p->limit = p->limit ? p->limit : CURSOR_PAGE_ROWS;
    /* Whoever goes on from a page that lacked something would never see it. */
    p->refuse_partial =
        !tel_http_param(req, "allow_partial_response", &partial) || is_false(partial);
    args->binding = page_binding(req, p);
    if (text.len == 0)
        return true;
    if (cursor_parse(text, args->binding, tel_http_arena(req), &args->cursor, &err) != TEL_OK) {
        tel_http_reply_error(req, 400, "%s", err.text);
        return false;
    }
    p->cursor = &args->cursor;
    p->now_ns = args->cursor.now_ns;
    p->start_ns = args->cursor.start_ns;
    p->end_ns = args->cursor.end_ns;
    return true;
}

void select_args_done(struct select_args *args)
{
    tel_query_done(args->tree);
    args->tree = NULL;
}

void select_events(const struct tel_query *tree, struct tel_query *ret)
{
    static const char *const hiding[] = {"fields", "delete", "rename"};
    size_t keep = 0;
    *ret = *tree;
    for (bool whole = true; whole && keep < tree->pipe_count; keep += whole) {
        ret->pipe_count = keep + 1;
        whole = tel_query_is_row_local(ret);
        for (size_t i = 0; i < TEL_ARRAY_LEN(hiding); i++)
            whole = whole && strcmp(tree->pipes[keep]->ops->name, hiding[i]) != 0;
    }
    ret->pipe_count = keep;
}

struct tel_span select_query_with(struct tel_http_request *req, const struct tel_query *tree,
                                  const char *fmt, ...)
{
    struct tel_buf text = {0};
    tel_query_print(&text, tree);
    char pipes[2048];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(pipes, sizeof(pipes), fmt, args);
    va_end(args);
    tel_buf_printf(&text, " | %.*s", TEL_MIN(len, (int)sizeof(pipes) - 1), pipes);
    struct tel_span whole = tel_arena_copy(tel_http_arena(req), tel_buf_span(&text));
    tel_buf_free(&text);
    return whole;
}
