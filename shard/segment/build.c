/*
 * Building, first half: events are cut into template and holes as they come, while their bytes are
 * in the cache; of a line with a template only its holes are kept. finish.c makes columns of them.
 */
#include <stdlib.h>

#include "shard/segment/builder.h"

struct segment_builder *segment_builder_new(struct segment_learnt *learnt)
{
    struct segment_builder *b = TEL_NEW(struct segment_builder);
    b->learnt = learnt;
    b->splitter = tel_malloc(sizeof(*b->splitter));
    tel_arena_init(&b->arena, 0);
    tel_map_init(&b->stream_numbers);
    tel_map_init(&b->family_numbers);
    tel_map_init(&b->key_numbers);
    stream_writer_init(&b->out);
    column_writer_init(&b->columns, &b->out);
    ids_writer_init(&b->ids);
    words_writer_init(&b->words);
    return b;
}

void segment_builder_free(struct segment_builder *b)
{
    if (!b)
        return;
    free(b->splitter);
    tel_buf_free(&b->text);
    tel_buf_free(&b->line);
    tel_vec_free(&b->rows);
    tel_arena_free(&b->arena);
    tel_buf_free(&b->stream_labels);
    tel_map_free(&b->stream_numbers);
    tel_vec_free(&b->streams);
    tel_map_free(&b->family_numbers);
    tel_vec_free(&b->families);
    tel_vec_free(&b->local);
    tel_vec_free(&b->templates);
    tel_map_free(&b->key_numbers);
    tel_vec_free(&b->attributes);
    column_writer_done(&b->columns);
    stream_writer_done(&b->out);
    ids_writer_done(&b->ids);
    words_writer_done(&b->words);
    tel_buf_free(&b->nodes);
    tel_buf_free(&b->directory);
    tel_buf_free(&b->head);
    tel_vec_free(&b->order);
    tel_vec_free(&b->kept);
    tel_vec_free(&b->place);
    tel_vec_free(&b->placed);
    tel_vec_free(&b->next_hole);
    tel_vec_free(&b->family_row);
    tel_vec_free(&b->times);
    tel_vec_free(&b->codes);
    tel_vec_free(&b->stream_codes);
    tel_vec_free(&b->listed);
    tel_vec_free(&b->numbers);
    tel_vec_free(&b->values);
    tel_vec_free(&b->sections);
    free(b);
}

void segment_builder_reset(struct segment_builder *b)
{
    tel_buf_clear(&b->text);
    tel_vec_clear(&b->rows);
    tel_arena_reset(&b->arena);
    tel_buf_clear(&b->stream_labels);
    tel_map_clear(&b->stream_numbers);
    tel_vec_clear(&b->streams);
    tel_map_clear(&b->family_numbers);
    tel_vec_clear(&b->families);
    tel_vec_clear(&b->local);
    tel_vec_clear(&b->templates);
    tel_map_clear(&b->key_numbers);
    tel_vec_clear(&b->attributes);
    tel_vec_clear(&b->sections);
    b->raw_bytes = 0;
    b->unsorted = false;
    b->plain = false;
}

void segment_builder_plain(struct segment_builder *b)
{
    TEL_CHECK(b->rows.len == 0 && b->streams.len == 0);
    b->plain = true;
}

static uint32_t family_of(struct segment_builder *b, uint32_t learnt)
{
    bool fresh;
    uint64_t *number =
        tel_map_put(&b->family_numbers, tel_span_make(&learnt, sizeof(learnt)), &fresh);
    if (fresh) {
        *number = b->families.len;
        tel_vec_push(&b->families, ((struct built_family){.learnt = learnt}));
    }
    return (uint32_t)*number;
}

