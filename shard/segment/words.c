/* See words.h. */
#include "shard/segment/words.h"

#include <math.h>
#include <stdlib.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "common/base/hash.h"
#include "common/logsql/words.h"
#include "shard/segment/cursor.h"
#include "shard/segment/split.h"

#define SEEN_BITS     (1u << 20)
#define BITS_PER_WORD 9u
#define BLOCK_BYTES   WORDS_BLOCK_BYTES
#define BLOCKS_MAX    (1u << 22)

enum { FLAG_INCOMPLETE = 1, FLAG_NAMED = 2 };

void words_writer_init(struct words_writer *w)
{
    memset(w, 0, sizeof(*w));
    w->seen = tel_calloc(SEEN_BITS / 64, sizeof(*w->seen));
}

void words_writer_done(struct words_writer *w)
{
    tel_vec_free(&w->hashes);
    free(w->seen);
}

void words_writer_reset(struct words_writer *w, size_t budget)
{
    tel_vec_clear(&w->hashes);
    memset(w->seen, 0, SEEN_BITS / 8);
    memset(w->recent, 0, sizeof(w->recent));
    w->seen_count = 0;
    w->under = 0;
    w->budget = budget;
    w->incomplete = false;
}

static bool counts(size_t len, bool digit)
{
    return len >= (digit ? WORDS_DIGIT_LEN_MIN : WORDS_LEN_MIN);
}

static bool has_digit(struct tel_span word)
{
    for (size_t i = 0; i < word.len; i++) {
        if (word.ptr[i] >= '0' && word.ptr[i] <= '9')
            return true;
    }
    return false;
}

bool words_counts(struct tel_span word)
{
    return counts(word.len, has_digit(word));
}

/* Of the first 16 bytes as two numbers, zero behind the word's end; longer ones by XXH3. */
static uint64_t hash16(const char *p, size_t len)
{
    uint64_t a, b;
    if (len > 16)
        return tel_hash64(tel_span_make(p, len), 7);
    memcpy(&a, p, 8);
    memcpy(&b, p + 8, 8);
    if (len < 8) {
        a = len ? a << (64 - 8 * len) : 0;
        b = 0;
    } else if (len < 16) {
        b = len > 8 ? b << (128 - 8 * len) : 0;
    }
    a = (a ^ len) * UINT64_C(0x9e3779b97f4a7c15);
    a ^= a >> 32;
    a = (a + b) * UINT64_C(0xbf58476d1ce4e5b9);
    a ^= a >> 29;
    a *= UINT64_C(0x94d049bb133111eb);
    return a ^ a >> 32;
}

uint64_t words_under(unsigned kind, struct tel_span name)
{
    return tel_hash64(name, 11 + kind);
}

static void add_hash(struct words_writer *w, uint64_t hash)
{
    hash ^= w->under;
    uint64_t *recent = &w->recent[hash % WORDS_RECENT];
    if (*recent == hash)
        return;
    *recent = hash;
    if (w->budget == 0) {
        w->incomplete = true;
        return;
    }
    w->budget--;
    uint64_t bit = UINT64_C(1) << (hash & 63), *word = &w->seen[hash >> 6 & (SEEN_BITS / 64 - 1)];
    w->seen_count += !(*word & bit);
    *word |= bit;
    tel_vec_push(&w->hashes, hash);
}

void words_add(struct words_writer *w, struct tel_span word)
{
    if (counts(word.len, word.len < WORDS_DIGIT_LEN_MIN && has_digit(word)))
        add_hash(w, hash16(word.ptr, word.len));
}

static void add_unicode(struct words_writer *w, struct tel_span text)
{
    size_t pos = 0;
    struct tel_span word;
    while (tel_words_next(text, &pos, &word))
        words_add(w, word);
}

/* Which of 16 bytes are of words, which are digits, which are not ASCII: a bit each. */
struct word_bits {
    uint32_t word, digit, high;
};

#ifdef __SSE2__

static inline struct word_bits bits16(const char *p)
{
    __m128i c = _mm_loadu_si128((const __m128i *)(const void *)p);
    /* c - 'a' < 26 without sign, as a comparison with sign */
    __m128i letter = _mm_add_epi8(_mm_or_si128(c, _mm_set1_epi8(32)), _mm_set1_epi8(256 - 'a' - 128));
    __m128i digit = _mm_add_epi8(c, _mm_set1_epi8(256 - '0' - 128));
    letter = _mm_cmplt_epi8(letter, _mm_set1_epi8(26 - 128));
    digit = _mm_cmplt_epi8(digit, _mm_set1_epi8(10 - 128));
    __m128i other = _mm_cmpeq_epi8(c, _mm_set1_epi8('_'));
    struct word_bits bits = {.digit = (uint32_t)_mm_movemask_epi8(digit),
                             .high = (uint32_t)_mm_movemask_epi8(c)};
    bits.word = (uint32_t)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(letter, other), digit));
    return bits;
}

#else

static inline struct word_bits bits16(const char *p)
{
    struct word_bits bits = {0};
    for (unsigned i = 0; i < 16; i++) {
        unsigned char c = (unsigned char)p[i];
        bits.word |= (uint32_t)(split_is_word[c] && c < 0x80) << i;
        bits.digit |= (uint32_t)(c >= '0' && c <= '9') << i;
        bits.high |= (uint32_t)(c >> 7) << i;
    }
    return bits;
}

#endif

static inline void add_counted(struct words_writer *w, const char *start, size_t len, bool digit)
{
    if (counts(len, digit))
        add_hash(w, hash16(start, len));
}

