#include "common/base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((noreturn)) static void out_of_memory(size_t size)
{
    fprintf(stderr, "out of memory: %zu bytes\n", size);
    abort();
}

static size_t product(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        out_of_memory(SIZE_MAX);
    return bytes;
}

void *tel_malloc(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p)
        out_of_memory(size);
    return p;
}

void *tel_calloc(size_t count, size_t size)
{
    size_t bytes = product(count, size);
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p)
        out_of_memory(bytes);
    return p;
}

void *tel_realloc(void *ptr, size_t size)
{
    void *p = realloc(ptr, size ? size : 1);
    if (!p)
        out_of_memory(size);
    return p;
}

void *tel_realloc_array(void *ptr, size_t count, size_t size)
{
    return tel_realloc(ptr, product(count, size));
}

char *tel_strdup(const char *s)
{
    return tel_strndup(tel_span_cstr(s));
}

char *tel_strndup(struct tel_span s)
{
    char *p = tel_malloc(s.len + 1);
    if (s.len)
        memcpy(p, s.ptr, s.len);
    p[s.len] = '\0';
    return p;
}
