/* See pattern.h. */
#include "common/logsql/pattern.h"

#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/utf8.h"
#include "common/logsql/lexer.h"
#include "common/logsql/words.h"

/* &lt; &gt; &amp; &quot; &apos; &#39; &#x27; */
static struct tel_span unescape(struct tel_span s, struct tel_arena *arena)
{
    static const struct {
        const char *name, *text;
    } entities[] = {{"lt;", "<"},    {"gt;", ">"},   {"amp;", "&"},
                    {"quot;", "\""}, {"apos;", "'"}, {"nbsp;", "\xc2\xa0"}};
    if (!s.len || !memchr(s.ptr, '&', s.len))
        return s;
    struct tel_buf out = {0};
    for (size_t i = 0; i < s.len;) {
        struct tel_span rest = tel_span_slice(s, i + 1, s.len);
        size_t used = 0;
        if (s.ptr[i] == '&' && rest.len > 2 && rest.ptr[0] == '#') {
            char *end, text[4];
            bool hex = rest.ptr[1] == 'x' || rest.ptr[1] == 'X';
            char digits[12] = {0};
            memcpy(digits, rest.ptr + 1 + hex, TEL_MIN(rest.len - 1 - hex, sizeof digits - 1));
            unsigned long cp = strtoul(digits, &end, hex ? 16 : 10);
            if (end > digits && *end == ';') {
                tel_buf_add(&out, text, tel_utf8_encode((uint32_t)cp, text));
                used = (size_t)(end - digits) + 3 + hex;
            }
        }
        for (size_t e = 0; s.ptr[i] == '&' && !used && e < TEL_ARRAY_LEN(entities); e++) {
            if (tel_span_starts(rest, tel_span_cstr(entities[e].name))) {
                tel_buf_add_span(&out, tel_span_cstr(entities[e].text));
                used = 1 + strlen(entities[e].name);
            }
        }
        if (!used) {
            tel_buf_add_char(&out, s.ptr[i]);
            used = 1;
        }
        i += used;
    }
    struct tel_span text = tel_arena_copy(arena, tel_buf_span(&out));
    tel_buf_free(&out);
    return text;
}

bool tel_pattern_parse(struct tel_span text, struct tel_arena *arena, struct tel_pattern *ret)
{
    size_t cap = 1;
    for (size_t i = 0; i < text.len; i++)
        cap += text.ptr[i] == '<';
    struct tel_pattern_step *steps = TEL_ARENA_ARRAY(arena, struct tel_pattern_step, cap);
    size_t n = 0;
    while (text.len) {
        const char *open = memchr(text.ptr, '<', text.len);
        struct tel_pattern_step *step = &steps[n++];
        size_t at = open ? (size_t)(open - text.ptr) : text.len;
        step->prefix = unescape(tel_span_slice(text, 0, at), arena);
        if (!open)
            break;
        text = tel_span_slice(text, at + 1, text.len);
        const char *close = text.len ? memchr(text.ptr, '>', text.len) : NULL;
        if (!close)
            return false;
        struct tel_span field = tel_span_slice(text, 0, (size_t)(close - text.ptr));
        text = tel_span_slice(text, field.len + 1, text.len);
        const char *colon = field.len ? memchr(field.ptr, ':', field.len) : NULL;
        if (colon) {
            step->option = tel_span_trim(tel_span_slice(field, 0, (size_t)(colon - field.ptr)));
            field = tel_span_slice(field, step->option.len ? (size_t)(colon + 1 - field.ptr) : 1,
                                   field.len);
        }
        step->has_field = true;
        step->field = tel_span_trim(field);
        if (tel_span_eq_cstr(step->field, "_") || tel_span_eq_cstr(step->field, "*"))
            step->field = (struct tel_span){"", 0};
    }
    ret->steps = steps;
    ret->count = n;
    return true;
}

void tel_pattern_match(const struct tel_pattern *pattern, struct tel_span s,
                       struct tel_arena *arena, struct tel_span *ret_values)
{
    for (size_t i = 0; i < pattern->count; i++)
        ret_values[i] = (struct tel_span){"", 0};
    if (pattern->count == 0)
        return;
    size_t at = tel_words_find_bytes(s, pattern->steps[0].prefix, 0);
    if (at == SIZE_MAX)
        return;
    s = tel_span_slice(s, at + pattern->steps[0].prefix.len, s.len);
    for (size_t i = 0; i < pattern->count && pattern->steps[i].has_field; i++) {
        struct tel_span next =
            i + 1 < pattern->count ? pattern->steps[i + 1].prefix : (struct tel_span){"", 0};
        bool plain = tel_span_eq_cstr(pattern->steps[i].option, "plain");
        if (!plain && s.len && (s.ptr[0] == '"' || s.ptr[0] == '`')) {
            struct tel_lexer lex;
            tel_lexer_init(&lex, s, arena);
            if (lex.token.kind == TEL_TOKEN_QUOTED) {
                ret_values[i] = lex.token.text;
                s = tel_span_slice(s, lex.token.raw.len, s.len);
                if (!tel_span_starts(s, next))
                    return;
                s = tel_span_slice(s, next.len, s.len);
                continue;
            }
        }
        if (next.len == 0) {
            ret_values[i] = s;
            return;
        }
        at = tel_words_find_bytes(s, next, 0);
        if (at == SIZE_MAX)
            return;
        ret_values[i] = tel_span_slice(s, 0, at);
        s = tel_span_slice(s, at + next.len, s.len);
    }
}
