/* See lexer.h. String escapes are Go's, which LogsQL's documentation refers to. */
#include "common/logsql/lexer.h"

#include <stdio.h>
#include <strings.h>

#include "common/base/buf.h"
#include "common/base/utf8.h"
#include "common/logsql/words.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* `digits` digits of base 8 or 16 at *p. */
static bool escape_number(const char **p, const char *end, int digits, int base, uint32_t *ret)
{
    uint32_t v = 0;
    for (int i = 0; i < digits; i++, (*p)++) {
        int d = *p < end ? hex_digit(**p) : -1;
        if (d < 0 || d >= base)
            return false;
        v = v * (uint32_t)base + (uint32_t)d;
    }
    *ret = v;
    return true;
}

/* Decodes the escape behind the backslash at *p into out. */
static bool escape(const char **p, const char *end, char out[4], size_t *ret_len)
{
    static const char names[] = "abfnrtv\\'\"", values[] = "\a\b\f\n\r\t\v\\'\"";
    if (*p >= end)
        return false;
    char c = **p;
    const char *at = c ? strchr(names, c) : NULL;
    uint32_t v = 0;
    *ret_len = 1;
    if (at) {
        (*p)++;
        out[0] = values[at - names];
        return true;
    }
    if (c >= '0' && c <= '7') {
        bool ok = escape_number(p, end, 3, 8, &v) && v < 256;
        out[0] = (char)v;
        return ok;
    }
    (*p)++;
    if (c == 'x') {
        bool ok = escape_number(p, end, 2, 16, &v);
        out[0] = (char)v;
        return ok;
    }
    if ((c != 'u' && c != 'U') || !escape_number(p, end, c == 'u' ? 4 : 8, 16, &v) ||
        v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
        return false;
    *ret_len = tel_utf8_encode(v, out);
    return true;
}

/* The string that starts with the quote at s.ptr; TEL_TOKEN_BAD when it has no end. */
static struct tel_token quoted(struct tel_lexer *lex, struct tel_span s)
{
    struct tel_token token = {.kind = TEL_TOKEN_BAD, .raw = tel_span_slice(s, 0, 1)};
    const char quote = s.ptr[0], *end = s.ptr + s.len, *p = s.ptr + 1;
    bool escaped = false;
    while (p < end && *p != quote) {
        if (quote != '`' && *p == '\n')
            return token;
        if (quote != '`' && *p == '\\') {
            escaped = true;
            p++;
        }
        p++;
    }
    if (p >= end)
        return token;
    token.raw = tel_span_make(s.ptr, (size_t)(p + 1 - s.ptr));
    token.text = tel_span_slice(token.raw, 1, token.raw.len - 1);
    if (escaped) {
        char *out = tel_arena_alloc_aligned(lex->arena, token.text.len + 4, 1);
        size_t len = 0, n;
        const char *stop = p;
        for (p = s.ptr + 1; p < stop;) {
            if (*p != '\\') {
                out[len++] = *p++;
                continue;
            }
            p++;
            if (!escape(&p, stop, out + len, &n))
                return token;
            len += n;
        }
        token.text = tel_span_make(out, len);
    }
    token.kind = TEL_TOKEN_QUOTED;
    return token;
}

/* Moves past space and comments. */
static size_t skip_space(struct tel_span s, size_t i)
{
    while (i < s.len) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c == ' ' || (c >= '\t' && c <= '\r')) {
            i++;
        } else if (c == '#') {
            const char *nl = memchr(s.ptr + i, '\n', s.len - i);
            i = nl ? (size_t)(nl - s.ptr) + 1 : s.len;
        } else if (c >= 0x80) {
            uint32_t cp;
            size_t n = tel_utf8_decode(tel_span_slice(s, i, s.len), &cp);
            if (cp != 0x85 && cp != 0xa0 && cp != 0x1680 && !(cp >= 0x2000 && cp <= 0x200a) &&
                cp != 0x2028 && cp != 0x2029 && cp != 0x202f && cp != 0x205f && cp != 0x3000)
                return i;
            i += n;
        } else {
            return i;
        }
    }
    return i;
}

