/* Opening a segment: its head and directory. See reader.h. */
#include <stdlib.h>

#include "shard/segment/marks.h"
#include "shard/segment/reader.h"

static tel_code get_packed(struct segment_reader *r, struct cursor *c, struct tel_span *ret,
                           struct tel_error *err)
{
    uint64_t len = cursor_bounded(c, SEGMENT_DIRECTORY_MAX);
    struct tel_span frame = cursor_span(c);
    if (c->bad || len / 140000 > frame.len)
        return segment_corrupt(err, "head is cut short");
    char *out = tel_arena_alloc(&r->arena, (size_t)len + STREAM_SLACK);
    memset(out + len, 0, STREAM_SLACK);
    tel_code rc = decompressor_run(r->decompressor, frame, out, (size_t)len, err);
    if (rc == TEL_OK)
        *ret = tel_span_make(out, (size_t)len);
    return rc;
}

static void parse_streams(struct segment_reader *r, struct cursor *c)
{
    r->stream_count = (uint32_t)cursor_count(c, 2);
    r->streams = TEL_ARENA_ARRAY(&r->arena, struct segment_stream, r->stream_count);
    r->stream_family = TEL_ARENA_ARRAY(&r->arena, uint32_t, r->stream_count);
    for (uint32_t i = 0; i < r->stream_count && !c->bad; i++) {
        size_t n = cursor_count(c, 2);
        struct tel_field *labels = TEL_ARENA_ARRAY(&r->arena, struct tel_field, n);
        for (size_t k = 0; k < n; k++) {
            labels[k].name = cursor_span(c);
            labels[k].value = cursor_span(c);
        }
        segment_stream_init(&r->streams[i], labels, (uint32_t)n, &r->arena);
    }
    for (uint32_t i = 0; i < r->stream_count; i++)
        r->stream_family[i] = cursor_u32(c);
    r->stream_rows = TEL_ARENA_ARRAY(&r->arena, uint32_t, r->stream_count);
    for (uint32_t i = 0; i < r->stream_count; i++)
        r->stream_rows[i] = cursor_u32(c);
}

/* Nodes lie one behind the other: *at moves on. */
static size_t take_node(struct segment_reader *r, struct cursor *c, size_t *at)
{
    size_t len = (size_t)cursor_bounded(c, r->nodes.len - *at);
    *at += len;
    return len;
}

static void parse_template(struct segment_reader *r, struct cursor *c, uint32_t family, bool rest,
                           size_t *node, uint64_t *place)
{
    struct read_template *t = &r->templates[r->template_count++];
    t->family = family;
    t->rest = rest;
    t->rows = (uint32_t)cursor_bounded(c, r->info.rows - *place);
    t->first = (uint32_t)*place;
    *place += t->rows;
    t->id_slots = (uint32_t)cursor_bounded(c, SPLIT_HOLES_ALL * SHAPE_FIELDS_MAX);
    t->skeleton = cursor_span(c);
    for (size_t i = 0; i < t->skeleton.len; i++)
        t->hole_count += t->skeleton.ptr[i] == 0;
    t->static_marks = marks_of(t->skeleton);
    if (t->hole_count > SPLIT_HOLES_ALL)
        cursor_fail(c);
    if (c->bad)
        return;
    t->holes = TEL_ARENA_ARRAY(&r->arena, struct read_hole, t->hole_count);
    for (uint32_t h = 0; h < t->hole_count; h++) {
        t->holes[h].node = *node;
        t->holes[h].node_len = take_node(r, c, node);
        t->holes[h].marks = cursor_u32(c);
        t->marks |= t->holes[h].marks;
    }
}

static void parse_families(struct segment_reader *r, struct cursor *c, size_t *node)
{
    uint64_t place = 0;
    size_t room = 0;
    r->family_count = (uint32_t)cursor_count(c, 4);
    r->families = TEL_ARENA_ARRAY(&r->arena, struct read_family, r->family_count);
    /* a template takes at least three bytes of what is left */
    room = cursor_left(c) / 3 + 1;
    if (room > r->info.rows + r->family_count)
        room = r->info.rows + r->family_count;
    r->templates = TEL_ARENA_ARRAY(&r->arena, struct read_template, room);
    for (uint32_t f = 0; f < r->family_count && !c->bad; f++) {
        struct read_family *family = &r->families[f];
        uint64_t before = place;
        family->first_template = r->template_count;
        size_t count = cursor_count(c, 4);
        for (size_t t = 0; t < count && !c->bad && r->template_count < room; t++)
            parse_template(r, c, f, false, node, &place);
        if (cursor_byte(c) && r->template_count < room)
            parse_template(r, c, f, true, node, &place);
        family->template_count = r->template_count - family->first_template;
        family->rows = (uint32_t)(place - before);
        family->id_count = (size_t)cursor_bounded(c, UINT32_MAX);
        family->id_node = *node;
        family->id_node_len = take_node(r, c, node);
    }
    if (place != r->info.rows)
        cursor_fail(c);
}

static void parse_attributes(struct segment_reader *r, struct cursor *c, size_t *node)
{
    r->attribute_count = (uint32_t)cursor_count(c, 4);
    r->attributes = TEL_ARENA_ARRAY(&r->arena, struct read_attribute, r->attribute_count);
    for (uint32_t i = 0; i < r->attribute_count; i++) {
        struct read_attribute *a = &r->attributes[i];
        a->kind = (enum segment_attribute_kind)cursor_bounded(c, SEGMENT_SPAN_ID);
        a->name = cursor_span(c);
        a->rows = (uint32_t)cursor_bounded(c, r->info.rows);
        a->node = *node;
        a->node_len = take_node(r, c, node);
    }
}

