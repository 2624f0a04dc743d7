/* telescope search, tail, patterns: a query's rows on stdout. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/logsql/parser.h"

/* Rows that are held to be sorted. */
#define KEPT_BYTES_MAX (128u << 20)
#define PAGE_ROWS      "2000" /* of --all */
#define PAGE_TRIES     60     /* of one page, a second apart */

static const char usage_search[] =
    "usage: telescope search [OPTION]... QUERY\n"
    "Finds log events. QUERY is LogsQL: words, \"phrases\", field:value, AND OR NOT, {app=\"x\"}, | pipes.\n"
    "\n"
    "  -s, --start TIME    not before; RFC 3339, or how long ago: 15m, 1h, 2d\n"
    "  -e, --end TIME      up to (a whole second is all of it)\n"
    "  -n, --limit N       the newest N only\n"
    "  -o, --output FORMAT text (default), json (lines), raw (messages as they are)\n"
    "      --all           every match, newest first, page by page: for large outputs, in bounded memory; nothing\n"
    "                      is shown twice or skipped, and a server that starts again meanwhile is waited for\n"
    "      --explain       no rows, but what the query did: what ran where, what was read, passed over and why\n"
    "      --color WHEN    auto (default), always, never\n"
    "      --url URL       the router or standalone; default $TELESCOPE_URL or " CLI_DEFAULT_URL "\n"
    "      --tenant NAME   default $TELESCOPE_TENANT\n"
    "      --ca FILE       certificates to trust; default $TELESCOPE_CA. A token comes from $TELESCOPE_TOKEN\n"
    "\n"
    "The newest come last. Exits 0 if something matched, 1 if nothing did, 2 on an error, 3 if the answer\n"
    "is partial.\n";

static const char usage_tail[] =
    "usage: telescope tail [OPTION]... QUERY\n"
    "Shows matching events as they come in, until Ctrl-C. Options as of telescope search: -o, --color, --url,\n"
    "--tenant, --ca.\n";

static const char usage_patterns[] =
    "usage: telescope patterns [OPTION]... QUERY\n"
    "The templates of the matching events with counts, most frequent first. Options as of telescope search.\n";

struct search {
    struct cli_server server;
    struct cli_output output;
    struct tel_buf form;
    bool verbatim;          /* lines are for people already */
    bool keep;              /* hold the rows and sort them by time, so that the newest come last */
    TEL_VEC(char *) kept;
    size_t kept_bytes;
    uint64_t rows;
    struct tel_buf partial, error;
    bool broken_pipe;
};

static bool out_row(struct search *s, struct tel_span row)
{
    struct tel_span error = {NULL, 0};
    if (s->verbatim) {
        s->rows++;
        s->broken_pipe = fprintf(s->output.out, "%.*s\n", TEL_SPAN_ARG(row)) < 0;
        return !s->broken_pipe;
    }
    if (!cli_output_row(&s->output, row, &error)) {
        s->broken_pipe = true;
        return false;
    }
    if (error.len > 0)
        tel_buf_add_span(&s->error, error);
    else if (row.len > 0)
        s->rows++;
    return true;
}

/* "_time" of a row, as the server wrote it: RFC 3339 in UTC, whose order is that of its bytes but for
 * the fraction, which is compared by what comes before the Z. */
static struct tel_span time_of(const char *row)
{
    const char *p = strstr(row, "\"_time\":\"");
    if (!p)
        return tel_span_make(NULL, 0);
    p += 9;
    return tel_span_make(p, strcspn(p, "Z\""));
}

static int by_time(const void *a, const void *b)
{
    return tel_span_cmp(time_of(*(char *const *)a), time_of(*(char *const *)b));
}

/* Stable: rows of the same time stay in the order of the log. */
static void sort_kept(struct search *s)
{
    size_t n = s->kept.len;
    char **items = s->kept.items;
    bool rising = true, falling = true;
    for (size_t i = 1; i < n; i++) {
        int c = by_time(&items[i - 1], &items[i]);
        rising = rising && c <= 0;
        falling = falling && c >= 0;
    }
    if (rising)
        return;
    if (falling) {
        for (size_t i = 0; i < n / 2; i++) {
            char *x = items[i];
            items[i] = items[n - 1 - i];
            items[n - 1 - i] = x;
        }
        return;
    }
    qsort(items, n, sizeof(*items), by_time);
}

