/*
 * The server: listening socket, routes, libmicrohttpd's daemon, drain and reload.
 *
 * The socket is bound and listening from tel_http_server_new on, by our own hand, so that a port in
 * use is an error with a text, and so that a reload can start a second daemon on the same socket:
 *
 *     listen_fd ──dup──> daemon 1 (old certificate)   quiesced: finishes its connections
 *               ──dup──> daemon 2 (new certificate)   accepts from now on
 *
 * A request's life: on_access (first call: route, refusals by header) -> on_access (body pieces)
 * -> on_access (end: handler, reply) -> the reply is sent, pulls run -> on_completed. If the client
 * goes away in between, on_completed comes earlier, and the handler may never have run.
 */
#include "common/net/http/http_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TEL_LOG_COMPONENT "http"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#define CONNECTION_MEMORY   (128u << 10) /* headers and one chunk of the reply */
#define THREAD_STACK        (256u << 10)
#define PEM_BYTES_MAX       (1u << 20)
#define DEFAULT_CONNECTIONS 2048
#define DEFAULT_IDLE_S      60
#define DEFAULT_BODIES      (UINT64_C(256) << 20)
#define DEFAULT_BODY        (UINT64_C(1) << 20)

/* ---- libmicrohttpd's callbacks ------------------------------------------------------------ */

static enum MHD_Result on_access(void *cls, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *upload_data,
                                 size_t *upload_size, void **con_cls)
{
    (void)version;
    struct tel_http_server *server = cls;
    struct tel_http_request *req = *con_cls;
    if (!req) {
        *con_cls = req = http_request_new(server, connection, url, method);
        atomic_fetch_add(&server->in_flight, 1);
        atomic_fetch_add(&server->requests, 1);
        (void)http_request_begin(req);
        return MHD_YES;
    }
    if (req->replied && !req->early)
        return MHD_YES;
    if (*upload_size > 0) {
        bool go_on = http_request_body(req, upload_data, *upload_size);
        *upload_size = 0;
        return go_on ? MHD_YES : MHD_NO;
    }
    return http_request_run(req);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                         enum MHD_RequestTerminationCode code)
{
    (void)connection;
    struct tel_http_server *server = cls;
    struct tel_http_request *req = *con_cls;
    if (!req)
        return;
    *con_cls = NULL;
    if (!req->handled && !req->replied && code != MHD_REQUEST_TERMINATED_COMPLETED_OK)
        atomic_fetch_add(&server->bodies_cut, 1);
    http_request_free(req);
    if (atomic_fetch_sub(&server->in_flight, 1) == 1) {
        pthread_mutex_lock(&server->lock);
        pthread_cond_broadcast(&server->idle);
        pthread_mutex_unlock(&server->lock);
    }
}

__attribute__((format(printf, 2, 0))) static void on_log(void *cls, const char *fmt, va_list args)
{
    (void)cls;
    char text[512];
    (void)vsnprintf(text, sizeof(text), fmt, args);
    tel_log_debug("libmicrohttpd", tel_kv_span("text", tel_span_trim(tel_span_cstr(text))));
}

/* ---- the listening socket ----------------------------------------------------------------- */

/* "host:port" or "[v6]:port" */
static tel_code split_address(const char *address, char host[256], char port[16],
                              struct tel_error *err)
{
    const char *colon = strrchr(address, ':');
    const char *begin = address, *end = colon;
    if (colon && *begin == '[' && colon > begin && colon[-1] == ']') {
        begin++;
        end--;
    }
    unsigned long long n = 0;
    if (!colon || end - begin >= 256 || !tel_span_to_u64(tel_span_cstr(colon + 1), &n) || n > 65535)
        return tel_error_set(err, TEL_ERR_INVALID, "address \"%s\" is not HOST:PORT", address);
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    snprintf(port, 16, "%llu", n);
    return TEL_OK;
}

static char *format_address(int fd)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "0", text[NI_MAXHOST + NI_MAXSERV + 4];
    if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0)
        (void)getnameinfo((struct sockaddr *)&ss, len, host, sizeof(host), port, sizeof(port),
                          NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(text, sizeof(text), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    return tel_strdup(text);
}

static tel_code listen_on(const char *address, int *ret_fd, struct tel_error *err)
{
    char host[256], port[16];
    tel_code rc = split_address(address, host, port, err);
    if (rc != TEL_OK)
        return rc;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int gai = getaddrinfo(host[0] ? host : NULL, port, &hints, &list);
    if (gai != 0)
        return tel_error_set(err, TEL_ERR_INVALID, "address \"%s\": %s", address,
                             gai_strerror(gai));
    int fd = -1, saved = 0;
    for (struct addrinfo *a = list; a; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int one = 1;
        if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
            bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 1024) == 0)
            break;
        saved = errno;
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    if (fd < 0)
        return tel_error_errno(err, saved, "cannot listen on %s", address);
    *ret_fd = fd;
    return TEL_OK;
}

