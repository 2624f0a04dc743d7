#include "sidecar/checkpoint.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/crc32c.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/varint.h"
#include "common/base/vec.h"
#include "common/sys/fs.h"
#include "common/sys/thread.h"

#define TEL_LOG_COMPONENT "checkpoint"
#include "common/base/log.h"

#define MAGIC         "TELCKPT1"
#define MAGIC_LEN     8
#define FILE_MAX      ((size_t)1 << 30)
#define TEXT_MAX      4096u /* of input, id and source */
#define STATE_MAX     4096u

struct checkpoint {
    struct tel_fs *fs;
    char *dir;
    struct tel_mutex lock; /* guards what follows */
    TEL_VEC(struct checkpoint_entry *) entries;
    struct tel_map by_key; /* input, NUL, id -> index */
    bool dirty, urgent;
    uint64_t saves; /* begun */
    _Atomic uint64_t saved;
};

static struct tel_span key_of(struct tel_buf *buf, const char *input, struct tel_span id)
{
    tel_buf_clear(buf);
    tel_buf_add(buf, input, strlen(input) + 1);
    tel_buf_add_span(buf, id);
    return tel_buf_span(buf);
}

static void entry_free(struct checkpoint_entry *e)
{
    free(e->input);
    free(e->id);
    free(e->source);
    free((char *)(uintptr_t)e->state.ptr);
    free(e);
}

static struct checkpoint_entry *insert(struct checkpoint *c, struct tel_span input,
                                       struct tel_span id, struct tel_span source,
                                       struct tel_span state)
{
    struct checkpoint_entry *e = TEL_NEW(struct checkpoint_entry);
    struct tel_buf key = {0};
    e->input = tel_strndup(input);
    e->id = tel_strndup(id);
    e->source = tel_strndup(source);
    e->state = tel_span_make(tel_strndup(state), state.len);
    e->index = c->entries.len;
    *tel_map_put(&c->by_key, key_of(&key, e->input, id), NULL) = e->index;
    tel_vec_push(&c->entries, e);
    tel_buf_free(&key);
    return e;
}

static void clear(struct checkpoint *c)
{
    for (size_t i = 0; i < c->entries.len; i++)
        entry_free(c->entries.items[i]);
    tel_vec_clear(&c->entries);
    tel_map_clear(&c->by_key);
}

/* ---- the file ----------------------------------------------------------------------------- */

static void put_varint(struct tel_buf *buf, uint64_t v)
{
    tel_buf_reserve(buf, TEL_VARINT_MAX);
    buf->len += tel_varint_put(buf->ptr + buf->len, v);
}

static void put_text(struct tel_buf *buf, struct tel_span s)
{
    put_varint(buf, s.len);
    tel_buf_add_span(buf, s);
}

static void serialise(const struct checkpoint *c, struct tel_buf *buf)
{
    tel_buf_add(buf, MAGIC, MAGIC_LEN);
    put_varint(buf, c->entries.len);
    for (size_t i = 0; i < c->entries.len; i++) {
        const struct checkpoint_entry *e = c->entries.items[i];
        put_text(buf, tel_span_cstr(e->input));
        put_text(buf, tel_span_cstr(e->id));
        put_text(buf, tel_span_cstr(e->source));
        put_text(buf, e->state);
        put_varint(buf, e->partition);
        put_varint(buf, 0); /* a count in files of earlier versions; nothing reads it */
        put_varint(buf, e->position);
    }
    tel_buf_add_le32(buf, tel_crc32c(0, buf->ptr, buf->len));
}

static bool get_text(const char **pos, const char *end, size_t max, struct tel_span *ret)
{
    uint64_t len;
    if (!tel_varint_get(pos, end, &len) || len > max || len > (uint64_t)(end - *pos))
        return false;
    *ret = tel_span_make(*pos, (size_t)len);
    *pos += len;
    return true;
}

