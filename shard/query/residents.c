/* See residents.h. */
#include "shard/query/residents.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/sys/thread.h"

#define BUCKETS_MIN 1024u

struct resident_words {
    _Atomic uint32_t refs;
    struct segment_words *words;
};

struct resident_entry {
    _Atomic uint32_t refs; /* the table's, and holders' */
    struct store_segment *segment;
    struct segment_outline *outline;
    struct resident_words *words; /* NULL: dropped, or never asked for; guarded by the lock */
    int64_t used;                 /* the minute of the last use; guarded by the lock */
    struct resident_entry *next;
};

/* What goes first is what is least. */
struct rank {
    int64_t used, time_ns;
};

struct residents {
    struct tel_mutex lock;
    uint64_t max_bytes;
    struct stream_table *table;
    struct residents_stats stats;
    struct resident_entry **buckets;
    size_t bucket_count;
    struct rank floor; /* what ranks no higher was dropped for want of room */
};

struct residents *residents_new(uint64_t max_bytes)
{
    struct residents *r = TEL_NEW(struct residents);
    tel_mutex_init(&r->lock);
    r->max_bytes = max_bytes;
    r->table = stream_table_new();
    r->bucket_count = BUCKETS_MIN;
    r->buckets = tel_calloc(r->bucket_count, sizeof(struct resident_entry *));
    r->floor = (struct rank){INT64_MIN, INT64_MIN};
    return r;
}

/* ---- counts ------------------------------------------------------------------------------------- */

static void unref_words(struct resident_words *w)
{
    if (!w || atomic_fetch_sub(&w->refs, 1) > 1)
        return;
    free(w->words);
    free(w);
}

static void unref_entry(struct resident_entry *e)
{
    if (!e || atomic_fetch_sub(&e->refs, 1) > 1)
        return;
    unref_words(e->words);
    segment_outline_free(e->outline);
    store_segment_unref(e->segment);
    free(e);
}

void residents_put(struct residents *r, struct resident *resident)
{
    (void)r;
    unref_words(resident->counted);
    unref_entry(resident->entry);
    *resident = (struct resident){0};
}

/* ---- the table ---------------------------------------------------------------------------------- */

static struct resident_entry **bucket_of(struct residents *r, const struct store_segment *segment)
{
    return &r->buckets[tel_hash_u64((uint64_t)(uintptr_t)segment) % r->bucket_count];
}

/* The lock is held. */
static struct resident_entry *find(struct residents *r, const struct store_segment *segment)
{
    struct resident_entry *e = *bucket_of(r, segment);
    while (e && e->segment != segment)
        e = e->next;
    return e;
}

/* The lock is held. */
static void link_entry(struct residents *r, struct resident_entry *e)
{
    if (r->stats.outlines.count >= r->bucket_count) {
        struct resident_entry **old = r->buckets;
        size_t count = r->bucket_count;
        r->bucket_count *= 2;
        r->buckets = tel_calloc(r->bucket_count, sizeof(struct resident_entry *));
        for (size_t i = 0; i < count; i++) {
            for (struct resident_entry *o = old[i], *next; o; o = next) {
                struct resident_entry **at = bucket_of(r, o->segment);
                next = o->next;
                o->next = *at;
                *at = o;
            }
        }
        free(old);
    }
    struct resident_entry **at = bucket_of(r, e->segment);
    e->next = *at;
    *at = e;
    r->stats.outlines.count++;
    r->stats.outlines.bytes += e->outline->bytes + sizeof(*e);
    if (e->words) { /* it was there before, and had them */
        r->stats.words.count++;
        r->stats.words.bytes += e->words->words->bytes;
    }
}

/* The lock is held; what is taken out is freed without it. */
static struct resident_words *cut_words(struct residents *r, struct resident_entry *e)
{
    struct resident_words *w = e->words;
    e->words = NULL;
    if (w) {
        r->stats.words.count--;
        r->stats.words.bytes -= w->words->bytes;
    }
    return w;
}

