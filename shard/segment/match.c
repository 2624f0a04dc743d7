/*
 * Which rows match. Rows of templates whose verdict is ALL or NONE are settled by it; the others are
 * asked, leaf by leaf as the plain evaluator would, but
 *
 *     - a leaf's own verdicts settle rows of its ALL and NONE templates;
 *     - dictionaries and texts settle more of them;
 *     - what can only lie within a hole is looked for there, not in bodies put together;
 *     - labels are asked once a stream.
 *
 * When only the newest rows are wanted, rows are asked in windows from the end that grow.
 */
#include "shard/segment/match.h"

#include "common/base/buf.h"
#include "shard/segment/marks.h"

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
    uint32_t *all_rows;
};

static bool any_set(const uint64_t *bits, size_t words)
{
    for (size_t i = 0; i < words; i++) {
        if (bits[i])
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

static tel_code match_body(struct matching *m, const struct plan_node *node, uint32_t row,
                           bool *ret, struct tel_error *err)
{
    struct view *v = m->view;
    uint32_t number = v->template_of[row];
    uint32_t i = v->place[row] - v->reader->templates[number].first;
    tel_code rc = TEL_OK;
    if (node->refined[number] == PLAN_UNKNOWN)
        rc = plan_refine(node, v, number, err);
    *ret = false;
    if (rc != TEL_OK || node->refined[number] == PLAN_NO_ROW)
        return rc;
    if (node->refined[number] == PLAN_HOLES)
        return match_holes(m, node, number, i, ret, err);
    rc = view_template(v, number, err);
    if (rc != TEL_OK)
        return rc;
    return tel_filter_match_value(node->filter, view_body(v, number, i, &m->body), ret, err);
}

static tel_code eval_body(struct matching *m, const struct plan_node *node, uint64_t *bits,
                          struct tel_error *err)
{
    const struct view *v = m->view;
    memset(m->memo, 0, sizeof(m->memo));
    for (size_t w = 0; w < TEL_BITMAP_WORDS(v->reader->info.rows); w++) {
        for (uint64_t b = bits[w]; b; b &= b - 1) {
            uint32_t row = (uint32_t)(w * 64 + (size_t)__builtin_ctzll(b));
            uint8_t verdict = node->verdicts[v->template_of[row]];
            bool matches = verdict == VERDICT_ALL;
            if (verdict == VERDICT_MAYBE) {
                tel_code rc = match_body(m, node, row, &matches, err);
                if (rc != TEL_OK)
                    return rc;
            }
            if (!matches)
                bits[w] &= ~(b & -b);
        }
        if (w % 64 == 0 && m->query->stop) {
            tel_code rc = m->query->stop(m->query->stop_ctx);
            if (rc != TEL_OK)
                return tel_error_set(err, rc, "search stopped");
        }
    }
    return TEL_OK;
}

static void eval_stream(const struct matching *m, const struct plan_node *node, uint64_t *bits)
{
    const struct view *v = m->view;
    for (size_t w = 0; w < TEL_BITMAP_WORDS(v->reader->info.rows); w++) {
        for (uint64_t b = bits[w]; b; b &= b - 1) {
            size_t row = w * 64 + (size_t)__builtin_ctzll(b);
            if (!node->streams[v->stream_of[row]])
                bits[w] &= ~(b & -b);
        }
    }
}

static void eval_time(const struct matching *m, const struct plan_node *node, uint64_t *bits)
{
    const struct view *v = m->view;
    for (size_t w = 0; w < TEL_BITMAP_WORDS(v->reader->info.rows); w++) {
        for (uint64_t b = bits[w]; b; b &= b - 1) {
            size_t row = w * 64 + (size_t)__builtin_ctzll(b);
            if (!tel_filter_match_time(node->filter, v->keys[row].time_ns))
                bits[w] &= ~(b & -b);
        }
    }
}

/* By the plain evaluator, over all rows as a source. */
static tel_code eval_other(struct matching *m, const struct plan_node *node, uint64_t *bits,
                           struct tel_error *err)
{
    struct view *v = m->view;
    size_t n = v->reader->info.rows;
    if (!m->all) {
        m->all_rows = tel_arena_alloc(v->arena, (n + 1) * sizeof(*m->all_rows));
        for (uint32_t i = 0; i < n; i++)
            m->all_rows[i] = i;
        tel_code rc = view_source(v, m->all_rows, n, &m->all, err);
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
        return eval_body(m, node, bits, err);
    case PLAN_STREAM:
        eval_stream(m, node, bits);
        return TEL_OK;
    case PLAN_TIME:
        eval_time(m, node, bits);
        return TEL_OK;
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

/* Rows [from, to) of the window: those that verdicts settle, and those that must be asked. */
static tel_code match_window(struct matching *m, const struct plan *plan, size_t from, size_t to,
                             uint64_t *bits, uint64_t *asked, uint64_t *ret_count,
                             struct tel_error *err)
{
    const struct view *v = m->view;
    size_t words = TEL_BITMAP_WORDS(v->reader->info.rows);
    bool any = false;
    memset(asked, 0, words * sizeof(*asked));
    for (size_t w = from / 64; w * 64 < to; w++) {
        for (uint64_t b = bits[w]; b; b &= b - 1) {
            size_t row = w * 64 + (size_t)__builtin_ctzll(b);
            if (row < from || row >= to)
                continue;
            uint8_t verdict = plan->root.verdicts[v->template_of[row]];
            if (verdict == VERDICT_ALL)
                continue;
            bits[w] &= ~(b & -b);
            if (verdict == VERDICT_MAYBE) {
                asked[w] |= b & -b;
                any = true;
            }
        }
    }
    if (any) {
        tel_code rc = eval(m, &plan->root, asked, err);
        if (rc != TEL_OK)
            return rc;
    }
    for (size_t w = from / 64; w * 64 < to; w++) {
        bits[w] |= asked[w];
        *ret_count += (uint64_t)__builtin_popcountll(bits[w]);
    }
    return TEL_OK;
}

tel_code match_rows(struct view *view, const struct plan *plan, const struct segment_query *query,
                    uint64_t *bits, struct tel_error *err)
{
    struct matching *m = TEL_ARENA_NEW(view->arena, struct matching);
    size_t n = view->reader->info.rows, words = TEL_BITMAP_WORDS(n);
    m->view = view;
    m->query = query;
    uint64_t *asked = TEL_ARENA_ARRAY(view->arena, uint64_t, words), count = 0;
    size_t to = words * 64, window = query->newest ? WINDOW_FIRST : to;
    tel_code rc = TEL_OK;
    while (to > 0 && rc == TEL_OK) {
        size_t from = to > window ? to - window : 0;
        rc = match_window(m, plan, from, to, bits, asked, &count, err);
        if (query->newest && count >= query->newest) {
            memset(bits, 0, from / 64 * sizeof(*bits));
            break;
        }
        to = from;
        window *= 4;
    }
    tel_buf_free(&m->body);
    return rc;
}
