/* The few helpers that both ends need around gRPC's C core. */
#include "common/net/rpc/core.h"

#include <grpc/support/log.h>
#include <limits.h>
#include <pthread.h>

#define TEL_LOG_COMPONENT "rpc"
#include "common/base/check.h"
#include "common/base/log.h"

#ifdef RPC_TSAN
/* What libgrpc and the libraries below it do between themselves is not ours to check, and cannot be
 * while they are not instrumented. */
const char *__tsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:libgrpc.so\n"
           "called_from_lib:libgpr.so\n"
           "race:libgrpc.so\n"
           "race:libgpr.so\n"
           "race:libabsl_\n"
           "race:libupb.so\n"
           "race:librdkafka.so\n" /* see common/net/kafka/tsan_threads.c */
           "race:libssl.so\n"
           "race:libcrypto.so\n";
}
#endif

/* gRPC says much at its level ERROR that is only a peer being away: at most a warning here, and the
 * log's own limit keeps repeats down. */
static void core_log(gpr_log_func_args *args)
{
    if (args->severity == GPR_LOG_SEVERITY_ERROR)
        tel_log_warn("gRPC", tel_kv_str("text", args->message), tel_kv_str("file", args->file),
                     tel_kv_i64("line", args->line));
    else
        tel_log_debug("gRPC", tel_kv_str("text", args->message), tel_kv_str("file", args->file),
                      tel_kv_i64("line", args->line));
}

static void core_once(void)
{
    gpr_set_log_function(core_log);
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
}

void rpc_core_up(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, core_once);
    grpc_init();
}

void rpc_core_down(void)
{
    grpc_shutdown();
}

struct tel_span rpc_slice_span(const grpc_slice *s)
{
    return tel_span_make(GRPC_SLICE_START_PTR(*s), GRPC_SLICE_LENGTH(*s));
}

grpc_slice rpc_slice_copy(struct tel_span s)
{
    return s.len ? grpc_slice_from_copied_buffer(s.ptr, s.len) : grpc_empty_slice();
}

grpc_byte_buffer *rpc_pack(const ProtobufCMessage *msg, size_t size)
{
    grpc_slice slice = grpc_slice_malloc(size);
    size_t packed = protobuf_c_message_pack(msg, GRPC_SLICE_START_PTR(slice));
    TEL_CHECK(packed == size);
    grpc_byte_buffer *buf = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buf;
}

ProtobufCMessage *rpc_unpack(const ProtobufCMessageDescriptor *type, grpc_byte_buffer *buf)
{
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, buf))
        return NULL;
    /* protobuf-c wants contiguous bytes; a message of one slice is so already. */
    ProtobufCMessage *msg;
    grpc_slice *first = NULL;
    size_t length = grpc_byte_buffer_length(buf);
    if (grpc_byte_buffer_reader_peek(&reader, &first) && GRPC_SLICE_LENGTH(*first) == length) {
        msg = protobuf_c_message_unpack(type, NULL, length, GRPC_SLICE_START_PTR(*first));
    } else {
        grpc_byte_buffer_reader_destroy(&reader);
        if (!grpc_byte_buffer_reader_init(&reader, buf))
            return NULL;
        grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
        msg = protobuf_c_message_unpack(type, NULL, GRPC_SLICE_LENGTH(all),
                                        GRPC_SLICE_START_PTR(all));
        grpc_slice_unref(all);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    return msg;
}

bool rpc_header_legal(struct tel_span name, struct tel_span value)
{
    if (name.len == 0 || name.len > 128 || value.len > 8192)
        return false;
    grpc_slice k = rpc_slice_copy(name), v = rpc_slice_copy(value);
    bool legal = grpc_header_key_is_legal(k) && !grpc_is_binary_header(k) &&
                 grpc_header_nonbin_value_is_legal(v) && !tel_span_starts(name, TEL_SPAN("grpc-"));
    grpc_slice_unref(k);
    grpc_slice_unref(v);
    return legal;
}

gpr_timespec rpc_deadline_in_ms(int64_t ms)
{
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
}

static grpc_arg *args_next(struct rpc_args *args, const char *key)
{
    TEL_CHECK(args->count < TEL_ARRAY_LEN(args->items));
    grpc_arg *arg = &args->items[args->count++];
    arg->key = (char *)(uintptr_t)key;
    return arg;
}

void rpc_args_int(struct rpc_args *args, const char *key, int64_t value)
{
    grpc_arg *arg = args_next(args, key);
    arg->type = GRPC_ARG_INTEGER;
    arg->value.integer = (int)TEL_MIN(value, INT_MAX);
}

void rpc_args_str(struct rpc_args *args, const char *key, const char *value)
{
    grpc_arg *arg = args_next(args, key);
    arg->type = GRPC_ARG_STRING;
    arg->value.string = (char *)(uintptr_t)value;
}

grpc_channel_args rpc_args_done(struct rpc_args *args)
{
    return (grpc_channel_args){.num_args = args->count, .args = args->items};
}