void words_add_text(struct words_writer *w, struct tel_span text)
{
    const char *start = NULL; /* of a word that went over the end of the last 16 bytes */
    bool digit = false;       /* has it one? */
    for (size_t at = 0; at < text.len; at += 16) {
        const char *p = text.ptr + at;
        struct word_bits bits = bits16(p);
        uint32_t valid = text.len - at < 16 ? (1u << (text.len - at)) - 1 : 0xffffu;
        if (bits.high & valid) { /* whether these are letters takes a longer look */
            const char *from = start ? start : p;
            add_unicode(w, tel_span_make(from, (size_t)(text.ptr + text.len - from)));
            return;
        }
        uint32_t words = bits.word & valid;
        if (start) {
            unsigned n = (unsigned)__builtin_ctz(~words);
            digit |= (bits.digit & ((1u << n) - 1)) != 0;
            if (n == 16)
                continue;
            add_counted(w, start, (size_t)(p + n - start), digit);
            start = NULL;
            words &= ~((1u << n) - 1);
        }
        while (words) {
            unsigned first = (unsigned)__builtin_ctz(words);
            unsigned n = (unsigned)__builtin_ctz(~(words >> first));
            digit = (bits.digit >> first & ((1u << n) - 1)) != 0;
            if (first + n == 16) {
                start = p + first;
                break;
            }
            add_counted(w, p + first, n, digit);
            words &= words + (1u << first);
        }
    }
    if (start)
        add_counted(w, start, (size_t)(text.ptr + text.len - start), digit);
}

static void block_mask(uint64_t hash, uint32_t ret[8])
{
    static const uint32_t salt[8] = {0x47b6137bu, 0x44974d91u, 0x8824ad5bu, 0xa2b7289du,
                                     0x705495c7u, 0x2df1424bu, 0x9efc4947u, 0x5c6bfb31u};
    for (unsigned i = 0; i < 8; i++)
        ret[i] = UINT32_C(1) << (salt[i] * (uint32_t)hash >> 27);
}

static size_t block_of(uint64_t hash, uint32_t blocks)
{
    return (size_t)((hash >> 32) * blocks >> 32);
}

uint32_t words_blocks_for(size_t words, unsigned bits_per_word)
{
    return (uint32_t)(words * bits_per_word / (8 * BLOCK_BYTES)) + 1;
}

void words_blocks_add(char *blocks, uint32_t block_count, uint64_t hash)
{
    char *block = blocks + block_of(hash, block_count) * BLOCK_BYTES;
    uint32_t lanes[8], mask[8];
    memcpy(lanes, block, BLOCK_BYTES);
    block_mask(hash, mask);
    for (unsigned k = 0; k < 8; k++)
        lanes[k] |= mask[k];
    memcpy(block, lanes, BLOCK_BYTES);
}

void words_put(struct words_writer *w, struct tel_buf *out)
{
    double zeros = (double)(SEEN_BITS - w->seen_count);
    double distinct = zeros > 1 ? -(double)SEEN_BITS * log(zeros / (double)SEEN_BITS)
                                : (double)w->hashes.len;
    if (distinct > (double)w->hashes.len)
        distinct = (double)w->hashes.len;
    uint32_t blocks = (uint32_t)(distinct * BITS_PER_WORD / (8 * BLOCK_BYTES)) + 1;
    if (w->incomplete)
        blocks = 0;
    tel_buf_reserve(out, 2 * TEL_VARINT_MAX + blocks * BLOCK_BYTES);
    out->len += tel_varint_put(out->ptr + out->len, w->incomplete ? FLAG_INCOMPLETE : FLAG_NAMED);
    out->len += tel_varint_put(out->ptr + out->len, blocks);
    char *at = out->ptr + out->len;
    memset(at, 0, blocks * BLOCK_BYTES);
    for (size_t i = 0; i < w->hashes.len && blocks; i++)
        words_blocks_add(at, blocks, w->hashes.items[i]);
    out->len += blocks * BLOCK_BYTES;
}

bool words_filter_open(struct tel_span section, struct words_filter *ret)
{
    struct cursor c = cursor_make(section);
    uint64_t flags = cursor_varint(&c);
    uint32_t blocks = (uint32_t)cursor_bounded(&c, BLOCKS_MAX);
    struct tel_span bytes = cursor_bytes(&c, (uint64_t)blocks * BLOCK_BYTES);
    bool known = flags == 0 || flags == FLAG_INCOMPLETE || flags == FLAG_NAMED;
    if (c.bad || !known || (blocks == 0) != (flags == FLAG_INCOMPLETE))
        return false;
    *ret = (struct words_filter){bytes.ptr, blocks, flags == FLAG_NAMED};
    return true;
}

uint64_t words_hash(struct tel_span word)
{
    char padded[16] = {0};
    if (word.len >= 16)
        return hash16(word.ptr, word.len);
    if (word.len)
        memcpy(padded, word.ptr, word.len);
    return hash16(padded, word.len);
}

bool words_filter_has(const struct words_filter *f, uint64_t hash)
{
    uint32_t lanes[8], mask[8], missing = 0;
    if (f->block_count == 0)
        return true;
    memcpy(lanes, f->blocks + block_of(hash, f->block_count) * BLOCK_BYTES, BLOCK_BYTES);
    block_mask(hash, mask);
    for (unsigned k = 0; k < 8; k++)
        missing |= mask[k] & ~lanes[k];
    return missing == 0;
}

bool words_filter_may(const struct words_filter *f, uint64_t under, struct tel_span word)
{
    return (under && !f->named) || !words_counts(word) ||
           words_filter_has(f, words_hash(word) ^ under);
}
