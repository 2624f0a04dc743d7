/* See syslog.h. */
#include "common/logsql/syslog.h"

#include <stdio.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/timefmt.h"
#include "common/logsql/logfmt.h"
#include "common/logsql/number.h"

struct reader {
    struct tel_span rest;
    struct tel_arena *arena;
    struct tel_json_fields *out;
    int64_t now_ns, offset_ns;
};

static void add(struct reader *r, const char *name, struct tel_span value)
{
    tel_json_add(r->out, r->arena, tel_span_cstr(name), value);
}

/* What stands before the next space, as a field; false if that was all. */
static bool word(struct reader *r, const char *name)
{
    const char *space = r->rest.len ? memchr(r->rest.ptr, ' ', r->rest.len) : NULL;
    size_t n = space ? (size_t)(space - r->rest.ptr) : r->rest.len;
    add(r, name, tel_span_slice(r->rest, 0, n));
    r->rest = tel_span_slice(r->rest, n + 1, r->rest.len);
    return space != NULL;
}

static size_t find_any(struct tel_span s, const char *chars)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] && strchr(chars, s.ptr[i]))
            return i;
    return SIZE_MAX;
}

/* ---- CEF: version|vendor|product|version|class|name|severity|key=value ...
 * ------------------------- */

static size_t find_unescaped(struct tel_span s, char c)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\\')
            i++;
        else if (s.ptr[i] == c)
            return i;
    }
    return SIZE_MAX;
}

static struct tel_span cef_unescape(struct reader *r, struct tel_span s)
{
    if (!s.len || !memchr(s.ptr, '\\', s.len))
        return s;
    char *out = tel_arena_alloc_aligned(r->arena, s.len + 1, 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '\\' && i + 1 < s.len) {
            c = s.ptr[++i];
            c = c == 'n' ? '\n' : c == 'r' ? '\r' : c;
        }
        out[n++] = c;
    }
    return tel_span_make(out, n);
}

static bool cef_extension(struct reader *r, struct tel_span s)
{
    while (s.len) {
        size_t eq = find_unescaped(s, '=');
        if (eq == SIZE_MAX)
            return false;
        struct tel_span key =
            tel_arena_printf(r->arena, "cef.extension.%.*s",
                             TEL_SPAN_ARG(cef_unescape(r, tel_span_slice(s, 0, eq))));
        s = tel_span_slice(s, eq + 1, s.len);
        size_t next = find_unescaped(s, '=');
        if (next == SIZE_MAX) {
            tel_json_add(r->out, r->arena, key, s);
            return true;
        }
        while (next > 0 && s.ptr[next - 1] != ' ')
            next--;
        if (next == 0)
            return false;
        tel_json_add(r->out, r->arena, key, cef_unescape(r, tel_span_slice(s, 0, next - 1)));
        s = tel_span_slice(s, next, s.len);
    }
    return true;
}

static bool cef(struct reader *r, struct tel_span s)
{
    static const char *const names[] = {
        "cef.version",        "cef.device_vendor",         "cef.device_product",
        "cef.device_version", "cef.device_event_class_id", "cef.name",
        "cef.severity"};
    size_t len = r->out->len;
    for (size_t i = 0; i < TEL_ARRAY_LEN(names); i++) {
        size_t bar = find_unescaped(s, '|');
        if (bar == SIZE_MAX) {
            r->out->len = len;
            return false;
        }
        add(r, names[i], cef_unescape(r, tel_span_slice(s, 0, bar)));
        s = tel_span_slice(s, bar + 1, s.len);
    }
    if (cef_extension(r, s))
        return true;
    r->out->len = len;
    return false;
}

static void message(struct reader *r, struct tel_span s)
{
    if (tel_span_starts(s, TEL_SPAN("CEF:")) && cef(r, tel_span_slice(s, 4, s.len)))
        return;
    if (tel_span_starts(s, TEL_SPAN("@cee:")) &&
        tel_json_object(tel_span_slice(s, 5, s.len), r->arena, r->out))
        return;
    add(r, "message", s);
}

/* ---- RFC 5424
 * ---------------------------------------------------------------------------------------- */

