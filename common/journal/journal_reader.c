/*
 * Readers. A reader finds the segment of its next offset under the lock, and reads files without it.
 * Each has its own file handle, so that a trimmed segment stays readable while it is open.
 *
 *     file:  [header][frame][frame][frame][frame] ...
 *                            ^pos = buf[0]  ^pos + buf_pos: frame file_next stands here or later
 *
 * Finding an offset within a segment means walking there from its start: that happens once, when a
 * reader begins or seeks.
 */
#include "common/journal/journal_internal.h"

#include <stdlib.h>

#include "common/base/mem.h"

#define READ_BYTES (256u << 10)

struct tel_journal_reader *tel_journal_reader_open(struct tel_journal *j, int64_t start)
{
    struct tel_journal_reader *r = TEL_NEW(struct tel_journal_reader);
    r->journal = j;
    r->next = start;
    tel_mutex_lock(&j->lock);
    r->next_reader = j->readers;
    j->readers = r;
    tel_mutex_unlock(&j->lock);
    return r;
}

int64_t journal_floor(const struct tel_journal *j)
{
    int64_t floor = INT64_MAX;
    for (const struct tel_journal_reader *r = j->readers; r; r = r->next_reader)
        floor = TEL_MIN(floor, r->released);
    return j->readers ? floor : j->trim_floor;
}

void tel_journal_reader_close(struct tel_journal_reader *r)
{
    if (!r)
        return;
    struct tel_journal *j = r->journal;
    tel_mutex_lock(&j->lock);
    struct tel_journal_reader **at = &j->readers;
    while (*at != r)
        at = &(*at)->next_reader;
    *at = r->next_reader;
    tel_mutex_unlock(&j->lock);
    tel_file_close(r->file);
    tel_buf_free(&r->buf);
    tel_vec_free(&r->records);
    free(r);
}

void tel_journal_release(struct tel_journal_reader *r, int64_t offset)
{
    struct tel_journal *j = r->journal;
    tel_mutex_lock(&j->lock);
    r->released = TEL_MAX(r->released, TEL_MIN(offset, j->durable_next));
    int64_t floor = journal_floor(j);
    if (floor > j->trim_floor) {
        j->trim_floor = floor;
        if (floor == j->durable_next || (j->segments.len > 1 && j->segments.items[1].base <= floor))
            tel_cond_signal(&j->work);
    }
    tel_mutex_unlock(&j->lock);
}

void tel_journal_reader_wake(struct tel_journal_reader *r)
{
    tel_mutex_lock(&r->journal->lock);
    r->woken = true;
    tel_cond_broadcast(&r->journal->settled);
    tel_mutex_unlock(&r->journal->lock);
}

void tel_journal_reader_seek(struct tel_journal_reader *r, int64_t offset)
{
    bool ahead = r->file && offset >= r->file_next;
    r->next = offset;
    if (!ahead) { /* walk again from the start of its segment */
        tel_file_close(r->file);
        r->file = NULL;
    }
}

/* Waits until `next` is readable, and gives its segment. *ret_some false: nothing new. */
static tel_code locate(struct tel_journal_reader *r, int64_t deadline, struct journal_segment *ret,
                       bool *ret_some, int64_t *ret_next, struct tel_error *err)
{
    struct tel_journal *j = r->journal;
    tel_mutex_lock(&j->lock);
    bool in_time = true;
    while (r->next == j->durable_next && in_time && !r->woken)
        in_time = tel_cond_wait_until(&j->settled, &j->lock, deadline);
    r->woken = false;
    int64_t low = j->segments.items[0].base, high = j->durable_next;
    tel_code rc = TEL_OK;
    *ret_some = false;
    if (r->next < low || r->next > high) {
        *ret_next = low; /* above the end: the log was made anew, and begins there too */
        rc = tel_error_set(err, TEL_ERR_GAP, "offset %lld is not in the journal, which holds %lld to %lld",
                           (long long)r->next, (long long)low, (long long)high);
    } else if (r->next < high) {
        size_t lo = 0, hi = j->segments.len;
        while (hi - lo > 1) {
            size_t mid = lo + (hi - lo) / 2;
            if (j->segments.items[mid].base <= r->next)
                lo = mid;
            else
                hi = mid;
        }
        *ret = j->segments.items[lo];
        *ret_some = true;
    }
    tel_mutex_unlock(&j->lock);
    return rc;
}

static tel_code open_segment(struct tel_journal_reader *r, const struct journal_segment *s,
                             struct tel_error *err)
{
    r->limit = s->bytes;
    if (r->file && r->file_base == s->base)
        return TEL_OK;
    tel_file_close(r->file);
    r->file = NULL;
    char *path = journal_path(r->journal, s->base);
    tel_code rc = tel_fs_open(r->journal->fs, path, TEL_FS_READ, &r->file, err);
    free(path);
    if (rc != TEL_OK)
        return rc;
    r->file_base = r->file_next = s->base;
    r->pos = JOURNAL_HEADER_BYTES;
    r->buf_pos = 0;
    tel_buf_clear(&r->buf);
    return TEL_OK;
}

/* Drops what has been read and reads on, so that `need` bytes from the next frame on are there.
 * *ret_have false: the file ends before. Earlier records' spans die here. */
