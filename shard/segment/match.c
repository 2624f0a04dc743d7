/*
 * Which rows match. Rows of templates whose verdict is ALL or NONE are settled by it; the others are
 * asked, leaf by leaf as the plain evaluator would, but
 *
 *     - a leaf's own verdicts settle rows of its ALL and NONE templates;
 *     - dictionaries and texts settle more of them;
 *     - what can only lie within a hole is looked for there, not in bodies put together;
 *     - labels are asked once a stream.
 *
 * Bits stand for rows by place: a template's are one run. When only the newest rows are wanted, rows
 * are asked in windows from the end that grow.
 */
#include "shard/segment/match.h"

#include "common/base/buf.h"

#define WINDOW_FIRST 4096u
#define MEMO         512u

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
    struct tel_block_source *all;
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

/* A value that was matched already (dictionaries share their bytes) is not matched again. */
static tel_code match_value(struct matching *m, const struct tel_filter *f, struct tel_span value,
                            bool *ret, struct tel_error *err)
{
    struct memo *memo = &m->memo[((uintptr_t)value.ptr >> 2 ^ (uintptr_t)value.ptr >> 11) % MEMO];
    if (memo->ptr != value.ptr || memo->len != value.len || !value.ptr) {
        tel_code rc = tel_filter_match_value(f, value, &memo->result, err);
        if (rc != TEL_OK)
            return rc;
        memo->ptr = value.ptr;
        memo->len = value.len;
    }
    *ret = memo->result;
    return TEL_OK;
}

/* A word lies in one hole, whole: the static text is known not to hold it. */
static tel_code match_holes(struct matching *m, const struct plan_node *node, uint32_t number,
                            uint32_t i, bool *ret, struct tel_error *err)
{
    struct view *v = m->view;
    const struct read_template *t = &v->reader->templates[number];
    *ret = false;
    for (uint32_t h = 0; h < t->hole_count && !*ret; h++) {
        if (!(node->holes[number] >> (h < 63 ? h : 63) & 1) || (node->marks & ~t->holes[h].marks))
            continue;
        tel_code rc = view_hole(v, number, h, err);
        if (rc == TEL_OK)
            rc = match_value(m, node->filter, v->templates[number].holes[h][i], ret, err);
        if (rc != TEL_OK)
            return rc;
    }
    return TEL_OK;
}

static tel_code match_body(struct matching *m, const struct plan_node *node, uint32_t number,
                           uint32_t i, bool *ret, struct tel_error *err)
{
    if (node->refined[number] == PLAN_HOLES)
        return match_holes(m, node, number, i, ret, err);
    tel_code rc = view_template(m->view, number, err);
    if (rc != TEL_OK)
        return rc;
    return tel_filter_match_value(node->filter, view_body(m->view, number, i, &m->body), ret, err);
}

/* The rows of a template that the leaf's verdict calls MAYBE. */
static tel_code eval_template(struct matching *m, const struct plan_node *node, uint32_t number,
                              uint64_t *bits, struct tel_error *err)
{
    const struct read_template *t = &m->view->reader->templates[number];
    size_t from = t->first, to = from + t->rows;
    tel_code rc = TEL_OK;
    if (node->refined[number] == PLAN_UNKNOWN)
        rc = plan_refine(node, m->view, number, err);
    if (rc != TEL_OK)
        return rc;
    if (node->refined[number] == PLAN_NO_ROW) {
        clear_range(bits, from, to);
        return TEL_OK;
    }
    for (size_t w = from / 64; w * 64 < to; w++) {
        for (uint64_t b = bits[w] & word_mask(w, from, to); b; b &= b - 1) {
            bool matches = false;
            uint32_t place = (uint32_t)(w * 64 + (size_t)__builtin_ctzll(b));
            rc = match_body(m, node, number, place - t->first, &matches, err);
            if (rc != TEL_OK)
                return rc;
            if (!matches)
                bits[w] &= ~(b & -b);
        }
        if (w % 64 == 0 && m->query->stop && (rc = m->query->stop(m->query->stop_ctx)) != TEL_OK)
            return tel_error_set(err, rc, "search stopped");
    }
    return TEL_OK;
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

/* By the plain evaluator, over all rows as a source. */
static tel_code eval_other(struct matching *m, const struct plan_node *node, uint64_t *bits,
                           struct tel_error *err)
{
    struct view *v = m->view;
    if (!m->all) {
        tel_code rc = view_rows(v, err);
        if (rc == TEL_OK)
            rc = view_source(v, v->by_template, v->reader->info.rows, &m->all, err);
        if (rc != TEL_OK)
            return rc;
    }
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
    tel_code rc = view_rows(v, err);
    for (size_t size = WINDOW_FIRST; to > 0 && rc == TEL_OK && count < m->query->newest;
         size *= 4) {
        size_t from = to > size ? to - size : 0;
        memset(window, 0, words * sizeof(*window));
        for (size_t row = from; row < to; row++) {
            uint32_t place = v->place[row];
            window[place / 64] |= bits[place / 64] & UINT64_C(1) << (place % 64);
        }
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
