/* Memory for the plugin: zeroed, never NULL. Everything asked for here is small or capped by the
 * configuration, so running out means that the machine is gone. */
#ifndef TELESCOPE_TAIL_MEMORY_H
#define TELESCOPE_TAIL_MEMORY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void *tail_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p) {
        fputs("tail: out of memory\n", stderr);
        abort();
    }
    return p;
}

static inline char *tail_copy(const char *ptr, size_t len)
{
    char *p = tail_alloc(len + 1);
    if (len)
        memcpy(p, ptr, len);
    return p;
}

#endif
