/*
 * What the formats share: the importer, and a session, which is one request on its way into the
 * transport. A format parses, names streams and adds events; the session batches, sends and waits.
 *
 *     insert_session_new -> (insert_stream, insert_add | insert_bad)* -> insert_session_end -> free
 *
 * A session belongs to its request's thread; what the poller's thread touches is in its outcome.
 */
#ifndef SIDECAR_INSERT_INTERNAL_H
#define SIDECAR_INSERT_INTERNAL_H

#include <stdatomic.h>

#include "common/base/arena.h"
#include "common/base/map.h"
#include "common/base/vec.h"
#include "common/net/http/http_server.h"
#include "common/record/codec.h"
#include "common/sys/thread.h"
#include "common/transport/transport.h"
#include "sidecar/insert/dead_letter.h"
#include "sidecar/insert/insert.h"
#include "sidecar/insert/json_flat.h"

struct tel_insert {
    struct tel_transport *transport;
    struct tel_producer *producer;
    struct tel_fs *fs;
    const struct tel_clock *clock;
    struct tel_record_framing framing;
    uint64_t piece_max, body_max, generation;
    uint32_t send_timeout_ms;
    _Atomic uint32_t partitions; /* 0: not known yet */
    char id[33];
    struct dead_letters *dead;
    struct tel_thread poller;
    atomic_bool stop;
    struct tel_mutex lock; /* lanes, and waiting for progress */
    struct tel_cond progress;
    TEL_VEC(struct insert_lane *) lanes;
    _Atomic uint64_t requests, failed, events, bytes, bad, dead_lost;
};

struct insert_lane {
    uint32_t number;
    bool taken;       /* in->lock */
    uint64_t counter; /* of positions; whoever holds the lane */
};

/* What became of a session's messages. The session and each message under way hold a reference; the
 * last one gives the lane back, so that nothing is sent on it before all is settled. */
struct insert_outcome {
    struct tel_insert *in;
    struct insert_lane *lane;
    struct tel_mutex lock;
    struct tel_cond settled;
    uint32_t outstanding; /* messages */
    uint32_t refs;
    tel_code code; /* of the first that failed */
    struct tel_error err;
};

struct insert_stream {
    struct tel_span key;            /* the labels in one string, as told apart */
    struct tel_batch head;          /* tenant, source, labels */
    uint32_t partition;
    bool open;                      /* the writer holds a message */
    struct tel_record_writer writer;
};

struct insert_session {
    struct tel_insert *in;
    struct insert_outcome *outcome;
    const char *format;
    struct tel_span tenant;
    struct tel_arena arena; /* streams */
    struct tel_map by_key;
    TEL_VEC(struct insert_stream *) streams;
    struct insert_stream *last;
    struct tel_buf key;     /* being looked up */
    size_t open_bytes;      /* in all writers, as of their last look */
    int64_t deadline_ns;    /* of sending */
    tel_code failed;        /* sending has failed; nothing more is taken */
    struct tel_error err;
    uint64_t events, bad, line; /* line: for messages, counted by the format */
    struct tel_buf letters, notes; /* dead letters; the first few errors as JSON */
    uint32_t note_count;
};

#define INSERT_NOT_NOW "the queue is not there yet, or there are too many requests; try again later"

/* NULL when the transport is not there yet or the lanes are used up: 503. tenant has been checked. */
struct insert_session *insert_session_new(struct tel_insert *in, struct tel_span tenant,
                                          const char *format);
void insert_session_free(void *session); /* NULL is fine; what was not sent is dropped */

/* The stream with these labels; the spans are copied. Labels with empty values are left out. */
struct insert_stream *insert_stream(struct insert_session *s, const struct tel_field *labels,
                                    uint32_t count);
/* Adds an event; position is filled in. False: the event is bad and *err says why, or the session
 * has failed (s->failed). A name that comes twice keeps its last value. */
bool insert_add(struct insert_session *s, struct insert_stream *stream, struct tel_event *event,
                struct tel_error *err);
/* Counts a bad item and keeps it. */
void insert_bad(struct insert_session *s, const char *reason, struct tel_span item);
/* Sends what is left and waits until all is durable. */
TEL_MUST_USE tel_code insert_session_end(struct insert_session *s, struct tel_error *err);

/* Ends the session and answers: `status` when something was taken and nothing had to be refused, with
 * the counts as JSON unless it is 204. */
void insert_reply(struct insert_session *s, struct tel_http_request *req, unsigned status);
/* 429 or 503: not all is stored, come again. */
void insert_reply_failed(struct tel_http_request *req, const struct tel_error *err);
/* The request's tenant into *ret; false when it has been answered with 400. */
bool insert_tenant(struct tel_http_request *req, struct tel_span *ret);

/* What requests may say about fields; parameters, or headers VL-Time-Field and so on. */
struct insert_params {
    struct tel_span time_fields[8], msg_fields[8];
    struct tel_span stream_fields[64];
    struct tel_span ignore[64]; /* a '*' at the end matches all that begins so */
    struct tel_field extra[64];
    uint32_t time_count, msg_count, stream_count, ignore_count, extra_count;
};

/* False when the request has been answered with 400. Spans live as long as the request. */
bool insert_params_parse(struct tel_http_request *req, struct insert_params *ret);
/* Other names to look for when the request named none. */
void insert_params_default(struct tel_http_request *req, struct insert_params *params,
                           const char *time_field, const char *msg_field);
/* Turns flat fields into an event of a stream and adds it: time, message and stream fields are
 * taken out by their names, ignored ones dropped, extra ones added. False as insert_add. */
bool insert_flat(struct insert_session *s, const struct insert_params *params,
                 struct tel_field *fields, size_t count, struct tel_error *err);

/* Formats. _take parses a whole body into the session; false: it is none of its format. */
bool insert_loki_take(struct insert_session *s, struct tel_span body, bool json, struct tel_error *err);
bool insert_otlp_take(struct insert_session *s, struct tel_span body, bool json, struct tel_error *err);
void insert_jsonline_routes(struct tel_insert *in, struct tel_http_server *server);
void insert_loki_routes(struct tel_insert *in, struct tel_http_server *server);
void insert_elastic_routes(struct tel_insert *in, struct tel_http_server *server);
void insert_otlp_routes(struct tel_insert *in, struct tel_http_server *server);

#endif
