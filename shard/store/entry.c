#include "shard/store/entry.h"

#include <endian.h>
#include <stdlib.h>

#include "common/base/crc32c.h"
#include "common/base/varint.h"
#include "common/record/batch.h"

#define ENTRY_VERSION 1u

struct entry_key entry_key_make(uint64_t id, uint32_t slot)
{
    struct entry_key key;
    uint64_t be_id = htobe64(id);
    uint32_t be_slot = htobe32(slot);
    memcpy(key.bytes, &be_id, 8);
    memcpy(key.bytes + 8, &be_slot, 4);
    return key;
}

bool entry_key_parse(struct tel_span key, uint64_t *ret_id, uint32_t *ret_slot)
{
    if (key.len != ENTRY_KEY_BYTES)
        return false;
    uint64_t id;
    uint32_t slot;
    memcpy(&id, key.ptr, 8);
    memcpy(&slot, key.ptr + 8, 4);
    *ret_id = be64toh(id);
    *ret_slot = be32toh(slot);
    return true;
}

uint32_t entry_checksum(int64_t day, uint64_t id, uint32_t slot, struct tel_span bytes)
{
    struct entry_key key = entry_key_make(id, slot);
    uint64_t le_day = htole64((uint64_t)day);
    uint32_t crc = tel_crc32c(0, &le_day, sizeof(le_day));
    crc = tel_crc32c(crc, key.bytes, sizeof(key.bytes));
    return tel_crc32c(crc, bytes.ptr, bytes.len);
}

static void put(struct tel_buf *buf, uint64_t v)
{
    tel_buf_reserve(buf, TEL_VARINT_MAX);
    buf->len += tel_varint_put(buf->ptr + buf->len, v);
}

static void put_signed(struct tel_buf *buf, int64_t v)
{
    put(buf, tel_zigzag(v));
}

void entry_encode(const struct entry *e, int64_t day, struct tel_buf *ret)
{
    size_t start = ret->len;
    put(ret, ENTRY_VERSION);
    put(ret, (uint64_t)e->kind << 1 | e->commits);
    put(ret, e->upto.epoch);
    put_signed(ret, e->upto.offset);
    put_signed(ret, e->first_offset);
    put_signed(ret, e->last_offset);
    put(ret, e->tenant.len);
    tel_buf_add_span(ret, e->tenant);
    put(ret, e->rows);
    put(ret, e->raw_bytes);
    put(ret, e->stored_bytes);
    put(ret, e->compression);
    put_signed(ret, e->min_time_ns);
    put_signed(ret, e->max_time_ns);
    put(ret, e->section_count);
    for (uint32_t i = 0; i < e->section_count; i++) {
        put(ret, e->sections[i].section);
        put(ret, e->sections[i].bytes);
        tel_buf_add_le32(ret, e->sections[i].crc);
    }
    put(ret, e->replaces_count);
    for (uint32_t i = 0; i < e->replaces_count; i++)
        put(ret, e->replaces[i]);
    struct tel_span body = tel_span_make(ret->ptr + start, ret->len - start);
    tel_buf_add_le32(ret, entry_checksum(day, e->id, ENTRY_SLOT, body));
}

/* Reads with a sticky failure, so that a parser asks once. */
struct in {
    const char *pos, *end;
    bool bad;
};

static uint64_t get(struct in *in, uint64_t max)
{
    uint64_t v = 0;
    if (in->bad || !tel_varint_get(&in->pos, in->end, &v) || v > max) {
        in->bad = true;
        return 0;
    }
    return v;
}

static int64_t get_signed(struct in *in)
{
    return tel_unzigzag(get(in, UINT64_MAX));
}

static struct tel_span get_span(struct in *in, size_t max)
{
    size_t len = (size_t)get(in, max);
    if (in->bad || len > (size_t)(in->end - in->pos)) {
        in->bad = true;
        return tel_span_make(NULL, 0);
    }
    struct tel_span s = tel_span_make(in->pos, len);
    in->pos += len;
    return s;
}

static uint32_t get_le32(struct in *in)
{
    uint32_t v;
    if (in->bad || in->end - in->pos < 4) {
        in->bad = true;
        return 0;
    }
    memcpy(&v, in->pos, 4);
    in->pos += 4;
    return le32toh(v);
}

static void get_tables(struct in *in, struct entry *e)
{
    /* A section takes at least 6 bytes, an id 1: the counts cannot ask for more than is there. */
    e->section_count = (uint32_t)get(in, (uint64_t)(in->end - in->pos) / 6);
    e->sections = tel_calloc(e->section_count, sizeof(*e->sections));
    for (uint32_t i = 0; i < e->section_count && !in->bad; i++) {
        e->sections[i].section = (uint32_t)get(in, UINT32_MAX - 1);
        e->sections[i].bytes = get(in, UINT32_MAX);
        e->sections[i].crc = get_le32(in);
        if (i > 0 && e->sections[i].section <= e->sections[i - 1].section)
            in->bad = true;
    }
    e->replaces_count = (uint32_t)get(in, (uint64_t)(in->end - in->pos));
    e->replaces = tel_calloc(e->replaces_count, sizeof(*e->replaces));
    for (uint32_t i = 0; i < e->replaces_count && !in->bad; i++)
        e->replaces[i] = get(in, UINT64_MAX);
}

tel_code entry_decode(struct tel_span bytes, int64_t day, uint64_t id, struct entry *ret,
                      struct tel_error *err)
{
    if (bytes.len < 4)
        return tel_error_set(err, TEL_ERR_CORRUPT, "catalogue entry: %zu bytes", bytes.len);
    struct tel_span body = tel_span_slice(bytes, 0, bytes.len - 4);
    uint32_t crc;
    memcpy(&crc, bytes.ptr + body.len, 4);
    if (le32toh(crc) != entry_checksum(day, id, ENTRY_SLOT, body))
        return tel_error_set(err, TEL_ERR_CORRUPT, "catalogue entry: checksum mismatch");

    struct in in = {body.ptr, body.ptr + body.len, false};
    struct entry e = {.id = id};
    if (get(&in, UINT64_MAX) != ENTRY_VERSION)
        return tel_error_set(err, TEL_ERR_UNSUPPORTED, "catalogue entry: unknown version");
    uint64_t flags = get(&in, (uint64_t)ENTRY_MARK << 1 | 1);
    e.kind = (enum entry_kind)(flags >> 1);
    e.commits = flags & 1;
    e.upto.epoch = (uint32_t)get(&in, UINT32_MAX);
    e.upto.offset = get_signed(&in);
    e.first_offset = get_signed(&in);
    e.last_offset = get_signed(&in);
    e.tenant = get_span(&in, TEL_TENANT_BYTES_MAX);
    e.rows = get(&in, UINT64_MAX);
    e.raw_bytes = get(&in, UINT64_MAX);
    e.stored_bytes = get(&in, UINT64_MAX);
    e.compression = (uint32_t)get(&in, UINT32_MAX);
    e.min_time_ns = get_signed(&in);
    e.max_time_ns = get_signed(&in);
    get_tables(&in, &e);
    if (in.bad || in.pos != in.end) {
        entry_done(&e);
        return tel_error_set(err, TEL_ERR_CORRUPT, "catalogue entry: malformed");
    }
    *ret = e;
    return TEL_OK;
}

void entry_done(struct entry *entry)
{
    free(entry->sections);
    free(entry->replaces);
    entry->sections = NULL;
    entry->replaces = NULL;
}
