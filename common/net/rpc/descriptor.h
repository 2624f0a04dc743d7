/*
 * Internal: reading serialised FileDescriptorSets (google/protobuf/descriptor.proto). They are
 * embedded at build time, so they are ours; damage is still told and never followed.
 */
#ifndef TEL_NET_RPC_DESCRIPTOR_H
#define TEL_NET_RPC_DESCRIPTOR_H

#include <stdint.h>

#include "common/base/error.h"
#include "common/base/span.h"

/* A protobuf field: its number, and its bytes (length-delimited) or its value (varint). */
struct rpc_pb_field {
    uint32_t number, wire;
    uint64_t value;
    struct tel_span bytes;
};

/* Reads the next field from *rest. 1: read, 0: end, -1: damaged. */
int rpc_pb_next(struct tel_span *rest, struct rpc_pb_field *ret);

/* The first length-delimited field `number`, empty if there is none. */
struct tel_span rpc_pb_string(struct tel_span msg, uint32_t number);

/* Calls each(ctx, file) for every serialised FileDescriptorProto. False: damaged, or each said so.
 */
bool rpc_descriptor_files(struct tel_span set, bool (*each)(void *ctx, struct tel_span file),
                          void *ctx);

/* Calls each(ctx, full_name, message) for every message, enum, service and method that the file
 * defines, nested ones too; `message` is the serialised descriptor. */
bool rpc_descriptor_symbols(struct tel_span file,
                            bool (*each)(void *ctx, struct tel_span name, struct tel_span message),
                            void *ctx);

#endif
