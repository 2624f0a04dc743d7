/* See stream_table.h. A hash map with chains; an entry is one block of memory. */
#include "shard/segment/stream_table.h"

#include <stdlib.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/sys/thread.h"
#include "shard/segment/cursor.h"
#include "shard/segment/streams.h"

#define BUCKETS_MIN 256u

struct slot {
    struct stream_entry entry; /* first: an entry is its slot */
    struct tel_arena arena;    /* of the entry's texts */
    struct tel_span labels;    /* as they were given: the key */
    struct slot *next;
    uint64_t hash, bytes;
    uint32_t refs;
};

struct stream_table {
    struct tel_mutex lock;
    struct slot **buckets;
    size_t bucket_count, count;
    uint64_t serial, bytes;
    uint32_t numbers; /* given so far, but for those that are free */
    TEL_VEC(uint32_t) free_numbers;
};

struct stream_table *stream_table_new(void)
{
    struct stream_table *t = TEL_NEW(struct stream_table);
    tel_mutex_init(&t->lock);
    t->bucket_count = BUCKETS_MIN;
    t->buckets = tel_calloc(t->bucket_count, sizeof(struct slot *));
    return t;
}

void stream_table_free(struct stream_table *t)
{
    if (!t)
        return;
    TEL_CHECK(t->count == 0);
    free(t->buckets);
    tel_vec_free(&t->free_numbers);
    tel_mutex_done(&t->lock);
    free(t);
}

static struct slot *new_slot(struct tel_span labels, uint64_t hash, struct tel_error *err)
{
    struct slot *s = TEL_NEW(struct slot);
    tel_arena_init(&s->arena, 512);
    s->labels = tel_arena_copy(&s->arena, labels);
    s->hash = hash;
    struct cursor c = cursor_make(s->labels);
    size_t n = cursor_count(&c, 2);
    struct tel_field *fields = TEL_ARENA_ARRAY(&s->arena, struct tel_field, n);
    for (size_t k = 0; k < n; k++) {
        fields[k].name = cursor_span(&c);
        fields[k].value = cursor_span(&c);
    }
    if (c.bad) {
        tel_arena_free(&s->arena);
        free(s);
        (void)segment_corrupt(err, "labels of a stream");
        return NULL;
    }
    segment_stream_init(&s->entry.stream, fields, (uint32_t)n, &s->arena);
    s->bytes = sizeof(*s) + s->arena.bytes;
    return s;
}

/* The lock is held. */
static struct slot *find(const struct stream_table *t, struct tel_span labels, uint64_t hash)
{
    struct slot *s = t->buckets[hash % t->bucket_count];
    while (s && !(s->hash == hash && tel_span_eq(s->labels, labels)))
        s = s->next;
    return s;
}

/* The lock is held. */
static void grow(struct stream_table *t)
{
    size_t count = 2 * t->bucket_count;
    struct slot **buckets = tel_calloc(count, sizeof(struct slot *));
    for (size_t i = 0; i < t->bucket_count; i++) {
        for (struct slot *s = t->buckets[i], *next; s; s = next) {
            next = s->next;
            s->next = buckets[s->hash % count];
            buckets[s->hash % count] = s;
        }
    }
    free(t->buckets);
    t->buckets = buckets;
    t->bucket_count = count;
}

/* The lock is held. */
static void add(struct stream_table *t, struct slot *s)
{
    if (t->count >= t->bucket_count)
        grow(t);
    s->entry.serial = ++t->serial;
    s->entry.number = t->free_numbers.len ? t->free_numbers.items[--t->free_numbers.len]
                                          : t->numbers++;
    s->next = t->buckets[s->hash % t->bucket_count];
    t->buckets[s->hash % t->bucket_count] = s;
    t->count++;
    t->bytes += s->bytes;
}

tel_code stream_table_take(struct stream_table *t, struct tel_span labels,
                           struct stream_entry **ret, struct tel_error *err)
{
    uint64_t hash = tel_hash64(labels, 0);
    tel_mutex_lock(&t->lock);
    struct slot *s = find(t, labels, hash);
    if (!s) {
        s = new_slot(labels, hash, err);
        if (s)
            add(t, s);
    }
    if (s)
        s->refs++;
    tel_mutex_unlock(&t->lock);
    if (!s)
        return TEL_ERR_CORRUPT;
    *ret = &s->entry;
    return TEL_OK;
}

/* The lock is held. */
static void drop(struct stream_table *t, struct slot *s)
{
    struct slot **at = &t->buckets[s->hash % t->bucket_count];
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    tel_vec_push(&t->free_numbers, s->entry.number);
    t->count--;
    t->bytes -= s->bytes;
    tel_arena_free(&s->arena);
    free(s);
}

void stream_table_put(struct stream_table *t, struct stream_entry *const *entries, size_t count)
{
    tel_mutex_lock(&t->lock);
    for (size_t i = 0; i < count; i++) {
        struct slot *s = TEL_CONTAINER_OF(entries[i], struct slot, entry);
        if (--s->refs == 0)
            drop(t, s);
    }
    tel_mutex_unlock(&t->lock);
}

uint64_t stream_table_bytes(struct stream_table *t)
{
    tel_mutex_lock(&t->lock);
    uint64_t bytes = t->bytes;
    tel_mutex_unlock(&t->lock);
    return bytes;
}
