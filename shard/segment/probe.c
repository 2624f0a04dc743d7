/* See probe.h. */
#include "shard/segment/probe.h"

#include "common/base/vec.h"

#define ALTERNATIVES_MAX 64u

enum probe_kind { OF_ALL, OF_WORDS, OF_FIELD, OF_STREAM, OF_TIME, OF_OTHER, OF_BRANCH };

struct probe_word {
    uint64_t hash;
    bool counts; /* does the segment's filter tell of it? */
};

/* Words of which a match holds every one. */
struct probe_words {
    struct probe_word *items;
    size_t len;
};

/* What a leaf said of a stream. */
struct probe_memo {
    uint64_t serial;
    uint8_t verdict;
};

struct probe_node {
    const struct tel_filter *filter;
    enum probe_kind kind;
    struct probe_node *kids;
    size_t kid_count;
    struct probe_words *alternatives; /* a match holds the words of one of them */
    size_t alternative_count;         /* 0: nothing is known */
    bool takes_empty;                 /* an absent field matches */
    struct probe_memo *memo;          /* by the streams' numbers */
    size_t memo_cap;
};

struct segment_probe {
    struct tel_arena *arena;
    struct probe_node root;
    bool wants_words, by_stream; /* by_stream: no leaf looks at more than streams and times */
};

/* What is known of the segment at hand. */
struct probed {
    struct segment_probe *probe;
    const struct segment_outline *outline;
    const struct segment_words *words;
};

/* ---- making ------------------------------------------------------------------------------- */

static struct probe_words hash_words(const struct tel_span *words, size_t count,
                                     struct tel_arena *arena)
{
    struct probe_words ret = {TEL_ARENA_ARRAY(arena, struct probe_word, count + 1), count};
    for (size_t i = 0; i < count; i++)
        ret.items[i] = (struct probe_word){words_hash(words[i]), words_counts(words[i])};
    return ret;
}

static struct probe_words words_of_value(struct tel_span value, struct tel_arena *arena)
{
    struct tel_span *words = TEL_ARENA_ARRAY(arena, struct tel_span, value.len + 1), word;
    size_t n = 0, pos = 0;
    while (tel_words_next(value, &pos, &word))
        words[n++] = word;
    return hash_words(words, n, arena);
}

static void find_words(struct probe_node *node, struct tel_arena *arena)
{
    const struct tel_filter *f = node->filter;
    bool any = f->op == TEL_FILTER_IN || f->op == TEL_FILTER_CONTAINS_ANY;
    if (any && !f->subquery && f->value_count > 0 && f->value_count <= ALTERNATIVES_MAX) {
        node->alternatives = TEL_ARENA_ARRAY(arena, struct probe_words, f->value_count);
        for (size_t i = 0; i < f->value_count; i++)
            node->alternatives[node->alternative_count++] = words_of_value(f->values[i], arena);
        return;
    }
    struct tel_span *words;
    size_t count;
    tel_filter_words(f, arena, &words, &count);
    if (any || count == 0)
        return;
    node->alternatives = TEL_ARENA_ARRAY(arena, struct probe_words, 1);
    node->alternatives[node->alternative_count++] = hash_words(words, count, arena);
}

static enum probe_kind kind_of(const struct tel_filter *f)
{
    if (f->kid_count)
        return OF_BRANCH;
    if (f->op == TEL_FILTER_ALL)
        return OF_ALL;
    if (f->op == TEL_FILTER_TIME)
        return OF_TIME;
    if (!tel_filter_is_value_leaf(f))
        return OF_OTHER;
    if (f->op == TEL_FILTER_STREAM || tel_span_eq_cstr(f->field, TEL_FIELD_STREAM) ||
        tel_span_eq_cstr(f->field, TEL_FIELD_STREAM_ID))
        return OF_STREAM;
    if (tel_span_eq_cstr(f->field, TEL_FIELD_MSG))
        return OF_WORDS;
    return tel_field_is_wildcard(f->field) || tel_span_eq_cstr(f->field, TEL_FIELD_TIME) ? OF_OTHER
                                                                                       : OF_FIELD;
}

