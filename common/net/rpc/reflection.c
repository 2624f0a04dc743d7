/*
 * grpc.reflection.v1alpha: what grpcurl and its kin ask before they can call. Files and symbols are
 * indexed from the descriptor sets once, when the server starts; answers are the files' own bytes.
 * Extensions do not exist in proto3 and are answered with NOT_FOUND.
 */
#include <stdlib.h>

#include "common/net/rpc/descriptor.h"
#include "common/net/rpc/reflection.pb-c.h"
#include "common/net/rpc/server_internal.h"

extern const unsigned char tel_rpc_reflection_pb[];
extern const size_t tel_rpc_reflection_pb_len;

struct rpc_reflection {
    Grpc__Reflection__V1alpha__ServerReflection_Service base; /* first */
    struct tel_rpc_server *server;
    TEL_VEC(struct tel_span) files;
    struct tel_map by_name, by_symbol; /* -> index in files + 1 */
};

static bool index_symbol(void *ctx, struct tel_span name, struct tel_span message)
{
    (void)message;
    struct rpc_reflection *r = ctx;
    *tel_map_put(&r->by_symbol, name, NULL) = r->files.len;
    return true;
}

static bool index_file(void *ctx, struct tel_span file)
{
    struct rpc_reflection *r = ctx;
    bool is_new;
    uint64_t *slot = tel_map_put(&r->by_name, rpc_pb_string(file, 1), &is_new);
    if (!is_new)
        return true; /* imported by several services */
    tel_vec_push(&r->files, file);
    *slot = r->files.len;
    return rpc_descriptor_symbols(file, index_symbol, r);
}

tel_code rpc_reflection_index(struct rpc_reflection *r, struct tel_error *err)
{
    for (size_t i = 0; i < r->server->services.len; i++)
        if (!rpc_descriptor_files(r->server->services.items[i]->descriptor_set, index_file, r))
            return tel_error_set(err, TEL_ERR_CORRUPT, "descriptor set of %s is damaged",
                                 r->server->services.items[i]->impl->descriptor->name);
    return TEL_OK;
}

typedef Grpc__Reflection__V1alpha__ServerReflectionRequest request;
typedef Grpc__Reflection__V1alpha__ServerReflectionResponse response;
#define REQUEST(kind) GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##kind
#define RESPONSE(kind)                                                                             \
    GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##kind

/* On the poller: a client that asks without reading must not make it wait. */
static void answer(struct tel_rpc_call *call, const response *res)
{
    if (tel_rpc_send(call, &res->base) == TEL_OK)
        tel_rpc_call_more(call);
    else
        tel_rpc_finish(call, TEL_RPC_RESOURCE_EXHAUSTED, "answers are not read");
}

static void answer_error(struct tel_rpc_call *call, response *res, enum tel_rpc_status code,
                         const char *text)
{
    Grpc__Reflection__V1alpha__ErrorResponse e = GRPC__REFLECTION__V1ALPHA__ERROR_RESPONSE__INIT;
    e.error_code = (int32_t)code;
    e.error_message = (char *)(uintptr_t)text;
    res->message_response_case = RESPONSE(ERROR_RESPONSE);
    res->error_response = &e;
    answer(call, res);
}

static void answer_file(const struct rpc_reflection *r, struct tel_rpc_call *call, response *res,
                        const struct tel_map *map, const char *key)
{
    const uint64_t *index = tel_map_get(map, tel_span_cstr(key));
    if (!index) {
        answer_error(call, res, TEL_RPC_NOT_FOUND, "not found");
        return;
    }
    struct tel_span file = r->files.items[*index - 1];
    ProtobufCBinaryData data = {.len = file.len, .data = (uint8_t *)(uintptr_t)file.ptr};
    Grpc__Reflection__V1alpha__FileDescriptorResponse f =
        GRPC__REFLECTION__V1ALPHA__FILE_DESCRIPTOR_RESPONSE__INIT;
    f.n_file_descriptor_proto = 1;
    f.file_descriptor_proto = &data;
    res->message_response_case = RESPONSE(FILE_DESCRIPTOR_RESPONSE);
    res->file_descriptor_response = &f;
    answer(call, res);
}

static void answer_list(const struct rpc_reflection *r, struct tel_rpc_call *call, response *res)
{
    size_t n = r->server->services.len;
    Grpc__Reflection__V1alpha__ServiceResponse *items = tel_calloc(n, sizeof(*items));
    Grpc__Reflection__V1alpha__ServiceResponse **refs = tel_calloc(n, sizeof(*refs));
    for (size_t i = 0; i < n; i++) {
        grpc__reflection__v1alpha__service_response__init(&items[i]);
        items[i].name = (char *)(uintptr_t)r->server->services.items[i]->impl->descriptor->name;
        refs[i] = &items[i];
    }
    Grpc__Reflection__V1alpha__ListServiceResponse list =
        GRPC__REFLECTION__V1ALPHA__LIST_SERVICE_RESPONSE__INIT;
    list.n_service = n;
    list.service = refs;
    res->message_response_case = RESPONSE(LIST_SERVICES_RESPONSE);
    res->list_services_response = &list;
    answer(call, res);
    free(refs);
    free(items);
}

static void reflection_info(Grpc__Reflection__V1alpha__ServerReflection_Service *self,
                            const request *req,
                            Grpc__Reflection__V1alpha__ServerReflectionResponse_Closure reply,
                            void *data)
{
    const struct rpc_reflection *r = (const struct rpc_reflection *)self;
    struct tel_rpc_call *call = data;
    if (!req) {
        reply(NULL, call);
        return;
    }
    response res = GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__INIT;
    res.valid_host = req->host;
    res.original_request = (request *)(uintptr_t)req;
    switch ((int)req->message_request_case) { /* as an int: the enum has a member of its own size */
    case REQUEST(FILE_BY_FILENAME):
        answer_file(r, call, &res, &r->by_name, req->file_by_filename);
        break;
    case REQUEST(FILE_CONTAINING_SYMBOL):
        answer_file(r, call, &res, &r->by_symbol, req->file_containing_symbol);
        break;
    case REQUEST(LIST_SERVICES):
        answer_list(r, call, &res);
        break;
    case REQUEST(FILE_CONTAINING_EXTENSION):
    case REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE):
        answer_error(call, &res, TEL_RPC_NOT_FOUND, "there are no extensions");
        break;
    case REQUEST(_NOT_SET):
    default:
        answer_error(call, &res, TEL_RPC_INVALID_ARGUMENT, "nothing was asked");
        break;
    }
}

struct rpc_reflection *rpc_reflection_new(struct tel_rpc_server *server)
{
    struct rpc_reflection *r = TEL_NEW(struct rpc_reflection);
    grpc__reflection__v1alpha__server_reflection__init(&r->base, NULL);
    r->base.server_reflection_info = reflection_info;
    r->server = server;
    tel_map_init(&r->by_name);
    tel_map_init(&r->by_symbol);
    return r;
}

ProtobufCService *rpc_reflection_service(struct rpc_reflection *reflection)
{
    return &reflection->base.base;
}

struct tel_span rpc_reflection_descriptor_set(void)
{
    return tel_span_make(tel_rpc_reflection_pb, tel_rpc_reflection_pb_len);
}

void rpc_reflection_free(struct rpc_reflection *r)
{
    if (!r)
        return;
    tel_vec_free(&r->files);
    tel_map_free(&r->by_name);
    tel_map_free(&r->by_symbol);
    free(r);
}
