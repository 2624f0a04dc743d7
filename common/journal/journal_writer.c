/*
 * The writer thread: takes what waits, writes it with one call, makes it durable with one fsync,
 * publishes the new end, tells everyone. Also removes segments that every reader has released.
 *
 * It waits for company only if it synced a moment ago: a lone append is durable after one fsync, a
 * stream of them costs at most one fsync every sync_interval.
 */
#include "common/journal/journal_internal.h"

#include <stdlib.h>

#define TEL_LOG_COMPONENT "journal"
#include "common/base/log.h"
#include "common/base/mem.h"

#define REFUSE_NS  (200 * TEL_NS_PER_MS)
#define ROLL_BYTES (UINT64_C(1) << 20)

/* ---- segments ----------------------------------------------------------------------------- */

static struct journal_segment *last_segment(struct tel_journal *j)
{
    return j->segments.len ? &j->segments.items[j->segments.len - 1] : NULL;
}

static tel_code make_file(struct tel_journal *j, const char *path, int64_t base,
                          struct tel_file **ret, struct tel_error *err)
{
    char header[JOURNAL_HEADER_BYTES];
    struct tel_file *file = NULL;
    journal_header_put(header, base, tel_wall_ns(j->clock));
    tel_code rc = tel_fs_unlink(j->fs, path, err); /* what an earlier failure left */
    if (rc != TEL_OK && rc != TEL_ERR_NOTFOUND)
        return rc;
    rc = tel_fs_open(j->fs, path, TEL_FS_READ | TEL_FS_WRITE | TEL_FS_CREATE | TEL_FS_EXCL, &file, err);
    if (rc != TEL_OK)
        return rc;
    rc = tel_file_pwrite(file, 0, header, sizeof(header), err);
    if (rc == TEL_OK)
        rc = tel_file_sync(file, err);
    if (rc == TEL_OK)
        rc = tel_fs_sync_dir(j->fs, j->dir, err);
    if (rc != TEL_OK) {
        struct tel_error ignored;
        tel_file_close(file);
        if (tel_fs_unlink(j->fs, path, &ignored) != TEL_OK)
            tel_log_warn("cannot remove a segment that could not be made", tel_kv_str("path", path));
        return rc;
    }
    *ret = file;
    return TEL_OK;
}

tel_code journal_segment_make(struct tel_journal *j, int64_t base, struct tel_error *err)
{
    TEL_CHECK(!j->active);
    struct journal_segment *last = last_segment(j);
    TEL_CHECK(!last || last->end == base);
    char *path = journal_path(j, base);
    tel_code rc = make_file(j, path, base, &j->active, err);
    free(path);
    if (rc != TEL_OK)
        return rc;
    struct journal_segment fresh = {base, base, JOURNAL_HEADER_BYTES};
    tel_mutex_lock(&j->lock);
    last = last_segment(j);
    if (last && last->base == base) { /* nothing was durable in it, and its file was just replaced */
        j->file_bytes += fresh.bytes - last->bytes;
        *last = fresh;
    } else {
        tel_vec_push(&j->segments, fresh);
        j->file_bytes += fresh.bytes;
    }
    tel_mutex_unlock(&j->lock);
    return TEL_OK;
}

/* Takes back what may stand behind the durable end. True if the active segment can go on. */
static bool cut_active(struct tel_journal *j)
{
    struct tel_error err;
    if (j->active && tel_file_truncate(j->active, last_segment(j)->bytes, &err) == TEL_OK)
        return true;
    return false;
}

static void seal_active(struct tel_journal *j)
{
    tel_file_close(j->active);
    j->active = NULL;
}

/* ---- a group ------------------------------------------------------------------------------ */

