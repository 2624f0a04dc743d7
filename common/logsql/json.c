/* See json.h: one pass, by recursive descent. */
#include "common/logsql/json.h"

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/utf8.h"

#define DEPTH_MAX 64u

struct reader {
    const char *p, *end;
    struct tel_arena *arena;
    struct tel_json_fields *out;
    unsigned depth;
};

/* What tel_buf_add_json has as one character or as a short escape, and the reference as six. */
static const char *six(const char *p, size_t left, size_t *ret_len)
{
    *ret_len = 1;
    if (*p == '\'')
        return "\\u0027";
    if (*p == '<')
        return "\\u003c";
    *ret_len = 2;
    if (*p != '\\' || left < 2)
        return NULL;
    return p[1] == 'b' ? "\\u0008" : p[1] == 'f' ? "\\u000c" : NULL;
}

void tel_json_embed(struct tel_buf *out, struct tel_span s)
{
    size_t at = out->len, n;
    bool plain = true;
    for (size_t i = 0; i < s.len && plain; i++)
        plain = s.ptr[i] != '\'' && s.ptr[i] != '<' && s.ptr[i] != '\b' && s.ptr[i] != '\f';
    tel_buf_add_json(out, s);
    if (plain)
        return;
    struct tel_buf text = {0};
    tel_buf_add(&text, out->ptr + at, out->len - at);
    out->len = at;
    for (size_t i = 0; i < text.len; i += n) {
        const char *escape = six(text.ptr + i, text.len - i, &n);
        if (!escape)
            n = text.ptr[i] == '\\' ? 2 : 1; /* an escaped backslash is not half of another */
        tel_buf_add(out, escape ? escape : text.ptr + i, escape ? 6 : n);
    }
    tel_buf_free(&text);
}

void tel_json_add(struct tel_json_fields *out, struct tel_arena *arena, struct tel_span name,
                  struct tel_span value)
{
    if (out->len == out->cap) {
        size_t cap = out->cap ? out->cap * 2 : 16;
        struct tel_json_field *items = TEL_ARENA_ARRAY(arena, struct tel_json_field, cap);
        if (out->len)
            memcpy(items, out->items, out->len * sizeof *items);
        out->items = items;
        out->cap = cap;
    }
    out->items[out->len++] = (struct tel_json_field){name, value};
}

static void skip_space(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
        r->p++;
}

