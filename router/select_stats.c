/*
 * Counting: hits over time, facets, and stats as Prometheus shows them. Each is the query with a
 * pipe behind it; what comes back is small (the memory of the query bounds it) and is kept here.
 */
#include <stdlib.h>

#include "common/base/map.h"
#include "common/base/vec.h"
#include "common/logsql/print.h"
#include "common/logsql/stats.h"
#include "router/select_internal.h"

#define STEPS_MAX 100000u

static struct tel_span value_of(const struct tel_block *b, const char *name, size_t row)
{
    const struct tel_column *c = tel_block_column(b, tel_span_cstr(name));
    return c && c->values ? c->values[row] : TEL_SPAN("");
}

/* ---- hits ------------------------------------------------------------------------------------ */

struct point {
    int64_t time_ns;
    struct tel_span value; /* as text */
    uint64_t count;
};

struct group {
    struct tel_span labels; /* JSON */
    TEL_VEC(struct point) points;
    uint64_t total;
};

/* Series of points by their labels. */
struct series {
    struct tel_arena *arena;
    struct tel_map by_labels; /* -> index + 1 */
    TEL_VEC(struct group) groups;
    const struct tel_span *fields; /* labels of hits */
    size_t field_count;
    /* of stats */
    const struct tel_query *tree;
    const struct tel_pipe *stats;
    size_t stats_index; /* where it stands in tree */
    int64_t time_ns;
    bool range;
    size_t count;
};

static struct group *series_group(struct series *s, struct tel_span labels)
{
    bool is_new;
    uint64_t *slot = tel_map_put(&s->by_labels, labels, &is_new);
    if (is_new) {
        struct group g = {.labels = tel_arena_copy(s->arena, labels)};
        tel_vec_push(&s->groups, g);
        *slot = s->groups.len;
    }
    return &s->groups.items[*slot - 1];
}

static void series_free(struct series *s)
{
    for (size_t i = 0; i < s->groups.len; i++)
        tel_vec_free(&s->groups.items[i].points);
    tel_vec_free(&s->groups);
    tel_map_free(&s->by_labels);
}

static tel_code series_full(struct series *s, struct tel_error *err)
{
    if (++s->count <= STEPS_MAX * 10)
        return TEL_OK;
    return tel_error_set(err, TEL_ERR_LIMIT,
                         "more than %u points: choose a longer step or fewer fields",
                         STEPS_MAX * 10);
}

static void add_label(struct tel_buf *out, struct tel_span name, struct tel_span value)
{
    if (out->len > 1)
        tel_buf_add_char(out, ',');
    tel_buf_add_json(out, name);
    tel_buf_add_char(out, ':');
    tel_buf_add_json(out, value);
}

static tel_code hits_sink(void *ctx, const struct tel_block *b, struct tel_error *err)
{
    struct series *s = ctx;
    struct tel_buf labels = {0};
    tel_code rc = TEL_OK;
    for (size_t row = 0; row < b->rows && rc == TEL_OK; row++) {
        struct point p = {0};
        unsigned long long n = 0;
        if (!tel_time_parse(value_of(b, "_time", row), &p.time_ns))
            continue;
        tel_span_to_u64(value_of(b, "hits", row), &n);
        p.count = n;
        tel_buf_clear(&labels);
        tel_buf_add_char(&labels, '{');
        for (size_t i = 0; i < s->field_count; i++) {
            const struct tel_column *c = tel_block_column(b, s->fields[i]);
            add_label(&labels, s->fields[i], c && c->values ? c->values[row] : TEL_SPAN(""));
        }
        tel_buf_add_char(&labels, '}');
        struct group *g = series_group(s, tel_buf_span(&labels));
        g->total += p.count;
        tel_vec_push(&g->points, p);
        rc = series_full(s, err);
    }
    tel_buf_free(&labels);
    return rc;
}

static int by_total(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    if (x->total != y->total)
        return x->total > y->total ? -1 : 1;
    return tel_span_cmp(x->labels, y->labels);
}

static int by_time(const void *a, const void *b)
{
    const struct point *x = a, *y = b;
    return x->time_ns < y->time_ns ? -1 : x->time_ns > y->time_ns;
}

