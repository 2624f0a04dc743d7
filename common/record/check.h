/*
 * What makes a batch a batch (batch.h), checked in one place for the encoder and for both paths of
 * the decoder. Internal to common/record.
 */
#ifndef TEL_RECORD_CHECK_H
#define TEL_RECORD_CHECK_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/record/batch.h"

/* A verdict; what is NULL when code is TEL_OK. */
struct tel_record_verdict {
    tel_code code;
    const char *what;
};

#define TEL_RECORD_FINE ((struct tel_record_verdict){TEL_OK, NULL})

static inline struct tel_record_verdict tel_record_bad(tel_code code, const char *what)
{
    return (struct tel_record_verdict){code, what};
}

/* A table for telling whether names are unique, made in the arena when first needed. */
struct tel_record_names {
    struct tel_arena *arena;
    uint32_t *slots; /* index + 1 of a field, 0 when free */
};

/* Sorts labels by name if they are not, and checks them with tenant and source. */
struct tel_record_verdict tel_record_check_head(struct tel_span tenant, struct tel_span source,
                                                struct tel_field *labels, uint32_t count);

/* Checks an event; `previous` is the position of the one before it, NULL when it is the first. */
struct tel_record_verdict tel_record_check_event(const struct tel_event *event,
                                                 const uint64_t *previous,
                                                 struct tel_record_names *names);

#endif
