/* See pipe.h: the table of pipes, and what is asked of a query's pipes without running them. */
#include "common/logsql/pipe.h"

#include <strings.h>

#include "common/base/buf.h"
#include "common/logsql/filter.h"
#include "common/logsql/parse.h"
#include "common/logsql/pipes.h"
#include "common/logsql/score.h"
#include "common/logsql/stats.h"

static const struct entry {
    const struct tel_pipe_ops *ops;
    enum tel_pipe_place place;
    const char *names;
} table[] = {
#define TEL_PIPE(symbol, where, names) {&tel_pipe_##symbol, TEL_PLACE_##where, names},
#include "common/logsql/pipes.def"
#undef TEL_PIPE
};

/* Is word, in any case, one of the names? */
static bool has_name(const char *names, struct tel_span word)
{
    struct tel_span rest = tel_span_cstr(names);
    while (rest.ptr) {
        struct tel_span name = tel_span_split(&rest, ' ');
        if (name.len == word.len && strncasecmp(name.ptr, word.ptr, word.len) == 0)
            return true;
    }
    return false;
}

static const struct tel_pipe_ops *find(struct tel_span word)
{
    for (size_t i = 0; i < TEL_ARRAY_LEN(table); i++)
        if (has_name(table[i].names, word))
            return table[i].ops;
    return NULL;
}

bool tel_pipe_is_name(struct tel_span word)
{
    return find(word) || tel_stats_find(word);
}

bool tel_pipe_is_reserved(struct tel_span word)
{
    const struct tel_pipe_ops *pipe = find(word);
    const struct tel_stats_ops *stats = tel_stats_find(word);
    return (pipe && pipe != &tel_pipe_patterns) || (stats && stats != &tel_stats_sum_words);
}

enum tel_pipe_place tel_pipe_place(const struct tel_pipe *pipe)
{
    for (size_t i = 0; i < TEL_ARRAY_LEN(table); i++)
        if (table[i].ops == pipe->ops)
            return table[i].place;
    TEL_UNREACHABLE();
}

bool tel_pipe_counts(const struct tel_pipe *pipe, struct tel_pipe_counting *ret)
{
    *ret = (struct tel_pipe_counting){NULL};
    return pipe->ops->counts && pipe->ops->counts(pipe, ret);
}

void tel_pipe_print(struct tel_buf *out, const struct tel_pipe *pipe)
{
    pipe->ops->print(pipe, out);
}

/* Does a stats pipe start here without its name: count() n, by (host) count() n? */
static bool is_bare_stats(struct tel_parser *p)
{
    struct tel_lexer ahead = p->lex;
    tel_lexer_next(&ahead);
    if (p->lex.token.kind == TEL_TOKEN_WORD && tel_lexer_is(&ahead, "("))
        return tel_parse_is(p, "by") || tel_stats_find(p->lex.token.text);
    return false;
}

tel_code tel_parse_pipe(struct tel_parser *p, struct tel_pipe **ret)
{
    size_t pos = tel_lexer_offset(&p->lex);
    const struct tel_pipe_ops *ops =
        p->lex.token.kind == TEL_TOKEN_WORD ? find(p->lex.token.text) : NULL;
    if (tel_parse_at_end(p))
        return tel_parse_expected(p, "a pipe");
    TEL_TRY(tel_parse_enter(p));
    if (ops) {
        tel_lexer_next(&p->lex);
        TEL_TRY(ops->parse(p, ret));
    } else if (is_bare_stats(p)) {
        ops = &tel_pipe_stats;
        TEL_TRY(ops->parse(p, ret));
    } else if (tel_parse_is(p, "(")) {
        /* (host) count() n is a stats pipe, (a or b) a filter. */
        struct tel_lexer start = p->lex;
        struct tel_error *err = p->err;
        p->err = NULL;
        ops = &tel_pipe_stats;
        unsigned depth = p->depth;
        tel_code rc = ops->parse(p, ret);
        p->err = err;
        p->depth = depth;
        if (rc != TEL_OK) {
            p->lex = start;
            ops = &tel_pipe_filter;
            TEL_TRY(ops->parse(p, ret));
        }
    } else {
        ops = &tel_pipe_filter;
        TEL_TRY(ops->parse(p, ret));
    }
    tel_parse_leave(p);
    (*ret)->ops = ops;
    (*ret)->pos = (uint32_t)pos;
    return TEL_OK;
}

