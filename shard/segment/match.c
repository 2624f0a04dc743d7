/*
 * Which rows match. Rows of templates whose verdict is ALL or NONE are settled by it; the others are
 * asked, leaf by leaf as the plain evaluator would, but
 *
 *     - a leaf's own verdicts settle rows of its ALL and NONE templates;
 *     - dictionaries and texts settle more of them;
 *     - what can only lie within a hole is looked for there: columns as they are stored tell which rows
 *       are candidates, and only those are put together, one by one if they are few;
 *     - labels are asked once a stream.
 *
 * Bits stand for rows by place: a template's are one run. When only the newest rows are wanted, rows
 * are asked in windows from the end that grow.
 */
#include "shard/segment/match.h"

#include "common/base/buf.h"

#define WINDOW_FIRST 4096u
#define MEMO         512u
#define LITERAL_MIN  3u  /* bytes: shorter ones stand in too many values to be worth a look */
#define FEW_OF       16u /* fewer than one in so many rows are read one by one, */
#define FEW_OF_IDS   256u /* or than one in so many ids of the family */

struct memo {
    const char *ptr;
    size_t len;
    bool result;
};

struct matching {
    struct view *view;
    const struct segment_query *query;
    struct tel_buf body;
    struct memo memo[MEMO];
    struct tel_block_source *all, *timed; /* all rows by place; timed: with keys, once these matter */
};

static bool any_set(const uint64_t *bits, size_t words)
{
    for (size_t i = 0; i < words; i++) {
        if (bits[i])
            return true;
    }
    return false;
}

/* The bits of word w that stand for places in [from, to). */
static uint64_t word_mask(size_t w, size_t from, size_t to)
{
    uint64_t mask = UINT64_MAX;
    if (w == from / 64)
        mask &= UINT64_MAX << (from % 64);
    if (w == to / 64)
        mask &= (UINT64_C(1) << (to % 64)) - 1;
    return mask;
}

static void clear_range(uint64_t *bits, size_t from, size_t to)
{
    for (size_t w = from / 64; w * 64 < to; w++)
        bits[w] &= ~word_mask(w, from, to);
}

static bool any_in_range(const uint64_t *bits, size_t from, size_t to)
{
    for (size_t w = from / 64; w * 64 < to; w++) {
        if (bits[w] & word_mask(w, from, to))
            return true;
    }
    return false;
}

static tel_code match_one(struct matching *m, const struct tel_filter *f, struct tel_span value,
                          bool *ret, struct tel_error *err)
{
    tel_code rc = tel_pace_step(&m->view->pace, tel_filter_work(f, value.len), err);
    return rc == TEL_OK ? tel_filter_match_value(f, value, ret, err) : rc;
}

static struct memo *memo_of(struct matching *m, struct tel_span value)
{
    return &m->memo[((uintptr_t)value.ptr >> 2 ^ (uintptr_t)value.ptr >> 11) % MEMO];
}

/* A value that was matched already (dictionaries share their bytes) is not matched again. */
static tel_code match_value(struct matching *m, const struct tel_filter *f, struct tel_span value,
                            bool *ret, struct tel_error *err)
{
    struct memo *memo = memo_of(m, value);
    if (memo->ptr != value.ptr || memo->len != value.len || !value.ptr) {
        tel_code rc = match_one(m, f, value, &memo->result, err);
        if (rc != TEL_OK)
            return rc;
        memo->ptr = value.ptr;
        memo->len = value.len;
    }
    *ret = memo->result;
    return TEL_OK;
}

/* Some of a template's rows. */
struct asked {
    uint32_t *at;
    size_t count;
};

