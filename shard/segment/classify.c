/*
 * Classes of a line's bytes as bitmaps: with AVX-512 VBMI one 128-byte table look-up for 64 bytes,
 * with AVX2 two nibble look-ups per class for 32 (after Langdale and Lemire, "Parsing gigabytes of
 * JSON per second"), elsewhere a table and a loop. All three give the same bits: tests compare them.
 */
#include "shard/segment/split.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { RUN = 1, EVENT = 2 };

#define W4(c)  [c] = RUN, [c + 1] = RUN, [c + 2] = RUN, [c + 3] = RUN
#define W16(c) W4(c), W4(c + 4), W4(c + 8), W4(c + 12)
#define D(c)   [c] = RUN | EVENT

static const uint8_t class_of[256] = {
    D('0'), D('1'), D('2'), D('3'), D('4'), D('5'), D('6'), D('7'), D('8'), D('9'),
    W4('A'), W4('E'), W4('I'), W4('M'), W4('Q'), W4('U'), ['Y'] = RUN, ['Z'] = RUN,
    W4('a'), W4('e'), W4('i'), W4('m'), W4('q'), W4('u'), ['y'] = RUN, ['z'] = RUN,
    ['_'] = RUN, ['.'] = RUN, [':'] = RUN, ['-'] = RUN, ['$'] = RUN, D('/'),
    ['"'] = EVENT, ['='] = EVENT, ['@'] = EVENT,
    W16(0x80), W16(0x90), W16(0xa0), W16(0xb0), W16(0xc0), W16(0xd0), W16(0xe0), W16(0xf0),
};

#undef W4
#define W4(c)  [c] = 1, [c + 1] = 1, [c + 2] = 1, [c + 3] = 1

const uint8_t split_is_word[256] = {
    W4('0'), W4('4'), ['8'] = 1, ['9'] = 1, ['_'] = 1,
    W4('A'), W4('E'), W4('I'), W4('M'), W4('Q'), W4('U'), ['Y'] = 1, ['Z'] = 1,
    W4('a'), W4('e'), W4('i'), W4('m'), W4('q'), W4('u'), ['y'] = 1, ['z'] = 1,
    W16(0x80), W16(0x90), W16(0xa0), W16(0xb0), W16(0xc0), W16(0xd0), W16(0xe0), W16(0xf0),
};

static void begin(size_t len, struct split_classes *out)
{
    out->newline = SIZE_MAX;
    out->has_nul = false;
    out->run[len / 64] = out->event[len / 64] = 0;
    out->run[len / 64 + 1] = out->event[len / 64 + 1] = 0;
    out->slash[len / 64] = out->quote[len / 64] = 0;
}

void splitter_classify_portable(const char *line, size_t len, struct split_classes *out)
{
    begin(len, out);
    for (size_t i = 0; i < len; i += 64) {
        size_t n = len - i < 64 ? len - i : 64;
        uint64_t run = 0, event = 0, slash = 0, quote = 0;
        for (size_t k = 0; k < n; k++) {
            unsigned char c = (unsigned char)line[i + k];
            run |= (uint64_t)(class_of[c] & 1) << k;
            event |= (uint64_t)(class_of[c] >> 1) << k;
            slash |= (uint64_t)(c == '/') << k;
            quote |= (uint64_t)(c == '"') << k;
            if (c == '\n' && out->newline == SIZE_MAX)
                out->newline = i + k;
            out->has_nul |= c == 0;
        }
        out->run[i / 64] = run;
        out->event[i / 64] = event;
        out->slash[i / 64] = slash;
        out->quote[i / 64] = quote;
    }
}

#ifdef __x86_64__

static inline uint64_t tail_mask(size_t left)
{
    return left >= 64 ? UINT64_MAX : (UINT64_C(1) << left) - 1;
}

static inline void note(struct split_classes *out, size_t i, uint64_t newline, uint64_t nul)
{
    if (newline && out->newline == SIZE_MAX)
        out->newline = i + (size_t)__builtin_ctzll(newline);
    out->has_nul |= nul != 0;
}