static bool parse_entry(struct checkpoint *c, const char **pos, const char *end)
{
    struct tel_span input, id, source, state;
    uint64_t partition, unused, position;
    if (!get_text(pos, end, TEXT_MAX, &input) || !get_text(pos, end, TEXT_MAX, &id) ||
        !get_text(pos, end, TEXT_MAX, &source) || !get_text(pos, end, STATE_MAX, &state) ||
        !tel_varint_get(pos, end, &partition) || !tel_varint_get(pos, end, &unused) ||
        !tel_varint_get(pos, end, &position) || partition > UINT32_MAX)
        return false;
    struct tel_buf key = {0};
    char *name = tel_strndup(input);
    bool twice = tel_map_get(&c->by_key, key_of(&key, name, id)) != NULL;
    free(name);
    tel_buf_free(&key);
    if (twice)
        return false;
    struct checkpoint_entry *e = insert(c, input, id, source, state);
    e->partition = (uint32_t)partition;
    e->position = position;
    return true;
}

static tel_code parse(struct checkpoint *c, struct tel_span data, const char *path,
                      struct tel_error *err)
{
    if (data.len < MAGIC_LEN + 1 + 4)
        return tel_error_set(err, TEL_ERR_TRUNCATED, "%s has only %zu bytes", path, data.len);
    if (memcmp(data.ptr, MAGIC, MAGIC_LEN) != 0)
        return tel_error_set(err, TEL_ERR_CORRUPT, "%s is not a checkpoint of this version", path);
    const char *pos = data.ptr + MAGIC_LEN, *end = data.ptr + data.len - 4;
    uint32_t crc = 0;
    for (int i = 3; i >= 0; i--)
        crc = crc << 8 | (unsigned char)end[i];
    if (crc != tel_crc32c(0, data.ptr, data.len - 4))
        return tel_error_set(err, TEL_ERR_CORRUPT, "%s does not match its checksum", path);
    uint64_t count;
    bool ok = tel_varint_get(&pos, end, &count);
    for (uint64_t i = 0; ok && i < count; i++)
        ok = parse_entry(c, &pos, end);
    if (ok && pos == end)
        return TEL_OK;
    size_t good = c->entries.len;
    clear(c);
    return tel_error_set(err, TEL_ERR_CORRUPT, "%s cannot be read behind entry %zu", path, good);
}

static char *path_of(const struct checkpoint *c, const char *name)
{
    struct tel_buf buf = {0};
    tel_buf_printf(&buf, "%s/%s", c->dir, name);
    char *path = tel_strdup(tel_buf_cstr(&buf));
    tel_buf_free(&buf);
    return path;
}

static tel_code load_file(struct checkpoint *c, const char *name, struct tel_error *err)
{
    struct tel_buf data = {0};
    char *path = path_of(c, name);
    tel_code rc = tel_fs_read_all(c->fs, path, FILE_MAX, &data, err);
    if (rc == TEL_OK)
        rc = parse(c, tel_buf_span(&data), path, err);
    free(path);
    tel_buf_free(&data);
    return rc;
}

static bool unreadable(tel_code rc)
{
    return rc == TEL_ERR_CORRUPT || rc == TEL_ERR_TRUNCATED || rc == TEL_ERR_LIMIT;
}

/* Keeps a file that cannot be read for whoever wants to look at it. */
static tel_code set_aside(struct checkpoint *c, const char *name, struct tel_error *err)
{
    char aside[64];
    snprintf(aside, sizeof(aside), "%s.corrupt-%lld", name,
             (long long)(tel_wall_ns(tel_clock_system()) / TEL_NS_PER_MS));
    char *from = path_of(c, name), *to = path_of(c, aside);
    tel_code rc = tel_fs_rename(c->fs, from, to, err);
    free(from);
    free(to);
    return rc;
}

