/*
 * A FileDescriptorSet is walked as wire format: the numbers of the few fields that matter are
 *
 *   FileDescriptorSet    file=1
 *   FileDescriptorProto  name=1 package=2 message_type=4 enum_type=5 service=6
 *   DescriptorProto      name=1 nested_type=3 enum_type=4
 *   ServiceDescriptor    name=1 method=2
 *   MethodDescriptor     name=1 client_streaming=5 server_streaming=6
 */
#include "common/net/rpc/descriptor.h"

#include <stdio.h>

#include "common/base/varint.h"
#include "common/net/rpc/rpc.h"

#define NAME_MAX_BYTES 256
#define NESTING_MAX    16

int rpc_pb_next(struct tel_span *rest, struct rpc_pb_field *ret)
{
    if (rest->len == 0)
        return 0;
    const char *p = rest->ptr, *end = rest->ptr + rest->len;
    uint64_t tag, value = 0;
    if (!tel_varint_get(&p, end, &tag) || tag >> 3 == 0 || tag >> 32 != 0)
        return -1;
    struct rpc_pb_field f = {.number = (uint32_t)(tag >> 3), .wire = (uint32_t)(tag & 7)};
    size_t skip = 0;
    switch (f.wire) {
    case 0:
        if (!tel_varint_get(&p, end, &f.value))
            return -1;
        break;
    case 1:
        skip = 8;
        break;
    case 2:
        if (!tel_varint_get(&p, end, &value) || value > (uint64_t)(end - p))
            return -1;
        f.bytes = tel_span_make(p, (size_t)value);
        skip = (size_t)value;
        break;
    case 5:
        skip = 4;
        break;
    default:
        return -1;
    }
    if (skip > (size_t)(end - p))
        return -1;
    p += skip;
    *rest = tel_span_make(p, (size_t)(end - p));
    *ret = f;
    return 1;
}

struct tel_span rpc_pb_string(struct tel_span msg, uint32_t number)
{
    struct rpc_pb_field f;
    while (rpc_pb_next(&msg, &f) > 0)
        if (f.number == number && f.wire == 2)
            return f.bytes;
    return (struct tel_span){0};
}

bool rpc_descriptor_files(struct tel_span set, bool (*each)(void *ctx, struct tel_span file),
                          void *ctx)
{
    struct rpc_pb_field f;
    int got;
    while ((got = rpc_pb_next(&set, &f)) > 0)
        if (f.number == 1 && f.wire == 2 && !each(ctx, f.bytes))
            return false;
    return got == 0;
}

struct walk {
    bool (*each)(void *ctx, struct tel_span name, struct tel_span message);
    void *ctx;
    char name[NAME_MAX_BYTES];
};

/* Appends ".<name of msg>" to the first len bytes of w->name. 0: too long or nameless. */
static size_t walk_name(struct walk *w, size_t len, struct tel_span msg)
{
    struct tel_span name = rpc_pb_string(msg, 1);
    if (name.len == 0 || len + 1 + name.len >= sizeof(w->name))
        return 0;
    if (len > 0)
        w->name[len++] = '.';
    memcpy(w->name + len, name.ptr, name.len);
    return len + name.len;
}

/* nested, enums, methods: the field numbers of what a thing contains; 0: none. */
static bool walk_thing(struct walk *w, size_t prefix, struct tel_span msg, bool is_message,
                       bool is_service, int depth)
{
    size_t len = walk_name(w, prefix, msg);
    if (len == 0 || depth > NESTING_MAX || !w->each(w->ctx, tel_span_make(w->name, len), msg))
        return false;
    if (!is_message && !is_service)
        return true;
    struct rpc_pb_field f;
    int got;
    while ((got = rpc_pb_next(&msg, &f)) > 0) {
        if (f.wire != 2)
            continue;
        if (is_message && (f.number == 3 || f.number == 4)) {
            if (!walk_thing(w, len, f.bytes, f.number == 3, false, depth + 1))
                return false;
        } else if (is_service && f.number == 2) {
            if (!walk_thing(w, len, f.bytes, false, false, depth + 1))
                return false;
        }
    }
    return got == 0;
}

bool rpc_descriptor_symbols(struct tel_span file,
                            bool (*each)(void *ctx, struct tel_span name, struct tel_span message),
                            void *ctx)
{
    struct walk w = {.each = each, .ctx = ctx};
    struct tel_span package = rpc_pb_string(file, 2);
    if (package.len >= sizeof(w.name))
        return false;
    if (package.len)
        memcpy(w.name, package.ptr, package.len);
    struct rpc_pb_field f;
    int got;
    while ((got = rpc_pb_next(&file, &f)) > 0) {
        if (f.wire != 2 || f.number < 4 || f.number > 6)
            continue;
        if (!walk_thing(&w, package.len, f.bytes, f.number == 4, f.number == 6, 0))
            return false;
    }
    return got == 0;
}

/* ---- kinds of methods ------------------------------------------------------------------------ */

struct kinds {
    const ProtobufCServiceDescriptor *service;
    enum tel_rpc_kind *kinds;
    unsigned found; /* methods */
    bool described, stranger;
};

static bool kinds_method(struct kinds *k, struct tel_span method)
{
    struct tel_span name = rpc_pb_string(method, 1);
    bool client = false, server = false;
    struct rpc_pb_field f;
    int got;
    while ((got = rpc_pb_next(&method, &f)) > 0) {
        if (f.wire == 0 && f.number == 5)
            client = f.value != 0;
        else if (f.wire == 0 && f.number == 6)
            server = f.value != 0;
    }
    if (got < 0)
        return false;
    for (unsigned i = 0; i < k->service->n_methods; i++) {
        if (tel_span_eq_cstr(name, k->service->methods[i].name)) {
            k->kinds[i] = client ? TEL_RPC_BIDI : server ? TEL_RPC_SERVER_STREAM : TEL_RPC_UNARY;
            k->found++;
            return true;
        }
    }
    k->stranger = true;
    return true;
}

static bool kinds_symbol(void *ctx, struct tel_span name, struct tel_span message)
{
    struct kinds *k = ctx;
    if (!tel_span_eq_cstr(name, k->service->name))
        return true;
    k->described = true;
    struct rpc_pb_field f;
    int got;
    while ((got = rpc_pb_next(&message, &f)) > 0)
        if (f.number == 2 && f.wire == 2 && !kinds_method(k, f.bytes))
            return false;
    return got == 0;
}

static bool kinds_file(void *ctx, struct tel_span file)
{
    return rpc_descriptor_symbols(file, kinds_symbol, ctx);
}

tel_code tel_rpc_kinds(struct tel_span descriptor_set, const ProtobufCServiceDescriptor *service,
                       enum tel_rpc_kind *ret_kinds, struct tel_error *err)
{
    struct kinds k = {.service = service, .kinds = ret_kinds};
    if (!rpc_descriptor_files(descriptor_set, kinds_file, &k))
        return tel_error_set(err, TEL_ERR_CORRUPT, "descriptor set of %s is damaged",
                             service->name);
    if (!k.described || k.stranger || k.found != service->n_methods)
        return tel_error_set(err, TEL_ERR_INVALID,
                             "descriptor set does not fit service %s: %u of %u methods found%s",
                             service->name, k.found, service->n_methods,
                             k.stranger ? ", and others" : "");
    return TEL_OK;
}
