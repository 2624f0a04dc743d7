/* Tenant, parameters, and what becomes of flat fields. */
#include <stdio.h>

#include "sidecar/insert/insert_internal.h"
#include "sidecar/insert/insert_time.h"

/* ---- tenant ------------------------------------------------------------------------------- */

static bool tenant_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

bool insert_tenant(struct tel_http_request *req, struct tel_span *ret)
{
    struct tel_span t = TEL_SPAN("default"), account = TEL_SPAN("0"), project = TEL_SPAN("0");
    bool has_account = tel_http_header(req, "AccountID", &account);
    bool has_project = tel_http_header(req, "ProjectID", &project);
    if (tel_http_header(req, "X-Scope-OrgID", &t)) {
        bool good = t.len > 0 && t.len <= TEL_TENANT_BYTES_MAX;
        for (size_t i = 0; i < t.len && good; i++)
            good = tenant_char(t.ptr[i]);
        if (!good) {
            tel_http_reply_error(req, 400, "X-Scope-OrgID: letters, digits, '-', '_', '.', at most %u",
                                 TEL_TENANT_BYTES_MAX);
            return false;
        }
    } else if (has_account || has_project) {
        unsigned long long a = 0, p = 0;
        if (!tel_span_to_u64(account, &a) || !tel_span_to_u64(project, &p) || a > UINT32_MAX ||
            p > UINT32_MAX) {
            tel_http_reply_error(req, 400, "AccountID and ProjectID are 32-bit numbers");
            return false;
        }
        t = tel_arena_printf(tel_http_arena(req), "%llu:%llu", a, p);
        if (a == 0 && p == 0)
            t = TEL_SPAN("default");
    }
    *ret = t;
    return true;
}

/* ---- parameters --------------------------------------------------------------------------- */

static bool get(struct tel_http_request *req, const char *param, const char *header,
                struct tel_span *ret)
{
    return (tel_http_param(req, param, ret) && ret->len > 0) || tel_http_header(req, header, ret);
}

/* A comma list into at most `max` spans; false when there are more. */
static bool split_list(struct tel_span list, struct tel_span *out, uint32_t max, uint32_t *ret_count)
{
    uint32_t n = 0;
    while (list.len > 0) {
        struct tel_span item = tel_span_trim(tel_span_split(&list, ','));
        if (item.len == 0)
            continue;
        if (n == max)
            return false;
        out[n++] = item;
    }
    *ret_count = n;
    return true;
}

static bool parse_extra(struct tel_span list, struct insert_params *p)
{
    struct tel_span items[TEL_ARRAY_LEN(p->extra)];
    uint32_t n = 0;
    if (!split_list(list, items, TEL_ARRAY_LEN(items), &n))
        return false;
    for (uint32_t i = 0; i < n; i++) {
        struct tel_span value = items[i];
        struct tel_span name = tel_span_split(&value, '=');
        if (name.len == 0 || name.len == items[i].len)
            return false;
        p->extra[i] = (struct tel_field){name, value};
    }
    p->extra_count = n;
    return true;
}

bool insert_params_parse(struct tel_http_request *req, struct insert_params *p)
{
    *p = (struct insert_params){.time_fields = {TEL_SPAN_INIT("_time")}, .time_count = 1,
                                .msg_fields = {TEL_SPAN_INIT("_msg")}, .msg_count = 1};
    struct tel_span v;
    const char *bad = NULL;
    if (get(req, "_time_field", "VL-Time-Field", &v) &&
        !split_list(v, p->time_fields, TEL_ARRAY_LEN(p->time_fields), &p->time_count))
        bad = "_time_field";
    if (get(req, "_msg_field", "VL-Msg-Field", &v) &&
        !split_list(v, p->msg_fields, TEL_ARRAY_LEN(p->msg_fields), &p->msg_count))
        bad = "_msg_field";
    if (get(req, "_stream_fields", "VL-Stream-Fields", &v) &&
        !split_list(v, p->stream_fields, TEL_ARRAY_LEN(p->stream_fields), &p->stream_count))
        bad = "_stream_fields";
    if (get(req, "ignore_fields", "VL-Ignore-Fields", &v) &&
        !split_list(v, p->ignore, TEL_ARRAY_LEN(p->ignore), &p->ignore_count))
        bad = "ignore_fields";
    if (get(req, "extra_fields", "VL-Extra-Fields", &v) && !parse_extra(v, p))
        bad = "extra_fields";
    if (bad)
        tel_http_reply_error(req, 400, "%s: too many names, or not a list (extra_fields: name=value,...)",
                             bad);
    return bad == NULL;
}

