/*
 * One context per owner, kept for its life: making a context costs more than packing a small
 * stream. Frames carry no checksum (sections have the store's) and no dictionary id.
 */
#include "shard/segment/compress.h"

#include <stdlib.h>
#include <zstd.h>

#include "common/base/mem.h"

struct compressor {
    ZSTD_CCtx *ctx;
};

struct decompressor {
    ZSTD_DCtx *ctx;
};

struct compressor *compressor_new(void)
{
    struct compressor *c = TEL_NEW(struct compressor);
    c->ctx = ZSTD_createCCtx();
    TEL_CHECK(c->ctx);
    return c;
}

void compressor_free(struct compressor *c)
{
    if (!c)
        return;
    ZSTD_freeCCtx(c->ctx);
    free(c);
}

void compressor_add(struct compressor *c, int level, struct tel_span src, struct tel_buf *out)
{
    size_t bound = ZSTD_compressBound(src.len);
    tel_buf_reserve(out, bound);
    size_t n = ZSTD_compressCCtx(c->ctx, out->ptr + out->len, bound, src.ptr ? src.ptr : "",
                                 src.len, level);
    TEL_CHECK(!ZSTD_isError(n)); /* with room for the bound only memory can fail */
    out->len += n;
}

struct decompressor *decompressor_new(void)
{
    return TEL_NEW(struct decompressor);
}

void decompressor_rest(struct decompressor *d)
{
    ZSTD_freeDCtx(d->ctx);
    d->ctx = NULL;
}

void decompressor_free(struct decompressor *d)
{
    if (!d)
        return;
    ZSTD_freeDCtx(d->ctx);
    free(d);
}

tel_code decompressor_run(struct decompressor *d, struct tel_span frame, char *out, size_t len,
                          struct tel_error *err)
{
    if (!d->ctx)
        d->ctx = ZSTD_createDCtx();
    TEL_CHECK(d->ctx);
    size_t n = ZSTD_decompressDCtx(d->ctx, out, len, frame.ptr ? frame.ptr : "", frame.len);
    if (ZSTD_isError(n))
        return tel_error_set(err, TEL_ERR_CORRUPT, "zstd: %s", ZSTD_getErrorName(n));
    if (n != len)
        return tel_error_set(err, TEL_ERR_CORRUPT, "zstd: %zu bytes where %zu were announced", n,
                             len);
    return TEL_OK;
}
