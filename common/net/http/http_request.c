/*
 * A request: its body taken in pieces and decoded within the caps, its parameters, its reply.
 * Everything here runs on the connection's thread.
 */
#include "common/net/http/http_internal.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/base/mem.h"

#define PARAMS_MAX   1000
#define PULL_BLOCK   (64u << 10)
#define TEXT(n)      TEXT_OF(n)
#define TEXT_OF(n)   #n
#define TOO_MANY_PARAMS "more than " TEXT(PARAMS_MAX) " parameters"
/* A body that is refused on the way is read and dropped up to so many bytes, so that the client gets
 * to read why; then the connection is closed. */
#define DISCARD_BYTES (UINT64_C(256) << 20)
#define SLICE         4096u

/* ---- making and freeing ------------------------------------------------------------------- */

static void note_peer(struct tel_http_request *req)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    snprintf(req->peer, sizeof(req->peer), "?");
    if (!info || !info->client_addr)
        return;
    char host[64], port[8];
    socklen_t len = info->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                             : sizeof(struct sockaddr_in);
    if (getnameinfo(info->client_addr, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        snprintf(req->peer, sizeof(req->peer), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

struct tel_http_request *http_request_new(struct tel_http_server *server,
                                          struct MHD_Connection *connection, const char *url,
                                          const char *method)
{
    struct tel_http_request *req = TEL_NEW(struct tel_http_request);
    req->server = server;
    req->connection = connection;
    tel_arena_init(&req->arena, 8192);
    req->method = tel_arena_copy(&req->arena, tel_span_cstr(method));
    req->path = tel_arena_copy(&req->arena, tel_span_cstr(url));
    note_peer(req);
    return req;
}

static void body_drop(struct tel_http_request *req)
{
    tel_buf_free(&req->body);
    atomic_fetch_sub(&req->server->bodies_held, req->body_held);
    req->body_held = 0;
}

void http_request_free(struct tel_http_request *req)
{
    if (!req)
        return;
    if (req->done)
        req->done(req->stream_ctx);
    if (req->free_state)
        req->free_state(req->state);
    if (req->early)
        MHD_destroy_response(req->early);
    body_drop(req);
    tel_http_decoder_free(req->decoder);
    tel_buf_free(&req->out);
    tel_vec_free(&req->params);
    tel_vec_free(&req->headers);
    tel_arena_free(&req->arena);
    free(req);
}

/* ---- before the handler ------------------------------------------------------------------- */

static bool method_listed(const char *methods, struct tel_span method)
{
    if (tel_span_eq(method, TEL_SPAN("HEAD")))
        method = TEL_SPAN("GET");
    struct tel_span rest = tel_span_cstr(methods);
    while (rest.len > 0)
        if (tel_span_eq(tel_span_split(&rest, ' '), method))
            return true;
    return false;
}

/* The best route of the path. When only the method is wrong, *ret_other is such a route. */
static const struct http_route *find_route(const struct tel_http_server *server,
                                           struct tel_span path, struct tel_span method,
                                           const struct http_route **ret_other)
{
    const struct http_route *best = NULL;
    for (size_t i = 0; i < server->routes.len; i++) {
        const struct http_route *r = &server->routes.items[i];
        struct tel_span want = {r->r.path, r->path_len};
        if (r->prefix ? !tel_span_starts(path, want) : !tel_span_eq(path, want))
            continue;
        if (!method_listed(r->r.methods, method)) {
            *ret_other = r;
            continue;
        }
        if (!best || (best->prefix && !r->prefix) ||
            (best->prefix == r->prefix && r->path_len > best->path_len))
            best = r;
    }
    return best;
}

static bool refuse_now(struct tel_http_request *req, unsigned status, const char *text)
{
    if (status == MHD_HTTP_CONTENT_TOO_LARGE || status == MHD_HTTP_SERVICE_UNAVAILABLE)
        atomic_fetch_add(&req->server->bodies_refused, 1);
    tel_http_reply_error(req, status, "%s", text);
    return false;
}

static enum MHD_Result take_argument(void *cls, enum MHD_ValueKind kind, const char *key,
                                     size_t key_len, const char *value, size_t value_len)
{
    (void)kind;
    struct tel_http_request *req = cls;
    if (req->params.len == PARAMS_MAX)
        return MHD_NO;
    struct tel_http_pair pair = {{key, key_len}, {value, value ? value_len : 0}};
    tel_vec_push(&req->params, pair);
    return MHD_YES;
}

/* What stands behind the '?'; pieces of a body are read with these, too. */
static bool take_arguments(struct tel_http_request *req)
{
    int seen = MHD_get_connection_values_n(req->connection, MHD_GET_ARGUMENT_KIND, take_argument, req);
    return seen >= 0 && (size_t)seen <= PARAMS_MAX;
}

bool http_request_begin(struct tel_http_request *req)
{
    const struct http_route *other = NULL;
    req->route = find_route(req->server, req->path, req->method, &other);
    if (!req->route && other) {
        /* "GET POST" as a list of HTTP's: "GET, POST". */
        struct tel_buf allow = {0};
        for (const char *m = other->r.methods; *m; m++) {
            if (*m == ' ')
                tel_buf_add_char(&allow, ',');
            tel_buf_add_char(&allow, *m);
        }
        tel_http_reply_header(req, "Allow", tel_buf_span(&allow));
        tel_buf_free(&allow);
        return refuse_now(req, MHD_HTTP_METHOD_NOT_ALLOWED, "this method is not allowed here");
    }
    if (!req->route)
        return refuse_now(req, MHD_HTTP_NOT_FOUND, "there is nothing at this path");
    if (req->server->authorize && !req->server->authorize(req->server->authorize_ctx, req)) {
        TEL_CHECK(req->replied);
        return false;
    }
    if (!take_arguments(req))
        return refuse_now(req, MHD_HTTP_BAD_REQUEST, TOO_MANY_PARAMS);
    struct tel_span value;
    if (tel_http_header(req, "Content-Length", &value)) {
        unsigned long long n = 0;
        req->had_body = tel_span_to_u64(value, &n) && n > 0;
        if (n > req->route->r.body_max && !req->route->r.piece)
            return refuse_now(req, MHD_HTTP_CONTENT_TOO_LARGE, "the body is too large");
    }
    if (atomic_load(&req->server->bodies_held) >= req->server->bodies_max)
        return refuse_now(req, MHD_HTTP_SERVICE_UNAVAILABLE,
                          "too many bodies are being taken; try again later");
    struct tel_error err;
    if (tel_http_header(req, "Content-Encoding", &value) &&
        tel_http_decoder_new(value, &req->decoder, &err) != TEL_OK)
        return refuse_now(req, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, err.text);
    return true;
}

/* Keeps the server's sum in step with the buffer that this body holds. */
static bool body_account(struct tel_http_request *req)
{
    uint64_t more = req->body.cap - req->body_held;
    req->body_held = req->body.cap;
    uint64_t sum = atomic_fetch_add(&req->server->bodies_held, more) + more;
    return sum <= req->server->bodies_max;
}

static void body_refuse(struct tel_http_request *req, unsigned status)
{
    req->refuse_status = status;
    atomic_fetch_add(&req->server->bodies_refused, 1);
    body_drop(req);
}

/* Hands over what is held once it is a piece. */
static tel_code body_piece(struct tel_http_request *req)
{
    const struct tel_http_route *r = &req->route->r;
    if (!r->piece || req->body.len < r->body_max)
        return TEL_OK;
    size_t took = r->piece(r->ctx, req, tel_buf_span(&req->body));
    TEL_CHECK(took <= req->body.len);
    if (req->early)
        return TEL_OK;
    if (took == 0)
        return tel_error_set(&req->refuse, TEL_ERR_LIMIT,
                             "the body holds an item larger than %llu bytes",
                             (unsigned long long)r->body_max);
    req->body.len -= took;
    memmove(req->body.ptr, req->body.ptr + took, req->body.len);
    return TEL_OK;
}

/* Decodes and keeps. What can come of one slice of a compressed body is bounded by the decoder's cap,
 * which for bodies in pieces is over what is held already. */
static tel_code body_take(struct tel_http_request *req, struct tel_span in)
{
    const struct tel_http_route *r = &req->route->r;
    if (!r->piece && req->body_wire > r->body_max)
        return tel_error_set(&req->refuse, TEL_ERR_LIMIT, "the body is larger than %llu bytes",
                             (unsigned long long)r->body_max);
    tel_code rc = TEL_OK;
    while (in.len > 0 && rc == TEL_OK && !req->early) {
        struct tel_span slice = tel_span_slice(in, 0, req->decoder && r->piece ? SLICE : in.len);
        in = tel_span_slice(in, slice.len, in.len);
        if (req->decoder)
            rc = tel_http_decoder_feed(req->decoder, slice, r->piece ? 2 * r->body_max : r->body_max,
                                       &req->body, &req->refuse);
        else
            tel_buf_add_span(&req->body, slice);
        if (rc == TEL_OK)
            rc = body_piece(req);
    }
    return rc;
}

bool http_request_body(struct tel_http_request *req, const char *data, size_t len)
{
    req->had_body = true;
    req->body_wire += len;
    if (req->refuse_status || req->early)
        return req->body_wire <= DISCARD_BYTES;
    req->in_body = true;
    tel_code rc = body_take(req, tel_span_make(data, len));
    req->in_body = false;
    if (req->early) {
        body_drop(req);
        return true;
    }
    if (rc == TEL_OK && body_account(req))
        return true;
    if (rc == TEL_OK) {
        tel_error_set(&req->refuse, TEL_ERR_AGAIN, "too many bodies are being taken; try again later");
        body_refuse(req, MHD_HTTP_SERVICE_UNAVAILABLE);
    } else {
        body_refuse(req, rc == TEL_ERR_LIMIT ? MHD_HTTP_CONTENT_TOO_LARGE : MHD_HTTP_BAD_REQUEST);
    }
    return true;
}

/* ---- parameters --------------------------------------------------------------------------- */

static struct tel_span decode_component(struct tel_http_request *req, struct tel_span s)
{
    struct tel_buf b = {0};
    tel_http_percent_decode(s, &b);
    struct tel_span copy = tel_arena_copy(&req->arena, tel_buf_span(&b));
    tel_buf_free(&b);
    return copy;
}

static bool take_form(struct tel_http_request *req)
{
    struct tel_span rest = tel_buf_span(&req->body);
    while (rest.len > 0) {
        struct tel_span value = tel_span_split(&rest, '&');
        if (value.len == 0)
            continue;
        if (req->params.len == PARAMS_MAX)
            return false;
        struct tel_span name = tel_span_split(&value, '=');
        struct tel_http_pair pair = {decode_component(req, name), decode_component(req, value)};
        tel_vec_push(&req->params, pair);
    }
    body_drop(req);
    return true;
}

static bool is_form(const struct tel_http_request *req)
{
    struct tel_span type;
    static const char want[] = "application/x-www-form-urlencoded";
    return !req->route->r.raw_body && tel_http_header(req, "Content-Type", &type) &&
           type.len >= sizeof(want) - 1 && strncasecmp(type.ptr, want, sizeof(want) - 1) == 0;
}

enum MHD_Result http_request_run(struct tel_http_request *req)
{
    req->handled = true;
    if (req->early) {
        (void)MHD_queue_response(req->connection, req->early_status, req->early);
        return MHD_YES;
    }
    if (!req->refuse_status && req->decoder &&
        tel_http_decoder_end(req->decoder, &req->refuse) != TEL_OK)
        body_refuse(req, MHD_HTTP_BAD_REQUEST);
    if (req->refuse_status) {
        tel_http_reply_error(req, req->refuse_status, "%s", req->refuse.text);
        return MHD_YES;
    }
    if (is_form(req) && !take_form(req))
        tel_http_reply_error(req, MHD_HTTP_BAD_REQUEST, TOO_MANY_PARAMS);
    else
        req->route->r.handler(req->route->r.ctx, req);
    if (!req->replied)
        tel_http_reply_error(req, MHD_HTTP_INTERNAL_SERVER_ERROR, "no answer was made");
    return MHD_YES;
}

/* ---- queries ------------------------------------------------------------------------------ */

struct tel_span tel_http_method(const struct tel_http_request *req)
{
    return req->method;
}

struct tel_span tel_http_path(const struct tel_http_request *req)
{
    return req->path;
}

struct tel_span tel_http_path_rest(const struct tel_http_request *req)
{
    return tel_span_slice(req->path, req->route->path_len, req->path.len);
}

bool tel_http_param(const struct tel_http_request *req, const char *name, struct tel_span *ret)
{
    for (size_t i = 0; i < req->params.len; i++)
        if (tel_span_eq_cstr(req->params.items[i].name, name)) {
            *ret = req->params.items[i].value;
            return true;
        }
    return false;
}

const struct tel_http_pair *tel_http_params(const struct tel_http_request *req, size_t *ret_count)
{
    *ret_count = req->params.len;
    return req->params.items;
}

bool tel_http_header(const struct tel_http_request *req, const char *name, struct tel_span *ret)
{
    const char *value = NULL;
    size_t len = 0;
    if (MHD_lookup_connection_value_n(req->connection, MHD_HEADER_KIND, name, strlen(name), &value,
                                      &len) != MHD_YES)
        return false;
    *ret = tel_span_make(value, value ? len : 0);
    return true;
}

struct tel_span tel_http_body(const struct tel_http_request *req)
{
    return tel_buf_span(&req->body);
}

const char *tel_http_peer(const struct tel_http_request *req)
{
    return req->peer;
}

struct tel_arena *tel_http_arena(struct tel_http_request *req)
{
    return &req->arena;
}

void *tel_http_state(const struct tel_http_request *req)
{
    return req->state;
}

void tel_http_set_state(struct tel_http_request *req, void *state, void (*free_state)(void *))
{
    req->state = state;
    req->free_state = free_state;
}

bool tel_http_gone(const struct tel_http_request *req)
{
    if (atomic_load(&req->server->stopping))
        return true;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!info)
        return true;
    struct pollfd p = {.fd = info->connect_fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

bool tel_http_draining(const struct tel_http_request *req)
{
    return atomic_load(&req->server->draining);
}

/* ---- replies ------------------------------------------------------------------------------ */

void tel_http_reply_header(struct tel_http_request *req, const char *name, struct tel_span value)
{
    TEL_CHECK(!req->replied);
    struct tel_span copy = tel_arena_copy(&req->arena, value);
    char *p = (char *)(uintptr_t)copy.ptr;
    for (size_t i = 0; i < copy.len; i++)
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
            p[i] = '?';
    struct http_reply_header h = {tel_arena_strdup(&req->arena, name), copy.len ? copy.ptr : ""};
    tel_vec_push(&req->headers, h);
}

static void send_response(struct tel_http_request *req, unsigned status, const char *content_type,
                          struct MHD_Response *response)
{
    struct tel_http_server *server = req->server;
    TEL_CHECK(response);
    if (content_type)
        (void)MHD_add_response_header(response, "Content-Type", content_type);
    for (size_t i = 0; i < req->headers.len; i++)
        (void)MHD_add_response_header(response, req->headers.items[i].name,
                                      req->headers.items[i].value);
    if (atomic_load(&server->draining))
        (void)MHD_add_response_header(response, "Connection", "close");
    req->replied = true;
    if (status >= 500)
        atomic_fetch_add(&server->replies_5xx, 1);
    else if (status >= 400)
        atomic_fetch_add(&server->replies_4xx, 1);
    if (req->in_body) {
        req->early = response;
        req->early_status = status;
        return;
    }
    (void)MHD_queue_response(req->connection, status, response);
    MHD_destroy_response(response);
}

void tel_http_reply(struct tel_http_request *req, unsigned status, const char *content_type,
                    struct tel_span body)
{
    TEL_CHECK(!req->replied);
    send_response(req, status, content_type,
                  MHD_create_response_from_buffer(body.len, (void *)(uintptr_t)body.ptr,
                                                  MHD_RESPMEM_MUST_COPY));
}

static void reply_json_error(struct tel_http_request *req, unsigned status, struct tel_span text)
{
    struct tel_buf out = {0};
    if (status == MHD_HTTP_BAD_REQUEST)
        status = MHD_HTTP_UNPROCESSABLE_CONTENT;
    tel_buf_printf(&out, "{\"status\":\"error\",\"errorType\":\"%u\",\"error\":", status);
    tel_buf_add_json(&out, text);
    TEL_BUF_ADD_LIT(&out, "}\n");
    tel_http_reply(req, status, "application/json", tel_buf_span(&out));
    tel_buf_free(&out);
}

void tel_http_reply_error(struct tel_http_request *req, unsigned status, const char *fmt, ...)
{
    char text[2048];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text) - 1, fmt, args);
    va_end(args);
    size_t len = n < 0 ? 0 : TEL_MIN((size_t)n, sizeof(text) - 2);
    if (req->json_errors) {
        reply_json_error(req, status, tel_span_make(text, len));
        return;
    }
    text[len++] = '\n';
    tel_http_reply(req, status, "text/plain; charset=utf-8", tel_span_make(text, len));
}

void tel_http_errors_as_json(struct tel_http_request *req)
{
    req->json_errors = true;
}

unsigned tel_http_status_of(tel_code code)
{
    switch (code) {
    case TEL_OK: return MHD_HTTP_OK;
    case TEL_ERR_INVALID:
    case TEL_ERR_PARSE:
    case TEL_ERR_CORRUPT:
    case TEL_ERR_TRUNCATED:
    case TEL_ERR_UNSUPPORTED: return MHD_HTTP_BAD_REQUEST;
    case TEL_ERR_NOTFOUND: return MHD_HTTP_NOT_FOUND;
    case TEL_ERR_UNAUTHENTICATED: return MHD_HTTP_UNAUTHORIZED;
    case TEL_ERR_DENIED: return MHD_HTTP_FORBIDDEN;
    case TEL_ERR_LIMIT: return MHD_HTTP_UNPROCESSABLE_CONTENT;
    case TEL_ERR_AGAIN: return MHD_HTTP_TOO_MANY_REQUESTS;
    case TEL_ERR_UNAVAILABLE:
    case TEL_ERR_NOSPACE:
    case TEL_ERR_CLOSED:
    case TEL_ERR_LOCKED: return MHD_HTTP_SERVICE_UNAVAILABLE;
    case TEL_ERR_TIMEOUT: return MHD_HTTP_GATEWAY_TIMEOUT;
    case TEL_ERR_NOMEM:
    case TEL_ERR_IO:
    case TEL_ERR_EXISTS:
    case TEL_ERR_CANCELLED:
    case TEL_ERR_GAP:
    case TEL_ERR_END:
    case TEL_ERR_FENCED:
    case TEL_ERR_INTERNAL:
    case TEL_CODE_COUNT: break;
    }
    return MHD_HTTP_INTERNAL_SERVER_ERROR;
}

static ssize_t stream_read(void *cls, uint64_t pos, char *buf, size_t max)
{
    (void)pos;
    struct tel_http_request *req = cls;
    while (req->out_pos == req->out.len) {
        if (req->pull_state == TEL_HTTP_END)
            return MHD_CONTENT_READER_END_OF_STREAM;
        if (req->pull_state == TEL_HTTP_ABORT || tel_http_gone(req)) {
            atomic_fetch_add(&req->server->streams_aborted, 1);
            return MHD_CONTENT_READER_END_WITH_ERROR;
        }
        tel_buf_clear(&req->out);
        req->out_pos = 0;
        req->pull_state = req->pull(req->stream_ctx, req, &req->out);
    }
    size_t n = TEL_MIN(max, req->out.len - req->out_pos);
    memcpy(buf, req->out.ptr + req->out_pos, n);
    req->out_pos += n;
    return (ssize_t)n;
}

void tel_http_stream(struct tel_http_request *req, unsigned status, const char *content_type,
                     tel_http_pull_cb *pull, void (*done)(void *ctx), void *ctx)
{
    TEL_CHECK(!req->replied);
    req->pull = pull;
    req->done = done;
    req->stream_ctx = ctx;
    send_response(req, status, content_type,
                  MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PULL_BLOCK, stream_read, req,
                                                    NULL));
}