/* [id a="b" c="d"] at the start of the rest. */
static bool structured_element(struct reader *r)
{
    struct tel_span s = r->rest;
    size_t id_end = find_any(s, " ]"), i = id_end;
    if (s.len == 0 || s.ptr[0] != '[' || id_end == SIZE_MAX)
        return false;
    struct tel_span id = tel_span_slice(s, 1, id_end);
    bool quoted = false;
    for (; i < s.len && (quoted || s.ptr[i] != ']'); i++) {
        if (quoted && s.ptr[i] == '\\')
            i++;
        else if (s.ptr[i] == '"')
            quoted = !quoted;
    }
    if (i >= s.len)
        return false;
    struct tel_json_fields pairs = {0};
    /* RFC 5424 escapes ']' in values, which strings elsewhere do not know. */
    struct tel_buf text = {0};
    for (size_t k = id_end; k < i; k++)
        if (!(s.ptr[k] == '\\' && k + 1 < i && s.ptr[k + 1] == ']'))
            tel_buf_add_char(&text, s.ptr[k]);
    struct tel_span plain = tel_arena_copy(r->arena, tel_buf_span(&text));
    tel_buf_free(&text);
    tel_logfmt_parse(tel_span_trim(plain), r->arena, &pairs);
    for (size_t k = 0; k < pairs.len; k++)
        tel_json_add(r->out, r->arena,
                     tel_arena_printf(r->arena, "%.*s.%.*s", TEL_SPAN_ARG(id),
                                      TEL_SPAN_ARG(pairs.items[k].name)),
                     pairs.items[k].value);
    if (pairs.len == 0)
        tel_json_add(r->out, r->arena, id, (struct tel_span){"", 0});
    r->rest = tel_span_slice(s, i + 1, s.len);
    return true;
}

static void rfc5424(struct reader *r)
{
    static const char *const names[] = {"timestamp", "hostname", "app_name", "proc_id", "msg_id"};
    add(r, "format", TEL_SPAN("rfc5424"));
    if (r->rest.len == 0)
        return;
    for (size_t i = 0; i < TEL_ARRAY_LEN(names); i++)
        if (!word(r, names[i]))
            return;
    if (tel_span_starts(r->rest, TEL_SPAN("- "))) {
        r->rest = tel_span_slice(r->rest, 2, r->rest.len);
    } else if (!tel_span_starts(r->rest, TEL_SPAN("@cee:"))) {
        do {
            if (!structured_element(r))
                return;
        } while (r->rest.len && r->rest.ptr[0] == '[');
        if (r->rest.len == 0 || r->rest.ptr[0] != ' ')
            return;
        r->rest = tel_span_slice(r->rest, 1, r->rest.len);
    }
    message(r, r->rest);
}

/* ---- RFC 3164
 * ---------------------------------------------------------------------------------------- */

/* "Jan _2 15:04:05", in the last 12 months before now (and a day). */
static bool stamp(struct reader *r, struct tel_span s, int64_t *ret)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char text[TEL_TIME_TEXT_MAX];
    unsigned month = 0, now_month, now_day;
    int64_t year;
    for (unsigned i = 0; i < 12; i++)
        if (memcmp(s.ptr, months + 3 * i, 3) == 0)
            month = i + 1;
    if (!month || s.ptr[3] != ' ' || s.ptr[6] != ' ')
        return false;
    tel_civil_from_days(tel_day_of(r->now_ns), &year, &now_month, &now_day);
    char tens = s.ptr[4] == ' ' ? '0' : s.ptr[4];
    for (int back = 0; back < 2; back++) {
        int n = snprintf(text, sizeof text, "%04d-%02u-%c%cT%.8sZ", (int)year - back, month, tens,
                         s.ptr[5], s.ptr + 7);
        if (n < 0 || !tel_time_parse(tel_span_make(text, (size_t)n), ret))
            return false;
        *ret -= r->offset_ns;
        if (*ret - TEL_NS_PER_DAY <= r->now_ns)
            return true;
    }
    return true;
}

static bool time_of_message(struct reader *r)
{
    struct tel_span s = r->rest;
    char text[TEL_TIME_TEXT_MAX];
    int64_t t;
    if (s.len < 15)
        return false;
    size_t n = 15;
    if (s.ptr[10] == 'T') {
        const char *space = memchr(s.ptr, ' ', s.len);
        n = space ? (size_t)(space - s.ptr) : 0;
        if (!space || !tel_number_time(tel_span_slice(s, 0, n), &t))
            return false;
    } else if (!stamp(r, tel_span_slice(s, 0, n), &t)) {
        return false;
    }
    size_t len = tel_time_format(text, t);
    if (s.ptr[10] != 'T') { /* a stamp always has its milliseconds */
        int64_t ms = (t % TEL_NS_PER_S + TEL_NS_PER_S) % TEL_NS_PER_S / TEL_NS_PER_MS;
        len = 19 + (size_t)snprintf(text + 19, sizeof text - 19, ".%03dZ", (int)ms);
    }
    add(r, "timestamp", tel_arena_copy(r->arena, tel_span_make(text, len)));
    r->rest = tel_span_slice(s, n, s.len);
    return true;
}

