/*
 * Two renderings of the same: an object for programs, and lines for people. What a shard counts is
 * in one table, `counts`, for both.
 */
#include "router/explain.h"

#include <stddef.h>

#include "common/base/clock.h"
#include "common/base/timefmt.h"
#include "common/logsql/print.h"

typedef Telescope__Shard__V1__SearchExplain shard_explain;
typedef Telescope__Shard__V1__SearchStats shard_stats;

static double ms(int64_t ns)
{
    return (double)ns / 1e6;
}

/* ---- pipes ------------------------------------------------------------------------------------ */

enum place { ON_SHARDS, ON_BOTH, ON_ROUTER };

static enum place pipe_place(const struct tel_query *tree, size_t i)
{
    bool partial;
    size_t split = tel_query_split(tree, &partial);
    if (i + 1 == split && partial)
        return ON_BOTH;
    return i < split ? ON_SHARDS : ON_ROUTER;
}

static void add_pipe(const struct tel_query *tree, size_t i, struct tel_buf *out)
{
    if (tree->pipes[i]->ops->print)
        tree->pipes[i]->ops->print(tree->pipes[i], out);
    else
        tel_buf_add_span(out, tel_span_cstr(tree->pipes[i]->ops->name));
}

static void json_pipes(const struct tel_query *tree, struct tel_buf *out)
{
    static const char *const places[] = {"shards", "shards, then router", "router"};
    struct tel_buf text = {0};
    TEL_BUF_ADD_LIT(out, ",\"filter\":");
    tel_filter_print(&text, tree->filter);
    tel_buf_add_json(out, tel_buf_span(&text));
    TEL_BUF_ADD_LIT(out, ",\"pipes\":[");
    for (size_t i = 0; i < tree->pipe_count; i++) {
        tel_buf_clear(&text);
        add_pipe(tree, i, &text);
        tel_buf_printf(out, "%s{\"pipe\":", i ? "," : "");
        tel_buf_add_json(out, tel_buf_span(&text));
        tel_buf_printf(out, ",\"runs\":\"%s\"}", places[pipe_place(tree, i)]);
    }
    tel_buf_add_char(out, ']');
    tel_buf_free(&text);
}

static void text_pipes(const struct tel_query *tree, struct tel_buf *out)
{
    TEL_BUF_ADD_LIT(out, "plan       shards:             ");
    tel_filter_print(out, tree->filter);
    tel_buf_add_char(out, '\n');
    static const char *const places[] = {"shards:", "shards, in part;", "router:"};
    for (size_t i = 0; i < tree->pipe_count; i++) {
        enum place place = pipe_place(tree, i);
        tel_buf_printf(out, "           %-19s | ", places[place]);
        add_pipe(tree, i, out);
        tel_buf_printf(out, "%s\n", place == ON_BOTH ? "   (the router puts the parts together)" : "");
    }
}

/* ---- counts of the shards --------------------------------------------------------------------- */

#define IN(type, member) offsetof(type, member)
static const struct count {
    const char *name;
    bool stats;    /* in SearchStats, else in SearchExplain */
    size_t offset; /* of an uint64_t */
} counts[] = {
    {"days", false, IN(shard_explain, days)},
    {"days_outside", false, IN(shard_explain, days_outside)},
    {"segments_other_tenants", false, IN(shard_explain, segments_other_tenants)},
    {"segments_outside", false, IN(shard_explain, segments_outside)},
    {"segments_older", false, IN(shard_explain, segments_older)},
    {"segments_by_stream", false, IN(shard_explain, segments_by_stream)},
    {"segments_by_words", false, IN(shard_explain, segments_by_words)},
    {"segments_by_templates", false, IN(shard_explain, segments_by_templates)},
    {"segments_by_filter", false, IN(shard_explain, segments_by_filter)},
    {"segments_counted", false, IN(shard_explain, segments_counted)},
    {"segments_kept", false, IN(shard_explain, segments_kept)},
    {"segments_read", false, IN(shard_explain, segments_read)},
    {"templates", false, IN(shard_explain, templates)},
    {"templates_skipped", false, IN(shard_explain, templates_skipped)},
    {"templates_whole", false, IN(shard_explain, templates_whole)},
    {"chunks", false, IN(shard_explain, chunks)},
    {"readers_open", false, IN(shard_explain, readers_open)},
    {"readers_opened", false, IN(shard_explain, readers_opened)},
    {"rows_scanned", true, IN(shard_stats, rows_scanned)},
    {"rows_matched", true, IN(shard_stats, rows_matched)},
    {"bytes_read", true, IN(shard_stats, bytes_read)},
    {"bytes_unpacked", false, IN(shard_explain, bytes_unpacked)},
    {"cpu_ns", true, IN(shard_stats, cpu_ns)},
    {"plan_ns", false, IN(shard_explain, plan_ns)},
    {"scan_ns", false, IN(shard_explain, scan_ns)},
    {"send_ns", false, IN(shard_explain, send_ns)},
};