/* Does the group leave the reserve alone? */
static tel_code check_reserve(const struct tel_journal *j, struct tel_error *err)
{
    struct tel_fs_space space = {0};
    if (j->disk_reserve == 0)
        return TEL_OK;
    tel_code rc = tel_fs_space(j->fs, j->dir, &space, err);
    if (rc == TEL_OK && space.free_bytes < j->disk_reserve + j->writing.bytes.len)
        rc = tel_error_set(err, TEL_ERR_NOSPACE, "only %llu bytes are free, %llu are to be left",
                           (unsigned long long)space.free_bytes, (unsigned long long)j->disk_reserve);
    return rc;
}

/* The group is durable, or an error and nothing of it is in the log. */
static tel_code write_once(struct tel_journal *j, bool *ret_sync_failed, struct tel_error *err)
{
    struct tel_span bytes = tel_buf_span(&j->writing.bytes);
    *ret_sync_failed = false;
    if (j->active && last_segment(j)->bytes >= j->segment_bytes)
        seal_active(j);
    if (!j->active) {
        tel_code rc = journal_segment_make(j, j->durable_next, err);
        if (rc != TEL_OK)
            return rc;
    }
    tel_code rc = tel_file_pwrite(j->active, last_segment(j)->bytes, bytes.ptr, bytes.len, err);
    if (rc != TEL_OK) {
        if (!cut_active(j))
            seal_active(j);
        return rc;
    }
    rc = tel_file_sync(j->active, err);
    if (rc != TEL_OK) { /* nothing is known about its pages: this file takes no more */
        (void)cut_active(j);
        seal_active(j);
        *ret_sync_failed = true;
    }
    return rc;
}

static tel_code write_group(struct tel_journal *j, struct tel_error *err)
{
    bool sync_failed = false;
    tel_code rc = check_reserve(j, err);
    if (rc == TEL_OK)
        rc = write_once(j, &sync_failed, err);
    if (rc != TEL_OK && sync_failed) {
        tel_log_warn("fsync failed; writing the group again to a new segment",
                     tel_kv_str("dir", j->dir), tel_kv_error(err));
        rc = write_once(j, &sync_failed, err);
    }
    return rc;
}

static void tell(struct journal_group *g, int64_t first, tel_code rc, const struct tel_error *err)
{
    for (size_t i = 0; i < g->acks.len; i++)
        if (g->acks.items[i].cb)
            g->acks.items[i].cb(g->acks.items[i].ctx, rc, rc == TEL_OK ? first + (int64_t)i : -1, err);
}

static void group_clear(struct journal_group *g)
{
    tel_buf_clear(&g->bytes);
    tel_vec_clear(&g->acks);
}

/* Publishes a durable group; the lock is held. */
static void publish(struct tel_journal *j)
{
    struct journal_segment *s = last_segment(j);
    uint64_t bytes = j->writing.bytes.len;
    s->bytes += bytes;
    j->file_bytes += bytes;
    j->waiting_bytes -= bytes;
    j->durable_next += (int64_t)j->writing.acks.len;
    s->end = j->durable_next;
    j->stats.appended_records += j->writing.acks.len;
    j->stats.appended_bytes += bytes;
    j->stats.syncs++;
}

/* Refuses the group and all that has queued behind it: acknowledging those later would put them
 * before what their producers send again. The lock is held; the queue's acks go behind. */
static void refuse(struct tel_journal *j, tel_code rc)
{
    for (size_t i = 0; i < j->queue.acks.len; i++)
        tel_vec_push(&j->writing.acks, j->queue.acks.items[i]);
    group_clear(&j->queue);
    j->waiting_bytes = 0;
    j->next_offset = j->durable_next;
    j->refuse_code = rc == TEL_ERR_NOSPACE ? TEL_ERR_NOSPACE : TEL_ERR_IO;
    j->refuse_until_ns = tel_mono_ns(tel_clock_system()) + REFUSE_NS;
    j->stats.failures++;
}

