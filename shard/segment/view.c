/* What a search unpacks of a segment; see reader.h. */
#include "shard/segment/column_read.h"
#include "shard/segment/reader.h"

#define FAMILY_BYTES_MAX 255u
#define FAMILY_RUN       64u /* rows that are looked through at once */
#define HOLE_WORK        64u /* of a value that is unpacked (tel_pace_step) */
#define LOOK_WORK        (16u << 10) /* of a look at a column's dictionaries */

static tel_code get_ints(struct view *v, struct cursor *node, size_t n, uint64_t *ret,
                         struct tel_error *err)
{
    return ints_get(&v->streams, node, n, ret, err);
}

tel_code view_families(struct view *v, struct tel_error *err)
{
    const struct segment_reader *r = v->reader;
    size_t n = r->info.rows;
    if (v->family_rows)
        return TEL_OK;
    uint64_t *families = tel_arena_alloc(v->arena, (n + 1) * sizeof(*families));
    uint32_t *next = TEL_ARENA_ARRAY(v->arena, uint32_t, r->family_count + 1);
    struct cursor node = v->codes_node;
    tel_code rc = get_ints(v, &node, n, families, err);
    if (rc != TEL_OK)
        return rc;
    uint32_t *rows = tel_arena_alloc(v->arena, (n + 1) * sizeof(*rows));
    for (uint32_t f = 0; f < r->family_count; f++)
        next[f + 1] = next[f] + r->families[f].rows;
    /* as many rows as there are find room in as many places: none is left over if all fit */
    uint32_t *ends = tel_arena_alloc(v->arena, (r->family_count + 1) * sizeof(*ends));
    memcpy(ends, next + 1, r->family_count * sizeof(*ends));
    for (size_t i = 0; i < n; i++) {
        uint64_t f = families[i];
        if (f >= r->family_count || next[f] >= ends[f])
            return segment_corrupt(err, "families of rows");
        rows[next[f]++] = (uint32_t)i;
    }
    v->family_rows = rows;
    return TEL_OK;
}

tel_code view_family_order(struct view *v, uint32_t number, struct tel_error *err)
{
    const struct segment_reader *r = v->reader;
    struct view_family *family = &v->families[number];
    size_t n = r->info.rows, rows = r->families[number].rows, count = 0;
    tel_code rc = TEL_OK;
    if (family->order)
        return TEL_OK;
    if (v->family_rows || r->family_count > FAMILY_BYTES_MAX) {
        rc = view_families(v, err);
        if (rc == TEL_OK)
            family->order = v->family_rows + r->templates[r->families[number].first_template].first;
        return rc;
    }
    struct cursor node = v->codes_node;
    if (!v->family_bytes)
        rc = ints_get_bytes(&v->streams, &node, n, FAMILY_BYTES_MAX, &v->family_bytes, err);
    if (rc != TEL_OK)
        return rc;
    uint32_t *order = tel_arena_alloc(v->arena, (rows + FAMILY_RUN + 1) * sizeof(*order));
    for (size_t from = 0, to; from < n; from = to) {
        to = n - from < FAMILY_RUN ? n : from + FAMILY_RUN;
        for (size_t i = from; i < to; i++) {
            order[count] = (uint32_t)i;
            count += v->family_bytes[i] == number;
        }
        if (count > rows)
            break;
    }
    if (count != rows)
        return segment_corrupt(err, "families of rows");
    family->order = order;
    return TEL_OK;
}

/* Templates and streams of rows. */
static tel_code read_codes(struct view *v, struct tel_error *err)
{
    const struct segment_reader *r = v->reader;
    size_t n = r->info.rows;
    uint64_t *codes = tel_arena_alloc(v->arena, (n + 1) * sizeof(*codes));
    tel_code rc = view_families(v, err);
    if (rc != TEL_OK)
        return rc;
    v->template_of = tel_arena_alloc(v->arena, (n + 1) * sizeof(uint32_t));
    v->stream_of = tel_arena_alloc(v->arena, (n + 1) * sizeof(uint32_t));
    const uint32_t *row = v->family_rows;
    for (uint32_t f = 0; f < r->family_count; f++) {
        const struct read_family *family = &r->families[f];
        struct cursor node = v->families[f].node;
        rc = get_ints(v, &node, family->rows, codes, err);
        if (rc != TEL_OK)
            return rc;
        for (uint32_t i = 0; i < family->rows; i++) {
            if (codes[i] >= family->template_count)
                return segment_corrupt(err, "templates of rows");
            v->template_of[row[i]] = family->first_template + (uint32_t)codes[i];
        }
        rc = get_ints(v, &node, family->rows, codes, err);
        if (rc != TEL_OK)
            return rc;
        for (uint32_t i = 0; i < family->rows; i++) {
            if (codes[i] >= family->stream_count)
                return segment_corrupt(err, "streams of rows");
            v->stream_of[row[i]] = r->family_streams[family->first_stream + codes[i]];
        }
        row += family->rows;
    }
    return TEL_OK;
}

