/*
 * Growable typed arrays.
 *
 *     TEL_VEC(struct tel_span) words = {0};
 *     tel_vec_push(&words, s);
 *     for (size_t i = 0; i < words.len; i++) use(words.items[i]);
 *     tel_vec_free(&words);
 */
#ifndef TEL_BASE_VEC_H
#define TEL_BASE_VEC_H

#include <stdlib.h>

#include "common/base/mem.h"

#define TEL_VEC(type)                                                                              \
    struct {                                                                                       \
        type *items;                                                                               \
        size_t len, cap;                                                                           \
    }

/* Grows *items so that `need` elements of `size` bytes fit; doubles. */
void tel_vec_grow_raw(void **items, size_t *cap, size_t need, size_t size);

#define tel_vec_reserve(v, n)                                                                      \
    ((n) > (v)->cap ? tel_vec_grow_raw((void **)&(v)->items, &(v)->cap, (n), sizeof(*(v)->items))  \
                    : (void)0)
#define tel_vec_push(v, x) (tel_vec_reserve((v), (v)->len + 1), (void)((v)->items[(v)->len++] = (x)))
#define tel_vec_clear(v)   ((void)((v)->len = 0))
#define tel_vec_free(v)                                                                            \
    (free((v)->items), (v)->items = NULL, (void)((v)->len = (v)->cap = 0))

#endif
