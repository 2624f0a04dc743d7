/* See ints.h. */
#include "shard/segment/ints.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { CONSTANT, BITS, PLANES, BLOCKS, DELTA = 4 }; /* DELTA is added to one of the others */

#define BLOCK 256u /* values that share a width in BLOCKS, so that outliers cost only theirs */

#define BITS_MAX 56u /* wider ones are planes: an unaligned 8-byte load cannot hold them */

void ints_writer_done(struct ints_writer *w)
{
    tel_vec_free(&w->shifted);
    tel_buf_free(&w->planes);
    tel_buf_free(&w->packed);
    tel_buf_free(&w->bits);
    tel_buf_free(&w->widths);
}

static unsigned bits_of(uint64_t v)
{
    return v ? 64 - (unsigned)__builtin_clzll(v) : 0;
}

static size_t packed_size(size_t n, unsigned width)
{
    return (n * width + 7) / 8;
}

static struct tel_span pack_bits(struct ints_writer *w, const uint64_t *v, size_t n, unsigned width)
{
    size_t bytes = packed_size(n, width);
    tel_buf_clear(&w->bits);
    tel_buf_reserve(&w->bits, bytes + 8);
    char *out = w->bits.ptr;
    uint64_t acc = 0;
    unsigned fill = 0;
    for (size_t i = 0; i < n; i++) {
        acc |= v[i] << fill;
        fill += width;
        if (fill >= 64) {
            memcpy(out, &acc, 8);
            out += 8;
            fill -= 64;
            acc = fill ? v[i] >> (width - fill) : 0;
        }
    }
    memcpy(out, &acc, 8);
    w->bits.len = bytes;
    return tel_buf_span(&w->bits);
}

/* A width for every BLOCK values, then their bits. */
static size_t block_widths(struct ints_writer *w, const uint64_t *v, size_t n)
{
    size_t total = 0;
    tel_buf_clear(&w->widths);
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t m = n - i < BLOCK ? n - i : BLOCK;
        uint64_t all = 0;
        for (size_t k = 0; k < m; k++)
            all |= v[i + k];
        tel_buf_add_char(&w->widths, (char)bits_of(all));
        total += packed_size(m, bits_of(all)) + 1;
    }
    return total;
}

static void put_blocks(struct ints_writer *w, struct stream_writer *out, struct tel_buf *node,
                       const uint64_t *v, size_t n)
{
    tel_buf_clear(&w->packed);
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t m = n - i < BLOCK ? n - i : BLOCK;
        unsigned width = (unsigned char)w->widths.ptr[i / BLOCK];
        tel_buf_add_span(&w->packed, pack_bits(w, v + i, m, width));
    }
    stream_put(out, node, tel_buf_span(&w->widths));
    if (w->packed.len >= STREAM_SMALL)
        stream_put_tried(out, node, tel_buf_span(&w->packed), tel_span_make(NULL, 0));
    else
        stream_put(out, node, tel_buf_span(&w->packed));
}

static void make_planes(struct ints_writer *w, const uint64_t *v, size_t n, unsigned planes)
{
    tel_buf_clear(&w->planes);
    tel_buf_reserve(&w->planes, n * planes);
    for (unsigned p = 0; p < planes; p++) {
        char *out = w->planes.ptr + p * n;
        for (size_t i = 0; i < n; i++)
            out[i] = (char)(v[i] >> (8 * p));
    }
    w->planes.len = n * planes;
}

/* About log2(x) * 256, x > 0. */
static uint32_t log2_256(uint32_t x)
{
    unsigned top = 31 - (unsigned)__builtin_clz(x);
    uint32_t frac = (uint32_t)(((uint64_t)x << 8 >> top) & 255);
    return (top << 8) + frac; /* linear between powers: good to 9 % of a bit */
}

/* Bytes that an entropy coder would take for the plane, by a sample of its bytes. */
static size_t entropy_bytes(const char *plane, size_t n)
{
    uint32_t counts[256] = {0};
    size_t step = n > 4096 ? n / 2048 : 1, taken = 0;
    for (size_t i = 0; i < n; i += step, taken++)
        counts[(unsigned char)plane[i]]++;
    uint64_t bits = 0;
    uint32_t all = log2_256((uint32_t)taken);
    for (unsigned i = 0; i < 256; i++) {
        if (counts[i])
            bits += (uint64_t)counts[i] * (all - log2_256(counts[i]));
    }
    return (size_t)(bits * n / taken / 256 / 8);
}

