/*
 * bench_segment: the segment builder alone, events in memory to sections in memory; then every
 * event is read back and compared. Prints one JSON object on its last line.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "common/logsql/parser.h"
#include "shard/segment/segment.h"
#include "tests/bench/corpus.h"

struct totals {
    uint64_t rows, template_rows, stored, segments, mismatches;
    double build_cpu, read_cpu;
    bool verify, keep;
    TEL_VEC(struct segment_image) images; /* kept for queries */
};

static tel_code read_section(void *ctx, uint32_t section, struct tel_span *ret,
                             struct tel_error *err)
{
    const struct segment_image *image = ctx;
    for (size_t i = 0; i < image->section_count; i++) {
        if (image->sections[i].id == section) {
            *ret = image->sections[i].bytes;
            return TEL_OK;
        }
    }
    return tel_error_set(err, TEL_ERR_NOTFOUND, "section %u", section);
}

static void die(const struct tel_error *err)
{
    fprintf(stderr, "bench_segment: %s\n", err->text);
    exit(1);
}

/* Reads all bodies and compares them with the corpus: message m, index i is event ordered[...]. */
static void verify(const struct corpus *c, struct segment_image *image, struct totals *t)
{
    struct segment_io io = {image, read_section};
    struct segment_reader *reader;
    struct tel_error err;
    struct tel_arena arena;
    tel_arena_init(&arena, 1 << 20);
    double start = corpus_cpu_seconds();
    if (segment_reader_open(&io, &reader, &err) != TEL_OK)
        die(&err);
    struct segment_query query = {.start_ns = INT64_MIN, .end_ns = INT64_MAX};
    struct segment_counters counters = {0};
    struct tel_block_source *src;
    const struct tel_span *bodies;
    if (segment_select(reader, &query, &arena, &src, &counters, &err) != TEL_OK ||
        src->ops->column(src, TEL_SPAN(TEL_FIELD_MSG), &bodies, &err) != TEL_OK)
        die(&err);
    t->read_cpu += corpus_cpu_seconds() - start;
    t->mismatches += src->rows != image->rows;
    for (size_t i = 0; i < src->rows; i++) {
        const struct corpus_message *m = &c->messages.items[src->keys[i].offset];
        const struct corpus_event *e =
            &c->events.items[c->ordered.items[m->first + src->keys[i].index]];
        if (e->time_ns != src->keys[i].time_ns ||
            !tel_span_eq(bodies[i], tel_span_make(c->text.ptr + e->body, e->len)))
            t->mismatches++;
    }
    segment_reader_close(reader);
    tel_arena_free(&arena);
}

/* A copy of the image whose bytes outlive the builder's reset. */
static struct segment_image keep_image(const struct segment_image *image)
{
    struct segment_image copy = *image;
    struct segment_section *sections = tel_calloc(image->section_count, sizeof(*sections));
    for (size_t i = 0; i < image->section_count; i++) {
        struct tel_span s = image->sections[i].bytes;
        char *bytes = tel_malloc(s.len);
        memcpy(bytes, s.ptr, s.len);
        sections[i] = (struct segment_section){image->sections[i].id, tel_span_make(bytes, s.len)};
    }
    copy.sections = sections;
    return copy;
}

static void finish(const struct corpus *c, struct segment_builder *b, struct totals *t)
{
    struct segment_image image;
    struct tel_error err;
    double start = corpus_cpu_seconds();
    if (segment_builder_finish(b, 1, &image, &err) != TEL_OK)
        die(&err);
    t->build_cpu += corpus_cpu_seconds() - start;
    t->rows += image.rows;
    t->template_rows += image.template_rows;
    t->stored += image.stored_bytes;
    t->segments++;
    if (t->verify)
        verify(c, &image, t);
    if (t->keep)
        tel_vec_push(&t->images, keep_image(&image));
    start = corpus_cpu_seconds();
    segment_builder_reset(b);
    t->build_cpu += corpus_cpu_seconds() - start;
}

static void add_message(const struct corpus *c, struct segment_builder *b, size_t number)
{
    const struct corpus_message *m = &c->messages.items[number];
    uint32_t stream = segment_builder_stream(b, c->sources.items[m->source].labels, 2);
    for (uint32_t i = 0; i < m->event_count; i++) {
        const struct corpus_event *e = &c->events.items[c->ordered.items[m->first + i]];
        struct tel_row_key key = {e->time_ns, 0, i, (int64_t)number};
        struct tel_event event = {.timestamp_ns = e->time_ns,
                                  .severity = e->severity,
                                  .body = tel_span_make(c->text.ptr + e->body, e->len)};
        segment_builder_add(b, &key, stream, &event);
    }
}

static void run(const struct corpus *c, uint64_t segment_rows, struct totals *t)
{
    struct segment_learnt *learnt = segment_learnt_new();
    struct segment_builder *b = segment_builder_new(learnt);
    for (size_t m = 0; m < c->messages.len;) {
        double start = corpus_cpu_seconds();
        while (m < c->messages.len && segment_builder_rows(b) < segment_rows &&
               !segment_builder_full(b))
            add_message(c, b, m++);
        t->build_cpu += corpus_cpu_seconds() - start;
        finish(c, b, t);
    }
    segment_builder_free(b);
    segment_learnt_free(learnt);
}

/* All columns of the rows that match in a segment; how many rows. */
static uint64_t read_rows(struct segment_reader *reader, const struct segment_query *query,
                          struct segment_counters *counters)
{
    struct tel_arena arena;
    struct tel_block_source *src;
    const struct tel_span *names, *values;
    struct tel_error err;
    size_t count = 0;
    tel_arena_init(&arena, 1 << 20);
    if (segment_select(reader, query, &arena, &src, counters, &err) != TEL_OK ||
        src->ops->names(src, &names, &count, &err) != TEL_OK)
        die(&err);
    for (size_t i = 0; i < count; i++) {
        if (src->ops->column(src, names[i], &values, &err) != TEL_OK)
            die(&err);
    }
    uint64_t rows = src->rows;
    tel_arena_free(&arena);
    return rows;
}

