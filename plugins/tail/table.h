/* A hash table from two 64-bit numbers to a pointer: open addressing, linear probing, at most half
 * full; removal moves the followers back. One thread. */
#ifndef TELESCOPE_TAIL_TABLE_H
#define TELESCOPE_TAIL_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct table_slot {
    uint64_t a, b;
    void *value; /* NULL: free */
};

struct table {
    struct table_slot *slots;
    size_t cap, len;
};

void table_free(struct table *t);
void *table_get(const struct table *t, uint64_t a, uint64_t b);
/* value is not NULL; replaces what was there. */
void table_put(struct table *t, uint64_t a, uint64_t b, void *value);
void table_remove(struct table *t, uint64_t a, uint64_t b);

#endif
