/* See streams.h. Sections and packs are kept once they are read: a search reads neighbours. */
#include "shard/segment/streams.h"

enum { INLINE, PACKED, RAW, ZSTD };

tel_code segment_corrupt(struct tel_error *err, const char *what)
{
    return tel_error_set(err, TEL_ERR_CORRUPT, "segment: %s", what);
}

tel_code stream_section(struct stream_reader *r, uint32_t section, struct tel_span *ret,
                        struct tel_error *err)
{
    if (section >= r->section_count)
        return segment_corrupt(err, "no such section");
    if (!r->sections[section].ptr) {
        struct tel_span bytes;
        tel_code rc = r->io->read(r->io->ctx, section, &bytes, err);
        if (rc != TEL_OK)
            return rc;
        if (r->counters)
            r->counters->bytes_read += bytes.len;
        r->sections[section] = bytes.ptr ? bytes : tel_span_make("", 0);
    }
    *ret = r->sections[section];
    return TEL_OK;
}

/* Bytes [offset, offset + len) of a section. */
static tel_code section_part(struct stream_reader *r, uint64_t section, uint64_t offset,
                             uint64_t len, struct tel_span *ret, bool slack, struct tel_error *err)
{
    struct tel_span bytes;
    if (section > UINT32_MAX)
        return segment_corrupt(err, "no such section");
    tel_code rc = stream_section(r, (uint32_t)section, &bytes, err);
    if (rc != TEL_OK)
        return rc;
    if (offset > bytes.len || len > bytes.len - offset)
        return segment_corrupt(err, "a stream lies outside its section");
    *ret = tel_span_make(bytes.ptr + offset, (size_t)len);
    if (slack && bytes.len - offset - len < STREAM_SLACK) {
        char *copy = tel_arena_alloc(r->arena, ret->len + STREAM_SLACK);
        memcpy(copy, ret->ptr, ret->len);
        memset(copy + ret->len, 0, STREAM_SLACK);
        ret->ptr = copy;
    }
    return TEL_OK;
}

static tel_code unpack(struct stream_reader *r, uint64_t section, uint64_t offset, uint64_t stored,
                       uint64_t raw, const char **ret, struct tel_error *err)
{
    struct tel_span frame;
    /* zstd does not pack beyond 1 : 130,000 or so; what claims more is no frame of ours */
    if (raw > STREAM_MAX || raw / 140000 > stored)
        return segment_corrupt(err, "a stream is too long");
    tel_code rc = section_part(r, section, offset, stored, &frame, false, err);
    if (rc != TEL_OK)
        return rc;
    char *out = tel_arena_alloc(r->arena, (size_t)raw + STREAM_SLACK);
    memset(out + raw, 0, STREAM_SLACK);
    if (r->counters)
        r->counters->bytes_unpacked += raw;
    rc = decompressor_run(r->decompressor, frame, out, (size_t)raw, err);
    if (rc == TEL_OK)
        *ret = out;
    return rc;
}

tel_code stream_reader_packs(struct stream_reader *r, struct tel_span table, struct tel_error *err)
{
    struct cursor c = cursor_make(table);
    r->pack_count = (uint32_t)cursor_count(&c, 4);
    r->packs = TEL_ARENA_ARRAY(r->arena, struct stream_pack, r->pack_count);
    for (uint32_t i = 0; i < r->pack_count; i++) {
        struct stream_pack *p = &r->packs[i];
        p->section = cursor_u32(&c);
        p->offset = cursor_varint(&c);
        p->raw = cursor_bounded(&c, STREAM_PACK + STREAM_SMALL);
        p->stored = cursor_bounded(&c, p->raw);
    }
    return c.bad ? segment_corrupt(err, "table of packs") : TEL_OK;
}

static tel_code from_pack(struct stream_reader *r, uint64_t number, uint64_t offset, uint64_t len,
                          struct tel_span *ret, struct tel_error *err)
{
    if (number >= r->pack_count || offset > r->packs[number].raw ||
        len > r->packs[number].raw - offset)
        return segment_corrupt(err, "a stream lies outside its pack");
    struct stream_pack *p = &r->packs[number];
    if (!p->bytes) {
        tel_code rc;
        if (p->stored == p->raw) {
            struct tel_span raw;
            rc = section_part(r, p->section, p->offset, p->raw, &raw, true, err);
            if (rc == TEL_OK)
                p->bytes = raw.ptr;
        } else {
            rc = unpack(r, p->section, p->offset, p->stored, p->raw, &p->bytes, err);
        }
        if (rc != TEL_OK)
            return rc;
    }
    *ret = tel_span_make(p->bytes + offset, (size_t)len);
    return TEL_OK;
}

tel_code stream_get(struct stream_reader *r, struct cursor *node, struct tel_span *ret,
                    struct tel_error *err)
{
    uint64_t tag = cursor_varint(node), len = tag / 4;
    if (tag % 4 == INLINE) {
        struct tel_span bytes = cursor_bytes(node, len);
        if (node->bad)
            return segment_corrupt(err, "a node is cut short");
        char *copy = tel_arena_alloc(r->arena, bytes.len + STREAM_SLACK);
        memcpy(copy, bytes.ptr, bytes.len);
        memset(copy + bytes.len, 0, STREAM_SLACK);
        *ret = tel_span_make(copy, bytes.len);
        return TEL_OK;
    }
    uint64_t where = cursor_varint(node), offset = cursor_varint(node);
    uint64_t stored = tag % 4 == ZSTD ? cursor_varint(node) : 0;
    if (node->bad)
        return segment_corrupt(err, "a node is cut short");
    if (tag % 4 == PACKED)
        return from_pack(r, where, offset, len, ret, err);
    if (tag % 4 == RAW)
        return section_part(r, where, offset, len, ret, true, err);
    const char *bytes;
    tel_code rc = unpack(r, where, offset, stored, len, &bytes, err);
    if (rc == TEL_OK)
        *ret = tel_span_make(bytes, (size_t)len);
    return rc;
}

void stream_skip(struct cursor *node)
{
    uint64_t tag = cursor_varint(node);
    if (tag % 4 == INLINE) {
        cursor_bytes(node, tag / 4);
        return;
    }
    cursor_varint(node);
    cursor_varint(node);
    if (tag % 4 == ZSTD)
        cursor_varint(node);
}
