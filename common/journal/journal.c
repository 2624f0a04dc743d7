/*
 * Opening, closing and appending. An append sums its payload, then takes the lock for as long as it
 * takes to copy the frame into the queue; the writer swaps the queue for an empty one and works
 * without the lock. So a slow fsync makes groups larger and appends no slower, until pending_bytes.
 */
#include "common/journal/journal_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/crc32c.h"
#include "common/base/mem.h"

#define DEFAULT_BUDGET   (UINT64_C(1) << 30)
#define MIN_BUDGET       (UINT64_C(1) << 20)
#define DEFAULT_SEGMENT  (UINT64_C(16) << 20)
#define DEFAULT_PENDING  (UINT64_C(8) << 20)
#define DEFAULT_SYNC_MS  5
#define RECORD_BYTES_MAX (UINT64_C(32) << 20)

char *journal_path(const struct tel_journal *j, int64_t base)
{
    char name[JOURNAL_NAME_MAX];
    journal_segment_name(name, base);
    size_t n = strlen(j->dir) + sizeof(name) + 2;
    char *path = tel_malloc(n);
    snprintf(path, n, "%s/%s", j->dir, name);
    return path;
}

static tel_code take_lock(struct tel_journal *j, struct tel_error *err)
{
    size_t n = strlen(j->dir) + 8;
    char *path = tel_malloc(n);
    snprintf(path, n, "%s/LOCK", j->dir);
    tel_code rc = tel_fs_lock(path, &j->dir_lock, err);
    free(path);
    return rc;
}

static void group_free(struct journal_group *g)
{
    tel_buf_free(&g->bytes);
    tel_vec_free(&g->acks);
}

static void journal_free(struct tel_journal *j)
{
    tel_file_close(j->active);
    tel_fs_unlock(j->dir_lock);
    group_free(&j->queue);
    group_free(&j->writing);
    tel_vec_free(&j->segments);
    tel_cond_done(&j->work);
    tel_cond_done(&j->settled);
    tel_mutex_done(&j->lock);
    free(j->dir);
    free(j);
}

tel_code tel_journal_open(const struct tel_journal_options *o, struct tel_journal **ret,
                          struct tel_error *err)
{
    if (o->budget_bytes && o->budget_bytes < MIN_BUDGET)
        return tel_error_set(err, TEL_ERR_INVALID, "a journal needs a budget of at least %llu bytes",
                             (unsigned long long)MIN_BUDGET);
    struct tel_journal *j = TEL_NEW(struct tel_journal);
    j->fs = o->fs ? o->fs : tel_fs_system();
    j->clock = o->clock ? o->clock : tel_clock_system();
    j->dir = tel_strdup(o->dir);
    j->budget = o->budget_bytes ? o->budget_bytes : DEFAULT_BUDGET;
    j->segment_bytes = TEL_MIN(o->segment_bytes ? o->segment_bytes : DEFAULT_SEGMENT, j->budget / 8);
    j->pending_max = TEL_MIN(o->pending_bytes ? o->pending_bytes : DEFAULT_PENDING, j->budget / 8);
    j->record_max = TEL_MIN(RECORD_BYTES_MAX, j->budget / 8 - JOURNAL_FRAME_BYTES);
    j->disk_reserve = o->disk_reserve_bytes;
    j->sync_interval_ns =
        (int64_t)(o->sync_interval_ms ? o->sync_interval_ms : DEFAULT_SYNC_MS) * TEL_NS_PER_MS;
    tel_mutex_init(&j->lock);
    tel_cond_init(&j->work);
    tel_cond_init(&j->settled);

    tel_code rc = tel_fs_mkdir_all(j->fs, j->dir, err);
    if (rc == TEL_OK)
        rc = take_lock(j, err);
    if (rc == TEL_OK)
        rc = journal_recover(j, err);
    if (rc == TEL_OK)
        rc = tel_thread_start(&j->thread, "journal", journal_writer_run, j, err);
    if (rc != TEL_OK) {
        journal_free(j);
        return tel_error_wrap(err, rc, "journal %s", o->dir);
    }
    *ret = j;
    return TEL_OK;
}

void tel_journal_close(struct tel_journal *j)
{
    if (!j)
        return;
    TEL_CHECK(!j->readers);
    tel_mutex_lock(&j->lock);
    j->stop = true;
    tel_cond_signal(&j->work);
    tel_mutex_unlock(&j->lock);
    tel_thread_join(&j->thread);
    journal_free(j);
}

uint64_t tel_journal_record_max(const struct tel_journal *j)
{
    return j->record_max;
}

