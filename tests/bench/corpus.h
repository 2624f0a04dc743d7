/*
 * A corpus in memory: flat JSON lines with string values, {"_time":...,"host":...,"app":...,
 * "level":...,"_msg":...}, as messages of events of one source, in the order in which sidecars would
 * send them: per source and window of time.
 */
#ifndef TESTS_BENCH_CORPUS_H
#define TESTS_BENCH_CORPUS_H

#include "common/base/vec.h"
#include "common/record/batch.h"

struct corpus_event {
    int64_t time_ns;
    uint32_t source; /* number of (app, host) */
    uint32_t severity;
    uint32_t len;
    uint64_t body; /* in text */
};

struct corpus_source {
    struct tel_field labels[2]; /* app, host */
};

struct corpus_message {
    uint32_t source;
    uint32_t event_count;
    uint64_t first; /* in ordered */
};

struct corpus {
    struct tel_buf_text {
        char *ptr;
        size_t len, cap;
    } text;
    TEL_VEC(struct corpus_event) events;
    TEL_VEC(uint32_t) ordered; /* events by message */
    TEL_VEC(struct corpus_source) sources;
    TEL_VEC(struct corpus_message) messages;
    uint64_t raw_bytes; /* of _msg, host, app and time as a line of text */
};

/* Exits with a message when the file cannot be read. max 0: all. */
void corpus_load(struct corpus *corpus, const char *path, uint64_t max, size_t message_events);
/* CPU seconds that zstd -1 takes for the corpus as text, 256 kB at a time; *ret_bytes its size. */
double corpus_zstd1(const struct corpus *corpus, uint64_t *ret_bytes);
double corpus_cpu_seconds(void);

#endif
