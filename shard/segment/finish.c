/*
 * Building, second half: rows are put in the order of their keys, templates with too few rows give
 * theirs to the rest of their family, and what was collected becomes columns.
 *
 *     row order        by key: time, partition, offset, index
 *     template order   family by family, template by template, in row order: what lies together
 *                      there is alike, so severities and attributes are stored in it
 *
 * Sections: the head with the directory (streams, families, templates, attributes: all that says
 * what there is), the nodes (headers of columns), the filter, the data.
 */
#include <stdlib.h>

#include "common/base/hash.h"
#include "shard/segment/builder.h"

#define WORDS_PER_ROW 24u /* words that the filter takes, on average */
#define PREFETCH      16u /* rows */

/* The length of a hole of the row whose text begins there. */
static inline uint32_t hole_len(const struct segment_builder *b, uint32_t text, uint32_t hole)
{
    uint16_t len;
    memcpy(&len, b->text.ptr + text + hole * sizeof(len), sizeof(len));
    return len;
}

/* The body of a row that loses its template is put together again. */
static void restore_body(struct segment_builder *b, struct built_row *row)
{
    const struct built_template *t = &b->templates.items[row->template_number];
    const char *s = t->skeleton.ptr, *end = s + t->skeleton.len;
    size_t at = b->text.len, from = row->text + t->hole_count * sizeof(uint16_t);
    uint32_t body_len = (uint32_t)t->skeleton.len - t->hole_count, hole = 0;
    for (uint32_t h = 0; h < t->hole_count; h++)
        body_len += hole_len(b, row->text, h);
    tel_buf_reserve(&b->text, sizeof(body_len) + body_len + SPLIT_SLACK);
    tel_buf_add(&b->text, &body_len, sizeof(body_len));
    for (; s < end; s++) {
        if (*s) {
            b->text.ptr[b->text.len++] = *s;
            continue;
        }
        uint32_t len = hole_len(b, row->text, hole++);
        memcpy(b->text.ptr + b->text.len, b->text.ptr + from, len);
        b->text.len += len;
        from += len;
    }
    TEL_CHECK(b->text.len < UINT32_MAX);
    row->text = (uint32_t)at;
    row->template_number = NO_TEMPLATE;
}

/* Too few rows to pay for a template give them up; the rest get codes and places. */
static void settle_templates(struct segment_builder *b)
{
    uint32_t least = b->rows.len >= 4096 ? 3 : b->rows.len >= 256 ? 3 : 2;
    for (size_t f = 0; f < b->families.len; f++) {
        b->families.items[f].kept = b->families.items[f].rows = 0;
        b->families.items[f].rest = (struct built_template){.family = (uint32_t)f};
    }
    for (size_t i = 0; i < b->rows.len; i++) {
        struct built_row *row = &b->rows.items[i];
        struct built_family *family = &b->families.items[b->streams.items[row->stream].family];
        family->rows++;
        if (row->template_number != NO_TEMPLATE &&
            b->templates.items[row->template_number].rows < least)
            restore_body(b, row);
        if (row->template_number == NO_TEMPLATE)
            family->rest.rows++;
    }
    for (size_t t = 0; t < b->templates.len; t++) {
        struct built_template *template = &b->templates.items[t];
        if (template->rows >= least)
            template->code = b->families.items[template->family].kept++;
    }
    uint32_t kept = 0;
    for (size_t f = 0; f < b->families.len; f++) {
        b->families.items[f].first_kept = kept;
        kept += b->families.items[f].kept;
    }
    tel_vec_reserve(&b->kept, kept);
    for (size_t t = 0; t < b->templates.len; t++) {
        const struct built_template *template = &b->templates.items[t];
        if (template->rows >= least)
            b->kept.items[b->families.items[template->family].first_kept + template->code] =
                (uint32_t)t;
    }
}

