/*
 * Structured logging to stderr, as text or JSON lines. Any thread; a line is one write(2).
 *
 *     #define TEL_LOG_COMPONENT "tail"
 *     #include "common/base/log.h"
 *
 *     tel_log_warn("cannot open file", tel_kv_str("path", path), tel_kv_error(&err));
 *
 * Values are escaped: nothing from outside can forge a line. The message is a constant. A call site
 * that fires more than 10 times in 10 s is silenced for the rest of that time and then reports how
 * many lines it left out (debug lines are not limited).
 */
#ifndef TEL_BASE_LOG_H
#define TEL_BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/span.h"

enum tel_log_level { TEL_LOG_DEBUG, TEL_LOG_INFO, TEL_LOG_WARN, TEL_LOG_ERROR, TEL_LOG_OFF };
enum tel_log_format { TEL_LOG_TEXT, TEL_LOG_JSON };

enum tel_kv_kind { TEL_KV_END, TEL_KV_SPAN, TEL_KV_I64, TEL_KV_U64, TEL_KV_DOUBLE, TEL_KV_BOOL };

struct tel_kv {
    enum tel_kv_kind kind;
    const char *key;
    union {
        struct tel_span span;
        int64_t i64;
        uint64_t u64;
        double dbl;
        bool flag;
    } v;
};

/* One per call site, static. */
struct tel_log_site {
    const char *component;
    enum tel_log_level level;
    _Atomic int64_t window_start_ns;
    _Atomic uint32_t count;
    _Atomic bool listed;
    struct tel_log_site *next; /* in the list of sites that ever were silenced */
};

void tel_log_set_level(enum tel_log_level level);   /* any thread; default INFO */
void tel_log_set_format(enum tel_log_format format); /* any thread; default TEXT */
/* "debug", "info", "warn", "error", "off" */
bool tel_log_level_parse(struct tel_span name, enum tel_log_level *ret);
/* Writes to fd instead of 2; for tests. */
void tel_log_set_fd(int fd);
bool tel_log_enabled(enum tel_log_level level);
/* kvs ends with kind TEL_KV_END. */
void tel_log_write(struct tel_log_site *site, const char *msg, const struct tel_kv *kvs);
/* Reports what is left out and not yet reported; before a program ends. Any thread. */
void tel_log_flush(void);

static inline struct tel_kv tel_kv_span(const char *key, struct tel_span v)
{
    return (struct tel_kv){TEL_KV_SPAN, key, {.span = v}};
}
static inline struct tel_kv tel_kv_str(const char *key, const char *v)
{
    return tel_kv_span(key, tel_span_cstr(v));
}
static inline struct tel_kv tel_kv_i64(const char *key, int64_t v)
{
    return (struct tel_kv){TEL_KV_I64, key, {.i64 = v}};
}
static inline struct tel_kv tel_kv_u64(const char *key, uint64_t v)
{
    return (struct tel_kv){TEL_KV_U64, key, {.u64 = v}};
}
static inline struct tel_kv tel_kv_double(const char *key, double v)
{
    return (struct tel_kv){TEL_KV_DOUBLE, key, {.dbl = v}};
}
static inline struct tel_kv tel_kv_bool(const char *key, bool v)
{
    return (struct tel_kv){TEL_KV_BOOL, key, {.flag = v}};
}
/* key "error"; err outlives the call */
static inline struct tel_kv tel_kv_error(const struct tel_error *err)
{
    return tel_kv_str("error", err->text);
}

#ifndef TEL_LOG_COMPONENT
#define TEL_LOG_COMPONENT "telescope"
#endif

#define tel_log_at(lvl, msg, ...)                                                                  \
    do {                                                                                           \
        static struct tel_log_site tel_log_site_ = {TEL_LOG_COMPONENT, (lvl), 0, 0, 0, NULL};      \
        if (tel_log_enabled(lvl))                                                                  \
            tel_log_write(&tel_log_site_, (msg),                                                   \
                          (const struct tel_kv[]){__VA_ARGS__ __VA_OPT__(, ){TEL_KV_END, NULL, {.u64 = 0}}});    \
    } while (0)

#define tel_log_debug(...) tel_log_at(TEL_LOG_DEBUG, __VA_ARGS__)
#define tel_log_info(...)  tel_log_at(TEL_LOG_INFO, __VA_ARGS__)
#define tel_log_warn(...)  tel_log_at(TEL_LOG_WARN, __VA_ARGS__)
#define tel_log_error(...) tel_log_at(TEL_LOG_ERROR, __VA_ARGS__)

#endif