/* The rows of a template that have a bit and are candidates, if there are such. */
static struct asked rows_of(struct matching *m, uint32_t number, const uint64_t *bits,
                            const uint64_t *candidates)
{
    const struct read_template *t = &m->view->reader->templates[number];
    size_t from = t->first, to = from + t->rows;
    struct asked rows = {tel_arena_alloc(m->view->arena, (t->rows + 1) * sizeof(uint32_t)), 0};
    if (candidates) {
        for (size_t w = 0; w < TEL_BITMAP_WORDS(t->rows); w++) {
            for (uint64_t b = candidates[w]; b; b &= b - 1) {
                size_t i = w * 64 + (size_t)__builtin_ctzll(b), place = from + i;
                if (bits[place / 64] >> (place % 64) & 1)
                    rows.at[rows.count++] = (uint32_t)i;
            }
        }
        return rows;
    }
    for (size_t w = from / 64; w * 64 < to; w++) {
        for (uint64_t b = bits[w] & word_mask(w, from, to); b; b &= b - 1)
            rows.at[rows.count++] = (uint32_t)(w * 64 + (size_t)__builtin_ctzll(b) - from);
    }
    return rows;
}

/* Are rows read singly, and not their whole columns? To read those of a template with ids is to read all
 * ids of its family, unless that was done already. */
static bool singly(const struct matching *m, uint32_t number, const struct asked *rows)
{
    const struct segment_reader *r = m->view->reader;
    const struct read_template *t = &r->templates[number];
    if (t->id_slots && !m->view->families[t->family].ids)
        return rows->count < t->rows / FEW_OF || rows->count < r->families[t->family].id_count / FEW_OF_IDS;
    return rows->count < t->rows / FEW_OF;
}

/* Values of a hole in some rows: ret[i] of row rows->at[i]. */
static tel_code read_hole(struct matching *m, uint32_t number, uint32_t hole,
                          const struct asked *rows, struct tel_span *ret, struct tel_error *err)
{
    struct view *v = m->view;
    if (singly(m, number, rows))
        return view_pick_hole(v, number, hole, rows->at, rows->count, ret, err);
    tel_code rc = view_hole(v, number, hole, err);
    for (size_t i = 0; i < rows->count && rc == TEL_OK; i++)
        ret[i] = v->templates[number].holes[hole][rows->at[i]];
    return rc;
}

/* The literal lies in one hole, whole, and where it does decides. Rows that match keep their bits. */
static tel_code eval_holes(struct matching *m, const struct plan_node *node, uint32_t number,
                           uint64_t *bits, struct tel_error *err)
{
    struct view *v = m->view;
    const struct read_template *t = &v->reader->templates[number];
    size_t from = t->first, to = from + t->rows, base = from / 64; /* hit[0] stands for bits[base] */
    uint64_t *hit = TEL_ARENA_ARRAY(v->arena, uint64_t, to / 64 - base + 1);
    for (uint32_t h = 0; h < t->hole_count; h++) {
        if (!(node->holes[number] >> (h < 63 ? h : 63) & 1) || (node->marks & ~t->holes[h].marks))
            continue;
        uint64_t *candidates = TEL_ARENA_ARRAY(v->arena, uint64_t, TEL_BITMAP_WORDS(t->rows) + 1);
        tel_code rc = view_candidates(v, number, h, &node->probe, candidates, err);
        if (rc != TEL_OK)
            return rc;
        struct asked rows = rows_of(m, number, bits, candidates);
        if (rows.count == 0)
            continue;
        struct tel_span *values = tel_arena_alloc(v->arena, rows.count * sizeof(*values));
        rc = read_hole(m, number, h, &rows, values, err);
        for (size_t i = 0; i < rows.count && rc == TEL_OK; i++) {
            bool matches;
            rc = match_value(m, node->filter, values[i], &matches, err);
            size_t place = t->first + rows.at[i];
            if (rc == TEL_OK && matches)
                hit[place / 64 - base] |= UINT64_C(1) << (place % 64);
        }
        if (rc != TEL_OK)
            return rc;
    }
    for (size_t w = base; w * 64 < to; w++)
        bits[w] &= hit[w - base] | ~word_mask(w, from, to);
    return TEL_OK;
}