size_t tel_query_split(const struct tel_query *query, bool *ret_partial)
{
    size_t n = 0;
    while (n < query->pipe_count && tel_pipe_place(query->pipes[n]) == TEL_PLACE_SHARD)
        n++;
    bool partial = n < query->pipe_count && tel_pipe_place(query->pipes[n]) == TEL_PLACE_PARTIAL;
    if (ret_partial)
        *ret_partial = partial;
    return n + partial;
}

bool tel_query_is_row_local(const struct tel_query *query)
{
    bool partial;
    return tel_query_split(query, &partial) == query->pipe_count && !partial;
}

bool tel_query_is_streaming(const struct tel_query *query)
{
    for (size_t i = 0; i < query->pipe_count; i++)
        if (tel_pipe_place(query->pipes[i]) != TEL_PLACE_SHARD)
            return false;
    return true;
}

void tel_query_needed_fields(const struct tel_query *query, size_t first, struct tel_fields *ret)
{
    tel_fields_clear(ret);
    tel_fields_add(ret, TEL_SPAN("*"));
    for (size_t i = query->pipe_count; i-- > first;)
        if (query->pipes[i]->ops->needed)
            query->pipes[i]->ops->needed(query->pipes[i], ret);
    if (first == 0 && query->score && tel_fields_has(ret, TEL_SPAN("_score"))) {
        tel_fields_remove(ret, TEL_SPAN("_score"));
        tel_fields_add_all(ret, query->score->fields, query->score->field_count);
    }
}

const struct tel_pattern *tel_query_excerpt(const struct tel_query *query)
{
    if (query->pipe_count < 2 || query->score || !query->pipes[0]->ops->excerpt)
        return NULL;
    struct tel_arena arena;
    struct tel_fields behind;
    tel_arena_init(&arena, 0);
    tel_fields_init(&behind, &arena);
    tel_query_needed_fields(query, 1, &behind);
    bool alone = !tel_fields_has(&behind, TEL_SPAN(TEL_FIELD_MSG));
    tel_arena_free(&arena);
    return alone ? query->pipes[0]->ops->excerpt(query->pipes[0]) : NULL;
}

bool tel_query_any_order(const struct tel_query *query, size_t count)
{
    /* Pipes that make the same of a row wherever it stands. */
    static const char *const single[] = {
        "fields",         "delete",      "copy",        "rename",        "format",
        "extract",        "extract_regexp", "len",      "hash",          "unpack_json",
        "unpack_logfmt",  "unpack_syslog",  "unpack_words", "replace",   "replace_regexp",
        "filter",         "collapse_nums",  "decolorize",
    };
    struct tel_pipe_counting counting;
    if (count == 0 || query->score || query->options.time_offset_ns)
        return false;
    for (size_t i = 0; i + 1 < count; i++) {
        bool found = false;
        for (size_t k = 0; k < TEL_ARRAY_LEN(single) && !found; k++)
            found = strcmp(query->pipes[i]->ops->name, single[k]) == 0;
        if (!found)
            return false;
    }
    const struct tel_pipe *last = query->pipes[count - 1];
    return last->ops->any_order ? last->ops->any_order(last) : tel_pipe_counts(last, &counting);
}

/* ---- subqueries
 * ---------------------------------------------------------------------------------- */

static tel_code visit_filter(struct tel_filter *f, tel_filter_visitor visit, void *ctx,
                             struct tel_error *err)
{
    for (size_t i = 0; i < f->kid_count; i++) {
        tel_code rc = visit_filter(f->kids[i], visit, ctx, err);
        if (rc != TEL_OK)
            return rc;
    }
    return f->kid_count ? TEL_OK : visit(ctx, &f, err);
}

struct leaf_visit {
    tel_filter_visitor visit;
    void *ctx;
};

static tel_code visit_leaves(void *ctx, struct tel_filter **filter, struct tel_error *err)
{
    struct leaf_visit *v = ctx;
    return visit_filter(*filter, v->visit, v->ctx, err);
}

