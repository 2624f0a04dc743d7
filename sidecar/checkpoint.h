/*
 * What the sidecar remembers over a restart: for each source its name in the records, its partition,
 * the position up to which everything is acknowledged, and the plugin's own state.
 *
 * In memory it is a map; on disk one file that is replaced as a whole:
 *
 *     checkpoint         the newest        "TELCKPT1" | count | entries | CRC-32C of all before
 *     checkpoint.prev    the one before    an entry: input, id, source, state as length and bytes;
 *                                          partition, 0, position as varints
 *
 * A crash at any moment leaves a readable one. If the newest cannot be read it is set aside
 * (checkpoint.corrupt-<time>) and the one before is used: its positions are older, so that something
 * is sent again and dropped downstream; nothing is lost. If that cannot be read either, opening fails
 * unless the caller asked to begin again.
 *
 * Entries of the input "" are the sidecar's own: "spool" (how far it was sent on) and "topic" (how many
 * partitions it had).
 *
 * Threads: an entry is changed by one thread, that of its input; any thread may save.
 */
#ifndef SIDECAR_CHECKPOINT_H
#define SIDECAR_CHECKPOINT_H

#include <stdint.h>

#include "common/base/error.h"
#include "common/base/span.h"

struct tel_fs;
struct checkpoint;

struct checkpoint_entry {
    char *input; /* name of the input */
    char *id;    /* what the plugin calls the source */
    char *source; /* what the records call it: never changes */
    struct tel_span state;
    uint64_t position;
    uint32_t partition;
    uint64_t durable_from; /* number of the save that makes it durable */
    size_t index;
};

TEL_MUST_USE tel_code checkpoint_open(struct tel_fs *fs, const char *dir, bool restart_if_corrupt,
                                      struct checkpoint **ret, struct tel_error *err);
void checkpoint_free(struct checkpoint *c); /* saves nothing; NULL is fine */

/* NULL if there is none. Owner of the entry only. */
struct checkpoint_entry *checkpoint_find(struct checkpoint *c, const char *input,
                                         struct tel_span id);
/* There is none of this input and id yet. Its records may leave when checkpoint_durable says so. */
struct checkpoint_entry *checkpoint_add(struct checkpoint *c, const char *input, struct tel_span id,
                                        const char *source, uint32_t partition,
                                        struct tel_span state);
void checkpoint_move(struct checkpoint *c, struct checkpoint_entry *e, uint64_t position);
void checkpoint_set_state(struct checkpoint *c, struct checkpoint_entry *e, struct tel_span state);
void checkpoint_set_partition(struct checkpoint *c, struct checkpoint_entry *e, uint32_t partition);
void checkpoint_remove(struct checkpoint *c, struct checkpoint_entry *e);

/* Calls for each entry of an input; the callback may not change the checkpoint. */
void checkpoint_each(struct checkpoint *c, const char *input,
                     void (*cb)(void *ctx, const struct checkpoint_entry *e), void *ctx);

/* Was the entry on the disk with its name and partition? Any thread. */
bool checkpoint_durable(const struct checkpoint *c, const struct checkpoint_entry *e);
/* Did anything change since the last save? */
bool checkpoint_dirty(struct checkpoint *c);
/* Was an entry added since? Then records wait for the save. */
bool checkpoint_urgent(struct checkpoint *c);
/* Makes everything up to now durable. One thread at a time. */
TEL_MUST_USE tel_code checkpoint_save(struct checkpoint *c, struct tel_error *err);
size_t checkpoint_count(struct checkpoint *c);

#endif
