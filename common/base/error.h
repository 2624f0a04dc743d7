/*
 * Typed errors. A function that can fail returns a tel_code, which must be used, and takes an
 * optional `struct tel_error *err` as its last argument for the text that a person will read.
 * Libraries return errors; programs log them, once. Outputs (ret_...) are untouched on failure.
 *
 *     tel_code rc = tel_fs_open(fs, path, TEL_FS_READ, &file, err);
 *     if (rc != TEL_OK)
 *         return tel_error_wrap(err, rc, "checkpoint of source %s", name);
 */
#ifndef TEL_BASE_ERROR_H
#define TEL_BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/check.h"

typedef enum tel_code {
    TEL_OK = 0,
#define TEL_ERROR(name, retriable, text) TEL_ERR_##name,
#include "common/base/error.def"
#undef TEL_ERROR
    TEL_CODE_COUNT
} tel_code;

#define TEL_ERROR_TEXT_MAX 512

struct tel_error {
    tel_code code;
    bool retriable;
    char text[TEL_ERROR_TEXT_MAX]; /* NUL-terminated; bytes from outside are escaped */
};

/* "NOTFOUND"; "OK" for TEL_OK. */
const char *tel_code_name(tel_code code);
/* "not found" */
const char *tel_code_text(tel_code code);
bool tel_code_retriable(tel_code code);
/* The code that fits an errno value. */
tel_code tel_code_from_errno(int errnum);

/* Fills err (which may be NULL) and returns code, so that `return tel_error_set(...)` reads well.
 * Control characters and invalid UTF-8 in the formatted text are escaped as \xHH. */
tel_code tel_error_set(struct tel_error *err, tel_code code, const char *fmt, ...)
    TEL_PRINTF(3, 4);

/* As tel_error_set, with ": <strerror>" appended and the code taken from errnum. */
tel_code tel_error_errno(struct tel_error *err, int errnum, const char *fmt, ...)
    TEL_PRINTF(3, 4);

/* Puts "<formatted>: " before the text that is already in err, and returns code. */
tel_code tel_error_wrap(struct tel_error *err, tel_code code, const char *fmt, ...)
    TEL_PRINTF(3, 4);

void tel_error_clear(struct tel_error *err);

#endif
