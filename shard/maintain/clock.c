#include "shard/maintain/clock.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/sys/fs.h"
#include "shard/store/folder.h"

#define SLACK_NS      TEL_NS_PER_DAY
#define SAVE_EVERY_NS (3600 * TEL_NS_PER_S)
#define FILE_NAME     "CLOCK"
#define FILE_MAX      128

void retention_clock_begin(struct retention_clock *c, int64_t wall_ns, int64_t mono_ns,
                           int64_t newest_ns, int64_t confirm_ns)
{
    *c = (struct retention_clock){
        .now_ns = newest_ns == INT64_MIN ? wall_ns : TEL_MIN(newest_ns, wall_ns),
        .confirm_ns = confirm_ns,
        .mono_ns = mono_ns,
        .saved_ns = INT64_MIN,
    };
}

static bool take_number(struct tel_span *rest, int64_t *ret)
{
    struct tel_span word = tel_span_split(rest, ' ');
    unsigned long long v;
    if (!tel_span_to_u64(word, &v) || v > INT64_MAX)
        return false;
    *ret = (int64_t)v;
    return true;
}

tel_code retention_clock_load(struct retention_clock *c, const char *dir, int64_t wall_ns,
                              struct tel_error *err)
{
    struct tel_buf text = {0};
    char *path = folder_path(dir, FILE_NAME);
    tel_code rc = tel_fs_read_all(tel_fs_system(), path, FILE_MAX, &text, err);
    struct tel_span rest = tel_span_trim(tel_buf_span(&text));
    int64_t now = 0, held = 0;
    if (rc == TEL_OK && (!take_number(&rest, &now) || !take_number(&rest, &held) || rest.len))
        rc = tel_error_set(err, TEL_ERR_CORRUPT, "%s: not two numbers", path);
    if (rc == TEL_OK) {
        c->now_ns = TEL_MIN(now, wall_ns);
        c->held_ns = held;
    }
    free(path);
    tel_buf_free(&text);
    return rc;
}

bool retention_clock_tick(struct retention_clock *c, int64_t wall_ns, int64_t mono_ns)
{
    int64_t passed = TEL_MAX(mono_ns - c->mono_ns, 0), expected, latest;
    bool held = c->held_ns > 0;
    c->mono_ns = mono_ns;
    if (__builtin_add_overflow(c->now_ns, passed, &expected) ||
        __builtin_add_overflow(expected, SLACK_NS, &latest) || wall_ns <= latest) {
        c->now_ns = wall_ns;
        c->held_ns = 0;
        return held;
    }
    c->held_ns += TEL_MAX(passed, 1);
    if (c->held_ns < c->confirm_ns) {
        c->now_ns = expected;
        return !held;
    }
    c->now_ns = wall_ns;
    c->held_ns = 0;
    return true;
}

tel_code retention_clock_save(struct retention_clock *c, const char *dir, bool force,
                              struct tel_error *err)
{
    if (!force && c->saved_ns != INT64_MIN && c->mono_ns - c->saved_ns < SAVE_EVERY_NS)
        return TEL_OK;
    struct tel_buf text = {0};
    tel_buf_printf(&text, "%" PRId64 " %" PRId64 "\n", TEL_MAX(c->now_ns, 0), c->held_ns);
    char *path = folder_path(dir, FILE_NAME);
    tel_code rc = tel_fs_write_atomic(tel_fs_system(), path, tel_buf_span(&text), err);
    c->saved_ns = c->mono_ns;
    free(path);
    tel_buf_free(&text);
    return rc;
}
