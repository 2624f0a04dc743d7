/*
 * The input ABI of Telescope: what a plugin that collects logs and the sidecar that loads it agree on.
 *
 * This header stands alone (C11 and three headers of its standard library), so that a plugin can be
 * built outside this project with nothing but this file. README.md beside it is the guide.
 *
 *     plugin.so                                    telescope-sidecar
 *     telescope_input_plugin()  -> descriptor  ->  checks it, reads its table of options
 *     open(host, api, values)   <-                 one thread per configured input ("the input's
 *     restore(source...)        <-                 thread"): everything on this page is called on
 *     work() -> emit(records)   ->                 that thread, in both directions, except
 *     acked(source, position)   <-                 api->wake and api->log, which any thread may call
 *     close()                   <-
 *
 * Because one thread calls everything, a plugin needs no locks. A plugin that has threads of its own
 * hands their work to work() through a queue of its own and calls api->wake.
 *
 * Positions. A source is one ordered stream of records: a file, a connection, a journal. Each record
 * has a position, a number above zero that grows strictly within its source and is the same whenever
 * the same record is read again. A record is delivered when the queue behind the sidecar has it for
 * good. The sidecar tells the plugin, and stores, the position up to which everything is delivered;
 * after a restart that is where the plugin goes on. Records that were emitted but not acknowledged
 * before a crash must be emitted again, with the same positions: repeats are dropped downstream.
 *
 * Ownership. Bytes passed to a function, in either direction, are valid during the call only, unless
 * said otherwise below. Strings are pointer and length, any byte may occur in them.
 */
#ifndef TELESCOPE_INPUT_H
#define TELESCOPE_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A plugin fits a host whose major number is the same and whose minor number is not smaller. */
#define TELESCOPE_INPUT_ABI_MAJOR 1u
#define TELESCOPE_INPUT_ABI_MINOR 0u

#define TELESCOPE_EXPORT __attribute__((visibility("default")))

struct telescope_str {
    const char *ptr;
    size_t len;
};

struct telescope_pair {
    struct telescope_str name, value;
};

/* Filled by whoever fails; NUL-terminated. */
struct telescope_error {
    char text[512];
};

enum telescope_result {
    TELESCOPE_OK = 0,
    /* Back-pressure: not all was taken. Stop reading and return from work(); the host calls work()
     * again when there is room. */
    TELESCOPE_FULL = 1,
    TELESCOPE_FAILED = -1, /* the error says why */
};

/* ---- options ------------------------------------------------------------------------------ */

enum telescope_type {
    TELESCOPE_STRING,
    TELESCOPE_STRINGS, /* a list */
    TELESCOPE_INT,
    TELESCOPE_BOOL,
    TELESCOPE_SIZE,     /* bytes; written as 65536, "64KiB", "1MiB" */
    TELESCOPE_DURATION, /* milliseconds; written as "500ms", "5s", "1m" */
};

enum telescope_option_flags {
    TELESCOPE_REQUIRED = 1,
    TELESCOPE_SECRET = 2, /* never shown or logged */
};

/* One row per option; the host parses, checks, documents and shows them from this table. */
struct telescope_option {
    const char *key;
    enum telescope_type type;
    uint32_t flags;
    const char *default_text; /* as it would be written; NULL: none. A list: parts apart by commas */
    int64_t min, max;         /* for INT, SIZE and DURATION; both 0: any */
    const char *doc;          /* one sentence */
};

/* One per row, in the table's order. Valid from open until close has returned. */
struct telescope_value {
    bool set; /* given, or has a default */
    int64_t number; /* INT, BOOL, SIZE, DURATION */
    struct telescope_str text; /* STRING; NUL-terminated */
    const struct telescope_str *list; /* STRINGS; each NUL-terminated */
    size_t list_len;
};

/* ---- what the host gives to the plugin ---------------------------------------------------- */

struct telescope_host;   /* the host's side of one input */
struct telescope_source; /* the host's side of one open source */

enum telescope_log_level {
    TELESCOPE_DEBUG,
    TELESCOPE_INFO,
    TELESCOPE_WARN,
    TELESCOPE_ERROR,
};

/* A source to open. */
struct telescope_source_spec {
    struct telescope_str id; /* names this source among all that this input ever reads: 1 to 512
                              * bytes of printable ASCII, never used again for something else */
    const struct telescope_pair *labels; /* of the stream: file, container, ... At most 64 */
    size_t label_count;
    struct telescope_str state; /* opaque, stored with the position and handed to restore() after a
                                 * restart; at most 4096 bytes */
    void *user; /* the plugin's own, handed back to acked() */
};

struct telescope_record {
    uint64_t position;    /* greater than that of the record before it */
    int64_t timestamp_ns; /* since the Unix epoch; 0: not known, the host looks into the body */
    int64_t observed_ns;  /* when the plugin read it; 0: now */
    uint32_t severity;    /* OpenTelemetry's numbers 1 to 24; 0: not known */
    uint32_t attribute_count;
    const struct telescope_pair *attributes; /* names are not empty and differ from each other */
    struct telescope_str body;               /* at most 1 MiB; longer ones are rejected */
    struct telescope_str trace_id, span_id;  /* lower-case hexadecimal, or empty */
};

enum telescope_metric_kind { TELESCOPE_COUNTER, TELESCOPE_GAUGE };

struct telescope_host_api {
    uint32_t abi_major, abi_minor;
    size_t size; /* of this table; later minor versions append */

    /* Opens a source and returns its handle, or NULL with the reason. The same id may be opened
     * again after it was closed: it goes on. *ret_position is the position up to which everything
     * is acknowledged, 0 if the source is new. */
    struct telescope_source *(*source_open)(struct telescope_host *host,
                                            const struct telescope_source_spec *spec,
                                            uint64_t *ret_position, struct telescope_error *err);

