/*
 * From paths to files. A scan walks the patterns and settles, for each file known or new:
 *
 *     met, unknown              new, or one that was stored before a restart and is recognised
 *     met, known                where it lies now; has it grown?
 *     known, not met            renamed away or deleted: read to its end, wait whether its writer
 *                               goes on for a while, then done
 *     stored, never met         looked for beside its old path (it was renamed while we were away);
 *                               otherwise its position is kept for `forget_after`
 */
#include "plugins/tail/tail.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/tail/memory.h"

void scan_restore(struct tail *t, const char *id, size_t id_len, uint64_t position,
                  const char *state, size_t state_len)
{
    struct file_state s;
    if (id_len >= IDENTITY_ID_MAX || !file_state_read(state, state_len, &s)) {
        file_log(t, TELESCOPE_ERROR, "stored state of a file cannot be understood", "ignored", 0);
        return;
    }
    if (t->restored_count == t->restored_cap) {
        size_t cap = t->restored_cap ? t->restored_cap * 2 : 16;
        struct restored *grown = tail_alloc(cap * sizeof(*grown));
        if (t->restored_count)
            memcpy(grown, t->restored, t->restored_count * sizeof(*grown));
        free(t->restored);
        t->restored = grown;
        t->restored_cap = cap;
    }
    struct restored *r = &t->restored[t->restored_count++];
    *r = (struct restored){.id = tail_copy(id, id_len),
                           .position = position > s.start ? position : s.start,
                           .state = s,
                           .path = tail_copy(s.path, s.path_len)};
    r->state.path = r->path;
}

static void restored_remove(struct tail *t, struct restored *r)
{
    free(r->id);
    free(r->path);
    *r = t->restored[--t->restored_count];
}

/* The stored entry that this open file continues. The same inode and the same head make it so; the
 * device's number may have changed with a reboot. Entries of the same inode that do not fit are of
 * files that are no more, and are forgotten. */
static struct restored *recognise(struct tail *t, int fd, const struct stat *st)
{
    struct restored *found = NULL;
    for (size_t i = 0; i < t->restored_count; i++) {
        struct restored *r = &t->restored[i];
        const struct identity *id = &r->state.identity;
        if (id->ino != st->st_ino)
            continue;
        if (r->position <= (uint64_t)st->st_size && identity_head_matches(id, fd)) {
            if (!found || id->generation > found->state.identity.generation)
                found = r;
        } else if (id->dev == st->st_dev) {
            t->api->source_forget(t->host, (struct telescope_str){r->id, strlen(r->id)});
            restored_remove(t, r);
            i--;
        }
    }
    return found;
}

/* An open file that is not known yet. */
static struct tail_file *adopt(struct tail *t, const char *path, int fd, const struct stat *st)
{
    struct identity identity = {.dev = st->st_dev, .ino = st->st_ino};
    struct restored *r = recognise(t, fd, st);
    if (!r) {
        struct tail_file *f = file_new(t, path, fd, &identity);
        if (t->config.from_end && !t->first_scan_done) {
            f->offset = f->start = f->size = (uint64_t)st->st_size;
            (void)file_ensure_source(f); /* where it began must be known after a crash */
        }
        return f;
    }
    identity.generation = r->state.identity.generation;
    identity.head_len = r->state.identity.head_len;
    identity.head_hash = r->state.identity.head_hash;
    struct tail_file *f = file_new(t, path, fd, &identity);
    strcpy(f->id, r->id);
    f->offset = r->position;
    f->start = r->state.start;
    if (f->offset > f->start)
        f->line_piece = file_pieces_before(fd, f->offset, t->config.max_line);
    restored_remove(t, r);
    return f;
}

/* A file that may not be read is met in every scan, but told once. */
static void complain_once(struct tail *t, const char *path, const struct stat *st)
{
    if (errno == ENOENT || table_get(&t->refused, st->st_dev, st->st_ino))
        return;
    file_log(t, TELESCOPE_WARN, "cannot open", path, errno);
    table_put(&t->refused, st->st_dev, st->st_ino, t);
}

static void met_file(void *ctx, const char *path)
{
    struct tail *t = ctx;
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || glob_match(&t->config.exclude, path))
        return;
    struct tail_file *f = table_get(&t->by_inode, st.st_dev, st.st_ino);
    if (!f) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0) {
            complain_once(t, path, &st);
            return;
        }
        if (fstat(fd, &st) != 0 || table_get(&t->by_inode, st.st_dev, st.st_ino)) {
            close(fd); /* exchanged since; the next scan meets it */
            return;
        }
        f = adopt(t, path, fd, &st);
    } else if (f->seen != t->scan_number) {
        file_set_path(f, path); /* the first of several paths to it */
    }
    f->seen = t->scan_number;
    f->gone_ns = 0;
    if (file_look(f))
        file_make_ready(f);
    files_limit_open(t);
}

static void met_folder(void *ctx, const char *path)
{
    watch_folder(ctx, path);
}

