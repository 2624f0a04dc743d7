/* The sidecar's insides, for sidecar.c and the admin address. */
#ifndef SIDECAR_SIDECAR_INTERNAL_H
#define SIDECAR_SIDECAR_INTERNAL_H

#include "common/base/arena.h"
#include "sidecar/checkpoint.h"
#include "sidecar/input.h"
#include "sidecar/sidecar.h"
#include "sidecar/sink.h"
#include "sidecar/spool.h"

struct tel_fs_lock;

struct sidecar {
    struct tel_arena memory; /* the copied options */
    struct sidecar_options o;
    struct tel_transport *transport;
    struct tel_fs_lock *lock;
    struct checkpoint *checkpoint;
    struct pipeline_budget budget;
    struct sink sink;
    struct spool *spool;    /* NULL unless an input cannot be read again */
    struct sink spool_sink; /* in front of it */
    struct input *inputs;
    size_t input_count; /* initialised */
    bool started, stopped;

    struct tel_thread saver;
    struct tel_mutex saver_lock; /* guards the rest */
    struct tel_cond saver_wakes;
    bool urgent, saver_stop;
    struct tel_error save_error; /* of the last attempt; code TEL_OK: it went well */
};

#endif