/* The lock is held. */
static void unlink_entry(struct residents *r, struct resident_entry *e)
{
    struct resident_entry **at = bucket_of(r, e->segment);
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    e->next = NULL;
    if (e->words) { /* they go with the entry */
        r->stats.words.count--;
        r->stats.words.bytes -= e->words->words->bytes;
    }
    r->stats.outlines.count--;
    r->stats.outlines.bytes -= e->outline->bytes + sizeof(*e);
}

void residents_free(struct residents *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->bucket_count; i++) {
        while (r->buckets[i]) {
            struct resident_entry *e = r->buckets[i];
            unlink_entry(r, e);
            unref_entry(e);
        }
    }
    stream_table_free(r->table);
    free(r->buckets);
    tel_mutex_done(&r->lock);
    free(r);
}

/* ---- room --------------------------------------------------------------------------------------- */

typedef TEL_VEC(struct resident_entry *) entry_list;

static int64_t this_minute(void)
{
    return tel_mono_ns(tel_clock_system()) / (60 * TEL_NS_PER_S);
}

static int rank_cmp(struct rank a, struct rank b)
{
    if (a.used != b.used)
        return a.used < b.used ? -1 : 1;
    return (a.time_ns > b.time_ns) - (a.time_ns < b.time_ns);
}

static struct rank rank_of(const struct resident_entry *e)
{
    return (struct rank){e->used, e->segment->max_time_ns};
}

static int by_rank(const void *a, const void *b)
{
    return rank_cmp(rank_of(*(struct resident_entry *const *)a),
                    rank_of(*(struct resident_entry *const *)b));
}

/* The lock is held. */
static uint64_t bytes_held(struct residents *r)
{
    return r->stats.outlines.bytes + r->stats.words.bytes + stream_table_bytes(r->table);
}

/* Makes room down to nine tenths of the budget, so that it is not to be made for each segment. What
 * goes is put into the lists. The lock is held. */
static void make_room(struct residents *r, entry_list *ret_entries,
                      struct resident_words ***ret_words, size_t *ret_word_count)
{
    uint64_t target = r->max_bytes - r->max_bytes / 10;
    entry_list all = {0};
    for (size_t i = 0; i < r->bucket_count; i++)
        for (struct resident_entry *e = r->buckets[i]; e; e = e->next)
            tel_vec_push(&all, e);
    if (all.len)
        qsort(all.items, all.len, sizeof(struct resident_entry *), by_rank);
    *ret_words = tel_calloc(all.len + 1, sizeof(struct resident_words *));
    for (size_t i = 0; i < all.len && bytes_held(r) > target; i++) {
        if (!all.items[i]->words)
            continue;
        (*ret_words)[(*ret_word_count)++] = cut_words(r, all.items[i]);
        r->stats.words.dropped++;
        r->floor = rank_of(all.items[i]);
    }
    for (size_t i = 0; i < all.len && bytes_held(r) > target; i++) {
        r->floor = rank_of(all.items[i]);
        unlink_entry(r, all.items[i]);
        r->stats.outlines.dropped++;
        tel_vec_push(ret_entries, all.items[i]);
    }
    tel_vec_free(&all);
}

/* The lock is held. */
static bool has_room(struct residents *r, const struct store_segment *segment, uint64_t bytes)
{
    struct rank rank = {this_minute(), segment->max_time_ns};
    return bytes_held(r) + bytes <= r->max_bytes ||
           (bytes <= r->max_bytes / 2 && rank_cmp(rank, r->floor) > 0);
}

bool residents_have_room(struct residents *r, const struct store_segment *segment)
{
    tel_mutex_lock(&r->lock);
    bool room = has_room(r, segment, 0);
    tel_mutex_unlock(&r->lock);
    return room;
}

/* ---- taking and learning ------------------------------------------------------------------------ */

/* Puts what an entry has into *ret, where it is not there yet. The lock is held. */
static void hold(struct resident_entry *e, bool want_words, struct resident *ret)
{
    if (!ret->entry) {
        atomic_fetch_add(&e->refs, 1);
        ret->entry = e;
        ret->outline = e->outline;
    }
    if (want_words && !ret->counted && e->words) {
        atomic_fetch_add(&e->words->refs, 1);
        ret->counted = e->words;
        ret->words = e->words->words;
    }
}