static void make_node(struct segment_probe *p, const struct tel_filter *f, struct probe_node *node)
{
    node->filter = f;
    node->kind = kind_of(f);
    node->kid_count = f->kid_count;
    node->kids = TEL_ARENA_ARRAY(p->arena, struct probe_node, f->kid_count + 1);
    for (size_t i = 0; i < f->kid_count; i++)
        make_node(p, f->kids[i], &node->kids[i]);
    if (node->kind == OF_WORDS || node->kind == OF_FIELD)
        find_words(node, p->arena);
    if (node->kind == OF_FIELD)
        node->takes_empty = tel_filter_matches_empty(f);
    p->wants_words |= node->alternative_count > 0;
    p->by_stream &= node->kind != OF_WORDS && node->kind != OF_OTHER;
}

struct segment_probe *segment_probe_new(const struct tel_filter *filter, struct tel_arena *arena)
{
    struct segment_probe *p = TEL_ARENA_NEW(arena, struct segment_probe);
    p->arena = arena;
    p->by_stream = true;
    if (filter)
        make_node(p, filter, &p->root);
    else
        p->root.kind = OF_ALL;
    return p;
}

bool segment_probe_wants_words(const struct segment_probe *probe)
{
    return probe->wants_words;
}

/* ---- streams ------------------------------------------------------------------------------ */

/* What goes wrong here goes wrong on the rows, too, and is reported there. */
static uint8_t ask_stream(const struct tel_filter *f, const struct segment_stream *s,
                          struct tel_arena *arena)
{
    bool matches = false;
    tel_code rc;
    if (f->op == TEL_FILTER_STREAM) {
        struct tel_label *labels = TEL_ARENA_ARRAY(arena, struct tel_label, s->label_count + 1);
        for (uint32_t i = 0; i < s->label_count; i++)
            labels[i] = (struct tel_label){s->labels[i].name, s->labels[i].value};
        rc = tel_filter_match_stream(f, labels, s->label_count, &matches, NULL);
    } else {
        rc = tel_filter_match_value(f, segment_stream_field(s, f->field), &matches, NULL);
    }
    return rc != TEL_OK ? PROBE_MAYBE : matches ? PROBE_ALL : PROBE_NONE;
}

static uint8_t of_stream(struct probed *p, struct probe_node *node, const struct stream_entry *e)
{
    struct tel_arena *arena = p->probe->arena;
    if (e->number >= node->memo_cap) {
        size_t cap = 2 * (size_t)e->number + 64;
        struct probe_memo *memo = TEL_ARENA_ARRAY(arena, struct probe_memo, cap);
        if (node->memo_cap)
            memcpy(memo, node->memo, node->memo_cap * sizeof(*memo));
        node->memo = memo;
        node->memo_cap = cap;
    }
    struct probe_memo *m = &node->memo[e->number];
    if (m->serial != e->serial)
        *m = (struct probe_memo){e->serial, ask_stream(node->filter, &e->stream, arena)};
    return m->verdict;
}

static uint8_t of_streams(struct probed *p, struct probe_node *node)
{
    bool all = true, none = true;
    for (uint32_t i = 0; i < p->outline->stream_count && (all || none); i++) {
        uint8_t v = of_stream(p, node, p->outline->streams[i]);
        all = all && v == PROBE_ALL;
        none = none && v == PROBE_NONE;
    }
    return all ? PROBE_ALL : none ? PROBE_NONE : PROBE_MAYBE;
}

/* ---- leaves ------------------------------------------------------------------------------- */

/* Is there an alternative of which every word may be there? under: of an attribute, as words_under
 * says; 0: in bodies, where those of templates' texts are too. */
static bool may_hold(const struct probed *p, const struct probe_node *node, uint64_t under)
{
    if (!p->words || node->alternative_count == 0)
        return true;
    const struct words_filter *f = &p->words->filter;
    for (size_t k = 0; k < node->alternative_count; k++) {
        const struct probe_words *w = &node->alternatives[k];
        bool all = true;
        for (size_t i = 0; i < w->len && all; i++)
            all = !w->items[i].counts ||
                  words_filter_has(f, w->items[i].hash ^ (f->named ? under : 0)) ||
                  (!under && words_filter_has(&p->outline->texts, w->items[i].hash));
        if (all)
            return true;
    }
    return false;
}

/* May some attribute have a value that matches? */
static bool attributes_may(const struct probed *p, const struct probe_node *node)
{
    for (uint32_t i = 0; i < p->outline->attribute_count; i++) {
        const struct outline_attribute *a = &p->outline->attributes[i];
        if (outline_attribute_gives(a, node->filter->field) &&
            may_hold(p, node, words_under(a->kind, a->name)))
            return true;
    }
    return false;
}

