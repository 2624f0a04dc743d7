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

#include "shard/segment/builder.h"

#define RADIX_MIN     4096u
#define WORDS_PER_ROW 24u /* words that the filter takes, on average */

static const struct built_row *row_at(const struct segment_builder *b, uint32_t place)
{
    return &b->rows.items[b->order.items[place]];
}

static void radix_pass(struct segment_builder *b, uint32_t *from, uint32_t *to, int64_t min,
                       unsigned shift)
{
    uint32_t *counts = tel_calloc(65536 + 1, sizeof(*counts));
    size_t n = b->rows.len;
    for (size_t i = 0; i < n; i++)
        counts[((uint64_t)b->rows.items[i].key.time_ns - (uint64_t)min) >> shift & 0xffff]++;
    uint32_t sum = 0;
    for (size_t i = 0; i < 65536; i++) {
        uint32_t c = counts[i];
        counts[i] = sum;
        sum += c;
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t t = (uint64_t)b->rows.items[from[i]].key.time_ns - (uint64_t)min;
        to[counts[t >> shift & 0xffff]++] = from[i];
    }
    free(counts);
}

static int row_cmp(const void *x, const void *y, void *ctx)
{
    const struct segment_builder *b = ctx;
    return tel_row_key_cmp(&b->rows.items[*(const uint32_t *)x].key,
                           &b->rows.items[*(const uint32_t *)y].key);
}

/* Rows by key, in b->order. The log's order is nearly that of time: mostly runs. */
static void order_rows(struct segment_builder *b, int64_t *ret_min, int64_t *ret_max)
{
    size_t n = b->rows.len;
    tel_vec_reserve(&b->order, n);
    tel_vec_reserve(&b->place, n);
    uint32_t *order = b->order.items, *other = b->place.items;
    int64_t min = INT64_MAX, max = INT64_MIN;
    bool sorted = true;
    for (size_t i = 0; i < n; i++) {
        int64_t t = b->rows.items[i].key.time_ns;
        order[i] = (uint32_t)i;
        min = t < min ? t : min;
        max = t > max ? t : max;
        sorted &= i == 0 || tel_row_key_cmp(&b->rows.items[i - 1].key, &b->rows.items[i].key) < 0;
    }
    *ret_min = min;
    *ret_max = max;
    if (sorted)
        return;
    if (n < RADIX_MIN) {
        qsort_r(order, n, sizeof(*order), row_cmp, b);
        return;
    }
    for (unsigned shift = 0; shift < 64 && ((uint64_t)max - (uint64_t)min) >> shift; shift += 16) {
        radix_pass(b, order, other, min, shift);
        memcpy(order, other, n * sizeof(*order));
    }
    for (size_t i = 1; i < n; i++) { /* equal times: by the rest of the key */
        uint32_t row = order[i];
        size_t k = i;
        for (; k > 0 && tel_row_key_cmp(&b->rows.items[order[k - 1]].key,
                                        &b->rows.items[row].key) > 0;
             k--)
            order[k] = order[k - 1];
        order[k] = row;
    }
}

static struct built_template *template_of(struct segment_builder *b, const struct built_row *row)
{
    if (row->template_number != NO_TEMPLATE)
        return &b->templates.items[row->template_number];
    return &b->families.items[b->streams.items[row->stream].family].rest;
}