static uint64_t count_of(const struct count *c, const Telescope__Shard__V1__SearchEnd *end)
{
    const char *base = c->stats ? (const char *)end->stats : (const char *)end->explain;
    uint64_t v = 0;
    if (base)
        memcpy(&v, base + c->offset, sizeof(v));
    return v;
}

/* ---- a shard ---------------------------------------------------------------------------------- */

static void json_shard(void *ctx, const struct fanout_report *r)
{
    struct tel_buf *out = ctx;
    tel_buf_printf(out, "%s{\"address\":", out->ptr[out->len - 1] == '[' ? "" : ",");
    tel_buf_add_json(out, tel_span_cstr(r->address));
    TEL_BUF_ADD_LIT(out, ",\"partitions\":[");
    for (size_t i = 0; i < r->partition_count; i++)
        tel_buf_printf(out, "%s%u", i ? "," : "", r->partitions[i]);
    tel_buf_printf(out, "],\"outcome\":\"%s\"", r->outcome);
    if (r->why) {
        TEL_BUF_ADD_LIT(out, ",\"why\":");
        tel_buf_add_json(out, tel_span_cstr(r->why));
    }
    tel_buf_printf(out, ",\"asked_ms\":%.3f,\"took_ms\":%.3f", ms(r->asked_ns), ms(r->took_ns));
    if (r->first_ns >= 0)
        tel_buf_printf(out, ",\"first_ms\":%.3f", ms(r->first_ns));
    tel_buf_printf(out, ",\"rows\":%llu,\"batches\":%llu,\"bytes\":%llu",
                   (unsigned long long)r->rows, (unsigned long long)r->batches,
                   (unsigned long long)r->bytes);
    for (size_t i = 0; r->end && i < TEL_ARRAY_LEN(counts); i++)
        tel_buf_printf(out, ",\"%s\":%llu", counts[i].name,
                       (unsigned long long)count_of(&counts[i], r->end));
    if (r->end && r->end->explain)
        tel_buf_printf(out, ",\"threads\":%u", r->end->explain->threads);
    tel_buf_add_char(out, '}');
}

static void add_size(struct tel_buf *out, uint64_t bytes)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    double v = (double)bytes;
    size_t u = 0;
    while (v >= 1000 && u + 1 < TEL_ARRAY_LEN(units)) {
        v /= 1000;
        u++;
    }
    tel_buf_printf(out, u ? "%.1f %s" : "%.0f %s", v, units[u]);
}

static void add_part(struct tel_buf *out, uint64_t n, const char *what, bool *begun)
{
    if (n == 0)
        return;
    tel_buf_printf(out, "%s%llu %s", *begun ? ", " : "", (unsigned long long)n, what);
    *begun = true;
}

static void text_segments(const shard_explain *e, struct tel_buf *out)
{
    bool begun = false;
    TEL_BUF_ADD_LIT(out, "    segments   ");
    add_part(out, e->segments_read, "read", &begun);
    add_part(out, e->segments_counted, "counted by their templates", &begun);
    add_part(out, e->segments_kept, "known from an earlier search", &begun);
    add_part(out, e->chunks, "pieces of memory", &begun);
    tel_buf_printf(out, "%s\n    passed over ", begun ? "" : "none");
    begun = false;
    add_part(out, e->segments_outside, "outside the time range", &begun);
    add_part(out, e->segments_other_tenants, "of other tenants", &begun);
    add_part(out, e->segments_older, "older than the rows found", &begun);
    add_part(out, e->segments_by_stream, "without such a stream", &begun);
    add_part(out, e->segments_by_words, "without the words", &begun);
    add_part(out, e->segments_by_templates, "without such a template", &begun);
    add_part(out, e->segments_by_filter, "that the whole filter rules out", &begun);
    tel_buf_printf(out, "%s; %llu of %llu days\n", begun ? "" : "none",
                   (unsigned long long)e->days_outside,
                   (unsigned long long)(e->days + e->days_outside));
}

