/* See reach.h. */
#include "shard/segment/reach.h"

#include "shard/segment/marks.h"

#define SPAN_BYTES_MAX 64u /* longer ones are taken to be able to */
#define SPAN_STEPS_MAX 4096u

struct spanning {
    struct view *view;
    uint32_t number;
    struct tel_span bytes;
    struct tel_span parts[SPLIT_HOLES_ALL + 1]; /* hole h stands between parts h and h + 1 */
    size_t part_count;
    unsigned steps;
    struct tel_error *err;
    tel_code rc;
};

static bool hole_may(struct spanning *s, size_t hole, size_t from, size_t to)
{
    struct tel_span piece = tel_span_slice(s->bytes, from, to);
    bool may = true;
    if (piece.len == 0)
        return true;
    if (marks_of(piece) & ~s->view->reader->templates[s->number].holes[hole].marks)
        return false;
    if (piece.len >= 3 && s->rc == TEL_OK)
        s->rc = view_hole_may_hold(s->view, s->number, (uint32_t)hole, piece, &may, s->err);
    return may;
}

static bool part_from(struct spanning *s, size_t part, size_t at);

/* May bytes[at..] begin where a hole does? */
static bool hole_from(struct spanning *s, size_t hole, size_t at)
{
    if (hole_may(s, hole, at, s->bytes.len))
        return true;
    for (size_t to = at; to < s->bytes.len; to++) {
        if (part_from(s, hole + 1, to) && hole_may(s, hole, at, to))
            return true;
    }
    return false;
}

/* May bytes[at..] begin where a part does? */
static bool part_from(struct spanning *s, size_t part, size_t at)
{
    struct tel_span p = s->parts[part];
    size_t left = s->bytes.len - at, n = p.len < left ? p.len : left;
    if (++s->steps > SPAN_STEPS_MAX)
        return true;
    if (n && memcmp(p.ptr, s->bytes.ptr + at, n) != 0)
        return false;
    if (n == left)
        return true;
    return part + 1 < s->part_count && hole_from(s, part, at + n);
}

static bool span_at(struct spanning *s, size_t hole)
{
    struct tel_span before = s->parts[hole];
    for (size_t k = 1; k < s->bytes.len && k <= before.len; k++) {
        if (memcmp(before.ptr + before.len - k, s->bytes.ptr, k) == 0 && hole_from(s, hole, k))
            return true;
    }
    for (size_t k = 1; k < s->bytes.len; k++) {
        if (part_from(s, hole + 1, k) && hole_may(s, hole, 0, k))
            return true;
    }
    return false;
}

tel_code reach_over_edges(struct view *v, uint32_t number, struct tel_span bytes, bool *ret,
                          struct tel_error *err)
{
    const struct read_template *t = &v->reader->templates[number];
    struct tel_span skeleton = t->rest ? tel_span_make("", 1) : t->skeleton;
    *ret = true;
    if (bytes.len > SPAN_BYTES_MAX)
        return TEL_OK;
    struct spanning *s = TEL_ARENA_NEW(v->arena, struct spanning);
    s->view = v;
    s->number = number;
    s->bytes = bytes;
    s->err = err;
    for (size_t start = 0; start <= skeleton.len;) {
        const char *nul = start < skeleton.len
                              ? memchr(skeleton.ptr + start, 0, skeleton.len - start)
                              : NULL;
        size_t end = nul ? (size_t)(nul - skeleton.ptr) : skeleton.len;
        s->parts[s->part_count++] = tel_span_slice(skeleton, start, end);
        start = end + 1;
    }
    *ret = false;
    for (size_t h = 0; h + 1 < s->part_count && !*ret && s->rc == TEL_OK; h++)
        *ret = span_at(s, h);
    return s->rc;
}

tel_code reach_holes(struct view *v, uint32_t number, struct tel_span bytes, uint64_t *ret,
                     struct tel_error *err)
{
    const struct read_template *t = &v->reader->templates[number];
    uint32_t marks = marks_of(bytes);
    *ret = 0;
    for (uint32_t h = 0; h < t->hole_count; h++) {
        bool may = false;
        if (marks & ~t->holes[h].marks)
            continue;
        tel_code rc = view_hole_may_hold(v, number, h, bytes, &may, err);
        if (rc != TEL_OK)
            return rc;
        *ret |= (uint64_t)may << (h < 63 ? h : 63);
    }
    return TEL_OK;
}

tel_code reach_any(struct view *v, uint32_t number, struct tel_span bytes, bool *ret,
                   struct tel_error *err)
{
    uint64_t holes = 0;
    tel_code rc = reach_over_edges(v, number, bytes, ret, err);
    if (rc == TEL_OK && !*ret)
        rc = reach_holes(v, number, bytes, &holes, err);
    *ret = *ret || holes;
    return rc;
}
