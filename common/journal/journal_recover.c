/*
 * Finding the log again: the segments by their names, the end of the last one by reading it.
 * FORMAT.md, "The rules of a reader", numbers the cases.
 */
#include "common/journal/journal_internal.h"

#include <stdlib.h>

#define TEL_LOG_COMPONENT "journal"
#include "common/base/log.h"
#include "common/base/mem.h"

static int by_base(const void *a, const void *b)
{
    const struct journal_segment *x = a, *y = b;
    return x->base < y->base ? -1 : x->base > y->base;
}

static tel_code list_segments(struct tel_journal *j, struct tel_error *err)
{
    struct tel_fs_names names = {0};
    tel_code rc = tel_fs_list(j->fs, j->dir, &names, err);
    if (rc != TEL_OK)
        return rc;
    for (size_t i = 0; i < names.len && rc == TEL_OK; i++) {
        struct journal_segment s = {0};
        if (!journal_segment_parse(names.items[i], &s.base))
            continue; /* LOCK, or something of somebody's: not ours to touch */
        char *path = journal_path(j, s.base);
        struct tel_fs_stat st;
        rc = tel_fs_stat(j->fs, path, &st, err);
        free(path);
        if (rc == TEL_OK) {
            s.bytes = st.size;
            tel_vec_push(&j->segments, s);
        }
    }
    tel_fs_names_free(&names);
    if (rc != TEL_OK || j->segments.len == 0)
        return rc;
    qsort(j->segments.items, j->segments.len, sizeof(j->segments.items[0]), by_base);
    for (size_t i = 0; i + 1 < j->segments.len; i++)
        j->segments.items[i].end = j->segments.items[i + 1].base;
    return TEL_OK;
}

/* Where the last segment ends. */
struct tail {
    uint64_t good_bytes; /* up to the first frame that is wrong, or the end of the file */
    int64_t next;        /* offset of that frame */
    bool damaged;        /* it had been durable (rule 3) */
    int64_t damaged_end; /* then: the offset behind the last good frame of the file */
};

/* Reads good frames from pos on. */
static tel_code walk(struct tel_journal *j, struct tel_file *file, uint64_t size, uint64_t pos,
                     int64_t next, struct tail *t, struct tel_error *err)
{
    struct tel_buf buf = {0};
    size_t used = 0;
    uint64_t need = 0;
    tel_code rc = TEL_OK;
    for (;;) {
        struct journal_frame f;
        struct tel_span rest = {buf.ptr ? buf.ptr + used : NULL, buf.len - used};
        enum journal_frame_state state = journal_frame_get(rest, j->record_max, &f, &need);
        if (state == JOURNAL_FRAME_GOOD && f.offset == next) {
            used += need;
            pos += need;
            next++;
            continue;
        }
        if (state != JOURNAL_FRAME_MORE || size - pos < need)
            break; /* wrong, or cut short */
        size_t want = (size_t)TEL_MIN(size - pos, TEL_MAX(need, UINT64_C(1) << 20));
        tel_buf_clear(&buf);
        tel_buf_reserve(&buf, want);
        used = 0;
        rc = tel_file_pread(file, pos, buf.ptr, want, &buf.len, err);
        if (rc != TEL_OK || buf.len < need)
            break;
    }
    tel_buf_free(&buf);
    t->good_bytes = pos;
    t->next = next;
    return rc;
}

/* Looks behind the first wrong frame for one that proves that it had been durable. */
static tel_code look_behind(struct tel_journal *j, struct tel_file *file, uint64_t size,
                            struct tail *t, struct tel_error *err)
{
    uint64_t from = t->good_bytes + 1;
    int64_t min = t->next + 1;
    for (;;) {
        struct journal_frame f;
        uint64_t pos = 0;
        tel_code rc = journal_resync(file, from, size, min, INT64_MAX, j->record_max, &pos, &f, err);
        if (rc == TEL_ERR_NOTFOUND)
            return TEL_OK;
        if (rc != TEL_OK)
            return rc;
        if (f.offset - (int64_t)f.behind > t->next)
            t->damaged = true;
        t->damaged_end = f.offset + 1;
        min = f.offset + 1;
        from = pos + JOURNAL_FRAME_BYTES + (uint64_t)f.length;
    }
}