static tel_code fill(struct tel_journal_reader *r, uint64_t need, bool *ret_have,
                     struct tel_error *err)
{
    r->pos += r->buf_pos;
    size_t rest = r->buf.len - r->buf_pos;
    if (rest > 0)
        memmove(r->buf.ptr, r->buf.ptr + r->buf_pos, rest);
    r->buf.len = rest;
    r->buf_pos = 0;
    *ret_have = false;
    if (need > r->limit - r->pos)
        return TEL_OK;
    size_t want = (size_t)TEL_MIN(r->limit - r->pos, TEL_MAX(need, (uint64_t)READ_BYTES)) - rest;
    tel_buf_reserve(&r->buf, want);
    size_t got = 0;
    tel_code rc = tel_file_pread(r->file, r->pos + rest, r->buf.ptr + rest, want, &got, err);
    if (rc != TEL_OK)
        return rc;
    r->buf.len += got;
    *ret_have = r->buf.len >= need;
    return TEL_OK;
}

/* The frame at the reader's place is wrong: moves to the next good one of the segment, or behind its
 * end. */
static tel_code skip_damage(struct tel_journal_reader *r, const struct journal_segment *s,
                            struct tel_error *err)
{
    uint64_t from = r->pos + r->buf_pos + 1, at = 0;
    struct journal_frame f;
    tel_code rc = journal_resync(r->file, TEL_MIN(from, r->limit), r->limit, r->file_next + 1, s->end,
                                 r->journal->record_max, &at, &f, err);
    if (rc != TEL_OK && rc != TEL_ERR_NOTFOUND)
        return rc;
    r->file_next = rc == TEL_OK ? f.offset : s->end;
    r->pos = rc == TEL_OK ? at : r->limit;
    r->buf_pos = 0;
    tel_buf_clear(&r->buf);
    return TEL_OK;
}

/* Finds the first good frame from the reader's place on whose offset is `next` or larger, within the
 * segment, and leaves its bytes in buf at buf_pos. file_next is its offset then, or s->end. */
static tel_code find_frame(struct tel_journal_reader *r, const struct journal_segment *s,
                           struct journal_frame *f, uint64_t *ret_size, struct tel_error *err)
{
    while (r->file_next < s->end) {
        struct tel_span rest = {r->buf.ptr ? r->buf.ptr + r->buf_pos : NULL, r->buf.len - r->buf_pos};
        enum journal_frame_state state =
            journal_frame_get(rest, r->journal->record_max, f, ret_size);
        if (state == JOURNAL_FRAME_MORE) {
            bool have = false;
            tel_code rc = fill(r, *ret_size, &have, err);
            if (rc != TEL_OK)
                return rc;
            if (have)
                continue;
            state = JOURNAL_FRAME_BAD;
        }
        if (state == JOURNAL_FRAME_BAD || f->offset != r->file_next) {
            tel_code rc = skip_damage(r, s, err);
            if (rc != TEL_OK)
                return rc;
            continue;
        }
        if (f->offset >= r->next)
            return TEL_OK;
        r->buf_pos += *ret_size;
        r->file_next++;
    }
    return TEL_OK;
}

/* Takes the frames that are whole in the buffer. */
static void take_frames(struct tel_journal_reader *r, const struct journal_segment *s, size_t max)
{
    while (r->records.len < max && r->next < s->end) {
        struct journal_frame f;
        uint64_t size = 0;
        struct tel_span rest = {r->buf.ptr + r->buf_pos, r->buf.len - r->buf_pos};
        if (journal_frame_get(rest, r->journal->record_max, &f, &size) != JOURNAL_FRAME_GOOD ||
            f.offset != r->next)
            return; /* not whole, or damaged: the next read finds out */
        const char *payload = rest.ptr + JOURNAL_FRAME_BYTES;
        struct tel_journal_record rec = {
            .offset = f.offset,
            .timestamp_ns = f.timestamp_ns,
            .key = {payload, f.key_len},
            .value = {payload + f.key_len, f.length - f.key_len},
        };
        tel_vec_push(&r->records, rec);
        r->buf_pos += size;
        r->next++;
        r->file_next = r->next;
    }
}

tel_code tel_journal_read(struct tel_journal_reader *r, int timeout_ms, size_t max,
                          const struct tel_journal_record **ret_records, size_t *ret_count,
                          int64_t *ret_next, struct tel_error *err)
{
    struct journal_segment s;
    bool some = false;
    tel_vec_clear(&r->records);
    tel_code rc = locate(r, tel_deadline_ms(timeout_ms), &s, &some, ret_next, err);
    if (rc != TEL_OK)
        return rc;
    if (some) {
        rc = open_segment(r, &s, err);
        if (rc != TEL_OK) /* removed since: locate tells the gap next time */
            return rc == TEL_ERR_NOTFOUND ? tel_error_set(err, TEL_ERR_IO, "a segment has just gone")
                                          : rc;
        struct journal_frame f;
        uint64_t size = 0;
        rc = find_frame(r, &s, &f, &size, err);
        if (rc != TEL_OK)
            return rc;
        if (r->file_next != r->next) {
            *ret_next = r->file_next;
            return tel_error_set(err, TEL_ERR_CORRUPT,
                                 "records %lld to %lld of the journal are damaged",
                                 (long long)r->next, (long long)(r->file_next - 1));
        }
        take_frames(r, &s, max);
    }
    *ret_records = r->records.items;
    *ret_count = r->records.len;
    return TEL_OK;
}
