#include "plugins/tail/tail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/tail/memory.h"

static int64_t mtime_of(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

void file_log(struct tail *t, enum telescope_log_level level, const char *what, const char *path,
              int errnum)
{
    char text[PATH_BYTES_SHOWN + 256];
    snprintf(text, sizeof(text), "%s: %.*s%s%s", what, PATH_BYTES_SHOWN, path, errnum ? ": " : "",
             errnum ? strerror(errnum) : "");
    t->api->log(t->host, level, text);
}

struct tail_file *file_new(struct tail *t, const char *path, int fd,
                           const struct identity *identity)
{
    struct tail_file *f = tail_alloc(sizeof(*f));
    f->tail = t;
    f->identity = *identity;
    f->path = tail_copy(path, strlen(path));
    f->fd = fd;
    f->watch = -1;
    f->active_ns = t->api->mono_ns(t->host);
    f->seen = t->scan_number;
    if (t->file_count == t->file_cap) {
        size_t cap = t->file_cap ? t->file_cap * 2 : 16;
        struct tail_file **grown = tail_alloc(cap * sizeof(struct tail_file *));
        if (t->file_count)
            memcpy(grown, t->files, t->file_count * sizeof(*grown));
        free(t->files);
        t->files = grown;
        t->file_cap = cap;
    }
    f->index = t->file_count;
    t->files[t->file_count++] = f;
    table_put(&t->by_inode, identity->dev, identity->ino, f);
    if (fd >= 0) {
        t->open_count++;
        watch_file(f);
    }
    return f;
}

void file_make_ready(struct tail_file *f)
{
    struct tail *t = f->tail;
    if (f->ready)
        return;
    f->ready = true;
    f->next_ready = NULL;
    if (t->ready_tail)
        t->ready_tail->next_ready = f;
    else
        t->ready_head = f;
    t->ready_tail = f;
}

static size_t state_text(const struct tail_file *f, char out[FILE_STATE_MAX])
{
    struct file_state s = {
        .identity = f->identity, .start = f->start, .path = f->path, .path_len = strlen(f->path)};
    return file_state_write(&s, out);
}

void file_store_state(struct tail_file *f)
{
    char text[FILE_STATE_MAX];
    size_t len = f->source ? state_text(f, text) : 0;
    if (len)
        f->tail->api->source_state(f->source, (struct telescope_str){text, len});
}

void file_set_path(struct tail_file *f, const char *path)
{
    if (strcmp(f->path, path) == 0)
        return;
    free(f->path);
    f->path = tail_copy(path, strlen(path));
    file_store_state(f);
}

static void close_fd(struct tail_file *f)
{
    if (f->fd < 0)
        return;
    unwatch_file(f);
    close(f->fd);
    f->fd = -1;
    f->tail->open_count--;
}

/* The text of the file is another one now: what was read is a finished source. */
static void begin_anew(struct tail_file *f)
{
    if (f->source)
        f->tail->api->source_close(f->source, true);
    else if (f->identity.generation)
        f->tail->api->source_forget(f->tail->host, (struct telescope_str){f->id, strlen(f->id)});
    f->source = NULL;
    f->identity.generation = 0;
    f->identity.head_len = 0;
    f->offset = f->scanned = f->line_piece = f->start = 0;
    f->binary = false;
}

/* Opens the path again if it still leads to this file. */
static bool reopen(struct tail_file *f)
{
    struct stat st;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return false;
    if (fstat(fd, &st) != 0 || st.st_dev != f->identity.dev || st.st_ino != f->identity.ino) {
        close(fd);
        return false;
    }
    f->fd = fd;
    f->tail->open_count++;
    watch_file(f);
    return true;
}

/* A longer head tells files apart better: hash more of it now that there is more. */
static void hash_longer_head(struct tail_file *f, uint64_t size)
{
    uint32_t len = size < HEAD_BYTES ? (uint32_t)size : HEAD_BYTES;
    uint64_t hash;
    if (f->identity.head_len >= len || !identity_hash_head(f->fd, len, &hash))
        return;
    f->identity.head_len = len;
    f->identity.head_hash = hash;
    file_store_state(f);
}

bool file_look(struct tail_file *f)
{
    struct stat st;
    if (f->fd >= 0 ? fstat(f->fd, &st) != 0 : stat(f->path, &st) != 0)
        return false;
    if (st.st_dev != f->identity.dev || st.st_ino != f->identity.ino)
        return false; /* another file lies there now: the scan sorts that out */
    uint64_t size = (uint64_t)st.st_size;
    int64_t mtime = mtime_of(&st);
    bool changed = size != f->size || mtime != f->mtime_ns;
    if (changed)
        f->active_ns = f->tail->api->mono_ns(f->tail->host);
    if (f->binary && size >= f->size)
        return false;
    if ((changed || size > f->offset + f->scanned) && f->fd < 0 && !reopen(f))
        return false;
    f->size = size;
    f->mtime_ns = mtime;
    if (size < f->offset + f->scanned) {
        file_log(f->tail, TELESCOPE_INFO, "file was truncated, reading it from its beginning",
                 f->path, 0);
        begin_anew(f);
    } else if (changed && f->identity.generation) {
        if (identity_head_matches(&f->identity, f->fd)) {
            hash_longer_head(f, size);
        } else {
            file_log(f->tail, TELESCOPE_INFO, "file was rewritten, reading it from its beginning",
                     f->path, 0);
            begin_anew(f);
        }
    }
    return size > f->offset + f->scanned;
}

static bool skip_as_binary(struct tail_file *f)
{
    unsigned char head[HEAD_BYTES];
    ssize_t n = f->tail->config.skip_binary ? pread(f->fd, head, sizeof(head), 0) : 0;
    f->binary = false;
    if (n <= 0 || !head_is_binary(head, (size_t)n))
        return false;
    file_log(f->tail, TELESCOPE_INFO, "file is not text, skipped (skip_binary)", f->path, 0);
    f->binary = true;
    close_fd(f);
    return true;
}

/* A writer that does not append goes on at its old place after its file was truncated, which leaves a
 * hole before what it writes then: gigabytes of zeros that nobody wrote. */
static void skip_hole(struct tail_file *f)
{
    char block[4096];
    off_t data = lseek(f->fd, 0, SEEK_DATA);
    if (data <= 0)
        return;
    /* Holes end at a block's boundary; the rest of their zeros stands in the first block of data. */
    ssize_t n = pread(f->fd, block, sizeof(block), data), zeros = 0;
    while (zeros < n && block[zeros] == 0)
        zeros++;
    f->offset = f->start = (uint64_t)(data + zeros);
}

bool file_ensure_source(struct tail_file *f)
{
    struct tail *t = f->tail;
    if (f->source)
        return true;
    if (f->fd < 0)
        return false;
    if (!f->identity.generation) {
        uint32_t len = f->size < HEAD_BYTES ? (uint32_t)f->size : HEAD_BYTES;
        if (len == 0 || skip_as_binary(f) ||
            !identity_hash_head(f->fd, len, &f->identity.head_hash))
            return false;
        f->identity.head_len = len;
        f->identity.generation = (uint64_t)t->api->wall_ns(t->host);
        identity_id(&f->identity, f->id);
        if (f->offset == 0)
            skip_hole(f);
    }
    char state[FILE_STATE_MAX];
    struct telescope_pair label = {
        {t->config.file_label, strlen(t->config.file_label)}, {f->path, strlen(f->path)}};
    struct telescope_source_spec spec = {
        .id = {f->id, strlen(f->id)},
        .labels = &label,
        .label_count = label.name.len ? 1 : 0,
        .state = {state, state_text(f, state)},
        .user = f,
    };
    struct telescope_error err;
    uint64_t position = 0;
    f->source = t->api->source_open(t->host, &spec, &position, &err);
    if (!f->source) {
        t->api->log(t->host, TELESCOPE_ERROR, err.text);
        return false;
    }
    if (position > f->offset) {
        f->offset = position;
        f->scanned = 0;
    }
    return true;
}

void file_sleep(struct tail_file *f)
{
    close_fd(f);
    f->scanned = 0;
    if (f->source)
        f->tail->api->source_close(f->source, false);
    f->source = NULL;
}

void file_drop(struct tail_file *f, bool forget)
{
    struct tail *t = f->tail;
    if (f->ready) {
        struct tail_file *before = NULL, *at = t->ready_head;
        while (at != f)
            before = at, at = at->next_ready;
        *(before ? &before->next_ready : &t->ready_head) = f->next_ready;
        if (t->ready_tail == f)
            t->ready_tail = before;
    }
    close_fd(f);
    if (f->source)
        t->api->source_close(f->source, forget);
    else if (forget && f->identity.generation)
        t->api->source_forget(t->host, (struct telescope_str){f->id, strlen(f->id)});
    if (table_get(&t->by_inode, f->identity.dev, f->identity.ino) == f)
        table_remove(&t->by_inode, f->identity.dev, f->identity.ino);
    t->files[f->index] = t->files[--t->file_count];
    t->files[f->index]->index = f->index;
    free(f->path);
    free(f);
}

void files_limit_open(struct tail *t)
{
    while (t->open_count > t->config.max_open) {
        struct tail_file *oldest = NULL;
        for (size_t i = 0; i < t->file_count; i++) {
            struct tail_file *f = t->files[i];
            /* A file that no path leads to could not be opened again. */
            if (f->fd >= 0 && !f->gone_ns && (!oldest || f->active_ns < oldest->active_ns))
                oldest = f;
        }
        if (!oldest)
            return;
        file_sleep(oldest);
    }
}
