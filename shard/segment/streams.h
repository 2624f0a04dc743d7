/*
 * Streams: the byte strings that columns are made of, and where they lie. A column's *node* (a few
 * bytes of header) names its streams by locators; the bytes lie in data sections.
 *
 *     node     ... locator locator ...           locator: length * 4 + how, then where
 *     data     | stream | zstd(stream) | zstd(pack of small streams) | ...
 *
 * how: 0 inline in the node, 1 in a pack (pack number, offset), 2 raw in a section (section,
 * offset), 3 zstd in a section (section, offset, stored length). Streams under 2 kB share packs, so
 * that small ones compress too; what zstd does not make smaller is stored raw.
 *
 * Several packs are open at once, on shelves: whoever puts streams says what they are about, and what is
 * about the same comes to the same shelf, since it is alike. There is one shelf at first, and twice as
 * many whenever each has filled SHELF_PACKS packs on average, up to SHELVES_MAX: what is left in them at
 * the end is little of the whole.
 */
#ifndef SHARD_SEGMENT_STREAMS_H
#define SHARD_SEGMENT_STREAMS_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/vec.h"
#include "shard/segment/compress.h"
#include "shard/segment/cursor.h"
#include "shard/segment/segment.h"

#define STREAM_SMALL   2048u
#define STREAM_PACK    (16u << 10)
#define STREAM_SECTION (64u << 10)
#define STREAM_SLACK   16u /* readable bytes behind every stream that a reader hands out */
#define STREAM_MAX     (1u << 30)

/* ---- writing ------------------------------------------------------------------------------ */

struct stream_section {
    uint32_t id;
    size_t start, len;
};

#define SHELVES_MAX 64u
#define SHELF_PACKS 2u

struct stream_shelf {
    struct tel_buf pack;
    uint32_t number; /* of the pack, if it has bytes */
};

struct packed_place {
    uint32_t section;
    size_t offset, raw, stored;
};

struct stream_writer {
    struct compressor *compressor;
    int level;
    uint32_t next_section;
    struct tel_buf data; /* all sections, one behind the other */
    TEL_VEC(struct stream_section) sections;
    size_t section_start;
    struct stream_shelf shelves[SHELVES_MAX];
    uint32_t shelf_count, shelf; /* in use; the one at hand */
    uint32_t packs_ended;
    TEL_VEC(struct packed_place) packs; /* by number */
    struct tel_buf trial;
};

void stream_writer_init(struct stream_writer *w);
void stream_writer_done(struct stream_writer *w);
/* Empty again; data sections are numbered from first_section. */
void stream_writer_reset(struct stream_writer *w, int level, uint32_t first_section);

/* What follows is about a thing with this hash. */
static inline void stream_writer_about(struct stream_writer *w, uint64_t hash)
{
    w->shelf = (uint32_t)hash & (w->shelf_count - 1);
}

/* Appends the table of packs, once the writer is finished. */
void stream_writer_packs(const struct stream_writer *w, struct tel_buf *out);

/* Stores bytes and appends their locator to node. */
void stream_put(struct stream_writer *w, struct tel_buf *node, struct tel_span bytes);
/* As stream_put with what zstd made of it already; packed.len 0: store raw. */
void stream_put_tried(struct stream_writer *w, struct tel_buf *node, struct tel_span bytes,
                      struct tel_span packed);
/* Ends packs and sections: nothing is put afterwards. */
void stream_writer_finish(struct stream_writer *w);
/* A section of its own. */
void stream_writer_section(struct stream_writer *w, uint32_t id, struct tel_span bytes);

static inline void put_varint(struct tel_buf *buf, uint64_t v)
{
    tel_buf_reserve(buf, TEL_VARINT_MAX);
    buf->len += tel_varint_put(buf->ptr + buf->len, v);
}

static inline void put_span(struct tel_buf *buf, struct tel_span s)
{
    put_varint(buf, s.len);
    tel_buf_add_span(buf, s);
}

/* ---- reading ------------------------------------------------------------------------------ */

struct stream_pack {
    uint32_t section;
    uint64_t offset, stored, raw;
    const char *bytes; /* once unpacked */
};

/* Reads streams of one segment; what it hands out lives in its arena or in the sections. */
struct stream_reader {
    const struct segment_io *io;
    struct decompressor *decompressor;
    struct tel_arena *arena;
    struct tel_span *sections; /* read so far; ptr NULL: not yet */
    uint32_t section_count;
    struct stream_pack *packs;
    uint32_t pack_count;
    struct segment_counters *counters; /* bytes_read and bytes_unpacked are counted here; may be NULL */
};

TEL_MUST_USE tel_code stream_section(struct stream_reader *r, uint32_t section,
                                     struct tel_span *ret, struct tel_error *err);
/* The table of packs, as the writer left it. */
TEL_MUST_USE tel_code stream_reader_packs(struct stream_reader *r, struct tel_span table,
                                          struct tel_error *err);
/* The stream whose locator is next in node, with STREAM_SLACK readable bytes behind it. */
TEL_MUST_USE tel_code stream_get(struct stream_reader *r, struct cursor *node,
                                 struct tel_span *ret, struct tel_error *err);

/* Passes over a locator. */
void stream_skip(struct cursor *node);

/* Copies len bytes, and as many as STREAM_SLACK more than that: both sides must have room. Nearly all
 * pieces of values are short, and a copy of fixed length is no call. */
static inline char *stream_copy(char *out, struct tel_span s)
{
    if (s.len <= STREAM_SLACK)
        memcpy(out, s.ptr, STREAM_SLACK);
    else
        memcpy(out, s.ptr, s.len);
    return out + s.len;
}

/* "segment: <what>" as TEL_ERR_CORRUPT. */
tel_code segment_corrupt(struct tel_error *err, const char *what);

#endif
