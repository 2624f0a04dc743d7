/*
 * Where lines go that cannot be taken: DIR/dead-letters.jsonl, one JSON object a line with time,
 * tenant, format, reason and the line itself. When it reaches half of its budget it becomes
 * dead-letters.1.jsonl, in the place of the one before. Any thread.
 */
#ifndef SIDECAR_INSERT_DEAD_LETTER_H
#define SIDECAR_INSERT_DEAD_LETTER_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/error.h"

struct tel_fs;
struct dead_letters;

TEL_MUST_USE tel_code dead_letters_open(struct tel_fs *fs, const char *dir, uint64_t budget,
                                        struct dead_letters **ret, struct tel_error *err);
void dead_letters_close(struct dead_letters *d); /* NULL is fine */

/* Appends one letter to `out`, ready for dead_letters_keep. */
void dead_letter_format(struct tel_buf *out, int64_t now_ns, struct tel_span tenant,
                        const char *format, const char *reason, struct tel_span line);
/* Makes letters durable. */
TEL_MUST_USE tel_code dead_letters_keep(struct dead_letters *d, struct tel_span letters,
                                        struct tel_error *err);

#endif
