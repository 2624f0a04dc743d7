/* See plan.h. */
#include "shard/segment/plan.h"

#include "common/logsql/regex.h"
#include "shard/segment/marks.h"
#include "shard/segment/reach.h"

struct planning {
    struct segment_reader *reader;
    struct tel_arena *arena;
    struct words_filter words;
    struct tel_pace pace;
    struct tel_error *err;
};

/* ---- leaves on the body ------------------------------------------------------------------- */

static bool has_nul(struct tel_span s)
{
    return s.len && memchr(s.ptr, 0, s.len) != NULL;
}

static bool is_static_word(struct tel_span skeleton, struct tel_span word)
{
    struct tel_phrase phrase = tel_phrase_make(word);
    return tel_phrase_find(&phrase, skeleton, 0, false) != SIZE_MAX;
}

/* Has the expression no anchor, boundary or look-around? Then what it finds in a part of a text it
 * finds in the text. */
static bool looks_at_its_match_alone(struct tel_span pattern)
{
    for (size_t i = 0; i < pattern.len; i++) {
        char c = pattern.ptr[i], next = i + 1 < pattern.len ? pattern.ptr[i + 1] : 0;
        if (c == '^' || c == '$' || (c == '(' && (next == '?' || next == '*')))
            return false;
        if (c != '\\')
            continue;
        i++;
        if (next >= '0' && (next < 'A' || !strchr("dDsSwWntr", next)))
            return false;
    }
    return true;
}

static bool some_part_matches(const struct tel_filter *f, struct tel_span skeleton)
{
    size_t start = 0;
    while (start < skeleton.len) {
        const char *nul = memchr(skeleton.ptr + start, 0, skeleton.len - start);
        size_t end = nul ? (size_t)(nul - skeleton.ptr) : skeleton.len;
        bool matches = false;
        /* what goes wrong here goes wrong on the rows, too, and is reported there */
        if (end > start &&
            tel_regex_match(f->regex, tel_span_slice(skeleton, start, end), &matches, NULL) ==
                TEL_OK &&
            matches)
            return true;
        start = end + 1;
    }
    return false;
}

/* Does the static text alone make every row match? A NUL stands for a hole there, and is no word
 * character: a phrase whose end would touch a hole with a word character cannot stand there, since
 * holes begin and end at the ends of words. */
static bool static_matches(const struct tel_filter *f, struct tel_span skeleton)
{
    if (f->text.len == 0 || has_nul(f->text))
        return false;
    if (f->op == TEL_FILTER_PHRASE || f->op == TEL_FILTER_PREFIX)
        return tel_phrase_find(&f->phrase, skeleton, 0, f->op == TEL_FILTER_PREFIX) != SIZE_MAX;
    if (f->op == TEL_FILTER_REGEXP && tel_regex_is_literal(f->regex))
        return tel_span_find(skeleton, tel_regex_literal(f->regex)) != SIZE_MAX;
    if (f->op == TEL_FILTER_REGEXP && looks_at_its_match_alone(f->text))
        return some_part_matches(f, skeleton);
    return false;
}

static enum verdict body_verdict(const struct plan_node *node, const struct read_template *t)
{
    const struct tel_filter *f = node->filter;
    if (!t->rest && static_matches(f, t->skeleton))
        return VERDICT_ALL;
    if (node->marks & ~(t->marks | t->static_marks))
        return VERDICT_NONE;
    for (size_t i = 0; i < node->word_count; i++) {
        if (node->in_holes[i] && !(node->word_marks[i] & ~t->marks))
            continue;
        if (t->rest || !is_static_word(t->skeleton, node->words[i]))
            return VERDICT_NONE;
    }
    if (node->one_word && t->hole_count == 0)
        return VERDICT_NONE;
    if (f->op == TEL_FILTER_IPV4_RANGE && !t->rest &&
        t->static_marks & ~marks_of(TEL_SPAN("0.\0")))
        return VERDICT_NONE;
    return VERDICT_MAYBE;
}

/* Where the literal is looked for: phrases begin and end where words do. Whether other characters than
 * ASCII are letters takes a longer look. */
