/*
 * The way out: one producer of the transport, and the thread that polls it. Inputs send from their own
 * threads; deliveries are told on the sink's thread, which passes them on to the input's pipeline.
 */
#ifndef SIDECAR_SINK_H
#define SIDECAR_SINK_H

#include <stdatomic.h>

#include "common/sys/thread.h"
#include "common/transport/transport.h"

struct sink {
    struct tel_transport *transport;
    struct tel_producer *producer;
    struct tel_thread thread;
    _Atomic bool stopping;
    _Atomic uint32_t partitions; /* of the topic; 0: not known yet */
    uint32_t recalled; /* what partitions was in an earlier life: taken when nobody answers now */
    void (*changed)(void *ctx);  /* the number of partitions became known; on the sink's thread */
    void *ctx;
};

TEL_MUST_USE tel_code sink_start(struct sink *sink, struct tel_transport *transport,
                                 void (*changed)(void *ctx), void *ctx, struct tel_error *err);
/* Whatever was sent has met its fate when this returns: what has not is told TEL_ERR_CLOSED, on this
 * thread. All zero is fine. */
void sink_stop(struct sink *sink);

#endif