static void text_counts(const Telescope__Shard__V1__SearchEnd *end, struct tel_buf *out)
{
    const shard_explain *e = end->explain;
    const shard_stats *s = end->stats;
    if (e)
        text_segments(e, out);
    if (e && e->templates)
        tel_buf_printf(out, "    templates  %llu: %llu skipped, %llu whole\n",
                       (unsigned long long)e->templates, (unsigned long long)e->templates_skipped,
                       (unsigned long long)e->templates_whole);
    if (s) {
        tel_buf_printf(out, "    rows       %llu looked at, %llu matched\n    bytes      ",
                       (unsigned long long)s->rows_scanned, (unsigned long long)s->rows_matched);
        add_size(out, s->bytes_read);
        TEL_BUF_ADD_LIT(out, " read");
    }
    if (e) {
        TEL_BUF_ADD_LIT(out, ", ");
        add_size(out, e->bytes_unpacked);
        tel_buf_printf(out, " unpacked; %llu segments were open, %llu had to be opened\n",
                       (unsigned long long)e->readers_open, (unsigned long long)e->readers_opened);
        tel_buf_printf(out, "    time       plan %.2f ms, look %.2f ms, send %.2f ms; CPU %.2f ms of %u "
                       "threads\n", ms((int64_t)e->plan_ns), ms((int64_t)e->scan_ns),
                       ms((int64_t)e->send_ns), s ? ms((int64_t)s->cpu_ns) : 0, e->threads);
    } else {
        tel_buf_add_char(out, '\n');
    }
}

static void add_partitions(const struct fanout_report *r, struct tel_buf *out)
{
    for (size_t i = 0; i < r->partition_count;) {
        size_t k = i;
        while (k + 1 < r->partition_count && r->partitions[k + 1] == r->partitions[k] + 1)
            k++;
        tel_buf_printf(out, "%s%u", i ? "," : "", r->partitions[i]);
        if (k > i)
            tel_buf_printf(out, "-%u", r->partitions[k]);
        i = k + 1;
    }
}

static void text_shard(void *ctx, const struct fanout_report *r)
{
    struct tel_buf *out = ctx;
    tel_buf_printf(out, "  %s  partitions ", r->address);
    add_partitions(r, out);
    tel_buf_printf(out, ": %s after %.2f ms, asked at %.2f ms; %llu rows, ", r->outcome,
                   ms(r->took_ns), ms(r->asked_ns), (unsigned long long)r->rows);
    add_size(out, r->bytes);
    tel_buf_add_char(out, '\n');
    if (r->why) {
        TEL_BUF_ADD_LIT(out, "    ");
        tel_buf_add_escaped(out, tel_span_cstr(r->why), 500);
        tel_buf_add_char(out, '\n');
    }
    if (r->end)
        text_counts(r->end, out);
}

/* ---- the query -------------------------------------------------------------------------------- */

static void add_mode(const struct query_story *s, struct tel_buf *out)
{
    if (s->newest)
        tel_buf_printf(out, "the newest %llu rows%s", (unsigned long long)s->params->limit,
                       s->params->page ? " of a page, newest first" : ", oldest first");
    else
        tel_buf_printf(out, "%s", s->streams ? "all rows, as they come" : "all rows, put together");
}

static void json_time(struct tel_buf *out, const char *name, int64_t ns)
{
    char text[TEL_TIME_TEXT_MAX];
    size_t len = tel_time_format(text, ns);
    tel_buf_printf(out, ",\"%s\":\"%.*s\"", name, (int)len, text);
}

static bool bounded(const struct query_params *p)
{
    return p->start_ns != 0 || p->end_ns != 0;
}

