/*
 * The splitter on any line: holes are in order and do not overlap, begin and end at the ends of words,
 * skeleton and holes give the line back; all ways to classify agree.
 */
#include <stdlib.h>

#include "common/base/check.h"
#include "shard/segment/split.h"

static void check_classes(const char *line, size_t len)
{
    static struct split_classes a, b;
    splitter_classify_portable(line, len, &a);
    splitter_classify_best()(line, len, &b);
    TEL_CHECK(a.newline == b.newline && a.has_nul == b.has_nul);
    TEL_CHECK(memcmp(a.run, b.run, (len / 64 + 1) * 8) == 0);
    TEL_CHECK(memcmp(a.event, b.event, (len / 64 + 1) * 8) == 0);
    TEL_CHECK(memcmp(a.slash, b.slash, (len / 64 + 1) * 8) == 0);
    TEL_CHECK(memcmp(a.quote, b.quote, (len / 64 + 1) * 8) == 0);
}

static int word_at(const char *line, size_t len, size_t i)
{
    return i < len && split_is_word[(unsigned char)line[i]];
}

static void check_holes(const struct splitter *sp, const char *line, size_t len)
{
    size_t pos = 0, out = 0;
    for (size_t i = 0; i < sp->hole_count; i++) {
        struct hole h = sp->holes[i];
        TEL_CHECK(h.start >= pos && h.len <= len && h.start <= len - h.len);
        TEL_CHECK(h.start == 0 || h.len == 0 || !word_at(line, len, h.start - 1) ||
                  !word_at(line, len, h.start));
        TEL_CHECK(h.len == 0 || !word_at(line, len, h.start + h.len) ||
                  !word_at(line, len, h.start + h.len - 1));
        TEL_CHECK(memcmp(sp->skeleton + out, line + pos, h.start - pos) == 0);
        out += h.start - pos;
        TEL_CHECK(sp->skeleton[out++] == 0);
        pos = h.start + h.len;
    }
    TEL_CHECK(memcmp(sp->skeleton + out, line + pos, len - pos) == 0);
    TEL_CHECK(out + len - pos == sp->skeleton_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct splitter sp;
    if (size > SPLIT_LINE_MAX + 100)
        return 0;
    char *line = calloc(1, size + SPLIT_SLACK);
    TEL_CHECK(line);
    if (size)
        memcpy(line, data, size);
    if (size <= SPLIT_LINE_MAX)
        check_classes(line, size);
    if (splitter_run(&sp, tel_span_make(line, size)))
        check_holes(&sp, line, size);
    else
        TEL_CHECK(size > SPLIT_LINE_MAX || memchr(line, 0, size));
    free(line);
    return 0;
}
