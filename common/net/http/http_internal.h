/* What http_server.c and http_request.c share; nobody else includes this. */
#ifndef TEL_NET_HTTP_INTERNAL_H
#define TEL_NET_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/base/vec.h"
#include "common/net/http/http_encoding.h"
#include "common/net/http/http_server.h"

struct http_route {
    struct tel_http_route r; /* strings owned */
    size_t path_len;         /* without the '*' */
    bool prefix;
};

/* A daemon that a reload replaced: it finishes what it has, and its socket number stays taken
 * until then, because its threads may still poll it. */
struct http_retired {
    struct MHD_Daemon *daemon;
    int fd;
};

struct tel_http_server {
    struct MHD_Daemon *daemon;
    int daemon_fd; /* what quiescing gave back, or -1 while it accepts */
    TEL_VEC(struct http_retired) retired;
    TEL_VEC(struct http_route) routes;
    int listen_fd;
    char *address;
    char *cert_file, *key_file;
    uint32_t connections_max, idle_timeout_s;
    uint64_t bodies_max;
    bool (*authorize)(void *ctx, struct tel_http_request *req);
    void *authorize_ctx;
    atomic_bool draining, stopping;
    /* guards `idle` only: in_flight is atomic, and drain waits for it to become 0 */
    pthread_mutex_t lock;
    pthread_cond_t idle;
    _Atomic uint64_t in_flight, bodies_held, requests, replies_4xx, replies_5xx, bodies_cut,
        bodies_refused, streams_aborted;
};

struct http_reply_header {
    const char *name, *value;
};

struct tel_http_request {
    struct tel_http_server *server;
    struct MHD_Connection *connection;
    const struct http_route *route;
    struct tel_arena arena;
    struct tel_span method, path;
    struct tel_buf body;
    uint64_t body_wire; /* bytes received, before decoding */
    uint64_t body_held; /* what it counts in server->bodies_held */
    struct tel_http_decoder *decoder;
    bool had_body, handled, replied, json_errors;
    bool in_body; /* libmicrohttpd takes no response while it hands over the body: */
    struct MHD_Response *early; /* a reply to a piece is sent when the body has ended */
    unsigned early_status;
    unsigned refuse_status; /* != 0: the body was refused on the way; the text says why */
    struct tel_error refuse;
    TEL_VEC(struct tel_http_pair) params;
    TEL_VEC(struct http_reply_header) headers;
    char peer[80];
    void *state;
    void (*free_state)(void *);
    /* streaming */
    tel_http_pull_cb *pull;
    void (*done)(void *ctx);
    void *stream_ctx;
    enum tel_http_pull pull_state;
    struct tel_buf out;
    size_t out_pos;
};

struct tel_http_request *http_request_new(struct tel_http_server *server,
                                          struct MHD_Connection *connection, const char *url,
                                          const char *method);
void http_request_free(struct tel_http_request *req);
/* Checks what can be told from the headers; false when a refusal has been queued. */
bool http_request_begin(struct tel_http_request *req);
/* Takes a piece of the body; false: close the connection. */
bool http_request_body(struct tel_http_request *req, const char *data, size_t len);
/* The body is whole: runs the handler. */
enum MHD_Result http_request_run(struct tel_http_request *req);

#endif