/* Opens the file with this inode and head in the folder where `path` was. */
static int find_beside(const char *path, const struct identity *identity, char *ret_path,
                       size_t ret_len)
{
    const char *slash = strrchr(path, '/');
    char folder[4096];
    int fd = -1;
    size_t len = slash ? (size_t)(slash - path) + 1 : 0;
    if (len >= sizeof(folder))
        return -1;
    memcpy(folder, path, len);
    folder[len] = '\0';
    DIR *dir = opendir(len ? folder : ".");
    if (!dir)
        return -1;
    for (struct dirent *entry; fd < 0 && (entry = readdir(dir));) {
        if (entry->d_ino != identity->ino)
            continue;
        int n = snprintf(ret_path, ret_len, "%s%s", folder, entry->d_name);
        if (n < 0 || (size_t)n >= ret_len)
            continue;
        struct stat st;
        fd = open(ret_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
                        st.st_ino != identity->ino || !identity_head_matches(identity, fd))) {
            close(fd);
            fd = -1;
        }
    }
    closedir(dir);
    return fd;
}

/* A stored file that no pattern leads to. True if its entry was taken out of the list. */
static bool settle_restored(struct tail *t, struct restored *r)
{
    char path[4096];
    struct stat st;
    int fd = find_beside(r->path, &r->state.identity, path, sizeof(path));
    if (fd >= 0 && fstat(fd, &st) == 0 && !table_get(&t->by_inode, st.st_dev, st.st_ino)) {
        size_t before = t->restored_count;
        struct tail_file *f = adopt(t, path, fd, &st);
        f->gone_ns = t->api->mono_ns(t->host);
        if (file_look(f))
            file_make_ready(f);
        return t->restored_count < before;
    }
    if (fd >= 0)
        close(fd);
    int64_t now_s = t->api->wall_ns(t->host) / 1000000000;
    struct telescope_str id = {r->id, strlen(r->id)};
    if (r->state.missing_since_s && now_s - r->state.missing_since_s > t->config.forget_after_s) {
        t->api->source_forget(t->host, id);
        restored_remove(t, r);
        return true;
    }
    if (!r->state.missing_since_s) {
        char text[FILE_STATE_MAX];
        struct telescope_error err;
        uint64_t position;
        r->state.missing_since_s = now_s;
        struct telescope_source_spec spec = {
            .id = id, .state = {text, file_state_write(&r->state, text)}};
        struct telescope_source *source = t->api->source_open(t->host, &spec, &position, &err);
        if (source)
            t->api->source_close(source, false);
    }
    return false;
}

/* A file that no path led to in this scan. */
static void settle_gone(struct tail *t, struct tail_file *f, int64_t now)
{
    if (f->fd < 0) {
        char path[4096];
        int fd = f->identity.generation && !f->binary
                     ? find_beside(f->path, &f->identity, path, sizeof(path))
                     : -1;
        if (fd < 0) {
            file_drop(f, true);
            return;
        }
        f->fd = fd;
        t->open_count++;
        file_set_path(f, path);
        watch_file(f);
    }
    if (!f->gone_ns)
        f->gone_ns = now;
    if (file_look(f))
        file_make_ready(f);
    int64_t quiet_since = f->gone_ns > f->active_ns ? f->gone_ns : f->active_ns;
    if (f->ready || now - quiet_since < t->config.rotate_grace_ns)
        return;
    if (f->scanned && (!file_ensure_source(f) || !file_read_partial(f, true)))
        return;
    file_drop(f, true);
}

/* What time alone brings about for a file that is still there. */
static void settle_time(struct tail *t, struct tail_file *f, int64_t now)
{
    if (f->fd < 0 || f->ready)
        return;
    int64_t quiet = now - f->active_ns;
    if (t->config.partial_timeout_ns && f->scanned && quiet > t->config.partial_timeout_ns &&
        file_ensure_source(f))
        (void)file_read_partial(f, false);
    else if (t->config.close_idle_ns && quiet > t->config.close_idle_ns)
        file_sleep(f);
}

void scan_run(struct tail *t)
{
    struct glob_visitor visitor = {met_file, met_folder, t};
    t->scan_number++;
    t->scan_wanted = false;
    glob_walk(&t->config.paths, &visitor);
    int64_t now = t->api->mono_ns(t->host);
    for (size_t i = t->file_count; i-- > 0;) {
        if (t->files[i]->seen != t->scan_number)
            settle_gone(t, t->files[i], now);
        else
            settle_time(t, t->files[i], now);
    }
    for (size_t i = 0; i < t->restored_count;)
        i += settle_restored(t, &t->restored[i]) ? 0 : 1;
    t->first_scan_done = true;
    t->api->metric(t->host, "files", TELESCOPE_GAUGE, (double)t->file_count);
    t->api->metric(t->host, "files_open", TELESCOPE_GAUGE, (double)t->open_count);
}

void scan_free(struct tail *t)
{
    while (t->file_count)
        file_drop(t->files[t->file_count - 1], false);
    while (t->restored_count)
        restored_remove(t, &t->restored[t->restored_count - 1]);
    free(t->files);
    free(t->restored);
    table_free(&t->by_inode);
    table_free(&t->refused);
}