static tel_code place_rows(struct view *v, struct tel_error *err)
{
    const struct segment_reader *r = v->reader;
    size_t n = r->info.rows;
    uint32_t *next = TEL_ARENA_ARRAY(v->arena, uint32_t, r->template_count + 1);
    v->place = tel_arena_alloc(v->arena, (n + 1) * sizeof(uint32_t));
    v->by_template = tel_arena_alloc(v->arena, (n + 1) * sizeof(uint32_t));
    for (size_t i = 0; i < n; i++) {
        uint32_t t = v->template_of[i];
        if (next[t] >= r->templates[t].rows)
            return segment_corrupt(err, "rows of a template");
        uint32_t place = r->templates[t].first + next[t]++;
        v->place[i] = place;
        v->by_template[place] = (uint32_t)i;
    }
    return TEL_OK;
}

tel_code view_rows(struct view *v, struct tel_error *err)
{
    if (v->has_rows)
        return TEL_OK;
    tel_code rc = read_codes(v, err);
    if (rc == TEL_OK)
        rc = place_rows(v, err);
    v->has_rows = rc == TEL_OK;
    return rc;
}

tel_code view_times(struct view *v, struct tel_error *err)
{
    size_t n = v->reader->info.rows;
    if (v->has_times)
        return TEL_OK;
    uint64_t *deltas = tel_arena_alloc(v->arena, (n + 1) * sizeof(*deltas));
    struct cursor node = v->times_node;
    uint64_t time = (uint64_t)cursor_zigzag(&node);
    tel_code rc = get_ints(v, &node, n, deltas, err);
    if (rc != TEL_OK)
        return rc;
    v->keys = tel_arena_alloc(v->arena, (n + 1) * sizeof(*v->keys));
    for (size_t i = 0; i < n; i++) {
        time += deltas[i];
        v->keys[i] = (struct tel_row_key){.time_ns = (int64_t)time};
        if (i && v->keys[i].time_ns < v->keys[i - 1].time_ns)
            return segment_corrupt(err, "times of rows");
    }
    v->has_times = true;
    return TEL_OK;
}

/* Where codes, times and keys begin. */
static tel_code find_nodes(struct view *v, struct tel_error *err)
{
    const struct segment_reader *r = v->reader;
    struct cursor node = cursor_make(tel_span_slice(r->nodes, 0, r->rows_node_len));
    v->codes_node = node;
    ints_skip(&node);
    for (uint32_t f = 0; f < r->family_count; f++) {
        v->families[f].node = node;
        ints_skip(&node);
        ints_skip(&node);
    }
    v->times_node = node;
    cursor_varint(&node);
    ints_skip(&node);
    v->keys_node = node;
    return node.bad ? segment_corrupt(err, "nodes of rows") : TEL_OK;
}

tel_code view_open(struct segment_reader *r, struct tel_arena *arena,
                   struct segment_counters *counters, struct view **ret, struct tel_error *err)
{
    struct view *v = TEL_ARENA_NEW(arena, struct view);
    v->reader = r;
    v->arena = arena;
    v->streams = (struct stream_reader){.io = &r->io,
                                        .decompressor = r->decompressor,
                                        .arena = arena,
                                        .section_count = r->section_count,
                                        .counters = counters};
    v->streams.sections = TEL_ARENA_ARRAY(arena, struct tel_span, r->section_count);
    v->templates = TEL_ARENA_ARRAY(arena, struct view_template, r->template_count);
    v->families = TEL_ARENA_ARRAY(arena, struct view_family, r->family_count);
    tel_code rc = stream_reader_packs(&v->streams, r->packs, err);
    if (rc == TEL_OK)
        rc = find_nodes(v, err);
    if (rc == TEL_OK)
        *ret = v;
    return rc;
}

