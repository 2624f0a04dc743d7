/* A sidecar over a journal in a temporary folder, and what came out of it. */
#ifndef TESTS_SIDECAR_FIXTURE_H
#define TESTS_SIDECAR_FIXTURE_H

#include "common/record/codec.h"
#include "common/transport/transport.h"
#include "sidecar/sidecar.h"

struct rig {
    char dir[128];
    struct tel_transport *transport;
    struct sidecar *sidecar;
    struct sidecar_options options;
    struct sidecar_input input;
    struct sidecar_setting settings[16];
    const char *values[16];
    char globs[4][192];
    char plugin_dir[512];
    char data_dir[160];
};

/* A line as it was found in the queue. */
struct line {
    char *source, *body, *file, *split;
    size_t body_len;
    uint64_t position;
    int64_t timestamp_ns;
};

struct lines {
    struct line *items;
    size_t len, cap;
    size_t repeats; /* positions that were seen before within their source: dropped here as a shard
                     * does it */
};

void rig_open(struct rig *r, uint32_t partitions);
void rig_close(struct rig *r);
/* Adds a setting of the tail plugin to what rig_start uses. */
void rig_set(struct rig *r, const char *key, const char *value);
/* Starts a sidecar that tails <dir>/<glob>. */
void rig_start(struct rig *r, const char *glob);
void rig_stop(struct rig *r);
/* Frees it without grace: what is not acknowledged is lost to it. */
void rig_kill(struct rig *r);

/* Files below the rig's folder. */
void rig_append(struct rig *r, const char *name, const char *text, size_t len);
void rig_puts(struct rig *r, const char *name, const char *text);
void rig_path(const struct rig *r, const char *name, char out[256]);
void rig_rename(struct rig *r, const char *from, const char *to);
void rig_mkdir(struct rig *r, const char *name);
/* Cuts the file to nothing, in place. */
void rig_truncate(struct rig *r, const char *name);
void rig_unlink(struct rig *r, const char *name);

#define RIG_WAIT_S 120 /* deadline of every wait: a machine may be busy */

/* Waits until so many events were delivered by this sidecar. */
void rig_wait_delivered(struct rig *r, uint64_t events);

/* Waits until all that was written so far is delivered. */
void rig_wait_idle(struct rig *r);

/* Waits until so many sources are open. */
void rig_wait_sources(struct rig *r, uint32_t sources);

/* Everything in the queue, partition by partition, in order; checks that positions grow within each
 * source and that a source stays in one partition. */
void rig_read(struct rig *r, struct lines *ret);
void lines_free(struct lines *l);
/* Do the bodies of this file, over all its sources in order, put together with '\n', equal text? */
void lines_check_file(const struct lines *l, const char *file, const char *text, size_t len);
size_t lines_sources(const struct lines *l);
/* Is the text of each source (every line with its end, pieces put together) one of the expected, and
 * each of those there once? */
void lines_check_sources(const struct lines *l, const char *const *expected, size_t count);
#define LINES_CHECK_SOURCES(l, ...)                                                                \
    lines_check_sources((l), (const char *const[]){__VA_ARGS__},                                   \
                        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

#endif
