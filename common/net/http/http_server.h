/*
 * An HTTP/1.1 server over libmicrohttpd, which stays behind this pair.
 *
 * Threads: one per connection, with a small stack. A handler runs on its connection's thread and may
 * block (a query, an fsync); so may a pull callback. Measured against a pool with suspend and
 * resume, a thousand threads cost less than the second scheduler that a pool would need: README.md.
 * Handlers of different requests run at the same time; what they share is theirs to guard.
 *
 * A request reaches its handler whole: its body has been read to the end, its Content-Encoding
 * (gzip, zstd, deflate) undone, both within the route's cap. A body that is cut short, because the
 * peer went away before Content-Length bytes or the last chunk, never reaches the handler (counted
 * in tel_http_server_stats.bodies_cut); a compressed stream that ends early is answered with 400.
 */
#ifndef TEL_NET_HTTP_SERVER_H
#define TEL_NET_HTTP_SERVER_H

#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/base/span.h"

struct tel_http_server;
struct tel_http_request;

/* Makes exactly one reply (tel_http_reply, _reply_error or _stream) before it returns; a handler
 * that made none is answered for with 500. */
typedef void tel_http_handler(void *ctx, struct tel_http_request *req);

struct tel_http_route {
    const char *methods; /* "GET", "POST", "GET POST"; GET takes HEAD too */
    const char *path;    /* exact; with a '*' at its end, every path that begins so */
    tel_http_handler *handler;
    void *ctx;
    uint64_t body_max; /* bytes of the body, before and after decoding; 0: 1 MiB */
    /* If set, bodies larger than body_max are taken in pieces of about that size instead of being
     * refused: `piece` gets what has come so far and returns how many bytes it took (0 refuses the
     * body with 413); the handler gets the rest. It may reply, which refuses the body: it is called no
     * more then, nor is the handler, and the client hears it once it has sent all. The client may still
     * go away in between: then the state's free function runs and the handler does not. */
    size_t (*piece)(void *ctx, struct tel_http_request *req, struct tel_span body);
    /* The body is never taken for form fields, whatever its Content-Type says: `curl --data-binary`
     * calls everything a form. For routes that insert. */
    bool raw_body;
};

struct tel_http_server_options {
    const char *address;      /* "127.0.0.1:7070", "[::1]:0"; port 0 takes a free one */
    uint32_t connections_max; /* 0: 2048; more are refused at the door */
    uint32_t idle_timeout_s;  /* a connection that says nothing; 0: 60 */
    uint64_t bodies_max;      /* bytes of all bodies being held; beyond it 503; 0: 256 MiB */
    const char *tls_cert_file, *tls_key_file; /* PEM; both or none */
    /* Asked for each request that has a route, before its body is taken: path, method and headers are
     * there. False: it has replied (401, 403), and the handler does not run. NULL: all may. */
    bool (*authorize)(void *ctx, struct tel_http_request *req);
    void *authorize_ctx;
};

/* ---- the server: one owner thread --------------------------------------------------------- */

/* Binds the address, so that a port in use is told here, and answers nothing yet. */
TEL_MUST_USE tel_code tel_http_server_new(const struct tel_http_server_options *options,
                                          struct tel_http_server **ret, struct tel_error *err);
/* Adds a route (copied); before _start only. The longest match wins; an exact one over a '*'. */
void tel_http_server_route(struct tel_http_server *server, const struct tel_http_route *route);
TEL_MUST_USE tel_code tel_http_server_start(struct tel_http_server *server, struct tel_error *err);
/* "127.0.0.1:40123": where it listens, with the port that it really took. */
const char *tel_http_server_address(const struct tel_http_server *server);
/* Reads the certificate files again; new connections get the new ones, open ones go on with the
 * old. On an error everything stays as it was. */
TEL_MUST_USE tel_code tel_http_server_reload(struct tel_http_server *server, struct tel_error *err);
/* Stops accepting and waits for the requests under way, at most grace_ms; those that are left then
 * see tel_http_gone and are cut. TEL_ERR_TIMEOUT if there were some. */