static struct column_probe probe_of(const struct tel_filter *f, struct tel_span literal)
{
    struct column_probe probe = {.bytes = literal};
    bool phrase = f->op == TEL_FILTER_PHRASE || f->op == TEL_FILTER_PREFIX;
    if (phrase && literal.len) {
        unsigned char first = (unsigned char)literal.ptr[0];
        unsigned char last = (unsigned char)literal.ptr[literal.len - 1];
        probe.from_word = first < 0x80 && split_is_word[first];
        probe.to_word = f->op == TEL_FILTER_PHRASE && last < 0x80 && split_is_word[last];
    }
    return probe;
}

static tel_code plan_body(struct planning *p, struct plan_node *node)
{
    const struct tel_filter *f = node->filter;
    node->kind = PLAN_BODY;
    tel_filter_words(f, p->arena, &node->words, &node->word_count);
    node->in_holes = TEL_ARENA_ARRAY(p->arena, bool, node->word_count + 1);
    node->word_marks = TEL_ARENA_ARRAY(p->arena, uint32_t, node->word_count + 1);
    for (size_t i = 0; i < node->word_count; i++) {
        node->in_holes[i] = words_filter_may(&p->words, 0, node->words[i]);
        node->word_marks[i] = marks_of(node->words[i]);
    }
    node->literal = tel_filter_literal(f);
    node->marks = marks_of(node->literal);
    node->probe = probe_of(f, node->literal);
    node->is_literal = f->op == TEL_FILTER_PHRASE || f->op == TEL_FILTER_PREFIX ||
                       (f->op == TEL_FILTER_REGEXP && tel_regex_is_literal(f->regex));
    if (f->op == TEL_FILTER_REGEXP && tel_regex_reach(f->regex, &node->before, &node->after))
        node->windows = TEL_ARENA_ARRAY(p->arena, struct plan_window, p->reader->template_count + 1);
    node->refined = TEL_ARENA_ARRAY(p->arena, uint8_t, p->reader->template_count + 1);
    node->holes = TEL_ARENA_ARRAY(p->arena, uint64_t, p->reader->template_count + 1);
    node->one_word = (f->op == TEL_FILTER_PHRASE || f->op == TEL_FILTER_PREFIX) &&
                     f->text.len > 0 && tel_words_is_word(f->text);
    for (uint32_t t = 0; t < p->reader->template_count; t++) {
        const struct read_template *template = &p->reader->templates[t];
        uint64_t work = tel_filter_work(f, template->skeleton.len) / 4 +
                        node->word_count * template->skeleton.len;
        tel_code rc = tel_pace_step(&p->pace, work, p->err);
        if (rc != TEL_OK)
            return rc;
        node->verdicts[t] = (uint8_t)body_verdict(node, template);
    }
    return TEL_OK;
}

/* ---- templates that stay MAYBE, looked at --------------------------------------------------- */

/* The literal stands in the static text: what of it and of which holes can a match reach? A hole may be
 * empty, and so counts for nothing. False if the literal may stand in several places. */
static tel_code find_window(const struct plan_node *node, struct view *v, uint32_t number,
                            bool *ret_found, struct tel_error *err)
{
    struct tel_span skeleton = v->reader->templates[number].skeleton, literal = node->literal;
    struct plan_window *window = &node->windows[number];
    size_t at = tel_span_find(skeleton, literal), from = at, to = at + literal.len;
    uint64_t holes = 0;
    bool spans = false;
    *ret_found = false;
    if (tel_span_find(tel_span_slice(skeleton, at + 1, skeleton.len), literal) != SIZE_MAX)
        return TEL_OK;
    tel_code rc = reach_over_edges(v, number, literal, &spans, err);
    if (rc == TEL_OK && !spans)
        rc = reach_holes(v, number, literal, &holes, err);
    if (rc != TEL_OK || spans || holes)
        return rc;
    for (size_t left = node->before; left && from; from--)
        left -= skeleton.ptr[from - 1] != 0;
    for (size_t left = node->after; left && to < skeleton.len; to++)
        left -= skeleton.ptr[to] != 0;
    *window = (struct plan_window){(uint32_t)from, (uint32_t)to, 0};
    for (size_t i = 0; i < from; i++)
        window->first_hole += skeleton.ptr[i] == 0;
    *ret_found = true;
    return TEL_OK;
}

