/* How the shards are: every replica of every partition, asked now. */
#ifndef ROUTER_STATUS_H
#define ROUTER_STATUS_H

#include "router/router.h"
#include "schemas/router.pb-c.h"

/* Asks all servers at once, for at most timeout_ms. The answer is freed with
 * protobuf_c_message_free_unpacked; it has one entry for each replica of each partition, by
 * partition and address. */
Telescope__Router__V1__StatusResponse *router_status(struct router *router, int64_t timeout_ms);

#endif
