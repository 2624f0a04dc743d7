/*
 * libconfig 1.5 cuts an integer that does not fit 32 bits and has no L behind it, without a word:
 * 5000000000 becomes 705032704. So the text is looked through for such numbers, past strings and
 * comments.
 */
#include <errno.h>
#include <stdlib.h>

#include "common/conf/build.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '-' || c == '*' || c == '+' || c == '.';
}

/* The end of the string, comment or run of word characters at pos; lines are counted. */
static size_t skip(struct tel_span s, size_t pos, unsigned *line)
{
    char c = s.ptr[pos];
    struct tel_span two = tel_span_slice(s, pos, pos + 2);
    if (c == '"') {
        for (pos++; pos < s.len && s.ptr[pos] != '"'; pos++) {
            pos += s.ptr[pos] == '\\' && pos + 1 < s.len;
            *line += s.ptr[pos] == '\n';
        }
        return pos + 1;
    }
    if (c == '#' || tel_span_eq_cstr(two, "//")) {
        size_t end = tel_span_find(tel_span_slice(s, pos, s.len), TEL_SPAN("\n"));
        return end == SIZE_MAX ? s.len : pos + end;
    }
    if (tel_span_eq_cstr(two, "/*")) {
        for (pos += 2; pos < s.len && !tel_span_eq_cstr(tel_span_slice(s, pos, pos + 2), "*/");
             pos++)
            *line += s.ptr[pos] == '\n';
        return pos + 2;
    }
    if (!is_word(c)) {
        *line += c == '\n';
        return pos + 1;
    }
    while (pos < s.len && is_word(s.ptr[pos]))
        pos++;
    return pos;
}

/* Is the word a plain integer that does not fit 32 bits? */
static bool is_cut(struct tel_span word)
{
    char text[64];
    if (word.len >= sizeof text)
        return false;
    memcpy(text, word.ptr, word.len);
    text[word.len] = '\0';
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    bool hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
    if (!is_digit(digits[0]))
        return false;
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, hex ? 16 : 10);
    return *end == '\0' && (errno == ERANGE || v > INT32_MAX || v < INT32_MIN);
}

void tel_conf_check_literals(const char *name, struct tel_span text,
                             struct tel_conf_mistakes *mistakes)
{
    struct tel_conf_node at = {.path = "", .file = name, .line = 1};
    for (size_t pos = 0; pos < text.len;) {
        unsigned line = at.line;
        size_t end = skip(text, pos, &at.line);
        end = TEL_MIN(end, text.len);
        struct tel_span word = tel_span_slice(text, pos, end);
        if (is_word(text.ptr[pos]) && is_cut(word)) {
            at.line = line;
            tel_conf_mistake(mistakes, &at, NULL, "a number this large needs an L: write %.*sL",
                             TEL_SPAN_ARG(word));
        }
        pos = end;
    }
}
