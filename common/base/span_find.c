/*
 * Substring search. Blocks of the text are compared with the needle's first byte, and the blocks one
 * needle further on with its last; where both match, the rest is compared (after Mula, "SIMD-friendly
 * algorithms for substring searching").
 *
 *     text    . . . . f . . . l . .        f = first byte, l = last
 *     block at i      |               block at i + needle.len - 1     |
 *
 * That is quadratic in the worst case, so long needles go to memmem, which is linear.
 */
#include <stdint.h>

#include "common/base/check.h"
#include "common/base/span.h"

#define SHORT_NEEDLE 64

#if defined(__x86_64__)
#include <immintrin.h>

/* Looks at the candidates of one block: bit k is position `at + k`. */
static inline size_t check_block(uint32_t mask, struct tel_span s, struct tel_span needle, size_t at)
{
    while (mask) {
        size_t pos = at + (unsigned)__builtin_ctz(mask);
        if (memcmp(s.ptr + pos + 1, needle.ptr + 1, needle.len - 2) == 0)
            return pos;
        mask &= mask - 1;
    }
    return SIZE_MAX;
}

/* Searches whole blocks; *ret_next is where the rest begins. */
static size_t find_sse2(struct tel_span s, struct tel_span needle, size_t at, size_t *ret_next)
{
    const __m128i first = _mm_set1_epi8(needle.ptr[0]);
    const __m128i last = _mm_set1_epi8(needle.ptr[needle.len - 1]);
    for (; at + needle.len - 1 + 16 <= s.len; at += 16) {
        const char *p = s.ptr + at;
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(p + needle.len - 1));
        __m128i both = _mm_and_si128(_mm_cmpeq_epi8(a, first), _mm_cmpeq_epi8(b, last));
        size_t pos = check_block((uint32_t)_mm_movemask_epi8(both), s, needle, at);
        if (pos != SIZE_MAX)
            return pos;
    }
    *ret_next = at;
    return SIZE_MAX;
}

__attribute__((target("avx2"))) static size_t find_avx2(struct tel_span s, struct tel_span needle,
                                                        size_t at, size_t *ret_next)
{
    const __m256i first = _mm256_set1_epi8(needle.ptr[0]);
    const __m256i last = _mm256_set1_epi8(needle.ptr[needle.len - 1]);
    for (; at + needle.len - 1 + 32 <= s.len; at += 32) {
        const char *p = s.ptr + at;
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)p);
        __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(p + needle.len - 1));
        __m256i both = _mm256_and_si256(_mm256_cmpeq_epi8(a, first), _mm256_cmpeq_epi8(b, last));
        size_t pos = check_block((uint32_t)_mm256_movemask_epi8(both), s, needle, at);
        if (pos != SIZE_MAX)
            return pos;
    }
    *ret_next = at;
    return SIZE_MAX;
}
#endif

static size_t find_plain(struct tel_span s, struct tel_span needle, size_t at)
{
    if (s.len - at < needle.len)
        return SIZE_MAX;
    const char *p = memmem(s.ptr + at, s.len - at, needle.ptr, needle.len);
    return p ? (size_t)(p - s.ptr) : SIZE_MAX;
}

size_t tel_span_find(struct tel_span s, struct tel_span needle)
{
    if (needle.len == 0)
        return 0;
    if (needle.len > s.len)
        return SIZE_MAX;
    if (needle.len == 1) {
        const char *p = memchr(s.ptr, needle.ptr[0], s.len);
        return p ? (size_t)(p - s.ptr) : SIZE_MAX;
    }
    size_t at = 0;
#if defined(__x86_64__)
    if (needle.len <= SHORT_NEEDLE) {
        size_t pos = SIZE_MAX;
        if (__builtin_cpu_supports("avx2"))
            pos = find_avx2(s, needle, 0, &at);
        if (pos == SIZE_MAX)
            pos = find_sse2(s, needle, at, &at);
        if (pos != SIZE_MAX)
            return pos;
    }
#endif
    return find_plain(s, needle, at);
}
