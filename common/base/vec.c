#include "common/base/vec.h"

#include <stdint.h>

#include "common/base/check.h"

void tel_vec_grow_raw(void **items, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap)
        return;
    size_t grown = *cap < 4 ? 4 : *cap;
    while (grown < need) {
        TEL_CHECK(grown <= SIZE_MAX / 2);
        grown *= 2;
    }
    *items = tel_realloc_array(*items, grown, size);
    *cap = grown;
}
