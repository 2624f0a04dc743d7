/* See mutant.h. */
#include "tests/fuzz/segment/mutant.h"

#include <stdlib.h>

#include "common/base/vec.h"
#include "common/logsql/parser.h"
#include "shard/segment/compress.h"
#include "shard/segment/cursor.h"
#include "shard/segment/format.h"
#include "shard/segment/probe.h"
#include "shard/segment/segment.h"
#include "tests/unit/segment/segment_text.h"

#define EVENTS       300
#define SECTIONS_MAX 64u

struct original {
    struct tel_buf sections[SECTIONS_MAX]; /* of head and nodes what is packed in them */
    size_t count;
    struct tel_buf head; /* what stands before the directory */
};

struct mutant {
    struct tel_buf sections[SECTIONS_MAX];
    size_t count;
};

static struct tel_span unpack(struct cursor *c, struct tel_buf *out)
{
    struct decompressor *d = decompressor_new();
    struct tel_error err;
    size_t len = (size_t)cursor_varint(c);
    struct tel_span frame = cursor_span(c);
    tel_buf_reserve(out, len + 1);
    TEL_CHECK(!c->bad && decompressor_run(d, frame, out->ptr, len, &err) == TEL_OK);
    out->len = len;
    decompressor_free(d);
    return tel_buf_span(out);
}

static void repack(struct tel_span raw, struct tel_buf *out)
{
    struct compressor *c = compressor_new();
    struct tel_buf packed = {0};
    char varint[TEL_VARINT_MAX];
    compressor_add(c, 1, raw, &packed);
    tel_buf_add(out, varint, tel_varint_put(varint, raw.len));
    tel_buf_add(out, varint, tel_varint_put(varint, packed.len));
    tel_buf_add_span(out, tel_buf_span(&packed));
    tel_buf_free(&packed);
    compressor_free(c);
}

static void add_events(struct segment_builder *b)
{
    struct tel_rand rand;
    struct tel_buf line = {0};
    tel_rand_init(&rand, 42);
    for (uint32_t i = 0; i < EVENTS; i++) {
        struct tel_field labels[] = {{TEL_SPAN("app"), i % 3 ? TEL_SPAN("web") : TEL_SPAN("db")}};
        struct tel_field attributes[] = {{TEL_SPAN("level"), segment_text_word(&rand)}};
        segment_text_line(&rand, &line);
        if (line.len > 4000)
            line.len = 4000;
        struct tel_event e = {.severity = i % 25,
                              .body = tel_buf_span(&line),
                              .attributes = attributes,
                              .attribute_count = i % 2};
        struct tel_row_key key = {1000 * (int64_t)i, 1, i % 10, i / 10};
        segment_builder_add(b, &key, segment_builder_stream(b, labels, 1), &e);
    }
    tel_buf_free(&line);
}

static const struct original *original(void)
{
    static struct original o;
    struct segment_image image;
    struct tel_error err;
    if (o.count)
        return &o;
    struct segment_learnt *learnt = segment_learnt_new();
    struct segment_builder *b = segment_builder_new(learnt);
    add_events(b);
    TEL_CHECK(segment_builder_finish(b, 1, &image, &err) == TEL_OK);
    for (size_t i = 0; i < image.section_count; i++) {
        uint32_t id = image.sections[i].id;
        struct tel_span bytes = image.sections[i].bytes;
        struct cursor c = cursor_make(bytes);
        TEL_CHECK(id < SECTIONS_MAX);
        o.count = TEL_MAX(o.count, id + 1u);
        if (id == SEGMENT_SECTION_HEAD) {
            cursor_fixed64(&c);
            for (int k = 0; k < 5; k++)
                cursor_varint(&c);
            tel_buf_add(&o.head, bytes.ptr, (size_t)(c.pos - bytes.ptr));
        }
        if (id <= SEGMENT_SECTION_NODES)
            unpack(&c, &o.sections[id]);
        else
            tel_buf_add_span(&o.sections[id], bytes);
    }
    segment_builder_free(b);
    segment_learnt_free(learnt);
    return &o;
}

static tel_code read_section(void *ctx, uint32_t section, struct tel_span *ret,
                             struct tel_error *err)
{
    const struct mutant *m = ctx;
    if (section >= m->count)
        return tel_error_set(err, TEL_ERR_CORRUPT, "no section %u", section);
    *ret = tel_buf_span(&m->sections[section]);
    return TEL_OK;
}