tel_code plan_refine(const struct plan_node *node, struct view *v, uint32_t number,
                     struct tel_error *err)
{
    const struct read_template *t = &v->reader->templates[number];
    struct tel_span skeleton = t->rest ? tel_span_make("", 1) : t->skeleton;
    uint64_t holes = 0;
    tel_code rc = TEL_OK;
    node->refined[number] = PLAN_BODIES;
    for (size_t i = 0; i < node->word_count; i++) {
        if (is_static_word(skeleton, node->words[i]))
            continue;
        holes = 0;
        if (node->in_holes[i])
            rc = reach_holes(v, number, node->words[i], &holes, err);
        if (rc != TEL_OK)
            return rc;
        if (holes == 0) {
            node->refined[number] = PLAN_NO_ROW;
            return TEL_OK;
        }
    }
    if (node->literal.len == 0 || has_nul(node->literal))
        return TEL_OK;
    bool spans = false, found = false;
    if (tel_span_find(skeleton, node->literal) != SIZE_MAX) {
        if (node->windows && !t->rest)
            rc = find_window(node, v, number, &found, err);
        if (rc == TEL_OK && found)
            node->refined[number] = PLAN_WINDOW;
        return rc;
    }
    if (!node->one_word)
        rc = reach_over_edges(v, number, node->literal, &spans, err);
    if (rc != TEL_OK || spans)
        return rc;
    rc = reach_holes(v, number, node->literal, &holes, err);
    if (rc != TEL_OK)
        return rc;
    node->holes[number] = holes;
    node->refined[number] = holes == 0          ? PLAN_NO_ROW
                              : node->is_literal ? PLAN_HOLES
                                                 : PLAN_IN_HOLES;
    return TEL_OK;
}

/* ---- leaves that streams decide ----------------------------------------------------------- */

/* Can only labels give this field a value? */
static bool is_label(const struct segment_reader *r, struct tel_span name)
{
    static const char *const others[] = {TEL_FIELD_MSG, TEL_FIELD_TIME, SEGMENT_FIELD_SEVERITY,
                                         SEGMENT_FIELD_TRACE_ID, SEGMENT_FIELD_SPAN_ID};
    for (size_t i = 0; i < TEL_ARRAY_LEN(others); i++) {
        if (tel_span_eq_cstr(name, others[i]))
            return false;
    }
    for (uint32_t i = 0; i < r->attribute_count; i++) {
        if (tel_span_eq(r->attributes[i].name, name))
            return false;
    }
    return true;
}

static tel_code match_stream(const struct tel_filter *f, const struct segment_stream *stream,
                             struct tel_arena *arena, bool *ret, struct tel_error *err)
{
    if (f->op == TEL_FILTER_STREAM) {
        struct tel_label *labels = TEL_ARENA_ARRAY(arena, struct tel_label, stream->label_count);
        for (uint32_t i = 0; i < stream->label_count; i++)
            labels[i] = (struct tel_label){stream->labels[i].name, stream->labels[i].value};
        return tel_filter_match_stream(f, labels, stream->label_count, ret, err);
    }
    return tel_filter_match_value(f, segment_stream_field(stream, f->field), ret, err);
}

static tel_code plan_stream(struct planning *p, struct plan_node *node)
{
    const struct segment_reader *r = p->reader;
    node->kind = PLAN_STREAM;
    node->streams = TEL_ARENA_ARRAY(p->arena, bool, r->stream_count + 1);
    uint8_t *some = TEL_ARENA_ARRAY(p->arena, uint8_t, r->family_count + 1);
    uint8_t *all = TEL_ARENA_ARRAY(p->arena, uint8_t, r->family_count + 1);
    memset(all, 1, r->family_count);
    for (uint32_t i = 0; i < r->stream_count; i++) {
        tel_code rc = tel_pace_step(&p->pace, TEL_PACE_WORK / 64, p->err);
        if (rc == TEL_OK)
            rc = match_stream(node->filter, &r->streams[i], p->arena, &node->streams[i], p->err);
        if (rc != TEL_OK)
            return rc;
        some[r->stream_family[i]] |= node->streams[i];
        all[r->stream_family[i]] &= node->streams[i];
    }
    for (uint32_t t = 0; t < r->template_count; t++) {
        uint32_t f = r->templates[t].family;
        node->verdicts[t] = all[f] ? VERDICT_ALL : some[f] ? VERDICT_MAYBE : VERDICT_NONE;
    }
    return TEL_OK;
}

