/*
 * A transport in front of another that misbehaves by chance, as brokers do seldom: full queues, failed
 * deliveries with later ones that succeed or fail too, messages refused for their size.
 */
#ifndef TESTS_UNRULY_TRANSPORT_H
#define TESTS_UNRULY_TRANSPORT_H

#include "common/transport/transport.h"

struct unruly_options {
    uint64_t seed;
    unsigned full_percent;   /* of sends are told AGAIN */
    unsigned fail_percent;   /* of deliveries fail, retriably */
    unsigned lie_percent;    /* of deliveries are told as failed though they were made */
    bool overtake;           /* what was sent behind a failed message is delivered all the same */
    size_t refuse_at_send;   /* messages above so many bytes: LIMIT at once; 0: none */
    size_t refuse_later;     /* the same, but told as their fate */
    unsigned stuck_partitions_calls; /* so many questions about partitions fail first */
};

/* inner must outlive it. */
struct tel_transport *unruly_transport_new(struct tel_transport *inner,
                                           const struct unruly_options *options);

#endif
