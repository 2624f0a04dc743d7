/*
 * The seam between what a plugin emits and what is sent: a chain of transforms per input, each a const
 * table. A transform sees a source once, when it is opened, and may change its labels; and then its
 * events, some at a time, which it may change or drop. One thread: the input's.
 */
#ifndef SIDECAR_TRANSFORM_H
#define SIDECAR_TRANSFORM_H

#include "common/base/arena.h"
#include "common/base/vec.h"
#include "common/record/batch.h"

struct sidecar_input;

typedef TEL_VEC(struct tel_field) transform_labels;

/* Events on their way. What a transform adds to them lives in the arena, which is reset when they
 * have been encoded. */
struct transform_events {
    struct tel_event *events;
    size_t count;     /* a transform that drops events moves the others up and lowers this */
    int64_t now_ns;   /* wall time */
    struct tel_arena *arena;
};

struct transform_ops {
    const char *name;
    size_t state_size; /* of a state per source, zeroed at first; 0: none */
    /* May be NULL. Labels' spans live as long as the input, or in the arena until the source was
     * opened, when they are copied. */
    void (*source)(const struct sidecar_input *input, transform_labels *labels,
                   struct tel_arena *arena);
    /* May be NULL. */
    void (*events)(void *state, struct transform_events *ev);
};

/* Gives events without a timestamp the time at the head of their body; else that of the event before
 * them in their source, since lines without a time mostly go on with what the one before began; else
 * the time when they were read. */
extern const struct transform_ops transform_timestamp;
/* Adds the input's labels and takes away those that it does not want. */
extern const struct transform_ops transform_labels_ops;

#define TRANSFORMS_MAX 8

/* The chain of an input, ended by NULL. */
void transform_chain(const struct sidecar_input *input,
                     const struct transform_ops *ret[TRANSFORMS_MAX + 1]);

#endif