/* What is behind the first `limit` groups becomes one group without labels, at the end. */
static void groups_fold(struct series *s, uint64_t limit)
{
    if (limit == 0 || s->groups.len <= limit)
        return;
    struct group other = {.labels = TEL_SPAN("{}")};
    for (size_t i = (size_t)limit; i < s->groups.len; i++) {
        struct group *g = &s->groups.items[i];
        other.total += g->total;
        for (size_t k = 0; k < g->points.len; k++)
            tel_vec_push(&other.points, g->points.items[k]);
        tel_vec_free(&g->points);
    }
    qsort(other.points.items, other.points.len, sizeof(struct point), by_time);
    size_t n = 0;
    for (size_t k = 0; k < other.points.len; k++) {
        if (n > 0 && other.points.items[n - 1].time_ns == other.points.items[k].time_ns)
            other.points.items[n - 1].count += other.points.items[k].count;
        else
            other.points.items[n++] = other.points.items[k];
    }
    other.points.len = n;
    s->groups.len = (size_t)limit;
    tel_vec_push(&s->groups, other);
}

static void hits_reply(struct tel_http_request *req, struct series *s)
{
    struct tel_buf out = {0};
    char text[TEL_TIME_TEXT_MAX];
    TEL_BUF_ADD_LIT(&out, "{\"hits\":[");
    for (size_t i = 0; i < s->groups.len; i++) {
        struct group *g = &s->groups.items[i];
        qsort(g->points.items, g->points.len, sizeof(struct point), by_time);
        tel_buf_printf(&out, "%s{\"fields\":", i ? "," : "");
        tel_buf_add_span(&out, g->labels);
        TEL_BUF_ADD_LIT(&out, ",\"timestamps\":[");
        for (size_t k = 0; k < g->points.len; k++) {
            tel_time_format(text, g->points.items[k].time_ns);
            tel_buf_printf(&out, "%s\"%s\"", k ? "," : "", text);
        }
        TEL_BUF_ADD_LIT(&out, "],\"values\":[");
        for (size_t k = 0; k < g->points.len; k++)
            tel_buf_printf(&out, "%s%llu", k ? "," : "",
                           (unsigned long long)g->points.items[k].count);
        tel_buf_printf(&out, "],\"total\":%llu}", (unsigned long long)g->total);
    }
    TEL_BUF_ADD_LIT(&out, "]}\n");
    tel_http_reply(req, 200, "application/json", tel_buf_span(&out));
    tel_buf_free(&out);
}

static size_t field_params(struct tel_http_request *req, struct tel_span **ret)
{
    size_t count, n = 0;
    const struct tel_http_pair *pairs = tel_http_params(req, &count);
    *ret = TEL_ARENA_ARRAY(tel_http_arena(req), struct tel_span, count + 1);
    for (size_t i = 0; i < count; i++)
        if ((tel_span_eq_cstr(pairs[i].name, "field") ||
             tel_span_eq_cstr(pairs[i].name, "field[]")) &&
            pairs[i].value.len > 0)
            (*ret)[n++] = pairs[i].value;
    return n;
}

static bool step_read(struct tel_http_request *req, const char *def_text, int64_t def_ns,
                      int64_t *ret_step, int64_t *ret_offset)
{
    if (!select_arg_duration(req, "step", def_ns, ret_step) ||
        !select_arg_duration(req, "offset", 0, ret_offset))
        return false;
    if (*ret_step > 0)
        return true;
    tel_http_reply_error(req, 400, "step: expected a duration above zero such as %s", def_text);
    return false;
}

/* ":<step>ns[ offset <o>ns]" */
static void print_step(struct tel_buf *out, int64_t step_ns, int64_t offset_ns)
{
    tel_buf_printf(out, ":%lldns", (long long)step_ns);
    if (offset_ns)
        tel_buf_printf(out, " offset %lldns", (long long)offset_ns);
}