void tel_lexer_next(struct tel_lexer *lex)
{
    struct tel_span s = lex->source;
    size_t i = skip_space(s, lex->pos), word_pos = i;
    struct tel_token token = {.after_space = i > lex->pos};
    struct tel_span word;
    if (i >= s.len) {
        token.raw = token.text = tel_span_slice(s, s.len, s.len);
    } else if (tel_words_next(s, &word_pos, &word) && word.ptr == s.ptr + i) {
        token.kind = TEL_TOKEN_WORD;
        token.raw = token.text = word;
    } else if (s.ptr[i] == '"' || s.ptr[i] == '\'' || s.ptr[i] == '`') {
        bool after_space = token.after_space;
        token = quoted(lex, tel_span_slice(s, i, s.len));
        token.after_space = after_space;
    } else {
        uint32_t cp;
        size_t n = tel_utf8_decode(tel_span_slice(s, i, s.len), &cp);
        char c = s.ptr[i], d = i + 1 < s.len ? s.ptr[i + 1] : 0;
        if ((c == '=' && d == '~') || (c == '!' && (d == '~' || d == '=')))
            n = 2;
        token.kind = TEL_TOKEN_PUNCT;
        token.raw = token.text = tel_span_slice(s, i, i + n);
    }
    lex->token = token;
    lex->pos = (size_t)(token.raw.ptr - s.ptr) + token.raw.len;
}

void tel_lexer_init(struct tel_lexer *lex, struct tel_span source, struct tel_arena *arena)
{
    if (!source.ptr)
        source = TEL_SPAN("");
    *lex = (struct tel_lexer){.source = source, .arena = arena};
    tel_lexer_next(lex);
}

bool tel_lexer_is(const struct tel_lexer *lex, const char *keyword)
{
    const struct tel_token *t = &lex->token;
    if (t->kind == TEL_TOKEN_QUOTED || t->kind == TEL_TOKEN_BAD)
        return false;
    size_t n = strlen(keyword);
    return t->text.len == n && (n == 0 || strncasecmp(t->text.ptr, keyword, n) == 0);
}

size_t tel_lexer_offset(const struct tel_lexer *lex)
{
    return (size_t)(lex->token.raw.ptr - lex->source.ptr);
}

void tel_lexer_quote(struct tel_buf *out, struct tel_span s)
{
    tel_buf_add_char(out, '"');
    for (size_t i = 0; i < s.len;) {
        unsigned char c = (unsigned char)s.ptr[i];
        uint32_t cp;
        size_t n = tel_utf8_decode(tel_span_slice(s, i, s.len), &cp);
        if (c == '"' || c == '\\') {
            tel_buf_add_char(out, '\\');
            tel_buf_add_char(out, (char)c);
        } else if (c == '\n') {
            TEL_BUF_ADD_LIT(out, "\\n");
        } else if (c == '\t') {
            TEL_BUF_ADD_LIT(out, "\\t");
        } else if (c == '\r') {
            TEL_BUF_ADD_LIT(out, "\\r");
        } else if (c < 0x20 || c == 0x7f || cp == UINT32_MAX) {
            tel_buf_printf(out, "\\x%02x", c);
        } else {
            tel_buf_add(out, s.ptr + i, n);
        }
        i += n;
    }
    tel_buf_add_char(out, '"');
}

/* Bytes of the line shown on each side of the place. */
#define EXCERPT 60

tel_code tel_lexer_error(struct tel_error *err, struct tel_span source, size_t offset,
                         const char *fmt, ...)
{
    if (!err)
        return TEL_ERR_PARSE;
    size_t line = 1, start = 0;
    offset = TEL_MIN(offset, source.len);
    for (size_t i = 0; i < offset; i++) {
        if (source.ptr[i] == '\n') {
            line++;
            start = i + 1;
        }
    }
    char message[TEL_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);

    /* Columns are characters; the caret stands below the place even behind wide text. */
    size_t column = 1, from = start, to = offset, width = 0;
    for (size_t i = start; i < offset; i++)
        column += ((unsigned char)source.ptr[i] & 0xc0) != 0x80;
    if (offset - from > EXCERPT)
        from = offset - EXCERPT;
    while (from < offset && ((unsigned char)source.ptr[from] & 0xc0) == 0x80)
        from++;
    while (to < source.len && source.ptr[to] != '\n' && to < offset + EXCERPT)
        to++;
    struct tel_buf text = {0}, plain = {0};
    tel_buf_printf(&plain, "line %zu, column %zu: %s", line, column, message);
    tel_buf_add_escaped(&text, tel_buf_span(&plain), 300);
    TEL_BUF_ADD_LIT(&text, "\n  ");
    size_t line_at = text.len;
    tel_buf_add_escaped(&text, tel_span_slice(source, from, offset), 4 * EXCERPT);
    for (size_t i = line_at; i < text.len; i++)
        width += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    tel_buf_add_escaped(&text, tel_span_slice(source, offset, to), 4 * EXCERPT);
    TEL_BUF_ADD_LIT(&text, "\n  ");
    for (size_t i = 0; i < width; i++)
        tel_buf_add_char(&text, ' ');
    tel_buf_add_char(&text, '^');
    err->code = TEL_ERR_PARSE;
    err->retriable = false;
    snprintf(err->text, sizeof err->text, "%s", tel_buf_cstr(&text));
    tel_buf_free(&text);
    tel_buf_free(&plain);
    return TEL_ERR_PARSE;
}
