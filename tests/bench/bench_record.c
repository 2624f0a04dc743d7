/*
 * What the record codec costs: CPU nanoseconds an event, on batches of plain lines.
 *
 *     bench_record [--events N] [--batch N] [--body BYTES] [--attributes N]
 *
 * Prints one JSON object.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/record/codec.h"

static double cpu_seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static unsigned option(int argc, char **argv, const char *name, unsigned otherwise)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return (unsigned)strtoul(argv[i + 1], NULL, 10);
    return otherwise;
}

static struct tel_event *make_events(unsigned n, size_t body, unsigned attributes)
{
    struct tel_rand r;
    tel_rand_init(&r, 1);
    struct tel_event *events = tel_calloc(n, sizeof *events);
    for (unsigned i = 0; i < n; i++) {
        char *text = tel_malloc(body + 1);
        for (size_t k = 0; k < body; k++)
            text[k] = "abcdefghijklmnopqrstuvwxyz 0123456789"[tel_rand_below(&r, 37)];
        struct tel_field *f = tel_calloc(attributes + 1, sizeof *f);
        for (unsigned k = 0; k < attributes; k++) {
            char *name = tel_malloc(24);
            snprintf(name, 24, "field.%u", k);
            f[k] = (struct tel_field){tel_span_cstr(name), TEL_SPAN("a value")};
        }
        events[i] = (struct tel_event){.timestamp_ns = INT64_C(1700000000000000000) + (int64_t)i * 1000,
                                       .position = (uint64_t)i * (body + 1),
                                       .severity = 9,
                                       .body = tel_span_make(text, body),
                                       .attributes = f,
                                       .attribute_count = attributes};
    }
    return events;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        puts("usage: bench_record [--events N] [--batch N] [--body BYTES] [--attributes N]");
        return 0;
    }
    unsigned total = option(argc, argv, "--events", 5000000), size = option(argc, argv, "--batch", 2000);
    unsigned body = option(argc, argv, "--body", 213), attributes = option(argc, argv, "--attributes", 0);
    struct tel_event *events = make_events(size, body, attributes);
    struct tel_field labels[] = {{TEL_SPAN_INIT("app"), TEL_SPAN_INIT("web")}, {TEL_SPAN_INIT("host"), TEL_SPAN_INIT("node-17")}};
    struct tel_batch head = {.tenant = TEL_SPAN("default"), .source = TEL_SPAN("sidecar/file"), .resource = labels, .resource_count = 2};
    struct tel_record_framing framing = {.frame = TEL_RECORD_SINGLE_OBJECT};
    struct tel_record_writer w = {0};
    struct tel_arena arena = {0};
    struct tel_error err;
    struct tel_span message = {0};
    unsigned rounds = total / size;

    double t0 = cpu_seconds();
    for (unsigned r = 0; r < rounds; r++) {
        tel_code rc = tel_record_writer_begin(&w, &framing, &head, &err);
        for (unsigned i = 0; rc == TEL_OK && i < size; i++)
            rc = tel_record_writer_add(&w, &events[i], &err);
        TEL_CHECK(rc == TEL_OK);
        message = tel_record_writer_finish(&w);
    }
    double t1 = cpu_seconds();
    uint64_t seen = 0;
    for (unsigned r = 0; r < rounds; r++) {
        struct tel_batch batch;
        tel_code rc = tel_record_decode(NULL, message, &arena, &batch, &err);
        TEL_CHECK(rc == TEL_OK);
        seen += batch.event_count;
        tel_arena_reset(&arena);
    }
    double t2 = cpu_seconds();
    double n = (double)rounds * size;
    printf("{\"events\":%.0f,\"batch_events\":%u,\"message_bytes\":%zu,\"encode_ns_per_event\":%.1f,"
           "\"decode_ns_per_event\":%.1f,\"decoded\":%llu}\n",
           n, size, message.len, (t1 - t0) / n * 1e9, (t2 - t1) / n * 1e9, (unsigned long long)seen);
    tel_record_writer_free(&w);
    tel_arena_free(&arena);
    return 0;
}