void select_hits_handler(void *ctx, struct tel_http_request *req)
{
    struct select *sel = ctx;
    struct select_args args;
    int64_t step_ns, offset_ns;
    uint64_t fields_limit;
    if (!step_read(req, "1m", TEL_NS_PER_DAY, &step_ns, &offset_ns) ||
        !select_arg_uint(req, "fields_limit", 0, &fields_limit) ||
        !select_args_read(sel, req, false, &args))
        return;
    struct tel_span *fields;
    size_t field_count = field_params(req, &fields);
    struct tel_query rows;
    select_events(args.tree, &rows);
    struct tel_buf pipe = {0};
    TEL_BUF_ADD_LIT(&pipe, "stats by (_time");
    print_step(&pipe, step_ns, offset_ns);
    for (size_t i = 0; i < field_count; i++) {
        TEL_BUF_ADD_LIT(&pipe, ", ");
        tel_print_token(&pipe, fields[i]);
    }
    TEL_BUF_ADD_LIT(&pipe, ") count() as hits");
    args.params.text = select_query_with(req, &rows, "%s", tel_buf_cstr(&pipe));
    tel_buf_free(&pipe);
    struct series s = {.arena = tel_http_arena(req), .fields = fields, .field_count = field_count};
    if (select_run(sel, req, &args.params, hits_sink, &s)) {
        if (s.groups.len)
            qsort(s.groups.items, s.groups.len, sizeof(struct group), by_total);
        groups_fold(&s, fields_limit);
        hits_reply(req, &s);
    }
    series_free(&s);
    select_args_done(&args);
}

/* ---- facets ---------------------------------------------------------------------------------- */

struct facet_hit {
    struct tel_span field, value;
    unsigned long long hits;
};

struct facets {
    struct tel_arena *arena;
    TEL_VEC(struct facet_hit) items;
};

static tel_code facets_sink(void *ctx, const struct tel_block *b, struct tel_error *err)
{
    struct facets *f = ctx;
    (void)err;
    for (size_t row = 0; row < b->rows; row++) {
        struct facet_hit hit = {
            .field = tel_arena_copy(f->arena, value_of(b, "field_name", row)),
            .value = tel_arena_copy(f->arena, value_of(b, "field_value", row)),
        };
        tel_span_to_u64(value_of(b, "hits", row), &hit.hits);
        tel_vec_push(&f->items, hit);
    }
    return TEL_OK;
}

static int by_field(const void *a, const void *b)
{
    const struct facet_hit *x = a, *y = b;
    int c = tel_span_cmp(x->field, y->field);
    if (c == 0)
        c = x->hits != y->hits ? (x->hits > y->hits ? -1 : 1) : tel_span_cmp(x->value, y->value);
    return c;
}

void select_facets_handler(void *ctx, struct tel_http_request *req)
{
    struct select *sel = ctx;
    struct select_args args;
    uint64_t limit, values_max, length_max;
    if (!select_arg_uint(req, "limit", 10, &limit) ||
        !select_arg_uint(req, "max_values_per_field", 1000, &values_max) ||
        !select_arg_uint(req, "max_value_len", 128, &length_max) ||
        !select_args_read(sel, req, false, &args))
        return;
    bool keep_const = select_arg_flag(req, "keep_const_fields");
    limit = limit ? limit : 10;
    values_max = values_max ? values_max : 1000;
    length_max = length_max ? length_max : 128;
    struct tel_query rows;
    select_events(args.tree, &rows);
    args.params.text = select_query_with(
        req, &rows, "facets %llu max_values_per_field %llu max_value_len %llu%s",
        (unsigned long long)limit, (unsigned long long)values_max, (unsigned long long)length_max,
        keep_const ? " keep_const_fields" : "");
    struct facets f = {.arena = tel_http_arena(req)};
    if (select_run(sel, req, &args.params, facets_sink, &f)) {
        if (f.items.len)
            qsort(f.items.items, f.items.len, sizeof(struct facet_hit), by_field);
        struct tel_buf out = {0};
        TEL_BUF_ADD_LIT(&out, "{\"facets\":[");
        for (size_t i = 0; i < f.items.len; i++) {
            const struct facet_hit *h = &f.items.items[i];
            bool same = i > 0 && tel_span_eq(h->field, h[-1].field);
            if (!same) {
                tel_buf_printf(&out, "%s{\"field_name\":", i ? "]}," : "");
                tel_buf_add_json(&out, h->field);
                TEL_BUF_ADD_LIT(&out, ",\"values\":[");
            }
            tel_buf_printf(&out, "%s{\"field_value\":", same ? "," : "");
            tel_buf_add_json(&out, h->value);
            tel_buf_printf(&out, ",\"hits\":%llu}", h->hits);
        }
        tel_buf_printf(&out, "%s]}\n", f.items.len ? "]}" : "");
        tel_http_reply(req, 200, "application/json", tel_buf_span(&out));
        tel_buf_free(&out);
    }
    tel_vec_free(&f.items);
    select_args_done(&args);
}

