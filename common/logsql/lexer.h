/*
 * The lexer: LogsQL text into tokens that know where they stand. Tokens are words (letters, digits,
 * '_'), quoted strings ("...", '...', `...`), and single characters of the rest ("!=", "=~", "!~"
 * are one token). Space and comments (# to the end of the line) only separate. A lexer is a value:
 * copying it saves a position to return to.
 */
#ifndef TEL_LOGSQL_LEXER_H
#define TEL_LOGSQL_LEXER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/error.h"

enum tel_token_kind {
    TEL_TOKEN_END,
    TEL_TOKEN_WORD,
    TEL_TOKEN_QUOTED,
    TEL_TOKEN_PUNCT,
    TEL_TOKEN_BAD, /* a quoted string without its end, or a bad escape in one */
};

struct tel_token {
    enum tel_token_kind kind;
    struct tel_span raw;  /* as it stands in the query, quotes included */
    struct tel_span text; /* without quotes and escapes */
    bool after_space;
};

struct tel_lexer {
    struct tel_span source;
    size_t pos; /* behind `token` */
    struct tel_token token;
    struct tel_arena *arena; /* for strings with escapes */
};

/* Stands on the first token. source must outlive the lexer and the tokens. */
void tel_lexer_init(struct tel_lexer *lex, struct tel_span source, struct tel_arena *arena);
void tel_lexer_next(struct tel_lexer *lex);

/* Is the token, unquoted, this keyword (lower case; case does not matter)? "" is the end. */
bool tel_lexer_is(const struct tel_lexer *lex, const char *keyword);
/* Where the token starts in the source. */
size_t tel_lexer_offset(const struct tel_lexer *lex);

/* s as a double-quoted literal that reads back as s. */
struct tel_buf;
void tel_lexer_quote(struct tel_buf *out, struct tel_span s);

/* Fills err with what is wrong at an offset of the source: "line L, column C: <message>", the line
 * and a caret below the place. Returns TEL_ERR_PARSE. */
tel_code tel_lexer_error(struct tel_error *err, struct tel_span source, size_t offset,
                         const char *fmt, ...) TEL_PRINTF(4, 5);

#endif
