/*
 * An entry of a day's catalogue: what the store knows about one segment, as it stands on disk under
 * the key (segment id, 0) in front of the segment's sections. shard/FORMAT.md draws it.
 */
#ifndef SHARD_STORE_ENTRY_H
#define SHARD_STORE_ENTRY_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/base/vec.h"

/* Keys: segment id and slot, both big-endian, so that keys grow with the ids. Slot 0 is the entry,
 * slot n+1 the segment's section n. */
#define ENTRY_KEY_BYTES 12u
#define ENTRY_SLOT      0u

struct entry_key {
    char bytes[ENTRY_KEY_BYTES];
};

struct entry_key entry_key_make(uint64_t id, uint32_t slot);
bool entry_key_parse(struct tel_span key, uint64_t *ret_id, uint32_t *ret_slot);

static inline struct tel_span entry_key_span(const struct entry_key *key)
{
    return tel_span_make(key->bytes, ENTRY_KEY_BYTES);
}

/* CRC-32C over the day, the key and the bytes: a value that lies in the wrong place is wrong. */
uint32_t entry_checksum(int64_t day, uint64_t id, uint32_t slot, struct tel_span bytes);

enum entry_kind {
    ENTRY_FLUSH = 0, /* made by a flush */
    ENTRY_MERGE = 1, /* made from others, which it replaces */
    ENTRY_MARK = 2,  /* no segment: keeps the day's watermark when segments are deleted */
};

struct entry_section {
    uint32_t section; /* as the segment numbers it */
    uint32_t crc;
    uint64_t bytes;
};

/* Where the log's messages are counted from. After a log that came back empty, offsets begin again
 * in a new epoch. Ordered by epoch, then offset. */
struct store_position {
    uint32_t epoch;
    int64_t offset;
};

static inline int store_position_cmp(struct store_position a, struct store_position b)
{
    if (a.epoch != b.epoch)
        return a.epoch < b.epoch ? -1 : 1;
    return a.offset < b.offset ? -1 : a.offset > b.offset;
}

struct entry {
    uint64_t id;
    enum entry_kind kind;
    bool commits; /* with it the day holds everything below upto */
    struct store_position upto;
    int64_t first_offset, last_offset; /* of its events' messages */
    struct tel_span tenant;
    uint64_t rows, raw_bytes, stored_bytes;
    uint32_t compression; /* the level that it was made with */
    int64_t min_time_ns, max_time_ns;
    uint32_t section_count, replaces_count;
    struct entry_section *sections; /* sorted by section */
    uint64_t *replaces;
};

void entry_encode(const struct entry *entry, int64_t day, struct tel_buf *ret);
/* The tenant points into `bytes`; sections and replaces are the caller's: entry_done. */
TEL_MUST_USE tel_code entry_decode(struct tel_span bytes, int64_t day, uint64_t id,
                                   struct entry *ret, struct tel_error *err);
void entry_done(struct entry *entry);

#endif