/* ---- stats as Prometheus has them --------------------------------------------------------------
 */

/* The last stats pipe; the labels of the answer are what it groups by. NULL: there is none. */
static const struct tel_pipe *find_stats(const struct tel_query *tree, size_t *ret_index)
{
    for (size_t i = tree->pipe_count; i > 0; i--) {
        if (strcmp(tree->pipes[i - 1]->ops->name, "stats") == 0) {
            *ret_index = i - 1;
            return tree->pipes[i - 1];
        }
    }
    return NULL;
}

/* What stats groups by, and what a format behind it makes, is a label; all else is a metric. */
static bool is_label(const struct series *s, struct tel_span name)
{
    struct tel_span by, made;
    for (size_t i = 0; tel_stats_by_field(s->stats, i, &by); i++)
        if (tel_span_eq(by, name))
            return true;
    for (size_t i = s->stats_index + 1; i < s->tree->pipe_count; i++)
        if (tel_format_result(s->tree->pipes[i], &made) && tel_span_eq(made, name))
            return true;
    return false;
}

static tel_code stats_sink(void *ctx, const struct tel_block *b, struct tel_error *err)
{
    struct series *s = ctx;
    struct tel_buf labels = {0};
    tel_code rc = TEL_OK;
    for (size_t row = 0; row < b->rows && rc == TEL_OK; row++) {
        struct point p = {.time_ns = s->time_ns};
        if (s->range && !tel_time_parse(value_of(b, "_time", row), &p.time_ns))
            continue;
        for (size_t m = 0; m < b->column_count && rc == TEL_OK; m++) {
            struct tel_span metric = b->columns[m].name;
            if (is_label(s, metric) || !b->columns[m].values ||
                tel_span_eq_cstr(metric, TEL_FIELD_TIME))
                continue;
            tel_buf_clear(&labels);
            tel_buf_add_char(&labels, '{');
            add_label(&labels, TEL_SPAN("__name__"), metric);
            for (size_t c = 0; c < b->column_count; c++)
                if (is_label(s, b->columns[c].name) && b->columns[c].values &&
                    !(s->range && tel_span_eq_cstr(b->columns[c].name, TEL_FIELD_TIME)))
                    add_label(&labels, b->columns[c].name, b->columns[c].values[row]);
            tel_buf_add_char(&labels, '}');
            p.value = tel_arena_copy(s->arena, b->columns[m].values[row]);
            struct group *g = series_group(s, tel_buf_span(&labels));
            tel_vec_push(&g->points, p);
            rc = series_full(s, err);
        }
    }
    tel_buf_free(&labels);
    return rc;
}

static void add_point(struct tel_buf *out, const struct point *p)
{
    tel_buf_add_char(out, '[');
    tel_buf_add_i64(out, p->time_ns / TEL_NS_PER_S);
    if (p->time_ns % TEL_NS_PER_S > 0)
        tel_buf_printf(out, ".%03lld", (long long)(p->time_ns % TEL_NS_PER_S / TEL_NS_PER_MS));
    tel_buf_add_char(out, ',');
    tel_buf_add_json(out, p->value);
    tel_buf_add_char(out, ']');
}

