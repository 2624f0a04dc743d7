/*
 * Memory from the heap. Sizes that come from outside are capped before they get here, so running
 * out of memory means that the budgets are wrong or the machine is gone: these end the process with
 * a message instead of returning NULL. They never return NULL, not even for size 0.
 */
#ifndef TEL_BASE_MEM_H
#define TEL_BASE_MEM_H

#include <stddef.h>

#include "common/base/span.h"

void *tel_malloc(size_t size);
void *tel_calloc(size_t count, size_t size); /* zeroed; checks the product for overflow */
void *tel_realloc(void *ptr, size_t size);
void *tel_realloc_array(void *ptr, size_t count, size_t size);
char *tel_strdup(const char *s);
char *tel_strndup(struct tel_span s); /* a NUL-terminated copy */

#define TEL_NEW(type) ((type *)tel_calloc(1, sizeof(type)))

#endif