/* What begins a message is listed; the rows behind it in its stream count its index up. */
static tel_code fill_keys(struct view *v, uint64_t *const columns[4], size_t listed,
                          struct tel_error *err)
{
    uint32_t *last = TEL_ARENA_ARRAY(v->arena, uint32_t, v->reader->stream_count); /* row + 1 */
    uint64_t row = 0, offset = 0;
    size_t at = 0;
    for (uint32_t i = 0; i < v->reader->info.rows; i++) {
        struct tel_row_key *key = &v->keys[i];
        uint32_t *of_stream = &last[v->stream_of[i]];
        if (at < listed && row + columns[0][at] == i) {
            row = i;
            offset += (uint64_t)tel_unzigzag(columns[2][at]);
            key->partition = (uint32_t)columns[1][at];
            key->offset = (int64_t)offset;
            key->index = (uint32_t)columns[3][at];
            at++;
        } else if (*of_stream) {
            const struct tel_row_key *before = &v->keys[*of_stream - 1];
            key->partition = before->partition;
            key->offset = before->offset;
            key->index = before->index + 1;
        } else {
            return segment_corrupt(err, "offsets of rows");
        }
        *of_stream = i + 1;
    }
    return TEL_OK;
}

tel_code view_keys(struct view *v, struct tel_error *err)
{
    size_t n = v->reader->info.rows;
    if (v->has_keys)
        return TEL_OK;
    tel_code rc = view_rows(v, err);
    if (rc == TEL_OK)
        rc = view_times(v, err);
    struct cursor node = v->keys_node;
    size_t listed = (size_t)cursor_bounded(&node, n);
    uint64_t *columns[4]; /* rows, partitions, offsets, indexes */
    for (size_t i = 0; i < TEL_ARRAY_LEN(columns) && rc == TEL_OK; i++) {
        columns[i] = tel_arena_alloc(v->arena, (listed + 1) * sizeof(uint64_t));
        rc = get_ints(v, &node, listed, columns[i], err);
    }
    if (rc == TEL_OK)
        rc = fill_keys(v, columns, listed, err);
    if (rc != TEL_OK)
        return rc;
    rc = view_severities(v, err);
    v->has_keys = rc == TEL_OK;
    return rc;
}

tel_code view_severities(struct view *v, struct tel_error *err)
{
    size_t n = v->reader->info.rows;
    struct cursor node = v->keys_node;
    if (v->severities)
        return TEL_OK;
    cursor_varint(&node);
    for (size_t i = 0; i < 4; i++) /* what is listed of keys */
        ints_skip(&node);
    uint64_t *severities = tel_arena_alloc(v->arena, (n + 1) * sizeof(*severities));
    tel_code rc = get_ints(v, &node, n, severities, err);
    if (rc == TEL_OK)
        v->severities = severities;
    return rc;
}

static tel_code check_id_count(const struct segment_reader *r, const struct read_family *f,
                               struct tel_error *err)
{
    uint64_t total = 0;
    for (uint32_t t = f->first_template; t < f->first_template + f->template_count; t++)
        total += (uint64_t)r->templates[t].rows * r->templates[t].id_slots;
    return total == f->id_count ? TEL_OK : segment_corrupt(err, "number of ids");
}

tel_code view_family_rows(struct view *v, uint32_t number, struct tel_error *err)
{
    const struct segment_reader *r = v->reader;
    const struct read_family *f = &r->families[number];
    struct view_family *family = &v->families[number];
    if (family->rows)
        return TEL_OK;
    tel_code rc = check_id_count(r, f, err);
    if (rc != TEL_OK || f->template_count == 0)
        return rc;
    uint64_t *codes = tel_arena_alloc(v->arena, ((size_t)f->rows + 1) * sizeof(*codes));
    struct cursor node = family->node;
    rc = get_ints(v, &node, f->rows, codes, err);
    if (rc != TEL_OK)
        return rc;
    const struct read_template *templates = &r->templates[f->first_template];
    uint32_t *rows = tel_arena_alloc(v->arena, ((size_t)f->rows + 1) * sizeof(*rows));
    uint32_t *next = TEL_ARENA_ARRAY(v->arena, uint32_t, f->template_count);
    uint32_t *starts = f->id_count ? tel_arena_alloc(v->arena, (f->rows + 1) * sizeof(*starts))
                                   : NULL;
    uint32_t ids = 0;
    for (uint32_t i = 0; i < f->rows; i++) {
        uint64_t code = codes[i];
        if (code >= f->template_count || next[code] >= templates[code].rows)
            return segment_corrupt(err, "templates of rows");
        rows[templates[code].first - templates[0].first + next[code]++] = i;
        if (starts)
            starts[i] = ids;
        ids += templates[code].id_slots;
    }
    family->rows = rows;
    family->id_starts = starts;
    return TEL_OK;
}

