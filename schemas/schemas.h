/*
 * The schemas themselves, embedded in the program: what the reflection service tells, and what the
 * record codec checks its fast path against. Constant; any thread. Each array has a NUL behind its
 * end that does not count in its length.
 *
 * The generated message types are in "schemas/shard.pb-c.h" and "schemas/router.pb-c.h".
 */
#ifndef TEL_SCHEMAS_SCHEMAS_H
#define TEL_SCHEMAS_SCHEMAS_H

#include <stddef.h>

/* Serialized google.protobuf.FileDescriptorSet, imports included. */
extern const unsigned char tel_schema_shard_pb[];
extern const size_t tel_schema_shard_pb_len;
extern const unsigned char tel_schema_router_pb[];
extern const size_t tel_schema_router_pb_len;

/* The Avro schemas of the record and of dead letters, JSON text. */
extern const unsigned char tel_schema_log_batch_avsc[];
extern const size_t tel_schema_log_batch_avsc_len;
extern const unsigned char tel_schema_dead_letter_avsc[];
extern const size_t tel_schema_dead_letter_avsc_len;

#endif
