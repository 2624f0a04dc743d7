/* Shards over gRPC: a channel per server, made when it is first asked and kept. */
#ifndef ROUTER_SHARD_CLIENT_RPC_H
#define ROUTER_SHARD_CLIENT_RPC_H

#include "common/base/span.h"
#include "common/net/rpc/tls.h"
#include "router/shard_client.h"

struct shard_client_rpc_options {
    struct tel_rpc_tls *tls; /* NULL: plain text */
    const char *server_name; /* expected in every server's certificate; NULL: its address */
    struct tel_span bearer;  /* sent with every call; copied */
    int connect_timeout_ms;  /* 0: 2000 */
};

TEL_MUST_USE tel_code shard_client_rpc_new(const struct shard_client_rpc_options *options,
                                           struct shard_client **ret, struct tel_error *err);

#endif
