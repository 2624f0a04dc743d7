/*
 * Start, polling and stop of a server; server_internal.h has the drawing.
 *
 * Stop: health says NOT_SERVING and on_cancel tells the handlers; calls that come from now on are
 * still taken, and answered with UNAVAILABLE; grace, until the last of the others has ended; then
 * shutdown_and_notify, which closes the port, hands back what is armed and sends GOAWAY;
 * cancel_all_calls; wait for core's word and for every call to be freed; only then the queue is
 * shut down, drained by the pollers, and destroyed. A batch on a queue that is shut down would
 * abort the process.
 *
 * Core must not be shut down before the grace is over: from then on it drops new streams of a
 * connection without a word, and its last GOAWAY counts them among those that it will answer. A
 * call that crossed it would hang until its own deadline, as long as another call keeps the
 * connection open. When no call is left, the connection is closed at once, and the call that
 * crossed ends with UNAVAILABLE, or with CANCELLED if core has taken it in and lets it go.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define TEL_LOG_COMPONENT "rpc"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/net/rpc/server_internal.h"

/* How long clients may take to say that they have heard the GOAWAY; when none has a call. */
#define GOODBYE_NS TEL_NS_PER_S

static _Thread_local bool on_poller;

int64_t rpc_now_ns(void)
{
    return tel_mono_ns(tel_clock_system());
}

bool rpc_on_poller(void)
{
    return on_poller;
}

static void options_default(struct tel_rpc_server_options *o)
{
    if (o->pollers == 0)
        o->pollers = 1;
    if (o->armed == 0)
        o->armed = 64;
    if (o->max_calls == 0)
        o->max_calls = 10000;
    if (o->receive_max_bytes == 0)
        o->receive_max_bytes = 4u << 20;
    if (o->send_max_bytes == 0)
        o->send_max_bytes = 16u << 20;
    if (o->window_bytes == 0)
        o->window_bytes = 1u << 20;
    if (o->keepalive_ms == 0)
        o->keepalive_ms = 6000;
    if (o->keepalive_timeout_ms == 0)
        o->keepalive_timeout_ms = 1500;
    if (o->min_ping_interval_ms == 0)
        o->min_ping_interval_ms = 4000;
}

static tel_code server_add(struct tel_rpc_server *server, ProtobufCService *impl,
                           struct tel_span descriptor_set, bool built_in, bool open,
                           struct tel_error *err)
{
    TEL_CHECK(!server->started);
    struct rpc_service *service = TEL_NEW(struct rpc_service);
    *service = (struct rpc_service){
        .impl = impl, .descriptor_set = descriptor_set, .built_in = built_in, .open = open};
    const ProtobufCServiceDescriptor *d = impl->descriptor;
    service->kinds = tel_calloc(d->n_methods, sizeof(*service->kinds));
    tel_code rc = tel_rpc_kinds(descriptor_set, d, service->kinds, err);
    if (rc != TEL_OK) {
        free(service->kinds);
        free(service);
        return rc;
    }
    tel_vec_push(&server->services, service);
    for (unsigned i = 0; i < d->n_methods; i++) {
        struct rpc_method *m = TEL_NEW(struct rpc_method);
        size_t size = strlen(d->name) + strlen(d->methods[i].name) + 3;
        m->path = tel_malloc(size);
        snprintf(m->path, size, "/%s/%s", d->name, d->methods[i].name);
        m->service = service;
        m->index = i;
        m->kind = service->kinds[i];
        tel_vec_push(&server->methods, m);
        bool is_new;
        *tel_map_put(&server->by_path, tel_span_cstr(m->path), &is_new) = (uintptr_t)m;
        if (!is_new)
            return tel_error_set(err, TEL_ERR_EXISTS, "service %s was added before", d->name);
    }
    return TEL_OK;
}

tel_code tel_rpc_server_add(struct tel_rpc_server *server, ProtobufCService *impl,
                            struct tel_span descriptor_set, struct tel_error *err)
{
    return server_add(server, impl, descriptor_set, false, false, err);
}