/* Rows that match, in all segments; with a limit the newest so many. */
static uint64_t run_query(struct totals *t, struct segment_reader **readers,
                          const struct tel_filter *filter, bool counted, uint64_t newest)
{
    struct segment_query query = {.filter = filter, .start_ns = INT64_MIN, .end_ns = INT64_MAX};
    struct segment_counters counters = {0};
    struct tel_error err;
    uint64_t rows = 0;
    for (size_t i = t->images.len; i-- > 0 && (newest == 0 || rows < newest);) {
        uint64_t count = 0;
        if (counted) {
            if (segment_count(readers[i], &query, &count, &counters, &err) != TEL_OK)
                die(&err);
            rows += count;
            continue;
        }
        query.newest = newest ? newest - rows : 0;
        rows += read_rows(readers[i], &query, &counters);
    }
    return rows;
}

/* Lines of `name TAB query`; a query with "limit N" reads the newest N rows, one with another
 * pipe counts them, one without reads them all. */
static void run_queries(struct totals *t, const char *path)
{
    struct segment_reader **readers = tel_calloc(t->images.len, sizeof(*readers));
    struct tel_error err;
    for (size_t i = 0; i < t->images.len; i++) {
        struct segment_io io = {&t->images.items[i], read_section};
        if (segment_reader_open(&io, &readers[i], &err) != TEL_OK)
            die(&err);
    }
    FILE *in = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    while (in && getline(&line, &cap, in) > 0) {
        line[strcspn(line, "\n")] = 0;
        char *tab = strchr(line, '\t');
        if (!tab)
            continue;
        struct tel_arena arena;
        struct tel_query *query;
        tel_arena_init(&arena, 0);
        if (tel_query_parse(tel_span_cstr(tab + 1), 0, NULL, &arena, &query, &err) != TEL_OK) {
            printf("%-20.*s %s\n", (int)(tab - line), line, err.text);
            continue;
        }
        const char *limit = strstr(tab, "limit ");
        double best = 1e9;
        uint64_t rows = 0;
        for (int i = 0; i < 5; i++) {
            double start = corpus_cpu_seconds();
            rows = run_query(t, readers, query->filter, !limit && query->pipe_count,
                             limit ? strtoull(limit + 6, NULL, 10) : 0);
            best = TEL_MIN(best, corpus_cpu_seconds() - start);
        }
        printf("%-20.*s %9.3f ms %10llu rows\n", (int)(tab - line), line, best * 1e3,
               (unsigned long long)rows);
        tel_query_done(query);
        tel_arena_free(&arena);
    }
    free(line);
    if (in)
        fclose(in);
    for (size_t i = 0; i < t->images.len; i++)
        segment_reader_close(readers[i]);
    free(readers);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"corpus", 1, NULL, 'c'}, {"events", 1, NULL, 'n'},    {"rows", 1, NULL, 'r'},
        {"batch", 1, NULL, 'b'},  {"no-verify", 0, NULL, 'q'},
        {"queries", 1, NULL, 'Q'}, {"help", 0, NULL, 'h'},
        {0}};
    const char *path = NULL, *queries = NULL;
    uint64_t max = 0, rows = 131072, batch = 500, zstd_bytes;
    struct totals t = {.verify = true};
    int opt;
    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt == 'c')
            path = optarg;
        else if (opt == 'n')
            max = strtoull(optarg, NULL, 10);
        else if (opt == 'r')
            rows = strtoull(optarg, NULL, 10);
        else if (opt == 'b')
            batch = strtoull(optarg, NULL, 10);
        else if (opt == 'q')
            t.verify = false;
        else if (opt == 'Q')
            queries = optarg;
        else {
            printf("bench_segment --corpus FILE.jsonl [--events N] [--rows PER_SEGMENT] "
                   "[--batch EVENTS] [--no-verify] [--queries FILE.tsv]\n");
            return opt == 'h' ? 0 : 2;
        }
    }
    if (!path || rows == 0 || batch == 0) {
        fprintf(stderr, "bench_segment: --corpus FILE.jsonl is needed\n");
        return 2;
    }
    struct corpus c;
    corpus_load(&c, path, max, batch);
    double zstd_cpu = corpus_zstd1(&c, &zstd_bytes);
    t.keep = queries != NULL;
    run(&c, rows, &t);
    if (queries)
        run_queries(&t, queries);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"events\":%llu,\"segments\":%llu,\"raw_bytes\":%llu,\"cpu_seconds\":%.3f,"
           "\"events_per_cpu_second\":%.0f,\"stored_bytes\":%llu,\"stored_ratio\":%.4f,"
           "\"template_share\":%.4f,\"zstd1_cpu_seconds\":%.3f,\"zstd1_ratio\":%.4f,\"read_cpu_seconds\":%.3f,"
           "\"mismatches\":%llu}\n",
           (unsigned long long)t.rows, (unsigned long long)t.segments,
           (unsigned long long)c.raw_bytes, t.build_cpu, (double)t.rows / t.build_cpu,
           (unsigned long long)t.stored, (double)t.stored / (double)c.raw_bytes,
           (double)t.template_rows / (double)t.rows, zstd_cpu,
           (double)zstd_bytes / (double)c.raw_bytes, t.read_cpu,
           (unsigned long long)t.mismatches);
    return t.mismatches != 0;
}