/* Bodies of some rows of a template, which are candidates; the others have no bit any more. */
static tel_code eval_bodies(struct matching *m, const struct plan_node *node, uint32_t number,
                            const struct asked *rows, uint64_t *bits, struct tel_error *err)
{
    struct view *v = m->view;
    const struct read_template *t = &v->reader->templates[number];
    struct tel_span *bodies = NULL;
    tel_code rc;
    if (singly(m, number, rows)) {
        bodies = tel_arena_alloc(v->arena, (rows->count + 1) * sizeof(*bodies));
        rc = view_pick_bodies(v, number, rows->at, rows->count, bodies, err);
    } else {
        rc = view_template(v, number, err);
    }
    for (size_t i = 0; i < rows->count && rc == TEL_OK; i++) {
        struct tel_span body = bodies ? bodies[i] : view_body(v, number, rows->at[i], &m->body);
        bool matches;
        rc = match_one(m, node->filter, body, &matches, err);
        size_t place = t->first + rows->at[i];
        if (rc == TEL_OK && matches)
            bits[place / 64] |= UINT64_C(1) << (place % 64);
    }
    return rc;
}

/* What a match can reach around the literal: mostly a hole or two. Rows that match get a bit. */
static tel_code eval_window(struct matching *m, const struct plan_node *node, uint32_t number,
                            const struct asked *rows, uint64_t *bits, struct tel_error *err)
{
    struct view *v = m->view;
    const struct read_template *t = &v->reader->templates[number];
    struct plan_window window = node->windows[number];
    struct tel_span text = tel_span_slice(t->skeleton, window.from, window.to);
    struct tel_span **holes = TEL_ARENA_ARRAY(v->arena, struct tel_span *, t->hole_count + 1);
    uint32_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != 0)
            continue;
        holes[count] = tel_arena_alloc(v->arena, rows->count * sizeof(struct tel_span));
        tel_code rc = read_hole(m, number, window.first_hole + count, rows, holes[count], err);
        if (rc != TEL_OK)
            return rc;
        count++;
    }
    memset(m->memo, 0, sizeof(m->memo)); /* here of windows, by the value of their hole */
    for (size_t i = 0; i < rows->count; i++) {
        struct memo *memo = count ? memo_of(m, holes[0][i]) : &m->memo[0];
        struct tel_span value = count ? holes[0][i] : text;
        if (count > 1 || memo->ptr != value.ptr || memo->len != value.len) {
            tel_code rc = match_one(m, node->filter, view_join(v, text, holes, (uint32_t)i, &m->body),
                                    &memo->result, err);
            if (rc != TEL_OK)
                return rc;
            memo->ptr = value.ptr;
            memo->len = value.len;
        }
        size_t place = t->first + rows->at[i];
        if (memo->result)
            bits[place / 64] |= UINT64_C(1) << (place % 64);
    }
    memset(m->memo, 0, sizeof(m->memo));
    return TEL_OK;
}

/* The rows in which some hole may hold the literal. */
static tel_code with_literal(struct matching *m, const struct plan_node *node, uint32_t number,
                             uint64_t **ret, struct tel_error *err)
{
    const struct read_template *t = &m->view->reader->templates[number];
    *ret = TEL_ARENA_ARRAY(m->view->arena, uint64_t, TEL_BITMAP_WORDS(t->rows) + 1);
    for (uint32_t h = 0; h < t->hole_count; h++) {
        if (!(node->holes[number] >> (h < 63 ? h : 63) & 1) || (node->marks & ~t->holes[h].marks))
            continue;
        tel_code rc = view_candidates(m->view, number, h, &node->probe, *ret, err);
        if (rc != TEL_OK)
            return rc;
    }
    return TEL_OK;
}