uint32_t segment_builder_stream(struct segment_builder *b, const struct tel_field *labels,
                                uint32_t label_count)
{
    size_t start = b->stream_labels.len;
    put_varint(&b->stream_labels, label_count);
    for (uint32_t i = 0; i < label_count; i++) {
        put_span(&b->stream_labels, labels[i].name);
        put_span(&b->stream_labels, labels[i].value);
    }
    bool fresh;
    uint64_t *number = tel_map_put(
        &b->stream_numbers,
        tel_span_make(b->stream_labels.ptr + start, b->stream_labels.len - start), &fresh);
    if (!fresh) {
        b->stream_labels.len = start;
        return (uint32_t)*number;
    }
    *number = b->streams.len;
    uint32_t family =
        family_of(b, b->plain ? LEARNT_NONE : learnt_family(b->learnt, labels, label_count));
    struct built_stream stream = {.family = family,
                                  .code = b->families.items[family].streams++};
    tel_vec_push(&b->streams, stream);
    return (uint32_t)b->streams.len - 1;
}

/* Room for so many bytes behind the text, and the slack; where they begin. */
static size_t text_room(struct segment_builder *b, size_t len)
{
    size_t at = b->text.len;
    TEL_CHECK(len < UINT32_MAX - SPLIT_SLACK - at); /* segment_builder_full was not heeded */
    tel_buf_reserve(&b->text, len + SPLIT_SLACK);
    b->text.len += len;
    return at;
}

/* Copies bytes behind the text; their place in it. */
static uint32_t keep_text(struct segment_builder *b, struct tel_span s)
{
    size_t at = text_room(b, s.len);
    if (s.len)
        memcpy(b->text.ptr + at, s.ptr, s.len);
    return (uint32_t)at;
}

/* Keeps a body that has no template. */
static uint32_t keep_body(struct segment_builder *b, struct tel_span body)
{
    uint32_t len = (uint32_t)body.len;
    uint32_t at = keep_text(b, tel_span_make((const char *)&len, sizeof(len)));
    keep_text(b, body);
    return at;
}

/* This segment's number of a learnt template. */
static uint32_t template_here(struct segment_builder *b, uint32_t learnt, uint32_t family)
{
    uint64_t generation = learnt_generation(b->learnt);
    if (generation != b->generation) {
        b->generation = generation;
        tel_vec_clear(&b->local);
    }
    if (learnt >= b->local.len) {
        size_t want = learnt + 1u + learnt / 2;
        tel_vec_reserve(&b->local, want);
        memset(b->local.items + b->local.len, 0, (want - b->local.len) * sizeof(uint32_t));
        b->local.len = want;
    }
    uint32_t number = b->local.items[learnt];
    if (number)
        return number - 1;
    if (b->families.items[family].templates >= TEMPLATES_PER_FAMILY)
        return NO_TEMPLATE;
    b->families.items[family].templates++;
    const struct learnt_template *t = learnt_template(b->learnt, learnt);
    tel_vec_push(&b->templates,
                 ((struct built_template){.skeleton = tel_arena_copy(&b->arena, t->skeleton),
                                          .family = family,
                                          .hole_count = t->hole_count}));
    b->local.items[learnt] = (uint32_t)b->templates.len;
    return (uint32_t)b->templates.len - 1;
}

/* Keeps what varies of a line that has a template. */
static uint32_t keep_holes(struct segment_builder *b, const char *body)
{
    const struct splitter *sp = b->splitter;
    size_t n = sp->hole_count, total = 0;
    for (size_t i = 0; i < n; i++)
        total += sp->holes[i].len;
    size_t start = text_room(b, n * sizeof(uint16_t) + total);
    char *lens = b->text.ptr + start, *out = lens + n * sizeof(uint16_t);
    for (size_t i = 0; i < n; i++) {
        uint16_t len = (uint16_t)sp->holes[i].len; /* at most SPLIT_LINE_MAX */
        const char *from = body + sp->holes[i].start;
        memcpy(lens + i * sizeof(len), &len, sizeof(len));
        split_copy(out, from, len);
        out += len;
    }
    return (uint32_t)start;
}