/* Gives every template the run of places that its rows take. */
static void place_templates(struct segment_builder *b)
{
    uint32_t place = 0;
    for (size_t f = 0; f < b->families.len; f++) {
        struct built_family *family = &b->families.items[f];
        family->first_row = family->next_row = place;
        for (uint32_t k = 0; k <= family->kept; k++) {
            struct built_template *template =
                k < family->kept ? &b->templates.items[b->kept.items[family->first_kept + k]]
                                 : &family->rest;
            template->first = template->next = place;
            place += template->rows;
        }
        family->rest.code = family->kept;
    }
}

/* Does the reader not know the row's key from the one before in its stream? */
static bool is_listed(const struct segment_builder *b, const struct built_row *row,
                      const struct built_stream *s)
{
    if (s->last_row == 0)
        return true;
    const struct built_row *last = &b->rows.items[s->last_row - 1];
    return last->partition != row->partition || last->offset != row->offset ||
           row->index != last->index + 1;
}

/* The one walk over the rows by key, which are far from each other: all that is put of them later is
 * gathered here. */
static void walk_rows(struct segment_builder *b)
{
    size_t n = b->rows.len;
    const struct built_row *rows = b->rows.items;
    const uint32_t *order = b->order.items;
    tel_vec_reserve(&b->numbers, n);
    tel_vec_reserve(&b->times, n);
    tel_vec_reserve(&b->codes, n);
    tel_vec_reserve(&b->stream_codes, n);
    tel_vec_reserve(&b->place, n);
    tel_vec_reserve(&b->placed, n);
    tel_vec_reserve(&b->family_row, n);
    tel_vec_reserve(&b->listed, n);
    tel_vec_clear(&b->listed);
    for (size_t s = 0; s < b->streams.len; s++)
        b->streams.items[s].last_row = 0;
    int64_t last = rows[order[0]].time_ns;
    for (uint32_t p = 0; p < n; p++) {
        if (p + PREFETCH < n)
            __builtin_prefetch(&rows[order[p + PREFETCH]]);
        const struct built_row *row = &rows[order[p]];
        struct built_stream *s = &b->streams.items[row->stream];
        struct built_family *f = &b->families.items[s->family];
        bool rest = row->template_number == NO_TEMPLATE;
        struct built_template *t = rest ? &f->rest : &b->templates.items[row->template_number];
        uint32_t place = t->next++, at = f->next_row++;
        b->place.items[p] = place;
        b->family_row.items[place] = at - f->first_row;
        b->placed.items[place] = (struct built_place){row->text, row->severity};
        b->numbers.items[p] = s->family;
        b->codes.items[at] = t->code;
        b->stream_codes.items[at] = s->code;
        b->times.items[p] = (uint64_t)row->time_ns - (uint64_t)last;
        last = row->time_ns;
        if (is_listed(b, row, s))
            b->listed.items[b->listed.len++] = p;
        s->last_row = order[p] + 1;
    }
}

static void put_ints(struct segment_builder *b, const uint64_t *v, size_t n)
{
    ints_put(&b->columns.ints, &b->out, &b->nodes, v, n);
}

/* Families in the order of rows; of each family its rows' templates, then their streams. */
static void put_codes(struct segment_builder *b)
{
    put_ints(b, b->numbers.items, b->rows.len);
    for (size_t f = 0; f < b->families.len; f++) {
        const struct built_family *family = &b->families.items[f];
        put_ints(b, b->codes.items + family->first_row, family->rows);
        put_ints(b, b->stream_codes.items + family->first_row, family->rows);
    }
}

/* Times as differences; offsets only where a message begins: within one, the index counts up. */
static void put_keys(struct segment_builder *b)
{
    size_t n = b->rows.len, listed = b->listed.len;
    uint64_t *v = b->numbers.items;
    const uint32_t *at = b->listed.items, *order = b->order.items;
    const struct built_row *rows = b->rows.items;
    put_varint(&b->nodes, tel_zigzag(b->min_ns)); /* of the first row */
    put_ints(b, b->times.items, n);
    put_varint(&b->nodes, listed);
    for (size_t i = 0; i < listed; i++)
        v[i] = at[i] - (i ? at[i - 1] : 0);
    put_ints(b, v, listed);
    for (size_t i = 0; i < listed; i++)
        v[i] = rows[order[at[i]]].partition;
    put_ints(b, v, listed);
    uint64_t last = 0;
    for (size_t i = 0; i < listed; i++) {
        uint64_t offset = (uint64_t)rows[order[at[i]]].offset;
        v[i] = tel_zigzag((int64_t)(offset - last));
        last = offset;
    }
    put_ints(b, v, listed);
    for (size_t i = 0; i < listed; i++)
        v[i] = rows[order[at[i]]].index;
    put_ints(b, v, listed);
    for (uint32_t t = 0; t < n; t++)
        v[t] = b->placed.items[t].severity;
    put_ints(b, v, n);
}

