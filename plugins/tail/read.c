/*
 * Lines out of one file. Nothing is kept of a line whose end has not come yet but how far it was
 * looked at: the file is read again from the line's beginning when there is more. So a thousand
 * idle files cost no buffer, and what the host does not take is simply read again later.
 *
 *     offset            + scanned                  size
 *       |  no line end in here |  not looked at yet  |
 *
 * A record's position is the file's offset behind it, its line end included: that grows with every
 * record, empty lines too, and is where reading goes on.
 */
#include "plugins/tail/tail.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "plugins/tail/memory.h"

#define CHUNK        ((size_t)128 << 10)
#define RECORDS_MAX  256
#define PIECES_LIMIT ((uint64_t)4096)

struct reader {
    struct tail_file *f;
    int64_t now;
    size_t count;
    struct telescope_record records[RECORDS_MAX];
};

static bool flush(struct reader *r)
{
    struct tail_file *f = r->f;
    struct tail *t = f->tail;
    for (size_t done = 0; done < r->count;) {
        struct telescope_error err;
        size_t taken = 0;
        enum telescope_result rc =
            t->api->emit(f->source, r->records + done, r->count - done, &taken, &err);
        done += taken;
        if (taken)
            f->offset = r->records[done - 1].position;
        if (rc == TELESCOPE_FULL) {
            r->count = 0;
            f->scanned = 0;
            return false;
        }
        if (rc == TELESCOPE_FAILED && done < r->count) {
            file_log(t, TELESCOPE_ERROR, err.text, f->path, 0);
            t->api->metric(t->host, "lines_rejected", TELESCOPE_COUNTER, 1);
            f->offset = r->records[done++].position;
        }
    }
    r->count = 0;
    return true;
}

static struct telescope_record *add(struct reader *r, const char *body, size_t len, uint64_t end)
{
    struct telescope_record *record = &r->records[r->count++];
    *record = (struct telescope_record){
        .position = end, .observed_ns = r->now, .body = {body, len}};
    return record;
}

/* Emits one piece of a line that is too long, alone. */
static bool emit_piece(struct reader *r, const char *body, size_t len, uint64_t end, bool last)
{
    struct tail_file *f = r->f;
    char text[48];
    int n = last ? snprintf(text, sizeof(text), "%llu/%llu", (unsigned long long)f->line_piece + 1,
                            (unsigned long long)f->line_piece + 1)
                 : snprintf(text, sizeof(text), "%llu/?", (unsigned long long)f->line_piece + 1);
    struct telescope_pair attribute = {{"telescope.split", 15}, {text, (size_t)n}};
    struct telescope_record *record = add(r, body, len, end);
    record->attributes = &attribute;
    record->attribute_count = 1;
    if (!flush(r))
        return false;
    f->line_piece = last ? 0 : f->line_piece + 1;
    return true;
}

/* Where to cut a line that is longer than max: at max, or up to three bytes earlier so as not to cut
 * a UTF-8 character. */
static size_t cut_at(const char *line, size_t max)
{
    for (size_t cut = max; cut > 0 && cut + 4 > max; cut--)
        if (((unsigned char)line[cut] & 0xc0) != 0x80)
            return cut;
    return max;
}

static size_t body_length(const struct tail_config *config, const char *line, size_t len)
{
    return config->strip_cr && len && line[len - 1] == '\r' ? len - 1 : len;
}

/* A line without its line end; `end` is the file's offset behind that. */
static bool take_line(struct reader *r, const char *line, size_t len, uint64_t end, bool terminated)
{
    struct tail_file *f = r->f;
    const struct tail_config *config = &f->tail->config;
    size_t body = terminated ? body_length(config, line, len) : len;
    if (body <= config->max_line && !f->line_piece) {
        add(r, line, body, end);
        return r->count < RECORDS_MAX || flush(r);
    }
    if (!flush(r))
        return false;
    uint64_t at = f->offset;
    while (body > config->max_line) {
        size_t cut = cut_at(line, config->max_line);
        at += cut;
        if (!emit_piece(r, line, cut, at, false))
            return false;
        line += cut;
        body -= cut;
    }
    return emit_piece(r, line, body, end, true);
}

