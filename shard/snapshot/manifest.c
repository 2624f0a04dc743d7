#include "shard/snapshot/manifest.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/crc32c.h"
#include "common/base/mem.h"

#define VERSION 1u

void manifest_done(struct manifest *m)
{
    for (size_t i = 0; i < m->partitions.len; i++)
        tel_vec_free(&m->partitions.items[i].files);
    tel_vec_free(&m->partitions);
}

static void file_name(char out[FOLDER_NAME_MAX], const struct manifest_file *file)
{
    if (file->meta)
        snprintf(out, FOLDER_NAME_MAX, "meta");
    else
        folder_day_name(out, file->day);
}

void manifest_file_path(char *out, size_t size, uint32_t partition, const struct manifest_file *file)
{
    char name[FOLDER_NAME_MAX];
    file_name(name, file);
    snprintf(out, size, "p%" PRIu32 "/%s", partition, name);
}

void manifest_write(const struct manifest *m, struct tel_buf *ret)
{
    size_t start = ret->len;
    tel_buf_printf(ret, "telescope-snapshot %u\nmade %" PRId64 "\n", VERSION, m->made_ns);
    for (size_t i = 0; i < m->partitions.len; i++) {
        const struct manifest_partition *p = &m->partitions.items[i];
        tel_buf_printf(ret,
                       "partition %" PRIu32 " epoch %" PRIu32 " resume %" PRId64
                       " segments %" PRIu64 " events %" PRIu64 " bytes %" PRIu64
                       " damaged %" PRIu64 " files %zu\n",
                       p->partition, p->resume.epoch, p->resume.offset, p->segments, p->events,
                       p->bytes, p->damaged, p->files.len);
        for (size_t j = 0; j < p->files.len; j++) {
            const struct manifest_file *f = &p->files.items[j];
            char name[FOLDER_NAME_MAX];
            file_name(name, f);
            tel_buf_printf(ret, "file %s bytes %" PRIu64 " records %" PRIu64 " crc32c %" PRIu32 "\n",
                           name, f->sum.bytes, f->sum.records, f->sum.crc);
        }
    }
    uint32_t crc = tel_crc32c(0, ret->ptr + start, ret->len - start);
    tel_buf_printf(ret, "crc32c %" PRIu32 "\n", crc);
}

/* ---- reading ------------------------------------------------------------------------------------ */

/* A line's words, taken from its front; a failure sticks. */
struct line {
    struct tel_span rest;
    unsigned number;
    bool bad;
};

static struct tel_span word(struct line *l)
{
    return tel_span_split(&l->rest, ' ');
}

static uint64_t number(struct line *l, const char *name, uint64_t max)
{
    unsigned long long v = 0;
    if (name && !tel_span_eq_cstr(word(l), name))
        l->bad = true;
    if (!tel_span_to_u64(word(l), &v) || v > max)
        l->bad = true;
    return v;
}

static void parse_partition(struct line *l, struct manifest_partition *p, uint64_t *ret_files)
{
    p->partition = (uint32_t)number(l, NULL, UINT32_MAX);
    p->resume.epoch = (uint32_t)number(l, "epoch", UINT32_MAX);
    p->resume.offset = (int64_t)number(l, "resume", INT64_MAX);
    p->segments = number(l, "segments", UINT64_MAX);
    p->events = number(l, "events", UINT64_MAX);
    p->bytes = number(l, "bytes", UINT64_MAX);
    p->damaged = number(l, "damaged", UINT64_MAX);
    *ret_files = number(l, "files", UINT32_MAX);
}

/* The name decides a path: it must be one that we would write. */
static void parse_file(struct line *l, struct manifest_file *f)
{
    char name[FOLDER_NAME_MAX];
    struct tel_span text = word(l);
    snprintf(name, sizeof(name), "%.*s", (int)TEL_MIN(text.len, sizeof(name) - 1),
             text.ptr ? text.ptr : "");
    f->meta = tel_span_eq_cstr(text, "meta");
    if (!f->meta && (text.len != strlen(name) || !folder_day_parse(name, &f->day)))
        l->bad = true;
    f->sum.bytes = number(l, "bytes", UINT64_MAX);
    f->sum.records = number(l, "records", UINT64_MAX);
    f->sum.crc = (uint32_t)number(l, "crc32c", UINT32_MAX);
}