static void flush_kept(struct search *s)
{
    sort_kept(s);
    for (size_t i = 0; i < s->kept.len; i++) {
        if (!s->broken_pipe)
            (void)out_row(s, tel_span_cstr(s->kept.items[i]));
        free(s->kept.items[i]);
    }
    tel_vec_free(&s->kept);
}

static bool on_line(void *ctx, struct tel_span line)
{
    struct search *s = ctx;
    if (!s->keep || line.len == 0)
        return out_row(s, line);
    tel_vec_push(&s->kept, tel_strndup(line));
    s->kept_bytes += line.len;
    if (s->kept_bytes > KEPT_BYTES_MAX) {
        cli_complain("too many rows to sort here; the rest comes as it is found. Use -n, --all or '| sort by (_time)'");
        s->keep = false;
        flush_kept(s);
    }
    return !s->broken_pipe;
}

struct feed {
    struct search *s;
    struct cli_lines lines;
    bool live;
};

static bool on_data(void *ctx, struct tel_span piece)
{
    struct feed *f = ctx;
    bool more = cli_lines_feed(&f->lines, piece);
    if (f->live)
        fflush(f->s->output.out);
    return more;
}

static void on_header(void *ctx, struct tel_span name, struct tel_span value)
{
    struct feed *f = ctx;
    if (tel_span_eq_cstr(name, "x-telescope-partial")) {
        tel_buf_clear(&f->s->partial);
        tel_buf_add_span(&f->s->partial, value);
    }
}

/* Sends the form and gives each line of the answer to `line`. */
static tel_code ask(struct search *s, const char *path, struct tel_span form, bool live,
                    bool (*line)(void *ctx, struct tel_span line), unsigned *ret_status,
                    struct tel_buf *ret_text, struct tel_error *err)
{
    struct feed feed = {.s = s, .live = live};
    feed.lines = (struct cli_lines){.line = line, .ctx = s};
    struct tel_http_call call = {
        .method = "POST", .body = form,
        .content_type = "application/x-www-form-urlencoded",
        .on_data = on_data, .on_header = on_header, .ctx = &feed,
    };
    cli_server_open(&s->server);
    tel_code rc = cli_server_call(&s->server, path, &call, ret_status, ret_text, err);
    cli_server_close(&s->server);
    if (rc == TEL_OK && *ret_status < 300)
        (void)cli_lines_end(&feed.lines);
    else
        tel_buf_free(&feed.lines.rest);
    return rc;
}

/* What came of it as an exit code. */
static int verdict(struct search *s, tel_code rc, unsigned status, const struct tel_buf *body,
                   const struct tel_error *err)
{
    const struct tel_buf text = *body;
    if (fflush(s->output.out) != 0)
        s->broken_pipe = true;
    int code = s->rows > 0 ? CLI_MATCH : CLI_NOTHING;
    if (s->broken_pipe) {
        code = CLI_MATCH; /* `telescope search ... | head`: who reads has seen enough */
    } else if (rc == TEL_OK && status >= 300) {
        cli_complain("%u: %.*s", status, (int)TEL_MIN(text.len, (size_t)900), text.len ? text.ptr : "");
        code = CLI_ERROR;
    } else if (s->error.len > 0) {
        cli_complain("the answer is not complete: %s", tel_buf_cstr(&s->error));
        code = CLI_ERROR;
    } else if (rc != TEL_OK) {
        cli_complain("%s", err->text);
        code = CLI_ERROR;
    } else if (s->partial.len > 0) {
        cli_complain("the answer is partial, missing: %s", tel_buf_cstr(&s->partial));
        code = CLI_PARTIAL;
    }
    return code;
}

static int run(struct search *s, const char *path, bool live)
{
    unsigned status = 0;
    struct tel_buf text = {0};
    struct tel_error err;
    tel_code rc = ask(s, path, tel_buf_span(&s->form), live, on_line, &status, &text, &err);
    flush_kept(s);
    int code = verdict(s, rc, status, &text, &err);
    tel_buf_free(&text);
    return code;
}