    /* Hands records over, in order. *ret_taken tells how many of them were taken, also when the
     * result is not OK. FULL: emit the rest from a later work(). FAILED: the record behind those
     * taken is not acceptable (a position that does not grow, a body too long); skip it. */
    enum telescope_result (*emit)(struct telescope_source *source,
                                  const struct telescope_record *records, size_t count,
                                  size_t *ret_taken, struct telescope_error *err);

    /* Replaces the state of a source. Stored together with the position that is acknowledged at
     * the time of storing. */
    void (*source_state)(struct telescope_source *source, struct telescope_str state);

    /* The position up to which everything is acknowledged. */
    uint64_t (*source_acked)(const struct telescope_source *source);

    /* Nothing more comes from this source; the handle must not be used again, and `user` will not
     * be handed back. With `forget`, its stored position is dropped once everything is
     * acknowledged: for sources that are gone for good. */
    void (*source_close)(struct telescope_source *source, bool forget);

    /* Drops the stored position of a source that is not open. */
    void (*source_forget)(struct telescope_host *host, struct telescope_str id);

    /* work() is called soon. Any thread. */
    void (*wake)(struct telescope_host *host);

    /* work() is called soon when fd can be read; fd < 0 stops that. One fd per input (an epoll fd
     * stands for many). */
    void (*watch_fd)(struct telescope_host *host, int fd);

    /* A line in the sidecar's log; escaped, and limited in rate per text. Any thread. */
    void (*log)(struct telescope_host *host, enum telescope_log_level level, const char *text);

    /* Sets (gauge) or increases (counter) a metric telescope_input_<name>{input="..."}. The name is
     * lower case with underscores; at most 32 of them per input. */
    void (*metric)(struct telescope_host *host, const char *name, enum telescope_metric_kind kind,
                   double value);

    /* Wall time, nanoseconds since the Unix epoch, and monotonic time. */
    int64_t (*wall_ns)(struct telescope_host *host);
    int64_t (*mono_ns)(struct telescope_host *host);
};

/* ---- what the plugin gives to the host ---------------------------------------------------- */

/* When work() wants to be called again. */
struct telescope_wait {
    int32_t at_least_ms; /* not earlier than this, whatever happens (0: at once is fine): a pause
                          * that lets input gather, so that a trickle does not cost a wake-up each */
    int32_t at_most_ms;  /* not later than this; < 0: only when woken */
};

struct telescope_plugin_ops {
    /* Is this configuration sound? Says why not. May be NULL. Called before open, and alone when
     * a configuration is merely checked; opens nothing. */
    enum telescope_result (*check)(const struct telescope_value *values,
                                   struct telescope_error *err);

    /* Makes an instance. Values and host are valid until close has returned. */
    enum telescope_result (*open)(struct telescope_host *host,
                                  const struct telescope_host_api *api,
                                  const struct telescope_value *values, void **ret_instance,
                                  struct telescope_error *err);

    /* Called between open and start, once for each source that the host has stored: its id, the
     * position up to which it was acknowledged and its state. May be NULL. */
    void (*restore)(void *instance, struct telescope_str id, uint64_t position,
                    struct telescope_str state);

    /* Everything stored was restored: begin. May be NULL. */
    enum telescope_result (*start)(void *instance, struct telescope_error *err);

    /* Does a bounded amount of work (some milliseconds): reads and emits, and says when to be
     * called again. FAILED ends this input with the error; it is started anew after a pause. */
    enum telescope_result (*work)(void *instance, struct telescope_wait *ret_wait,
                                  struct telescope_error *err);

    /* Everything of the source up to `position` is delivered. May be NULL. */
    void (*acked)(void *instance, void *user, uint64_t position);

    /* The sidecar is about to stop: take nothing new from outside, hand over what was promised to
     * others through further calls of work(), which go on until nothing is in flight or the
     * grace is over. May be NULL: work() is not called again. */
    void (*stop)(void *instance);

    /* Frees the instance; open sources are closed by the host. */
    void (*close)(void *instance);
};

enum telescope_plugin_flags {
    /* What was read can be read again after a crash (files): the sidecar keeps no copy. Without
     * this, records are stored in the sidecar's own spool before they count as taken. */
    TELESCOPE_REREADABLE = 1,
};

struct telescope_plugin {
    uint32_t abi_major, abi_minor; /* TELESCOPE_INPUT_ABI_MAJOR, _MINOR */
    /* sizeof of the structs as the plugin was built with them. */
    uint32_t plugin_size, record_size, option_size, value_size;
    const char *name;    /* [a-z0-9_]{1,32}; what `plugin = "..."` in a configuration names */
    const char *version; /* the plugin's own */
    const char *doc;     /* one sentence */
    uint32_t flags;
    const struct telescope_option *options;
    size_t option_count;
    const struct telescope_plugin_ops *ops;
};

/* The sizes for the head of a descriptor. */
#define TELESCOPE_PLUGIN_ABI                                                                       \
    .abi_major = TELESCOPE_INPUT_ABI_MAJOR, .abi_minor = TELESCOPE_INPUT_ABI_MINOR,                \
    .plugin_size = sizeof(struct telescope_plugin),                                                \
    .record_size = sizeof(struct telescope_record),                                                \
    .option_size = sizeof(struct telescope_option), .value_size = sizeof(struct telescope_value)

/* The one symbol that a plugin exports. The descriptor and all it points to live as long as the
 * plugin is loaded. */
#define TELESCOPE_INPUT_SYMBOL "telescope_input_plugin"
TELESCOPE_EXPORT const struct telescope_plugin *telescope_input_plugin(void);

#endif