/* Is it the first of its partition and the partition's own store, or a day that comes behind the one
 * before? */
static bool in_order(const struct manifest_partition *p, const struct manifest_file *f)
{
    if (p->files.len == 0)
        return f->meta;
    const struct manifest_file *last = &p->files.items[p->files.len - 1];
    if (f->meta)
        return false;
    return last->meta || last->day.day < f->day.day ||
           (last->day.day == f->day.day && last->day.generation < f->day.generation);
}

struct parsing {
    struct manifest *manifest;
    uint64_t files_left; /* of the partition under way */
};

static void parse_line(struct parsing *s, struct line *l)
{
    struct manifest *m = s->manifest;
    struct tel_span kind = word(l);
    if (tel_span_eq(kind, TEL_SPAN("partition")) && s->files_left == 0) {
        struct manifest_partition p = {0};
        parse_partition(l, &p, &s->files_left);
        for (size_t i = 0; i < m->partitions.len; i++)
            l->bad = l->bad || m->partitions.items[i].partition == p.partition;
        l->bad = l->bad || s->files_left == 0;
        tel_vec_push(&m->partitions, p);
    } else if (tel_span_eq(kind, TEL_SPAN("file")) && s->files_left > 0) {
        struct manifest_file f = {0};
        struct manifest_partition *p = &m->partitions.items[m->partitions.len - 1];
        parse_file(l, &f);
        l->bad = l->bad || !in_order(p, &f);
        tel_vec_push(&p->files, f);
        s->files_left--;
    } else {
        l->bad = true;
    }
    l->bad = l->bad || l->rest.ptr != NULL;
}

/* The text without its last line, which must have the right checksum. */
static bool take_checksum(struct tel_span *text)
{
    if (text->len == 0 || text->ptr[text->len - 1] != '\n')
        return false;
    size_t at = text->len - 1;
    while (at > 0 && text->ptr[at - 1] != '\n')
        at--;
    struct line l = {.rest = tel_span_slice(*text, at, text->len - 1)};
    uint64_t crc = number(&l, "crc32c", UINT32_MAX);
    *text = tel_span_slice(*text, 0, at);
    return !l.bad && !l.rest.ptr && tel_crc32c(0, text->ptr, text->len) == crc;
}

tel_code manifest_parse(struct tel_span text, struct manifest *ret, struct tel_error *err)
{
    struct tel_span rest = text;
    struct line l = {.rest = tel_span_split(&rest, '\n'), .number = 1};
    uint64_t version = number(&l, "telescope-snapshot", UINT64_MAX);
    if (l.bad)
        return tel_error_set(err, TEL_ERR_CORRUPT, MANIFEST_NAME ": not of a snapshot");
    if (version != VERSION)
        return tel_error_set(err, TEL_ERR_UNSUPPORTED,
                             MANIFEST_NAME ": of version %" PRIu64 "; this is %u", version, VERSION);
    if (!take_checksum(&text))
        return tel_error_set(err, TEL_ERR_CORRUPT, MANIFEST_NAME ": checksum mismatch");
    struct manifest m = {0};
    struct parsing s = {.manifest = &m};
    rest = text;
    (void)tel_span_split(&rest, '\n');
    l = (struct line){.rest = tel_span_split(&rest, '\n'), .number = 2};
    m.made_ns = (int64_t)number(&l, "made", INT64_MAX);
    while (!l.bad && rest.len) {
        l = (struct line){.rest = tel_span_split(&rest, '\n'), .number = l.number + 1};
        parse_line(&s, &l);
    }
    if (l.bad || s.files_left) {
        manifest_done(&m);
        return tel_error_set(err, TEL_ERR_CORRUPT, MANIFEST_NAME ": line %u is wrong", l.number);
    }
    *ret = m;
    return TEL_OK;
}
