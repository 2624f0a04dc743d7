/* Internal: what channel and loop show each other. */
#ifndef TEL_NET_RPC_CLIENT_INTERNAL_H
#define TEL_NET_RPC_CLIENT_INTERNAL_H

#include "common/net/rpc/client.h"
#include "common/net/rpc/core.h"

/* A call on the channel, with the newest certificates. */
grpc_call *rpc_channel_call(struct tel_rpc_channel *channel, grpc_completion_queue *cq,
                            const char *method, gpr_timespec deadline);
size_t rpc_channel_send_max(const struct tel_rpc_channel *channel);

#endif
