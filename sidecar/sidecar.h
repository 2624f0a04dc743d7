/*
 * The sidecar as a library: inputs -> transforms -> batches per source -> a transport. The program
 * telescope-sidecar runs it over Kafka, `telescope standalone` over the journal.
 *
 *     struct sidecar_options o = {.data_dir = dir, .inputs = &input, .input_count = 1};
 *     sidecar_input_tail(&input, "logs", globs, glob_count);
 *     rc = sidecar_new(&o, transport, &s, &err);   checks everything, reads the checkpoint
 *     rc = sidecar_start(s, &err);                 starts one thread per input, one that polls the
 *                                                  producer, one that stores the checkpoint
 *     ...
 *     rc = sidecar_stop(s, grace_ms, &err);        reads no more, waits for what is in flight
 *     sidecar_free(s);
 *
 * Threads: new, start, stop and free on one thread; stats and the queries from any.
 */
#ifndef SIDECAR_SIDECAR_H
#define SIDECAR_SIDECAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/record/batch.h"
#include "common/record/codec.h"

struct tel_fs;
struct tel_transport;
struct sidecar;

/* One option of a plugin as the configuration has it: a text, or several for a list. */
struct sidecar_setting {
    const char *key;
    const char *const *values;
    size_t value_count;
};

struct sidecar_input {
    const char *name;   /* [a-zA-Z0-9_-]{1,64}, unique; part of every source's id: keep it */
    const char *plugin; /* loaded from <plugin_dir>/<plugin>.so */
    const struct tel_field *labels; /* added to every stream of this input */
    size_t label_count;
    const struct tel_span *drop_labels; /* taken from what the plugin and the sidecar add */
    size_t drop_label_count;
    bool keep_timestamps; /* do not look for a time in the bodies */
    const struct sidecar_setting *settings; /* the plugin's own options */
    size_t setting_count;
};

struct sidecar_options {
    const char *data_dir;   /* made if it is not there; locked against a second process */
    const char *plugin_dir; /* NULL: ../lib/telescope/plugins beside the program, else the installed */
    const char *id;         /* names this sidecar in its sources; NULL: drawn once and stored */
    const char *tenant;     /* NULL: "default" */
    const char *host;       /* label `host` of every stream; NULL: the machine's name; "": none */
    struct tel_fs *fs;      /* for the checkpoint; NULL: the machine's */
    struct tel_record_framing framing;
    const struct sidecar_input *inputs;
    size_t input_count;
    uint32_t batch_bytes;   /* a batch is sent when it holds this much, or up to three times that when
                               it waits for the one before it; 0: 252 KiB */
    uint32_t batch_events;  /* ... or this many, likewise; 0: 10000 */
    uint32_t batch_age_ms;  /* ... or is this old; 0: 100 */
    uint64_t memory_bytes;  /* budget of all batches that are not acknowledged; 0: 12 MiB */
    uint32_t checkpoint_interval_ms; /* 0: 1000 */
    uint64_t spool_bytes;    /* of data_dir/spool, for inputs that cannot be read again; 0: 256 MiB */
    int spool_policy;        /* enum spool_policy: when that is full */
    bool restart_if_corrupt; /* when neither checkpoint nor its predecessor can be read, set them
                              * aside and read all again, instead of refusing to start */
};

/* Fills an input that tails files with the plugin's defaults. What it points to must live until
 * sidecar_new has returned. */
struct sidecar_tail {
    struct sidecar_setting settings[1];
};
void sidecar_input_tail(struct sidecar_input *input, struct sidecar_tail *space, const char *name,
                        const char *const *globs, size_t glob_count);

/* Everything in options is copied. TEL_ERR_LOCKED: another process uses data_dir; TEL_ERR_CORRUPT:
 * see restart_if_corrupt; TEL_ERR_INVALID and the like: the text names input, key and reason. The
 * transport must outlive the sidecar. */
TEL_MUST_USE tel_code sidecar_new(const struct sidecar_options *options,
                                  struct tel_transport *transport, struct sidecar **ret,
                                  struct tel_error *err);

/* Does not wait for the transport: with Kafka absent, inputs are held by back-pressure. */
TEL_MUST_USE tel_code sidecar_start(struct sidecar *s, struct tel_error *err);

/* Stops reading, sends what was read and waits up to grace_ms until it is acknowledged and stored.
 * TEL_ERR_TIMEOUT: some is not; it will be read again at the next start, nothing is lost. */
TEL_MUST_USE tel_code sidecar_stop(struct sidecar *s, int grace_ms, struct tel_error *err);

/* NULL is fine. Stops without grace if it was not stopped. */
void sidecar_free(struct sidecar *s);

struct sidecar_stats {
    uint64_t events_read;      /* taken from plugins */
    uint64_t events_delivered; /* acknowledged */
    uint64_t events_dropped;   /* by transforms */
    uint64_t events_rejected;  /* not acceptable, or too large for the transport even alone */
    uint64_t bytes_read;       /* of their bodies */
    uint64_t batches_delivered;
    uint64_t bytes_delivered;  /* of messages, before compression */
    uint64_t delivery_errors;
    uint64_t held_bytes;       /* of batches that are not acknowledged */
    uint64_t spool_waiting;    /* messages in the spool */
    uint64_t spool_dropped;    /* messages that the spool's policy dropped, or that were too large */
    uint32_t sources;          /* open */
    uint32_t inputs_running;
    bool full;                 /* some input is held by back-pressure */
};

void sidecar_get_stats(struct sidecar *s, struct sidecar_stats *ret);

/* Is everything that inputs handed over so far acknowledged, and are they waiting for more? */
bool sidecar_idle(struct sidecar *s);

#endif
