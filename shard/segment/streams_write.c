/* See streams.h. */
#include "shard/segment/streams.h"

enum { INLINE, PACKED, RAW, ZSTD };

#define INLINE_MAX 8
#define TEXT_LEVEL 3 /* at least: pays on texts and costs little; integers keep the level asked for */

void stream_writer_init(struct stream_writer *w)
{
    memset(w, 0, sizeof(*w));
    w->compressor = compressor_new();
}

void stream_writer_done(struct stream_writer *w)
{
    compressor_free(w->compressor);
    tel_buf_free(&w->data);
    tel_vec_free(&w->sections);
    for (size_t i = 0; i < SHELVES_MAX; i++)
        tel_buf_free(&w->shelves[i].pack);
    tel_vec_free(&w->packs);
    tel_buf_free(&w->trial);
}

void stream_writer_reset(struct stream_writer *w, int level, uint32_t first_section)
{
    w->level = level;
    w->next_section = first_section;
    tel_buf_clear(&w->data);
    tel_vec_clear(&w->sections);
    w->section_start = 0;
    for (size_t i = 0; i < SHELVES_MAX; i++)
        tel_buf_clear(&w->shelves[i].pack);
    w->shelf_count = 1;
    w->shelf = w->packs_ended = 0;
    tel_vec_clear(&w->packs);
}

static void end_section(struct stream_writer *w)
{
    if (w->data.len == w->section_start)
        return;
    tel_vec_push(&w->sections, ((struct stream_section){w->next_section, w->section_start,
                                                        w->data.len - w->section_start}));
    w->next_section++;
    w->section_start = w->data.len;
}

/* A section that is full ends before more is put, so that a locator is known when it is written. */
static void make_room(struct stream_writer *w)
{
    if (w->data.len - w->section_start >= STREAM_SECTION)
        end_section(w);
}

/* zstd of bytes in w->trial, empty if it is no smaller. */
static struct tel_span try_zstd(struct stream_writer *w, struct tel_span bytes)
{
    tel_buf_clear(&w->trial);
    compressor_add(w->compressor, w->level < TEXT_LEVEL ? TEXT_LEVEL : w->level, bytes, &w->trial);
    if (w->trial.len + w->trial.len / 64 + 4 >= bytes.len)
        tel_buf_clear(&w->trial);
    return tel_buf_span(&w->trial);
}

static void end_pack(struct stream_writer *w, struct stream_shelf *shelf)
{
    if (shelf->pack.len == 0)
        return;
    make_room(w);
    struct tel_span raw = tel_buf_span(&shelf->pack), packed = try_zstd(w, raw);
    struct tel_span stored = packed.len ? packed : raw;
    w->packs.items[shelf->number] = (struct packed_place){
        w->next_section, w->data.len - w->section_start, raw.len, stored.len};
    tel_buf_add_span(&w->data, stored);
    tel_buf_clear(&shelf->pack);
    w->packs_ended++;
    if (w->shelf_count < SHELVES_MAX && w->packs_ended >= w->shelf_count * SHELF_PACKS)
        w->shelf_count *= 2;
}

static void put_packed(struct stream_writer *w, struct tel_buf *node, struct tel_span bytes)
{
    struct stream_shelf *shelf = &w->shelves[w->shelf];
    if (shelf->pack.len == 0) {
        shelf->number = (uint32_t)w->packs.len;
        tel_vec_push(&w->packs, ((struct packed_place){0}));
    }
    put_varint(node, (uint64_t)bytes.len * 4 + PACKED);
    put_varint(node, shelf->number);
    put_varint(node, shelf->pack.len);
    tel_buf_add_span(&shelf->pack, bytes);
    if (shelf->pack.len >= STREAM_PACK)
        end_pack(w, shelf);
}

void stream_put_tried(struct stream_writer *w, struct tel_buf *node, struct tel_span bytes,
                      struct tel_span packed)
{
    make_room(w);
    put_varint(node, (uint64_t)bytes.len * 4 + (packed.len ? ZSTD : RAW));
    put_varint(node, w->next_section);
    put_varint(node, w->data.len - w->section_start);
    if (packed.len)
        put_varint(node, packed.len);
    tel_buf_add_span(&w->data, packed.len ? packed : bytes);
}

void stream_put(struct stream_writer *w, struct tel_buf *node, struct tel_span bytes)
{
    TEL_CHECK(bytes.len <= STREAM_MAX);
    if (bytes.len <= INLINE_MAX) {
        put_varint(node, (uint64_t)bytes.len * 4 + INLINE);
        tel_buf_add_span(node, bytes);
    } else if (bytes.len < STREAM_SMALL) {
        put_packed(w, node, bytes);
    } else {
        stream_put_tried(w, node, bytes, try_zstd(w, bytes));
    }
}

void stream_writer_section(struct stream_writer *w, uint32_t id, struct tel_span bytes)
{
    end_section(w);
    tel_buf_add_span(&w->data, bytes);
    tel_vec_push(&w->sections, ((struct stream_section){id, w->section_start, bytes.len}));
    w->section_start = w->data.len;
}

void stream_writer_finish(struct stream_writer *w)
{
    for (size_t i = 0; i < SHELVES_MAX; i++)
        end_pack(w, &w->shelves[i]);
    end_section(w);
}

void stream_writer_packs(const struct stream_writer *w, struct tel_buf *out)
{
    put_varint(out, w->packs.len);
    for (size_t i = 0; i < w->packs.len; i++) {
        put_varint(out, w->packs.items[i].section);
        put_varint(out, w->packs.items[i].offset);
        put_varint(out, w->packs.items[i].raw);
        put_varint(out, w->packs.items[i].stored);
    }
}
