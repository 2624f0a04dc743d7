#include "shard/snapshot/archive.h"

#include <endian.h>
#include <inttypes.h>

#include "common/base/crc32c.h"
#include "common/base/mem.h"

#define MAGIC        "TELSNAP1"
#define MAGIC_BYTES  8u
#define HEADER_BYTES 12u /* length of the key, of the value, CRC-32C: 4 bytes each, LE */
#define KEY_MAX      64u
#define GATHER_BYTES (256u << 10)

struct header {
    uint32_t key_len, value_len, crc;
};

static uint32_t record_crc(uint32_t key_len, uint32_t value_len, struct tel_span key,
                           struct tel_span value)
{
    uint32_t lens[2] = {htole32(key_len), htole32(value_len)};
    uint32_t crc = tel_crc32c(0, lens, sizeof(lens));
    crc = tel_crc32c(crc, key.ptr, key.len);
    return tel_crc32c(crc, value.ptr, value.len);
}

/* ---- writing ------------------------------------------------------------------------------------ */

tel_code archive_create(struct tel_fs *fs, const char *path, struct archive_writer *ret,
                        struct tel_error *err)
{
    memset(ret, 0, sizeof(*ret));
    tel_code rc =
        tel_fs_open(fs, path, TEL_FS_WRITE | TEL_FS_CREATE | TEL_FS_EXCL, &ret->file, err);
    if (rc == TEL_OK)
        tel_buf_add(&ret->buf, MAGIC, MAGIC_BYTES);
    return rc;
}

static tel_code write_out(struct archive_writer *w, struct tel_error *err)
{
    tel_code rc = tel_file_write(w->file, w->buf.ptr, w->buf.len, err);
    w->sum.crc = tel_crc32c(w->sum.crc, w->buf.ptr, w->buf.len);
    w->sum.bytes += w->buf.len;
    tel_buf_clear(&w->buf);
    return rc;
}

static void add_record(struct tel_buf *buf, struct tel_span key, struct tel_span value)
{
    uint32_t key_len = (uint32_t)key.len, value_len = (uint32_t)value.len;
    tel_buf_add_le32(buf, key_len);
    tel_buf_add_le32(buf, value_len);
    tel_buf_add_le32(buf, record_crc(key_len, value_len, key, value));
    tel_buf_add_span(buf, key);
    tel_buf_add_span(buf, value);
}

tel_code archive_put(struct archive_writer *w, struct tel_span key, struct tel_span value,
                     uint64_t *ret_written, struct tel_error *err)
{
    TEL_CHECK(key.len > 0 && key.len <= KEY_MAX && value.len <= UINT32_MAX);
    add_record(&w->buf, key, value);
    w->sum.records++;
    *ret_written = w->buf.len >= GATHER_BYTES ? w->buf.len : 0;
    return *ret_written ? write_out(w, err) : TEL_OK;
}

tel_code archive_finish(struct archive_writer *w, struct tel_error *err)
{
    uint64_t count = htole64(w->sum.records);
    add_record(&w->buf, TEL_SPAN(""), tel_span_make(&count, sizeof(count)));
    tel_code rc = write_out(w, err);
    return rc == TEL_OK ? tel_file_sync(w->file, err) : rc;
}

void archive_close(struct archive_writer *w)
{
    tel_file_close(w->file);
    tel_buf_free(&w->buf);
    w->file = NULL;
}

/* ---- reading ------------------------------------------------------------------------------------ */

struct reader {
    const char *path;
    struct tel_file *file;
    uint64_t left; /* bytes of the file that were not read */
    struct archive_sum sum;
    struct tel_buf buf;
};

static tel_code bad(const struct reader *r, struct tel_error *err, const char *what)
{
    return tel_error_set(err, TEL_ERR_CORRUPT, "%s: %s before byte %" PRIu64, r->path, what,
                         r->sum.bytes);
}

/* Appends so many bytes to the buffer. */
static tel_code take(struct reader *r, size_t len, struct tel_error *err)
{
    if (len > r->left)
        return bad(r, err, "cut off");
    tel_buf_reserve(&r->buf, len);
    for (size_t have = 0; have < len;) {
        size_t got;
        tel_code rc = tel_file_read(r->file, r->buf.ptr + r->buf.len, len - have, &got, err);
        if (rc != TEL_OK)
            return rc;
        if (got == 0)
            return bad(r, err, "cut off");
        r->sum.crc = tel_crc32c(r->sum.crc, r->buf.ptr + r->buf.len, got);
        r->buf.len += got;
        have += got;
    }
    r->left -= len;
    r->sum.bytes += len;
    return TEL_OK;
}

static uint32_t le32_at(const struct reader *r, size_t at)
{
    uint32_t v;
    memcpy(&v, r->buf.ptr + at, 4);
    return le32toh(v);
}

/* The next record; a key without length is the end. Both point into the buffer. */
static tel_code next_record(struct reader *r, struct tel_span *ret_key, struct tel_span *ret_value,
                            struct tel_error *err)
{
    tel_buf_clear(&r->buf);
    tel_code rc = take(r, HEADER_BYTES, err);
    if (rc != TEL_OK)
        return rc;
    struct header h = {le32_at(r, 0), le32_at(r, 4), le32_at(r, 8)};
    if (h.key_len > KEY_MAX)
        return bad(r, err, "a key that is too long");
    rc = take(r, (size_t)h.key_len + h.value_len, err);
    if (rc != TEL_OK)
        return rc;
    *ret_key = tel_span_make(r->buf.ptr + HEADER_BYTES, h.key_len);
    *ret_value = tel_span_make(r->buf.ptr + HEADER_BYTES + h.key_len, h.value_len);
    if (record_crc(h.key_len, h.value_len, *ret_key, *ret_value) != h.crc)
        return bad(r, err, "checksum mismatch");
    return TEL_OK;
}

static tel_code read_records(struct reader *r,
                             tel_code (*put)(void *ctx, struct tel_span key, struct tel_span value,
                                             struct tel_error *err),
                             void *ctx, struct tel_error *err)
{
    tel_code rc = take(r, MAGIC_BYTES, err);
    if (rc == TEL_OK && memcmp(r->buf.ptr, MAGIC, MAGIC_BYTES) != 0)
        return bad(r, err, "no file of a snapshot");
    while (rc == TEL_OK) {
        struct tel_span key, value;
        rc = next_record(r, &key, &value, err);
        if (rc != TEL_OK)
            return rc;
        if (key.len == 0) {
            uint64_t count;
            if (value.len != sizeof(count))
                return bad(r, err, "a bad end");
            memcpy(&count, value.ptr, sizeof(count));
            if (le64toh(count) != r->sum.records || r->left)
                return bad(r, err, "a bad end");
            return TEL_OK;
        }
        r->sum.records++;
        rc = put(ctx, key, value, err);
    }
    return rc;
}

tel_code archive_read(struct tel_fs *fs, const char *path,
                      tel_code (*put)(void *ctx, struct tel_span key, struct tel_span value,
                                      struct tel_error *err),
                      void *ctx, struct archive_sum *ret, struct tel_error *err)
{
    struct reader r = {.path = path};
    struct tel_fs_stat st;
    tel_code rc = tel_fs_open(fs, path, TEL_FS_READ, &r.file, err);
    if (rc != TEL_OK)
        return rc;
    rc = tel_file_stat(r.file, &st, err);
    if (rc == TEL_OK) {
        r.left = st.size;
        rc = read_records(&r, put, ctx, err);
    }
    if (rc == TEL_OK)
        *ret = r.sum;
    tel_file_close(r.file);
    tel_buf_free(&r.buf);
    return rc;
}
