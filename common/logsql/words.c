/* See words.h. */
#include "common/logsql/words.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "common/base/utf8.h"

/* 1 for ASCII letters, digits and '_'. */
static const uint8_t ascii_word[128] = {
    ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1,
    ['8'] = 1, ['9'] = 1, ['_'] = 1, ['A'] = 1, ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1,
    ['F'] = 1, ['G'] = 1, ['H'] = 1, ['I'] = 1, ['J'] = 1, ['K'] = 1, ['L'] = 1, ['M'] = 1,
    ['N'] = 1, ['O'] = 1, ['P'] = 1, ['Q'] = 1, ['R'] = 1, ['S'] = 1, ['T'] = 1, ['U'] = 1,
    ['V'] = 1, ['W'] = 1, ['X'] = 1, ['Y'] = 1, ['Z'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1,
    ['d'] = 1, ['e'] = 1, ['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1, ['j'] = 1, ['k'] = 1,
    ['l'] = 1, ['m'] = 1, ['n'] = 1, ['o'] = 1, ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1,
    ['t'] = 1, ['u'] = 1, ['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1, ['z'] = 1,
};

/* Length of the character at s[pos]; *ret_word says what it is. */
static size_t char_at(struct tel_span s, size_t pos, bool *ret_word)
{
    unsigned char c = (unsigned char)s.ptr[pos];
    if (c < 0x80) {
        *ret_word = ascii_word[c];
        return 1;
    }
    uint32_t cp;
    size_t n = tel_utf8_decode(tel_span_slice(s, pos, s.len), &cp);
    *ret_word = cp != UINT32_MAX && (cp == '_' || tel_utf8_is_word(cp));
    return n;
}

bool tel_words_next(struct tel_span s, size_t *pos, struct tel_span *ret)
{
    size_t i = *pos;
    bool word = false;
    while (i < s.len) {
        size_t n = char_at(s, i, &word);
        if (word)
            break;
        i += n;
    }
    if (i >= s.len) {
        *pos = s.len;
        return false;
    }
    size_t start = i;
    while (i < s.len) {
        size_t n = char_at(s, i, &word);
        if (!word)
            break;
        i += n;
    }
    *ret = tel_span_slice(s, start, i);
    *pos = i;
    return true;
}

bool tel_words_is_word(struct tel_span s)
{
    size_t pos = 0;
    struct tel_span word;
    return tel_words_next(s, &pos, &word) && word.len == s.len;
}

#ifdef __SSE2__
/* Compares first and last byte of the needle at 16 places at once, then the rest where both fit
 * (W. Mula, "SIMD-friendly algorithms for substring searching"). */
static size_t find_simd(const char *s, size_t n, const char *needle, size_t k, size_t from)
{
    const __m128i first = _mm_set1_epi8(needle[0]), last = _mm_set1_epi8(needle[k - 1]);
    size_t i = from;
    for (; i + k + 15 <= n; i += 16) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)(s + i));
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(s + i + k - 1));
        unsigned mask = (unsigned)_mm_movemask_epi8(
            _mm_and_si128(_mm_cmpeq_epi8(a, first), _mm_cmpeq_epi8(b, last)));
        for (; mask; mask &= mask - 1) {
            size_t at = i + (size_t)__builtin_ctz(mask);
            if (memcmp(s + at + 1, needle + 1, k - 1) == 0)
                return at;
        }
    }
    for (; i + k <= n; i++)
        if (s[i] == needle[0] && s[i + k - 1] == needle[k - 1] && memcmp(s + i, needle, k) == 0)
            return i;
    return SIZE_MAX;
}
#endif

size_t tel_words_find_bytes(struct tel_span s, struct tel_span needle, size_t from)
{
    if (from > s.len || needle.len > s.len - from)
        return SIZE_MAX;
    if (needle.len == 0)
        return from;
    if (needle.len == 1) {
        const char *p = memchr(s.ptr + from, needle.ptr[0], s.len - from);
        return p ? (size_t)(p - s.ptr) : SIZE_MAX;
    }
#ifdef __SSE2__
    if (needle.len <= 64)
        return find_simd(s.ptr, s.len, needle.ptr, needle.len, from);
#endif
    const char *p = memmem(s.ptr + from, s.len - from, needle.ptr, needle.len);
    return p ? (size_t)(p - s.ptr) : SIZE_MAX;
}

/* Would the character that ends right before s[pos] continue a word? */
static bool word_before(struct tel_span s, size_t pos)
{
    unsigned char c = (unsigned char)s.ptr[pos - 1];
    if (c < 0x80)
        return ascii_word[c];
    size_t start = pos - 1;
    while (start > 0 && pos - start < 4 && ((unsigned char)s.ptr[start] & 0xc0) == 0x80)
        start--;
    uint32_t cp;
    if (tel_utf8_decode(tel_span_slice(s, start, pos), &cp) != pos - start || cp == UINT32_MAX ||
        cp == 0xfffd)
        return true;
    return tel_utf8_is_word(cp);
}

