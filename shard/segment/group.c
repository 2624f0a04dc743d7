/*
 * Rows that are alike in some fields, counted without being made. A row is a cell of a table:
 *
 *     run of time | labels of its stream | code of each other field
 *
 * Streams that are alike in the fields' labels share a number, and rows are in the order of time, so
 * that a bucket's rows are one run. What is read depends on what must be known:
 *
 *     all rows match, labels only       nothing: the directory has the rows of each stream
 *     all rows match, time only         the times, as far as buckets' ends are looked for (group_time.h)
 *     labels, fields                    per family, templates and streams of its rows, one behind
 *                                       the other; families without a match are passed over
 *     time besides                      and the families of all rows
 *
 * A segment whose rows are all in one bucket is grouped as if there were none.
 *
 * Whether a row matches is said by its template's verdict or, if verdicts are not enough, by the bits
 * that the search has found. A row's place is counted up on the way.
 */
#include "shard/segment/group.h"

#include "common/base/buf.h"
#include "common/base/map.h"
#include "common/logsql/bucket.h"
#include "shard/segment/found.h"
#include "shard/segment/group_time.h"

#define CELLS_PER_ROW 4u /* a table may have so many for each row that is counted, */
#define CELLS_MIN     8192u /* or so many */

#define CODES_MAX     255u  /* codes below it are kept as bytes */

/* Codes by row; neither: all are 0. */
struct row_codes {
    const uint8_t *few;
    const uint64_t *many;
};

/* What is read of a family's rows, in their order. */
struct family_codes {
    bool wanted, same; /* same: all have the labels `number` */
    uint32_t at;
    struct row_codes templates, streams;
    const uint32_t *numbers;   /* of labels, by code of stream */
    uint32_t number;
};

struct grouping {
    const struct segment_grouping *spec;
    const struct segment_query *query;
    const struct segment_reader *reader;
    struct tel_arena *arena;
    struct view *view;
    const struct plan *plan;
    const uint64_t *bits; /* by place; NULL: verdicts tell */
    struct group_field fields[GROUP_FIELDS_MAX];
    uint32_t strides[GROUP_FIELDS_MAX]; /* of those with codes */

    uint32_t *labels;        /* by stream: the number of its labels */
    uint32_t *labels_stream; /* by that number: a stream */
    uint32_t label_count;

    const struct tel_bucket *bucket; /* NULL: none, or all rows are in the same one */
    struct group_times *times;       /* NULL: they do not matter */
    bool coded;                      /* some field has codes */
    uint32_t from, to;               /* the rows in the time range */
    uint32_t *run_ends;
    uint32_t runs, cells; /* cells: of one run */
    uint32_t *next;       /* by template: the place of its next row */
    uint32_t *counts;     /* runs * cells */
};

/* ---- dimensions --------------------------------------------------------------------------- */

/* Gives streams numbers, the same to those alike in all fields. */
static void number_labels(struct grouping *g)
{
    uint32_t n = g->reader->stream_count;
    struct tel_map map;
    struct tel_buf key = {0};
    tel_map_init(&map);
    g->labels = tel_arena_alloc(g->arena, (n + 1) * sizeof(*g->labels));
    g->labels_stream = tel_arena_alloc(g->arena, (n + 1) * sizeof(*g->labels_stream));
    for (uint32_t s = 0; s < n; s++) {
        bool is_new;
        tel_buf_clear(&key);
        for (size_t i = 0; i < g->spec->field_count; i++) {
            struct tel_span label = g->fields[i].by_stream[s];
            tel_buf_add_le32(&key, (uint32_t)label.len);
            tel_buf_add_span(&key, label);
        }
        uint64_t *number = tel_map_put(&map, tel_buf_span(&key), &is_new);
        if (is_new) {
            *number = g->label_count;
            g->labels_stream[g->label_count++] = s;
        }
        g->labels[s] = (uint32_t)*number;
    }
    tel_buf_free(&key);
    tel_map_free(&map);
}