void insert_params_default(struct tel_http_request *req, struct insert_params *p,
                           const char *time_field, const char *msg_field)
{
    struct tel_span v;
    if (!get(req, "_time_field", "VL-Time-Field", &v))
        p->time_fields[p->time_count++] = tel_span_cstr(time_field);
    if (!get(req, "_msg_field", "VL-Msg-Field", &v))
        p->msg_fields[p->msg_count++] = tel_span_cstr(msg_field);
}

/* ---- flat fields -------------------------------------------------------------------------- */

static bool ignored(const struct insert_params *p, struct tel_span name)
{
    for (uint32_t i = 0; i < p->ignore_count; i++) {
        struct tel_span want = p->ignore[i];
        if (want.ptr[want.len - 1] == '*'
                ? tel_span_starts(name, tel_span_slice(want, 0, want.len - 1))
                : tel_span_eq(name, want))
            return true;
    }
    return false;
}

static int index_of(const struct tel_span *names, uint32_t count, struct tel_span name)
{
    for (uint32_t i = 0; i < count; i++)
        if (tel_span_eq(names[i], name))
            return (int)i;
    return -1;
}

/* What a pass over the fields finds. */
struct found {
    struct tel_span time, msg;
    int time_rank, msg_rank; /* in the list of names; the first named wins. -1: none */
    struct tel_field labels[64];
};

static void start_labels(const struct insert_params *p, struct found *f)
{
    for (uint32_t i = 0; i < p->stream_count; i++)
        f->labels[i] = (struct tel_field){p->stream_fields[i], {NULL, 0}};
}

/* Is it a field of its own? If not, it has been taken into f. */
static bool is_attribute(const struct insert_params *p, struct tel_field field, struct found *f)
{
    int i = index_of(p->stream_fields, p->stream_count, field.name);
    if (i >= 0) {
        f->labels[i].value = field.value;
        return false;
    }
    i = index_of(p->time_fields, p->time_count, field.name);
    if (i >= 0 && (f->time_rank < 0 || i <= f->time_rank)) {
        f->time = field.value;
        f->time_rank = i;
        return false;
    }
    i = index_of(p->msg_fields, p->msg_count, field.name);
    if (i >= 0 && field.value.len > 0 && f->msg_rank < 0) {
        f->msg = field.value;
        f->msg_rank = i;
        return false;
    }
    return true;
}

/* With several names for the message, the first in the list that has a value is it, wherever it
 * stands in the event. */
static void find_msg(const struct insert_params *p, const struct tel_field *fields, size_t count,
                     struct found *f, size_t *ret_at)
{
    *ret_at = count;
    for (uint32_t m = 0; m < p->msg_count && *ret_at == count; m++)
        for (size_t i = 0; i < count; i++)
            if (fields[i].value.len > 0 && tel_span_eq(fields[i].name, p->msg_fields[m])) {
                *ret_at = i;
                f->msg = fields[i].value;
                f->msg_rank = (int)m;
                break;
            }
}

bool insert_flat(struct insert_session *s, const struct insert_params *p, struct tel_field *fields,
                 size_t count, struct tel_error *err)
{
    struct found f = {.time_rank = -1, .msg_rank = -1};
    start_labels(p, &f);
    size_t msg_at = count, n = 0;
    if (p->msg_count > 1)
        find_msg(p, fields, count, &f, &msg_at);
    for (size_t i = 0; i < count; i++) {
        if (i == msg_at || fields[i].value.len == 0 || fields[i].name.len == 0)
            continue;
        if ((p->ignore_count && ignored(p, fields[i].name)) || !is_attribute(p, fields[i], &f))
            continue;
        fields[n++] = fields[i];
    }
    uint32_t label_count = p->stream_count;
    for (uint32_t i = 0; i < p->extra_count; i++) {
        int at = index_of(p->stream_fields, p->stream_count, p->extra[i].name);
        if (at >= 0)
            f.labels[at].value = p->extra[i].value;
        else
            fields[n++] = p->extra[i]; /* the caller leaves room; a later name wins */
    }
    struct tel_event event = {.attributes = fields, .attribute_count = (uint32_t)n, .body = f.msg};
    if (!insert_time_parse(f.time, tel_wall_ns(s->in->clock), &event.timestamp_ns)) {
        (void)tel_error_set(err, TEL_ERR_INVALID, "not a time: \"%.*s\"",
                            (int)TEL_MIN(f.time.len, (size_t)60), f.time.ptr);
        return false;
    }
    return insert_add(s, insert_stream(s, f.labels, label_count), &event, err);
}
