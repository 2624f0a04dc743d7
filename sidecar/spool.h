/*
 * The spool: what stands between inputs that cannot be read again and a queue that may be away. It is a
 * transport in front of another: a message counts as delivered when it is durable in a journal on this
 * machine, and a thread sends it on from there.
 *
 *     pipeline ─► append ─► journal ─► forwarder ─► the real transport
 *        ▲          │ fsync     ▲           │ acknowledged
 *        └──────────┘           └─ release ─┘
 *
 * The forwarder keeps order within a source by having one message of each in flight; what fails is sent
 * again. How far it came stands in the checkpoint; what it sent after the last save is sent again
 * after a crash, and dropped downstream by source and position. When the journal is full the user's policy decides.
 *
 * Threads: one owner thread makes and frees it; its producer may be used as transport.h says.
 */
#ifndef SIDECAR_SPOOL_H
#define SIDECAR_SPOOL_H

#include "common/transport/transport.h"

struct checkpoint;
struct tel_fs;
struct spool;

enum spool_policy {
    SPOOL_REFUSE,      /* back-pressure: the input says no to its clients */
    SPOOL_DROP_OLDEST, /* the oldest messages make room */
    SPOOL_DROP_NEWEST, /* what comes is thrown away */
};

struct spool_options {
    struct tel_fs *fs;
    const char *dir;
    uint64_t bytes; /* at least 1 MiB */
    enum spool_policy policy;
    struct checkpoint *checkpoint;
};

struct spool_stats {
    uint64_t bytes, budget_bytes;
    uint64_t waiting;          /* messages not yet acknowledged by the transport behind */
    uint64_t forwarded;        /* messages */
    uint64_t dropped;          /* messages, by the policy */
    uint64_t refused;          /* messages that the transport behind never takes (too large) */
};

/* inner and checkpoint must outlive it. Starts the forwarder. */
TEL_MUST_USE tel_code spool_new(const struct spool_options *options, struct tel_transport *inner,
                                struct spool **ret, struct tel_error *err);
/* The transport for pipelines; its producers are freed before the spool. */
struct tel_transport *spool_transport(struct spool *spool);
/* Waits until all has been sent on, up to timeout_ms. False: the rest stays in the journal. */
bool spool_drain(struct spool *spool, int timeout_ms);
void spool_free(struct spool *spool); /* NULL is fine */
void spool_get_stats(struct spool *spool, struct spool_stats *ret); /* any thread */

#endif