static tel_code load(struct checkpoint *c, bool restart_if_corrupt, struct tel_error *err)
{
    struct tel_error why, why_prev;
    tel_code rc = load_file(c, "checkpoint", &why);
    if (rc == TEL_OK)
        return TEL_OK;
    if (rc != TEL_ERR_NOTFOUND && !unreadable(rc))
        return tel_error_set(err, rc, "%s", why.text);
    tel_code rc_prev = load_file(c, "checkpoint.prev", &why_prev);
    if (rc_prev != TEL_OK && rc_prev != TEL_ERR_NOTFOUND && !unreadable(rc_prev))
        return tel_error_set(err, rc_prev, "%s", why_prev.text);
    if (rc == TEL_ERR_NOTFOUND && rc_prev != TEL_ERR_CORRUPT && !unreadable(rc_prev))
        return TEL_OK; /* the first start, or a crash between two renames */
    if (rc_prev != TEL_OK && !restart_if_corrupt)
        return tel_error_set(err, TEL_ERR_CORRUPT,
                             "%s; its predecessor cannot be used either (%s). Positions are unknown: "
                             "put a good copy there, or set checkpoint.restart_if_corrupt to read "
                             "all inputs again",
                             rc == TEL_ERR_NOTFOUND ? "no checkpoint" : why.text, why_prev.text);
    tel_log_error("checkpoint cannot be read and is set aside", tel_kv_error(&why),
                  tel_kv_str("instead", rc_prev == TEL_OK ? "its predecessor" : "begins anew"));
    if (unreadable(rc) && (rc = set_aside(c, "checkpoint", err)) != TEL_OK)
        return rc;
    if (unreadable(rc_prev) && (rc = set_aside(c, "checkpoint.prev", err)) != TEL_OK)
        return rc;
    return TEL_OK;
}

tel_code checkpoint_open(struct tel_fs *fs, const char *dir, bool restart_if_corrupt,
                         struct checkpoint **ret, struct tel_error *err)
{
    struct checkpoint *c = TEL_NEW(struct checkpoint);
    c->fs = fs;
    c->dir = tel_strdup(dir);
    tel_mutex_init(&c->lock);
    tel_map_init(&c->by_key);
    tel_code rc = load(c, restart_if_corrupt, err);
    if (rc != TEL_OK) {
        checkpoint_free(c);
        return rc;
    }
    *ret = c;
    return TEL_OK;
}

void checkpoint_free(struct checkpoint *c)
{
    if (!c)
        return;
    clear(c);
    tel_vec_free(&c->entries);
    tel_map_free(&c->by_key);
    tel_mutex_done(&c->lock);
    free(c->dir);
    free(c);
}

/* Writes beside the old one, then moves both along. */
static tel_code replace(struct checkpoint *c, struct tel_span data, struct tel_error *err)
{
    char *next = path_of(c, "checkpoint.next"), *now = path_of(c, "checkpoint"),
         *prev = path_of(c, "checkpoint.prev");
    struct tel_file *file = NULL;
    tel_code rc = tel_fs_open(c->fs, next, TEL_FS_WRITE | TEL_FS_CREATE | TEL_FS_TRUNC, &file, err);
    if (rc == TEL_OK)
        rc = tel_file_write(file, data.ptr, data.len, err);
    if (rc == TEL_OK)
        rc = tel_file_sync(file, err);
    tel_file_close(file);
    if (rc == TEL_OK) {
        struct tel_error why;
        rc = tel_fs_rename(c->fs, now, prev, &why);
        if (rc == TEL_ERR_NOTFOUND)
            rc = TEL_OK; /* the first save */
        else if (rc != TEL_OK)
            rc = tel_error_set(err, rc, "%s", why.text);
    }
    if (rc == TEL_OK)
        rc = tel_fs_rename(c->fs, next, now, err);
    if (rc == TEL_OK)
        rc = tel_fs_sync_dir(c->fs, c->dir, err);
    free(next);
    free(now);
    free(prev);
    return rc;
}

tel_code checkpoint_save(struct checkpoint *c, struct tel_error *err)
{
    struct tel_buf data = {0};
    tel_mutex_lock(&c->lock);
    serialise(c, &data);
    uint64_t number = ++c->saves;
    bool urgent = c->urgent;
    c->dirty = c->urgent = false;
    tel_mutex_unlock(&c->lock);
    tel_code rc = replace(c, tel_buf_span(&data), err);
    tel_buf_free(&data);
    if (rc == TEL_OK) {
        atomic_store(&c->saved, number);
        return TEL_OK;
    }
    tel_mutex_lock(&c->lock);
    c->dirty = true;
    c->urgent |= urgent;
    tel_mutex_unlock(&c->lock);
    return tel_error_wrap(err, rc, "cannot store the checkpoint");
}