static void explain_json(const struct query *q, const struct query_story *s, struct tel_buf *out)
{
    const struct fanout_totals *t = query_totals(q);
    TEL_BUF_ADD_LIT(out, "{\"query\":");
    tel_buf_add_json(out, s->text);
    TEL_BUF_ADD_LIT(out, ",\"tenant\":");
    tel_buf_add_json(out, s->params->tenant);
    if (bounded(s->params) && s->params->start_ns != INT64_MIN)
        json_time(out, "start", s->params->start_ns);
    if (bounded(s->params) && s->params->end_ns != INT64_MAX)
        json_time(out, "end", s->params->end_ns);
    TEL_BUF_ADD_LIT(out, ",\"mode\":\"");
    add_mode(s, out);
    tel_buf_add_char(out, '"');
    json_pipes(query_tree(q), out);
    tel_buf_printf(out, ",\"rows\":%llu,\"took_ms\":%.3f", (unsigned long long)s->rows,
                   ms(s->ended_ns - s->begun_ns));
    tel_buf_printf(out, ",\"stages_ms\":{\"parse\":%.3f,\"wait\":%.3f,\"plan\":%.3f,\"shards\":%.3f,\"finish\":%.3f}",
                   ms(s->parsed_ns - s->begun_ns), ms(s->admitted_ns - s->parsed_ns),
                   ms(s->planned_ns - s->admitted_ns), ms(s->gathered_ns - s->planned_ns),
                   ms(s->ended_ns - s->gathered_ns));
    tel_buf_printf(out, ",\"memory_bytes\":%zu,\"searches\":%u,\"unchanged\":%u,\"failovers\":%u,\"hedges\":%u,\"missing\":[",
                   s->memory_used, t->searches, t->unchanged, t->failovers, t->hedges);
    for (size_t i = 0; i < query_missing(q); i++) {
        if (i > 0)
            tel_buf_add_char(out, ',');
        tel_buf_add_json(out, tel_span_cstr(query_missing_text(q, i)));
    }
    TEL_BUF_ADD_LIT(out, "],\"shards\":[");
    fanout_each_report(s->fanout, s->begun_ns, json_shard, out);
    TEL_BUF_ADD_LIT(out, "],\"subqueries\":[");
    tel_buf_add_span(out, s->nested);
    TEL_BUF_ADD_LIT(out, "]}");
}

static void explain_text(const struct query *q, const struct query_story *s, struct tel_buf *out)
{
    char text[TEL_TIME_TEXT_MAX];
    const struct fanout_totals *t = query_totals(q);
    TEL_BUF_ADD_LIT(out, "query      ");
    tel_buf_add_escaped(out, s->text, 4000);
    tel_buf_printf(out, "\ntenant     %.*s", TEL_SPAN_ARG(s->params->tenant));
    if (bounded(s->params) && s->params->start_ns != INT64_MIN)
        tel_buf_printf(out, ", from %.*s", (int)tel_time_format(text, s->params->start_ns), text);
    if (bounded(s->params) && s->params->end_ns != INT64_MAX)
        tel_buf_printf(out, ", before %.*s", (int)tel_time_format(text, s->params->end_ns), text);
    tel_buf_printf(out, "\nanswer     %llu rows: ", (unsigned long long)s->rows);
    add_mode(s, out);
    tel_buf_printf(out, "\ntime       %.2f ms: parse %.2f, wait %.2f, plan %.2f, shards %.2f, finish %.2f\n",
                   ms(s->ended_ns - s->begun_ns), ms(s->parsed_ns - s->begun_ns),
                   ms(s->admitted_ns - s->parsed_ns), ms(s->planned_ns - s->admitted_ns),
                   ms(s->gathered_ns - s->planned_ns), ms(s->ended_ns - s->gathered_ns));
    text_pipes(query_tree(q), out);
    tel_buf_printf(out, "shards     %u searches, %u of them unchanged since their reply was kept, "
                   "%u again elsewhere, %u for silent servers\n",
                   t->searches, t->unchanged, t->failovers, t->hedges);
    fanout_each_report(s->fanout, s->begun_ns, text_shard, out);
    for (size_t i = 0; i < query_missing(q); i++) {
        TEL_BUF_ADD_LIT(out, "MISSING    ");
        tel_buf_add_escaped(out, tel_span_cstr(query_missing_text(q, i)), 1000);
        tel_buf_add_char(out, '\n');
    }
    if (s->nested.len)
        tel_buf_printf(out, "\nsubqueries\n%.*s", TEL_SPAN_ARG(s->nested));
}

void explain_query(const struct query *q, struct tel_buf *out)
{
    struct query_story story;
    query_story(q, &story);
    if (story.params->explain == QUERY_EXPLAIN_TEXT)
        explain_text(q, &story, out);
    else
        explain_json(q, &story, out);
}
