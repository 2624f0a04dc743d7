/*
 * extra_filters and extra_stream_filters: what a proxy adds to every query of its users. Each is a
 * filter in LogsQL, or a JSON object of fields and the value, or the array of values, that they
 * must have. They hold in subqueries too. Any number may be given; all must match.
 */
#include "common/logsql/json.h"
#include "common/logsql/lexer.h"
#include "common/logsql/parser.h"
#include "common/logsql/print.h"
#include "router/select_internal.h"

static void add_values(struct tel_buf *out, const struct tel_json_fields *values)
{
    tel_buf_add_char(out, '(');
    for (size_t i = 0; i < values->len; i++) {
        if (i > 0)
            tel_buf_add_char(out, ',');
        tel_lexer_quote(out, values->items[i].value);
    }
    tel_buf_add_char(out, ')');
}

/* {"a":"x","b":["y","z"]} as a:="x" b:in("y","z"), or as {a="x",b in ("y","z")}. */
static bool add_json(struct tel_buf *out, struct tel_span text, bool stream,
                     struct tel_arena *arena)
{
    struct tel_json_fields fields = {0};
    if (!tel_json_object(text, arena, &fields) || fields.len == 0)
        return false;
    tel_buf_add_char(out, stream ? '{' : '(');
    for (size_t i = 0; i < fields.len; i++) {
        struct tel_json_fields values = {0};
        bool list = tel_json_array(fields.items[i].value, arena, &values);
        if (i > 0)
            tel_buf_add_char(out, stream ? ',' : ' ');
        tel_lexer_quote(out, fields.items[i].name);
        if (list) {
            tel_buf_printf(out, "%s", stream ? " in " : ":in");
            add_values(out, &values);
        } else {
            tel_buf_printf(out, "%s", stream ? "=" : ":=");
            tel_lexer_quote(out, fields.items[i].value);
        }
    }
    tel_buf_add_char(out, stream ? '}' : ')');
    return true;
}

static bool add_filter(struct tel_buf *out, const struct tel_http_pair *pair, bool stream,
                       struct tel_arena *arena, int64_t now_ns, struct tel_error *err)
{
    static const struct tel_parse_options options = {.filter_only = true};
    struct tel_span text = tel_span_trim(pair->value);
    struct tel_buf one = {0};
    if (!tel_span_starts(text, TEL_SPAN("{\"")) || !add_json(&one, text, stream, arena)) {
        tel_buf_clear(&one);
        tel_buf_add_span(&one, text);
    }
    struct tel_query *parsed;
    bool ok = tel_query_parse(tel_buf_span(&one), now_ns, &options, arena, &parsed, err) == TEL_OK;
    if (ok) {
        /* It parses by itself, so it cannot close our parenthesis and add an `or` of its own. */
        tel_buf_add_char(out, '(');
        tel_filter_print(out, parsed->filter);
        TEL_BUF_ADD_LIT(out, ") ");
        tel_query_done(parsed);
    }
    tel_buf_free(&one);
    return ok;
}

bool select_extra_read(struct tel_http_request *req, struct query_params *params)
{
    size_t count;
    const struct tel_http_pair *pairs = tel_http_params(req, &count);
    struct tel_arena *arena = tel_http_arena(req);
    struct tel_buf all = {0};
    struct tel_error err;
    for (size_t i = 0; i < count; i++) {
        bool stream = tel_span_eq_cstr(pairs[i].name, "extra_stream_filters");
        if ((!stream && !tel_span_eq_cstr(pairs[i].name, "extra_filters")) ||
            tel_span_trim(pairs[i].value).len == 0)
            continue;
        if (!add_filter(&all, &pairs[i], stream, arena, params->now_ns, &err)) {
            tel_http_reply_error(req, 400, "%s: %s",
                                 stream ? "extra_stream_filters" : "extra_filters", err.text);
            tel_buf_free(&all);
            return false;
        }
    }
    params->extra_filter = tel_arena_copy(arena, tel_buf_span(&all));
    tel_buf_free(&all);
    return true;
}
