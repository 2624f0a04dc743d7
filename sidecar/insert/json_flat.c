#include "sidecar/insert/json_flat.h"

#include "common/base/utf8.h"

struct scan {
    const char *begin, *p, *end;
    struct json_flat *flat;
};

static bool fail(struct scan *s, const char *what)
{
    if (!s->flat->error) {
        s->flat->error = what;
        s->flat->error_at = (size_t)(s->p - s->begin);
    }
    return false;
}

static void skip_blanks(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

/* ---- strings ------------------------------------------------------------------------------ */

/* Eight bytes at once: is any of them a quote, a backslash or below 0x20? (Mycroft's test; a byte
 * with its top bit set can be reported falsely only behind a true hit.) */
static bool word_is_plain(const char *p)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = UINT64_C(0x8080808080808080);
    uint64_t w;
    memcpy(&w, p, sizeof(w));
    uint64_t quote = w ^ (ones * '"'), slash = w ^ (ones * '\\');
    uint64_t hit = ((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((w - ones * 0x20) & ~w);
    return (hit & tops) == 0;
}

static int hex4(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int d = c >= '0' && c <= '9' ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (d < 0)
            return -1;
        v = v << 4 | d;
    }
    return v;
}

/* Behind "\u"; writes UTF-8. A surrogate without its partner becomes U+FFFD. */
static bool unescape_unicode(struct scan *s, char **out)
{
    int hi = s->end - s->p >= 4 ? hex4(s->p) : -1;
    if (hi < 0)
        return fail(s, "\\u without four hexadecimal digits");
    s->p += 4;
    uint32_t cp = (uint32_t)hi;
    if (cp >= 0xd800 && cp < 0xdc00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
        int lo = hex4(s->p + 2);
        if (lo >= 0xdc00 && lo < 0xe000) {
            cp = 0x10000 + ((cp - 0xd800) << 10) + ((uint32_t)lo - 0xdc00);
            s->p += 6;
        }
    }
    *out += tel_utf8_encode(cp, *out);
    return true;
}

/* The rest of a string from its first backslash on; `begin` is behind the opening quote. */
static bool unescape(struct scan *s, const char *begin, struct tel_span *ret)
{
    /* An escape is never shorter than what it stands for, so the text's length is room enough. */
    const char *close = s->p;
    while (close < s->end && *close != '"')
        close += *close == '\\' ? 2 : 1;
    if (close >= s->end)
        return fail(s, "a string that does not end");
    char *base = tel_arena_alloc_aligned(s->flat->arena, (size_t)(close - begin) + 4, 1);
    char *out = base + (s->p - begin);
    memcpy(base, begin, (size_t)(s->p - begin));
    while (s->p < close) {
        char c = *s->p;
        if ((unsigned char)c < 0x20)
            return fail(s, "a control character in a string");
        s->p++;
        if (c != '\\') {
            *out++ = c;
            continue;
        }
        c = *s->p++;
        switch (c) {
        case '"': case '\\': case '/': *out++ = c; break;
        case 'b': *out++ = '\b'; break;
        case 'f': *out++ = '\f'; break;
        case 'n': *out++ = '\n'; break;
        case 'r': *out++ = '\r'; break;
        case 't': *out++ = '\t'; break;
        case 'u':
            if (!unescape_unicode(s, &out))
                return false;
            break;
        default: return fail(s, "an unknown escape");
        }
    }
    s->p = close + 1;
    *ret = tel_span_make(base, (size_t)(out - base));
    return true;
}

/* At the opening quote. */
static bool scan_string(struct scan *s, struct tel_span *ret)
{
    const char *begin = ++s->p;
    for (;;) {
        while (s->end - s->p >= 8 && word_is_plain(s->p))
            s->p += 8;
        if (s->p == s->end)
            return fail(s, "a string that does not end");
        char c = *s->p;
        if (c == '"') {
            *ret = tel_span_make(begin, (size_t)(s->p - begin));
            s->p++;
            return true;
        }
        if (c == '\\')
            return unescape(s, begin, ret);
        if ((unsigned char)c < 0x20)
            return fail(s, "a control character in a string");
        s->p++;
    }
}

/* ---- other values ------------------------------------------------------------------------- */

static size_t digits(struct scan *s)
{
    const char *begin = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return (size_t)(s->p - begin);
}

static bool scan_number(struct scan *s, struct tel_span *ret)
{
    const char *begin = s->p;
    if (*s->p == '-')
        s->p++;
    bool zero = s->p < s->end && *s->p == '0';
    size_t n = digits(s);
    bool good = n > 0 && !(zero && n > 1);
    if (good && s->p < s->end && *s->p == '.') {
        s->p++;
        good = digits(s) > 0;
    }
    if (good && s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
            s->p++;
        good = digits(s) > 0;
    }
    *ret = tel_span_make(begin, (size_t)(s->p - begin));
    return good || fail(s, "a malformed number");
}

static bool scan_word(struct scan *s, struct tel_span word, struct tel_span *ret)
{
    if (!tel_span_starts(tel_span_make(s->p, (size_t)(s->end - s->p)), word))
        return fail(s, "a value was expected");
    *ret = tel_span_make(s->p, word.len);
    s->p += word.len;
    return true;
}

static bool skip_value(struct scan *s, int depth);

/* Behind '[' or '{', up to and with its partner. */
static bool skip_container(struct scan *s, char close, int depth)
{
    if (depth > JSON_DEPTH_MAX)
        return fail(s, "nested too deep");
    skip_blanks(s);
    if (s->p < s->end && *s->p == close) {
        s->p++;
        return true;
    }
    for (;;) {
        struct tel_span name;
        skip_blanks(s);
        if (close == '}') {
            if (s->p == s->end || *s->p != '"')
                return fail(s, "a name in quotes was expected");
            if (!scan_string(s, &name))
                return false;
            skip_blanks(s);
            if (s->p == s->end || *s->p++ != ':')
                return fail(s, "':' was expected");
        }
        if (!skip_value(s, depth))
            return false;
        skip_blanks(s);
        if (s->p == s->end)
            return fail(s, "the text ends too early");
        char c = *s->p++;
        if (c == close)
            return true;
        if (c != ',')
            return fail(s, "',' was expected");
    }
}

static bool scan_scalar(struct scan *s, struct tel_span *ret)
{
    switch (*s->p) {
    case '"': return scan_string(s, ret);
    case 't': return scan_word(s, TEL_SPAN("true"), ret);
    case 'f': return scan_word(s, TEL_SPAN("false"), ret);
    case 'n': return scan_word(s, TEL_SPAN("null"), ret);
    default: break;
    }
    if (*s->p == '-' || (*s->p >= '0' && *s->p <= '9'))
        return scan_number(s, ret);
    return fail(s, "a value was expected");
}

static bool skip_value(struct scan *s, int depth)
{
    struct tel_span ignored;
    skip_blanks(s);
    if (s->p == s->end)
        return fail(s, "the text ends too early");
    if (*s->p == '[' || *s->p == '{') {
        char close = *s->p++ == '[' ? ']' : '}';
        return skip_container(s, close, depth + 1);
    }
    return scan_scalar(s, &ignored);
}

/* ---- objects ------------------------------------------------------------------------------ */

static struct tel_span dotted(struct scan *s, struct tel_span prefix, struct tel_span name)
{
    if (prefix.len == 0)
        return name;
    size_t n = prefix.len + 1 + name.len;
    char *p = tel_arena_alloc_aligned(s->flat->arena, n, 1);
    memcpy(p, prefix.ptr, prefix.len);
    p[prefix.len] = '.';
    if (name.len)
        memcpy(p + prefix.len + 1, name.ptr, name.len);
    return tel_span_make(p, n);
}

static bool scan_object(struct scan *s, struct tel_span prefix, int depth);

static bool scan_member(struct scan *s, struct tel_span name, int depth)
{
    struct tel_field f = {name, {NULL, 0}};
    skip_blanks(s);
    if (s->p == s->end)
        return fail(s, "the text ends too early");
    if (*s->p == '{')
        return scan_object(s, name, depth + 1);
    if (*s->p == '[') {
        const char *begin = s->p++;
        if (!skip_container(s, ']', depth + 1))
            return false;
        f.value = tel_span_make(begin, (size_t)(s->p - begin));
    } else {
        bool null = *s->p == 'n';
        if (!scan_scalar(s, &f.value))
            return false;
        if (null)
            return true;
    }
    if (s->flat->fields.len == TEL_ATTRIBUTES_MAX)
        return fail(s, "too many fields");
    tel_vec_push(&s->flat->fields, f);
    return true;
}

/* At its '{'. */
static bool scan_object(struct scan *s, struct tel_span prefix, int depth)
{
    if (depth > JSON_DEPTH_MAX)
        return fail(s, "nested too deep");
    s->p++;
    skip_blanks(s);
    if (s->p < s->end && *s->p == '}') {
        s->p++;
        return true;
    }
    for (;;) {
        struct tel_span name;
        skip_blanks(s);
        if (s->p == s->end || *s->p != '"')
            return fail(s, "a name in quotes was expected");
        if (!scan_string(s, &name))
            return false;
        skip_blanks(s);
        if (s->p == s->end || *s->p != ':')
            return fail(s, "':' was expected");
        s->p++;
        if (!scan_member(s, dotted(s, prefix, name), depth))
            return false;
        skip_blanks(s);
        if (s->p == s->end)
            return fail(s, "the text ends too early");
        char c = *s->p;
        if (c != ',' && c != '}')
            return fail(s, "',' or '}' was expected");
        s->p++;
        if (c == '}')
            return true;
    }
}

bool json_flatten(struct json_flat *flat, struct tel_span text)
{
    struct scan s = {text.ptr, text.ptr, text.ptr + text.len, flat};
    flat->error = NULL;
    flat->error_at = 0;
    tel_vec_clear(&flat->fields);
    skip_blanks(&s);
    if (s.p == s.end || *s.p != '{')
        return fail(&s, "an object was expected");
    if (!scan_object(&s, tel_span_make(NULL, 0), 1))
        return false;
    skip_blanks(&s);
    return s.p == s.end || fail(&s, "something follows the object");
}
