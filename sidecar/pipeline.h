/*
 * What stands between a plugin and the sink, per input: its open sources, their batches, and how far
 * each is acknowledged.
 *
 *     take(records) -> transforms -> the source's open batch        (encoded as it grows)
 *                                      | full, or old enough
 *                                      v
 *     source:  [ done ][ done ][ sent ][ sent ][ ready ]            in the order of positions
 *                 `- popped while the first is done: the position moves, the plugin is told
 *
 * A source's first batch leaves when its name and partition are on the disk (checkpoint.h): otherwise
 * a crash would have the source begin again under another name, and its repeats could not be told.
 *
 * When a delivery fails, nothing more of its source is sent until everything in flight has met its
 * fate, and then all of it is sent again from the failed batch on, so that order is kept. If a later
 * batch was acknowledged in spite of that, shards would take the failed one for a repeat: then the
 * source goes on under a new name. A message that is too large is cut in two.
 *
 * Threads: all of it belongs to the input's thread, except pipeline_delivered (the sink's) and the
 * counters (any).
 */
#ifndef SIDECAR_PIPELINE_H
#define SIDECAR_PIPELINE_H

#include <stdatomic.h>

#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/vec.h"
#include "common/record/codec.h"
#include "common/sys/thread.h"
#include "common/sys/waker.h"
#include "plugins/telescope_input.h"
#include "sidecar/transform.h"

struct checkpoint;
struct checkpoint_entry;
struct sidecar_input;
struct sink;

/* Shared by all inputs; any thread. */
struct pipeline_budget {
    int64_t limit;
    _Atomic int64_t held; /* bytes of batches that are open or not acknowledged */
};

struct pipeline_counters {
    _Atomic uint64_t events_read, events_delivered, events_dropped, events_rejected, bytes_read,
        batches_delivered, bytes_delivered, delivery_errors, sources, in_flight;
};

enum batch_state { BATCH_READY, BATCH_SENT, BATCH_DONE, BATCH_FAILED };

struct batch {
    struct batch *next;      /* in its source */
    struct batch *next_done; /* in the pipeline's list of those that met their fate */
    struct source *source;
    struct tel_buf buf;      /* holds the message */
    struct tel_span message;
    uint64_t floor, last;    /* it covers the positions behind floor up to last */
    uint32_t events;
    enum batch_state state;
    tel_code fate;
};

struct source {
    struct pipeline *pipeline;
    struct tel_arena memory; /* id, labels */
    struct tel_span id;      /* the plugin's */
    struct tel_field *labels;
    uint32_t label_count;
    struct tel_buf state; /* the plugin's */
    void *user;
    bool closed, forget;
    struct checkpoint_entry *entry; /* NULL until it has a partition */
    uint64_t taken, acked;

    struct tel_record_writer *writer; /* the open batch, or NULL */
    uint64_t floor;
    int64_t opened_ns;
    struct source *older, *younger; /* of those with an open batch */

    struct batch *first, *last, *unsent;
    size_t in_flight;
    bool failed;   /* a delivery failed: wait until in_flight is 0 */
    bool waiting;  /* in the list of those that could not send */
    int64_t retry_ns; /* not before */
    struct source *next_waiting;
    size_t index;
    void *transform_state[TRANSFORMS_MAX];
};

struct pipeline_options {
    const struct sidecar_input *input;
    const char *sidecar_id, *tenant, *host;
    struct checkpoint *checkpoint;
    struct sink *sink;
    struct pipeline_budget *budget;
    const struct tel_clock *clock;
    struct tel_record_framing framing;
    uint32_t batch_bytes, batch_events;
    int64_t batch_age_ns;
    struct tel_waker *waker; /* woken by deliveries */
    void (*acked)(void *acked_ctx, void *user, uint64_t position);
    void *acked_ctx;
    void (*urgent)(void *urgent_ctx); /* the checkpoint must be saved before more can be sent */
    void *urgent_ctx;
};

struct pipeline {
    struct pipeline_options o;
    const struct transform_ops *chain[TRANSFORMS_MAX + 1];
    struct tel_map by_id; /* the plugin's id -> index in sources */
    TEL_VEC(struct source *) sources;
    struct source *oldest, *youngest; /* with an open batch */
    struct source *waiting_first, *waiting_last;
    TEL_VEC(struct tel_record_writer *) writers; /* not in use */
    TEL_VEC(struct tel_buf) buffers;             /* not in use */
    struct tel_arena scratch;
    struct tel_mutex done_lock;
    struct batch *done; /* guarded by done_lock */
    struct pipeline_counters counters;
};

void pipeline_init(struct pipeline *p, const struct pipeline_options *options);
/* Nothing is in flight any more (the sink was stopped), or never was. */
void pipeline_done(struct pipeline *p);

/* Opens a source or goes on with one that is open or closing. NULL with an error. */
struct source *pipeline_open(struct pipeline *p, const struct telescope_source_spec *spec,
                             uint64_t *ret_position, struct tel_error *err);
enum telescope_result pipeline_take(struct source *s, const struct telescope_record *records,
                                    size_t count, size_t *ret_taken, struct tel_error *err);
void pipeline_set_state(struct source *s, struct tel_span state);
void pipeline_close(struct source *s, bool forget);
void pipeline_forget(struct pipeline *p, struct tel_span id);
/* Closes every source. */
void pipeline_close_all(struct pipeline *p);

/* Takes deliveries, sends what waits, closes batches that are old (or all, with `flush`). Returns
 * when it wants to be called again at the latest, monotonic; TEL_NO_DEADLINE: when woken. */
int64_t pipeline_step(struct pipeline *p, bool flush);
/* Is there anything that is not acknowledged? */
bool pipeline_busy(const struct pipeline *p);
bool pipeline_full(const struct pipeline *p);

/* The delivery callback of the transport. */
void pipeline_delivered(void *batch, tel_code code, int64_t offset, const struct tel_error *err);

/* batch.c: rewriting batches, which happens when something went wrong. */

/* Cuts a batch in two behind half of its events, or a single event behind half of its body. False if
 * that cannot be done. The second half is linked behind the first. */
bool batch_split(struct batch *b);
/* Encodes it again under its source's present name. */
void batch_rename(struct batch *b);

#endif
