/*
 * The conformance table: each section of LogsQL's documentation on a small data set, with the rows
 * that must come out. conformance.txt says them:
 *
 *     @ name              a data set follows, a JSON row a line
 *     ? query             a query on the data set
 *     = {"a":"b"}         a row that must come; any order
 *     > {"a":"b"}         the same, in this order
 *     ! words             instead of rows: an error that holds these words
 *
 * Every query runs whole, in blocks of three rows, and split over two and five shards: the answers
 * must be the same. With --print the table is printed with the rows that came.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "tests/unit/logsql/engine.h"

struct test_case {
    char *query;
    char *rows[256];
    size_t count;
    bool ordered, error;
    int line;
};

static int failures, cases;
static bool print_only;

static void complain(const struct test_case *c, const char *how, const char *what)
{
    fprintf(stderr, "line %d: %s\n  %s: %s\n", c->line, c->query, how, what);
    failures++;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void compare(const struct test_case *c, const char *how, struct engine_answer *a)
{
    if (!c->ordered)
        engine_answer_sort(a);
    bool same = a->count == c->count;
    for (size_t i = 0; i < a->count && same; i++)
        same = strcmp(a->rows[i], c->rows[i]) == 0;
    if (same)
        return;
    complain(c, how, "other rows than expected:");
    for (size_t i = 0; i < a->count || i < c->count; i++)
        fprintf(stderr, "    came %s\n    want %s\n", i < a->count ? a->rows[i] : "-",
                i < c->count ? c->rows[i] : "-");
}

static void run_case(struct engine *e, struct test_case *c)
{
    static const struct {
        const char *name;
        size_t block_rows, shards;
    } ways[] = {
        {"whole", 1000, 0}, {"blocks of 3", 3, 0}, {"2 shards", 1000, 2}, {"5 shards", 2, 5}};
    if (!c->query)
        return;
    cases++;
    if (!c->ordered)
        qsort(c->rows, c->count, sizeof c->rows[0], by_text);
    for (size_t w = 0; w < TEL_ARRAY_LEN(ways); w++) {
        struct engine_answer a;
        struct tel_error err = {0};
        tel_code rc =
            engine_run(e, tel_span_cstr(c->query), ways[w].block_rows, ways[w].shards, &a, &err);
        if (print_only && w == 0) {
            static const char *const ordering[] = {"| sort", "| order", "| first", "| last",
                                                   "| top"};
            for (size_t i = 0; i < TEL_ARRAY_LEN(ordering); i++)
                c->ordered = c->ordered || strstr(c->query, ordering[i]);
            printf("? %s\n", c->query);
            if (!c->ordered)
                engine_answer_sort(&a);
            for (size_t i = 0; i < a.count && rc == TEL_OK; i++)
                printf("%c %s\n", c->ordered ? '>' : '=', a.rows[i]);
            if (rc != TEL_OK)
                printf("! %.*s\n", (int)strcspn(err.text, "\n"), err.text);
        } else if (!print_only && c->error) {
            if (rc == TEL_OK)
                complain(c, ways[w].name, "no error");
            else if (c->count != 1 || !strstr(err.text, c->rows[0]))
                complain(c, ways[w].name, err.text);
        } else if (!print_only && rc != TEL_OK) {
            complain(c, ways[w].name, err.text);
        } else if (!print_only) {
            compare(c, ways[w].name, &a);
        }
        engine_answer_done(&a);
    }
    free(c->query);
    for (size_t i = 0; i < c->count; i++)
        free(c->rows[i]);
    memset(c, 0, sizeof *c);
}

int main(int argc, char **argv)
{
    print_only = argc > 2 && strcmp(argv[2], "--print") == 0;
    FILE *f = argc > 1 ? fopen(argv[1], "r") : NULL;
    if (!f) {
        fprintf(stderr, "usage: %s conformance.txt [--print]\n", argv[0]);
        return 2;
    }
    struct engine e;
    struct test_case c = {0};
    char *line = NULL;
    size_t cap = 0;
    bool data = false;
    engine_init(&e);
    for (int number = 1; getline(&line, &cap, f) > 0; number++) {
        line[strcspn(line, "\n")] = 0;
        const char *rest = line[0] && line[1] == ' ' ? line + 2 : "";
        if (line[0] == '?' || line[0] == '@' || line[0] == '#' || !line[0])
            run_case(&e, &c);
        if (print_only && line[0] != '?' && line[0] != '=' && line[0] != '>' && line[0] != '!')
            printf("%s\n", line);
        if (line[0] == '@') {
            engine_done(&e);
            engine_init(&e);
            data = true;
        } else if (line[0] == '{' && data) {
            engine_add(&e, tel_span_cstr(line));
        } else if (line[0] == '?') {
            data = false;
            c.query = tel_strdup(rest);
            c.line = number;
        } else if ((line[0] == '=' || line[0] == '>' || line[0] == '!') && c.query &&
                   c.count < TEL_ARRAY_LEN(c.rows)) {
            c.ordered = c.ordered || line[0] == '>';
            c.error = line[0] == '!';
            c.rows[c.count++] = tel_strdup(rest);
        }
    }
    run_case(&e, &c);
    engine_done(&e);
    free(line);
    fclose(f);
    fprintf(stderr, "%d queries, %d failures\n", cases, failures);
    return failures || cases == 0;
}
