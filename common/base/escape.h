/*
 * Text from outside, made fit for a person's eyes: control characters (C0, DEL, C1), the marks that
 * turn the direction of writing, and bytes that are not UTF-8 become \xHH per byte. A log line or an
 * error text written so can neither forge another line nor steer a terminal.
 */
#ifndef TEL_BASE_ESCAPE_H
#define TEL_BASE_ESCAPE_H

#include "common/base/span.h"

#define TEL_ESCAPE_MAX 16 /* bytes of one escaped code point */

/* Writes the next code point of s (s.len > 0) and returns the bytes written; *ret_used is how many
 * bytes of s it took. */
size_t tel_escape_next(struct tel_span s, char out[TEL_ESCAPE_MAX], size_t *ret_used);

/* Writes s, escaped and NUL-terminated, into out of `cap` > 0 bytes, and cuts it at a whole code
 * point where it does not fit. Returns the length. */
size_t tel_escape_into(char *out, size_t cap, struct tel_span s);

#endif