static void stats_reply(struct tel_http_request *req, struct series *s)
{
    struct tel_buf out = {0};
    tel_buf_printf(&out, "{\"status\":\"success\",\"data\":{\"resultType\":\"%s\",\"result\":[",
                   s->range ? "matrix" : "vector");
    for (size_t i = 0; i < s->groups.len; i++) {
        struct group *g = &s->groups.items[i];
        qsort(g->points.items, g->points.len, sizeof(struct point), by_time);
        tel_buf_printf(&out, "%s{\"metric\":", i ? "," : "");
        tel_buf_add_span(&out, g->labels);
        tel_buf_printf(&out, ",\"value%s", s->range ? "s\":[" : "\":");
        for (size_t k = 0; k < g->points.len && (s->range || k == 0); k++) {
            if (k)
                tel_buf_add_char(&out, ',');
            add_point(&out, &g->points.items[k]);
        }
        tel_buf_printf(&out, "%s}", s->range ? "]" : "");
    }
    TEL_BUF_ADD_LIT(&out, "]}}\n");
    tel_http_reply(req, 200, "application/json", tel_buf_span(&out));
    tel_buf_free(&out);
}

/* The canonical text of the query, with _time:<step> as the first field that its stats group by. */
static struct tel_span text_with_step(struct tel_http_request *req, const struct tel_query *tree,
                                      size_t stats_index, int64_t step_ns, int64_t offset_ns)
{
    struct tel_buf out = {0}, pipe = {0};
    struct tel_query head = *tree;
    head.pipe_count = stats_index;
    tel_query_print(&out, &head);
    for (size_t i = stats_index; i < tree->pipe_count; i++) {
        tel_buf_clear(&pipe);
        tel_pipe_print(&pipe, tree->pipes[i]);
        struct tel_span text = tel_buf_span(&pipe);
        TEL_BUF_ADD_LIT(&out, " | ");
        if (i == stats_index) {
            bool by = tel_span_starts(text, TEL_SPAN("stats by ("));
            TEL_BUF_ADD_LIT(&out, "stats by (_time");
            print_step(&out, step_ns, offset_ns);
            tel_buf_printf(&out, "%s", by ? ", " : ") ");
            text = tel_span_slice(text, by ? 10 : 6, text.len);
        }
        tel_buf_add_span(&out, text);
    }
    struct tel_span whole = tel_arena_copy(tel_http_arena(req), tel_buf_span(&out));
    tel_buf_free(&out);
    tel_buf_free(&pipe);
    return whole;
}

static void stats_answer(struct select *sel, struct tel_http_request *req, bool range)
{
    struct select_args args;
    int64_t step_ns = 0, offset_ns = 0, time_ns = 0;
    size_t index = 0;
    tel_http_errors_as_json(req);
    if ((range && !step_read(req, "1m", TEL_NS_PER_DAY, &step_ns, &offset_ns)) ||
        !select_args_read(sel, req, false, &args))
        return;
    struct series s = {.arena = tel_http_arena(req), .range = range, .time_ns = args.params.now_ns};
    if (!range && !select_arg_time(req, "time", args.params.now_ns, &time_ns)) {
        select_args_done(&args);
        return;
    }
    if (!range) {
        struct tel_span given;
        s.time_ns = time_ns;
        args.params.now_ns = time_ns;
        /* What is counted up to `end` is so at `end`. */
        if (!tel_http_param(req, "time", &given) && !select_arg_at(req, "end", &s.time_ns)) {
            select_args_done(&args);
            return;
        }
    }
    s.tree = args.tree;
    s.stats = find_stats(args.tree, &index);
    s.stats_index = index;
    if (!s.stats) {
        tel_http_reply_error(req, 422, "the query has no stats pipe");
    } else {
        if (range)
            args.params.text = text_with_step(req, args.tree, index, step_ns, offset_ns);
        if (select_run(sel, req, &args.params, stats_sink, &s))
            stats_reply(req, &s);
    }
    series_free(&s);
    select_args_done(&args);
}

void select_stats_handler(void *ctx, struct tel_http_request *req)
{
    stats_answer(ctx, req, false);
}

void select_stats_range_handler(void *ctx, struct tel_http_request *req)
{
    stats_answer(ctx, req, true);
}
