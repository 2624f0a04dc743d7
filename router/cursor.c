/*
 * The bytes, in base64url without padding:
 *
 *     version (1) | binding (8) | zigzag varints: now, start, end, time, offset
 *                 | varints: partition, index, marks, { partition, zigzag offset } * marks
 *                 | CRC-32C of all before (4)
 *
 * The checksum is against accidents; whoever forges a cursor gets rows of a query that they could
 * have asked anyway.
 */
#include "router/cursor.h"

#include "common/base/crc32c.h"
#include "common/base/hash.h"
#include "common/base/varint.h"

#define VERSION   1
#define HEAD      9u
#define TEXT_MAX  (1u << 20)
#define MARKS_MAX 65536u

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

uint64_t cursor_binding(const struct tel_span *parts, size_t count)
{
    uint64_t hash = count;
    for (size_t i = 0; i < count; i++)
        hash = tel_hash64(parts[i], tel_hash_u64(hash ^ parts[i].len));
    return hash;
}

/* ---- base64url (RFC 4648, 5) ------------------------------------------------------------------ */

static void add_text(struct tel_buf *out, struct tel_span bytes)
{
    uint32_t held = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        held = held << 8 | (unsigned char)bytes.ptr[i];
        for (bits += 8; bits >= 6; bits -= 6)
            tel_buf_add_char(out, digits[held >> (bits - 6) & 63]);
    }
    if (bits > 0)
        tel_buf_add_char(out, digits[held << (6 - bits) & 63]);
}

static bool read_text(struct tel_span text, struct tel_buf *out)
{
    uint32_t held = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *at = text.ptr[i] ? strchr(digits, text.ptr[i]) : NULL;
        if (!at)
            return false;
        held = held << 6 | (uint32_t)(at - digits);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            tel_buf_add_char(out, (char)(held >> bits & 255));
        }
    }
    return (held & ((1u << bits) - 1)) == 0 && bits < 6;
}

/* ---- fields ----------------------------------------------------------------------------------- */

static void put(struct tel_buf *out, uint64_t v)
{
    tel_buf_reserve(out, TEL_VARINT_MAX);
    out->len += tel_varint_put(out->ptr + out->len, v);
}

void cursor_seal(struct tel_span fields, uint64_t binding, struct tel_buf *out)
{
    struct tel_buf b = {0};
    tel_buf_add_char(&b, VERSION);
    tel_buf_add(&b, &binding, sizeof(binding));
    tel_buf_add_span(&b, fields);
    uint32_t crc = tel_crc32c(0, b.ptr, b.len);
    tel_buf_add(&b, &crc, sizeof(crc));
    add_text(out, tel_buf_span(&b));
    tel_buf_free(&b);
}

void cursor_print(const struct cursor *c, uint64_t binding, struct tel_buf *out)
{
    struct tel_buf b = {0};
    put(&b, tel_zigzag(c->now_ns));
    put(&b, tel_zigzag(c->start_ns));
    put(&b, tel_zigzag(c->end_ns));
    put(&b, tel_zigzag(c->key.time_ns));
    put(&b, tel_zigzag(c->key.offset));
    put(&b, c->key.partition);
    put(&b, c->key.index);
    put(&b, c->mark_count);
    for (size_t i = 0; i < c->mark_count; i++) {
        put(&b, c->marks[i].partition);
        put(&b, tel_zigzag(c->marks[i].offset));
    }
    cursor_seal(tel_buf_span(&b), binding, out);
    tel_buf_free(&b);
}

static bool get_i64(const char **pos, const char *end, int64_t *ret)
{
    uint64_t v;
    if (!tel_varint_get(pos, end, &v))
        return false;
    *ret = tel_unzigzag(v);
    return true;
}

static bool get_u32(const char **pos, const char *end, uint32_t *ret)
{
    uint64_t v;
    if (!tel_varint_get(pos, end, &v) || v > UINT32_MAX)
        return false;
    *ret = (uint32_t)v;
    return true;
}

static bool read_fields(const char *pos, const char *end, struct tel_arena *arena,
                        struct cursor *ret)
{
    uint32_t marks;
    if (!get_i64(&pos, end, &ret->now_ns) || !get_i64(&pos, end, &ret->start_ns) ||
        !get_i64(&pos, end, &ret->end_ns) || !get_i64(&pos, end, &ret->key.time_ns) ||
        !get_i64(&pos, end, &ret->key.offset) || !get_u32(&pos, end, &ret->key.partition) ||
        !get_u32(&pos, end, &ret->key.index) || !get_u32(&pos, end, &marks) || marks > MARKS_MAX)
        return false;
    struct cursor_mark *list = TEL_ARENA_ARRAY(arena, struct cursor_mark, marks + 1);
    for (uint32_t i = 0; i < marks; i++)
        if (!get_u32(&pos, end, &list[i].partition) || !get_i64(&pos, end, &list[i].offset))
            return false;
    ret->marks = list;
    ret->mark_count = marks;
    return pos == end;
}

static tel_code parse_bytes(struct tel_span bytes, uint64_t binding, struct tel_arena *arena,
                            struct cursor *ret, struct tel_error *err)
{
    uint32_t crc;
    uint64_t bound;
    if (bytes.len < HEAD + sizeof(crc))
        return tel_error_set(err, TEL_ERR_INVALID, "it is cut short");
    const char *end = bytes.ptr + bytes.len - sizeof(crc);
    memcpy(&crc, end, sizeof(crc));
    if (tel_crc32c(0, bytes.ptr, (size_t)(end - bytes.ptr)) != crc)
        return tel_error_set(err, TEL_ERR_INVALID, "it was altered on its way");
    if (bytes.ptr[0] != VERSION)
        return tel_error_set(err, TEL_ERR_INVALID,
                             "it is of another version of this server; begin with the first page");
    memcpy(&bound, bytes.ptr + 1, sizeof(bound));
    if (bound != binding)
        return tel_error_set(err, TEL_ERR_INVALID,
                             "it belongs to another query, tenant or time range");
    struct cursor c = {0};
    if (!read_fields(bytes.ptr + HEAD, end, arena, &c))
        return tel_error_set(err, TEL_ERR_INVALID, "its fields are out of range");
    *ret = c;
    return TEL_OK;
}

tel_code cursor_parse(struct tel_span text, uint64_t binding, struct tel_arena *arena,
                      struct cursor *ret, struct tel_error *err)
{
    if (text.len > TEXT_MAX)
        return tel_error_set(err, TEL_ERR_INVALID, "cursor: longer than any that was given out");
    struct tel_buf bytes = {0};
    tel_code rc = TEL_OK;
    if (!read_text(text, &bytes))
        rc = tel_error_set(err, TEL_ERR_INVALID, "cursor: not one that was given out");
    else if (parse_bytes(tel_buf_span(&bytes), binding, arena, ret, err) != TEL_OK)
        rc = tel_error_wrap(err, TEL_ERR_INVALID, "cursor");
    tel_buf_free(&bytes);
    return rc;
}