static void server_core_new(struct tel_rpc_server *server)
{
    const struct tel_rpc_server_options *o = &server->options;
    struct rpc_args args = {.count = 0};
    /* Two servers on one port would share its connections without a word. */
    rpc_args_int(&args, GRPC_ARG_ALLOW_REUSEPORT, 0);
    rpc_args_int(&args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int64_t)o->receive_max_bytes);
    rpc_args_int(&args, GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, (int64_t)o->send_max_bytes);
    rpc_args_int(&args, GRPC_ARG_KEEPALIVE_TIME_MS, o->keepalive_ms);
    rpc_args_int(&args, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, o->keepalive_timeout_ms);
    rpc_args_int(&args, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    rpc_args_int(&args, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    rpc_args_int(&args, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                 o->min_ping_interval_ms);
    rpc_args_int(&args, GRPC_ARG_MAX_METADATA_SIZE, 16384);
    rpc_args_int(&args, GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10000);
    grpc_channel_args core_args = rpc_args_done(&args);
    server->server = grpc_server_create(&core_args, NULL);
    server->cq = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server->server, server->cq, NULL);
}

tel_code tel_rpc_server_new(const struct tel_rpc_server_options *options,
                            struct tel_rpc_server **ret, struct tel_error *err)
{
    if (!options->listen || !strrchr(options->listen, ':'))
        return tel_error_set(err, TEL_ERR_INVALID, "listen address \"%s\" is no host:port",
                             options->listen ? options->listen : "");
    if (options->tls && !rpc_tls_has_cert(options->tls))
        return tel_error_set(err, TEL_ERR_INVALID, "a TLS server needs a certificate and its key");
    rpc_core_up();
    struct tel_rpc_server *server = TEL_NEW(struct tel_rpc_server);
    server->options = *options;
    options_default(&server->options);
    server->listen = tel_strdup(options->listen);
    tel_rpc_tls_ref(options->tls);
    tel_map_init(&server->by_path);
    pthread_mutex_init(&server->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&server->changed, &attr);
    pthread_condattr_destroy(&attr);
    server->shutdown_tag.kind = RPC_TAG_SHUTDOWN;
    server_core_new(server);
    server->health = rpc_health_new(server);
    server->reflection = rpc_reflection_new(server);
    tel_code rc = server_add(server, rpc_health_service(server->health),
                             rpc_health_descriptor_set(), true, true, err);
    if (rc == TEL_OK)
        rc = server_add(server, rpc_reflection_service(server->reflection),
                        rpc_reflection_descriptor_set(), true, false, err);
    if (rc != TEL_OK) {
        tel_rpc_server_free(server);
        return rc;
    }
    *ret = server;
    return TEL_OK;
}

/* Core says only that it could not; binding once more by hand says why. */
static tel_code listen_error(const char *listen_at, struct tel_error *err)
{
    char host[256];
    snprintf(host, sizeof(host), "%s", listen_at);
    char *colon = strrchr(host, ':');
    *colon = '\0';
    char *name = host;
    if (name[0] == '[' && colon > name && colon[-1] == ']') {
        colon[-1] = '\0';
        name++;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE},
                    *found = NULL;
    int gai = getaddrinfo(name, colon + 1, &hints, &found);
    if (gai != 0)
        return tel_error_set(err, TEL_ERR_INVALID, "listen on %s: %s", listen_at,
                             gai_strerror(gai));
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    tel_code rc;
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
        bind(fd, found->ai_addr, found->ai_addrlen) == 0)
        rc = tel_error_set(err, TEL_ERR_UNAVAILABLE, "listen on %s: gRPC refuses it", listen_at);
    else
        rc = tel_error_errno(err, errno, "listen on %s", listen_at);
    if (fd >= 0)
        close(fd);
    freeaddrinfo(found);
    return rc;
}

