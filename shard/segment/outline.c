/* See outline.h. The directory is walked with an eye for no more than is kept. */
#include "shard/segment/outline.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "common/logsql/words.h"
#include "shard/segment/reader.h"

#define BITS_PER_WORD 24u /* templates have few words: the filter may be a good one */
#define WORDS_MAX     (1u << 20)

struct walk {
    struct cursor c;
    struct segment_outline *outline;
    TEL_VEC(uint64_t) words;
    TEL_VEC(struct outline_attribute) attributes;
    size_t name_bytes;
    bool all_words; /* false: there were too many */
};

/* ---- streams ------------------------------------------------------------------------------ */

static tel_code take_streams(struct walk *w, struct tel_error *err)
{
    struct segment_outline *o = w->outline;
    size_t n = cursor_count(&w->c, 2);
    o->streams = tel_calloc(n + 1, sizeof(struct stream_entry *));
    o->stream_rows = tel_calloc(n + 1, sizeof(*o->stream_rows));
    o->bytes += (n + 1) * (sizeof(struct stream_entry *) + sizeof(*o->stream_rows));
    for (size_t i = 0; i < n && !w->c.bad; i++) {
        const char *start = w->c.pos;
        size_t labels = cursor_count(&w->c, 2);
        for (size_t k = 0; k < 2 * labels; k++)
            (void)cursor_span(&w->c);
        if (w->c.bad)
            break;
        tel_code rc = stream_table_take(o->table, tel_span_make(start, (size_t)(w->c.pos - start)),
                                        &o->streams[i], err);
        if (rc != TEL_OK)
            return rc;
        o->stream_count++;
    }
    uint64_t rows = 0;
    for (size_t i = 0; i < n; i++)
        (void)cursor_u32(&w->c); /* its family */
    for (size_t i = 0; i < n; i++) {
        o->stream_rows[i] = cursor_u32(&w->c);
        rows += o->stream_rows[i];
    }
    return w->c.bad || rows != o->info.rows ? segment_corrupt(err, "streams of the directory")
                                            : TEL_OK;
}

/* ---- words of templates ------------------------------------------------------------------- */

static void add_text(struct walk *w, struct tel_span text)
{
    size_t pos = 0;
    struct tel_span word;
    while (w->all_words && tel_words_next(text, &pos, &word)) {
        w->all_words = w->words.len < WORDS_MAX;
        tel_vec_push(&w->words, words_hash(word));
    }
}

static void walk_template(struct walk *w, bool rest)
{
    (void)cursor_varint(&w->c); /* rows */
    (void)cursor_varint(&w->c); /* id slots */
    struct tel_span text = cursor_span(&w->c);
    for (size_t i = 0; i < text.len && !w->c.bad; i++) {
        if (text.ptr[i] == 0) {
            (void)cursor_varint(&w->c); /* length of the node */
            (void)cursor_varint(&w->c); /* marks */
        }
    }
    if (!rest)
        add_text(w, text);
}