/* The rows of a template that the leaf's verdict calls MAYBE. */
static tel_code eval_template(struct matching *m, const struct plan_node *node, uint32_t number,
                              uint64_t *bits, struct tel_error *err)
{
    const struct read_template *t = &m->view->reader->templates[number];
    size_t from = t->first, to = from + t->rows;
    uint64_t *candidates = NULL;
    uint64_t work = TEL_PACE_WORK / 16 + 16 * (uint64_t)t->rows;
    tel_code rc = tel_pace_step(&m->view->pace, work, err);
    if (rc == TEL_OK && node->refined[number] == PLAN_UNKNOWN)
        rc = plan_refine(node, m->view, number, err);
    if (rc != TEL_OK)
        return rc;
    if (node->refined[number] == PLAN_HOLES)
        return eval_holes(m, node, number, bits, err);
    if (node->refined[number] == PLAN_IN_HOLES && node->literal.len >= LITERAL_MIN)
        rc = with_literal(m, node, number, &candidates, err);
    if (rc != TEL_OK)
        return rc;
    struct asked rows = {NULL, 0};
    if (node->refined[number] != PLAN_NO_ROW)
        rows = rows_of(m, number, bits, candidates);
    clear_range(bits, from, to);
    if (rows.count == 0)
        return TEL_OK;
    return node->refined[number] == PLAN_WINDOW ? eval_window(m, node, number, &rows, bits, err)
                                                : eval_bodies(m, node, number, &rows, bits, err);
}

/* Settles by verdicts; templates that stay MAYBE and have a bit are given to `ask`. */
typedef tel_code ask_fn(struct matching *m, const struct plan_node *node, uint32_t number,
                        uint64_t *bits, struct tel_error *err);

static tel_code eval_templates(struct matching *m, const struct plan_node *node, ask_fn *ask,
                               uint64_t *bits, struct tel_error *err)
{
    const struct segment_reader *r = m->view->reader;
    for (uint32_t t = 0; t < r->template_count; t++) {
        size_t from = r->templates[t].first, to = from + r->templates[t].rows;
        if (node->verdicts[t] == VERDICT_NONE)
            clear_range(bits, from, to);
        if (node->verdicts[t] != VERDICT_MAYBE || !any_in_range(bits, from, to))
            continue;
        tel_code rc = ask(m, node, t, bits, err);
        if (rc != TEL_OK)
            return rc;
    }
    return TEL_OK;
}

static tel_code ask_streams(struct matching *m, const struct plan_node *node, uint32_t number,
                            uint64_t *bits, struct tel_error *err)
{
    struct view *v = m->view;
    const struct read_template *t = &v->reader->templates[number];
    size_t from = t->first, to = from + t->rows;
    tel_code rc = view_rows(v, err);
    for (size_t w = from / 64; w * 64 < to && rc == TEL_OK; w++) {
        for (uint64_t b = bits[w] & word_mask(w, from, to); b; b &= b - 1) {
            size_t place = w * 64 + (size_t)__builtin_ctzll(b);
            if (!node->streams[v->stream_of[v->by_template[place]]])
                bits[w] &= ~(b & -b);
        }
    }
    return rc;
}

static tel_code eval_time(struct matching *m, const struct plan_node *node, uint64_t *bits,
                          struct tel_error *err)
{
    struct view *v = m->view;
    tel_code rc = view_rows(v, err);
    if (rc == TEL_OK)
        rc = view_times(v, err);
    for (size_t w = 0; w < TEL_BITMAP_WORDS(v->reader->info.rows) && rc == TEL_OK; w++) {
        for (uint64_t b = bits[w]; b; b &= b - 1) {
            size_t place = w * 64 + (size_t)__builtin_ctzll(b);
            if (!tel_filter_match_time(node->filter, v->keys[v->by_template[place]].time_ns))
                bits[w] &= ~(b & -b);
        }
    }
    return rc;
}

