/*
 * One HTTP request at a time, for command lines: over libcurl, which stays behind this pair. The
 * answer is handed over as it comes. A client belongs to one thread and keeps its connection for the
 * next call.
 */
#ifndef TEL_NET_HTTP_CLIENT_H
#define TEL_NET_HTTP_CLIENT_H

#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/base/span.h"

struct tel_http_client;

struct tel_http_client_options {
    const char *ca_file;         /* PEM; NULL: the system's */
    const char *bearer;          /* sent as Authorization; NULL: none; never logged */
    uint32_t connect_timeout_ms; /* 0: 5000 */
};

struct tel_http_client *tel_http_client_new(const struct tel_http_client_options *options);
void tel_http_client_free(struct tel_http_client *client); /* NULL is fine */

struct tel_http_call {
    const char *method; /* "GET", "POST" */
    const char *url;    /* http:// or https:// */
    struct tel_span body;
    const char *content_type;    /* of the body; NULL: none */
    const char *const *headers;  /* "Name: value", NULL at the end; may be NULL */
    uint32_t timeout_ms;         /* of the whole call; 0: none */
    /* Called with the name in lower case, before any data. May be NULL. */
    void (*on_header)(void *ctx, struct tel_span name, struct tel_span value);
    /* Pieces of the body of an answer with status 200 to 299; false ends the call (TEL_ERR_CANCELLED).
     * NULL: the body goes to *ret_text too. */
    bool (*on_data)(void *ctx, struct tel_span piece);
    /* Asked about once a second while nothing comes; true ends the call. May be NULL. */
    bool (*stop)(void *ctx);
    void *ctx;
};

/* TEL_OK means that an answer came whole, whatever its status. *ret_text (may be NULL) gets the body
 * of other answers, at most 1 MiB. TEL_ERR_UNAVAILABLE: no connection; TEL_ERR_TRUNCATED: the answer
 * broke off; TEL_ERR_TIMEOUT; TEL_ERR_INVALID: the URL. */
TEL_MUST_USE tel_code tel_http_client_call(struct tel_http_client *client,
                                           const struct tel_http_call *call, unsigned *ret_status,
                                           struct tel_buf *ret_text, struct tel_error *err);

#endif
