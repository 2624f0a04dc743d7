/*
 * One configured input: a plugin's instance, the pipeline behind it, and the thread that owns both.
 *
 *     loop:  deliveries -> the plugin's work(), unless held by back-pressure -> old batches -> sleep
 *
 * The thread sleeps in poll(2) on its waker (deliveries, saved checkpoint, the plugin's own threads,
 * stop) and on the one descriptor that the plugin may watch.
 */
#ifndef SIDECAR_INPUT_H
#define SIDECAR_INPUT_H

#include "sidecar/pipeline.h"
#include "sidecar/plugin.h"

#define INPUT_METRICS_MAX 32

struct input_metric {
    char name[64];
    enum telescope_metric_kind kind;
    _Atomic double value;
};

enum input_state { INPUT_STARTING, INPUT_RUNNING, INPUT_FAILED, INPUT_STOPPED };

struct input {
    const struct sidecar_input *config;
    struct plugin plugin;
    struct plugin_values values;
    struct pipeline pipeline;
    struct tel_waker waker;
    struct tel_thread thread;

    void *instance; /* NULL: not open */
    int watched_fd; /* -1: none */
    int64_t not_before_ns, due_ns; /* of work() */
    int64_t restart_ns; /* when a failed instance is started anew */
    unsigned failures;
    bool drained; /* stop() was called and work() has nothing more */

    _Atomic bool plugin_wake; /* the plugin asked for work() */
    _Atomic bool stopping, abandon;
    _Atomic int state; /* enum input_state */
    _Atomic bool idle, full;

    struct tel_mutex lock; /* guards what follows: other threads read it */
    struct tel_error error; /* why it failed last */
    struct input_metric metrics[INPUT_METRICS_MAX];
    _Atomic uint32_t metric_count; /* grows; entries below it are fixed but for their values */
};

/* Everything in *in but config, plugin, values and pipeline options is zero. */
TEL_MUST_USE tel_code input_init(struct input *in, const struct pipeline_options *options,
                                 struct tel_error *err);
void input_done(struct input *in); /* after its thread and the sink have ended */

TEL_MUST_USE tel_code input_start(struct input *in, struct tel_error *err);
/* Any thread: read no more, hand over what is in flight, end when all of it is acknowledged. */
void input_stop(struct input *in);
/* Any thread: end now. */
void input_abandon(struct input *in);
/* Any thread: look again (partitions are known, the checkpoint was saved). */
void input_wake(struct input *in);

#endif