static tel_code each_leaf(struct tel_query *query, tel_filter_visitor visit, void *ctx,
                          struct tel_error *err)
{
    struct leaf_visit v = {visit, ctx};
    tel_code rc = visit_filter(query->filter, visit, ctx, err);
    for (size_t i = 0; i < query->pipe_count && rc == TEL_OK; i++) {
        struct tel_query *inner = tel_pipe_subquery(query->pipes[i]);
        if (query->pipes[i]->ops->filters)
            rc = query->pipes[i]->ops->filters(query->pipes[i], visit_leaves, &v, err);
        if (inner && rc == TEL_OK)
            rc = each_leaf(inner, visit, ctx, err);
    }
    return rc;
}

static tel_code find_subquery(void *ctx, struct tel_filter **leaf, struct tel_error *err)
{
    (void)err;
    if ((*leaf)->subquery)
        *(bool *)ctx = true;
    return TEL_OK;
}

bool tel_query_has_subqueries(const struct tel_query *query)
{
    bool found = query->score && !query->score->known;
    /* The visitor does not change the tree. */
    tel_code rc = each_leaf((struct tel_query *)(uintptr_t)query, find_subquery, &found, NULL);
    TEL_CHECK(rc == TEL_OK);
    return found;
}

struct collect {
    struct tel_exec *exec;
    struct tel_arena *arena;
    struct tel_span field;
    struct tel_span *values;
    size_t count, cap;
};

/* One round of memory for the values that a subquery gives; repeated ones in a row are left out. */
static tel_code collect_block(void *ctx, const struct tel_block *block, struct tel_error *err)
{
    struct collect *c = ctx;
    const struct tel_column *column = tel_block_column(block, c->field);
    char text[TEL_TIME_TEXT_MAX];
    size_t limit = c->exec->memory_limit ? c->exec->memory_limit : TEL_EXEC_MEMORY_DEFAULT;
    for (size_t i = 0; i < block->rows; i++) {
        /* A block without the column holds rows without the field: the empty value counts. */
        struct tel_span v =
            column ? tel_column_value(block, column, i, text) : (struct tel_span){"", 0};
        if (c->count && tel_span_eq(c->values[c->count - 1], v))
            continue;
        if (c->count == c->cap) {
            size_t grown = c->cap ? c->cap * 2 : 64;
            struct tel_span *bigger = TEL_ARENA_ARRAY(c->arena, struct tel_span, grown);
            if (c->count)
                memcpy(bigger, c->values, c->count * sizeof *bigger);
            c->values = bigger;
            c->cap = grown;
        }
        bool own;
        tel_code rc = tel_exec_charge(c->exec, v.len + 2 * sizeof v, &own, err);
        if (rc != TEL_OK)
            return own ? tel_error_set(
                             err, TEL_ERR_LIMIT,
                             "the values of a subquery need more than the query's memory of %zu MiB",
                             limit >> 20)
                       : rc;
        c->values[c->count++] = tel_arena_copy(c->arena, v);
    }
    return TEL_OK;
}

struct resolve {
    struct tel_query *query;
    struct tel_exec *exec;
};

static tel_code resolve_leaf(void *ctx, struct tel_filter **filter, struct tel_error *err)
{
    struct resolve *r = ctx;
    struct tel_filter *leaf = *filter;
    if (!leaf->subquery)
        return TEL_OK;
    if (!r->exec->run)
        return tel_error_set(err, TEL_ERR_UNSUPPORTED, "subqueries cannot be run here");
    struct collect c = {.exec = r->exec, .arena = r->query->arena, .field = leaf->subquery_field};
    tel_code rc = tel_query_resolve(leaf->subquery, r->exec, err);
    if (rc == TEL_OK)
        rc = r->exec->run(r->exec->run_ctx, leaf->subquery, collect_block, &c, err);
    if (rc == TEL_OK)
        tel_filter_set_values(leaf, c.values, c.count, r->query->arena);
    return rc;
}

tel_code tel_query_resolve(struct tel_query *query, struct tel_exec *exec, struct tel_error *err)
{
    struct resolve r = {query, exec};
    tel_code rc = each_leaf(query, resolve_leaf, &r, err);
    if (rc == TEL_OK && query->score && !query->score->known)
        rc = tel_score_gather(query, exec, err);
    return rc;
}

bool tel_pipe_single_field(const struct tel_pipe *pipe, struct tel_span *ret)
{
    if (pipe->ops == &tel_pipe_fields)
        return tel_pipe_fields_single(pipe, ret);
    if (pipe->ops == &tel_pipe_uniq)
        return tel_pipe_uniq_single(pipe, ret);
    return false;
}