static tel_code read_fields(struct grouping *g, bool *ret_coded, struct tel_error *err)
{
    *ret_coded = g->spec->field_count <= GROUP_FIELDS_MAX;
    for (size_t i = 0; i < g->spec->field_count && *ret_coded; i++) {
        tel_code rc = group_field_read(g->view, g->spec->fields[i], &g->fields[i], ret_coded, err);
        if (rc != TEL_OK)
            return rc;
    }
    return TEL_OK;
}

/* False if there are more runs than `max`. */
static bool find_runs(struct grouping *g, uint64_t max)
{
    if (!g->bucket) {
        g->run_ends = TEL_ARENA_NEW(g->arena, uint32_t);
        g->run_ends[g->runs++] = g->to;
        return true;
    }
    g->run_ends = tel_arena_alloc(g->arena, (max + 1) * sizeof(*g->run_ends));
    for (uint32_t row = g->from; row < g->to;) {
        if (g->runs == max)
            return false;
        row = g->run_ends[g->runs++] = group_times_run_end(g->times, g->bucket, row, g->to);
    }
    return true;
}

/* Lays the table out; false if it would be too large for `rows` rows. */
static bool lay_out(struct grouping *g, uint64_t rows)
{
    uint64_t cells = 1, max = TEL_MAX(rows * CELLS_PER_ROW, CELLS_MIN);
    for (size_t i = 0; i < g->spec->field_count; i++) {
        g->strides[i] = (uint32_t)cells;
        cells *= g->fields[i].codes ? g->fields[i].value_count : 1;
        if (cells > max)
            return false;
    }
    cells *= TEL_MAX(g->label_count, 1);
    if (cells > max || !find_runs(g, max / cells))
        return false;
    g->cells = (uint32_t)cells;
    g->counts = TEL_ARENA_ARRAY(g->arena, uint32_t, (size_t)cells * g->runs + 1);
    return true;
}

/* The first cell of a stream's rows in a run. */
static uint32_t labels_cell(const struct grouping *g, uint32_t number)
{
    return number * (g->cells / TEL_MAX(g->label_count, 1));
}

/* ---- counting ----------------------------------------------------------------------------- */

static bool template_matches(const struct grouping *g, uint32_t t)
{
    return !g->plan || g->plan->root.verdicts[t] == VERDICT_ALL;
}

static bool has_codes(const struct grouping *g)
{
    for (size_t i = 0; i < g->spec->field_count; i++)
        if (g->fields[i].codes)
            return true;
    return false;
}

/* May a row of the family match; do all? */
static bool family_matches(const struct grouping *g, const struct read_family *f, bool *ret_all)
{
    bool some = g->bits != NULL;
    *ret_all = !g->bits;
    for (uint32_t t = f->first_template; t < f->first_template + f->template_count && !g->bits;
         t++) {
        some = some || template_matches(g, t);
        *ret_all = *ret_all && template_matches(g, t);
    }
    return some;
}

static inline uint64_t code_at(const struct row_codes *c, size_t i)
{
    return c->few ? c->few[i] : c->many ? c->many[i] : 0;
}

/* n codes below `count`; what is not below it is still not, or becomes CODES_MAX. */
static tel_code read_codes(struct grouping *g, struct cursor *node, size_t n, size_t count,
                           struct row_codes *ret, struct tel_error *err)
{
    if (count <= CODES_MAX)
        return ints_get_bytes(&g->view->streams, node, n, CODES_MAX, &ret->few, err);
    uint64_t *codes = tel_arena_alloc(g->arena, (n + 1) * sizeof(*codes));
    ret->many = codes;
    return ints_get(&g->view->streams, node, n, codes, err);
}

