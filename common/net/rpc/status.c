/* Status codes of gRPC and our error codes, one table each way. */
#include "common/net/rpc/rpc.h"

static const struct {
    const char *name;
    tel_code code;
} status_table[TEL_RPC_STATUS_COUNT] = {
    [TEL_RPC_OK] = {"OK", TEL_OK},
    [TEL_RPC_CANCELLED] = {"CANCELLED", TEL_ERR_CANCELLED},
    [TEL_RPC_UNKNOWN] = {"UNKNOWN", TEL_ERR_INTERNAL},
    [TEL_RPC_INVALID_ARGUMENT] = {"INVALID_ARGUMENT", TEL_ERR_INVALID},
    [TEL_RPC_DEADLINE_EXCEEDED] = {"DEADLINE_EXCEEDED", TEL_ERR_TIMEOUT},
    [TEL_RPC_NOT_FOUND] = {"NOT_FOUND", TEL_ERR_NOTFOUND},
    [TEL_RPC_ALREADY_EXISTS] = {"ALREADY_EXISTS", TEL_ERR_EXISTS},
    [TEL_RPC_PERMISSION_DENIED] = {"PERMISSION_DENIED", TEL_ERR_DENIED},
    [TEL_RPC_RESOURCE_EXHAUSTED] = {"RESOURCE_EXHAUSTED", TEL_ERR_LIMIT},
    [TEL_RPC_FAILED_PRECONDITION] = {"FAILED_PRECONDITION", TEL_ERR_INVALID},
    [TEL_RPC_ABORTED] = {"ABORTED", TEL_ERR_FENCED},
    [TEL_RPC_OUT_OF_RANGE] = {"OUT_OF_RANGE", TEL_ERR_GAP},
    [TEL_RPC_UNIMPLEMENTED] = {"UNIMPLEMENTED", TEL_ERR_UNSUPPORTED},
    [TEL_RPC_INTERNAL] = {"INTERNAL", TEL_ERR_INTERNAL},
    [TEL_RPC_UNAVAILABLE] = {"UNAVAILABLE", TEL_ERR_UNAVAILABLE},
    [TEL_RPC_DATA_LOSS] = {"DATA_LOSS", TEL_ERR_CORRUPT},
    [TEL_RPC_UNAUTHENTICATED] = {"UNAUTHENTICATED", TEL_ERR_UNAUTHENTICATED},
};

const char *tel_rpc_status_name(enum tel_rpc_status status)
{
    return (unsigned)status < TEL_RPC_STATUS_COUNT ? status_table[status].name : "UNKNOWN";
}

tel_code tel_rpc_status_to_code(enum tel_rpc_status status)
{
    return (unsigned)status < TEL_RPC_STATUS_COUNT ? status_table[status].code : TEL_ERR_INTERNAL;
}

enum tel_rpc_status tel_rpc_status_from_code(tel_code code)
{
    switch (code) {
    case TEL_OK:
        return TEL_RPC_OK;
    case TEL_ERR_INVALID:
    case TEL_ERR_PARSE:
        return TEL_RPC_INVALID_ARGUMENT;
    case TEL_ERR_CORRUPT:
    case TEL_ERR_TRUNCATED:
        return TEL_RPC_DATA_LOSS;
    case TEL_ERR_NOTFOUND:
        return TEL_RPC_NOT_FOUND;
    case TEL_ERR_EXISTS:
        return TEL_RPC_ALREADY_EXISTS;
    case TEL_ERR_NOMEM:
    case TEL_ERR_NOSPACE:
    case TEL_ERR_LIMIT:
        return TEL_RPC_RESOURCE_EXHAUSTED;
    case TEL_ERR_TIMEOUT:
        return TEL_RPC_DEADLINE_EXCEEDED;
    case TEL_ERR_CANCELLED:
        return TEL_RPC_CANCELLED;
    case TEL_ERR_AGAIN: /* another replica may have room */
    case TEL_ERR_UNAVAILABLE:
    case TEL_ERR_CLOSED:
    case TEL_ERR_LOCKED:
        return TEL_RPC_UNAVAILABLE;
    case TEL_ERR_GAP:
    case TEL_ERR_END:
        return TEL_RPC_OUT_OF_RANGE;
    case TEL_ERR_UNAUTHENTICATED:
        return TEL_RPC_UNAUTHENTICATED;
    case TEL_ERR_DENIED:
        return TEL_RPC_PERMISSION_DENIED;
    case TEL_ERR_UNSUPPORTED:
        return TEL_RPC_UNIMPLEMENTED;
    case TEL_ERR_FENCED:
        return TEL_RPC_ABORTED;
    case TEL_ERR_IO:
    case TEL_ERR_INTERNAL:
    case TEL_CODE_COUNT:
        break;
    }
    return TEL_RPC_INTERNAL;
}