/* ---- pages ----------------------------------------------------------------------------------- */

/* A page is shown when it is whole, so that one that broke off can be asked for again. */
static bool hold_line(void *ctx, struct tel_span line)
{
    struct search *s = ctx;
    if (line.len > 0)
        tel_vec_push(&s->kept, tel_strndup(line));
    return true;
}

static void drop_kept(struct search *s)
{
    for (size_t i = 0; i < s->kept.len; i++)
        free(s->kept.items[i]);
    tel_vec_clear(&s->kept);
}

/* Takes {"_cursor":"..."} from the end of a whole page; false: it is not whole. */
static bool take_cursor(struct search *s, struct tel_buf *cursor)
{
    static const char head[] = "{\"_cursor\":\"";
    if (s->kept.len == 0)
        return false;
    char *last = s->kept.items[s->kept.len - 1];
    if (strncmp(last, head, sizeof(head) - 1) != 0)
        return false;
    const char *text = last + sizeof(head) - 1;
    tel_buf_clear(cursor);
    tel_buf_add(cursor, text, strcspn(text, "\""));
    s->kept.len--;
    free(last);
    return true;
}

static void wait_a_second(void)
{
    struct timespec left = {.tv_sec = 1};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

/* May it be better soon? A server that starts, is too busy, or broke off. */
static bool may_pass(tel_code rc, unsigned status)
{
    return rc != TEL_OK || status < 300 || status == 429 || status == 503 || status == 504;
}

static int run_pages(struct search *s, const char *path)
{
    struct tel_buf cursor = {0}, form = {0}, text = {0};
    struct tel_error err = {0};
    unsigned status = 0;
    tel_code rc = TEL_OK;
    bool whole = true;
    for (int tries = 0; !s->broken_pipe;) {
        tel_buf_clear(&form);
        tel_buf_clear(&text);
        tel_buf_add_span(&form, tel_buf_span(&s->form));
        cli_form_add(&form, "limit", TEL_SPAN(PAGE_ROWS));
        cli_form_add(&form, "cursor", tel_buf_span(&cursor));
        rc = ask(s, path, tel_buf_span(&form), false, hold_line, &status, &text, &err);
        whole = rc == TEL_OK && status < 300 && take_cursor(s, &cursor);
        if (!whole) {
            drop_kept(s);
            if (!may_pass(rc, status) || (s->rows == 0 && rc != TEL_OK) || ++tries == PAGE_TRIES)
                break;
            wait_a_second();
            continue;
        }
        tries = 0;
        for (size_t i = 0; i < s->kept.len && !s->broken_pipe; i++)
            (void)out_row(s, tel_span_cstr(s->kept.items[i]));
        drop_kept(s);
        if (cursor.len == 0)
            break;
    }
    if (!whole && rc == TEL_OK && status < 300)
        rc = tel_error_set(&err, TEL_ERR_TRUNCATED, "the answer broke off");
    int code = verdict(s, rc, status, &text, &err);
    tel_vec_free(&s->kept);
    tel_buf_free(&cursor);
    tel_buf_free(&form);
    tel_buf_free(&text);
    return code;
}

/* Has the query no pipes? Then its rows are events, and their order is ours to choose. */
static bool has_no_pipes(const char *text)
{
    struct tel_arena arena;
    struct tel_query *q = NULL;
    struct tel_error err;
    tel_arena_init(&arena, 0);
    bool plain = tel_query_parse(tel_span_cstr(text), 0, NULL, &arena, &q, &err) == TEL_OK && q->pipe_count == 0;
    if (q)
        tel_query_done(q);
    tel_arena_free(&arena);
    return plain;
}

struct flags {
    const char *limit, *color;
    enum cli_format format;
    bool explain, all;
    struct tel_buf query;
};

static bool take_time(struct search *s, const char *name, const char *value)
{
    struct tel_buf t = {0};
    bool good = cli_time(value, &t);
    if (good)
        cli_form_add(&s->form, name, tel_buf_span(&t));
    else
        cli_complain("%s: not a time: %s", name, value);
    tel_buf_free(&t);
    return good;
}

static const char *either(int argc, char **argv, int *at, const char *brief, const char *full)
{
    const char *v = cli_flag(argc, argv, at, full);
    return v ? v : cli_flag(argc, argv, at, brief);
}

/* 0: go on; else the exit code + 1. */
static int parse(struct search *s, struct flags *f, int argc, char **argv, const char *usage)
{
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = NULL;
        if (only_words || a[0] != '-' || a[1] == '\0') {
            if (f->query.len > 0)
                tel_buf_add_char(&f->query, ' ');
            tel_buf_add_span(&f->query, tel_span_cstr(a));
        } else if (strcmp(a, "--") == 0) {
            only_words = true;
        } else if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
            fputs(usage, stdout);
            return CLI_MATCH + 1;
        } else if ((v = either(argc, argv, &i, "-s", "--start"))) {
            if (!take_time(s, "start", v))
                return CLI_ERROR + 1;
        } else if ((v = either(argc, argv, &i, "-e", "--end"))) {
            if (!take_time(s, "end", v))
                return CLI_ERROR + 1;
        } else if ((v = either(argc, argv, &i, "-n", "--limit"))) {
            f->limit = v;
        } else if ((v = either(argc, argv, &i, "-o", "--output"))) {
            if (!cli_format_parse(v, &f->format)) {
                cli_complain("--output: text, json or raw");
                return CLI_ERROR + 1;
            }
        } else if (strcmp(a, "--all") == 0) {
            f->all = true;
        } else if (strcmp(a, "--explain") == 0) {
            f->explain = true;
        } else if ((v = cli_flag(argc, argv, &i, "--color"))) {
            f->color = v;
        } else if (!cli_server_flag(&s->server, argc, argv, &i)) {
            cli_complain("unknown option %s\n", a);
            fputs(usage, stderr);
            return CLI_ERROR + 1;
        }
    }
    if (f->query.len == 0) {
        cli_complain("what shall be searched for? '*' finds everything");
        return CLI_ERROR + 1;
    }
    return 0;
}