/* ---- entries ------------------------------------------------------------------------------ */

struct checkpoint_entry *checkpoint_find(struct checkpoint *c, const char *input,
                                         struct tel_span id)
{
    struct tel_buf key = {0};
    tel_mutex_lock(&c->lock);
    const uint64_t *index = tel_map_get(&c->by_key, key_of(&key, input, id));
    struct checkpoint_entry *e = index ? c->entries.items[*index] : NULL;
    tel_mutex_unlock(&c->lock);
    tel_buf_free(&key);
    return e;
}

struct checkpoint_entry *checkpoint_add(struct checkpoint *c, const char *input, struct tel_span id,
                                        const char *source, uint32_t partition,
                                        struct tel_span state)
{
    TEL_CHECK(id.len <= TEXT_MAX && strlen(source) <= TEXT_MAX && state.len <= STATE_MAX);
    tel_mutex_lock(&c->lock);
    struct checkpoint_entry *e =
        insert(c, tel_span_cstr(input), id, tel_span_cstr(source), state);
    e->partition = partition;
    e->durable_from = c->saves + 1;
    c->dirty = c->urgent = true;
    tel_mutex_unlock(&c->lock);
    return e;
}

void checkpoint_move(struct checkpoint *c, struct checkpoint_entry *e, uint64_t position)
{
    tel_mutex_lock(&c->lock);
    e->position = position;
    c->dirty = true;
    tel_mutex_unlock(&c->lock);
}

void checkpoint_set_state(struct checkpoint *c, struct checkpoint_entry *e, struct tel_span state)
{
    TEL_CHECK(state.len <= STATE_MAX);
    tel_mutex_lock(&c->lock);
    if (!tel_span_eq(e->state, state)) {
        free((char *)(uintptr_t)e->state.ptr);
        e->state = tel_span_make(tel_strndup(state), state.len);
        c->dirty = true;
    }
    tel_mutex_unlock(&c->lock);
}

void checkpoint_set_partition(struct checkpoint *c, struct checkpoint_entry *e, uint32_t partition)
{
    tel_mutex_lock(&c->lock);
    e->partition = partition;
    c->dirty = true;
    tel_mutex_unlock(&c->lock);
}

void checkpoint_remove(struct checkpoint *c, struct checkpoint_entry *e)
{
    struct tel_buf key = {0};
    tel_mutex_lock(&c->lock);
    tel_map_remove(&c->by_key, key_of(&key, e->input, tel_span_cstr(e->id)));
    struct checkpoint_entry *last = c->entries.items[--c->entries.len];
    if (last != e) {
        last->index = e->index;
        c->entries.items[e->index] = last;
        *tel_map_get(&c->by_key, key_of(&key, last->input, tel_span_cstr(last->id))) = last->index;
    }
    c->dirty = true;
    tel_mutex_unlock(&c->lock);
    tel_buf_free(&key);
    entry_free(e);
}

void checkpoint_each(struct checkpoint *c, const char *input,
                     void (*cb)(void *ctx, const struct checkpoint_entry *e), void *ctx)
{
    tel_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->entries.len; i++)
        if (strcmp(c->entries.items[i]->input, input) == 0)
            cb(ctx, c->entries.items[i]);
    tel_mutex_unlock(&c->lock);
}

bool checkpoint_durable(const struct checkpoint *c, const struct checkpoint_entry *e)
{
    return e->durable_from <= atomic_load(&c->saved);
}

bool checkpoint_dirty(struct checkpoint *c)
{
    tel_mutex_lock(&c->lock);
    bool dirty = c->dirty;
    tel_mutex_unlock(&c->lock);
    return dirty;
}

bool checkpoint_urgent(struct checkpoint *c)
{
    tel_mutex_lock(&c->lock);
    bool urgent = c->urgent;
    tel_mutex_unlock(&c->lock);
    return urgent;
}

size_t checkpoint_count(struct checkpoint *c)
{
    tel_mutex_lock(&c->lock);
    size_t count = c->entries.len;
    tel_mutex_unlock(&c->lock);
    return count;
}