/* A damaged header alone loses nothing: the name has what it says. Another version is refused. */
static tel_code check_header(const char *path, struct tel_file *file, int64_t base,
                             struct tel_error *err)
{
    char header[JOURNAL_HEADER_BYTES];
    size_t got = 0;
    tel_code rc = tel_file_pread(file, 0, header, sizeof(header), &got, err);
    if (rc != TEL_OK)
        return rc;
    if (got == sizeof(header) && journal_header_check(header, base))
        return TEL_OK;
    if (journal_header_other_version(header))
        return tel_error_set(err, TEL_ERR_UNSUPPORTED, "%s is of another version", path);
    tel_log_error("the header of a segment is damaged", tel_kv_str("path", path));
    return TEL_OK;
}

static tel_code settle_last(struct tel_journal *j, struct journal_segment *s, struct tel_error *err)
{
    char *path = journal_path(j, s->base);
    struct tel_file *file = NULL;
    tel_code rc = tel_fs_open(j->fs, path, TEL_FS_READ | TEL_FS_WRITE, &file, err);
    if (rc != TEL_OK) {
        free(path);
        return rc;
    }
    struct tail t = {0};
    rc = check_header(path, file, s->base, err);
    if (rc == TEL_OK)
        rc = walk(j, file, s->bytes, JOURNAL_HEADER_BYTES, s->base, &t, err);
    if (rc == TEL_OK && t.good_bytes < s->bytes)
        rc = look_behind(j, file, s->bytes, &t, err);
    if (rc != TEL_OK)
        goto out;
    if (t.damaged) {
        tel_log_error("the journal is damaged: readers will be told which records are missing",
                      tel_kv_str("path", path), tel_kv_i64("first", t.next));
        s->end = t.damaged_end;
    } else {
        if (t.good_bytes < s->bytes) {
            j->stats.cut_bytes = s->bytes - t.good_bytes;
            tel_log_warn("cut a torn end that was never acknowledged", tel_kv_str("path", path),
                         tel_kv_u64("bytes", j->stats.cut_bytes), tel_kv_i64("offset", t.next));
            rc = tel_file_truncate(file, t.good_bytes, err);
        }
        s->bytes = t.good_bytes;
        s->end = t.next;
    }
    /* What was read may have been written and never synced by a process that was killed. */
    if (rc == TEL_OK)
        rc = tel_file_sync(file, err);
    if (rc == TEL_OK && !t.damaged) {
        j->active = file;
        file = NULL;
    }
out:
    tel_file_close(file);
    free(path);
    return rc;
}

tel_code journal_recover(struct tel_journal *j, struct tel_error *err)
{
    tel_code rc = list_segments(j, err);
    if (rc != TEL_OK)
        return rc;
    int64_t next = 0;
    bool sealed = false;
    /* Rule 4. A segment is made when all before it is durable, so its name tells where that ends. */
    if (j->segments.len > 0 && j->segments.items[j->segments.len - 1].bytes <= JOURNAL_HEADER_BYTES) {
        next = j->segments.items[--j->segments.len].base;
        sealed = true;
    }
    if (j->segments.len > 0 && !sealed) {
        struct journal_segment *last = &j->segments.items[j->segments.len - 1];
        rc = settle_last(j, last, err);
        if (rc != TEL_OK)
            return rc;
        next = last->end;
    }
    for (size_t i = 0; i < j->segments.len; i++)
        j->file_bytes += j->segments.items[i].bytes;
    j->next_offset = j->durable_next = next;
    return j->active ? TEL_OK : journal_segment_make(j, next, err);
}
