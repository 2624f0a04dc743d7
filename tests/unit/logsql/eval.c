/* Runs queries for random_queries.py: rows from a file of JSON lines, a query a line on stdin, an
 * answer a line on stdout: {"rows":[...]} or {"error":"..."}. Each query also runs in small blocks
 * and split over shards, and there as it is printed, as shards get it; if that gives other rows,
 * that is the error. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/logsql/parser.h"
#include "common/logsql/print.h"
#include "tests/unit/logsql/engine.h"

static bool same(struct engine_answer *a, struct engine_answer *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->rows[i], b->rows[i]) != 0)
            return false;
    return true;
}

/* The query as it is printed; it must print so again. */
static tel_code canonical(const struct engine *e, struct tel_span query, struct tel_buf *out,
                          struct tel_error *err)
{
    struct tel_arena arena = {0};
    struct tel_query *q;
    struct tel_buf again = {0};
    tel_code rc = tel_query_parse(query, e->now_ns, NULL, &arena, &q, err);
    if (rc == TEL_OK) {
        tel_query_print(out, q);
        tel_query_done(q);
        rc = tel_query_parse(tel_buf_span(out), e->now_ns, NULL, &arena, &q, err);
    }
    if (rc == TEL_OK) {
        tel_query_print(&again, q);
        tel_query_done(q);
        if (!tel_span_eq(tel_buf_span(&again), tel_buf_span(out)))
            rc = tel_error_set(err, TEL_ERR_INTERNAL, "prints as %s and then as %s",
                               tel_buf_cstr(out), tel_buf_cstr(&again));
    }
    tel_buf_free(&again);
    tel_arena_free(&arena);
    return rc;
}

static void answer(struct engine *e, struct tel_span query, bool ordered)
{
    static const size_t ways[][2] = {{2, 0}, {1000, 3}, {3, 2}};
    struct engine_answer a, b;
    struct tel_error err = {0};
    struct tel_buf out = {0}, printed = {0};
    tel_code rc = engine_run(e, query, 1000, 0, &a, &err);
    if (rc == TEL_OK)
        rc = canonical(e, query, &printed, &err);
    if (!ordered)
        engine_answer_sort(&a);
    for (size_t w = 0; w < TEL_ARRAY_LEN(ways) && rc == TEL_OK; w++) {
        rc = engine_run(e, tel_buf_span(&printed), ways[w][0], ways[w][1], &b, &err);
        if (!ordered)
            engine_answer_sort(&b);
        if (rc == TEL_OK && !same(&a, &b))
            rc =
                tel_error_set(&err, TEL_ERR_INTERNAL, "other rows in blocks of %zu over %zu shards",
                              ways[w][0], ways[w][1]);
        engine_answer_done(&b);
    }
    if (rc == TEL_OK) {
        TEL_BUF_ADD_LIT(&out, "{\"rows\":[");
        for (size_t i = 0; i < a.count; i++)
            tel_buf_printf(&out, "%s%s", i ? "," : "", a.rows[i]);
        TEL_BUF_ADD_LIT(&out, "]}");
    } else {
        TEL_BUF_ADD_LIT(&out, "{\"error\":");
        tel_buf_add_json(&out, tel_span_cstr(err.text));
        TEL_BUF_ADD_LIT(&out, "}");
    }
    puts(tel_buf_cstr(&out));
    tel_buf_free(&out);
    tel_buf_free(&printed);
    engine_answer_done(&a);
}

static void answer_any(struct engine *e, struct tel_span query)
{
    struct engine_answer a, b;
    struct tel_error err = {0};
    struct tel_buf out = {0}, printed = {0};
    tel_code rc = canonical(e, query, &printed, &err);
    tel_code first = engine_run(e, query, 7, 0, &a, &err);
    if (rc == TEL_OK && first == TEL_OK)
        rc = engine_run(e, tel_buf_span(&printed), 7, 2, &b, &err);
    if (rc == TEL_OK && first == TEL_OK)
        engine_answer_done(&b);
    if (rc == TEL_OK && first == TEL_OK) {
        TEL_BUF_ADD_LIT(&out, "{\"rows\":[]}");
    } else {
        TEL_BUF_ADD_LIT(&out, "{\"error\":");
        tel_buf_add_json(&out, tel_span_cstr(err.text));
        TEL_BUF_ADD_LIT(&out, "}");
    }
    puts(tel_buf_cstr(&out));
    tel_buf_free(&out);
    tel_buf_free(&printed);
    engine_answer_done(&a);
}

int main(int argc, char **argv)
{
    struct engine e;
    char *line = NULL;
    size_t cap = 0;
    FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (!f)
        return 2;
    engine_init(&e);
    while (getline(&line, &cap, f) > 0) {
        line[strcspn(line, "\n")] = 0;
        engine_add(&e, tel_span_cstr(line));
    }
    fclose(f);
    /* "> query": the order of rows counts; "= query": it does not; "~ query": it may have others each
     * time (rand(), a limit without an order), so that it is only printed, parsed again and run. */
    while (getline(&line, &cap, stdin) > 2) {
        line[strcspn(line, "\n")] = 0;
        if (line[0] == '~')
            answer_any(&e, tel_span_cstr(line + 2));
        else
            answer(&e, tel_span_cstr(line + 2), line[0] == '>');
    }
    free(line);
    engine_done(&e);
    return 0;
}