/* The body of a row that loses its template is put together again. */
static void restore_body(struct segment_builder *b, struct built_row *row)
{
    const struct built_template *t = &b->templates.items[row->template_number];
    const char *s = t->skeleton.ptr, *end = s + t->skeleton.len;
    size_t at = b->text.len, hole = row->first_hole;
    tel_buf_reserve(&b->text, t->skeleton.len + row->body_len + SPLIT_SLACK);
    for (; s < end; s++) {
        if (*s) {
            b->text.ptr[b->text.len++] = *s;
            continue;
        }
        struct hole h = b->holes.items[hole++];
        memcpy(b->text.ptr + b->text.len, b->text.ptr + h.start, h.len);
        b->text.len += h.len;
    }
    TEL_CHECK(b->text.len < UINT32_MAX);
    row->body = (uint32_t)at;
    row->body_len = (uint32_t)(b->text.len - at);
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

static void place_rows(struct segment_builder *b)
{
    size_t n = b->rows.len;
    tel_vec_reserve(&b->place, n);
    tel_vec_reserve(&b->by_template, n);
    tel_vec_reserve(&b->family_row, n);
    uint32_t *family_rows = tel_calloc(b->families.len, sizeof(*family_rows));
    for (uint32_t p = 0; p < n; p++) {
        const struct built_row *row = row_at(b, p);
        struct built_template *t = template_of(b, row);
        b->place.items[p] = t->next;
        b->by_template.items[t->next++] = p;
        b->family_row.items[p] = family_rows[t->family]++;
    }
    free(family_rows);
}

static void put_ints(struct segment_builder *b, const uint64_t *v, size_t n)
{
    ints_put(&b->columns.ints, &b->out, &b->nodes, v, n);
}

/* Families in the order of rows; of each family its rows' templates, then their streams. */
static void put_codes(struct segment_builder *b)
{
    size_t n = b->rows.len;
    tel_vec_reserve(&b->numbers, n);
    uint64_t *families = b->numbers.items;
    uint64_t *codes = tel_malloc(2 * n * sizeof(*codes)), *streams = codes + n;
    size_t *starts = tel_calloc(b->families.len + 1, sizeof(*starts));
    for (size_t f = 0; f < b->families.len; f++)
        starts[f + 1] = starts[f] + b->families.items[f].rows;
    for (uint32_t p = 0; p < n; p++) {
        const struct built_row *row = row_at(b, p);
        const struct built_stream *s = &b->streams.items[row->stream];
        size_t at = starts[s->family] + b->family_row.items[p];
        families[p] = s->family;
        codes[at] = template_of(b, row)->code;
        streams[at] = s->code;
    }
    put_ints(b, families, n);
    for (size_t f = 0; f < b->families.len; f++) {
        put_ints(b, codes + starts[f], b->families.items[f].rows);
        put_ints(b, streams + starts[f], b->families.items[f].rows);
    }
    free(codes);
    free(starts);
}

/* Times as differences; offsets only where a message begins: within one, the index counts up. */
static void put_keys(struct segment_builder *b)
{
    size_t n = b->rows.len, listed = 0;
    uint64_t *v = b->numbers.items;
    put_varint(&b->nodes, tel_zigzag(row_at(b, 0)->key.time_ns));
    for (uint32_t p = 0; p < n; p++)
        v[p] = p ? (uint64_t)row_at(b, p)->key.time_ns - (uint64_t)row_at(b, p - 1)->key.time_ns
                 : 0;
    put_ints(b, v, n);
    for (size_t s = 0; s < b->streams.len; s++)
        b->streams.items[s].last_row = 0;
    tel_vec_reserve(&b->column_rows, n);
    for (uint32_t p = 0; p < n; p++) {
        const struct built_row *row = row_at(b, p);
        struct built_stream *s = &b->streams.items[row->stream];
        const struct tel_row_key *last = s->last_row ? &row_at(b, s->last_row - 1)->key : NULL;
        s->last_row = p + 1;
        if (!last || last->partition != row->key.partition || last->offset != row->key.offset ||
            row->key.index != last->index + 1)
            b->column_rows.items[listed++] = p;
    }
    const uint32_t *rows = b->column_rows.items;
    put_varint(&b->nodes, listed);
    for (size_t i = 0; i < listed; i++)
        v[i] = rows[i] - (i ? rows[i - 1] : 0);
    put_ints(b, v, listed);
    for (size_t i = 0; i < listed; i++)
        v[i] = row_at(b, rows[i])->key.partition;
    put_ints(b, v, listed);
    uint64_t last = 0;
    for (size_t i = 0; i < listed; i++) {
        uint64_t offset = (uint64_t)row_at(b, rows[i])->key.offset;
        v[i] = tel_zigzag((int64_t)(offset - last));
        last = offset;
    }
    put_ints(b, v, listed);
    for (size_t i = 0; i < listed; i++)
        v[i] = row_at(b, rows[i])->key.index;
    put_ints(b, v, listed);
    for (uint32_t t = 0; t < n; t++)
        v[t] = row_at(b, b->by_template.items[t])->severity;
    put_ints(b, v, n);
}

static void gather_bodies(struct segment_builder *b, const struct built_template *t)
{
    for (size_t i = 0; i < t->rows; i++) {
        const struct built_row *row = row_at(b, b->by_template.items[t->first + i]);
        b->values.items[i] = tel_span_make(b->text.ptr + row->body, row->body_len);
    }
}

/* What the directory says of a hole: the length of its node, and its marks. */
static void put_hole(struct segment_builder *b, size_t *before)
{
    put_varint(&b->head, b->nodes.len - *before);
    put_varint(&b->head, b->columns.marks);
    *before = b->nodes.len;
}

/* The columns of a template's holes; its directory entry. */
static void put_template(struct segment_builder *b, const struct built_template *t, bool rest)
{
    size_t n = t->rows;
    uint32_t holes = rest ? 1 : t->hole_count;
    tel_vec_reserve(&b->values, n);
    tel_vec_reserve(&b->column_rows, n);
    size_t before = b->nodes.len;
    tel_buf_clear(&b->head);
    tel_vec_reserve(&b->first_holes, n);
    for (size_t i = 0; i < n; i++) {
        uint32_t place = b->by_template.items[t->first + i];
        b->column_rows.items[i] = b->family_row.items[place];
        b->first_holes.items[i] = row_at(b, place)->first_hole;
    }
    b->columns.rows = b->column_rows.items;
    b->columns.id_slots = 0;
    b->columns.ids = rest ? NULL : &b->ids;
    for (uint32_t h = 0; h < holes; h++, put_hole(b, &before)) {
        b->columns.marks = 0;
        if (rest) {
            gather_bodies(b, t);
            column_put_frames(&b->columns, &b->nodes, b->values.items, n);
            continue;
        }
        const struct hole *column = b->holes.items + h;
        for (size_t i = 0; i < n; i++) {
            struct hole hole = column[b->first_holes.items[i]];
            b->values.items[i] = tel_span_make(b->text.ptr + hole.start, hole.len);
        }
        column_put(&b->columns, &b->nodes, b->values.items, n);
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
    column_put(&b->columns, &b->nodes, b->values.items, n);
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

static void put_head(struct segment_builder *b, int64_t min, int64_t max)
{
    stream_writer_finish(&b->out);
    tel_buf_clear(&b->head);
    put_varint(&b->directory, b->out.pack_count);
    tel_buf_add_span(&b->directory, tel_buf_span(&b->out.packs));
    tel_buf_add_le64(&b->head, SEGMENT_MAGIC);
    put_varint(&b->head, b->rows.len);
    put_varint(&b->head, b->raw_bytes);
    put_varint(&b->head, tel_zigzag(min));
    put_varint(&b->head, tel_zigzag(max));
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
    int64_t min, max;
    if (b->rows.len == 0)
        return tel_error_set(err, TEL_ERR_INVALID, "a segment without events");
    stream_writer_reset(&b->out, compression, SEGMENT_SECTION_DATA);
    words_writer_reset(&b->words, b->rows.len * WORDS_PER_ROW + 1000);
    b->columns.words = &b->words;
    tel_buf_clear(&b->nodes);
    tel_buf_clear(&b->directory);
    tel_buf_clear(&b->head);
    tel_vec_clear(&b->sections);
    order_rows(b, &min, &max);
    settle_templates(b);
    place_templates(b);
    place_rows(b);
    put_directory(b);
    put_head(b, min, max);
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
                                  .min_time_ns = min,
                                  .max_time_ns = max,
                                  .template_rows = template_rows};
    return TEL_OK;
}