/* Do the streams of each family have its rows? */
static bool streams_add_up(const struct segment_reader *r)
{
    for (uint32_t f = 0; f < r->family_count; f++) {
        const struct read_family *family = &r->families[f];
        uint64_t rows = 0;
        for (uint32_t i = 0; i < family->stream_count; i++)
            rows += r->stream_rows[r->family_streams[family->first_stream + i]];
        if (rows != family->rows)
            return false;
    }
    return true;
}

static void list_streams(struct segment_reader *r)
{
    r->family_streams = TEL_ARENA_ARRAY(&r->arena, uint32_t, r->stream_count + 1);
    for (uint32_t i = 0; i < r->stream_count; i++)
        r->families[r->stream_family[i]].stream_count++;
    for (uint32_t f = 1; f < r->family_count; f++)
        r->families[f].first_stream =
            r->families[f - 1].first_stream + r->families[f - 1].stream_count;
    for (uint32_t f = 0; f < r->family_count; f++)
        r->families[f].stream_count = 0;
    for (uint32_t i = 0; i < r->stream_count; i++) {
        struct read_family *family = &r->families[r->stream_family[i]];
        r->family_streams[family->first_stream + family->stream_count++] = i;
    }
}

static tel_code parse_directory(struct segment_reader *r, struct tel_span directory,
                                struct tel_error *err)
{
    struct cursor c = cursor_make(directory);
    size_t node = 0;
    parse_streams(r, &c);
    r->rows_node_len = take_node(r, &c, &node);
    parse_families(r, &c, &node);
    parse_attributes(r, &c, &node);
    r->packs = tel_span_make(c.pos, cursor_left(&c));
    for (uint32_t i = 0; i < r->stream_count && !c.bad; i++) {
        if (r->stream_family[i] >= r->family_count)
            cursor_fail(&c);
    }
    if (!c.bad) {
        list_streams(r);
        if (!streams_add_up(r))
            cursor_fail(&c);
    }
    return c.bad ? segment_corrupt(err, "directory cannot be read") : TEL_OK;
}

/* The head: what there is of the segment as a whole, and the directory, not parsed. */
static tel_code read_head(struct segment_reader *r, struct tel_error *err)
{
    struct tel_span head;
    tel_code rc = r->io.read(r->io.ctx, SEGMENT_SECTION_HEAD, &head, err);
    if (rc != TEL_OK)
        return rc;
    struct cursor c = cursor_make(head);
    if (cursor_fixed64(&c) != SEGMENT_MAGIC)
        return segment_corrupt(err, "unknown format");
    r->info.rows = cursor_bounded(&c, SEGMENT_ROWS_MAX);
    r->info.raw_bytes = cursor_varint(&c);
    r->info.min_time_ns = cursor_zigzag(&c);
    r->info.max_time_ns = cursor_zigzag(&c);
    r->section_count = (uint32_t)cursor_bounded(&c, SEGMENT_SECTIONS_MAX);
    return get_packed(r, &c, &r->directory, err);
}

tel_code segment_reader_begin(const struct segment_io *io, struct segment_reader **ret,
                              struct tel_error *err)
{
    struct segment_reader *r = TEL_NEW(struct segment_reader);
    r->io = *io;
    tel_arena_init(&r->arena, 0);
    r->decompressor = decompressor_new();
    tel_code rc = read_head(r, err);
    if (rc != TEL_OK) {
        segment_reader_close(r);
        return rc;
    }
    *ret = r;
    return TEL_OK;
}

tel_code segment_reader_ready(struct segment_reader *r, struct tel_error *err)
{
    struct tel_span nodes;
    if (r->ready)
        return TEL_OK;
    tel_code rc = r->io.read(r->io.ctx, SEGMENT_SECTION_NODES, &nodes, err);
    if (rc != TEL_OK)
        return rc;
    struct cursor c = cursor_make(nodes);
    rc = get_packed(r, &c, &r->nodes, err);
    if (rc == TEL_OK)
        rc = parse_directory(r, r->directory, err);
    r->ready = rc == TEL_OK;
    return rc;
}

tel_code segment_reader_open(const struct segment_io *io, struct segment_reader **ret,
                             struct tel_error *err)
{
    struct segment_reader *r = NULL;
    tel_code rc = segment_reader_begin(io, &r, err);
    if (rc == TEL_OK)
        rc = segment_reader_ready(r, err);
    if (rc == TEL_OK)
        *ret = r;
    else
        segment_reader_close(r);
    return rc;
}

void segment_reader_rest(struct segment_reader *r)
{
    decompressor_rest(r->decompressor);
}

void segment_reader_close(struct segment_reader *r)
{
    if (!r)
        return;
    tel_arena_free(&r->arena);
    decompressor_free(r->decompressor);
    free(r);
}

uint64_t segment_reader_bytes(const struct segment_reader *reader)
{
    return sizeof(*reader) + reader->arena.bytes;
}

const struct segment_info *segment_reader_info(const struct segment_reader *r)
{
    return &r->info;
}
