/*
 * What both ends of a call share: kinds of methods, status codes, and the reading of descriptor
 * sets. The layer stands on gRPC's C core and protobuf-c; nobody outside this folder includes
 * gRPC's headers.
 *
 * protoc-c makes, for every service, a struct of typed handlers and typed stubs
 *     void foo(Service *self, const FooRequest *req, FooResponse_Closure reply, void *closure_data)
 * Here closure_data is the call: on a server `struct tel_rpc_call *` (server.h), on a client
 * `struct tel_rpc_op *` (client.h). protobuf-c's descriptors do not say which methods stream; the
 * FileDescriptorSet that reflection serves anyway does.
 */
#ifndef TEL_NET_RPC_RPC_H
#define TEL_NET_RPC_RPC_H

#include <protobuf-c/protobuf-c.h>

#include "common/base/error.h"
#include "common/base/span.h"

/* TEL_RPC_BIDI stands for every method whose client streams. */
enum tel_rpc_kind { TEL_RPC_UNARY, TEL_RPC_SERVER_STREAM, TEL_RPC_BIDI };

/* gRPC's status codes, with its numbers (grpc/status.h). */
enum tel_rpc_status {
    TEL_RPC_OK = 0,
    TEL_RPC_CANCELLED = 1,
    TEL_RPC_UNKNOWN = 2,
    TEL_RPC_INVALID_ARGUMENT = 3,
    TEL_RPC_DEADLINE_EXCEEDED = 4,
    TEL_RPC_NOT_FOUND = 5,
    TEL_RPC_ALREADY_EXISTS = 6,
    TEL_RPC_PERMISSION_DENIED = 7,
    TEL_RPC_RESOURCE_EXHAUSTED = 8,
    TEL_RPC_FAILED_PRECONDITION = 9,
    TEL_RPC_ABORTED = 10,
    TEL_RPC_OUT_OF_RANGE = 11,
    TEL_RPC_UNIMPLEMENTED = 12,
    TEL_RPC_INTERNAL = 13,
    TEL_RPC_UNAVAILABLE = 14,
    TEL_RPC_DATA_LOSS = 15,
    TEL_RPC_UNAUTHENTICATED = 16,
    TEL_RPC_STATUS_COUNT
};

/* "DEADLINE_EXCEEDED"; "UNKNOWN" for a number that is none. */
const char *tel_rpc_status_name(enum tel_rpc_status status);
/* The error that a caller makes of a peer's status, and the status that a handler answers with. */
tel_code tel_rpc_status_to_code(enum tel_rpc_status status);
enum tel_rpc_status tel_rpc_status_from_code(tel_code code);

/* The kinds of service's methods, in its order, from a serialised FileDescriptorSet
 * (`protoc --include_imports --descriptor_set_out`). Fails if the set does not describe the service
 * or names other methods. kinds has service->n_methods places. */
TEL_MUST_USE tel_code tel_rpc_kinds(struct tel_span descriptor_set,
                                    const ProtobufCServiceDescriptor *service,
                                    enum tel_rpc_kind *ret_kinds, struct tel_error *err);

#endif