void residents_take(struct residents *r, struct store_segment *segment, bool want_words,
                    struct resident *ret)
{
    *ret = (struct resident){0};
    int64_t now = this_minute();
    tel_mutex_lock(&r->lock);
    struct resident_entry *e = find(r, segment);
    if (e) {
        e->used = now;
        hold(e, want_words, ret);
    }
    *(e ? &r->stats.outlines.hits : &r->stats.outlines.misses) += 1;
    if (want_words)
        *(ret->words ? &r->stats.words.hits : &r->stats.words.misses) += 1;
    tel_mutex_unlock(&r->lock);
}

/* Keeps what is in *resident and was made by its caller. */
static void keep(struct residents *r, struct resident *resident)
{
    struct resident_entry *mine = resident->entry;
    struct resident_words **words = NULL;
    size_t word_count = 0;
    entry_list entries = {0};
    tel_mutex_lock(&r->lock);
    struct resident_entry *e = find(r, mine->segment);
    if (!e && !store_segment_gone(mine->segment) &&
        has_room(r, mine->segment, mine->outline->bytes)) {
        atomic_fetch_add(&mine->refs, 1);
        mine->used = this_minute();
        link_entry(r, mine);
        e = mine;
    }
    if (e && !e->words && resident->counted &&
        has_room(r, e->segment, resident->words->bytes)) {
        atomic_fetch_add(&resident->counted->refs, 1);
        e->words = resident->counted;
        r->stats.words.count++;
        r->stats.words.bytes += resident->words->bytes;
    }
    if (bytes_held(r) > r->max_bytes)
        make_room(r, &entries, &words, &word_count);
    tel_mutex_unlock(&r->lock);
    for (size_t i = 0; i < word_count; i++)
        unref_words(words[i]);
    for (size_t i = 0; i < entries.len; i++)
        unref_entry(entries.items[i]);
    free(words);
    tel_vec_free(&entries);
}

tel_code residents_learn(struct residents *r, struct store_segment *segment,
                         struct segment_reader *reader, bool want_words,
                         struct resident *resident, struct tel_error *err)
{
    struct segment_outline *outline = NULL;
    struct segment_words *words = NULL;
    tel_code rc = TEL_OK;
    if (!resident->outline)
        rc = segment_outline_make(reader, r->table, &outline, err);
    if (rc == TEL_OK && want_words && !resident->words)
        rc = segment_words_copy(reader, &words, err);
    if (rc != TEL_OK) {
        segment_outline_free(outline);
        return rc;
    }
    if (outline) {
        resident->entry = TEL_NEW(struct resident_entry);
        atomic_init(&resident->entry->refs, 1);
        resident->entry->segment = store_segment_ref(segment);
        resident->entry->outline = outline;
        resident->outline = outline;
    }
    if (words) {
        resident->counted = TEL_NEW(struct resident_words);
        atomic_init(&resident->counted->refs, 1);
        resident->counted->words = words;
        resident->words = words;
    }
    keep(r, resident);
    return TEL_OK;
}

void residents_purge(struct residents *r)
{
    entry_list gone = {0};
    tel_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->bucket_count; i++)
        for (struct resident_entry *e = r->buckets[i]; e; e = e->next)
            if (store_segment_gone(e->segment))
                tel_vec_push(&gone, e);
    for (size_t i = 0; i < gone.len; i++)
        unlink_entry(r, gone.items[i]);
    tel_mutex_unlock(&r->lock);
    for (size_t i = 0; i < gone.len; i++)
        unref_entry(gone.items[i]);
    tel_vec_free(&gone);
}

void residents_stats_get(struct residents *r, struct residents_stats *ret)
{
    tel_mutex_lock(&r->lock);
    *ret = r->stats;
    ret->outlines.bytes += stream_table_bytes(r->table);
    tel_mutex_unlock(&r->lock);
}
