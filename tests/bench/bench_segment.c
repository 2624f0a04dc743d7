/*
 * bench_segment: the segment builder alone, events in memory to sections in memory; then every
 * event is read back and compared. Prints one JSON object on its last line.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "shard/segment/segment.h"
#include "tests/bench/corpus.h"

struct totals {
    uint64_t rows, stored, segments, mismatches;
    double build_cpu, read_cpu;
    bool verify;
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

static void finish(const struct corpus *c, struct segment_builder *b, struct totals *t)
{
    struct segment_image image;
    struct tel_error err;
    double start = corpus_cpu_seconds();
    if (segment_builder_finish(b, 1, &image, &err) != TEL_OK)
        die(&err);
    t->build_cpu += corpus_cpu_seconds() - start;
    t->rows += image.rows;
    t->stored += image.stored_bytes;
    t->segments++;
    if (t->verify)
        verify(c, &image, t);
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

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"corpus", 1, NULL, 'c'}, {"events", 1, NULL, 'n'},    {"rows", 1, NULL, 'r'},
        {"batch", 1, NULL, 'b'},  {"no-verify", 0, NULL, 'q'}, {"help", 0, NULL, 'h'},
        {0}};
    const char *path = NULL;
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
        else {
            printf("bench_segment --corpus FILE.jsonl [--events N] [--rows PER_SEGMENT] "
                   "[--batch EVENTS] [--no-verify]\n");
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
    run(&c, rows, &t);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"events\":%llu,\"segments\":%llu,\"raw_bytes\":%llu,\"cpu_seconds\":%.3f,"
           "\"events_per_cpu_second\":%.0f,\"stored_bytes\":%llu,\"stored_ratio\":%.4f,"
           "\"zstd1_cpu_seconds\":%.3f,\"zstd1_ratio\":%.4f,\"read_cpu_seconds\":%.3f,"
           "\"mismatches\":%llu}\n",
           (unsigned long long)t.rows, (unsigned long long)t.segments,
           (unsigned long long)c.raw_bytes, t.build_cpu, (double)t.rows / t.build_cpu,
           (unsigned long long)t.stored, (double)t.stored / (double)c.raw_bytes, zstd_cpu,
           (double)zstd_bytes / (double)c.raw_bytes, t.read_cpu,
           (unsigned long long)t.mismatches);
    return t.mismatches != 0;
}