static bool word_after(struct tel_span s, size_t pos)
{
    unsigned char c = (unsigned char)s.ptr[pos];
    if (c < 0x80)
        return ascii_word[c];
    uint32_t cp;
    tel_utf8_decode(tel_span_slice(s, pos, s.len), &cp);
    return cp == UINT32_MAX || cp == 0xfffd || tel_utf8_is_word(cp);
}

struct tel_phrase tel_phrase_make(struct tel_span text)
{
    struct tel_phrase phrase = {.text = text};
    if (text.len == 0)
        return phrase;
    bool word;
    char_at(text, 0, &word);
    phrase.starts_word = word;
    size_t start = text.len - 1;
    while (start > 0 && text.len - start < 4 && ((unsigned char)text.ptr[start] & 0xc0) == 0x80)
        start--;
    size_t n = char_at(text, start, &word);
    phrase.ends_word = word && start + n == text.len;
    return phrase;
}

size_t tel_phrase_find(const struct tel_phrase *phrase, struct tel_span s, size_t from, bool prefix)
{
    size_t len = phrase->text.len;
    for (size_t at = from;; at++) {
        at = tel_words_find_bytes(s, phrase->text, at);
        if (at == SIZE_MAX)
            return SIZE_MAX;
        if (phrase->starts_word && at > 0 && word_before(s, at))
            continue;
        if (!prefix && phrase->ends_word && at + len < s.len && word_after(s, at + len))
            continue;
        return at;
    }
}

void tel_words_lower(struct tel_buf *out, struct tel_span s)
{
    tel_buf_clear(out);
    tel_buf_reserve(out, s.len + 4);
    size_t i = 0;
    while (i < s.len) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < 0x80) {
            tel_buf_add_char(out, (char)(c | ((unsigned)(c - 'A') < 26 ? 0x20 : 0)));
            i++;
            continue;
        }
        uint32_t cp;
        size_t n = tel_utf8_decode(tel_span_slice(s, i, s.len), &cp);
        if (cp == UINT32_MAX) {
            tel_buf_add(out, s.ptr + i, n);
        } else {
            char text[4];
            tel_buf_add(out, text, tel_utf8_encode(tel_utf8_lower(cp), text));
        }
        i += n;
    }
}

bool tel_words_lower_ascii(char *out, struct tel_span s)
{
    size_t i = 0;
#ifdef __SSE2__
    const __m128i a = _mm_set1_epi8('A' - 1), z = _mm_set1_epi8('Z' + 1), bit = _mm_set1_epi8(0x20);
    for (; i + 16 <= s.len; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(s.ptr + i));
        if (_mm_movemask_epi8(v))
            return false;
        __m128i upper = _mm_and_si128(_mm_cmpgt_epi8(v, a), _mm_cmplt_epi8(v, z));
        _mm_storeu_si128((__m128i *)(void *)(out + i), _mm_or_si128(v, _mm_and_si128(upper, bit)));
    }
#endif
    for (; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c & 0x80)
            return false;
        out[i] = (char)(c | ((unsigned)(c - 'A') < 26 ? 0x20 : 0));
    }
    return true;
}

#define NEAR_MAX 64 /* characters of a word that fuzzy search looks at */

static size_t decode_word(struct tel_span s, uint32_t out[NEAR_MAX])
{
    size_t n = 0, i = 0;
    while (i < s.len && n < NEAR_MAX)
        i += tel_utf8_decode(tel_span_slice(s, i, s.len), &out[n++]);
    return i < s.len ? SIZE_MAX : n;
}

bool tel_words_near(struct tel_span word, struct tel_span of, unsigned max_edits)
{
    uint32_t a[NEAR_MAX], b[NEAR_MAX];
    if (word.len > of.len + 4 * (size_t)max_edits || of.len > word.len + 4 * (size_t)max_edits)
        return false;
    size_t n = decode_word(word, a), m = decode_word(of, b);
    if (n == SIZE_MAX || m == SIZE_MAX)
        return tel_span_eq(word, of);
    if (n > m + max_edits || m > n + max_edits)
        return false;
    /* Optimal string alignment, three rows. */
    unsigned rows[3][NEAR_MAX + 1];
    for (unsigned j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        unsigned *cur = rows[i % 3], *prev = rows[(i - 1) % 3], *prev2 = rows[(i + 1) % 3];
        unsigned best = cur[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned v = prev[j - 1] + (a[i - 1] != b[j - 1]);
            v = TEL_MIN(v, prev[j] + 1);
            v = TEL_MIN(v, cur[j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                v = TEL_MIN(v, prev2[j - 2] + 1);
            cur[j] = v;
            best = TEL_MIN(best, v);
        }
        if (best > max_edits + 1) /* a swap looks back two rows */
            return false;
    }
    return rows[n % 3][m] <= max_edits;
}
