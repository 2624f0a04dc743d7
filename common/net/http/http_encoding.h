/*
 * Content-Encoding undone piece by piece: gzip, deflate (zlib's), zstd and snappy's block
 * format. What comes out is capped, so that a small body cannot unfold into all of the memory.
 */
#ifndef TEL_NET_HTTP_ENCODING_H
#define TEL_NET_HTTP_ENCODING_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/base/span.h"

struct tel_http_decoder;

/* The decoder for a Content-Encoding header's value; *ret NULL for "identity" and "". More than one
 * coding, or an unknown one, is TEL_ERR_UNSUPPORTED. */
TEL_MUST_USE tel_code tel_http_decoder_new(struct tel_span encoding, struct tel_http_decoder **ret,
                                           struct tel_error *err);
void tel_http_decoder_free(struct tel_http_decoder *decoder); /* NULL is fine */
/* Decodes a piece and appends to out, which holds at most `max` bytes: TEL_ERR_LIMIT beyond. */
TEL_MUST_USE tel_code tel_http_decoder_feed(struct tel_http_decoder *decoder, struct tel_span in,
                                            uint64_t max, struct tel_buf *out,
                                            struct tel_error *err);
/* At the end of the input: TEL_ERR_TRUNCATED if the stream is not complete. */
TEL_MUST_USE tel_code tel_http_decoder_end(const struct tel_http_decoder *decoder,
                                           struct tel_error *err);

/* A whole body in snappy's block format (Loki's protobuf push). */
TEL_MUST_USE tel_code tel_http_snappy_decode(struct tel_span in, uint64_t max, struct tel_buf *out,
                                             struct tel_error *err);

/* Percent-decoding of one form or query component ('+' is a space), appended to out. A '%' without
 * two hexadecimal digits stays as it is. */
void tel_http_percent_decode(struct tel_span in, struct tel_buf *out);
/* The reverse: everything but letters, digits and -_.~ as %XX. */
void tel_http_percent_encode(struct tel_span in, struct tel_buf *out);

#endif