static void gather_bodies(struct segment_builder *b, const struct built_template *t)
{
    for (size_t i = 0; i < t->rows; i++) {
        const char *text = b->text.ptr + b->placed.items[t->first + i].from;
        uint32_t len;
        memcpy(&len, text, sizeof(len));
        b->values.items[i] = tel_span_make(text + sizeof(len), len);
    }
}

/* The values of a hole, from the first to the last in turn. Rows' texts lie far from each other. */
static void gather_hole(struct segment_builder *b, const struct built_template *t, uint32_t number)
{
    const struct built_place *placed = b->placed.items + t->first;
    uint32_t *next = b->next_hole.items;
    size_t n = t->rows, ahead = n > PREFETCH ? n - PREFETCH : 0;
    for (size_t i = 0; i < n; i++) {
        if (i < ahead)
            __builtin_prefetch(b->text.ptr + placed[i + PREFETCH].from);
        uint32_t at = number ? next[i] : placed[i].from + t->hole_count * (uint32_t)sizeof(uint16_t);
        uint32_t len = hole_len(b, placed[i].from, number);
        b->values.items[i] = tel_span_make(b->text.ptr + at, len);
        next[i] = at + len;
        __builtin_prefetch(b->text.ptr + at); /* whoever looks at the first finds the last on its way */
    }
}

/* What the directory says of a hole: the length of its node, and its marks. */
static void put_hole(struct segment_builder *b, size_t *before)
{
    put_varint(&b->head, b->nodes.len - *before);
    put_varint(&b->head, b->columns.marks);
    *before = b->nodes.len;
}

/* What names the next hole of a template's text from *at on: the last word before it, as in user=\0 or
 * "user":"\0". *at moves behind the hole. */
static struct tel_span name_of(struct tel_span skeleton, size_t *at)
{
    const char *s = skeleton.ptr, *hole = memchr(s + *at, 0, skeleton.len - *at);
    TEL_CHECK(hole);
    size_t from = *at, end = (size_t)(hole - s);
    *at = end + 1;
    while (end > from && !split_is_word[(unsigned char)s[end - 1]])
        end--;
    size_t start = end;
    while (start > from && split_is_word[(unsigned char)s[start - 1]])
        start--;
    return tel_span_make(s + start, end - start);
}

/* The columns of a template's holes; its directory entry. */
static void put_template(struct segment_builder *b, const struct built_template *t, bool rest)
{
    size_t n = t->rows;
    uint32_t holes = rest ? 1 : t->hole_count;
    tel_vec_reserve(&b->values, n);
    tel_vec_reserve(&b->next_hole, n);
    size_t before = b->nodes.len, at = 0;
    tel_buf_clear(&b->head);
    b->columns.rows = b->family_row.items + t->first;
    b->columns.id_slots = 0;
    b->columns.ids = rest ? NULL : &b->ids;
    for (uint32_t h = 0; h < holes; h++, put_hole(b, &before)) {
        b->columns.marks = 0;
        if (rest) {
            gather_bodies(b, t);
            column_put_frames(&b->columns, &b->nodes, b->values.items, n);
        } else {
            gather_hole(b, t, h);
            stream_writer_about(&b->out, tel_hash64(name_of(t->skeleton, &at), t->family));
            column_put(&b->columns, &b->nodes, b->values.items, n);
        }
    }
    put_varint(&b->directory, n);
    put_varint(&b->directory, b->columns.id_slots);
    put_span(&b->directory, rest ? tel_span_make("", 1) : t->skeleton);
    tel_buf_add_span(&b->directory, tel_buf_span(&b->head));
}

