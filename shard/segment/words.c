/* See words.h. */
#include "shard/segment/words.h"

#include <stdlib.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "common/base/hash.h"
#include "common/logsql/words.h"
#include "shard/segment/cursor.h"
#include "shard/segment/split.h"

#define BITS_PER_WORD 9u
#define BLOCK_BYTES   WORDS_BLOCK_BYTES
#define BLOCKS_MAX    (1u << 22)

#define FUSE_WORDS    2000u /* fewer are told as well by a Bloom filter */
#define BUCKET_WORDS  32u   /* on average, when they are sorted */

enum { FLAG_INCOMPLETE = 1, FLAG_NAMED = 2, FLAG_FUSE = 4 };

void words_writer_init(struct words_writer *w)
{
    memset(w, 0, sizeof(*w));
}

void words_writer_done(struct words_writer *w)
{
    tel_vec_free(&w->hashes);
    tel_vec_free(&w->sorted);
}

void words_writer_reset(struct words_writer *w, size_t budget)
{
    tel_vec_clear(&w->hashes);
    memset(w->recent, 0, sizeof(w->recent));
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

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void sort_few(uint64_t *v, size_t n)
{
    if (n > 4 * BUCKET_WORDS) {
        qsort(v, n, sizeof(*v), by_value);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        uint64_t x = v[i];
        size_t k = i;
        for (; k > 0 && v[k - 1] > x; k--)
            v[k] = v[k - 1];
        v[k] = x;
    }
}

/* The distinct hashes in ascending order, in w->sorted: first into buckets by their upper bits. */
static void sort_hashes(struct words_writer *w)
{
    size_t n = w->hashes.len, at = 0, len = 0;
    unsigned bits = 1;
    while (bits < 20 && (n >> bits) > BUCKET_WORDS)
        bits++;
    size_t buckets = (size_t)1 << bits;
    uint32_t *next = tel_calloc(buckets + 1, sizeof(*next)); /* ends, in the end */
    tel_vec_clear(&w->sorted);
    tel_vec_reserve(&w->sorted, n + 1);
    for (size_t i = 0; i < n; i++)
        next[(w->hashes.items[i] >> (64 - bits)) + 1]++;
    for (size_t b = 0; b < buckets; b++)
        next[b + 1] += next[b];
    for (size_t i = 0; i < n; i++)
        w->sorted.items[next[w->hashes.items[i] >> (64 - bits)]++] = w->hashes.items[i];
    for (size_t b = 0; b < buckets; at = next[b++])
        sort_few(w->sorted.items + at, next[b] - at);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || w->sorted.items[i] != w->sorted.items[i - 1])
            w->sorted.items[len++] = w->sorted.items[i];
    w->sorted.len = len;
    free(next);
}

static void put_number(struct tel_buf *out, uint64_t v)
{
    tel_buf_reserve(out, TEL_VARINT_MAX);
    out->len += tel_varint_put(out->ptr + out->len, v);
}

/* False, with nothing put, if there is none for these words. */
static bool put_fuse(const struct words_writer *w, struct tel_buf *out)
{
    struct fuse fuse = fuse_shape(w->sorted.len);
    size_t bytes = fuse_bytes(&fuse);
    uint8_t *prints = tel_malloc(bytes);
    bool made = fuse_build(&fuse, w->sorted.items, w->sorted.len, prints);
    if (made) {
        put_number(out, FLAG_FUSE);
        put_number(out, fuse.segment_log);
        put_number(out, fuse.segments);
        put_number(out, fuse.seed);
        tel_buf_add(out, prints, bytes);
    }
    free(prints);
    return made;
}

void words_put(struct words_writer *w, struct tel_buf *out)
{
    if (w->incomplete) {
        put_number(out, FLAG_INCOMPLETE);
        put_number(out, 0);
        return;
    }
    sort_hashes(w);
    if (w->sorted.len >= FUSE_WORDS && put_fuse(w, out))
        return;
    uint32_t blocks = words_blocks_for(w->sorted.len, BITS_PER_WORD);
    put_number(out, FLAG_NAMED);
    put_number(out, blocks);
    tel_buf_reserve(out, (size_t)blocks * BLOCK_BYTES);
    char *at = out->ptr + out->len;
    memset(at, 0, (size_t)blocks * BLOCK_BYTES);
    for (size_t i = 0; i < w->sorted.len; i++)
        words_blocks_add(at, blocks, w->sorted.items[i]);
    out->len += (size_t)blocks * BLOCK_BYTES;
}

static bool open_fuse(struct cursor *c, struct words_filter *ret)
{
    struct fuse fuse = {.segment_log = (uint32_t)cursor_bounded(c, FUSE_SEGMENT_LOG_MAX)};
    fuse.segments = (uint32_t)cursor_bounded(c, FUSE_SEGMENTS_MAX);
    fuse.seed = cursor_varint(c);
    fuse.prints = (const uint8_t *)cursor_bytes(c, fuse_bytes(&fuse)).ptr;
    if (c->bad || fuse.segments == 0)
        return false;
    *ret = (struct words_filter){.fuse = fuse, .named = true};
    return true;
}

bool words_filter_open(struct tel_span section, struct words_filter *ret)
{
    struct cursor c = cursor_make(section);
    uint64_t flags = cursor_varint(&c);
    if (flags == FLAG_FUSE)
        return open_fuse(&c, ret);
    uint32_t blocks = (uint32_t)cursor_bounded(&c, BLOCKS_MAX);
    struct tel_span bytes = cursor_bytes(&c, (uint64_t)blocks * BLOCK_BYTES);
    bool known = flags == 0 || flags == FLAG_INCOMPLETE || flags == FLAG_NAMED;
    if (c.bad || !known || (blocks == 0) != (flags == FLAG_INCOMPLETE))
        return false;
    *ret = (struct words_filter){
        .blocks = bytes.ptr, .block_count = blocks, .named = flags == FLAG_NAMED};
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
    if (f->fuse.prints)
        return fuse_has(&f->fuse, hash);
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