/* Has the leaf to do with the time? */
static bool is_timed(const struct matching *m, const struct tel_filter *leaf)
{
    struct tel_fields fields;
    tel_fields_init(&fields, m->view->arena);
    tel_filter_fields(leaf, &fields);
    return tel_fields_has(&fields, TEL_SPAN(TEL_FIELD_TIME));
}

/* By the plain evaluator, over all rows as a source. */
static tel_code eval_other(struct matching *m, const struct plan_node *node, uint64_t *bits,
                           struct tel_error *err)
{
    struct view *v = m->view;
    tel_code rc = TEL_OK;
    if (is_timed(m, node->filter) && !m->timed) {
        rc = view_rows(v, err);
        if (rc == TEL_OK)
            rc = view_source(v, v->by_template, v->reader->info.rows, NULL, &m->timed, err);
        m->all = m->timed;
    } else if (!m->all) {
        rc = view_place_source(v, NULL, v->reader->info.rows, NULL, &m->all, err);
    }
    if (rc != TEL_OK)
        return rc;
    m->all->pace = &v->pace;
    return tel_filter_eval(node->filter, m->all, bits, err);
}

static tel_code eval(struct matching *m, const struct plan_node *node, uint64_t *bits,
                     struct tel_error *err);

/* Kids in the order of their kinds: what is cheap thins out what is not. */
static tel_code eval_and(struct matching *m, const struct plan_node *node, uint64_t *bits,
                         struct tel_error *err)
{
    static const enum plan_kind order[] = {PLAN_TIME, PLAN_STREAM, PLAN_BODY, PLAN_BRANCH,
                                           PLAN_OTHER};
    size_t words = TEL_BITMAP_WORDS(m->view->reader->info.rows);
    for (size_t o = 0; o < TEL_ARRAY_LEN(order); o++) {
        for (size_t i = 0; i < node->kid_count; i++) {
            if (node->kids[i].kind != order[o])
                continue;
            if (!any_set(bits, words))
                return TEL_OK;
            tel_code rc = eval(m, &node->kids[i], bits, err);
            if (rc != TEL_OK)
                return rc;
        }
    }
    return TEL_OK;
}

static tel_code eval_or(struct matching *m, const struct plan_node *node, uint64_t *bits,
                        struct tel_error *err)
{
    size_t words = TEL_BITMAP_WORDS(m->view->reader->info.rows);
    uint64_t *taken = TEL_ARENA_ARRAY(m->view->arena, uint64_t, words);
    uint64_t *rest = TEL_ARENA_ARRAY(m->view->arena, uint64_t, words);
    for (size_t k = 0; k < node->kid_count; k++) {
        for (size_t i = 0; i < words; i++)
            rest[i] = bits[i] & ~taken[i];
        if (!any_set(rest, words))
            break;
        tel_code rc = eval(m, &node->kids[k], rest, err);
        if (rc != TEL_OK)
            return rc;
        for (size_t i = 0; i < words; i++)
            taken[i] |= rest[i];
    }
    memcpy(bits, taken, words * sizeof(*bits));
    return TEL_OK;
}

static tel_code eval_not(struct matching *m, const struct plan_node *node, uint64_t *bits,
                         struct tel_error *err)
{
    size_t words = TEL_BITMAP_WORDS(m->view->reader->info.rows);
    uint64_t *hit = TEL_ARENA_ARRAY(m->view->arena, uint64_t, words);
    memcpy(hit, bits, words * sizeof(*hit));
    tel_code rc = eval(m, &node->kids[0], hit, err);
    for (size_t i = 0; i < words; i++)
        bits[i] &= ~hit[i];
    return rc;
}