__attribute__((target("avx512f,avx512bw,avx512vbmi"))) static void
classify_avx512(const char *line, size_t len, struct split_classes *out)
{
    begin(len, out);
    const __m512i low = _mm512_loadu_si512(class_of), high = _mm512_loadu_si512(class_of + 64);
    const __m512i run_bit = _mm512_set1_epi8(RUN), event_bit = _mm512_set1_epi8(EVENT);
    const __m512i newline = _mm512_set1_epi8('\n'), slash = _mm512_set1_epi8('/');
    const __m512i quote = _mm512_set1_epi8('"');
    for (size_t i = 0; i < len; i += 64) {
        __mmask64 valid = tail_mask(len - i);
        __m512i c = _mm512_maskz_loadu_epi8(valid, line + i);
        __mmask64 high_bytes = _mm512_movepi8_mask(c);
        __m512i class = _mm512_permutex2var_epi8(low, c, high);
        __mmask64 ascii = valid & ~high_bytes;
        out->run[i / 64] = (_mm512_test_epi8_mask(class, run_bit) & ascii) | high_bytes;
        out->event[i / 64] = _mm512_test_epi8_mask(class, event_bit) & ascii;
        out->slash[i / 64] = _mm512_cmpeq_epi8_mask(c, slash);
        out->quote[i / 64] = _mm512_cmpeq_epi8_mask(c, quote);
        note(out, i, _mm512_cmpeq_epi8_mask(c, newline),
             valid & _mm512_testn_epi8_mask(c, c));
    }
}

/* Bits that the tables below combine: a byte is in the class when its two entries share a bit. */
#define N(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)                                          \
    _mm256_setr_epi8(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, a, b, c, d, e, f, g, h, i, j, \
                     k, l, m, n, o, p)

/* 32 bits of each bitmap. */
struct bits_32 {
    uint32_t run, event, slash, quote, newline, nul;
};

__attribute__((target("avx2"))) static inline struct bits_32 classify_32(const char *p)
{
    /* run: 1 = 2x {4 d e f}, 2 = 3x and 7x {0..a}, 4 = 4x and 6x {1..f}, 8 = 5x {0..a f} */
    const __m256i run_high = N(0, 0, 1, 2, 4, 8, 4, 2, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i run_low = N(10, 14, 14, 14, 15, 14, 14, 14, 14, 14, 14, 4, 4, 5, 5, 13);
    /* event: 1 = 2x {2 f}, 2 = 3x {0..9 d}, 4 = 4x {0} */
    const __m256i event_high = N(0, 0, 1, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i event_low = N(6, 2, 3, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 2, 0, 1);
    const __m256i nibble = _mm256_set1_epi8(15), zero = _mm256_setzero_si256();
    __m256i c = _mm256_loadu_si256((const __m256i *)(const void *)p);
    __m256i lo = _mm256_and_si256(c, nibble);
    __m256i hi = _mm256_and_si256(_mm256_srli_epi16(c, 4), nibble);
    __m256i r = _mm256_and_si256(_mm256_shuffle_epi8(run_low, lo), _mm256_shuffle_epi8(run_high, hi));
    __m256i e =
        _mm256_and_si256(_mm256_shuffle_epi8(event_low, lo), _mm256_shuffle_epi8(event_high, hi));
    uint32_t high_bytes = (uint32_t)_mm256_movemask_epi8(c);
    struct bits_32 b;
    b.run = ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(r, zero)) | high_bytes;
    b.event = ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(e, zero));
    b.slash = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(c, _mm256_set1_epi8('/')));
    b.quote = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(c, _mm256_set1_epi8('"')));
    b.newline = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(c, _mm256_set1_epi8('\n')));
    b.nul = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(c, zero));
    return b;
}

static inline uint64_t both(uint32_t low, uint32_t high, uint64_t valid)
{
    return (low | (uint64_t)high << 32) & valid;
}

__attribute__((target("avx2"))) static void classify_avx2(const char *line, size_t len,
                                                          struct split_classes *out)
{
    begin(len, out);
    for (size_t i = 0; i < len; i += 64) {
        struct bits_32 a = classify_32(line + i), b = classify_32(line + i + 32);
        uint64_t valid = tail_mask(len - i);
        out->run[i / 64] = both(a.run, b.run, valid);
        out->event[i / 64] = both(a.event, b.event, valid);
        out->slash[i / 64] = both(a.slash, b.slash, valid);
        out->quote[i / 64] = both(a.quote, b.quote, valid);
        note(out, i, both(a.newline, b.newline, valid), both(a.nul, b.nul, valid));
    }
}

split_classify_fn *splitter_classify_best(void)
{
    if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw"))
        return classify_avx512;
    if (__builtin_cpu_supports("avx2"))
        return classify_avx2;
    return splitter_classify_portable;
}

#else

split_classify_fn *splitter_classify_best(void)
{
    return splitter_classify_portable;
}

#endif