static void rfc3164(struct reader *r)
{
    add(r, "format", TEL_SPAN("rfc3164"));
    if (!time_of_message(r) || r->rest.len == 0 || r->rest.ptr[0] != ' ') {
        if (r->rest.len)
            message(r, r->rest);
        return;
    }
    r->rest = tel_span_slice(r->rest, 1, r->rest.len);
    /* A first word that looks like a tag is one: the host is missing then. */
    const char *space = r->rest.len ? memchr(r->rest.ptr, ' ', r->rest.len) : NULL;
    struct tel_span first =
        tel_span_slice(r->rest, 0, space ? (size_t)(space - r->rest.ptr) : r->rest.len);
    if (find_any(first, ":[") == SIZE_MAX && !word(r, "hostname"))
        return;
    size_t n = find_any(r->rest, "[: ");
    struct tel_span app = tel_span_slice(r->rest, 0, n == SIZE_MAX ? r->rest.len : n);
    add(r, "app_name", app);
    if (n == SIZE_MAX)
        return;
    struct tel_span s = tel_span_slice(r->rest, n, r->rest.len);
    if (s.ptr[0] == '[') {
        const char *close = memchr(s.ptr, ']', s.len);
        if (!close)
            return;
        add(r, "proc_id", tel_span_make(s.ptr + 1, (size_t)(close - s.ptr) - 1));
        s = tel_span_slice(s, (size_t)(close - s.ptr) + 1, s.len);
    }
    s = tel_span_slice(s, s.len && s.ptr[0] == ':', s.len);
    s = tel_span_slice(s, s.len && s.ptr[0] == ' ', s.len);
    if (s.len && !(tel_span_eq_cstr(app, "CEF") && cef(r, s)))
        message(r, s);
}

/* <PRI> at the start; false when it is broken. */
static bool priority(struct reader *r)
{
    static const char *const facilities[] = {
        "kern",   "user",   "mail",     "daemon", "auth",   "syslog",   "lpr",     "news",
        "uucp",   "cron",   "authpriv", "ftp",    "ntp",    "security", "console", "solaris-cron",
        "local0", "local1", "local2",   "local3", "local4", "local5",   "local6",  "local7"};
    static const char *const levels[] = {"emerg",   "alert",  "critical", "error",
                                         "warning", "notice", "info",     "debug"};
    const char *close = memchr(r->rest.ptr, '>', r->rest.len);
    if (!close)
        return false;
    struct tel_span text = tel_span_make(r->rest.ptr + 1, (size_t)(close - r->rest.ptr) - 1);
    uint64_t pri;
    add(r, "priority", text);
    if (!tel_number_u64(text, &pri))
        return false;
    add(r, "facility_keyword",
        tel_span_cstr(pri / 8 < TEL_ARRAY_LEN(facilities) ? facilities[pri / 8] : "unknown"));
    add(r, "level", tel_span_cstr(levels[pri % 8]));
    add(r, "facility", tel_arena_printf(r->arena, "%llu", (unsigned long long)(pri / 8)));
    add(r, "severity", tel_arena_printf(r->arena, "%llu", (unsigned long long)(pri % 8)));
    r->rest = tel_span_slice(r->rest, text.len + 2, r->rest.len);
    return true;
}

void tel_syslog_parse(struct tel_span text, int64_t now_ns, int64_t offset_ns,
                      struct tel_arena *arena, struct tel_json_fields *out)
{
    struct reader r = {
        .rest = text, .arena = arena, .out = out, .now_ns = now_ns, .offset_ns = offset_ns};
    if (text.len == 0 || (text.ptr[0] == '<' && !priority(&r)) || r.rest.len == 0)
        return;
    if (tel_span_starts(r.rest, TEL_SPAN("1 "))) {
        r.rest = tel_span_slice(r.rest, 2, r.rest.len);
        rfc5424(&r);
    } else {
        rfc3164(&r);
    }
}
