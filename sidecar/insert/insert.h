/*
 * Log events by HTTP, in the formats of VictoriaLogs (JSON lines), Loki, Elasticsearch and
 * OpenTelemetry, into a transport. Used by standalone and by the sidecar's http input.
 *
 * A request is answered with success only when all of its events are durable in the transport.
 *
 * Sources and positions. A shard drops events whose position is not above the highest it has seen of
 * their source, so what is sent under one source must reach the log in the order of its positions.
 * Requests run at the same time; each holds a *lane*, a small number that no other request has, for
 * as long as it sends. A source is (this importer, the lane, the stream); a lane's positions grow
 * over all its streams:
 *
 *     source    "http/<id>/<lane>/<hash of the labels>"    id: 128 random bits, drawn once per folder
 *     position  generation << 40 | counter of the lane     generation: counted up at every start
 *
 * so they never go back, whatever the clock does. A client that sends again after an error makes new
 * events: HTTP carries no position of the client's.
 */
#ifndef SIDECAR_INSERT_INSERT_H
#define SIDECAR_INSERT_INSERT_H

#include <stdint.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/record/codec.h"

struct tel_fs;
struct tel_http_server;
struct tel_insert;
struct tel_transport;

struct tel_insert_options {
    struct tel_transport *transport; /* outlives the insert */
    struct tel_fs *fs;               /* NULL: the machine's */
    const char *dir;                 /* for its id, its generation and the dead letters; made if absent */
    struct tel_record_framing framing;
    uint64_t body_max;               /* bytes of JSON lines that are held at once; 0: 8 MiB. Larger
                                        bodies are taken in pieces of this size. Bodies of the other
                                        formats are held whole, up to eight times as much */
    uint64_t dead_letter_bytes;      /* kept at most; 0: 64 MiB */
    uint32_t send_timeout_ms;        /* how long a request waits for a full transport; 0: 10 s */
    const struct tel_clock *clock;   /* NULL: the machine's */
};

/* Starts a thread that runs the producer's callbacks. Does not wait for the transport: as long as that
 * has not said how many partitions it has, requests are answered with 503. */
TEL_MUST_USE tel_code tel_insert_new(const struct tel_insert_options *options,
                                     struct tel_insert **ret, struct tel_error *err);
/* Adds /insert/jsonline and the others to a server that has not been started. The server is freed
 * before the insert. */
void tel_insert_routes(struct tel_insert *insert, struct tel_http_server *server);
void tel_insert_free(struct tel_insert *insert); /* NULL is fine */

struct tel_insert_stats {
    uint64_t requests, requests_failed;
    uint64_t events, bytes;   /* durable; bytes of bodies as received, decoded */
    uint64_t bad_events;      /* kept as dead letters */
    uint64_t dead_letters_lost; /* that the dead-letter store could not take */
};
void tel_insert_stats(const struct tel_insert *insert, struct tel_insert_stats *ret);

#endif
