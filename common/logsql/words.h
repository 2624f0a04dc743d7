/*
 * Words: what full-text filters search for. A word is a maximal run of letters, digits and '_'
 * (Unicode categories L and Nd). A phrase matches where it stands in a value with no word character
 * beside an end of the phrase that is itself a word character; bytes that are no UTF-8 count as
 * word characters there, so that half a character never ends a word.
 *
 * Searching does not split values into words: it looks for the phrase's bytes (SIMD) and tests the
 * two neighbours of a hit. Pure functions, any thread.
 */
#ifndef TEL_LOGSQL_WORDS_H
#define TEL_LOGSQL_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/span.h"

/* The next word of s at or behind *pos, which is moved behind it; false at the end. */
bool tel_words_next(struct tel_span s, size_t *pos, struct tel_span *ret);
/* Is s one word, all of it? */
bool tel_words_is_word(struct tel_span s);

/* Offset of needle in s at or behind `from`, or SIZE_MAX. */
size_t tel_words_find_bytes(struct tel_span s, struct tel_span needle, size_t from);

/* A phrase with what its search needs. Lives as long as its text. */
struct tel_phrase {
    struct tel_span text;
    bool starts_word; /* its first character is a word character */
    bool ends_word;
};

struct tel_phrase tel_phrase_make(struct tel_span text);
/* Offset of the phrase in s at or behind `from`, or SIZE_MAX. prefix: what follows may continue its
 * last word. The empty phrase is found at `from`. */
size_t tel_phrase_find(const struct tel_phrase *phrase, struct tel_span s, size_t from,
                       bool prefix);

/* s in lower case (simple folding), replacing what was in out. */
void tel_words_lower(struct tel_buf *out, struct tel_span s);

/* The same for ASCII, into out (room for s.len bytes). False, with out undefined, if s holds other
 * bytes. */
bool tel_words_lower_ascii(char *out, struct tel_span s);

/* Is `word` within `max_edits` (0 to 2) insertions, deletions, replacements or swaps of
 * neighbouring characters of `of`? Both are UTF-8. */
bool tel_words_near(struct tel_span word, struct tel_span of, unsigned max_edits);

#endif
