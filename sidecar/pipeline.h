/*
 * What stands between a plugin and the sink, per input: its open sources, their batches, and how far
 * each is acknowledged.
 *
 *     take(records) -> transforms -> the source's open batch        (encoded as it grows)
 *                                      | full, or old enough, and nothing is ahead of it
 *                                      v
 *     source:  [ in flight ][ sealed ][ sealed ] ... [ open ]       in the order of positions
 *                 `- acknowledged: the position moves, the plugin is told, the next one leaves
 *
 * A source's first batch leaves when its name and partition are on the disk (checkpoint.h): otherwise
 * a crash would have the source begin again under another name, and its repeats could not be told.
 *
 * One batch of a source is in flight, never two: source.c says why, and why that is enough for every
 * line to be there exactly once. A message that is too large is cut in two.
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

struct batch {
    struct batch *next;      /* in its source */
    struct batch *next_done; /* in the pipeline's list of those that met their fate */
    struct source *source;
    struct tel_buf buf;      /* holds the message */
    struct tel_span message;
    uint64_t floor, last;    /* it covers the positions behind floor up to last */
    uint32_t events;
    bool piece;              /* of an event, and not the last: the position does not move over it */
    tel_code fate; /* once it is in the pipeline's list */
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
    uint64_t taken, acked, told; /* told: acked as the checkpoint and the plugin know it */

    struct tel_record_writer *writer; /* the open batch, or NULL */
    uint64_t floor;
    int64_t opened_ns;
    bool listed; /* the open batch leaves when it is old enough: no other is ahead of it */
    struct source *older, *younger; /* of those that are listed */

    struct batch *first, *last; /* sealed */
    bool in_flight; /* the first */
    bool waiting;   /* in the list of those that could not send */
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
    uint32_t batch_bytes, batch_events; /* PIPELINE_GROWTH times that for a batch that has to wait */
    int64_t batch_age_ns;
    struct tel_waker *waker; /* woken by deliveries */
    void (*acked)(void *acked_ctx, void *user, uint64_t position);
    void *acked_ctx;
    void (*urgent)(void *urgent_ctx); /* the checkpoint must be saved before more can be sent */
    void *urgent_ctx;
};

/* A batch that waits for the one before it goes on taking events, so that a queue that answers slowly
 * gets larger messages instead of more. Three times the default is well below Kafka's 1 MiB. */
#define PIPELINE_GROWTH 3u

struct pipeline {
    struct pipeline_options o;
    const struct transform_ops *chain[TRANSFORMS_MAX + 1];
    struct tel_map by_id; /* the plugin's id -> index in sources */
    TEL_VEC(struct source *) sources;
    struct source *oldest, *youngest; /* listed, by the age of their open batches */
    struct source *waiting_first, *waiting_last;
    TEL_VEC(struct tel_record_writer *) writers; /* not in use */
    TEL_VEC(struct tel_buf) buffers;             /* not in use */
    size_t buffers_bytes;
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

/* batch.c */

/* Cuts a batch in two behind half of its events, or a single event behind half of its body. False if
 * that cannot be done. The second half is linked behind the first. */
bool batch_split(struct batch *b);

#endif