/* Where the ids of a template's rows begin. */
static tel_code id_starts(struct view *v, uint32_t number, struct tel_error *err)
{
    const struct read_template *t = &v->reader->templates[number];
    struct view_template *vt = &v->templates[number];
    const struct view_family *family = &v->families[t->family];
    if (vt->id_starts)
        return TEL_OK;
    tel_code rc = view_family_rows(v, t->family, err);
    if (rc != TEL_OK)
        return rc;
    if (!family->id_starts)
        return segment_corrupt(err, "number of ids");
    uint32_t first = v->reader->templates[v->reader->families[t->family].first_template].first;
    vt->id_starts = tel_arena_alloc(v->arena, ((size_t)t->rows + 1) * sizeof(uint32_t));
    for (uint32_t i = 0; i < t->rows; i++)
        vt->id_starts[i] = family->id_starts[family->rows[t->first - first + i]];
    return TEL_OK;
}

static struct cursor ids_node(const struct view *v, const struct read_family *f)
{
    return cursor_make(tel_span_slice(v->reader->nodes, f->id_node, f->id_node + f->id_node_len));
}

static tel_code find_ids(struct view *v, uint32_t number, struct column_ids *ret,
                         struct tel_error *err)
{
    const struct read_template *t = &v->reader->templates[number];
    const struct read_family *f = &v->reader->families[t->family];
    struct view_family *family = &v->families[t->family];
    struct tel_span *entries;
    tel_code rc = id_starts(v, number, err);
    if (rc == TEL_OK && !family->ids) {
        struct cursor node = ids_node(v, f);
        rc = ids_get(&v->streams, &node, f->id_count, &entries, err);
        if (rc == TEL_OK)
            family->ids = entries;
    }
    *ret = (struct column_ids){family->ids, v->templates[number].id_starts, t->id_slots};
    return rc;
}

tel_code view_id_rows(struct view *v, uint32_t number, struct column_id_rows *ret,
                      struct tel_error *err)
{
    const struct read_template *t = &v->reader->templates[number];
    const struct read_family *f = &v->reader->families[t->family];
    struct view_family *family = &v->families[t->family];
    tel_code rc = id_starts(v, number, err);
    if (rc == TEL_OK && !family->index) {
        struct cursor node = ids_node(v, f);
        rc = ids_index_open(&v->streams, &node, f->id_count, &family->index, err);
    }
    *ret = (struct column_id_rows){family->index, v->templates[number].id_starts, t->id_slots};
    return rc;
}

tel_code view_hole(struct view *v, uint32_t number, uint32_t hole, struct tel_error *err)
{
    const struct segment_reader *r = v->reader;
    const struct read_template *t = &r->templates[number];
    struct view_template *vt = &v->templates[number];
    struct column_ids ids = {.slots = 0};
    if (!vt->holes)
        vt->holes = TEL_ARENA_ARRAY(v->arena, struct tel_span *, t->hole_count + 1);
    if (vt->holes[hole])
        return TEL_OK;
    const struct read_hole *h = &t->holes[hole];
    struct cursor node = cursor_make(tel_span_slice(r->nodes, h->node, h->node + h->node_len));
    bool has_ids = t->id_slots && column_has_ids(node);
    tel_code rc = tel_pace_step(&v->pace, (uint64_t)t->rows * HOLE_WORK, err);
    if (rc != TEL_OK)
        return rc;
    if (has_ids) {
        rc = find_ids(v, number, &ids, err);
        if (rc != TEL_OK)
            return rc;
    }
    struct tel_span *values =
        tel_arena_alloc(v->arena, ((size_t)t->rows + 1) * sizeof(struct tel_span));
    rc = column_get(&v->streams, &node, t->rows, has_ids ? &ids : NULL, values, err);
    if (rc == TEL_OK)
        vt->holes[hole] = values;
    return rc;
}

tel_code view_hole_may_hold(struct view *v, uint32_t number, uint32_t hole, struct tel_span bytes,
                            bool *ret, struct tel_error *err)
{
    const struct read_template *t = &v->reader->templates[number];
    const struct read_hole *h = &t->holes[hole];
    tel_code rc = tel_pace_step(&v->pace, LOOK_WORK, err);
    if (rc != TEL_OK)
        return rc;
    struct cursor node =
        cursor_make(tel_span_slice(v->reader->nodes, h->node, h->node + h->node_len));
    return column_may_hold(&v->streams, &node, t->rows, bytes, ret, err);
}