/* Takes the nodes of a family from *node, and reads those of its codes that matter. */
static tel_code read_family_codes(struct grouping *g, const struct read_family *f,
                                  struct cursor *node, bool wanted, struct family_codes *ret,
                                  struct tel_error *err)
{
    const struct segment_reader *r = g->reader;
    tel_code rc;
    *ret = (struct family_codes){.wanted = wanted};
    uint32_t *numbers = tel_arena_alloc(g->arena, (f->stream_count + 1) * sizeof(*numbers));
    bool same = true;
    for (uint32_t i = 0; i < f->stream_count; i++) {
        numbers[i] = labels_cell(g, g->labels[r->family_streams[f->first_stream + i]]);
        same = same && numbers[i] == numbers[0];
    }
    ret->numbers = numbers;
    ret->number = f->stream_count ? numbers[0] : 0;
    if (wanted && f->template_count > 1) {
        rc = read_codes(g, node, f->rows, f->template_count, &ret->templates, err);
        if (rc != TEL_OK)
            return rc;
    } else {
        ints_skip(node);
    }
    ret->same = same;
    if (!wanted || same) {
        ints_skip(node);
        return TEL_OK;
    }
    rc = read_codes(g, node, f->rows, f->stream_count, &ret->streams, err);
    for (uint32_t i = 0; i < f->rows && rc == TEL_OK; i++) {
        if (code_at(&ret->streams, i) >= f->stream_count)
            rc = segment_corrupt(err, "streams of rows");
    }
    return rc;
}

/* Counts the next row of a family in `counts`; false if the codes cannot be. */
static inline bool count_next(struct grouping *g, const struct read_family *f,
                              struct family_codes *c, bool in_range, uint32_t *counts)
{
    uint32_t i = c->at++;
    uint64_t code = code_at(&c->templates, i);
    if (code >= f->template_count)
        return false;
    uint32_t t = f->first_template + (uint32_t)code, place = 0;
    if (g->bits || g->coded) { /* else places do not matter */
        const struct read_template *tm = &g->reader->templates[t];
        place = g->next[t]++;
        if (place - tm->first >= tm->rows)
            return false;
    }
    bool matches = g->bits ? g->bits[place / 64] >> (place % 64) & 1 : template_matches(g, t);
    if (!matches || !in_range)
        return true;
    uint32_t cell = c->same ? c->number : c->numbers[code_at(&c->streams, i)];
    for (size_t k = 0; k < g->spec->field_count && g->coded; k++) {
        if (g->fields[k].codes)
            cell += g->strides[k] * g->fields[k].codes[place];
    }
    counts[cell]++;
    return true;
}

static void start_places(struct grouping *g)
{
    uint32_t n = g->reader->template_count;
    g->next = tel_arena_alloc(g->arena, ((size_t)n + 1) * sizeof(*g->next));
    for (uint32_t t = 0; t < n; t++)
        g->next[t] = g->reader->templates[t].first;
}

/* Without time: family by family. */
static tel_code count_families(struct grouping *g, struct tel_error *err)
{
    const struct segment_reader *r = g->reader;
    struct cursor node = g->view->codes_node;
    start_places(g);
    ints_skip(&node);
    for (uint32_t f = 0; f < r->family_count; f++) {
        const struct read_family *family = &r->families[f];
        struct family_codes codes;
        bool all, some = family_matches(g, family, &all);
        if (all && !g->coded) {
            ints_skip(&node);
            ints_skip(&node);
            for (uint32_t i = family->first_stream; i < family->first_stream + family->stream_count;
                 i++) {
                uint32_t s = r->family_streams[i];
                g->counts[labels_cell(g, g->labels[s])] += r->stream_rows[s];
            }
            continue;
        }
        tel_code rc = read_family_codes(g, family, &node, some, &codes, err);
        if (rc != TEL_OK)
            return rc;
        for (uint32_t i = 0; i < family->rows && some; i++) {
            if (!count_next(g, family, &codes, true, g->counts))
                return segment_corrupt(err, "templates of rows");
        }
    }
    return TEL_OK;
}

