/* Blocks as the row batches of shard.proto. */
#ifndef SHARD_QUERY_ENCODE_H
#define SHARD_QUERY_ENCODE_H

#include "common/logsql/block.h"
#include "schemas/shard.pb-c.h"

/* A batch of the rows from *at on, as many as fit a message, and moves *at behind them. Columns
 * without a value are left out. Freed with protobuf_c_message_free_unpacked. */
Telescope__Shard__V1__RowBatch *encode_rows(const struct tel_block *block, size_t *at);

#endif