static void walk_families(struct walk *w)
{
    size_t families = cursor_count(&w->c, 4);
    for (size_t f = 0; f < families && !w->c.bad; f++) {
        size_t templates = cursor_count(&w->c, 4);
        for (size_t t = 0; t < templates && !w->c.bad; t++)
            walk_template(w, false);
        if (cursor_byte(&w->c))
            walk_template(w, true);
        (void)cursor_varint(&w->c); /* ids */
        (void)cursor_varint(&w->c); /* length of their node */
    }
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void keep_words(struct walk *w)
{
    struct segment_outline *o = w->outline;
    size_t distinct = 0;
    if (!w->all_words)
        return; /* the filter says "maybe" */
    if (w->words.len)
        qsort(w->words.items, w->words.len, sizeof(uint64_t), by_value);
    for (size_t i = 0; i < w->words.len; i++)
        if (i == 0 || w->words.items[i] != w->words.items[i - 1])
            w->words.items[distinct++] = w->words.items[i];
    uint32_t blocks = words_blocks_for(distinct, BITS_PER_WORD);
    char *bytes = tel_calloc(blocks, WORDS_BLOCK_BYTES);
    for (size_t i = 0; i < distinct; i++)
        words_blocks_add(bytes, blocks, w->words.items[i]);
    o->texts = (struct words_filter){.blocks = bytes, .block_count = blocks};
    o->bytes += (uint64_t)blocks * WORDS_BLOCK_BYTES;
}

/* ---- attributes --------------------------------------------------------------------------- */

static void walk_attributes(struct walk *w)
{
    size_t n = cursor_count(&w->c, 4);
    for (size_t i = 0; i < n && !w->c.bad; i++) {
        struct outline_attribute a;
        a.kind = (enum segment_attribute_kind)cursor_bounded(&w->c, SEGMENT_SPAN_ID);
        a.name = cursor_span(&w->c);
        (void)cursor_varint(&w->c); /* rows */
        (void)cursor_varint(&w->c); /* length of the node */
        w->name_bytes += a.name.len;
        tel_vec_push(&w->attributes, a);
    }
}

static void keep_attributes(struct walk *w)
{
    struct segment_outline *o = w->outline;
    size_t n = w->attributes.len, size = n * sizeof(*o->attributes) + w->name_bytes;
    o->attributes = tel_malloc(size + 1);
    char *name = (char *)(o->attributes + n);
    for (size_t i = 0; i < n; i++) {
        struct outline_attribute a = w->attributes.items[i];
        if (a.name.len)
            memcpy(name, a.name.ptr, a.name.len);
        a.name.ptr = name;
        name += a.name.len;
        o->attributes[i] = a;
    }
    o->attribute_count = (uint32_t)n;
    o->bytes += size;
}

/* ---- the whole ---------------------------------------------------------------------------- */

tel_code segment_outline_make(struct segment_reader *r, struct stream_table *table,
                              struct segment_outline **ret, struct tel_error *err)
{
    struct segment_outline *o = TEL_NEW(struct segment_outline);
    struct walk w = {.c = cursor_make(r->directory), .outline = o, .all_words = true};
    o->info = r->info;
    o->table = table;
    o->bytes = sizeof(*o);
    tel_code rc = take_streams(&w, err);
    if (rc == TEL_OK) {
        (void)cursor_varint(&w.c); /* length of the nodes of rows */
        walk_families(&w);
        walk_attributes(&w);
        if (w.c.bad)
            rc = segment_corrupt(err, "directory cannot be read");
    }
    if (rc == TEL_OK) {
        keep_words(&w);
        keep_attributes(&w);
        *ret = o;
    } else {
        segment_outline_free(o);
    }
    tel_vec_free(&w.words);
    tel_vec_free(&w.attributes);
    return rc;
}

void segment_outline_free(struct segment_outline *o)
{
    if (!o)
        return;
    stream_table_put(o->table, o->streams, o->stream_count);
    free(o->streams);
    free(o->stream_rows);
    free(o->attributes);
    free((void *)(uintptr_t)o->texts.blocks);
    free(o);
}

tel_code segment_words_copy(struct segment_reader *r, struct segment_words **ret,
                            struct tel_error *err)
{
    struct tel_span section;
    tel_code rc = r->io.read(r->io.ctx, SEGMENT_SECTION_FILTER, &section, err);
    if (rc != TEL_OK)
        return rc;
    struct segment_words *w = tel_malloc(sizeof(*w) + section.len + 1);
    if (section.len)
        memcpy(w->section, section.ptr, section.len);
    w->bytes = sizeof(*w) + section.len;
    if (!words_filter_open(tel_span_make(w->section, section.len), &w->filter)) {
        free(w);
        return segment_corrupt(err, "filter cannot be read");
    }
    *ret = w;
    return TEL_OK;
}

bool outline_attribute_gives(const struct outline_attribute *a, struct tel_span field)
{
    switch (a->kind) {
    case SEGMENT_ATTRIBUTE:
        return tel_span_eq(a->name, field);
    case SEGMENT_TRACE_ID:
        return tel_span_eq_cstr(field, SEGMENT_FIELD_TRACE_ID);
    case SEGMENT_SPAN_ID:
        return tel_span_eq_cstr(field, SEGMENT_FIELD_SPAN_ID);
    }
    return true;
}

bool segment_outline_has_values(const struct segment_outline *o, struct tel_span field)
{
    static const char *const always[] = {TEL_FIELD_MSG, TEL_FIELD_TIME, SEGMENT_FIELD_SEVERITY};
    for (size_t i = 0; i < TEL_ARRAY_LEN(always); i++)
        if (tel_span_eq_cstr(field, always[i]))
            return true;
    for (uint32_t i = 0; i < o->attribute_count; i++)
        if (outline_attribute_gives(&o->attributes[i], field))
            return true;
    return false;
}