/* zstd of every plane in w->packed; the total, with lens[p] 0 for a plane that stays raw. */
static size_t try_planes(struct ints_writer *w, struct stream_writer *out, size_t n,
                         unsigned planes, size_t *lens)
{
    size_t total = 0;
    tel_buf_clear(&w->packed);
    for (unsigned p = 0; p < planes; p++) {
        size_t before = w->packed.len;
        compressor_add(out->compressor, out->level, tel_span_make(w->planes.ptr + p * n, n),
                       &w->packed);
        lens[p] = w->packed.len - before;
        if (lens[p] + n / 64 >= n) {
            w->packed.len = before;
            lens[p] = 0;
        }
        total += lens[p] ? lens[p] : n;
    }
    return total;
}

static void put_shifted(struct ints_writer *w, struct stream_writer *out, struct tel_buf *node,
                        const uint64_t *v, size_t n, unsigned width, bool delta)
{
    unsigned planes = (width + 7) / 8;
    make_planes(w, v, n, planes);
    size_t bits = width > BITS_MAX ? SIZE_MAX : packed_size(n, width);
    size_t lens[8] = {0}, cost = 0, from = 0;
    size_t blocks = n > BLOCK && width <= BITS_MAX ? block_widths(w, v, n) : SIZE_MAX;
    bool tried = n >= STREAM_SMALL;
    if (tried)
        cost = try_planes(w, out, n, planes, lens);
    else {
        for (unsigned p = 0; p < planes; p++)
            cost += entropy_bytes(w->planes.ptr + p * n, n) + 8;
    }
    if (blocks < bits && blocks <= cost) {
        tel_buf_add_char(node, (char)(BLOCKS + (delta ? DELTA : 0)));
        put_blocks(w, out, node, v, n);
        return;
    }
    if (bits <= cost) {
        tel_buf_add_char(node, (char)(BITS + (delta ? DELTA : 0)));
        tel_buf_add_char(node, (char)width);
        struct tel_span packed = pack_bits(w, v, n, width);
        if (packed.len >= STREAM_SMALL)
            stream_put_tried(out, node, packed, tel_span_make(NULL, 0));
        else
            stream_put(out, node, packed);
        return;
    }
    tel_buf_add_char(node, (char)(PLANES + (delta ? DELTA : 0)));
    tel_buf_add_char(node, (char)planes);
    for (unsigned p = 0; p < planes; p++) {
        struct tel_span plane = tel_span_make(w->planes.ptr + p * n, n);
        if (tried)
            stream_put_tried(out, node, plane, tel_span_make(w->packed.ptr + from, lens[p]));
        else
            stream_put(out, node, plane);
        from += lens[p];
    }
}

void ints_put(struct ints_writer *w, struct stream_writer *out, struct tel_buf *node,
              const uint64_t *values, size_t n)
{
    uint64_t min = n ? values[0] : 0, max = min, delta_max = 0;
    for (size_t i = 0; i < n; i++) {
        min = values[i] < min ? values[i] : min;
        max = values[i] > max ? values[i] : max;
        uint64_t d = i ? tel_zigzag((int64_t)(values[i] - values[i - 1])) : 0;
        delta_max = d > delta_max ? d : delta_max;
    }
    if (min == max) {
        tel_buf_add_char(node, CONSTANT);
        put_varint(node, min);
        return;
    }
    unsigned width = bits_of(max - min), delta_width = bits_of(delta_max);
    bool delta = n > 8 && delta_width + 1 < width;
    tel_vec_reserve(&w->shifted, n);
    uint64_t *s = w->shifted.items;
    if (delta) {
        s[0] = 0;
        for (size_t i = 1; i < n; i++)
            s[i] = tel_zigzag((int64_t)(values[i] - values[i - 1]));
    } else {
        for (size_t i = 0; i < n; i++)
            s[i] = values[i] - min;
    }
    put_shifted(w, out, node, s, n, delta ? delta_width : width, delta);
    put_varint(node, delta ? values[0] : min);
}

/* ---- reading: streams are opened and checked, then values are made of them ------------------ */

static tel_code open_bits(struct stream_reader *r, struct cursor *node, struct ints_opened *o,
                          struct tel_error *err)
{
    struct tel_span bits;
    o->width = cursor_byte(node);
    if (o->width == 0 || o->width > BITS_MAX)
        return segment_corrupt(err, "width of integers");
    tel_code rc = stream_get(r, node, &bits, err);
    if (rc != TEL_OK)
        return rc;
    o->bits = bits.ptr;
    return bits.len == packed_size(o->n, o->width) ? TEL_OK
                                                   : segment_corrupt(err, "length of integers");
}

static void get_bits(const struct ints_opened *o, uint64_t *ret)
{
    for (size_t i = 0; i < o->n; i++)
        ret[i] = ints_unpack_one(o->bits, i, o->width);
}

