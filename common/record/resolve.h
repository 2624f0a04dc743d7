/*
 * Records of another writer schema: avro-c stays behind this pair of files. Internal to
 * common/record. A resolver belongs to one thread at a time.
 */
#ifndef TEL_RECORD_RESOLVE_H
#define TEL_RECORD_RESOLVE_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/record/batch.h"

#define TEL_SCHEMA_BYTES_MAX (1u << 20)

struct tel_record_resolver;

/* From the writer schema's JSON text. TEL_ERR_UNSUPPORTED: no such schema, or one from which our
 * record cannot be read. */
TEL_MUST_USE tel_code tel_record_resolver_new(struct tel_span json,
                                              struct tel_record_resolver **ret,
                                              struct tel_error *err);
void tel_record_resolver_free(struct tel_record_resolver *r); /* NULL is fine */

/* Decodes message[skip..): everything is copied into the arena. */
TEL_MUST_USE tel_code tel_record_resolver_decode(struct tel_record_resolver *r,
                                                 struct tel_span message, size_t skip,
                                                 struct tel_arena *arena, struct tel_batch *ret,
                                                 struct tel_error *err);

#endif