/* With time: in the order of rows. */
static tel_code count_rows(struct grouping *g, struct tel_error *err)
{
    const struct segment_reader *r = g->reader;
    struct cursor node = g->view->codes_node;
    struct family_codes *codes = TEL_ARENA_ARRAY(g->arena, struct family_codes, r->family_count);
    struct row_codes families = {NULL, NULL};
    start_places(g);
    tel_code rc = read_codes(g, &node, r->info.rows, r->family_count, &families, err);
    for (uint32_t f = 0; f < r->family_count && rc == TEL_OK; f++) {
        bool all, some = family_matches(g, &r->families[f], &all);
        rc = read_family_codes(g, &r->families[f], &node, some, &codes[f], err);
    }
    if (rc != TEL_OK)
        return rc;
    uint32_t run = 0;
    for (uint32_t i = 0; i < g->to; i++) {
        uint64_t f = code_at(&families, i);
        if (f >= r->family_count || codes[f].at >= r->families[f].rows)
            return segment_corrupt(err, "families of rows");
        if (!codes[f].wanted)
            continue;
        while (i >= g->run_ends[run])
            run++;
        if (!count_next(g, &r->families[f], &codes[f], i >= g->from,
                        g->counts + (size_t)run * g->cells))
            return segment_corrupt(err, "templates of rows");
    }
    return TEL_OK;
}

static tel_code count(struct grouping *g, uint64_t rows, struct tel_error *err)
{
    if (!g->times && g->cells == 1) {
        g->counts[0] = (uint32_t)rows;
        return TEL_OK;
    }
    if (!g->times)
        return count_families(g, err);
    if (g->cells > 1 || g->bits || g->plan)
        return count_rows(g, err);
    for (uint32_t run = 0, row = g->from; run < g->runs; row = g->run_ends[run++])
        g->counts[run] = g->run_ends[run] - row;
    return TEL_OK;
}

/* ---- the answer --------------------------------------------------------------------------- */

static uint64_t make_block(struct grouping *g, struct tel_block *ret)
{
    size_t total = (size_t)g->cells * g->runs, groups = 0, n = g->spec->field_count, at = 0;
    uint64_t rows = 0;
    for (size_t i = 0; i < total; i++)
        groups += g->counts[i] > 0;
    uint64_t *hits = tel_arena_alloc(g->arena, (groups + 1) * sizeof(*hits));
    struct tel_row_key *keys = TEL_ARENA_ARRAY(g->arena, struct tel_row_key, groups + 1);
    struct tel_column *columns = TEL_ARENA_ARRAY(g->arena, struct tel_column, n + 1);
    struct tel_span *values[GROUP_FIELDS_MAX];
    for (size_t k = 0; k < n; k++) {
        values[k] = tel_arena_alloc(g->arena, (groups + 1) * sizeof(struct tel_span));
        columns[k] = (struct tel_column){g->spec->fields[k], values[k]};
    }
    for (uint32_t run = 0; run < g->runs; run++) {
        for (uint32_t cell = 0; cell < g->cells; cell++) {
            uint32_t hit = g->counts[(size_t)run * g->cells + cell];
            uint32_t number = cell / labels_cell(g, 1);
            if (!hit)
                continue;
            for (size_t k = 0; k < n; k++) {
                const struct group_field *f = &g->fields[k];
                uint32_t code = f->codes ? cell / g->strides[k] % f->value_count : 0;
                values[k][at] = group_field_value(f, g->labels_stream[number], code);
            }
            if (g->spec->bucket)
                keys[at].time_ns = g->bucket ? group_times_at(g->times, run ? g->run_ends[run - 1] : g->from)
                                             : g->reader->info.min_time_ns;
            rows += hit;
            hits[at++] = hit;
        }
    }
    if (g->spec->bucket)
        columns[n++] = (struct tel_column){TEL_SPAN(TEL_FIELD_TIME), NULL};
    *ret = (struct tel_block){.rows = groups,
                              .keys = g->spec->bucket ? keys : NULL,
                              .column_count = n,
                              .columns = columns,
                              .hits = hits};
    return rows;
}

/* The rows that the search came to, when they cannot be grouped here. */
static tel_code as_rows(struct grouping *g, struct found *found, struct tel_block_source **ret,
                        struct segment_counters *counters, struct tel_error *err)
{
    uint32_t *rows;
    size_t count;
    tel_code rc = TEL_OK;
    if (!g->bits) {
        rc = found_search(g->view->reader, g->query, g->plan, g->arena, found, counters, err);
        if (rc != TEL_OK)
            return rc;
    }
    counters->rows_matched += found->count;
    if (g->query->any_order)
        return view_place_source(found->view, found_places(found, g->arena), found->count,
                                 g->query->excerpt, ret, err);
    rc = found_rows(found, 0, g->arena, &rows, &count, err);
    return rc == TEL_OK ? view_source(found->view, rows, count, g->query->excerpt, ret, err) : rc;
}

