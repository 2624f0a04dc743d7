/*
 * The tail plugin's parts, for its own files only. One thread calls everything (see
 * plugins/telescope_input.h), so nothing is locked.
 *
 *     scan.c    paths -> files: finds new ones, renames, deletions; restores what was stored
 *     watch.c   inotify, which only makes things faster: the scan finds everything by itself
 *     file.c    one file: identity, truncation, opening and closing
 *     read.c    one file: bytes -> lines -> records
 *     tail.c    options, the plugin's table, which file is worked on next
 */
#ifndef TELESCOPE_TAIL_TAIL_H
#define TELESCOPE_TAIL_TAIL_H

#include "plugins/tail/glob.h"
#include "plugins/tail/identity.h"
#include "plugins/tail/table.h"
#include "plugins/telescope_input.h"

#define NS_PER_MS INT64_C(1000000)
#define PATH_BYTES_SHOWN 512

/* The options, in the order of the table in tail.c. */
enum tail_option {
    OPTION_PATHS,
    OPTION_EXCLUDE,
    OPTION_START_AT,
    OPTION_MAX_LINE,
    OPTION_STRIP_CR,
    OPTION_SKIP_BINARY,
    OPTION_MAX_OPEN,
    OPTION_SCAN_INTERVAL,
    OPTION_READ_DELAY,
    OPTION_CLOSE_IDLE,
    OPTION_ROTATE_GRACE,
    OPTION_PARTIAL_TIMEOUT,
    OPTION_FORGET_AFTER,
    OPTION_INOTIFY,
    OPTION_FILE_LABEL,
    OPTION_COUNT
};

struct tail_config {
    struct glob_list paths, exclude;
    bool from_end;
    size_t max_line;
    bool strip_cr, skip_binary, inotify;
    size_t max_open;
    int64_t scan_interval_ns, close_idle_ns, rotate_grace_ns, partial_timeout_ns, forget_after_s;
    int32_t read_delay_ms;
    const char *file_label;
};

struct tail_file {
    struct tail *tail;
    struct identity identity; /* generation 0: empty so far, no source yet */
    char id[IDENTITY_ID_MAX]; /* of the source */
    uint64_t start;           /* where reading began */
    char *path;               /* where it was seen last */
    int fd;                   /* -1: closed until it grows */
    int watch;                /* inotify's number, -1: none */
    struct telescope_source *source;
    uint64_t offset;      /* where the next record begins */
    uint64_t scanned;     /* bytes from there on that hold no line end */
    uint64_t size;        /* when it was looked at last */
    uint64_t line_piece;  /* pieces of the current line that were emitted already */
    int64_t mtime_ns;     /* when it was looked at last */
    int64_t active_ns;    /* monotonic: when it last grew */
    int64_t gone_ns;      /* monotonic: since when no path leads to it; 0: one does */
    uint64_t seen;        /* number of the scan that met it last */
    bool ready;           /* in the list of those to be read */
    bool binary;          /* skipped */
    struct tail_file *next_ready;
    size_t index; /* in tail->files */
};

struct restored {
    char *id;
    uint64_t position;
    struct file_state state;
    char *path;
    bool used;
};

struct tail {
    struct telescope_host *host;
    const struct telescope_host_api *api;
    struct tail_config config;

    struct tail_file **files;
    size_t file_count, file_cap, open_count;
    struct table by_inode; /* (device, inode) -> tail_file */
    struct table refused;  /* (device, inode) of files that could not be opened */
    struct tail_file *ready_head, *ready_tail;

    struct restored *restored;
    size_t restored_count, restored_cap;
    bool first_scan_done;

    int inotify_fd; /* -1: not used */
    struct table by_watch; /* (watch, 0) -> tail_file */
    struct table folders;  /* (device, inode) -> folder_watch */
    struct table folder_by_watch; /* (watch, 0) -> folder_watch, the same objects */

    uint64_t scan_number;
    int64_t next_scan_ns, last_scan_ns; /* monotonic */
    bool scan_wanted; /* something changed in a folder */

    char *buffer;
    size_t buffer_len;
};

/* file.c */

/* Takes fd, which is open on the file with this identity (dev and ino are enough). */
struct tail_file *file_new(struct tail *t, const char *path, int fd, const struct identity *identity);
void file_set_path(struct tail_file *f, const char *path);
/* Looks whether the file grew, shrank or was rewritten; opens it if it must. True if there is
 * something to read. */
bool file_look(struct tail_file *f);
/* Gives it a source if it has a head and none yet. False if it cannot be read now. */
bool file_ensure_source(struct tail_file *f);
/* Brings the stored state up to date after the path or the head changed. */
void file_store_state(struct tail_file *f);
/* Closes descriptor and source; both come back when the file grows. */
void file_sleep(struct tail_file *f);
/* Frees it; with `forget` its stored position goes too. */
void file_drop(struct tail_file *f, bool forget);
/* Sleeps the files that did nothing for longest until `max_open` holds. */
void files_limit_open(struct tail *t);
/* Puts it at the end of the list of those to be read. */
void file_make_ready(struct tail_file *f);
void file_log(struct tail *t, enum telescope_log_level level, const char *what, const char *path,
              int errnum);

/* read.c */

enum read_result {
    READ_MORE, /* its share of the budget is used up; there is more */
    READ_END,  /* nothing more now */
    READ_FULL, /* the host takes no more now */
};

/* Reads and emits up to about `budget` bytes. The file is open and has a source. */
enum read_result file_read(struct tail_file *f, size_t budget);
/* Emits what stands behind the last line end: as a line if it is the file's `last`, else as the first
 * piece of a line whose rest is still to come. False if the host takes no more now. */
bool file_read_partial(struct tail_file *f, bool last);
/* How many pieces of the line that spans `position` were emitted before it; for a restart in the
 * middle of a long line. */
uint64_t file_pieces_before(int fd, uint64_t position, size_t max_line);

/* watch.c */

void watch_open(struct tail *t);
void watch_close(struct tail *t);
void watch_folder(struct tail *t, const char *path);
void watch_file(struct tail_file *f);
void unwatch_file(struct tail_file *f);
/* Reads what inotify has to say: marks files, wants scans. */
void watch_drain(struct tail *t);

/* scan.c */

void scan_restore(struct tail *t, const char *id, size_t id_len, uint64_t position,
                  const char *state, size_t state_len);
void scan_run(struct tail *t);
void scan_free(struct tail *t);

#endif
