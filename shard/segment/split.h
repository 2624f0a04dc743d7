/*
 * The splitter: cuts a line into static text and holes, in one pass, by looks alone. What varies in
 * logs usually looks like it does: numbers, quoted strings, paths, addresses, values of keys. Holes
 * begin and end at word boundaries, so that no word of LogsQL ever spans static text and a hole.
 *
 *     user=bob took 35 ms for "GET /x HTTP/1.1"
 *          ~~~      ~~         ~~~ ~~      ~~~      holes
 *     user=\0 took \0 ms for "\0 \0 HTTP/\0"        skeleton: the static text, a NUL for each hole
 *
 * A splitter belongs to one thread; what it gives is valid until its next run.
 */
#ifndef SHARD_SEGMENT_SPLIT_H
#define SHARD_SEGMENT_SPLIT_H

#include <stdbool.h>
#include <stdint.h>

#include <string.h>

#include "common/base/span.h"

#define SPLIT_LINE_MAX  60000u
#define SPLIT_HOLES_MAX 500u
/* With the tail behind a line feed and the words that learning makes wild. */
#define SPLIT_HOLES_ALL (SPLIT_HOLES_MAX + 100u)
/* So many bytes behind the line must be readable (their values do not matter). */
#define SPLIT_SLACK 64u

struct hole {
    uint32_t start, len; /* in the line */
};

/* Bitmaps over a line, a bit a byte, and where its first line feed is (SIZE_MAX: nowhere). */
struct split_classes {
    uint64_t run[SPLIT_LINE_MAX / 64 + 2];   /* word characters, joiners and '/' */
    uint64_t event[SPLIT_LINE_MAX / 64 + 2]; /* digits " = / @ */
    uint64_t slash[SPLIT_LINE_MAX / 64 + 2];
    uint64_t quote[SPLIT_LINE_MAX / 64 + 2]; /* " */
    size_t newline;
    bool has_nul;
};

struct splitter {
    struct split_classes classes;
    struct hole holes[SPLIT_HOLES_ALL];
    size_t hole_count;
    char skeleton[SPLIT_LINE_MAX + SPLIT_HOLES_MAX + SPLIT_SLACK];
    size_t skeleton_len;
};

/* Copies n bytes, most often few, and up to 15 more than that: both sides must have the slack. */
static inline void split_copy(char *out, const char *from, size_t n)
{
    if (n > 64) {
        memcpy(out, from, n);
        return;
    }
    for (size_t at = 0; at < n; at += 16)
        memcpy(out + at, from + at, 16);
}

/* False when the line cannot have a template: it is too long or holds NUL. */
bool splitter_run(struct splitter *splitter, struct tel_span line);

/* Rewrites the skeleton after the holes were changed by the caller. */
void splitter_make_skeleton(struct splitter *splitter, struct tel_span line);

/* The ways to classify; the best that this machine has is chosen at the first use. For tests. */
typedef void split_classify_fn(const char *line, size_t len, struct split_classes *out);
split_classify_fn *splitter_classify_best(void);
void splitter_classify_portable(const char *line, size_t len, struct split_classes *out);

/* Word characters, counting every byte from 0x80 as one. */
extern const uint8_t split_is_word[256];

#endif
