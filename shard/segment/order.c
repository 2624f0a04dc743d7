/*
 * Rows in the order of their keys. The log's order is nearly that of time, but messages of several
 * sources lie beside each other, so that a segment is some hundred runs.
 *
 *     word     time - least time | number of the row        as many low bits of the time are left out
 *                                                           as do not fit, which are seldom any
 *
 * The words are sorted by a radix sort over the time's bits (least digit first, digits small enough
 * for their counts to stay in the first-level cache); then rows whose words have the same time are put
 * in the order of their whole keys.
 */
#include <stdlib.h>

#include "shard/segment/builder.h"

#define RADIX_MIN  1024u
#define DIGIT_BITS 11u

static unsigned bits_of(uint64_t v)
{
    return v ? 64 - (unsigned)__builtin_clzll(v) : 0;
}

static int row_cmp(const void *x, const void *y, void *ctx)
{
    const struct segment_builder *b = ctx;
    return built_row_cmp(&b->rows.items[*(const uint32_t *)x],
                         &b->rows.items[*(const uint32_t *)y]);
}

static void radix_pass(const uint64_t *from, uint64_t *to, size_t n, unsigned shift, unsigned width)
{
    uint32_t counts[1u << DIGIT_BITS] = {0};
    uint64_t mask = (UINT64_C(1) << width) - 1;
    for (size_t i = 0; i < n; i++)
        counts[from[i] >> shift & mask]++;
    uint32_t sum = 0;
    for (size_t i = 0; i <= mask; i++) {
        uint32_t c = counts[i];
        counts[i] = sum;
        sum += c;
    }
    for (size_t i = 0; i < n; i++)
        to[counts[from[i] >> shift & mask]++] = from[i];
}

/* Puts rows whose words have the same time in the order of their keys. */
static void settle_ties(struct segment_builder *b, const uint64_t *words, unsigned row_bits)
{
    uint32_t *order = b->order.items;
    size_t n = b->rows.len;
    for (size_t i = 1, first; i < n; i++) {
        if (words[i] >> row_bits != words[i - 1] >> row_bits)
            continue;
        bool sorted = true;
        first = i - 1;
        for (; i < n && words[i] >> row_bits == words[first] >> row_bits; i++)
            sorted &= row_cmp(&order[i - 1], &order[i], b) < 0;
        if (!sorted)
            qsort_r(order + first, i - first, sizeof(*order), row_cmp, b);
    }
}

static void radix_order(struct segment_builder *b, int64_t min, int64_t max)
{
    size_t n = b->rows.len;
    unsigned row_bits = bits_of(n - 1), bits = bits_of((uint64_t)max - (uint64_t)min);
    unsigned drop = row_bits + bits > 64 ? row_bits + bits - 64 : 0;
    tel_vec_reserve(&b->numbers, n);
    tel_vec_reserve(&b->times, n);
    uint64_t *words = b->numbers.items, *other = b->times.items;
    for (size_t i = 0; i < n; i++) {
        uint64_t t = (uint64_t)b->rows.items[i].time_ns - (uint64_t)min;
        words[i] = t >> drop << row_bits | i;
    }
    bits -= drop;
    unsigned digits = (bits + DIGIT_BITS - 1) / DIGIT_BITS;
    for (unsigned d = 0; d < digits; d++) {
        unsigned width = (bits + digits - 1) / digits;
        radix_pass(words, other, n, row_bits + d * width, width);
        uint64_t *swap = words;
        words = other;
        other = swap;
    }
    for (size_t i = 0; i < n; i++)
        b->order.items[i] = (uint32_t)(words[i] & ((UINT64_C(1) << row_bits) - 1));
    settle_ties(b, words, row_bits);
}

void builder_order(struct segment_builder *b)
{
    size_t n = b->rows.len;
    tel_vec_reserve(&b->order, n);
    if (b->unsorted && n >= RADIX_MIN) {
        radix_order(b, b->min_ns, b->max_ns);
        return;
    }
    for (size_t i = 0; i < n; i++)
        b->order.items[i] = (uint32_t)i;
    if (b->unsorted)
        qsort_r(b->order.items, n, sizeof(uint32_t), row_cmp, b);
}