static void put_family(struct segment_builder *b, uint32_t f)
{
    struct built_family *family = &b->families.items[f];
    put_varint(&b->directory, family->kept);
    for (uint32_t k = 0; k < family->kept; k++)
        put_template(b, &b->templates.items[b->kept.items[family->first_kept + k]], false);
    put_varint(&b->directory, family->rest.rows > 0);
    if (family->rest.rows)
        put_template(b, &family->rest, true);
    size_t before = b->nodes.len;
    put_varint(&b->directory, b->ids.entries.len);
    stream_writer_about(&b->out, 0);
    if (b->ids.entries.len)
        ids_put(&b->ids, &b->out, &b->nodes, family->rows);
    put_varint(&b->directory, b->nodes.len - before);
}

struct placed {
    uint32_t place, attribute;
};

static int placed_cmp(const void *a, const void *b)
{
    uint32_t x = ((const struct placed *)a)->place, y = ((const struct placed *)b)->place;
    return x < y ? -1 : x > y;
}

/* One attribute column: its rows in the template order (none listed if all have it), its values. */
static void put_attribute(struct segment_builder *b, struct placed *placed, size_t n,
                          struct tel_span key)
{
    stream_writer_about(&b->out, tel_hash64(key, 0));
    size_t before = b->nodes.len;
    bool sorted = true;
    for (size_t i = 1; i < n; i++)
        sorted &= placed[i - 1].place < placed[i].place;
    if (!sorted)
        qsort(placed, n, sizeof(*placed), placed_cmp);
    put_varint(&b->directory, (unsigned char)key.ptr[0]);
    put_span(&b->directory, tel_span_slice(key, 1, key.len));
    put_varint(&b->directory, n);
    if (n < b->rows.len) {
        for (size_t i = 0; i < n; i++)
            b->numbers.items[i] = placed[i].place - (i ? placed[i - 1].place : 0);
        put_ints(b, b->numbers.items, n);
    }
    for (size_t i = 0; i < n; i++) {
        const struct built_attribute *a = &b->attributes.items[placed[i].attribute];
        b->values.items[i] = tel_span_make(b->text.ptr + a->value, a->value_len);
    }
    b->words.under = words_under((unsigned char)key.ptr[0], tel_span_slice(key, 1, key.len));
    column_put(&b->columns, &b->nodes, b->values.items, n);
    b->words.under = 0;
    put_varint(&b->directory, b->nodes.len - before);
}

static void put_attributes(struct segment_builder *b)
{
    size_t keys = b->key_numbers.len, n = b->attributes.len;
    put_varint(&b->directory, keys);
    if (keys == 0)
        return;
    uint32_t *places = tel_malloc(b->rows.len * sizeof(*places)); /* by the row as it came */
    for (uint32_t p = 0; p < b->rows.len; p++)
        places[b->order.items[p]] = b->place.items[p];
    size_t *starts = tel_calloc(keys + 2, sizeof(*starts));
    for (size_t i = 0; i < n; i++)
        starts[b->attributes.items[i].key + 2]++;
    for (size_t k = 0; k < keys; k++)
        starts[k + 2] += starts[k + 1];
    struct placed *placed = tel_malloc(n * sizeof(*placed));
    for (uint32_t i = 0; i < n; i++) {
        const struct built_attribute *a = &b->attributes.items[i];
        placed[starts[a->key + 1]++] = (struct placed){places[a->row], i};
    }
    struct tel_span *names = tel_malloc(keys * sizeof(*names));
    struct tel_map_slot *slot;
    for (size_t pos = 0; (slot = tel_map_next(&b->key_numbers, &pos));)
        names[slot->value] = slot->key;
    b->columns.ids = NULL;
    tel_vec_reserve(&b->values, b->rows.len);
    for (size_t k = 0; k < keys; k++)
        put_attribute(b, placed + starts[k], starts[k + 1] - starts[k], names[k]);
    free(places);
    free(starts);
    free(placed);
    free(names);
}

