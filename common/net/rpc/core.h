/*
 * Internal to this folder: gRPC's headers, and what server and client share of handling its core.
 */
#ifndef TEL_NET_RPC_CORE_H
#define TEL_NET_RPC_CORE_H

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <protobuf-c/protobuf-c.h>

#include "common/base/span.h"
#include "common/net/rpc/tls.h"

/* gRPC is not built with ThreadSanitizer, so the hand-over of a tag through a completion queue is
 * invisible to it. These tell. */
#if defined(__SANITIZE_THREAD__)
#define RPC_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RPC_TSAN 1
#endif
#endif
#ifdef RPC_TSAN
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define rpc_tag_release(tag) __tsan_release(tag)
#define rpc_tag_acquire(tag) __tsan_acquire(tag)
#else
#define rpc_tag_release(tag) ((void)(tag))
#define rpc_tag_acquire(tag) ((void)(tag))
#endif

/* grpc_init, with its log lines brought to ours; every rpc_core_up has its rpc_core_down. */
void rpc_core_up(void);
void rpc_core_down(void);

struct tel_span rpc_slice_span(const grpc_slice *s); /* valid as long as *s */
grpc_slice rpc_slice_copy(struct tel_span s);

/* msg serialised. The caller destroys it. */
grpc_byte_buffer *rpc_pack(const ProtobufCMessage *msg, size_t size);
/* NULL if the bytes are no such message. Frees nothing of buf. */
ProtobufCMessage *rpc_unpack(const ProtobufCMessageDescriptor *type, grpc_byte_buffer *buf);

/* Copies a header into ret_key and ret_value (to be unreffed). False if gRPC would refuse it. */
bool rpc_header_legal(struct tel_span name, struct tel_span value);

gpr_timespec rpc_deadline_in_ms(int64_t ms);

/* Channel arguments, a few at a time. */
struct rpc_args {
    grpc_arg items[24];
    size_t count;
};
void rpc_args_int(struct rpc_args *args, const char *key, int64_t value); /* clamped to int */
void rpc_args_str(struct rpc_args *args, const char *key, const char *value);
grpc_channel_args rpc_args_done(struct rpc_args *args);

/* tls.c */
/* *ret_state is freed (with free) after the server that uses the credentials is gone. */
grpc_server_credentials *rpc_tls_server_credentials(struct tel_rpc_tls *tls, void **ret_state);
bool rpc_tls_has_cert(const struct tel_rpc_tls *tls);
grpc_channel_credentials *rpc_tls_channel_credentials(struct tel_rpc_tls *tls);
/* Looks at the files if it is time; a number that changes with the certificates. */
unsigned rpc_tls_generation(struct tel_rpc_tls *tls);

#endif
