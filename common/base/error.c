#include "common/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/escape.h"

struct code_info {
    const char *name, *text;
    bool retriable;
};

static const struct code_info codes[TEL_CODE_COUNT] = {
    [TEL_OK] = {"OK", "success", false},
#define TEL_ERROR(name, retriable, text) [TEL_ERR_##name] = {#name, text, retriable},
#include "common/base/error.def"
#undef TEL_ERROR
};

static const struct code_info *info_of(tel_code code)
{
    TEL_CHECK((unsigned)code < TEL_CODE_COUNT);
    return &codes[code];
}

const char *tel_code_name(tel_code code)
{
    return info_of(code)->name;
}

const char *tel_code_text(tel_code code)
{
    return info_of(code)->text;
}

bool tel_code_retriable(tel_code code)
{
    return info_of(code)->retriable;
}

tel_code tel_code_from_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return TEL_OK;
    case ENOMEM:
        return TEL_ERR_NOMEM;
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
        return TEL_ERR_INVALID;
    case ENOSPC:
    case EDQUOT:
        return TEL_ERR_NOSPACE;
    case ENOENT:
    case ESRCH:
        return TEL_ERR_NOTFOUND;
    case EEXIST:
    case ENOTEMPTY:
        return TEL_ERR_EXISTS;
    case EBUSY:
    case ETXTBSY:
    case EADDRINUSE:
        return TEL_ERR_LOCKED;
    case EAGAIN:
    case EINTR:
        return TEL_ERR_AGAIN;
    case ETIMEDOUT:
        return TEL_ERR_TIMEOUT;
    case ECANCELED:
        return TEL_ERR_CANCELLED;
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN:
    case ENOTCONN:
        return TEL_ERR_UNAVAILABLE;
    case EMFILE:
    case ENFILE:
    case EFBIG:
    case E2BIG:
    case EMSGSIZE:
    case ERANGE:
    case EOVERFLOW:
        return TEL_ERR_LIMIT;
    case EACCES:
    case EPERM:
    case EROFS:
        return TEL_ERR_DENIED;
    case ENOSYS:
    case EOPNOTSUPP:
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT:
        return TEL_ERR_UNSUPPORTED;
    case EPIPE:
    case ESHUTDOWN:
        return TEL_ERR_CLOSED;
    default:
        return TEL_ERR_IO;
    }
}

static void fill(struct tel_error *err, tel_code code, const char *text)
{
    err->code = code;
    err->retriable = info_of(code)->retriable;
    tel_escape_into(err->text, sizeof err->text, tel_span_cstr(text));
}

/* vsnprintf may cut within a UTF-8 sequence; the rest of one at the end is dropped, not escaped. */
static void drop_cut_sequence(char *text, size_t len)
{
    size_t tail = 0;
    while (tail < len && tail < 3 && ((unsigned char)text[len - 1 - tail] & 0xc0) == 0x80)
        tail++;
    if (tail < len && (unsigned char)text[len - 1 - tail] >= 0xc0)
        text[len - 1 - tail] = '\0';
}

static void format(char *out, size_t cap, const char *fmt, va_list args)
{
    int len = vsnprintf(out, cap, fmt, args);
    if (len < 0)
        snprintf(out, cap, "%s", fmt);
    else if ((size_t)len >= cap)
        drop_cut_sequence(out, cap - 1);
}

tel_code tel_error_set(struct tel_error *err, tel_code code, const char *fmt, ...)
{
    if (!err)
        return code;
    char text[TEL_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    format(text, sizeof text, fmt, args);
    va_end(args);
    fill(err, code, text);
    return code;
}

tel_code tel_error_errno(struct tel_error *err, int errnum, const char *fmt, ...)
{
    tel_code code = errnum ? tel_code_from_errno(errnum) : TEL_ERR_INTERNAL;
    if (!err)
        return code;
    char text[TEL_ERROR_TEXT_MAX], reason[128], joined[TEL_ERROR_TEXT_MAX + sizeof reason];
    va_list args;
    va_start(args, fmt);
    /* The reason matters more than the end of a very long path. */
    format(text, sizeof text - sizeof reason, fmt, args);
    va_end(args);
    const char *why = strerror_r(errnum, reason, sizeof reason);
    snprintf(joined, sizeof joined, "%s: %s", text, why);
    fill(err, code, joined);
    return code;
}

tel_code tel_error_wrap(struct tel_error *err, tel_code code, const char *fmt, ...)
{
    if (!err)
        return code;
    char text[TEL_ERROR_TEXT_MAX], joined[2 * TEL_ERROR_TEXT_MAX + 2];
    va_list args;
    va_start(args, fmt);
    format(text, sizeof text, fmt, args);
    va_end(args);
    bool same = err->code == code, retriable = err->retriable;
    snprintf(joined, sizeof joined, "%s: %s", text,
             err->text[0] ? err->text : tel_code_text(code));
    fill(err, code, joined);
    if (same)
        err->retriable = retriable;
    return code;
}

void tel_error_clear(struct tel_error *err)
{
    if (!err)
        return;
    err->code = TEL_OK;
    err->retriable = false;
    err->text[0] = '\0';
}