/* ---- leaves on attributes ------------------------------------------------------------------ */

/* Is the attribute one that gives the field a value? */
static bool gives_field(const struct read_attribute *a, struct tel_span field)
{
    switch (a->kind) {
    case SEGMENT_ATTRIBUTE:
        return tel_span_eq(a->name, field);
    case SEGMENT_TRACE_ID:
        return tel_span_eq_cstr(field, SEGMENT_FIELD_TRACE_ID);
    case SEGMENT_SPAN_ID:
        return tel_span_eq_cstr(field, SEGMENT_FIELD_SPAN_ID);
    }
    return true;
}

/* May an attribute or a severity have a value that matches the leaf? Labels are asked elsewhere. */
static tel_code may_be_own(struct planning *p, const struct plan_node *node, bool *ret)
{
    const struct segment_reader *r = p->reader;
    struct tel_span field = node->filter->field;
    tel_code rc = TEL_OK;
    *ret = tel_span_eq_cstr(field, TEL_FIELD_TIME);
    for (uint32_t i = 0; i < r->attribute_count && !*ret; i++) {
        const struct read_attribute *a = &r->attributes[i];
        uint64_t under = words_under(a->kind, a->name);
        *ret = gives_field(a, field);
        for (size_t k = 0; k < node->word_count && *ret; k++)
            *ret = words_filter_may(&p->words, under, node->words[k]);
    }
    bool severity = tel_span_eq_cstr(field, SEGMENT_FIELD_SEVERITY);
    for (uint32_t i = 0; severity && i <= TEL_SEVERITY_MAX && !*ret && rc == TEL_OK; i++)
        rc = tel_filter_match_value(node->filter, segment_severity_text(i), ret, p->err);
    return rc;
}

/* A field that attributes may give a value: if none does that matches, then only labels can. */
static tel_code plan_column(struct planning *p, struct plan_node *node)
{
    const struct segment_reader *r = p->reader;
    tel_filter_words(node->filter, p->arena, &node->words, &node->word_count);
    if (node->word_count == 0)
        return TEL_OK;
    bool may;
    tel_code rc = may_be_own(p, node, &may);
    if (rc != TEL_OK || may)
        return rc;
    uint8_t *some = TEL_ARENA_ARRAY(p->arena, uint8_t, r->family_count + 1);
    for (uint32_t i = 0; i < r->stream_count && rc == TEL_OK; i++) {
        bool matches;
        rc = match_stream(node->filter, &r->streams[i], p->arena, &matches, p->err);
        some[r->stream_family[i]] |= rc == TEL_OK && matches;
    }
    for (uint32_t t = 0; t < r->template_count; t++)
        node->verdicts[t] = some[r->templates[t].family] ? VERDICT_MAYBE : VERDICT_NONE;
    return rc;
}

/* ---- the tree ----------------------------------------------------------------------------- */

static uint8_t combine(enum tel_filter_op op, const struct plan_node *node, uint32_t t)
{
    uint8_t verdict = op == TEL_FILTER_AND ? VERDICT_ALL : VERDICT_NONE;
    for (size_t i = 0; i < node->kid_count; i++) {
        uint8_t kid = node->kids[i].verdicts[t];
        verdict = op == TEL_FILTER_AND ? TEL_MIN(verdict, kid) : TEL_MAX(verdict, kid);
    }
    return verdict;
}