/* Cuts the body; false when it has no template. */
static bool split_body(struct segment_builder *b, struct built_row *row, struct tel_span body)
{
    uint32_t family = b->streams.items[row->stream].family;
    struct splitter *sp = b->splitter;
    if (body.len > SPLIT_LINE_MAX)
        return false;
    tel_buf_clear(&b->line);
    tel_buf_reserve(&b->line, body.len + SPLIT_SLACK);
    if (body.len)
        memcpy(b->line.ptr, body.ptr, body.len);
    struct tel_span line = tel_span_make(b->line.ptr, body.len);
    if (!splitter_run(sp, line))
        return false;
    uint32_t learnt = learnt_match(b->learnt, b->families.items[family].learnt, sp, line);
    if (learnt == LEARNT_NONE)
        return false;
    uint32_t number = template_here(b, learnt, family);
    if (number == NO_TEMPLATE)
        return false;
    row->template_number = number;
    b->templates.items[number].rows++;
    row->text = keep_holes(b, line.ptr);
    return true;
}

static void add_attribute(struct segment_builder *b, char kind, struct tel_span name,
                          struct tel_span value)
{
    if (value.len == 0)
        return;
    char small[TEL_NAME_BYTES_MAX + 1];
    TEL_CHECK(name.len <= TEL_NAME_BYTES_MAX);
    small[0] = kind;
    if (name.len)
        memcpy(small + 1, name.ptr, name.len);
    bool fresh;
    uint64_t *key = tel_map_put(&b->key_numbers, tel_span_make(small, name.len + 1), &fresh);
    if (fresh)
        *key = b->key_numbers.len - 1;
    tel_vec_push(&b->attributes,
                 ((struct built_attribute){(uint32_t)b->rows.len, (uint32_t)*key,
                                           keep_text(b, value), (uint32_t)value.len}));
    b->raw_bytes += name.len + value.len;
}

/* What the order of rows needs to know of them. */
static void note_row(struct segment_builder *b, const struct built_row *row)
{
    size_t n = b->rows.len;
    b->min_ns = n == 0 || row->time_ns < b->min_ns ? row->time_ns : b->min_ns;
    b->max_ns = n == 0 || row->time_ns > b->max_ns ? row->time_ns : b->max_ns;
    b->unsorted |= n > 0 && built_row_cmp(&b->rows.items[n - 1], row) >= 0;
    b->streams.items[row->stream].rows++;
    tel_vec_push(&b->rows, *row);
}

void segment_builder_add(struct segment_builder *b, const struct tel_row_key *key, uint32_t stream,
                         const struct tel_event *event)
{
    TEL_CHECK(stream < b->streams.len);
    struct built_row row = {.time_ns = key->time_ns,
                            .offset = key->offset,
                            .partition = key->partition,
                            .index = key->index,
                            .stream = stream,
                            .template_number = NO_TEMPLATE,
                            .severity = event->severity};
    if (b->plain || !split_body(b, &row, event->body))
        row.text = keep_body(b, event->body);
    for (uint32_t i = 0; i < event->attribute_count; i++)
        add_attribute(b, SEGMENT_ATTRIBUTE, event->attributes[i].name, event->attributes[i].value);
    add_attribute(b, SEGMENT_TRACE_ID, tel_span_make("", 0), event->trace_id);
    add_attribute(b, SEGMENT_SPAN_ID, tel_span_make("", 0), event->span_id);
    b->raw_bytes += event->body.len;
    note_row(b, &row);
}

uint64_t segment_builder_rows(const struct segment_builder *b)
{
    return b->rows.len;
}

uint64_t segment_builder_bytes(const struct segment_builder *b)
{
    return b->text.len + b->rows.len * sizeof(struct built_row) +
           b->attributes.len * sizeof(struct built_attribute);
}

bool segment_builder_full(const struct segment_builder *b)
{
    return b->rows.len >= SEGMENT_ROWS_MAX / 4 || b->text.len >= 256u << 20;
}