static tel_code open_planes(struct stream_reader *r, struct cursor *node, struct ints_opened *o,
                            struct tel_error *err)
{
    o->plane_count = cursor_byte(node);
    if (o->plane_count == 0 || o->plane_count > TEL_ARRAY_LEN(o->planes))
        return segment_corrupt(err, "planes of integers");
    for (unsigned p = 0; p < o->plane_count; p++) {
        struct tel_span plane;
        tel_code rc = stream_get(r, node, &plane, err);
        if (rc != TEL_OK)
            return rc;
        if (plane.len != o->n)
            return segment_corrupt(err, "length of integers");
        o->planes[p] = plane.ptr;
    }
    return TEL_OK;
}

static void get_planes(const struct ints_opened *o, uint64_t *ret)
{
    for (size_t i = 0; i < o->n; i++)
        ret[i] = (unsigned char)o->planes[0][i];
    for (unsigned p = 1; p < o->plane_count; p++) {
        for (size_t i = 0; i < o->n; i++)
            ret[i] |= (uint64_t)(unsigned char)o->planes[p][i] << (8 * p);
    }
}

static tel_code open_blocks(struct stream_reader *r, struct cursor *node, struct ints_opened *o,
                            struct tel_error *err)
{
    struct tel_span widths, bits;
    tel_code rc = stream_get(r, node, &widths, err);
    if (rc == TEL_OK)
        rc = stream_get(r, node, &bits, err);
    if (rc != TEL_OK)
        return rc;
    if (widths.len != (o->n + BLOCK - 1) / BLOCK)
        return segment_corrupt(err, "length of integers");
    uint32_t *starts = tel_arena_alloc(r->arena, (widths.len + 1) * sizeof(*starts));
    size_t at = 0;
    for (size_t i = 0; i < widths.len; i++) {
        size_t m = o->n - i * BLOCK < BLOCK ? o->n - i * BLOCK : BLOCK;
        unsigned width = (unsigned char)widths.ptr[i];
        if (width > BITS_MAX || packed_size(m, width) > bits.len - at)
            return segment_corrupt(err, "length of integers");
        starts[i] = (uint32_t)at;
        at += packed_size(m, width);
    }
    o->bits = bits.ptr;
    o->widths = (const uint8_t *)widths.ptr;
    o->starts = starts;
    return TEL_OK;
}

static void get_blocks(const struct ints_opened *o, uint64_t *ret)
{
    for (size_t i = 0; i < o->n; i += BLOCK) {
        size_t m = o->n - i < BLOCK ? o->n - i : BLOCK;
        for (size_t k = 0; k < m; k++)
            ret[i + k] = ints_unpack_one(o->bits + o->starts[i / BLOCK], k, o->widths[i / BLOCK]);
    }
}

static tel_code open_streams(struct stream_reader *r, struct cursor *node, size_t n,
                             struct ints_opened *o, struct tel_error *err)
{
    static tel_code (*const openers[])(struct stream_reader *, struct cursor *,
                                       struct ints_opened *, struct tel_error *) = {
        [BITS] = open_bits, [PLANES] = open_planes, [BLOCKS] = open_blocks};
    *o = (struct ints_opened){.mode = cursor_byte(node), .n = n};
    unsigned mode = o->mode & (DELTA - 1u);
    if (mode != CONSTANT) {
        tel_code rc = openers[mode](r, node, o, err);
        if (rc != TEL_OK)
            return rc;
    }
    o->base = cursor_varint(node);
    return node->bad ? segment_corrupt(err, "integers are cut short") : TEL_OK;
}

static void get_all(const struct ints_opened *o, uint64_t *ret)
{
    static void (*const readers[])(const struct ints_opened *, uint64_t *) = {
        [BITS] = get_bits, [PLANES] = get_planes, [BLOCKS] = get_blocks};
    unsigned mode = o->mode & (DELTA - 1u);
    uint64_t base = o->base;
    if (mode == CONSTANT) {
        for (size_t i = 0; i < o->n; i++)
            ret[i] = base;
        return;
    }
    readers[mode](o, ret);
    if (o->mode & DELTA) {
        for (size_t i = 0; i < o->n; i++)
            ret[i] = base += i ? (uint64_t)tel_unzigzag(ret[i]) : 0;
    } else if (base) {
        for (size_t i = 0; i < o->n; i++)
            ret[i] += base;
    }
}

tel_code ints_get(struct stream_reader *r, struct cursor *node, size_t n, uint64_t *ret,
                  struct tel_error *err)
{
    struct ints_opened o;
    tel_code rc = open_streams(r, node, n, &o, err);
    if (rc == TEL_OK)
        get_all(&o, ret);
    return rc;
}

