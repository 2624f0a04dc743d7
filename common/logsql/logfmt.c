/* See logfmt.h. */
#include "common/logsql/logfmt.h"

#include "common/logsql/lexer.h"

void tel_logfmt_parse(struct tel_span text, struct tel_arena *arena, struct tel_json_fields *out)
{
    size_t i = 0;
    while (i < text.len) {
        size_t start = i;
        while (i < text.len && text.ptr[i] != '=' && text.ptr[i] != ' ')
            i++;
        struct tel_span name = tel_span_slice(text, start, i), value = {"", 0};
        if (i < text.len && text.ptr[i] == '=') {
            i++;
            struct tel_span rest = tel_span_slice(text, i, text.len);
            struct tel_lexer lex;
            bool quoted =
                rest.len && (rest.ptr[0] == '"' || rest.ptr[0] == '\'' || rest.ptr[0] == '`');
            if (quoted) {
                tel_lexer_init(&lex, rest, arena);
                quoted = lex.token.kind == TEL_TOKEN_QUOTED;
            }
            if (quoted) {
                value = lex.token.text;
                i += lex.token.raw.len;
            } else {
                start = i;
                while (i < text.len && text.ptr[i] != ' ')
                    i++;
                value = tel_span_slice(text, start, i);
            }
        }
        if (name.len || value.len)
            tel_json_add(out, arena, name, value);
        while (i < text.len && text.ptr[i] == ' ')
            i++;
    }
}