/* ---- the daemon --------------------------------------------------------------------------- */

static tel_code read_pem(const char *path, char **ret, struct tel_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return tel_error_errno(err, errno, "cannot read %s", path);
    char *text = tel_malloc(PEM_BYTES_MAX + 1);
    size_t len = 0;
    ssize_t n = 0;
    while (len < PEM_BYTES_MAX && (n = read(fd, text + len, PEM_BYTES_MAX - len)) > 0)
        len += (size_t)n;
    int saved = errno;
    close(fd);
    if (n < 0 || len == PEM_BYTES_MAX) {
        free(text);
        return n < 0 ? tel_error_errno(err, saved, "cannot read %s", path)
                     : tel_error_set(err, TEL_ERR_LIMIT, "%s is too large for a PEM file", path);
    }
    text[len] = '\0';
    *ret = text;
    return TEL_OK;
}

static tel_code start_daemon(struct tel_http_server *server, struct MHD_Daemon **ret,
                             struct tel_error *err)
{
    char *cert = NULL, *key = NULL;
    struct MHD_Daemon *daemon = NULL;
    tel_code rc = TEL_OK;
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                     MHD_USE_POLL | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem tls[3] = {{MHD_OPTION_END, 0, NULL}};
    if (server->cert_file) {
        rc = read_pem(server->cert_file, &cert, err);
        if (rc == TEL_OK)
            rc = read_pem(server->key_file, &key, err);
        if (rc != TEL_OK)
            goto out;
        flags |= MHD_USE_TLS;
        tls[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, cert};
        tls[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, key};
        tls[2] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    }
    int fd = fcntl(server->listen_fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        rc = tel_error_errno(err, errno, "cannot duplicate the listening socket");
        goto out;
    }
    daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_access, server, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
        MHD_OPTION_CONNECTION_LIMIT, server->connections_max, MHD_OPTION_CONNECTION_TIMEOUT,
        server->idle_timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)THREAD_STACK, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    if (!daemon) {
        close(fd);
        rc = server->cert_file
                 ? tel_error_set(err, TEL_ERR_INVALID,
                                 "cannot start the HTTPS server: is %s a certificate with its key in %s?",
                                 server->cert_file, server->key_file)
                 : tel_error_set(err, TEL_ERR_INTERNAL, "cannot start the HTTP server");
        goto out;
    }
    *ret = daemon;
out:
    if (key)
        explicit_bzero(key, strlen(key));
    free(key);
    free(cert);
    return rc;
}

/* fd: what quiescing the daemon gave back, or -1 if it has not been quiesced. */
static void stop_daemon(struct MHD_Daemon *daemon, int fd)
{
    if (fd < 0)
        fd = MHD_quiesce_daemon(daemon);
    MHD_stop_daemon(daemon);
    if (fd >= 0)
        close(fd);
}

/* ---- the public face ---------------------------------------------------------------------- */

tel_code tel_http_server_new(const struct tel_http_server_options *o, struct tel_http_server **ret,
                             struct tel_error *err)
{
    if (!o->tls_cert_file != !o->tls_key_file)
        return tel_error_set(err, TEL_ERR_INVALID, "TLS needs a certificate and its key, both");
    int fd = -1;
    tel_code rc = listen_on(o->address, &fd, err);
    if (rc != TEL_OK)
        return rc;
    struct tel_http_server *server = TEL_NEW(struct tel_http_server);
    server->listen_fd = fd;
    server->daemon_fd = -1;
    server->address = format_address(fd);
    server->cert_file = o->tls_cert_file ? tel_strdup(o->tls_cert_file) : NULL;
    server->key_file = o->tls_key_file ? tel_strdup(o->tls_key_file) : NULL;
    server->connections_max = o->connections_max ? o->connections_max : DEFAULT_CONNECTIONS;
    server->idle_timeout_s = o->idle_timeout_s ? o->idle_timeout_s : DEFAULT_IDLE_S;
    server->bodies_max = o->bodies_max ? o->bodies_max : DEFAULT_BODIES;
    server->authorize = o->authorize;
    server->authorize_ctx = o->authorize_ctx;
    pthread_mutex_init(&server->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&server->idle, &attr);
    pthread_condattr_destroy(&attr);
    *ret = server;
    return TEL_OK;
}