/* Cuts pieces off a line whose end is not in sight while it is certainly too long: a line end of two
 * bytes behind max_line bytes must not make it so. */
static bool take_unended(struct reader *r, const char **line, size_t *len)
{
    struct tail_file *f = r->f;
    size_t max = f->tail->config.max_line;
    while (*len > max + 1) {
        size_t cut = cut_at(*line, max);
        if (!emit_piece(r, *line, cut, f->offset + cut, false))
            return false;
        *line += cut;
        *len -= cut;
    }
    return true;
}

static ssize_t read_at(struct tail_file *f, size_t want, uint64_t at)
{
    struct tail *t = f->tail;
    ssize_t n;
    if (!t->buffer) {
        t->buffer_len = t->config.max_line + 2 + 2 * CHUNK;
        t->buffer = tail_alloc(t->buffer_len);
    }
    do
        n = pread(f->fd, t->buffer, want < t->buffer_len ? want : t->buffer_len, (off_t)at);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        file_log(t, TELESCOPE_WARN, "cannot read", f->path, errno);
    return n;
}

/* One buffer full of lines from f->offset on. */
static enum read_result read_lines(struct reader *r, size_t want, size_t *done)
{
    struct tail_file *f = r->f;
    ssize_t n = read_at(f, want, f->offset);
    if (n <= 0)
        return READ_END;
    uint64_t base = f->offset;
    const char *buf = f->tail->buffer, *p = buf, *end = buf + n, *nl;
    while ((nl = memchr(p, '\n', (size_t)(end - p)))) {
        if (!take_line(r, p, (size_t)(nl - p), base + (uint64_t)(nl + 1 - buf), true))
            return READ_FULL;
        p = nl + 1;
    }
    if (!flush(r))
        return READ_FULL;
    size_t rest = (size_t)(end - p);
    if (!take_unended(r, &p, &rest))
        return READ_FULL;
    f->scanned = rest;
    *done += (size_t)n;
    return (size_t)n < want ? READ_END : READ_MORE;
}

enum read_result file_read(struct tail_file *f, size_t budget)
{
    struct reader r = {.f = f};
    r.now = f->tail->api->wall_ns(f->tail->host);
    for (size_t done = 0; done < budget;) {
        size_t want = CHUNK;
        if (f->scanned) {
            /* Is the end of the line that was begun in the new bytes? */
            ssize_t n = read_at(f, CHUNK, f->offset + f->scanned);
            if (n <= 0)
                return READ_END;
            want = f->scanned + (size_t)n;
            if (!memchr(f->tail->buffer, '\n', (size_t)n) && want <= f->tail->config.max_line + 1) {
                f->scanned = want;
                done += (size_t)n;
                continue;
            }
        }
        enum read_result rc = read_lines(&r, want, &done);
        if (rc != READ_MORE)
            return rc;
    }
    return READ_MORE;
}

bool file_read_partial(struct tail_file *f, bool last)
{
    struct reader r = {.f = f};
    if (!f->scanned)
        return true;
    r.now = f->tail->api->wall_ns(f->tail->host);
    ssize_t n = read_at(f, f->scanned, f->offset);
    if (n <= 0)
        return true;
    uint64_t end = f->offset + (uint64_t)n;
    bool taken = last ? take_line(&r, f->tail->buffer, (size_t)n, end, false) && flush(&r)
                      : emit_piece(&r, f->tail->buffer, (size_t)n, end, false);
    if (!taken)
        return false;
    f->scanned = 0;
    return true;
}

uint64_t file_pieces_before(int fd, uint64_t position, size_t max_line)
{
    char window[4096];
    uint64_t at = position;
    while (at > 0 && (position - at) / max_line < PIECES_LIMIT) {
        size_t len = at < sizeof(window) ? (size_t)at : sizeof(window);
        if (pread(fd, window, len, (off_t)(at - len)) != (ssize_t)len)
            break;
        const char *nl = memrchr(window, '\n', len);
        at -= nl ? (uint64_t)(window + len - (nl + 1)) : len;
        if (nl)
            break;
    }
    return (position - at + max_line - 1) / max_line;
}
