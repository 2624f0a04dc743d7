/*
 * zlib, zstd and snappy behind one face. Output grows in steps of a quarter of the input's likely
 * size and never beyond the cap: the cap is checked after each step of the library, which gets at
 * most 64 KiB of room at a time, so a bomb costs 64 KiB over the cap and no more.
 */
#include "common/net/http/http_encoding.h"

#include <snappy-c.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "common/base/mem.h"

#define STEP_BYTES 65536u
/* A frame may ask for a window of up to 2^27 bytes; 8 MiB is what zstd -19 and every common client
 * stay below. */
#define ZSTD_WINDOW_LOG_MAX 23

struct tel_http_decoder {
    enum { CODING_ZLIB, CODING_ZSTD } coding;
    bool complete; /* at the end of a member or frame */
    bool begun;
    z_stream z;
    ZSTD_DCtx *zstd;
};

static bool coding_is(struct tel_span s, const char *name)
{
    size_t n = strlen(name);
    return s.len == n && strncasecmp(s.ptr, name, n) == 0;
}

tel_code tel_http_decoder_new(struct tel_span encoding, struct tel_http_decoder **ret,
                              struct tel_error *err)
{
    struct tel_span s = tel_span_trim(encoding);
    if (s.len == 0 || coding_is(s, "identity")) {
        *ret = NULL;
        return TEL_OK;
    }
    bool zlib = coding_is(s, "gzip") || coding_is(s, "x-gzip") || coding_is(s, "deflate");
    if (!zlib && !coding_is(s, "zstd"))
        return tel_error_set(err, TEL_ERR_UNSUPPORTED,
                             "Content-Encoding \"%.*s\": known are gzip, deflate and zstd",
                             (int)TEL_MIN(s.len, (size_t)40), s.ptr);
    struct tel_http_decoder *d = TEL_NEW(struct tel_http_decoder);
    if (zlib) {
        d->coding = CODING_ZLIB;
        /* 15 + 32: gzip or zlib, told by the header */
        TEL_CHECK(inflateInit2(&d->z, 15 + 32) == Z_OK);
    } else {
        d->coding = CODING_ZSTD;
        d->zstd = ZSTD_createDCtx();
        TEL_CHECK(d->zstd != NULL);
        (void)ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    }
    *ret = d;
    return TEL_OK;
}

void tel_http_decoder_free(struct tel_http_decoder *d)
{
    if (!d)
        return;
    if (d->coding == CODING_ZLIB)
        (void)inflateEnd(&d->z);
    else
        (void)ZSTD_freeDCtx(d->zstd);
    free(d);
}

static tel_code over_limit(struct tel_error *err, uint64_t max)
{
    return tel_error_set(err, TEL_ERR_LIMIT, "the decoded body is larger than %llu bytes",
                         (unsigned long long)max);
}

static tel_code feed_zlib(struct tel_http_decoder *d, struct tel_span in, uint64_t max,
                          struct tel_buf *out, struct tel_error *err)
{
    z_stream *z = &d->z;
    z->next_in = (Bytef *)(uintptr_t)in.ptr;
    z->avail_in = (uInt)in.len;
    do {
        if (d->complete) { /* gzip members may follow each other (RFC 1952, 2.2) */
            if (z->avail_in == 0)
                break;
            (void)inflateReset(z);
            d->complete = false;
        }
        tel_buf_reserve(out, STEP_BYTES);
        z->next_out = (Bytef *)out->ptr + out->len;
        z->avail_out = STEP_BYTES;
        int rc = inflate(z, Z_NO_FLUSH);
        out->len += STEP_BYTES - z->avail_out;
        if (out->len > max)
            return over_limit(err, max);
        if (rc == Z_STREAM_END)
            d->complete = true;
        else if (rc == Z_BUF_ERROR)
            break; /* needs more input */
        else if (rc != Z_OK)
            return tel_error_set(err, TEL_ERR_CORRUPT, "the compressed body is damaged: %s",
                                 z->msg ? z->msg : "zlib error");
    } while (z->avail_in > 0 || z->avail_out == 0);
    return TEL_OK;
}

static tel_code feed_zstd(struct tel_http_decoder *d, struct tel_span in, uint64_t max,
                          struct tel_buf *out, struct tel_error *err)
{
    ZSTD_inBuffer src = {in.ptr, in.len, 0};
    for (;;) {
        tel_buf_reserve(out, STEP_BYTES);
        ZSTD_outBuffer dst = {out->ptr + out->len, STEP_BYTES, 0};
        size_t rc = ZSTD_decompressStream(d->zstd, &dst, &src);
        if (ZSTD_isError(rc))
            return tel_error_set(err, TEL_ERR_CORRUPT, "the compressed body is damaged: %s",
                                 ZSTD_getErrorName(rc));
        out->len += dst.pos;
        if (out->len > max)
            return over_limit(err, max);
        d->complete = rc == 0;
        if (src.pos == src.size && dst.pos < dst.size)
            return TEL_OK;
        if (src.pos == src.size && rc == 0)
            return TEL_OK;
    }
}

tel_code tel_http_decoder_feed(struct tel_http_decoder *d, struct tel_span in, uint64_t max,
                               struct tel_buf *out, struct tel_error *err)
{
    tel_code rc = TEL_OK;
    while (in.len > 0 && rc == TEL_OK) {
        struct tel_span piece = tel_span_slice(in, 0, 1u << 30);
        rc = d->coding == CODING_ZLIB ? feed_zlib(d, piece, max, out, err)
                                      : feed_zstd(d, piece, max, out, err);
        in = tel_span_slice(in, piece.len, in.len);
        d->begun = true;
    }
    return rc;
}

tel_code tel_http_decoder_end(const struct tel_http_decoder *d, struct tel_error *err)
{
    if (d->begun && !d->complete)
        return tel_error_set(err, TEL_ERR_TRUNCATED, "the compressed body ends too early");
    return TEL_OK;
}

tel_code tel_http_snappy_decode(struct tel_span in, uint64_t max, struct tel_buf *out,
                                struct tel_error *err)
{
    size_t size = 0;
    if (snappy_uncompressed_length(in.ptr, in.len, &size) != SNAPPY_OK)
        return tel_error_set(err, TEL_ERR_CORRUPT, "the body is not snappy's block format");
    if (size > max)
        return over_limit(err, max);
    tel_buf_reserve(out, size + 1); /* never NULL, even for nothing */
    if (snappy_uncompress(in.ptr, in.len, out->ptr + out->len, &size) != SNAPPY_OK)
        return tel_error_set(err, TEL_ERR_CORRUPT, "the snappy body is damaged");
    out->len += size;
    return TEL_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

void tel_http_percent_decode(struct tel_span in, struct tel_buf *out)
{
    tel_buf_reserve(out, in.len);
    for (size_t i = 0; i < in.len; i++) {
        char c = in.ptr[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%' && i + 2 < in.len) {
            int hi = hex_digit(in.ptr[i + 1]), lo = hex_digit(in.ptr[i + 2]);
            if (hi >= 0 && lo >= 0) {
                c = (char)(hi << 4 | lo);
                i += 2;
            }
        }
        tel_buf_add_char(out, c);
    }
}

void tel_http_percent_encode(struct tel_span in, struct tel_buf *out)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < in.len; i++) {
        unsigned char c = (unsigned char)in.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c && strchr("-_.~", c));
        if (plain) {
            tel_buf_add_char(out, (char)c);
        } else {
            tel_buf_add_char(out, '%');
            tel_buf_add_char(out, digits[c >> 4]);
            tel_buf_add_char(out, digits[c & 15]);
        }
    }
}