static void make(struct mutant *m, const uint8_t *edits, size_t len)
{
    const struct original *o = original();
    struct tel_buf raw[SECTIONS_MAX] = {{0}};
    m->count = o->count;
    for (size_t i = 0; i < o->count; i++)
        tel_buf_add_span(&raw[i], tel_buf_span(&o->sections[i]));
    for (size_t i = 0; i + 4 <= len; i += 4) {
        struct tel_buf *to = &raw[(edits[i] & 127) % o->count];
        size_t at = to->len ? (edits[i + 1] | (size_t)edits[i + 2] << 8) % to->len : 0;
        if (edits[i] >= 128)
            to->len = at;
        else if (to->len)
            to->ptr[at] = (char)edits[i + 3];
    }
    for (size_t i = 0; i < o->count; i++) {
        m->sections[i] = (struct tel_buf){0};
        if (i == SEGMENT_SECTION_HEAD)
            tel_buf_add_span(&m->sections[i], tel_buf_span(&o->head));
        if (i <= SEGMENT_SECTION_NODES)
            repack(tel_buf_span(&raw[i]), &m->sections[i]);
        else /* an exact allocation shows a sanitizer a byte too far */
            m->sections[i].ptr = raw[i].len ? memcpy(malloc(raw[i].len), raw[i].ptr, raw[i].len)
                                            : NULL,
            m->sections[i].len = raw[i].len;
        tel_buf_free(&raw[i]);
    }
}

/* All columns of what a query finds. */
static tel_code search(struct segment_reader *r, const char *text, struct tel_error *err)
{
    struct tel_arena arena;
    struct tel_query *tree;
    tel_arena_init(&arena, 0);
    TEL_CHECK(tel_query_parse(tel_span_cstr(text), 0, NULL, &arena, &tree, err) == TEL_OK);
    struct segment_query query = {.filter = tree->filter,
                                  .start_ns = text[0] == '!' ? 5000 : INT64_MIN,
                                  .end_ns = INT64_MAX};
    struct segment_counters counters = {0};
    struct tel_block_source *src;
    uint64_t count;
    const struct tel_span *names, *values;
    size_t name_count;
    tel_code rc = segment_count(r, &query, &count, &counters, err);
    if (rc == TEL_OK)
        rc = segment_select(r, &query, &arena, &src, &counters, err);
    if (rc == TEL_OK)
        rc = src->ops->names(src, &names, &name_count, err);
    for (size_t i = 0; rc == TEL_OK && i < name_count; i++) {
        rc = src->ops->column(src, names[i], &values, err);
        volatile char sum = 0; /* every byte is read */
        for (size_t k = 0; rc == TEL_OK && values && k < src->rows; k++) {
            for (size_t p = 0; p < values[k].len; p++)
                sum = (char)(sum + values[k].ptr[p]);
        }
    }
    tel_query_done(tree);
    tel_arena_free(&arena);
    return rc;
}

/* What is kept of a segment that is not open, and a filter held against it. */
static tel_code outline(struct segment_reader *r, const char *text, struct tel_error *err)
{
    struct stream_table *table = stream_table_new();
    struct segment_outline *o = NULL;
    struct segment_words *words = NULL;
    struct tel_arena arena;
    struct tel_query *tree;
    tel_arena_init(&arena, 0);
    TEL_CHECK(tel_query_parse(tel_span_cstr(text), 0, NULL, &arena, &tree, err) == TEL_OK);
    tel_code rc = segment_outline_make(r, table, &o, err);
    if (rc == TEL_OK)
        rc = segment_words_copy(r, &words, err);
    if (rc == TEL_OK) {
        struct segment_probe *probe = segment_probe_new(tree->filter, &arena);
        bool *matches = TEL_ARENA_ARRAY(&arena, bool, o->stream_count + 1);
        (void)segment_probe_test(probe, o, words);
        (void)segment_probe_streams(probe, o, matches);
    }
    segment_outline_free(o);
    free(words);
    stream_table_free(table);
    tel_query_done(tree);
    tel_arena_free(&arena);
    return rc;
}

unsigned mutant_run(const uint8_t *edits, size_t len)
{
    static const char *const queries[] = {"*",       "bob", "\"session opened for\" or 2036*",
                                          "~\"req-.*by\"", "!level:error user", "~\"blk_1\""};
    struct mutant m;
    struct segment_io io = {&m, read_section};
    struct segment_reader *r;
    struct tel_error err;
    unsigned failures = 0;
    make(&m, edits, len);
    if (segment_reader_begin(&io, &r, &err) == TEL_OK) {
        for (size_t i = 0; i < TEL_ARRAY_LEN(queries); i++) {
            tel_code rc = outline(r, queries[i], &err);
            TEL_CHECK(rc == TEL_OK || rc == TEL_ERR_CORRUPT);
        }
        segment_reader_close(r);
    }
    if (segment_reader_open(&io, &r, &err) == TEL_OK) {
        for (size_t i = 0; i < TEL_ARRAY_LEN(queries); i++) {
            tel_code rc = search(r, queries[i], &err);
            TEL_CHECK(rc == TEL_OK || rc == TEL_ERR_CORRUPT);
            failures += rc != TEL_OK;
        }
        segment_reader_close(r);
    } else {
        TEL_CHECK(err.code == TEL_ERR_CORRUPT);
        failures++;
    }
    for (size_t i = 0; i < m.count; i++)
        tel_buf_free(&m.sections[i]);
    return failures;
}
