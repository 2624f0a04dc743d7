/*
 * Sorting that can be stopped. A library's sort of millions of rows is seconds in which nobody is asked
 * whether the answer is still wanted.
 */
#ifndef TEL_BASE_SORT_H
#define TEL_BASE_SORT_H

#include <stddef.h>

#include "common/base/pace.h"

typedef int (*tel_compare_fn)(const void *a, const void *b, void *ctx);

/* Sorts items[0..n) of `size` bytes each, in as much memory again for as long as it lasts. When the pace ends it they are all there, in some order. */
TEL_MUST_USE tel_code tel_sort(void *items, size_t n, size_t size, tel_compare_fn compare, void *ctx,
                               struct tel_pace *pace, struct tel_error *err);

#endif