/* Takes what waits through to its acknowledgements. The lock is held at call and return. */
static void commit(struct tel_journal *j)
{
    struct journal_group taken = j->queue;
    j->queue = j->writing;
    j->writing = taken;
    j->flush_now = false;
    int64_t first = j->durable_next;
    tel_mutex_unlock(&j->lock);

    struct tel_error err;
    tel_error_clear(&err);
    tel_code rc = write_group(j, &err);
    if (rc != TEL_OK)
        tel_log_error("cannot write to the journal", tel_kv_str("dir", j->dir), tel_kv_error(&err));
    j->last_sync_ns = tel_mono_ns(tel_clock_system());

    tel_mutex_lock(&j->lock);
    if (rc == TEL_OK)
        publish(j);
    else
        refuse(j, rc);
    tel_mutex_unlock(&j->lock);
    tell(&j->writing, first, rc, rc == TEL_OK ? NULL : &err);
    tel_mutex_lock(&j->lock);
    j->settled_count += j->writing.acks.len;
    group_clear(&j->writing);
    tel_cond_broadcast(&j->settled);
}

/* ---- trimming ----------------------------------------------------------------------------- */

static bool can_trim(const struct tel_journal *j)
{
    return j->segments.len > 1 && j->segments.items[1].base <= j->trim_floor;
}

/* Oldest first, so that the log never has a hole. The lock is held at call and return. */
static void trim(struct tel_journal *j)
{
    while (can_trim(j)) {
        struct journal_segment old = j->segments.items[0];
        j->segments.len--;
        memmove(&j->segments.items[0], &j->segments.items[1],
                j->segments.len * sizeof(j->segments.items[0]));
        tel_mutex_unlock(&j->lock);
        struct tel_error err;
        char *path = journal_path(j, old.base);
        if (tel_fs_unlink(j->fs, path, &err) != TEL_OK)
            tel_log_warn("cannot remove a segment", tel_kv_str("path", path), tel_kv_error(&err));
        free(path);
        tel_mutex_lock(&j->lock);
        j->file_bytes -= old.bytes;
    }
}

/* Has everything been released, and is the active segment worth the fsyncs of a new one? */
static bool can_roll(const struct tel_journal *j)
{
    const struct journal_segment *last = &j->segments.items[j->segments.len - 1];
    return j->active && j->queue.acks.len == 0 && j->trim_floor == j->durable_next &&
           last->bytes >= ROLL_BYTES;
}

/* Begins a new segment, so that the released one can go. The lock is held at call and return. */
static void roll(struct tel_journal *j)
{
    struct tel_error err;
    tel_mutex_unlock(&j->lock);
    seal_active(j);
    if (journal_segment_make(j, j->durable_next, &err) != TEL_OK) /* the next group tries again */
        tel_log_warn("cannot begin a new segment", tel_kv_str("dir", j->dir), tel_kv_error(&err));
    tel_mutex_lock(&j->lock);
}

/* ---- the thread --------------------------------------------------------------------------- */

/* Until when more records may join; 0: go now. */
static int64_t company_until(const struct tel_journal *j)
{
    if (j->stop || j->flush_now || j->queue.bytes.len >= j->pending_max / 4)
        return 0;
    int64_t until = j->last_sync_ns + j->sync_interval_ns;
    return until > tel_mono_ns(tel_clock_system()) ? until : 0;
}

void journal_writer_run(void *arg)
{
    struct tel_journal *j = arg;
    tel_mutex_lock(&j->lock);
    for (;;) {
        if (can_roll(j))
            roll(j);
        trim(j);
        if (j->queue.acks.len > 0) {
            int64_t until = company_until(j);
            if (until)
                (void)tel_cond_wait_until(&j->work, &j->lock, until);
            else
                commit(j);
        } else if (j->stop) {
            break;
        } else if (!can_trim(j) && !can_roll(j)) {
            tel_cond_wait(&j->work, &j->lock);
        }
    }
    tel_mutex_unlock(&j->lock);
}