static void put_directory(struct segment_builder *b)
{
    put_varint(&b->directory, b->streams.len);
    tel_buf_add_span(&b->directory, tel_buf_span(&b->stream_labels));
    for (size_t s = 0; s < b->streams.len; s++)
        put_varint(&b->directory, b->streams.items[s].family);
    for (size_t s = 0; s < b->streams.len; s++) /* what groups by labels counts from this */
        put_varint(&b->directory, b->streams.items[s].rows);
    put_codes(b);
    put_keys(b);
    put_varint(&b->directory, b->nodes.len);
    put_varint(&b->directory, b->families.len);
    for (uint32_t f = 0; f < b->families.len; f++)
        put_family(b, f);
    put_attributes(b);
}

static void put_packed(struct segment_builder *b, struct tel_span raw)
{
    struct tel_buf packed = {0};
    compressor_add(b->out.compressor, b->out.level < 3 ? 3 : b->out.level, raw, &packed);
    put_varint(&b->head, raw.len);
    put_span(&b->head, tel_buf_span(&packed));
    tel_buf_free(&packed);
}

static void put_head(struct segment_builder *b)
{
    stream_writer_finish(&b->out);
    tel_buf_clear(&b->head);
    stream_writer_packs(&b->out, &b->directory);
    tel_buf_add_le64(&b->head, SEGMENT_MAGIC);
    put_varint(&b->head, b->rows.len);
    put_varint(&b->head, b->raw_bytes);
    put_varint(&b->head, tel_zigzag(b->min_ns));
    put_varint(&b->head, tel_zigzag(b->max_ns));
    put_varint(&b->head, b->out.next_section);
    put_packed(b, tel_buf_span(&b->directory));
    stream_writer_section(&b->out, SEGMENT_SECTION_HEAD, tel_buf_span(&b->head));
    tel_buf_clear(&b->head);
    put_packed(b, tel_buf_span(&b->nodes));
    stream_writer_section(&b->out, SEGMENT_SECTION_NODES, tel_buf_span(&b->head));
    tel_buf_clear(&b->head);
    words_put(&b->words, &b->head);
    stream_writer_section(&b->out, SEGMENT_SECTION_FILTER, tel_buf_span(&b->head));
}

tel_code segment_builder_finish(struct segment_builder *b, int compression,
                                struct segment_image *ret, struct tel_error *err)
{
    if (b->rows.len == 0)
        return tel_error_set(err, TEL_ERR_INVALID, "a segment without events");
    stream_writer_reset(&b->out, compression, SEGMENT_SECTION_DATA);
    words_writer_reset(&b->words, b->rows.len * WORDS_PER_ROW + 1000);
    b->columns.words = &b->words;
    tel_buf_clear(&b->nodes);
    tel_buf_clear(&b->directory);
    tel_buf_clear(&b->head);
    tel_vec_clear(&b->sections);
    builder_order(b);
    settle_templates(b);
    place_templates(b);
    walk_rows(b);
    put_directory(b);
    put_head(b);
    for (size_t i = 0; i < b->out.sections.len; i++) {
        const struct stream_section *s = &b->out.sections.items[i];
        tel_vec_push(&b->sections, ((struct segment_section){
                                       s->id, tel_span_make(b->out.data.ptr + s->start, s->len)}));
    }
    uint64_t template_rows = b->rows.len;
    for (size_t f = 0; f < b->families.len; f++)
        template_rows -= b->families.items[f].rest.rows;
    *ret = (struct segment_image){.sections = b->sections.items,
                                  .section_count = b->sections.len,
                                  .rows = b->rows.len,
                                  .raw_bytes = b->raw_bytes,
                                  .stored_bytes = b->out.data.len,
                                  .min_time_ns = b->min_ns,
                                  .max_time_ns = b->max_ns,
                                  .template_rows = template_rows};
    return TEL_OK;
}