TEL_MUST_USE tel_code tel_http_server_drain(struct tel_http_server *server, uint32_t grace_ms,
                                            struct tel_error *err);
/* Cuts what is under way and waits until its handlers have returned. NULL is fine. */
void tel_http_server_free(struct tel_http_server *server);

struct tel_http_server_stats {
    uint64_t requests, replies_4xx, replies_5xx, bodies_cut, bodies_refused, streams_aborted;
    uint64_t connections, in_flight, body_bytes_held;
};
void tel_http_server_stats(const struct tel_http_server *server, struct tel_http_server_stats *ret);

/* ---- the request: the handler's thread; everything is valid until the reply has been sent --- */

struct tel_span tel_http_method(const struct tel_http_request *req);
struct tel_span tel_http_path(const struct tel_http_request *req);
/* The part of the path behind the route's '*'; empty for exact routes. */
struct tel_span tel_http_path_rest(const struct tel_http_request *req);
/* A query parameter, or a field of an application/x-www-form-urlencoded body, decoded; the first of
 * that name, the query's before the form's. False (and *ret untouched) when there is none. */
bool tel_http_param(const struct tel_http_request *req, const char *name, struct tel_span *ret);
/* All parameters, in order; NULL behind the last. */
struct tel_http_pair {
    struct tel_span name, value;
};
const struct tel_http_pair *tel_http_params(const struct tel_http_request *req, size_t *ret_count);
/* A header by name, any case; the first. */
bool tel_http_header(const struct tel_http_request *req, const char *name, struct tel_span *ret);
/* The decoded body; empty for form posts too, whose fields are parameters. */
struct tel_span tel_http_body(const struct tel_http_request *req);
/* "10.0.0.7:51234" */
const char *tel_http_peer(const struct tel_http_request *req);
struct tel_arena *tel_http_arena(struct tel_http_request *req);
/* What a handler keeps from piece to piece; freed with the request. NULL at first. */
void *tel_http_state(const struct tel_http_request *req);
void tel_http_set_state(struct tel_http_request *req, void *state, void (*free_state)(void *));
/* Has the client gone, or is the server being stopped? Cheap (one system call); for long work. */
bool tel_http_gone(const struct tel_http_request *req);
/* Does the server take no new requests any more? Answers without an end should come to one. */
bool tel_http_draining(const struct tel_http_request *req);

/* ---- the reply ---------------------------------------------------------------------------- */

/* Before the reply. The value must hold no control characters: such are replaced by '?'. */
void tel_http_reply_header(struct tel_http_request *req, const char *name, struct tel_span value);
/* The body is copied. */
void tel_http_reply(struct tel_http_request *req, unsigned status, const char *content_type,
                    struct tel_span body);
/* text/plain, with a line feed behind the text. */
void tel_http_reply_error(struct tel_http_request *req, unsigned status, const char *fmt, ...)
    TEL_PRINTF(3, 4);
/* From here on errors are JSON as Prometheus has them, {"status":"error","errorType":"422","error":...},
 * and a bad request is a 422. */
void tel_http_errors_as_json(struct tel_http_request *req);
/* The status that fits a code: 400 for INVALID and PARSE, 404, 422 for LIMIT, 503, 504, 500 ... */
unsigned tel_http_status_of(tel_code code);

enum tel_http_pull {
    TEL_HTTP_MORE, /* call again when out has been sent; out may be empty: a pause for tel_http_gone */
    TEL_HTTP_END,  /* out is the last */
    TEL_HTTP_ABORT /* out is sent, then the connection breaks, so that the client sees a failure */
};
/* Appends the next piece to `out` (empty when called). May block. */
typedef enum tel_http_pull tel_http_pull_cb(void *ctx, struct tel_http_request *req,
                                            struct tel_buf *out);
/* Streams a body whose size is not known. `done` (may be NULL) runs once when the body has ended,
 * or the client has gone, however it ended. The request stays valid until then. */
void tel_http_stream(struct tel_http_request *req, unsigned status, const char *content_type,
                     tel_http_pull_cb *pull, void (*done)(void *ctx), void *ctx);

#endif
