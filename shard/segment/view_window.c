/*
 * A run of rows, and where they stand, without what the rows outside it have. Which place a row has is
 * counted from the nearer end: of each template so many rows come before it, or behind.
 */
#include "shard/segment/reader.h"

#define FAMILIES_MAX 255u /* more are told apart by view_rows */
#define CODES_MAX    255u

/* Templates of a family's rows, by their number in the family. */
struct window_codes {
    bool read;
    const uint8_t *few;   /* NULL: */
    const uint64_t *many; /* NULL, too: there is one template */
    uint32_t at;          /* the next row, or the one behind the next */
};

struct window {
    struct view *view;
    struct window_codes *codes; /* by family */
    uint32_t *next;             /* by template: the next place, or the one behind it */
};

static tel_code read_codes(struct window *w, uint32_t f, struct tel_error *err)
{
    struct view *v = w->view;
    const struct read_family *family = &v->reader->families[f];
    struct window_codes *c = &w->codes[f];
    struct cursor node = v->families[f].node;
    c->read = true;
    if (family->template_count <= 1)
        return TEL_OK;
    if (family->template_count <= CODES_MAX)
        return ints_get_bytes(&v->streams, &node, family->rows, CODES_MAX, &c->few, err);
    uint64_t *codes = tel_arena_alloc(v->arena, ((size_t)family->rows + 1) * sizeof(*codes));
    c->many = codes;
    return ints_get(&v->streams, &node, family->rows, codes, err);
}

/* The template of a family's row; template_count if it is none. */
static uint32_t template_at(const struct window *w, uint32_t f, uint32_t row)
{
    const struct read_family *family = &w->view->reader->families[f];
    const struct window_codes *c = &w->codes[f];
    uint64_t code = c->few ? c->few[row] : c->many ? c->many[row] : 0;
    return code < family->template_count ? family->first_template + (uint32_t)code
                                         : w->view->reader->template_count;
}

static tel_code forward(struct window *w, size_t from, size_t to, uint32_t *ret,
                        struct tel_error *err)
{
    const struct segment_reader *r = w->view->reader;
    for (uint32_t t = 0; t < r->template_count; t++)
        w->next[t] = r->templates[t].first;
    for (size_t row = 0; row < to; row++) {
        uint32_t f = w->view->family_bytes[row];
        tel_code rc = f < r->family_count && !w->codes[f].read ? read_codes(w, f, err) : TEL_OK;
        if (rc != TEL_OK)
            return rc;
        if (f >= r->family_count || w->codes[f].at >= r->families[f].rows)
            return segment_corrupt(err, "families of rows");
        uint32_t t = template_at(w, f, w->codes[f].at++);
        if (t == r->template_count || w->next[t] - r->templates[t].first >= r->templates[t].rows)
            return segment_corrupt(err, "templates of rows");
        uint32_t place = w->next[t]++;
        if (row >= from)
            ret[row - from] = place;
    }
    return TEL_OK;
}

static tel_code backward(struct window *w, size_t from, size_t to, uint32_t *ret,
                         struct tel_error *err)
{
    const struct segment_reader *r = w->view->reader;
    for (uint32_t t = 0; t < r->template_count; t++)
        w->next[t] = r->templates[t].first + r->templates[t].rows;
    for (uint32_t f = 0; f < r->family_count; f++)
        w->codes[f].at = r->families[f].rows;
    for (size_t row = r->info.rows; row-- > from;) {
        uint32_t f = w->view->family_bytes[row];
        tel_code rc = f < r->family_count && !w->codes[f].read ? read_codes(w, f, err) : TEL_OK;
        if (rc != TEL_OK)
            return rc;
        if (f >= r->family_count || w->codes[f].at == 0)
            return segment_corrupt(err, "families of rows");
        uint32_t t = template_at(w, f, --w->codes[f].at);
        if (t == r->template_count || w->next[t] == r->templates[t].first)
            return segment_corrupt(err, "templates of rows");
        uint32_t place = --w->next[t];
        if (row < to)
            ret[row - from] = place;
    }
    return TEL_OK;
}

tel_code view_row_places(struct view *v, size_t from, size_t to, uint32_t **ret,
                         struct tel_error *err)
{
    const struct segment_reader *r = v->reader;
    size_t n = r->info.rows;
    struct cursor node = v->codes_node;
    tel_code rc = TEL_OK;
    if (r->family_count > FAMILIES_MAX)
        rc = view_rows(v, err);
    else if (!v->has_rows && !v->family_bytes)
        rc = ints_get_bytes(&v->streams, &node, n, FAMILIES_MAX, &v->family_bytes, err);
    if (rc != TEL_OK)
        return rc;
    if (v->has_rows) {
        *ret = v->place + from;
        return TEL_OK;
    }
    struct window w = {.view = v};
    w.codes = TEL_ARENA_ARRAY(v->arena, struct window_codes, r->family_count + 1);
    w.next = tel_arena_alloc(v->arena, ((size_t)r->template_count + 1) * sizeof(*w.next));
    *ret = tel_arena_alloc(v->arena, (to - from + 1) * sizeof(**ret));
    return to <= n - from ? forward(&w, from, to, *ret, err) : backward(&w, from, to, *ret, err);
}

tel_code view_time_rows(struct view *v, int64_t start_ns, int64_t end_ns, size_t *ret_from,
                        size_t *ret_to, struct tel_error *err)
{
    size_t n = v->reader->info.rows, from = 0, to = 0;
    uint64_t *deltas = tel_arena_alloc(v->arena, (n + 1) * sizeof(*deltas));
    struct cursor node = v->times_node;
    uint64_t time = (uint64_t)cursor_zigzag(&node);
    tel_code rc = ints_get(&v->streams, &node, n, deltas, err);
    if (rc != TEL_OK)
        return rc;
    bool ascending = true;
    for (size_t i = 0; i < n; i++) {
        int64_t before = (int64_t)time;
        time += deltas[i];
        ascending &= i == 0 || (int64_t)time >= before;
        from += (int64_t)time < start_ns;
        to += (int64_t)time < end_ns;
    }
    if (!ascending)
        return segment_corrupt(err, "times of rows");
    *ret_from = from;
    *ret_to = to;
    return TEL_OK;
}