tel_code ints_open(struct stream_reader *r, struct cursor *node, size_t n, struct ints_opened *ret,
                   struct tel_error *err)
{
    tel_code rc = open_streams(r, node, n, ret, err);
    if (rc == TEL_OK && (ret->mode & DELTA) && (ret->mode & (DELTA - 1u)) != CONSTANT) {
        uint64_t *values = tel_arena_alloc(r->arena, (n + 1) * sizeof(*values));
        get_all(ret, values);
        ret->values = values;
    }
    return rc;
}

uint64_t ints_at(const struct ints_opened *o, size_t i)
{
    if (o->values)
        return o->values[i];
    switch (o->mode & (DELTA - 1u)) {
    case BITS:
        return o->base + ints_unpack_one(o->bits, i, o->width);
    case PLANES: {
        uint64_t v = 0;
        for (unsigned p = 0; p < o->plane_count; p++)
            v |= (uint64_t)(unsigned char)o->planes[p][i] << (8 * p);
        return o->base + v;
    }
    case BLOCKS:
        return o->base + ints_unpack_one(o->bits + o->starts[i / BLOCK], i % BLOCK,
                                         o->widths[i / BLOCK]);
    default:
        return o->base;
    }
}

static uint64_t sum_bytes(const char *bytes, size_t n)
{
    uint64_t sum = 0;
    size_t i = 0;
#ifdef __SSE2__
    __m128i sums = _mm_setzero_si128();
    for (; i + 16 <= n; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(bytes + i));
        sums = _mm_add_epi64(sums, _mm_sad_epu8(v, _mm_setzero_si128()));
    }
    uint64_t halves[2];
    _mm_storeu_si128((__m128i *)(void *)halves, sums);
    sum = halves[0] + halves[1];
#endif
    for (; i < n; i++)
        sum += (unsigned char)bytes[i];
    return sum;
}

uint64_t ints_sum(const struct ints_opened *o, size_t from, size_t to)
{
    unsigned mode = o->mode & (DELTA - 1u);
    uint64_t sum = o->values ? 0 : o->base * (to - from);
    if (o->values) {
        for (size_t i = from; i < to; i++)
            sum += o->values[i];
    } else if (mode == PLANES) {
        for (unsigned p = 0; p < o->plane_count; p++)
            sum += sum_bytes(o->planes[p] + from, to - from) << (8 * p);
    } else if (mode == BITS) {
        for (size_t i = from; i < to; i++)
            sum += ints_unpack_one(o->bits, i, o->width);
    } else if (mode == BLOCKS) {
        for (size_t i = from, end; i < to; i = end) {
            const char *bits = o->bits + o->starts[i / BLOCK];
            size_t first = i / BLOCK * BLOCK;
            unsigned width = o->widths[i / BLOCK];
            end = to < first + BLOCK ? to : first + BLOCK;
            for (size_t k = i; k < end; k++)
                sum += ints_unpack_one(bits, k - first, width);
        }
    }
    return sum;
}

tel_code ints_get_bytes(struct stream_reader *r, struct cursor *node, size_t n, unsigned max,
                        const uint8_t **ret, struct tel_error *err)
{
    struct ints_opened o;
    tel_code rc = open_streams(r, node, n, &o, err);
    if (rc != TEL_OK)
        return rc;
    if (o.mode == PLANES && o.plane_count == 1 && o.base == 0) {
        *ret = (const uint8_t *)o.planes[0];
    } else if (o.mode == BITS && o.width <= 8 && o.base == 0) {
        uint8_t *bytes = tel_arena_alloc(r->arena, n + 1);
        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)ints_unpack_one(o.bits, i, o.width);
        *ret = bytes;
    } else {
        uint8_t *bytes = tel_arena_alloc(r->arena, n + 1);
        uint64_t *values = tel_arena_alloc(r->arena, (n + 1) * sizeof(*values));
        get_all(&o, values);
        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)(values[i] < max ? values[i] : max);
        *ret = bytes;
    }
    return TEL_OK;
}

void ints_skip(struct cursor *node)
{
    unsigned mode = cursor_byte(node) & (DELTA - 1u), streams = 0;
    if (mode == BITS) {
        cursor_byte(node);
        streams = 1;
    } else if (mode == PLANES) {
        streams = cursor_byte(node);
    } else if (mode == BLOCKS) {
        streams = 2;
    }
    for (unsigned i = 0; i < streams && !node->bad; i++)
        stream_skip(node);
    cursor_varint(node);
}