/* A field's value is an attribute's, whose words are in the segment's filter, or else a label's. */
static uint8_t of_field(struct probed *p, struct probe_node *node)
{
    struct tel_span field = node->filter->field;
    if (!segment_outline_has_values(p->outline, field))
        return of_streams(p, node);
    if (node->takes_empty || tel_span_eq_cstr(field, SEGMENT_FIELD_SEVERITY) ||
        attributes_may(p, node))
        return PROBE_MAYBE;
    return of_streams(p, node) == PROBE_NONE ? PROBE_NONE : PROBE_MAYBE;
}

static uint8_t of_time(const struct probed *p, const struct tel_filter *f)
{
    const struct segment_info *info = &p->outline->info;
    if (f->u.time.min <= info->min_time_ns && f->u.time.max >= info->max_time_ns)
        return PROBE_ALL;
    return f->u.time.max < info->min_time_ns || f->u.time.min > info->max_time_ns ? PROBE_NONE
                                                                                : PROBE_MAYBE;
}

/* ---- the tree ----------------------------------------------------------------------------- */

/* stream NULL: of the segment as a whole. */
static uint8_t verdict(struct probed *p, struct probe_node *node, const struct stream_entry *stream);

static uint8_t branch(struct probed *p, struct probe_node *node, const struct stream_entry *stream)
{
    enum tel_filter_op op = node->filter->op;
    if (op == TEL_FILTER_NOT)
        return (uint8_t)(PROBE_ALL - verdict(p, &node->kids[0], stream));
    uint8_t end = op == TEL_FILTER_AND ? PROBE_NONE : PROBE_ALL, v = PROBE_ALL - end;
    for (size_t i = 0; i < node->kid_count && v != end; i++) {
        uint8_t kid = verdict(p, &node->kids[i], stream);
        v = op == TEL_FILTER_AND ? TEL_MIN(v, kid) : TEL_MAX(v, kid);
    }
    return v;
}

static uint8_t verdict(struct probed *p, struct probe_node *node, const struct stream_entry *stream)
{
    switch (node->kind) {
    case OF_ALL:
        return PROBE_ALL;
    case OF_WORDS:
        return may_hold(p, node, 0) ? PROBE_MAYBE : PROBE_NONE;
    case OF_FIELD:
        if (!stream || segment_outline_has_values(p->outline, node->filter->field))
            return of_field(p, node);
        return of_stream(p, node, stream);
    case OF_STREAM:
        return stream ? of_stream(p, node, stream) : of_streams(p, node);
    case OF_TIME:
        return of_time(p, node->filter);
    case OF_BRANCH:
        return branch(p, node, stream);
    case OF_OTHER:
        break;
    }
    return PROBE_MAYBE;
}

enum probe_verdict segment_probe_test(struct segment_probe *probe,
                                      const struct segment_outline *outline,
                                      const struct segment_words *words)
{
    struct probed p = {probe, outline, words};
    return (enum probe_verdict)verdict(&p, &probe->root, NULL);
}

uint64_t *segment_probe_reason(struct segment_probe *probe, const struct segment_outline *outline,
                               const struct segment_words *words, struct segment_explain *explain)
{
    struct probed p = {probe, outline, words};
    struct probe_node *node = &probe->root;
    while (node->kind == OF_BRANCH && node->filter->op == TEL_FILTER_AND) {
        size_t i = 0;
        while (i < node->kid_count && verdict(&p, &node->kids[i], NULL) != PROBE_NONE)
            i++;
        if (i == node->kid_count)
            break;
        node = &node->kids[i];
    }
    if (node->kind == OF_WORDS)
        return &explain->by_words;
    if (node->kind == OF_FIELD && segment_outline_has_values(outline, node->filter->field))
        return &explain->by_words;
    return node->kind == OF_STREAM || node->kind == OF_FIELD ? &explain->by_stream
                                                             : &explain->by_filter;
}

bool segment_probe_streams(struct segment_probe *probe, const struct segment_outline *outline,
                           bool *ret)
{
    struct probed p = {probe, outline, NULL};
    if (!probe->by_stream)
        return false;
    for (uint32_t i = 0; i < outline->stream_count; i++) {
        uint8_t v = verdict(&p, &probe->root, outline->streams[i]);
        if (v == PROBE_MAYBE)
            return false;
        ret[i] = v == PROBE_ALL;
    }
    return true;
}