static void poll_event(struct tel_rpc_server *server, const grpc_event *ev)
{
    struct rpc_tag *tag = ev->tag;
    rpc_tag_acquire(tag);
    bool ok = ev->success != 0;
    switch (tag->kind) {
    case RPC_TAG_ARRIVE:
        rpc_call_arrived(tag->call, ok);
        break;
    case RPC_TAG_RECV:
        rpc_call_received(tag->call, ok);
        break;
    case RPC_TAG_SEND:
        rpc_call_sent(tag->call, ok);
        break;
    case RPC_TAG_CLOSE:
        rpc_call_closed(tag->call);
        break;
    case RPC_TAG_SHUTDOWN:
        pthread_mutex_lock(&server->lock);
        server->shut_down = true;
        pthread_cond_broadcast(&server->changed);
        pthread_mutex_unlock(&server->lock);
        break;
    }
}

static void *poller(void *arg)
{
    struct tel_rpc_server *server = arg;
    on_poller = true;
    pthread_setname_np(pthread_self(), "rpc-poller");
    for (;;) {
        grpc_event ev =
            grpc_completion_queue_next(server->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (ev.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (ev.type == GRPC_OP_COMPLETE)
            poll_event(server, &ev);
    }
}

tel_code tel_rpc_server_start(struct tel_rpc_server *server, uint16_t *ret_port,
                              struct tel_error *err)
{
    TEL_CHECK(!server->started && !server->stopped);
    tel_code rc = rpc_reflection_index(server->reflection, err);
    if (rc != TEL_OK)
        return rc;
    struct tel_rpc_tls *tls = server->options.tls;
    grpc_server_credentials *creds = tls ? rpc_tls_server_credentials(tls, &server->tls_state)
                                         : grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(server->server, server->listen, creds);
    grpc_server_credentials_release(creds);
    if (port <= 0)
        return listen_error(server->listen, err);
    grpc_server_start(server->server);
    server->started = true;
    rpc_health_set(server->health, "", true);
    for (size_t i = 0; i < server->services.len; i++)
        if (!server->services.items[i]->built_in)
            rpc_health_set(server->health, server->services.items[i]->impl->descriptor->name, true);
    for (unsigned i = 0; i < server->options.armed; i++)
        rpc_call_arm(server);
    server->threads = tel_calloc(server->options.pollers, sizeof(*server->threads));
    for (unsigned i = 0; i < server->options.pollers; i++) {
        int failed = pthread_create(&server->threads[i], NULL, poller, server);
        if (failed) {
            if (server->thread_count > 0)
                break; /* one poller is enough */
            return tel_error_errno(err, failed, "start a poller thread");
        }
        server->thread_count++;
    }
    *ret_port = (uint16_t)port;
    return TEL_OK;
}

void tel_rpc_server_set_health(struct tel_rpc_server *server, const char *service, bool serving)
{
    rpc_health_set(server->health, service ? service : "", serving);
}

/* No call that was let in is left. Under the lock. */
static bool is_idle(const struct tel_rpc_server *server)
{
    return server->running == 0;
}

/* Core has shut down, and no call is left, not even one that is armed. Under the lock. */
static bool is_quiet(const struct tel_rpc_server *server)
{
    return server->shut_down && server->call_count == 0;
}

/* Waits until it is so, or until_ns (monotonic). */
static bool wait_until(struct tel_rpc_server *server,
                       bool (*is_so)(const struct tel_rpc_server *server), int64_t until_ns)
{
    struct timespec ts = {.tv_sec = until_ns / TEL_NS_PER_S, .tv_nsec = until_ns % TEL_NS_PER_S};
    pthread_mutex_lock(&server->lock);
    int rc = 0;
    while (rc == 0 && !is_so(server))
        rc = pthread_cond_timedwait(&server->changed, &server->lock, &ts);
    bool so = is_so(server);
    pthread_mutex_unlock(&server->lock);
    return so;
}

static bool call_try_ref(struct tel_rpc_call *call)
{
    int refs = atomic_load(&call->refs);
    while (refs > 0)
        if (atomic_compare_exchange_weak(&call->refs, &refs, refs + 1))
            return true;
    return false;
}

/* Tells every call that runs. A callback may end its call, so the list is copied first. */
static void notify_drain(struct tel_rpc_server *server)
{
    TEL_VEC(struct tel_rpc_call *) calls = {0};
    pthread_mutex_lock(&server->lock);
    for (struct tel_rpc_call *c = server->live; c; c = c->next)
        if (call_try_ref(c))
            tel_vec_push(&calls, c);
    pthread_mutex_unlock(&server->lock);
    for (size_t i = 0; i < calls.len; i++) {
        rpc_call_notify_cancel(calls.items[i]);
        rpc_call_unref(calls.items[i]);
    }
    tel_vec_free(&calls);
}

/* From here on core takes no calls. */
static void core_shutdown(struct tel_rpc_server *server)
{
    rpc_tag_release(&server->shutdown_tag);
    grpc_server_shutdown_and_notify(server->server, server->cq, &server->shutdown_tag);
}

static void drain(struct tel_rpc_server *server, int grace_ms)
{
    int64_t until = rpc_now_ns() + grace_ms * TEL_NS_PER_MS;
    /* First, so that no watcher is sent away before it was told: one that comes after this is told
     * at once, one that came before is in the list. */
    rpc_health_drain(server->health);
    pthread_mutex_lock(&server->lock); /* a call is let in before this, or refused */
    atomic_store(&server->stopping, true);
    pthread_mutex_unlock(&server->lock);
    notify_drain(server);
    wait_until(server, is_idle, until);
    core_shutdown(server);
    if (wait_until(server, is_quiet, TEL_MIN(until, rpc_now_ns() + GOODBYE_NS)))
        return;
    grpc_server_cancel_all_calls(server->server);
    while (!wait_until(server, is_quiet, rpc_now_ns() + 5 * TEL_NS_PER_S))
        tel_log_warn("handlers do not end, the server waits for them",
                     tel_kv_str("listen", server->listen));
}

/* Never served: nobody else reads the queue. */
static void give_up(struct tel_rpc_server *server)
{
    atomic_store(&server->stopping, true);
    core_shutdown(server);
    grpc_server_cancel_all_calls(server->server);
    while (!is_quiet(server)) {
        grpc_event ev =
            grpc_completion_queue_next(server->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        poll_event(server, &ev);
    }
}

void tel_rpc_server_stop(struct tel_rpc_server *server, int grace_ms)
{
    if (server->stopped)
        return;
    server->stopped = true;
    if (server->thread_count == 0)
        give_up(server);
    else
        drain(server, grace_ms);
    grpc_completion_queue_shutdown(server->cq);
    for (unsigned i = 0; i < server->thread_count; i++)
        pthread_join(server->threads[i], NULL);
    if (server->thread_count == 0)
        while (grpc_completion_queue_next(server->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL)
                   .type != GRPC_QUEUE_SHUTDOWN)
            ;
    grpc_server_destroy(server->server);
    grpc_completion_queue_destroy(server->cq);
}

void tel_rpc_server_free(struct tel_rpc_server *server)
{
    if (!server)
        return;
    tel_rpc_server_stop(server, 0);
    rpc_health_free(server->health);
    rpc_reflection_free(server->reflection);
    for (size_t i = 0; i < server->methods.len; i++) {
        free(server->methods.items[i]->path);
        free(server->methods.items[i]);
    }
    tel_vec_free(&server->methods);
    for (size_t i = 0; i < server->services.len; i++) {
        free(server->services.items[i]->kinds);
        free(server->services.items[i]);
    }
    tel_vec_free(&server->services);
    tel_map_free(&server->by_path);
    free(server->threads);
    free(server->listen);
    free(server->tls_state);
    tel_rpc_tls_unref(server->options.tls);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    rpc_core_down();
    free(server);
}