void tel_http_server_route(struct tel_http_server *server, const struct tel_http_route *route)
{
    TEL_CHECK(!server->daemon);
    struct http_route r = {.r = *route};
    r.r.methods = tel_strdup(route->methods);
    r.r.path = tel_strdup(route->path);
    if (!r.r.body_max)
        r.r.body_max = DEFAULT_BODY;
    r.path_len = strlen(route->path);
    if (r.path_len > 0 && route->path[r.path_len - 1] == '*') {
        r.prefix = true;
        r.path_len--;
    }
    tel_vec_push(&server->routes, r);
}

tel_code tel_http_server_start(struct tel_http_server *server, struct tel_error *err)
{
    TEL_CHECK(!server->daemon);
    return start_daemon(server, &server->daemon, err);
}

const char *tel_http_server_address(const struct tel_http_server *server)
{
    return server->address;
}

tel_code tel_http_server_reload(struct tel_http_server *server, struct tel_error *err)
{
    if (!server->daemon || !server->cert_file)
        return TEL_OK;
    struct MHD_Daemon *fresh = NULL;
    tel_code rc = start_daemon(server, &fresh, err);
    if (rc != TEL_OK)
        return rc;
    for (size_t i = 0; i < server->retired.len;) {
        struct http_retired *old = &server->retired.items[i];
        const union MHD_DaemonInfo *info =
            MHD_get_daemon_info(old->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
        if (info && info->num_connections == 0) {
            stop_daemon(old->daemon, old->fd);
            server->retired.items[i] = server->retired.items[--server->retired.len];
        } else {
            i++;
        }
    }
    struct http_retired old = {server->daemon, MHD_quiesce_daemon(server->daemon)};
    tel_vec_push(&server->retired, old);
    server->daemon = fresh;
    return TEL_OK;
}

tel_code tel_http_server_drain(struct tel_http_server *server, uint32_t grace_ms,
                               struct tel_error *err)
{
    atomic_store(&server->draining, true);
    if (!server->daemon)
        return TEL_OK;
    if (server->daemon_fd < 0) {
        server->daemon_fd = MHD_quiesce_daemon(server->daemon);
        (void)shutdown(server->listen_fd, SHUT_RDWR); /* those that knock now are refused */
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = (int64_t)until.tv_nsec + (int64_t)grace_ms * TEL_NS_PER_MS;
    until.tv_sec += (time_t)(ns / TEL_NS_PER_S);
    until.tv_nsec = (long)(ns % TEL_NS_PER_S);
    int wait = 0;
    pthread_mutex_lock(&server->lock);
    while (wait == 0 && atomic_load(&server->in_flight) > 0)
        wait = pthread_cond_timedwait(&server->idle, &server->lock, &until);
    pthread_mutex_unlock(&server->lock);
    uint64_t left = atomic_load(&server->in_flight);
    if (left == 0)
        return TEL_OK;
    atomic_store(&server->stopping, true);
    return tel_error_set(err, TEL_ERR_TIMEOUT, "%llu requests were cut after %u ms of grace",
                         (unsigned long long)left, grace_ms);
}

void tel_http_server_free(struct tel_http_server *server)
{
    if (!server)
        return;
    atomic_store(&server->draining, true);
    atomic_store(&server->stopping, true);
    if (server->daemon)
        stop_daemon(server->daemon, server->daemon_fd);
    for (size_t i = 0; i < server->retired.len; i++)
        stop_daemon(server->retired.items[i].daemon, server->retired.items[i].fd);
    tel_vec_free(&server->retired);
    if (server->listen_fd >= 0)
        close(server->listen_fd);
    for (size_t i = 0; i < server->routes.len; i++) {
        free((char *)(uintptr_t)server->routes.items[i].r.methods);
        free((char *)(uintptr_t)server->routes.items[i].r.path);
    }
    tel_vec_free(&server->routes);
    free(server->address);
    free(server->cert_file);
    free(server->key_file);
    pthread_cond_destroy(&server->idle);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

void tel_http_server_stats(const struct tel_http_server *server, struct tel_http_server_stats *ret)
{
    struct tel_http_server *s = (struct tel_http_server *)(uintptr_t)server;
    const union MHD_DaemonInfo *info =
        s->daemon ? MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS) : NULL;
    *ret = (struct tel_http_server_stats){
        .requests = atomic_load(&s->requests),
        .replies_4xx = atomic_load(&s->replies_4xx),
        .replies_5xx = atomic_load(&s->replies_5xx),
        .bodies_cut = atomic_load(&s->bodies_cut),
        .bodies_refused = atomic_load(&s->bodies_refused),
        .streams_aborted = atomic_load(&s->streams_aborted),
        .connections = info ? info->num_connections : 0,
        .in_flight = atomic_load(&s->in_flight),
        .body_bytes_held = atomic_load(&s->bodies_held),
    };
}
