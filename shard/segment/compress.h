/*
 * zstd, wrapped here for segments. A compressor or decompressor belongs to one thread at a time.
 */
#ifndef SHARD_SEGMENT_COMPRESS_H
#define SHARD_SEGMENT_COMPRESS_H

#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/base/span.h"

struct compressor;
struct decompressor;

struct compressor *compressor_new(void);
void compressor_free(struct compressor *c);
/* Appends a zstd frame of src to out. */
void compressor_add(struct compressor *c, int level, struct tel_span src, struct tel_buf *out);

struct decompressor *decompressor_new(void);
void decompressor_free(struct decompressor *d);
/* Frees its context (some 100 KiB) until it is used again. */
void decompressor_rest(struct decompressor *d);
/* Unpacks a frame that must give exactly len bytes into out. */
TEL_MUST_USE tel_code decompressor_run(struct decompressor *d, struct tel_span frame, char *out,
                                       size_t len, struct tel_error *err);

#endif