static tel_code plan_node(struct planning *p, const struct tel_filter *f, struct plan_node *node)
{
    uint32_t templates = p->reader->template_count;
    node->filter = f;
    node->verdicts = TEL_ARENA_ARRAY(p->arena, uint8_t, templates + 1);
    if (f->op == TEL_FILTER_AND || f->op == TEL_FILTER_OR || f->op == TEL_FILTER_NOT) {
        node->kind = PLAN_BRANCH;
        node->kid_count = f->kid_count;
        node->kids = TEL_ARENA_ARRAY(p->arena, struct plan_node, f->kid_count);
        for (size_t i = 0; i < f->kid_count; i++) {
            tel_code rc = plan_node(p, f->kids[i], &node->kids[i]);
            if (rc != TEL_OK)
                return rc;
        }
        for (uint32_t t = 0; t < templates; t++)
            node->verdicts[t] = f->op == TEL_FILTER_NOT
                                    ? (uint8_t)(VERDICT_ALL - node->kids[0].verdicts[t])
                                    : combine(f->op, node, t);
        return TEL_OK;
    }
    if (f->op == TEL_FILTER_ALL) {
        node->kind = PLAN_BRANCH;
        memset(node->verdicts, VERDICT_ALL, templates);
        return TEL_OK;
    }
    memset(node->verdicts, VERDICT_MAYBE, templates);
    node->kind = f->op == TEL_FILTER_TIME || f->op == TEL_FILTER_DAY_RANGE ||
                         f->op == TEL_FILTER_WEEK_RANGE
                     ? PLAN_TIME
                     : PLAN_OTHER;
    if (!tel_filter_is_value_leaf(f))
        return TEL_OK;
    if (f->op != TEL_FILTER_STREAM && tel_span_eq_cstr(f->field, TEL_FIELD_MSG)) {
        return plan_body(p, node);
    }
    if (f->op == TEL_FILTER_STREAM || is_label(p->reader, f->field))
        return plan_stream(p, node);
    return plan_column(p, node);
}

static tel_code open_words(struct planning *p)
{
    struct segment_reader *r = p->reader;
    if (!r->has_words) {
        struct tel_span section;
        tel_code rc = r->io.read(r->io.ctx, SEGMENT_SECTION_FILTER, &section, p->err);
        if (rc != TEL_OK)
            return rc;
        if (!words_filter_open(section, &r->words))
            return segment_corrupt(p->err, "filter cannot be read");
        r->has_words = true;
    }
    p->words = r->words;
    return TEL_OK;
}

tel_code plan_make(struct segment_reader *reader, const struct segment_query *query,
                   struct tel_arena *arena, struct plan **ret, struct tel_error *err)
{
    struct planning p = {.reader = reader,
                         .arena = arena,
                         .pace = {query->stop, query->stop_ctx, 0},
                         .err = err};
    struct plan *plan = TEL_ARENA_NEW(arena, struct plan);
    tel_code rc = open_words(&p);
    if (rc == TEL_OK)
        rc = plan_node(&p, query->filter, &plan->root);
    if (rc != TEL_OK)
        return rc;
    plan->exact = true;
    for (uint32_t t = 0; t < reader->template_count; t++) {
        plan->possible |= plan->root.verdicts[t] != VERDICT_NONE;
        plan->exact &= plan->root.verdicts[t] != VERDICT_MAYBE;
    }
    *ret = plan;
    return TEL_OK;
}

/* ---- why ------------------------------------------------------------------------------------- */

static bool is_none(const struct plan_node *node, uint32_t templates)
{
    for (uint32_t t = 0; t < templates; t++)
        if (node->verdicts[t] != VERDICT_NONE)
            return false;
    return true;
}

static bool lacks_word(const struct plan_node *node)
{
    if (node->kind == PLAN_OTHER)
        return node->word_count > 0;
    for (size_t i = 0; i < node->word_count; i++)
        if (!node->in_holes[i])
            return true;
    return false;
}

/* The counter of what told that no row can match: the first condition that does so alone. */
static uint64_t *told_by(const struct plan_node *node, uint32_t templates, struct segment_explain *e)
{
    if (node->kind == PLAN_STREAM)
        return &e->by_stream;
    if (node->kind == PLAN_BODY || node->kind == PLAN_OTHER)
        return lacks_word(node) ? &e->by_words : &e->by_templates;
    for (size_t i = 0; node->filter->op == TEL_FILTER_AND && i < node->kid_count; i++)
        if (is_none(&node->kids[i], templates))
            return told_by(&node->kids[i], templates, e);
    return &e->by_filter;
}

void plan_explain(const struct segment_reader *reader, const struct plan *plan,
                  struct segment_explain *explain)
{
    uint32_t templates = reader->template_count;
    if (plan && !plan->possible) {
        ++*told_by(&plan->root, templates, explain);
        return;
    }
    explain->read++;
    explain->templates += templates;
    for (uint32_t t = 0; t < templates; t++) {
        explain->templates_skipped += plan && plan->root.verdicts[t] == VERDICT_NONE;
        explain->templates_whole += !plan || plan->root.verdicts[t] == VERDICT_ALL;
    }
}