static int command(int argc, char **argv, const char *usage, const char *path, bool live, bool order)
{
    struct search s = {0};
    struct flags f = {0};
    signal(SIGPIPE, SIG_IGN); /* seen as an error of fwrite */
    cli_server_init(&s.server);
    int code = parse(&s, &f, argc, argv, usage) - 1;
    unsigned long long limit = 0;
    if (code < 0 && f.limit && !tel_span_to_u64(tel_span_cstr(f.limit), &limit)) {
        cli_complain("--limit: a number, not %s", f.limit);
        code = CLI_ERROR;
    }
    if (code < 0 && f.explain && live) {
        cli_complain("--explain: a tail has no end to be explained at");
        code = CLI_ERROR;
    }
    if (code < 0 && f.all && (!order || f.limit || f.explain)) {
        cli_complain("--all goes with search, without --limit and --explain");
        code = CLI_ERROR;
    }
    if (code < 0 && !cli_output_init(&s.output, stdout, f.format, f.color)) {
        cli_complain("--color: auto, always or never");
        code = CLI_ERROR;
    }
    if (code < 0) {
        const char *text = tel_buf_cstr(&f.query);
        cli_form_add(&s.form, "query", tel_buf_span(&f.query));
        if (limit > 0)
            cli_form_add(&s.form, "limit", tel_span_cstr(f.limit));
        if (f.explain)
            cli_form_add(&s.form, "explain", TEL_SPAN("text"));
        s.verbatim = f.explain;
        s.keep = order && !f.explain && has_no_pipes(text);
        code = f.all ? run_pages(&s, path) : run(&s, path, live);
    }
    cli_output_done(&s.output);
    tel_buf_free(&s.form);
    tel_buf_free(&s.partial);
    tel_buf_free(&s.error);
    tel_buf_free(&f.query);
    return code;
}

int cli_search(int argc, char **argv)
{
    return command(argc, argv, usage_search, "/select/logsql/query", false, true);
}

int cli_tail(int argc, char **argv)
{
    return command(argc, argv, usage_tail, "/select/logsql/tail", true, false);
}

int cli_patterns(int argc, char **argv)
{
    return command(argc, argv, usage_patterns, "/select/logsql/patterns", false, false);
}
