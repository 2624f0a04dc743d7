/* The gRPC face of a shard server (schemas/shard.proto): searches run on worker threads. */
#ifndef SHARD_GRPC_H
#define SHARD_GRPC_H

#include <stdint.h>

#include "common/base/error.h"

struct shard_server;
struct shard_grpc;

struct shard_grpc_options {
    const char *listen;
    unsigned workers;
    const char *cert_file, *key_file, *ca_file; /* cert_file empty: plain text */
};

TEL_MUST_USE tel_code shard_grpc_new(const struct shard_grpc_options *options,
                                     struct shard_server *server, struct shard_grpc **ret,
                                     uint16_t *ret_port, struct tel_error *err);
/* No new calls; those that run may end within grace_ms. */
void shard_grpc_stop(struct shard_grpc *grpc, int grace_ms);
void shard_grpc_free(struct shard_grpc *grpc); /* NULL is fine */

#endif
