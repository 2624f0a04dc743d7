/*
 * The builder: events are serialised as they come; finish puts them in the order of their keys and
 * cuts them into blocks, each one section, packed with zstd.
 */
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/map.h"
#include "common/base/varint.h"
#include "common/base/vec.h"
#include "shard/segment/compress.h"
#include "shard/segment/format.h"
#include "shard/segment/segment.h"

#define BLOCK_BYTES (1u << 20)

struct record {
    struct tel_row_key key;
    size_t start, len;
};

struct segment_builder {
    struct tel_buf text;
    struct tel_buf streams;
    struct tel_map stream_numbers;
    uint64_t raw_bytes;
    TEL_VEC(struct record) records;
    struct compressor *compressor;
    struct tel_buf out;
    TEL_VEC(struct segment_section) sections;
    TEL_VEC(size_t) ends;
};

struct segment_learnt {
    int unused;
};

struct segment_learnt *segment_learnt_new(void)
{
    return TEL_NEW(struct segment_learnt);
}

void segment_learnt_free(struct segment_learnt *learnt)
{
    free(learnt);
}

struct segment_builder *segment_builder_new(struct segment_learnt *learnt)
{
    (void)learnt;
    struct segment_builder *b = TEL_NEW(struct segment_builder);
    tel_map_init(&b->stream_numbers);
    b->compressor = compressor_new();
    return b;
}

void segment_builder_free(struct segment_builder *b)
{
    if (!b)
        return;
    tel_buf_free(&b->text);
    tel_buf_free(&b->streams);
    tel_map_free(&b->stream_numbers);
    tel_vec_free(&b->records);
    compressor_free(b->compressor);
    tel_buf_free(&b->out);
    tel_vec_free(&b->sections);
    tel_vec_free(&b->ends);
    free(b);
}

static void put_varint(struct tel_buf *buf, uint64_t v)
{
    tel_buf_reserve(buf, TEL_VARINT_MAX);
    buf->len += tel_varint_put(buf->ptr + buf->len, v);
}

static void put_span(struct tel_buf *buf, struct tel_span s)
{
    put_varint(buf, s.len);
    tel_buf_add_span(buf, s);
}

uint32_t segment_builder_stream(struct segment_builder *b, const struct tel_field *labels,
                                uint32_t label_count)
{
    size_t start = b->streams.len;
    put_varint(&b->streams, label_count);
    for (uint32_t i = 0; i < label_count; i++) {
        put_span(&b->streams, labels[i].name);
        put_span(&b->streams, labels[i].value);
    }
    bool fresh;
    uint32_t next = (uint32_t)b->stream_numbers.len;
    uint64_t *number = tel_map_put(
        &b->stream_numbers, tel_span_make(b->streams.ptr + start, b->streams.len - start), &fresh);
    if (fresh)
        *number = next;
    else
        b->streams.len = start;
    return (uint32_t)*number;
}

void segment_builder_add(struct segment_builder *b, const struct tel_row_key *key, uint32_t stream,
                         const struct tel_event *event)
{
    struct record r = {*key, b->text.len, 0};
    struct tel_buf *t = &b->text;
    put_varint(t, tel_zigzag(key->time_ns));
    put_varint(t, key->partition);
    put_varint(t, tel_zigzag(key->offset));
    put_varint(t, key->index);
    put_varint(t, stream);
    put_varint(t, event->severity);
    put_span(t, event->body);
    put_span(t, event->trace_id);
    put_span(t, event->span_id);
    put_varint(t, event->attribute_count);
    for (uint32_t i = 0; i < event->attribute_count; i++) {
        put_span(t, event->attributes[i].name);
        put_span(t, event->attributes[i].value);
        b->raw_bytes += event->attributes[i].name.len + event->attributes[i].value.len;
    }
    r.len = t->len - r.start;
    b->raw_bytes += event->body.len;
    tel_vec_push(&b->records, r);
}

uint64_t segment_builder_rows(const struct segment_builder *b)
{
    return b->records.len;
}

static int record_cmp(const void *a, const void *b)
{
    return tel_row_key_cmp(&((const struct record *)a)->key, &((const struct record *)b)->key);
}

static void end_section(struct segment_builder *b)
{
    tel_vec_push(&b->ends, b->out.len);
}

static void pack_blocks(struct segment_builder *b, int level, struct tel_buf *head)
{
    struct tel_buf block = {0};
    size_t rows = 0;
    for (size_t i = 0; i < b->records.len; i++) {
        const struct record *r = &b->records.items[i];
        tel_buf_add(&block, b->text.ptr + r->start, r->len);
        rows++;
        if (block.len < BLOCK_BYTES && i + 1 < b->records.len)
            continue;
        put_varint(head, rows);
        put_varint(head, block.len);
        compressor_add(b->compressor, level, tel_buf_span(&block), &b->out);
        end_section(b);
        rows = 0;
        tel_buf_clear(&block);
    }
    tel_buf_free(&block);
}

tel_code segment_builder_finish(struct segment_builder *b, int compression,
                                struct segment_image *ret, struct tel_error *err)
{
    if (b->records.len == 0)
        return tel_error_set(err, TEL_ERR_INVALID, "a segment without events");
    qsort(b->records.items, b->records.len, sizeof(*b->records.items), record_cmp);
    int64_t min = b->records.items[0].key.time_ns;
    int64_t max = b->records.items[b->records.len - 1].key.time_ns;
    struct tel_buf head = {0}, blocks = {0};
    pack_blocks(b, compression, &blocks);
    tel_buf_add_le64(&head, SEGMENT_MAGIC);
    put_varint(&head, b->records.len);
    put_varint(&head, b->raw_bytes);
    put_varint(&head, tel_zigzag(min));
    put_varint(&head, tel_zigzag(max));
    put_varint(&head, b->stream_numbers.len);
    tel_buf_add(&head, b->streams.ptr, b->streams.len);
    put_varint(&head, b->ends.len);
    tel_buf_add(&head, blocks.ptr, blocks.len);
    tel_buf_add(&b->out, head.ptr, head.len);
    end_section(b);
    tel_buf_free(&head);
    tel_buf_free(&blocks);
    size_t start = 0, count = b->ends.len;
    for (size_t i = 0; i < count; i++) {
        uint32_t id = i + 1 == count ? SEGMENT_SECTION_HEAD : (uint32_t)i + 1;
        tel_vec_push(&b->sections,
                     ((struct segment_section){
                         id, tel_span_make(b->out.ptr + start, b->ends.items[i] - start)}));
        start = b->ends.items[i];
    }
    *ret = (struct segment_image){b->sections.items, count, b->records.len, b->raw_bytes, start,
                                  min, max};
    return TEL_OK;
}

void segment_builder_reset(struct segment_builder *b)
{
    tel_buf_clear(&b->text);
    tel_buf_clear(&b->streams);
    tel_map_clear(&b->stream_numbers);
    tel_vec_clear(&b->records);
    tel_buf_clear(&b->out);
    tel_vec_clear(&b->sections);
    tel_vec_clear(&b->ends);
    b->raw_bytes = 0;
}