static tel_code eval(struct matching *m, const struct plan_node *node, uint64_t *bits,
                     struct tel_error *err)
{
    uint64_t work = 16 * TEL_BITMAP_WORDS(m->view->reader->info.rows);
    tel_code rc = tel_pace_step(&m->view->pace, work, err);
    if (rc != TEL_OK)
        return rc;
    switch (node->kind) {
    case PLAN_BODY:
        memset(m->memo, 0, sizeof(m->memo));
        return eval_templates(m, node, eval_template, bits, err);
    case PLAN_STREAM:
        return eval_templates(m, node, ask_streams, bits, err);
    case PLAN_TIME:
        return eval_time(m, node, bits, err);
    case PLAN_OTHER:
        return eval_other(m, node, bits, err);
    case PLAN_BRANCH:
        break;
    }
    if (node->filter->op == TEL_FILTER_AND)
        return eval_and(m, node, bits, err);
    if (node->filter->op == TEL_FILTER_OR)
        return eval_or(m, node, bits, err);
    return node->filter->op == TEL_FILTER_NOT ? eval_not(m, node, bits, err) : TEL_OK;
}

/* Settles bits by the whole filter's verdicts and asks for the rest. */
static tel_code match_bits(struct matching *m, const struct plan *plan, uint64_t *bits,
                           struct tel_error *err)
{
    const struct segment_reader *r = m->view->reader;
    size_t words = TEL_BITMAP_WORDS(r->info.rows);
    uint64_t *asked = TEL_ARENA_ARRAY(m->view->arena, uint64_t, words);
    memcpy(asked, bits, words * sizeof(*bits));
    for (uint32_t t = 0; t < r->template_count; t++) {
        size_t from = r->templates[t].first, to = from + r->templates[t].rows;
        if (plan->root.verdicts[t] != VERDICT_ALL)
            clear_range(bits, from, to);
        if (plan->root.verdicts[t] != VERDICT_MAYBE)
            clear_range(asked, from, to);
    }
    if (!any_set(asked, words))
        return TEL_OK;
    tel_code rc = eval(m, &plan->root, asked, err);
    for (size_t w = 0; w < words; w++)
        bits[w] |= asked[w];
    return rc;
}

/* Window by window from the newest row on, until there are enough. */
static tel_code match_newest(struct matching *m, const struct plan *plan, uint64_t *bits,
                             struct tel_error *err)
{
    struct view *v = m->view;
    size_t words = TEL_BITMAP_WORDS(v->reader->info.rows), to = v->reader->info.rows;
    uint64_t *found = TEL_ARENA_ARRAY(v->arena, uint64_t, words), count = 0;
    uint64_t *window = TEL_ARENA_ARRAY(v->arena, uint64_t, words);
    uint32_t *places;
    tel_code rc = TEL_OK;
    uint64_t left = 0; /* rows that are still to be asked */
    for (size_t w = 0; w < words; w++)
        left += (uint64_t)__builtin_popcountll(bits[w]);
    for (size_t size = WINDOW_FIRST; left > 0 && rc == TEL_OK && count < m->query->newest;
         size *= 4) {
        size_t from = to > size ? to - size : 0;
        memset(window, 0, words * sizeof(*window));
        rc = view_row_places(v, from, to, &places, err);
        if (rc != TEL_OK)
            return rc;
        for (size_t i = 0; i < to - from; i++)
            window[places[i] / 64] |= bits[places[i] / 64] & UINT64_C(1) << (places[i] % 64);
        for (size_t w = 0; w < words; w++)
            left -= (uint64_t)__builtin_popcountll(window[w]);
        rc = match_bits(m, plan, window, err);
        for (size_t w = 0; w < words; w++) {
            found[w] |= window[w];
            count += (uint64_t)__builtin_popcountll(window[w]);
        }
        to = from;
    }
    memcpy(bits, found, words * sizeof(*bits));
    return rc;
}

tel_code match_rows(struct view *view, const struct plan *plan, const struct segment_query *query,
                    uint64_t *bits, struct tel_error *err)
{
    struct matching *m = TEL_ARENA_NEW(view->arena, struct matching);
    m->view = view;
    m->query = query;
    tel_code rc = query->newest ? match_newest(m, plan, bits, err) : match_bits(m, plan, bits, err);
    tel_buf_free(&m->body);
    return rc;
}
