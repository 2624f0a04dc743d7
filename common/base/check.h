/*
 * Checks against our own bugs. They stay on in releases. Bytes from the outside world are never
 * checked with these: they get a struct tel_error.
 */
#ifndef TEL_BASE_CHECK_H
#define TEL_BASE_CHECK_H

#include <stddef.h>

#define TEL_MUST_USE       __attribute__((warn_unused_result))
#define TEL_PRINTF(f, a)   __attribute__((format(printf, f, a)))
#define TEL_LIKELY(x)      __builtin_expect(!!(x), 1)
#define TEL_UNLIKELY(x)    __builtin_expect(!!(x), 0)
#define TEL_ARRAY_LEN(a)   (sizeof(a) / sizeof((a)[0]))
#define TEL_MIN(a, b)      ((a) < (b) ? (a) : (b))
#define TEL_MAX(a, b)      ((a) > (b) ? (a) : (b))
/* The struct that holds `member`, from a pointer to the member. */
#define TEL_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Ends the process with a message on stderr. */
__attribute__((noreturn)) void tel_check_failed(const char *file, int line, const char *what);

#define TEL_CHECK(cond)                                                                            \
    do {                                                                                           \
        if (TEL_UNLIKELY(!(cond)))                                                                 \
            tel_check_failed(__FILE__, __LINE__, #cond);                                           \
    } while (0)

#define TEL_UNREACHABLE() tel_check_failed(__FILE__, __LINE__, "unreachable")

#endif