static uint64_t matching_rows(const struct grouping *g)
{
    uint64_t rows = 0;
    for (uint32_t t = 0; t < g->reader->template_count; t++)
        rows += template_matches(g, t) ? g->reader->templates[t].rows : 0;
    return rows;
}

/* Are all rows of the segment in one bucket? */
static bool is_one_bucket(const struct grouping *g)
{
    const struct segment_info *info = &g->reader->info;
    return tel_bucket_time(g->spec->bucket, info->min_time_ns) ==
           tel_bucket_time(g->spec->bucket, info->max_time_ns);
}

static tel_code group(struct grouping *g, struct found *found, bool ranged, bool *ret_grouped,
                      struct tel_error *err)
{
    uint64_t rows = g->bits ? found->count : matching_rows(g);
    bool coded;
    *ret_grouped = false;
    tel_code rc = read_fields(g, &coded, err);
    if (rc != TEL_OK || !coded)
        return rc;
    g->coded = has_codes(g);
    if (g->spec->bucket && !is_one_bucket(g))
        g->bucket = g->spec->bucket;
    if (g->bucket || (ranged && !g->bits)) {
        g->times = TEL_ARENA_NEW(g->arena, struct group_times);
        rc = group_times_read(g->view, g->times, err);
    }
    if (rc != TEL_OK)
        return rc;
    if (ranged && g->times) {
        g->from = group_times_find(g->times, g->query->start_ns);
        g->to = group_times_find(g->times, g->query->end_ns);
        *ret_grouped = g->from >= g->to;
        if (*ret_grouped)
            return TEL_OK;
    }
    number_labels(g);
    if (!lay_out(g, rows))
        return TEL_OK;
    *ret_grouped = true;
    return count(g, rows, err);
}

tel_code segment_group(struct segment_reader *r, const struct segment_query *query,
                       const struct segment_grouping *spec, struct tel_arena *arena,
                       struct tel_block *ret, struct tel_block_source **ret_source,
                       struct segment_counters *counters, struct tel_error *err)
{
    struct grouping *g = TEL_ARENA_NEW(arena, struct grouping);
    struct found found = {NULL, NULL, 0};
    struct plan *plan = NULL;
    tel_code rc = TEL_OK;
    bool grouped;
    *ret = (struct tel_block){0};
    *ret_source = NULL;
    if (r->info.min_time_ns >= query->end_ns || r->info.max_time_ns < query->start_ns)
        return TEL_OK;
    if (query->filter)
        rc = plan_make(r, query, arena, &plan, err);
    if (rc == TEL_OK && counters->explain)
        plan_explain(r, plan, counters->explain);
    if (rc != TEL_OK || (plan && !plan->possible))
        return rc;
    bool ranged = query->start_ns > r->info.min_time_ns || query->end_ns <= r->info.max_time_ns;
    *g = (struct grouping){.spec = spec, .query = query, .reader = r, .arena = arena, .plan = plan,
                           .to = (uint32_t)r->info.rows};
    if (plan && !plan->exact) {
        rc = found_search(r, query, plan, arena, &found, counters, err);
        if (rc != TEL_OK || found.count == 0)
            return rc;
        g->bits = found.bits;
        g->view = found.view;
    } else {
        rc = view_open(r, arena, counters, &g->view, err);
        if (rc == TEL_OK)
            g->view->pace = (struct tel_pace){query->stop, query->stop_ctx, 0};
    }
    if (rc == TEL_OK)
        rc = group(g, &found, ranged, &grouped, err);
    if (rc != TEL_OK)
        return rc;
    if (!grouped)
        return as_rows(g, &found, ret_source, counters, err);
    if (!g->bits)
        counters->rows_scanned += g->to - g->from;
    counters->rows_matched += make_block(g, ret);
    return TEL_OK;
}
