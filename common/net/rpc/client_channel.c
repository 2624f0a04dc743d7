/*
 * A channel wraps gRPC's own and makes a new one when the certificates have changed: gRPC fixes
 * them when a channel is made. Calls that run keep the old one alive until they end.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/net/rpc/client_internal.h"

struct tel_rpc_channel {
    _Atomic int refs;
    struct tel_rpc_channel_options options; /* with the defaults; strings are ours */
    char *target, *server_name;
    pthread_mutex_t lock; /* guards channel and generation */
    grpc_channel *channel;
    unsigned generation;
};

static grpc_channel *core_channel(const struct tel_rpc_channel *channel)
{
    const struct tel_rpc_channel_options *o = &channel->options;
    struct rpc_args args = {.count = 0};
    rpc_args_int(&args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int64_t)o->receive_max_bytes);
    rpc_args_int(&args, GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, (int64_t)o->send_max_bytes);
    rpc_args_int(&args, GRPC_ARG_KEEPALIVE_TIME_MS, o->keepalive_ms);
    rpc_args_int(&args, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, o->keepalive_timeout_ms);
    rpc_args_int(&args, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    /* This one is also how long connecting and the TLS handshake may take. */
    rpc_args_int(&args, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, o->connect_timeout_ms);
    rpc_args_int(&args, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    rpc_args_int(&args, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, o->backoff_max_ms);
    rpc_args_int(&args, GRPC_ARG_ENABLE_RETRIES, 0);    /* ours are per replica; 15 % of the cost */
    rpc_args_int(&args, GRPC_ARG_ENABLE_HTTP_PROXY, 0); /* peers are inside */
    rpc_args_int(&args, GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1); /* no DNS TXT look-ups */
    rpc_args_int(&args, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    rpc_args_int(&args, GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 1000);
    rpc_args_int(&args, GRPC_ARG_MAX_METADATA_SIZE, 16384);
    if (channel->server_name)
        rpc_args_str(&args, GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, channel->server_name);
    grpc_channel_args core_args = rpc_args_done(&args);
    grpc_channel_credentials *creds =
        o->tls ? rpc_tls_channel_credentials(o->tls) : grpc_insecure_credentials_create();
    grpc_channel *made = grpc_channel_create(channel->target, creds, &core_args);
    grpc_channel_credentials_release(creds);
    return made;
}

tel_code tel_rpc_channel_new(const struct tel_rpc_channel_options *options,
                             struct tel_rpc_channel **ret, struct tel_error *err)
{
    if (!options->target || !strchr(options->target, ':'))
        return tel_error_set(err, TEL_ERR_INVALID, "\"%s\" is no host:port",
                             options->target ? options->target : "");
    rpc_core_up();
    struct tel_rpc_channel *c = TEL_NEW(struct tel_rpc_channel);
    c->refs = 1;
    c->options = *options;
    c->target = tel_strdup(options->target);
    c->server_name = options->server_name ? tel_strdup(options->server_name) : NULL;
    struct tel_rpc_channel_options *o = &c->options;
    o->target = c->target;
    o->server_name = c->server_name;
    o->receive_max_bytes = o->receive_max_bytes ? o->receive_max_bytes : 64u << 20;
    o->send_max_bytes = o->send_max_bytes ? o->send_max_bytes : 16u << 20;
    o->connect_timeout_ms = o->connect_timeout_ms ? o->connect_timeout_ms : 2000;
    o->backoff_max_ms = o->backoff_max_ms ? o->backoff_max_ms : 5000;
    o->keepalive_ms = o->keepalive_ms ? o->keepalive_ms : 6000;
    o->keepalive_timeout_ms = o->keepalive_timeout_ms ? o->keepalive_timeout_ms : 1500;
    tel_rpc_tls_ref(o->tls);
    pthread_mutex_init(&c->lock, NULL);
    c->generation = o->tls ? rpc_tls_generation(o->tls) : 0;
    c->channel = core_channel(c);
    *ret = c;
    return TEL_OK;
}

struct tel_rpc_channel *tel_rpc_channel_ref(struct tel_rpc_channel *channel)
{
    atomic_fetch_add(&channel->refs, 1);
    return channel;
}

void tel_rpc_channel_unref(struct tel_rpc_channel *c)
{
    if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    grpc_channel_destroy(c->channel);
    tel_rpc_tls_unref(c->options.tls);
    pthread_mutex_destroy(&c->lock);
    free(c->target);
    free(c->server_name);
    free(c);
    rpc_core_down();
}

const char *tel_rpc_channel_target(const struct tel_rpc_channel *channel)
{
    return channel->target;
}

size_t rpc_channel_send_max(const struct tel_rpc_channel *channel)
{
    return channel->options.send_max_bytes;
}

grpc_call *rpc_channel_call(struct tel_rpc_channel *c, grpc_completion_queue *cq,
                            const char *method, gpr_timespec deadline)
{
    grpc_slice path = grpc_slice_from_copied_string(method);
    pthread_mutex_lock(&c->lock);
    if (c->options.tls) {
        unsigned generation = rpc_tls_generation(c->options.tls);
        if (generation != c->generation) {
            c->generation = generation;
            grpc_channel_destroy(c->channel);
            c->channel = core_channel(c);
        }
    }
    grpc_call *call = grpc_channel_create_call(c->channel, NULL, GRPC_PROPAGATE_DEFAULTS, cq, path,
                                               NULL, deadline, NULL);
    pthread_mutex_unlock(&c->lock);
    grpc_slice_unref(path);
    return call;
}