/* May a frame of `need` bytes be queued? The lock is held. */
static tel_code admit(struct tel_journal *j, uint64_t need, struct tel_error *err)
{
    if (j->refuse_code != TEL_OK) {
        if (tel_mono_ns(tel_clock_system()) < j->refuse_until_ns)
            return tel_error_set(err, j->refuse_code, "the journal's disk refuses writes: %s",
                                 tel_code_text(j->refuse_code));
        j->refuse_code = TEL_OK; /* let one through and see */
    }
    /* A lone record is taken whatever its size: record_max keeps it within the budget. */
    if (j->waiting_bytes > 0 && j->waiting_bytes + need > j->pending_max)
        return tel_error_set(err, TEL_ERR_AGAIN, "%llu bytes wait for the disk",
                             (unsigned long long)j->waiting_bytes);
    if (j->file_bytes + j->waiting_bytes + need > j->budget)
        return tel_error_set(err, TEL_ERR_AGAIN, "the journal's budget of %llu bytes is used up",
                             (unsigned long long)j->budget);
    return TEL_OK;
}

tel_code tel_journal_append(struct tel_journal *j, struct tel_span key, struct tel_span value,
                            tel_journal_ack_cb *ack, void *ctx, struct tel_error *err)
{
    if (key.len > j->record_max || value.len > j->record_max - key.len)
        return tel_error_set(err, TEL_ERR_LIMIT,
                             "a record of %zu bytes: the journal takes at most %llu",
                             key.len + value.len, (unsigned long long)j->record_max);
    struct journal_frame f = {
        .length = (uint32_t)(key.len + value.len),
        .key_len = (uint32_t)key.len,
        .timestamp_ns = tel_wall_ns(j->clock),
    };
    uint32_t crc = key.len ? tel_crc32c(0, key.ptr, key.len) : 0;
    crc = value.len ? tel_crc32c(crc, value.ptr, value.len) : crc;
    uint64_t need = JOURNAL_FRAME_BYTES + (uint64_t)f.length;

    tel_mutex_lock(&j->lock);
    tel_code rc = admit(j, need, err);
    if (rc == TEL_OK) {
        f.offset = j->next_offset++;
        f.behind = (uint32_t)(f.offset - j->durable_next);
        struct tel_buf *out = &j->queue.bytes;
        bool was_empty = out->len == 0;
        tel_buf_reserve(out, need);
        journal_frame_put(out->ptr + out->len, &f, crc);
        out->len += JOURNAL_FRAME_BYTES;
        tel_buf_add_span(out, key);
        tel_buf_add_span(out, value);
        struct journal_ack a = {ack, ctx};
        tel_vec_push(&j->queue.acks, a);
        j->waiting_bytes += need;
        j->appended++;
        /* The writer needs to be told of the first record, and when it should stop waiting for more. */
        if (was_empty || (out->len >= j->pending_max / 4 && out->len - need < j->pending_max / 4))
            tel_cond_signal(&j->work);
    }
    tel_mutex_unlock(&j->lock);
    return rc;
}

tel_code tel_journal_flush(struct tel_journal *j, int timeout_ms, struct tel_error *err)
{
    int64_t deadline = tel_deadline_ms(timeout_ms);
    tel_mutex_lock(&j->lock);
    uint64_t until = j->appended;
    bool in_time = true;
    while (j->settled_count < until && in_time) {
        j->flush_now = true;
        tel_cond_signal(&j->work);
        in_time = tel_cond_wait_until(&j->settled, &j->lock, deadline);
    }
    bool done = j->settled_count >= until;
    tel_mutex_unlock(&j->lock);
    return done ? TEL_OK : tel_error_set(err, TEL_ERR_TIMEOUT, "the journal's disk is slow");
}

void tel_journal_stats(struct tel_journal *j, struct tel_journal_stats *ret)
{
    tel_mutex_lock(&j->lock);
    struct tel_journal_stats s = j->stats;
    s.low = j->segments.items[0].base;
    s.high = j->durable_next;
    s.bytes = j->file_bytes + j->waiting_bytes;
    s.budget_bytes = j->budget;
    s.pending_bytes = j->waiting_bytes;
    s.segments = j->segments.len;
    tel_mutex_unlock(&j->lock);
    *ret = s;
}

void tel_journal_watermarks(struct tel_journal *j, int64_t *ret_low, int64_t *ret_high)
{
    tel_mutex_lock(&j->lock);
    *ret_low = j->segments.items[0].base;
    *ret_high = j->durable_next;
    tel_mutex_unlock(&j->lock);
}