static bool take(struct reader *r, char c)
{
    skip_space(r);
    if (r->p >= r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

static bool hex4(const char *p, const char *end, uint32_t *ret)
{
    uint32_t v = 0;
    if (end - p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        uint32_t d = c >= '0' && c <= '9'                     ? (uint32_t)(c - '0')
                     : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (uint32_t)((c | 0x20) - 'a') + 10
                                                              : 99;
        if (d > 15)
            return false;
        v = v << 4 | d;
    }
    *ret = v;
    return true;
}

/* Decodes the escapes between p and end. */
static bool unescape(const char *p, const char *end, struct tel_arena *arena, struct tel_span *ret)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char *out = tel_arena_alloc_aligned(arena, (size_t)(end - p) + 4, 1), *o = out;
    while (p < end) {
        if (*p != '\\') {
            *o++ = *p++;
            continue;
        }
        p++;
        const char *at = p < end && *p ? strchr(names, *p) : NULL;
        if (at) {
            *o++ = values[at - names];
            p++;
            continue;
        }
        uint32_t cp, low;
        if (p >= end || *p != 'u' || !hex4(p + 1, end, &cp))
            return false;
        p += 5;
        if (cp >= 0xd800 && cp < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' &&
            hex4(p + 2, end, &low) && low >= 0xdc00 && low < 0xe000) {
            cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
            p += 6;
        }
        o += tel_utf8_encode(cp, o);
    }
    *ret = tel_span_make(out, (size_t)(o - out));
    return true;
}

static bool string(struct reader *r, struct tel_span *ret)
{
    if (!take(r, '"'))
        return false;
    const char *start = r->p;
    bool escaped = false;
    while (r->p < r->end && *r->p != '"') {
        if (*r->p == '\\') {
            escaped = true;
            r->p++;
        }
        r->p++;
    }
    if (r->p >= r->end)
        return false;
    const char *stop = r->p++;
    *ret = tel_span_make(start, (size_t)(stop - start));
    return !escaped || unescape(start, stop, r->arena, ret);
}

/* Moves over any value; compact gets its text without space between tokens, unless it is NULL. */
static bool skip_value(struct reader *r, struct tel_buf *compact);

static bool skip_scalar(struct reader *r, struct tel_buf *compact)
{
    const char *start = r->p;
    struct tel_span s;
    if (*r->p == '"') {
        if (!string(r, &s))
            return false;
    } else {
        while (r->p < r->end && ((*r->p >= '0' && *r->p <= '9') || (*r->p >= 'a' && *r->p <= 'z') ||
                                 *r->p == '-' || *r->p == '+' || *r->p == '.' || *r->p == 'E'))
            r->p++;
        struct tel_span word = tel_span_make(start, (size_t)(r->p - start));
        bool number =
            word.len && (word.ptr[0] == '-' || (word.ptr[0] >= '0' && word.ptr[0] <= '9'));
        if (!number && !tel_span_eq_cstr(word, "true") && !tel_span_eq_cstr(word, "false") &&
            !tel_span_eq_cstr(word, "null"))
            return false;
    }
    if (compact)
        tel_buf_add(compact, start, (size_t)(r->p - start));
    return true;
}

static bool skip_container(struct reader *r, struct tel_buf *compact)
{
    char close = *r->p == '{' ? '}' : ']';
    if (++r->depth > DEPTH_MAX)
        return false;
    if (compact)
        tel_buf_add_char(compact, *r->p);
    r->p++;
    bool first = true;
    while (!take(r, close)) {
        if (!first && !take(r, ','))
            return false;
        if (!first && compact)
            tel_buf_add_char(compact, ',');
        first = false;
        if (close == '}') {
            skip_space(r);
            if (r->p >= r->end || *r->p != '"' || !skip_scalar(r, compact) || !take(r, ':'))
                return false;
            if (compact)
                tel_buf_add_char(compact, ':');
        }
        if (!skip_value(r, compact))
            return false;
    }
    if (compact)
        tel_buf_add_char(compact, close);
    r->depth--;
    return true;
}

static bool skip_value(struct reader *r, struct tel_buf *compact)
{
    skip_space(r);
    if (r->p >= r->end)
        return false;
    return *r->p == '{' || *r->p == '[' ? skip_container(r, compact) : skip_scalar(r, compact);
}

/* A value as LogsQL's text; *ret_null for null. */
static bool value_text(struct reader *r, struct tel_span *ret, bool *ret_null)
{
    skip_space(r);
    *ret_null = false;
    if (r->p >= r->end)
        return false;
    if (*r->p == '"')
        return string(r, ret);
    const char *start = r->p;
    if (*r->p == '[' || *r->p == '{') {
        struct tel_buf compact = {0};
        bool ok = skip_value(r, &compact);
        if (ok)
            *ret = tel_arena_copy(r->arena, tel_buf_span(&compact));
        tel_buf_free(&compact);
        return ok;
    }
    if (!skip_scalar(r, NULL))
        return false;
    *ret = tel_span_make(start, (size_t)(r->p - start));
    *ret_null = *start == 'n';
    return true;
}

static bool object(struct reader *r, struct tel_span prefix)
{
    if (!take(r, '{') || ++r->depth > DEPTH_MAX)
        return false;
    bool first = true;
    while (!take(r, '}')) {
        struct tel_span name, value;
        bool null;
        if (!first && !take(r, ','))
            return false;
        first = false;
        if (!string(r, &name) || !take(r, ':'))
            return false;
        if (prefix.len)
            name =
                tel_arena_printf(r->arena, "%.*s.%.*s", TEL_SPAN_ARG(prefix), TEL_SPAN_ARG(name));
        skip_space(r);
        if (r->p < r->end && *r->p == '{') {
            if (!object(r, name))
                return false;
            continue;
        }
        if (!value_text(r, &value, &null))
            return false;
        if (!null)
            tel_json_add(r->out, r->arena, name, value);
    }
    r->depth--;
    return true;
}

static bool at_end(struct reader *r)
{
    skip_space(r);
    return r->p == r->end;
}

bool tel_json_object(struct tel_span text, struct tel_arena *arena, struct tel_json_fields *out)
{
    if (text.len == 0)
        return false;
    struct reader r = {.p = text.ptr, .end = text.ptr + text.len, .arena = arena, .out = out};
    size_t len = out->len;
    if (!object(&r, (struct tel_span){0}) || !at_end(&r)) {
        out->len = len;
        return false;
    }
    return true;
}

bool tel_json_array(struct tel_span text, struct tel_arena *arena, struct tel_json_fields *out)
{
    if (text.len == 0)
        return false;
    struct reader r = {.p = text.ptr, .end = text.ptr + text.len, .arena = arena, .out = out};
    size_t len = out->len;
    bool ok = take(&r, '['), first = true;
    while (ok && !take(&r, ']')) {
        struct tel_span value;
        bool null;
        ok = (first || take(&r, ',')) && value_text(&r, &value, &null);
        if (ok)
            tel_json_add(out, arena, (struct tel_span){0}, value);
        first = false;
    }
    if (ok && at_end(&r))
        return true;
    out->len = len;
    return false;
}