tel_code view_candidates(struct view *v, uint32_t number, uint32_t hole,
                         const struct column_probe *probe, uint64_t *bits, struct tel_error *err)
{
    const struct read_template *t = &v->reader->templates[number];
    const struct read_hole *h = &t->holes[hole];
    struct column_id_rows ids = {.slots = 0};
    tel_code rc = tel_pace_step(&v->pace, (uint64_t)t->rows * HOLE_WORK / 4, err);
    if (rc != TEL_OK)
        return rc;
    struct cursor node =
        cursor_make(tel_span_slice(v->reader->nodes, h->node, h->node + h->node_len));
    bool has_ids = t->id_slots && column_has_ids(node);
    if (has_ids) {
        rc = view_id_rows(v, number, &ids, err);
        if (rc != TEL_OK)
            return rc;
    }
    return column_find_candidates(&v->streams, &node, t->rows, has_ids ? &ids : NULL, probe, bits,
                                  err);
}

tel_code view_template(struct view *v, uint32_t number, struct tel_error *err)
{
    struct view_template *vt = &v->templates[number];
    if (vt->whole)
        return TEL_OK;
    for (uint32_t h = 0; h < v->reader->templates[number].hole_count; h++) {
        tel_code rc = view_hole(v, number, h, err);
        if (rc != TEL_OK)
            return rc;
    }
    vt->whole = true;
    return TEL_OK;
}

struct tel_span view_body(const struct view *v, uint32_t number, uint32_t i,
                          struct tel_buf *scratch)
{
    return view_join(v, v->reader->templates[number].skeleton, v->templates[number].holes, i,
                     scratch);
}

struct tel_span view_join(const struct view *v, struct tel_span skeleton,
                          struct tel_span *const *holes, uint32_t i, struct tel_buf *scratch)
{
    if (skeleton.len == 1 && skeleton.ptr[0] == 0)
        return holes[0][i];
    size_t len = skeleton.len;
    for (size_t k = 0, hole = 0; k < skeleton.len; k++) {
        if (skeleton.ptr[k] == 0)
            len += holes[hole++][i].len;
    }
    char *text;
    if (scratch) {
        tel_buf_clear(scratch);
        tel_buf_reserve(scratch, len + STREAM_SLACK);
        text = scratch->ptr;
    } else {
        text = tel_arena_alloc_aligned(v->arena, len + STREAM_SLACK, 1);
    }
    char *out = text;
    uint32_t hole = 0;
    const char *s = skeleton.ptr, *end = s + skeleton.len;
    while (s < end) {
        const char *nul = memchr(s, 0, (size_t)(end - s));
        size_t n = (size_t)((nul ? nul : end) - s);
        out = stream_copy(out, tel_span_make(s, n));
        if (!nul)
            break;
        out = stream_copy(out, holes[hole++][i]);
        s = nul + 1;
    }
    return tel_span_make(text, (size_t)(out - text));
}

const struct read_attribute *view_find_attribute(const struct view *v,
                                                 enum segment_attribute_kind kind,
                                                 struct tel_span name)
{
    const struct segment_reader *r = v->reader;
    for (uint32_t i = 0; i < r->attribute_count; i++) {
        if (r->attributes[i].kind == kind && tel_span_eq(r->attributes[i].name, name))
            return &r->attributes[i];
    }
    return NULL;
}

tel_code view_attribute(struct view *v, enum segment_attribute_kind kind, struct tel_span name,
                        struct tel_span **ret, struct tel_error *err)
{
    const struct segment_reader *r = v->reader;
    const struct read_attribute *a = view_find_attribute(v, kind, name);
    size_t n = r->info.rows;
    *ret = NULL;
    if (!a)
        return TEL_OK;
    struct cursor node = cursor_make(tel_span_slice(r->nodes, a->node, a->node + a->node_len));
    uint64_t *places = NULL;
    tel_code rc = TEL_OK;
    if (a->rows < n) {
        places = tel_arena_alloc(v->arena, ((size_t)a->rows + 1) * sizeof(*places));
        rc = ints_get(&v->streams, &node, a->rows, places, err);
        if (rc != TEL_OK)
            return rc;
    }
    struct tel_span *values =
        tel_arena_alloc(v->arena, ((size_t)a->rows + 1) * sizeof(*values));
    rc = column_get(&v->streams, &node, a->rows, NULL, values, err);
    if (rc != TEL_OK || !places) {
        *ret = values;
        return rc;
    }
    struct tel_span *spread = TEL_ARENA_ARRAY(v->arena, struct tel_span, n + 1);
    uint64_t place = 0;
    for (uint32_t i = 0; i < a->rows; i++) {
        place += places[i];
        if (place >= n)
            return segment_corrupt(err, "rows of an attribute");
        spread[place] = values[i];
    }
    *ret = spread;
    return TEL_OK;
}
