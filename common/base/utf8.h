/* UTF-8 (RFC 3629). */
#ifndef TEL_BASE_UTF8_H
#define TEL_BASE_UTF8_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/span.h"

/* Decodes one code point at s.ptr (s.len > 0). Returns its length in bytes; an invalid byte gives
 * 1 and *ret = UINT32_MAX. */
size_t tel_utf8_decode(struct tel_span s, uint32_t *ret);
/* Writes a code point (at most 4 bytes) and returns its length; an invalid one gives U+FFFD. */
size_t tel_utf8_encode(uint32_t cp, char out[4]);
bool tel_utf8_valid(struct tel_span s);
/* Is the code point a letter or a digit, by Unicode's categories L and Nd? The word characters of
 * LogsQL are these and '_'. */
bool tel_utf8_is_word(uint32_t cp);
/* Simple case folding to lower case. */
uint32_t tel_utf8_lower(uint32_t cp);

#endif
